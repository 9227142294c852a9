//! `Message`: a hit as the bytes that HTTP/1.1 sends, for a connection that can take them as they are.
//!
//! Most of it was written when the answer was stored; what depends on the moment is put in front of that. It says the same as
//! the `Response` that `respond::kept` makes in all other cases. Invariant: one is only made for a GET of the whole, of an entry
//! whose text frames its body, and where `Cache-Status` has no member before ours.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Method, Response, StatusCode};

use super::body::Body;
use super::respond::Account;
use crate::arena::{Arena, Extent};
use crate::clock::Timestamp;
use crate::object::Stored;
use crate::semantics::fields::{self, CacheStatus};

/// How a connection can take an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As a response that the protocol writes.
    Response,
    /// Also as bytes of HTTP/1.1.
    Message,
}

/// What a request is answered with.
#[derive(Debug)]
pub enum Answer<B = Body> {
    /// What the protocol is to write.
    Response(Response<B>),
    /// What goes out as it is; and the request's own table of fields, emptied, to be used for the next.
    Message(Message, HeaderMap),
}

/// An answer that is there, or one that has to be waited for.
pub enum Answering {
    /// Until it is taken.
    Now(Option<Answer>),
    /// When it is there.
    Later(Pin<Box<dyn Future<Output = Answer> + Send>>),
}

/// A kept answer at one moment.
#[derive(Debug)]
pub struct Message {
    stored: Arc<Stored>,
    now: Timestamp,
    detail: &'static str,
    /// Where the body lies once more, for a socket that can send it from there.
    file: Option<Arc<Extent>>,
}

/// The beginning of a message: all of it that depends on the moment.
#[derive(Debug)]
pub struct Front {
    bytes: [u8; Front::BYTES_MAX],
    used: usize,
}

impl Message {
    /// What is kept as a message to a request without conditions, if that says all that is to be said of it.
    pub(super) fn of(
        stored: &Arc<Stored>,
        method: &Method,
        now: Timestamp,
        account: &Account,
    ) -> Option<Self> {
        let is_plain = *method == Method::GET
            && stored.part.is_none()
            && stored.head.message().is_some()
            && !stored.head.has_cache_status
            && account.key.is_none();
        let detail = account.detail.unwrap_or("memory");
        is_plain.then(|| Self { stored: Arc::clone(stored), now, detail, file: None })
    }

    /// The same, with its body from there if that is where it lies.
    pub(super) fn sent_from(self, arena: Option<&Arc<Arena>>) -> Self {
        let file = arena.and_then(|arena| arena.find(self.stored.head.twin()?, self.stored.body_bytes()));
        Self { file, ..self }
    }

    /// Its beginning. `closes`: it is the last on its connection.
    pub fn front(&self, closes: bool) -> Front {
        let mut front = Front { bytes: [0; Front::BYTES_MAX], used: 0 };
        // RFC 9112, 4: `status-line = HTTP-version SP status-code SP [ reason-phrase ]`.
        match self.stored.head.status {
            StatusCode::OK => front.put(b"HTTP/1.1 200 OK\r\n"),
            status => {
                front.put(b"HTTP/1.1 ");
                front.put(status.as_str().as_bytes());
                front.put(b" ");
                front.put(status.canonical_reason().unwrap_or_default().as_bytes());
                front.put(b"\r\n");
            }
        }
        if closes {
            // RFC 9112, 9.6: "A server that sends a "close" connection option MUST initiate closure of the connection".
            front.put(b"connection: close\r\n");
        }
        // RFC 9111, 4: "When a stored response is used to satisfy a request without validation, a cache MUST generate an Age
        // header field".
        let lifetime = &self.stored.lifetime;
        front.put(b"age: ");
        front.put(fields::age_value(lifetime.age(self.now)).as_bytes());
        front.put(b"\r\ncache-status: larder; hit; ttl=");
        front.put(itoa::Buffer::new().format(CacheStatus::ttl_told(lifetime.ttl(self.now))).as_bytes());
        front.put(b"; detail=");
        front.put(self.detail.as_bytes());
        front.put(b"\r\n");
        front
    }

    /// Where the body lies beside memory.
    pub fn file(&self) -> Option<&Arc<Extent>> {
        self.file.as_ref()
    }

    /// What comes behind the front.
    pub fn rest(&self) -> [&[u8]; 2] {
        let head = &self.stored.head;
        let text = head.message().unwrap_or_default();
        [text, if head.is_joined() { &[] } else { head.body_bytes() }]
    }
}

