//! Kept-alive connections, for the next request of the thread that opened them.
//!
//! A connection belongs to the runtime it was opened on. Where each thread has one of its own, the use of a connection by another
//! wakes both for every byte. So every thread has a place of its own in the pool; only the counts are common to all. Of a place
//! the connection used last is taken first: the others grow old, and go.
//!
//! Where a thread has none left, one of another is lent to it all the same: to open one takes longer, and an upstream may have no
//! more threads than there may be requests, each of which stays with a connection, used or not. It goes back where it belongs.
//!
//! Nobody waits for something on an idle connection. One task for each place looks at them now and then, and closes those that
//! the upstream has closed, that have been idle for too long, or that are too many.
//!
//! Too many are only those that nothing was sent on between two looks. A burst ends for all at about the same time; to close its
//! connections then would be to open them again for the next, and upstreams do not take two hundred new ones at once: what does not
//! fit in the queue of their socket is sent again after 200 ms or more.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::Settings;
use super::link::Link;

/// Idle connections to one upstream.
#[derive(Debug)]
pub(super) struct Pool {
    places: Box<[Mutex<Place>]>,
    /// In all places.
    idle: AtomicUsize,
    /// Requests that have a connection, or are about to.
    out: AtomicUsize,
    idle_max: usize,
    /// Connections, idle or not: as many as there may be requests.
    links_max: usize,
    idle_timeout: Duration,
}

/// A link that somebody uses, and where it goes when it is idle again.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) link: Box<Link>,
    /// The place it belongs to.
    home: usize,
    out: Out,
}

/// A request that has a connection, or is about to; until it is dropped.
#[derive(Debug)]
pub(super) struct Out(Arc<Pool>);

#[derive(Debug, Default)]
struct Place {
    /// The one used last at the end.
    links: Vec<Idle>,
    /// A task looks after them.
    is_watched: bool,
}

#[derive(Debug)]
struct Idle {
    link: Box<Link>,
    since: Instant,
}

/// Threads that have a place to themselves; more share. Sharing one only costs wake-ups.
const PLACES: usize = 64;
/// How often idle connections are looked at: an upstream that closes one is not left waiting for our part of it for long.
const LOOK_EVERY: Duration = Duration::from_secs(1);

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: usize = THREADS.fetch_add(1, Relaxed);
}

impl Pool {
    /// None yet.
    pub(super) fn new(settings: &Settings) -> Arc<Self> {
        let Settings { max_idle: idle_max, max_in_flight, idle_timeout, .. } = *settings;
        let places = (0..PLACES).map(|_| Mutex::default()).collect();
        Arc::new(Self {
            places,
            idle: AtomicUsize::new(0),
            out: AtomicUsize::new(0),
            idle_max,
            links_max: max_in_flight,
            idle_timeout,
        })
    }

    /// A request wants a connection.
    pub(super) fn out(self: &Arc<Self>) -> Out {
        self.out.fetch_add(1, Relaxed);
        Out(Arc::clone(self))
    }

    /// The one of this thread that was used last, or one of another; and where it belongs.
    fn take(&self, now: Instant) -> Option<(Box<Link>, usize)> {
        let here = here();
        let there = |further| {
            (self.idle.load(Relaxed) > 0).then(|| self.take_at((here + further) % PLACES, now)).flatten()
        };
        self.take_at(here, now).or_else(|| (1..PLACES).find_map(there))
    }

    fn take_at(&self, home: usize, now: Instant) -> Option<(Box<Link>, usize)> {
        let mut place = self.place(home);
        let Idle { link, since } = place.links.pop()?;
        self.idle.fetch_sub(1, Relaxed);
        if now - since < self.idle_timeout {
            return Some((link, home));
        }
        // The others are older still.
        let old = std::mem::take(&mut place.links);
        self.idle.fetch_sub(old.len(), Relaxed);
        drop(place);
        link.let_go();
        for idle in old {
            idle.link.let_go();
        }
        None
    }

