//! A client's socket, with what is needed to tell a slow client from an idle one, and without a timer per request.
//!
//! `Socket` gives the protocol detection's first bytes back and notes what moves in `Vitals`; `vigil` looks at those now and
//! then. Nothing on the way of a request sets or resets a timer.
//!
//! On HTTP/2 the socket does not say whether an answer is taken: a client may read every frame of the connection and give one
//! stream no window. There a `Turn` stands for each answer that comes in pieces, and says whose turn it is to go on.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::from_file;
use super::lines::HeadLines;
use super::outbox::{Outbox, Piece, Sending};
use crate::proxy::Message;

/// What a connection has done so far.
#[derive(Debug, Default)]
pub struct Vitals {
    /// Requests being answered now.
    active: AtomicUsize,
    /// Requests begun so far.
    begun: AtomicU64,
    /// Bytes read so far.
    read_bytes: AtomicU64,
    /// Bytes read when the last request began, or the last of those under way ended: if more came since, the next request is
    /// on its way.
    read_at_begin: AtomicU64,
    /// Bytes written so far.
    written_bytes: AtomicU64,
    /// The client takes nothing at the moment.
    write_blocked: AtomicBool,
    /// Another protocol has taken over.
    has_switched: AtomicBool,
    /// Answers in pieces, on HTTP/2; each until its body is gone.
    turns: Mutex<Vec<Arc<AtomicU32>>>,
    outbox: Outbox<Active>,
}

/// An answer in pieces: whose turn it is to go on, the body's or the client's. It is the body's at first.
///
/// Shared with `Vitals`: 0 is the body's turn, and above 0 the client's, one more for every tick that saw it so.
#[derive(Debug)]
pub struct Turn {
    ticks: Arc<AtomicU32>,
    vitals: Arc<Vitals>,
}

/// A request that is being answered; until it is dropped.
#[derive(Debug)]
pub struct Active(Arc<Vitals>);

/// A client's end of a connection.
#[derive(Debug)]
pub struct Socket<IO> {
    io: IO,
    /// Read already, to see which protocol is spoken.
    first: Bytes,
    vitals: Arc<Vitals>,
    /// How far the head that comes has been looked at; none where heads are not made of lines.
    lines: Option<HeadLines>,
    /// The requests that had begun when it began.
    lines_after: u64,
    /// A message that goes out for what the protocol writes.
    sending: Option<Sending<Active>>,
}

/// A moment's copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    pub active: usize,
    pub begun: u64,
    pub read_bytes: u64,
    pub read_at_begin: u64,
    pub written_bytes: u64,
    pub write_blocked: bool,
    /// Whole ticks for which a client has left a piece of an answer untaken; of all its answers, the longest.
    pub untaken_ticks: u32,
}

impl Vitals {
    /// A request begins; it is over when the answer's body is, and the guard with it.
    pub fn begin(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Relaxed);
        self.begun.fetch_add(1, Relaxed);
        self.read_at_begin.store(self.read_bytes.load(Relaxed), Relaxed);
        Active(Arc::clone(self))
    }

    /// How it stands, at one of the looks that come in equal intervals.
    pub fn tick(&self) -> Pulse {
        Pulse {
            active: self.active.load(Relaxed),
            begun: self.begun.load(Relaxed),
            read_bytes: self.read_bytes.load(Relaxed),
            read_at_begin: self.read_at_begin.load(Relaxed),
            written_bytes: self.written_bytes.load(Relaxed),
            write_blocked: self.write_blocked.load(Relaxed),
            untaken_ticks: self.tick_turns(),
        }
    }

    /// Whether an answer to the request that has just come may be a message.
    pub fn takes_message(&self) -> bool {
        self.outbox.is_clear()
    }

    /// What comes now is no HTTP any more.
    pub fn switched(&self) {
        self.has_switched.store(true, Relaxed);
    }

    fn tick_turns(&self) -> u32 {
        let ticked = |ticks: u32| (ticks > 0).then(|| ticks.saturating_add(1));
        let turns = self.turns();
        // The client's turn began between two ticks: before the first that saw it, no whole one had passed.
        let untaken = turns.iter().filter_map(|turn| turn.fetch_update(Relaxed, Relaxed, ticked).ok());
        untaken.max().map_or(0, |seen_before| seen_before - 1)
    }

    fn turns(&self) -> MutexGuard<'_, Vec<Arc<AtomicU32>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrote<T>(&self, polled: Poll<io::Result<T>>, bytes: impl FnOnce(&T) -> usize) -> Poll<io::Result<T>> {
        match &polled {
            Poll::Ready(Ok(wrote)) => {
                self.written_bytes.fetch_add(bytes(wrote) as u64, Relaxed);
                self.write_blocked.store(false, Relaxed);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.write_blocked.store(true, Relaxed),
        }
        polled
    }
}

impl Active {
    /// What comes now is no HTTP any more.
    pub fn switched(&self) {
        self.0.switched();
    }

    /// The answer to this request is a message.
    pub fn send(self, message: Message) {
        let vitals = Arc::clone(&self.0);
        vitals.outbox.put(message, self);
    }

    /// The answer to this request comes in pieces.
    pub fn turn(&self) -> Turn {
        let ticks = Arc::<AtomicU32>::default();
        self.0.turns().push(Arc::clone(&ticks));
        Turn { ticks, vitals: Arc::clone(&self.0) }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, Relaxed) == 1 {
            // What came since it began was its body. A pipelined head, or the part of one, that was read by now counts as idle
            // then: it has `idle_timeout` to become a request.
            self.0.read_at_begin.store(self.0.read_bytes.load(Relaxed), Relaxed);
        }
    }
}

