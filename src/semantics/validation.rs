//! Asking whether what is kept is still good, and taking over what the answer says.
//!
//! A kept answer with a *validator* (`ETag`, `Last-Modified`) is asked about with it: a 304 says that the body is still the
//! one, and brings its head up to date. Invariant: a kept body is given a new head only by a message about that very body.

use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::grammar::{http_date, trim};
use super::validator::{clock_of, only, opaque};

/// Whether it can be asked about.
pub fn has_validator(headers: &HeaderMap) -> bool {
    entity_tag(headers).is_some() || last_modified(headers).is_some()
}

/// Adds to a request the question whether this is still good. The request has no conditions of its own.
pub fn ask_about(kept: &HeaderMap, request: &mut HeaderMap) {
    // RFC 9111, 4.3.1: "When generating a conditional request for validation, a cache […] MUST send the relevant entity tags
    // (using If-Match, If-None-Match, or If-Range) if the entity tags were provided in the stored response(s) being
    // validated", and "SHOULD send the Last-Modified value (using If-Modified-Since) if the request is not for a subrange, a
    // single stored response is being validated, and that response contains a Last-Modified value."
    if let Some(tag) = entity_tag(kept) {
        request.insert(IF_NONE_MATCH, tag.clone());
    }
    if let Some(modified) = last_modified(kept) {
        request.insert(IF_MODIFIED_SINCE, modified.clone());
    }
}

/// Whether a 304 to that question is about what is kept.
pub fn confirms(not_modified: &HeaderMap, kept: &HeaderMap) -> bool {
    // RFC 9111, 4.3.4: "If the new response contains one or more strong validators (see Section 8.8.1 of [HTTP]), then each of
    // those strong validators identifies a selected representation for update. All the stored responses in the initial set
    // with one of those same strong validators are identified for update. If none of the initial set contains at least one
    // of the same strong validators, then the cache MUST NOT use the new response to update any stored responses."
    // "If the new response contains no strong validators but does contain one or more weak validators, and those
    // validators correspond to one of the initial set's stored responses, then the most recent of those matching stored
    // responses is identified for update." "If the new response does not include any form of validator (such as where a
    // client generates an If-Modified-Since request from a source other than the Last-Modified response header field), and
    // there is only one stored response in the initial set, and that stored response also lacks a validator, then that
    // stored response is identified for update." An upstream that answers our own question without repeating the validator
    // means the one it was asked about.
    match (entity_tag(not_modified), entity_tag(kept)) {
        (Some(new), Some(old)) => {
            opaque(trim(new.as_bytes())) == opaque(trim(old.as_bytes())) && (is_weak(new) || !is_weak(old))
        }
        (Some(_), None) => false,
        (None, tag) => last_modified(not_modified)
            .is_none_or(|new| last_modified(kept).map_or(tag.is_some(), |old| old == new)),
    }
}

/// What a 200 to HEAD says of what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadSays {
    /// It is the same still.
    Same,
    /// It is another now.
    Other,
    /// Neither.
    Nothing,
}

/// `length`: of the whole that is kept, or that a part of is kept.
pub fn head_says(head: &HeaderMap, kept: &HeaderMap, length: Option<u64>) -> HeadSays {
    // RFC 9111, 4.3.5: "if the stored response and HEAD response have matching values for any received validator fields (ETag
    // and Last-Modified) and, if the HEAD response has a Content-Length header field, the value of Content-Length matches
    // that of the stored response, the cache SHOULD update the stored response […]; otherwise, the cache SHOULD consider the
    // stored response to be stale."
    let same = |name: &HeaderName| head.get(name).map(|value| kept.get(name) == Some(value));
    let told = head.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    let same_length = head.contains_key(CONTENT_LENGTH).then(|| length.is_none() || told == length);
    let said = [same(&ETAG), same(&LAST_MODIFIED), same_length];
    // A head that says nothing of which body it is for can't be held against the one that is kept.
    match said.iter().flatten().copied().reduce(|one, other| one && other) {
        None => HeadSays::Nothing,
        Some(true) => HeadSays::Same,
        Some(false) => HeadSays::Other,
    }
}

/// What is kept, brought up to date by a message about it. Neither has fields of a connection.
pub fn updated(kept: &HeaderMap, by: &HeaderMap) -> HeaderMap {
    let mut merged = kept.clone();
    // How old it was when it came is no fact of the new message.
    merged.remove(AGE);
    // RFC 9111, 3.2: "When doing so, the cache MUST add each header field in the provided response to the stored response,
    // replacing field values that are already present, with the following exceptions".
    for name in by.keys().filter(|name| !is_of_the_body(name)) {
        merged.remove(name);
        for value in by.get_all(name) {
            merged.append(name, value.clone());
        }
    }
    merged
}

/// RFC 9111, 3.2: "The Content-Length header field"; caches "MAY omit these header fields from updating stored responses on an
/// exceptional basis but SHOULD limit such omission to those fields necessary to ensure integrity of the stored response":
/// how the kept bytes are coded, where they lie, and what they sum up to.
fn is_of_the_body(name: &HeaderName) -> bool {
    [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE].contains(name)
        || ["content-md5", "content-digest", "repr-digest"].contains(&name.as_str())
}

/// The one `ETag`; with two nobody knows which.
fn entity_tag(headers: &HeaderMap) -> Option<&HeaderValue> {
    only(headers, &ETAG).filter(|tag| !trim(tag.as_bytes()).is_empty())
}

