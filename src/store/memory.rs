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
use super::variants::Variants;
use crate::object::{Key, Stored};
use crate::semantics::Lifetime;
use crate::semantics::validation::has_validator;
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
    Varies(Arc<Variants>),
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
/// What each variant costs beside the digests of its values.
const VARIANT_BYTES: usize = 120;
/// An entry past its end says that it is stale, and not that there was never one; for a while.
const STALE_FOR: Duration = Duration::from_secs(60);
/// … and one with a validator can be asked about: that spares the upstream a body. Room that is needed is taken from it all the
/// same.
const ASKED_ABOUT_FOR: Duration = Duration::from_secs(3600);
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
        let Lifetime { fresh_until, stale, .. } = stored.lifetime;
        let useful_until = fresh_until.plus(stale.longest());
        let kept_for = if has_validator(&stored.head.headers) { ASKED_ABOUT_FOR } else { STALE_FOR };
        let room_for = useful_until.since(stored.answered_at).saturating_add(kept_for);
        self.telemetry.memory.stored.add_one();
        self.insert(key, Kept { slot: Slot::Entry(stored), room_for });
    }

    /// Forgets what lies there.
    pub fn forget(&self, key: &Key) {
        self.cache.invalidate(key);
    }

    /// Forgets this answer, if it is still the one.
    pub fn remove(&self, key: &Key, stored: &Arc<Stored>) -> bool {
        let is_it = matches!(self.get(key), Some(Slot::Entry(kept)) if Arc::ptr_eq(&kept, stored));
        if is_it {
            self.cache.invalidate(key);
        }
        is_it
    }

    /// Says that answers under this key vary so; which variants there are is forgotten if they varied otherwise.
    pub fn variants(&self, key: &Key, vary: &VaryOn) -> Arc<Variants> {
        match self.get(key) {
            Some(Slot::Varies(variants)) if variants.vary() == vary => variants,
            _ => Arc::new(Variants::new(vary.clone())),
        }
    }

    /// Keeps the list of the variants under this key: also when it has grown, since it is weighed then.
    pub fn put_variants(&self, key: Key, variants: Arc<Variants>) {
        self.insert(key, Kept { slot: Slot::Varies(variants), room_for: VARIES_FOR });
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
            Slot::Varies(variants) => {
                let names = variants.vary().names();
                let text = names.iter().map(|name| name.as_str().len() + NAME_BYTES).sum::<usize>();
                VARIES_BYTES + text + variants.count() * (VARIANT_BYTES + names.len() * size_of::<u64>())
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
