//! `Stored`: one answer of the upstream, as facts: what was said, when it was asked for and when it came.
//!
//! The head is prepared once, when it comes: hop-by-hop fields gone, `Via` added, and all written down as it is sent, so that a
//! hit adds what depends on the moment and no more. Invariant: a `Stored` has all bytes that its head promises; half a body is never one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::packed::Packed;
use super::stamp::Stamp;
use super::tag::Labels;
use super::whereabouts::Whereabouts;
use crate::clock::Timestamp;
use crate::semantics::freshness::Lifetime;
use crate::semantics::range::ContentRange;
use bytes::Bytes;

/// A complete answer that may be given again. Its parts lie as they stand here: what each hit reads at the front, in as few lines of
/// memory as it takes.
#[derive(Debug)]
#[repr(C)]
pub struct Stored {
    /// What L1 writes on it.
    pub whereabouts: Whereabouts,
    /// The version of the record at which it was last found live; 0 for never. Written by whoever looks.
    pub live_at: AtomicU64,
    /// The upstream failed to say more of it: until then nobody need ask again. Milliseconds since 1970.
    pub asked_in_vain_until: AtomicU64,
    /// What `semantics` read from head and route when it came: parsed once, not per hit.
    pub lifetime: Lifetime,
    /// Status and fields, and the body.
    pub head: Packed,
    /// The body is a part, told by its `Content-Range`: the answer is a 206.
    pub part: Option<Box<ContentRange>>,
    /// What it can be called by when something is declared invalid; as a rule shared with the fetch it came by.
    pub labels: Labels,
    /// All that had been declared before it was asked for.
    pub stamp: Stamp,
    /// The name of the route it was stored by.
    pub route: Arc<str>,
    /// When its request was sent to the upstream. When it came, its lifetime says.
    pub requested_at: Timestamp,
    /// Tells this body from any other that came for the same key: drawn when it came, and kept by a 304.
    pub body_id: u64,
}

/// What an entry costs beside its lines, labels and body: this struct, the cache's own nodes (some 335 bytes, and as its tables grow up
/// to 420), and what the allocator rounds up. Measured, not added up: with bodies of 600 to 1600 bytes, 80 000 entries of each of eight
/// sizes, a process grew by 680 to 880 bytes beyond those for each entry, and by 770 in the mean.
const OVERHEAD_BYTES: usize = 800;

impl Stored {
    /// A copy of it, to be kept where it was not kept before.
    #[must_use]
    pub fn again(&self) -> Self {
        let copied = |number: &AtomicU64| AtomicU64::new(number.load(Relaxed));
        Self {
            whereabouts: Whereabouts::default(),
            live_at: copied(&self.live_at),
            asked_in_vain_until: copied(&self.asked_in_vain_until),
            lifetime: self.lifetime,
            head: self.head.clone(),
            part: self.part.clone(),
            labels: self.labels.clone(),
            stamp: self.stamp,
            route: Arc::clone(&self.route),
            requested_at: self.requested_at,
            body_id: self.body_id,
        }
    }

    /// The whole body, or a part of it.
    pub fn body_bytes(&self) -> &[u8] {
        self.head.body_bytes()
    }

    /// The same, to be held.
    pub fn body(&self) -> Bytes {
        self.head.body()
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
        OVERHEAD_BYTES + self.head.lines_bytes() + self.labels.bytes() + self.body_bytes().len()
    }
}

impl AsRef<Whereabouts> for Stored {
    fn as_ref(&self) -> &Whereabouts {
        &self.whereabouts
    }
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::super::tag::Tag;
    use super::*;

    /// Beside the two counts of an `Arc`; the next larger block has 320.
    #[test]
    fn it_fits_a_block_of_256_bytes() {
        assert!(size_of::<Stored>() <= 256 - 2 * size_of::<usize>(), "{}", size_of::<Stored>());
    }

    #[test]
    fn it_weighs_its_lines_its_labels_and_its_body() {
        let lines = "etag: \"a\"\r\ncontent-length: 4\r\n\r\n";
        let labels = Tag::BYTES + "/things".len();
        let stored = example::stored(&[("etag", "\"a\"")], b"body");
        assert_eq!(stored.weight(), OVERHEAD_BYTES + lines.len() + labels + b"body".len());
    }
}
