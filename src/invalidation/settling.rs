//! `Settling`: what was named a moment ago, so that what a lagging replica of the backend says of it is not kept for long.
//!
//! A route says how long its backend needs to settle; then it is asked what had been declared so long ago, and whether anything
//! has named the entry since. A hook may say it of its own events: those are listed until they have settled.

use std::collections::VecDeque;
use std::time::Duration;

use super::event::Event;
use crate::object::{Labels, Stamp, Tag};

/// What was declared in the last minute.
#[derive(Clone, Debug)]
pub(super) struct Settling {
    /// When events came, and how far the log had been applied just before; there is always one.
    moments: VecDeque<(Duration, Stamp)>,
    /// How far it has been applied.
    latest: Stamp,
    /// Events with a settle time of their own.
    own: VecDeque<Own>,
    /// How many names these have.
    names: usize,
    /// So many were too many: until then everything settles for so long.
    rest: (Duration, Duration),
}

/// An event with a settle time of its own.
#[derive(Clone, Debug, Hash)]
struct Own {
    /// When it was applied.
    at: Duration,
    settle: Duration,
    all: bool,
    tags: Box<[Tag]>,
    beginnings: Vec<Vec<u8>>,
}

/// Events that come so soon behind one another are of one moment.
const MOMENT: Duration = Duration::from_millis(20);
/// The longest time that a route or a hook may give its backend, and the longest that a fetch may take behind it.
const REMEMBERED_FOR: Duration = Duration::from_secs(120);
/// Names of events with a settle time that are remembered.
const NAMES_MAX: usize = 16_384;
/// The longest settle time.
const SETTLE_MAX: Duration = Duration::from_secs(60);

impl Settling {
    pub(super) fn new(now: Duration, stamp: Stamp) -> Self {
        Self {
            moments: VecDeque::from([(now, stamp)]),
            latest: stamp,
            own: VecDeque::new(),
            names: 0,
            rest: (Duration::ZERO, Duration::ZERO),
        }
    }

    /// An event was applied, and the log has come to `stamp`.
    pub(super) fn applied(&mut self, event: &Event, now: Duration, stamp: Stamp) {
        if self.moments.back().is_none_or(|(last, _)| now.saturating_sub(*last) >= MOMENT) {
            self.moments.push_back((now, self.latest));
        }
        self.latest = stamp;
        while self.moments.len() > 1
            && self.moments.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) > REMEMBERED_FOR)
        {
            self.moments.pop_front();
        }
        let settle = event.settle();
        if settle.is_zero() {
            return;
        }
        while self.own.front().is_some_and(|own| now.saturating_sub(own.at + own.settle) > REMEMBERED_FOR) {
            self.names -= self.own.pop_front().map_or(0, |own| own.names());
        }
        let own = Own::new(event, now, settle);
        if self.names + own.names() > NAMES_MAX {
            self.rest = (self.rest.0.max(now + settle), self.rest.1.max(settle));
        } else {
            self.names += own.names();
            self.own.push_back(own);
        }
    }

    /// How far the log had been applied at that time, or a little less: in doubt more has been named since.
    pub(super) fn stamp_at(&self, time: Duration) -> Stamp {
        let later = self.moments.partition_point(|(at, _)| *at <= time);
        let Some((at, before)) = self.moments.get(later.saturating_sub(1)) else {
            return Stamp(0);
        };
        if time < *at + MOMENT {
            return *before;
        }
        // All of that moment had come by then.
        self.moments.get(later).map_or(self.latest, |(_, before)| *before)
    }

    /// How long what was asked for at that time may live, by the word of the hooks that named it.
    pub(super) fn own(&self, labels: &Labels, asked_at: Duration) -> Option<Duration> {
        let (until, settle) = self.rest;
        let rest = (asked_at < until).then_some(settle);
        // The last are the latest; those that are over need not be looked at.
        let later = self.own.iter().rev().take_while(|own| asked_at < own.at + SETTLE_MAX);
        let named = later.filter(|own| asked_at < own.at + own.settle && own.is_about(labels));
        named.map(|own| own.settle).chain(rest).min()
    }
}

impl Own {
    fn new(event: &Event, at: Duration, settle: Duration) -> Self {
        let mut tags: Vec<Tag> = event.named().collect();
        tags.sort_unstable();
        Self { at, settle, all: event.all, tags: tags.into(), beginnings: event.beginnings().collect() }
    }

    fn names(&self) -> usize {
        1 + self.tags.len() + self.beginnings.len()
    }

    fn is_about(&self, labels: &Labels) -> bool {
        self.all
            || labels.tags().any(|tag| self.tags.binary_search(&tag).is_ok())
            || self.beginnings.iter().any(|beginning| labels.path().starts_with(beginning))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_secs(1000) + Duration::from_millis(millis)
    }

