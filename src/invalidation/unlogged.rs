//! `Unlogged`: what was declared here and is not in the log yet, so that no position can be told: it counts as later than
//! anything.
//!
//! Bounded: past its limit all of it is taken together into one event that names everything, which then is the only one.

use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};

use super::event::{Event, EventId};
use super::fate::Fate;
use crate::object::{Labels, Stamp, Tag};

/// Something that must not have been named by anything else since it was stamped.
#[derive(Clone, Debug, Hash)]
pub struct Watched {
    /// What it can be called by. None: that is not known, so nothing at all must have been declared.
    pub labels: Option<Labels>,
    /// When it was begun.
    pub before: Stamp,
}

/// All of them, in the order in which they were declared.
#[derive(Clone, Debug)]
pub(super) struct Unlogged {
    max: usize,
    prefixes_max: usize,
    /// Bytes of all names.
    bytes: usize,
    next: u64,
    events: BTreeMap<u64, Entry>,
    places: HashMap<EventId, u64>,
    /// How many of them name this tag, hard and soft.
    tags: HashMap<Tag, [u32; 2]>,
    /// … name everything.
    all: [u32; 2],
    /// Beginnings of paths, and whether softly.
    prefixes: Vec<(u64, bool, Vec<u8>)>,
    /// How often there were too many.
    pub(super) overflows: u64,
}

/// One that is in the log now.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) watched: Option<Watched>,
}

#[derive(Clone, Debug, Hash)]
struct Entry {
    id: EventId,
    event: Event,
    watched: Option<Watched>,
}

/// Names of events that wait: some hundred bytes each for as many as may wait, and no more if they are long.
const BYTES_MAX: usize = 16 * 1024 * 1024;

impl Unlogged {
    pub(super) fn new(max: usize, prefixes_max: usize) -> Self {
        Self {
            max,
            prefixes_max,
            bytes: 0,
            next: 1,
            events: BTreeMap::new(),
            places: HashMap::new(),
            tags: HashMap::new(),
            all: [0; 2],
            prefixes: Vec::new(),
            overflows: 0,
        }
    }

    pub(super) fn add(&mut self, id: EventId, event: Event, watched: Option<Watched>) {
        let is_full = self.events.len() >= self.max
            || self.prefixes.len() + event.prefixes.len() > self.prefixes_max
            || self.bytes + event.bytes() > BYTES_MAX;
        if is_full {
            let none = Self::new(self.max, self.prefixes_max);
            *self = Self { next: self.next, overflows: self.overflows + 1, ..none };
            return self.insert(id, Event::everything(), None);
        }
        self.insert(id, event, watched);
    }

    fn insert(&mut self, id: EventId, event: Event, watched: Option<Watched>) {
        let place = self.next;
        self.next += 1;
        let kind = usize::from(event.soft);
        self.all[kind] += u32::from(event.all);
        for tag in event.named() {
            self.tags.entry(tag).or_default()[kind] += 1;
        }
        self.prefixes.extend(event.beginnings().map(|beginning| (place, event.soft, beginning)));
        self.bytes += event.bytes();
        self.places.insert(id, place);
        self.events.insert(place, Entry { id, event, watched });
    }

    /// It is in the log now. None: it was not declared here.
    pub(super) fn take(&mut self, id: EventId) -> Option<Taken> {
        let place = self.places.remove(&id)?;
        let Entry { event, watched, .. } = self.events.remove(&place)?;
        let kind = usize::from(event.soft);
        self.all[kind] -= u32::from(event.all);
        for tag in event.named() {
            if let Some(counts) = self.tags.get_mut(&tag) {
                counts[kind] -= 1;
                if *counts == [0; 2] {
                    self.tags.remove(&tag);
                }
            }
        }
        self.bytes -= event.bytes();
        if !event.prefixes.is_empty() {
            self.prefixes.retain(|(of, ..)| *of != place);
        }
        Some(Taken { watched })
    }

    pub(super) fn fate(&self, labels: &Labels) -> Fate {
        if self.events.is_empty() {
            return Fate::Live;
        }
        let named = |[hard, soft]: [u32; 2]| match (hard, soft) {
            (0, 0) => Fate::Live,
            (0, _) => Fate::Soft,
            _ => Fate::Dead,
        };
        let tags = labels.tags().filter_map(|tag| self.tags.get(&tag)).map(|counts| named(*counts));
        let path = labels.path();
        let begins = |(_, _, beginning): &&(u64, bool, Vec<u8>)| path.starts_with(beginning);
        let prefixes = self.prefixes.iter().filter(begins);
        let prefixes = prefixes.map(|(_, is_soft, _)| if *is_soft { Fate::Soft } else { Fate::Dead });
        tags.chain(prefixes).fold(named(self.all), Fate::max)
    }

    /// So many of those that were declared behind this place, in order, and the place of the last.
    pub(super) fn after(&self, place: u64, count: usize) -> (Vec<(EventId, Event)>, u64) {
        let next: Vec<_> = self.events.range(place + 1..).take(count).collect();
        let last = next.last().map_or(place, |(place, _)| **place);
        (next.into_iter().map(|(_, entry)| (entry.id, entry.event.clone())).collect(), last)
    }

    /// The event that a hook's message has made, if it is among these.
    pub(super) fn of_message(&self, message: u64) -> Option<EventId> {
        self.events.values().find(|entry| entry.event.message == Some(message)).map(|entry| entry.id)
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }
}

/// All the rest follows from these.
impl Hash for Unlogged {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.events.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> EventId {
        EventId([n; 16])
    }

    fn naming(tag: &str) -> Event {
        Event { tags: vec![tag.to_owned()], ..Event::default() }
    }

