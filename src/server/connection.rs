//! One connection: finds out which protocol the client speaks, serves it, and ends it when it has had its time.
//!
//! HTTP/1.1, or HTTP/2 without TLS for who begins with its preface (RFC 9113, 3.3). The service is whoever answers: the proxy
//! or the admin listener.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::UPGRADE;
use http::{Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep};

use super::Limits;
use super::drain::Drain;
use super::io::{Active, Socket, Turn, Vitals};
use super::vigil::{self, Judgement, Vigil};
use crate::proxy::{Answer, Form, Hold};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As it should.
    Well,
    /// By an error of the protocol, a time-out, or a client gone in the middle.
    Broken,
}

/// A body that keeps its connection busy until its end.
struct Busy<B> {
    /// None: it is on its way already.
    body: Option<B>,
    /// Of an answer in pieces on HTTP/2. On HTTP/1 the socket says the same.
    turn: Option<Turn>,
    is_http2: bool,
    active: Option<Active>,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A request head, in bytes; hyper answers 431 to a longer one, and to one of more than a hundred fields.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// HTTP/2 asks a silent client whether it is still there.
const PING_AFTER: Duration = Duration::from_secs(20);
/// For a connection whose first bytes the kernel has, and we not yet, when the end begins.
const MOMENT: Duration = Duration::from_millis(50);

/// Serves a connection to its end, or until it has been drained.
///
/// `hold` is given to whoever takes the connection over for another protocol, and must live as long as that does.
pub async fn serve<IO, S, F, B>(mut io: IO, limits: Limits, drain: Drain, hold: Hold, answer: S) -> Ended
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Fn(Request<Incoming>, Form) -> F + Send + Sync + 'static,
    F: Future<Output = Answer<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let first = match greeting(&mut io, &limits, drain.clone()).await {
        Ok(first) => first,
        Err(ended) => return ended,
    };
    let is_http2 = first.starts_with(PREFACE);
    let vitals = Arc::<Vitals>::default();
    let socket = TokioIo::new(Socket::new(io, first, Arc::clone(&vitals), !is_http2));
    let noted = Arc::clone(&vitals);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let active = noted.begin();
        if request.headers().contains_key(UPGRADE) {
            request.extensions_mut().insert(hold.clone());
        }
        // RFC 9112, 2.3: a message says which version of HTTP/1 its sender speaks; older clients are told what theirs needs by the
        // protocol.
        let takes_message =
            request.version() == Version::HTTP_11 && request.body().is_end_stream() && noted.takes_message();
        let form = if takes_message { Form::Message } else { Form::Response };
        let answering = answer(request, form);
        async move { Ok::<_, std::convert::Infallible>(given(answering.await, active, is_http2)) }
    });
    if is_http2 {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams_max)
            .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_AFTER);
        let connection = builder.serve_connection(socket, service);
        watch(
            connection,
            hyper::server::conn::http2::Connection::graceful_shutdown,
            &vitals,
            limits,
            drain,
            false,
        )
        .await
    } else {
        let mut builder = hyper::server::conn::http1::Builder::new();
        // Heads are bounded in time by `vigil`, at no cost per request; hyper's own timer is set anew for each.
        builder.header_read_timeout(None).max_header_size(HEAD_BYTES_MAX).max_buf_size(HEAD_BYTES_MAX);
        let connection = builder.serve_connection(socket, service).with_upgrades();
        watch(
            connection,
            hyper::server::conn::http1::UpgradeableConnection::graceful_shutdown,
            &vitals,
            limits,
            drain,
            true,
        )
        .await
    }
}

/// What the protocol is given. For a message, which goes out by itself: an answer without fields and body.
fn given<B>(answer: Answer<B>, active: Active, is_http2: bool) -> Response<Busy<B>> {
    let response = match answer {
        Answer::Response(response) => response,
        Answer::Message(message, headers) => {
            active.send(message);
            let mut stand_in = Response::new(Busy { body: None, turn: None, is_http2, active: None });
            *stand_in.headers_mut() = headers;
            return stand_in;
        }
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        active.switched();
    }
    response.map(|body| Busy { body: Some(body), turn: None, is_http2, active: Some(active) })
}

