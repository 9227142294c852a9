//! One fetch over all instances: who of them asks the upstream, before a flight does.
//!
//! A flight is the one fetch of this instance. With `coalesce = "cluster"` it first takes the key's lease, or waits for the
//! instance that has it and lands with what that one kept. Invariant: without the tier, or without a word from the others, a
//! flight is what it is on one instance alone.

use std::sync::Arc;

use tokio::time::Instant;

use super::Proxy;
use super::beyond::Asking;
use super::coalesce::Arrived;
use super::job::{Terms, Wants};
use super::keep::Keeping;
use super::route::Coalesce;
use crate::object::{Key, Stamp, Stored};
use crate::semantics::Verdict;
use crate::semantics::verdict::verdict;
use crate::shared::{Landed, Lease, Name, Shared, Token, Turn};
use crate::upstream::Connector;

/// What a flight is to do.
pub(super) enum Lead {
    /// Ask the upstream; what comes is for all instances where there is a lease.
    Fetch(Option<Lease>),
    /// Nothing: this is what another instance fetched.
    Found(Arc<Stored>),
    /// Nothing: what another instance fetched was for one client only, and so will ours be. Let each ask for itself.
    Part,
}

impl<C: Connector> Proxy<C> {
    /// Agrees with the other instances on who asks.
    pub(super) async fn lead(self: &Arc<Self>, terms: &Terms, key: Key) -> Lead {
        let Some(shared) = self.shared_by(terms.route).filter(|_| self.is_for_all(terms)) else {
            return Lead::Fetch(None);
        };
        let (headers, route) = (Arc::clone(&terms.headers), terms.route);
        let asking = Asking { base: terms.cacheable.key, headers, route, resource: terms.resource };
        let base = terms.cacheable.key;
        let name = Name { base, variant: Some(key).filter(|key| *key != base) };
        let until = Instant::now() + self.client.settings().response_timeout;
        loop {
            let turn = shared.leases.turn(name, Token(self.dice.token()), until).await;
            // Looked at once more, also with the lease in hand: the last to hold it may have landed between our look and this.
            let found = match turn {
                Turn::Alone => return Lead::Fetch(None),
                Turn::NotShared => return Lead::Part,
                Turn::Ours(_) | Turn::Look => self.find_beyond(&asking).await,
            };
            let serves = |stored: &Arc<Stored>| {
                verdict(Some(&stored.lifetime), &terms.headers, self.clock.now()) == Verdict::Serve
            };
            match (found.and_then(|found| found.stored).filter(serves), turn) {
                (Some(stored), turn) => {
                    if let Turn::Ours(lease) = turn {
                        lease.land(Landed::Kept);
                    }
                    return Lead::Found(stored);
                }
                (None, Turn::Ours(lease)) => return Lead::Fetch(Some(lease)),
                // What was kept is gone already, or another variant of it.
                (None, _) if Instant::now() < until => {}
                (None, _) => return Lead::Fetch(None),
            }
        }
    }

    /// Whether this will lie in the shared tier, as far as is known before it is whole.
    pub(super) fn is_to_be_shared(&self, keeping: &Keeping) -> bool {
        let Arrived { part, tee, .. } = &*keeping.arrived;
        let is_short = |shared: &Arc<Shared>| tee.length().is_none_or(|length| shared.takes(length));
        part.is_none() && self.shared.as_ref().is_some_and(is_short)
    }

    /// Ends the turn of this instance. What only it has, each of the others must fetch once.
    pub(super) fn land(&self, base: Key, lease: Option<Lease>, is_shared: bool) {
        if let (Some(shared), Some(lease), true) = (&self.shared, lease, is_shared) {
            shared.land(base, lease);
        }
    }

    /// Whether others may have what this brings.
    fn is_for_all(&self, terms: &Terms) -> bool {
        let route = self.snapshot.routes.get(terms.route);
        // What this instance knows to have changed, it takes from nobody else: they may not know it.
        let is_unchanged = self.ledger.holds(terms.resource, Stamp::default());
        route.coalesce == Coalesce::Cluster && terms.wants == Wants::Whole && is_unchanged
    }
}
