//! `Received`: an answer's body, from the upstream to us, with the connection it comes on and the place at the upstream.
//!
//! Who reads it drives the connection. When it has ended, both go back; if it is dropped before, the connection is closed, unless
//! all of it is here already.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::BodyError;
use super::body::Silence;
use super::gate::Permit;
use super::pool::Lent;

/// An answer's body; the place at the upstream is held until it ends. Boxed, for it goes from hand to hand before it is read.
#[derive(Debug)]
pub struct Received(Box<Coming>);

#[derive(Debug)]
struct Coming {
    incoming: Incoming,
    /// What it comes on, until it has ended; none if that goes on by itself. Behind what comes on it, so as to be dropped later.
    lent: Held,
    silence: Silence,
    permit: Option<Permit>,
    /// When the head came, where it does not say how long it is.
    came_at: Option<Instant>,
    /// What was read already, and is given first.
    ahead: Bytes,
    /// What came behind it. Boxed, for it is seldom there.
    behind: Option<Box<Result<Frame<Bytes>, BodyError>>>,
}

/// Goes back when it is dropped: hyper reads what is here of an answer that nobody wants, and says whether that was all.
#[derive(Debug)]
struct Held(Option<Lent>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Lent::give_back);
    }
}

impl Received {
    /// `permit` goes back when the body ends or is dropped.
    pub(super) fn new(incoming: Incoming, lent: Option<Lent>, silence_max: Duration, permit: Permit) -> Self {
        let is_bounded = incoming.size_hint().exact().is_some();
        let mut coming = Coming {
            incoming,
            lent: Held(lent),
            silence: Silence::new(silence_max),
            permit: Some(permit),
            came_at: (!is_bounded).then(Instant::now),
            ahead: Bytes::new(),
            behind: None,
        };
        // Nobody will read a body that is none.
        if coming.incoming.is_end_stream() {
            coming.has_ended();
        }
        Self(Box::new(coming))
    }

    /// All of it, if it is no longer than this, whole, and there in time. Whatever was read for that is given again to who reads on.
    pub async fn read_ahead(&mut self, bytes_max: usize, until: Instant) -> Option<Bytes> {
        let mut read = BytesMut::new();
        let is_whole = loop {
            // A frame that has not come is not lost: who reads on waits for it.
            let Ok(frame) = timeout_at(until, self.frame()).await else { break false };
            match frame {
                None => break true,
                Some(Ok(frame)) if frame.is_data() => {
                    read.extend_from_slice(frame.data_ref().map_or(&[], |chunk| chunk));
                    if read.len() > bytes_max {
                        break false;
                    }
                }
                Some(frame) => {
                    let is_trailers = frame.is_ok();
                    self.0.behind = Some(Box::new(frame));
                    break is_trailers;
                }
            }
        };
        self.0.ahead = read.freeze();
        is_whole.then(|| self.0.ahead.clone())
    }

    /// For answers without an end, such as server-sent events: they would hold their places for ever, and silence
    /// is their nature.
    #[must_use]
    pub fn without_end(mut self) -> Self {
        self.0.permit = None;
        self.0.silence.limit = Duration::MAX;
        self
    }
}

impl Coming {
    fn has_ended(&mut self) {
        self.lent = Held(None);
    }

    /// A body that did not say how long it is and goes on and on is a stream, whatever it calls itself: the upstream has done
    /// its work for it, and a few dozen of them must not keep everybody else out.
    fn seems_endless(&self) -> bool {
        self.permit.is_some() && self.came_at.is_some_and(|came_at| came_at.elapsed() > self.silence.limit)
    }

    /// The next of what comes on the connection.
    fn poll_incoming(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { incoming, lent, .. } = self;
        match &mut lent.0 {
            Some(lent) => lent.link.drive(context, |context, _| Pin::new(&mut *incoming).poll_frame(context)),
            None => Pin::new(incoming).poll_frame(context),
        }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.ahead.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.ahead)))));
        }
        if let Some(behind) = self.behind.take() {
            return Poll::Ready(Some(*behind));
        }
        let Poll::Ready(frame) = self.poll_incoming(context) else {
            ready!(self.silence.poll(context));
            self.permit = None;
            return Poll::Ready(Some(Err(BodyError::Silent(self.silence.limit))));
        };
        self.silence.broken();
        // Behind trailers nothing comes, and who has them does not ask.
        let over = match &frame {
            Some(Ok(frame)) => frame.is_trailers() || self.incoming.is_end_stream(),
            Some(Err(_)) | None => true,
        };
        if over {
            self.has_ended();
        }
        if over || self.seems_endless() {
            self.permit = None;
        }
        if let Ok(frame) = frame.transpose() {
            return Poll::Ready(frame.map(Ok));
        }
        // One turn later: what came before it, and the head, have not been written yet, and would be lost with the client's
        // connection.
        self.behind = Some(Box::new(Err(BodyError::BrokenOff)));
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.ahead.is_empty() && self.0.behind.is_none() && self.0.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, ahead) = (self.0.incoming.size_hint(), self.0.ahead.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + ahead);
        }
        hint.set_lower(hint.lower() + ahead);
        hint
    }
}
