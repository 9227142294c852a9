//! `Front`: what a worker was given last by L1, so that it need not ask again for what everybody asks for.
//!
//! A worker is a thread, and what it remembers is its own: a hit takes no lock, reads no clock, and of what other cores read it
//! writes only the count of the entry's owners. What is remembered is held weakly: once L1 has let go of it, its body is gone, and
//! what stays until something else takes its place is the block of a `Stored`.
//!
//! Why it never gives what was replaced or removed: each key belongs to one of some *generations*, numbers that whoever changes
//! anything under such a key moves on, behind the change and before it returns. What is remembered bears the generation that was
//! read before L1 was asked. So if a put or a removal was over before a look-up began, the look-up finds another generation than it
//! remembers, and asks L1; and what L1 gave before the change bears a generation that is over. What L1 evicts for room is given
//! for as long as somebody else has it: it is as good as it was.
//!
//! Why L1 still knows what is used: one in so many look-ups of what is remembered goes to L1 all the same.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use super::slot::Slot;
use super::variants::Variants;
use crate::object::{Key, Stored};

/// What one thread remembers.
struct Front {
    /// None until there is something to remember.
    seen: Vec<Option<Seen>>,
    /// How many look-ups went past it.
    passed: u32,
}

struct Seen {
    /// Of which memory: others in this process have other entries under the same keys.
    of: u64,
    key: Key,
    generation: u64,
    /// So often it was given since L1 was asked for it.
    given: u32,
    slot: WeakSlot,
}

enum WeakSlot {
    Entry(Weak<Stored>),
    Varies(Weak<Variants>),
}

/// How many: one and a quarter megabytes in all, and what dead entries leave behind until their place is looked at. One costs a line
/// of memory to look at, where L1 itself costs half a dozen, one after the other.
const SEEN_MAX: usize = 16 * 1024;
/// One in so many look-ups that went past may take the place of something else: what is asked for often gets there soon, and what
/// is not costs next to nothing.
const TAKEN_IN: u32 = 16;
/// So often in a row something is given before L1 is asked once: it must see it used far more often than what it would evict.
const GIVEN_MAX: u32 = 8;

thread_local! {
    static FRONT: RefCell<Front> = const { RefCell::new(Front { seen: Vec::new(), passed: 0 }) };
}

/// What this memory gave this thread for this key in this generation.
pub(super) fn recall(of: u64, hash: u64, key: &Key, generation: u64) -> Option<Slot> {
    let recall = |front: &mut Front| {
        let place = front.seen.get_mut(place(hash))?;
        let seen = place.as_mut().filter(|seen| seen.of == of && seen.key == *key)?;
        seen.given = seen.given.saturating_add(1);
        if seen.generation != generation || seen.given >= GIVEN_MAX {
            return None;
        }
        let slot = seen.slot.upgrade();
        if slot.is_none() {
            *place = None;
        }
        slot
    };
    with_front(recall).flatten()
}

/// This memory gave this now.
pub(super) fn remember(of: u64, hash: u64, key: &Key, generation: u64, slot: &Slot) {
    with_front(|front| {
        front.passed = front.passed.wrapping_add(1);
        let is_turn = front.passed.is_multiple_of(TAKEN_IN);
        if front.seen.is_empty() {
            front.seen.resize_with(SEEN_MAX, || None);
        }
        let Some(place) = front.seen.get_mut(place(hash)) else {
            return;
        };
        let is_known = |seen: &Seen| seen.of == of && seen.key == *key;
        match place {
            Some(seen) if is_known(seen) && seen.slot.is(slot) => {
                (seen.generation, seen.given) = (generation, 0);
            }
            Some(seen) if !is_known(seen) && !is_turn => {}
            place => *place = Some(Seen { of, key: *key, generation, given: 0, slot: WeakSlot::new(slot) }),
        }
    });
}

/// Nothing where the thread is about to end.
fn with_front<T>(job: impl FnOnce(&mut Front) -> T) -> Option<T> {
    FRONT.try_with(|front| front.try_borrow_mut().ok().map(|mut front| job(&mut front))).ok().flatten()
}

/// Other bits than those that choose the generation.
fn place(hash: u64) -> usize {
    usize::try_from(hash >> 16).unwrap_or_default() % SEEN_MAX
}

impl WeakSlot {
    fn new(slot: &Slot) -> Self {
        match slot {
            Slot::Entry(stored) => Self::Entry(Arc::downgrade(stored)),
            Slot::Varies(variants) => Self::Varies(Arc::downgrade(variants)),
        }
    }

    fn upgrade(&self) -> Option<Slot> {
        match self {
            Self::Entry(stored) => stored.upgrade().map(Slot::Entry),
            Self::Varies(variants) => variants.upgrade().map(Slot::Varies),
        }
    }

    fn is(&self, slot: &Slot) -> bool {
        match (self, slot) {
            (Self::Entry(seen), Slot::Entry(stored)) => std::ptr::eq(seen.as_ptr(), Arc::as_ptr(stored)),
            (Self::Varies(seen), Slot::Varies(variants)) => {
                std::ptr::eq(seen.as_ptr(), Arc::as_ptr(variants))
            }
            _ => false,
        }
    }
}
