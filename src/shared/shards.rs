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
    /// The last slot of each range in rising order, and whose it is.
    ranges: Vec<(u16, usize)>,
    shards: Vec<Shard>,
}

#[derive(Debug)]
struct Shard {
    breaker: Breaker,
    /// The last one that a command failed for: what a probe asks for.
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
    pub(super) fn read(answer: &Value, settings: settings::Breaker) -> Self {
        let mut masters: Vec<&Value> = Vec::new();
        let mut ranges = Vec::new();
        for range in array(answer) {
            let [_, Value::Int(last), master, ..] = array(range) else {
                continue;
            };
            let Ok(last) = u16::try_from(*last) else {
                continue;
            };
            let shard = masters.iter().position(|known| *known == master).unwrap_or_else(|| {
                masters.push(master);
                masters.len() - 1
            });
            ranges.push((last, shard));
        }
        ranges.sort_unstable();
        let breaker = || Breaker::new(settings.failures, settings.window, settings.open);
        let shard = |_| Shard { breaker: breaker(), failed: Vec::new() };
        // And one for slots that are nobody's.
        Self { ranges, shards: (0..=masters.len()).map(shard).collect() }
    }

    /// Whether commands for it are not to be sent.
    pub(super) fn is_open(&self, key: &[u8]) -> bool {
        self.shards.get(self.place(key)).is_some_and(|shard| shard.breaker.is_open())
    }

    /// A command for it was answered.
    pub(super) fn answered(&mut self, key: &[u8]) {
        let place = self.place(key);
        if let Some(shard) = self.shards.get_mut(place) {
            // A reply that comes late is no probe.
            if !shard.breaker.is_open() {
                shard.breaker.succeeded();
            }
        }
    }

    /// A command for it failed. True: that has opened its shard.
    pub(super) fn failed(&mut self, key: &[u8], now: Instant) -> bool {
        let place = self.place(key);
        let Some(shard) = self.shards.get_mut(place) else {
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
        if let Some(shard) = self.shards.get_mut(place) {
            shard.breaker.open(now);
        }
    }

    /// When to make the next probe, and for what; none: all of them are used.
    pub(super) fn next_probe(&self) -> Option<(Instant, Vec<u8>)> {
        let due = self.shards.iter().filter_map(|shard| Some((shard.breaker.probe_at()?, &shard.failed)));
        due.min().map(|(at, key)| (at, key.clone()))
    }

    fn place(&self, key: &[u8]) -> usize {
        self.place_of(Slot::of(key))
    }

    fn place_of(&self, slot: Slot) -> usize {
        let range = self.ranges.partition_point(|(last, _)| *last < slot.0);
        self.ranges.get(range).map_or(self.shards.len() - 1, |(_, shard)| *shard)
    }
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

    fn shards() -> Shards {
        let node = |port| Value::Array(vec![Value::BulkString(b"h".to_vec()), Value::Int(port)]);
        let range = |from, to, port| {
            Value::Array(vec![Value::Int(from), Value::Int(to), node(port), node(port + 1000)])
        };
        let answer = Value::Array(vec![range(8000, 16_383, 2), range(0, 99, 1), range(100, 199, 2)]);
        let settings = settings::Breaker { failures: 2, window: 1000 * MS, open: 500 * MS };
        Shards::read(&answer, settings)
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
        for (slot, place) in [(0, 1), (99, 1), (100, 0), (199, 0), (8000, 0), (16_383, 0)] {
            assert_eq!(shards.place_of(Slot(slot)), place, "{slot}");
        }
        assert_eq!(shards.next_probe(), Some((now + 500 * MS, high.clone())));
        assert!(!shards.failed(&low, now + 100 * MS));
        shards.not_reached(&high, now + 600 * MS);
        assert_eq!(shards.next_probe(), Some((now + 1100 * MS, high)));
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_one_shard() {
        let settings = settings::Breaker { failures: 1, window: MS, open: MS };
        for answer in [Value::Nil, Value::Array(vec![Value::Int(1), Value::Array(Vec::new())])] {
            let mut shards = Shards::read(&answer, settings);
            assert!(shards.failed(b"a", Instant::now()) && shards.is_open(b"b"));
        }
    }
}
