//! The answer the client sees: a kept or arriving one, held against its own conditions, or one passed through; and, on every
//! one of them, `Cache-Status`.

use std::cell::RefCell;
use std::time::Duration;

use http::header::{AGE, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::body::Body;
use super::failure::{Failure, PROXY_STATUS};
use super::landing::Arrived;
use super::slice;
use crate::clock::Timestamp;
use crate::object::{Head, Key, Stored};
use crate::semantics::conditional::{self, Conditional};
use crate::semantics::fields::{self, CACHE_STATUS, CacheStatus};
use crate::semantics::{Forward, NotStored};
use crate::telemetry::Outcome;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// How an answer came about, for `Cache-Status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Why the upstream was asked; none: it was not.
    pub forward: Option<Forward>,
    /// What it answered, where that is not what the client gets.
    pub answered: Option<StatusCode>,
    /// Its answer is kept.
    pub stored: bool,
    /// Another request had asked already.
    pub collapsed: bool,
    /// Why the answer is not kept, or why the cache stood aside, in words.
    pub detail: Option<&'static str>,
    /// The upstream itself has answered for this: how old it is goes without saying.
    pub without_age: bool,
    /// With `server.debug`.
    pub key: Option<Key>,
}

/// Why what is kept is given in place of what was asked for.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// The upstream gave no answer.
    Failure(Failure),
    /// … or one that says nothing of what was asked for.
    Answer(StatusCode),
    /// … a moment ago; it was not asked again.
    Before,
}

/// From memory.
pub fn kept(stored: &Stored, request: &Parts, now: Timestamp, account: &Account) -> Response<Body> {
    let is_hit = account.forward.is_none();
    let status = CacheStatus {
        hit: is_hit,
        fwd: account.forward,
        fwd_status: account.answered.map(|status| status.as_u16()),
        // RFC 9211, 2.4: what is left of the response's freshness; after it was validated that goes without saying.
        ttl: (is_hit || account.answered != Some(StatusCode::NOT_MODIFIED)).then(|| stored.lifetime.ttl(now)),
        stored: account.stored,
        collapsed: account.collapsed,
        detail: account.detail.or(is_hit.then_some("memory")),
        key: account.key.map(|key| key.to_string()),
    };
    let body = || Body::from(stored.body());
    let length = Some(stored.body_bytes().len() as u64);
    let mut response =
        not_modified(stored, request).unwrap_or_else(|| full(stored.head.head(), request, length, body));
    // RFC 9110, 13.2.2: what the conditions leave of a GET is cut to the ranges it asks for.
    if response.status() != StatusCode::NOT_MODIFIED {
        slice::cut(&mut response, stored, request);
    }
    let headers = response.headers_mut();
    // RFC 9111, 4: "When a stored response is used to satisfy a request without validation, a cache MUST generate an Age
    // header field".
    if !account.without_age {
        headers.insert(AGE, fields::age_value(stored.lifetime.age(now)));
    }
    // RFC 9211, 2: "Intermediaries […] append their own".
    headers.append(CACHE_STATUS, status.value());
    response
}

/// From memory, because the upstream failed.
pub fn instead(
    stored: &Stored,
    trouble: Trouble,
    request: &Parts,
    now: Timestamp,
    account: &Account,
) -> Response<Body> {
    let forward = account.forward.filter(|_| !matches!(trouble, Trouble::Before));
    let answered = if let Trouble::Answer(status) = trouble { Some(status) } else { None };
    let account =
        Account { forward, answered, detail: Some("stale-if-error"), stored: false, ..account.clone() };
    let mut response = kept(stored, request, now, &account);
    // RFC 9209, 2: it may stand in any response; here it says what the client would have got.
    if let Trouble::Failure(failure) = trouble {
        response.headers_mut().append(PROXY_STATUS, HeaderValue::from_static(failure.proxy_status()));
    }
    response
}

/// From a fetch that is being kept. `head`: with or without what only the one who asked may see.
pub fn arriving(
    head: &Head,
    arrived: &Arrived,
    body: Body,
    request: &Parts,
    now: Timestamp,
    account: &Account,
) -> Response<Body> {
    let account = Account { answered: Some(arrived.answered), stored: true, detail: None, ..account.clone() };
    let mut response = conditionally(head, request, body);
    let headers = response.headers_mut();
    // RFC 9111, 5.1: "The presence of an Age header field implies that the response was not generated or validated by the
    // origin server for this request": true only if another cache kept it before us.
    if arrived.was_cached {
        headers.insert(AGE, fields::age_value(arrived.lifetime.age(now)));
    }
    headers.append(CACHE_STATUS, forwarded(&account));
    response
}

