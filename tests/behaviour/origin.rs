//! The scripted origin: what it answers, what it was asked, and how its connections come about.
//!
//! Replies are scripted per target, and given in order. A request for which there is none gets 599 and fails the test at its
//! end. A `Gate` holds heads back, a `Tap` lets a test write a body as it goes, and a raw connection leaves every byte to it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::{Semaphore, mpsc};

use crate::body::{Died, Tap, Written, flow};

/// What fits into a pipe before its writer has to wait.
pub(crate) const PIPE_BYTES: usize = 16 * 1024;

/// The upstream, as a test scripts it. Also what the proxy connects with.
#[derive(Clone, Debug)]
pub(crate) struct Origin(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    script: Mutex<Script>,
    raw: mpsc::UnboundedSender<DuplexStream>,
    raw_connections: tokio::sync::Mutex<mpsc::UnboundedReceiver<DuplexStream>>,
}

#[derive(Debug, Default)]
struct Script {
    replies: HashMap<String, VecDeque<Reply>>,
    asked: Vec<Asked>,
    unexpected: Vec<String>,
    otherwise: Otherwise,
    connections: VecDeque<Connecting>,
    connects: usize,
    drops: Vec<tokio::task::AbortHandle>,
}

/// Answers what nothing was scripted for.
#[derive(Clone, Default)]
struct Otherwise(Option<Arc<Answering>>);

type Answering = dyn Fn(&Asked) -> Reply + Send + Sync;

/// One answer.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Written,
    gate: Option<Gate>,
    /// After the head, bytes go back as they come.
    echoes: bool,
    /// Does not wait for the request's body.
    early: bool,
}

/// What the origin saw of a request; its body grows as it comes.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// Path and query, byte for byte.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    body: Arc<Mutex<Vec<u8>>>,
    pub(crate) trailers: Arc<Mutex<Option<HeaderMap>>>,
}

/// Holds replies back until it is opened, and counts who waits at it.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    places: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// How the next connection comes about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Connecting {
    /// Nobody listens.
    Refused,
    /// Nobody answers.
    Never,
    /// A test speaks for the origin, byte by byte: `Origin::raw_connection`.
    Raw,
}

/// The proxy's end of a connection.
pub(crate) type Pipe = TokioIo<DuplexStream>;

/// An answer without fields and body.
pub(crate) fn reply(status: u16) -> Reply {
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: Written::Whole(Bytes::new()),
        gate: None,
        echoes: false,
        early: false,
    }
}

/// A 200 that may be kept for a minute.
pub(crate) fn fresh(body: &'static str) -> Reply {
    reply(200).header("cache-control", "max-age=60").body(body)
}

/// A 200 that nobody may keep.
pub(crate) fn unstorable(body: &'static str) -> Reply {
    reply(200).header("cache-control", "no-store").body(body)
}

impl Reply {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.headers.append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    /// All at once, with its length.
    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Written::Whole(body.into());
        self
    }

    /// As the test writes it; chunked, if no length is given.
    pub(crate) fn flowing(mut self) -> (Tap, Self) {
        let (tap, body) = flow();
        self.body = body;
        (tap, self)
    }

    /// The head waits at this gate.
    pub(crate) fn held(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// Switches protocols, and sends back what it gets.
    pub(crate) fn echoing(mut self) -> Self {
        self.echoes = true;
        self
    }

    /// Answers before the request's body has come.
    pub(crate) fn early(mut self) -> Self {
        self.early = true;
        self
    }
}

impl Gate {
    /// Shut.
    pub(crate) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(0)), waiting: Arc::default() }
    }

    /// How many wait at it.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Lets all through, from now on.
    pub(crate) fn open(&self) {
        self.places.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// Lets one through.
    pub(crate) fn let_one_through(&self) {
        self.places.add_permits(1);
    }

    /// Waits until it lets through.
    pub(crate) async fn pass(&self) {
        struct Leaves<'g>(&'g AtomicUsize);
        impl Drop for Leaves<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }
        self.waiting.fetch_add(1, SeqCst);
        let _leaves = Leaves(&self.waiting);
        self.places.acquire().await.unwrap().forget();
    }
}

impl Asked {
    /// What has come of its body so far.
    pub(crate) fn body(&self) -> Vec<u8> {
        lock(&self.body).clone()
    }

    /// A field that is there once, or an empty text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Origin {
    pub(crate) fn new() -> Self {
        let (raw, connections) = mpsc::unbounded_channel();
        Self(Arc::new(Inner {
            script: Mutex::default(),
            raw,
            raw_connections: tokio::sync::Mutex::new(connections),
        }))
    }

