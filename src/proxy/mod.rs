//! The way of a request, from its head to the head of its answer. `answer` is the whole of it on one screen; the other files
//! are its steps, in the order in which a request meets them.

mod answer;
mod beyond;
mod body;
mod buffered;
mod called;
mod change;
mod client;
mod coalesce;
pub mod content;
mod entry;
mod errand;
mod failure;
mod fetch;
mod fill;
mod flight;
mod forward;
mod graphql;
mod head;
mod hit;
mod hop;
pub mod identity;
pub mod inspect;
mod job;
mod joining;
mod jwt;
mod keep;
pub mod kinds;
mod landing;
mod lead;
mod lookup;
mod message;
pub mod own_address;
mod part;
mod pass;
pub mod pass_reason;
pub mod path;
mod pattern;
pub mod plan;
mod prepare;
mod pump;
pub mod query;
mod refresh;
mod refusal;
mod respond;
pub mod route;
mod share;
mod slice;
pub mod snapshot;
pub mod target;
mod tee;
mod uncacheable;
mod upgrade;
mod validate;
mod veil;
pub mod wanted;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::Semaphore;

pub use body::Body;
pub use failure::Failure;
pub use forward::Destination;
pub use message::{Answer, Answering, Form, Message};
pub use snapshot::Snapshot;
pub use target::Peer;
pub use upgrade::Hold;

use crate::arena::{Arena, News};
use crate::clock::Clock;
use crate::invalidation::{self, Record};
use crate::naming::Bounds;
use crate::shared::{self, Shared, Tier};
use crate::store::{self, Filling, Memory};
use crate::telemetry::Telemetry;
use crate::upstream;
use coalesce::Flights;
use uncacheable::Uncacheable;

/// The cache and all it stands between.
#[derive(Debug)]
pub struct Proxy<C> {
    snapshot: Arc<Snapshot>,
    memory: Memory,
    /// Where large bodies lie once more, if they do.
    arena: Option<Arc<Arena>>,
    filling: Arc<Filling>,
    record: Arc<Record>,
    /// How much may come of templates, and of what an answer says that it is called.
    bounds: Bounds,
    /// The same for what an event names.
    event_bounds: Bounds,
    /// Bytes of an answer to a request that changes something which are read for what it says it changed.
    read_bytes_max: usize,
    /// Fetches at once for what was softly invalidated.
    refreshes: Arc<Semaphore>,
    /// The tier behind memory, where there is one.
    shared: Option<Arc<Shared>>,
    flights: Arc<Flights>,
    uncacheable: Uncacheable,
    client: upstream::Client<C>,
    destination: Destination,
    clock: Clock,
    telemetry: Arc<Telemetry>,
    dice: Dice,
    trusted_proxies: Vec<IpNet>,
    debug: bool,
    max_object_bytes: u64,
    variants_max: usize,
    client_silence_max: Duration,
}

/// What a proxy is made of.
#[derive(Debug)]
pub struct Parts<C> {
    /// Routes and identity.
    pub snapshot: Arc<Snapshot>,
    /// How much may be kept.
    pub memory: store::Settings,
    /// The origin.
    pub client: upstream::Client<C>,
    /// Its address.
    pub destination: Destination,
    /// What time it is.
    pub clock: Clock,
    /// Where facts are told.
    pub telemetry: Arc<Telemetry>,
    /// Whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Say more in every answer.
    pub debug: bool,
    /// Longest silence of a client inside its request, or while it takes its answer.
    pub client_silence_max: Duration,
    /// Another for each process.
    pub seed: u64,
    /// What is invalid.
    pub record: Arc<Record>,
    /// How much may be declared at once.
    pub invalidation: invalidation::Settings,
    /// The tier behind memory.
    pub shared: Option<Beyond>,
}

/// What the tier behind memory is made of.
#[derive(Debug)]
pub struct Beyond {
    /// The tier.
    pub tier: Arc<dyn Tier>,
    /// What the configuration says of it.
    pub settings: shared::Settings,
}

/// Draws numbers that no two processes draw alike: how much of a route's jitter a lifetime gets, and what tells bodies apart.
/// Nobody is kept out by not knowing them.
#[derive(Debug)]
struct Dice(AtomicU64);

