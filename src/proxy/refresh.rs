//! Behind an answer that was given stale: one fetch that nobody waits for.

use std::sync::Arc;

use http::HeaderMap;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Proxy;
use super::beyond::Asking;
use super::client::Client;
use super::coalesce::{Joined, Pilot};
use super::forward::Purpose;
use super::job::Job;
use super::lookup::{Found, Patience, Tier};
use super::plan::Cacheable;
use crate::object::Stored;
use crate::semantics::{RequestDirectives, Verdict};
use crate::upstream::Connector;

impl<C: Connector> Proxy<C> {
    /// Begins it, unless it is under way or the upstream failed a moment ago. Whoever asks meanwhile for what may not be given
    /// stale joins it.
    pub(super) fn refresh(self: &Arc<Self>, client: &Client, cacheable: &Cacheable) {
        let headers = &client.parts.headers;
        let now = self.clock.now();
        let found = self.find_with(&client.looked, cacheable.key, headers);
        // Of a part nobody knows what of it will be wanted next; and what a client forbids to keep refreshes nothing.
        let is_of_use = |stored: &Arc<Stored>| stored.part.is_none() && !stored.is_asked_in_vain(now);
        if !found.stored.as_ref().is_some_and(is_of_use) || RequestDirectives::read(headers).no_store {
            return;
        }
        // Of such a request nothing came that could be kept: it would begin one fetch after the other.
        if self.remembers(cacheable, headers) {
            return;
        }
        // A popular tag may have made stale a great many at once: who finds no place is given it stale all the same, and the next
        // who asks tries again.
        let place = if found.is_soft { Arc::clone(&self.refreshes).try_acquire_owned().ok() } else { None };
        if found.is_soft && place.is_none() {
            self.telemetry.validation.deferred.add_one();
            return;
        }
        // Without a job there is nothing to begin: the next request that has to wait is told why.
        let (asker, looked) = client.clone().shared();
        let Ok(job) = self.job((&asker, &looked), cacheable, Purpose::Keep) else {
            return;
        };
        let is_here =
            || self.find(cacheable.key, headers).verdict(headers, self.clock.now()) == Verdict::Serve;
        if let Joined::Began(_, pilot, _) =
            self.flights.join(found.key, (&asker, cacheable), |flight| self.labels_of(flight), is_here)
        {
            self.telemetry.validation.refreshes.add_one();
            match self.shared_by(client.route).and_then(|_| self.asking(client, cacheable)) {
                Some(asking) => {
                    let refreshed = Arc::clone(self).refresh_beyond(asking, job, pilot);
                    tokio::spawn(holding(place, refreshed))
                }
                None => tokio::spawn(holding(place, Arc::clone(self).fly(job, pilot))),
            };
        }
    }

    /// The task of a refresh: another instance may have made it already.
    async fn refresh_beyond(self: Arc<Self>, asking: Asking, mut job: Job, pilot: Pilot) {
        let mut until = Instant::now();
        if let Some(shared) = self.shared_by(asking.route) {
            until += shared.patience;
        }
        let looked = self.find_beyond(&asking, until).await;
        // Whoever joins this has not waited for the tier yet, and does not wait for it twice.
        job.terms.patience = if looked.is_ok() { Patience::Until(until) } else { Patience::Spent };
        let found = looked.ok().flatten();
        let is_fresh = |found: &Found| {
            // For anybody: what this client would take says nothing of those who wait.
            let verdict = found.verdict(&HeaderMap::new(), self.clock.now());
            found.tier == Tier::Shared && verdict == Verdict::Serve
        };
        match found.filter(is_fresh) {
            Some(found) => pilot.found(found),
            None => self.fly(job, pilot).await,
        }
    }
}

/// The place is free again when it is done.
async fn holding(place: Option<OwnedSemaphorePermit>, refresh: impl Future<Output = ()>) {
    refresh.await;
    drop(place);
}