    fn event(tag: &str, settle_ms: u64) -> Event {
        Event { tags: vec![tag.to_owned()], settle_ms, ..Event::default() }
    }

    fn labels(tag: &str) -> Labels {
        Labels::new(vec![Tag::named(tag)], b"/users/5")
    }

    #[test]
    fn how_far_the_log_had_come_is_known_to_a_moment_and_never_told_too_high() {
        let mut settling = Settling::new(at(0), Stamp(1));
        assert_eq!(settling.stamp_at(at(5000)), Stamp(1));
        for (when, stamp) in [(1000, 2), (1010, 3), (1019, 4), (1020, 5), (2000, 6)] {
            settling.applied(&Event::default(), at(when), Stamp(stamp));
        }
        for (when, stamp) in [
            (0, 1),
            (999, 1),
            // The first of a moment, and all that came in it: in doubt they came later.
            (1000, 1),
            (1019, 1),
            // The next moment has begun, and all of the one before had come.
            (1020, 4),
            (1039, 4),
            (1040, 5),
            (1999, 5),
            (2000, 5),
            (2019, 5),
            (2020, 6),
            (9000, 6),
        ] {
            assert_eq!(settling.stamp_at(at(when)), Stamp(stamp), "{when}");
        }
        assert_eq!(settling.stamp_at(Duration::ZERO), Stamp(1));
    }

    #[test]
    fn what_is_long_ago_is_forgotten_on_the_safe_side() {
        let mut settling = Settling::new(at(0), Stamp(1));
        let minutes = 10;
        for n in 0..minutes * 600 {
            settling.applied(&Event::default(), at(100 * (n + 1)), Stamp(n + 2));
        }
        let remembered = usize::try_from(REMEMBERED_FOR.as_millis() / 100).unwrap();
        assert!(settling.moments.len() <= remembered + 2, "{}", settling.moments.len());
        let now = minutes * 60_000;
        let earliest = now - u64::try_from(REMEMBERED_FOR.as_millis()).unwrap();
        for when in [earliest, earliest + 50, now - 500] {
            assert_eq!(settling.stamp_at(at(when + 30)), Stamp(when / 100 + 1), "{when}");
        }
        // A little less than it was: that only makes more of what was named since.
        assert!(settling.stamp_at(at(0)) <= Stamp(earliest / 100 + 1));
    }

    #[test]
    fn a_hook_says_how_long_what_it_names_may_live() {
        let mut settling = Settling::new(at(0), Stamp(1));
        settling.applied(&event("a", 2000), at(1000), Stamp(2));
        settling.applied(&event("b", 0), at(1000), Stamp(3));
        let by_path = Event { prefixes: vec!["/users/".into()], settle_ms: 500, ..Event::default() };
        assert_eq!(settling.own(&labels("a"), at(1000)), Some(Duration::from_secs(2)));
        assert_eq!(settling.own(&labels("a"), at(2999)), Some(Duration::from_secs(2)));
        assert_eq!(settling.own(&labels("a"), at(3000)), None);
        assert_eq!(settling.own(&labels("b"), at(1000)), None);
        assert_eq!(settling.own(&labels("c"), at(1000)), None);
        settling.applied(&by_path, at(1200), Stamp(4));
        assert_eq!(settling.own(&labels("a"), at(1300)), Some(Duration::from_millis(500)));
        assert_eq!(settling.own(&labels("a"), at(1700)), Some(Duration::from_secs(2)));
        let everything = Event { settle_ms: 1000, ..Event::everything() };
        settling.applied(&everything, at(5000), Stamp(5));
        assert_eq!(settling.own(&labels("c"), at(5999)), Some(Duration::from_secs(1)));
    }

    #[test]
    fn too_many_hooks_settle_for_all_that_is_asked_for_meanwhile() {
        let mut settling = Settling::new(at(0), Stamp(1));
        // A name each, and what they cost beside it.
        for n in 0..NAMES_MAX as u64 / 2 {
            settling.applied(&event("a", 1000), at(0), Stamp(n + 2));
        }
        assert_eq!(settling.own(&labels("b"), at(100)), None);
        settling.applied(&event("c", 3000), at(100), Stamp(9999));
        assert_eq!((settling.own.len(), settling.names), (NAMES_MAX / 2, NAMES_MAX));
        assert_eq!(settling.own(&labels("b"), at(3099)), Some(Duration::from_secs(3)));
        assert_eq!(settling.own(&labels("b"), at(3100)), None);
        // Much later there is room again.
        let later = at(1000) + REMEMBERED_FOR + Duration::from_millis(1);
        settling.applied(&event("c", 1000), later, Stamp(10_000));
        assert_eq!((settling.own.len(), settling.names), (1, 2));
        assert_eq!(settling.own(&labels("b"), later), None);
        assert_eq!(settling.own(&labels("c"), later), Some(Duration::from_secs(1)));
    }
}