    /// The next request for this target, which nobody has yet answered for, gets this.
    pub(crate) fn on(&self, target: &str, reply: Reply) {
        let mut script = self.script();
        script.replies.entry(target.to_owned()).or_default().push_back(reply);
    }

    /// Whatever nothing is scripted for gets this.
    pub(crate) fn otherwise(&self, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        self.script().otherwise = Otherwise(Some(Arc::new(answer)));
    }

    /// How the connection after those already told of comes about; without a word it serves.
    pub(crate) fn next_connection(&self, connecting: Connecting) {
        self.script().connections.push_back(connecting);
    }

    /// The origin's end of a `Connecting::Raw`, once the proxy has connected.
    pub(crate) async fn raw_connection(&self) -> DuplexStream {
        self.0.raw_connections.lock().await.recv().await.unwrap()
    }

    /// How often it was asked.
    pub(crate) fn count(&self) -> usize {
        self.script().asked.len()
    }

    /// How often a connection was opened or tried.
    pub(crate) fn connects(&self) -> usize {
        self.script().connects
    }

    /// All that it was asked, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script().asked.clone()
    }

    /// The last thing it was asked.
    pub(crate) fn last(&self) -> Asked {
        self.script().asked.last().cloned().expect("the origin was asked nothing")
    }

    /// Requests that nobody had scripted an answer for.
    pub(crate) fn unexpected(&self) -> Vec<String> {
        self.script().unexpected.clone()
    }

    /// All its open connections end at once.
    pub(crate) fn drop_connections(&self) {
        for connection in self.script().drops.drain(..) {
            connection.abort();
        }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        lock(&self.0.script)
    }

    async fn answer(self, mut request: Request<Incoming>) -> Result<Response<Written>, Died> {
        let upgraded = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        let asked = Asked {
            method: parts.method.clone(),
            target: parts.uri.to_string(),
            headers: parts.headers,
            body: Arc::default(),
            trailers: Arc::default(),
        };
        let reply = {
            let mut script = self.script();
            script.asked.push(asked.clone());
            let otherwise = script.otherwise.0.clone();
            let scripted = script.replies.get_mut(&asked.target).and_then(VecDeque::pop_front);
            let reply = scripted.or_else(|| otherwise.map(|answer| answer(&asked)));
            if reply.is_none() {
                script.unexpected.push(format!("{} {}", asked.method, asked.target));
            }
            reply.unwrap_or_else(|| self::reply(599))
        };
        if reply.early {
            tokio::spawn(async move { asked.read(body).await });
        } else {
            asked.read(body).await?;
        }
        if let Some(gate) = &reply.gate {
            gate.pass().await;
        }
        if reply.echoes {
            tokio::spawn(async move {
                let (mut reading, mut writing) = tokio::io::split(TokioIo::new(upgraded.await.unwrap()));
                let _ = tokio::io::copy(&mut reading, &mut writing).await;
            });
        }
        let mut response = Response::new(reply.body);
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        Ok(response)
    }

    fn serve(&self, io: DuplexStream) {
        let origin = self.clone();
        let service = service_fn(move |request| origin.clone().answer(request));
        let connection = hyper::server::conn::http1::Builder::new()
            // It would say what the machine's clock says, and the test's runs by itself.
            .auto_date_header(false)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        let task = tokio::spawn(connection);
        self.script().drops.push(task.abort_handle());
    }
}

impl fmt::Debug for Otherwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "answers" } else { "nothing" })
    }
}

impl Asked {
    async fn read(&self, mut body: Incoming) -> Result<(), Died> {
        while let Some(frame) = body.frame().await {
            match frame.map_err(|_| Died)?.into_data() {
                Ok(data) => lock(&self.body).extend_from_slice(&data),
                Err(frame) => *lock(&self.trailers) = frame.into_trailers().ok(),
            }
        }
        Ok(())
    }
}

impl tower_service::Service<Uri> for Origin {
    type Response = Pipe;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Pipe>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (near, far) = duplex(PIPE_BYTES);
        let connecting = {
            let mut script = self.script();
            script.connects += 1;
            script.connections.pop_front()
        };
        match connecting {
            None => self.serve(far),
            Some(Connecting::Raw) => self.0.raw.send(far).unwrap(),
            Some(Connecting::Refused) => {
                return Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) });
            }
            Some(Connecting::Never) => return Box::pin(std::future::pending()),
        }
        Box::pin(async { Ok(TokioIo::new(near)) })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
