//! One fetch for all who want the same thing at the same time.
//!
//! A `Flight` is a fetch under way: it belongs to nobody who waits for it, and outlives the client who began it. `Flights` finds
//! it by key, and its `Pilot` says what comes of it, its `Landing`: an answer that is kept, and so may be read by all who wait; one
//! that is not, which only its beginner may have, while the others *part* and ask for themselves, all at once; or none, which is
//! everybody's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;

use super::client::Client;
use super::flight::{Flight, Portion, Share};
use super::landing::{ABANDONED, Arrived, Confirmed, Landing};
use super::lookup::Found;
use super::plan::Cacheable;
use crate::invalidation::{Fate, Record};
use crate::object::{Key, Labels};
use crate::semantics::NotStored;
use crate::store::Seed;
use crate::telemetry::Telemetry;
use crate::upstream::UpstreamError;

/// All fetches that others may join.
#[derive(Debug)]
pub struct Flights {
    table: Mutex<Table>,
    record: Arc<Record>,
    telemetry: Arc<Telemetry>,
}

/// Keys are digests already, and four times a flight they are looked up: std's own hash would cost ten times as much.
type Table = HashMap<Key, Arc<Flight>, Seed>;

/// Whether something was declared between the beginning of a fetch and somebody's joining it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Nothing was declared invalid between the beginning and the joining.
    Nothing,
    /// Something was: what comes has to be held against it.
    Something,
}

/// The task's side of a flight. Dropping it takes the flight off the table; if nothing was announced, those who wait learn
/// that it was abandoned.
#[derive(Debug)]
pub struct Pilot {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    keys: Vec<Key>,
    /// It is off the table.
    has_left: AtomicBool,
}

/// What one who wants a key meets.
pub enum Joined {
    /// Nobody is fetching it: you are, now.
    Began(Arc<Flight>, Pilot, Share),
    /// Somebody is.
    Waiting(Arc<Flight>, Since),
    /// It has come in the meantime: look again.
    AlreadyHere,
}

impl Flights {
    /// None yet.
    pub fn new(telemetry: Arc<Telemetry>, record: Arc<Record>) -> Arc<Self> {
        Arc::new(Self { table: Mutex::new(Table::with_hasher(Seed::drawn())), record, telemetry })
    }

    /// Joins the fetch of this key or begins it. `is_here` looks once more whether it is kept by now: a flight is taken
    /// off the table only after its answer was kept, so who finds neither is the first.
    ///
    /// A request may only be given what it could have been given from memory: nothing that an event kills which is known now.
    /// As far as the request tells, that is seen here; the rest when the head is there, or the body.
    pub fn join(
        self: &Arc<Self>,
        key: Key,
        (client, cacheable): (&Arc<Client>, &Cacheable),
        call: impl Fn(&Flight) -> Option<Labels>,
        is_here: impl FnOnce() -> bool,
    ) -> Joined {
        let mut table = self.lock();
        let (version, stamp) = (self.record.version(), self.record.stamp());
        if let Some(flight) = table.get(&key).filter(|flight| self.may_join(flight, call)) {
            self.telemetry.coalescing.joined.add_one();
            let since = if flight.version == version { Since::Nothing } else { Since::Something };
            return Joined::Waiting(Arc::clone(flight), since);
        }
        if is_here() {
            return Joined::AlreadyHere;
        }
        let flight = Flight::new((client, cacheable), (stamp, version));
        table.insert(key, Arc::clone(&flight));
        self.telemetry.coalescing.flights.add(1);
        let pilot = Pilot {
            flights: Arc::clone(self),
            flight: Arc::clone(&flight),
            keys: vec![key],
            has_left: AtomicBool::new(false),
        };
        let share = Share::of(&flight);
        Joined::Began(flight, pilot, share)
    }

    /// Whether one is under way that may be joined.
    pub fn has(&self, key: &Key, call: impl Fn(&Flight) -> Option<Labels>) -> bool {
        self.lock().get(key).is_some_and(|flight| self.may_join(flight, call))
    }

    /// Nothing is known that kills what it brings, as far as its request tells.
    fn may_join(&self, flight: &Flight, call: impl Fn(&Flight) -> Option<Labels>) -> bool {
        if flight.version == self.record.version() {
            return true;
        }
        flight.labels(call).is_some_and(|labels| self.record.fate_of(labels, flight.stamp) != Fate::Dead)
    }

