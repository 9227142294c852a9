//! One fetch for all who want the same thing at the same time.
//!
//! A `Flight` is a fetch under way, in a task of its own: it belongs to nobody who waits for it, and outlives the client who
//! began it. `Flights` finds it by key. Its `Landing` is what came of it: an answer that is kept, and so may be read by all
//! who wait; one that is not, which only the client who began it may have, while the others *part* and ask for
//! themselves, all at once; or no answer at all, which is everybody's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, Response, StatusCode};
use tokio::sync::{oneshot, watch};

use super::body::Body;
use super::lookup::Found;
use super::tee::{Reader, Tee};
use crate::invalidation::Ledger;
use crate::object::{Head, Key, Resource, Stamp, Stored};
use crate::semantics::range::ContentRange;
use crate::semantics::vary::VaryOn;
use crate::semantics::{Lifetime, NotStored};
use crate::telemetry::Telemetry;
use crate::upstream::UpstreamError;

/// All fetches that others may join.
#[derive(Debug)]
pub struct Flights {
    table: Mutex<HashMap<Key, Arc<Flight>>>,
    ledger: Arc<Ledger>,
    telemetry: Arc<Telemetry>,
}

/// A fetch under way.
#[derive(Debug)]
pub struct Flight {
    landing: watch::Receiver<Option<Landing>>,
    /// The request that was sent, for what the answer turns out to vary on.
    request: Arc<HeaderMap>,
    /// What is asked for, …
    resource: Resource,
    /// … and all that had been changed when it was begun.
    stamp: Stamp,
}

/// What came of a fetch.
#[derive(Clone, Debug)]
pub enum Landing {
    /// It is being kept: read along.
    Kept(Arc<Arrived>),
    /// What was kept is good still.
    Confirmed(Confirmed),
    /// Another instance has fetched it, or it has come here in the meantime.
    Found(Found),
    /// It is the beginner's alone. The status is the upstream's.
    NotKept(NotStored, StatusCode),
    /// Another instance has fetched it for one client only: nobody here has anything yet.
    Parted,
    /// There is none.
    Failed(UpstreamError),
}

/// What was kept, after the upstream has said that it is good still.
#[derive(Clone, Debug)]
pub struct Confirmed {
    /// As it is kept from now on.
    pub stored: Arc<Stored>,
    /// It was another cache's word: it came with an `Age`.
    pub was_cached: bool,
}

/// An answer that is coming in and will be kept.
#[derive(Debug)]
pub struct Arrived {
    /// Status and fields.
    pub head: Arc<Head>,
    /// What the upstream answered: a 206 where the rest of a part makes the whole.
    pub answered: StatusCode,
    /// The same with the fields that only who asked may see, where there are any.
    pub whole_head: Option<Head>,
    /// It is a part, and lies there.
    pub part: Option<ContentRange>,
    /// How long it will be fresh.
    pub lifetime: Lifetime,
    /// What it varies on.
    pub vary: Arc<VaryOn>,
    /// Another cache had it before us: it came with an `Age`.
    pub was_cached: bool,
    /// Its body.
    pub tee: Arc<Tee>,
}

/// The task's side of a flight. Dropping it takes the flight off the table; if nothing was announced, those who wait learn
/// that it was abandoned.
#[derive(Debug)]
pub struct Pilot {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    keys: Vec<Key>,
    announce: watch::Sender<Option<Landing>>,
    /// To the client who began it; what is sent to one who has gone is dropped.
    beginner: Option<oneshot::Sender<Portion>>,
}

/// What only the one who began a flight is given.
#[derive(Debug)]
pub enum Portion {
    /// A place at the body from its first byte on, taken before anything of it can have gone by.
    Reader(Arc<Arrived>, Reader),
    /// The whole answer, because nobody else may have it.
    Answer(Response<Body>),
    /// What was kept already and is good still, …
    Confirmed(Confirmed),
    /// … and may not be kept any longer.
    ConfirmedOnce(Confirmed, NotStored),
}

/// What one who wants a key meets.
pub enum Joined {
    /// Nobody is fetching it: you are, now.
    Began(Arc<Flight>, Pilot, oneshot::Receiver<Portion>),
    /// Somebody is.
    Waiting(Arc<Flight>),
    /// It has come in the meantime: look again.
    AlreadyHere,
}

