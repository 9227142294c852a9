//! `Roll`: who is live, and how far each has applied the log, as one observer can know it.
//!
//! No clock is compared with another's: an instance is dead when its line has not changed for a lease and a margin on the
//! observer's own clock. Then its own lease is over, which it counts from earlier. A line says nothing but in its own epoch: in
//! another one its owner is somebody to wait for, until it comes over or is dead.

use std::collections::BTreeMap;
use std::time::Duration;

use super::log::{InstanceId, Line};
use super::trust::{LEASE, MARGIN};
use crate::object::Epoch;

/// What one observer has seen of all lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Roll {
    seen: BTreeMap<InstanceId, Seen>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Seen {
    line: Line,
    /// When it was first seen so, by the time when the answer was in.
    changed_at: Duration,
    /// When it was last seen so, by the time when it was asked for.
    same_at: Duration,
}

impl Seen {
    fn is_dead(&self) -> bool {
        self.same_at.saturating_sub(self.changed_at) >= LEASE + MARGIN
    }
}

impl Roll {
    /// These lines were there, at some moment between the two.
    pub fn saw(&mut self, lines: Vec<Line>, asked_at: Duration, now: Duration) {
        let mut seen = BTreeMap::new();
        for line in lines {
            let before = self.seen.remove(&line.id).filter(|before| before.line == line);
            let entry = match before {
                Some(before) => Seen { same_at: asked_at, ..before },
                None => Seen { line, changed_at: now, same_at: asked_at },
            };
            seen.insert(entry.line.id, entry);
        }
        self.seen = seen;
    }

    /// Who is live and has not applied the log up to there, but this one.
    pub fn lagging(&self, own: InstanceId, epoch: Epoch, position: u64) -> impl Iterator<Item = &Line> {
        let lags = move |line: &Line| line.epoch != epoch || line.applied < position;
        self.live(own).filter(move |line| lags(line))
    }

    /// Who has.
    pub fn applied(&self, own: InstanceId, epoch: Epoch, position: u64) -> impl Iterator<Item = &Line> {
        self.live(own).filter(move |line| line.epoch == epoch && line.applied >= position)
    }

    /// How far all others have come in this epoch.
    pub fn covered(&self, own: InstanceId, epoch: Epoch) -> u64 {
        let applied = |line: &Line| if line.epoch == epoch { line.applied } else { 0 };
        self.live(own).map(applied).min().unwrap_or(u64::MAX)
    }

    fn live(&self, own: InstanceId) -> impl Iterator<Item = &Line> {
        self.seen.values().filter(move |seen| seen.line.id != own && !seen.is_dead()).map(|seen| &seen.line)
    }

    /// Lines that nobody writes any more. An instance that comes back writes its own before it trusts anything.
    pub fn dead(&self) -> Vec<Line> {
        self.seen.values().filter(|seen| seen.is_dead()).map(|seen| seen.line.clone()).collect()
    }

