//! What is counted of the shared tier.

use super::number::{CountByName, Counter, Gauge};
use super::page::{Kind, Page};

/// The shared tier.
#[derive(Debug, Default)]
pub struct SharedMetrics {
    /// Looks that found an answer to the request.
    pub hits: Counter,
    /// Looks that found none, for whatever reason.
    pub misses: Counter,
    /// Values that could not be used, by reason.
    pub unreadable: CountByName,
    /// Answers written whole.
    pub written: Counter,
    /// Answers of which only the head was written.
    pub patched: Counter,
    /// Removals carried out.
    pub removed: Counter,
    /// Writes that came to nothing: no room in the queue, or the tier failed.
    pub dropped: Counter,
    /// Fetches made for all instances.
    pub leases_taken: Counter,
    /// Times that a fetch waited for that of another instance.
    pub leases_waited: Counter,
    /// What waits to be written, in bytes.
    pub queued_bytes: Gauge,
}

pub(super) fn render(page: &mut Page, shared: &SharedMetrics) {
    for (name, help, counter) in [
        ("larder_redis_hits_total", "Looks into Redis that found an answer to the request.", &shared.hits),
        (
            "larder_redis_misses_total",
            "Looks into Redis that found none, for whatever reason.",
            &shared.misses,
        ),
        ("larder_redis_written_total", "Answers written to Redis whole.", &shared.written),
        (
            "larder_redis_patched_total",
            "Answers in Redis of which only the head was written.",
            &shared.patched,
        ),
        ("larder_redis_removed_total", "Removals from Redis carried out.", &shared.removed),
        (
            "larder_redis_dropped_total",
            "Writes to Redis that came to nothing: no room in the queue, or Redis failed.",
            &shared.dropped,
        ),
        ("larder_redis_leases_taken_total", "Fetches made for all instances.", &shared.leases_taken),
        (
            "larder_redis_leases_waited_total",
            "Times that a fetch waited for that of another instance.",
            &shared.leases_waited,
        ),
    ] {
        page.counter(name, help, counter);
    }
    page.gauge("larder_redis_queued_bytes", "What waits to be written to Redis.", &shared.queued_bytes);
    let unreadable = shared.unreadable.get();
    if !unreadable.is_empty() {
        let help = "Values in Redis that could not be used, by reason.";
        let mut family = page.family("larder_redis_unreadable_total", Kind::Counter, help);
        for (reason, count) in unreadable {
            family.sample(&[("reason", &reason)], count);
        }
    }
}