    fn beginning(prefix: &str) -> Event {
        Event { prefixes: vec![prefix.to_owned()], ..Event::default() }
    }

    fn soft(event: Event) -> Event {
        Event { soft: true, ..event }
    }

    fn labels(tag: &str) -> Labels {
        Labels::new(vec![Tag::named(tag)], b"/users/5")
    }

    #[test]
    fn what_is_declared_names_until_it_is_in_the_log() {
        let mut unlogged = Unlogged::new(9, 9);
        assert_eq!(unlogged.fate(&labels("a")), Fate::Live);
        for (n, event, fate) in [
            (1, soft(naming("a")), Fate::Soft),
            (2, naming("a"), Fate::Dead),
            (3, naming("b"), Fate::Live),
            (4, soft(beginning("/users/")), Fate::Soft),
            (5, beginning("/users/5"), Fate::Dead),
            (6, beginning("/users/50"), Fate::Live),
            (7, soft(Event::everything()), Fate::Soft),
            (8, Event::everything(), Fate::Dead),
        ] {
            unlogged.add(id(n), event, None);
            assert_eq!(unlogged.fate(&labels("a")), fate, "{n}");
            assert_eq!(unlogged.take(id(n)).map(|taken| taken.watched.is_none()), Some(true), "{n}");
            assert_eq!(unlogged.fate(&labels("a")), Fate::Live, "{n}");
            assert_eq!((unlogged.tags.len(), unlogged.prefixes.len()), (0, 0), "{n}");
            assert_eq!((unlogged.len(), unlogged.bytes), (0, 0), "{n}");
        }
    }

    #[test]
    fn one_that_is_logged_takes_no_other_along() {
        let mut unlogged = Unlogged::new(9, 9);
        unlogged.add(id(1), naming("a"), None);
        unlogged.add(id(2), naming("a"), None);
        unlogged.add(id(3), beginning("/users/"), None);
        unlogged.take(id(1));
        assert_eq!(unlogged.fate(&labels("a")), Fate::Dead);
        unlogged.take(id(2));
        assert_eq!(unlogged.fate(&labels("a")), Fate::Dead);
        unlogged.take(id(3));
        assert_eq!(unlogged.fate(&labels("a")), Fate::Live);
        assert!(unlogged.take(id(3)).is_none());
    }

    #[test]
    fn the_hard_counts_beside_the_soft() {
        let mut unlogged = Unlogged::new(9, 9);
        unlogged.add(id(1), naming("a"), None);
        unlogged.add(id(2), soft(naming("a")), None);
        assert_eq!(unlogged.fate(&labels("a")), Fate::Dead);
        unlogged.take(id(1));
        assert_eq!(unlogged.fate(&labels("a")), Fate::Soft);
    }

    #[test]
    fn they_are_told_in_the_order_in_which_they_were_declared() {
        let mut unlogged = Unlogged::new(9, 9);
        for n in [5, 3, 4] {
            unlogged.add(id(n), Event { message: Some(u64::from(n)), ..naming("a") }, None);
        }
        let (first, place) = unlogged.after(0, 2);
        assert_eq!(first.iter().map(|(id, _)| id.0[0]).collect::<Vec<_>>(), [5, 3]);
        unlogged.take(id(3));
        let (rest, end) = unlogged.after(place, 2);
        assert_eq!(rest.iter().map(|(id, _)| id.0[0]).collect::<Vec<_>>(), [4]);
        assert_eq!(unlogged.after(end, 2), (vec![], end));
        assert_eq!(unlogged.of_message(4), Some(id(4)));
        assert_eq!(unlogged.of_message(3), None);
    }

    #[test]
    fn too_many_are_one_that_names_everything() {
        let mut unlogged = Unlogged::new(3, 9);
        for n in 1..=3 {
            unlogged.add(id(n), soft(naming("a")), None);
        }
        assert_eq!((unlogged.fate(&labels("b")), unlogged.overflows), (Fate::Live, 0));
        let (_, sent) = unlogged.after(0, 9);
        unlogged.add(id(4), naming("a"), None);
        assert_eq!((unlogged.fate(&labels("b")), unlogged.overflows, unlogged.len()), (Fate::Dead, 1, 1));
        // It is behind what was sent already, whatever became of that.
        assert_eq!(unlogged.after(sent, 9).0, [(id(4), Event::everything())]);
        assert!(unlogged.take(id(1)).is_none());
        assert_eq!(unlogged.fate(&labels("b")), Fate::Dead);
        assert!(unlogged.take(id(4)).is_some());
        assert_eq!(unlogged.fate(&labels("a")), Fate::Live);
        for n in 5..=12 {
            unlogged.add(id(n), naming("a"), None);
            assert!(unlogged.len() <= 3);
        }
        assert_eq!(unlogged.overflows, 3);
    }
    #[test]
    fn too_many_beginnings_and_too_long_names_are_too_many() {
        let mut unlogged = Unlogged::new(9, 2);
        unlogged.add(id(1), beginning("/a"), None);
        unlogged.add(id(2), beginning("/b"), None);
        assert_eq!(unlogged.overflows, 0);
        unlogged.add(id(3), beginning("/c"), None);
        assert_eq!((unlogged.overflows, unlogged.len(), unlogged.fate(&labels("a"))), (1, 1, Fate::Dead));
        unlogged.add(id(4), naming(&"x".repeat(BYTES_MAX)), None);
        assert_eq!((unlogged.overflows, unlogged.len()), (1, 2));
        unlogged.add(id(5), naming("y"), None);
        assert_eq!((unlogged.overflows, unlogged.len(), unlogged.bytes), (2, 1, 0));
    }
}
