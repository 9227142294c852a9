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
//!
//! It grows without anybody waiting for that: each put brings over one set of the table before, with that set's lock held, and no
//! other table is begun until all of them are done. So what has to go is in one of the two, or in none, and never in a third.

use std::mem::ManuallyDrop;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::seed::Seed;
use crate::object::{Key, Whereabouts};

/// Of one kind of things.
#[derive(Debug)]
pub(super) struct Index<T> {
    /// Makes the hash of a key.
    seed: Seed,
    table: ArcSwap<Table<T>>,
    /// The one before, half as large, until all of it is brought over.
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
    /// Sets that somebody brings over to the next table, …
    begun: AtomicUsize,
    /// … and those that are.
    done: AtomicUsize,
}

/// A line of memory.
#[derive(Debug)]
#[repr(align(64))]
struct Set<T> {
    /// A byte of the hash of each key, so that seldom another entry than the right one is looked at; 0 where there is none. They are
    /// hints: what a slot gives is held against the whole key.
    tags: AtomicU64,
    /// Dropped by hand, and only where there is something: to drop one looks after all threads that might be reading it, and of an
    /// emptied table that would be a million times for nothing.
    slots: [ManuallyDrop<ArcSwapOption<T>>; WAYS],
}

const WAYS: usize = 7;
const LOCKS: usize = 64;
/// So many sets at first.
const SETS_MIN: usize = 64;
/// It doubles when five of its eight slots are taken: then one key in thirty finds its set full, and just after that none. Half of
/// those that it has room for come from the table before: with a set for each of the other half all of that is long done.
const FULL_OF_EIGHT: usize = 5;

