//! One fetch for all who want the same thing at the same time.
//!
//! A `Flight` is a fetch under way: it belongs to nobody who waits for it, and outlives the client who began it. `Flights` finds
//! it by key. Its `Landing` is what came of it: an answer that is kept, and so may be read by all who wait; one that is not, which
//! only its beginner may have, while the others *part* and ask for themselves, all at once; or none, which is everybody's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::{HeaderMap, Response, StatusCode};
use tokio::sync::{oneshot, watch};

use super::body::Body;
use super::called::Called;
use super::client::Client;
use super::lookup::Found;
use super::plan::Cacheable;
use super::tee::{Reader, Tee};
use crate::invalidation::{Fate, Record};
use crate::object::{Head, Key, Labels, Stamp, Stored};
use crate::semantics::range::ContentRange;
use crate::semantics::vary::VaryOn;
use crate::semantics::{Lifetime, NotStored};
use crate::telemetry::Telemetry;
use crate::upstream::UpstreamError;

/// All fetches that others may join.
#[derive(Debug)]
pub struct Flights {
    table: Mutex<HashMap<Key, Arc<Flight>>>,
    record: Arc<Record>,
    telemetry: Arc<Telemetry>,
}

/// A fetch under way.
pub struct Flight {
    landing: watch::Receiver<Option<Landing>>,
    /// Who began it, for what the answer turns out to vary on …
    pub(super) client: Arc<Client>,
    /// … and can be called by.
    pub(super) cacheable: Cacheable,
    /// What its answer can be called by, as far as the request tells, once somebody wanted to know.
    labels: OnceLock<Option<Labels>>,
    /// All that had been declared invalid when it was begun, …
    stamp: Stamp,
    /// … and what the record was then.
    version: u64,
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

/// Who flew it has said nothing.
pub(super) const ABANDONED: Landing = Landing::Failed(UpstreamError::Abandoned);

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
    /// What it can be called by, as far as request and head tell.
    labels: Labels,
    /// All that had been declared invalid before it was asked for.
    stamp: Stamp,
    /// The same with what its body tells.
    whole_labels: watch::Sender<Naming>,
}

/// What an answer is called, where its body tells.
#[derive(Clone, Debug)]
enum Naming {
    /// It is coming.
    NotYet,
    /// It has told.
    Known(Labels),
    /// It will not be known.
    Never,
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
    announce: watch::Sender<Option<Landing>>,
    /// It is off the table.
    has_left: AtomicBool,
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
        let (announce, landing) = watch::channel(None);
        let (beginner, portion) = oneshot::channel();
        let (client, labels) = (Arc::clone(client), OnceLock::new());
        let flight = Arc::new(Flight { landing, client, cacheable: *cacheable, labels, stamp, version });
        table.insert(key, Arc::clone(&flight));
        self.telemetry.coalescing.flights.add(1);
        let pilot = Pilot {
            flights: Arc::clone(self),
            flight: Arc::clone(&flight),
            keys: vec![key],
            announce,
            has_left: AtomicBool::new(false),
            beginner: Some(beginner),
        };
        Joined::Began(flight, pilot, portion)
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
        let labels = flight.labels.get_or_init(|| call(flight));
        labels.as_ref().is_some_and(|labels| self.record.fate_of(labels, flight.stamp) != Fate::Dead)
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

impl Arrived {
    /// `called`: as far as request and head tell.
    pub(super) fn new(
        (head, answered, whole_head): (Arc<Head>, StatusCode, Option<Head>),
        (part, lifetime, vary, was_cached): (Option<ContentRange>, Lifetime, Arc<VaryOn>, bool),
        (called, stamp): (Called, Stamp),
        tee: Arc<Tee>,
    ) -> Self {
        let Called { labels, later, .. } = called;
        let known = if later.is_empty() { Naming::Known(labels.clone()) } else { Naming::NotYet };
        let whole_labels = watch::Sender::new(known);
        Self {
            head,
            answered,
            whole_head,
            part,
            lifetime,
            vary,
            was_cached,
            tee,
            labels,
            stamp,
            whole_labels,
        }
    }

    /// Its body has told what it can be called by.
    pub(super) fn named(&self, labels: Labels) {
        self.whole_labels.send_if_modified(|naming| {
            *naming = Naming::Known(labels);
            // Who begins to wait now finds it there.
            self.whole_labels.receiver_count() > 0
        });
    }

    /// If it is not known by now what it is called, nobody need wait for that.
    pub(super) fn named_never(&self) {
        self.whole_labels.send_if_modified(|naming| {
            let is_open = matches!(naming, Naming::NotYet);
            if is_open {
                *naming = Naming::Never;
            }
            is_open
        });
    }

    /// Whether nothing kills it that is known by now. Where its body tells what it is called, that is known at its end.
    pub(super) async fn is_live(&self, record: &Record) -> bool {
        if record.fate_of(&self.labels, self.stamp) == Fate::Dead {
            return false;
        }
        let mut labels = self.whole_labels.subscribe();
        let naming = labels.wait_for(|naming| !matches!(naming, Naming::NotYet)).await;
        let naming = naming.map_or(Naming::Never, |naming| naming.clone());
        match naming {
            Naming::Known(labels) => record.fate_of(&labels, self.stamp) != Fate::Dead,
            Naming::NotYet | Naming::Never => false,
        }
    }
}

/// Never who began it: it may hold credentials.
impl std::fmt::Debug for Flight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flight").field("landing", &self.landing).finish_non_exhaustive()
    }
}

impl Flight {
    /// Waits for what comes of it.
    pub async fn landing(&self) -> Landing {
        let mut landing = self.landing.clone();
        match landing.wait_for(Option::is_some).await {
            Ok(landed) => landed.clone().unwrap_or(ABANDONED),
            Err(_) => ABANDONED,
        }
    }

    /// What came of it, for the one who drives it.
    pub fn landed(&self) -> Option<Landing> {
        self.landing.borrow().clone()
    }

    /// Whether an answer to this flight's request is an answer to that one too.
    pub fn answers(&self, vary: &VaryOn, request: &HeaderMap) -> bool {
        vary.is_empty() || vary.same(&self.client.parts.headers, request)
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
        self.land(Landing::Kept(arrived));
    }

    /// What was kept is good still, and kept anew already. The flight ends.
    pub fn confirm(self, confirmed: Confirmed) {
        self.leave();
        self.land(Landing::Confirmed(confirmed));
    }

    /// Another instance has fetched it. The flight ends, and nothing is fetched.
    pub fn found(self, found: Found) {
        self.leave();
        self.land(Landing::Found(found));
    }

    /// There is no point in waiting for one another. The flight ends, and nothing is fetched.
    pub fn part(self) {
        self.leave();
        self.land(Landing::Parted);
    }

    /// The answer is the beginner's alone. The flight ends.
    pub fn hand_over(mut self, portion: Portion, why: NotStored, status: StatusCode) {
        self.serve_beginner(portion);
        // Off the table first: who comes now must not join what can't be shared.
        self.leave();
        self.land(Landing::NotKept(why, status));
    }

    /// There is no answer. The flight ends.
    pub fn fail(self, error: UpstreamError) {
        self.leave();
        self.land(Landing::Failed(error));
    }

    fn land(&self, landing: Landing) {
        // Waking nobody takes its time, too. One who could be told is the flight; who begins to wait now finds it there.
        self.announce.send_if_modified(|landed| {
            *landed = Some(landing);
            self.announce.receiver_count() > 1
        });
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
        self.flights.telemetry.coalescing.flights.add(-1);
    }
}
