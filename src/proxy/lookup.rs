//! Key → what is kept for it: the entry itself, or the variant of it that this request selects.

use std::sync::Arc;

use http::HeaderMap;
use tokio::time::Instant;

use super::Proxy;
use super::kinds::Kinds;
use super::plan::variant_key;
use super::slice;
use crate::clock::Timestamp;
use crate::invalidation::{Fate, Record};
use crate::object::{Key, Stored};
use crate::semantics::verdict::{undirected, verdict};
use crate::semantics::{Forward, RequestDirectives, Verdict};
use crate::store::{Slot, Variants};

/// What a look into the tiers gave.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where an answer to this request lies, or would lie as far as is known.
    pub key: Key,
    /// What lies there, fresh or not, unless it was declared invalid since.
    pub stored: Option<Arc<Stored>>,
    /// It was softly: it is stale, whatever its lifetime says.
    pub is_soft: bool,
    /// Other variants are kept, but not this one.
    pub other_variants: bool,
    /// Which tier gave it.
    pub tier: Tier,
}

/// What a client's look into the shared tier came to.
#[derive(Clone, Default)]
pub struct Looked {
    /// How long it may still be asked on the client's behalf.
    pub patience: Patience,
    /// What it found; memory may not have taken it.
    pub found: Option<Found>,
}

/// How long a client still waits for the shared tier: all that one request asks of it shares one deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patience {
    /// It has not been asked yet.
    #[default]
    Whole,
    /// Until then. What is past may have been spent on other requests by a busy thread: then it is asked, and what it says at
    /// once is taken.
    Until(Instant),
    /// It did not answer: it is not asked again.
    Spent,
}

/// Where an answer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// In this process.
    Memory,
    /// In the tier that all instances share.
    Shared,
    /// In this process, which can't read the log of invalidations.
    CutOff,
}

impl<C> Proxy<C> {
    /// Looks into memory.
    pub(super) fn find(&self, resource: Key, request: &HeaderMap) -> Found {
        let variants = match self.memory.get(&resource) {
            None => {
                return Found::in_memory(resource, None);
            }
            Some(Slot::Entry(stored)) => {
                return match self.record.fate(&stored) {
                    Fate::Dead => Found::in_memory(resource, None),
                    fate => Found { is_soft: fate == Fate::Soft, ..Found::in_memory(resource, Some(stored)) },
                };
            }
            Some(Slot::Varies(variants)) => variants,
        };
        let key = variant_key(&resource, variants.vary(), request, &self.snapshot.identity);
        let in_language = || variants.in_best_language(request).iter().find_map(|key| self.entry_at(key));
        let stored = self.entry_at(&key).or_else(in_language);
        let other_variants = stored.is_none();
        let is_soft = stored.as_ref().is_some_and(|stored| self.record.fate(stored) == Fate::Soft);
        Found { is_soft, other_variants, ..Found::in_memory(key, stored) }
    }

    /// … and where memory would not take what this client's look into the shared tier has found, at that.
    pub(super) fn find_with(&self, looked: &Looked, resource: Key, request: &HeaderMap) -> Found {
        let found = self.find(resource, request);
        match (&found.stored, &looked.found) {
            (None, Some(beyond)) if beyond.is_live(&self.record) => beyond.clone(),
            _ => found,
        }
    }

    /// The variants of this resource, if it varies.
    pub(super) fn variants_of(&self, resource: &Key) -> Option<Arc<Variants>> {
        match self.memory.get(resource)? {
            Slot::Varies(variants) => Some(variants),
            Slot::Entry(_) => None,
        }
    }

    /// Forgets what `find` gave for this request, wherever it lies, and in every tier.
    pub(super) fn forget(&self, resource: Key, request: &HeaderMap, kept: &Arc<Stored>) {
        let Some(Slot::Varies(variants)) = self.memory.get(&resource) else {
            self.memory.remove(&resource, kept);
            return self.unshare(resource, resource);
        };
        let own = variant_key(&resource, variants.vary(), request, &self.snapshot.identity);
        self.memory.remove(&own, kept);
        self.unshare(resource, own);
        for key in variants.in_best_language(request) {
            if self.memory.remove(&key, kept) {
                self.unshare(resource, key);
            }
        }
    }

    /// The live entry under this key.
    pub(super) fn entry_at(&self, key: &Key) -> Option<Arc<Stored>> {
        match self.memory.get(key)? {
            Slot::Entry(stored) => Some(stored).filter(|stored| self.record.is_live(stored)),
            Slot::Varies(_) => None,
        }
    }
}

impl Looked {
    /// The client has waited for something else since. What did not answer it is not asked again.
    pub fn renew(&mut self) {
        if self.patience != Patience::Spent {
            self.patience = Patience::Whole;
        }
    }
}

impl Tier {
    /// The word in `Cache-Status` and `/entry`.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Shared => "redis",
            Self::CutOff => "cut-off",
        }
    }
}

impl Found {
    fn in_memory(key: Key, stored: Option<Arc<Stored>>) -> Self {
        Self { key, stored, is_soft: false, other_variants: false, tier: Tier::Memory }
    }

    fn is_live(&self, record: &Record) -> bool {
        self.stored.as_ref().is_some_and(|stored| record.is_live(stored))
    }

    /// What may be done with it for this request.
    pub(super) fn verdict(&self, request: &HeaderMap, now: Timestamp) -> Verdict {
        self.verdict_for(Kinds::read(request), request, now)
    }

    /// The same, where it is known what kinds of fields the request has.
    pub(super) fn verdict_for(&self, kinds: Kinds, request: &HeaderMap, now: Timestamp) -> Verdict {
        let lifetime = self.stored.as_ref().map(|stored| &stored.lifetime);
        let verdict = match lifetime {
            Some(lifetime) if !kinds.directs_caches() => undirected(lifetime, now),
            None if !kinds.directs_caches() => Verdict::Ask(Forward::UriMiss),
            lifetime => verdict(lifetime, request, now),
        };
        match verdict {
            Verdict::Ask(Forward::UriMiss) if self.other_variants => Verdict::Ask(Forward::VaryMiss),
            verdict if verdict.serves() && self.lacks_what_is_asked_for(request) => {
                let only_if_cached = RequestDirectives::read(request).only_if_cached;
                if only_if_cached { Verdict::OnlyIfCached } else { Verdict::Ask(Forward::Partial) }
            }
            Verdict::Serve if self.is_soft => soft(request),
            verdict => verdict,
        }
    }

    /// Whether what is kept is a part, and not all that this request is for is in it.
    fn lacks_what_is_asked_for(&self, request: &HeaderMap) -> bool {
        let stored = self.stored.as_ref().filter(|stored| stored.part.is_some());
        stored.is_some_and(|stored| slice::of_part(stored, request).is_none())
    }
}

/// What is fresh by what was said of it when it came, and stale by what was said since: what this client would take of that.
fn soft(request: &HeaderMap) -> Verdict {
    let asked = RequestDirectives::read(request);
    // RFC 9111, 5.2.1.1: "Unless the max-stale request directive is also present, the client does not wish to receive a stale
    // response."
    let wants_fresh = (asked.max_age.is_some() || asked.min_fresh.is_some()) && asked.max_stale.is_none();
    match (wants_fresh, asked.only_if_cached) {
        (true, true) => Verdict::OnlyIfCached,
        (true, false) => Verdict::Ask(Forward::Stale),
        // The client wants nothing asked; who comes next begins the refresh.
        (false, true) => Verdict::ServeStale,
        (false, false) => Verdict::ServeAndRefresh,
    }
}
