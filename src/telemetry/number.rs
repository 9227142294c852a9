//! Numbers that many threads move without a lock: `Counter`, `Gauge` and a `Histogram` of durations.
//!
//! The histogram is log-linear: eight buckets for each doubling from a microsecond up, so any percentile read from it
//! is at most an eighth off. One set of buckets serves both `/stats` (percentiles) and `/metrics` (cumulative counts);
//! the crates for it either need a lock to record or can't be read back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// Goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

/// How long things took.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_micros: AtomicU64,
}

/// A moment's copy of a histogram.
#[derive(Clone, Debug)]
pub struct Distribution {
    counts: Vec<u64>,
    sum_micros: u64,
}

/// Buckets for each doubling, as a power of two.
const SUB_BITS: u32 = 3;
/// Up to 2^40 µs, twelve days; what is longer counts there.
const BUCKETS: usize = ((40 - SUB_BITS as usize) + 1) << SUB_BITS;

impl Counter {
    /// One more.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Gauge {
    /// Up (or down) by so many.
    pub fn add(&self, change: i64) {
        self.0.fetch_add(change, Relaxed);
    }

    /// To this.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU64::new(0)), sum_micros: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Something took so long.
    pub fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(index(micros)) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum_micros.fetch_add(micros, Relaxed);
    }

    /// A copy to read from.
    pub fn distribution(&self) -> Distribution {
        Distribution {
            counts: self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect(),
            sum_micros: self.sum_micros.load(Relaxed),
        }
    }
}

impl Distribution {
    /// How many in all.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_micros)
    }

    /// How many took no longer than this; counts whole buckets, so the bound may be up to an eighth too generous.
    pub fn count_up_to(&self, bound: Duration) -> u64 {
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        self.counts.iter().take(index(micros) + 1).sum()
    }

    /// The time within which this share (0 to 1) of them was done; `None` if there are none.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank within the count, which is far below 2^52"
        )]
        let rank = ((total as f64 * share).ceil() as u64).clamp(1, total);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_micros(upper_bound(bucket)))
    }
}

/// Which bucket holds so many microseconds.
fn index(micros: u64) -> usize {
    let sub = 1_u64 << SUB_BITS;
    if micros < sub {
        return usize::try_from(micros).unwrap_or(0);
    }
    let doubling = micros.ilog2() - SUB_BITS;
    let within = (micros >> doubling) - sub;
    let index = (u64::from(doubling) + 1) * sub + within;
    usize::try_from(index).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// The largest value that falls into a bucket.
fn upper_bound(index: usize) -> u64 {
    let sub = 1_u64 << SUB_BITS;
    let index = index as u64;
    if index < sub {
        return index;
    }
    let doubling = index / sub - 1;
    let within = index % sub;
    ((sub + within + 1) << doubling) - 1
}

/// Counters by a name that others choose; only so many names are told apart.
#[derive(Debug, Default)]
pub struct CountByName(Mutex<BTreeMap<String, u64>>);

/// Names past these are counted as `other`.
const NAMES_MAX: usize = 32;

impl CountByName {
    /// One more of it.
    pub fn add_one(&self, name: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = counts.contains_key(name) || counts.len() < NAMES_MAX;
        *counts.entry(if is_known { name } else { "other" }.to_owned()).or_default() += 1;
    }

    /// All names and how many of each.
    pub fn get(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_within_its_bucket() {
        for micros in (0..100_000).chain([1 << 30, (1 << 40) - 1]) {
            let bucket = index(micros);
            assert!(micros <= upper_bound(bucket), "{micros} in {bucket}");
            assert!(bucket == 0 || micros > upper_bound(bucket - 1), "{micros} in {bucket}");
        }
        assert_eq!(index(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_at_most_an_eighth_off() {
        let histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        let read = histogram.distribution();
        assert_eq!(read.count(), 1000);
        assert_eq!(read.sum(), Duration::from_micros(500_500));
        for (share, exact) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0)] {
            let got = read.percentile(share).unwrap().as_secs_f64() * 1e6;
            assert!((exact..=exact * 1.125).contains(&got), "{share}: {got}");
        }
        assert_eq!(Histogram::default().distribution().percentile(0.5), None);
    }
}
