//! `Tee`: one body coming in, read by many, each at its own pace.
//!
//! The pump pushes chunks; a `Reader` takes them from the first on, however late it joined. While the body is to be kept,
//! every chunk stays and slow readers hold nobody up: there is an end to it, `max_object`. A body that will not be kept is
//! *narrowed*: chunks that all readers have taken go, nobody can join any more, and the pump waits when the slowest reader is
//! more than a window behind; one that takes nothing for too long is cut off rather than holding up the others.
//! Invariant: a reader gets every byte in order and the true end, or an error; never a short body that looks complete.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::store::Room;
use crate::upstream::BodyError;

/// The shared body.
#[derive(Debug)]
pub struct Tee {
    state: Mutex<State>,
    /// What the upstream said it would be, in bytes.
    length: Option<u64>,
}

/// One client's way through it.
#[derive(Debug)]
pub struct Reader {
    tee: Arc<Tee>,
    id: u64,
    left: Option<u64>,
    done: bool,
}

/// Nobody reads any more, and nothing is kept: the rest is wanted by no one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NobodyReads;

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Bytes>,
    /// What `chunks` cost, in bytes.
    held_bytes: usize,
    /// Chunks that went before the first in `chunks`.
    gone: usize,
    end: Option<Result<Option<HeaderMap>, BodyError>>,
    readers: BTreeMap<u64, Place>,
    next_reader: u64,
    narrowed: bool,
    /// The pump, when it waits for readers.
    pump: Option<Waker>,
    /// What the chunks take of the room there is for bodies that come in; until they are few, or gone.
    room: Option<Room>,
}

#[derive(Debug, Default)]
struct Place {
    /// The chunk it takes next, counted from the body's first.
    next: usize,
    waker: Option<Waker>,
    cut_off: bool,
}

/// How far the pump may be ahead of the slowest reader of a narrowed body: enough to keep a socket busy.
const WINDOW_BYTES: usize = 256 * 1024;

/// Larger chunks fill a good part of the buffer that they keep alive.
const COPIED_BELOW_BYTES: usize = 32 * 1024;
/// What a chunk costs beside its bytes.
pub const CHUNK_BYTES: usize = 64;

impl Tee {
    /// Nothing has come yet.
    pub fn new(length: Option<u64>, room: Room) -> Arc<Self> {
        let state = State { room: Some(room), ..State::default() };
        Arc::new(Self { state: Mutex::new(state), length })
    }

    /// From the first byte on; `None` when that has gone already, or when it is known to break off.
    pub fn reader(self: &Arc<Self>) -> Option<Reader> {
        let mut state = self.lock();
        if state.narrowed || matches!(state.end, Some(Err(_))) {
            return None;
        }
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(id, Place::default());
        Some(Reader { tee: Arc::clone(self), id, left: self.length, done: false })
    }

    /// Takes room for so much more of a body that is to be kept; false if there is not so much.
    pub fn grow(&self, bytes: u64) -> bool {
        self.lock().room.as_mut().is_some_and(|room| room.grow(bytes))
    }

    /// How much was announced.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether anybody is still there to read it.
    pub fn has_readers(&self) -> bool {
        self.lock().has_readers()
    }

    /// A chunk has come.
    pub fn push(&self, chunk: Bytes) {
        // A chunk is a slice of the connection's read buffer and keeps all of it alive: a thousand small ones a thousand buffers.
        let chunk = if chunk.len() < COPIED_BELOW_BYTES { Bytes::copy_from_slice(&chunk) } else { chunk };
        let mut state = self.lock();
        state.held_bytes += chunk.len() + CHUNK_BYTES;
        state.chunks.push_back(chunk);
        wake(state);
    }

