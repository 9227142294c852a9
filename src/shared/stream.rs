//! A stream of bytes to one server: TCP, TLS over it, or a socket in the file system.
//!
//! The options are set by hand, for the driver's own leave a peer that vanished unnoticed for a quarter of an hour.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use super::address::Reach;

/// Whatever can be read and written.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A peer that is silent for so long is asked whether it is there; …
const KEEPALIVE: Duration = Duration::from_secs(5);
/// … after so long without a sign of it, the connection is dead.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(2);

/// The first address of a host is alone for so long: long enough for one that is near, and short beside the time for a connection.
const HEAD_START: Duration = Duration::from_millis(50);

/// Bounded by the caller. `tls` is there wherever the address asks for it.
pub(super) async fn open(reach: &Reach, tls: Option<&Arc<ClientConfig>>) -> io::Result<Box<dyn Stream>> {
    let (host, port, is_tls) = match reach {
        Reach::Socket(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
        Reach::Net { host, port, is_tls } => (host, *port, *is_tls),
    };
    let stream = first(lookup_host((host.as_str(), port)).await?).await?;
    // A command is small and waited for: filling a packet only costs time.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(Duration::from_secs(1)).with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    if !is_tls {
        return Ok(Box::new(stream));
    }
    let config = tls.ok_or_else(|| io::Error::other("no certificates to trust"))?;
    let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
    Ok(Box::new(stream))
}

/// The first of these that is reached. One that swallows all there is must not use up the time of the others.
async fn first(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut addresses = addresses.peekable();
    let mut attempts = JoinSet::new();
    let mut why = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    loop {
        if let Some(address) = addresses.next() {
            attempts.spawn(TcpStream::connect(address));
        }
        tokio::select! {
            Some(attempt) = attempts.join_next() => match attempt {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => why = error,
                Err(error) => why = error.into(),
            },
            () = sleep(HEAD_START), if addresses.peek().is_some() => {}
            else => return Err(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::net::TcpListener;
    use tokio::time::{Instant, timeout};

    /// One that takes no more connections, and says nothing.
    fn black_hole() -> (Socket, Vec<Socket>, SocketAddr) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let fill = |_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address);
            socket
        };
        let filling = (0..8).map(fill).collect();
        (listener, filling, address.as_socket().unwrap())
    }

    fn open() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    fn closed() -> SocketAddr {
        open().1
    }

    #[tokio::test]
    async fn an_address_that_swallows_all_there_is_holds_up_no_other() {
        let ((_hole, _filling, hole), (_there, there)) = (black_hole(), open());
        let alone = timeout(Duration::from_millis(300), first([hole].into_iter())).await;
        assert!(alone.is_err(), "a black hole");
        let began = Instant::now();
        let stream = first([hole, hole, there].into_iter()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there);
        assert!(began.elapsed() < 10 * HEAD_START, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn the_first_that_is_there_is_taken_and_one_that_refuses_costs_nothing() {
        let ((_one, one), (_other, other)) = (open(), open());
        let stream = first([closed(), one, other].into_iter()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), one);
        let refused = first([closed(), closed()].into_iter()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(first(std::iter::empty()).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
