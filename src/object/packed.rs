//! `Packed`: status and fields of an answer as the lines that HTTP/1.1 sends, and right behind them its body if that is short.
//!
//! They are written when the answer is stored, so that a hit sends them as they stand and touches few lines of memory. Whoever
//! needs single fields has them read back: that is for what is rarer than a hit. Invariant: what is read back is what was
//! packed, in the same order, but for `Age`, which is a hit's to say.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{AGE, CONNECTION, CONTENT_LENGTH, DATE, ETAG, LAST_MODIFIED, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::head::Head;
use crate::arena::Twin;
use crate::semantics::fields::CACHE_STATUS;
use crate::semantics::validation::has_validator;

/// Status and fields, as every client gets them.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The upstream's status.
    pub status: StatusCode,
    /// The upstream, or a cache before it, sent a `Cache-Status`: ours comes after it.
    pub has_cache_status: bool,
    /// `name: value` for each field, `content-length` if that is not one of them, an empty line, and the body if it is short.
    text: Bytes,
    /// Where the fields end in it.
    fields_end: u32,
    /// Where the body begins in it.
    body_at: u32,
    /// Whether it frames the body as it stands.
    is_framed: bool,
    /// A body that is not short.
    long: Option<Box<Long>>,
}

#[derive(Clone, Debug)]
struct Long {
    body: Bytes,
    /// Where it lies once more.
    twin: Twin,
}

/// Up to so many bytes a body lies behind its head. A longer one is not copied once more for that.
const JOINED_BYTES_MAX: usize = 16 * 1024;
/// Fields of an ordinary answer, and what a hit adds.
const ROOM: usize = 14;

const COLON: &[u8] = b": ";
const LINE_END: &[u8] = b"\r\n";

impl Packed {
    /// Packs a head and its body.
    pub fn new(head: &Head, body: Bytes) -> Self {
        let fields = || head.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        Self::of(head.status, fields, body)
    }