impl<C> Proxy<C> {
    /// Holds nothing yet.
    pub fn new(parts: Parts<C>) -> Arc<Self> {
        let telemetry = &parts.telemetry;
        let record = parts.record;
        let shared = parts.shared.map(|beyond| {
            Shared::new(shared::Parts {
                tier: beyond.tier,
                settings: beyond.settings,
                stamps: Arc::<Record>::clone(&record),
                secret: parts.snapshot.identity.secret().clone(),
                routes: parts.snapshot.routes.unrouted_index(),
                clock: parts.clock,
                telemetry: Arc::clone(telemetry),
            })
        });
        Arc::new(Self {
            shared,
            memory: Memory::new(&parts.memory, Arc::clone(telemetry)),
            arena: arena(&parts.memory, telemetry),
            filling: Filling::new(parts.memory.max_filling_bytes, Arc::clone(telemetry)),
            flights: Flights::new(Arc::clone(telemetry), Arc::clone(&record)),
            record,
            bounds: Bounds {
                count_max: parts.invalidation.entry_tags_max,
                bytes_max: parts.invalidation.tag_bytes_max,
            },
            event_bounds: Bounds {
                count_max: parts.invalidation.names_max,
                bytes_max: parts.invalidation.tag_bytes_max,
            },
            read_bytes_max: parts.invalidation.body_bytes_max,
            refreshes: Arc::new(Semaphore::new(parts.invalidation.refreshes_max)),
            uncacheable: Uncacheable::new(),
            dice: Dice(AtomicU64::new(parts.seed)),
            max_object_bytes: parts.memory.max_object_bytes,
            variants_max: parts.memory.max_variants,
            snapshot: parts.snapshot,
            client: parts.client,
            destination: parts.destination,
            clock: parts.clock,
            telemetry: parts.telemetry,
            trusted_proxies: parts.trusted_proxies,
            debug: parts.debug,
            client_silence_max: parts.client_silence_max,
        })
    }

    /// Writes behind the clients' backs to the tier behind memory, as long as the process lives; nothing, where there is none.
    pub async fn keep_sharing(self: Arc<Self>) {
        if let Some(shared) = self.shared.clone() {
            drop(self);
            shared.run().await;
        }
    }

    /// What is behind memory, if other instances use it too.
    pub fn shared(&self) -> Option<Arc<Shared>> {
        self.shared.clone()
    }

    /// What is invalid.
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Whether there is a tier behind memory that other instances use too.
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// What requests see.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }
}

/// None: there is to be none, or the kernel has none. Nothing is lost but the spared copy.
fn arena(settings: &store::Settings, telemetry: &Arc<Telemetry>) -> Option<Arc<Arena>> {
    let max_bytes = settings.max_sendfile_bytes;
    let counts = Arc::clone(telemetry);
    let tell = Box::new(move |news| match news {
        News::Held(change) => counts.memory.sendfile_bytes.add(change),
        News::Sent(bytes) => counts.memory.sendfile_sent_bytes.add(bytes),
    });
    let arena = (max_bytes > 0).then(|| Arena::new(max_bytes, tell))?;
    arena
        .inspect_err(
            |error| tracing::info!(%error, "no file in memory: large bodies are copied when they are sent"),
        )
        .ok()
}

impl Dice {
    /// Between 0 and 1; the golden ratio's multiples spread evenly.
    fn roll(&self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }

    /// Any number.
    fn draw(&self) -> u64 {
        // Neighbours are far apart afterwards: the finisher of MurmurHash3.
        let mixed = |number: u64, factor: u64| (number ^ (number >> 33)).wrapping_mul(factor);
        let once = mixed(self.next(), 0xff51_afd7_ed55_8ccd);
        let twice = mixed(once, 0xc4ce_b9fe_1a85_ec53);
        twice ^ (twice >> 33)
    }

    /// One that nobody else has.
    fn token(&self) -> [u8; 16] {
        let mut token = [0; 16];
        let (one, other) = token.split_at_mut(8);
        one.copy_from_slice(&self.draw().to_le_bytes());
        other.copy_from_slice(&self.draw().to_le_bytes());
        token
    }

    fn next(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed)
    }
}
