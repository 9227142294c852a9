//! What there is: two instances, a Redis between them, an upstream behind them; and how much may happen in one world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use larder::invalidation::{Event, EventId, InstanceId, LEASE, Ledger, Limits, Line, MARGIN, Roll, Trust};
use larder::object::{Epoch, Labels, Stamp, Tag};

use crate::mutation::Mutation;
use crate::search::Part;

/// Time goes in ticks: after two a lease is over, and whoever waits for its owner gives up.
pub const TICK: Duration = LEASE.saturating_add(MARGIN).checked_div(2).unwrap();
pub const KEYS: usize = 2;
/// What the clocks of the two instances say at the beginning: nobody may compare them.
const CLOCKS: [Duration; 2] = [Duration::from_secs(100), Duration::from_secs(70_000)];

/// How much may happen.
pub struct World {
    pub name: &'static str,
    /// So many keys are asked for.
    pub keys: usize,
    /// Nobody has joined yet; else both have, long ago.
    pub is_cold: bool,
    /// So many events were in the log before.
    pub history: usize,
    /// B has not read so many of them yet.
    pub unread: usize,
    /// Where the first version lies.
    pub warm: Warm,
    /// There is a shared tier.
    pub has_second: bool,
    /// How long commands to Redis take.
    pub calls: Calls,
    /// Where something can be declared invalid.
    pub declares: [bool; 2],
    /// Whose memory is looked at.
    pub serves: [bool; 2],
    /// Where something can be fetched.
    pub fetches: [bool; 2],
    /// What can happen to whom.
    pub suffers: [bool; 2],
    /// How that which is invalid can be named.
    pub names: &'static [Named],
    pub left: Left,
    pub mutation: Option<Mutation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warm {
    Nowhere,
    /// In the shared tier.
    Beyond,
    /// … and in the memory of all who serve.
    Everywhere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// No time.
    Prompt,
    /// The answers do.
    Late,
    /// The commands do too, and arrive when whoever sent them may be gone.
    Slow,
}

/// How often something can still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Left {
    pub writes: u8,
    pub fetches: u8,
    pub looks: u8,
    pub requests: u8,
    pub puts: u8,
    pub ticks: u8,
    pub stops: u8,
    pub cuts: u8,
    pub crashes: u8,
    pub wipes: u8,
    pub failovers: u8,
    pub trims: u8,
}

/// By which of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Named {
    /// One that the request tells.
    Request,
    /// One that only the answer tells.
    Answer,
    /// The beginning of its path.
    Path,
    /// Everything is.
    All,
}

#[derive(Clone, Debug, Hash)]
pub struct State {
    pub redis: Part<Redis>,
    pub at: [Part<Instance>; 2],
    /// What the upstream has.
    pub upstream: [u8; KEYS],
    /// Older versions may not be served any more.
    pub promised: [u8; KEYS],
    pub orders: Vec<Order>,
    pub request: Option<Request>,
    pub ticks: u8,
    pub numbers: u8,
    pub left: Left,
}

/// An invalidation that its sender waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    pub by: usize,
    pub key: usize,
    pub named: Named,
    /// What the upstream had when it was declared.
    pub version: u8,
    pub event: EventId,
    /// Where it stands, once that was read.
    pub place: Option<(Epoch, u64)>,
    /// Lines were asked for since.
    pub is_asked: bool,
}

/// One that came after a promise was given, and was told something of what is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    pub by: usize,
    pub key: usize,
    pub promised: u8,
    pub is_trusted: bool,
    pub kept: Option<u8>,
}

#[derive(Clone, Debug, Default, Hash)]
pub struct Redis {
    /// Which log there is; none.
    pub epoch: Option<Epoch>,
    pub epochs: u8,
    /// Another process.
    pub server: u8,
    pub log: Vec<(EventId, Arc<Event>)>,
    /// So many of them were trimmed away.
    pub trimmed: usize,
    pub lines: BTreeMap<InstanceId, Line>,
    pub second: [Option<Written>; KEYS],
    /// Sent by sessions that are lost.
    pub stray: Vec<(Epoch, Line)>,
}

/// An entry in the shared tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Written {
    pub version: u8,
    pub epoch: Epoch,
    pub position: u64,
}

/// An entry in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    pub version: u8,
    pub stamp: Stamp,
}

#[derive(Clone, Debug, Hash)]
pub struct Instance {
    pub id: InstanceId,
    pub is_stopped: bool,
    pub is_cut: bool,
    pub ledger: Part<Ledger>,
    pub trust: Trust,
    /// What a timer would say.
    pub flag: bool,
    pub roll: Roll,
    pub session: Option<Session>,
    /// What the lines of all others said: of this epoch, and how far all have come.
    pub reading: Option<(Epoch, u64)>,
    pub memory: [Option<Entry>; KEYS],
    /// To be written to the shared tier.
    pub queue: [Option<Entry>; KEYS],
    /// Read from there, and not looked at yet.
    pub looks: [Option<Written>; KEYS],
    pub flights: Vec<Flight>,
    pub puts: Vec<Put>,
}

