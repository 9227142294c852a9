//! What tells one representation from another: `ETag` and `Last-Modified`, and how surely they do.
//!
//! A *weak* validator says that two representations serve alike, a *strong* one that they are the same bytes: only a strong
//! one lets parts be put together. Invariant: a field that is there twice, or malformed, is no validator.

use std::time::Duration;

use http::header::{DATE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::grammar::{http_date, trim};
use crate::clock::Timestamp;

/// Sat, 21 Nov 2026 00:00:00 GMT. Nothing that this program is sent was sent more than fifty years before or after it.
const PROGRAM_BEGAN: Timestamp = Timestamp::from_millis(1_795_219_200_000);

/// Whether both are of one representation, byte for byte, so that parts of them fit together.
///
/// RFC 9111, 3.4: "A cache MAY combine these ranges into a single stored response, and reuse that response to satisfy later
/// requests, if they all share the same strong validator".
pub fn are_same_bytes(one: &HeaderMap, other: &HeaderMap) -> bool {
    // Where either has a tag, tags decide: a date can't make good for two different ones.
    if one.contains_key(ETAG) || other.contains_key(ETAG) {
        return strong_tag(one).is_some_and(|tag| strong_tag(other) == Some(tag));
    }
    strong_date(one).is_some_and(|date| strong_date(other) == Some(date))
}

/// Whether they say that they are of different representations.
pub fn differ(one: &HeaderMap, other: &HeaderMap) -> bool {
    let differs = |name: &HeaderName| match (only(one, name), only(other, name)) {
        (Some(one), Some(other)) => one != other,
        _ => false,
    };
    // Where both have a tag, tags decide.
    let tags = (only(one, &ETAG), only(other, &ETAG));
    if let (Some(one), Some(other)) = tags {
        return opaque(trim(one.as_bytes())) != opaque(trim(other.as_bytes()));
    }
    differs(&LAST_MODIFIED)
}

/// The `ETag` of a response, if it is a strong one.
pub(super) fn strong_tag(response: &HeaderMap) -> Option<&[u8]> {
    only(response, &ETAG).map(|tag| trim(tag.as_bytes())).filter(|tag| is_strong_tag(tag))
}

/// The same as it stands in the response.
pub fn strong_tag_value(response: &HeaderMap) -> Option<&HeaderValue> {
    only(response, &ETAG).filter(|tag| is_strong_tag(trim(tag.as_bytes())))
}

/// RFC 9110, 8.8.3: `opaque-tag = DQUOTE *etagc DQUOTE`, and no `W/` before it.
fn is_strong_tag(tag: &[u8]) -> bool {
    let [b'"', within @ .., b'"'] = tag else {
        return false;
    };
    // RFC 9110, 8.8.3: `etagc = %x21 / %x23-7E / obs-text`.
    within.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..))
}

/// RFC 9110, 8.8.3.2: weak comparison: "two entity tags are equivalent if their opaque-tags match character-by-character,
/// regardless of either or both being tagged as "weak"."
pub(super) fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The `Last-Modified` of a response, if it is a strong validator.
pub(super) fn strong_date(response: &HeaderMap) -> Option<Timestamp> {
    let sent = sent_at(response)?;
    let modified = http_date(only(response, &LAST_MODIFIED)?, sent)?;
    // RFC 9110, 8.8.2.2: "A Last-Modified time, when used as a validator in a request, is implicitly weak unless it is
    // possible to deduce that it is strong": "That cache entry includes a Date value which is at least one second after the
    // Last-Modified value".
    (sent >= modified.plus(Duration::from_secs(1))).then_some(modified)
}

/// When a response was sent, by the clock of its origin.
pub(super) fn sent_at(response: &HeaderMap) -> Option<Timestamp> {
    http_date(only(response, &DATE)?, PROGRAM_BEGAN)
}

/// The clock that tells the century of a year with two digits, in dates that are held against this response. RFC 9110, 13.1.3:
/// "A recipient MUST interpret an If-Modified-Since field value's timestamp in terms of the origin server's clock."
pub(super) fn clock_of(response: &HeaderMap) -> Timestamp {
    sent_at(response).unwrap_or(PROGRAM_BEGAN)
}

/// The value of a field that is there exactly once.
pub(super) fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).into_iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::example::headers;

    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const A_SECOND_LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    type Fields<'a> = &'a [(&'a str, &'a str)];

    #[test]
    fn only_strong_validators_make_two_responses_the_same_bytes() {
        let dated: Fields<'_> = &[("last-modified", THEN), ("date", A_SECOND_LATER)];
        let table: &[(Fields<'_>, Fields<'_>, bool)] = &[
            (&[], &[], false),
            (&[("etag", "\"a\"")], &[("etag", "\"a\"")], true),
            (&[("etag", "\"\"")], &[("etag", "\"\"")], true),
            (&[("etag", "\"a\"")], &[("etag", "\"b\"")], false),
            (&[("etag", "\"a\"")], &[("etag", "W/\"a\"")], false),
            (&[("etag", "W/\"a\"")], &[("etag", "W/\"a\"")], false),
            (&[("etag", "a")], &[("etag", "a")], false),
            (&[("etag", "\"")], &[("etag", "\"")], false),
            (&[("etag", "\"a\"b\"")], &[("etag", "\"a\"b\"")], false),
            (&[("etag", "\"a b\"")], &[("etag", "\"a b\"")], false),
            (&[("etag", "\"a\""), ("etag", "\"a\"")], &[("etag", "\"a\"")], false),
            (dated, dated, true),
            (dated, &[("last-modified", A_SECOND_LATER), ("date", "Sun, 06 Nov 1994 08:49:39 GMT")], false),
            (&[("last-modified", THEN), ("date", THEN)], dated, false),
            (&[("last-modified", THEN)], &[("last-modified", THEN)], false),
            (&[("date", THEN)], &[("date", THEN)], false),
            (&[("etag", "\"a\""), dated[0], dated[1]], dated, false),
            (&[("etag", "W/\"a\""), dated[0], dated[1]], &[("etag", "W/\"a\""), dated[0], dated[1]], false),
        ];
        for (one, other, expected) in table {
            assert_eq!(are_same_bytes(&headers(one), &headers(other)), *expected, "{one:?} {other:?}");
            assert_eq!(are_same_bytes(&headers(other), &headers(one)), *expected, "{other:?} {one:?}");
        }
    }
}
