//! `Settings`: what the rest of the program sees of the configuration.
//!
//! Each module below owns its part. Invariant: none of it holds a value that `check` would refuse, so nobody checks again.

use crate::{hooks, invalidation, proxy, server, shared, store, upstream};

/// All that a process needs to know, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How clients are served.
    pub server: server::Settings,
    /// Whose proxies' `X-Forwarded-*` and `Forwarded` are believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Cache-Status with key, Server-Timing on every answer.
    pub debug: bool,
    /// What the admin listener wants to hear.
    pub admin_token: Option<crate::secret::Secret>,
    /// The API.
    pub upstream: upstream::Settings,
    /// Who is asking.
    pub identity: proxy::identity::Settings,
    /// How much is kept.
    pub memory: store::Settings,
    /// The tier that all instances share; none: there is none.
    pub redis: Option<shared::Settings>,
    /// How much may be declared invalid, and is remembered of it.
    pub invalidation: invalidation::Settings,
    /// The messages that declare it, in the order of the file.
    pub hooks: Vec<hooks::Hook>,
    /// In the order of the file.
    pub routes: Vec<proxy::route::Route>,
    /// For requests that none of those matches.
    pub unrouted: proxy::route::Route,
}
