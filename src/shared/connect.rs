//! `Dialer`: makes connections that answer, to whatever place the configuration names.
//!
//! A connection is handed out only after it has answered a PING, with the login done; one deadline bounds all of that. For
//! Sentinel, the sentinels are asked at each attempt, and who they name has to say itself that it is the master.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo::Random as Any};
use redis::{
    AsyncConnectionConfig, Cmd, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, Value, cmd,
};
use rustls::ClientConfig;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::address::{Address, Reach};
use super::lane::{self, Lane};
use super::settings::{self, Login, Place, Settings};
use super::shards::Shards;
use super::{cluster, refusal, security, stream};
use crate::secret::Secret;

/// Makes connections.
pub(crate) struct Dialer {
    pub(super) target: Target,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) connect_timeout: Duration,
    command_timeout: Duration,
    breaker: settings::Breaker,
    namespace: String,
    /// What nobody may be told.
    passwords: Vec<Secret>,
}

pub(super) enum Target {
    One(Address),
    Cluster { seeds: Vec<Address>, client: Box<ClusterClient> },
    Sentinel { sentinels: Vec<Address>, master: String, hello: Box<RedisConnectionInfo> },
}

/// What commands go over; a clone goes over the same.
#[derive(Clone)]
pub(super) enum Connection {
    /// For small commands that are waited for.
    Lane(Lane),
    /// For large ones, and those of who needs more of the crate.
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A connection, and what keeps it going.
pub(super) struct Line {
    pub(super) connection: Connection,
    pub(super) driver: Driver,
    /// Of a cluster.
    pub(super) shards: Option<Shards>,
}

/// Keeps a connection going; it ends with the connection, and the other way round. A cluster's has none of ours.
pub(super) struct Driver(Option<JoinHandle<()>>);

/// Why the settings can't be used. Says no URL and no password.
#[derive(Debug, thiserror::Error)]
#[error("redis: {0}")]
pub struct BadSettings(String);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreachable {
    #[error("no answer in time")]
    TooSlow,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// In words that may be shown.
    #[error("{0}")]
    Refused(String),
    #[error("the connection broke")]
    Lost,
    #[error("no sentinel knows a master of that name that says it is one")]
    NoMaster,
    #[error("no node of the cluster knows whose the slot is")]
    NoOwner,
}

/// Servers that may be tried within the time that there is for a connection: one that hangs leaves time for others, even where the
/// driver of a cluster tries it twice.
pub(super) const TRIES: u32 = 4;

impl Dialer {
    /// Nothing is connected to yet.
    pub(crate) fn new(settings: &Settings) -> Result<Self, BadSettings> {
        let tls = settings.tls.as_ref().map(security::config).transpose().map_err(BadSettings)?;
        let address = |url: &Secret| {
            Address::parse(url.expose()).map_err(|wrong| BadSettings(format!("a URL {wrong}")))
        };
        let addresses = |urls: &[Secret]| urls.iter().map(address).collect::<Result<Vec<_>, _>>();
        let target = match &settings.place {
            Place::One(url) => {
                let mut address = address(url)?;
                address.hello = login(address.hello, &settings.login);
                Target::One(address)
            }
            Place::Cluster(urls) => {
                let mut seeds = addresses(urls)?;
                for seed in &mut seeds {
                    seed.hello = login(seed.hello.clone(), &settings.login);
                }
                let client = cluster::client(&seeds, settings, settings.connect_timeout / TRIES)
                    .map_err(|error| BadSettings(error.to_string()))?;
                Target::Cluster { seeds, client: Box::new(client) }
            }
            Place::Sentinel { sentinels, master } => {
                let sentinels = addresses(sentinels)?;
                let database = sentinels.first().map_or(0, Address::database);
                let hello = login(RedisConnectionInfo::default().set_db(database), &settings.login);
                Target::Sentinel { sentinels, master: master.clone(), hello: Box::new(hello) }
            }
        };
        let (connect_timeout, command_timeout) = (settings.connect_timeout, settings.command_timeout);
        let (breaker, namespace) = (settings.breaker, settings.namespace.clone());
        let passwords = passwords(&target, &settings.login);
        Ok(Self { target, tls, connect_timeout, command_timeout, breaker, namespace, passwords })
    }

    /// Whether names of different resources may lie in different places.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.target, Target::Cluster { .. })
    }

