//! What proved uncacheable a while ago: the next herd goes straight through instead of waiting to be told the same.
//!
//! Some reasons lie in the request that was sent: it bore a cookie or a credential that nobody declared. They say nothing of
//! the same key asked for without one, so they are remembered for those who bear one, and for nobody else.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::Proxy;
use super::plan::Cacheable;
use crate::clock::Timestamp;
use crate::object::Key;
use crate::semantics::{Audience, NotStored};
use crate::store::Seed;
use crate::upstream::Connector;

/// Keys whose answers were not kept, and until when that is believed.
#[derive(Debug)]
pub struct Uncacheable {
    for_all: Believed,
    /// For requests that bear something undeclared.
    for_bearers: Believed,
}

/// Keys, each believed until some moment: a table of one size, of which a look reads one line of memory and takes no lock.
///
/// A place holds 32 bits of a key's hash, whose others say in which set it lies, and a moment. If two keys are taken for each other, one
/// of them loses the company of those who want the same, and is not refreshed ahead; what comes of it is kept all the same. Which keys
/// those are nobody can find out: the hash is another in every process.
#[derive(Debug)]
struct Believed {
    sets: Box<[Set]>,
    seed: Seed,
}

/// A line of memory.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([AtomicU64; SET]);

/// How many are remembered: of those that share a set, who is believed for the shortest time goes first, and costs a herd one wait.
const REMEMBERED_MAX: usize = 65_536;
/// Places in a set: what a line of memory holds.
const SET: usize = 8;
/// As long as Varnish remembers its hit-for-miss.
const REMEMBERED_FOR: Duration = Duration::from_secs(120);
/// An error may be over in a moment; but while it lasts nobody should queue up behind it.
const ERROR_REMEMBERED_FOR: Duration = Duration::from_secs(1);
/// What moments are counted in. They begin anew after 497 days, and nothing is believed for nearly as long.
const TICK_MILLIS: u64 = 10;
/// More ticks than anything is believed for.
const TICKS_MAX: u32 = 1 << 16;

impl Uncacheable {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { for_all: Believed::new(), for_bearers: Believed::new() }
    }

    /// Whether an answer under this key proved uncacheable a while ago, for such a request.
    pub fn remembers(&self, key: &Key, is_bearer: bool, now: impl Fn() -> Timestamp) -> bool {
        self.for_all.has(key, &now) || (is_bearer && self.for_bearers.has(key, &now))
    }

    /// An answer was not kept, for this reason.
    pub fn learn(&self, key: Key, why: NotStored, is_error: bool, now: Timestamp) {
        let remembered_for = if is_error { ERROR_REMEMBERED_FOR } else { REMEMBERED_FOR };
        let believed = match why {
            // These say nothing of the next answer.
            NotStored::RequestNoStore | NotStored::NoRoom | NotStored::BrokenOff | NotStored::Method => {
                return;
            }
            NotStored::UndeclaredCredential | NotStored::Authorization => &self.for_bearers,
            _ => &self.for_all,
        };
        believed.put(&key, now, remembered_for);
    }

    /// An answer was kept after all.
    pub fn forget(&self, key: &Key) {
        self.for_all.remove(key);
    }
}

impl Believed {
    fn new() -> Self {
        Self { sets: (0..REMEMBERED_MAX / SET).map(|_| Set::default()).collect(), seed: Seed::drawn() }
    }

    fn has(&self, key: &Key, now: impl Fn() -> Timestamp) -> bool {
        let (set, name) = self.place(key);
        set.iter().map(|place| place.load(Relaxed)).any(|held| named(held) == name && left(held, now()) > 0)
    }

    fn put(&self, key: &Key, now: Timestamp, period: Duration) {
        let (set, name) = self.place(key);
        let least = set.iter().min_by_key(|place| {
            let held = place.load(Relaxed);
            // Its own place first: a key must not lie in two.
            if named(held) == name { 0 } else { 1 + left(held, now) }
        });
        if let Some(place) = least {
            place.store(u64::from(name) << 32 | u64::from(ticks(now.plus(period))), Relaxed);
        }
    }

    fn remove(&self, key: &Key) {
        let (set, name) = self.place(key);
        for place in set.iter().filter(|place| named(place.load(Relaxed)) == name) {
            place.store(0, Relaxed);
        }
    }