/// The one `Last-Modified`, if it is a date.
fn last_modified(headers: &HeaderMap) -> Option<&HeaderValue> {
    only(headers, &LAST_MODIFIED).filter(|value| http_date(value, clock_of(headers)).is_some())
}

fn is_weak(tag: &HeaderValue) -> bool {
    trim(tag.as_bytes()).starts_with(b"W/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::example::headers;

    type Fields<'a> = &'a [(&'a str, &'a str)];

    const DATE_1: &str = "Sat, 21 Nov 2026 00:00:00 GMT";
    const DATE_2: &str = "Sat, 21 Nov 2026 00:00:01 GMT";

    #[test]
    fn it_is_asked_with_every_validator_there_is() {
        let table: &[(Fields<'_>, Option<&str>, Option<&str>)] = &[
            (&[], None, None),
            (&[("etag", "\"a\"")], Some("\"a\""), None),
            (&[("etag", "W/\"a\""), ("last-modified", DATE_1)], Some("W/\"a\""), Some(DATE_1)),
            (&[("last-modified", "yesterday")], None, None),
            (&[("etag", "\"a\""), ("etag", "\"b\""), ("last-modified", DATE_1)], None, Some(DATE_1)),
            (&[("etag", "")], None, None),
        ];
        for (kept, tag, date) in table {
            let kept = headers(kept);
            let mut request = HeaderMap::new();
            ask_about(&kept, &mut request);
            assert_eq!(has_validator(&kept), tag.is_some() || date.is_some(), "{kept:?}");
            let said = |name| request.get(name).map(|value: &HeaderValue| value.to_str().unwrap());
            assert_eq!((said(IF_NONE_MATCH), said(IF_MODIFIED_SINCE)), (*tag, *date), "{kept:?}");
        }
    }

    #[test]
    fn a_304_is_about_what_is_kept_unless_its_validators_say_otherwise() {
        let table: &[(Fields<'_>, Fields<'_>, bool)] = &[
            (&[("etag", "\"a\"")], &[("etag", "\"a\"")], true),
            (&[("etag", "\"a\"")], &[("etag", "\"b\"")], false),
            (&[("etag", "\"a\"")], &[("etag", "W/\"a\"")], true),
            (&[("etag", "W/\"a\"")], &[("etag", "W/\"a\"")], true),
            (&[("etag", "W/\"a\"")], &[("etag", "\"a\"")], false),
            (&[("etag", "\"a\"")], &[], true),
            (&[("etag", "\"a\"")], &[("last-modified", DATE_2)], true),
            (&[("last-modified", DATE_1)], &[("last-modified", DATE_1)], true),
            (&[("last-modified", DATE_1)], &[("last-modified", DATE_2)], false),
            (&[("last-modified", DATE_1)], &[("etag", "\"a\"")], false),
            (&[("last-modified", DATE_1)], &[], true),
            (&[("etag", "\"a\""), ("last-modified", DATE_1)], &[("last-modified", DATE_2)], false),
            (&[("etag", "\"a\""), ("last-modified", DATE_1)], &[("last-modified", DATE_1)], true),
        ];
        for (kept, said, expected) in table {
            assert_eq!(confirms(&headers(said), &headers(kept)), *expected, "{kept:?} {said:?}");
        }
    }

    #[test]
    fn a_head_is_about_what_is_kept_if_all_it_says_of_it_is_so() {
        let kept = headers(&[("etag", "\"a\""), ("last-modified", DATE_1)]);
        let table: &[(Fields<'_>, HeadSays)] = &[
            (&[], HeadSays::Nothing),
            (&[("cache-control", "max-age=9")], HeadSays::Nothing),
            (&[("etag", "\"a\""), ("content-length", "5")], HeadSays::Same),
            (&[("content-length", "5")], HeadSays::Same),
            (&[("last-modified", DATE_1)], HeadSays::Same),
            (&[("etag", "\"b\"")], HeadSays::Other),
            (&[("etag", "\"a\""), ("content-length", "6")], HeadSays::Other),
            (&[("last-modified", DATE_2)], HeadSays::Other),
            (&[("content-length", "five")], HeadSays::Other),
        ];
        for (head, expected) in table {
            assert_eq!(head_says(&headers(head), &kept, Some(5)), *expected, "{head:?}");
        }
    }

    #[test]
    fn what_is_kept_takes_over_every_field_but_those_of_its_bytes() {
        let kept = headers(&[
            ("age", "7"),
            ("content-length", "5"),
            ("content-encoding", "gzip"),
            ("content-type", "text/plain"),
            ("content-md5", "x"),
            ("link", "</a>"),
            ("link", "</b>"),
            ("x-kept", "1"),
        ]);
        let by = headers(&[
            ("content-length", "0"),
            ("content-encoding", "br"),
            ("content-range", "bytes 0-1/2"),
            ("content-type", "text/html"),
            ("content-md5", "y"),
            ("link", "</c>"),
            ("x-new", "2"),
        ]);
        let expected = headers(&[
            ("content-length", "5"),
            ("content-encoding", "gzip"),
            ("content-type", "text/html"),
            ("content-md5", "x"),
            ("link", "</c>"),
            ("x-kept", "1"),
            ("x-new", "2"),
        ]);
        assert_eq!(updated(&kept, &by), expected);
    }
}
