//! Serves until a signal, then drains.
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

use super::assemble::{StartError, agree, build, name, redis, telemetry};
use super::control::administration;
use super::descriptors;
use crate::admin::{self, Admin, Readiness};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::proxy::{Answer, Peer, Proxy};
use crate::server::drain::{self, Drain};
use crate::server::{Limits, listener};
use crate::upstream::NetConnector;

/// Where it can be reached.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Clients.
    pub listen: SocketAddr,
    /// Hooks, metrics, health.
    pub admin: Option<SocketAddr>,
}

/// Serves until SIGTERM or SIGINT, then drains. `on_ready` is told the addresses once both listen.
pub fn run(loaded: &Loaded, on_ready: impl FnOnce(Addresses)) -> Result<(), StartError> {
    let settings = &loaded.settings;
    let workers = workers(settings.server.workers);
    let clients = settings.server.max_connections.saturating_add(admin::CONNECTIONS_MAX + OWN_DESCRIPTORS);
    descriptors::make_room(clients.saturating_add(settings.upstream.max_in_flight));
    let (listeners, listen) = bind(settings.server.listen, workers)?;
    let admin_listener = settings.server.admin.map(bind_admin).transpose()?;
    let telemetry = telemetry(settings);
    let redis = redis(settings, workers, &telemetry)?;
    let proxy = build(settings, Clock::System, Arc::clone(&telemetry), redis.clone(), name(listen))?;
    let (drainer, drain) = drain::pair();
    let shared = listener::Shared {
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
            tokio::spawn(Arc::clone(proxy.record()).follow(agree(&proxy)));
        }
        if let Some((listener, _)) = admin_listener {
            let admin = Arc::new(administration(loaded, listen, &proxy, telemetry, Arc::clone(&readiness)));
            tokio::spawn(serve_admin(listener, admin, shared));
        }
        tracing::info!(listen = %addresses.listen, admin = addresses.admin.map(tracing::field::display), workers, "ready");
        on_ready(addresses);
        stop.await;
        readiness.draining();
        let (beyond, record) = (proxy.shared(), Arc::clone(proxy.record()));
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
        // Nobody need wait for us any more. If this gets lost, they do for a few seconds.
        let _ = tokio::time::timeout(WRITTEN_WITHIN, record.leave()).await;
        Ok(())
    })
}

/// Beside connections: listeners, what each runtime wakes by, logs, Redis.
const OWN_DESCRIPTORS: usize = 64;

/// Once no request is left, what they have brought for other instances, or taken from them, has so much time to get there.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

async fn work(
    listener: std::net::TcpListener,
    proxy: Arc<Proxy<NetConnector>>,
    shared: listener::Shared,
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
                move |request, form| proxy.answer(request, peer, form)
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

async fn serve_admin(listener: std::net::TcpListener, admin: Arc<Admin>, shared: listener::Shared) {
    // Not among what is drained: health and metrics are asked for until the very end.
    let (_never, drain) = drain::pair();
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the admin listener could not listen"),
    };
    let make = |_, _| {
        let admin = Arc::clone(&admin);
        move |request, _| {
            let admin = Arc::clone(&admin);
            async move { Answer::Response(admin.answer(request).await) }
        }
    };
    // Its own places: it must be reachable when clients have taken all of theirs.
    let places = Arc::new(Semaphore::new(admin::CONNECTIONS_MAX));
    let limits = Limits { streams_max: ADMIN_STREAMS_MAX, ..shared.limits };
    listener::accept(listener, listener::Shared { limits, places, ..shared }, drain, make).await;
}

/// Who sends messages on one connection sends few at once; strangers do not get more requests by that than by connections.
const ADMIN_STREAMS_MAX: u32 = 8;

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
