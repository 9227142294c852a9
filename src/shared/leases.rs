//! Who of all instances fetches, and how the others hear that it is done.
//!
//! A `Lease` is the right to fetch what lies under a name, held by one instance at a time and only as long as it renews it: who
//! dies loses it. Others `wait`, and are woken by what the holder says when it gives the lease back. Invariant: nobody waits
//! for what can't be heard: whoever waits is let go when news does not come through, when the lease has run out, and when the
//! time it was given is over.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::patience::in_time;
use super::tier::{Acquired, Landed, Name, News, Tier, TierError, Token};
use crate::telemetry::Telemetry;

/// All leases of this instance: those it holds and those it waits for.
#[derive(Debug)]
pub struct Leases {
    tier: Arc<dyn Tier>,
    /// How long a holder may be silent.
    lease: Duration,
    waiting: Mutex<HashMap<Name, Vec<oneshot::Sender<Landed>>>>,
    /// News comes through.
    hearing: AtomicBool,
    telemetry: Arc<Telemetry>,
}

/// What a wish to fetch came to.
#[derive(Debug)]
pub enum Turn {
    /// It is ours to fetch, for all; and whether another had it first.
    Ours(Lease, bool),
    /// Another instance has fetched it, and it lies in the tier: look there.
    Look,
    /// There is no agreement with the others to be had: fetch as if there were none.
    Alone,
    /// Another instance has fetched it, and nobody else may have what came.
    NotShared,
}

/// The right to fetch. Dropped, it is given back with the news that nothing was kept.
#[derive(Debug)]
pub struct Lease {
    leases: Arc<Leases>,
    name: Name,
    token: Token,
    landed: Landed,
    /// It is given back.
    is_over: bool,
    /// Ends with the lease.
    renewing: tokio::task::AbortHandle,
}

/// Renewed so often within its time that one lost renewal loses nothing.
const RENEWALS: u32 = 3;
/// While the tier is away; then this costs nothing, for it says so at once.
const GIVEN_BACK_EVERY: Duration = Duration::from_millis(100);
/// A lease that has run out is asked for a little later than that, so that it has run out there too.
const MARGIN: Duration = Duration::from_millis(5);

impl Leases {
    /// None yet.
    pub fn new(tier: Arc<dyn Tier>, lease: Duration, telemetry: Arc<Telemetry>) -> Arc<Self> {
        let waiting = Mutex::default();
        Arc::new(Self { tier, lease, waiting, hearing: AtomicBool::new(false), telemetry })
    }

    /// Takes in what is heard from the tier.
    pub fn hear(&self, news: News) {
        match news {
            News::Hearing => self.hearing.store(true, Relaxed),
            // Before the senders go: who registers afterwards sees that nothing comes through.
            News::Deaf => {
                self.hearing.store(false, Relaxed);
                self.lock().clear();
            }
            News::Landed(name, landed) => {
                for waiting in self.lock().remove(&name).unwrap_or_default() {
                    // Whoever has gone needs no news.
                    let _ = waiting.send(landed);
                }
            }
        }
    }

    /// Takes the lease of this name, or waits until its holder is done, at most until `until`.
    ///
    /// `patience`: until then the tier may think about it.
    pub async fn turn(
        self: &Arc<Self>,
        name: Name,
        token: Token,
        (patience, until): (Instant, Instant),
    ) -> Turn {
        let counts = &self.telemetry.shared;
        let mut patience = Some(patience);
        loop {
            // Registered before the lease is asked for: from the moment the tier knows that somebody waits, no news is missed.
            let Some(news) = self.register(name) else {
                return Turn::Alone;
            };
            let left = match self.acquire(name, token, patience).await {
                Ok(Acquired::Ours) => {
                    self.forget_closed(name, news);
                    counts.leases_taken.add_one();
                    return Turn::Ours(self.hold(name, token), patience.is_none());
                }
                Ok(Acquired::Theirs(left)) => left,
                Err(_) => {
                    self.forget_closed(name, news);
                    return Turn::Alone;
                }
            };
            if patience.take().is_some() {
                counts.leases_waited.add_one();
            }
            // What a lease that is none of ours says of its end is not believed.
            let wake = (Instant::now() + left.min(self.lease) + MARGIN).min(until);
            let heard = timeout_at(wake, news).await;
            match heard {
                Ok(Ok(Landed::Kept)) => return Turn::Look,
                Ok(Ok(Landed::NotShared)) => return Turn::NotShared,
                // The holder met a failure: that need not be ours. Or nothing comes through any more.
                Ok(Ok(Landed::Failed) | Err(_)) => return Turn::Alone,
                Err(_) => self.forget_closed_ones(name),
            }
            if Instant::now() >= until {
                return Turn::Alone;
            }
            // The holder has renewed it, or has died: who asks next takes over.
        }
    }

