//! How much room bodies may take while they come in.
//!
//! An answer that is shared while it comes is held whole until it is stored, and a request's body that is part of its key
//! until the upstream has it. `memory.max_filling` bounds all of them together; one that finds no room streams through
//! unkept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::telemetry::Telemetry;

/// The room.
#[derive(Debug)]
pub struct Filling {
    max_bytes: u64,
    used_bytes: AtomicU64,
    telemetry: Arc<Telemetry>,
}

/// A part of it; given back when dropped.
#[derive(Debug)]
pub struct Room {
    filling: Arc<Filling>,
    bytes: u64,
}

impl Filling {
    /// So many bytes at once.
    pub fn new(max_bytes: u64, telemetry: Arc<Telemetry>) -> Arc<Self> {
        Arc::new(Self { max_bytes, used_bytes: AtomicU64::new(0), telemetry })
    }

    /// None of it yet.
    pub fn room(self: &Arc<Self>) -> Room {
        Room { filling: Arc::clone(self), bytes: 0 }
    }
}

impl Room {
    /// Takes so much more; false if there is not so much.
    pub fn grow(&mut self, bytes: u64) -> bool {
        let take = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.filling.max_bytes);
        if self.filling.used_bytes.fetch_update(Relaxed, Relaxed, take).is_err() {
            return false;
        }
        self.bytes += bytes;
        self.report(bytes, 1);
        true
    }

    fn report(&self, bytes: u64, sign: i64) {
        let change = i64::try_from(bytes).unwrap_or(i64::MAX) * sign;
        self.filling.telemetry.memory.filling_bytes.add(change);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.filling.used_bytes.fetch_sub(self.bytes, Relaxed);
        self.report(self.bytes, -1);
    }
}