    fn keep(self: &Arc<Self>, link: Box<Link>, home: usize) {
        let has_room = |idle| (idle + self.out.load(Relaxed) < self.links_max).then_some(idle + 1);
        if self.idle_max == 0 || self.idle.fetch_update(Relaxed, Relaxed, has_room).is_err() {
            return;
        }
        let mut place = self.place(home);
        place.links.push(Idle { link, since: Instant::now() });
        // Without a runtime nothing can come on it either: the next to take one finds that out.
        if !place.is_watched
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            place.is_watched = true;
            runtime.spawn(watch(Arc::downgrade(self), home));
        }
    }

    /// Closes what can't be used any longer. None: nothing is left to look at.
    fn look(&self, place: usize) -> Option<Duration> {
        let mut place = self.place(place);
        let mut left = LOOK_EVERY;
        // Those that have been idle for longest come first.
        let gone = place.links.extract_if(.., |idle| {
            let idle_for = idle.since.elapsed();
            let has_left = self.idle_timeout.saturating_sub(idle_for);
            let is_spare = idle_for >= LOOK_EVERY && self.idle.load(Relaxed) > self.idle_max;
            let stays = !has_left.is_zero() && !is_spare && idle.link.is_open();
            if stays {
                left = left.min(has_left);
            } else {
                self.idle.fetch_sub(1, Relaxed);
            }
            !stays
        });
        let gone: Vec<Idle> = gone.collect();
        place.is_watched = !place.links.is_empty();
        let next = place.is_watched.then_some(left);
        drop(place);
        for idle in gone {
            idle.link.let_go();
        }
        next
    }

    fn place(&self, place: usize) -> MutexGuard<'_, Place> {
        // Nothing that runs under this lock can panic halfway through a change; a poisoned lock holds a sound state.
        self.places[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    /// It is not needed any longer: kept if another request may be sent on it, else closed.
    pub(super) fn give_back(mut self) {
        let pool = Arc::clone(&self.out.0);
        drop(self.out);
        if self.link.is_idle() {
            pool.keep(self.link, self.home);
        }
    }
}

impl Out {
    /// A connection that is idle.
    pub(super) fn take(self, now: Instant) -> Result<Lent, Self> {
        match self.0.take(now) {
            Some((link, home)) => Ok(Lent { link, home, out: self }),
            None => Err(self),
        }
    }

    /// One that was opened for it.
    pub(super) fn with(self, link: Box<Link>) -> Lent {
        Lent { link, home: here(), out: self }
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.0.out.fetch_sub(1, Relaxed);
    }
}

/// If it is cancelled the runtime ends, and its connections with it.
async fn watch(pool: Weak<Pool>, place: usize) {
    let mut left = LOOK_EVERY;
    loop {
        tokio::time::sleep(left).await;
        let Some(pool) = pool.upgrade() else { return };
        match pool.look(place) {
            Some(next) => left = next,
            None => return,
        }
    }
}

