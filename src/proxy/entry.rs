//! What is held for a request, in words: for `/entry`, and so for `larder explain --admin`.
//!
//! It asks the same `plan` and `find` that a client's request would, counts nothing and changes nothing.

use std::net::SocketAddr;

use http::header::HOST;
use http::{HeaderMap, Method, Uri};
use serde::Serialize;

use super::Proxy;
use super::inspect::{Inspection, inspect};
use super::lookup::Found;
use super::plan::{Plan, Wanted, plan};
use crate::clock::Timestamp;
use crate::object::Stored;
use crate::semantics::Verdict;
use crate::semantics::freshness::Source;

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
    /// Where.
    pub tier: &'static str,
    /// Whether it would be given to this request now.
    pub serves: bool,
    /// Its status.
    pub status: u16,
    /// Seconds.
    pub age: u64,
    /// Seconds left until it is stale; 0 if it is.
    pub ttl: u64,
    /// Whose word the lifetime is: `upstream`, `route` or `negative`.
    pub lifetime_from: &'static str,
    /// The body, in bytes.
    pub size: usize,
    /// With all it costs to keep, in bytes.
    pub weight: usize,
    /// The route it was stored by.
    pub route: String,
    /// Request fields that tell its variants apart.
    pub vary: Vec<String>,
}

impl<C> Proxy<C> {
    /// `url` may be a path: then the host is the one in `headers`, or one by which clients reach `listen`.
    pub fn entry(
        &self,
        listen: SocketAddr,
        method: &Method,
        url: &str,
        headers: &HeaderMap,
    ) -> Result<Entry, String> {
        let uri: Uri = url.parse().map_err(|error| format!("that is not a URL: {error}"))?;
        let mut entries = Vec::new();
        for authority in authorities(&uri, headers, listen)? {
            let wanted = Wanted {
                method,
                scheme: if uri.scheme_str() == Some("https") { "https" } else { "http" },
                authority: &authority,
                forwarded_host: None,
                trusted: false,
                path: uri.path(),
                query: uri.query(),
                headers,
                has_body: false,
                upgrade: false,
            };
            let entry = self.entry_of(&wanted);
            if entry.held.is_some() {
                return Ok(entry);
            }
            entries.push(entry);
        }
        entries.into_iter().next().ok_or_else(|| "no host to ask for".to_owned())
    }

    fn entry_of(&self, wanted: &Wanted<'_>) -> Entry {
        let (routes, identity) = (&self.snapshot.routes, &self.snapshot.identity);
        let held = match plan(wanted, routes, identity).plan {
            Plan::Cache(cacheable) => {
                held(&self.find(cacheable.key, wanted.headers), wanted, self.clock.now())
            }
            Plan::Pass(_) => None,
        };
        Entry { request: inspect(wanted, routes, identity), held }
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

fn held(found: &Found, wanted: &Wanted<'_>, now: Timestamp) -> Option<Held> {
    let stored: &Stored = found.stored.as_ref()?;
    let lifetime = &stored.lifetime;
    let vary = crate::semantics::vary::VaryOn::read(&stored.head.headers).unwrap_or_default();
    Some(Held {
        tier: "memory",
        serves: found.verdict(wanted.headers, now) == Verdict::Serve,
        status: stored.head.status.as_u16(),
        age: lifetime.age(now).as_secs(),
        ttl: lifetime.left(now).as_secs(),
        lifetime_from: match lifetime.source {
            Source::Upstream => "upstream",
            Source::Route => "route",
            Source::Negative => "negative",
        },
        size: stored.body.len(),
        weight: stored.weight(),
        route: stored.route.to_string(),
        vary: vary.names().iter().map(ToString::to_string).collect(),
    })
}
