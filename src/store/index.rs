//! `Index`: the short way to what lies in L1. One look at one line of memory, and then at the entry itself.
//!
//! moka knows what is kept, and decides what stays; its look-up reads half a dozen pieces of memory one after the other, and writes
//! down that it was asked. The index has for most keys where the entry lies, for all threads alike, and whoever looks takes no lock.
//! It may lack what moka has, for a set has room for seven; then moka is asked.
//!
//! Why it never gives what was replaced or removed: moka tells its listener of each thing that leaves it, before what made it leave
//! returns, and the listener writes on that very thing that it has *gone*. What has gone is given by nobody who looks afterwards,
//! wherever a pointer to it lies. But what made it leave may be an eviction on another thread, whose listener is not there yet
//! when a put or a removal here finds nothing in moka. So both take out of the index what lies there, and move on the key's
//! *generation* before: who was given something by moka in an earlier one does not put it in. They write nothing on it: where two put at
//! once, what the later one finds may be what moka has, and is taken in again when moka gives it. Why it keeps nothing alive: behind its mark
//! the listener takes the pointer out, and who is late with putting it in finds the mark, for both hold the set's lock.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::object::{Key, Whereabouts};

/// Of one kind of things.
#[derive(Debug)]
pub(super) struct Index<T> {
    table: ArcSwap<Table<T>>,
    /// The one before, half as large: what is found there is put into the other.
    before: ArcSwapOption<Table<T>>,
    /// Of those who change it; each for some sets.
    locks: [Mutex<()>; LOCKS],
    growing: Mutex<()>,
}

#[derive(Debug)]
struct Table<T> {
    /// A power of two of them.
    sets: Box<[Set<T>]>,
    /// How many slots are taken.
    taken: AtomicUsize,
}

/// A line of memory.
#[derive(Debug)]
#[repr(align(64))]
struct Set<T> {
    /// A byte of the hash of each key, so that seldom another entry than the right one is looked at; 0 where there is none. They are
    /// hints: what a slot gives is held against the whole key.
    tags: AtomicU64,
    slots: [ArcSwapOption<T>; WAYS],
}

const WAYS: usize = 7;
const LOCKS: usize = 64;
/// So many sets at first.
const SETS_MIN: usize = 64;
/// It doubles when five of its eight slots are taken: then one key in thirty finds its set full, and just after that none.
const FULL_OF_EIGHT: usize = 5;
/// A larger one is let go of by a thread of its own: it has a pointer to each entry to look at.
const SETS_DROPPED_HERE: usize = 8 * 1024;