    /// That was all of it, or all that will come.
    pub fn end(&self, end: Result<Option<HeaderMap>, BodyError>) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        wake(state);
    }

    /// It will not be kept: from now on only the present readers get it, and they set the pace.
    pub fn narrow(&self) {
        let mut state = self.lock();
        state.narrowed = true;
        state.forget_taken();
    }

    /// Waits until there is room in the window. A reader that has taken nothing for `stall_max` while the others
    /// waited is cut off.
    pub async fn room(&self, stall_max: Duration) -> Result<(), NobodyReads> {
        loop {
            let first_held = self.first_held();
            let room = poll_fn(|context| self.poll_room(context));
            match tokio::time::timeout(stall_max, room).await {
                Ok(result) => return result,
                // Who has taken something in that time is slow, and may be.
                Err(_) => self.cut_off(first_held),
            }
        }
    }

    /// All of it in one piece that holds nothing else alive. Only for a body that has not been narrowed.
    pub fn whole(&self) -> Bytes {
        let state = self.lock();
        if state.chunks.len() == 1
            && let Some(chunk) = state.chunks.front().filter(|chunk| chunk.len() < COPIED_BELOW_BYTES)
        {
            return chunk.clone();
        }
        let mut whole = BytesMut::with_capacity(state.chunks.iter().map(Bytes::len).sum());
        for chunk in &state.chunks {
            whole.extend_from_slice(chunk);
        }
        whole.freeze()
    }

    fn poll_room(&self, context: &mut Context<'_>) -> Poll<Result<(), NobodyReads>> {
        let mut state = self.lock();
        state.forget_taken();
        if !state.has_readers() {
            return Poll::Ready(Err(NobodyReads));
        }
        if state.held_bytes <= WINDOW_BYTES {
            return Poll::Ready(Ok(()));
        }
        state.pump = Some(context.waker().clone());
        Poll::Pending
    }

    /// The oldest chunk that somebody has not taken yet.
    fn first_held(&self) -> usize {
        let mut state = self.lock();
        state.forget_taken();
        state.gone
    }

    /// Cuts off who still waits for this chunk.
    fn cut_off(&self, chunk: usize) {
        let mut state = self.lock();
        for place in state.readers.values_mut().filter(|place| place.next <= chunk) {
            place.cut_off = true;
        }
        wake(state);
    }

    /// Nothing that runs under this lock can panic halfway through a change; a poisoned lock holds a sound state.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes all readers, after the lock is gone: they would only run into it.
fn wake(mut state: MutexGuard<'_, State>) {
    let wakers: Vec<Waker> = state.readers.values_mut().filter_map(|place| place.waker.take()).collect();
    drop(state);
    wakers.into_iter().for_each(Waker::wake);
}

impl State {
    fn has_readers(&self) -> bool {
        self.readers.values().any(|place| !place.cut_off)
    }

    /// Drops what every reader has taken, if the body is not to be kept.
    fn forget_taken(&mut self) {
        if !self.narrowed {
            return;
        }
        let readers = self.readers.values().filter(|place| !place.cut_off);
        let slowest = readers.map(|place| place.next).min().unwrap_or(usize::MAX);
        while self.gone < slowest {
            let Some(chunk) = self.chunks.pop_front() else {
                return;
            };
            self.held_bytes -= chunk.len() + CHUNK_BYTES;
            self.gone += 1;
        }
        if self.held_bytes <= WINDOW_BYTES {
            self.room = None;
        }
    }

    fn poll_next(
        &mut self,
        id: u64,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(place) = self.readers.get_mut(&id) else {
            return Poll::Ready(None);
        };
        if place.cut_off {
            return Poll::Ready(Some(Err(BodyError::ReaderTooSlow)));
        }
        // Chunks go only when every reader that is not cut off has taken them, so `next` is never below `gone`.
        if let Some(chunk) = place.next.checked_sub(self.gone).and_then(|at| self.chunks.get(at)) {
            place.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(chunk.clone()))));
        }
        match &self.end {
            Some(Ok(None)) => Poll::Ready(None),
            Some(Ok(Some(trailers))) => Poll::Ready(Some(Ok(Frame::trailers(trailers.clone())))),
            Some(Err(error)) => Poll::Ready(Some(Err(*error))),
            None => {
                place.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Body for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let mut state = self.tee.lock();
        let polled = state.poll_next(self.id, context);
        // What was just taken may be what the pump waits for.
        let pump = if polled.is_ready() { state.pump.take() } else { None };
        drop(state);
        pump.into_iter().for_each(Waker::wake);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                Some(data) => {
                    let taken = data.len() as u64;
                    self.left = self.left.map(|left| left.saturating_sub(taken));
                }
                None => self.done = true,
            },
            Poll::Ready(_) => self.done = true,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.tee.lock();
        state.readers.remove(&self.id);
        let pump = state.pump.take();
        drop(state);
        pump.into_iter().for_each(Waker::wake);
    }
}
