//! Accepts connections, as many as there may be, and backs off when the machine has no more to give.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;
use super::connection::{self, Ended};
use super::drain::Drain;
use crate::proxy::{Answer, Form, Hold};
use crate::telemetry::Telemetry;

/// What all listeners of one address share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Bounds of each.
    pub limits: Limits,
    /// Connections there may still be.
    pub places: Arc<Semaphore>,
    /// Where they are counted.
    pub telemetry: Arc<Telemetry>,
}

/// One connection's, for as long as it is open, whatever protocol it has changed to.
struct Place {
    _permit: OwnedSemaphorePermit,
    _work: Drain,
    counts: Arc<Telemetry>,
}

/// Connections that the kernel holds until we take them.
const BACKLOG: i32 = 4096;
/// Of so many failed accepts one is logged.
const LOGGED_EVERY: u64 = 200;
/// After a failed accept: long enough for descriptors to come free, short enough not to be noticed.
const BACK_OFF: Duration = Duration::from_millis(50);
/// A client silent for so long is asked by the kernel whether it is still there: one that vanished from a WebSocket would keep
/// its place for ever.
const PROBE_AFTER: Duration = Duration::from_secs(60);
/// Between such questions.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// A listening socket. `shared`: several may listen on the address, and the kernel spreads clients over them.
pub fn bind(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted process must not wait for the old one's connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts and serves until the end begins, and then what clients had connected before it. `make` makes the answerer of each
/// connection, knowing its other end and this one.
pub async fn accept<M, S, F, B>(listener: TcpListener, shared: Shared, mut drain: Drain, make: M)
where
    M: Fn(SocketAddr, Option<SocketAddr>) -> S,
    S: Fn(Request<Incoming>, Form) -> F + Send + Sync + 'static,
    F: Future<Output = Answer<B>> + Send + 'static,
    B: http_body::Body<Data = bytes::Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.begun() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Twenty times a second while it lasts; the counter has them all.
                if shared.telemetry.connections.accept_errors.get().is_multiple_of(LOGGED_EVERY) {
                    tracing::warn!(%error, "could not accept a connection");
                }
                shared.telemetry.connections.accept_errors.add_one();
                tokio::time::sleep(BACK_OFF).await;
                continue;
            }
        };
        let here = stream.local_addr().ok();
        start(stream, &shared, drain.clone(), make(peer, here));
    }
    for (stream, peer) in queued(listener) {
        let here = stream.local_addr().ok();
        start(stream, &shared, drain.clone(), make(peer, here));
    }
}

/// Who is in the kernel's queue, to its end. Asked of the kernel itself: what tokio knows of the queue may be older than the
/// last connection in it. Whoever fails is left out, for there is no later to try again.
fn queued(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let mut all = Vec::new();
    let Ok(listener) = listener.into_std() else {
        return all;
    };
    while let Ok((stream, peer)) = listener.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            all.push((stream, peer));
        }
    }
    all
}

fn start<S, F, B>(stream: TcpStream, shared: &Shared, drain: Drain, answer: S)
where
    S: Fn(Request<Incoming>, Form) -> F + Send + Sync + 'static,
    F: Future<Output = Answer<B>> + Send + 'static,
    B: http_body::Body<Data = bytes::Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let counts = Arc::clone(&shared.telemetry);
    let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
        // Closed at once: the client sees it now, instead of waiting for an answer that would come late.
        counts.connections.refused.add_one();
        return;
    };
    counts.connections.accepted.add_one();
    counts.connections.open.add(1);
    prepare(&stream);
    let limits = shared.limits;
    let hold = Hold(Arc::new(Place { _permit: place, _work: drain.clone(), counts: Arc::clone(&counts) }));
    tokio::spawn(async move {
        let ended = connection::serve(stream, limits, drain, hold, answer).await;
        if ended == Ended::Broken {
            counts.connections.broken.add_one();
        }
    });
}

/// Failing to say any of this costs no more than what it is for.
fn prepare(stream: &TcpStream) {
    // Answers are written whole: waiting to fill a packet only costs time.
    let _ = stream.set_nodelay(true);
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_INTERVAL);
    let _ = SockRef::from(stream).set_tcp_keepalive(&probes);
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counts.connections.open.add(-1);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use http::Response;
    use http_body_util::Full;
    use tokio::io::AsyncReadExt;

    use super::super::drain;
    use super::*;

    const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    fn shared() -> Shared {
        let limit = Duration::from_secs(30);
        Shared {
            limits: Limits {
                streams_max: super::super::STREAMS_MAX,
                header_timeout: limit,
                idle_timeout: limit,
                body_timeout: limit,
            },
            places: Arc::new(Semaphore::new(100)),
            telemetry: Arc::new(Telemetry::new(std::iter::empty())),
        }
    }

    #[tokio::test]
    async fn who_had_connected_before_the_end_began_is_answered() {
        let listener = bind(ANYWHERE, false).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let clients: Vec<_> = (0..20)
            .map(|_| {
                let mut client = std::net::TcpStream::connect(address).unwrap();
                client.write_all(b"GET / HTTP/1.1\r\nhost: larder.test\r\n\r\n").unwrap();
                client.set_nonblocking(true).unwrap();
                client
            })
            .collect();
        let (drainer, drain) = drain::pair();
        let finished = tokio::spawn(drainer.finish(Duration::from_secs(30)));
        drain.clone().begun().await;
        let make = |_, _| {
            |_, _| async { Answer::Response(Response::new(Full::new(bytes::Bytes::from_static(b"one")))) }
        };
        accept(listener, shared(), drain, make).await;
        for client in clients {
            let mut answer = String::new();
            let mut client = TcpStream::from_std(client).unwrap();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("one"), "{answer}");
        }
        assert!(finished.await.unwrap());
    }

    #[tokio::test]
    async fn a_client_that_vanishes_is_asked_whether_it_is_there() {
        let listener = TcpListener::from_std(bind(ANYWHERE, false).unwrap()).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        prepare(&stream);
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), PROBE_AFTER);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), PROBE_INTERVAL);
    }
}
