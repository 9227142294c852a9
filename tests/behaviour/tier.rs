//! A shared tier in memory, with faults on command. It keeps bytes and nothing else, and honours times to live by Tokio's clock.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use larder::object::wire::{ASKED_AT, SAME_BODY};
use larder::shared::{Acquired, Landed, Name, News, Reply, Tier, TierError, Token};
use tokio::time::Instant;

use crate::journal::FakeLog;
use crate::origin::Gate;

/// What worlds share.
#[derive(Clone, Debug)]
pub(crate) struct FakeTier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The log of invalidations beside it.
    log: FakeLog,
    /// Worlds that share it so far.
    worlds: AtomicUsize,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    values: HashMap<Name, Value>,
    secret: Option<Value>,
    fault: Fault,
    gate: Option<Gate>,
    counts: Counts,
    listeners: Vec<Arc<dyn Fn(News) + Send + Sync>>,
    /// Who holds what; none: instances don't agree on who fetches.
    leases: Option<HashMap<Name, Held>>,
}

#[derive(Clone, Debug)]
struct Held {
    token: Token,
    until: Instant,
    is_waited_for: bool,
}

#[derive(Clone, Debug)]
struct Value {
    bytes: Bytes,
    until: Instant,
}

/// How it fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not at all.
    #[default]
    None,
    /// At once.
    Away,
    /// After so long.
    TimesOut(Duration),
    /// At once, in the middle of something.
    Breaks,
    /// Reads are answered; writes are refused.
    Full,
    /// Writes are said to be done, and are not.
    LosesWrites,
    /// All is done, but that a lease was taken is not said in time.
    TakesLeasesUnheard(Duration),
    /// Reads are answered; writes time out after so long.
    HangsWrites(Duration),
    /// All is answered, after so long.
    Slow(Duration),
}

/// What it was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Round trips that read.
    pub(crate) reads: usize,
    /// Names that were read.
    pub(crate) names: usize,
    /// Values written whole.
    pub(crate) puts: usize,
    /// Heads written.
    pub(crate) patches: usize,
    /// Removals.
    pub(crate) removals: usize,
    /// Bytes that came in to be written.
    pub(crate) written_bytes: usize,
}

