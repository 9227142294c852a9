//! `Shards`: which part of a cluster's slots is whose, and which part is left alone because its master does not answer.
//!
//! One master that hangs takes a part of all commands with it. Counted among all others, its failures would never be in a row, and
//! each of its commands would wait; so each shard has a breaker of its own. Who is whose is read when a connection is made,
//! and serves for counting only: where a command goes, the driver knows better.

use redis::Value;
use tokio::time::Instant;

use super::settings;
use crate::breaker::Breaker;

/// All shards of a cluster.
#[derive(Debug)]
pub(super) struct Shards {
    /// First and last slot of each range in rising order, and whose it is.
    ranges: Vec<(u16, u16, usize)>,
    /// Who they are, as they are told.
    masters: Vec<Value>,
    /// Theirs, and at the end one for slots that are nobody's.
    all: Vec<Shard>,
    /// Whose turn it is to be asked whether they are there.
    turn: usize,
}

#[derive(Clone, Debug)]
struct Shard {
    breaker: Breaker,
    /// A key in it.
    key: Vec<u8>,
    /// The one that a command failed for: what a probe asks for.
    failed: Vec<u8>,
}

/// What keys lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slot(u16);

/// What Redis has of them.
const SLOTS: u16 = 16_384;

impl Slot {
    /// Of a key: of the part in braces, if there is one.
    fn of(key: &[u8]) -> Self {
        let mut tagged = key.splitn(2, |byte| *byte == b'{').skip(1);
        let tag = tagged.next().and_then(|rest| {
            let end = rest.iter().position(|byte| *byte == b'}')?;
            rest.get(..end).filter(|tag| !tag.is_empty())
        });
        Self(crc16(tag.unwrap_or(key)) % SLOTS)
    }
}

impl Shards {
    /// From the answer to `CLUSTER SLOTS`: `[first, last, [host, port, …], …]` for each range, its master first.
    pub(super) fn read(answer: &Value, settings: settings::Breaker, namespace: &str) -> Self {
        let mut told = Vec::new();
        for range in array(answer) {
            let [Value::Int(first), Value::Int(last), master, ..] = array(range) else {
                continue;
            };
            let (Ok(first), Ok(last)) = (u16::try_from(*first), u16::try_from(*last)) else {
                continue;
            };
            told.push((first, last, master));
        }
        // Each node has an order of its own.
        told.sort_unstable_by_key(|(first, last, _)| (*first, *last));
        let mut masters: Vec<Value> = Vec::new();
        let whose = |(first, last, master): (u16, u16, &Value)| {
            let shard = masters.iter().position(|known| known == master).unwrap_or_else(|| {
                masters.push(master.clone());
                masters.len() - 1
            });
            (first, last, shard)
        };
        let ranges: Vec<_> = told.into_iter().map(whose).collect();
        let breaker = || Breaker::new(settings.failures, settings.window, settings.open);
        let shard =
            |at| Shard { breaker: breaker(), key: within(&ranges, at, namespace), failed: Vec::new() };
        let all = (0..=masters.len()).map(shard).collect();
        Self { ranges, masters, all, turn: 0 }
    }

    /// A key of whoever is to be asked next whether they are there: one of those that are used, each in turn.
    pub(super) fn next_ping(&mut self) -> Option<Vec<u8>> {
        let masters = self.masters.len();
        let places = (0..masters).map(|step| (self.turn + step) % masters);
        let mut used = places.filter_map(|place| Some((place, self.all.get(place)?)));
        let (place, shard) = used.find(|(_, shard)| !shard.breaker.is_open())?;
        let key = shard.key.clone();
        self.turn = place;
        Some(key)
    }

    /// That was answered.
    pub(super) fn next_turn(&mut self) {
        self.turn += 1;
    }

    /// Whether no master is used.
    pub(super) fn are_open(&self) -> bool {
        // What is nobody's counts only where there is nobody.
        let masters = self.masters.len().max(1);
        self.all.iter().take(masters).all(|shard| shard.breaker.is_open())
    }

