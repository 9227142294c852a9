//! `Ledger`: all that has been declared invalid, and since when; what an entry is held against before it is served.
//!
//! It knows no time of day, no network and no other thread: events come in, in the order of the log, and verdicts come out. An
//! entry is *stamped* with how far the log had been applied before it was fetched. It is dead if a later event names it, by one
//! of its tags, by the beginning of its path, or with everything else; a soft event only makes it stale.
//!
//! What can't be known any more is dead: that is the *floor*. It rises where the log has a gap, since it was trimmed before we
//! read it; where there is another log in the place of ours (an *epoch* ends); and where the ledger is full and forgets. Its tags
//! lie in two generations: when the young one is full, the old one is forgotten, with the floor at its last event.
//!
//! Stamps of all epochs are one sequence: an epoch begins above all that was before. What was declared here and is not in the
//! log yet counts as later than anything (`unlogged`): until it is there, nothing that it names may be kept here.

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::event::{Event, EventId};
use super::fate::Fate;
use super::messages::Messages;
use super::settling::Settling;
use super::unlogged::{Unlogged, Watched};
use crate::object::{Epoch, Labels, Stamp, Tag};

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tags, each with its last event.
    pub tags_max: usize,
    /// Beginnings of paths.
    pub prefixes_max: usize,
    /// Events that are not in the log yet.
    pub unlogged_max: usize,
}

/// The record of invalidations, as far as this instance has read it.
#[derive(Clone, Debug)]
pub struct Ledger {
    limits: Limits,
    epoch: Epoch,
    /// What makes a stamp of a position in this epoch.
    base: u64,
    /// The last position of this epoch that was applied.
    applied: u64,
    /// Which event that was.
    last: Option<EventId>,
    /// What is stamped below is dead.
    floor: u64,
    /// The last events that named everything.
    all: Marks,
    young: HashMap<Tag, Marks>,
    old: HashMap<Tag, Marks>,
    /// The stamp of the last event in `old`.
    old_until: u64,
    /// In the order in which they were declared.
    prefixes: VecDeque<Prefix>,
    pub(super) unlogged: Unlogged,
    pub(super) settling: Settling,
    pub(super) messages: Messages,
    floors: Floors,
}

/// Stamps of an epoch: more events than any log will have, or than there are milliseconds since 1970, should anybody number theirs
/// so. A million epochs are left, which is more than any process will see.
const SPAN: u64 = 1 << 44;

/// How often the floor rose, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    /// The log had been trimmed further than we had read.
    pub gaps: u64,
    /// Tags or prefixes had to be forgotten.
    pub forgotten: u64,
    /// Another log took the place of ours.
    pub epochs: u64,
}

/// What came of an event that was declared here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Where it stands.
    pub stamp: Stamp,
    /// Nothing else had named what was watched.
    pub is_alone: bool,
}

/// The stamps of the last hard and the last soft event; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Marks {
    hard: u64,
    soft: u64,
}

#[derive(Clone, Debug, Hash)]
struct Prefix {
    stamp: u64,
    is_soft: bool,
    beginning: Box<[u8]>,
}

impl Ledger {
    /// Nothing was declared yet; `now` is on a clock that never goes back.
    pub fn new(limits: Limits, epoch: Epoch, now: Duration) -> Self {
        let generation = limits.tags_max / 2;
        Self {
            limits,
            epoch,
            base: 1,
            applied: 0,
            last: None,
            floor: 1,
            all: Marks::default(),
            // Room for all of it at once: growing would move a million tags while everybody waits. What is not used takes none.
            young: HashMap::with_capacity(generation),
            old: HashMap::with_capacity(generation),
            old_until: 0,
            prefixes: VecDeque::new(),
            unlogged: Unlogged::new(limits.unlogged_max, limits.prefixes_max),
            settling: Settling::new(now, Stamp(1)),
            messages: Messages::default(),
            floors: Floors::default(),
        }
    }

    /// What is fetched from now on knows of all that was applied so far.
    pub fn stamp(&self) -> Stamp {
        Stamp(self.base + self.applied)
    }

    /// Which life of the log this is of, and how far it was applied.
    pub fn place(&self) -> (Epoch, u64) {
        (self.epoch, self.applied)
    }

