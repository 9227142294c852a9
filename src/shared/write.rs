//! The writer: one task that carries out what is queued, and what may be queued at all.
//!
//! Nobody waits for it. Before an answer is written it is held against the record of changes once more. Between that look
//! and the write something may be declared invalid: then what is written is dead, by its stamp, for whoever finds it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::bases::Primary;
use super::queue::{Entry, Order};
use super::second::Shared;
use super::tier::{Landed, Name, TierError};
use crate::clock::Timestamp;
use crate::object::wire::Envelope;
use crate::object::{Key, Stored};

/// Orders that are carried out at once: as many round trips share one wait.
const AT_ONCE_MAX: usize = 32;
/// Past its end, an entry with a validator can be asked about; as long as it was good, but no longer than this.
const ASKED_ABOUT_FOR: Duration = Duration::from_secs(3600);

impl Shared {
    /// Queues an answer, if it is one that others may be given as it is, and remembers what its route varies on.
    pub fn keep(&self, route: usize, entry: Entry) {
        if !self.is_ready() {
            return;
        }
        if !entry.vary.is_empty() {
            self.bases.varied(route, &entry.vary);
        }
        let stored = &entry.stored;
        if stored.part.is_some() {
            return;
        }
        if stored.lifetime.can_be_shared() && self.takes(stored.body_bytes().len() as u64) {
            self.queue.push(Order::Keep(entry));
        } else {
            // It has taken the place of what may lie there.
            self.forget(entry.base, entry.key);
        }
    }

    /// Whether a body of so many bytes may lie there.
    pub fn takes(&self, body_bytes: u64) -> bool {
        body_bytes <= self.max_object_bytes
    }

    /// Queues that what lies there of this key is forgotten: under a name of its own, or under that of its resource.
    pub fn forget(&self, base: Key, key: Key) {
        let own = Name { base, variant: Some(key).filter(|key| *key != base) };
        let is_anothers = self.bases.primary(&base).is_some_and(|primary| primary.key != key);
        let mut names = vec![own];
        if own.variant.is_some() && !is_anothers {
            names.push(Name { base, variant: None });
        }
        self.remove(base, names);
    }

    fn remove(&self, base: Key, names: Vec<Name>) {
        if self.is_ready() {
            self.queue.push(Order::Remove(base, names));
        }
    }

    pub(super) async fn write(self: &Arc<Self>) {
        loop {
            let mut batch = self.queue.next(AT_ONCE_MAX).await;
            let mut under_way = JoinSet::new();
            for order in batch.orders.drain(..) {
                under_way.spawn(Arc::clone(self).carry_out(order));
            }
            while under_way.join_next().await.is_some() {}
        }
    }

    async fn carry_out(self: Arc<Self>, order: Order) {
        match order {
            Order::Keep(mut entry) => {
                if self.put(&entry).await
                    && let Some(lease) = entry.lease.take()
                {
                    lease.land_now(Landed::Kept).await;
                }
            }
            Order::Remove(_, names) => match self.tier.remove(names).await {
                Ok(()) => self.telemetry.shared.removed.add_one(),
                Err(error) => self.lost(error, "what was changed was not removed from the shared tier"),
            },
        }
    }

    /// Whether it lies there now.
    async fn put(&self, entry: &Entry) -> bool {
        let now = self.clock.now();
        let keep_for = worth_keeping_for(&entry.stored, now);
        if keep_for.is_zero() || !self.stamps.is_live(&entry.stored) {
            return false;
        }
        let name = self.name_of(entry, now);
        match self.put_under(name, entry, keep_for).await {
            Ok(is_there) => is_there,
            Err(error) => {
                self.lost(error, "an answer was not written to the shared tier");
                false
            }
        }
    }

    fn lost(&self, error: TierError, what: &'static str) {
        self.telemetry.shared.dropped.add_one();
        tracing::debug!(%error, "{what}");
    }

    async fn put_under(&self, name: Name, entry: &Entry, keep_for: Duration) -> Result<bool, TierError> {
        // What was fetched in another life of the log of invalidations is dead.
        let Some((epoch, position)) = self.stamps.place_of(entry.stored.stamp) else {
            return Ok(false);
        };
        let (key, vary, rules) = (entry.key, (*entry.vary).clone(), entry.rules);
        let envelope = Envelope { key, vary, rules, epoch, position };
        if entry.is_update {
            let head = self.wire.encode_head(&entry.base, &envelope, &entry.stored);
            if self.tier.patch(name, sealed(head)?, keep_for).await? {
                self.telemetry.shared.patched.add_one();
                return Ok(true);
            }
            // Another body lies there, or none: the whole is sent, if it has not been changed while we asked.
            if !self.stamps.is_live(&entry.stored) {
                return Ok(false);
            }
        }
        let frame = sealed(self.wire.encode(&entry.base, &envelope, &entry.stored))?;
        // RFC 9111, 4: "When more than one suitable response is stored, a cache MUST use the most recent one": a slow fetch must
        // not take the place of one that was begun, and has ended, in the meantime.
        let own = Name { variant: Some(entry.key), ..name };
        let mut is_written = self.tier.put(name, frame.clone(), keep_for).await?;
        if is_written && name.variant.is_none() {
            self.is_primary_now(entry).await;
        } else if !is_written && name.variant.is_none() && entry.key != entry.base {
            // It may be another variant that has come there since.
            is_written = self.tier.put(own, frame, keep_for).await?;
        }
        if is_written {
            self.telemetry.shared.written.add_one();
        }
        Ok(true)
    }

    /// The name it is written under: the resource's own, unless another variant that is good still lies there.
    fn name_of(&self, entry: &Entry, now: Timestamp) -> Name {
        let is_anothers = |primary: &Primary| {
            primary.key != entry.key && primary.vary == entry.vary && now < primary.over_at
        };
        let taken = self.bases.primary(&entry.base).is_some_and(|primary| is_anothers(&primary));
        Name { base: entry.base, variant: (taken && entry.key != entry.base).then_some(entry.key) }
    }

    /// It lies under the resource's own name: under that of its variant an older one may.
    async fn is_primary_now(&self, entry: &Entry) {
        if entry.vary.is_empty() {
            return self.bases.forget(&entry.base);
        }
        let (vary, over_at) = (Arc::clone(&entry.vary), entry.stored.lifetime.fresh_until);
        self.bases.learn(entry.base, Primary { key: entry.key, vary, over_at });
        // If that fails, whoever looks for this variant looks at both, and takes the later one.
        let _ = self.tier.remove(vec![Name { base: entry.base, variant: Some(entry.key) }]).await;
    }
}

/// What could not be sealed is empty.
fn sealed(frame: Bytes) -> Result<Bytes, TierError> {
    if frame.is_empty() { Err(TierError::Refused("no random numbers to seal it with")) } else { Ok(frame) }
}

/// Until it is good for nothing.
fn worth_keeping_for(stored: &Stored, now: Timestamp) -> Duration {
    let useful_until = stored.lifetime.fresh_until.plus(stored.lifetime.stale.longest());
    let was_useful_for = useful_until.since(stored.lifetime.answered_at);
    let asked_about_for =
        if stored.head.has_validator() { was_useful_for.min(ASKED_ABOUT_FOR) } else { Duration::ZERO };
    useful_until.plus(asked_about_for).since(now).min(KEPT_FOR_MAX)
}

/// A tier need not reckon with more: losing it costs a fetch.
const KEPT_FOR_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
