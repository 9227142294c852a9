//! Puts it all together: builds what the configuration says, serves until a signal, drains.
//!
//! One single-threaded runtime a core, each with a listening socket of its own on the same address, so that a connection
//! stays on one core and no work is stolen. docs/performance.md has the figures for this choice.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::admin::{self, Admin, EntryAnswer, EntryQuestion, Readiness};
use crate::clock::Clock;
use crate::config::{Loaded, Settings};
use crate::object::Epoch;
use crate::proxy::identity::Identity;
use crate::proxy::route::Routes;
use crate::proxy::{self, Beyond, Destination, Peer, Proxy, Snapshot};
use crate::server::drain::{self, Drain};
use crate::server::listener::{self, Shared};
use crate::shared::redis::Redis;
use crate::shared::{BadSettings, Tier};
use crate::telemetry::Telemetry;
use crate::upstream::{self, NetConnector};

/// Where it can be reached.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Clients.
    pub listen: SocketAddr,
    /// Hooks, metrics, health.
    pub admin: Option<SocketAddr>,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else has the address, or it is not this machine's.
    #[error("can't listen on {address} ({key}): {error}")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// Where it is written.
        key: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// The upstream can't be reached as configured.
    #[error(transparent)]
    Connector(#[from] upstream::ConnectorError),
    /// Redis can't be reached as configured.
    #[error(transparent)]
    Redis(#[from] BadSettings),
    /// The configuration was checked, and still does not hold.
    #[error("{0}")]
    Configuration(&'static str),
    /// The system gives no threads, timers or random numbers.
    #[error("can't start: {0}")]
    System(#[from] io::Error),
}

/// Serves until SIGTERM or SIGINT, then drains. `on_ready` is told the addresses once both listen.
pub fn run(loaded: &Loaded, on_ready: impl FnOnce(Addresses)) -> Result<(), StartError> {
    let settings = &loaded.settings;
    let workers = workers(settings.server.workers);
    let (listeners, listen) = bind(settings.server.listen, workers)?;
    let admin_listener = settings.server.admin.map(bind_admin).transpose()?;
    let telemetry = telemetry(settings);
    let redis = redis(settings, workers, &telemetry)?;
    let proxy = build(settings, Clock::System, Arc::clone(&telemetry), redis.clone())?;
    let (drainer, drain) = drain::pair();
    let shared = Shared {
        limits: settings.server.limits,
        places: Arc::new(Semaphore::new(settings.server.max_connections)),
        telemetry: Arc::clone(&telemetry),
    };

    for (number, listener) in listeners.into_iter().enumerate() {
        let (proxy, shared, drain) = (Arc::clone(&proxy), shared.clone(), drain.clone());
        let redis = redis.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name(format!("larder-{number}")).spawn(move || {
            runtime.block_on(async move {
                if let Some(redis) = redis {
                    tokio::spawn(redis.keep(number));
                }
                work(listener, proxy, shared, drain).await;
            });
        })?;
    }

    let addresses = Addresses { listen, admin: admin_listener.as_ref().map(|(_, address)| *address) };
    let readiness = Arc::new(Readiness::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let stop = signals()?;
        if let Some(redis) = redis {
            tokio::spawn(redis.keep_background());
            tokio::spawn(Arc::clone(&proxy).keep_sharing());
        }
        if let Some((listener, _)) = admin_listener {
            let admin = Arc::new(administration(loaded, listen, &proxy, telemetry, Arc::clone(&readiness)));
            tokio::spawn(serve_admin(listener, admin, shared));
        }
        tracing::info!(listen = %addresses.listen, admin = addresses.admin.map(tracing::field::display), workers, "ready");
        on_ready(addresses);
        stop.await;
        readiness.draining();
        let beyond = proxy.shared();
        drop((drain, proxy));
        let whole = drainer.finish(settings.server.drain_timeout).await;
        if whole {
            tracing::info!("stopped");
        } else {
            tracing::warn!(after = ?settings.server.drain_timeout, "stopped; some requests were cut off");
        }
        if let Some(beyond) = beyond
            && tokio::time::timeout(WRITTEN_WITHIN, beyond.written()).await.is_err()
        {
            tracing::warn!("stopped; not all that was for Redis is there");
        }
        Ok(())
    })
}

/// Once no request is left, what they have brought for other instances, or taken from them, has so much time to get there.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

/// The proxy that these settings describe.
pub fn build(
    settings: &Settings,
    clock: Clock,
    telemetry: Arc<Telemetry>,
    redis: Option<Arc<Redis>>,
) -> Result<Arc<Proxy<NetConnector>>, StartError> {
    let connector = upstream::connector(&settings.upstream)?;
    let tier = redis.map(|redis| -> Arc<dyn Tier> { redis });
    assemble(settings, clock, telemetry, connector, tier)
}

/// The tier that all instances share, if there is one; nothing is connected to yet.
fn redis(
    settings: &Settings,
    workers: usize,
    telemetry: &Arc<Telemetry>,
) -> Result<Option<Arc<Redis>>, StartError> {
    let redis = settings.redis.as_ref().map(|redis| Redis::new(redis, workers, Arc::clone(telemetry)));
    Ok(redis.transpose()?)
}

/// The same with other connections than the network's, and such a tier behind memory, if any.
pub fn assemble<C: upstream::Connector>(
    settings: &Settings,
    clock: Clock,
    telemetry: Arc<Telemetry>,
    connector: C,
    tier: Option<Arc<dyn Tier>>,
) -> Result<Arc<Proxy<C>>, StartError> {
    let routes = Routes::new(settings.routes.clone(), settings.unrouted.clone())
        .map_err(|_| StartError::Configuration("two routes match the same paths"))?;
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| StartError::System(io::Error::other(error.to_string())))?;
    // Not of the same bytes: what is drawn from it is not kept secret.
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|error| StartError::System(io::Error::other(error.to_string())))?;
    let mut epoch = [0; 16];
    getrandom::fill(&mut epoch).map_err(|error| StartError::System(io::Error::other(error.to_string())))?;
    let beyond = |(tier, settings)| Beyond { tier, settings, epoch: Epoch(epoch) };
    let shared = tier.zip(settings.redis.clone()).map(beyond);
    let identity = Identity::new(&settings.identity, &random);
    let destination = Destination::new(&settings.upstream)
        .ok_or(StartError::Configuration("upstream.url has no scheme or no host"))?;
    Ok(Proxy::new(proxy::Parts {
        snapshot: Arc::new(Snapshot::new(routes, identity, &telemetry)),
        memory: settings.memory.clone(),
        client: upstream::Client::new(connector, settings.upstream.clone(), Arc::clone(&telemetry)),
        destination,
        clock,
        telemetry,
        trusted_proxies: settings.trusted_proxies.clone(),
        debug: settings.debug,
        client_silence_max: settings.server.limits.body_timeout,
        seed: u64::from_le_bytes(seed),
        shared,
    }))
}

