//! Clients: what they ask, over HTTP/1.1 or HTTP/2, and what they get.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::request::Parts as Head;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::body::{Tap, Written, flow};

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS, known beforehand.
    Http2,
}

/// A request to be sent.
#[derive(Debug)]
pub(crate) struct Ask {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Written,
}

/// A connection to the proxy; closed when dropped.
pub(crate) struct Client {
    sender: Sender,
    connection: JoinHandle<()>,
}

/// A client that speaks HTTP/2 frame by frame, and gives no more window than it gave at first.
pub(crate) struct Http2Raw(DuplexStream, BytesMut);

enum Sender {
    Http1(http1::SendRequest<Written>),
    Http2(http2::SendRequest<Written>),
}

/// An answer whose body is still to be read, and the connection it comes on.
pub(crate) struct Opened {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Incoming,
    client: Client,
}

/// An answer, complete.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// A request under way, in a task of its own.
pub(crate) struct Waiting(JoinHandle<Result<Answer, hyper::Error>>);

// Frames and their flags (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Whom all requests are for that don't say otherwise.
pub(crate) const HOST_NAME: &str = "larder.test";

/// A GET of this path and query.
pub(crate) fn get(target: &str) -> Ask {
    ask("GET", target)
}

/// Any request without a body.
pub(crate) fn ask(method: &str, target: &str) -> Ask {
    Ask {
        method: method.parse().unwrap(),
        target: target.to_owned(),
        headers: HeaderMap::new(),
        body: Written::Whole(Bytes::new()),
    }
}

impl Ask {
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

    /// As this transport writes it: HTTP/1.1 has the host in a field, HTTP/2 in the target.
    fn request(self, transport: Transport) -> Request<Written> {
        let Self { method, target, mut headers, body } = self;
        let uri: Uri = match transport {
            Transport::Http1 => {
                if !headers.contains_key(HOST) {
                    headers.insert(HOST, HeaderValue::from_static(HOST_NAME));
                }
                target.parse().unwrap()
            }
            Transport::Http2 => {
                let host = headers.remove(HOST);
                let host = host.as_ref().map_or(HOST_NAME, |host| host.to_str().unwrap());
                format!("http://{host}{target}").parse().unwrap()
            }
        };
        let (mut head, ()): (Head, ()) = Request::new(()).into_parts();
        (head.method, head.uri, head.headers) = (method, uri, headers);
        Request::from_parts(head, body)
    }
}

