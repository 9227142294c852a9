//! Bodies on their way: `Sent`, from a client to the upstream, and, in `received`, from the upstream to us.
//!
//! Both pass chunks on as they come and hold none back, so the slower side sets the pace. Both bound silence: a client that
//! sends nothing for `server.body_timeout`, an upstream that sends nothing for `upstream.body_timeout`. Silence is only
//! counted while somebody waits for the next chunk; who is held back by the other side is not silent.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep};

use super::UpstreamError;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What is sent with a request.
#[derive(Default)]
pub enum Sent {
    /// Nothing.
    #[default]
    Empty,
    /// All of it, read before the upstream was asked.
    Whole(Bytes),
    /// What the client sends, as it comes.
    Streaming(Streaming),
}

/// A client's body under way.
pub struct Streaming {
    /// What was read of it already, and goes first.
    read: VecDeque<Frame<Bytes>>,
    /// Boxed, so that one kind of connection serves clients of every kind.
    incoming: Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>,
    silence: Silence,
    progress: Arc<Progress>,
}

/// What is known of a request's body from outside: the deadline for the upstream's answer runs from the last movement,
/// and a failure that was the client's must not be laid at the upstream's door.
#[derive(Debug, Default)]
pub struct Progress {
    moved: AtomicU64,
    fault: AtomicU8,
    is_over: AtomicBool,
}

/// Runs out when it is polled for so long without being reset.
#[derive(Debug)]
pub(super) struct Silence {
    pub(super) limit: Duration,
    /// Made at the first wait: most bodies never wait.
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

const CLIENT_SILENT: u8 = 1;
const CLIENT_BROKE: u8 = 2;

/// Never what is in it: it may be a password.
impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Streaming(streaming) => write!(f, "Streaming({:?})", streaming.progress),
        }
    }
}

impl Sent {
    /// A client's body, with the longest silence allowed inside it.
    pub fn streaming<B>(incoming: B, silence_max: Duration) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self::Streaming(Streaming {
            read: VecDeque::new(),
            incoming: Box::pin(incoming.map_err(Into::into)),
            silence: Silence::new(silence_max),
            progress: Arc::default(),
        })
    }

    /// A body that has been read.
    pub fn whole(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Whole(bytes) }
    }

    /// The body under way that these bytes and then this frame were read from, with both put back.
    #[must_use]
    pub fn put_back(mut self, bytes: Bytes, frame: Frame<Bytes>) -> Self {
        if let Self::Streaming(streaming) = &mut self {
            streaming.read.push_front(frame);
            if !bytes.is_empty() {
                streaming.read.push_front(Frame::data(bytes));
            }
        }
        self
    }

    /// All of it; none for what is under way and can't be sent twice.
    pub fn bytes(&self) -> Option<Bytes> {
        match self {
            Self::Empty => Some(Bytes::new()),
            Self::Whole(bytes) => Some(bytes.clone()),
            Self::Streaming(_) => None,
        }
    }

    /// There is a body, and nobody said how long it is.
    pub fn is_of_unknown_length(&self) -> bool {
        matches!(self, Self::Streaming(_)) && self.size_hint().exact().is_none()
    }

    /// To be asked while the body is on its way; none if all of it is here.
    pub fn progress(&self) -> Option<Arc<Progress>> {
        match self {
            Self::Empty | Self::Whole(_) => None,
            Self::Streaming(streaming) => Some(Arc::clone(&streaming.progress)),
        }
    }
}

impl Progress {
    /// A number that changes whenever the body moves.
    pub fn moved(&self) -> u64 {
        self.moved.load(Relaxed)
    }

    /// All of the body has gone, or will never go.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    /// What the client did wrong, if it did.
    pub fn fault(&self, silence_max: Duration) -> Option<UpstreamError> {
        match self.fault.load(Relaxed) {
            CLIENT_SILENT => Some(UpstreamError::ClientSilent(silence_max)),
            CLIENT_BROKE => Some(UpstreamError::ClientBroke),
            _ => None,
        }
    }
}