    /// The event that was applied last, in this epoch.
    pub fn last(&self) -> Option<EventId> {
        self.last
    }

    /// What an entry that was stamped so in another instance is stamped here. None: in another life of the log.
    pub fn stamp_of(&self, epoch: Epoch, position: u64) -> Option<Stamp> {
        (epoch == self.epoch && position < SPAN).then(|| Stamp(self.base + position))
    }

    /// The reverse. None: it is of another life of the log.
    pub fn place_of(&self, stamp: Stamp) -> Option<(Epoch, u64)> {
        stamp.0.checked_sub(self.base).map(|position| (self.epoch, position))
    }

    /// How often the floor rose.
    pub fn floors(&self) -> Floors {
        self.floors
    }

    /// How many tags are remembered.
    pub fn tags(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// What became of something that can be called by these labels since it was stamped.
    pub fn fate(&self, labels: &Labels, stamp: Stamp) -> Fate {
        if stamp.0 < self.floor {
            return Fate::Dead;
        }
        let mut fate = self.unlogged.fate(labels).max(self.all.fate(stamp));
        for tag in labels.tags() {
            fate = fate.max(self.marks(tag).fate(stamp));
            if fate == Fate::Dead {
                return fate;
            }
        }
        // The last are the latest: what was declared before the stamp need not be looked at.
        let later = self.prefixes.iter().rev().take_while(|prefix| prefix.stamp > stamp.0);
        let path = labels.path();
        for prefix in later.filter(|prefix| path.starts_with(&prefix.beginning)) {
            fate = fate.max(if prefix.is_soft { Fate::Soft } else { Fate::Dead });
        }
        fate
    }

    /// Something is invalid, and all instances will be told.
    pub fn declare(&mut self, id: EventId, event: Event, watched: Option<Watched>) {
        self.unlogged.add(id, event, watched);
    }

    /// What was declared here behind this place and is not in the log yet, so much of it at most; and the place of the last.
    pub fn unlogged(&self, after: u64, count: usize) -> (Vec<(EventId, Event)>, u64) {
        self.unlogged.after(after, count)
    }

    /// The next event of the log; none: one that can't be read. If it was declared here, what came of it.
    pub fn apply(
        &mut self,
        position: u64,
        id: EventId,
        event: Option<&Event>,
        now: Duration,
    ) -> Option<Applied> {
        if position <= self.applied {
            return None;
        }
        let stamp = self.base + position;
        if position != self.applied + 1 {
            // Whatever was trimmed away may have named anything that was fetched before its last event.
            self.raise_floor(stamp - 1);
            self.floors.gaps += 1;
        }
        let is_next = position == self.applied + 1;
        let own = self.unlogged.take(id);
        let is_alone = own
            .as_ref()
            .and_then(|own| own.watched.as_ref())
            .is_some_and(|it| is_next && self.is_untouched(it));
        let everything = Event::everything();
        let event = event.unwrap_or(&everything);
        self.mark(event, stamp);
        self.applied = position;
        self.last = Some(id);
        self.settling.applied(event, now, Stamp(stamp));
        if let Some(message) = event.message {
            self.messages.saw(message, position);
        }
        own.map(|_| Applied { stamp: Stamp(stamp), is_alone })
    }

    /// Whether nothing has named what is watched since it was begun.
    fn is_untouched(&self, watched: &Watched) -> bool {
        match &watched.labels {
            Some(labels) => self.fate(labels, watched.before) == Fate::Live,
            None => self.stamp() == watched.before && self.unlogged.len() == 0,
        }
    }

    /// Another log has taken the place of the one that was read: all that was stamped by that is dead.
    pub fn enter(&mut self, epoch: Epoch) {
        // Not by as much as was applied: what another instance fetched may have been stamped further ahead than we had read.
        self.base += SPAN.max(self.applied + 1);
        self.epoch = epoch;
        self.applied = 0;
        self.last = None;
        self.raise_floor(self.base);
        self.floors.epochs += 1;
        self.young.clear();
        self.old.clear();
        self.prefixes.clear();
        self.messages = Messages::default();
    }

    fn mark(&mut self, event: &Event, stamp: u64) {
        if event.all {
            self.all.set(stamp, event.soft);
        }
        for tag in event.named() {
            if self.young.len() >= self.limits.tags_max / 2 && !self.young.contains_key(&tag) {
                self.forget_old(stamp);
            }
            let mut marks = self.marks(tag);
            marks.set(stamp, event.soft);
            self.young.insert(tag, marks);
        }
        for beginning in event.beginnings() {
            if self.prefixes.len() >= self.limits.prefixes_max
                && let Some(forgotten) = self.prefixes.pop_front()
            {
                self.raise_floor(forgotten.stamp);
                self.floors.forgotten += 1;
            }
            self.prefixes.push_back(Prefix { stamp, is_soft: event.soft, beginning: beginning.into() });
        }
    }

    /// The young generation is full: it is the old one from now on, with all events up to `until`.
    fn forget_old(&mut self, until: u64) {
        self.raise_floor(self.old_until);
        self.floors.forgotten += 1;
        self.old.clear();
        std::mem::swap(&mut self.young, &mut self.old);
        self.old_until = until;
    }

    fn raise_floor(&mut self, to: u64) {
        self.floor = self.floor.max(to);
    }

    fn marks(&self, tag: Tag) -> Marks {
        // What is named anew while it is in the old generation is copied: the young one knows as much.
        self.young.get(&tag).or_else(|| self.old.get(&tag)).copied().unwrap_or_default()
    }
}

/// All on which the fate of an entry depends, now and later: by that a search over all that can happen tells states apart.
impl Hash for Ledger {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.epoch, self.base, self.applied, self.floor, self.all, self.old_until).hash(state);
        for generation in [&self.young, &self.old] {
            let mut tags: Vec<_> = generation.iter().collect();
            tags.sort_unstable();
            tags.hash(state);
        }
        (&self.prefixes, &self.unlogged).hash(state);
    }
}

