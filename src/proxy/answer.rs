//! The way of a request: what can be said at once, and where it goes if nothing can.
//!
//! ```text
//! hop, target ─▶ plan ─▶ find ─▶ verdict ─┬─ Serve ──────────────────▶ respond::kept
//!     │            │                      ├─ OnlyIfCached ───────────▶ failure (504)
//!  failure       Pass                     └─ Ask ─▶ fetch ─┬─ kept ──▶ respond::arriving
//!  (400)           ▼                                       └─ not ───▶ respond::passed
//!                pass ───────────────────────────────────────────────▶ respond::passed
//! ```
//!
//! `first` answers hits without waiting for anything. What has to wait is boxed apart from it, so that a hit's future stays
//! small. If the client goes away this future is dropped where it stands: a pass ends with it, a fetch for many does not.

use std::sync::Arc;

use bytes::Bytes;
use http::header::RANGE;
use http::request::Parts;
use http::{Method, Request, Response};
use tokio::time::Instant;

use super::Proxy;
use super::body::Body;
use super::client::Client;
use super::failure::Failure;
use super::plan::{Cacheable, Plan, Wanted, plan};
use super::respond::{self, Account};
use super::target::Peer;
use crate::clock::Timestamp;
use crate::object::Key;
use crate::semantics::{Forward, NotStored, Verdict, conditional};
use crate::telemetry::Outcome;
use crate::upstream::{Connector, Sent};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What can be said at once.
enum First {
    /// All of it.
    Hit(Response<Body>),
    /// The upstream must be asked, for an answer that may be kept.
    Fetch(Cacheable, Forward),
    /// The upstream must be asked, for this client alone.
    Pass(Forward, &'static str),
    /// No.
    Fail(Failure),
}

/// … by which route, and under which key.
struct Said {
    first: First,
    route: usize,
    key: Option<Key>,
}

impl<C: Connector> Proxy<C> {
    /// Answers a request.
    pub async fn answer<B>(self: &Arc<Self>, request: Request<B>, peer: Peer) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let began = Instant::now();
        let (parts, body) = request.into_parts();
        // Not what the head says: HTTP/2 may send a body without announcing it.
        let has_body = !body.is_end_stream();
        let is_head = parts.method == Method::HEAD;
        let mut client = Client::new(parts, peer);
        let Said { first, route, key } = self.first(&mut client, has_body, self.clock.now());
        client.route = route;
        let account = Account { key: key.filter(|_| self.debug), ..Account::default() };
        let (outcome, mut response) = match first {
            First::Hit(response) => (Outcome::Hit, response),
            First::Fail(failure) => respond::failed(failure, &account),
            First::Fetch(cacheable, forward) => {
                let account = Account { forward: Some(forward), ..account };
                Box::pin(self.fetch(client, cacheable, account)).await
            }
            First::Pass(forward, detail) => {
                let account = Account { forward: Some(forward), detail: Some(detail), ..account };
                let sent =
                    if has_body { Sent::streaming(body, self.client_silence_max) } else { Sent::Empty };
                Box::pin(self.pass(client, sent, account)).await
            }
        };
        if is_head {
            respond::leave_out_body(&mut response);
        }
        let took = began.elapsed();
        self.snapshot.metrics(route).answered(outcome, took);
        if self.debug {
            respond::add_timing(response.headers_mut(), took);
        }
        response
    }

    /// What can be said without asking anybody.
    fn first(&self, client: &mut Client, has_body: bool, now: Timestamp) -> Said {
        let refused = |bad: super::target::BadRequest| Said {
            first: First::Fail(bad.into()),
            route: self.snapshot.routes.unrouted_index(),
            key: None,
        };
        if let Err(bad) = client.take_hop() {
            return refused(bad);
        }
        let target = match client.target(&self.trusted_proxies) {
            Ok(target) => target,
            Err(bad) => return refused(bad),
        };
        let parts = &client.parts;
        let wanted = Wanted {
            method: &parts.method,
            scheme: target.scheme,
            authority: &target.authority,
            forwarded_host: target.forwarded_host,
            trusted: target.trusted,
            path: parts.uri.path(),
            query: parts.uri.query(),
            headers: &parts.headers,
            has_body,
            upgrade: client.hop.upgrade.is_some(),
        };
        let routed = plan(&wanted, &self.snapshot.routes, &self.snapshot.identity);
        let (first, key) = match routed.plan {
            Plan::Pass(reason) => (First::Pass(reason.forward(), reason.reason()), None),
            Plan::Cache(cacheable) => (self.look(parts, cacheable, now), Some(cacheable.key)),
        };
        Said { first, route: routed.route, key }
    }

    /// What can be said of a request with a key.
    fn look(&self, parts: &Parts, cacheable: Cacheable, now: Timestamp) -> First {
        // RFC 9111, 4.3.2: such conditions "only apply to an origin server".
        if conditional::for_origin(&parts.headers) {
            return First::Pass(Forward::Bypass, "the request has a condition for the upstream");
        }
        let found = self.find(cacheable.key, &parts.headers);
        match (found.verdict(&parts.headers, now), &found.stored) {
            (Verdict::Serve, Some(stored)) => {
                let account = Account { key: Some(found.key).filter(|_| self.debug), ..Account::default() };
                First::Hit(respond::kept(stored, parts, now, &account))
            }
            // Nothing is kept, so nothing can have been found good: asked for all the same.
            (Verdict::Serve, None) => First::Fetch(cacheable, Forward::UriMiss),
            (Verdict::OnlyIfCached, _) => First::Fail(Failure::OnlyIfCached),
            (Verdict::Ask(forward), _) => match keeps_out(parts) {
                Some(detail) => First::Pass(forward, detail),
                None => First::Fetch(cacheable, forward),
            },
        }
    }
}

/// Why an answer to this request would not be what others ask for.
fn keeps_out(parts: &Parts) -> Option<&'static str> {
    // What comes for a HEAD has no body to keep; a later GET fetches it.
    if parts.method == Method::HEAD {
        return Some(NotStored::Method.reason());
    }
    // RFC 9110, 14.2: the upstream knows how to send a part; fetching the whole for it might be far more than was asked for.
    parts.headers.contains_key(RANGE).then_some("a range was asked for")
}
