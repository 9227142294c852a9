//! `Ledger`: which resources have been changed, in the order in which that was learnt.
//!
//! An entry is stamped with the ledger's position *before* its upstream request is sent. It is live while no change of its
//! resource has a later position: so a slow fetch can't bring back what was changed while it was under way. The ledger is a
//! table of fixed size, a place for each resource by its digest. Resources that share a place share their changes: errors fall
//! on that side, and an entry too many is fetched anew.

use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Mutex, PoisonError};

use crate::object::{Resource, Stamp, Stored};
use crate::telemetry::Telemetry;

/// All changes that are remembered.
#[derive(Debug)]
pub struct Ledger {
    /// Of the latest change.
    position: AtomicU64,
    /// The position of the latest change of a resource that has this place.
    last: Box<[AtomicU64]>,
    /// One change at a time; who looks waits for nobody.
    writing: Mutex<()>,
    telemetry: Arc<Telemetry>,
}

/// Four megabytes. With ten changes a second, an entry that lives for five minutes is fetched once too often in two hundred
/// times.
const PLACES: usize = 1 << 19;

impl Ledger {
    /// Nothing has changed yet.
    pub fn new(telemetry: Arc<Telemetry>) -> Self {
        Self::with_places(PLACES, telemetry)
    }

    fn with_places(places: usize, telemetry: Arc<Telemetry>) -> Self {
        Self {
            position: AtomicU64::new(0),
            last: (0..places).map(|_| AtomicU64::new(0)).collect(),
            writing: Mutex::new(()),
            telemetry,
        }
    }

    /// What is fetched from now on knows of all changes so far.
    pub fn stamp(&self) -> Stamp {
        Stamp(self.position.load(Acquire))
    }

    /// These have changed. If the first of them had not been changed since `before`, that change's own stamp: what was
    /// asked for at `before`, and is the outcome of this very change, is live with it.
    pub fn change(&self, resources: &[Resource], before: Stamp) -> Option<Stamp> {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let position = self.position.load(Relaxed) + 1;
        let is_alone = resources.first().is_some_and(|first| self.holds(*first, before));
        for resource in resources {
            self.place(*resource).store(position, Release);
        }
        // Behind the changes: who reads this position finds all changes up to it.
        self.position.store(position, Release);
        drop(writing);
        self.telemetry.invalidation.changes.add_one();
        is_alone.then_some(Stamp(position))
    }

    /// Whether nothing that changed since this entry was asked for was its resource. While nothing changes at all, that
    /// costs a load and a comparison.
    pub fn is_live(&self, stored: &Stored) -> bool {
        let position = self.position.load(Acquire);
        // A change that is being written at this moment has not been answered yet: nobody can know of it.
        if stored.live_at.load(Relaxed) == position {
            return true;
        }
        let is_live = self.holds(stored.resource, stored.stamp);
        if is_live {
            stored.live_at.store(position, Relaxed);
        }
        is_live
    }

    /// The same for what is not kept yet.
    pub fn holds(&self, resource: Resource, stamp: Stamp) -> bool {
        self.place(resource).load(Acquire) <= stamp.0
    }

    fn place(&self, resource: Resource) -> &AtomicU64 {
        &self.last[resource.place(self.last.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ledger(places: usize) -> Ledger {
        Ledger::with_places(places, Arc::new(Telemetry::new(["only"])))
    }

    fn resource(name: &str) -> Resource {
        Resource::new("host", name.as_bytes(), std::iter::empty())
    }

    #[test]
    fn what_was_asked_for_before_a_change_is_dead_and_what_came_after_lives() {
        let ledger = ledger(PLACES);
        let before = ledger.stamp();
        ledger.change(&[resource("/a"), resource("/b")], before);
        let after = ledger.stamp();
        for (name, stamp, expected) in
            [("/a", before, false), ("/b", before, false), ("/c", before, true), ("/a", after, true)]
        {
            assert_eq!(ledger.holds(resource(name), stamp), expected, "{name} {stamp:?}");
        }
    }

    #[test]
    fn the_outcome_of_a_change_is_live_unless_another_change_came_between() {
        let ledger = ledger(PLACES);
        let before = ledger.stamp();
        let own = ledger.change(&[resource("/a")], before).unwrap();
        assert!(ledger.holds(resource("/a"), own));
        assert_eq!(ledger.change(&[resource("/a")], before), None);
        assert!(!ledger.holds(resource("/a"), own));
    }

    proptest! {
        /// Against a list that forgets nothing: the ledger may hold a live one for dead, and never a dead one for live.
        #[test]
        fn however_few_places_it_has_nothing_dead_is_held_for_live(
            steps in proptest::collection::vec((0_u8..20, any::<bool>()), 1..200),
            places in 1_usize..40,
        ) {
            let ledger = ledger(places);
            let mut all: Vec<u8> = Vec::new();
            let mut asked: Vec<(u8, usize, Stamp)> = Vec::new();
            for (name, changes) in steps {
                if changes {
                    ledger.change(&[resource(&name.to_string())], ledger.stamp());
                    all.push(name);
                } else {
                    asked.push((name, all.len(), ledger.stamp()));
                }
                for (name, since, stamp) in &asked {
                    let changed = all[*since..].contains(name);
                    let holds = ledger.holds(resource(&name.to_string()), *stamp);
                    prop_assert!(!(changed && holds), "{name} was changed");
                }
            }
        }
    }
}