impl Marks {
    fn set(&mut self, stamp: u64, is_soft: bool) {
        if is_soft { self.soft = stamp } else { self.hard = stamp }
    }

    fn fate(&self, stamp: Stamp) -> Fate {
        if self.hard > stamp.0 {
            Fate::Dead
        } else if self.soft > stamp.0 {
            Fate::Soft
        } else {
            Fate::Live
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::from_secs(100);
    const PLENTY: Limits = Limits { tags_max: 1000, prefixes_max: 1000, unlogged_max: 1000 };

    fn epoch(n: u8) -> Epoch {
        Epoch([n; 16])
    }

    fn id(n: u64) -> EventId {
        EventId(u128::from(n).to_be_bytes())
    }

    fn ledger(limits: Limits) -> Ledger {
        Ledger::new(limits, epoch(0), NOW)
    }

    fn naming(tags: &[&str]) -> Event {
        Event { tags: tags.iter().map(ToString::to_string).collect(), ..Event::default() }
    }

    fn soft(event: Event) -> Event {
        Event { soft: true, ..event }
    }

    fn labels(tags: &[&str], path: &str) -> Labels {
        Labels::new(tags.iter().map(|tag| Tag::named(tag)).collect(), path.as_bytes())
    }

    fn user() -> Labels {
        labels(&["user:5", "route:user"], "/users/5")
    }

    /// Reads the next of the log.
    fn read(ledger: &mut Ledger, event: &Event) -> Option<Applied> {
        let position = ledger.place().1 + 1;
        ledger.apply(position, id(1000 + position), Some(event), NOW)
    }

    fn read_all(ledger: &mut Ledger, events: &[Event]) {
        for event in events {
            read(ledger, event);
        }
    }

    /// Reads one behind a gap.
    fn skip(ledger: &mut Ledger) {
        let position = ledger.place().1 + 3;
        ledger.apply(position, id(1000 + position), Some(&Event::default()), NOW);
    }

    #[test]
    fn what_was_fetched_before_an_event_that_names_it_is_dead() {
        for (event, fate) in [
            (naming(&["user:5"]), Fate::Dead),
            (naming(&["user:6", "route:user"]), Fate::Dead),
            (naming(&["user:6"]), Fate::Live),
            (soft(naming(&["user:5"])), Fate::Soft),
            (Event { digests: vec![Tag::named("user:5")], ..Event::default() }, Fate::Dead),
            (Event { prefixes: vec!["/users/".into()], ..Event::default() }, Fate::Dead),
            (Event { prefixes: vec!["/%75sers/5".into()], ..Event::default() }, Fate::Dead),
            (Event { prefixes: vec!["/users/50".into()], ..Event::default() }, Fate::Live),
            (soft(Event { prefixes: vec!["/".into()], ..Event::default() }), Fate::Soft),
            (Event::everything(), Fate::Dead),
            (soft(Event::everything()), Fate::Soft),
            (Event::default(), Fate::Live),
        ] {
            let mut ledger = ledger(PLENTY);
            let before = ledger.stamp();
            read(&mut ledger, &event);
            assert_eq!(ledger.fate(&user(), before), fate, "{event:?}");
            assert_eq!(ledger.fate(&user(), ledger.stamp()), Fate::Live, "{event:?}");
        }
    }

    #[test]
    fn a_soft_event_behind_a_hard_one_brings_nothing_back() {
        let mut ledger = ledger(PLENTY);
        let before = ledger.stamp();
        read(&mut ledger, &naming(&["user:5"]));
        let between = ledger.stamp();
        read(&mut ledger, &soft(naming(&["user:5"])));
        assert_eq!(ledger.fate(&user(), before), Fate::Dead);
        assert_eq!(ledger.fate(&user(), between), Fate::Soft);
    }

    #[test]
    fn what_cannot_be_read_names_everything() {
        let mut ledger = ledger(PLENTY);
        let before = ledger.stamp();
        ledger.apply(1, id(1), None, NOW);
        assert_eq!(ledger.fate(&user(), before), Fate::Dead);
        assert_eq!(ledger.fate(&user(), ledger.stamp()), Fate::Live);
    }

    #[test]
    fn what_was_read_already_is_not_read_again() {
        let mut ledger = ledger(PLENTY);
        read(&mut ledger, &naming(&["a"]));
        let stamp = ledger.stamp();
        ledger.apply(1, id(7), Some(&naming(&["user:5"])), NOW);
        assert_eq!((ledger.stamp(), ledger.fate(&user(), stamp)), (stamp, Fate::Live));
    }

    #[test]
    fn behind_a_gap_all_is_dead_that_was_fetched_before_its_end() {
        let mut ledger = ledger(PLENTY);
        read(&mut ledger, &Event::default());
        let before = ledger.stamp();
        ledger.apply(5, id(5), Some(&naming(&["a"])), NOW);
        assert_eq!(ledger.fate(&user(), before), Fate::Dead);
        // Another instance had read the last that is missing here.
        let elsewhere = ledger.stamp_of(epoch(0), 4).unwrap();
        assert_eq!(ledger.fate(&user(), elsewhere), Fate::Live);
        assert_eq!(ledger.fate(&labels(&["a"], "/"), elsewhere), Fate::Dead);
        assert_eq!(ledger.fate(&user(), ledger.stamp_of(epoch(0), 3).unwrap()), Fate::Dead);
        assert_eq!(ledger.floors().gaps, 1);
    }

    #[test]
    fn another_log_ends_all_that_was_kept_by_the_one_before() {
        let mut ledger = ledger(PLENTY);
        for _ in 0..3 {
            read(&mut ledger, &naming(&["a"]));
        }
        let (before, ahead) = (ledger.stamp(), ledger.stamp_of(epoch(0), 900).unwrap());
        ledger.enter(epoch(1));
        assert_eq!(ledger.fate(&user(), before), Fate::Dead);
        // It came from an instance that had read further than this one.
        assert_eq!(ledger.fate(&user(), ahead), Fate::Dead);
        assert_eq!(ledger.fate(&user(), ledger.stamp()), Fate::Live);
        assert_eq!(ledger.place(), (epoch(1), 0));
        assert_eq!(ledger.place_of(before), None);
        assert_eq!(ledger.stamp_of(epoch(0), 3), None);
        // What was fetched in between knows nothing of what comes first.
        let entered = ledger.stamp();
        read(&mut ledger, &naming(&["user:5"]));
        assert_eq!(ledger.fate(&user(), entered), Fate::Dead);
    }

    #[test]
    fn a_place_is_told_to_other_instances_and_understood_there() {
        let (mut one, mut other) = (ledger(PLENTY), ledger(PLENTY));
        for _ in 0..4 {
            read(&mut one, &Event::default());
        }
        one.enter(epoch(7));
        other.enter(epoch(7));
        read(&mut one, &Event::default());
        let (epoch, position) = one.place_of(one.stamp()).unwrap();
        assert_eq!(position, 1);
        let stamp = other.stamp_of(epoch, position).unwrap();
        assert!(stamp > other.stamp());
        assert_eq!(other.fate(&user(), stamp), Fate::Live);
        read(&mut other, &naming(&["user:5"]));
        assert_eq!(other.fate(&user(), stamp), Fate::Live);
        read(&mut other, &naming(&["user:5"]));
        assert_eq!(other.fate(&user(), stamp), Fate::Dead);
        assert_eq!(other.stamp_of(epoch, u64::MAX), None);
    }

    #[test]
    fn what_is_declared_here_kills_whatever_is_fetched_until_it_is_logged() {
        let mut ledger = ledger(PLENTY);
        ledger.declare(id(1), naming(&["user:5"]), None);
        assert_eq!(ledger.fate(&user(), ledger.stamp()), Fate::Dead);
        read(&mut ledger, &Event::default());
        let meanwhile = ledger.stamp();
        assert_eq!(ledger.fate(&user(), meanwhile), Fate::Dead);
        let applied = ledger.apply(2, id(1), Some(&naming(&["user:5"])), NOW).unwrap();
        assert_eq!((applied.stamp, ledger.fate(&user(), meanwhile)), (ledger.stamp(), Fate::Dead));
        assert_eq!(ledger.fate(&user(), applied.stamp), Fate::Live);
        // The same once more, for the answer to the first appending was lost.
        assert_eq!(ledger.apply(3, id(1), Some(&naming(&["user:5"])), NOW), None);
        assert_eq!(ledger.fate(&user(), applied.stamp), Fate::Dead);
    }

    #[test]
    fn a_new_log_takes_nothing_from_what_is_not_logged_yet() {
        let mut ledger = ledger(PLENTY);
        ledger.declare(id(1), naming(&["user:5"]), None);
        ledger.enter(epoch(1));
        assert_eq!(ledger.fate(&user(), ledger.stamp()), Fate::Dead);
        assert_eq!(ledger.unlogged(0, 9).0, [(id(1), naming(&["user:5"]))]);
    }

    #[test]
    fn an_event_is_alone_if_nothing_else_has_named_what_is_watched() {
        type Change = fn(&mut Ledger);
        let others: [(Change, bool, bool); 7] = [
            (|_| {}, true, true),
            (|it| read_all(it, &[naming(&["user:6"])]), true, false),
            (|it| read_all(it, &[naming(&["route:user"])]), false, false),
            (|it| read_all(it, &[soft(Event::everything())]), false, false),
            (|it| it.declare(id(8), naming(&["user:5"]), None), false, false),
            (|it| skip(it), false, false),
            (|it| it.enter(epoch(1)), false, false),
        ];
        for (number, (change, is_alone, is_alone_at_all)) in others.into_iter().enumerate() {
            for (labels, is_alone) in [(Some(user()), is_alone), (None, is_alone_at_all)] {
                let mut ledger = ledger(PLENTY);
                let watched = Watched { labels, before: ledger.stamp() };
                ledger.declare(id(1), naming(&["user:5"]), Some(watched));
                change(&mut ledger);
                let position = ledger.place().1 + 1;
                let applied = ledger.apply(position, id(1), Some(&naming(&["user:5"])), NOW).unwrap();
                assert_eq!(applied.is_alone, is_alone, "{number}");
            }
        }
    }

    #[test]
    fn the_bound_on_what_is_remembered_holds() {
        let mut ledger = ledger(Limits { tags_max: 10, prefixes_max: 3, unlogged_max: 1 });
        let before = ledger.stamp();
        for n in 0..1000 {
            let event = Event { prefixes: vec![format!("/{n}/")], ..naming(&[&format!("t{n}")]) };
            read(&mut ledger, &event);
            assert!(ledger.tags() <= 10);
            assert!(ledger.prefixes.len() <= 3);
        }
        assert_eq!(ledger.fate(&user(), before), Fate::Dead);
        assert!(ledger.floors().forgotten > 100);
        assert_eq!(ledger.fate(&user(), ledger.stamp()), Fate::Live);
    }

    #[test]
    fn one_tag_named_for_ever_costs_nothing_else_its_life() {
        let mut ledger = ledger(Limits { tags_max: 4, prefixes_max: 1, unlogged_max: 1 });
        let before = ledger.stamp();
        for _ in 0..1000 {
            read(&mut ledger, &naming(&["busy"]));
        }
        assert_eq!(ledger.fate(&user(), before), Fate::Live);
        assert_eq!(ledger.floors(), Floors::default());
    }

    #[test]
    fn who_asks_what_has_named_it_lately_is_told() {
        let at = |millis| NOW + Duration::from_millis(millis);
        let mut ledger = ledger(PLENTY);
        ledger.apply(1, id(1), Some(&naming(&["user:5"])), at(1000));
        ledger.apply(2, id(2), Some(&naming(&["a"])), at(2000));
        let since = |millis, labels: &Labels| ledger.fate(labels, ledger.settling.stamp_at(at(millis)));
        for (millis, fate) in [(0, Fate::Dead), (999, Fate::Dead), (1000, Fate::Dead), (1020, Fate::Live)] {
            assert_eq!(since(millis, &user()), fate, "{millis}");
        }
        assert_eq!(since(1999, &labels(&["a"], "/")), Fate::Dead);
        assert_eq!(since(2020, &labels(&["a"], "/")), Fate::Live);
    }

    #[test]
    fn in_a_new_log_all_settles_that_is_asked_about_a_time_before() {
        let mut ledger = ledger(PLENTY);
        read(&mut ledger, &Event::default());
        ledger.enter(epoch(1));
        let later = NOW + Duration::from_secs(9);
        ledger.apply(1, id(7), Some(&Event::default()), later);
        assert_eq!(ledger.fate(&user(), ledger.settling.stamp_at(later)), Fate::Dead);
        let settled = later + Duration::from_secs(1);
        assert_eq!(ledger.fate(&user(), ledger.settling.stamp_at(settled)), Fate::Live);
    }

    /// What happens to a ledger.
    #[derive(Clone, Debug)]
    enum Happening {
        Read(Event),
        /// Some were trimmed away, and then one is read.
        ReadBehind(Vec<Event>, Event),
        Declare(Event),
        /// The so-many-th of those that are declared is read.
        ReadOwn(usize),
        Enter,
    }

    /// A list that forgets nothing.
    #[derive(Default)]
    struct Everything {
        /// With the stamp that it has here.
        events: Vec<(u64, Event)>,
        /// Declared, and not read yet: under this id, or together with others under it.
        declared: Vec<(EventId, Event)>,
        /// What is stamped below is of another epoch.
        since: u64,
    }

    impl Everything {
        fn fate(&self, labels: &Labels, stamp: Stamp) -> Fate {
            if stamp.0 < self.since {
                return Fate::Dead;
            }
            let later = self.events.iter().filter(|(at, _)| *at > stamp.0).map(|(_, event)| event);
            let all = later.chain(self.declared.iter().map(|(_, event)| event));
            let named = all.filter(|event| {
                event.all
                    || event.named().any(|tag| labels.tags().any(|label| label == tag))
                    || event.beginnings().any(|beginning| labels.path().starts_with(&beginning))
            });
            named.map(|event| if event.soft { Fate::Soft } else { Fate::Dead }).max().unwrap_or(Fate::Live)
        }
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let tags = prop::collection::vec((0..8_u8).prop_map(|n| format!("t{n}")), 0..3);
        let beginnings = prop::sample::select(vec!["/", "/a", "/a/", "/b/1", "/c"]).prop_map(String::from);
        let prefixes = prop::collection::vec(beginnings, 0..2);
        let all = prop::bool::weighted(0.05);
        (tags, prefixes, all, any::<bool>()).prop_map(|(tags, prefixes, all, soft)| Event {
            tags,
            prefixes,
            all,
            soft,
            ..Event::default()
        })
    }

    fn any_happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            6 => any_event().prop_map(Happening::Read),
            1 => (prop::collection::vec(any_event(), 1..4), any_event())
                .prop_map(|(missed, event)| Happening::ReadBehind(missed, event)),
            3 => any_event().prop_map(Happening::Declare),
            3 => any::<usize>().prop_map(Happening::ReadOwn),
            1 => Just(Happening::Enter),
        ]
    }

