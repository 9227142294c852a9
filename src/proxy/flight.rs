//! `Flight`: a fetch under way, between the one who drives it and all who wait for what comes of it.
//!
//! Nearly all flights are waited for by nobody but who began them, so that one is no more than a piece of memory with a lock: what
//! tells others is there for those who come. Invariant: what only the beginner may have is dropped at once when that one has gone,
//! and with it a connection or a place at the body.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Response};
use tokio::sync::Notify;

use super::body::Body;
use super::client::Client;
use super::landing::{Arrived, Confirmed, Landing};
use super::plan::Cacheable;
use super::tee::Reader;
use crate::object::{Labels, Stamp};
use crate::semantics::NotStored;
use crate::semantics::vary::VaryOn;

/// A fetch under way.
pub struct Flight {
    /// Who began it, for what the answer turns out to vary on …
    pub(super) client: Arc<Client>,
    /// … and can be called by.
    pub(super) cacheable: Cacheable,
    /// What its answer can be called by, as far as the request tells, once somebody wanted to know.
    labels: OnceLock<Option<Labels>>,
    /// All that had been declared invalid when it was begun, …
    pub(super) stamp: Stamp,
    /// … and what the record was then.
    pub(super) version: u64,
    state: Mutex<State>,
    /// Those who wait for the landing.
    waiting: Notify,
}

#[derive(Default)]
struct State {
    landing: Option<Landing>,
    /// For the one who began it.
    portion: Option<Portion>,
    has_beginner: bool,
}

/// The beginner's part in a flight. Dropping it says that nobody is there to take it.
pub struct Share(Arc<Flight>);

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

/// Never who began it: it may hold credentials.
impl std::fmt::Debug for Flight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flight").field("landed", &self.landed()).finish_non_exhaustive()
    }
}

impl Flight {
    /// Nothing has come of it yet.
    pub(super) fn new(
        (client, cacheable): (&Arc<Client>, &Cacheable),
        (stamp, version): (Stamp, u64),
    ) -> Arc<Self> {
        // A flight lasts as long as its answer comes; the room of a body that was read for its key is wanted before.
        let client = if client.body.is_empty() {
            Arc::clone(client)
        } else {
            Arc::new(Client { body: Bytes::new(), ..(**client).clone() })
        };
        Arc::new(Self {
            client,
            cacheable: *cacheable,
            labels: OnceLock::new(),
            stamp,
            version,
            state: Mutex::default(),
            waiting: Notify::new(),
        })
    }

    /// Waits for what comes of it. Whoever drives it says something before it goes.
    pub async fn landing(&self) -> Landing {
        loop {
            let mut told = pin!(self.waiting.notified());
            // From here on it is told, also if it lands before the wait begins.
            told.as_mut().enable();
            if let Some(landing) = self.landed() {
                return landing;
            }
            told.await;
        }
    }

    /// What came of it, if it has landed.
    pub fn landed(&self) -> Option<Landing> {
        self.state().landing.clone()
    }

    /// Tells all who wait what came of it: once.
    pub(super) fn land(&self, landing: Landing) {
        let mut state = self.state();
        if state.landing.is_none() {
            state.landing = Some(landing);
            drop(state);
            self.waiting.notify_waiters();
        }
    }

    /// Gives the one who began it what only that one may have.
    pub(super) fn serve_beginner(&self, portion: Portion) {
        let mut state = self.state();
        let unwanted = if state.has_beginner { state.portion.replace(portion) } else { Some(portion) };
        drop(state);
        drop(unwanted);
    }

    /// Whether an answer to this flight's request is an answer to that one too.
    pub fn answers(&self, vary: &VaryOn, request: &HeaderMap) -> bool {
        vary.is_empty() || vary.same(&self.client.parts.headers, request)
    }

    /// What its answer can be called by, as far as the request tells.
    pub(super) fn labels(&self, call: impl FnOnce(&Self) -> Option<Labels>) -> Option<&Labels> {
        self.labels.get_or_init(|| call(self)).as_ref()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under this lock can panic halfway through a change; a poisoned lock holds a sound state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Of one who is there to take it.
    pub(super) fn of(flight: &Arc<Flight>) -> Self {
        flight.state().has_beginner = true;
        Self(Arc::clone(flight))
    }

    /// What was given.
    pub(super) fn take(&self) -> Option<Portion> {
        self.0.state().portion.take()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.has_beginner = false;
        let left = state.portion.take();
        drop(state);
        drop(left);
    }
}
