//! What a client reads: nothing, kept bytes, a body that many read as it comes, or one passed through for it alone.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::tee::Reader;
use crate::upstream::{BodyError, Received};

/// The body of every answer.
#[derive(Debug)]
pub enum Body {
    /// Nothing, or no more.
    Empty,
    /// All of it at once.
    Kept(Bytes),
    /// Several pieces, so many bytes in all.
    Pieces(VecDeque<Bytes>, u64),
    /// As it comes, with others.
    Shared(Reader),
    /// As it comes, alone.
    Passed(Received),
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Kept(bytes) }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Kept(bytes) => {
                let frame = Frame::data(std::mem::take(bytes));
                *this = Self::Empty;
                Poll::Ready(Some(Ok(frame)))
            }
            Self::Pieces(pieces, left) => {
                let piece = pieces.pop_front();
                *left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
                Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
            }
            Self::Shared(reader) => Pin::new(reader).poll_frame(context),
            Self::Passed(received) => Pin::new(received).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Kept(_) => false,
            Self::Pieces(pieces, _) => pieces.is_empty(),
            Self::Shared(reader) => reader.is_end_stream(),
            Self::Passed(received) => received.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Kept(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces(_, left) => SizeHint::with_exact(*left),
            Self::Shared(reader) => reader.size_hint(),
            Self::Passed(received) => received.size_hint(),
        }
    }
}
