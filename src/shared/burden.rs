//! `Burden`: what is being written over one link, and the time that may take.
//!
//! A reply to a large value comes only when all of it has arrived, and all that was sent before it over the same connection.
//! Nobody waits for a write, so it has that time; and what is late behind it says nothing of the server.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Bytes a second that a network has to carry for large values to be written. Slower than most that are in use, so that none
/// of those takes a healthy server for one that hangs; and not so slow that one that does hang is waited for much longer.
const BYTES_PER_SECOND: u64 = 1_000_000;

/// The bytes that are being written.
#[derive(Debug, Default)]
pub(super) struct Burden(AtomicU64);

/// A part of them, until it is dropped.
pub(super) struct Load<'b> {
    burden: &'b Burden,
    bytes: u64,
}

impl Burden {
    pub(super) fn add(&self, bytes: u64) -> Load<'_> {
        self.0.fetch_add(bytes, Relaxed);
        Load { burden: self, bytes }
    }

    /// How long all of them may take.
    pub(super) fn time(&self) -> Duration {
        time(self.0.load(Relaxed))
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.burden.0.fetch_sub(self.bytes, Relaxed);
    }
}

/// How long so many bytes may take.
pub(super) fn time(bytes: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / BYTES_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_has_the_time_of_all_that_is_sent_before_it() {
        let burden = Burden::default();
        assert!(burden.time().is_zero());
        let first = burden.add(2_000_000);
        let second = burden.add(500_000);
        assert_eq!(burden.time(), Duration::from_millis(2500));
        drop(first);
        assert_eq!(burden.time(), Duration::from_millis(500));
        drop(second);
        assert!(burden.time().is_zero());
    }
}
