//! Several ranges of one representation as one body: `multipart/byteranges` (RFC 9110, 14.6).
//!
//! The pieces are slices of the body they are of: nothing but the lines between them is made anew. Invariant: the boundary
//! stands nowhere in the body.

use bytes::Bytes;
use http::HeaderValue;
use memchr::memmem;

use super::range::{Span, content_range_value};

/// RFC 2046, 5.1.1: a boundary has at most 70 characters. This leaves enough of them for the marks it is extended by.
const BOUNDARY_BYTES_MAX: usize = 54;

/// What a boundary is extended by. None of them needs quotes in a `Content-Type`; RFC 9110, 14.6: "Although RFC2046 permits
/// the boundary string to be quoted, some existing implementations handle a quoted boundary string incorrectly."
const MARKS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// A body, and what must be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multipart {
    /// `multipart/byteranges` with the boundary.
    pub content_type: HeaderValue,
    /// The body, in pieces.
    pub chunks: Vec<Bytes>,
    /// Bytes of all chunks together.
    pub length: u64,
}

/// These spans of a body. `content_type`: what a 200 would have; `boundary`: anything that is hard to guess, of which the
/// letters and digits are used. None if a span reaches beyond the body.
pub fn multipart(
    spans: &[Span],
    total: u64,
    content_type: Option<&HeaderValue>,
    body: &Bytes,
    boundary: &str,
) -> Option<Multipart> {
    let boundary = absent(body, boundary);
    let mut value = b"multipart/byteranges; boundary=".to_vec();
    value.extend_from_slice(&boundary);
    let mut chunks = Vec::with_capacity(spans.len() * 2 + 1);
    for (index, span) in spans.iter().enumerate() {
        let first = usize::try_from(span.first).ok()?;
        let end = first.checked_add(usize::try_from(span.length).ok()?)?;
        if end > body.len() {
            return None;
        }
        // RFC 2046, 5.1.1: the line break before a delimiter belongs to it; before the first one there is nothing to end.
        let line_break: &[u8] = if index == 0 { b"" } else { b"\r\n" };
        let mut head = [line_break, b"--", &boundary, b"\r\n"].concat();
        // RFC 9110, 15.3.7.2: "If the selected representation would have had a Content-Type header field in a 200 (OK)
        // response, the server SHOULD generate that same Content-Type header field in the header area of each body part."
        if let Some(content_type) = content_type {
            head.extend_from_slice(&[b"Content-Type: ", content_type.as_bytes(), b"\r\n"].concat());
        }
        // RFC 9110, 15.3.7.2: "Within the header area of each body part in the multipart content, the server MUST generate a
        // Content-Range header field corresponding to the range being enclosed in that body part."
        let range = content_range_value(*span, Some(total));
        head.extend_from_slice(&[b"Content-Range: ", range.as_bytes(), b"\r\n\r\n"].concat());
        chunks.push(head.into());
        chunks.push(body.slice(first..end));
    }
    chunks.push([b"\r\n--", &*boundary, b"--\r\n"].concat().into());
    let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    Some(Multipart { content_type: HeaderValue::from_bytes(&value).ok()?, chunks, length })
}