impl Turn {
    /// The body is asked for more.
    pub fn is_the_bodys(&self) {
        self.ticks.store(0, Relaxed);
    }

    /// The body has given a piece, and the client is to take it.
    pub fn is_the_clients(&self) {
        self.ticks.store(1, Relaxed);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = self.vitals.turns();
        // There are no more than streams on a connection.
        if let Some(place) = turns.iter().position(|turn| Arc::ptr_eq(turn, &self.ticks)) {
            turns.swap_remove(place);
        }
    }
}

impl<IO> Drop for Socket<IO> {
    /// What waits in the outbox holds the vitals, and they it.
    fn drop(&mut self) {
        self.vitals.outbox.close();
    }
}

impl<IO> Socket<IO> {
    /// `first` is read before anything else. `has_lines`: the protocol is HTTP/1.
    pub fn new(io: IO, first: Bytes, vitals: Arc<Vitals>, has_lines: bool) -> Self {
        vitals.read_bytes.fetch_add(first.len() as u64, Relaxed);
        let lines = has_lines.then(HeadLines::default);
        Self { io, first, vitals, lines, lines_after: 0, sending: None }
    }

    /// Refuses what belongs to a head and is not made of lines. While a request is being answered, what comes is its body, or
    /// the head of one that has to wait: that one is left to the parser.
    fn check(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(lines) = &mut self.lines else { return Ok(()) };
        if bytes.is_empty() || self.vitals.has_switched.load(Relaxed) {
            return Ok(());
        }
        if self.vitals.active.load(Relaxed) > 0 {
            lines.go_by();
            return Ok(());
        }
        let begun = self.vitals.begun.load(Relaxed);
        if begun != self.lines_after {
            *lines = lines.next();
            self.lines_after = begun;
        }
        if lines.accept(bytes) { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Socket<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let taken = self.first.len().min(buffer.remaining());
            let first = self.first.split_to(taken);
            if self.first.is_empty() {
                // An empty rest would keep the buffer alive for as long as the connection.
                self.first = Bytes::new();
            }
            buffer.put_slice(&first);
            return Poll::Ready(self.check(&first));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        let read = &buffer.filled()[before..];
        self.vitals.read_bytes.fetch_add(read.len() as u64, Relaxed);
        Poll::Ready(self.check(read))
    }
}

impl<IO: AsyncWrite + Unpin + 'static> Socket<IO> {
    /// Sends a message, if one is to go out for these bytes: how many of them it went out for.
    fn poll_send(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<Option<usize>>> {
        self.vitals.outbox.set_clear(false);
        if self.sending.is_none() {
            self.sending = self.vitals.outbox.take(bytes)?;
        }
        let Some(sending) = &mut self.sending else {
            return Poll::Ready(Ok(None));
        };
        while let Some(polled) = sending.write(|piece| match piece {
            Piece::Slices([piece]) => Pin::new(&mut self.io).poll_write(context, piece),
            Piece::Slices(pieces) => Pin::new(&mut self.io).poll_write_vectored(context, pieces),
            Piece::File(extent, sent) => from_file::poll_send(&mut self.io, context, extent, sent),
        }) {
            match ready!(self.vitals.wrote(polled, |bytes| *bytes)) {
                // Whatever kept the kernel from it: if the client is gone, the next write says so.
                Ok(0) | Err(_) if sending.leave_file() => {}
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => sending.wrote(written),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let stands_for = sending.stands_for();
        self.sending = None;
        Poll::Ready(Ok(Some(stands_for)))
    }
}

impl<IO: AsyncWrite + Unpin + 'static> AsyncWrite for Socket<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(stands_for) = ready!(self.poll_send(context, buffer))? {
            return Poll::Ready(Ok(stands_for));
        }
        let polled = Pin::new(&mut self.io).poll_write(context, buffer);
        self.vitals.wrote(polled, |bytes| *bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = buffers.iter().find(|buffer| !buffer.is_empty());
        if let Some(stands_for) = ready!(self.poll_send(context, first.map_or(&[], |first| first)))? {
            return Poll::Ready(Ok(stands_for));
        }
        let polled = Pin::new(&mut self.io).poll_write_vectored(context, buffers);
        self.vitals.wrote(polled, |bytes| *bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// The protocol does so when it has written all it had.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(context))?;
        self.vitals.outbox.set_clear(self.sending.is_none());
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_counts_whole_ticks_from_the_last_piece_and_vanishes_with_its_answer() {
        let vitals = Arc::<Vitals>::default();
        let active = vitals.begin();
        let (waiting, moving) = (active.turn(), active.turn());
        assert_eq!(vitals.tick().untaken_ticks, 0, "the bodies' turn");
        waiting.is_the_clients();
        let seen: Vec<_> = (0..4)
            .map(|_| {
                moving.is_the_bodys();
                moving.is_the_clients();
                vitals.tick().untaken_ticks
            })
            .collect();
        assert_eq!(seen, [0, 1, 2, 3]);
        drop(waiting);
        assert_eq!(vitals.tick().untaken_ticks, 1, "the other's, which has not moved since");
        drop(moving);
        assert_eq!(vitals.tick().untaken_ticks, 0);
        assert!(vitals.turns().is_empty());
    }

    #[test]
    fn a_body_that_came_after_its_head_is_no_next_head() {
        let vitals = Arc::<Vitals>::default();
        let (first, second) = (vitals.begin(), vitals.begin());
        vitals.read_bytes.fetch_add(5, Relaxed);
        drop(first);
        assert_ne!(vitals.tick().read_at_begin, 5, "one is still under way");
        drop(second);
        assert_eq!(vitals.tick().read_at_begin, 5);
    }
}