    /// The same for names and values as a head has them.
    pub(super) fn of<'f, F: Iterator<Item = (&'f [u8], &'f [u8])>>(
        status: StatusCode,
        fields: impl Fn() -> F,
        body: Bytes,
    ) -> Self {
        let mut length = itoa::Buffer::new();
        let length = length.format(body.len()).as_bytes();
        // How old it is is a hit's to say.
        let fields = || fields().filter(|(name, _)| *name != AGE.as_str().as_bytes());
        let (mut fields_end, mut lengths, mut is_told, mut has_cache_status) = (0, 0, true, false);
        for field in fields() {
            fields_end += line_bytes(field);
            if field.0 == CONTENT_LENGTH.as_str().as_bytes() {
                lengths += 1;
                is_told &= field.1 == length;
            }
            // Nothing of a connection is ever kept; where it was all the same, the body is framed by who writes it.
            is_told &=
                field.0 != TRANSFER_ENCODING.as_str().as_bytes() && field.0 != CONNECTION.as_str().as_bytes();
            has_cache_status |= field.0 == CACHE_STATUS.as_str().as_bytes();
        }
        let added = (lengths == 0).then_some((CONTENT_LENGTH.as_str().as_bytes(), length));
        let body_at = fields_end + added.map_or(0, line_bytes) + LINE_END.len();
        let is_joined = body.len() <= JOINED_BYTES_MAX;
        let mut text = BytesMut::with_capacity(body_at + if is_joined { body.len() } else { 0 });
        let put = |text: &mut BytesMut, (name, value): (&[u8], &[u8])| {
            for part in [name, COLON, value, LINE_END] {
                text.put_slice(part);
            }
        };
        for field in fields() {
            put(&mut text, field);
        }
        if let Some(length) = added {
            put(&mut text, length);
        }
        text.put_slice(LINE_END);
        if is_joined {
            text.put_slice(&body);
        }
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            status,
            has_cache_status,
            text: text.freeze(),
            fields_end: offset(fields_end),
            body_at: offset(body_at),
            is_framed: lengths <= 1 && is_told && may_have_body(status),
            long: (!is_joined).then(|| Box::new(Long { body, twin: Twin::default() })),
        }
    }

    /// All that a message has behind its status line: the fields, the empty line, and the body if it is short. None: what was
    /// said of the body's length is not so, or there can't be one.
    pub fn message(&self) -> Option<&[u8]> {
        self.is_framed.then_some(&self.text)
    }

    /// Whether the body lies behind the lines.
    pub fn is_joined(&self) -> bool {
        self.text.len() > at(self.body_at)
    }

    /// The body.
    pub fn body_bytes(&self) -> &[u8] {
        match &self.long {
            Some(long) => &long.body,
            None => self.text.get(at(self.body_at)..).unwrap_or_default(),
        }
    }

    /// The body, to be held.
    pub fn body(&self) -> Bytes {
        let joined = || self.text.slice_ref(self.body_bytes());
        self.long.as_deref().map_or_else(joined, |long| long.body.clone())
    }

    /// The body once more, where the kernel sends it from; whoever sends it sees to that. A short one is nowhere else.
    pub fn twin(&self) -> Option<&Twin> {
        self.long.as_deref().map(|long| &long.twin)
    }

    /// Its body is the one that this other has: where that lies once more, so does this.
    #[must_use]
    pub fn with_body_of(mut self, other: &Self) -> Self {
        if let (Some(long), Some(other)) = (&mut self.long, &other.long) {
            long.twin = other.twin.clone();
        }
        self
    }

    /// Name and value of each field.
    pub fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.text.get(..at(self.fields_end)).unwrap_or_default();
        std::iter::from_fn(move || {
            let end = memchr::memchr(b'\n', rest)?;
            let (line, tail) = rest.split_at(end + 1);
            rest = tail;
            // No name has a colon.
            let colon = memchr::memchr(b':', line)?;
            let value = line.get(colon + COLON.len()..)?.strip_suffix(LINE_END)?;
            Some((&line[..colon], value))
        })
    }

    /// The fields, with room for what a hit adds.
    pub fn headers(&self) -> HeaderMap {
        self.read_back(HeaderMap::with_capacity(ROOM), |_| true)
    }

    /// Whether it can be asked about.
    pub fn has_validator(&self) -> bool {
        let mut tags = self.lines().filter(|(name, _)| *name == ETAG.as_str().as_bytes());
        if let (Some((_, tag)), None) = (tags.next(), tags.next())
            && !tag.trim_ascii().is_empty()
        {
            return true;
        }
        // Of all fields only these say.
        let says =
            |name: &[u8]| [ETAG, LAST_MODIFIED, DATE].iter().any(|says| says.as_str().as_bytes() == name);
        has_validator(&self.read_back(HeaderMap::new(), says))
    }

    fn read_back(&self, mut headers: HeaderMap, is_wanted: impl Fn(&[u8]) -> bool) -> HeaderMap {
        for (name, value) in self.lines().filter(|(name, _)| is_wanted(name)) {
            // They were a name and a value when they were packed.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_maybe_shared(self.text.slice_ref(value)))
            {
                headers.append(name, value);
            }
        }
        headers
    }

    /// Those of the fields that have one of these names.
    pub fn headers_among(&self, names: &[HeaderName]) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(ROOM);
        for (name, value) in self.lines() {
            if let Some(name) = names.iter().find(|each| each.as_str().as_bytes() == name)
                && let Ok(value) = HeaderValue::from_maybe_shared(self.text.slice_ref(value))
            {
                headers.append(name, value);
            }
        }
        headers
    }

    /// Status and fields.
    pub fn head(&self) -> Head {
        Head { status: self.status, headers: self.headers() }
    }

    /// Bytes of the lines.
    pub fn lines_bytes(&self) -> usize {
        at(self.body_at)
    }
}

fn line_bytes((name, value): (&[u8], &[u8])) -> usize {
    name.len() + COLON.len() + value.len() + LINE_END.len()
}