/// From the upstream, for this client alone. It is ready: nothing of the upstream's connection is in it.
pub fn single(mut response: Response<Body>, account: &Account) -> Response<Body> {
    let bypassed = matches!(account.forward, Some(Forward::Bypass | Forward::Method));
    let answered = (!bypassed).then_some(account.answered.unwrap_or(response.status()));
    response
        .headers_mut()
        .append(CACHE_STATUS, forwarded(&Account { answered, stored: false, ..account.clone() }));
    response
}

thread_local! {
    /// What was said last of an answer that was forwarded. Of the next the same is said, as a rule, and then it is there.
    static SAID: RefCell<Option<(Account, HeaderValue)>> = const { RefCell::new(None) };
}

/// How it stands with an answer that is the upstream's.
fn forwarded(account: &Account) -> HeaderValue {
    SAID.with_borrow_mut(|said| match said {
        Some((known, value)) if known == account => value.clone(),
        _ => {
            let status = CacheStatus {
                fwd: account.forward,
                fwd_status: account.answered.map(|status| status.as_u16()),
                stored: account.stored,
                collapsed: account.collapsed,
                detail: account.detail,
                key: account.key.map(|key| key.to_string()),
                ..CacheStatus::default()
            };
            said.insert((account.clone(), status.value())).1.clone()
        }
    })
}

/// One of our own errors.
pub fn failed(failure: Failure, account: &Account) -> (Outcome, Response<Body>) {
    let reason = failure.to_string();
    let status = CacheStatus {
        fwd: account.forward,
        collapsed: account.collapsed,
        detail: Some(&reason),
        key: account.key.map(|key| key.to_string()),
        ..CacheStatus::default()
    };
    let mut response = failure.response();
    response.headers_mut().append(CACHE_STATUS, status.value());
    (Outcome::Error, response)
}

/// RFC 9110, 9.3.2: "the server MUST NOT send content" in the answer to HEAD; over HTTP/2 hyper would send what it is given.
pub fn leave_out_body(response: &mut Response<Body>) {
    let body = std::mem::replace(response.body_mut(), Body::Empty);
    if let Body::Kept(bytes) = body {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    }
}

/// With `server.debug`: how long it took here, in milliseconds.
pub fn add_timing(headers: &mut HeaderMap, took: Duration) {
    let text = format!("larder;dur={:.3}", took.as_secs_f64() * 1000.0);
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.append(SERVER_TIMING, value);
    }
}

impl Account {
    /// The answer was not kept.
    #[must_use]
    pub fn not_kept(mut self, why: NotStored) -> Self {
        self.detail = Some(why.reason());
        self
    }

    /// The upstream answered so.
    #[must_use]
    pub fn answered(mut self, status: StatusCode) -> Self {
        self.answered = Some(status);
        self
    }
}

/// A 304, if the client's conditions leave no more of what is kept to be sent.
fn not_modified(stored: &Stored, request: &Parts) -> Option<Response<Body>> {
    if !conditional::is_conditional(&request.headers) {
        return None;
    }
    let headers = stored.head.headers_among(&conditional::NOT_MODIFIED);
    let held = conditional::evaluate(&request.method, &request.headers, stored.head.status, &headers);
    (held == Conditional::NotModified).then(|| without_content(headers))
}

/// All of an answer, or as much of it as the client's conditions leave to be sent.
fn conditionally(head: &Head, request: &Parts, body: Body) -> Response<Body> {
    match conditional::evaluate(&request.method, &request.headers, head.status, &head.headers) {
        Conditional::Full => full(head.clone(), request, None, || body),
        Conditional::NotModified => without_content(conditional::not_modified_headers(&head.headers)),
    }
}

/// RFC 9110, 15.4.5: "A 304 response […] cannot contain content".
fn without_content(headers: HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = headers;
    response
}

fn full(head: Head, request: &Parts, length: Option<u64>, body: impl FnOnce() -> Body) -> Response<Body> {
    let Head { status, headers } = head;
    // RFC 9110, 9.3.2: "The HEAD method is identical to GET except that the server MUST NOT send content in the response."
    let is_head = request.method == Method::HEAD;
    let mut response = Response::new(if is_head { Body::Empty } else { body() });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if let (true, Some(length)) = (is_head, length) {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}
