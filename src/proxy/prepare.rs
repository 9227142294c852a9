//! An upstream's head as clients get it: without what belongs to its connection, with our name, in memory of its own.

use bytes::{BufMut, BytesMut};
use http::header::{CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, Version};

use super::body::Body;
use crate::clock::Timestamp;
use crate::semantics::fields;
use crate::upstream::Received;

/// An upstream's answer as one client gets it.
pub(super) fn passing(response: Response<Received>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let endless = is_endless(&parts.headers);
    prepare(&mut parts.headers, parts.version);
    let body = if endless { body.without_end() } else { body };
    let mut answer = Response::new(Body::Passed(body));
    *answer.status_mut() = parts.status;
    *answer.headers_mut() = parts.headers;
    answer
}

/// Server-sent events go on as long as both sides live.
pub(super) fn is_endless(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    let kind = kind.as_bytes();
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or(kind).trim_ascii();
    essence.eq_ignore_ascii_case(b"text/event-stream")
}

/// An upstream's head without what belongs to its connection, and with our name.
pub(super) fn prepare(headers: &mut HeaderMap, version: Version) {
    fields::strip_hop_by_hop(headers);
    fields::append_via(headers, version);
}

/// RFC 9110, 6.6.1: "A recipient with a clock that receives a response message without a Date header field MUST record the
/// time it was received and append a corresponding Date header field to the message's header section if it is cached".
pub(super) fn add_date(headers: &mut HeaderMap, now: Timestamp) {
    if !headers.contains_key(DATE) {
        let date = httpdate::fmt_http_date(now.to_system());
        headers.extend(HeaderValue::from_str(&date).ok().map(|date| (DATE, date)));
    }
}

/// Takes these fields out; gives all of them as they were if there was any to take.
pub(super) fn without(names: &[HeaderName], headers: &mut HeaderMap) -> Option<HeaderMap> {
    if !names.iter().any(|name| headers.contains_key(name)) {
        return None;
    }
    let whole = headers.clone();
    for name in names {
        headers.remove(name);
    }
    Some(whole)
}

/// The same fields with their values in one piece of memory of their own. As they come from hyper they are slices of the
/// connection's read buffer, and would keep all of it alive for as long as the entry lives.
pub(super) fn compact(mut headers: HeaderMap) -> HeaderMap {
    let mut buffer = BytesMut::with_capacity(headers.values().map(HeaderValue::len).sum());
    for value in headers.values() {
        buffer.put_slice(value.as_bytes());
    }
    let mut values = buffer.freeze();
    for value in headers.values_mut() {
        // The bytes were a header value a moment ago.
        if let Ok(mut own) = HeaderValue::from_maybe_shared(values.split_to(value.len())) {
            own.set_sensitive(value.is_sensitive());
            *value = own;
        }
    }
    headers
}