#[cfg(test)]
impl Message {
    /// With this body, which lies there once more.
    pub fn example(body: &[u8], file: Option<Arc<Extent>>) -> Self {
        let stored = Arc::new(crate::object::example::stored(&[], body));
        let now = stored.lifetime.answered_at;
        Self { stored, now, detail: "memory", file }
    }
}

impl Front {
    /// The longest status line, with all that may stand behind it, is shorter.
    const BYTES_MAX: usize = 256;

    fn put(&mut self, bytes: &[u8]) {
        let end = self.used + bytes.len();
        if let Some(room) = self.bytes.get_mut(self.used..end) {
            room.copy_from_slice(bytes);
            self.used = end;
        }
    }

    /// What it says.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

impl Future for Answering {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        match self.get_mut() {
            // Nobody polls what has given its answer.
            Self::Now(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Self::Later(answer) => answer.as_mut().poll(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use http::Request;

    use super::super::respond;
    use super::*;
    use crate::object::{Packed, example};

    const FIELDS: &[(&str, &str)] =
        &[("etag", "\"1\""), ("vary", "accept"), ("vary", "cookie"), ("via", "1.1 larder")];

    /// Lines of a head, in no order.
    fn lines(head: &str) -> BTreeSet<&str> {
        head.lines().map(str::trim_end).collect()
    }

    #[test]
    fn a_message_says_what_the_response_says() {
        for (status, body_bytes, seconds) in
            [(200, 0, 0), (200, 9, 5), (404, 9, 70), (301, 9, 5), (599, 9, 5), (200, 20_000, 100_000_000)]
        {
            let mut stored = example::stored(FIELDS, &vec![b'x'; body_bytes]);
            let mut head = stored.head.head();
            head.status = StatusCode::from_u16(status).unwrap();
            stored.head = Packed::new(&head, stored.body());
            let (stored, request) = (Arc::new(stored), Request::new(()).into_parts().0);
            let now = stored.lifetime.answered_at.plus(Duration::from_secs(seconds));
            let account = Account { detail: Some("stale-while-revalidate"), ..Account::default() };
            let message = Message::of(&stored, &Method::GET, now, &account).unwrap();
            let response = respond::kept(&stored, &request, now, &account);
            let fields = response.headers().iter();
            let fields = fields.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
            let status_line =
                format!("HTTP/1.1 {status} {}", response.status().canonical_reason().unwrap_or_default());
            let length = format!("content-length: {body_bytes}");
            let expected: Vec<_> = [status_line, length].into_iter().chain(fields).collect();
            let said = [message.front(false).bytes(), &message.rest().concat()].concat();
            let end = said.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
            assert_eq!(
                lines(str::from_utf8(&said[..end]).unwrap()),
                lines(&expected.join("\r\n")),
                "{status}"
            );
            assert_eq!(said[end + 4..], *stored.body_bytes(), "{status}");
            let last = message.front(true);
            assert!(last.bytes().windows(19).any(|bytes| bytes == b"connection: close\r\n"));
        }
    }

    #[test]
    fn what_a_message_can_not_say_is_none() {
        let none = |fields: &[(&'static str, &'static str)], method: &Method, account: &Account| {
            let stored = Arc::new(example::stored(fields, b"body"));
            Message::of(&stored, method, stored.lifetime.answered_at, account).is_none()
        };
        let plain = Account::default();
        assert!(!none(&[], &Method::GET, &plain));
        assert!(none(&[], &Method::HEAD, &plain));
        assert!(none(&[("cache-status", "other; hit")], &Method::GET, &plain), "ours comes after it");
        assert!(none(&[("content-length", "5")], &Method::GET, &plain));
    }

    #[test]
    fn the_longest_front_has_room() {
        let mut stored = example::stored(&[], b"");
        for status in 100..1000 {
            stored.head.status = StatusCode::from_u16(status).unwrap();
            let now = stored.lifetime.answered_at.plus(Duration::from_secs(99_999_999_999));
            let copy = Arc::new(Stored { head: stored.head.clone(), ..example::stored(&[], b"") });
            let message = Message { stored: copy, now, detail: "stale-while-revalidate", file: None };
            assert!(
                message.front(true).bytes().ends_with(b"; detail=stale-while-revalidate\r\n"),
                "{status}"
            );
        }
    }
}
