//! One fetch over all instances: who of them asks the upstream, before a flight does.
//!
//! A flight is the one fetch of this instance. With `coalesce = "cluster"` it first takes the key's lease, or waits for the
//! instance that has it and lands with what that one kept. Invariant: without the tier, or without a word from the others, a
//! flight is what it is on one instance alone.

use std::sync::Arc;

use tokio::time::Instant;

use super::Proxy;
use super::beyond::Asking;
use super::job::{Terms, Wants};
use super::keep::Keeping;
use super::landing::Arrived;
use super::lookup::{Found, Patience};
use super::own_address::is_named_in;
use super::route::Coalesce;
use crate::object::Key;
use crate::semantics::Verdict;
use crate::shared::{Landed, Lease, Name, Token, Turn};
use crate::upstream::Connector;

/// What a flight is to do.
pub(super) enum Lead {
    /// Ask the upstream; what comes is for all instances where there is a lease.
    Fetch(Option<Lease>),
    /// Nothing: this is what another instance fetched.
    Found(Found),
    /// Nothing: what another instance fetched was for one client only, and so will ours be. Let each ask for itself.
    Part,
}

/// For the resource, and for the variant that the first turn has told of.
const TURNS_MAX: usize = 2;

impl<C: Connector> Proxy<C> {
    /// Agrees with the other instances on who asks.
    pub(super) async fn lead(self: &Arc<Self>, terms: &Terms, key: Key) -> Lead {
        let Some(shared) = self.shared_by(terms.route).filter(|_| self.is_led(terms)) else {
            return Lead::Fetch(None);
        };
        let asking = Asking::on(terms);
        let base = terms.cacheable.key;
        let until = Instant::now() + self.client.settings().response_timeout;
        let mut patience = match terms.patience {
            Patience::Whole => Instant::now() + shared.patience,
            Patience::Until(until) => until,
            Patience::Spent => return Lead::Fetch(None),
        };
        let mut key = key;
        for _ in 0..TURNS_MAX {
            // Who keeps to other rules can't use what we fetch.
            let name = Name { base, variant: Some(key.under(self.snapshot.rules(terms.route))) };
            let turn = shared.leases.turn(name, Token(self.dice.token()), (patience, until)).await;
            let (lease, has_waited) = match turn {
                Turn::Alone => return Lead::Fetch(None),
                Turn::NotShared => return Lead::Part,
                Turn::Ours(lease, has_waited) => (Some(lease), has_waited),
                Turn::Look => (None, true),
            };
            // The time that another's fetch took was not spent on the tier.
            if has_waited {
                patience = Instant::now() + shared.patience;
            }
            // Looked at once more, also with the lease in hand: the last to hold it may have landed between our look and this.
            let found = self.find_beyond(&asking, patience).await.ok();
            let found = found.map(|found| found.unwrap_or_else(|| self.find(base, &asking.headers)));
            match (found.filter(|found| self.is_good_for_all(found, terms)), lease) {
                (Some(found), lease) => {
                    if let Some(lease) = lease {
                        lease.land(Landed::Kept);
                    }
                    return Lead::Found(found);
                }
                (None, Some(lease)) => return Lead::Fetch(Some(lease)),
                (None, None) => {}
            }
            // What was kept is gone already, or it is another variant: then this one has a turn of its own. But nobody waits
            // for one fetch after the other.
            match self.variant_beyond(shared, &asking) {
                Some(variant) if variant != key => key = variant,
                _ => break,
            }
        }
        Lead::Fetch(None)
    }

    fn is_good_for_all(&self, found: &Found, terms: &Terms) -> bool {
        let is_whole = found.stored.as_ref().is_some_and(|stored| stored.part.is_none());
        is_whole && found.verdict(terms.headers(), self.clock.now()) == Verdict::Serve
    }

    /// Whether this will lie in the shared tier, as far as is known before it is whole.
    pub(super) fn is_to_be_shared(&self, keeping: &Keeping) -> bool {
        let Arrived { part, tee, head, .. } = &*keeping.arrived;
        // What leads to this instance is not for all others; of the body that is seen when it is here.
        if keeping.facts.here.is_some_and(|here| is_named_in(here, &head.headers, &[])) {
            return false;
        }
        part.is_none() && self.is_shareable(tee.length().unwrap_or(0))
    }

    /// Whether a body of so many bytes may lie in the shared tier.
    pub(super) fn is_shareable(&self, body_bytes: u64) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.takes(body_bytes))
    }

    /// Whether other instances may have what this brings, and may be asking for it now.
    pub(super) fn is_led(&self, terms: &Terms) -> bool {
        let route = self.snapshot.routes.get(terms.route);
        let is_for_all = route.coalesce == Coalesce::Cluster && terms.wants == Wants::Whole;
        is_for_all && self.shared_by(terms.route).is_some()
    }
}
