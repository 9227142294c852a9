//! An upstream that refuses who asks (401, 403): what is kept for that one at this URI is theirs no longer, with no instance and in
//! no variant.
//!
//! Anybody can be refused as often as they like. So nothing is declared unless something is kept for them, here or in the tier that
//! all instances share: strangers fill no log.

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::Proxy;
use super::beyond::Asking;
use super::called::of_key;
use super::client::Client;
use super::job::Terms;
use super::lookup::Patience;
use super::plan::{Cacheable, Plan, plan};
use super::target::Target;
use crate::invalidation::Event;
use crate::object::Key;
use crate::semantics::Audience;
use crate::shared::{Seen, in_time};
use crate::store::Slot;
use crate::upstream::Connector;

/// Whether this status says that who asks may not have it.
pub(super) fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

impl<C: Connector> Proxy<C> {
    /// One who asked for what may be kept.
    pub(super) async fn was_refused(&self, terms: &Terms) {
        self.take_from(&terms.cacheable, &Asking::on(terms), terms.patience).await;
    }

    /// One who was passed through: what is kept is that of a GET.
    pub(super) async fn was_refused_in_passing(&self, client: &Client, target: &Target<'_>) {
        let routed =
            plan(&client.wanted(target, &Method::GET), &self.snapshot.routes, &self.snapshot.identity);
        if let Plan::Cache(cacheable) = routed.plan
            && let Some(asking) = self.asking(client, &cacheable)
        {
            self.take_from(&cacheable, &asking, client.looked.patience).await;
        }
    }

    async fn take_from(&self, cacheable: &Cacheable, asking: &Asking, patience: Patience) {
        let key = cacheable.key;
        if cacheable.audience != Audience::Identity {
            return;
        }
        // Where the shared tier was asked already, what it has is here by now.
        let is_kept = self.has_any(&key) || (patience == Patience::Whole && self.lies_beyond(asking).await);
        self.unshare(key, key);
        if is_kept {
            self.record.declare(Event { digests: vec![of_key(&key)], ..Event::default() }, None);
        }
    }

    /// Whether memory has it, in whatever variant.
    fn has_any(&self, key: &Key) -> bool {
        match self.memory.get(key) {
            None => false,
            Some(Slot::Entry(stored)) => self.record.is_live(&stored),
            Some(Slot::Varies(variants)) => variants.keys().iter().any(|key| self.entry_at(key).is_some()),
        }
    }

    /// Whether the shared tier has it. The one who is refused waits for that as long as for any other look.
    async fn lies_beyond(&self, asking: &Asking) -> bool {
        let Some(shared) = self.shared_by(asking.route) else {
            return false;
        };
        let question = self.question(asking, self.variant_beyond(shared, asking));
        let sight = in_time(Instant::now() + shared.patience, shared.read(&question)).await;
        sight.is_some_and(|sight| !matches!(self.seen(&sight, asking), Seen::Nothing))
    }
}