    fn happen(ledger: &mut Ledger, list: &mut Everything, happening: Happening, limits: Limits, n: u64) {
        let (_, applied) = ledger.place();
        let base = ledger.stamp().0 - applied;
        match happening {
            Happening::Read(event) => {
                ledger.apply(applied + 1, id(n), Some(&event), NOW);
                list.events.push((base + applied + 1, event));
            }
            Happening::ReadBehind(missed, event) => {
                let position = applied + 1 + missed.len() as u64;
                for (missing, at) in missed.into_iter().zip(applied + 1..) {
                    list.events.push((base + at, missing));
                }
                ledger.apply(position, id(n), Some(&event), NOW);
                list.events.push((base + position, event));
            }
            Happening::Declare(event) => {
                let overflows = ledger.unlogged.overflows;
                ledger.declare(id(n), event.clone(), None);
                if ledger.unlogged.overflows > overflows {
                    list.declared.iter_mut().for_each(|(under, _)| *under = id(n));
                }
                list.declared.push((id(n), event));
                assert!(ledger.unlogged.len() <= limits.unlogged_max.max(1));
            }
            Happening::ReadOwn(number) => {
                let (events, _) = ledger.unlogged(0, usize::MAX);
                let Some((own, event)) = events.get(number % events.len().max(1)) else { return };
                assert!(ledger.apply(applied + 1, *own, Some(event), NOW).is_some());
                list.events.push((base + applied + 1, event.clone()));
                list.declared.retain(|(under, event)| {
                    if under == own {
                        list.events.push((base + applied + 1, event.clone()));
                    }
                    under != own
                });
            }
            Happening::Enter => {
                ledger.enter(epoch(u8::try_from(n % 250).unwrap()));
                list.since = ledger.stamp().0;
            }
        }
    }