/// What wakes the one who watches a connection.
enum Woken<E> {
    /// It has ended.
    Ended(Result<(), E>),
    /// Everything ends.
    Drain,
    /// Time to look how it stands.
    Tick,
}

/// Runs a connection while somebody keeps an eye on it.
async fn watch<C, E>(
    connection: C,
    shut_down: impl Fn(Pin<&mut C>),
    vitals: &Vitals,
    limits: Limits,
    drain: Drain,
    whole_heads: bool,
) -> Ended
where
    C: Future<Output = Result<(), E>>,
{
    let mut connection = pin!(connection);
    let interval = vigil::interval(&limits);
    let mut tick = pin!(tokio::time::sleep(interval));
    let mut vigil = Vigil::new(Instant::now());
    let mut draining = false;
    loop {
        match wake(connection.as_mut(), tick.as_mut(), &drain, draining).await {
            Woken::Ended(ended) => return if ended.is_ok() { Ended::Well } else { Ended::Broken },
            Woken::Drain => {
                draining = true;
                shut_down(connection.as_mut());
            }
            Woken::Tick => {
                let judgement = vigil.judge(vitals.tick(), Instant::now(), &limits, whole_heads);
                // Told to go, and with nothing to wait for: an HTTP/2 client may never say that it has heard.
                if draining && vigil.is_at_rest() {
                    return Ended::Well;
                }
                match judgement {
                    Judgement::LetBe => {}
                    Judgement::Idle if !draining => {
                        draining = true;
                        shut_down(connection.as_mut());
                    }
                    Judgement::Idle => return Ended::Well,
                    Judgement::Stuck => return Ended::Broken,
                }
                tick.as_mut().reset(Instant::now() + interval);
            }
        }
    }
}

/// Runs the connection until something is to be done about it.
///
/// The connection first: it reads what came before it is told to shut down, and answers it. It is polled for every request; the
/// drain and the tick are asked to wake us only once, and then cost a look at an atomic each: a `select!` would take the locks
/// behind both of them every time.
async fn wake<C: Future<Output = Result<(), E>>, E>(
    mut connection: Pin<&mut C>,
    mut tick: Pin<&mut Sleep>,
    drain: &Drain,
    draining: bool,
) -> Woken<E> {
    let mut waiting = drain.clone();
    // Unconstrained: a connection that has just used up the task's budget would leave both of them unasked.
    let mut begun = pin!(unconstrained(waiting.begun()));
    let mut is_asked = false;
    poll_fn(|context| {
        if let Poll::Ready(ended) = connection.as_mut().poll(context) {
            return Poll::Ready(Woken::Ended(ended));
        }
        let has_begun = if is_asked {
            drain.begins()
        } else {
            is_asked = true;
            // Ready or not, they wake this task when they are; the looks below tell.
            let mut tick = pin!(unconstrained(tick.as_mut()));
            let _ = (begun.as_mut().poll(context), tick.as_mut().poll(context));
            drain.has_begun()
        };
        if has_begun && !draining {
            return Poll::Ready(Woken::Drain);
        }
        if tick.is_elapsed() {
            return Poll::Ready(Woken::Tick);
        }
        Poll::Pending
    })
    .await
}

/// The first bytes of a connection, or how it ended without any.
async fn greeting<IO: AsyncRead + Unpin>(
    io: &mut IO,
    limits: &Limits,
    mut drain: Drain,
) -> Result<Bytes, Ended> {
    let end = async {
        drain.begun().await;
        tokio::time::sleep(MOMENT).await;
    };
    // Nothing is owed to who has sent no request yet, but one that has come is answered.
    let first = tokio::select! {
        biased;
        first = tokio::time::timeout(limits.header_timeout, first_bytes(io)) => first,
        () = end => return Err(Ended::Well),
    };
    match first {
        Ok(Ok(first)) if first.is_empty() => Err(Ended::Well),
        Ok(Ok(first)) => Ok(first),
        Ok(Err(_)) | Err(_) => Err(Ended::Broken),
    }
}

