//! `Trust`: whether this instance may believe its memory, as far as it can know by its own clock alone.
//!
//! Each renewal of our line holds for a lease, counted *from before it was sent*: whoever waits for us counts from later, and so
//! never stops waiting while we still trust. It is a time that is looked at, not a flag that a timer sets: a process that was
//! stopped and goes on must know at once. Invariant: what is trusted was caught up with, behind a line that others can see.

use std::time::Duration;

/// How long a renewal holds.
pub const LEASE: Duration = Duration::from_secs(3);

/// How much later an observer gives up waiting: two clocks may run apart by a tenth of a lease, which is a hundred times what
/// they do.
pub const MARGIN: Duration = Duration::from_millis(300);

/// All times are of this instance's own clock, which never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trust {
    /// Until then memory is believed.
    until: Option<Duration>,
    /// From then on we acknowledge: before, others may be live of whom we can't know.
    grace_until: Duration,
}

impl Trust {
    /// The process has started, or has met another epoch: lines may have been lost with the one before, and no lease outlives
    /// this time.
    pub fn met_epoch(&mut self, now: Duration) {
        self.until = None;
        self.grace_until = now + LEASE + MARGIN;
    }

    /// The log was read to its end, behind a line that was sent then.
    pub fn caught_up(&mut self, sent_at: Duration) {
        self.until = self.until.max(Some(sent_at + LEASE));
    }

    /// A line that was sent then has arrived. One that comes when the lease is over does not bring it back: what came meanwhile
    /// has to be read first.
    pub fn renewed(&mut self, sent_at: Duration, now: Duration) {
        if self.holds(now) {
            self.until = self.until.max(Some(sent_at + LEASE));
        }
    }

    /// Whether memory may be believed.
    pub fn holds(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Until when it may be, unless it is renewed.
    pub fn until(&self) -> Option<Duration> {
        self.until
    }

    /// How long nothing may be acknowledged yet.
    pub fn grace_left(&self, now: Duration) -> Duration {
        self.grace_until.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_secs(100) + Duration::from_millis(millis)
    }

    #[test]
    fn nothing_is_trusted_before_the_log_was_read() {
        let mut trust = Trust::default();
        assert!(!trust.holds(at(0)));
        assert_eq!(trust.until(), None);
        trust.renewed(at(0), at(1));
        assert!(!trust.holds(at(1)));
        trust.caught_up(at(0));
        assert!(trust.holds(at(1)));
    }

    #[test]
    fn a_lease_counts_from_before_its_line_was_sent() {
        let mut trust = Trust::default();
        trust.caught_up(at(0));
        assert!(trust.holds(at(2999)));
        assert!(!trust.holds(at(3000)));
        trust.renewed(at(1000), at(2900));
        assert_eq!(trust.until(), Some(at(1000) + LEASE));
    }

    #[test]
    fn a_line_that_arrives_when_the_lease_is_over_does_not_bring_it_back() {
        let mut trust = Trust::default();
        trust.caught_up(at(0));
        trust.renewed(at(2000), at(0) + LEASE);
        assert!(!trust.holds(at(0) + LEASE));
        // What came meanwhile is read, behind a line of its own.
        trust.caught_up(at(3500));
        assert!(trust.holds(at(6499)));
    }

    #[test]
    fn an_older_line_takes_nothing_away() {
        let mut trust = Trust::default();
        trust.caught_up(at(1000));
        trust.renewed(at(500), at(1500));
        trust.caught_up(at(700));
        assert_eq!(trust.until(), Some(at(1000) + LEASE));
    }

    #[test]
    fn who_meets_an_epoch_trusts_nothing_and_acknowledges_nothing_until_all_leases_of_before_are_over() {
        let mut trust = Trust::default();
        assert_eq!(trust.grace_left(at(0)), Duration::ZERO);
        trust.caught_up(at(0));
        trust.met_epoch(at(10));
        assert!(!trust.holds(at(10)));
        assert_eq!(trust.grace_left(at(10)), LEASE + MARGIN);
        trust.caught_up(at(5));
        assert!(trust.holds(at(10)));
        assert_eq!(trust.grace_left(at(10) + LEASE), MARGIN);
        assert_eq!(trust.grace_left(at(10) + LEASE + MARGIN), Duration::ZERO);
        assert_eq!(trust.grace_left(at(60_000)), Duration::ZERO);
    }
}
