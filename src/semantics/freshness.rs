//! How long an answer is fresh, and how old it is.
//!
//! `Lifetime` is what is left of both when the answer comes: one point of time until which it is fresh, and the age
//! it came with; and what may be done with it past that point. All that a hit needs to know is read here, once. A lifetime
//! may be over when it begins: such an answer is kept to be asked about, or to be used past its end.

use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, DATE, EXPIRES, LAST_MODIFIED, PRAGMA};

use super::cache_control::ResponseDirectives;
use super::grammar::{delta_seconds, http_date, trim};
use crate::clock::{Millis, Timestamp};

/// Whose word the lifetime is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The upstream said it, in `Cache-Control` or `Expires`.
    Upstream,
    /// Guessed from `Last-Modified`, because nobody said anything.
    Heuristic,
    /// The route's `ttl`.
    Route,
    /// The route's `negative_ttl`.
    Negative,
}

/// When it was asked for and when it came.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// When the request was sent to the upstream.
    pub requested_at: Timestamp,
    /// When the head of its answer was in.
    pub answered_at: Timestamp,
}

/// What was read from an answer when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// From the answer's coming until it is stale: what is left of the upstream's lifetime after the age it came
    /// with, or the whole of the route's. Before `answered_at` if it came too old.
    pub fresh_until: Timestamp,
    /// How old it was when it came (RFC 9111, 4.2.3: `corrected_initial_age`).
    pub initial_age: Millis,
    /// When it came: ages count from here.
    pub answered_at: Timestamp,
    /// Whose word it is.
    pub source: Source,
    /// It must not be used without asking, fresh or not.
    pub must_ask: bool,
    /// It will not change while it is fresh (RFC 8246).
    pub immutable: bool,
    /// What it is good for past its end.
    pub stale: Staleness,
}

/// How long past its end an answer is good for something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Staleness {
    /// Not at all, not even for a client that would take it.
    pub prohibited: bool,
    /// It may be used while it is fetched anew. Zero if `prohibited`.
    pub while_revalidate: Millis,
    /// It may be used where the upstream fails. Zero if `prohibited`.
    pub if_error: Millis,
    /// A client's own word adds nothing to these: past them it must not be used, whoever asks.
    pub strict: bool,
}

impl Staleness {
    /// The longer of the two.
    pub fn longest(&self) -> Duration {
        Duration::from(self.while_revalidate).max(self.if_error.into())
    }
}

impl Lifetime {
    /// RFC 9111, 4.2.3: `current_age = corrected_initial_age + resident_time`.
    pub fn age(&self, now: Timestamp) -> Duration {
        Duration::from(self.initial_age) + now.since(self.answered_at)
    }

    /// The same, and good for nothing without asking from `end` on.
    #[must_use]
    pub fn ending(self, end: Timestamp) -> Self {
        let fresh_until = self.fresh_until.min(end);
        let left = end.since(fresh_until);
        let Staleness { prohibited, while_revalidate, if_error, .. } = self.stale;
        let [while_revalidate, if_error] =
            [while_revalidate, if_error].map(|window| Duration::from(window).min(left).into());
        let stale = Staleness { prohibited, while_revalidate, if_error, strict: true };
        Self { fresh_until, stale, ..self }
    }

    /// Time left until it is stale; zero if it is.
    pub fn left(&self, now: Timestamp) -> Duration {
        self.fresh_until.since(now)
    }

    /// Time since it became stale; zero if it is fresh.
    pub fn staleness(&self, now: Timestamp) -> Duration {
        now.since(self.fresh_until)
    }

    /// Whether those who wait for it together may all have it: RFC 9111, 4 on collapsed requests: "if the cache cannot use
    /// the returned response for some or all of the collapsed requests, it will need to forward the requests".
    pub fn can_be_shared(&self) -> bool {
        !self.must_ask && self.is_fresh(self.answered_at)
    }

    /// Seconds left as `Cache-Status` has them: negative when stale.
    pub fn ttl(&self, now: Timestamp) -> i64 {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        if self.is_fresh(now) { seconds(self.left(now)) } else { -seconds(self.staleness(now)) }
    }

    /// RFC 9111, 4.2: "`response_is_fresh = (freshness_lifetime > current_age)`".
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.fresh_until
    }
}

/// RFC 9111, 4.2.3: `corrected_initial_age`, how old an answer is when it comes.
pub fn initial_age(headers: &HeaderMap, times: Times) -> Duration {
    let response_delay = times.answered_at.since(times.requested_at);
    let corrected_age_value = age_value(headers) + response_delay;
    corrected_age_value.max(apparent_age(headers, times.answered_at))
}

