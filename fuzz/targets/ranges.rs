//! Two bytes of a length, then lines: a `Range`, and two of `Content-Range`.
//!
//! What is selected is there, once, and the same whether the whole is kept or a part of it. Parts that are put together are the
//! bytes of the whole, and what is written of them is read again.

#![no_main]

use bytes::Bytes;
use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderMap, HeaderValue};
use larder::semantics::multipart::multipart;
use larder::semantics::range::{ContentRange, Ranges, Selected, Span, combine, content_range_value};
use larder_fuzz::{field, lines};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first_chunk() else { return };
    let length = u64::from(u16::from_le_bytes(*length));
    let lines = lines(rest);
    let ranges = lines.first().and_then(|line| Ranges::read(&field(&RANGE, [*line])));
    if let Some(ranges) = &ranges {
        assert_selection(ranges, length);
    }
    let parts = lines.iter().skip(1).take(2).map(|line| ContentRange::read(&field(&CONTENT_RANGE, [*line])));
    let parts: Vec<ContentRange> = parts.map_while(|part| part).collect();
    for part in &parts {
        assert_read_again(part);
        if let Some(ranges) = &ranges {
            assert_same_of_part(ranges, part);
        }
    }
    if let [one, other] = parts[..] {
        assert_combined(one, other);
    }
});

/// The bytes of a whole, from one to another.
fn body(first: u64, length: u64) -> Bytes {
    (first..first + length).map(|place| place.wrapping_mul(0x9e37_79b9).to_be_bytes()[4]).collect()
}

fn assert_inside(span: Span, length: u64) {
    let end = span.first.checked_add(span.length);
    assert!(span.length > 0 && end.is_some_and(|end| end <= length), "{span:?} of {length}");
}

fn assert_selection(ranges: &Ranges, length: u64) {
    match ranges.of_whole(length) {
        Selected::Whole | Selected::Unsatisfiable => {}
        Selected::One(span) => assert_inside(span, length),
        Selected::Many(spans) => {
            for span in &spans {
                assert_inside(*span, length);
            }
            // No byte is sent twice, so that a small request can't ask for more than there is.
            let sent: u64 = spans.iter().map(|span| span.length).sum();
            assert!(spans.len() > 1 && sent <= length, "{sent} of {length}: {spans:?}");
            assert_multipart(&spans, length);
        }
    }
}

fn assert_multipart(spans: &[Span], length: u64) {
    let body = body(0, length);
    let made = multipart(spans, length, None, &body, "b").unwrap_or_else(|| panic!("{spans:?} of {length}"));
    let content_type = made.content_type.to_str().unwrap_or_default();
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap_or_default();
    assert!(!boundary.is_empty() && boundary.len() <= 70, "{content_type}");
    assert!(
        !body.windows(boundary.len()).any(|text| text == boundary.as_bytes()),
        "the body has the boundary"
    );
    let written: Vec<u8> = made.chunks.iter().flatten().copied().collect();
    assert_eq!(written.len() as u64, made.length);
    for (span, pair) in spans.iter().zip(made.chunks.chunks(2)) {
        let [head, piece] = pair else { panic!("a head without a piece") };
        let head = str::from_utf8(head).unwrap_or_default();
        let line = head.lines().find_map(|line| line.strip_prefix("Content-Range: ")).unwrap_or_default();
        let read = ContentRange::read(&field(&CONTENT_RANGE, [line.as_bytes()]));
        let last = span.first + span.length - 1;
        assert_eq!(read, Some(ContentRange { first: span.first, last, total: Some(length) }), "{head}");
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        assert_eq!(piece[..], body[place(span.first)..=place(last)]);
    }
}

fn assert_read_again(part: &ContentRange) {
    assert!(part.first <= part.last && part.total.is_none_or(|total| part.last < total), "{part:?}");
    let written: HeaderValue =
        content_range_value(Span { first: part.first, length: part.length() }, part.total);
    let headers: HeaderMap = [(CONTENT_RANGE, written)].into_iter().collect();
    assert_eq!(ContentRange::read(&headers).as_ref(), Some(part));
}

/// What a part answers, it answers as the whole would.
fn assert_same_of_part(ranges: &Ranges, head: &ContentRange) {
    let Some(span) = ranges.of_part(&head.part(), head.length()) else { return };
    assert_inside(span, head.last + 1);
    assert!(span.first >= head.first, "{span:?} of {head:?}");
    if let Some(total) = head.total {
        assert_eq!(ranges.of_whole(total), Selected::One(span), "{head:?}");
    }
}

fn assert_combined(one: ContentRange, other: ContentRange) {
    if one.length() > 4096 || other.length() > 4096 {
        return;
    }
    let bodies = [one, other].map(|part| body(part.first, part.length()));
    let Some((union, whole)) = combine((&one, &bodies[0]), (&other, &bodies[1])) else {
        let apart = one.last + 1 < other.first || other.last + 1 < one.first;
        let unlike = one.total.is_none() || one.total != other.total;
        assert!(apart || unlike, "{one:?} and {other:?} are not put together");
        return;
    };
    assert_eq!((one.total, other.total), (union.total, union.total));
    assert_eq!(union.first, one.first.min(other.first));
    assert_eq!(union.last, one.last.max(other.last));
    assert_eq!(whole, body(union.first, union.length()), "{one:?} and {other:?}");
    let short = bodies[0].slice(1..);
    assert_eq!(combine((&one, &short), (&other, &bodies[1])), None, "a byte is missing");
}
