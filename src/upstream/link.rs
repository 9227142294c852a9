//! `Link`: a connection to the upstream, driven by the task that waits for what comes on it.
//!
//! hyper wants a connection polled beside the request that is on it. A task of its own would do that, but then every request, head
//! and chunk goes from task to task. Here whoever waits drives: it polls what it waits for, then the connection, until neither
//! has woken the other. Their wakers are the link's `Bell`, which keeps to itself what the one who drives has rung: else each
//! answer would wake its own task once more, for nothing.
//!
//! Nobody drives a link that is idle. That it was closed is found out by the next look at it, or by the next request on it, which
//! hyper then gives back unsent.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::rt::{Read, Write};
use tokio::time::{Instant, Sleep};

use super::body::{Progress, Sent};

/// A connection that is open, as far as is known.
pub struct Link {
    sender: SendRequest<Sent>,
    /// None: it has ended.
    connection: Option<Running>,
    bell: Arc<Bell>,
    /// The bell, for those who ring it.
    waker: Waker,
    /// For the head that is waited for. It is not set anew for each: when it runs out, the deadline may be later by now.
    alarm: Pin<Box<Sleep>>,
}

/// Boxed, so that what reads a body need not know what connected.
type Running = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Why no head came.
pub(super) enum NoHead {
    /// Nothing moved for too long.
    TooLate,
    /// The connection broke; the request is in it if none of that was sent.
    Broken(Box<TrySendError<Request<Sent>>>),
}

/// Wakes the task that drives a link, unless that is what rings.
#[derive(Debug, Default)]
struct Bell {
    /// One of those below.
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
}

/// Whoever rings wakes the task.
const ARMED: u8 = 0;
/// The task is at it, or there is none.
const MUTED: u8 = 1;
/// … and it was rung since.
const RUNG: u8 = 2;

/// A connection that is ready again and again, or a task that has used up its turn, leaves it to others after so many.
const ROUNDS_MAX: usize = 8;

impl Link {
    /// On a stream that has just been opened. `patience` is the first alarm's. Boxed, for it goes from hand to hand with each request.
    pub(super) async fn open<IO>(http: &Builder, io: IO, patience: Duration) -> hyper::Result<Box<Self>>
    where
        IO: Read + Write + Unpin + Send + 'static,
    {
        let (sender, connection) = http.handshake(io).await?;
        let bell = Arc::new(Bell { state: AtomicU8::new(MUTED), task: Mutex::default() });
        Ok(Box::new(Self {
            sender,
            connection: Some(Box::pin(connection.with_upgrades())),
            waker: Waker::from(Arc::clone(&bell)),
            bell,
            alarm: Box::pin(tokio::time::sleep(patience)),
        }))
    }

    /// Sends a request and waits for the head of its answer, as long as no more than `limit` passes from `now` on, or without the
    /// request's body moving. If the future is dropped the link must be, too: what comes would be taken for the next answer.
    pub(super) async fn ask(
        &mut self,
        request: Box<Request<Sent>>,
        progress: Option<&Progress>,
        (now, limit): (Instant, Duration),
    ) -> Result<Response<Incoming>, NoHead> {
        let mut answer = pin!({
            // Its memory goes back as soon as it is sent.
            let request = request;
            self.sender.try_send_request(*request)
        });
        let mut deadline = now + limit;
        let mut moved = 0;
        poll_fn(|context| {
            self.drive(context, |context, alarm| {
                if let Poll::Ready(answered) = answer.as_mut().poll(context) {
                    return Poll::Ready(answered.map_err(|error| NoHead::Broken(Box::new(error))));
                }
                loop {
                    ready!(alarm.as_mut().poll(context));
                    // The deadline runs from the last movement of the request's body: a long upload is not a slow upstream.
                    if deadline <= Instant::now() {
                        let moved_now = progress.map_or(0, Progress::moved);
                        if moved_now == moved {
                            return Poll::Ready(Err(NoHead::TooLate));
                        }
                        moved = moved_now;
                        deadline = Instant::now() + limit;
                    }
                    alarm.as_mut().reset(deadline);
                }
            })
        })
        .await
    }

    /// Polls what is waited for and the connection, as long as one gets on by the other.
    pub(super) fn drive<T>(
        &mut self,
        context: &mut Context<'_>,
        mut wanted: impl FnMut(&mut Context<'_>, &mut Pin<Box<Sleep>>) -> Poll<T>,
    ) -> Poll<T> {
        self.bell.belongs_to(context.waker());
        let mut inner = Context::from_waker(&self.waker);
        for _ in 0..ROUNDS_MAX {
            self.bell.mute();
            if let Poll::Ready(wanted) = wanted(&mut inner, &mut self.alarm) {
                // Muted it stays: who wants more drives again, and polls all of it.
                return Poll::Ready(wanted);
            }
            if let Some(connection) = &mut self.connection
                && connection.as_mut().poll(&mut inner).is_ready()
            {
                // How it ended is told to who waits for an answer, or for the rest of one.
                self.connection = None;
                continue;
            }
            if self.bell.arm() {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether another request may be sent on it.
    pub(super) fn is_idle(&mut self) -> bool {
        if !self.sender.is_ready() {
            self.look();
        }
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Whether it is idle still, and not closed by the upstream.
    pub(super) fn is_open(&mut self) -> bool {
        self.look();
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Lets the connection go on as far as it can without waiting.
    fn look(&mut self) {
        let nothing = |_: &mut Context<'_>, _: &mut Pin<Box<Sleep>>| Poll::<()>::Pending;
        let _ = self.drive(&mut Context::from_waker(Waker::noop()), nothing);
        self.bell.mute();
    }

    /// Gives the connection a task of its own, to its end: it goes on whether anybody waits for something on it or not.
    /// Nothing else is sent on it.
    pub(super) fn let_go(self) {
        if let (Some(connection), Ok(runtime)) = (self.connection, tokio::runtime::Handle::try_current()) {
            // If the process ends, so does whatever was on it. How it ends is told to who waits for something. RFC 8446, 6.1 has
            // who closes a connection say so: hyper does, once nobody can send on it.
            runtime.spawn(async move {
                let _ = connection.await;
            });
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("has_ended", &self.connection.is_none()).finish_non_exhaustive()
    }
}

impl Bell {
    /// This task drives from now on.
    fn belongs_to(&self, task: &Waker) {
        let mut known = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.as_ref().is_some_and(|known| known.will_wake(task)) {
            *known = Some(task.clone());
        }
    }

    fn mute(&self) {
        self.state.store(MUTED, SeqCst);
    }

    /// False: it was rung since it was muted.
    fn arm(&self) -> bool {
        self.state.compare_exchange(MUTED, ARMED, SeqCst, SeqCst).is_ok()
    }

    fn ring(&self) {
        if self.state.swap(RUNG, SeqCst) == ARMED {
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
            task.into_iter().for_each(Waker::wake);
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}
