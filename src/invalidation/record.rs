//! `Record`: what is invalid, as all threads of this instance see it, and what they declare.
//!
//! It holds the `Ledger` behind a lock, with two numbers in front of it: the *version*, which changes with everything that is
//! learnt, so that a hit on an entry that was looked at before costs one load; and the *stamp*, for what is about to be
//! fetched. Without a log that others share, an event is applied where it is declared. With one, `follow` keeps this up to
//! date, and `acknowledge` waits for others.
//!
//! Invariant: the version changes after what it stands for, and before anybody is told of that.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};

use super::event::{Event, EventId};
use super::fate::Fate;
use super::ledger::{Applied, Ledger, Limits};
use super::log::{InstanceId, Log};
use super::roll::Roll;
use super::trust::Trust;
use super::unlogged::Watched;
use crate::clock::Clock;
use crate::object::{Epoch, Labels, Stamp, Stored};
use crate::telemetry::Telemetry;
use crate::telemetry::log_state::LogState;

/// What is invalid, and since when.
pub struct Record {
    ledger: RwLock<Ledger>,
    /// Goes up with everything that is learnt.
    version: AtomicU64,
    /// The ledger's.
    stamp: AtomicU64,
    pub(super) me: Me,
    pub(super) clock: Clock,
    /// None: nobody else has a part in it.
    pub(super) others: Option<Others>,
    /// Nanoseconds of the clock, until which memory may be believed.
    trusted_until: AtomicU64,
    events: AtomicU64,
    /// So many who wait, and those who have gone are looked for.
    waiting_max: usize,
    /// Who waits until an event is in the log.
    waiting: Mutex<HashMap<EventId, Waits>>,
    /// The last event that was declared here took long to get there.
    pub(super) is_slow: AtomicBool,
    pub(super) telemetry: Arc<Telemetry>,
}

/// This instance.
#[derive(Clone, Debug)]
pub struct Me {
    /// Drawn when the process starts.
    pub id: InstanceId,
    /// What people call it.
    pub name: String,
}

/// What is known of the log that others share, and of them.
pub(super) struct Others {
    pub(super) log: Arc<dyn Log>,
    pub(super) trust: Mutex<Trust>,
    pub(super) roll: Mutex<Roll>,
    /// Something was declared.
    pub(super) declared: Notify,
    /// Somebody waits for what the lines say.
    pub(super) wanted: Notify,
    pub(super) watchers: AtomicU64,
    /// Whether there is a session.
    pub(super) up: watch::Sender<bool>,
    pub(super) reading: watch::Sender<Reading>,
    /// It was read, or could not be, at least once.
    pub(super) has_started: AtomicBool,
    /// That it is not followed was told of.
    pub(super) told: AtomicBool,
    /// Changes when events were applied.
    pub(super) applied: watch::Sender<()>,
    /// We are to leave; and whether we have.
    pub(super) leaving: Notify,
    pub(super) left: watch::Sender<bool>,
}

/// What the lines of all others said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// When it was asked for.
    pub(super) asked_at: Duration,
    /// Of this epoch …
    pub(super) epoch: Epoch,
    /// … all who are live have applied all up to here.
    pub(super) covered: u64,
}

/// Where an event stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In which life of it, …
    pub epoch: Epoch,
    /// … where, …
    pub position: u64,
    /// … and what that is as a stamp here.
    pub stamp: Stamp,
    /// Nothing else had named what was watched.
    pub is_alone: bool,
}

/// What a record is made of.
pub struct Parts {
    /// How much is remembered.
    pub limits: Limits,
    /// This instance.
    pub me: Me,
    /// Drawn: the epoch as long as there is no log.
    pub epoch: Epoch,
    /// The log that others share, if there is one.
    pub log: Option<Arc<dyn Log>>,
    /// What time it is.
    pub clock: Clock,
    /// Where facts are told.
    pub telemetry: Arc<Telemetry>,
}

/// Something was declared: applied here, and on its way to the log.
#[derive(Debug)]
pub struct Declared {
    /// Which event.
    pub id: EventId,
    logged: Result<Place, oneshot::Receiver<Place>>,
}

/// Somebody waits until an event is in the log.
pub(super) struct Waits {
    pub(super) tell: oneshot::Sender<Place>,
    pub(super) since: Duration,
}

