//! Bodies that a test writes: whole, or chunk by chunk through a `Tap`.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::world::settle;

/// What a scripted origin or client sends.
#[derive(Debug)]
pub(crate) enum Written {
    /// All at once; nothing if it is empty.
    Whole(Bytes),
    /// As a test pushes it.
    Flowing(mpsc::Receiver<Result<Frame<Bytes>, Died>>),
}

/// The end by which a test writes a body. Dropping it ends the body as it should.
#[derive(Debug)]
pub(crate) struct Tap(mpsc::Sender<Result<Frame<Bytes>, Died>>);

/// The sender broke off in the middle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Died;

/// A body and the end by which it is written. It takes one chunk more than its reader has asked for.
pub(crate) fn flow() -> (Tap, Written) {
    let (sender, receiver) = mpsc::channel(1);
    (Tap(sender), Written::Flowing(receiver))
}

impl Tap {
    /// Waits until the chunk is taken from us.
    pub(crate) async fn push(&self, chunk: impl Into<Bytes>) {
        let sent = self.0.send(Ok(Frame::data(chunk.into()))).await;
        sent.expect("nobody reads this body any more");
    }

    /// The same, and false if nobody reads any more.
    pub(crate) async fn try_push(&self, chunk: impl Into<Bytes>) -> bool {
        self.0.send(Ok(Frame::data(chunk.into()))).await.is_ok()
    }

    /// Pushes until nobody takes any more, or so many bytes were taken; how many were.
    pub(crate) async fn push_until_held(&self, bytes_max: usize) -> usize {
        let chunk = Bytes::from_static(&[b'x'; 8 * 1024]);
        let mut taken = 0;
        while taken < bytes_max {
            tokio::select! {
                biased;
                pushed = self.try_push(chunk.clone()) => {
                    if !pushed {
                        return taken;
                    }
                    taken += chunk.len();
                }
                () = settle() => return taken,
            }
        }
        taken
    }

    /// Ends the body with these fields behind it.
    pub(crate) async fn trailers(self, trailers: HeaderMap) {
        let sent = self.0.send(Ok(Frame::trailers(trailers))).await;
        sent.expect("nobody reads this body any more");
    }

    /// Breaks off: the connection ends in the middle of the body. What was pushed before has gone out.
    pub(crate) async fn die(self) {
        settle().await;
        let sent = self.0.send(Err(Died)).await;
        sent.expect("nobody reads this body any more");
        settle().await;
    }

    /// Waits until the other side wants no more.
    pub(crate) async fn is_dropped(&self) -> bool {
        settle().await;
        self.0.is_closed()
    }
}

impl Body for Written {
    type Data = Bytes;
    type Error = Died;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Died>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Flowing(receiver) => receiver.poll_recv(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Flowing(_) => SizeHint::default(),
        }
    }
}

impl fmt::Display for Died {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("died in the middle, as the test wanted")
    }
}

impl std::error::Error for Died {}

impl From<Infallible> for Died {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
