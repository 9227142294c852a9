//! What proved uncacheable a while ago: the next herd goes straight through instead of waiting to be told the same.
//!
//! Some reasons lie in the request that was sent: it bore a cookie or a credential that nobody declared. They say nothing of
//! the same key asked for without one, so they are remembered for those who bear one, and for nobody else.

use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use moka::sync::Cache;

use super::Proxy;
use super::plan::Cacheable;
use crate::clock::Timestamp;
use crate::object::Key;
use crate::semantics::{Audience, NotStored};
use crate::upstream::Connector;

/// Keys whose answers were not kept, and until when that is believed.
#[derive(Debug)]
pub struct Uncacheable {
    for_all: Cache<Key, Timestamp>,
    /// For requests that bear something undeclared.
    for_bearers: Cache<Key, Timestamp>,
}

/// How many are remembered: the least used go first, and cost a herd one wait.
const REMEMBERED_MAX: u64 = 65_536;
/// As long as Varnish remembers its hit-for-miss.
const REMEMBERED_FOR: Duration = Duration::from_secs(120);
/// An error may be over in a moment; but while it lasts nobody should queue up behind it.
const ERROR_REMEMBERED_FOR: Duration = Duration::from_secs(1);

impl Uncacheable {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { for_all: Cache::new(REMEMBERED_MAX), for_bearers: Cache::new(REMEMBERED_MAX) }
    }

    /// Whether an answer under this key proved uncacheable a while ago, for such a request.
    pub fn remembers(&self, key: &Key, is_bearer: bool, now: Timestamp) -> bool {
        let believed = |cache: &Cache<Key, Timestamp>| cache.get(key).is_some_and(|until| now < until);
        believed(&self.for_all) || (is_bearer && believed(&self.for_bearers))
    }

    /// An answer was not kept, for this reason.
    pub fn learn(&self, key: Key, why: NotStored, is_error: bool, now: Timestamp) {
        let remembered_for = if is_error { ERROR_REMEMBERED_FOR } else { REMEMBERED_FOR };
        let cache = match why {
            // These say nothing of the next answer.
            NotStored::RequestNoStore | NotStored::NoRoom | NotStored::BrokenOff | NotStored::Method => {
                return;
            }
            NotStored::UndeclaredCredential | NotStored::Authorization => &self.for_bearers,
            _ => &self.for_all,
        };
        cache.insert(key, now.plus(remembered_for));
    }

    /// An answer was kept after all.
    pub fn forget(&self, key: &Key) {
        // Most have nothing to forget, and looking costs less than removing.
        if self.for_all.contains_key(key) {
            self.for_all.invalidate(key);
        }
    }
}

impl<C: Connector> Proxy<C> {
    /// Whether the last answer to such a request proved uncacheable.
    pub(super) fn remembers(&self, cacheable: &Cacheable, headers: &HeaderMap) -> bool {
        let now = self.clock.now();
        self.uncacheable.remembers(&cacheable.key, is_bearer(cacheable, headers), now)
    }
}

/// Whether the request bears what may keep its answer from being kept, and that of others not.
pub(super) fn is_bearer(cacheable: &Cacheable, headers: &HeaderMap) -> bool {
    let everyones = cacheable.audience == Audience::Everyone && !cacheable.declared_shared;
    cacheable.undeclared_credential || (everyones && headers.contains_key(AUTHORIZATION))
}