    /// Goes on counting where `before` has stopped. What was open stays so for whoever has the slot now that a command had failed
    /// for: the one who had it before may have nothing to do with it.
    pub(super) fn take_over(&mut self, before: &Self) {
        self.turn = before.turn;
        for (place, shard) in before.all.iter().enumerate() {
            let place = match before.masters.get(place) {
                _ if shard.breaker.is_open() => Some(self.place(&shard.failed)),
                Some(master) => self.masters.iter().position(|known| known == master),
                None => Some(self.masters.len()),
            };
            let taken = place.and_then(|place| self.all.get_mut(place));
            if let Some(taken) = taken.filter(|taken| !taken.breaker.is_open()) {
                (taken.breaker, taken.failed) = (shard.breaker.clone(), shard.failed.clone());
            }
        }
    }

    /// A probe for it was answered.
    pub(super) fn reached(&mut self, key: &[u8]) {
        let place = self.place(key);
        if let Some(shard) = self.all.get_mut(place) {
            shard.breaker.succeeded();
        }
    }

    /// Whether none is left alone.
    pub(super) fn are_closed(&self) -> bool {
        self.all.iter().all(|shard| !shard.breaker.is_open())
    }

    /// Whether commands for it are not to be sent.
    pub(super) fn is_open(&self, key: &[u8]) -> bool {
        self.all.get(self.place(key)).is_some_and(|shard| shard.breaker.is_open())
    }

    /// A command for it was answered.
    pub(super) fn answered(&mut self, key: &[u8]) {
        let place = self.place(key);
        if let Some(shard) = self.all.get_mut(place) {
            // A reply that comes late is no probe.
            if !shard.breaker.is_open() {
                shard.breaker.succeeded();
            }
        }
    }

    /// A command for it failed. True: that has opened its shard.
    pub(super) fn failed(&mut self, key: &[u8], now: Instant) -> bool {
        let place = self.place(key);
        let Some(shard) = self.all.get_mut(place) else {
            return false;
        };
        // What was sent before it opened does not put off the next probe.
        let opens = !shard.breaker.is_open() && shard.breaker.failed(now);
        if opens {
            shard.failed = key.to_vec();
        }
        opens
    }

    /// A probe of it came to nothing.
    pub(super) fn not_reached(&mut self, key: &[u8], now: Instant) {
        let place = self.place(key);
        if let Some(shard) = self.all.get_mut(place) {
            shard.breaker.open(now);
            shard.failed = key.to_vec();
        }
    }

    /// When to make the next probe, and for what; none: all of them are used.
    pub(super) fn next_probe(&self) -> Option<(Instant, Vec<u8>)> {
        let due = self.all.iter().filter_map(|shard| Some((shard.breaker.probe_at()?, &shard.failed)));
        due.min().map(|(at, key)| (at, key.clone()))
    }

    fn place(&self, key: &[u8]) -> usize {
        self.place_of(Slot::of(key))
    }

    fn place_of(&self, slot: Slot) -> usize {
        let range = self.ranges.partition_point(|(_, last, _)| *last < slot.0);
        let range = self.ranges.get(range).filter(|(first, ..)| *first <= slot.0);
        range.map_or(self.masters.len(), |(.., shard)| *shard)
    }
}

/// A name of ours that lies in one of these ranges: user and password may be good for no other.
fn within(ranges: &[(u16, u16, usize)], place: usize, namespace: &str) -> Vec<u8> {
    let own = ranges.iter().filter(|(.., shard)| *shard == place);
    let Some((first, last, _)) = own.max_by_key(|(first, last, _)| last.saturating_sub(*first)) else {
        return Vec::new();
    };
    // Of so many, hardly a slot has none.
    let mut keys = (0..u32::from(SLOTS) * 16).map(|number| format!("{namespace}:{{{number}}}").into_bytes());
    keys.find(|key| (*first..=*last).contains(&Slot::of(key).0)).unwrap_or_default()
}