impl Client {
    /// Over this pipe, whose other end the proxy serves.
    pub(crate) async fn connect(transport: Transport, io: DuplexStream) -> Self {
        let io = TokioIo::new(io);
        match transport {
            Transport::Http1 => {
                let (sender, connection) = http1::handshake(io).await.unwrap();
                let connection = connection.with_upgrades();
                let connection = tokio::spawn(async move {
                    let _ = connection.await;
                });
                Self { sender: Sender::Http1(sender), connection }
            }
            Transport::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
                let connection = tokio::spawn(async move {
                    let _ = connection.await;
                });
                Self { sender: Sender::Http2(sender), connection }
            }
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(&mut self, ask: Ask) -> Result<http::Response<Incoming>, hyper::Error> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(ask.request(Transport::Http1)).await
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(ask.request(Transport::Http2)).await
            }
        }
    }

    /// Sends a request and reads all of its answer.
    pub(crate) async fn ask(&mut self, ask: Ask) -> Result<Answer, hyper::Error> {
        let (head, body) = self.send(ask).await?.into_parts();
        Answer::read(head.status, head.headers, body).await
    }

    /// Whether the other side has closed it.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    /// The same for an answer that is read step by step.
    pub(crate) async fn open(mut self, ask: Ask) -> Result<Opened, hyper::Error> {
        let (head, body) = self.send(ask).await?.into_parts();
        Ok(Opened { status: head.status, headers: head.headers, body, client: self })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Http2Raw {
    /// Begins a connection whose streams have this window at first.
    pub(crate) async fn open(mut io: DuplexStream, window: u32) -> Self {
        io.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut client = Self(io, BytesMut::new());
        let [a, b, c, d] = window.to_be_bytes();
        client.frame(SETTINGS, 0, 0, &[0, 4, a, b, c, d]).await;
        client.frame(SETTINGS, ACK, 0, &[]).await;
        client
    }

    /// Sends a GET of this path on the first stream.
    pub(crate) async fn ask(&mut self, path: &str) {
        // RFC 7541: `:method: GET` and `:scheme: http` by their index, `:path` and `:authority` with a value of their own.
        let mut head = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
        head.extend_from_slice(path.as_bytes());
        head.extend_from_slice(&[0x01, u8::try_from(HOST_NAME.len()).unwrap()]);
        head.extend_from_slice(HOST_NAME.as_bytes());
        self.frame(HEADERS, END_STREAM | END_HEADERS, 1, &head).await;
    }

    /// Lets time pass, second by second; reads what comes, and answers every PING. The data that came.
    pub(crate) async fn pass_seconds(&mut self, seconds: u64) -> Vec<u8> {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut data = Vec::new();
        while Instant::now() < end {
            let second = Instant::now() + Duration::from_secs(1);
            // A closed connection is what some tests look for: not an error here.
            while let Ok(Some((kind, flags, payload))) = timeout_at(second, self.next()).await {
                match kind {
                    DATA => data.extend_from_slice(&payload),
                    PING if flags & ACK == 0 => self.frame(PING, ACK, 0, &payload).await,
                    _ => {}
                }
            }
            sleep_until(second).await;
        }
        data
    }

    /// The next frame's kind, flags and payload; none: the connection is closed.
    async fn next(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        while self.1.len() < 9 || self.1.len() < 9 + self.payload_bytes() {
            // Not `read_exact`: what was read must not be lost when time is up.
            if self.0.read_buf(&mut self.1).await.ok()? == 0 {
                return None;
            }
        }
        let bytes = 9 + self.payload_bytes();
        let frame = self.1.split_to(bytes);
        Some((frame[3], frame[4], frame[9..].to_vec()))
    }

    fn payload_bytes(&self) -> usize {
        u32::from_be_bytes([0, self.1[0], self.1[1], self.1[2]]).try_into().unwrap()
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).unwrap();
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
        frame.extend_from_slice(payload);
        let _ = self.0.write_all(&frame).await;
    }
}

impl Opened {
    /// The next chunk, once it has come.
    pub(crate) async fn chunk(&mut self) -> Bytes {
        let frame = self.body.frame().await.expect("the body has ended");
        frame.expect("the body broke off").into_data().expect("trailers came")
    }

    /// All the rest.
    pub(crate) async fn rest(self) -> Result<Answer, hyper::Error> {
        let Self { status, headers, body, client } = self;
        let answer = Answer::read(status, headers, body).await;
        drop(client);
        answer
    }

    /// The value of a field that is there once.
    pub(crate) fn header(&self, name: &str) -> &str {
        only(&self.headers, name)
    }
}

impl Answer {
    async fn read(status: StatusCode, headers: HeaderMap, body: Incoming) -> Result<Self, hyper::Error> {
        let collected = body.collect().await?;
        let trailers = collected.trailers().cloned();
        Ok(Self { status: status.as_u16(), headers, body: collected.to_bytes(), trailers })
    }

    /// The value of a field that is there once.
    pub(crate) fn header(&self, name: &str) -> &str {
        only(&self.headers, name)
    }

    /// The body, which must be text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// What the cache did.
    pub(crate) fn cache_status(&self) -> &str {
        self.header("cache-status")
    }
}

impl Waiting {
    pub(crate) fn new(task: JoinHandle<Result<Answer, hyper::Error>>) -> Self {
        Self(task)
    }

    /// Waits for all of it.
    pub(crate) async fn answer(self) -> Answer {
        self.ended().await.expect("the answer broke off")
    }

    /// The same, for an answer that may break off.
    pub(crate) async fn ended(self) -> Result<Answer, hyper::Error> {
        self.0.await.unwrap()
    }

    /// The client goes away: its connection closes.
    pub(crate) fn leave(self) {
        self.0.abort();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_finished()
    }
}

fn only<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next().unwrap_or_else(|| panic!("no {name} in {headers:?}"));
    assert!(values.next().is_none(), "several {name} in {headers:?}");
    value.to_str().unwrap()
}