/// Nobody else has a part in it, who could stop waiting.
const ALWAYS: u64 = u64::MAX;

impl Record {
    /// Nothing was declared yet. With a log nothing is trusted before `follow` has read it.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { limits, me, epoch, log, clock, telemetry } = parts;
        let ledger = Ledger::new(limits, epoch, clock.monotonic());
        let trusted_until = if log.is_some() { 0 } else { ALWAYS };
        let others = log.map(|log| Others {
            log,
            trust: Mutex::default(),
            roll: Mutex::default(),
            declared: Notify::new(),
            wanted: Notify::new(),
            watchers: AtomicU64::new(0),
            up: watch::Sender::new(false),
            reading: watch::Sender::new(Reading::default()),
            has_started: AtomicBool::new(false),
            told: AtomicBool::new(false),
            applied: watch::Sender::new(()),
            leaving: Notify::new(),
            left: watch::Sender::new(false),
        });
        let record = Arc::new(Self {
            stamp: AtomicU64::new(ledger.stamp().0),
            ledger: RwLock::new(ledger),
            version: AtomicU64::new(1),
            me,
            clock,
            others,
            trusted_until: AtomicU64::new(trusted_until),
            events: AtomicU64::new(0),
            waiting_max: 2 * limits.unlogged_max,
            waiting: Mutex::default(),
            is_slow: AtomicBool::new(false),
            telemetry,
        });
        let told = Arc::downgrade(&record);
        let state = move || told.upgrade().map_or_else(LogState::default, |record| record.state());
        record.telemetry.log.ask(state);
        record
    }

    /// What is fetched from now on knows of all that was applied so far.
    pub fn stamp(&self) -> Stamp {
        Stamp(self.stamp.load(Acquire))
    }

    /// Another whenever something was learnt.
    pub fn version(&self) -> u64 {
        self.version.load(Acquire)
    }

    /// What became of an entry. While nothing is learnt at all, that costs a load and a comparison.
    pub fn fate(&self, stored: &Stored) -> Fate {
        // What is being applied at this moment has not been acknowledged yet: nobody can know of it.
        if stored.live_at.load(Relaxed) == self.version.load(Acquire) {
            return Fate::Live;
        }
        let ledger = self.read();
        let fate = ledger.fate(&stored.labels, stored.stamp);
        if fate == Fate::Live {
            // The lock is still held: nothing was learnt in between.
            stored.live_at.store(self.version.load(Relaxed), Relaxed);
        }
        fate
    }

    /// Whether an entry may be served at all.
    pub fn is_live(&self, stored: &Stored) -> bool {
        self.fate(stored) != Fate::Dead
    }

    /// What became of what can be called so and was begun then.
    pub fn fate_of(&self, labels: &Labels, stamp: Stamp) -> Fate {
        self.read().fate(labels, stamp)
    }

    /// Whether memory may be believed: nobody has stopped waiting for this instance. It looks at the clock each time.
    pub fn is_trusted(&self) -> bool {
        match self.trusted_until.load(Acquire) {
            ALWAYS => true,
            until => nanos(self.clock.monotonic()) < until,
        }
    }

    /// Whether other instances have a part in it.
    pub fn is_shared(&self) -> bool {
        self.others.is_some()
    }

    /// This is invalid from now on. It is applied here when this returns, and written to the log behind it.
    pub fn declare(&self, event: Event, watched: Option<Watched>) -> Declared {
        let id = self.event_id();
        let Some(others) = &self.others else {
            return Declared { id, logged: Ok(self.apply_alone(id, event, watched)) };
        };
        let (tell, logged) = oneshot::channel();
        self.wait_for(id, tell);
        self.learn(|ledger| ledger.declare(id, event, watched));
        others.declared.notify_one();
        Declared { id, logged: Err(logged) }
    }

    /// Who has gone stays listed until the event is in the log: that may be long, and the list must not grow with it.
    fn wait_for(&self, id: EventId, tell: oneshot::Sender<Place>) {
        let since = self.clock.monotonic();
        let mut waiting = self.waiting();
        if waiting.len() >= self.waiting_max {
            waiting.retain(|_, waits| !waits.tell.is_closed());
        }
        waiting.insert(id, Waits { tell, since });
    }

    /// Waits until that is in the log. None: it is not waited for any more.
    pub async fn logged(&self, declared: &mut Declared, within: Duration) -> Option<Place> {
        let place = match &mut declared.logged {
            Ok(place) => return Some(*place),
            Err(logged) => tokio::time::timeout(within, logged).await.ok()?.ok()?,
        };
        declared.logged = Ok(place);
        Some(place)
    }

    /// The same for a client that waits for no more than the order of things: not at all while the log is away, or slow.
    pub async fn logged_soon(&self, declared: &mut Declared, within: Duration) -> Option<Place> {
        let is_quick = self.is_followed() && !self.is_slow.load(Relaxed);
        let place = self.logged(declared, if is_quick { within } else { Duration::ZERO }).await;
        if place.is_none() {
            self.is_slow.store(true, Relaxed);
        }
        place
    }

    /// How long what was asked for at that time may live, because something had named it a moment before: by its route, whose
    /// backend takes `settle` to say the same everywhere, or by a hook.
    pub fn settles(&self, labels: &Labels, asked_at: Duration, settle: Duration) -> Option<Duration> {
        let ledger = self.read();
        let own = ledger.settling.own(labels, asked_at);
        let is_named = || {
            let before = ledger.settling.stamp_at(asked_at.saturating_sub(settle));
            ledger.fate(labels, before) != Fate::Live
        };
        let by_route = (!settle.is_zero() && is_named()).then_some(settle);
        own.into_iter().chain(by_route).min()
    }

    /// Whether the log is followed at this moment: then what is declared will be in it within moments.
    pub fn is_followed(&self) -> bool {
        self.others.as_ref().is_none_or(|others| *others.up.borrow())
    }

    /// Nobody but this instance: the order of events is the order in which they are declared.
    fn apply_alone(&self, id: EventId, event: Event, watched: Option<Watched>) -> Place {
        let now = self.clock.monotonic();
        self.learn(|ledger| {
            let (epoch, applied) = ledger.place();
            let position = applied + 1;
            let named = event.clone();
            ledger.declare(id, event, watched);
            let Applied { stamp, is_alone } = ledger
                .apply(position, id, Some(&named), now)
                .unwrap_or(Applied { stamp: ledger.stamp(), is_alone: false });
            Place { epoch, position, stamp, is_alone }
        })
    }

    /// Changes the ledger, and lets everybody see it.
    pub(super) fn learn<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        let mut ledger = self.ledger.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut ledger);
        self.publish(&ledger);
        result
    }

    fn publish(&self, ledger: &RwLockWriteGuard<'_, Ledger>) {
        self.stamp.store(ledger.stamp().0, Release);
        self.version.fetch_add(1, Release);
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Ledger> {
        self.ledger.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn trust_until(&self, until: Option<Duration>) {
        self.trusted_until.store(until.map_or(0, nanos), Release);
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, HashMap<EventId, Waits>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that no other has: whose it is, and its number.
    fn event_id(&self) -> EventId {
        let mut id = [0; 16];
        let (whose, number) = id.split_at_mut(8);
        whose.copy_from_slice(&self.me.id.0);
        number.copy_from_slice(&self.events.fetch_add(1, Relaxed).to_be_bytes());
        EventId(id)
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(ALWAYS - 1)
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("me", &self.me).finish_non_exhaustive()
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("me", &self.me).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::example;

    #[test]
    fn a_hit_on_what_was_looked_at_before_takes_no_lock() {
        let limits = Limits { tags_max: 10, prefixes_max: 10, unlogged_max: 10 };
        let me = Me { id: InstanceId([1; 8]), name: "me".to_owned() };
        let telemetry = Arc::new(Telemetry::default());
        let (epoch, clock) = (Epoch([1; 16]), Clock::System);
        let record = Record::new(Parts { limits, me, epoch, log: None, clock, telemetry });
        let stored = Stored { stamp: record.stamp(), ..example::stored(&[], b"") };
        assert_eq!(record.fate(&stored), Fate::Live);
        let version = record.version();
        {
            // Whoever learns something holds it alone: who wanted it would wait for ever.
            let _held = record.ledger.write().unwrap();
            assert_eq!(record.fate(&stored), Fate::Live);
        }
        assert_eq!(record.version(), version);
        record.declare(Event { tags: vec!["user:7".to_owned()], ..Event::default() }, None);
        assert_eq!(record.fate(&stored), Fate::Dead);
    }
}