/// Host and port of the master that has this key, from the answer to `CLUSTER SLOTS`. No host: the one who was asked.
pub(super) fn owner(answer: &Value, key: &[u8]) -> Option<(Option<String>, u16)> {
    let slot = i64::from(Slot::of(key).0);
    let has_it = |range: &&Value| match array(range) {
        [Value::Int(first), Value::Int(last), ..] => (*first..=*last).contains(&slot),
        _ => false,
    };
    let range = array(answer).iter().find(has_it)?;
    let [host, Value::Int(port), ..] = array(array(range).get(2)?) else {
        return None;
    };
    let host = match host {
        Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
        _ => String::new(),
    };
    // Nobody knows where one with this for a host is.
    let host = if host == "?" { return None } else { Some(host).filter(|host| !host.is_empty()) };
    Some((host, u16::try_from(*port).ok()?))
}

fn array(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        _ => &[],
    }
}

/// CRC-16/XMODEM, as the specification of Redis Cluster has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    /// With these ranges: from, to, and the port of the master.
    fn of(ranges: &[(i64, i64, i64)]) -> Shards {
        let node = |port| Value::Array(vec![Value::BulkString(b"h".to_vec()), Value::Int(port)]);
        let range = |(from, to, port): &(i64, i64, i64)| {
            Value::Array(vec![Value::Int(*from), Value::Int(*to), node(*port), node(port + 1000)])
        };
        let answer = Value::Array(ranges.iter().map(range).collect());
        let settings = settings::Breaker { failures: 2, window: 1000 * MS, open: 500 * MS };
        Shards::read(&answer, settings, "shop")
    }

    fn shards() -> Shards {
        of(&[(8000, 16_383, 2), (0, 99, 1), (100, 199, 2)])
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(Slot::of(b"foo"), Slot(12_182));
        assert_eq!(Slot::of(b"a:{foo}:b"), Slot(12_182));
        assert_eq!(Slot::of(b"{}foo"), Slot(crc16(b"{}foo") % SLOTS));
        assert_eq!(Slot::of(b"{foo"), Slot(crc16(b"{foo") % SLOTS));
    }

    /// A key in one of these slots.
    fn key(slots: std::ops::RangeInclusive<u16>) -> Vec<u8> {
        let mut keys = (0..).map(|number: u32| number.to_string().into_bytes());
        keys.find(|key| slots.contains(&Slot::of(key).0)).unwrap()
    }

    #[test]
    fn one_shard_that_fails_is_left_alone_in_all_of_its_ranges_and_no_other_is() {
        let (mut shards, now) = (shards(), Instant::now());
        assert_eq!(shards.next_probe(), None);
        let (one, low, high) = (key(0..=99), key(100..=199), key(8000..=16_383));
        assert!(!shards.failed(&low, now));
        shards.answered(&one);
        assert!(shards.failed(&high, now), "the same shard");
        assert!(shards.is_open(&low) && shards.is_open(&high) && !shards.is_open(&one));
        for (slot, place) in [(0, 0), (99, 0), (100, 1), (199, 1), (8000, 1), (16_383, 1)] {
            assert_eq!(shards.place_of(Slot(slot)), place, "{slot}");
        }
        assert_eq!(shards.next_probe(), Some((now + 500 * MS, high.clone())));
        assert!(!shards.failed(&low, now + 100 * MS));
        shards.not_reached(&high, now + 600 * MS);
        assert_eq!(shards.next_probe(), Some((now + 1100 * MS, high)));
    }

    #[test]
    fn slots_that_are_nobodys_bring_down_nobody() {
        let (mut shards, now) = (shards(), Instant::now());
        let (gap, next) = (key(200..=7999), key(8000..=16_383));
        assert!(!shards.failed(&gap, now) && shards.failed(&gap, now));
        assert!(shards.is_open(&gap) && !shards.is_open(&next) && !shards.is_open(&key(0..=199)));
        // They are somebody's now.
        let mut after = of(&[(0, 99, 1), (100, 16_383, 2)]);
        after.take_over(&shards);
        assert!(after.is_open(&next), "until it is known that it answers");
        after.reached(&gap);
        assert!(after.are_closed());
    }

    #[test]
    fn all_that_are_used_are_asked_in_turn_and_who_does_not_answer_at_once_again() {
        let (mut shards, now) = (of(&[(0, 99, 1), (100, 199, 2), (200, 299, 3)]), Instant::now());
        let mut ask = |answers: bool| {
            let key = shards.next_ping().unwrap();
            assert!(key.starts_with(b"shop:{"));
            if answers {
                shards.next_turn();
            } else {
                shards.failed(&key, now);
            }
            shards.place(&key)
        };
        let asked = [true, true, true, true, false, false, true, true, true].map(&mut ask);
        assert_eq!(asked, [0, 1, 2, 0, 1, 1, 2, 0, 2]);
        assert!(!shards.are_open());
    }

    #[test]
    fn a_shard_is_left_alone_by_who_has_its_slots_now() {
        let now = Instant::now();
        let mut before = of(&[(0, 7999, 1), (8000, 9999, 2), (10_000, 16_383, 3)]);
        let (moved, stayed, others) = (key(4000..=7999), key(0..=3999), key(8000..=9999));
        for key in [&moved, &others] {
            assert!(!before.failed(key, now) && before.failed(key, now));
        }
        let third = key(10_000..=16_383);
        assert!(!before.failed(&third, now));
        assert!(before.is_open(&stayed));
        // In another order, and from another node.
        let mut after = of(&[(4000, 7999, 3), (8000, 9999, 2), (10_000, 16_383, 3), (0, 3999, 1)]);
        after.take_over(&before);
        assert_eq!([&moved, &others, &stayed].map(|key| after.is_open(key)), [true, true, false]);
        after.reached(&moved);
        assert_eq!([&moved, &others, &third].map(|key| after.is_open(key)), [false, true, false]);
        let mut same = of(&[(10_000, 16_383, 3), (0, 7999, 1), (8000, 9999, 2)]);
        same.take_over(&before);
        assert!(same.is_open(&stayed) && same.failed(&third, now), "goes on counting");
    }

    #[test]
    fn the_owner_of_a_key_is_the_master_of_its_range() {
        let node = |host, port| Value::Array(vec![host, Value::Int(port)]);
        let range = |from, to, master| {
            let replica = node(Value::BulkString(b"replica".to_vec()), 9);
            Value::Array(vec![Value::Int(from), Value::Int(to), master, replica])
        };
        let named = |host: &str| Value::BulkString(host.as_bytes().to_vec());
        let answer = Value::Array(vec![
            range(100, 199, node(named("h"), 1)),
            range(0, 99, node(Value::Nil, 2)),
            range(200, 299, node(named("?"), 3)),
            range(300, 399, node(named(""), 4)),
        ]);
        for (slots, expected) in [
            (0..=99, Some((None, 2))),
            (100..=199, Some((Some("h".to_owned()), 1))),
            (200..=299, None),
            (300..=399, Some((None, 4))),
            (400..=16_383, None),
        ] {
            assert_eq!(owner(&answer, &key(slots.clone())), expected, "{slots:?}");
        }
        assert_eq!(owner(&Value::Nil, b"a"), None);
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_one_shard() {
        let settings = settings::Breaker { failures: 1, window: MS, open: MS };
        for answer in [Value::Nil, Value::Array(vec![Value::Int(1), Value::Array(Vec::new())])] {
            let mut shards = Shards::read(&answer, settings, "shop");
            assert!(shards.next_ping().is_none() && !shards.are_open());
            assert!(shards.failed(b"a", Instant::now()) && shards.is_open(b"b") && shards.are_open());
        }
    }
}