/// This thread's place.
fn here() -> usize {
    THREAD.with(|thread| *thread % PLACES)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http::{Method, Request, Response, Uri};
    use http_body::{Body, Frame};
    use http_body_util::BodyExt;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::mpsc;

    use super::super::{Client, HostField, Received, Sent, UpstreamError};
    use super::*;
    use crate::telemetry::Telemetry;

    const SECOND: Duration = Duration::from_secs(1);
    const IDLE: Duration = Duration::from_secs(30);
    const ONE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none";

    /// Hands the far end of every connection to the test.
    #[derive(Clone)]
    struct Pipes(mpsc::UnboundedSender<DuplexStream>);

    type Pipe = TokioIo<DuplexStream>;

    impl tower_service::Service<Uri> for Pipes {
        type Response = Pipe;
        type Error = io::Error;
        type Future = std::future::Ready<io::Result<Pipe>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Uri) -> Self::Future {
            let (near, far) = duplex(64 * 1024);
            self.0.send(far).unwrap();
            std::future::ready(Ok(TokioIo::new(near)))
        }
    }

    /// A client's body, as the test sends it.
    struct Pieces(mpsc::Receiver<Bytes>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
            self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
        }
    }

    struct World {
        client: Arc<Client<Pipes>>,
        connections: mpsc::UnboundedReceiver<DuplexStream>,
        telemetry: Arc<Telemetry>,
    }

    type Asked = tokio::task::JoinHandle<Result<Response<Received>, UpstreamError>>;

    impl World {
        fn new() -> Self {
            let settings = Settings {
                url: Uri::from_static("http://origin.test"),
                host: HostField::Client,
                ca: None,
                connect_timeout: SECOND,
                response_timeout: SECOND,
                idle_timeout: IDLE,
                body_timeout: SECOND,
                max_idle: 1,
                max_in_flight: 8,
                queue_max: 0,
                queue_timeout: SECOND,
                retries: 1,
            };
            let (sender, connections) = mpsc::unbounded_channel();
            let telemetry = Arc::new(Telemetry::new(std::iter::empty()));
            let client = Arc::new(Client::new(Pipes(sender), settings, Arc::clone(&telemetry)));
            Self { client, connections, telemetry }
        }

        fn send(&self, method: Method, body: Sent) -> Asked {
            let client = Arc::clone(&self.client);
            let request = move |body| {
                let mut request = Request::new(body);
                *request.method_mut() = method.clone();
                Box::new(request)
            };
            tokio::spawn(async move {
                let permit = client.enter().await?;
                let first = request(body);
                client.send(permit, first, || Some(request(Sent::Empty)), SECOND).await
            })
        }

        fn get(&self) -> Asked {
            self.send(Method::GET, Sent::Empty)
        }

        /// The connection opened since.
        async fn opened(&mut self) -> DuplexStream {
            let opened = tokio::time::timeout(SECOND, self.connections.recv()).await;
            opened.expect("a connection is opened").unwrap()
        }

        fn has_opened_more(&mut self) -> bool {
            self.connections.try_recv().is_ok()
        }

        /// A request and its answer on a new connection, idle now.
        async fn warm(&mut self) -> DuplexStream {
            let asked = self.get();
            let mut far = self.opened().await;
            heard(&mut far).await;
            far.write_all(ONE).await.unwrap();
            assert_eq!(body(asked).await, "one");
            far
        }
    }

    /// Reads a request's head.
    async fn heard(far: &mut DuplexStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(far.read_u8().await.expect("a request"));
        }
    }

    async fn body(asked: Asked) -> Bytes {
        asked.await.unwrap().unwrap().into_body().collect().await.unwrap().to_bytes()
    }

    /// How long it takes until the near end is closed.
    async fn closed(far: &mut DuplexStream) -> Duration {
        let began = Instant::now();
        assert_eq!(far.read(&mut [0; 1024]).await.unwrap(), 0, "closed, and nothing sent");
        began.elapsed()
    }

    /// Runs until everybody waits.
    async fn settle() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_used_again_whatever_the_framing_of_its_answers() {
        let mut world = World::new();
        let mut far = world.warm().await;
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n";
        let trailers = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\na: b\r\n\r\n";
        let empty = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        for (answer, expected) in
            [(&chunked[..], "one"), (&empty[..], ""), (&trailers[..], "one"), (&chunked[..], "one")]
        {
            let asked = world.get();
            heard(&mut far).await;
            far.write_all(answer).await.unwrap();
            assert_eq!(body(asked).await, expected);
        }
        assert!(!world.has_opened_more());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_closed_in_between_is_not_noticed_by_who_asks() {
        for looks in [false, true] {
            let mut world = World::new();
            drop(world.warm().await);
            if looks {
                tokio::time::sleep(LOOK_EVERY * 2).await;
                assert_eq!(world.client.pool().idle.load(Relaxed), 0, "it was seen, and closed");
            }
            // Not even who may not be asked twice: nothing was sent.
            let asked = world.send(Method::POST, Sent::whole(Bytes::from_static(b"two")));
            let mut far = world.opened().await;
            heard(&mut far).await;
            far.write_all(ONE).await.unwrap();
            assert_eq!(body(asked).await, "one");
            assert_eq!(world.telemetry.upstream.retries.get(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_closed_under_a_request_is_tried_again_if_that_is_safe() {
        for (method, is_safe) in [(Method::GET, true), (Method::POST, false)] {
            let mut world = World::new();
            let mut far = world.warm().await;
            let asked = world.send(method, Sent::Empty);
            heard(&mut far).await;
            drop(far);
            if is_safe {
                let mut far = world.opened().await;
                heard(&mut far).await;
                far.write_all(ONE).await.unwrap();
                assert_eq!(body(asked).await, "one");
            } else {
                assert_eq!(asked.await.unwrap().err(), Some(UpstreamError::BrokenOff));
                assert!(!world.has_opened_more());
            }
        }
    }

    /// An upstream that has a thread for each connection would have none for one more.
    #[tokio::test]
    async fn a_thread_that_has_none_is_lent_that_of_another_which_goes_back() {
        let mut world = World::new();
        let _far = world.warm().await;
        let pool = Arc::clone(&world.client.pool);
        let home = std::thread::spawn(move || {
            let lent = pool.out().take(Instant::now()).ok()?;
            let home = lent.home;
            lent.give_back();
            (home != here()).then_some(home)
        });
        assert_eq!(home.join().unwrap(), Some(here()));
        assert_eq!(world.client.pool.place(here()).links.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_costs_no_connection_if_all_of_it_is_here() {
        let mut world = World::new();
        let mut far = world.warm().await;
        for _ in 0..3 {
            let asked = world.get();
            heard(&mut far).await;
            far.write_all(ONE).await.unwrap();
            drop(asked.await.unwrap().unwrap());
        }
        assert!(!world.has_opened_more());
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_takes_the_connection_along() {
        let mut world = World::new();
        let mut far = world.warm().await;
        let asked = world.get();
        heard(&mut far).await;
        asked.abort();
        assert_eq!(closed(&mut far).await, Duration::ZERO, "before the head");

        let asked = world.get();
        let mut far = world.opened().await;
        heard(&mut far).await;
        far.write_all(&ONE[..ONE.len() - 1]).await.unwrap();
        let mut answer = asked.await.unwrap().unwrap().into_body();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "on");
        drop(answer);
        assert_eq!(closed(&mut far).await, Duration::ZERO, "in the middle of the body");
        world.warm().await;
        assert_eq!(world.telemetry.upstream.in_flight.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_before_a_body_broke_off_has_a_turn_to_go_out() {
        let mut world = World::new();
        let asked = world.get();
        let mut far = world.opened().await;
        heard(&mut far).await;
        far.write_all(&ONE[..ONE.len() - 1]).await.unwrap();
        drop(far);
        let mut answer = asked.await.unwrap().unwrap().into_body();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "on");
        let mut turns = 0;
        let broke = std::future::poll_fn(|context| {
            turns += 1;
            Pin::new(&mut answer).poll_frame(context)
        });
        assert!(broke.await.is_some_and(|frame| frame.is_err()));
        assert_eq!(turns, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn each_head_has_its_own_time() {
        let mut world = World::new();
        let mut far = world.warm().await;
        for _ in 0..3 {
            let asked = world.get();
            heard(&mut far).await;
            tokio::time::sleep(SECOND * 7 / 10).await;
            far.write_all(ONE).await.unwrap();
            assert_eq!(body(asked).await, "one");
        }
        tokio::time::sleep(SECOND / 2).await;
        let (asked, began) = (world.get(), Instant::now());
        heard(&mut far).await;
        assert_eq!(asked.await.unwrap().err(), Some(UpstreamError::ResponseTimeout(SECOND)));
        assert_eq!(began.elapsed().as_millis() / 10, 100);
        closed(&mut far).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_still_goes_out_goes_on_while_nobody_reads_the_answer() {
        let mut world = World::new();
        let (sender, pieces) = mpsc::channel(1);
        let asked = world.send(Method::POST, Sent::streaming(Pieces(pieces), IDLE));
        let mut far = world.opened().await;
        heard(&mut far).await;
        far.write_all(ONE).await.unwrap();
        let answer = asked.await.unwrap().unwrap();
        for _ in 0..3 {
            sender.send(Bytes::from_static(b"piece")).await.unwrap();
            settle().await;
        }
        drop(sender);
        let mut sent = vec![0; 3 * "5\r\npiece\r\n".len() + "0\r\n\r\n".len()];
        far.read_exact(&mut sent).await.unwrap();
        assert!(sent.ends_with(b"piece\r\n0\r\n\r\n"));
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "one");
        closed(&mut far).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_idle_for_too_long_or_too_many_is_closed() {
        let mut world = World::new();
        let asked: Vec<Asked> = (0..3).map(|_| world.get()).collect();
        let mut all = Vec::new();
        for _ in 0..3 {
            let mut far = world.opened().await;
            heard(&mut far).await;
            far.write_all(ONE).await.unwrap();
            all.push(far);
        }
        for asked in asked {
            assert_eq!(body(asked).await, "one");
        }
        assert_eq!(world.client.pool().idle.load(Relaxed), 3, "a burst's, for a moment");
        tokio::time::sleep(LOOK_EVERY + SECOND / 2).await;
        assert_eq!(world.client.pool().idle.load(Relaxed), 1, "no more than there may be");
        tokio::time::sleep(IDLE).await;
        for mut far in all {
            assert_eq!(closed(&mut far).await, Duration::ZERO);
        }
        let place = world.client.pool().place(here()).is_watched;
        assert!(!place, "nobody looks at none");
        world.warm().await;
    }
}
