//! The same numbers as JSON, for people and for what draws them: `/stats`.
//!
//! Times are in milliseconds and `null` where nothing was timed yet; so is the hit rate of a route that has had no
//! cacheable request. The *hit rate* leaves out what the cache had no business with (bypassed requests and errors):
//! it is the share of requests answered without an upstream request of their own among those that could have been.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::Telemetry;
use super::log_state::LogState;
use super::metrics::{
    CoalescingMetrics, ConnectionMetrics, MemoryMetrics, Outcome, RouteMetrics, UpstreamMetrics,
    ValidationMetrics,
};
use super::number::Histogram;
use super::stats_invalidation::{HookStats, InvalidationStats};
use super::stats_shared::SharedStats;

/// A moment's copy of all numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// Of Larder.
    pub version: &'static str,
    /// Since the process started, in whole seconds.
    pub uptime_seconds: u64,
    /// In the order of the configuration; the last is for requests that no route matches.
    pub routes: Vec<RouteStats>,
    /// The origin side.
    pub upstream: UpstreamStats,
    /// L1.
    pub memory: MemoryStats,
    /// L2.
    pub redis: SharedStats,
    /// One fetch for many.
    pub coalescing: CoalescingStats,
    /// Asking whether what is kept is still good.
    pub validation: ValidationStats,
    /// What was declared invalid.
    pub invalidation: InvalidationStats,
    /// The log of that.
    pub log: LogState,
    /// In the order of the configuration.
    pub hooks: Vec<HookStats>,
    /// The client side.
    pub connections: ConnectionStats,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouteStats {
    /// Its name.
    pub route: String,
    /// All that were answered, errors included.
    pub requests: u64,
    /// From the cache.
    pub hits: u64,
    /// By a fetch of their own.
    pub misses: u64,
    /// By another request's fetch.
    pub collapsed: u64,
    /// From the cache though past their lifetime.
    pub stale: u64,
    /// Passed through.
    pub bypassed: u64,
    /// By an error of Larder's own.
    pub errors: u64,
    /// 0 to 1.
    pub hit_rate: Option<f64>,
    /// From the head of a request to the head of its answer, hits only.
    pub hit_ms: Percentiles,
    /// From sending a request to the upstream to the head of its response.
    pub upstream_ms: Percentiles,
    /// Responses that were not kept, by reason; reasons that never happened are left out.
    pub not_stored: BTreeMap<&'static str, u64>,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half took no longer.
    pub p50: Option<f64>,
    /// All but one in 20.
    pub p95: Option<f64>,
    /// All but one in 100.
    pub p99: Option<f64>,
}

/// See [`UpstreamMetrics`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each is the metric of the same name")]
pub struct UpstreamStats {
    pub requests: u64,
    pub retries: u64,
    pub connects: u64,
    pub connect_failures: u64,
    pub timeouts: u64,
    pub broken: u64,
    pub in_flight: i64,
    pub queued: i64,
    pub queue_full: u64,
    pub queue_timeouts: u64,
}

/// See [`MemoryMetrics`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each is the metric of the same name")]
pub struct MemoryStats {
    pub entries: i64,
    pub bytes: i64,
    pub max_bytes: i64,
    pub stored: u64,
    pub evicted: u64,
    pub filling_bytes: i64,
    pub sendfile_bytes: i64,
    pub sendfile_sent_bytes: u64,
    pub variants_evicted: BTreeMap<String, u64>,
}

/// See [`CoalescingMetrics`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each is the metric of the same name")]
pub struct CoalescingStats {
    pub flights: i64,
    pub joined: u64,
    pub parted: u64,
    pub remembered: u64,
}

/// See [`ValidationMetrics`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each is the metric of the same name")]
pub struct ValidationStats {
    pub confirmed: u64,
    pub changed: u64,
    pub failed: u64,
    pub refreshes: u64,
    pub deferred: u64,
}

/// See [`ConnectionMetrics`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each is the metric of the same name")]
pub struct ConnectionStats {
    pub open: i64,
    pub accepted: u64,
    pub refused: u64,
    pub accept_errors: u64,
    pub broken: u64,
}

