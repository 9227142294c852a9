//! `Dialer`: makes connections that answer, to whatever place the configuration names.
//!
//! A connection is handed out only after it has answered a PING, with the login done; one deadline bounds all of that. For
//! Sentinel, the sentinels are asked at each attempt, and who they name has to say itself that it is the master.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo::Random as Any};
use redis::{
    AsyncConnectionConfig, ClientTlsConfig, Cmd, ConnectionAddr, IntoConnectionInfo, ProtocolVersion,
    PushInfo, RedisConnectionInfo, RedisError, TlsCertificates, Value, cmd,
};
use rustls::ClientConfig;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::timeout;

use super::address::{Address, Reach};
use super::settings::{self, Login, Place, Settings, Tls};
use super::shards::Shards;
use super::{security, stream};

/// Makes connections.
pub(super) struct Dialer {
    target: Target,
    tls: Option<Arc<ClientConfig>>,
    connect_timeout: Duration,
    command_timeout: Duration,
    breaker: settings::Breaker,
}

enum Target {
    One(Address),
    Cluster { seeds: Vec<Address>, client: Box<ClusterClient> },
    Sentinel { sentinels: Vec<Address>, master: String, hello: Box<RedisConnectionInfo> },
}

/// What commands go over; a clone goes over the same.
#[derive(Clone)]
pub(super) enum Connection {
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
pub(super) struct Driver(Option<(JoinHandle<()>, AbortHandle)>);

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
    #[error("{0}")]
    Refused(#[from] RedisError),
    #[error("no sentinel knows a master of that name that says it is one")]
    NoMaster,
}

/// Times that a cluster's command may be sent on to another node, all of them within the command's time.
const CLUSTER_RETRIES: u32 = 3;

/// Milliseconds between two of those.
const CLUSTER_WAIT: (u64, u64) = (2, 10);

impl Dialer {
    /// Nothing is connected to yet.
    pub(super) fn new(settings: &Settings) -> Result<Self, BadSettings> {
        let tls = settings.tls.as_ref().map(security::config).transpose().map_err(BadSettings)?;
        let address = |url: &crate::secret::Secret| {
            Address::parse(url.expose()).map_err(|wrong| BadSettings(format!("a URL {wrong}")))
        };
        let target = match &settings.place {
            Place::One(url) => {
                let mut address = address(url)?;
                address.hello = login(address.hello, &settings.login);
                Target::One(address)
            }
            Place::Cluster(urls) => {
                let mut seeds = urls.iter().map(address).collect::<Result<Vec<_>, _>>()?;
                for seed in &mut seeds {
                    seed.hello = login(seed.hello.clone(), &settings.login);
                }
                let client = cluster(&seeds, settings).map_err(|error| BadSettings(error.to_string()))?;
                Target::Cluster { seeds, client: Box::new(client) }
            }
            Place::Sentinel { sentinels, master } => {
                let sentinels = urls_of(sentinels, address)?;
                let database = sentinels.first().map_or(0, Address::database);
                let hello = login(RedisConnectionInfo::default().set_db(database), &settings.login);
                Target::Sentinel { sentinels, master: master.clone(), hello: Box::new(hello) }
            }
        };
        let (connect_timeout, command_timeout) = (settings.connect_timeout, settings.command_timeout);
        Ok(Self { target, tls, connect_timeout, command_timeout, breaker: settings.breaker })
    }

    /// Whether names of different resources may lie in different places.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.target, Target::Cluster { .. })
    }