/// Reads until it is clear whether this is HTTP/2: as much as agrees with its preface. Empty: the client left.
async fn first_bytes<IO: AsyncRead + Unpin>(io: &mut IO) -> std::io::Result<Bytes> {
    let mut first = BytesMut::with_capacity(8 * 1024);
    loop {
        let read = io.read_buf(&mut first).await?;
        let agreed = first.len().min(PREFACE.len());
        // What came with the preface stays in the buffer, for whoever speaks it.
        if read == 0 || first[..agreed] != PREFACE[..agreed] || agreed == PREFACE.len() {
            return Ok(first.freeze());
        }
    }
}

impl<B: Body + Unpin> Body for Busy<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if let Some(turn) = &self.turn {
            turn.is_the_bodys();
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(context);
        if self.is_http2 && matches!(polled, Poll::Ready(Some(Ok(_)))) {
            if self.turn.is_none() && !self.is_end_stream() {
                self.turn = self.active.as_ref().map(Active::turn);
            }
            if let Some(turn) = &self.turn {
                turn.is_the_clients();
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tokio::io::AsyncWriteExt;

    use super::super::STREAMS_MAX;
    use super::super::drain;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);
    const LIMITS: Limits =
        Limits { streams_max: STREAMS_MAX, header_timeout: LIMIT, idle_timeout: LIMIT, body_timeout: LIMIT };

    /// The first line of the answer to a request with a head of so many bytes, of which the first come by themselves.
    async fn answered(head_bytes: usize, first_bytes: usize) -> String {
        // Wide enough for hyper to find the rest of the head all at once, past the end of its buffer.
        let (mut near, far) = tokio::io::duplex(1024 * 1024);
        let (_drainer, drain) = drain::pair();
        let hold = Hold(Arc::new(drain.clone()));
        let answer = |_, _| async { Answer::Response(Response::new(Full::new(Bytes::new()))) };
        tokio::spawn(serve(far, LIMITS, drain, hold, answer));
        let (start, end) = ("GET / HTTP/1.1\r\nhost: larder.test\r\nx: ", "\r\n\r\n");
        let head = format!("{start}{}{end}", "x".repeat(head_bytes - start.len() - end.len()));
        let (first, rest) = head.as_bytes().split_at(first_bytes);
        near.write_all(first).await.unwrap();
        settle().await;
        near.write_all(rest).await.unwrap();
        let mut line = [0; 12];
        near.read_exact(&mut line).await.unwrap();
        String::from_utf8(line.to_vec()).unwrap()
    }

    /// Runs until everybody waits: on a paused clock a timer fires only when no task can go on.
    async fn settle() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_past_its_limit_is_refused_however_its_bytes_come() {
        for first_bytes in [10, 3000, 8192, 60_000] {
            for (kilobytes, expected) in [(63, "200"), (65, "431"), (70, "431"), (100, "431")] {
                let line = answered(kilobytes * 1024, first_bytes).await;
                assert_eq!(line, format!("HTTP/1.1 {expected}"), "{kilobytes} KiB, {first_bytes} first");
            }
        }
    }

    fn begin_serve(far: tokio::io::DuplexStream, limits: Limits, body: Bytes) -> drain::Drainer {
        let (drainer, drain) = drain::pair();
        let hold = Hold(Arc::new(drain.clone()));
        let answer = move |_, _| {
            let body = body.clone();
            async move { Answer::Response(Response::new(Full::new(body))) }
        };
        tokio::spawn(serve(far, limits, drain, hold, answer));
        drainer
    }

    async fn pipelined(first: &[u8], second: &[u8]) -> usize {
        let (mut near, far) = tokio::io::duplex(1024 * 1024);
        let _d = begin_serve(far, LIMITS, Bytes::from_static(b"one"));
        near.write_all(first).await.unwrap();
        settle().await;
        let _ = near.write_all(second).await;
        settle().await;
        let mut text = vec![0; 100_000];
        let n = near.read(&mut text).await.unwrap();
        String::from_utf8_lossy(&text[..n]).matches("HTTP/1.1 200").count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipelined_head_may_be_cut_between_cr_and_lf() {
        let a = b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r";
        assert_eq!(pipelined(a, b"\n\r\n").await, 2, "split between cr and lf");
    }
    #[tokio::test(start_paused = true)]
    async fn a_pipelined_head_may_be_cut_before_its_last_line_and_its_body_is_no_head() {
        let a = b"GET / HTTP/1.1\r\nhost: a\r\n\r\nPOST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n";
        assert_eq!(pipelined(a, b"\r\na\nb\n").await, 2, "body scanned");
    }

    #[tokio::test(start_paused = true)]
    async fn another_protocol_has_no_lines() {
        let (mut near, far) = tokio::io::duplex(1024 * 1024);
        let (_drainer, drain) = drain::pair();
        let hold = Hold(Arc::new(drain.clone()));
        let answer = |mut r: Request<Incoming>, _| async move {
            let on = hyper::upgrade::on(&mut r);
            tokio::spawn(async move {
                let mut io = TokioIo::new(on.await.unwrap());
                let mut b = [0; 100];
                loop {
                    let n = match io.read(&mut b).await {
                        Ok(0) | Err(_) => return,
                        Ok(n) => n,
                    };
                    io.write_all(&b[..n]).await.unwrap();
                }
            });
            let answer = Response::builder()
                .status(101)
                .header("upgrade", "x")
                .header("connection", "upgrade")
                .body(Full::new(Bytes::new()));
            Answer::Response(answer.unwrap())
        };
        tokio::spawn(serve(far, LIMITS, drain, hold, answer));
        near.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")
            .await
            .unwrap();
        settle().await;
        let mut b = [0; 1000];
        let n = near.read(&mut b).await.unwrap();
        assert!(b[..n].starts_with(b"HTTP/1.1 101"));
        near.write_all(b"hello\nworld").await.unwrap();
        let n = near.read(&mut b).await.unwrap();
        assert_eq!(&b[..n], b"hello\nworld");
    }

    /// A slow client of a kept (single frame) body when everything ends.
    #[tokio::test(start_paused = true)]
    async fn a_drain_lets_a_slow_client_take_what_was_written_for_it() {
        let (mut near, far) = tokio::io::duplex(64 * 1024);
        let d = begin_serve(far, LIMITS, Bytes::from(vec![b'x'; 1_000_000]));
        near.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        settle().await;
        tokio::spawn(d.finish(Duration::from_secs(100)));
        tokio::time::sleep(Duration::from_secs(9)).await;
        let mut all = Vec::new();
        let _ = near.read_to_end(&mut all).await;
        assert!(all.len() > 1_000_000, "got {}", all.len());
    }

    async fn idle_goes(hungry: bool) -> bool {
        let (drainer, drain) = drain::pair();
        let vitals = Arc::<Vitals>::default();
        let task = tokio::spawn(async move {
            let mut first = hungry;
            let connection = poll_fn(move |context: &mut Context<'_>| {
                if first {
                    first = false;
                    // As a connection that reads or writes a lot at once.
                    loop {
                        let mut c = pin!(tokio::task::consume_budget());
                        if c.as_mut().poll(context).is_pending() {
                            break;
                        }
                    }
                }
                Poll::<Result<(), ()>>::Pending
            });
            watch(connection, |_| (), &vitals, LIMITS, drain, true).await
        });
        let went = tokio::time::timeout(Duration::from_secs(500), task).await.is_ok();
        drop(drainer);
        went
    }
    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_goes() {
        assert!(idle_goes(false).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_goes_also_if_it_was_busy_when_its_timer_was_set() {
        assert!(idle_goes(true).await);
    }

    /// HTTP/2: one kept body, taken steadily but slowly, longer than `idle_timeout`.
    #[tokio::test(start_paused = true)]
    async fn an_http2_client_that_takes_its_answer_slowly_is_not_idle() {
        use http_body_util::{BodyExt, Empty};
        let limits = Limits { idle_timeout: Duration::from_secs(20), ..LIMITS };
        let (near, far) = tokio::io::duplex(64 * 1024);
        let _d = begin_serve(far, limits, Bytes::from(vec![b'x'; 1_000_000]));
        let (mut send, conn) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(16_384)
            .handshake(TokioIo::new(near))
            .await
            .unwrap();
        tokio::spawn(conn);
        let r =
            send.send_request(Request::get("http://a/").body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        let mut body = r.into_body();
        let mut got = 0;
        while let Some(f) = body.frame().await {
            match f {
                Ok(f) => got += f.into_data().map_or(0, |d| d.len()),
                Err(e) => panic!("{e:?} after {got}"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(got, 1_000_000);
    }
}
