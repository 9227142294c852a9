//! `Standing`: how it stands with one link, and when its keeper is to try again. No I/O here: replies and times are told to it.
//!
//! A link has one connection after the other, each with a number, so that what comes of a command on an old one says nothing of
//! the new one. *Up*, commands may go; *down*, none is sent, and the keeper tries at `next_try`. Failures in a row
//! bring it down for a while (`breaker`); a connection that broke is made anew at once if it had been of use, but only once in
//! that while: one that answers this and breaks at that would be made anew again and again.

use std::time::Duration;

use tokio::time::Instant;

use super::settings;
use crate::breaker::Breaker;

/// How it stands with a link.
#[derive(Debug)]
pub(super) struct Standing {
    breaker: Breaker,
    /// Of its latest connection.
    number: u64,
    state: State,
    open_for: Duration,
    /// When a new connection was last asked for at once.
    at_once: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Whether the connection has answered a command so far.
    Up { answered: bool },
    /// To be tried then.
    Down { next_try: Instant },
}

/// What came of a command, as far as it says something of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It was answered.
    Answered,
    /// It was not, or by one who can do nothing now.
    Failed,
    /// The connection broke.
    Broken,
    /// It may not be written to: another has become the master.
    ReadOnly,
}

/// What a sign has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    Nothing,
    /// The link is down, for its connection is not to be used any more.
    Lost,
    /// The link is down, for there were failures in a row.
    Opened,
}

impl Standing {
    /// Down, to be tried at once.
    pub(super) fn new(settings: settings::Breaker, now: Instant) -> Self {
        Self {
            breaker: Breaker::new(settings.failures, settings.window, settings.open),
            number: 0,
            state: State::Down { next_try: now },
            open_for: settings.open,
            at_once: None,
        }
    }

    /// There is a new connection, and it has answered. Its number.
    pub(super) fn came_up(&mut self) -> u64 {
        self.breaker.succeeded();
        self.number += 1;
        self.state = State::Up { answered: false };
        self.number
    }

    /// An attempt at one came to nothing.
    pub(super) fn not_reached(&mut self, now: Instant) {
        self.breaker.open(now);
        self.state = State::Down { next_try: self.breaker.probe_at().unwrap_or(now) };
    }

    /// Something came of a command on the connection of that number.
    pub(super) fn told(&mut self, number: u64, sign: Sign, now: Instant) -> Change {
        // Not again right after the last time.
        let is_rare = self.at_once.is_none_or(|before| now - before >= self.open_for);
        let answered = match &mut self.state {
            State::Up { answered } if number == self.number => answered,
            _ => return Change::Nothing,
        };
        match sign {
            Sign::Answered => {
                *answered = true;
                self.breaker.succeeded();
                Change::Nothing
            }
            Sign::Broken => {
                let goes_at_once = *answered && is_rare;
                if goes_at_once {
                    self.at_once = Some(now);
                }
                let next_try = if goes_at_once { now } else { now + self.open_for };
                self.state = State::Down { next_try };
                Change::Lost
            }
            // If the new one says the same, then it is no change of masters.
            Sign::ReadOnly if is_rare => {
                self.at_once = Some(now);
                self.state = State::Down { next_try: now };
                Change::Lost
            }
            Sign::Failed | Sign::ReadOnly => {
                if !self.breaker.failed(now) {
                    return Change::Nothing;
                }
                self.state = State::Down { next_try: self.breaker.probe_at().unwrap_or(now) };
                Change::Opened
            }
        }
    }

    /// Whether commands may go over the connection of that number.
    pub(super) fn is_up(&self, number: u64) -> bool {
        number == self.number && matches!(self.state, State::Up { .. })
    }

