//! `[[route]]` as it is written; a part of `file`, and like it.

use super::words::{Body, Coalesce, Mode, Percent, Period, Scope, Size, Tier, WhenCutOff};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[[route]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Route {
    /// What people, logs and metrics call it; required.
    pub name: Option<String>,
    /// Which paths, where {x} is one segment and {*rest} the tail; required.
    pub r#match: Option<String>,
    /// The methods that may be answered from the cache.
    pub methods: Vec<String>,
    /// Whether answers are cached ("cache") or every request is passed on ("pass").
    pub mode: Mode,
    /// How long an answer is fresh where the upstream says nothing; left out, what [defaults] says.
    pub ttl: Option<Period>,
    /// How long a 404, 410 or the like is fresh where the upstream says nothing; left out, what [defaults] says.
    pub negative_ttl: Option<Period>,
    /// By how much those lifetimes may be shortened; left out, what [defaults] says.
    pub jitter: Option<Percent>,
    /// How much of the time since its Last-Modified an answer is taken to be fresh where nobody says how long; left out, what [defaults] says.
    pub heuristic: Option<Percent>,
    /// How long past its end an answer is given while it is fetched anew, where the upstream says nothing of that; left out, what [defaults] says.
    pub stale_while_revalidate: Option<Period>,
    /// How long past its end an answer is given where the upstream fails, where it said nothing of that; left out, what [defaults] says.
    pub stale_if_error: Option<Period>,
    /// Whether the route's ttl holds whatever the upstream says.
    pub r#override: bool,
    /// Who shares an answer: "auto" gives each credential its own, "identity" also passes requests without one, "shared" ignores credentials.
    pub scope: Scope,
    /// What tells one request from another, beside method, host and path.
    pub key: Key,
    /// Where answers are kept: in memory and in Redis ("both") or in memory only ("memory").
    pub tier: Tier,
    /// Who shares one fetch from the upstream: nobody ("off"), all who ask this instance ("instance"), or all who ask any instance of this Redis ("cluster").
    pub coalesce: Coalesce,
    /// What entries are called, beside what every entry is; parts in braces are filled in from the path, the query, a header, who asks, or the answer's body.
    pub tags: Option<Vec<String>>,
    /// Tags that are invalid once the upstream has answered an unsafe request with success; the request's own URL is in any case.
    pub invalidates: Option<Vec<String>>,
    /// What memory does while this instance can't read what has been invalidated: answers on ("serve"), or answers nothing ("bypass").
    pub when_cut_off: WhenCutOff,
    /// What is fetched this soon after an invalidation that names it lives no longer than this, since a replica may not have heard of the change yet; at most 1m.
    pub settle: Period,
    /// Whether the answer to a PUT, POST or PATCH that succeeds is kept as what a GET of the same URL is given.
    pub write_through: bool,
}

/// `key` of a route
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Key {
    /// The only query parameters that count; left out, all of them.
    pub query: Option<Vec<String>>,
    /// Query parameters that do not count; a * at the end stands for any ending.
    pub ignore_query: Vec<String>,
    /// Request headers that count.
    pub headers: Vec<String>,
    /// Cookies that count.
    pub cookies: Vec<String>,
    /// What of a request's body counts: nothing, and a request with one is passed on ("none"), every byte ("raw"), or what it means as JSON ("json").
    pub body: Body,
    /// Bytes of a body that counts; a request with a longer one is passed on.
    pub max_body: Size,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            name: None,
            r#match: None,
            methods: ["GET", "HEAD"].map(String::from).into(),
            mode: Mode::Cache,
            ttl: None,
            negative_ttl: None,
            jitter: None,
            heuristic: None,
            stale_while_revalidate: None,
            stale_if_error: None,
            r#override: false,
            scope: Scope::Auto,
            key: Key::default(),
            tier: Tier::Both,
            coalesce: Coalesce::Cluster,
            tags: None,
            invalidates: None,
            when_cut_off: WhenCutOff::Serve,
            settle: Period::ZERO,
            write_through: false,
        }
    }
}

impl Default for Key {
    fn default() -> Self {
        Self {
            query: None,
            ignore_query: Vec::new(),
            headers: Vec::new(),
            cookies: Vec::new(),
            body: Body::Ignored,
            max_body: Size(64_000),
        }
    }
}
