//! What is kept here, for the other instances: given to the shared tier, or taken from it, behind the client's back.
//!
//! Only what memory was given goes there, only by routes that say so, and only whole answers that anybody with the same key may
//! be given without asking (`Shared::keep` sees to that).

use std::net::SocketAddr;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Proxy;
use super::job::Facts;
use super::own_address::is_named_in;
use super::route::Tiers;
use crate::object::{Key, Stored};
use crate::semantics::vary::VaryOn;
use crate::shared::{Entry, Lease, Shared};

/// Where an answer lies: the key of its resource, its own, and what it varies on.
pub(super) type Shelf = (Key, Key, Arc<VaryOn>);

/// What is new of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum New {
    /// All of it.
    Whole,
    /// Its head: the body may lie there already.
    Head,
}

impl<C> Proxy<C> {
    /// The shared tier, if this route's answers go there.
    pub(super) fn shared_by(&self, route: usize) -> Option<&Arc<Shared>> {
        let shared = self.shared.as_ref()?;
        (self.snapshot.routes.get(route).tier == Tiers::Both && shared.is_ready()).then_some(shared)
    }

    /// Gives what has just been kept in memory to the other instances. What only this one has, each of the others must fetch
    /// once: the lease, if it was fetched under one, goes where the answer goes.
    pub(super) fn share(
        &self,
        &Facts { route, here, .. }: &Facts,
        (base, key, vary): Shelf,
        stored: &Arc<Stored>,
        (new, lease): (New, Option<Lease>),
    ) {
        let Some(shared) = self.shared_by(route) else {
            return;
        };
        // Whoever asks another instance must not be led here: it is for those that are asked by the same address.
        let leads_to = here.filter(|here| is_named_in(*here, &stored.head.headers(), stored.body_bytes()));
        let lease = lease.filter(|_| leads_to.is_none());
        let entry = Entry {
            base,
            key,
            vary,
            rules: rules_at(self.snapshot.rules(route), leads_to),
            stored: Arc::clone(stored),
            is_update: new == New::Head,
            lease,
        };
        shared.keep(route, entry);
    }

    /// Takes back what may lie there: it is not what the upstream would say any more.
    pub(super) fn unshare(&self, base: Key, key: Key) {
        if let Some(shared) = &self.shared {
            shared.forget(base, key);
        }
    }
}

/// The digest of the rules by which an answer may be given that leads to this instance's own address, if it does.
pub(super) fn rules_at(rules: u64, leads_to: Option<SocketAddr>) -> u64 {
    leads_to.map_or(rules, |here| xxh3_64_with_seed(here.to_string().as_bytes(), rules))
}