/// How long the upstream says that this is fresh; none if it says nothing of it. `targeted`: a field for caches like this
/// one said it.
pub fn explicit_lifetime(
    headers: &HeaderMap,
    said: &ResponseDirectives,
    targeted: bool,
    answered_at: Timestamp,
) -> Option<Duration> {
    // RFC 9111, 4.2.1: "If the cache is shared and the s-maxage response directive is present, use its value, or
    // if the max-age response directive is present, use its value, or if the Expires response header field is
    // present, use its value minus the value of the Date response header field (using the time the message was
    // received if it is not present […])".
    let said = said.s_maxage.or(said.max_age);
    // RFC 9213, 2.2: such a field's value is used "to determine the caching policy for the response", and "the Cache-Control
    // and Expires header fields in that response" are ignored.
    if targeted { said } else { said.or_else(|| expires(headers, answered_at)) }
}

/// How long an answer may be taken for fresh of which nobody says how long it is; none if there is nothing to guess from.
pub fn heuristic_lifetime(headers: &HeaderMap, fraction: f64, answered_at: Timestamp) -> Option<Duration> {
    // RFC 9111, 5.4 leaves `Pragma` in a response without a meaning; who sends it there wants no guesses.
    if headers.get_all(PRAGMA).iter().any(|line| line.as_bytes().eq_ignore_ascii_case(b"no-cache")) {
        return None;
    }
    // RFC 9111, 4.2.2: "If the response has a Last-Modified header field (Section 8.8.2 of [HTTP]), caches are encouraged to
    // use a heuristic expiration value that is no more than some fraction of the interval since that time. A typical
    // setting of this fraction might be 10%."
    let read = |line| http_date(line, answered_at);
    let modified = headers.get_all(LAST_MODIFIED).into_iter().map(read).min()??;
    let unchanged_for = date(headers, answered_at).unwrap_or(answered_at).since(modified);
    let guess = unchanged_for.as_secs_f64() * fraction.clamp(0.0, 1.0);
    let guess = Duration::try_from_secs_f64(guess).ok()?.min(HEURISTIC_MAX);
    Some(guess).filter(|guess| !guess.is_zero())
}

/// What was not changed for ten days may well be changed tomorrow.
const HEURISTIC_MAX: Duration = Duration::from_secs(24 * 3600);

/// Until when what was `initial_age` old when it came is fresh.
pub fn fresh_until(lifetime: Duration, initial_age: Duration, answered_at: Timestamp) -> Timestamp {
    answered_at.plus(lifetime.saturating_sub(initial_age)).minus(initial_age.saturating_sub(lifetime))
}

/// What `Expires` leaves, counted from `Date`.
fn expires(headers: &HeaderMap, answered_at: Timestamp) -> Option<Duration> {
    let from = date(headers, answered_at).unwrap_or(answered_at);
    headers
        .get_all(EXPIRES)
        .into_iter()
        // RFC 9111, 5.3: "A cache recipient MUST interpret invalid date formats, especially the value "0", as
        // representing a time in the past (i.e., "already expired")."
        .map(|line| http_date(line, answered_at).map_or(Duration::ZERO, |until| until.since(from)))
        // RFC 9111, 4.2.1, of several Expires lines: the first, or stale; the earliest is never fresher than either.
        .min()
}

/// The first `Date` that is one.
fn date(headers: &HeaderMap, answered_at: Timestamp) -> Option<Timestamp> {
    headers.get_all(DATE).into_iter().find_map(|line| http_date(line, answered_at))
}

/// `apparent_age = max(0, response_time - date_value)`.
fn apparent_age(headers: &HeaderMap, answered_at: Timestamp) -> Duration {
    // A date has whole seconds: the part of a second that it can't say is not age.
    let age = date(headers, answered_at).map_or(Duration::ZERO, |date| answered_at.since(date));
    Duration::from_secs(age.as_secs())
}

