//! A stream of bytes to one server: TCP, TLS over it, or a socket in the file system.
//!
//! The options are set by hand, for the driver's own leave a peer that vanished unnoticed for a quarter of an hour.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::address::Reach;

/// Whatever can be read and written.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A peer that is silent for so long is asked whether it is there; …
const KEEPALIVE: Duration = Duration::from_secs(5);
/// … after so long without a sign of it, the connection is dead.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(2);

/// Bounded by the caller. `tls` is there wherever the address asks for it.
pub(super) async fn open(reach: &Reach, tls: Option<&Arc<ClientConfig>>) -> io::Result<Box<dyn Stream>> {
    let (host, port, is_tls) = match reach {
        Reach::Socket(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
        Reach::Net { host, port, is_tls } => (host, *port, *is_tls),
    };
    let stream = TcpStream::connect((host.as_str(), port)).await?;
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
