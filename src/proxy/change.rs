//! What a request that went through has changed: what is kept for its URI, and for those its answer names, is invalid. And the
//! one kind of answer to such a request that is kept: the new state, said to be that of the URI itself.

use std::sync::Arc;

use http::header::CONTENT_LOCATION;
use http::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;

use super::Proxy;
use super::body::Body;
use super::client::Client;
use super::fill::Fetched;
use super::job::{Facts, Terms, Wants};
use super::keep::Keeping;
use super::lookup::Patience;
use super::own_address::host_in_key;
use super::plan::{Plan, plan};
use super::prepare::passing;
use super::query;
use super::target::Target;
use super::wanted::Wanted;
use crate::object::{Key, KeyBuilder, Resource, Stamp};
use crate::semantics::freshness::Source;
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
    /// And where it lies in the shared tier.
    resource: Option<(Resource, Vec<Key>)>,
    before: Stamp,
}

impl<C> Unanswered<'_, C> {
    /// It was answered, or never sent.
    pub(super) fn settled(mut self) {
        self.resource = None;
    }
}

impl<C> Drop for Unanswered<'_, C> {
    fn drop(&mut self) {
        if let Some((resource, bases)) = self.resource.take() {
            self.proxy.ledger.change(&[resource], self.before);
            self.proxy.unshare_all(&bases);
        }
    }
}

impl<C> Proxy<C> {
    /// What a request is for, as far as changes go: whoever asks, and whatever its route leaves out of the key.
    pub(super) fn resource(&self, wanted: &Wanted<'_>, route: usize) -> Resource {
        self.resource_at(wanted.authority, wanted.path, wanted.query, route)
    }

    fn resource_at(&self, authority: &str, path: &str, query: Option<&str>, route: usize) -> Resource {
        let route = self.snapshot.routes.get(route);
        let mut counts = KeyBuilder::new();
        let is_plain = query::feed(query, &route.key, self.snapshot.identity.params(), &mut counts).is_ok();
        let parameters: Vec<&[u8]> = if is_plain {
            counts.parts().map(|(_, parameter)| parameter).collect()
        } else {
            query.iter().map(|query| query.as_bytes()).collect()
        };
        let path: Vec<u8> = percent_decode_str(path).collect();
        Resource::new(authority, &path, parameters.into_iter())
    }

    /// Watches over a request that may change its target, until its answer is known.
    pub(super) fn watch(&self, client: &Client, target: &Target<'_>, before: Stamp) -> Unanswered<'_, C> {
        let changes = !client.is_read && !SAFE.contains(&client.parts.method.as_str());
        let resource = changes.then(|| {
            let wanted = client.wanted(target, &client.parts.method);
            (self.resource(&wanted, client.route), self.bases(&wanted))
        });
        Unanswered { proxy: self, resource, before }
    }

    /// Tells the ledger what this answer says was changed. If nothing else changed the target since `before`: the stamp of
    /// that change.
    pub(super) fn changed(
        &self,
        client: &Client,
        target: &Target<'_>,
        response: &Response<Received>,
        before: Stamp,
    ) -> Option<Stamp> {
        if client.is_read || SAFE.contains(&client.parts.method.as_str()) {
            return None;
        }
        let uri = uri(client, target);
        let invalidated = reference::invalidated(&uri, response.status(), response.headers());
        let changed: Vec<Resource> = invalidated
            .iter()
            .map(|uri| {
                let route = self.snapshot.routes.find(&uri.path);
                // Of the same origin: entries lie under the host that came to us.
                let authority = host_in_key(&target.authority, client.peer.here);
                self.resource_at(authority, &uri.path, uri.query.as_deref(), route)
            })
            .collect();
        if changed.is_empty() {
            return None;
        }
        let own = self.ledger.change(&changed, before);
        // Behind the ledger: what is queued to be written there finds the change in it, or is queued before this.
        for uri in &invalidated {
            let wanted = client.wanted(target, &Method::GET);
            let wanted = Wanted { path: &uri.path, query: uri.query.as_deref(), ..wanted };
            self.unshare_all(&self.bases(&wanted));
        }
        own
    }
}

impl<C: Connector> Proxy<C> {
    /// The answer to a POST that may be kept as an answer to GET; given back if it may not.
    pub(super) fn new_state(
        &self,
        client: &Client,
        target: &Target<'_>,
        (response, stamp, times): (Response<Received>, Stamp, Times),
    ) -> Result<Box<Keeping>, Box<Response<Body>>> {
        let Some(terms) = self.terms_of_get(client, target, &response) else {
            return Err(Box::new(passing(response)));
        };
        let Terms { resource, route, here, .. } = terms;
        let facts = Facts { times, stamp, resource, route, here };
        // RFC 9110, 9.3.3: "Responses to POST requests are only cacheable when they include explicit freshness information".
        let is_explicit = self
            .storable(&terms, response.status(), response.headers(), facts)
            .is_ok_and(|keep| keep.lifetime.source == Source::Upstream && keep.lifetime.can_be_shared());
        if !is_explicit {
            return Err(Box::new(passing(response)));
        }
        match self.decide((response, facts), &terms) {
            Fetched::Keep(keeping) => Ok(keeping),
            Fetched::Pass(response, ..) => Err(Box::new(response)),
            // Nothing was asked about.
            Fetched::Confirmed(_) | Fetched::ConfirmedOnce(..) => Err(Box::new(Response::new(Body::Empty))),
        }
    }

    /// The GET that this POST has answered, if it says so.
    fn terms_of_get(
        &self,
        client: &Client,
        target: &Target<'_>,
        response: &Response<Received>,
    ) -> Option<Terms> {
        // A trusted proxy's request goes on with all it says of its way, of which not all is in the key.
        let is_kept = client.parts.method == Method::POST && response.status() == StatusCode::OK;
        if !is_kept || target.trusted {
            return None;
        }
        // RFC 9110, 9.3.3: "and a Content-Location header field that has the same value as the POST's target URI (Section 8.7).
        // A cached POST response can be reused to satisfy a later GET or HEAD request."
        let uri = uri(client, target);
        let location = response.headers().get(CONTENT_LOCATION)?.to_str().ok()?;
        if reference::resolve(&uri, location)? != uri {
            return None;
        }
        let wanted = client.wanted(target, &Method::GET);
        let routed = plan(&wanted, &self.snapshot.routes, &self.snapshot.identity);
        let Plan::Cache(cacheable) = routed.plan else {
            return None;
        };
        Some(Terms {
            method: Method::GET,
            headers: Arc::new(client.parts.headers.clone()),
            cacheable,
            route: routed.route,
            resource: self.resource(&wanted, routed.route),
            wants: Wants::Whole,
            kept: None,
            here: client.asked_here(target),
            patience: Patience::Whole,
        })
    }
}

fn uri(client: &Client, target: &Target<'_>) -> Resolved {
    Resolved {
        scheme: target.scheme.to_owned(),
        // As the client knows it, and so the upstream that names others beside it.
        authority: target.forwarded_host.unwrap_or(&target.authority).to_owned(),
        path: client.parts.uri.path().to_owned(),
        query: client.parts.uri.query().map(str::to_owned),
    }
}
