//! What a request that went through has changed: what is kept for its URI, and for all that its answer and its route name, is
//! invalid. And the one kind of answer to such a request that is kept: the new state, said to be that of the URI itself.

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_LOCATION;
use http::{Method, Response, StatusCode};
use tokio::time::Instant;

use super::Proxy;
use super::body::Body;
use super::called;
use super::client::Client;
use super::fill::Fetched;
use super::forward::Purpose;
use super::job::{Facts, Question, Terms, Wants};
use super::keep::Keeping;
use super::lookup::Patience;
use super::own_address::host_in_key;
use super::plan::{Plan, plan};
use super::prepare::passing;
use super::target::Target;
use crate::invalidation::{Event, Watched};
use crate::naming::{Piece, Pointer, Template, extract};
use crate::object::{Stamp, Tag};
use crate::semantics::freshness::Source;
use crate::semantics::groups::invalidated_groups;
use crate::semantics::reference::{self, Resolved};
use crate::semantics::storable::Times;
use crate::upstream::{Connector, Received};

/// Methods that change nothing, by the registry of HTTP methods. RFC 9111, 4.4 counts "methods whose safety is unknown" among
/// the unsafe ones.
const SAFE: [&str; 8] = ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "REPORT", "SEARCH"];

/// A request whose answer nobody has seen yet. If nobody ever does, because the client went away or the upstream broke off, it
/// may have changed its target all the same: what was kept before is then fetched anew.
pub(super) struct Unanswered<'p, C> {
    proxy: &'p Proxy<C>,
    event: Option<Event>,
}

/// What an answer's body says of what was changed.
#[derive(Clone, Copy)]
enum Said<'b> {
    /// It has none that would.
    Nothing,
    /// This.
    Json(&'b [u8]),
    /// It would, and can't be read: it is too long, compressed, or broke off.
    Unreadable,
}

impl<C> Unanswered<'_, C> {
    /// It was answered, or never sent.
    pub(super) fn settled(mut self) {
        self.event = None;
    }
}

impl<C> Drop for Unanswered<'_, C> {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            self.proxy.telemetry.invalidation.changes.add_one();
            self.proxy.record.declare(event, None);
        }
    }
}

impl<C> Proxy<C> {
    /// How the target of a request is called, whoever asks, and whatever its route leaves out of the key.
    fn resource(&self, client: &Client, target: &Target<'_>) -> Tag {
        let wanted = client.wanted(target, &client.parts.method);
        let route = self.snapshot.routes.get(client.route);
        self.uri(wanted.authority, wanted.path, wanted.query, route).with_host
    }