impl Flights {
    /// None yet.
    pub fn new(telemetry: Arc<Telemetry>, ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self { table: Mutex::default(), ledger, telemetry })
    }

    /// Joins the fetch of this key or begins it. `is_here` looks once more whether it is kept by now: a flight is taken
    /// off the table only after its answer was kept, so who finds neither is the first. A fetch that was begun before what it
    /// fetches was changed is nobody's to join any more: who asks after the change was answered must see it.
    pub fn join(
        self: &Arc<Self>,
        key: Key,
        resource: Resource,
        request: &Arc<HeaderMap>,
        is_here: impl FnOnce() -> bool,
    ) -> Joined {
        let mut table = self.lock();
        let live = |flight: &&Arc<Flight>| self.ledger.holds(flight.resource, flight.stamp);
        if let Some(flight) = table.get(&key).filter(live) {
            self.telemetry.coalescing.joined.add_one();
            return Joined::Waiting(Arc::clone(flight));
        }
        if is_here() {
            return Joined::AlreadyHere;
        }
        let (announce, landing) = watch::channel(None);
        let request = Arc::clone(request);
        let (beginner, portion) = oneshot::channel();
        let flight = Arc::new(Flight { landing, request, resource, stamp: self.ledger.stamp() });
        table.insert(key, Arc::clone(&flight));
        self.telemetry.coalescing.flights.add(1);
        let pilot = Pilot {
            flights: Arc::clone(self),
            flight: Arc::clone(&flight),
            keys: vec![key],
            announce,
            beginner: Some(beginner),
        };
        Joined::Began(flight, pilot, portion)
    }

    /// Whether one is under way that may be joined.
    pub fn has(&self, key: &Key) -> bool {
        self.lock().get(key).is_some_and(|flight| self.ledger.holds(flight.resource, flight.stamp))
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

impl Flight {
    /// Waits for what comes of it.
    pub async fn landing(&self) -> Landing {
        let mut landing = self.landing.clone();
        match landing.wait_for(Option::is_some).await {
            Ok(landed) => landed.clone().unwrap_or(Landing::Failed(UpstreamError::Abandoned)),
            // The task is gone and said nothing.
            Err(_) => Landing::Failed(UpstreamError::Abandoned),
        }
    }

    /// Whether an answer to this flight's request is an answer to that one too.
    pub fn answers(&self, vary: &VaryOn, request: &HeaderMap) -> bool {
        vary.is_empty() || vary.same(&self.request, request)
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
            self.serve_beginner(Portion::Reader(Arc::clone(&arrived), reader));
        }
        self.announce.send_replace(Some(Landing::Kept(arrived)));
    }

    /// What was kept is good still, and kept anew already. The flight ends.
    pub fn confirm(self, confirmed: Confirmed) {
        self.leave();
        self.announce.send_replace(Some(Landing::Confirmed(confirmed)));
    }

    /// Another instance has fetched it. The flight ends, and nothing is fetched.
    pub fn found(self, found: Found) {
        self.leave();
        self.announce.send_replace(Some(Landing::Found(found)));
    }

    /// There is no point in waiting for one another. The flight ends, and nothing is fetched.
    pub fn part(self) {
        self.leave();
        self.announce.send_replace(Some(Landing::Parted));
    }

    /// The answer is the beginner's alone. The flight ends.
    pub fn hand_over(mut self, portion: Portion, why: NotStored, status: StatusCode) {
        self.serve_beginner(portion);
        // Off the table first: who comes now must not join what can't be shared.
        self.leave();
        self.announce.send_replace(Some(Landing::NotKept(why, status)));
    }

    /// There is no answer. The flight ends.
    pub fn fail(self, error: UpstreamError) {
        self.leave();
        self.announce.send_replace(Some(Landing::Failed(error)));
    }

    fn serve_beginner(&mut self, portion: Portion) {
        if let Some(beginner) = self.beginner.take() {
            // If the client has gone its portion is dropped, and with it a connection or a place at the body.
            let _ = beginner.send(portion);
        }
    }

    /// What it was begun for.
    pub fn key(&self) -> Option<Key> {
        self.keys.first().copied()
    }

    /// Nobody can join any more.
    pub fn leave(&self) {
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
        self.flights.telemetry.coalescing.flights.add(-1);
    }
}
