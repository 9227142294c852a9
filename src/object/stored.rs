//! `Stored`: one answer of the upstream, as facts: what was said, when it was asked for and when it came.
//!
//! The head is prepared once, when it comes: hop-by-hop fields gone, `Via` added, so that a hit copies it and adds
//! what depends on the moment. Invariant: a `Stored` has all bytes that its head promises; half a body is never one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use http::header::AGE;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::stamp::Stamp;
use super::tag::{Labels, Tag};
use crate::clock::Timestamp;
use crate::semantics::fields::CACHE_STATUS;
use crate::semantics::freshness::Lifetime;
use crate::semantics::range::ContentRange;

/// Status and fields of an answer, as every client gets them.
#[derive(Debug)]
pub struct Head {
    /// The upstream's status.
    pub status: StatusCode,
    /// The upstream's fields, less what belongs to the connection.
    pub headers: HeaderMap,
}

/// A complete answer that may be given again.
#[derive(Debug)]
pub struct Stored {
    /// Status and fields. `Age` and, if the upstream had none, `Cache-Status` have their places already: a copy of the
    /// fields is given their values without having to grow.
    pub head: Head,
    /// The upstream, or a cache before it, sent a `Cache-Status`: ours comes after it.
    pub has_cache_status: bool,
    /// The whole body, or the part of it that is told by …
    pub body: Bytes,
    /// … its `Content-Range`: the answer is a 206.
    pub part: Option<ContentRange>,
    /// Tells this body from any other that came for the same key: drawn when it came, and kept by a 304.
    pub body_id: u64,
    /// When its request was sent to the upstream.
    pub requested_at: Timestamp,
    /// When its head had come; ages count from here.
    pub answered_at: Timestamp,
    /// What `semantics` read from head and route when it came: parsed once, not per hit.
    pub lifetime: Lifetime,
    /// The name of the route it was stored by.
    pub route: Arc<str>,
    /// What it can be called by when something is declared invalid.
    pub labels: Labels,
    /// All that had been declared before it was asked for.
    pub stamp: Stamp,
    /// The version of the record at which it was last found live; 0 for never. Written by whoever looks.
    pub live_at: AtomicU64,
    /// The upstream failed to say more of it: until then nobody need ask again. Milliseconds since 1970.
    pub asked_in_vain_until: AtomicU64,
}

/// What an entry costs beside names, values and body: this struct, the tables of its header map, the cache's own nodes, and what
/// the allocator rounds up. Measured, not added up: a process with 100 MB of entries of 1 KiB grew by 103 MB.
const OVERHEAD_BYTES: usize = 1_372;
/// What a header costs beside its text: a slot of the map and the value's handle.
const HEADER_BYTES: usize = 104;

impl Head {
    /// The same with places for what a hit will add; and whether `Cache-Status` was there already.
    pub fn for_hits(&self) -> (Self, bool) {
        let mut headers = self.headers.clone();
        let has_cache_status = headers.contains_key(CACHE_STATUS);
        headers.insert(AGE, HeaderValue::from_static("0"));
        if !has_cache_status {
            headers.insert(CACHE_STATUS, HeaderValue::from_static("larder"));
        }
        (Self { status: self.status, headers }, has_cache_status)
    }
}

impl Stored {
    /// The upstream's fields, without what a hit writes in its own.
    pub fn fields(&self) -> HeaderMap {
        let mut headers = self.head.headers.clone();
        headers.remove(AGE);
        if !self.has_cache_status {
            headers.remove(CACHE_STATUS);
        }
        headers
    }

    /// The upstream was asked about this and failed: while that is fresh news, nobody need wait to hear it again.
    pub fn was_asked_in_vain(&self, until: Timestamp) {
        self.asked_in_vain_until.store(until.millis(), Relaxed);
    }

    /// Whether that is fresh news.
    pub fn is_asked_in_vain(&self, now: Timestamp) -> bool {
        now.millis() < self.asked_in_vain_until.load(Relaxed)
    }

    /// What it costs to keep this, in bytes.
    pub fn weight(&self) -> usize {
        let fields: usize = self
            .head
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + HEADER_BYTES)
            .sum();
        let labels = self.labels.tags.len() * size_of::<Tag>() + self.labels.path.len();
        OVERHEAD_BYTES + fields + labels + self.body.len()
    }
}