impl<T: AsRef<Whereabouts> + Send + Sync + 'static> Index<T> {
    /// Of nothing.
    pub(super) fn new() -> Self {
        Self {
            table: ArcSwap::from_pointee(Table::new(SETS_MIN)),
            before: ArcSwapOption::const_empty(),
            locks: [const { Mutex::new(()) }; LOCKS],
            growing: Mutex::default(),
        }
    }

    /// What lies under this key, if it is known here.
    pub(super) fn get(&self, hash: u64, key: &Key) -> Option<Arc<T>> {
        self.table.load().get(hash, key).or_else(|| {
            let found = self.before.load().as_ref()?.get(hash, key)?;
            self.carry(hash, key, &found);
            Some(found)
        })
    }

    /// Puts what lay in the table before into the other. Who has taken it out since took it out of both, with the lock held.
    fn carry(&self, hash: u64, key: &Key, found: &Arc<T>) {
        self.put(hash, key, found, || {
            self.before.load().as_ref().is_some_and(|before| before.has(hash, found))
        });
    }

    /// It lies under that key; moka has it there. Unless, asked with the lock held, it does no longer.
    pub(super) fn put(&self, hash: u64, key: &Key, kept: &Arc<T>, is_true: impl FnOnce() -> bool) {
        let held = self.lock(hash);
        // Looked up with the lock held: who comes later does not find an earlier table.
        let table = self.table.load();
        let Some(set) = table.set(hash).filter(|_| whereabouts(kept).lies_under(key) && is_true()) else {
            return;
        };
        let is_of = |found: &Arc<T>| whereabouts(found).is_of(key);
        let (same, free) = (set.find(tag(hash), is_of), set.with_tag(0).next());
        // Other bits than those that choose the set.
        let any = at(hash >> 40) % WAYS;
        set.write(same.or(free).unwrap_or(any), tag(hash), Some(Arc::clone(kept)));
        // Counted with the lock held: else it could be counted as gone first.
        let is_one_more = same.is_none() && free.is_some();
        let is_full = is_one_more && table.is_full_with(table.taken.fetch_add(1, Relaxed) + 1);
        drop(held);
        if is_full {
            self.grow();
        }
    }

    /// Nothing lies under that key any more, but for this.
    pub(super) fn forget(&self, hash: u64, key: &Key, but: Option<&Arc<T>>) {
        let _held = self.lock(hash);
        self.table.load().forget(hash, key, but);
        if let Some(before) = self.before.load().as_ref() {
            before.forget(hash, key, but);
        }
    }

    /// It has gone from under its key.
    pub(super) fn remove(&self, hash: u64, gone: &Arc<T>) {
        let _held = self.lock(hash);
        self.table.load().remove(hash, gone);
        if let Some(before) = self.before.load().as_ref() {
            before.remove(hash, gone);
        }
    }

    /// Begins anew with twice the room.
    fn grow(&self) {
        let Ok(_held) = self.growing.try_lock() else {
            return;
        };
        let table = self.table.load();
        let sets = table.sets.len();
        if !table.is_full_with(table.taken.load(Relaxed)) {
            return;
        }
        drop(table);
        // In this order: who finds the larger one finds what was before it.
        let old = self.before.swap(Some(self.table.load_full()));
        self.table.store(Arc::new(Table::new(sets * 2)));
        if sets >= SETS_DROPPED_HERE {
            // Where no thread can be had it is let go of here.
            let _ = thread::Builder::new().name("larder-index".into()).spawn(move || drop(old));
        }
    }

    fn lock(&self, hash: u64) -> MutexGuard<'_, ()> {
        let lock = self.locks.get(at(hash) % LOCKS).unwrap_or(&self.locks[0]);
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: AsRef<Whereabouts>> Table<T> {
    fn get(&self, hash: u64, key: &Key) -> Option<Arc<T>> {
        let set = self.set(hash)?;
        set.with_tag(tag(hash)).find_map(|place| {
            let found = set.slots.get(place)?.load();
            let found = found.as_ref()?;
            whereabouts(found).lies_under(key).then(|| Arc::clone(found))
        })
    }

    fn has(&self, hash: u64, kept: &Arc<T>) -> bool {
        self.set(hash).is_some_and(|set| set.find(tag(hash), |found| Arc::ptr_eq(found, kept)).is_some())
    }

    /// For who holds the lock.
    fn remove(&self, hash: u64, gone: &Arc<T>) {
        self.clear(hash, |found| Arc::ptr_eq(found, gone));
    }

    /// For who holds the lock.
    fn forget(&self, hash: u64, key: &Key, but: Option<&Arc<T>>) {
        self.clear(hash, |found| {
            whereabouts(found).is_of(key) && !but.is_some_and(|but| Arc::ptr_eq(but, found))
        });
    }

    fn clear(&self, hash: u64, is_it: impl Fn(&Arc<T>) -> bool) {
        if let Some(set) = self.set(hash)
            && let Some(place) = set.find(tag(hash), is_it)
        {
            set.write(place, 0, None);
            self.taken.fetch_sub(1, Relaxed);
        }
    }
}

impl<T> Table<T> {
    fn new(sets: usize) -> Self {
        Self { sets: (0..sets).map(|_| Set::default()).collect(), taken: AtomicUsize::new(0) }
    }

    fn is_full_with(&self, taken: usize) -> bool {
        taken > self.sets.len() * WAYS / 8 * FULL_OF_EIGHT
    }

    fn set(&self, hash: u64) -> Option<&Set<T>> {
        self.sets.get(at(hash) & (self.sets.len() - 1))
    }
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self { tags: AtomicU64::new(0), slots: [const { ArcSwapOption::const_empty() }; WAYS] }
    }
}

impl<T> Set<T> {
    /// The places of slots with this tag.
    fn with_tag(&self, tag: u8) -> impl Iterator<Item = usize> {
        let tags = self.tags.load(Acquire).to_le_bytes();
        (0..WAYS).filter(move |place| tags.get(*place) == Some(&tag))
    }

    fn find(&self, tag: u8, is_it: impl Fn(&Arc<T>) -> bool) -> Option<usize> {
        let mut places = self.with_tag(tag);
        places
            .find(|place| self.slots.get(*place).is_some_and(|slot| slot.load().as_ref().is_some_and(&is_it)))
    }

