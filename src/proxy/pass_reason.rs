//! `PassReason`: why the cache has no business with a request. The same words in `Cache-Status`, metrics and `explain`.

use super::content::Unkeyed;
use super::path::Ambiguity;
use super::query::QueryAmbiguity;
use crate::semantics::Forward;

/// Why the cache has no business with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassReason {
    /// `mode = "pass"`
    RouteMode,
    /// Not one of the route's, or one whose answers are not kept.
    Method,
    /// The path could mean several things.
    AmbiguousPath(Ambiguity),
    /// The query could mean several things.
    AmbiguousQuery(QueryAmbiguity),
    /// A body comes with it, and the route's key has none.
    Body,
    /// Its body can't be part of a key.
    Unkeyed(Unkeyed),
    /// It asks for another protocol.
    Upgrade,
    /// It may be answered for another path, method or host.
    RoutingHeader,
    /// A header is written with `_` where one that counts has `-`, and some servers take it for that one.
    HeaderAlias,
    /// `scope = "identity"`, and nobody is named.
    NoCredential,
    /// It bears more than what is kept for it could be called by.
    TooManyCredentials,
    /// Its key would be too long.
    TooManyParts,
}

impl PassReason {
    /// In words, for `Cache-Status` and people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::RouteMode => "route mode is pass",
            Self::Method => "the method is not one the route caches",
            Self::AmbiguousPath(ambiguity) => ambiguity.reason(),
            Self::AmbiguousQuery(ambiguity) => ambiguity.reason(),
            Self::Body => "the request has a body",
            Self::Unkeyed(why) => why.reason(),
            Self::Upgrade => "the request asks for another protocol",
            Self::RoutingHeader => "a header may route the request elsewhere at the upstream",
            Self::HeaderAlias => "a header has the name of another, with underscores",
            Self::NoCredential => "route scope is identity and no credential was sent",
            Self::TooManyCredentials => "the request bears more than 16 credentials",
            Self::TooManyParts => "too much in the request would be part of the key",
        }
    }

    /// Whether it is a read by the word of its route, which just can't be told from others.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Unkeyed(why) if !matches!(why, Unkeyed::Acts(_)))
    }

    /// For metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::RouteMode => "route_mode",
            Self::Method => "method",
            Self::AmbiguousPath(_) => "ambiguous_path",
            Self::AmbiguousQuery(_) => "ambiguous_query",
            Self::Body => "body",
            Self::Unkeyed(_) => "unkeyed_body",
            Self::Upgrade => "upgrade",
            Self::RoutingHeader => "routing_header",
            Self::HeaderAlias => "header_alias",
            Self::NoCredential => "no_credential",
            Self::TooManyCredentials => "too_many_credentials",
            Self::TooManyParts => "too_many_parts",
        }
    }

    /// The `fwd` of `Cache-Status`.
    pub fn forward(self) -> Forward {
        match self {
            Self::Method => Forward::Method,
            _ => Forward::Bypass,
        }
    }
}