#[derive(Clone, Debug, Hash)]
pub struct Session {
    pub epoch: Epoch,
    pub server: u8,
    pub end: u64,
    pub joined_at: Duration,
    pub phase: Phase,
    /// What the last line said.
    pub renewed: Option<(u64, u64)>,
    /// The place of the last that was sent to be appended.
    pub appended: u64,
    pub call: Option<Call>,
    /// Lines that nobody writes any more, to be taken away.
    pub dead: Vec<Line>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Answering,
    CatchingUp,
    Up,
}

/// A renewal.
#[derive(Clone, Debug, Hash)]
pub struct Call {
    pub sent_at: Duration,
    /// It was sent when these were in the log.
    pub behind: Vec<EventId>,
    pub phase: CallPhase,
}

#[derive(Clone, Debug, Hash)]
pub enum CallPhase {
    /// The line, on its way to Redis.
    Going(Line),
    /// All lines, on their way back.
    Coming(Vec<Line>),
}

/// A fetch under way.
#[derive(Clone, Debug, Hash)]
pub struct Flight {
    pub key: usize,
    pub stamp: Stamp,
    /// Something was learnt since it was begun.
    pub has_learnt: bool,
    /// What the upstream has answered.
    pub version: Option<u8>,
    /// Another has taken its place.
    pub is_retired: bool,
}

/// A change that goes through an instance, and whose answer is the new state.
#[derive(Clone, Debug, Hash)]
pub struct Put {
    pub key: usize,
    pub before: Stamp,
    pub version: u8,
    /// Once it is answered.
    pub event: Option<EventId>,
}

impl World {
    pub fn labels(key: usize) -> Labels {
        Self::labels_of_request(key).and([tag(key, Named::Answer)])
    }

    /// As far as the request tells.
    pub fn labels_of_request(key: usize) -> Labels {
        Labels::new(vec![tag(key, Named::Request)], path(key).as_bytes())
    }

    pub fn event(key: usize, named: Named) -> Event {
        match named {
            Named::Request | Named::Answer => Event { digests: vec![tag(key, named)], ..Event::default() },
            Named::Path => Event { prefixes: vec![path(key)], ..Event::default() },
            Named::All => Event::everything(),
        }
    }

    pub fn has(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }
}

fn tag(key: usize, named: Named) -> Tag {
    Tag::from_bits(key as u64 * 2 + u64::from(named == Named::Answer) + 1)
}

fn path(key: usize) -> String {
    format!("/{key}")
}

pub fn epoch(number: u8) -> Epoch {
    Epoch([number; 16])
}

impl State {
    pub fn now(&self, by: usize) -> Duration {
        CLOCKS[by] + TICK * u32::from(self.ticks)
    }

    pub fn new_event(&mut self) -> EventId {
        self.numbers += 1;
        EventId([self.numbers; 16])
    }
}

impl Instance {
    /// As it starts, for the so-many-th time.
    pub fn new(by: usize, times: u8, now: Duration) -> Self {
        let limits = Limits { tags_max: 8, prefixes_max: 2, unlogged_max: 3 };
        let own = 100 + u8::try_from(by).unwrap() * 50 + times;
        Self {
            id: InstanceId([own; 8]),
            is_stopped: false,
            is_cut: false,
            ledger: Part::new(Ledger::new(limits, epoch(own), now)),
            trust: Trust::default(),
            flag: false,
            roll: Roll::default(),
            session: None,
            reading: None,
            memory: [None; KEYS],
            queue: [None; KEYS],
            looks: [None; KEYS],
            flights: Vec::new(),
            puts: Vec::new(),
        }
    }

    /// Its line, as it would be written now.
    pub fn line(&self, now: Duration) -> Line {
        let (epoch, applied) = self.ledger.place();
        // Another with each tick: within one a lease is as long, whoever looks.
        let counter = u64::try_from(now.as_millis()).unwrap();
        Line { id: self.id, name: String::new(), counter, epoch, applied }
    }

    /// The version of what is kept, if it may be served.
    pub fn live(&self, key: usize) -> Option<u8> {
        let entry = self.memory[key]?;
        self.is_live(key, entry.stamp).then_some(entry.version)
    }

    pub fn is_live(&self, key: usize, stamp: Stamp) -> bool {
        self.ledger.fate(&World::labels(key), stamp) != larder::invalidation::Fate::Dead
    }

    /// Changes the ledger: what is under way knows that something was learnt.
    pub fn learn<T>(&mut self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        self.flights.iter_mut().for_each(|flight| flight.has_learnt = true);
        self.ledger.change(change)
    }
}