    fn all_labels() -> Vec<Labels> {
        let mut all = vec![labels(&[], "/"), labels(&[], "/a"), labels(&["t0", "t7"], "/a/1")];
        all.extend((0..8).map(|n| labels(&[&format!("t{n}")], "/b/12")));
        all
    }

    /// Everything that can be asked after each step; whether the ledger forgets something only because it is small is told.
    fn play(limits: Limits, happenings: Vec<Happening>, is_exact: bool) -> Result<(), TestCaseError> {
        let (mut ledger, mut list) = (ledger(limits), Everything::default());
        let mut stamps = vec![ledger.stamp()];
        for (n, happening) in happenings.into_iter().enumerate() {
            happen(&mut ledger, &mut list, happening, limits, n as u64);
            stamps.push(ledger.stamp());
            // Another instance may have read further.
            stamps.push(Stamp(ledger.stamp().0 + 2));
            for labels in all_labels() {
                for stamp in &stamps {
                    let (said, is) = (ledger.fate(&labels, *stamp), list.fate(&labels, *stamp));
                    prop_assert!(said >= is, "{labels:?} of {stamp:?} is {is:?}, not {said:?}");
                    prop_assert!(!is_exact || said == is, "{labels:?} of {stamp:?} is {is:?}, not {said:?}");
                }
                // Bounded as it is, it must be of use.
                let fresh = ledger.fate(&labels, ledger.stamp());
                let is_declared = !list.declared.is_empty();
                prop_assert!(fresh == Fate::Live || is_declared, "{labels:?} can't be kept");
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn it_never_holds_for_live_what_is_not(
            (tags_max, prefixes_max, unlogged_max) in (0..12_usize, 0..4_usize, 0..4_usize),
            happenings in prop::collection::vec(any_happening(), 0..40),
        ) {
            play(Limits { tags_max, prefixes_max, unlogged_max }, happenings, false)?;
        }

        #[test]
        fn with_room_for_all_and_no_gap_it_says_just_what_is(
            happenings in prop::collection::vec(
                any_happening().prop_filter("no gap", |it| !matches!(it, Happening::ReadBehind(..))), 0..40),
        ) {
            play(PLENTY, happenings, true)?;
        }
    }
}