    /// When to try for a new connection; none: there is one.
    pub(super) fn next_try(&self) -> Option<Instant> {
        match self.state {
            State::Up { .. } => None,
            State::Down { next_try } => Some(next_try),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn standing() -> (Standing, Instant) {
        let settings = settings::Breaker { failures: 3, window: 1000 * MS, open: 500 * MS };
        let now = Instant::now();
        (Standing::new(settings, now), now)
    }

    #[test]
    fn it_begins_down_and_is_tried_at_once_and_then_every_while() {
        let (mut standing, now) = standing();
        assert_eq!(standing.next_try(), Some(now));
        standing.not_reached(now + 7 * MS);
        assert_eq!(standing.next_try(), Some(now + 507 * MS));
        standing.not_reached(now + 600 * MS);
        assert_eq!(standing.next_try(), Some(now + 1100 * MS));
        let number = standing.came_up();
        assert!(standing.is_up(number) && standing.next_try().is_none());
    }

    #[test]
    fn failures_in_a_row_bring_it_down_for_a_while() {
        let (mut standing, now) = standing();
        let number = standing.came_up();
        for sign in [Sign::Failed, Sign::Failed, Sign::Answered, Sign::Failed, Sign::Failed] {
            assert_eq!(standing.told(number, sign, now), Change::Nothing);
        }
        assert_eq!(standing.told(number, Sign::Failed, now), Change::Opened);
        assert!(!standing.is_up(number));
        assert_eq!(standing.next_try(), Some(now + 500 * MS));
        assert_eq!(standing.told(number, Sign::Failed, now), Change::Nothing, "told once");
    }

    #[test]
    fn what_comes_of_an_old_connection_says_nothing_of_the_new_one() {
        let (mut standing, now) = standing();
        let old = standing.came_up();
        assert_eq!(standing.told(old, Sign::Broken, now), Change::Lost);
        let new = standing.came_up();
        for _ in 0..10 {
            assert_eq!(standing.told(old, Sign::Failed, now), Change::Nothing);
            assert_eq!(standing.told(old, Sign::Broken, now), Change::Nothing);
        }
        assert!(standing.is_up(new) && !standing.is_up(old));
    }

    #[test]
    fn a_connection_that_broke_is_made_anew_at_once_only_if_it_was_of_use() {
        let (mut standing, now) = standing();
        let number = standing.came_up();
        assert_eq!(standing.told(number, Sign::Broken, now), Change::Lost);
        assert_eq!(standing.next_try(), Some(now + 500 * MS));
        let number = standing.came_up();
        standing.told(number, Sign::Answered, now);
        assert_eq!(standing.told(number, Sign::Broken, now), Change::Lost);
        assert_eq!(standing.next_try(), Some(now));
    }

    #[test]
    fn read_only_asks_for_another_connection_but_not_again_and_again() {
        let (mut standing, now) = standing();
        let number = standing.came_up();
        assert_eq!(standing.told(number, Sign::ReadOnly, now), Change::Lost);
        assert_eq!(standing.next_try(), Some(now));
        let number = standing.came_up();
        assert_eq!(standing.told(number, Sign::ReadOnly, now + 10 * MS), Change::Nothing);
        assert_eq!(standing.told(number, Sign::ReadOnly, now + 499 * MS), Change::Nothing);
        assert_eq!(standing.told(number, Sign::ReadOnly, now + 500 * MS), Change::Lost);
    }

    #[test]
    fn a_new_master_is_looked_for_soon_after_a_connection_was_made_anew() {
        let (mut standing, now) = standing();
        let number = standing.came_up();
        standing.told(number, Sign::Answered, now);
        assert_eq!(standing.told(number, Sign::Broken, now), Change::Lost);
        let number = standing.came_up();
        assert_eq!(standing.told(number, Sign::ReadOnly, now + 500 * MS), Change::Lost);
        assert_eq!(standing.next_try(), Some(now + 500 * MS));
    }

    #[test]
    fn a_connection_that_answers_this_and_breaks_at_that_is_not_made_anew_again_and_again() {
        let (mut standing, now) = standing();
        let mut tries = Vec::new();
        for step in [0, 100, 500, 600] {
            let (number, now) = (standing.came_up(), now + step * MS);
            standing.told(number, Sign::Answered, now);
            assert_eq!(standing.told(number, Sign::Broken, now), Change::Lost);
            tries.push(standing.next_try().unwrap() - now);
        }
        assert_eq!(tries, [0, 500, 0, 500].map(|wait| wait * MS));
    }
}
