//! Three instances, each with a network of its own to Redis, one Redis with a replica, and the API behind all.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::backend::Backend;
use crate::dice::Dice;
use crate::larder::Larder;
use crate::relay::Relay;
use crate::stores::Stores;
use crate::tally::Tally;
use crate::things::config;
use crate::truth::Truth;

pub const INSTANCES: usize = 3;

pub struct World {
    pub seed: u64,
    pub truth: Truth,
    pub tally: Tally,
    pub backend: Backend,
    pub instances: Vec<Instance>,
    pub stores: tokio::sync::Mutex<Stores>,
    over: AtomicBool,
}

pub struct Instance {
    pub relay: Relay,
    /// Held by whoever does something to it.
    pub larder: tokio::sync::Mutex<Option<Larder>>,
    place: Mutex<Place>,
    upstream: SocketAddr,
    config: String,
}

/// Where it listens; elsewhere each time that it starts.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub clients: SocketAddr,
    pub admin: SocketAddr,
}

impl World {
    pub async fn start(seed: u64, cut_off: &str) -> Arc<Self> {
        let backend = Backend::start(seed).await;
        let stores = Stores::start().await;
        let mut instances = Vec::new();
        for _ in 0..INSTANCES {
            let relay = Relay::before(stores.serving.port).await;
            let config = config(&format!("redis://127.0.0.1:{}", relay.port), cut_off);
            instances.push(Instance::start(relay, backend.address, config).await);
        }
        Arc::new(Self::of(seed, backend, instances, stores))
    }

    /// One instance that is none of ours.
    pub async fn bare(clients: SocketAddr) -> Arc<Self> {
        let (backend, stores) = (Backend::start(1).await, Stores::start().await);
        let instance = Instance {
            relay: Relay::before(stores.serving.port).await,
            larder: tokio::sync::Mutex::new(None),
            place: Mutex::new(Place { clients, admin: clients }),
            upstream: backend.address,
            config: String::new(),
        };
        Arc::new(Self::of(1, backend, vec![instance], stores))
    }

    fn of(seed: u64, backend: Backend, instances: Vec<Instance>, stores: Stores) -> Self {
        Self {
            seed,
            truth: Truth::new(),
            tally: Tally::default(),
            backend,
            instances,
            stores: tokio::sync::Mutex::new(stores),
            over: AtomicBool::new(false),
        }
    }

    pub fn dice(&self, whose: u64) -> Dice {
        Dice::new(self.seed, whose)
    }

    pub fn place(&self, instance: usize) -> Place {
        *self.instances[instance].place.lock().unwrap()
    }

    pub fn end(&self) {
        self.over.store(true, SeqCst);
    }

    pub fn is_over(&self) -> bool {
        self.over.load(SeqCst)
    }

    /// So long, or until it is over.
    pub async fn rest(&self, mut time: Duration) {
        const STEP: Duration = Duration::from_millis(100);
        while !self.is_over() && !time.is_zero() {
            sleep(time.min(STEP)).await;
            time = time.saturating_sub(STEP);
        }
    }

    /// The end of each log, for whoever has to find out what went wrong.
    pub async fn logs(&self) -> String {
        let mut text = String::new();
        for (number, instance) in self.instances.iter().enumerate() {
            let log = instance.larder.lock().await.as_ref().map(Larder::log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(40)..].join("\n");
            let _ = writeln!(text, "instance {number}:\n{last}");
        }
        text
    }
}

impl Instance {
    async fn start(relay: Relay, upstream: SocketAddr, config: String) -> Self {
        let larder = run(upstream, config.clone()).await;
        let place = Mutex::new(Place::of(&larder));
        Self { relay, larder: tokio::sync::Mutex::new(Some(larder)), place, upstream, config }
    }

    /// After it was killed.
    pub async fn start_again(&self, larder: &mut Option<Larder>) {
        let started = run(self.upstream, self.config.clone()).await;
        *self.place.lock().unwrap() = Place::of(&started);
        *larder = Some(started);
    }
}

impl Place {
    fn of(larder: &Larder) -> Self {
        Self { clients: larder.address, admin: larder.admin }
    }
}

async fn run(upstream: SocketAddr, config: String) -> Larder {
    spawn_blocking(move || Larder::at(upstream, &config)).await.unwrap()
}
