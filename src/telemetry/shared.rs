//! What is counted of the shared tier.

use super::number::{CountByName, Counter, Gauge};

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