impl Silence {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, sleep: None, waiting: false }
    }

    /// Something came.
    pub(super) fn broken(&mut self) {
        self.waiting = false;
    }

    /// Nothing came yet; ready when that has lasted too long.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.limit == Duration::MAX {
            return Poll::Pending;
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.limit)));
        if !self.waiting {
            self.waiting = true;
            sleep.as_mut().reset(Instant::now() + self.limit);
        }
        sleep.as_mut().poll(context)
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.progress.is_over.store(true, Relaxed);
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => {
                let frame = Frame::data(std::mem::take(bytes));
                *this = Self::Empty;
                Poll::Ready(Some(Ok(frame)))
            }
            Self::Streaming(streaming) => streaming.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(_) => false,
            Self::Streaming(streaming) => streaming.read.is_empty() && streaming.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Streaming(streaming) => streaming.size_hint(),
        }
    }
}

impl Streaming {
    fn size_hint(&self) -> SizeHint {
        let mut hint = self.incoming.size_hint();
        let mut before = 0;
        for frame in &self.read {
            match frame.data_ref() {
                Some(data) => before += data.len() as u64,
                // Fields behind the body can only be sent if its length is not said before it.
                None => return SizeHint::default(),
            }
        }
        if let Some(upper) = hint.upper() {
            hint.set_upper(before + upper);
        }
        hint.set_lower(before + hint.lower());
        hint
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        if let Some(frame) = self.read.pop_front() {
            self.progress.moved.fetch_add(1, Relaxed);
            return Poll::Ready(Some(Ok(frame)));
        }
        let Poll::Ready(frame) = self.incoming.as_mut().poll_frame(context) else {
            ready!(self.silence.poll(context));
            self.progress.fault.store(CLIENT_SILENT, Relaxed);
            return Poll::Ready(Some(Err(UpstreamError::ClientSilent(self.silence.limit))));
        };
        self.silence.broken();
        self.progress.moved.fetch_add(1, Relaxed);
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|_| {
                self.progress.fault.store(CLIENT_BROKE, Relaxed);
                UpstreamError::ClientBroke
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http_body_util::Full;

    use super::*;

    const SILENCE_MAX: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn what_was_read_goes_first_and_counts() {
        let mut sent = Sent::streaming(Full::from("cd"), SILENCE_MAX);
        let frame = sent.frame().await.unwrap().unwrap();
        let sent = sent.put_back(Bytes::from("ab"), frame);
        assert!(!sent.is_end_stream() && sent.bytes().is_none() && !sent.is_of_unknown_length());
        assert_eq!(sent.size_hint().exact(), Some(4));
        assert_eq!(sent.collect().await.unwrap().to_bytes(), "abcd");
    }

    #[tokio::test]
    async fn with_trailers_behind_it_no_length_is_said() {
        let trailers = async { Some(Ok(HeaderMap::new())) };
        let mut sent = Sent::streaming(Full::from("ab").with_trailers(trailers), SILENCE_MAX);
        let bytes = sent.frame().await.unwrap().unwrap().into_data().unwrap();
        let frame = sent.frame().await.unwrap().unwrap();
        let sent = sent.put_back(bytes, frame);
        assert!(sent.is_of_unknown_length());
        let all = sent.collect().await.unwrap();
        assert!(all.trailers().is_some());
        assert_eq!(all.to_bytes(), "ab");
    }

    #[tokio::test]
    async fn a_whole_body_is_the_same_once_more_and_shown_by_nothing() {
        let sent = Sent::whole(Bytes::from("squirrel"));
        assert_eq!(sent.size_hint().exact(), Some(8));
        assert!(!format!("{sent:?}").contains("squirrel"));
        let again = Sent::whole(sent.bytes().unwrap());
        assert_eq!(sent.collect().await.unwrap().to_bytes(), "squirrel");
        assert_eq!(again.collect().await.unwrap().to_bytes(), "squirrel");
        assert!(Sent::whole(Bytes::new()).is_end_stream());
    }
}
