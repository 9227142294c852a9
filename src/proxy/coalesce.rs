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
use crate::telemetry::Telemetry;
use crate::upstream::UpstreamError;

/// All fetches that others may join.
#[derive(Debug)]
pub struct Flights {
    table: Mutex<HashMap<Key, Arc<Flight>>>,
    record: Arc<Record>,
    telemetry: Arc<Telemetry>,
}

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
        Arc::new(Self { table: Mutex::default(), record, telemetry })
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

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Flight>>> {
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
