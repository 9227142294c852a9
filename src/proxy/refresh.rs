//! Behind an answer that was given stale: one fetch that nobody waits for.

use std::sync::Arc;

use super::Proxy;
use super::client::Client;
use super::coalesce::Joined;
use super::forward::Purpose;
use super::plan::Cacheable;
use crate::object::Stored;
use crate::semantics::{RequestDirectives, Verdict};
use crate::upstream::Connector;

impl<C: Connector> Proxy<C> {
    /// Begins it, unless it is under way or the upstream failed a moment ago. Whoever asks meanwhile for what may not be given
    /// stale joins it.
    pub(super) fn refresh(self: &Arc<Self>, client: &Client, cacheable: &Cacheable) {
        let headers = Arc::new(client.parts.headers.clone());
        let now = self.clock.now();
        let found = self.find(cacheable.key, &headers);
        // Of a part nobody knows what of it will be wanted next; and what a client forbids to keep refreshes nothing.
        let is_of_use = |stored: &Arc<Stored>| stored.part.is_none() && !stored.is_asked_in_vain(now);
        if !found.stored.as_ref().is_some_and(is_of_use) || RequestDirectives::read(&headers).no_store {
            return;
        }
        // Of such a request nothing came that could be kept: it would begin one fetch after the other.
        if self.remembers(cacheable, &headers) {
            return;
        }
        // Without a job there is nothing to begin: the next request that has to wait is told why.
        let Ok(job) = self.job(client, cacheable, &headers, Purpose::Keep) else {
            return;
        };
        let is_here =
            || self.find(cacheable.key, &headers).verdict(&headers, self.clock.now()) == Verdict::Serve;
        if let Joined::Began(_, pilot, _) =
            self.flights.join(found.key, job.terms.resource, &headers, is_here)
        {
            self.telemetry.validation.refreshes.add_one();
            tokio::spawn(Arc::clone(self).fly(job, pilot));
        }
    }
}