    /// Asks for it. Where the reply does not come, it may have been given all the same: then it is given back, or others would
    /// wait for us who don't know that we have it.
    async fn acquire(
        self: &Arc<Self>,
        name: Name,
        token: Token,
        patience: Option<Instant>,
    ) -> Result<Acquired, TierError> {
        let asking = self.tier.acquire(name, token, self.lease);
        let acquired = match patience {
            Some(patience) => in_time(patience, asking).await.unwrap_or(Err(TierError::TimedOut)),
            None => asking.await,
        };
        if matches!(acquired, Err(TierError::TimedOut | TierError::Broken)) {
            tokio::spawn(Arc::clone(self).give_back(name, token, Landed::Failed));
        }
        acquired
    }

    fn register(&self, name: Name) -> Option<oneshot::Receiver<Landed>> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        // Looked at under the lock that `hear` clears under.
        if !self.hearing.load(Relaxed) {
            return None;
        }
        waiting.entry(name).or_default().push(sender);
        Some(receiver)
    }

    fn forget_closed(&self, name: Name, news: oneshot::Receiver<Landed>) {
        drop(news);
        self.forget_closed_ones(name);
    }

    /// Nobody listens any more where the receiver is gone.
    fn forget_closed_ones(&self, name: Name) {
        let mut waiting = self.lock();
        if let Some(senders) = waiting.get_mut(&name) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                waiting.remove(&name);
            }
        }
    }

    fn hold(self: &Arc<Self>, name: Name, token: Token) -> Lease {
        let leases = Arc::clone(self);
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(leases.lease / RENEWALS).await;
                // Lost: another fetches by now. This fetch goes on all the same, for those who wait here.
                if let Ok(false) = leases.tier.renew(name, token, leases.lease).await {
                    return;
                }
            }
        });
        let renewing = renewing.abort_handle();
        Lease { leases: Arc::clone(self), name, token, landed: Landed::Failed, is_over: false, renewing }
    }

    /// As long as it would last: a lease that nobody works under holds up whoever asks for it when the tier is back.
    async fn give_back(self: Arc<Self>, name: Name, token: Token, landed: Landed) {
        let over_at = Instant::now() + self.lease;
        while self.tier.release(name, token, landed).await.is_err() && Instant::now() < over_at {
            tokio::time::sleep(GIVEN_BACK_EVERY).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Vec<oneshot::Sender<Landed>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// How long its holder may be silent.
    pub fn period(&self) -> Duration {
        self.leases.lease
    }

    /// Gives it back, and tells all who wait what came of it.
    pub fn land(mut self, landed: Landed) {
        self.landed = landed;
    }

    /// … and waits until that is said, unless it can't be just now.
    pub async fn land_now(mut self, landed: Landed) {
        self.landed = landed;
        self.is_over = self.leases.tier.release(self.name, self.token, landed).await.is_ok();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
        if self.is_over {
            return;
        }
        // Without a runtime the process is ending, and the lease runs out by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(Arc::clone(&self.leases).give_back(self.name, self.token, self.landed));
        }
    }
}
