//! What one request sees from beginning to end: the routes, who counts as whom, and where each route is counted.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::identity::Identity;
use super::route::{Route, Routes};
use crate::telemetry::{RouteMetrics, Telemetry};

/// Immutable; a reload makes a new one.
#[derive(Debug)]
pub struct Snapshot {
    /// All routes.
    pub routes: Routes,
    /// Where credentials stand.
    pub identity: Identity,
    metrics: Vec<Arc<RouteMetrics>>,
    /// For each route; the last is for requests that no route matches.
    rules: Box<[u64]>,
    /// Counts what belongs to no route.
    nowhere: Arc<RouteMetrics>,
}

impl Snapshot {
    /// `telemetry` was made for these routes, in their order.
    pub fn new(routes: Routes, identity: Identity, telemetry: &Telemetry) -> Self {
        let metrics = telemetry.routes.clone();
        let nowhere = metrics.last().map_or_else(|| Arc::new(RouteMetrics::new("".into())), Arc::clone);
        let rules = routes.iter().map(|route| rules(route, &identity)).collect();
        Self { routes, identity, metrics, rules, nowhere }
    }

    /// Where this route is counted.
    pub fn metrics(&self, route: usize) -> &RouteMetrics {
        self.metrics.get(route).unwrap_or(&self.nowhere)
    }

    /// A digest of all that decides, by this route, what may be kept and for whom: what was kept under other rules, by another
    /// instance or before a restart, is not used under these.
    pub fn rules(&self, route: usize) -> u64 {
        self.rules.get(route).or(self.rules.last()).copied().unwrap_or_default()
    }

    /// Where requests are counted that never got as far as a route.
    pub fn unrouted(&self) -> &RouteMetrics {
        &self.nowhere
    }
}

fn rules(route: &Route, identity: &Identity) -> u64 {
    let Route { name, pattern: _, methods, mode: _, policy, scope, key, tier: _, coalesce: _ } = route;
    let declared = identity.is_declared();
    xxh3_64(format!("{name:?} {methods:?} {policy:?} {scope:?} {key:?} {identity:?} {declared}").as_bytes())
}
