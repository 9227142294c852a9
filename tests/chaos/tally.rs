//! How much has happened.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

#[derive(Default)]
pub struct Tally {
    /// Answers of status 200 that were held against the truth.
    pub reads: Count,
    pub hits: Count,
    /// Of those, from Redis.
    pub shared_hits: Count,
    pub cut_off: Count,
    /// Answers that say that something failed, which it did.
    pub failures: Count,
    /// Connections to a reader that ended early or led nowhere: of a process that was killed or is stopped.
    pub read_errors: Count,
    pub not_logged: Count,
    pub late: Count,
    pub write_errors: Count,
    pub changes: Count,
    pub soft: Count,
    /// How long it took until they were acknowledged, by what was said.
    acknowledged: Mutex<BTreeMap<&'static str, Vec<Duration>>>,
    faults: Mutex<BTreeMap<&'static str, u64>>,
}

#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn more(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl Tally {
    pub fn acknowledged(&self, what: &'static str, took: Duration) {
        self.acknowledged.lock().unwrap().entry(what).or_default().push(took);
    }

    pub fn fault(&self, what: &'static str) {
        *self.faults.lock().unwrap().entry(what).or_default() += 1;
    }

    pub fn acknowledgements(&self) -> u64 {
        self.acknowledged.lock().unwrap().values().map(|times| times.len() as u64).sum()
    }

    pub fn faults(&self) -> u64 {
        self.faults.lock().unwrap().values().sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reads, hits, shared_hits, cut_off, failures, read_errors, .. } = self;
        writeln!(
            f,
            "{reads} reads: {hits} hits, {shared_hits} of them from Redis, {cut_off} while cut off; \
             {failures} failures told, {read_errors} connections lost"
        )?;
        let acknowledged = self.acknowledged.lock().unwrap();
        let mut times: Vec<Duration> = acknowledged.values().flatten().copied().collect();
        times.sort_unstable();
        let of_hundred =
            |hundredths: usize| times.get(times.len() * hundredths / 100).copied().unwrap_or_default();
        writeln!(
            f,
            "{} invalidations acknowledged, p50 {:.1?}, p99 {:.1?}, longest {:.1?}; {} times 503, {} times 504, \
             {} not answered; beside them {} changes and {} soft ones",
            times.len(),
            of_hundred(50),
            of_hundred(99),
            times.last().copied().unwrap_or_default(),
            self.not_logged,
            self.late,
            self.write_errors,
            self.changes,
            self.soft
        )?;
        let by_kind: Vec<_> =
            acknowledged.iter().map(|(what, times)| format!("{what} {}", times.len())).collect();
        writeln!(f, "acknowledged: {}", by_kind.join(", "))?;
        let faults = self.faults.lock().unwrap();
        let by_kind: Vec<_> = faults.iter().map(|(what, count)| format!("{what} {count}")).collect();
        write!(f, "{} faults: {}", faults.values().sum::<u64>(), by_kind.join(", "))
    }
}
