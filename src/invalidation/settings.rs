//! `Settings`: how much may be remembered of what was declared invalid, and how much may be declared at once.

use std::time::Duration;

/// Bounds; none of them is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Tags that an instance remembers the invalidation of; past it the oldest are forgotten, and with them what is kept from
    /// before.
    pub tags_max: usize,
    /// Beginnings of paths, likewise.
    pub prefixes_max: usize,
    /// Events that wait for the log while it can't be written.
    pub unlogged_max: usize,
    /// Tags of one entry; an answer with more of them is not kept.
    pub entry_tags_max: usize,
    /// Bytes of one tag; an answer with a longer one is not kept.
    pub tag_bytes_max: usize,
    /// Names in one event.
    pub names_max: usize,
    /// Bytes of the message that an event comes with.
    pub body_bytes_max: usize,
    /// Fetches at once for what was softly invalidated.
    pub refreshes_max: usize,
    /// Events that the log keeps.
    pub log_length: u64,
    /// For how long it keeps them.
    pub log_age: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tags_max: 1_000_000,
            prefixes_max: 1000,
            unlogged_max: 10_000,
            entry_tags_max: 100,
            tag_bytes_max: 256,
            names_max: 1000,
            body_bytes_max: 1_000_000,
            refreshes_max: 8,
            log_length: 100_000,
            log_age: Duration::from_secs(24 * 60 * 60),
        }
    }
}