    /// A connection for commands.
    pub(super) async fn commands(&self) -> Result<Line, Unreachable> {
        let connecting = async {
            let mut line = match &self.target {
                Target::One(address) => self.line(&address.reach, &address.hello).await?,
                Target::Cluster { client, .. } => {
                    let mut connection = client.get_async_connection().await?;
                    let question = cmd("CLUSTER").arg("SLOTS").take();
                    let slots = connection.route_command(question, RoutingInfo::SingleNode(Any)).await?;
                    let shards = Shards::read(&slots.extract_error()?, self.breaker);
                    let connection = Connection::Cluster(connection);
                    Line { connection, driver: Driver(None), shards: Some(shards) }
                }
                Target::Sentinel { .. } => {
                    let (reach, hello) = self.master().await?;
                    self.line(&reach, hello).await?
                }
            };
            line.connection.ping().await?;
            Ok(line)
        };
        timeout(self.connect_timeout, connecting).await.map_err(|_| Unreachable::TooSlow)?
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
                connection.subscribe(channel).await?;
            }
            Ok(line)
        };
        timeout(self.connect_timeout, connecting).await.map_err(|_| Unreachable::TooSlow)?
    }

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_response_timeout(Some(self.command_timeout.max(Duration::from_millis(1))))
            .set_connection_timeout(Some(self.connect_timeout))
    }

    async fn line(&self, reach: &Reach, hello: &RedisConnectionInfo) -> Result<Line, Unreachable> {
        self.line_with(reach, hello, self.config()).await
    }

    async fn line_with(
        &self,
        reach: &Reach,
        hello: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> Result<Line, Unreachable> {
        let stream = stream::open(reach, self.tls.as_ref()).await?;
        let (connection, driver) = MultiplexedConnection::new_with_config(hello, stream, config).await?;
        let driver = tokio::spawn(driver);
        let abort = driver.abort_handle();
        let driver = Driver(Some((driver, abort)));
        Ok(Line { connection: Connection::One(connection), driver, shards: None })
    }

    /// Where the sentinels say the master is, and it says so too. All are asked at once: one that hangs holds up nobody.
    async fn master(&self) -> Result<(Reach, &RedisConnectionInfo), Unreachable> {
        let Target::Sentinel { sentinels, master, hello } = &self.target else {
            return Err(Unreachable::NoMaster);
        };
        let mut asked = JoinSet::new();
        for sentinel in sentinels {
            let (sentinel, master, tls) = (sentinel.clone(), master.clone(), self.tls.clone());
            let config = self.config();
            asked.spawn(async move { ask(&sentinel, &master, tls.as_ref(), config).await.ok().flatten() });
        }
        let mut tried: Vec<Reach> = Vec::new();
        while let Some(answer) = asked.join_next().await {
            let Ok(Some(reach)) = answer else {
                continue;
            };
            // One that was cut off may name the master of before.
            if !tried.contains(&reach) && self.is_master(&reach, hello).await.unwrap_or(false) {
                return Ok((reach, hello));
            }
            tried.push(reach);
        }
        Err(Unreachable::NoMaster)
    }

    async fn is_master(&self, reach: &Reach, hello: &RedisConnectionInfo) -> Result<bool, Unreachable> {
        // So that several may be tried within the time there is.
        let checking = async {
            let mut line = self.line(reach, hello).await?;
            let role = line.connection.query(&cmd("ROLE")).await?;
            let Value::Array(parts) = role else { return Ok(false) };
            Ok(matches!(parts.first(), Some(Value::BulkString(role)) if role == b"master"))
        };
        timeout(self.connect_timeout / 3, checking).await.map_err(|_| Unreachable::TooSlow)?
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

fn urls_of(
    urls: &[crate::secret::Secret],
    address: impl Fn(&crate::secret::Secret) -> Result<Address, BadSettings>,
) -> Result<Vec<Address>, BadSettings> {
    urls.iter().map(address).collect()
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

fn cluster(seeds: &[Address], settings: &Settings) -> Result<ClusterClient, RedisError> {
    let mut nodes = Vec::new();
    for seed in seeds {
        let Reach::Net { host, port, is_tls } = &seed.reach else {
            continue;
        };
        let (host, port) = (host.clone(), *port);
        let address = if *is_tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        nodes.push(address.into_connection_info()?.set_redis_settings(seed.hello.clone()));
    }
    let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
    let tcp = tcp.set_keepalive(socket2::TcpKeepalive::new().with_time(Duration::from_secs(5)));
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(Duration::from_secs(2));
    let mut builder = ClusterClientBuilder::new(nodes)
        .retries(CLUSTER_RETRIES)
        .min_retry_wait(CLUSTER_WAIT.0)
        .max_retry_wait(CLUSTER_WAIT.1)
        // A node that hangs must leave time for the others.
        .connection_timeout(settings.connect_timeout / 3)
        .response_timeout(settings.command_timeout)
        .overall_response_timeout(Some(settings.command_timeout))
        .tcp_settings(tcp);
    if let Some(tls) = &settings.tls {
        builder = builder.certs(certificates(tls));
    }
    builder.build()
}

/// The driver opens a cluster's connections itself, with what it takes for certificates.
fn certificates(tls: &Tls) -> TlsCertificates {
    // It asks for the process's provider. Who has set one before us has set the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    TlsCertificates {
        client_tls: tls.client.as_ref().map(|(chain, key)| ClientTlsConfig {
            client_cert: chain.clone(),
            client_key: key.expose().as_bytes().to_vec(),
        }),
        root_cert: tls.ca.clone(),
    }
}

impl Connection {
    /// Sends it, and gives what it is answered. The reply is the buffer it was read into.
    pub(super) async fn query(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let value = match self {
            Self::One(connection) => connection.req_packed_command(command).await?,
            Self::Cluster(connection) => connection.req_packed_command(command).await?,
        };
        value.extract_error()
    }

    /// Whether it is there; of a cluster, any of its nodes.
    pub(super) async fn ping(&mut self) -> Result<(), RedisError> {
        let ping = cmd("PING");
        let answer = match self {
            Self::One(connection) => connection.req_packed_command(&ping).await?,
            Self::Cluster(connection) => connection.route_command(ping, RoutingInfo::SingleNode(Any)).await?,
        };
        answer.extract_error().map(drop)
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

impl Driver {
    /// Until the connection has ended; for ever, if nobody would notice.
    pub(super) async fn ended(&mut self) {
        match &mut self.0 {
            // Whether it ended well makes no difference.
            Some((driver, _)) => drop(driver.await),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some((_, abort)) = &self.0 {
            abort.abort();
        }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}