/// Counters for these settings' routes.
pub fn telemetry(settings: &Settings) -> Arc<Telemetry> {
    let routes = settings.routes.iter().map(|route| &*route.name);
    Arc::new(Telemetry::new(routes.chain([&*settings.unrouted.name])))
}

async fn work(
    listener: std::net::TcpListener,
    proxy: Arc<Proxy<NetConnector>>,
    shared: Shared,
    mut drain: Drain,
) {
    match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => {
            let make = |peer: SocketAddr, here: Option<SocketAddr>| {
                let proxy = Arc::clone(&proxy);
                // As clients write it: an IPv4 address is one on a socket for both, too.
                let here = here.filter(|_| proxy.is_shared());
                let here = here.map(|here| SocketAddr::new(here.ip().to_canonical(), here.port()));
                let peer = Peer { address: peer.ip().to_canonical(), scheme: "http", here };
                move |request| {
                    let proxy = Arc::clone(&proxy);
                    async move { proxy.answer(request, peer).await }
                }
            };
            listener::accept(listener, shared, drain.clone(), make).await;
        }
        Err(error) => tracing::error!(%error, "a worker could not listen"),
    }
    drain.begun().await;
    drop(drain);
    // The runtime must live on for the connections it still serves; the process ends when all workers' have ended.
    std::future::pending::<()>().await;
}

async fn serve_admin(listener: std::net::TcpListener, admin: Arc<Admin>, shared: Shared) {
    // Not among what is drained: health and metrics are asked for until the very end.
    let (_never, drain) = drain::pair();
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the admin listener could not listen"),
    };
    let make = |_, _| {
        let admin = Arc::clone(&admin);
        move |request| {
            let admin = Arc::clone(&admin);
            async move { admin.answer(request).await }
        }
    };
    // Its own places: it must be reachable when clients have taken all of theirs.
    let shared = Shared { places: Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX)), ..shared };
    listener::accept(listener, shared, drain, make).await;
}

/// Scrapers, probes, a person or two.
const ADMIN_CONNECTIONS_MAX: usize = 64;

fn administration(
    loaded: &Loaded,
    listen: SocketAddr,
    proxy: &Arc<Proxy<NetConnector>>,
    telemetry: Arc<Telemetry>,
    readiness: Arc<Readiness>,
) -> Admin {
    let proxy = Arc::downgrade(proxy);
    let entry = move |question: EntryQuestion| {
        let proxy = proxy.upgrade();
        let held = async move {
            let proxy = proxy.ok_or("shutting down")?;
            let EntryQuestion { method, url, headers, body } = question;
            let entry = proxy.entry(listen, &method, &url, &headers, &body).await?;
            serde_json::to_value(entry).map_err(|error| error.to_string())
        };
        Box::pin(held) as EntryAnswer
    };
    Admin::new(admin::Parts {
        telemetry,
        token: loaded.settings.admin_token.clone(),
        config: loaded.blanked(),
        readiness,
        entry: Box::new(entry),
        started: tokio::time::Instant::now(),
    })
}

fn workers(configured: usize) -> usize {
    match configured {
        0 => thread::available_parallelism().map_or(1, std::num::NonZero::get),
        configured => configured,
    }
}

/// As many sockets as workers on one address. `SO_REUSEPORT` would also let another process of ours listen there unnoticed, so a
/// socket without it goes first: it fails if anybody has the address.
fn bind(address: SocketAddr, count: usize) -> Result<(Vec<std::net::TcpListener>, SocketAddr), StartError> {
    let failed = |error| StartError::Listen { address, key: "server.listen", error };
    let probe = listener::bind(address, false).map_err(failed)?;
    let address = probe.local_addr().map_err(failed)?;
    drop(probe);
    let listeners: io::Result<Vec<_>> = (0..count).map(|_| listener::bind(address, true)).collect();
    Ok((listeners.map_err(failed)?, address))
}

fn bind_admin(address: SocketAddr) -> Result<(std::net::TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen { address, key: "server.admin", error };
    let listener = listener::bind(address, false).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Ends with SIGTERM or SIGINT. SIGHUP, which would end a process that says nothing of it, is told of and ignored.
fn signals() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = hang_up.recv() => {
                    tracing::warn!("SIGHUP: re-reading the configuration is not available yet; restart instead");
                }
            }
        }
    })
}