    /// Who is live, beside this one.
    pub fn others(&self, own: InstanceId) -> impl Iterator<Item = &Line> {
        self.live(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: InstanceId = InstanceId([0; 8]);
    const EPOCH: Epoch = Epoch([1; 16]);
    const OTHER_EPOCH: Epoch = Epoch([2; 16]);
    fn at(millis: u64) -> Duration {
        Duration::from_secs(100) + Duration::from_millis(millis)
    }

    fn line(of: u8, counter: u64, applied: u64) -> Line {
        Line { id: InstanceId([of; 8]), name: of.to_string(), counter, epoch: EPOCH, applied }
    }

    fn ids<'l>(lines: impl Iterator<Item = &'l Line>) -> Vec<u8> {
        lines.map(|line| line.id.0[0]).collect()
    }

    #[test]
    fn who_has_not_applied_it_lags() {
        let mut roll = Roll::default();
        roll.saw(vec![line(0, 1, 1), line(1, 1, 4), line(2, 1, 5), line(3, 1, 9)], at(0), at(1));
        assert_eq!(ids(roll.lagging(OWN, EPOCH, 5)), [1]);
        assert_eq!(ids(roll.applied(OWN, EPOCH, 5)), [2, 3]);
        assert_eq!(roll.covered(OWN, EPOCH), 4);
        assert_eq!(ids(roll.others(OWN)), [1, 2, 3]);
    }

    #[test]
    fn nobody_else_has_nothing_to_apply() {
        let mut roll = Roll::default();
        assert_eq!(roll.covered(OWN, EPOCH), u64::MAX);
        roll.saw(vec![line(0, 1, 1)], at(0), at(1));
        assert_eq!(roll.covered(OWN, EPOCH), u64::MAX);
        assert!(ids(roll.others(OWN)).is_empty());
    }

    #[test]
    fn a_line_of_another_epoch_is_of_one_who_has_applied_nothing() {
        let mut roll = Roll::default();
        let elsewhere = Line { epoch: OTHER_EPOCH, ..line(1, 1, 9) };
        roll.saw(vec![elsewhere, line(2, 1, 9)], at(0), at(1));
        assert_eq!(roll.covered(OWN, EPOCH), 0);
        assert_eq!(ids(roll.lagging(OWN, EPOCH, 1)), [1]);
        assert_eq!(ids(roll.applied(OWN, EPOCH, 1)), [2]);
        assert_eq!(roll.covered(OWN, OTHER_EPOCH), 0);
    }

    #[test]
    fn who_writes_nothing_for_a_lease_and_a_margin_is_dead() {
        let mut roll = Roll::default();
        roll.saw(vec![line(1, 1, 1)], at(0), at(10));
        let dies_at = at(10) + LEASE + MARGIN;
        roll.saw(vec![line(1, 1, 1)], at(9) + LEASE + MARGIN, dies_at + LEASE);
        assert_eq!(roll.covered(OWN, EPOCH), 1);
        assert_eq!(roll.dead(), []);
        roll.saw(vec![line(1, 1, 1)], dies_at, dies_at);
        assert_eq!(roll.covered(OWN, EPOCH), u64::MAX);
        assert_eq!(roll.dead(), [line(1, 1, 1)]);
        assert!(ids(roll.lagging(OWN, EPOCH, 9)).is_empty());
    }

    #[test]
    fn time_alone_kills_nobody_whose_line_was_not_looked_at() {
        let mut roll = Roll::default();
        roll.saw(vec![line(1, 1, 1)], at(0), at(0));
        // It may have changed a hundred times since: the question was asked a moment later, and the answer took an hour.
        roll.saw(vec![line(1, 1, 1)], at(1), at(3_600_000));
        assert_eq!(roll.covered(OWN, EPOCH), 1);
    }

    #[test]
    fn any_change_of_a_line_is_a_sign_of_life() {
        for changed in [line(1, 2, 1), line(1, 1, 2), Line { epoch: OTHER_EPOCH, ..line(1, 1, 1) }] {
            let mut roll = Roll::default();
            roll.saw(vec![line(1, 1, 1)], at(0), at(0));
            roll.saw(vec![changed.clone()], at(9000), at(9001));
            assert_eq!(ids(roll.others(OWN)), [1]);
            roll.saw(vec![changed], at(9001) + LEASE, at(9001) + LEASE);
            assert_eq!(ids(roll.others(OWN)), [1]);
        }
    }

    #[test]
    fn a_line_that_was_taken_away_and_comes_again_is_new() {
        let mut roll = Roll::default();
        roll.saw(vec![line(1, 1, 1)], at(0), at(0));
        roll.saw(vec![], at(1000), at(1000));
        assert_eq!(roll.covered(OWN, EPOCH), u64::MAX);
        roll.saw(vec![line(1, 1, 1)], at(9000), at(9000));
        assert_eq!(roll.covered(OWN, EPOCH), 1);
    }
}
