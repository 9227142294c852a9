//! `Outbox`: a message that is ready goes out in the place of the head that the protocol writes for it.
//!
//! A hit's bytes are known before the protocol hears of it. To have it encode them, a table of fields would be made, written down
//! and thrown away for each hit. So the protocol is given an answer without fields and body, and where it writes the head of that, the
//! socket writes the message. The parser of requests, the order of answers and the end of the connection stay the protocol's.
//!
//! Why the next bytes are that head and nothing else: a message is only taken while the outbox is *clear*, which it is from the
//! moment when the protocol has written all it had (it flushes the socket then, and not before) until it writes again; its
//! answers are given one after the other; and between being asked for one and writing its head, HTTP/1 writes at most a `100
//! (Continue)` for a body, and requests with a body get no message. The head is looked at all the same: if it is another, the
//! connection ends, and no byte of either goes out.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::arena::Extent;
use crate::proxy::Message;

/// Of one connection. Only its own task uses it. `G` is held as long as a message is on its way.
#[derive(Debug)]
pub struct Outbox<G> {
    is_clear: AtomicBool,
    next: Mutex<Option<(Message, G)>>,
}

/// A message on its way.
#[derive(Debug)]
pub struct Sending<G> {
    message: Message,
    /// Where its body is sent from instead.
    file: Option<Arc<Extent>>,
    /// Until its last byte is gone.
    _guard: G,
    /// The protocol has said that it is the connection's last.
    closes: bool,
    /// Bytes of it that are gone.
    sent: usize,
    /// … of those that it has in all, where it was put together in one piece: then none need be counted again to see that it is gone.
    flat_bytes: Option<usize>,
    /// Bytes of the protocol's that it goes out for.
    stands_for: usize,
}

/// What is to be written next.
#[derive(Debug)]
pub enum Piece<'p> {
    /// Bytes in memory.
    Slices(&'p [io::IoSlice<'p>]),
    /// A body that lies there, behind its first bytes, which are gone.
    File(&'p Extent, usize),
}

/// How the head begins that a message goes out for.
const BEGINNING: &[u8] = b"HTTP/1.1 200 OK\r\n";
/// What it says if it is the last.
const LAST: &[u8] = b"connection: close\r\n";
/// … and how it ends, with a date.
const END: [&[u8]; 3] = [b"content-length: 0\r\ndate: ", b"Sat, 21 Nov 2026 00:00:00 GMT", b"\r\n\r\n"];

/// Up to so many bytes behind its front a message is written as one piece.
const FLAT_BYTES_MAX: usize = 4096;

thread_local! {
    /// Where pieces are put together.
    static FLAT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl<G> Default for Outbox<G> {
    fn default() -> Self {
        Self { is_clear: AtomicBool::new(true), next: Mutex::default() }
    }
}

impl<G> Outbox<G> {
    /// Whether the next that the protocol writes is what it says to the request that has just come.
    pub fn is_clear(&self) -> bool {
        self.is_clear.load(Relaxed)
    }

    /// The protocol writes, or has written all it had.
    pub fn set_clear(&self, is_clear: bool) {
        self.is_clear.store(is_clear, Relaxed);
    }

    /// This goes out for the next head.
    pub fn put(&self, message: Message, guard: G) {
        *self.next() = Some((message, guard));
    }

    /// Nothing is to go out any more.
    pub fn close(&self) {
        *self.next() = None;
    }

    /// What goes out for the head with which these bytes begin, if anything does.
    pub fn take(&self, bytes: &[u8]) -> io::Result<Option<Sending<G>>> {
        let Some((message, guard)) = self.next().take() else {
            return Ok(None);
        };
        let (closes, stands_for) = stand_in(bytes).ok_or(io::ErrorKind::InvalidData)?;
        let file = message.file().cloned();
        Ok(Some(Sending { message, file, _guard: guard, closes, sent: 0, flat_bytes: None, stands_for }))
    }

    fn next(&self) -> MutexGuard<'_, Option<(Message, G)>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the head of an answer without fields and body, with which these bytes begin, is the last on its connection; and where
/// it ends. None: they don't begin with one.
fn stand_in(bytes: &[u8]) -> Option<(bool, usize)> {
    let rest = bytes.strip_prefix(BEGINNING)?;
    let (closes, rest) = rest.strip_prefix(LAST).map_or((false, rest), |rest| (true, rest));
    let [before, date, after] = END;
    let (_, rest) = rest.strip_prefix(before)?.split_at_checked(date.len())?;
    let rest = rest.strip_prefix(after)?;
    Some((closes, bytes.len() - rest.len()))
}

impl<G> Sending<G> {
    /// Writes on; how many bytes of it were written, or none: it is all gone.
    pub fn write<T>(&mut self, write: impl FnOnce(Piece<'_>) -> T) -> Option<T> {
        if self.flat_bytes == Some(self.sent) {
            return None;
        }
        let front = self.message.front(self.closes);
        let [text, body] = self.message.rest();
        let body = if self.file.is_some() { &[] } else { body };
        // Most are short and go out at once: to copy one is less work than for the kernel to gather its pieces.
        if self.sent == 0 && body.is_empty() && text.len() <= FLAT_BYTES_MAX {
            return Some(FLAT.with_borrow_mut(|flat| {
                flat.clear();
                flat.extend_from_slice(front.bytes());
                flat.extend_from_slice(text);
                self.flat_bytes = self.file.is_none().then_some(flat.len());
                write(Piece::Slices(&[io::IoSlice::new(flat)]))
            }));
        }
        let in_memory = front.bytes().len() + text.len() + body.len();
        if let (Some(file), Some(sent)) = (&self.file, self.sent.checked_sub(in_memory)) {
            return (sent < file.body_bytes()).then(|| write(Piece::File(file, sent)));
        }
        let mut pieces = [front.bytes(), text, body].map(io::IoSlice::new);
        let mut pieces = &mut pieces[..];
        io::IoSlice::advance_slices(&mut pieces, self.sent);
        (!pieces.is_empty()).then(|| write(Piece::Slices(pieces)))
    }

    /// The rest goes out as it lies in memory; whether that is new.
    pub fn leave_file(&mut self) -> bool {
        self.file.take().is_some()
    }

    /// So many bytes more are gone.
    pub fn wrote(&mut self, bytes: usize) {
        self.sent += bytes;
    }

    /// Bytes of the protocol's that it has gone out for.
    pub fn stands_for(&self) -> usize {
        self.stands_for
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_head_of_an_answer_without_fields_and_body_is_stood_for() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ndate: Sun, 22 Nov 2026 01:02:03 GMT\r\n\r\n";
        let last = head.replace("content-length", "connection: close\r\ncontent-length");
        assert_eq!(stand_in(head.as_bytes()), Some((false, head.len())));
        assert_eq!(stand_in(last.as_bytes()), Some((true, last.len())));
        assert_eq!(
            stand_in(format!("{head}HTTP/1.1 200 OK").as_bytes()),
            Some((false, head.len())),
            "and the next"
        );
        for other in [
            "",
            "HTTP/1.1 100 Continue\r\n\r\n",
            &head.replace("200 OK", "404 Not Found"),
            &head.replace("length: 0", "length: 7"),
            &head.replace("content-length: 0", "server: x\r\ncontent-length: 0"),
            &head[..head.len() - 1],
        ] {
            assert_eq!(stand_in(other.as_bytes()), None, "{other:?}");
        }
    }
}
