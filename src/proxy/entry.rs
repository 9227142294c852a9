//! What is held for a request, in words: for `/entry`, and so for `larder explain --admin`.
//!
//! It asks the same `plan` and `find` that a client's request would, and the shared tier where memory has nothing. It counts no
//! hit and no miss, and keeps nothing of what it finds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_RANGE, HOST};
use http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::Proxy;
use super::beyond::Asking;
use super::inspect::{Inspection, inspect};
use super::kinds::Kinds;
use super::own_address::{host_in_key, is_at, reached_at};
use super::plan::{Cacheable, Content, Plan, Wanted, plan};
use super::veil::Veil;
use crate::clock::Timestamp;
use crate::object::Stored;
use crate::semantics::freshness::Source;
use crate::semantics::groups::groups;
use crate::semantics::validation::has_validator;
use crate::semantics::verdict::verdict;
use crate::store::Variants;
use crate::upstream::Connector;

/// All that can be said of a request here and now.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// What would be done with it.
    pub request: Inspection,
    /// What is held for it.
    pub held: Option<Held>,
}

/// An answer that is held.
#[derive(Debug, Serialize)]
pub struct Held {
    /// `memory`, or `redis` if only other instances have it.
    pub tier: &'static str,
    /// Whether it would be given to this request now.
    pub serves: bool,
    /// Its status.
    pub status: u16,
    /// Seconds.
    pub age: u64,
    /// Seconds left until it is stale; 0 if it is.
    pub ttl: u64,
    /// Whose word the lifetime is: `upstream`, `heuristic`, `route` or `negative`.
    pub lifetime_from: &'static str,
    /// The body, in bytes.
    pub size: usize,
    /// With all it costs to keep, in bytes.
    pub weight: usize,
    /// The route it was stored by.
    pub route: String,
    /// Request fields that tell its variants apart.
    pub vary: Vec<String>,
    /// How many variants are kept, and …
    pub variants: usize,
    /// … the request field that makes most of them.
    pub split_by: Option<String>,
    /// Seconds past its end in which it is given while it is fetched anew.
    pub stale_while_revalidate: u64,
    /// Seconds past its end in which it is given where the upstream fails.
    pub stale_if_error: u64,
    /// The upstream can be asked whether it is good still.
    pub has_validator: bool,
    /// It is the part of the whole that this `Content-Range` tells.
    pub part: Option<String>,
    /// The groups the upstream says it belongs to.
    pub groups: Vec<String>,
    /// What it can be purged by, as far as this request tells how that is written.
    pub tags: Vec<String>,
    /// It was softly invalidated: it is given while it is fetched anew.
    pub is_soft: bool,
}