/// RFC 9112, 6.3: "any response with a 1xx (Informational), 204 (No Content), or 304 (Not Modified) status code is always
/// terminated by the first empty line after the header fields, regardless of the header fields present in the message, and thus
/// cannot contain a message body or trailer section."
fn may_have_body(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

/// An offset as one of memory.
fn at(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::semantics::example::headers;

    fn packed(status: u16, fields: &[(&str, &str)], body: &'static [u8]) -> Packed {
        let head = Head { status: StatusCode::from_u16(status).unwrap(), headers: headers(fields) };
        Packed::new(&head, Bytes::from_static(body))
    }

    #[test]
    fn a_message_is_the_fields_a_length_an_empty_line_and_a_short_body() {
        let text = |packed: &Packed| str::from_utf8(packed.message().unwrap()).unwrap().to_owned();
        let one = packed(200, &[("etag", "\"1\""), ("x", "a b")], b"body");
        assert_eq!(text(&one), "etag: \"1\"\r\nx: a b\r\ncontent-length: 4\r\n\r\nbody");
        let told = packed(404, &[("content-length", "4"), ("x", "")], b"body");
        assert_eq!(text(&told), "content-length: 4\r\nx: \r\n\r\nbody");
    }

    #[test]
    fn what_does_not_frame_its_body_is_no_message() {
        for (status, fields) in [
            (200, &[("content-length", "5")][..]),
            (200, &[("content-length", "4"), ("content-length", "4")]),
            (200, &[("content-length", "4, 4")]),
            (200, &[("transfer-encoding", "chunked")]),
            (204, &[]),
            (304, &[]),
        ] {
            assert_eq!(packed(status, fields, b"body").message(), None, "{status} {fields:?}");
        }
    }

    #[test]
    fn a_long_body_is_kept_as_it_came() {
        let came = Bytes::from(vec![b'x'; JOINED_BYTES_MAX + 1]);
        let head = Head { status: StatusCode::OK, headers: HeaderMap::new() };
        let packed = Packed::new(&head, came.clone());
        assert_eq!((packed.body().as_ptr(), packed.body_bytes()), (came.as_ptr(), &came[..]));
        assert!(!packed.is_joined());
        assert_eq!(packed.message().unwrap(), b"content-length: 16385\r\n\r\n");
        let packed = Packed::new(&head, came.slice(1..));
        assert!(packed.is_joined() && packed.message().unwrap().ends_with(&came[1..]));
        assert_eq!((packed.body(), packed.body_bytes()), (came.slice(1..), &came[1..]));
    }

    #[test]
    fn what_can_be_asked_about_is_known_by_the_fields_that_say_so() {
        let date = ("date", "Sat, 21 Nov 2026 00:00:00 GMT");
        let modified = ("last-modified", "Fri, 20 Nov 2026 00:00:00 GMT");
        for fields in [
            &[][..],
            &[date],
            &[date, modified],
            &[("etag", "\"1\"")],
            &[("etag", " ")],
            &[modified, modified],
        ] {
            let head = Head { status: StatusCode::OK, headers: headers(fields) };
            let packed = Packed::new(&head, Bytes::new());
            assert_eq!(packed.has_validator(), has_validator(&head.headers), "{fields:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_back_is_what_was_packed(
            fields in prop::collection::vec(("[a-z][a-z0-9-]{0,12}", "[!-~\u{80}-\u{ff}]([ -~]{0,20}[!-~])?|"), 0..12),
            body in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                let (name, value) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()));
                headers.append(name.unwrap(), value.unwrap());
            }
            headers.remove(AGE);
            let head = Head { status: StatusCode::OK, headers };
            let packed = Packed::new(&head, Bytes::from(body.clone()));
            prop_assert_eq!(packed.headers(), head.headers.clone());
            prop_assert_eq!(packed.has_validator(), has_validator(&head.headers));
            prop_assert_eq!(packed.body(), &body);
            prop_assert_eq!(packed.body_bytes(), body);
        }
    }
}
