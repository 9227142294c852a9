//! Key → what is kept for it: the entry itself, or the variant of it that this request selects.

use std::sync::Arc;

use http::HeaderMap;

use super::Proxy;
use super::plan::variant_key;
use crate::clock::Timestamp;
use crate::object::{Key, Stored};
use crate::semantics::{Forward, Verdict, verdict::verdict};
use crate::store::Slot;

/// What a look into the tiers gave.
#[derive(Debug)]
pub(super) struct Found {
    /// Where an answer to this request lies, or would lie as far as is known.
    pub key: Key,
    /// What lies there, fresh or not.
    pub stored: Option<Arc<Stored>>,
    /// Other variants are kept, but not this one.
    other_variants: bool,
}

impl<C> Proxy<C> {
    /// Looks.
    pub(super) fn find(&self, resource: Key, request: &HeaderMap) -> Found {
        let vary = match self.memory.get(&resource) {
            None => {
                return Found { key: resource, stored: None, other_variants: false };
            }
            Some(Slot::Entry(stored)) => {
                return Found { key: resource, stored: Some(stored), other_variants: false };
            }
            Some(Slot::Varies(vary)) => vary,
        };
        let key = variant_key(&resource, &vary, request, &self.snapshot.identity);
        match self.memory.get(&key) {
            Some(Slot::Entry(stored)) => Found { key, stored: Some(stored), other_variants: false },
            Some(Slot::Varies(_)) | None => Found { key, stored: None, other_variants: true },
        }
    }
}

impl Found {
    /// What may be done with it for this request.
    pub(super) fn verdict(&self, request: &HeaderMap, now: Timestamp) -> Verdict {
        let lifetime = self.stored.as_ref().map(|stored| &stored.lifetime);
        match verdict(lifetime, request, now) {
            Verdict::Ask(Forward::UriMiss) if self.other_variants => Verdict::Ask(Forward::VaryMiss),
            verdict => verdict,
        }
    }
}
