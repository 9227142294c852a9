//! `Places`: how many messages there may be at once.
//!
//! They wait for other instances, and strangers may hold a body back: neither may take the place of who asks for health and
//! metrics, or more memory than there is.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Connections to the admin listener: scrapers, probes, a person or two, and a sender for each message that is waited for.
pub const CONNECTIONS_MAX: usize = 1024;
/// Messages at once, three quarters of that: the others are for who asks how things stand.
pub(super) const MESSAGES_MAX: usize = CONNECTIONS_MAX / 4 * 3;
/// Bodies at once that are held in memory before it is known whose they are.
pub(super) const UNPROVEN_MAX: usize = 16;

/// How many messages there may be at once.
#[derive(Debug)]
pub struct Places {
    messages: Semaphore,
    unproven: Semaphore,
}

impl Default for Places {
    fn default() -> Self {
        Self { messages: Semaphore::new(MESSAGES_MAX), unproven: Semaphore::new(UNPROVEN_MAX) }
    }
}

impl Places {
    /// For one message, until it is answered.
    pub(super) fn message(&self) -> Option<SemaphorePermit<'_>> {
        self.messages.try_acquire().ok()
    }

    /// For one body, until it is known whose it is.
    pub(super) fn unproven(&self) -> Option<SemaphorePermit<'_>> {
        self.unproven.try_acquire().ok()
    }
}
