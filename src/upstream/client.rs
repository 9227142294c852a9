//! Asking the upstream: a place at the gate, a pooled connection, one deadline for the head, a second try where that is safe.
//!
//! A kept-alive connection may be closed by the upstream in the very moment we write to it. hyper tries again by itself while
//! nothing was written; once something was, we do, if the method is safe and no body was under way.
//! Dropping the future of `send` drops the request: whoever calls decides whose life it hangs on.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use super::body::{Progress, Received, Sent};
use super::connect::{Bounded, Connector, TooSlow};
use super::gate::{Gate, Permit};
use super::{Settings, UpstreamError};
use crate::telemetry::Telemetry;

/// The upstream, as everybody here sees it.
#[derive(Debug)]
pub struct Client<C> {
    http: legacy::Client<Bounded<C>, Sent>,
    gate: Gate,
    settings: Settings,
    telemetry: Arc<Telemetry>,
}

/// One try's own part of a request, and what outlives it.
struct Attempt {
    progress: Option<Arc<Progress>>,
    /// For the next try; none if there may be none.
    again: Option<Request<Sent>>,
}

impl<C: Connector> Client<C> {
    /// Opens nothing yet.
    pub fn new(connector: C, settings: Settings, telemetry: Arc<Telemetry>) -> Self {
        let connector = Bounded::new(connector, settings.connect_timeout, Arc::clone(&telemetry));
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(settings.idle_timeout)
            .pool_max_idle_per_host(settings.max_idle)
            .http1_max_headers(HEADERS_MAX)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .set_host(false)
            .build(connector);
        let gate = Gate::new(&settings, Arc::clone(&telemetry));
        Self { http, gate, settings, telemetry }
    }

    /// As configured.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Waits for a place at the upstream. How long that takes says nothing of the upstream's answer.
    pub async fn enter(&self) -> Result<Permit, UpstreamError> {
        self.gate.enter().await
    }

    /// Sends a request and waits for the head of its answer. `silence_max`: of the request's body.
    pub async fn send(
        &self,
        permit: Permit,
        request: Request<Sent>,
        silence_max: Duration,
    ) -> Result<Response<Received>, UpstreamError> {
        let mut retries_left = self.settings.retries;
        let mut request = request;
        loop {
            let attempt = Attempt::of(&request);
            let failure = match self.ask(request, attempt.progress.as_deref(), silence_max).await {
                Ok(response) => return self.received(response, permit),
                Err(failure) => failure,
            };
            self.count(failure);
            let Some(again) = attempt.again.filter(|_| failure.may_retry() && retries_left > 0) else {
                return Err(failure);
            };
            retries_left -= 1;
            self.telemetry.upstream.retries.add_one();
            request = again;
        }
    }

