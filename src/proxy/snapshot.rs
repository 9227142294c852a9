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
    let Route {
        name,
        pattern,
        methods,
        mode: _,
        policy,
        scope,
        key,
        tier: _,
        coalesce: _,
        tags,
        invalidates: _,
        when_cut_off: _,
        settle,
        write_through: _,
    } = route;
    let declared = identity.is_declared();
    // What an entry is called by its captures comes of the pattern.
    let named_by = (!tags.is_empty()).then_some(pattern.as_str());
    let kept = format!("{name:?} {methods:?} {policy:?} {scope:?} {key:?} {identity:?} {declared}");
    xxh3_64(format!("{kept} {tags:?} {named_by:?} {settle:?}").as_bytes())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Method;

    use super::*;
    use crate::proxy::identity::Settings;
    use crate::proxy::route::{Coalesce, KeyParts, Mode, Scope, Tiers, WhenCutOff};
    use crate::semantics::Policy;

    #[test]
    fn what_was_kept_under_another_name_is_kept_under_other_rules() {
        let route = |pattern: &str, tags: &[&str]| Route {
            name: "user".into(),
            pattern: pattern.parse().unwrap(),
            methods: vec![Method::GET],
            mode: Mode::Cache,
            policy: Policy::default(),
            scope: Scope::Auto,
            key: KeyParts::default(),
            tier: Tiers::Both,
            coalesce: Coalesce::Cluster,
            tags: tags.iter().map(|text| text.parse().unwrap()).collect(),
            invalidates: Vec::new(),
            when_cut_off: WhenCutOff::Serve,
            settle: Duration::ZERO,
            write_through: false,
        };
        let identity =
            Identity::new(&Settings { credentials: Vec::new(), declared: true, key_secret: None }, &[1; 32]);
        let of = |route: &Route| rules(route, &identity);
        let plain = route("/{a}/{b}", &[]);
        let tagged = route("/{a}/{b}", &["user:{a}"]);
        assert_ne!(of(&plain), of(&tagged));
        assert_ne!(of(&tagged), of(&route("/{b}/{a}", &["user:{a}"])));
        assert_eq!(of(&plain), of(&route("/{b}/{a}", &[])));
        assert_ne!(of(&plain), of(&Route { settle: Duration::from_secs(1), ..plain.clone() }));
        let unlike = Route { when_cut_off: WhenCutOff::Bypass, write_through: true, ..plain.clone() };
        assert_eq!(of(&plain), of(&unlike));
    }
}
