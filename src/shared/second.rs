//! `Shared`: the tier behind memory, as the proxy uses it: answers go in, answers come out.
//!
//! It stands between the proxy, which knows answers, and a `Tier`, which knows bytes. Reading waits for the tier, and no longer
//! than the tier's own deadline; writing waits for nobody (`queue`, `write`). Invariants: whatever goes wrong here is a miss or a
//! lost write. What comes out was kept under the rules that hold here, is no younger than it says, and bears a stamp by which
//! this instance's ledger can tell whether it was changed.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::bases::{Bases, Primary};
use super::leases::Leases;
use super::queue::Queue;
use super::reads::{Joined, Reads};
use super::settings::Settings;
use super::sight::{Frame, Sight};
use super::stamps::Stamps;
use super::tier::{Name, Tier};
use crate::clock::Clock;
use crate::object::wire::{self, Envelope, Wire};
use crate::object::{Key, KeySecret, Stored};
use crate::semantics::{Lifetime, VaryOn};
use crate::telemetry::Telemetry;

/// The shared tier.
pub struct Shared {
    pub(super) tier: Arc<dyn Tier>,
    pub(super) wire: Wire,
    pub(super) queue: Queue,
    pub(super) bases: Bases,
    reads: Arc<Reads>,
    /// Who of all instances fetches.
    pub leases: Arc<Leases>,
    /// Keys the digests of requests with credentials; this one agrees on it with other instances.
    pub(super) secret: KeySecret,
    /// Other instances key them alike.
    pub(super) agreed: AtomicBool,
    pub(super) stamps: Arc<dyn Stamps>,
    pub(super) clock: Clock,
    pub(super) max_object_bytes: u64,
    /// How long a request waits for the tier, all in all.
    pub patience: Duration,
    pub(super) telemetry: Arc<Telemetry>,
    /// The reasons that were logged.
    told: Mutex<HashSet<&'static str>>,
}

/// What a shared tier is made of.
pub struct Parts {
    /// Where the bytes go.
    pub tier: Arc<dyn Tier>,
    /// What the configuration says.
    pub settings: Settings,
    /// What this process knows of the log of invalidations.
    pub stamps: Arc<dyn Stamps>,
    /// Of the routes' identity.
    pub secret: KeySecret,
    /// How many routes there are.
    pub routes: usize,
    /// What time it is.
    pub clock: Clock,
    /// Where facts are told.
    pub telemetry: Arc<Telemetry>,
}

/// A look into the tier.
#[derive(Clone, Debug)]
pub struct Question {
    /// The key of the resource.
    pub base: Key,
    /// … of a variant that may lie under a name of its own.
    pub variant: Option<Key>,
    /// The digest of the rules that must have been kept to.
    pub rules: u64,
    /// … or, where the answer leads to an instance's own address, with that.
    pub rules_here: u64,
    /// The name of the route, …
    pub route: Arc<str>,
    /// … its place in the snapshot, …
    pub route_index: usize,
    /// … and the path that is asked for, with its percent-encoding undone.
    pub path: Arc<[u8]>,
}

