//! The facts that are counted. `Telemetry` is the whole; a `RouteMetrics` is resolved for each route when the
//! configuration is read, so that a hit moves two numbers and looks nothing up.

use std::sync::Arc;
use std::time::Duration;

use super::invalidation::{HookMetrics, InvalidationMetrics};
use super::log_state::LogTeller;
use super::number::{CountByName, Counter, Gauge, Histogram};
use super::redis::RedisMetrics;
use super::shared::SharedMetrics;
use crate::semantics::NotStored;

/// All that one process counts.
#[derive(Debug, Default)]
pub struct Telemetry {
    /// In the order of the configuration; the last is for requests that no route matches.
    pub routes: Vec<Arc<RouteMetrics>>,
    /// The origin side.
    pub upstream: UpstreamMetrics,
    /// L1.
    pub memory: MemoryMetrics,
    /// L2.
    pub shared: SharedMetrics,
    /// The connections to L2.
    pub redis: RedisMetrics,
    /// One fetch for many.
    pub coalescing: CoalescingMetrics,
    /// Asking whether what is kept is still good.
    pub validation: ValidationMetrics,
    /// What was declared invalid.
    pub invalidation: InvalidationMetrics,
    /// How things stand with the log of that.
    pub log: LogTeller,
    /// In the order of the configuration.
    pub hooks: Vec<Arc<HookMetrics>>,
    /// The client side.
    pub connections: ConnectionMetrics,
}

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// From the cache.
    Hit,
    /// From the cache, past its lifetime.
    Stale,
    /// From the upstream, by a fetch of its own.
    Miss,
    /// From another request's fetch.
    Collapsed,
    /// From the upstream, because the cache had no business with it.
    Bypass,
    /// By an error of Larder's own.
    Error,
}

/// One route.
#[derive(Debug)]
pub struct RouteMetrics {
    /// Its name.
    pub name: Arc<str>,
    answered: [(Counter, Histogram); Outcome::ALL.len()],
    not_stored: Vec<Counter>,
    /// From sending a request to the upstream to its head.
    pub upstream: Histogram,
}

/// The origin side, all routes together.
#[derive(Debug, Default)]
pub struct UpstreamMetrics {
    /// Requests sent, tries included.
    pub requests: Counter,
    /// Second tries.
    pub retries: Counter,
    /// Connections opened.
    pub connects: Counter,
    /// Could not connect, or was refused.
    pub connect_failures: Counter,
    /// No connection or no head in time.
    pub timeouts: Counter,
    /// Broken off, or not HTTP.
    pub broken: Counter,
    /// Requests under way.
    pub in_flight: Gauge,
    /// Requests that wait for one of those places.
    pub queued: Gauge,
    /// Turned away: the queue was full.
    pub queue_full: Counter,
    /// Turned away: waited too long.
    pub queue_timeouts: Counter,
}

/// L1.
#[derive(Debug, Default)]
pub struct MemoryMetrics {
    /// Entries kept.
    pub entries: Gauge,
    /// What they weigh, overhead included.
    pub bytes: Gauge,
    /// The bound.
    pub max_bytes: Gauge,
    /// Entries put in.
    pub stored: Counter,
    /// Entries that had to go: for room, or past their end.
    pub evicted: Counter,
    /// Bytes of bodies that are coming in to be kept or to be part of a key.
    pub filling_bytes: Gauge,
    /// Bytes of second copies of large bodies, which the kernel sends from.
    pub sendfile_bytes: Gauge,
    /// Bytes that the kernel took from there to send.
    pub sendfile_sent_bytes: Counter,
    /// Variants that had to go because there were too many, by the header that splits them most.
    pub variants_evicted: CountByName,
}

/// One fetch for many.
#[derive(Debug, Default)]
pub struct CoalescingMetrics {
    /// Fetches under way that others may join.
    pub flights: Gauge,
    /// Requests that joined one.
    pub joined: Counter,
    /// Requests that joined one and had to fetch for themselves, because its answer was not theirs to have.
    pub parted: Counter,
    /// Requests that went straight through, because the answer proved uncacheable a moment ago.
    pub remembered: Counter,
}

/// Asking whether what is kept is still good.
#[derive(Debug, Default)]
pub struct ValidationMetrics {
    /// It was.
    pub confirmed: Counter,
    /// It was not, and another answer came.
    pub changed: Counter,
    /// The upstream failed.
    pub failed: Counter,
    /// Fetches begun behind an answer that was given stale.
    pub refreshes: Counter,
    /// … not begun, because so many were under way for what was softly invalidated.
    pub deferred: Counter,
}

/// The client side.
#[derive(Debug, Default)]
pub struct ConnectionMetrics {
    /// Open now.
    pub open: Gauge,
    /// Accepted so far.
    pub accepted: Counter,
    /// Turned away: too many.
    pub refused: Counter,
    /// Failed accepts (out of file descriptors and the like).
    pub accept_errors: Counter,
    /// Ended by an error: bad requests, time-outs, vanished clients.
    pub broken: Counter,
}

impl Outcome {
    /// Every one there is.
    pub const ALL: [Self; 6] =
        [Self::Hit, Self::Stale, Self::Miss, Self::Collapsed, Self::Bypass, Self::Error];

    /// The word in metrics and statistics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Bypass => "bypass",
            Self::Error => "error",
        }
    }
}

impl RouteMetrics {
    /// All zero.
    pub fn new(name: Arc<str>) -> Self {
        Self {
            name,
            answered: std::array::from_fn(|_| Default::default()),
            not_stored: NotStored::ALL.iter().map(|_| Counter::default()).collect(),
            upstream: Histogram::default(),
        }
    }

    /// A request was answered: its head went out after so long.
    pub fn answered(&self, outcome: Outcome, took: Duration) {
        let (count, times) = &self.answered[outcome as usize];
        count.add_one();
        times.record(took);
    }

    /// A response was not kept.
    pub fn not_stored(&self, why: NotStored) {
        let place = NotStored::ALL.iter().position(|each| *each == why);
        if let Some(counter) = place.and_then(|place| self.not_stored.get(place)) {
            counter.add_one();
        }
    }

    /// How many were answered so.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.answered[outcome as usize].0.get()
    }

    /// How long those took to the head of the answer.
    pub fn times(&self, outcome: Outcome) -> &Histogram {
        &self.answered[outcome as usize].1
    }

    /// How many responses were not kept, for each reason.
    pub fn not_stored_counts(&self) -> impl Iterator<Item = (NotStored, u64)> {
        NotStored::ALL.iter().zip(&self.not_stored).map(|(why, count)| (*why, count.get()))
    }
}

impl Telemetry {
    /// For routes of these names and the requests of none.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let routes = names.into_iter().map(|name| Arc::new(RouteMetrics::new(name.into()))).collect();
        Self { routes, ..Self::default() }
    }

    /// The same, and for hooks of these names.
    #[must_use]
    pub fn with_hooks<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.hooks = names.into_iter().map(|name| Arc::new(HookMetrics::new(name.into()))).collect();
        self
    }
}