/// `age_value`: what the `Age` field says, or nothing.
fn age_value(headers: &HeaderMap) -> Duration {
    // RFC 9111, 5.1: "a cache encountering a message with a list-based Age field value SHOULD use the first member of
    // the field value, discarding subsequent ones. If the field value (after discarding additional members, as per
    // above) is invalid (e.g., it contains something other than a non-negative integer), a cache SHOULD ignore the
    // field." So a bad first member is not made good by a later one, and `Date` still bounds the age from below.
    headers
        .get(AGE)
        .and_then(|line| line.as_bytes().split(|byte| *byte == b',').next())
        .and_then(|first| delta_seconds(trim(first).iter().copied()))
        .unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::example::headers;
    use proptest::prelude::*;

    /// Sat, 21 Nov 2026 00:00:00 GMT, when the answer came; it was asked for two seconds before.
    const CAME: u64 = 1_795_219_200_000;

    fn times() -> Times {
        Times {
            requested_at: Timestamp::from_millis(CAME - 2_000),
            answered_at: Timestamp::from_millis(CAME),
        }
    }

    type Fields<'a> = &'a [(&'a str, &'a str)];

    #[test]
    fn the_age_an_answer_comes_with_is_the_larger_of_what_age_and_date_say() {
        let table: &[(Fields<'_>, u64)] = &[
            (&[], 2),
            (&[("age", "0")], 2),
            (&[("age", "10")], 12),
            (&[("age", "10, 20")], 12),
            (&[("age", "10"), ("age", "20")], 12),
            (&[("age", "x, 20")], 2),
            (&[("age", "-5")], 2),
            (&[("age", "5.0")], 2),
            (&[("age", "99999999999")], (1 << 31) + 2),
            (&[("date", "Fri, 20 Nov 2026 23:59:00 GMT")], 60),
            (&[("date", "Fri, 20 Nov 2026 23:59:59 GMT")], 2),
            (&[("date", "Sat, 21 Nov 2026 01:00:00 GMT")], 2),
            (&[("date", "yesterday")], 2),
            (&[("age", "100"), ("date", "Fri, 20 Nov 2026 23:59:00 GMT")], 102),
            (&[("age", "10"), ("date", "Fri, 20 Nov 2026 23:59:00 GMT")], 60),
        ];
        for (fields, seconds) in table {
            assert_eq!(initial_age(&headers(fields), times()), Duration::from_secs(*seconds), "{fields:?}");
        }
    }

    #[test]
    fn the_part_of_a_second_that_a_date_cannot_say_is_not_age() {
        let times = Times {
            requested_at: Timestamp::from_millis(CAME + 900),
            answered_at: Timestamp::from_millis(CAME + 999),
        };
        let fields = headers(&[("date", "Sat, 21 Nov 2026 00:00:00 GMT")]);
        assert_eq!(initial_age(&fields, times), Duration::from_millis(99));
    }

    #[test]
    fn a_lifetime_is_s_maxage_before_max_age_before_expires_less_date() {
        let table: &[(Fields<'_>, Option<u64>)] = &[
            (&[], None),
            (&[("cache-control", "public")], None),
            (&[("cache-control", "s-maxage=1, max-age=5")], Some(1)),
            (&[("cache-control", "s-maxage=0, max-age=5")], Some(0)),
            (&[("cache-control", "max-age=5"), ("expires", "0")], Some(5)),
            (&[("expires", "Sat, 21 Nov 2026 00:01:00 GMT")], Some(60)),
            (
                &[("expires", "Sat, 21 Nov 2026 00:01:00 GMT"), ("date", "Sat, 21 Nov 2026 00:00:50 GMT")],
                Some(10),
            ),
            (&[("expires", "Sat, 21 Nov 2026 00:01:00 GMT"), ("date", "bad")], Some(60)),
            (&[("expires", "Sat, 21 Nov 2020 00:01:00 GMT")], Some(0)),
            (&[("expires", "0")], Some(0)),
            (&[("expires", "-1")], Some(0)),
            (&[("expires", "")], Some(0)),
            (&[("expires", "Saturday, 21-Nov-26 00:01:00 GMT")], Some(60)),
            (
                &[("expires", "Sat, 21 Nov 2026 00:01:00 GMT"), ("expires", "Sat, 21 Nov 2026 00:00:30 GMT")],
                Some(30),
            ),
            (&[("expires", "Sat, 21 Nov 2026 00:01:00 GMT"), ("expires", "0")], Some(0)),
        ];
        for (fields, seconds) in table {
            let fields = headers(fields);
            let said = ResponseDirectives::read(&fields);
            assert_eq!(
                explicit_lifetime(&fields, &said, false, times().answered_at),
                seconds.map(Duration::from_secs),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn an_answer_grows_older_and_is_stale_at_the_very_end_of_its_lifetime() {
        let at = |seconds: u64| Timestamp::from_millis(CAME + seconds * 1000);
        let lifetime = Lifetime {
            fresh_until: at(60),
            initial_age: Duration::from_secs(5).into(),
            answered_at: at(0),
            source: Source::Upstream,
            must_ask: false,
            immutable: false,
            stale: Staleness::default(),
        };
        for (now, age, left, fresh) in
            [(0, 5, 60, true), (59, 64, 1, true), (60, 65, 0, false), (61, 66, 0, false)]
        {
            assert_eq!(lifetime.age(at(now)), Duration::from_secs(age));
            assert_eq!(lifetime.left(at(now)), Duration::from_secs(left));
            assert_eq!(lifetime.is_fresh(at(now)), fresh);
        }
    }

    proptest! {
        #[test]
        fn an_answer_is_never_younger_than_its_way_here(age in "[ -~]{0,30}", date in "[ -~]{0,40}") {
            let fields = headers(&[("age", &age), ("date", &date), ("expires", &date)]);
            prop_assert!(initial_age(&fields, times()) >= Duration::from_secs(2));
            let said = ResponseDirectives::default();
            prop_assert!(explicit_lifetime(&fields, &said, false, times().answered_at).is_some());
        }
    }
}