impl Stats {
    /// What was counted by a process that has been running so long.
    pub fn new(telemetry: &Telemetry, uptime: Duration) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: uptime.as_secs(),
            routes: telemetry.routes.iter().map(|route| RouteStats::new(route)).collect(),
            upstream: UpstreamStats::new(&telemetry.upstream),
            memory: MemoryStats::new(&telemetry.memory),
            redis: SharedStats::new(telemetry),
            coalescing: CoalescingStats::new(&telemetry.coalescing),
            validation: ValidationStats::new(&telemetry.validation),
            invalidation: InvalidationStats::new(telemetry),
            log: telemetry.log.state(),
            hooks: telemetry.hooks.iter().map(|hook| HookStats::new(hook)).collect(),
            connections: ConnectionStats::new(&telemetry.connections),
        }
    }
}

impl RouteStats {
    fn new(route: &RouteMetrics) -> Self {
        let [hits, stale, misses, collapsed, bypassed, errors] =
            Outcome::ALL.map(|outcome| route.count(outcome));
        let kept = hits + stale + collapsed;
        Self {
            route: route.name.to_string(),
            requests: kept + misses + bypassed + errors,
            hits,
            misses,
            collapsed,
            stale,
            bypassed,
            errors,
            hit_rate: share(kept, kept + misses),
            hit_ms: Percentiles::new(route.times(Outcome::Hit)),
            upstream_ms: Percentiles::new(&route.upstream),
            not_stored: route
                .not_stored_counts()
                .filter(|(_, count)| *count > 0)
                .map(|(why, count)| (why.label(), count))
                .collect(),
        }
    }
}

impl Percentiles {
    fn new(times: &Histogram) -> Self {
        let read = times.distribution();
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| read.percentile(share).map(millis));
        Self { p50, p95, p99 }
    }
}

impl UpstreamStats {
    fn new(upstream: &UpstreamMetrics) -> Self {
        Self {
            requests: upstream.requests.get(),
            retries: upstream.retries.get(),
            connects: upstream.connects.get(),
            connect_failures: upstream.connect_failures.get(),
            timeouts: upstream.timeouts.get(),
            broken: upstream.broken.get(),
            in_flight: upstream.in_flight.get(),
            queued: upstream.queued.get(),
            queue_full: upstream.queue_full.get(),
            queue_timeouts: upstream.queue_timeouts.get(),
        }
    }
}

impl MemoryStats {
    fn new(memory: &MemoryMetrics) -> Self {
        Self {
            entries: memory.entries.get(),
            bytes: memory.bytes.get(),
            max_bytes: memory.max_bytes.get(),
            stored: memory.stored.get(),
            evicted: memory.evicted.get(),
            filling_bytes: memory.filling_bytes.get(),
            sendfile_bytes: memory.sendfile_bytes.get(),
            sendfile_sent_bytes: memory.sendfile_sent_bytes.get(),
            variants_evicted: memory.variants_evicted.get(),
        }
    }
}

impl CoalescingStats {
    fn new(coalescing: &CoalescingMetrics) -> Self {
        Self {
            flights: coalescing.flights.get(),
            joined: coalescing.joined.get(),
            parted: coalescing.parted.get(),
            remembered: coalescing.remembered.get(),
        }
    }
}

impl ValidationStats {
    fn new(validation: &ValidationMetrics) -> Self {
        Self {
            confirmed: validation.confirmed.get(),
            changed: validation.changed.get(),
            failed: validation.failed.get(),
            refreshes: validation.refreshes.get(),
            deferred: validation.deferred.get(),
        }
    }
}

