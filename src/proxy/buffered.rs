//! A client's body, read before anything is said, because it is part of the key.
//!
//! What is held of it takes room from `memory.max_filling` and gives it back when its last holder lets go of it: a request
//! that waits, or one on its way to the upstream. A body that is too long, or finds no room, is not lost: what was read
//! goes first and the rest follows as it comes. If the client goes away while it is read, this future is dropped, and all of
//! it with it.

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;

use super::Proxy;
use super::content::Unkeyed;
use super::failure::Failure;
use crate::store::Room;
use crate::upstream::Sent;

/// What came of reading.
pub(super) enum Buffered {
    /// All of it.
    Whole(Bytes),
    /// It can't be part of a key; not a byte of it is missing.
    Not(Unkeyed, Sent),
}

/// What has been read, and the room it takes.
struct Held {
    bytes: Vec<u8>,
    room: Room,
}

impl<C> Proxy<C> {
    /// Reads it, if it is no longer than that. The client's silence is bounded as it is for a body that is passed on.
    pub(super) async fn buffer(&self, mut sent: Sent, max_bytes: u64) -> Result<Buffered, Failure> {
        let mut held = Held { bytes: Vec::new(), room: self.filling.room() };
        if sent.size_hint().lower() > max_bytes {
            return Ok(Buffered::Not(Unkeyed::TooLong, sent));
        }
        while let Some(frame) = sent.frame().await {
            let frame = frame?;
            let why = match frame.data_ref() {
                Some(data) if (held.bytes.len() + data.len()) as u64 > max_bytes => Unkeyed::TooLong,
                Some(data) if held.take(data) => continue,
                Some(_) => Unkeyed::NoRoom,
                None => Unkeyed::Trailers,
            };
            return Ok(Buffered::Not(why, sent.put_back(held.into_bytes(), frame)));
        }
        Ok(Buffered::Whole(held.into_bytes()))
    }
}

impl Held {
    /// Copies it: as it comes it is a slice of the connection's read buffer. What a client has only announced takes no room,
    /// or a few who say much and send nothing would leave none for others. False: there is not so much.
    fn take(&mut self, data: &[u8]) -> bool {
        let (length, capacity) = (self.bytes.len() + data.len(), self.bytes.capacity());
        if length > capacity {
            let wanted = length.max(capacity * 2);
            if !self.room.grow((wanted - capacity) as u64) {
                return false;
            }
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
        true
    }

    fn into_bytes(self) -> Bytes {
        if self.bytes.is_empty() { Bytes::new() } else { Bytes::from_owner(self) }
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