    /// Nobody joins this flight any more: its answer is over while its body still comes. The next one begins another.
    pub fn retire(&self, key: Key, flight: &Arc<Flight>) {
        let mut table = self.lock();
        if table.get(&key).is_some_and(|each| Arc::ptr_eq(each, flight)) {
            table.remove(&key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pilot {
    /// The answer is being kept, under this key.
    pub fn keep(&mut self, key: Key, arrived: Arc<Arrived>) {
        if !self.keys.contains(&key) {
            let mut table = self.flights.lock();
            // Who asks for this variant from now on finds us; if somebody fetches it already, let them.
            table.entry(key).or_insert_with(|| {
                self.keys.push(key);
                Arc::clone(&self.flight)
            });
        }
        if let Some(reader) = arrived.tee.reader() {
            self.flight.serve_beginner(Portion::Reader(Arc::clone(&arrived), reader));
        }
        self.flight.land(Landing::Kept(arrived));
    }

    /// What was kept is good still, and kept anew already. The flight ends.
    pub fn confirm(self, confirmed: Confirmed) {
        self.leave();
        self.flight.land(Landing::Confirmed(confirmed));
    }

    /// Another instance has fetched it. The flight ends, and nothing is fetched.
    pub fn found(self, found: Found) {
        self.leave();
        self.flight.land(Landing::Found(found));
    }

    /// There is no point in waiting for one another. The flight ends, and nothing is fetched.
    pub fn part(self) {
        self.leave();
        self.flight.land(Landing::Parted);
    }

    /// The answer is the beginner's alone. The flight ends.
    pub fn hand_over(self, portion: Portion, why: NotStored, status: StatusCode) {
        self.flight.serve_beginner(portion);
        // Off the table first: who comes now must not join what can't be shared.
        self.leave();
        self.flight.land(Landing::NotKept(why, status));
    }

    /// There is no answer. The flight ends.
    pub fn fail(self, error: UpstreamError) {
        self.leave();
        self.flight.land(Landing::Failed(error));
    }

    /// What it was begun for.
    pub fn key(&self) -> Option<Key> {
        self.keys.first().copied()
    }

    /// Nobody can join any more.
    pub fn leave(&self) {
        if self.has_left.swap(true, Relaxed) {
            return;
        }
        let mut table = self.flights.lock();
        for key in &self.keys {
            if table.get(key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
                table.remove(key);
            }
        }
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.leave();
        self.flight.land(ABANDONED);
        self.flights.telemetry.coalescing.flights.add(-1);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Wake, Waker};

    use bytes::Bytes;

    use super::super::called::Called;
    use super::super::flight::example::{bytes, cacheable, client, portion};
    use super::super::lookup::Tier;
    use super::super::tee::Tee;
    use super::*;
    use crate::clock::Clock;
    use crate::invalidation::{Event, InstanceId, Limits, Me, Parts};
    use crate::object::{Epoch, Stamp, Tag, example};
    use crate::semantics::vary::VaryOn;
    use crate::store::Filling;

    fn flights() -> Arc<Flights> {
        let limits = Limits { tags_max: 10, prefixes_max: 10, unlogged_max: 10 };
        let me = Me { id: InstanceId([1; 8]), name: "me".to_owned() };
        let telemetry = Arc::<Telemetry>::default();
        let (epoch, clock) = (Epoch([1; 16]), Clock::System);
        let parts = Parts { limits, me, epoch, log: None, clock, telemetry: Arc::clone(&telemetry) };
        Flights::new(telemetry, Record::new(parts))
    }

    fn key(number: u8) -> Key {
        Key::from_bytes([number; 32])
    }

    /// What it fetches is called `user:7`.
    const LABELS: fn(&Flight) -> Option<Labels> =
        |_| Some(Labels::new(vec![Tag::named("user:7")], b"/things/1"));

    /// One more who wants this, and finds nothing.
    fn join(flights: &Arc<Flights>, number: u8) -> Joined {
        let asks = client(("accept", "*/*"), Bytes::new());
        flights.join(key(number), (&asks, &cacheable(key(number))), LABELS, || false)
    }

    /// The first who wants it.
    fn begin(flights: &Arc<Flights>, number: u8) -> (Arc<Flight>, Pilot, Share) {
        match join(flights, number) {
            Joined::Began(flight, pilot, share) => (flight, pilot, share),
            Joined::Waiting(..) | Joined::AlreadyHere => panic!("somebody was first"),
        }
    }

    /// Whether the next who wants it waits for this one, and what was declared since.
    fn waits(flights: &Arc<Flights>, number: u8, flight: &Arc<Flight>) -> Option<Since> {
        match join(flights, number) {
            Joined::Waiting(joined, since) if Arc::ptr_eq(&joined, flight) => Some(since),
            _ => None,
        }
    }

    fn arrived() -> Arc<Arrived> {
        let stored = example::stored(&[], b"");
        let called = Called {
            labels: Labels::default(),
            later: Arc::new([]),
            tags_max: 10,
            is_too_much: false,
            ends_at: None,
        };
        let room = Filling::new(0, Arc::default()).room();
        let head = (Arc::new(stored.head.head()), StatusCode::OK, None);
        let kept = (None, stored.lifetime, Arc::new(VaryOn::default()), false);
        Arc::new(Arrived::new(head, kept, (called, Stamp(0)), Tee::new(None, room)))
    }

    fn confirmed() -> Confirmed {
        Confirmed { stored: Arc::new(example::stored(&[], b"")), was_cached: false }
    }

    fn found() -> Found {
        Found { key: key(1), stored: None, is_soft: false, other_variants: false, tier: Tier::Shared }
    }

    fn numbers(flights: &Flights) -> (usize, i64, u64) {
        let counts = &flights.telemetry.coalescing;
        (flights.lock().len(), counts.flights.get(), counts.joined.get())
    }

    #[test]
    fn the_first_begins_and_others_wait_unless_it_is_here() {
        let flights = flights();
        let asks = client(("accept", "*/*"), Bytes::new());
        let here = flights.join(key(1), (&asks, &cacheable(key(1))), LABELS, || true);
        assert!(matches!(here, Joined::AlreadyHere));
        assert_eq!(numbers(&flights), (0, 0, 0));
        let (flight, pilot, _share) = begin(&flights, 1);
        assert_eq!(waits(&flights, 1, &flight), Some(Since::Nothing));
        let (_other, _pilot, _) = begin(&flights, 2);
        assert_eq!(numbers(&flights), (2, 2, 1));
        assert!(flights.has(&key(1), LABELS) && !flights.has(&key(3), LABELS));
        drop(pilot);
        assert!(matches!(flight.landed(), Some(Landing::Failed(UpstreamError::Abandoned))));
        assert_eq!(numbers(&flights), (1, 1, 1));
        assert_eq!(waits(&flights, 1, &flight), None, "another begins");
    }

    /// However it ends: nobody joins it any more, all are told, and the end of the pilot has nothing to add.
    #[test]
    fn each_end_is_told_and_leaves_nothing_behind() {
        type End = (fn(Pilot), fn(&Landing) -> bool);
        let ends: [End; 6] = [
            (|pilot| pilot.confirm(confirmed()), |landing| matches!(landing, Landing::Confirmed(_))),
            (|pilot| pilot.found(found()), |landing| matches!(landing, Landing::Found(_))),
            (|pilot| pilot.part(), |landing| matches!(landing, Landing::Parted)),
            (
                |pilot| pilot.hand_over(portion(&bytes()), NotStored::NoStore, StatusCode::OK),
                |landing| matches!(landing, Landing::NotKept(NotStored::NoStore, StatusCode::OK)),
            ),
            (
                |pilot| pilot.fail(UpstreamError::Refused),
                |landing| matches!(landing, Landing::Failed(UpstreamError::Refused)),
            ),
            (drop, |landing| matches!(landing, Landing::Failed(UpstreamError::Abandoned))),
        ];
        let flights = flights();
        for (number, (end, is_told)) in ends.into_iter().enumerate() {
            let (flight, mut pilot, share) = begin(&flights, 1);
            // Also where it is known by the key of a variant.
            if number % 2 == 1 {
                pilot.flights.lock().insert(key(2), Arc::clone(&flight));
                pilot.keys.push(key(2));
            }
            drop(share);
            end(pilot);
            assert!(flight.landed().is_some_and(|landing| is_told(&landing)), "{number}");
            assert_eq!(numbers(&flights), (0, 0, 0), "{number}");
            assert_eq!(Arc::strong_count(&flight), 1, "{number}");
        }
    }

    /// Looks around at the moment when it is told.
    struct Looks<F>(F);

    impl<F: Fn() + Send + Sync> Wake for Looks<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }

    /// Runs this at the moment when one who waits for the flight is told.
    fn when_told(flight: &Arc<Flight>, look: impl Fn() + Send + Sync + 'static, land: impl FnOnce()) {
        let mut landing = pin!(flight.landing());
        let waker = Waker::from(Arc::new(Looks(look)));
        assert!(landing.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        land();
        assert!(landing.poll(&mut Context::from_waker(&waker)).is_ready());
    }

    #[test]
    fn who_is_told_that_it_is_the_beginners_finds_nothing_to_join_and_the_beginner_all_of_it() {
        type End = fn(Pilot);
        let ends: [End; 5] = [
            |pilot| pilot.hand_over(portion(&bytes()), NotStored::NoStore, StatusCode::OK),
            |pilot| pilot.confirm(confirmed()),
            |pilot| pilot.part(),
            |pilot| pilot.fail(UpstreamError::Refused),
            drop,
        ];
        for (number, end) in ends.into_iter().enumerate() {
            let flights = flights();
            let (flight, pilot, share) = begin(&flights, 1);
            let (at_table, told) = (Arc::clone(&flights), Arc::<AtomicUsize>::default());
            let counted = Arc::clone(&told);
            let look = move || {
                assert!(!at_table.has(&key(1), LABELS), "{number}");
                assert_eq!(share.take().is_some(), number == 0, "{number}");
                counted.fetch_add(1, Relaxed);
            };
            when_told(&flight, look, || end(pilot));
            assert_eq!(told.load(Relaxed), 1, "{number}");
        }
    }

    #[test]
    fn what_is_kept_is_found_by_its_variant_too_and_has_a_place_for_who_began_it() {
        let flights = flights();
        let (flight, mut pilot, share) = begin(&flights, 1);
        let (theirs, their_pilot, _) = begin(&flights, 3);
        pilot.keep(key(2), arrived());
        assert!(matches!(share.take(), Some(Portion::Reader(..))));
        assert!(matches!(flight.landed(), Some(Landing::Kept(_))));
        assert_eq!([1, 2].map(|number| waits(&flights, number, &flight)), [Some(Since::Nothing); 2]);
        pilot.keep(key(3), arrived());
        assert_eq!(waits(&flights, 3, &theirs), Some(Since::Nothing), "it was there before");
        drop(pilot);
        assert!(matches!(flight.landed(), Some(Landing::Kept(_))), "the first word counts");
        assert_eq!(waits(&flights, 3, &theirs), Some(Since::Nothing), "it is not ours to take away");
        drop(their_pilot);
        assert_eq!(numbers(&flights).0, 0);
    }

    #[test]
    fn who_was_overtaken_takes_nobody_else_off_the_table() {
        let flights = flights();
        let (old, old_pilot, _share) = begin(&flights, 1);
        flights.retire(key(1), &old);
        let (new, new_pilot, _share) = begin(&flights, 1);
        flights.retire(key(1), &old);
        old_pilot.leave();
        assert_eq!(waits(&flights, 1, &new), Some(Since::Nothing));
        drop(old_pilot);
        assert_eq!(waits(&flights, 1, &new), Some(Since::Nothing));
        drop(new_pilot);
        assert_eq!(numbers(&flights), (0, 0, 2));
    }

    #[test]
    fn what_was_declared_since_is_said_and_what_it_names_is_not_joined() {
        let flights = flights();
        let declare = |tag: &str| {
            flights.record.declare(Event { tags: vec![tag.to_owned()], ..Event::default() }, None);
        };
        let (flight, _pilot, _share) = begin(&flights, 1);
        declare("user:8");
        assert_eq!(waits(&flights, 1, &flight), Some(Since::Something));
        declare("user:7");
        assert!(!flights.has(&key(1), LABELS));
        let (after, _after_pilot, _share) = begin(&flights, 1);
        assert_eq!(waits(&flights, 1, &after), Some(Since::Nothing));
        let nameless = |flights: &Arc<Flights>| flights.has(&key(2), |_| None);
        let (_none, _none_pilot, _share) = begin(&flights, 2);
        assert!(nameless(&flights));
        declare("user:9");
        assert!(!nameless(&flights), "what it is called nobody knows");
    }
}
