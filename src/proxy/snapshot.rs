//! What one request sees from beginning to end: the routes, who counts as whom, and where each route is counted.

use std::sync::Arc;

use super::identity::Identity;
use super::route::Routes;
use crate::telemetry::{RouteMetrics, Telemetry};

/// Immutable; a reload makes a new one.
#[derive(Debug)]
pub struct Snapshot {
    /// All routes.
    pub routes: Routes,
    /// Where credentials stand.
    pub identity: Identity,
    metrics: Vec<Arc<RouteMetrics>>,
    /// Counts what belongs to no route.
    nowhere: Arc<RouteMetrics>,
}

impl Snapshot {
    /// `telemetry` was made for these routes, in their order.
    pub fn new(routes: Routes, identity: Identity, telemetry: &Telemetry) -> Self {
        let metrics = telemetry.routes.clone();
        let nowhere = metrics.last().map_or_else(|| Arc::new(RouteMetrics::new("".into())), Arc::clone);
        Self { routes, identity, metrics, nowhere }
    }

    /// Where this route is counted.
    pub fn metrics(&self, route: usize) -> &RouteMetrics {
        self.metrics.get(route).unwrap_or(&self.nowhere)
    }

    /// Where requests are counted that never got as far as a route.
    pub fn unrouted(&self) -> &RouteMetrics {
        &self.nowhere
    }
}