impl FakeTier {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            log: FakeLog::new(),
            worlds: AtomicUsize::new(0),
            started: Instant::now(),
            state: Mutex::default(),
        }))
    }

    /// The log of invalidations that its worlds share.
    pub(crate) fn log(&self) -> &FakeLog {
        &self.0.log
    }

    /// What the next world is called: `world 1`, `world 2`, …
    pub(crate) fn next_name(&self) -> String {
        format!("world {}", self.0.worlds.fetch_add(1, Relaxed) + 1)
    }

    /// When all clocks of its worlds began.
    pub(crate) fn started(&self) -> Instant {
        self.0.started
    }

    /// From now on it fails so.
    pub(crate) fn fails(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// From now on reads wait at this gate.
    pub(crate) fn holds_reads(&self, gate: &Gate) {
        self.state().gate = Some(gate.clone());
    }

    /// What it was asked so far.
    pub(crate) fn counts(&self) -> Counts {
        self.state().counts
    }

    /// All values that are there, their names, and how long each stays.
    pub(crate) fn values(&self) -> Vec<(Name, Bytes, Duration)> {
        let now = Instant::now();
        let state = self.state();
        let there = state.values.iter().filter(|(_, value)| value.until > now);
        there.map(|(name, value)| (*name, value.bytes.clone(), value.until - now)).collect()
    }

    /// How many values are there.
    pub(crate) fn count(&self) -> usize {
        self.values().len()
    }

    /// The secret that is agreed on.
    pub(crate) fn secret(&self) -> Option<Bytes> {
        self.state().secret.as_ref().map(|value| value.bytes.clone())
    }

    /// Puts another in its place.
    pub(crate) fn set_secret(&self, bytes: &'static [u8]) {
        let until = Instant::now() + Duration::from_secs(86_400);
        self.state().secret = Some(Value { bytes: Bytes::from_static(bytes), until });
    }

    /// Changes the bytes of every value.
    pub(crate) fn corrupt(&self, change: impl Fn(&mut Vec<u8>)) {
        for value in self.state().values.values_mut() {
            let mut bytes = value.bytes.to_vec();
            change(&mut bytes);
            value.bytes = bytes.into();
        }
    }

    /// Every value takes the place of the next.
    pub(crate) fn shuffle(&self) {
        let mut state = self.state();
        let mut names: Vec<Name> = state.values.keys().copied().collect();
        names.sort_by_key(|name| name.base);
        let mut bytes: Vec<Bytes> = names.iter().map(|name| state.values[name].bytes.clone()).collect();
        bytes.rotate_left(1);
        for (name, bytes) in names.iter().zip(bytes) {
            if let Some(value) = state.values.get_mut(name) {
                value.bytes = bytes;
            }
        }
    }

    /// From now on instances hear each other, and agree on who fetches.
    pub(crate) fn hears(&self) {
        self.state().leases = Some(HashMap::new());
        self.say(News::Hearing);
    }

    /// No news comes through any more.
    pub(crate) fn is_deaf(&self) {
        self.say(News::Deaf);
    }

    /// Whoever holds leases has died: they are another's, who never renews them.
    pub(crate) fn kills_holders(&self) {
        self.state().leases.iter_mut().flatten().for_each(|(_, held)| held.token = Token([0xff; 16]));
    }

    /// How many leases are held.
    pub(crate) fn leases(&self) -> usize {
        let now = Instant::now();
        self.state().leases.iter().flatten().filter(|(_, held)| held.until > now).count()
    }

    fn say(&self, news: News) {
        let listeners = self.state().listeners.clone();
        for listener in &listeners {
            listener(news);
        }
    }

    /// What instances agreed on is evicted.
    pub(crate) fn loses_secret(&self) {
        self.state().secret = None;
        // The log's name lies in the same place.
        self.0.log.wiped();
    }

    /// All answers are gone.
    pub(crate) fn loses_values(&self) {
        self.state().values.clear();
    }

    /// It comes back empty.
    pub(crate) fn wipe(&self) {
        let mut state = self.state();
        state.values.clear();
        state.secret = None;
        drop(state);
        self.0.log.wiped();
        self.say(News::Hearing);
    }

    fn acquire_now(&self, name: Name, token: Token, lease: Duration) -> Result<Acquired, TierError> {
        let now = Instant::now();
        let mut state = self.state();
        let leases = state.leases.as_mut().ok_or(TierError::Away)?;
        if let Some(held) = leases.get_mut(&name).filter(|held| held.until > now && held.token != token) {
            held.is_waited_for = true;
            return Ok(Acquired::Theirs(held.until - now));
        }
        leases.insert(name, Held { token, until: now + lease, is_waited_for: false });
        Ok(Acquired::Ours)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fault(&self, writes: bool) -> Result<bool, TierError> {
        let fault = self.state().fault;
        match fault {
            Fault::Away => Err(TierError::Away),
            Fault::Breaks => Err(TierError::Broken),
            Fault::Full if writes => Err(TierError::Refused("OOM")),
            Fault::LosesWrites if writes => Ok(false),
            Fault::TimesOut(after) | Fault::HangsWrites(after)
                if writes || matches!(fault, Fault::TimesOut(_)) =>
            {
                tokio::time::sleep(after).await;
                Err(TierError::TimedOut)
            }
            Fault::Slow(after) => {
                tokio::time::sleep(after).await;
                Ok(true)
            }
            _ => Ok(true),
        }
    }
}

impl State {
    fn get(&self, name: &Name) -> Option<Bytes> {
        let value = self.values.get(name)?;
        (value.until > Instant::now()).then(|| value.bytes.clone())
    }

    fn put(&mut self, name: Name, bytes: Bytes, keep_for: Duration) {
        assert!(!keep_for.is_zero(), "a value without a time to live");
        self.values.insert(name, Value { bytes, until: Instant::now() + keep_for });
    }
}

impl Tier for FakeTier {
    fn get(&self, names: Vec<Name>) -> Reply<'_, Vec<Option<Bytes>>> {
        Box::pin(async move {
            let gate = {
                let mut state = self.state();
                state.counts.reads += 1;
                state.counts.names += names.len();
                state.gate.clone()
            };
            if let Some(gate) = gate {
                gate.pass().await;
            }
            self.fault(false).await?;
            assert!(names.iter().all(|name| name.base == names[0].base), "names of several resources");
            let state = self.state();
            Ok(names.iter().map(|name| state.get(name)).collect())
        })
    }

    fn put(&self, name: Name, value: Bytes, keep_for: Duration) -> Reply<'_, bool> {
        Box::pin(async move {
            let does = self.fault(true).await?;
            let mut state = self.state();
            let asked_at = |value: &Bytes| Some(u64::from_le_bytes(value.get(ASKED_AT)?.try_into().ok()?));
            let later = state.get(&name).and_then(|there| asked_at(&there)?.checked_sub(asked_at(&value)?));
            if later.is_some_and(|later| (1..60_000).contains(&later)) {
                return Ok(false);
            }
            state.counts.puts += 1;
            state.counts.written_bytes += value.len();
            if does {
                state.put(name, value, keep_for);
            }
            Ok(true)
        })
    }

    fn patch(&self, name: Name, head: Bytes, keep_for: Duration) -> Reply<'_, bool> {
        Box::pin(async move {
            let does = self.fault(true).await?;
            let mut state = self.state();
            state.counts.patches += 1;
            state.counts.written_bytes += head.len();
            let Some(there) = state.get(&name) else { return Ok(false) };
            if there.get(SAME_BODY) != head.get(SAME_BODY) {
                return Ok(false);
            }
            if does {
                let mut bytes = head.to_vec();
                bytes.extend_from_slice(&there[head.len()..]);
                state.put(name, bytes.into(), keep_for);
            }
            Ok(true)
        })
    }

    fn remove(&self, names: Vec<Name>) -> Reply<'_, ()> {
        Box::pin(async move {
            let does = self.fault(true).await?;
            let mut state = self.state();
            state.counts.removals += 1;
            for name in names.iter().filter(|_| does) {
                state.values.remove(name);
            }
            Ok(())
        })
    }

    fn agree(&self, mine: Bytes, replace: Option<Bytes>, keep_for: Duration) -> Reply<'_, Bytes> {
        Box::pin(async move {
            self.fault(true).await?;
            let mut state = self.state();
            let until = Instant::now() + keep_for;
            let there = state.secret.as_ref().map(|value| value.bytes.clone());
            let bytes = there.filter(|there| Some(there) != replace.as_ref()).unwrap_or(mine);
            state.secret = Some(Value { bytes: bytes.clone(), until });
            Ok(bytes)
        })
    }

    fn acquire(&self, name: Name, token: Token, lease: Duration) -> Reply<'_, Acquired> {
        Box::pin(async move {
            self.fault(true).await?;
            let acquired = self.acquire_now(name, token, lease);
            let fault = self.state().fault;
            if let Fault::TakesLeasesUnheard(after) = fault {
                tokio::time::sleep(after).await;
                return Err(TierError::TimedOut);
            }
            acquired
        })
    }

    fn renew(&self, name: Name, token: Token, lease: Duration) -> Reply<'_, bool> {
        Box::pin(async move {
            self.fault(true).await?;
            let mut state = self.state();
            let held = state.leases.as_mut().and_then(|leases| leases.get_mut(&name));
            let ours = held.filter(|held| held.token == token && held.until > Instant::now());
            Ok(ours.map(|held| held.until = Instant::now() + lease).is_some())
        })
    }

    fn release(&self, name: Name, token: Token, landed: Landed) -> Reply<'_, ()> {
        Box::pin(async move {
            // Forgetting and telling take no room.
            let writes = self.state().fault != Fault::Full;
            self.fault(writes).await?;
            let mut state = self.state();
            let leases = state.leases.as_mut().ok_or(TierError::Away)?;
            let Some(held) = leases.get(&name).filter(|held| held.token == token).cloned() else {
                return Ok(());
            };
            leases.remove(&name);
            drop(state);
            if held.is_waited_for {
                self.say(News::Landed(name, landed));
            }
            Ok(())
        })
    }

    fn tell(&self, listener: Box<dyn Fn(News) + Send + Sync>) {
        self.state().listeners.push(listener.into());
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("values", &self.values.len())
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}
