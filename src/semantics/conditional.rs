//! The client's own conditions, held against an answer we have.
//!
//! A client that has a copy asks whether it is still the one; if so it gets a 304. Invariant: a 304 is only said when
//! the client's copy is surely ours; what can't be read leads to the full answer. `If-Match` and `If-Unmodified-Since`
//! are not a cache's to judge: `for_origin` says that a request bears one. Left out: `If-Range`, the last in the order of RFC
//! 9110, 13.2.2, which goes with ranges: `range::if_range_holds` is asked where this says `Full`.

use http::header::{
    CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, VARY, VIA,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::grammar::{http_date, trim};
use super::validator::{clock_of, only, opaque, sent_at};
use crate::clock::Timestamp;

/// What the client's conditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditional {
    /// The whole answer.
    Full,
    /// The client has it already: 304. No 412: the conditions that lead to one are the origin's; see `for_origin`.
    NotModified,
}

/// The fields of a 304. RFC 9110, 15.4.5: "The server generating a 304 response MUST generate any of the following header
/// fields that would have been sent in a 200 (OK) response to the same request: Content-Location, Date, `ETag`, and Vary;
/// Cache-Control and Expires". `Last-Modified` serves clients that keep no `ETag`; `Via` is every forwarded message's. All that
/// `evaluate` reads of an answer is among them.
pub const NOT_MODIFIED: [HeaderName; 8] =
    [CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, LAST_MODIFIED, VARY, VIA];

/// Whether the request has a condition for `evaluate`.
pub fn is_conditional(request: &HeaderMap) -> bool {
    request.contains_key(IF_NONE_MATCH) || request.contains_key(IF_MODIFIED_SINCE)
}

/// Holds the conditions of a request against what is stored for it.
pub fn evaluate(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
) -> Conditional {
    // RFC 9110, 13.2.2, steps 1 and 2 (If-Match, If-Unmodified-Since) begin with "When recipient is the origin server".
    // RFC 9111, 4.3.2: "the If-Match and If-Unmodified-Since conditional header fields are not applicable to a cache".
    if !is_conditional(request) {
        return Conditional::Full;
    }
    // RFC 9111, 4.3.2: "If a cache receives a request that can be satisfied by reusing a stored 200 (OK) or 206 (Partial
    // Content) response, as per Section 4, the cache SHOULD evaluate any applicable conditional header field preconditions
    // received in that request with respect to the corresponding validators contained within the stored response." RFC 9110,
    // 13.2.1: "A server MUST ignore all received preconditions if its response to the same request without those conditions,
    // prior to processing the request content, would have been a status code other than a 2xx (Successful) or 412".
    if status != StatusCode::OK && status != StatusCode::PARTIAL_CONTENT {
        return Conditional::Full;
    }
    // RFC 9110, 13.2.2, steps 3 and 4: "if false for GET/HEAD, respond 304 (Not Modified)"; "When the method is GET or
    // HEAD".
    if method != Method::GET && method != Method::HEAD {
        return Conditional::Full;
    }
    // RFC 9110, 13.1.3: "A recipient MUST ignore If-Modified-Since if the request contains an If-None-Match header field".
    let held = if request.contains_key(IF_NONE_MATCH) {
        is_named(request, response)
    } else {
        is_unmodified(request, response)
    };
    if held { Conditional::NotModified } else { Conditional::Full }
}

