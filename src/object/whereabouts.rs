//! `Whereabouts`: what L1 writes on what it keeps: under which key, and that it has gone.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU16};

use super::key::Key;

/// What is kept has one, and keeps it: what has gone never comes back, a copy of it may.
#[derive(Debug, Default)]
pub struct Whereabouts {
    key: OnceLock<Key>,
    has_gone: AtomicBool,
    given: AtomicU16,
}

/// So often at first, and then once in so many times, it is news that it was given.
const NEWS: (u16, u16) = (16, 8);

impl Whereabouts {
    /// Whether it was kept already.
    pub fn is_kept_before(&self) -> bool {
        self.key.get().is_some()
    }

    /// It is about to be kept under this key. Whatever is kept twice bears its first one.
    pub fn keep_as(&self, key: Key) {
        self.key.get_or_init(|| key);
    }

    /// The key it was kept under.
    pub fn key(&self) -> Option<&Key> {
        self.key.get()
    }

    /// Whether it lies there: it was kept under this key, and has not gone since.
    pub fn lies_under(&self, key: &Key) -> bool {
        self.is_of(key) && !self.has_gone()
    }

    /// Whether it was kept under this key.
    pub fn is_of(&self, key: &Key) -> bool {
        self.key.get() == Some(key)
    }

    /// It is given; whether that is news to who must know what is in use. Threads that count at once may count once.
    pub fn is_news_when_given(&self) -> bool {
        let given = self.given.load(Relaxed);
        self.given.store(given.wrapping_add(1), Relaxed);
        given < NEWS.0 || given.is_multiple_of(NEWS.1)
    }

    /// Something took its place, or it was removed, or evicted.
    pub fn goes(&self) {
        self.has_gone.store(true, Release);
    }

    /// Whether any of that was so.
    pub fn has_gone(&self) -> bool {
        self.has_gone.load(Acquire)
    }
}