    /// One try. The deadline runs from the last movement of the request's body: a long upload is not a slow upstream.
    async fn ask(
        &self,
        request: Request<Sent>,
        progress: Option<&Progress>,
        silence_max: Duration,
    ) -> Result<Response<Incoming>, UpstreamError> {
        self.telemetry.upstream.requests.add_one();
        let limit = self.settings.response_timeout;
        let answer = self.http.request(request);
        tokio::pin!(answer);
        let mut moved = 0;
        let deadline = tokio::time::sleep(limit);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                biased;
                answered = &mut answer => {
                    let fault = progress.and_then(|progress| progress.fault(silence_max));
                    return answered.map_err(|error| fault.unwrap_or_else(|| self.diagnose(&error)));
                }
                () = &mut deadline => {
                    let moved_now = progress.map_or(0, Progress::moved);
                    if moved_now == moved {
                        return Err(UpstreamError::ResponseTimeout(limit));
                    }
                    moved = moved_now;
                    deadline.as_mut().reset(Instant::now() + limit);
                }
            }
        }
    }

    fn received(
        &self,
        mut response: Response<Incoming>,
        permit: Permit,
    ) -> Result<Response<Received>, UpstreamError> {
        if !is_plainly_framed(response.headers()) {
            return Err(UpstreamError::Malformed);
        }
        // RFC 9112, 6.3: "If a message is received with both a Transfer-Encoding and a Content-Length header field, the
        // Transfer-Encoding overrides the Content-Length […] removing the received Content-Length field prior to forwarding".
        // RFC 9110, 8.6: "A server MUST NOT send a Content-Length header field in any response with a status code of […] 204".
        let is_bodiless = response.status() == StatusCode::NO_CONTENT;
        if is_bodiless || response.headers().contains_key(TRANSFER_ENCODING) {
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        Ok(response.map(|body| Received::new(body, self.settings.body_timeout, permit)))
    }

    fn count(&self, failure: UpstreamError) {
        let upstream = &self.telemetry.upstream;
        match failure {
            UpstreamError::Refused | UpstreamError::Connect | UpstreamError::Tls => {
                upstream.connect_failures.add_one();
            }
            UpstreamError::ConnectTimeout(_) | UpstreamError::ResponseTimeout(_) => {
                upstream.timeouts.add_one();
            }
            UpstreamError::BrokenOff | UpstreamError::Malformed => upstream.broken.add_one(),
            // The gate counts its own; the client's faults are not the upstream's.
            UpstreamError::QueueFull
            | UpstreamError::QueueTimeout(_)
            | UpstreamError::ClientSilent(_)
            | UpstreamError::ClientBroke
            | UpstreamError::Abandoned => {}
        }
    }

    fn diagnose(&self, error: &legacy::Error) -> UpstreamError {
        if error.is_connect() {
            return self.diagnose_connect(error);
        }
        let Some(hyper) = find::<hyper::Error>(error) else {
            return UpstreamError::BrokenOff;
        };
        if hyper.is_parse() || hyper.is_parse_too_large() {
            UpstreamError::Malformed
        } else {
            UpstreamError::BrokenOff
        }
    }

    fn diagnose_connect(&self, error: &legacy::Error) -> UpstreamError {
        if find::<TooSlow>(error).is_some() {
            return UpstreamError::ConnectTimeout(self.settings.connect_timeout);
        }
        if find::<rustls::Error>(error).is_some() {
            return UpstreamError::Tls;
        }
        match find::<std::io::Error>(error).map(std::io::Error::kind) {
            Some(std::io::ErrorKind::ConnectionRefused) => UpstreamError::Refused,
            _ => UpstreamError::Connect,
        }
    }
}

/// More fields than any API sends; hyper's own default, said aloud.
const HEADERS_MAX: usize = 100;
/// A response head, in bytes; also the read buffer of a connection at its largest.
const HEAD_BYTES_MAX: usize = 128 * 1024;

impl Attempt {
    /// RFC 9110, 9.2.2: "A proxy MUST NOT automatically retry non-idempotent requests." Safe methods only (RFC 10008, 2, has
    /// QUERY among them, and POST is not, whatever a route makes of it), and no body under way: it can't be sent twice.
    fn of(request: &Request<Sent>) -> Self {
        let body = request.body().again().filter(|_| request.method().is_safe());
        let again = body.map(|body| {
            let mut again = Request::new(body);
            *again.method_mut() = request.method().clone();
            *again.uri_mut() = request.uri().clone();
            *again.headers_mut() = request.headers().clone();
            again
        });
        Self { progress: request.body().progress(), again }
    }
}

/// RFC 9112, 6.3: a response with another transfer coding than `chunked` at its end is read until the connection closes, and then
/// nothing tells whether that was the end of it; before `chunked`, it would have to be undone. Nobody sends either.
fn is_plainly_framed(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// The first cause of this type.
fn find<E: std::error::Error + 'static>(error: &legacy::Error) -> Option<&E> {
    let mut cause = error.source();
    while let Some(each) = cause {
        if let Some(found) = each.downcast_ref::<E>() {
            return Some(found);
        }
        // An I/O error may wrap another, which may wrap TLS's own; `source` skips the wrapped one itself.
        cause = match each.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => each.source(),
        };
    }
    None
}
