//! Taking in what comes next in the log: into the ledger, and to those who wait for it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::event::Event;
use super::ledger::Applied;
use super::log::Logged;
use super::record::{Place, Record, Waits};

impl Record {
    /// These come next in the log.
    pub(super) fn apply(&self, logged: &[Logged]) {
        let mut left = logged;
        while !left.is_empty() {
            let (now, later) = left.split_at(at_once(left));
            self.apply_some(now);
            left = later;
        }
        if let Some(others) = &self.others {
            others.applied.send_replace(());
        }
    }

    fn apply_some(&self, logged: &[Logged]) {
        let now = self.clock.monotonic();
        let own = self.learn(|ledger| {
            let (epoch, _) = ledger.place();
            let apply = |it: &Logged| {
                let Applied { stamp, is_alone } = ledger.apply(it.position, it.id, it.event.as_ref(), now)?;
                Some((it.id, Place { epoch, position: it.position, stamp, is_alone }))
            };
            logged.iter().filter_map(apply).collect::<Vec<_>>()
        });
        let mut waiting = self.waiting();
        for (id, place) in own {
            if let Some(Waits { tell, since }) = waiting.remove(&id) {
                self.is_slow.store(now.saturating_sub(since) > SLOW, Relaxed);
                // Who has gone need not be told.
                let _ = tell.send(place);
            }
        }
    }
}

/// How many of these are applied in one go: some names, or one event, while nobody can look.
fn at_once(logged: &[Logged]) -> usize {
    let mut names = 0;
    let fit = logged.iter().take_while(|it| {
        names += 1 + it.event.as_ref().map_or(0, Event::names);
        names <= NAMES_AT_ONCE_MAX
    });
    fit.count().max(1)
}

/// Some ten microseconds.
const NAMES_AT_ONCE_MAX: usize = 128;

/// A log that takes longer is one that no client of the proxy waits for.
const SLOW: Duration = Duration::from_millis(40);