    /// Where it may lie, and by which name.
    fn place(&self, key: &Key) -> (&[AtomicU64], u32) {
        let hash = self.seed.hash(key);
        let [low, high, ..] = hash.to_le_bytes();
        let at = usize::from(u16::from_le_bytes([low, high])) % self.sets.len();
        (self.sets.get(at).map_or(&[], |set| &set.0), named(hash))
    }
}

/// The name of what is held in a place: its upper half.
fn named(held: u64) -> u32 {
    (held >> 32) as u32
}

/// For how many ticks it is believed still.
#[expect(clippy::cast_possible_truncation, reason = "the lower half of it")]
fn left(held: u64, now: Timestamp) -> u32 {
    let left = (held as u32).wrapping_sub(ticks(now));
    // What is over lies far ahead.
    if left > TICKS_MAX { 0 } else { left }
}

#[expect(clippy::cast_possible_truncation, reason = "they begin anew")]
fn ticks(moment: Timestamp) -> u32 {
    (moment.millis() / TICK_MILLIS) as u32
}

impl<C: Connector> Proxy<C> {
    /// Whether the last answer to such a request proved uncacheable.
    pub(super) fn remembers(&self, cacheable: &Cacheable, headers: &HeaderMap) -> bool {
        self.uncacheable.remembers(&cacheable.key, is_bearer(cacheable, headers), || self.clock.now())
    }
}

/// Whether the request bears what may keep its answer from being kept, and that of others not.
pub(super) fn is_bearer(cacheable: &Cacheable, headers: &HeaderMap) -> bool {
    let everyones = cacheable.audience == Audience::Everyone && !cacheable.declared_shared;
    cacheable.undeclared_credential || (everyones && headers.contains_key(AUTHORIZATION))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(TICK_MILLIS);

    /// Another for each number.
    fn key(number: u64) -> Key {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        Key::from_bytes(bytes)
    }

    /// Moments around those where the count begins anew, among others.
    fn moments() -> impl Iterator<Item = Timestamp> {
        let anew = u64::from(u32::MAX) * TICK_MILLIS;
        [0, 1_795_219_200_000, anew - 60_000, anew, anew + 5, anew * 2]
            .into_iter()
            .map(Timestamp::from_millis)
    }

    #[test]
    fn it_is_believed_for_its_time_and_no_longer() {
        for now in moments() {
            for (is_error, period) in [(false, REMEMBERED_FOR), (true, ERROR_REMEMBERED_FOR)] {
                let uncacheable = Uncacheable::new();
                uncacheable.learn(key(1), NotStored::NoStore, is_error, now);
                let remembers = |number, at| uncacheable.remembers(&key(number), false, || at);
                assert!(
                    remembers(1, now) && remembers(1, now.plus(period.saturating_sub(MOMENT))),
                    "{now:?}"
                );
                assert!(!remembers(1, now.plus(period)) && !remembers(2, now), "{now:?}");
                assert!(!remembers(1, now.plus(REMEMBERED_FOR * 100)), "{now:?}");
                uncacheable.forget(&key(1));
                assert!(!remembers(1, now), "{now:?}");
            }
        }
    }

    #[test]
    fn what_lies_in_the_request_is_believed_of_such_requests() {
        let (uncacheable, now) = (Uncacheable::new(), Timestamp::from_millis(1_000_000));
        uncacheable.learn(key(1), NotStored::Authorization, false, now);
        uncacheable.learn(key(2), NotStored::RequestNoStore, false, now);
        let remembers = |number, is_bearer| uncacheable.remembers(&key(number), is_bearer, || now);
        assert!(remembers(1, true) && !remembers(1, false));
        assert!(!remembers(2, true));
    }

    #[test]
    fn of_more_than_there_is_room_for_the_latest_are_left() {
        let (uncacheable, mut now) = (Uncacheable::new(), Timestamp::from_millis(1_000_000));
        let count = 4 * REMEMBERED_MAX as u64;
        for number in 0..count {
            if number % 1000 == 0 {
                now = now.plus(MOMENT);
            }
            uncacheable.learn(key(number), NotStored::NoStore, false, now);
        }
        let remembered = |numbers: std::ops::Range<u64>| {
            numbers.filter(|number| uncacheable.remembers(&key(*number), false, || now)).count()
        };
        assert_eq!(remembered(count - 1000..count), 1000);
        assert!(remembered(0..count) <= REMEMBERED_MAX + 10);
    }
}
