//! L1: entries in this process, in moka, bounded by bytes.
//!
//! A `Slot` under a resource's key is an entry, or says which request fields tell its variants apart; a variant lies under a
//! key of its own. Whether an entry is fresh is not asked here: the times that moka is told only free room, and its clock is
//! not ours. Invariant: the weight of all slots stays within `max_size`, what they cost beside their bodies included.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::notification::RemovalCause;
use moka::sync::Cache;

use super::Settings;
use super::front;
use super::seed::Seed;
use super::slot::Slot;
use super::variants::Variants;
use crate::object::{Key, Stored};
use crate::semantics::Lifetime;
use crate::semantics::vary::VaryOn;
use crate::telemetry::Telemetry;

/// L1.
#[derive(Debug)]
pub struct Memory {
    cache: Cache<Key, Kept, Seed>,
    /// Tells it from others in this process.
    number: u64,
    seed: Seed,
    /// For each key one of them moves on when anything changes under it; see `front`.
    generations: Box<[AtomicU64]>,
    telemetry: Arc<Telemetry>,
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

/// Keys that share a generation are asked for again when one of them changes: so many that few do.
const GENERATIONS: usize = 4096;

static MEMORIES: AtomicU64 = AtomicU64::new(1);

struct RoomOnly;

impl Memory {
    /// Empty.
    pub fn new(settings: &Settings, telemetry: Arc<Telemetry>) -> Self {
        telemetry.memory.max_bytes.set(i64::try_from(settings.max_size_bytes).unwrap_or(i64::MAX));
        let counts = Arc::clone(&telemetry);
        let seed = Seed::new();
        let cache = Cache::builder()
            .max_capacity(settings.max_size_bytes)
            .weigher(|_, kept: &Kept| kept.weight())
            .expire_after(RoomOnly)
            .eviction_listener(move |_, _, cause| {
                if matches!(cause, RemovalCause::Size | RemovalCause::Expired) {
                    counts.memory.evicted.add_one();
                }
            })
            .build_with_hasher(seed);
        let number = MEMORIES.fetch_add(1, Relaxed);
        let generations = (0..GENERATIONS).map(|_| AtomicU64::new(0)).collect();
        Self { cache, number, seed, generations, telemetry }
    }

    /// What lies under this key.
    pub fn get(&self, key: &Key) -> Option<Slot> {
        let hash = self.seed.hash(key);
        // Read before the cache is.
        let generation = self.generation(hash).load(Acquire);
        if let Some(slot) = front::recall(self.number, hash, key, generation) {
            return Some(slot);
        }
        let slot = self.cache.get(key).map(|kept| kept.slot)?;
        front::remember(self.number, hash, key, generation, &slot);
        Some(slot)
    }

    /// Keeps an answer.
    pub fn put(&self, key: Key, stored: Arc<Stored>) {
        let Lifetime { fresh_until, stale, .. } = stored.lifetime;
        let useful_until = fresh_until.plus(stale.longest());
        let kept_for = if stored.head.has_validator() { ASKED_ABOUT_FOR } else { STALE_FOR };
        let room_for = useful_until.since(stored.answered_at).saturating_add(kept_for);
        self.telemetry.memory.stored.add_one();
        self.insert(key, Kept { slot: Slot::Entry(stored), room_for });
    }

    /// Forgets what lies there.
    pub fn forget(&self, key: &Key) {
        self.cache.invalidate(key);
        self.has_changed(key);
    }

