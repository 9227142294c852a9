//! Which bytes of what is kept a client gets: all of them, or the ranges it asks for.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::body::Body;
use crate::object::Stored;
use crate::semantics::multipart::multipart;
use crate::semantics::range::{
    Ranges, Selected, Span, content_range_value, if_range_holds, unsatisfied_value,
};

/// Leaves of the whole answer to this request what it asks for.
pub(super) fn cut(response: &mut Response<Body>, stored: &Stored, request: &Parts) {
    // RFC 9110, 14.2: "A server MUST ignore a Range header field received with a request method that is unrecognized or for
    // which range handling is not defined. For this specification, GET is the only method for which range handling is
    // defined."
    if request.method != Method::GET || !request.headers.contains_key(RANGE) {
        return;
    }
    if stored.part.is_some() {
        if let Some(span) = of_part(stored, &request.headers) {
            one(response, stored, span);
        }
        return;
    }
    // RFC 9110, 14.2: "If all of the preconditions are true, the server supports the Range header field for the target
    // resource, the received Range field-value contains a valid ranges-specifier […], and it would have sent a 200".
    if stored.head.status != StatusCode::OK || !if_range_holds(&request.headers, &stored.head.headers()) {
        return;
    }
    let Some(ranges) = Ranges::read(&request.headers) else {
        return;
    };
    match ranges.of_whole(stored.body_bytes().len() as u64) {
        Selected::Whole => {}
        Selected::One(span) => one(response, stored, span),
        Selected::Many(spans) => many(response, stored, &spans),
        Selected::Unsatisfiable => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            *response.body_mut() = Body::Empty;
            let headers = response.headers_mut();
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            headers.insert(CONTENT_RANGE, unsatisfied_value(stored.body_bytes().len() as u64));
        }
    }
}

/// Whether all that is asked for is there: what is kept may be a part.
pub(super) fn has_all(stored: &Stored, method: &Method, request: &HeaderMap) -> bool {
    stored.part.is_none() || (method == Method::GET && of_part(stored, request).is_some())
}

/// The bytes of a part that this request asks for, if the part has them all.
pub(super) fn of_part(stored: &Stored, request: &HeaderMap) -> Option<Span> {
    let part = stored.part.as_deref()?.part();
    if !if_range_holds(request, &stored.head.headers()) {
        return None;
    }
    Ranges::read(request)?.of_part(&part, stored.body_bytes().len() as u64)
}

/// RFC 9110, 15.3.7.1: "If a single part is being transferred, the server generating the 206 response MUST generate a
/// Content-Range header field, describing what range of the selected representation is enclosed".
fn one(response: &mut Response<Body>, stored: &Stored, span: Span) {
    let begins_at = stored.part.as_deref().map_or(0, |part| part.first);
    let total = stored.part.as_deref().map_or(Some(stored.body_bytes().len() as u64), |part| part.total);
    let first = usize::try_from(span.first.saturating_sub(begins_at)).unwrap_or(usize::MAX);
    let length = usize::try_from(span.length).unwrap_or(usize::MAX);
    // A span never reaches beyond the bytes there are.
    let Some(end) = first.checked_add(length).filter(|end| *end <= stored.body_bytes().len()) else {
        return;
    };
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    *response.body_mut() = Body::from(stored.body().slice(first..end));
    let headers = response.headers_mut();
    headers.insert(CONTENT_RANGE, content_range_value(span, total));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
}

fn many(response: &mut Response<Body>, stored: &Stored, spans: &[Span]) {
    let total = stored.body_bytes().len() as u64;
    let content_type = response.headers().get(CONTENT_TYPE).cloned();
    // Anything will do: who makes the body makes sure that it is not in there.
    let boundary = format!("larder{:x}", stored.lifetime.answered_at.millis());
    let Some(multipart) = multipart(spans, total, content_type.as_ref(), &stored.body(), &boundary) else {
        return;
    };
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    *response.body_mut() = Body::Pieces(multipart.chunks.into(), multipart.length);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, multipart.content_type);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(multipart.length));
    // RFC 9110, 15.3.7.2: "A server that generates a multipart response MUST NOT generate a Content-Range header field in the
    // HTTP header section of a multiple part response".
    headers.remove(CONTENT_RANGE);
}