impl Shared {
    /// Nothing is asked of the tier yet: see `run`.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { tier, settings, stamps, secret, routes, clock, telemetry } = parts;
        let leases = Leases::new(Arc::clone(&tier), settings.lease, Arc::clone(&telemetry));
        let lessor = Arc::clone(&leases);
        tier.tell(Box::new(move |news| lessor.hear(news)));
        let wire = Wire::new(wire::Settings {
            namespace: settings.namespace,
            compress_above_bytes: settings.compress_above_bytes,
            max_object_bytes: settings.max_object_bytes,
            keys: settings.encryption_keys,
            cipher: settings.cipher,
        });
        Arc::new(Self {
            tier,
            wire,
            queue: Queue::new(settings.max_queued_bytes, Arc::clone(&telemetry)),
            bases: Bases::new(routes),
            reads: Arc::default(),
            leases,
            agreed: AtomicBool::new(secret.is_configured()),
            secret,
            stamps,
            clock,
            max_object_bytes: settings.max_object_bytes,
            patience: settings.command_timeout,
            telemetry,
            told: Mutex::default(),
        })
    }

    /// Carries out what is queued: to be run as long as the process does.
    pub async fn run(self: Arc<Self>) {
        self.write().await;
    }

    /// Waits until all that is queued is written or lost. Removals are among it: who stops should not leave them undone.
    pub async fn written(&self) {
        self.queue.emptied().await;
    }

    /// Whether instances have agreed on how they name what is kept for who bears a credential.
    pub fn has_agreed(&self) -> bool {
        self.agreed.load(Acquire)
    }

    /// Whether it may be used: before instances agree on how they name things, nothing is found and nothing is worth keeping; and
    /// who has not read the log of invalidations to its end can't tell what is dead.
    pub fn is_ready(&self) -> bool {
        self.agreed.load(Acquire) && self.stamps.is_trusted()
    }

    /// What a resource varies on, as far as is known without asking.
    pub fn vary(&self, base: &Key, route: usize) -> Option<Arc<VaryOn>> {
        self.bases.primary(base).map(|primary| primary.vary).or_else(|| self.bases.guess(route))
    }

    /// The read of these names, for the first who asks; for others a place at it.
    pub fn join(&self, question: &Question) -> Joined {
        self.reads.join(Name { base: question.base, variant: question.variant })
    }

    /// Looks, in one round trip.
    pub async fn read(&self, question: &Question) -> Sight {
        let base = Name { base: question.base, variant: None };
        let variant = question.variant.map(|key| Name { variant: Some(key), ..base });
        let names: Vec<Name> = [base].into_iter().chain(variant).collect();
        let Ok(values) = self.tier.get(names).await else {
            return Sight { failed: true, ..Sight::default() };
        };
        let mut values = values.into_iter();
        let mut next = || values.next().flatten().and_then(|value| self.open(question, value));
        let sight = Sight { base: next(), variant: next(), failed: false };
        self.learn(question, sight.base.as_ref());
        sight
    }

    /// What this value is, if it is an answer that may be used here.
    fn open(&self, question: &Question, value: Bytes) -> Option<Frame> {
        let opened = self.wire.decode(&question.base, value, &question.route, &question.path);
        let (envelope, stored) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                self.unreadable(why.label(), why.reason());
                return None;
            }
        };
        if ![question.rules, question.rules_here].contains(&envelope.rules) {
            self.unreadable(
                "rules",
                "it was kept under other rules of its route, or leads to another instance",
            );
            return None;
        }
        let ahead = stored.lifetime.answered_at.since(self.clock.now());
        if ahead > AHEAD_MAX {
            self.unreadable("clock", "it was kept by an instance whose clock is ahead of this one's");
            return None;
        }
        let Some(stamp) = self.stamps.stamp_of(envelope.epoch, envelope.position) else {
            self.unreadable("epoch", "it was kept in another life of the invalidation log");
            self.make_way(question, &envelope, &stored);
            return None;
        };
        let stored = Stored { stamp, live_at: AtomicU64::new(0), ..stored };
        if !self.stamps.is_live(&stored) {
            self.make_way(question, &envelope, &stored);
        }
        let stored = earlier_by(ahead, stored);
        Some(Frame { key: envelope.key, vary: Arc::new(envelope.vary), stored: Arc::new(stored) })
    }

    /// What is dead, and was asked for later than now by another's clock, would keep what is fetched now from taking its place.
    fn make_way(&self, question: &Question, envelope: &Envelope, stored: &Stored) {
        if stored.requested_at > self.clock.now() {
            self.forget(question.base, envelope.key);
        }
    }

    fn learn(&self, question: &Question, base: Option<&Frame>) {
        match base {
            Some(frame) if !frame.vary.is_empty() => {
                let vary = Arc::clone(&frame.vary);
                self.bases.varied(question.route_index, &vary);
                let over_at = frame.stored.lifetime.fresh_until;
                self.bases.learn(question.base, Primary { key: frame.key, vary, over_at });
            }
            _ => self.bases.forget(&question.base),
        }
    }

    /// Counts it; the first of each kind is told of.
    pub(super) fn unreadable(&self, label: &'static str, reason: &'static str) {
        self.telemetry.shared.unreadable.add_one(label);
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(label) {
            tracing::warn!(
                reason,
                "a value in the shared tier can't be used; more of the kind are only counted"
            );
        }
    }
}
/// Clocks differ by a little. From one that differs by more, each look would find an answer that has only just come.
const AHEAD_MAX: Duration = Duration::from_secs(2);

/// What is said to have come later than now has come now: nothing is ever good for longer than when it came.
fn earlier_by(ahead: Duration, stored: Stored) -> Stored {
    if ahead == Duration::ZERO {
        return stored;
    }
    let lifetime = Lifetime {
        answered_at: stored.lifetime.answered_at.minus(ahead),
        fresh_until: stored.lifetime.fresh_until.minus(ahead),
        ..stored.lifetime
    };
    Stored { requested_at: stored.requested_at.minus(ahead), lifetime, ..stored }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("tier", &self.tier).field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("tier", &self.tier).finish_non_exhaustive()
    }
}