/// Whether the request has a condition that only the origin may judge. RFC 9111, 4.3.2: "A cache MUST NOT evaluate
/// conditional header fields that only apply to an origin server […]; such preconditions are likely intended for some
/// other (inbound) server." Such a request is best passed.
pub fn for_origin(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// The fields of a 304 for this answer.
pub fn not_modified_headers(stored: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(NOT_MODIFIED.len() * 2);
    for name in &NOT_MODIFIED {
        for value in stored.get_all(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// Conditions that belong to the client and its copy, and must not reach an upstream whose full answer is to be kept.
pub fn strip_conditions(request: &mut HeaderMap) {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_MATCH, IF_UNMODIFIED_SINCE, IF_RANGE] {
        request.remove(name);
    }
}

/// Whether `If-None-Match` names the stored answer, so that its condition is false.
fn is_named(request: &HeaderMap, response: &HeaderMap) -> bool {
    // RFC 9110, 13.1.2: "If the field value is "*", the condition is false if the origin server has a current
    // representation for the target resource." A stored 200 is one.
    if only(request, &IF_NONE_MATCH).is_some_and(|value| trim(value.as_bytes()) == b"*") {
        return true;
    }
    let Some(stored) = only(response, &ETAG) else {
        return false;
    };
    let stored = opaque(trim(stored.as_bytes()));
    // RFC 9110, 13.1.2: "If the field value is a list of entity tags, the condition is false if one of the listed tags
    // matches the entity tag of the selected representation." "A recipient MUST use the weak comparison function".
    !stored.is_empty()
        && request
            .get_all(IF_NONE_MATCH)
            .into_iter()
            .flat_map(|line| EntityTags(line.as_bytes()))
            .any(|named| opaque(named) == stored)
}

/// Whether `If-Modified-Since` is not before the stored answer's `Last-Modified`, so that its condition is false.
fn is_unmodified(request: &HeaderMap, response: &HeaderMap) -> bool {
    // RFC 9110, 13.1.3: "A recipient MUST ignore the If-Modified-Since header field if the received field value is not a
    // valid HTTP-date, the field value has more than one member, or if the request method is neither GET nor HEAD."
    let since = only(request, &IF_MODIFIED_SINCE).and_then(|value| http_date(value, clock_of(response)));
    // RFC 9110, 13.1.3: "If the selected representation's last modification date is earlier or equal to the date provided
    // in the field value, the condition is false."
    matches!((since, modified_at(response)), (Some(since), Some(modified)) if modified <= since)
}

/// The date that an `If-Modified-Since` is held against.
fn modified_at(response: &HeaderMap) -> Option<Timestamp> {
    // RFC 9111, 4.3.2: "If a request contains an If-Modified-Since header field and the Last-Modified header field is not
    // present in a stored response, a cache SHOULD use the stored response's Date field value (or, if no Date field is present,
    // the time that the stored response was received) to evaluate the conditional." Every stored response has a Date: who keeps
    // one without gives it the time it was received. One that is there and can't be read is not replaced.
    if response.contains_key(LAST_MODIFIED) {
        return http_date(only(response, &LAST_MODIFIED)?, clock_of(response));
    }
    sent_at(response)
}

/// The entity tags of one line of a list. RFC 9110, 8.8.3: in an opaque-tag a comma may stand, a quote may not, and a
/// backslash means nothing. What has no quotes runs to the next comma.
struct EntityTags<'a>(&'a [u8]);

impl<'a> Iterator for EntityTags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while let [b',' | b' ' | b'\t', after @ ..] = self.0 {
            self.0 = after;
        }
        if self.0.is_empty() {
            return None;
        }
        let mut quoted = false;
        let end = self.0.iter().position(|&byte| {
            quoted ^= byte == b'"';
            byte == b',' && !quoted
        });
        let (tag, after) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = after;
        Some(trim(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::example::headers;
    use http::HeaderValue;
    use proptest::prelude::*;

    const OLD: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn ask(request: &[(&str, &str)], response: &[(&str, &str)]) -> Conditional {
        evaluate(&Method::GET, &headers(request), StatusCode::OK, &headers(response))
    }

    #[test]
    fn if_none_match_compares_weakly_and_in_lists() {
        let table: &[(&[&str], &str, bool)] = &[
            (&["\"a\""], "\"a\"", true),
            (&["W/\"a\""], "\"a\"", true),
            (&["\"a\""], "W/\"a\"", true),
            (&["W/\"a\""], "W/\"a\"", true),
            (&["\"a\""], "\"A\"", false),
            (&["\"x\", \"a\" ,\"y\""], "\"a\"", true),
            (&["\"x\"", "\"a\""], "\"a\"", true),
            (&["\"x, \\\"", "\"a\""], "\"a\"", true),
            (&["\"x,y\", \"a,b\""], "\"a,b\"", true),
            (&["\"x,\"a\",y\""], "\"a\"", false),
            (&["*"], "\"a\"", true),
            (&[" * "], "", true),
            (&["*, \"x\""], "\"a\"", false),
            (&["\"*\""], "\"a\"", false),
            (&["\"\""], "\"\"", true),
            (&[""], "", false),
            (&["W/"], "", false),
            (&["a"], "\"a\"", false),
            (&["\"a\""], "a", false),
            (&["a"], "a", true),
            (&["\"a"], "\"a\"", false),
            (&["\"\u{fc}\""], "\"\u{fc}\"", true),
        ];
        for (conditions, etag, held) in table {
            let request: Vec<_> = conditions.iter().map(|value| ("if-none-match", *value)).collect();
            let expected = if *held { Conditional::NotModified } else { Conditional::Full };
            assert_eq!(ask(&request, &[("etag", etag)]), expected, "{conditions:?} {etag}");
        }
    }

    #[test]
    fn an_answer_without_one_etag_matches_only_a_star() {
        assert_eq!(ask(&[("if-none-match", "\"a\"")], &[]), Conditional::Full);
        assert_eq!(ask(&[("if-none-match", "*")], &[]), Conditional::NotModified);
        let two = [("etag", "\"a\""), ("etag", "\"b\"")];
        assert_eq!(ask(&[("if-none-match", "\"a\"")], &two), Conditional::Full);
    }

    #[test]
    fn if_modified_since_counts_only_with_one_valid_date_on_each_side() {
        let table: &[(&[&str], &[&str], bool)] = &[
            (&[SAME], &[SAME], true),
            (&[NEW], &[SAME], true),
            (&[OLD], &[SAME], false),
            (&["Sunday, 06-Nov-94 08:49:37 GMT"], &[SAME], true),
            (&["Sunday, 06-Nov-94 08:49:36 GMT"], &[SAME], false),
            (&["yesterday"], &[SAME], false),
            (&["0"], &[SAME], false),
            (&[NEW, NEW], &[SAME], false),
            (&[NEW], &[], false),
            (&[NEW], &["yesterday"], false),
            (&[NEW], &[SAME, SAME], false),
        ];
        for (since, modified, held) in table {
            let request: Vec<_> = since.iter().map(|value| ("if-modified-since", *value)).collect();
            let response: Vec<_> = modified.iter().map(|value| ("last-modified", *value)).collect();
            let expected = if *held { Conditional::NotModified } else { Conditional::Full };
            assert_eq!(ask(&request, &response), expected, "{since:?} {modified:?}");
        }
    }

    #[test]
    fn a_response_that_does_not_say_when_it_changed_is_as_old_as_its_date() {
        type Fields<'a> = &'a [(&'a str, &'a str)];
        let table: &[(&str, Fields<'_>, bool)] = &[
            (SAME, &[("date", SAME)], true),
            (NEW, &[("date", SAME)], true),
            (OLD, &[("date", SAME)], false),
            (SAME, &[("date", NEW), ("last-modified", SAME)], true),
            (SAME, &[("date", OLD), ("last-modified", NEW)], false),
            (SAME, &[("date", OLD), ("last-modified", "yesterday")], false),
            (SAME, &[("date", OLD), ("last-modified", OLD), ("last-modified", OLD)], false),
            (SAME, &[("date", OLD), ("date", OLD)], false),
            (SAME, &[("date", "yesterday")], false),
        ];
        for (since, response, held) in table {
            let expected = if *held { Conditional::NotModified } else { Conditional::Full };
            assert_eq!(ask(&[("if-modified-since", since)], response), expected, "{since} {response:?}");
        }
    }

    #[test]
    fn if_none_match_goes_before_if_modified_since_whatever_they_say() {
        let stored = [("etag", "\"a\""), ("last-modified", SAME)];
        let table = [
            ("\"a\"", OLD, Conditional::NotModified),
            ("\"b\"", NEW, Conditional::Full),
            ("garbage", NEW, Conditional::Full),
        ];
        for (tag, since, expected) in table {
            let request = [("if-none-match", tag), ("if-modified-since", since)];
            assert_eq!(ask(&request, &stored), expected, "{tag} {since}");
        }
    }

    #[test]
    fn conditions_of_the_origin_are_left_to_it() {
        let stored = [("etag", "\"a\""), ("last-modified", SAME)];
        for condition in [("if-match", "\"b\""), ("if-unmodified-since", OLD)] {
            assert_eq!(ask(&[condition], &stored), Conditional::Full);
            assert!(for_origin(&headers(&[condition])));
        }
        let both = [("if-match", "\"b\""), ("if-none-match", "\"a\"")];
        assert_eq!(ask(&both, &stored), Conditional::NotModified);
        assert!(!for_origin(&headers(&[("if-none-match", "*"), ("if-range", "\"a\"")])));
    }

    #[test]
    fn conditions_count_for_get_and_head_on_a_200_or_206_only() {
        let request = headers(&[("if-none-match", "\"a\"")]);
        let stored = headers(&[("etag", "\"a\"")]);
        let table = [
            (Method::GET, 200, Conditional::NotModified),
            (Method::HEAD, 200, Conditional::NotModified),
            (Method::GET, 206, Conditional::NotModified),
            (Method::HEAD, 206, Conditional::NotModified),
            (Method::POST, 200, Conditional::Full),
            (Method::POST, 206, Conditional::Full),
            (Method::GET, 204, Conditional::Full),
            (Method::GET, 203, Conditional::Full),
            (Method::GET, 404, Conditional::Full),
            (Method::GET, 301, Conditional::Full),
        ];
        for (method, status, expected) in table {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(evaluate(&method, &request, status, &stored), expected, "{method} {status}");
        }
    }

    #[test]
    fn a_304_has_what_a_client_needs_to_freshen_its_copy_and_nothing_of_the_body() {
        let stored = headers(&[
            ("content-type", "text/plain"),
            ("content-length", "5"),
            ("set-cookie", "a=1"),
            ("etag", "\"a\""),
            ("last-modified", SAME),
            ("date", SAME),
            ("vary", "accept"),
            ("vary", "origin"),
            ("cache-control", "max-age=60"),
            ("expires", NEW),
            ("content-location", "/a"),
            ("via", "1.1 larder"),
        ]);
        let kept = not_modified_headers(&stored);
        let mut names: Vec<_> = kept.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let expected = [
            "cache-control",
            "content-location",
            "date",
            "etag",
            "expires",
            "last-modified",
            "vary",
            "vary",
            "via",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn no_condition_is_left_and_range_stays() {
        let mut request = headers(&[
            ("if-none-match", "\"a\""),
            ("if-none-match", "\"b\""),
            ("if-modified-since", SAME),
            ("if-match", "*"),
            ("if-unmodified-since", SAME),
            ("if-range", "\"a\""),
            ("range", "bytes=0-1"),
        ]);
        strip_conditions(&mut request);
        assert_eq!(request, headers(&[("range", "bytes=0-1")]));
    }

    proptest! {
        #[test]
        fn any_condition_can_be_read(line in proptest::collection::vec(any::<u8>(), 0..80), etag in "[ -~]{0,20}") {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let request: HeaderMap = [(IF_NONE_MATCH, value)].into_iter().collect();
                let _ = evaluate(&Method::GET, &request, StatusCode::OK, &headers(&[("etag", &etag)]));
            }
        }

        #[test]
        fn a_tag_is_found_in_a_list_exactly_if_it_is_a_member(
            tags in proptest::collection::vec("[!#-~]{0,4}", 0..5),
            tag in "[!#-~]{0,4}",
        ) {
            let list: Vec<_> = tags.iter().map(|tag| format!("\"{tag}\"")).collect();
            let got = ask(&[("if-none-match", &list.join(", "))], &[("etag", &format!("\"{tag}\""))]);
            let expected = if tags.contains(&tag) { Conditional::NotModified } else { Conditional::Full };
            prop_assert_eq!(got, expected);
        }
    }
}