impl ConnectionStats {
    fn new(connections: &ConnectionMetrics) -> Self {
        Self {
            open: connections.open.get(),
            accepted: connections.accepted.get(),
            refused: connections.refused.get(),
            accept_errors: connections.accept_errors.get(),
            broken: connections.broken.get(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Whole microseconds divided once, so that 0.153 is written so and not with an error in the 17th place.
#[expect(clippy::cast_precision_loss, reason = "below 2^52 µs, which is a century")]
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::semantics::NotStored;
    use crate::telemetry::invalidation::{HookOutcome, InvalidationOutcome, Source};

    #[test]
    fn a_route_tells_how_it_answered() {
        let telemetry = Telemetry::new(["user", "unrouted"]);
        let user = &telemetry.routes[0];
        for _ in 0..5 {
            user.answered(Outcome::Hit, Duration::from_micros(7));
        }
        user.answered(Outcome::Collapsed, Duration::from_millis(30));
        user.answered(Outcome::Miss, Duration::from_millis(40));
        user.answered(Outcome::Miss, Duration::from_millis(41));
        user.answered(Outcome::Bypass, Duration::from_millis(40));
        user.answered(Outcome::Error, Duration::from_secs(3));
        user.upstream.record(Duration::from_millis(40));

        let stats = Stats::new(&telemetry, Duration::from_millis(61_900));
        let read = serde_json::to_value(&stats).unwrap();

        assert_eq!(read["uptime_seconds"], 61);
        let user = &read["routes"][0];
        assert_eq!(user["route"], "user");
        for (field, expected) in [
            ("requests", 10),
            ("hits", 5),
            ("misses", 2),
            ("collapsed", 1),
            ("stale", 0),
            ("bypassed", 1),
            ("errors", 1),
        ] {
            assert_eq!(user[field], expected, "{field}");
        }
        assert_eq!(user["hit_rate"], json!(0.75));
        assert_eq!(user["hit_ms"], json!({"p50": 0.007, "p95": 0.007, "p99": 0.007}));
        let upstream = user["upstream_ms"]["p99"].as_f64().unwrap();
        assert!((40.0..45.0).contains(&upstream), "{upstream}");
    }

    #[test]
    fn a_route_nobody_asked_for_has_no_rate_and_no_times() {
        let telemetry = Telemetry::new(["user"]);
        telemetry.routes[0].answered(Outcome::Bypass, Duration::from_millis(1));
        let stats = Stats::new(&telemetry, Duration::ZERO);
        let read = serde_json::to_value(&stats.routes[0]).unwrap();
        assert_eq!(read["hit_rate"], json!(null));
        assert_eq!(read["hit_ms"], json!({"p50": null, "p95": null, "p99": null}));
        assert_eq!(read["not_stored"], json!({}));
    }

    #[test]
    fn reasons_for_not_storing_are_counted_by_name() {
        for why in NotStored::ALL {
            let telemetry = Telemetry::new(["user"]);
            telemetry.routes[0].not_stored(*why);
            telemetry.routes[0].not_stored(*why);
            let stats = Stats::new(&telemetry, Duration::ZERO);
            assert_eq!(stats.routes[0].not_stored, BTreeMap::from([(why.label(), 2)]));
        }
    }

    #[test]
    fn what_was_declared_and_told_is_counted_by_what_became_of_it() {
        let telemetry = Telemetry::new([]).with_hooks(["changed"]);
        telemetry.invalidation.declared(Source::Purge, InvalidationOutcome::NotLogged);
        telemetry.invalidation.sessions_lost.add_one();
        telemetry.validation.deferred.add_one();
        telemetry.hooks[0].told(HookOutcome::Ignored);
        let read = serde_json::to_value(Stats::new(&telemetry, Duration::ZERO)).unwrap();
        let zero = json!({"met": 0, "late": 0, "not_logged": 0});
        let declared = json!({"api": zero, "hook": zero, "purge": {"met": 0, "late": 0, "not_logged": 1}});
        assert_eq!(read["validation"]["deferred"], 1);
        assert_eq!(read["invalidation"], json!({"changes": 0, "sessions_lost": 1, "declared": declared}));
        let told = json!({
            "hook": "changed", "accepted": 0, "ignored": 1, "replayed": 0, "unauthorized": 0, "bad": 0, "refused": 0,
        });
        assert_eq!(read["hooks"], json!([told]));
    }

    #[test]
    fn the_parts_of_the_process_are_told() {
        let telemetry = Telemetry::new([]);
        telemetry.upstream.queued.set(3);
        telemetry.upstream.queue_full.add(4);
        telemetry.memory.bytes.set(5);
        telemetry.memory.max_bytes.set(6);
        telemetry.coalescing.joined.add(7);
        telemetry.connections.open.set(8);
        let read = serde_json::to_value(Stats::new(&telemetry, Duration::ZERO)).unwrap();
        for (part, field, expected) in [
            ("upstream", "queued", 3),
            ("upstream", "queue_full", 4),
            ("memory", "bytes", 5),
            ("memory", "max_bytes", 6),
            ("coalescing", "joined", 7),
            ("connections", "open", 8),
        ] {
            assert_eq!(read[part][field], expected, "{part}.{field}");
        }
    }
}
