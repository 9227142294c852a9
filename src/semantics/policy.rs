//! What a route has to say, where the upstream is silent or the route goes first.

use std::time::Duration;

/// What a route says of lifetimes, where it says something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// Freshness where the upstream says nothing; zero: none.
    pub ttl: Duration,
    /// The route's ttl whatever the upstream says.
    pub override_upstream: bool,
    /// For 404, 410 and the like, where the upstream is silent.
    pub negative_ttl: Duration,
    /// By how much a lifetime that the route gave may be shortened: 0.05 is up to 5 %.
    pub jitter: f64,
    /// How much of the time since `Last-Modified` is taken for a lifetime where nobody gives one: 0.1 is 10 %.
    pub heuristic: f64,
    /// How long past its end an answer may be used while it is fetched anew, where the upstream says nothing.
    pub stale_while_revalidate: Duration,
    /// The same where the upstream fails.
    pub stale_if_error: Duration,
}
