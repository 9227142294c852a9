//! L1: entries in this process, in moka, bounded by bytes.
//!
//! A `Slot` under a resource's key is an entry, or says which request fields tell its variants apart; a variant lies under a
//! key of its own. Whether an entry is fresh is not asked here: the times that moka is told only free room, and its clock is
//! not ours. Invariant: the weight of all slots stays within `max_size`, what they cost beside their bodies included.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::notification::RemovalCause;
use moka::sync::Cache;

use super::Settings;
use super::index::Index;
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
    cache: Cache<Key, Slot, Seed>,
    short: Arc<Short>,
    /// So many bytes are crowded.
    crowded_bytes: u64,
    is_crowded: AtomicBool,
    telemetry: Arc<Telemetry>,
}

/// The short way to what is kept: of each kind of slot.
#[derive(Debug)]
struct Short {
    seed: Seed,
    entries: Index<Stored>,
    varies: Index<Variants>,
    /// For each key one of them moves on when what lies under it changes; see `index`.
    generations: Box<[AtomicU64]>,
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

/// One in so many look-ups that go the short way goes to moka all the same, while there is room.
const TOLD: u32 = 32;

/// Keys that share a generation are not taken into the index while one of them changes: so many that few do.
const GENERATIONS: usize = 4096;

thread_local! {
    static DICE: Cell<u32> = const { Cell::new(1) };
}

struct RoomOnly;

impl Memory {
    /// Empty.
    pub fn new(settings: &Settings, telemetry: Arc<Telemetry>) -> Self {
        telemetry.memory.max_bytes.set(i64::try_from(settings.max_size_bytes).unwrap_or(i64::MAX));
        let seed = Seed::drawn();
        let short = Arc::new(Short {
            seed,
            entries: Index::new(seed),
            varies: Index::new(seed),
            generations: (0..GENERATIONS).map(|_| AtomicU64::new(0)).collect(),
        });
        let counts = Arc::clone(&telemetry);
        let leaves = Arc::clone(&short);
        let cache = Cache::builder()
            .max_capacity(settings.max_size_bytes)
            .weigher(|_, slot: &Slot| weight(slot))
            .expire_after(RoomOnly)
            .eviction_listener(move |key, slot: Slot, cause| {
                leaves.goes(&key, &slot);
                if matches!(cause, RemovalCause::Size | RemovalCause::Expired) {
                    counts.memory.evicted.add_one();
                }
            })
            .build_with_hasher(seed);
        let (crowded_bytes, is_crowded) = (settings.max_size_bytes / 4 * 3, AtomicBool::new(false));
        Self { cache, short, crowded_bytes, is_crowded, telemetry }
    }

    /// What lies under this key.
    pub fn get(&self, key: &Key) -> Option<Slot> {
        let hash = self.short.seed.hash(key);
        let is_known = match self.short.get(hash, key) {
            Some(known) if !self.tells_of(&known) => return Some(known),
            known => known.is_some(),
        };
        // Read before the cache is.
        let generation = self.short.generation(hash).load(Acquire);
        let slot = self.cache.get(key)?;
        if !is_known {
            self.short.learn(hash, key, &slot, generation);
        }
        Some(slot)
    }

    /// Keeps an answer.
    pub fn put(&self, key: Key, stored: Arc<Stored>) {
        // What has gone bears the mark for ever.
        let stored = if stored.whereabouts.is_kept_before() { Arc::new(stored.again()) } else { stored };
        self.telemetry.memory.stored.add_one();
        self.insert(key, &Slot::Entry(stored));
    }

    /// Forgets what lies there.
    pub fn forget(&self, key: &Key) {
        self.cache.invalidate(key);
        self.short.forget(key);
    }

