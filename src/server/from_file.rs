//! A body that the kernel sends by itself, as soon as the client's socket takes more.

use std::any::Any;
use std::io;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::arena::Extent;

/// In one call; between two, the runtime may turn to other connections.
const BYTES_MAX: usize = 1 << 20;

/// Sends what comes behind the first `sent` bytes; how many more are gone. An error where there is no socket of the kernel's.
pub fn poll_send<IO: 'static>(
    io: &mut IO,
    context: &mut Context<'_>,
    extent: &Extent,
    sent: usize,
) -> Poll<io::Result<usize>> {
    let io: &mut dyn Any = io;
    let Some(stream) = io.downcast_mut::<TcpStream>() else {
        return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
    };
    loop {
        ready!(stream.poll_write_ready(context))?;
        match stream.try_io(Interest::WRITABLE, || extent.send(&*stream, sent, BYTES_MAX)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;

    use bytes::Bytes;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::io::{Socket, Vitals};
    use super::*;
    use crate::arena::example;
    use crate::proxy::Message;

    const HEAD: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ndate: Sun, 22 Nov 2026 01:02:03 GMT\r\n\r\n";
    /// More than a socket takes that nobody reads from.
    const SIZE: usize = 12_000_000;

    /// So many bytes of a body as they lie in memory, no page like the next; in the file they have another bit.
    fn bytes(of_file: bool, size: usize) -> Vec<u8> {
        let bit = if of_file { 128 } else { 0 };
        let mut bytes = (0..127).map(|byte| byte | bit).collect::<Vec<_>>().repeat(size / 127 + 1);
        bytes.truncate(size);
        bytes
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    /// What a client reads of a body of which so many bytes lie in the file.
    async fn read<IO>(mut near: impl AsyncRead + Unpin, far: IO, in_file: usize) -> Vec<u8>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let extent = example::extent(&bytes(true, in_file), SIZE);
        let vitals = Arc::<Vitals>::default();
        let mut socket = Socket::new(far, Bytes::new(), Arc::clone(&vitals), true);
        vitals.begin().send(Message::example(&bytes(false, SIZE), Some(Arc::clone(&extent))));
        let writer = tokio::spawn(async move {
            socket.write_all(HEAD).await.unwrap();
            // The client has all of it before the end.
            drop(socket);
        });
        while !vitals.tick().write_blocked {
            tokio::task::yield_now().await;
        }
        assert_eq!(vitals.tick().active, 1, "until the last byte is gone");
        assert!(Arc::strong_count(&extent) > 1);
        let mut all = Vec::new();
        near.read_to_end(&mut all).await.unwrap();
        writer.await.unwrap();
        let pulse = vitals.tick();
        assert_eq!((pulse.active, pulse.written_bytes), (0, all.len() as u64));
        assert_eq!(Arc::strong_count(&extent), 1, "it is let go");
        let end = all.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        all.split_off(end + 4)
    }

    #[tokio::test]
    async fn a_body_is_sent_from_its_file() {
        let (near, far) = pair().await;
        assert!(read(near, far, SIZE).await == bytes(true, SIZE));
    }

    #[tokio::test]
    async fn memory_goes_on_where_the_file_fails() {
        let (near, far) = pair().await;
        let in_file = 3 << 20;
        let body = read(near, far, in_file).await;
        assert!(body[..in_file] == bytes(true, in_file));
        assert!(body[in_file..] == bytes(false, SIZE)[in_file..]);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_sent_from_memory() {
        let (near, far) = tokio::io::duplex(64 * 1024);
        assert!(read(near, far, SIZE).await == bytes(false, SIZE));
    }

    #[tokio::test]
    async fn a_client_who_leaves_holds_nothing() {
        let (near, far) = pair().await;
        let extent = example::extent(&bytes(true, SIZE), SIZE);
        let vitals = Arc::<Vitals>::default();
        let mut socket = Socket::new(far, Bytes::new(), Arc::clone(&vitals), true);
        vitals.begin().send(Message::example(&bytes(false, SIZE), Some(Arc::clone(&extent))));
        let mut near = Some(near);
        let ended = std::future::poll_fn(|context| {
            let polled = Pin::new(&mut socket).poll_write(context, HEAD);
            if polled.is_pending() {
                near = None;
            }
            polled
        });
        assert!(ended.await.is_err());
        drop(socket);
        assert_eq!((Arc::strong_count(&extent), vitals.tick().active), (1, 0));
    }
}
