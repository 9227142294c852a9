//! Asking the upstream: a place at the gate, a pooled connection or a new one, a deadline for the head from then on, and a second
//! try where that is safe.
//!
//! A kept-alive connection may be closed by the upstream in the very moment we write to it. While nothing was written the request
//! goes to the next one; once something was, it is tried again if the method is safe and no body was under way.
//! Dropping the future of `send` drops the request and closes its connection: whoever calls decides whose life it hangs on.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use tokio::time::Instant;
use tower_service::Service;

use super::body::{Progress, Sent};
use super::connect::{Bounded, BoxError, Connector, TooSlow};
use super::gate::{Gate, Permit};
use super::link::{Link, NoHead};
use super::pool::{Lent, Pool};
use super::received::Received;
use super::{Settings, UpstreamError};
use crate::telemetry::Telemetry;

/// The upstream, as everybody here sees it.
#[derive(Debug)]
pub struct Client<C> {
    connector: Bounded<C>,
    http: http1::Builder,
    pub(super) pool: Arc<Pool>,
    gate: Gate,
    settings: Settings,
    telemetry: Arc<Telemetry>,
}

impl<C: Connector> Client<C> {
    /// Opens nothing yet.
    pub fn new(connector: C, settings: Settings, telemetry: Arc<Telemetry>) -> Self {
        let connector = Bounded::new(connector, settings.connect_timeout, Arc::clone(&telemetry));
        let mut http = http1::Builder::new();
        http.max_buf_size(HEAD_BYTES_MAX);
        let pool = Pool::new(&settings);
        let gate = Gate::new(&settings, Arc::clone(&telemetry));
        Self { connector, http, pool, gate, settings, telemetry }
    }

    #[cfg(test)]
    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// As configured.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Waits for a place at the upstream. How long that takes says nothing of the upstream's answer.
    pub async fn enter(&self) -> Result<Permit, UpstreamError> {
        self.gate.enter().await
    }

    /// Sends a request and waits for the head of its answer. `again`: the same once more, if it can be had. `silence_max`: of the
    /// request's body.
    ///
    /// No `async fn`: the future of one has room for its arguments twice, and there are as many of these as requests that wait.
    pub fn send(
        &self,
        permit: Permit,
        mut request: Box<Request<Sent>>,
        again: impl Fn() -> Option<Box<Request<Sent>>> + Send,
        silence_max: Duration,
    ) -> impl Future<Output = Result<Response<Received>, UpstreamError>> + Send {
        let mut retries_left = if may_be_sent_again(&request) { self.settings.retries } else { 0 };
        async move {
            loop {
                let progress = request.body().progress();
                let failure = match self.ask(request, progress.as_deref(), silence_max).await {
                    Ok((response, lent)) => {
                        return self.received(response, (lent, progress.as_deref()), permit);
                    }
                    Err(failure) => failure,
                };
                self.count(failure);
                let may_retry = failure.may_retry() && retries_left > 0;
                let Some(again) = may_retry.then(&again).flatten() else {
                    return Err(failure);
                };
                retries_left -= 1;
                self.telemetry.upstream.retries.add_one();
                request = again;
            }
        }
    }

    /// One try: on the first connection that takes the request.
    async fn ask(
        &self,
        mut request: Box<Request<Sent>>,
        progress: Option<&Progress>,
        silence_max: Duration,
    ) -> Result<(Response<Incoming>, Lent), UpstreamError> {
        self.telemetry.upstream.requests.add_one();
        let limit = self.settings.response_timeout;
        loop {
            let (mut lent, is_kept, now) = self.lend().await?;
            let failure = match lent.link.ask(request, progress, (now, limit)).await {
                Ok(response) => return Ok((response, lent)),
                Err(failure) => failure,
            };
            let fault = progress.and_then(|progress| progress.fault(silence_max));
            request = match (failure, fault) {
                (_, Some(fault)) => return Err(fault),
                (NoHead::TooLate, None) => return Err(UpstreamError::ResponseTimeout(limit)),
                // It was closed since it was last used, which a new one was not.
                (NoHead::Broken(mut error), None) => match error.take_message().filter(|_| is_kept) {
                    Some(unsent) => Box::new(unsent),
                    None => return Err(diagnose(&error.into_error())),
                },
            };
        }
    }

    /// A connection, whether it was kept alive, and when it was there.
    async fn lend(&self) -> Result<(Lent, bool, Instant), UpstreamError> {
        let now = Instant::now();
        match self.pool.out().take(now) {
            Ok(lent) => Ok((lent, true, now)),
            Err(out) => {
                let link = Box::pin(self.connect()).await?;
                Ok((out.with(link), false, Instant::now()))
            }
        }
    }

    async fn connect(&self) -> Result<Box<Link>, UpstreamError> {
        let mut connector = self.connector.clone();
        let diagnose = |error: BoxError| self.diagnose_connect(&*error);
        poll_fn(|context| connector.poll_ready(context)).await.map_err(diagnose)?;
        let io = connector.call(self.settings.url.clone()).await.map_err(diagnose)?;
        let opened = Link::open(&self.http, io, self.settings.response_timeout).await;
        opened.map_err(|_| UpstreamError::Connect)
    }

    fn received(
        &self,
        mut response: Response<Incoming>,
        (lent, progress): (Lent, Option<&Progress>),
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
        // Whoever reads the answer's body drives the connection while it does: too seldom for a request's body that still goes out,
        // and not at all for another protocol.
        let goes_on = progress.is_some_and(|progress| !progress.is_over());
        let lent = if goes_on || response.status() == StatusCode::SWITCHING_PROTOCOLS {
            lent.link.let_go();
            None
        } else {
            Some(lent)
        };
        Ok(response.map(|body| Received::new(body, lent, self.settings.body_timeout, permit)))
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

    fn diagnose_connect(&self, error: &(dyn Error + 'static)) -> UpstreamError {
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

fn diagnose(error: &hyper::Error) -> UpstreamError {
    if error.is_parse() || error.is_parse_too_large() {
        UpstreamError::Malformed
    } else {
        UpstreamError::BrokenOff
    }
}

/// A response head, in bytes; also the read buffer of a connection at its largest. How many fields there may be is left to hyper:
/// 100, for which it has room at once. Said aloud it would fill that room first, for every answer.
const HEAD_BYTES_MAX: usize = 128 * 1024;

/// RFC 9110, 9.2.2: "A proxy MUST NOT automatically retry non-idempotent requests." Safe methods only (RFC 10008, 2, has QUERY among
/// them, and POST is not, whatever a route makes of it), and no body under way: it can't be sent twice.
fn may_be_sent_again(request: &Request<Sent>) -> bool {
    request.method().is_safe() && request.body().bytes().is_some()
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
fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut cause = Some(error);
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
