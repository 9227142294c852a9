//! `Breaker`: opens after failures in a row, and says when to try again. It is told the time and does no I/O.
//!
//! *Closed*, all may go on. *Open*, nobody may; once `open_for` is over, whoever keeps the breaker makes one *probe* and
//! tells what came of it: success closes it, failure begins the time anew.

use std::time::Duration;

use tokio::time::Instant;

/// Counts failures.
#[derive(Clone, Debug)]
pub struct Breaker {
    failures_max: u32,
    window: Duration,
    open_for: Duration,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// So many failures since the last success, the last of them then.
    Closed { failures: u32, last: Option<Instant> },
    /// Since then.
    Open { since: Instant },
}

impl Breaker {
    /// Closed. It opens at `failures_max` failures in a row, each within `window` of the one before, for `open_for`.
    pub fn new(failures_max: u32, window: Duration, open_for: Duration) -> Self {
        Self { failures_max, window, open_for, state: State::Closed { failures: 0, last: None } }
    }

    /// Something went well.
    pub fn succeeded(&mut self) {
        self.state = State::Closed { failures: 0, last: None };
    }

    /// Something failed. True: that has opened it.
    pub fn failed(&mut self, now: Instant) -> bool {
        let State::Closed { failures, last } = &mut self.state else {
            self.state = State::Open { since: now };
            return false;
        };
        let in_a_row = last.is_none_or(|last| now.saturating_duration_since(last) <= self.window);
        *failures = if in_a_row { failures.saturating_add(1) } else { 1 };
        *last = Some(now);
        if *failures >= self.failures_max {
            self.state = State::Open { since: now };
        }
        self.is_open()
    }

    /// Opens it, whatever was counted.
    pub fn open(&mut self, now: Instant) {
        self.state = State::Open { since: now };
    }

    /// Whether nobody may go on.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// When the next probe may be made; none: it is closed.
    pub fn probe_at(&self) -> Option<Instant> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { since } => Some(since + self.open_for),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn breaker() -> (Breaker, Instant) {
        (Breaker::new(3, 100 * MS, 500 * MS), Instant::now())
    }

    #[test]
    fn it_opens_at_so_many_failures_in_a_row_and_tells_so_once() {
        let (mut breaker, now) = breaker();
        assert_eq!([0, 1, 2, 3].map(|at| breaker.failed(now + at * MS)), [false, false, true, false]);
        assert!(breaker.is_open());
    }

    #[test]
    fn a_success_between_them_begins_anew() {
        let (mut breaker, now) = breaker();
        for _ in 0..10 {
            assert!(!breaker.failed(now) && !breaker.failed(now));
            breaker.succeeded();
        }
        assert_eq!(breaker.probe_at(), None);
    }

    #[test]
    fn failures_far_from_each_other_are_not_in_a_row() {
        let (mut breaker, now) = breaker();
        assert!((0..10).all(|step| !breaker.failed(now + step * 101 * MS)));
        let (mut breaker, now) = (Breaker::new(3, 100 * MS, MS), now);
        assert!((0..3).any(|step| breaker.failed(now + step * 100 * MS)));
    }

    #[test]
    fn a_probe_that_fails_begins_the_time_anew_and_one_that_succeeds_closes() {
        let (mut breaker, now) = breaker();
        breaker.open(now);
        assert_eq!(breaker.probe_at(), Some(now + 500 * MS));
        assert!(!breaker.failed(now + 600 * MS));
        assert_eq!(breaker.probe_at(), Some(now + 1100 * MS));
        breaker.succeeded();
        assert!(!breaker.is_open() && !breaker.failed(now + 1200 * MS));
    }
}
