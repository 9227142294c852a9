//! Builds what the configuration says: the proxy, the tier and the log that instances share, and what all of it is counted by.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use crate::clock::Clock;
use crate::config::Settings;
use crate::invalidation::{
    self, Agree, InstanceId, IsOurSecret, Limits, Log, LogError, Me, Record, RedisLog, RedisLogSettings,
};
use crate::object::Epoch;
use crate::proxy::identity::Identity;
use crate::proxy::route::Routes;
use crate::proxy::{self, Beyond, Destination, Proxy, Snapshot};
use crate::shared::redis::Redis;
use crate::shared::{self, BadSettings, Shared, Tier};
use crate::telemetry::Telemetry;
use crate::upstream::{self, NetConnector};

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

/// The proxy that these settings describe.
pub(super) fn build(
    settings: &Settings,
    clock: Clock,
    telemetry: Arc<Telemetry>,
    redis: Option<Arc<Redis>>,
    name: String,
) -> Result<Arc<Proxy<NetConnector>>, StartError> {
    let connector = upstream::connector(&settings.upstream)?;
    let ours: Arc<OnceLock<Arc<Shared>>> = Arc::default();
    let log =
        settings.redis.as_ref().map(|redis| log(settings, redis, &name, Arc::clone(&ours))).transpose()?;
    let tier = redis.map(|redis| -> Arc<dyn Tier> { redis });
    let proxy = assemble(settings, clock, telemetry, connector, tier.zip(log), name)?;
    if let Some(shared) = proxy.shared() {
        // Nobody has asked for it yet: the log is joined by who runs this.
        let _ = ours.set(shared);
    }
    Ok(proxy)
}

/// The log of invalidations that all instances share; nothing is connected to yet.
fn log(
    settings: &Settings,
    redis: &shared::Settings,
    name: &str,
    ours: Arc<OnceLock<Arc<Shared>>>,
) -> Result<Arc<dyn Log>, StartError> {
    let is_ours = move |there: &[u8]| ours.get().is_some_and(|shared| shared.agrees_with(there));
    let log = RedisLog::new(
        redis,
        RedisLogSettings {
            name: name.to_owned(),
            length_max: settings.invalidation.log_length,
            age_max: settings.invalidation.log_age,
            trust_failover: redis.trust_failover,
            is_our_secret: settings.identity.key_secret.is_none().then(|| Box::new(is_ours) as IsOurSecret),
        },
    )?;
    Ok(Arc::new(log))
}

/// What people call this instance: the machine, and where clients reach it there.
pub(super) fn name(listen: SocketAddr) -> String {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{machine}:{}", listen.port())
}

/// Before each session with the log, instances agree on how they name what is kept for who bears a credential.
pub fn agree<C>(proxy: &Proxy<C>) -> Agree {
    let shared = proxy.shared();
    Box::new(move || {
        let shared = shared.clone();
        Box::pin(async move {
            match shared {
                Some(shared) => shared.agree().await.map_err(|error| LogError::Away(error.to_string())),
                None => Ok(()),
            }
        })
    })
}

/// The tier that all instances share, if there is one; nothing is connected to yet.
pub(super) fn redis(
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
    beyond: Option<(Arc<dyn Tier>, Arc<dyn Log>)>,
    name: String,
) -> Result<Arc<Proxy<C>>, StartError> {
    let routes = Routes::new(settings.routes.clone(), settings.unrouted.clone())
        .map_err(|_| StartError::Configuration("two routes match the same paths"))?;
    let random: [u8; 32] = drawn()?;
    // Not of the same bytes: what is drawn from it is not kept secret.
    let seed: [u8; 8] = drawn()?;
    let (tier, log) = beyond.unzip();
    let shared = tier.zip(settings.redis.clone()).map(|(tier, settings)| Beyond { tier, settings });
    let limits = &settings.invalidation;
    let record = Record::new(invalidation::Parts {
        limits: Limits {
            tags_max: limits.tags_max,
            prefixes_max: limits.prefixes_max,
            unlogged_max: limits.unlogged_max,
        },
        me: Me { id: InstanceId(drawn()?), name },
        epoch: Epoch(drawn()?),
        log,
        clock,
        telemetry: Arc::clone(&telemetry),
    });
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
        record,
        invalidation: settings.invalidation,
        shared,
    }))
}

/// Random bytes.
fn drawn<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| StartError::System(io::Error::other(error.to_string())))?;
    Ok(bytes)
}

/// Counters for these settings' routes.
pub fn telemetry(settings: &Settings) -> Arc<Telemetry> {
    let routes = settings.routes.iter().map(|route| &*route.name);
    let telemetry = Telemetry::new(routes.chain([&*settings.unrouted.name]));
    Arc::new(telemetry.with_hooks(settings.hooks.iter().map(|hook| &*hook.name)))
}