    /// Watches over a request that may change its target, until its answer is known.
    pub(super) fn watch(&self, client: &Client, target: &Target<'_>) -> Unanswered<'_, C> {
        let event = may_change(client).then(|| {
            let said = self.route_says(client, target, Said::Nothing);
            let digests = vec![self.resource(client, target)];
            Event { digests, all: said.is_none(), tags: said.unwrap_or_default(), ..Event::default() }
        });
        Unanswered { proxy: self, event }
    }

    /// The tags of the route's `invalidates`, as far as the request and this body tell. None: they can't be told, so that it may
    /// be anything.
    fn route_says(&self, client: &Client, target: &Target<'_>, body: Said<'_>) -> Option<Vec<String>> {
        let route = self.snapshot.routes.get(client.route);
        if route.invalidates.is_empty() {
            return Some(Vec::new());
        }
        let wanted = client.wanted(target, &client.parts.method);
        let pointers: Vec<&Pointer> = route.invalidates.iter().flat_map(Template::pointers).collect();
        let found = match body {
            Said::Nothing => Vec::new(),
            Said::Json(body) => extract(body, &pointers, self.event_bounds).ok()?,
            Said::Unreadable => return None,
        };
        let values = |piece: &Piece| match piece {
            Piece::Body(pointer) => {
                let at = pointers.iter().position(|known| *known == pointer);
                at.and_then(|at| found.get(at)).cloned().unwrap_or_default()
            }
            piece => called::values(piece, &wanted, route, &self.snapshot.identity),
        };
        let texts = route.invalidates.iter().map(|template| template.render(values, self.event_bounds).ok());
        Some(texts.collect::<Option<Vec<_>>>()?.concat())
    }

    /// Whether the body of an answer says what was changed, so that it must be one that can be read.
    pub(super) fn reads_answer(&self, client: &Client) -> bool {
        let changes = may_change(client);
        let mut templates = self.snapshot.routes.get(client.route).invalidates.iter();
        changes && templates.any(|template| template.pointers().next().is_some())
    }

    /// The same, for an answer whose body says what was changed: that is read first.
    async fn route_says_of(
        &self,
        client: &Client,
        target: &Target<'_>,
        response: &mut Response<Received>,
    ) -> Option<Vec<String>> {
        if !called::is_json(response.headers()) || !self.reads_answer(client) {
            return self.route_says(client, target, Said::Nothing);
        }
        if called::is_encoded(response.headers()) {
            return self.route_says(client, target, Said::Unreadable);
        }
        let until = Instant::now() + READ_WITHIN;
        match response.body_mut().read_ahead(self.read_bytes_max, until).await.as_deref() {
            None => self.route_says(client, target, Said::Unreadable),
            Some([]) => self.route_says(client, target, Said::Nothing),
            Some(body) => self.route_says(client, target, Said::Json(body)),
        }
    }

    /// Declares what this answer says was changed, and waits until it is written down, as long as a client waits for the shared
    /// tier: then it holds though this instance should be gone a moment later. If nothing else named the target since `before`: the
    /// stamp of that event.
    pub(super) async fn changed(
        &self,
        client: &Client,
        target: &Target<'_>,
        (response, before, new_state): (&mut Response<Received>, Stamp, Option<&Terms>),
        unanswered: &mut Unanswered<'_, C>,
    ) -> Option<Stamp> {
        if !may_change(client) {
            return None;
        }
        let uri = uri(client, target);
        let invalidated = reference::invalidated(&uri, response.status(), response.headers());
        if invalidated.is_empty() {
            return None;
        }
        let digest = |uri: &Resolved| {
            let route = self.snapshot.routes.get(self.snapshot.routes.find(&uri.path));
            // Of the same origin: entries lie under the host that came to us.
            let authority = host_in_key(&target.authority, client.peer.here);
            self.uri(authority, &uri.path, uri.query.as_deref(), route).with_host
        };
        // RFC 9875, 3: the groups that are named "are invalidated", those of the same origin.
        let groups = invalidated_groups(&client.parts.method, response.headers());
        let digests: Vec<Tag> = invalidated.iter().map(digest).collect();
        let event = |said: Option<Vec<String>>| {
            let all = said.is_none();
            let named = groups.iter().map(ToString::to_string);
            let tags = said.unwrap_or_default().into_iter().chain(named).collect();
            Event { tags, digests: digests.clone(), all, ..Event::default() }
        };
        // Should the client go away while the body is read: that it succeeded is known, and what its head tells.
        let is_read = called::is_json(response.headers()) && self.reads_answer(client);
        let said = self.route_says(client, target, if is_read { Said::Unreadable } else { Said::Nothing });
        unanswered.event = Some(event(said));
        let event = event(self.route_says_of(client, target, response).await);
        let watched = new_state.map(|terms| {
            // Whatever names the new state by any of its names comes after it. Where its body tells some, nothing may come between.
            let called = self.called_on(terms).filter(|called| called.later.is_empty());
            Watched { labels: called.and_then(|called| self.with_head(&called, response.headers())), before }
        });
        self.telemetry.invalidation.changes.add_one();
        let mut declared = self.record.declare(event, watched);
        unanswered.event = None;
        let patience = self.shared.as_ref().map_or(Duration::ZERO, |shared| shared.patience);
        let place = self.record.logged_soon(&mut declared, patience).await;
        place.filter(|place| place.is_alone).map(|place| place.stamp)
    }
}

impl<C: Connector> Proxy<C> {
    /// The answer that says what its target is from now on, to be kept as an answer to GET; given back if it may not.
    pub(super) fn new_state(
        &self,
        terms: &Terms,
        (mut response, stamp, times): (Response<Received>, Stamp, Times),
    ) -> Result<Box<Keeping>, Box<Response<Body>>> {
        let is_by_route = self.snapshot.routes.get(terms.route).write_through;
        let Terms { route, here, .. } = *terms;
        // It comes of the change itself, not of a replica that may lag behind it: there is nothing to settle.
        let facts = Facts { times, asked_at: Duration::MAX, stamp, route, here };
        // RFC 9110, 9.3.3: "Responses to POST requests are only cacheable when they include explicit freshness information". A
        // route that says so has the last word on its own lifetimes.
        let is_explicit =
            self.storable(terms, StatusCode::OK, response.headers(), &facts).is_ok_and(|(keep, _)| {
                (is_by_route || keep.lifetime.source == Source::Upstream) && keep.lifetime.can_be_shared()
            });
        if !is_explicit {
            return Err(Box::new(passing(response)));
        }
        let status = std::mem::replace(response.status_mut(), StatusCode::OK);
        match self.decide((response, facts), terms) {
            Fetched::Keep(mut keeping) => {
                keeping.answer_as(status);
                Ok(keeping)
            }
            Fetched::Pass(mut response, ..) => {
                *response.status_mut() = status;
                Err(response)
            }
            // Nothing was asked about.
            Fetched::Confirmed(_) | Fetched::ConfirmedOnce(..) => Err(Box::new(Response::new(Body::Empty))),
        }
    }

