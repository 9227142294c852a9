//! A log of invalidations that worlds share, in memory, with faults on command.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use larder::invalidation::log::Reply;
use larder::invalidation::{Event, EventId, InstanceId, Line, Log, LogError, Logged, Session};
use larder::object::Epoch;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::origin::Gate;

/// What worlds share.
#[derive(Clone)]
pub(crate) struct FakeLog(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    appended: Notify,
}

struct State {
    life: u8,
    events: Vec<Logged>,
    /// How many of the first were trimmed away.
    trimmed: usize,
    lines: BTreeMap<InstanceId, Line>,
    is_away: bool,
    /// Where those who read, or append, wait.
    reads: Option<Gate>,
    appends: Option<Gate>,
    /// Whoever is one of these hears nothing, and is not heard.
    cut: Vec<String>,
}

/// One world's connection.
struct Connection {
    log: FakeLog,
    name: String,
    life: u8,
    end: u64,
}

impl FakeLog {
    pub(crate) fn new() -> Self {
        let state = State {
            life: 1,
            events: vec![genesis()],
            trimmed: 0,
            lines: BTreeMap::new(),
            is_away: false,
            reads: None,
            appends: None,
            cut: Vec::new(),
        };
        Self(Arc::new(Inner { state: Mutex::new(state), appended: Notify::new() }))
    }

    /// From now on nobody reaches it, or everybody does.
    pub(crate) fn is_away(&self, is_away: bool) {
        self.state().is_away = is_away;
        self.0.appended.notify_waiters();
    }

    /// From now on this world does not reach it, or does.
    pub(crate) fn cuts(&self, name: &str, is_cut: bool) {
        let mut state = self.state();
        state.cut.retain(|cut| cut != name);
        if is_cut {
            state.cut.push(name.to_owned());
        }
        drop(state);
        self.0.appended.notify_waiters();
    }

    /// From now on whoever reads waits at this gate.
    pub(crate) fn holds_reads(&self, gate: &Gate) {
        self.state().reads = Some(gate.clone());
    }

    /// From now on whoever appends waits at this gate.
    pub(crate) fn holds_appends(&self, gate: &Gate) {
        self.state().appends = Some(gate.clone());
    }

    /// The names of those who have a line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut names: Vec<_> = self.state().lines.values().map(|line| line.name.clone()).collect();
        names.sort();
        names
    }

    /// It comes back empty.
    pub(crate) fn wiped(&self) {
        let mut state = self.state();
        state.life += 1;
        state.events = vec![genesis()];
        state.trimmed = 0;
        state.lines.clear();
        drop(state);
        self.0.appended.notify_waiters();
    }

    /// All but the last so many events are forgotten.
    pub(crate) fn trimmed_to(&self, count: usize) {
        let mut state = self.state();
        state.trimmed = state.events.len().saturating_sub(count);
    }

    /// All events that were ever written, without the first.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.state().events.iter().skip(1).filter_map(|logged| logged.event.clone()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reached(&self, name: &str) -> Result<MutexGuard<'_, State>, LogError> {
        let state = self.state();
        if state.is_away || state.cut.iter().any(|cut| cut == name) {
            return Err(LogError::Away("cut off by the test".to_owned()));
        }
        Ok(state)
    }
}

impl Connection {
    fn state(&self) -> Result<MutexGuard<'_, State>, LogError> {
        let state = self.log.reached(&self.name)?;
        if state.life == self.life { Ok(state) } else { Err(LogError::Replaced) }
    }

    fn after(&self, position: u64) -> Result<Vec<Logged>, LogError> {
        let state = self.state()?;
        let there = state.events.iter().skip(state.trimmed);
        Ok(there.filter(|logged| logged.position > position).take(100).cloned().collect())
    }
}

impl Log for FakeLog {
    fn join(&self, mine: Line, _: Option<EventId>) -> Reply<'_, Box<dyn Session>> {
        Box::pin(async move {
            let mut state = self.reached(&mine.name)?;
            let (life, end) = (state.life, state.events.len() as u64);
            let name = mine.name.clone();
            // In another epoch nothing was applied yet.
            let applied = if mine.epoch == epoch(life) { mine.applied } else { 0 };
            state.lines.insert(mine.id, Line { epoch: epoch(life), applied, ..mine });
            let connection = Connection { log: self.clone(), name, life, end };
            Ok(Box::new(connection) as Box<dyn Session>)
        })
    }
}

impl Session for Connection {
    fn epoch(&self) -> Epoch {
        epoch(self.life)
    }

    fn end(&self) -> u64 {
        self.end
    }

    fn read(&self, after: u64, wait: Duration) -> Reply<'_, Vec<Logged>> {
        Box::pin(async move {
            let gate = self.state()?.reads.clone();
            if let Some(gate) = gate {
                gate.pass().await;
            }
            let waiting = async {
                loop {
                    let appended = self.log.0.appended.notified();
                    let events = self.after(after)?;
                    if !events.is_empty() {
                        return Ok(events);
                    }
                    appended.await;
                }
            };
            timeout(wait, waiting).await.unwrap_or_else(|_| self.after(after))
        })
    }

    fn append(&self, events: Vec<(EventId, Event)>) -> Reply<'_, ()> {
        Box::pin(async move {
            let gate = self.state()?.appends.clone();
            if let Some(gate) = gate {
                gate.pass().await;
            }
            let mut state = self.state()?;
            for (id, event) in events {
                let position = state.events.len() as u64 + 1;
                state.events.push(Logged { position, id, event: Some(event) });
            }
            drop(state);
            self.log.0.appended.notify_waiters();
            Ok(())
        })
    }

    fn renew(&self, line: Line) -> Reply<'_, Vec<Line>> {
        Box::pin(async move {
            let mut state = self.state()?;
            state.lines.insert(line.id, line);
            Ok(state.lines.values().cloned().collect())
        })
    }

    fn lines(&self) -> Reply<'_, Vec<Line>> {
        Box::pin(async move { Ok(self.state()?.lines.values().cloned().collect()) })
    }

    fn leave(&self, id: InstanceId) -> Reply<'_, ()> {
        Box::pin(async move {
            self.state()?.lines.remove(&id);
            Ok(())
        })
    }

    fn remove(&self, lines: Vec<Line>) -> Reply<'_, ()> {
        Box::pin(async move {
            let mut state = self.state()?;
            for line in lines {
                if state.lines.get(&line.id) == Some(&line) {
                    state.lines.remove(&line.id);
                }
            }
            Ok(())
        })
    }
}

fn epoch(life: u8) -> Epoch {
    Epoch([life; 16])
}

fn genesis() -> Logged {
    Logged { position: 1, id: EventId([0; 16]), event: Some(Event::default()) }
}

impl fmt::Debug for FakeLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeLog")
    }
}
