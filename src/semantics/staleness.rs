//! What a response is good for past its end: whose word it is, and what prohibits it.
//!
//! The tests are those of `storable`, whose part this is.

use std::time::Duration;

use http::StatusCode;

use super::cache_control::ResponseDirectives;
use super::freshness::Staleness;
use super::policy::Policy;

/// How long past its end it is good for something. `has_word`: the route has one for this status.
pub(super) fn staleness(
    said: &ResponseDirectives,
    policy: &Policy,
    status: StatusCode,
    has_word: bool,
    overrides: bool,
) -> Staleness {
    // RFC 9111, 5.2.2.2: "once the response has become stale, a cache MUST NOT reuse that response to satisfy another
    // request until it has been successfully validated by the origin". 5.2.2.8: proxy-revalidate is the same for shared caches.
    let forbidden = said.must_revalidate || said.proxy_revalidate || said.no_cache;
    if forbidden && !overrides {
        return Staleness { prohibited: true, ..Staleness::default() };
    }
    // RFC 9111, 5.2.2.10: s-maxage "incorporates the semantics of the proxy-revalidate response directive"; that is, no word
    // of the route's or the client's lengthens it. An upstream that says s-maxage and a window beside it (RFC 5861: "caches
    // MAY serve the response in which it appears after it becomes stale") has said how it wants that.
    let by_upstream_only = said.s_maxage.is_some() && !overrides;
    let has_word = has_word && !by_upstream_only;
    let window = |said: Option<Duration>, route: Duration| match said {
        Some(_) if overrides && !route.is_zero() => route,
        Some(said) => said,
        None if has_word => route,
        None => Duration::ZERO,
    };
    // RFC 5861, 4 has an error be what a stale response stands in for: one error is no better than another.
    let if_error = window(said.stale_if_error, policy.stale_if_error);
    Staleness {
        strict: false,
        prohibited: by_upstream_only,
        while_revalidate: window(said.stale_while_revalidate, policy.stale_while_revalidate).into(),
        if_error: if status.is_server_error() { Duration::ZERO.into() } else { if_error.into() },
    }
}