    /// The GET that this request has answered, if it says so.
    pub(super) fn terms_of_get(
        &self,
        client: &Client,
        target: &Target<'_>,
        response: &Response<Received>,
    ) -> Option<Terms> {
        let is_by_route = self.snapshot.routes.get(client.route).write_through;
        // A trusted proxy's request goes on with all it says of its way, of which not all is in the key.
        if target.trusted || !tells_state(&client.parts.method, response.status(), is_by_route) {
            return None;
        }
        let wanted = client.wanted(target, &Method::GET);
        let routed = plan(&wanted, &self.snapshot.routes, &self.snapshot.identity);
        let Plan::Cache(cacheable) = routed.plan else {
            return None;
        };
        if !is_by_route {
            // RFC 9110, 8.7: "If Content-Location is included in a 2xx (Successful) response message and its value refers (after
            // conversion to absolute form) to a URI that is the same as the target URI, then the recipient MAY consider the
            // content to be a current representation of that resource at the time indicated by the message origination date."
            let uri = uri(client, target);
            let location = response.headers().get(CONTENT_LOCATION)?.to_str().ok()?;
            if reference::resolve(&uri, location)? != uri {
                return None;
            }
        }
        Some(Terms {
            client: Arc::new(client.clone()),
            method: Method::GET,
            cacheable,
            route: routed.route,
            purpose: Purpose::Keep,
            question: Question::None,
            wants: Wants::Whole,
            kept: None,
            here: client.asked_here(target),
            patience: Patience::Whole,
        })
    }
}

/// Whether a request may change something.
pub(super) fn may_change(client: &Client) -> bool {
    !client.is_read && !SAFE.contains(&client.parts.method.as_str())
}

/// Whether the answer to such a request can be what a GET would get from now on. A 201 to a POST is about something else, which
/// its `Location` names.
fn tells_state(method: &Method, status: StatusCode, is_by_route: bool) -> bool {
    match (method, status) {
        (&Method::POST | &Method::PUT, StatusCode::OK) => true,
        (&Method::PATCH, StatusCode::OK) | (&Method::PUT, StatusCode::CREATED) => is_by_route,
        _ => false,
    }
}

/// Longest time that an answer is held back to be read: what comes more slowly is as if it could not be.
const READ_WITHIN: Duration = Duration::from_secs(5);

fn uri(client: &Client, target: &Target<'_>) -> Resolved {
    Resolved {
        scheme: target.scheme.to_owned(),
        // As the client knows it, and so the upstream that names others beside it.
        authority: target.forwarded_host.unwrap_or(&target.authority).to_owned(),
        path: client.parts.uri.path().to_owned(),
        query: client.parts.uri.query().map(str::to_owned),
    }
}
