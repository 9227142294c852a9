//! The shared tier, as `/stats` shows it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Telemetry;

/// See [`super::shared::SharedMetrics`] and [`super::redis::RedisMetrics`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SharedStats {
    pub links_up: i64,
    pub hearing: bool,
    pub breaker_opened: u64,
    pub hits: u64,
    pub misses: u64,
    pub unreadable: BTreeMap<String, u64>,
    pub written: u64,
    pub patched: u64,
    pub removed: u64,
    pub dropped: u64,
    pub leases_taken: u64,
    pub leases_waited: u64,
    pub queued_bytes: i64,
}

impl SharedStats {
    /// As they are now.
    pub fn new(telemetry: &Telemetry) -> Self {
        let (shared, redis) = (&telemetry.shared, &telemetry.redis);
        Self {
            links_up: redis.links_up.get(),
            hearing: redis.hearing.get() > 0,
            breaker_opened: redis.opened.get(),
            hits: shared.hits.get(),
            misses: shared.misses.get(),
            unreadable: shared.unreadable.get(),
            written: shared.written.get(),
            patched: shared.patched.get(),
            removed: shared.removed.get(),
            dropped: shared.dropped.get(),
            leases_taken: shared.leases_taken.get(),
            leases_waited: shared.leases_waited.get(),
            queued_bytes: shared.queued_bytes.get(),
        }
    }
}