    /// For who holds the lock.
    fn write(&self, place: usize, tag: u8, kept: Option<Arc<T>>) {
        let mut tags = self.tags.load(Relaxed).to_le_bytes();
        if let (Some(at), Some(slot)) = (tags.get_mut(place), self.slots.get(place)) {
            *at = tag;
            slot.store(kept);
            self.tags.store(u64::from_le_bytes(tags), Release);
        }
    }
}

fn whereabouts<T: AsRef<Whereabouts>>(kept: &Arc<T>) -> &Whereabouts {
    T::as_ref(kept)
}

/// Other bits than those that choose the set; never 0.
fn tag(hash: u64) -> u8 {
    u8::try_from(hash >> 56).unwrap_or_default().max(1)
}

fn at(hash: u64) -> usize {
    usize::try_from(hash & u64::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
impl<T> Index<T> {
    /// All that it has a pointer to.
    pub(super) fn held(&self) -> Vec<Arc<T>> {
        let tables = [Some(self.table.load_full()), self.before.load_full()];
        let sets = tables.iter().flatten().flat_map(|table| &table.sets);
        sets.flat_map(|set| &set.slots).filter_map(ArcSwapOption::load_full).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::iter;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[derive(Debug, Default)]
    struct Thing {
        whereabouts: Whereabouts,
        number: u64,
    }

    impl AsRef<Whereabouts> for Thing {
        fn as_ref(&self) -> &Whereabouts {
            &self.whereabouts
        }
    }

    fn key(number: u64) -> Key {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Key::from_bytes(bytes)
    }

    fn thing(number: u64) -> Arc<Thing> {
        let thing = Thing { number, ..Thing::default() };
        thing.whereabouts.keep_as(key(number));
        Arc::new(thing)
    }

    /// A hash that every bit of the number counts in.
    fn hash(number: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes())
    }

    fn number_at(index: &Index<Thing>, hash: u64, number: u64) -> Option<u64> {
        index.get(hash, &key(number)).map(|thing| thing.number)
    }

    #[test]
    fn keys_with_one_hash_are_told_apart_and_an_eighth_takes_the_place_of_another() {
        let index = Index::new();
        for number in 0..7 {
            index.put(1, &key(number), &thing(number), || true);
        }
        assert!((0..7).all(|number| number_at(&index, 1, number) == Some(number)));
        index.put(1, &key(7), &thing(7), || true);
        assert_eq!(number_at(&index, 1, 7), Some(7));
        assert_eq!((0..8).filter(|number| number_at(&index, 1, *number).is_some()).count(), 7);
    }

    #[test]
    fn what_has_gone_is_neither_given_nor_taken_in() {
        let index = Index::new();
        let (one, other) = (thing(1), thing(1));
        index.put(5, &key(1), &one, || true);
        one.whereabouts.goes();
        assert_eq!(number_at(&index, 5, 1), None, "though it is still there");
        index.put(5, &key(1), &other, || true);
        index.remove(5, &one);
        assert_eq!(number_at(&index, 5, 1), Some(1), "the other is");
        index.put(5, &key(1), &one, || true);
        assert!(index.get(5, &key(1)).is_some_and(|found| Arc::ptr_eq(&found, &other)), "late");
        assert_eq!(Arc::strong_count(&one), 1);
        other.whereabouts.goes();
        index.remove(5, &other);
        assert_eq!((Arc::strong_count(&other), index.table.load().taken.load(Relaxed)), (1, 0));
    }

    #[test]
    fn what_is_true_no_longer_is_not_taken_in_and_what_is_forgotten_is_not_carried_over() {
        let index = Index::new();
        let one = thing(1);
        index.put(5, &key(1), &one, || false);
        assert_eq!(number_at(&index, 5, 1), None);
        index.put(5, &key(1), &one, || true);
        index.put(5, &key(2), &thing(2), || true);
        index.forget(5, &key(1), None);
        assert_eq!(Arc::strong_count(&one), 1);
        assert_eq!((number_at(&index, 5, 1), number_at(&index, 5, 2)), (None, Some(2)));
        index.put(5, &key(1), &one, || true);
        // What has just grown is empty.
        index.before.store(Some(index.table.swap(Arc::new(Table::new(2 * SETS_MIN)))));
        let found = index.before.load_full().and_then(|before| before.get(5, &key(1))).unwrap();
        index.forget(5, &key(1), None);
        index.carry(5, &key(1), &found);
        assert_eq!(number_at(&index, 5, 1), None, "it was found before it was forgotten");
        assert_eq!(number_at(&index, 5, 2), Some(2));
        index.before.store(None);
        assert_eq!(number_at(&index, 5, 2), Some(2), "it was carried over");
    }

    #[test]
    fn it_grows_with_what_is_put_and_most_of_it_is_found() {
        let index = Index::new();
        let things: Vec<_> = (0..20_000).map(thing).collect();
        for _ in 0..2 {
            for (number, thing) in (0..).zip(&things) {
                index.put(hash(number), &key(number), thing, || true);
            }
        }
        let found = (0..20_000).filter(|number| number_at(&index, hash(*number), *number).is_some()).count();
        assert!(found > 19_000, "{found}");
        let slots = index.table.load().sets.len() * WAYS;
        assert!((20_000..80_000).contains(&slots), "{slots}");
        for (number, thing) in (0..).zip(&things) {
            thing.whereabouts.goes();
            index.remove(hash(number), thing);
        }
        assert!(things.iter().all(|thing| Arc::strong_count(thing) == 1));
    }

    /// Where it was let go of; told at the end of the last that had it.
    #[derive(Debug)]
    struct Told {
        whereabouts: Whereabouts,
        by: mpsc::Sender<Option<String>>,
    }

    impl AsRef<Whereabouts> for Told {
        fn as_ref(&self) -> &Whereabouts {
            &self.whereabouts
        }
    }

    impl Drop for Told {
        fn drop(&mut self) {
            // Nobody listens any more when the test ends.
            let _ = self.by.send(thread::current().name().map(str::to_owned));
        }
    }

    #[test]
    fn a_large_one_is_let_go_of_by_a_thread_of_its_own() {
        // With so many taken there are so many sets.
        let full = |sets: usize| sets * WAYS / 8 * FULL_OF_EIGHT;
        let (by, told) = mpsc::channel();
        let index = Index::new();
        let put = |number: u64| {
            let whereabouts = Whereabouts::default();
            whereabouts.keep_as(key(number));
            let only = Arc::new(Told { whereabouts, by: by.clone() });
            index.put(hash(number), &key(number), &only, || true);
        };
        let sets = || index.table.load().sets.len();
        let mut number = 0;
        while sets() <= SETS_DROPPED_HERE {
            put(number);
            number += 1;
        }
        // The rest goes here; when all has gone nobody can tell any more.
        drop((index, by));
        let names: Vec<_> = iter::from_fn(|| told.recv_timeout(Duration::from_secs(60)).ok()).collect();
        let elsewhere = names.iter().filter(|name| name.as_deref() == Some("larder-index")).count();
        // All that lay in the last but one, less what an eighth took the place of.
        let lay_there = full(SETS_DROPPED_HERE / 2);
        assert!((lay_there / 10 * 9..=lay_there + 1).contains(&elsewhere), "{elsewhere} of {lay_there}");
    }

    #[test]
    fn what_lay_in_a_large_one_is_found_and_not_kept_alive() {
        let index = Index::new();
        let mut things = Vec::new();
        let sets = || index.table.load().sets.len();
        // Twice: then the one that is let go of is large itself.
        while sets() <= 2 * SETS_DROPPED_HERE {
            let number = things.len() as u64;
            things.push(thing(number));
            index.put(hash(number), &key(number), &things[things.len() - 1], || true);
        }
        let found = |from: usize| {
            let numbers = from as u64..things.len() as u64;
            numbers.filter(|number| number_at(&index, hash(*number), *number) == Some(*number)).count()
        };
        // Those that lay in the last but one may have gone with it.
        let half = things.len() / 2;
        assert!(found(half) > (things.len() - half) / 10 * 9, "{} of {half}", found(half));
        for (number, thing) in (0..).zip(&things) {
            thing.whereabouts.goes();
            index.remove(hash(number), thing);
        }
        // Another thread may be letting go of them still.
        let mut looks = 0..10_000_000;
        let is_let_go = |thing: &Arc<Thing>| {
            looks.any(|_| {
                thread::yield_now();
                Arc::strong_count(thing) == 1
            })
        };
        assert!(things.iter().all(is_let_go));
        assert_eq!(index.table.load().taken.load(Relaxed), 0);
    }

    #[test]
    fn a_set_is_a_line_of_memory() {
        assert_eq!(size_of::<Set<Thing>>(), 64);
    }
}