impl<C: Connector> Proxy<C> {
    /// `url` may be a path: then the host is the one in `headers`, or one by which clients reach `listen`.
    pub async fn entry(
        &self,
        listen: SocketAddr,
        method: &Method,
        url: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Entry, String> {
        let uri: Uri = url.parse().map_err(|error| format!("that is not a URL: {error}"))?;
        let mut first = None;
        for authority in authorities(&uri, headers, listen)? {
            let here = self.is_shared().then(|| reached_at(&authority, listen));
            let wanted = Wanted {
                method,
                scheme: if uri.scheme_str() == Some("https") { "https" } else { "http" },
                authority: host_in_key(&authority, here),
                forwarded_host: None,
                trusted: false,
                path: uri.path(),
                query: uri.query(),
                headers,
                kinds: Kinds::read(headers),
                body: if body.is_empty() { Content::None } else { Content::Read(body) },
                upgrade: false,
            };
            let entry = self.entry_of(&wanted, here.filter(|here| is_at(&authority, *here))).await;
            if entry.held.is_some() {
                return Ok(entry);
            }
            first.get_or_insert(entry);
        }
        first.ok_or_else(|| "no host to ask for".to_owned())
    }

    async fn entry_of(&self, wanted: &Wanted<'_>, here: Option<SocketAddr>) -> Entry {
        let (routes, identity) = (&self.snapshot.routes, &self.snapshot.identity);
        let planned = plan(wanted, routes, identity);
        let held = match planned.plan {
            Plan::Cache(cacheable) => self.held(wanted, here, (planned.route, cacheable)).await,
            Plan::Pass(_) | Plan::Read(_) => None,
        };
        Entry { request: inspect(wanted, routes, identity, true), held }
    }

    async fn held(
        &self,
        wanted: &Wanted<'_>,
        here: Option<SocketAddr>,
        (route, cacheable): (usize, Cacheable),
    ) -> Option<Held> {
        let veil = Veil::new(wanted, &self.snapshot.identity);
        let found = self.find(cacheable.key, wanted.headers);
        if let Some(stored) = &found.stored {
            let held = Held::new("memory", stored, wanted.headers, self.clock.now());
            let tags = self.tags_of(wanted, route, stored);
            let held = Held { tags, is_soft: found.is_soft, ..held }.behind(&veil);
            return Some(match self.variants_of(&cacheable.key) {
                Some(variants) => held.among(&variants),
                None => held,
            });
        }
        let headers = Arc::new(wanted.headers.clone());
        let path = percent_decode_str(wanted.path).collect::<Vec<_>>().into();
        let asking = Asking { base: cacheable.key, headers, route, path, here };
        let frame = self.peek(&asking).await?;
        let vary = frame.vary.names().iter().map(ToString::to_string).collect();
        let tags = self.tags_of(wanted, route, &frame.stored);
        let held = Held::new("redis", &frame.stored, wanted.headers, self.clock.now());
        Some(Held { vary, tags, ..held }.behind(&veil))
    }
}

/// The hosts under which the client may have asked.
fn authorities(uri: &Uri, headers: &HeaderMap, listen: SocketAddr) -> Result<Vec<String>, String> {
    if let Some(authority) = uri.authority() {
        if authority.as_str().contains('@') {
            return Err("a user name and password have no place in a URL".to_owned());
        }
        return Ok(vec![plain(authority.as_str())]);
    }
    if let Some(host) = headers.get(HOST) {
        let host = host.to_str().map_err(|_| "the host is not text".to_owned())?;
        return Ok(vec![plain(host)]);
    }
    let port = listen.port();
    let address = if listen.ip().is_unspecified() { format!("127.0.0.1:{port}") } else { listen.to_string() };
    Ok(vec![address, format!("localhost:{port}")])
}

fn plain(authority: &str) -> String {
    authority.strip_suffix(":80").unwrap_or(authority).to_ascii_lowercase()
}

impl Held {
    fn new(tier: &'static str, stored: &Stored, request: &HeaderMap, now: Timestamp) -> Self {
        let lifetime = &stored.lifetime;
        Self {
            tier,
            serves: verdict(Some(lifetime), request, now).serves(),
            status: stored.head.status.as_u16(),
            age: lifetime.age(now).as_secs(),
            ttl: lifetime.left(now).as_secs(),
            lifetime_from: match lifetime.source {
                Source::Upstream => "upstream",
                Source::Heuristic => "heuristic",
                Source::Route => "route",
                Source::Negative => "negative",
            },
            size: stored.body_bytes().len(),
            weight: stored.weight(),
            route: stored.route.to_string(),
            vary: Vec::new(),
            variants: 1,
            split_by: None,
            stale_while_revalidate: Duration::from(lifetime.stale.while_revalidate).as_secs(),
            stale_if_error: Duration::from(lifetime.stale.if_error).as_secs(),
            has_validator: has_validator(&stored.head.headers()),
            part: stored
                .part
                .as_deref()
                .and_then(|_| stored.head.headers().get(CONTENT_RANGE)?.to_str().ok().map(str::to_owned)),
            groups: groups(&stored.head.headers()).iter().map(ToString::to_string).collect(),
            tags: Vec::new(),
            is_soft: false,
        }
    }

    /// What the upstream, or whoever may choose a name there, has written can hold the caller's credential, or what steers a
    /// terminal.
    fn behind(self, veil: &Veil<'_>) -> Self {
        let shown = |texts: &[String]| texts.iter().map(|text| veil.shown(text.as_bytes())).collect();
        Self {
            part: self.part.as_ref().map(|part| veil.shown(part.as_bytes())),
            groups: shown(&self.groups),
            tags: shown(&self.tags),
            ..self
        }
    }

    fn among(self, variants: &Variants) -> Self {
        Self {
            vary: variants.vary().names().iter().map(ToString::to_string).collect(),
            variants: variants.count(),
            split_by: variants.splits().map(|name| name.to_string()),
            ..self
        }
    }
}
