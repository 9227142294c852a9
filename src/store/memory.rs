//! L1: entries in this process, in moka, bounded by bytes.
//!
//! A `Slot` under a resource's key is an entry, or says which request fields tell its variants apart; a variant lies under a
//! key of its own. Whether an entry is fresh is not asked here: the times that moka is told only free room, and its clock is
//! not ours. Invariant: the weight of all slots stays within `max_size`, what they cost beside their bodies included.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::notification::RemovalCause;
use moka::sync::Cache;

use super::Settings;
use crate::object::{Key, Stored};
use crate::semantics::vary::VaryOn;
use crate::telemetry::Telemetry;

/// L1.
#[derive(Debug)]
pub struct Memory {
    cache: Cache<Key, Kept>,
    telemetry: Arc<Telemetry>,
}

/// What lies under a key.
#[derive(Clone, Debug)]
pub enum Slot {
    /// An answer.
    Entry(Arc<Stored>),
    /// Look under the key of the variant that these fields of the request select.
    Varies(Arc<VaryOn>),
}

/// A slot, and how long it is worth its room.
#[derive(Clone, Debug)]
struct Kept {
    slot: Slot,
    room_for: Duration,
}

/// What a `Varies` slot costs beside its names.
const VARIES_BYTES: usize = 512;
/// What each name costs beside its text.
const NAME_BYTES: usize = 48;
/// An entry past its end says that it is stale, and not that there was never one; for a while.
const STALE_FOR: Duration = Duration::from_secs(60);
/// It must outlive the variants it leads to; a day is longer than nearly all of them, and losing it costs a miss.
const VARIES_FOR: Duration = Duration::from_secs(24 * 3600);

struct RoomOnly;

impl Memory {
    /// Empty.
    pub fn new(settings: &Settings, telemetry: Arc<Telemetry>) -> Self {
        telemetry.memory.max_bytes.set(i64::try_from(settings.max_size_bytes).unwrap_or(i64::MAX));
        let counts = Arc::clone(&telemetry);
        let cache = Cache::builder()
            .max_capacity(settings.max_size_bytes)
            .weigher(|_, kept: &Kept| kept.weight())
            .expire_after(RoomOnly)
            .eviction_listener(move |_, _, cause| {
                if matches!(cause, RemovalCause::Size | RemovalCause::Expired) {
                    counts.memory.evicted.add_one();
                }
            })
            .build();
        Self { cache, telemetry }
    }

    /// What lies under this key.
    pub fn get(&self, key: &Key) -> Option<Slot> {
        self.cache.get(key).map(|kept| kept.slot)
    }

    /// Keeps an answer.
    pub fn put(&self, key: Key, stored: Arc<Stored>) {
        let room_for = stored.lifetime.fresh_until.since(stored.answered_at) + STALE_FOR;
        self.telemetry.memory.stored.add_one();
        self.insert(key, Kept { slot: Slot::Entry(stored), room_for });
    }

    /// Says that answers under this key vary.
    pub fn put_varies(&self, key: Key, vary: Arc<VaryOn>) {
        self.insert(key, Kept { slot: Slot::Varies(vary), room_for: VARIES_FOR });
    }

    fn insert(&self, key: Key, kept: Kept) {
        self.cache.insert(key, kept);
        // moka evicts when it gets round to it; a burst of large entries must not outrun it.
        self.cache.run_pending_tasks();
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.telemetry.memory.entries.set(signed(self.cache.entry_count()));
        self.telemetry.memory.bytes.set(signed(self.cache.weighted_size()));
    }
}

impl Kept {
    fn weight(&self) -> u32 {
        let bytes = match &self.slot {
            Slot::Entry(stored) => stored.weight(),
            Slot::Varies(vary) => {
                let names = vary.names().iter().map(|name| name.as_str().len() + NAME_BYTES);
                VARIES_BYTES + names.sum::<usize>()
            }
        };
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

impl Expiry<Key, Kept> for RoomOnly {
    fn expire_after_create(&self, _: &Key, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.room_for)
    }

    /// Without this a key that is written again would keep its first deadline.
    fn expire_after_update(&self, _: &Key, kept: &Kept, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(kept.room_for)
    }
}