impl<T: AsRef<Whereabouts> + Send + Sync + 'static> Index<T> {
    /// Of nothing.
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            seed,
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
            // Where nothing is put any more, too, all is in one table soon.
            self.bring_over();
            Some(found)
        })
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
        self.bring_over();
        if is_full {
            self.grow();
        }
    }

    /// Nothing lies under that key any more.
    pub(super) fn forget(&self, hash: u64, key: &Key) {
        let _held = self.lock(hash);
        self.table.load().forget(hash, key);
        if let Some(before) = self.before.load().as_ref() {
            before.forget(hash, key);
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
        let table = self.table.load_full();
        // The last sets of the one before may still be on their way; the next put tries again.
        if !table.is_full_with(table.taken.load(Relaxed)) || self.before.load().is_some() {
            return;
        }
        let sets = table.sets.len();
        // In this order: who finds the larger one finds what was before it.
        self.before.store(Some(table));
        self.table.store(Arc::new(Table::new(sets * 2)));
    }

    /// Brings one set more over from the table before.
    fn bring_over(&self) {
        let before = self.before.load();
        let Some(before) = before.as_ref() else {
            return;
        };
        let table = self.table.load();
        // It is about to be replaced; and who has seen that it was, and held a set's lock then, is seen to by all who hold it later: they
        // put into the larger one.
        if std::ptr::eq(&raw const **before, &raw const **table) {
            return;
        }
        let at = before.begun.fetch_add(1, Relaxed);
        let Some(set) = before.sets.get(at) else {
            return;
        };
        let held = self.lock(at as u64);
        for slot in set.taken() {
            if let Some(kept) = slot.swap(None)
                && let Some(key) = whereabouts(&kept).key()
            {
                table.take_in(self.seed.hash(key), key, &kept);
            }
        }
        set.tags.store(0, Relaxed);
        drop(held);
        // Not before all are: what is on its way must be found by who makes it go.
        if before.done.fetch_add(1, AcqRel) + 1 == before.sets.len() {
            self.before.store(None);
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

    /// From the table before. For who holds the lock.
    fn take_in(&self, hash: u64, key: &Key, kept: &Arc<T>) {
        let Some(set) = self.set(hash).filter(|_| whereabouts(kept).lies_under(key)) else {
            return;
        };
        // What was put since is newer; and where there is no room moka is asked.
        let is_there = set.find(tag(hash), |found| whereabouts(found).is_of(key)).is_some();
        if let Some(free) = set.with_tag(0).next().filter(|_| !is_there) {
            set.write(free, tag(hash), Some(Arc::clone(kept)));
            self.taken.fetch_add(1, Relaxed);
        }
    }

    /// For who holds the lock.
    fn remove(&self, hash: u64, gone: &Arc<T>) {
        self.clear(hash, |found| Arc::ptr_eq(found, gone));
    }

    /// For who holds the lock.
    fn forget(&self, hash: u64, key: &Key) {
        self.clear(hash, |found| whereabouts(found).is_of(key));
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
        let none = || AtomicUsize::new(0);
        Self { sets: (0..sets).map(|_| Set::default()).collect(), taken: none(), begun: none(), done: none() }
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
        Self {
            tags: AtomicU64::new(0),
            slots: [const { ManuallyDrop::new(ArcSwapOption::const_empty()) }; WAYS],
        }
    }
}

impl<T> Drop for Set<T> {
    fn drop(&mut self) {
        self.taken().for_each(|slot| slot.store(None));
    }
}

impl<T> Set<T> {
    /// The places of slots with this tag.
    fn with_tag(&self, tag: u8) -> impl Iterator<Item = usize> {
        let tags = self.tags.load(Acquire).to_le_bytes();
        (0..WAYS).filter(move |place| tags.get(*place) == Some(&tag))
    }

    /// The slots in which something lies. For who holds the lock.
    fn taken(&self) -> impl Iterator<Item = &ArcSwapOption<T>> {
        let tags = self.tags.load(Relaxed).to_le_bytes();
        self.slots.iter().zip(tags).filter(|(_, tag)| *tag != 0).map(|(slot, _)| &**slot)
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
        sets.flat_map(|set| &set.slots).filter_map(|slot| slot.load_full()).collect()
    }
}

#[cfg(test)]
mod tests {
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

    /// A key is a digest: each of its bits is as good as another.
    fn key(number: u64) -> Key {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&xxhash_rust::xxh3::xxh3_64(&number.to_be_bytes()).to_be_bytes());
        Key::from_bytes(bytes)
    }

    fn thing(number: u64) -> Arc<Thing> {
        let thing = Thing { number, ..Thing::default() };
        thing.whereabouts.keep_as(key(number));
        Arc::new(thing)
    }

    fn hash(index: &Index<Thing>, number: u64) -> u64 {
        index.seed.hash(&key(number))
    }

    /// Each under its number.
    fn put_all(index: &Index<Thing>, things: &[Arc<Thing>]) {
        for thing in things {
            index.put(hash(index, thing.number), &key(thing.number), thing, || true);
        }
    }

    fn number_at(index: &Index<Thing>, hash: u64, number: u64) -> Option<u64> {
        index.get(hash, &key(number)).map(|thing| thing.number)
    }

    #[test]
    fn keys_with_one_hash_are_told_apart_and_an_eighth_takes_the_place_of_another() {
        let index = Index::new(Seed::drawn());
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
        let index = Index::new(Seed::drawn());
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
    fn what_is_true_no_longer_is_not_taken_in_and_what_is_forgotten_is_not_brought_over() {
        let index = Index::new(Seed::drawn());
        let one = thing(1);
        index.put(5, &key(1), &one, || false);
        assert_eq!(number_at(&index, 5, 1), None);
        index.put(5, &key(1), &one, || true);
        index.put(5, &key(2), &thing(2), || true);
        index.forget(5, &key(1));
        assert_eq!(Arc::strong_count(&one), 1);
        assert_eq!((number_at(&index, 5, 1), number_at(&index, 5, 2)), (None, Some(2)));
        put_all(&index, &[Arc::clone(&one), thing(2)]);
        // What has just grown is empty.
        index.before.store(Some(index.table.swap(Arc::new(Table::new(2 * SETS_MIN)))));
        index.forget(hash(&index, 1), &key(1));
        (0..SETS_MIN).for_each(|_| index.bring_over());
        assert!(index.before.load().is_none());
        assert_eq!((number_at(&index, hash(&index, 1), 1), Arc::strong_count(&one)), (None, 1));
        assert_eq!(number_at(&index, hash(&index, 2), 2), Some(2), "it was brought over");
    }

    #[test]
    fn it_grows_with_what_is_put_and_most_of_it_is_found() {
        let index = Index::new(Seed::drawn());
        let things: Vec<_> = (0..20_000).map(thing).collect();
        put_all(&index, &things);
        let found = || {
            (0..20_000).filter(|number| number_at(&index, hash(&index, *number), *number).is_some()).count()
        };
        assert!(found() > 17_500, "{}", found());
        put_all(&index, &things);
        assert!(found() > 19_500, "{}, with what had found its set full put again", found());
        assert!(index.before.load().is_none(), "all of it is in one table");
        let slots = index.table.load().sets.len() * WAYS;
        assert!((20_000..80_000).contains(&slots), "{slots}");
        for (number, thing) in (0..).zip(&things) {
            thing.whereabouts.goes();
            index.remove(hash(&index, number), thing);
        }
        assert!(things.iter().all(|thing| Arc::strong_count(thing) == 1));
        assert_eq!(index.table.load().taken.load(Relaxed), 0);
    }

    #[test]
    fn while_it_grows_all_is_found_in_either_table_and_what_goes_is_in_none() {
        let index = Index::new(Seed::drawn());
        let mut things = Vec::new();
        for number in 0.. {
            things.push(thing(number));
            index.put(hash(&index, number), &key(number), &things[things.len() - 1], || true);
            if index.before.load().is_some() {
                break;
            }
        }
        let lie_there = |numbers: &mut dyn Iterator<Item = u64>| {
            numbers.filter(|number| number_at(&index, hash(&index, *number), *number).is_some()).count()
        };
        let count = things.len() as u64;
        index.forget(hash(&index, 0), &key(0));
        things[1].whereabouts.goes();
        // To look for what is not there brings nothing over.
        assert_eq!(lie_there(&mut (0..2)), 0);
        assert!(lie_there(&mut (2..count)) as u64 > count * 8 / 10);
        (0..SETS_MIN).for_each(|_| index.bring_over());
        assert!(index.before.load().is_none());
        assert_eq!(lie_there(&mut (0..2)), 0);
        assert!(lie_there(&mut (2..count)) as u64 > count * 8 / 10);
        assert_eq!(Arc::strong_count(&things[0]), 1);
        assert_eq!(Arc::strong_count(&things[1]), 1, "it was left behind");
        let held = things.iter().filter(|thing| Arc::strong_count(thing) == 2).count();
        assert_eq!(held, index.table.load().taken.load(Relaxed), "each is held once");
    }

    #[test]
    fn what_is_put_while_it_grows_is_not_replaced_by_what_was_there_before() {
        let index = Index::new(Seed::drawn());
        let (older, newer) = (thing(1), thing(1));
        index.put(hash(&index, 1), &key(1), &older, || true);
        index.before.store(Some(index.table.swap(Arc::new(Table::new(2 * SETS_MIN)))));
        // moka gave it to who learnt nothing of the other.
        index.table.load().take_in(hash(&index, 1), &key(1), &newer);
        (0..SETS_MIN).for_each(|_| index.bring_over());
        assert!(index.get(hash(&index, 1), &key(1)).is_some_and(|found| Arc::ptr_eq(&found, &newer)));
        assert_eq!(Arc::strong_count(&older), 1);
    }

    #[test]
    fn what_lies_in_it_is_let_go_of_with_it() {
        let index = Index::new(Seed::drawn());
        let things: Vec<_> = (0..1000).map(thing).collect();
        put_all(&index, &things);
        assert!(things.iter().any(|thing| Arc::strong_count(thing) > 1));
        drop(index);
        assert!(things.iter().all(|thing| Arc::strong_count(thing) == 1));
    }

    #[test]
    fn a_set_is_a_line_of_memory() {
        assert_eq!(size_of::<Set<Thing>>(), 64);
    }
}