    /// Forgets this answer, if it is still the one.
    pub fn remove(&self, key: &Key, stored: &Arc<Stored>) -> bool {
        let is_it = matches!(self.get(key), Some(Slot::Entry(kept)) if Arc::ptr_eq(&kept, stored));
        if is_it {
            self.forget(key);
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

    /// Nobody is given any more what lay under this key before.
    fn has_changed(&self, key: &Key) {
        self.generation(self.seed.hash(key)).fetch_add(1, AcqRel);
    }

    fn generation(&self, hash: u64) -> &AtomicU64 {
        let place = usize::try_from(hash).unwrap_or_default() % GENERATIONS;
        self.generations.get(place).unwrap_or(&self.generations[0])
    }

    fn insert(&self, key: Key, kept: Kept) {
        self.cache.insert(key, kept);
        self.has_changed(&key);
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Release;

    use super::*;
    use crate::object::example::stored;

    fn key(number: u64) -> Key {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Key::from_bytes(bytes)
    }

    fn memory(max_size_bytes: u64) -> Memory {
        let settings = Settings {
            max_size_bytes,
            max_object_bytes: 1 << 20,
            max_filling_bytes: 1 << 20,
            max_variants: 64,
        };
        Memory::new(&settings, Arc::default())
    }

    fn entry(body_id: u64) -> Arc<Stored> {
        Arc::new(Stored { body_id, ..stored(&[], &[b'x'; 1000]) })
    }

    fn body_id(memory: &Memory, key: &Key) -> Option<u64> {
        match memory.get(key)? {
            Slot::Entry(stored) => Some(stored.body_id),
            Slot::Varies(_) => None,
        }
    }

    /// Asked for so often that this thread remembers it.
    fn warm(memory: &Memory, key: &Key) {
        let hash = memory.seed.hash(key);
        let is_remembered = |_| {
            assert!(memory.get(key).is_some());
            front::recall(memory.number, hash, key, memory.generation(hash).load(Acquire)).is_some()
        };
        assert!((0..100).any(is_remembered), "it is remembered");
    }

    #[test]
    fn what_a_thread_remembers_is_what_lies_there() {
        let (memory, other) = (memory(1 << 20), memory(1 << 20));
        // Somebody is still being given it when it has gone.
        let first = entry(1);
        memory.put(key(1), Arc::clone(&first));
        warm(&memory, &key(1));
        assert_eq!(body_id(&other, &key(1)), None, "another memory");
        let second = entry(2);
        memory.put(key(1), Arc::clone(&second));
        assert_eq!(body_id(&memory, &key(1)), Some(2));
        warm(&memory, &key(1));
        assert!(!memory.remove(&key(1), &first), "not this one");
        assert_eq!(body_id(&memory, &key(1)), Some(2));
        assert!(memory.remove(&key(1), &second));
        assert_eq!(body_id(&memory, &key(1)), None);
    }

    #[test]
    fn what_a_thread_remembers_keeps_nothing_alive() {
        let memory = memory(1 << 20);
        let first = entry(1);
        memory.put(key(1), Arc::clone(&first));
        let before = Arc::strong_count(&first);
        warm(&memory, &key(1));
        assert_eq!((Arc::strong_count(&first), Arc::weak_count(&first)), (before, 1));
    }

    #[test]
    fn what_threads_remember_is_known_to_be_in_use() {
        let memory = memory(100_000);
        memory.put(key(1), entry(1));
        for number in 2..2000 {
            memory.put(key(number), entry(number));
            (0..40).for_each(|_| assert_eq!(body_id(&memory, &key(1)), Some(1), "after {number}"));
        }
    }

    /// Who begins to look after a put or a removal was over must not see what was there before, whatever it remembers.
    #[test]
    fn no_thread_is_given_what_another_has_replaced_or_removed_before() {
        let memory = memory(1 << 20);
        // The last that was put, and the last that was removed; written when that is over.
        let (put, removed, is_done) = (AtomicU64::new(1), AtomicU64::new(0), AtomicBool::new(false));
        let (memory, put, removed, is_done) = (&memory, &put, &removed, &is_done);
        memory.put(key(1), entry(1));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(move || {
                    while !is_done.load(Relaxed) {
                        let (put, removed) = (put.load(Acquire), removed.load(Acquire));
                        if let Some(found) = body_id(memory, &key(1)) {
                            assert!(found >= put, "{found}, though {put} was there");
                            assert!(found > removed, "{found}, though {removed} was removed");
                        }
                    }
                });
            }
            for number in 2..5000 {
                memory.put(key(1), entry(number));
                put.store(number, Release);
                (0..number % 64).for_each(|_| std::hint::spin_loop());
                if number % 4 == 0 {
                    memory.forget(&key(1));
                    removed.store(number, Release);
                }
            }
            is_done.store(true, Relaxed);
        });
    }
}