    /// Forgets this answer, if it is still the one.
    pub fn remove(&self, key: &Key, stored: &Arc<Stored>) -> bool {
        let kept = self.short.get(self.short.seed.hash(key), key).or_else(|| self.cache.get(key));
        let is_it = matches!(kept, Some(Slot::Entry(kept)) if Arc::ptr_eq(&kept, stored));
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
    pub fn put_variants(&self, key: Key, variants: &Variants) {
        // What is replaced by itself would be marked as gone.
        self.insert(key, &Slot::Varies(Arc::new(variants.again())));
    }

    /// Whether moka hears that this is given. It decides by that who has to go, and must know what is in use; so where room is
    /// scarce it hears more: told of one use in eight, it kept so much of the wrong things that of 1000 requests up to 34 more were
    /// misses.
    fn tells_of(&self, slot: &Slot) -> bool {
        if self.is_crowded.load(Relaxed) { slot.whereabouts().is_news_when_given() } else { is_turn() }
    }

    fn insert(&self, key: Key, slot: &Slot) {
        slot.whereabouts().keep_as(key);
        let generation = self.short.generation(self.short.seed.hash(&key)).load(Acquire);
        self.cache.insert(key, slot.clone());
        self.short.put(&key, slot, generation);
        // moka evicts when it gets round to it; a burst of large entries must not outrun it.
        self.cache.run_pending_tasks();
        self.is_crowded.store(self.cache.weighted_size() > self.crowded_bytes, Relaxed);
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.telemetry.memory.entries.set(signed(self.cache.entry_count()));
        self.telemetry.memory.bytes.set(signed(self.cache.weighted_size()));
    }
}

impl Short {
    fn get(&self, hash: u64, key: &Key) -> Option<Slot> {
        let entry = || self.entries.get(hash, key).map(Slot::Entry);
        entry().or_else(|| self.varies.get(hash, key).map(Slot::Varies))
    }

    /// The cache gave it, in this generation of its key.
    fn learn(&self, hash: u64, key: &Key, slot: &Slot, generation: u64) {
        let is_true = || self.generation(hash).load(Acquire) == generation;
        match slot {
            Slot::Entry(stored) => self.entries.put(hash, key, stored, is_true),
            Slot::Varies(variants) => self.varies.put(hash, key, variants, is_true),
        }
    }

    /// It was put into the cache, in this generation of its key or later. If another has put or removed something since, nobody here
    /// knows which of the two the cache has: who asks it next learns that.
    fn put(&self, key: &Key, slot: &Slot, generation: u64) {
        let hash = self.seed.hash(key);
        let is_last = self.generation(hash).fetch_add(1, AcqRel) == generation;
        self.entries.forget(hash, key);
        self.varies.forget(hash, key);
        if is_last {
            self.learn(hash, key, slot, generation + 1);
        }
    }

    /// What lay there was removed from the cache.
    fn forget(&self, key: &Key) {
        let hash = self.seed.hash(key);
        self.generation(hash).fetch_add(1, AcqRel);
        self.entries.forget(hash, key);
        self.varies.forget(hash, key);
    }

    fn generation(&self, hash: u64) -> &AtomicU64 {
        let place = usize::try_from(hash).unwrap_or_default() % GENERATIONS;
        self.generations.get(place).unwrap_or(&self.generations[0])
    }