    /// A connection for commands, none of which is waited for longer than `patience`.
    pub(super) async fn commands(&self, patience: Duration, for_writes: bool) -> Result<Line, Unreachable> {
        let connecting = async {
            let mut line = match &self.target {
                Target::One(address) => self.line_for(for_writes, &address.reach, &address.hello).await?,
                Target::Cluster { client, .. } => {
                    let config = ClusterConfig::new().set_response_timeout(patience);
                    let mut connection = client.get_async_connection_with_config(config).await?;
                    let question = cmd("CLUSTER").arg("SLOTS").take();
                    let slots = connection.route_command(question, RoutingInfo::SingleNode(Any)).await?;
                    let shards = Shards::read(&slots.extract_error()?, self.breaker, &self.namespace);
                    let connection = Connection::Cluster(connection);
                    Line { connection, driver: Driver(None), shards: Some(shards) }
                }
                Target::Sentinel { .. } => {
                    let (reach, hello) = self.master().await?;
                    self.line_for(for_writes, &reach, hello).await?
                }
            };
            // One that is slower than that would be of no use.
            self.in_time(line.connection.ping()).await?;
            Ok(line)
        };
        self.connected(connecting).await
    }

    /// A connection that gives what is said on this channel to `heard`. Of a cluster any node will do; `attempt` says which.
    pub(super) async fn subscription(
        &self,
        channel: &str,
        attempt: usize,
        heard: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<Line, Unreachable> {
        let connecting = async {
            let (reach, hello) = match &self.target {
                Target::One(address) => (address.reach.clone(), &address.hello),
                Target::Cluster { seeds, .. } => {
                    let seed = seeds.get(attempt % seeds.len().max(1)).ok_or(Unreachable::NoMaster)?;
                    (seed.reach.clone(), &seed.hello)
                }
                Target::Sentinel { .. } => self.master().await?,
            };
            // Only this protocol lets a connection that has subscribed be pinged like any other.
            let hello = hello.clone().set_protocol(ProtocolVersion::RESP3);
            let config = self.config().set_push_sender(move |push| {
                heard(push);
                Ok::<(), redis::aio::SendError>(())
            });
            let mut line = self.line_with(&reach, &hello, config).await?;
            if let Connection::One(connection) = &mut line.connection {
                self.in_time(connection.subscribe(channel)).await?;
            }
            Ok(line)
        };
        self.connected(connecting).await
    }

    /// In the time that there is for a connection. A server may repeat whatever it was told.
    pub(super) async fn connected<T>(
        &self,
        connecting: impl Future<Output = Result<T, Unreachable>>,
    ) -> Result<T, Unreachable> {
        let connected = timeout(self.connect_timeout, connecting).await.unwrap_or(Err(Unreachable::TooSlow));
        connected.map_err(|why| match why {
            Unreachable::Refused(words) if self.passwords.iter().any(|it| words.contains(it.expose())) => {
                Unreachable::Refused("refused, in words that have the password in them".to_owned())
            }
            why => why,
        })
    }

    async fn in_time<T>(
        &self,
        replied: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Unreachable> {
        Ok(timeout(self.command_timeout, replied).await.map_err(|_| Unreachable::TooSlow)??)
    }

    /// With no time for replies: it would be the same for all commands, and whoever asks has one.
    pub(super) fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(Some(self.connect_timeout))
    }

    pub(super) async fn line(&self, reach: &Reach, hello: &RedisConnectionInfo) -> Result<Line, Unreachable> {
        self.line_with(reach, hello, self.config()).await
    }

    async fn line_for(
        &self,
        writes: bool,
        reach: &Reach,
        hello: &RedisConnectionInfo,
    ) -> Result<Line, Unreachable> {
        if writes {
            return self.line(reach, hello).await;
        }
        let stream = stream::open(reach, self.tls.as_ref()).await?;
        let (lane, driving) = lane::open(stream, hello, self.config()).await?;
        let driver = Driver(Some(tokio::spawn(driving)));
        Ok(Line { connection: Connection::Lane(lane), driver, shards: None })
    }

    async fn line_with(
        &self,
        reach: &Reach,
        hello: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> Result<Line, Unreachable> {
        let stream = stream::open(reach, self.tls.as_ref()).await?;
        let (connection, driver) = MultiplexedConnection::new_with_config(hello, stream, config).await?;
        let driver = Driver(Some(tokio::spawn(driver)));
        Ok(Line { connection: Connection::One(connection), driver, shards: None })
    }

    /// Where the sentinels say the master is, and it says so too. All are asked at once: one that hangs holds up nobody.
    pub(super) async fn master(&self) -> Result<(Reach, &RedisConnectionInfo), Unreachable> {
        let Target::Sentinel { sentinels, master, hello } = &self.target else {
            return Err(Unreachable::NoMaster);
        };
        let mut asked = JoinSet::new();
        for sentinel in sentinels {
            let (sentinel, master, tls) = (sentinel.clone(), master.clone(), self.tls.clone());
            let config = self.config();
            asked.spawn(async move { ask(&sentinel, &master, tls.as_ref(), config).await });
        }
        let (mut tried, mut why): (Vec<Reach>, _) = (Vec::new(), Unreachable::NoMaster);
        while let Some(answer) = asked.join_next().await {
            let reach = match answer {
                Ok(Ok(Some(reach))) if !tried.contains(&reach) => reach,
                Ok(Err(error)) => {
                    why = error;
                    continue;
                }
                _ => continue,
            };
            match self.is_master(&reach, hello).await {
                Ok(true) => return Ok((reach, hello)),
                // One that was cut off may name the master of before.
                Ok(false) => {}
                Err(error) => why = error,
            }
            tried.push(reach);
        }
        Err(why)
    }

    async fn is_master(&self, reach: &Reach, hello: &RedisConnectionInfo) -> Result<bool, Unreachable> {
        let checking = async {
            let mut line = self.line(reach, hello).await?;
            let role = line.connection.query(&cmd("ROLE")).await?;
            let Value::Array(parts) = role else { return Ok(false) };
            Ok(matches!(parts.first(), Some(Value::BulkString(role)) if role == b"master"))
        };
        timeout(self.connect_timeout / TRIES, checking).await.map_err(|_| Unreachable::TooSlow)?
    }
}

/// Who the master is.
async fn ask(
    sentinel: &Address,
    master: &str,
    tls: Option<&Arc<ClientConfig>>,
    config: AsyncConnectionConfig,
) -> Result<Option<Reach>, Unreachable> {
    let stream = stream::open(&sentinel.reach, tls).await?;
    // The database is the master's; a sentinel has none.
    let hello = sentinel.hello.clone().set_db(0);
    let (mut connection, driver) = MultiplexedConnection::new_with_config(&hello, stream, config).await?;
    let mut question = cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let answer = tokio::select! {
        answer = question.query_async::<Option<(String, u16)>>(&mut connection) => answer?,
        () = driver => None,
    };
    Ok(answer.map(|(host, port)| Reach::Net { host, port, is_tls: sentinel.is_tls() }))
}

fn passwords(target: &Target, login: &Login) -> Vec<Secret> {
    let addresses = match target {
        Target::One(address) => std::slice::from_ref(address),
        Target::Cluster { seeds, .. } => seeds,
        Target::Sentinel { sentinels, .. } => sentinels,
    };
    let in_urls = addresses.iter().filter_map(|address| address.hello.password());
    let in_urls = in_urls.map(|password| Secret::new(password.to_owned()));
    in_urls.chain(login.password.clone()).filter(|password| !password.expose().is_empty()).collect()
}

/// What is written beside the URL goes before what is in it.
fn login(mut hello: RedisConnectionInfo, login: &Login) -> RedisConnectionInfo {
    if let Some(username) = &login.username {
        hello = hello.set_username(username);
    }
    if let Some(password) = &login.password {
        hello = hello.set_password(password.expose());
    }
    hello
}

impl Connection {
    /// Sends it, and gives what it is answered. The reply is the buffer it was read into.
    pub(super) async fn query(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let value = match self {
            Self::Lane(lane) => lane.query(command).await?,
            Self::One(connection) => connection.req_packed_command(command).await?,
            Self::Cluster(connection) => connection.req_packed_command(command).await?,
        };
        value.extract_error()
    }

    /// Whether it is there; of a cluster, any of its nodes.
    pub(super) async fn ping(&mut self) -> Result<(), RedisError> {
        let ping = cmd("PING");
        let answer = match self {
            Self::Lane(lane) => lane.query(&ping).await?,
            Self::One(connection) => connection.req_packed_command(&ping).await?,
            Self::Cluster(connection) => connection.route_command(ping, RoutingInfo::SingleNode(Any)).await?,
        };
        answer.extract_error().map(drop)
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

impl From<RedisError> for Unreachable {
    fn from(error: RedisError) -> Self {
        Self::Refused(refusal::words(&error))
    }
}

impl Driver {
    /// Until the connection has ended; for ever, if nobody would notice.
    pub(super) async fn ended(&mut self) {
        match &mut self.0 {
            // Whether it ended well makes no difference.
            Some(driver) => drop(driver.await),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(driver) = &self.0 {
            driver.abort();
        }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}
