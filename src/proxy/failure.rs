//! Why there is no answer, and which status says so: the only place that picks an error status.
//!
//! Every failure is problem+json (RFC 9457) for people and programs, and a member of `Proxy-Status` (RFC 9209) for whoever
//! runs the proxies. The words name no host, path or credential.

use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::body::Body;
use super::target::BadRequest;
use crate::problem::problem;
use crate::upstream::UpstreamError;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The request can't be understood in one way only.
    #[error(transparent)]
    Bad(#[from] BadRequest),
    /// The upstream gave no answer, or was not asked.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// RFC 9111, 5.2.1.7.
    #[error("the request wants only what is cached, and nothing fresh is")]
    OnlyIfCached,
    /// The upstream changed protocols though nobody had asked it to.
    #[error("the upstream switched protocols without being asked")]
    UnaskedUpgrade,
    /// The target can't be put behind `upstream.url`.
    #[error("the request's target is too long for the upstream")]
    Target,
}

impl From<http::Error> for Failure {
    /// The one thing that can fail when an upstream's request is put together.
    fn from(_: http::Error) -> Self {
        Self::Target
    }
}

/// RFC 9209.
pub(super) const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

impl Failure {
    /// Whose fault it is, in the way HTTP says it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Bad(_) | Self::Upstream(UpstreamError::ClientBroke) => StatusCode::BAD_REQUEST,
            Self::Upstream(UpstreamError::ClientSilent(_)) => StatusCode::REQUEST_TIMEOUT,
            Self::Target => StatusCode::URI_TOO_LONG,
            Self::Upstream(
                UpstreamError::QueueFull | UpstreamError::QueueTimeout(_) | UpstreamError::Abandoned,
            ) => StatusCode::SERVICE_UNAVAILABLE,
            // RFC 9111, 5.2.1.7: "the cache SHOULD […] respond with a 504 (Gateway Timeout) status code".
            Self::OnlyIfCached
            | Self::Upstream(UpstreamError::ConnectTimeout(_) | UpstreamError::ResponseTimeout(_)) => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::UnaskedUpgrade
            | Self::Upstream(
                UpstreamError::Refused
                | UpstreamError::Connect
                | UpstreamError::Tls
                | UpstreamError::BrokenOff
                | UpstreamError::Malformed,
            ) => StatusCode::BAD_GATEWAY,
        }
    }

    /// RFC 9209, 2.3: the error types there are.
    pub(super) fn proxy_status(self) -> &'static str {
        match self {
            Self::Bad(_)
            | Self::Target
            | Self::Upstream(UpstreamError::ClientBroke | UpstreamError::ClientSilent(_)) => {
                "larder; error=http_request_error"
            }
            Self::OnlyIfCached => "larder; error=http_request_denied",
            Self::UnaskedUpgrade => "larder; error=http_upgrade_failed",
            Self::Upstream(error) => match error {
                UpstreamError::QueueFull | UpstreamError::QueueTimeout(_) => {
                    "larder; error=connection_limit_reached"
                }
                UpstreamError::ConnectTimeout(_) => "larder; error=connection_timeout",
                UpstreamError::Refused => "larder; error=connection_refused",
                UpstreamError::Connect => "larder; error=destination_unavailable",
                UpstreamError::Tls => "larder; error=tls_protocol_error",
                UpstreamError::ResponseTimeout(_) => "larder; error=http_response_timeout",
                UpstreamError::BrokenOff => "larder; error=connection_terminated",
                UpstreamError::Malformed => "larder; error=http_protocol_error",
                UpstreamError::ClientSilent(_) | UpstreamError::ClientBroke | UpstreamError::Abandoned => {
                    "larder; error=proxy_internal_error"
                }
            },
        }
    }

    /// The answer that says so.
    pub fn response(self) -> Response<Body> {
        let mut response = problem(self.status(), &self.to_string()).map(Body::from);
        let headers = response.headers_mut();
        headers.insert(PROXY_STATUS, HeaderValue::from_static(self.proxy_status()));
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
