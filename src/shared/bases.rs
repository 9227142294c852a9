//! What is known of the names of resources that vary: which variant lies under the resource's own name, and on what the
//! resources of a route vary.
//!
//! It is a memory, not the truth: another instance may have written since. What is forgotten or wrong costs a round trip, or a
//! variant that is fetched once more; what a request is given is decided by what is read.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use moka::sync::Cache;

use crate::clock::Timestamp;
use crate::object::Key;
use crate::semantics::VaryOn;

/// All that is known.
#[derive(Debug)]
pub struct Bases {
    /// By the key of the resource.
    primaries: Cache<Key, Primary>,
    /// There was ever one: where nothing varies, nobody need look.
    has_any: AtomicBool,
    /// For each route, what its last answer that varied did so on; the last is for requests that no route matches.
    routes: Box<[Mutex<Option<Arc<VaryOn>>>]>,
}

/// The variant under a resource's own name.
#[derive(Clone, Debug)]
pub struct Primary {
    /// Its key.
    pub key: Key,
    /// What it varies on.
    pub vary: Arc<VaryOn>,
    /// When it will be in nobody's way any more.
    pub over_at: Timestamp,
}

/// How many resources that vary are remembered; each takes some hundred bytes.
const REMEMBERED_MAX: u64 = 16_384;

impl Bases {
    /// Of so many routes, nothing yet.
    pub fn new(routes: usize) -> Self {
        let routes = (0..=routes).map(|_| Mutex::default()).collect();
        Self { primaries: Cache::new(REMEMBERED_MAX), has_any: AtomicBool::new(false), routes }
    }

    /// What lies under the name of this resource.
    pub fn primary(&self, base: &Key) -> Option<Primary> {
        if self.has_any.load(Relaxed) { self.primaries.get(base) } else { None }
    }

    /// This lies there.
    pub fn learn(&self, base: Key, primary: Primary) {
        self.primaries.insert(base, primary);
        self.has_any.store(true, Relaxed);
    }

    /// Nothing lies there, or what does not vary.
    pub fn forget(&self, base: &Key) {
        // Most have nothing to forget, and looking costs less than removing.
        if self.has_any.load(Relaxed) && self.primaries.contains_key(base) {
            self.primaries.invalidate(base);
        }
    }

    /// What a resource of this route will vary on, if it is like the last one.
    pub fn guess(&self, route: usize) -> Option<Arc<VaryOn>> {
        self.route(route)?.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An answer of this route varied on these.
    pub fn varied(&self, route: usize, vary: &Arc<VaryOn>) {
        if let Some(route) = self.route(route) {
            *route.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(vary));
        }
    }

    fn route(&self, route: usize) -> Option<&Mutex<Option<Arc<VaryOn>>>> {
        self.routes.get(route).or(self.routes.last())
    }
}