/// A boundary that begins with what is given and is nowhere in the body.
fn absent(body: &[u8], given: &str) -> Vec<u8> {
    let usable = given.bytes().filter(u8::is_ascii_alphanumeric).take(BOUNDARY_BYTES_MAX);
    let mut boundary: Vec<u8> = usable.collect();
    if boundary.is_empty() {
        boundary.extend_from_slice(b"larder");
    }
    loop {
        let mut followers = [0_u64; MARKS.len()];
        let mut found = false;
        for place in memmem::find_iter(body, &boundary) {
            found = true;
            let follower = body.get(place + boundary.len());
            if let Some(mark) = MARKS.iter().position(|mark| Some(mark) == follower) {
                followers[mark] += 1;
            }
        }
        if !found {
            return boundary;
        }
        // With the mark that follows it least often, it stands there at most once for every 36 times before: however the
        // body was made, a few rounds are enough.
        let rarest = followers.iter().enumerate().min_by_key(|(_, count)| **count);
        boundary.push(rarest.map_or(b'0', |(mark, _)| MARKS[mark]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(first: u64, length: u64) -> Span {
        Span { first, length }
    }

    fn text(parts: &Multipart) -> String {
        let whole: Vec<u8> = parts.chunks.iter().flatten().copied().collect();
        assert_eq!(parts.length, whole.len() as u64);
        String::from_utf8(whole).unwrap()
    }

    #[test]
    fn each_part_says_what_it_is_and_where_it_lies() {
        let body = Bytes::from_static(b"0123456789");
        let kind = HeaderValue::from_static("text/plain");
        let parts = multipart(&[span(0, 2), span(8, 1)], 10, Some(&kind), &body, "THIS").unwrap();
        assert_eq!(parts.content_type, "multipart/byteranges; boundary=THIS");
        assert_eq!(
            text(&parts),
            "--THIS\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n\
             --THIS\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-8/10\r\n\r\n8\r\n--THIS--\r\n"
        );
        let parts = multipart(&[span(9, 1)], 10, None, &body, "THIS").unwrap();
        assert_eq!(text(&parts), "--THIS\r\nContent-Range: bytes 9-9/10\r\n\r\n9\r\n--THIS--\r\n");
    }

    #[test]
    fn a_span_beyond_the_body_is_not_sent() {
        let body = Bytes::from_static(b"0123456789");
        for beyond in [span(0, 11), span(10, 1), span(u64::MAX, 1), span(1, u64::MAX)] {
            assert_eq!(multipart(&[span(0, 1), beyond], 10, None, &body, "THIS"), None, "{beyond:?}");
        }
    }

    #[test]
    fn a_boundary_that_the_body_has_grows_until_it_has_not() {
        let table: &[(&str, &str, &str)] = &[
            ("", "THIS", "THIS"),
            ("x--THIS", "THIS", "THIS0"),
            ("THIS0", "THIS", "THIS1"),
            ("THIS0 THIS1THIS", "THIS", "THIS2"),
            ("THI", "THIS", "THIS"),
            ("", "a b\r\n\"c\u{fc}", "abc"),
            ("", "", "larder"),
            ("larder", "\r\n", "larder0"),
        ];
        for (body, given, expected) in table {
            assert_eq!(absent(body.as_bytes(), given), expected.as_bytes(), "{body} {given}");
        }
        // Every extension by one mark is there.
        let all: Vec<u8> = MARKS.iter().flat_map(|mark| [&b"THIS"[..], &[*mark]].concat()).collect();
        assert_eq!(absent(&all, "THIS"), b"THIS00");
        let long = "a".repeat(200);
        assert_eq!(absent(b"", &long).len(), BOUNDARY_BYTES_MAX);
        assert!(absent(long.as_bytes(), "a").len() <= 70);
    }

    proptest! {
        #[test]
        fn the_boundary_is_never_in_the_body(body in "[ab01]{0,300}", given in "[ab01]{0,3}") {
            let boundary = absent(body.as_bytes(), &given);
            prop_assert!(memmem::find(body.as_bytes(), &boundary).is_none());
            prop_assert!((1..=70).contains(&boundary.len()));
        }

        #[test]
        fn a_reader_who_splits_at_the_boundary_finds_the_spans(
            body in proptest::collection::vec(any::<u8>(), 1..200),
            places in proptest::collection::vec((0_usize..200, 1_usize..50), 2..5),
        ) {
            let body = Bytes::from(body);
            let spans: Vec<Span> = places
                .iter()
                .map(|(first, length)| (first % body.len(), *length))
                .map(|(first, length)| span(first as u64, length.min(body.len() - first) as u64))
                .collect();
            let parts = multipart(&spans, body.len() as u64, None, &body, "b").unwrap();
            let kind = parts.content_type.to_str().unwrap();
            let delimiter = format!("\r\n--{}", kind.split_once("boundary=").unwrap().1);
            let mut whole = b"\r\n".to_vec();
            whole.extend(parts.chunks.iter().flatten());
            let places: Vec<usize> = memmem::find_iter(&whole, &delimiter).collect();
            prop_assert_eq!(places.len(), spans.len() + 1);
            for (pair, span) in places.windows(2).zip(&spans) {
                let part = &whole[pair[0]..pair[1]];
                let content = &part[memmem::find(part, b"\r\n\r\n").unwrap() + 4..];
                let first = usize::try_from(span.first).unwrap();
                prop_assert_eq!(content, &body[first..first + content.len()]);
                prop_assert_eq!(content.len() as u64, span.length);
            }
        }
    }
}
