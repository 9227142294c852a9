//! Errors of Larder's own, as their readers see them: `application/problem+json` (RFC 9457).
//!
//! Only the form is here. Which status an error gets is decided where the error is known; what else the answer
//! says (`Retry-After`, `Proxy-Status`, …) is added there too. `detail` is read by strangers: no secrets in it.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

#[derive(Serialize)]
struct Problem<'a, M> {
    /// "When 'about:blank' is used, the title SHOULD be the same as the recommended HTTP status phrase" (4.2.1).
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    /// "Problem type definitions MAY extend the problem details object with additional members" (3.2).
    #[serde(flatten)]
    members: &'a M,
}

/// An answer with this status that says in words what is wrong.
pub fn problem(status: StatusCode, detail: &str) -> Response<Bytes> {
    problem_with(status, detail, &())
}

/// The same, with what a program may read of it: the members of a structure.
pub fn problem_with(status: StatusCode, detail: &str, members: &impl Serialize) -> Response<Bytes> {
    let body = Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail,
        members,
    };
    // Strings and numbers always serialise; an empty body would still carry the status.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_the_same_in_head_and_body() {
        let response = problem(StatusCode::BAD_GATEWAY, "the upstream said \"\u{1}\"");
        assert_eq!(response.status(), 502);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "about:blank",
                "title": "Bad Gateway",
                "status": 502,
                "detail": "the upstream said \"\u{1}\"",
            })
        );
    }

    #[test]
    fn a_problem_may_say_more() {
        #[derive(Serialize)]
        struct Members {
            lagging: [&'static str; 1],
        }
        let response = problem_with(StatusCode::GATEWAY_TIMEOUT, "x", &Members { lagging: ["b"] });
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!((&body["status"], &body["lagging"][0]), (&504.into(), &"b".into()));
    }

    #[test]
    fn a_status_without_a_phrase_still_has_a_title() {
        let response = problem(StatusCode::from_u16(599).unwrap(), "x");
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["title"], "Error");
    }
}
