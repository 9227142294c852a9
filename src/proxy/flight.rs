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
    Answer(Box<Response<Body>>),
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

#[cfg(test)]
pub(super) mod example {
    use http::Request;

    use super::super::target::Peer;
    use super::*;
    use crate::object::Key;
    use crate::semantics::Audience;

    /// Who asks, with this field and that body.
    pub fn client((name, value): (&'static str, &'static str), body: Bytes) -> Arc<Client> {
        let (parts, ()) = Request::get("/things/1").header(name, value).body(()).unwrap().into_parts();
        let peer = Peer { address: [127, 0, 0, 1].into(), scheme: "http", here: None };
        Arc::new(Client { body, ..Client::new(parts, peer) })
    }

    /// Anybody may have it.
    pub fn cacheable(key: Key) -> Cacheable {
        Cacheable {
            key,
            audience: Audience::Everyone,
            declared_shared: false,
            undeclared_credential: false,
            by_body: false,
        }
    }

    /// An answer with this body.
    pub fn portion(body: &Bytes) -> Portion {
        Portion::Answer(Box::new(Response::new(Body::Kept(body.clone()))))
    }

    /// Some bytes of which it can be told whether anybody has them.
    pub fn bytes() -> Bytes {
        Bytes::from(vec![b'x'; 1000])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::{Relaxed, SeqCst};
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::task::{Context, Wake, Waker};
    use std::thread;

    use super::example::{bytes, cacheable, client, portion};
    use super::*;
    use crate::object::Key;
    use crate::upstream::UpstreamError;

    const FIELD: (&str, &str) = ("accept", "text/html");

    fn flight() -> Arc<Flight> {
        begun_by(&client(FIELD, Bytes::new()))
    }

    fn begun_by(client: &Arc<Client>) -> Arc<Flight> {
        Flight::new((client, &cacheable(Key::from_bytes([1; 32]))), (Stamp(0), 0))
    }

    #[test]
    fn it_has_all_of_who_began_it_but_the_body() {
        let body = bytes();
        let asks = client(FIELD, body.clone());
        let flight = begun_by(&asks);
        drop(asks);
        assert!(body.is_unique(), "its room is free while the answer comes");
        assert_eq!(flight.client.parts.uri, "/things/1");
        assert_eq!(flight.client.parts.headers["accept"], "text/html");
        let without = client(FIELD, Bytes::new());
        assert!(Arc::ptr_eq(&begun_by(&without).client, &without), "nothing to leave out");
    }

    #[tokio::test]
    async fn all_who_wait_are_told_and_who_comes_later_and_the_first_word_counts() {
        let flight = flight();
        let wait = || {
            let flight = Arc::clone(&flight);
            tokio::spawn(async move { flight.landing().await })
        };
        let mut waiting: Vec<_> = (0..20).map(|_| wait()).collect();
        tokio::task::yield_now().await;
        assert!(flight.landed().is_none() && waiting.iter().all(|each| !each.is_finished()));
        flight.land(Landing::Parted);
        flight.land(Landing::Failed(UpstreamError::Refused));
        waiting.push(wait());
        for landing in waiting {
            assert!(matches!(landing.await.unwrap(), Landing::Parted));
        }
        assert!(matches!(flight.landed(), Some(Landing::Parted)));
    }

    /// Written down that it was woken.
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Relaxed);
        }
    }

    #[test]
    fn what_lands_while_somebody_begins_to_wait_is_heard() {
        for round in 0..3000 {
            let (flight, ready) = (flight(), AtomicUsize::new(0));
            let at_once = |pause: usize| {
                ready.fetch_add(1, SeqCst);
                while ready.load(SeqCst) < 2 {
                    thread::yield_now();
                }
                (0..pause).for_each(|_| std::hint::spin_loop());
            };
            let woken = Arc::<Woken>::default();
            let mut landing = pin!(flight.landing());
            let is_heard = thread::scope(|scope| {
                scope.spawn(|| {
                    at_once(round % 50);
                    flight.land(Landing::Parted);
                });
                let waker = Waker::from(Arc::clone(&woken));
                at_once(0);
                landing.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
            });
            assert!(is_heard || woken.0.load(Relaxed), "{round}");
        }
    }

    #[test]
    fn a_portion_is_for_the_beginner_once_and_for_nobody_when_that_one_is_gone() {
        let (flight, body) = (flight(), bytes());
        flight.serve_beginner(portion(&body));
        assert!(body.is_unique(), "nobody is there to take it");
        let share = Share::of(&flight);
        assert!(share.take().is_none());
        flight.serve_beginner(portion(&body));
        assert!(!body.is_unique() && share.take().is_some() && share.take().is_none());
        assert!(body.is_unique());
        flight.serve_beginner(portion(&body));
        flight.serve_beginner(Portion::Answer(Box::new(Response::new(Body::Empty))));
        assert!(body.is_unique(), "another took its place");
        flight.serve_beginner(portion(&body));
        drop(share);
        assert!(body.is_unique(), "who began it has left");
        flight.serve_beginner(portion(&body));
        assert!(body.is_unique(), "and is not there any more");
    }

    #[test]
    fn it_answers_who_sends_the_same_where_the_answer_varies() {
        let flight = flight();
        let vary = |name: &'static str| VaryOn::on(vec![http::HeaderName::from_static(name)]);
        let others = client(("accept", "text/plain"), Bytes::new());
        let headers = &others.parts.headers;
        assert!(flight.answers(&VaryOn::default(), headers) && flight.answers(&vary("cookie"), headers));
        assert!(!flight.answers(&vary("accept"), headers));
        assert!(flight.answers(&vary("accept"), &client(FIELD, Bytes::new()).parts.headers));
    }

    #[test]
    fn its_labels_are_asked_for_once_also_if_there_are_none() {
        let flight = flight();
        assert!(flight.labels(|_| None).is_none());
        assert!(flight.labels(|_| panic!("again")).is_none());
    }

    #[test]
    fn nothing_of_who_began_it_is_shown() {
        let flight = begun_by(&client(("authorization", "Bearer abc"), Bytes::new()));
        assert_eq!(format!("{flight:?}"), "Flight { landed: None, .. }");
    }
}