    /// It leaves the cache.
    fn goes(&self, key: &Key, slot: &Slot) {
        let hash = self.seed.hash(key);
        slot.whereabouts().goes();
        match slot {
            Slot::Entry(stored) => self.entries.remove(hash, stored),
            Slot::Varies(variants) => self.varies.remove(hash, variants),
        }
    }
}

/// Whether it is the turn of this look-up: by chance, so that it is no key's in particular.
fn is_turn() -> bool {
    DICE.try_with(|dice| {
        let mut thrown = dice.get();
        // Marsaglia's xorshift.
        thrown ^= thrown << 13;
        thrown ^= thrown >> 17;
        thrown ^= thrown << 5;
        dice.set(thrown);
        thrown.is_multiple_of(TOLD)
    })
    .unwrap_or(true)
}

fn weight(slot: &Slot) -> u32 {
    let bytes = match slot {
        Slot::Entry(stored) => stored.weight(),
        Slot::Varies(variants) => {
            let names = variants.vary().names();
            let text = names.iter().map(|name| name.as_str().len() + NAME_BYTES).sum::<usize>();
            VARIES_BYTES + text + variants.count() * (VARIANT_BYTES + names.len() * size_of::<u64>())
        }
    };
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// How long it is worth its room.
fn room_for(slot: &Slot) -> Duration {
    let Slot::Entry(stored) = slot else {
        return VARIES_FOR;
    };
    let Lifetime { fresh_until, answered_at, stale, .. } = stored.lifetime;
    let useful_until = fresh_until.plus(stale.longest());
    let kept_for = if stored.head.has_validator() { ASKED_ABOUT_FOR } else { STALE_FOR };
    useful_until.since(answered_at).saturating_add(kept_for)
}

impl Expiry<Key, Slot> for RoomOnly {
    fn expire_after_create(&self, _: &Key, slot: &Slot, _: Instant) -> Option<Duration> {
        Some(room_for(slot))
    }

    /// Without this a key that is written again would keep its first deadline.
    fn expire_after_update(&self, _: &Key, slot: &Slot, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(room_for(slot))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
    use std::sync::atomic::{AtomicBool, AtomicU64};

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
            max_sendfile_bytes: 0,
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

    #[test]
    fn what_is_given_is_what_lies_there() {
        let (memory, other) = (memory(1 << 20), memory(1 << 20));
        // Somebody is still being given it when it has gone.
        let first = entry(1);
        memory.put(key(1), Arc::clone(&first));
        assert_eq!(body_id(&other, &key(1)), None, "another memory");
        let second = entry(2);
        memory.put(key(1), Arc::clone(&second));
        assert_eq!(body_id(&memory, &key(1)), Some(2));
        assert!(!memory.remove(&key(1), &first), "not this one");
        assert_eq!(body_id(&memory, &key(1)), Some(2));
        assert!(memory.remove(&key(1), &second));
        assert_eq!(body_id(&memory, &key(1)), None);
    }

    #[test]
    fn what_was_put_twice_or_under_two_keys_lies_there_all_the_same() {
        let memory = memory(1 << 20);
        let one = entry(1);
        (0..2).for_each(|_| memory.put(key(1), Arc::clone(&one)));
        memory.put(key(2), Arc::clone(&one));
        for _ in 0..100 {
            assert_eq!((body_id(&memory, &key(1)), body_id(&memory, &key(2))), (Some(1), Some(1)));
        }
        memory.forget(&key(1));
        assert_eq!((body_id(&memory, &key(1)), body_id(&memory, &key(2))), (None, Some(1)));
    }

    /// An eviction on another thread has taken it out of moka, and its listener is not there yet.
    #[test]
    fn what_is_removed_while_it_is_evicted_is_not_given_any_more() {
        let memory = memory(1 << 20);
        let hash = memory.short.seed.hash(&key(1));
        let evicted = || {
            let entry = entry(1);
            entry.whereabouts.keep_as(key(1));
            Slot::Entry(entry)
        };
        memory.short.put(&key(1), &evicted(), memory.short.generation(hash).load(Acquire));
        assert_eq!(body_id(&memory, &key(1)), Some(1), "it is known the short way");
        memory.forget(&key(1));
        assert_eq!(body_id(&memory, &key(1)), None);
        // Somebody put it before that, and says so now.
        let generation = memory.short.generation(hash).load(Acquire);
        memory.forget(&key(1));
        memory.short.put(&key(1), &evicted(), generation);
        assert_eq!(body_id(&memory, &key(1)), None);
        // Somebody was given it by moka before, and says so now.
        let generation = memory.short.generation(hash).load(Acquire);
        memory.forget(&key(1));
        memory.short.learn(hash, &key(1), &evicted(), generation);
        assert_eq!(body_id(&memory, &key(1)), None);
        let generation = memory.short.generation(hash).load(Acquire);
        memory.put_variants(key(1), &Variants::new(VaryOn::on(vec![http::header::ACCEPT])));
        memory.short.learn(hash, &key(1), &evicted(), generation);
        assert!(matches!(memory.get(&key(1)), Some(Slot::Varies(_))));
    }

    /// Two change the same at once, and who was first with moka is last with the index.
    #[test]
    fn what_moka_has_is_found_the_short_way_whoever_comes_late() {
        let memory = memory(1 << 20);
        let hash = memory.short.seed.hash(&key(1));
        memory.put(key(1), entry(2));
        let is_found = || body_id(&memory, &key(1)) == Some(2) && memory.short.get(hash, &key(1)).is_some();
        let replaced = entry(1);
        replaced.whereabouts.keep_as(key(1));
        replaced.whereabouts.goes();
        memory.short.put(&key(1), &Slot::Entry(replaced), 0);
        assert!(is_found(), "it took the place of what was put late");
        let variants = Variants::new(VaryOn::on(vec![http::header::ACCEPT]));
        variants.whereabouts().keep_as(key(1));
        variants.whereabouts().goes();
        memory.short.put(&key(1), &Slot::Varies(Arc::new(variants)), 0);
        assert!(is_found(), "of another kind");
        memory.short.forget(&key(1));
        assert!(is_found(), "it was put behind a removal");
    }

    #[test]
    fn what_is_put_again_is_found_the_short_way() {
        let memory = memory(1 << 20);
        let one = entry(1);
        memory.put(key(1), Arc::clone(&one));
        memory.forget(&key(1));
        memory.put(key(1), one);
        let hash = memory.short.seed.hash(&key(1));
        assert!(memory.short.get(hash, &key(1)).is_some());
    }

    #[test]
    fn a_list_of_variants_that_has_grown_takes_the_place_of_itself() {
        let memory = memory(1 << 20);
        let vary = VaryOn::on(vec![http::header::ACCEPT]);
        for _ in 0..3 {
            let variants = memory.variants(&key(1), &vary);
            memory.put_variants(key(1), &variants);
            assert!((0..100).all(|_| matches!(memory.get(&key(1)), Some(Slot::Varies(_)))));
        }
        memory.put(key(1), entry(1));
        assert!((0..100).all(|_| body_id(&memory, &key(1)) == Some(1)), "it does not vary any more");
        let variants = memory.variants(&key(1), &vary);
        memory.put_variants(key(1), &variants);
        assert!((0..100).all(|_| body_id(&memory, &key(1)).is_none()), "it does again");
    }

    #[test]
    fn what_left_is_not_kept_alive() {
        let memory = memory(100_000);
        for number in 0..2000 {
            memory.put(key(number), entry(number));
            // Looked for where it may have been refused, and where it has perhaps been found before.
            (0..3).for_each(|back| drop(memory.get(&key(u64::saturating_sub(number, back)))));
        }
        memory.cache.run_pending_tasks();
        let held = memory.short.entries.held();
        assert!(held.len() > 10, "{}", held.len());
        assert!(held.iter().all(|entry| !entry.whereabouts.has_gone()));
        // Each may lie in a table and in the one before.
        assert!(held.len() as u64 <= 2 * memory.cache.entry_count(), "{}", held.len());
    }

    #[test]
    fn what_is_found_the_short_way_is_known_to_be_in_use() {
        let memory = memory(100_000);
        memory.put(key(1), entry(1));
        for number in 2..2000 {
            memory.put(key(number), entry(number));
            (0..40).for_each(|_| assert_eq!(body_id(&memory, &key(1)), Some(1), "after {number}"));
        }
    }

    /// What is removed while the index grows is neither left behind in one table nor brought over to the other.
    #[test]
    fn what_is_removed_while_others_make_the_index_grow_is_given_to_nobody() {
        const KEYS: u64 = 20_000;
        let memory = memory(1 << 30);
        // All below were put, and every other one of them removed.
        let (removed, is_done) = (AtomicU64::new(0), AtomicBool::new(false));
        let (memory, removed, is_done) = (&memory, &removed, &is_done);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while !is_done.load(Relaxed) {
                    let removed = removed.load(Acquire);
                    let found = (removed.saturating_sub(300)..removed)
                        .filter(|number| number % 2 == 0 && body_id(memory, &key(*number)).is_some());
                    assert_eq!(found.count(), 0, "below {removed}");
                }
            });
            scope.spawn(move || {
                for number in (KEYS..).take_while(|_| !is_done.load(Relaxed)) {
                    memory.put(key(number), entry(number));
                }
            });
            let _done = Done(is_done);
            for number in 0..KEYS {
                memory.put(key(number), entry(number));
                if number % 2 == 0 {
                    memory.forget(&key(number));
                }
                removed.store(number + 1, Release);
            }
        });
        assert!((0..KEYS).all(|number| body_id(memory, &key(number)).is_some() == (number % 2 == 1)));
    }

    struct Done<'a>(&'a AtomicBool);

    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
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
            // Also where something is not as it should be: the others would look for ever.
            let _done = Done(is_done);
            for number in 2..5000 {
                memory.put(key(1), entry(number));
                put.store(number, Release);
                (0..number % 64).for_each(|_| std::hint::spin_loop());
                if number % 4 == 0 {
                    memory.forget(&key(1));
                    removed.store(number, Release);
                }
            }
        });
    }
}
