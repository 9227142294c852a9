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
use tokio::sync::Notify;

use super::bases::{Bases, Primary};
use super::leases::Leases;
use super::queue::Queue;
use super::reads::{Place, Read, Reads};
use super::settings::Settings;
use super::sight::{Frame, Sight};
use super::tier::{Name, News, Tier};
use crate::clock::Clock;
use crate::object::wire::{self, Envelope, Wire};
use crate::object::{Epoch, Key, KeySecret, Resource, Stamp, Stored};
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
    /// The tier can be heard again.
    pub(super) heard: Arc<Notify>,
    pub(super) epoch: Epoch,
    pub(super) is_live: IsLive,
    pub(super) clock: Clock,
    pub(super) max_object_bytes: u64,
    /// How long a request waits for the tier, all in all.
    pub patience: Duration,
    pub(super) telemetry: Arc<Telemetry>,
    /// The reasons that were logged.
    told: Mutex<HashSet<&'static str>>,
}

/// Whether nothing has changed this answer since it was asked for.
pub type IsLive = Box<dyn Fn(&Stored) -> bool + Send + Sync>;

/// What a shared tier is made of.
pub struct Parts {
    /// Where the bytes go.
    pub tier: Arc<dyn Tier>,
    /// What the configuration says.
    pub settings: Settings,
    /// Of this process's record of changes.
    pub epoch: Epoch,
    /// What this process says of changes.
    pub is_live: IsLive,
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
    /// … and what is asked for.
    pub resource: Resource,
}

impl Shared {
    /// Nothing is asked of the tier yet: see `run`.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { tier, settings, epoch, is_live, secret, routes, clock, telemetry } = parts;
        let heard = Arc::new(Notify::new());
        let wakes = Arc::clone(&heard);
        let leases = Leases::new(Arc::clone(&tier), settings.lease, Arc::clone(&telemetry));
        let lessor = Arc::clone(&leases);
        tier.tell(Box::new(move |news| {
            lessor.hear(news);
            if news == News::Hearing {
                wakes.notify_one();
            }
        }));
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
            heard,
            epoch,
            is_live,
            clock,
            max_object_bytes: settings.max_object_bytes,
            patience: settings.command_timeout,
            telemetry,
            told: Mutex::default(),
        })
    }

    /// Carries out what is queued, and agrees with other instances: to be run as long as the process does.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.agree(), self.write());
    }

    /// Waits until all that is queued is written or lost. Removals are among it: who stops should not leave them undone.
    pub async fn written(&self) {
        self.queue.emptied().await;
    }

    /// Whether it may be used: before instances agree on how they name things, nothing is found and nothing is worth keeping.
    pub fn is_ready(&self) -> bool {
        self.agreed.load(Acquire)
    }

    /// What a resource varies on, as far as is known without asking.
    pub fn vary(&self, base: &Key, route: usize) -> Option<Arc<VaryOn>> {
        self.bases.primary(base).map(|primary| primary.vary).or_else(|| self.bases.guess(route))
    }

    /// A place at the read of these names; and the read, for the first who asks.
    pub fn join(&self, question: &Question) -> (Place, Option<Read>) {
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
        let opened = self.wire.decode(&question.base, value, &question.route, question.resource);
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
        let ahead = stored.answered_at.max(stored.lifetime.answered_at).since(self.clock.now());
        if ahead > AHEAD_MAX {
            self.unreadable("clock", "it was kept by an instance whose clock is ahead of this one's");
            return None;
        }
        let stamp = self.stamp(&envelope);
        let stored = Stored { stamp, live_at: AtomicU64::new(stamp.0), ..earlier_by(ahead, stored) };
        Some(Frame { key: envelope.key, vary: Arc::new(envelope.vary), stored: Arc::new(stored) })
    }

    /// Positions of another life say nothing here: what was kept then is live only if no change was ever learnt in this one.
    fn stamp(&self, envelope: &Envelope) -> Stamp {
        if envelope.epoch == self.epoch { Stamp(envelope.position.1) } else { Stamp::default() }
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
    Stored {
        requested_at: stored.requested_at.minus(ahead),
        answered_at: stored.answered_at.minus(ahead),
        lifetime,
        ..stored
    }
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
