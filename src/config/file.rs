//! The configuration as it is written: one struct a table, one field a key, its default, and one sentence.
//!
//! The sentences are the ones of `config/default.toml` and of the JSON Schema; a test keeps them equal. Everything may
//! be left out of the file. Nothing here is checked beyond its type: that is `check`'s part. Keys of parts that are
//! not built are missing here on purpose and listed in `unavailable`.

use super::hidden::{Hidden, HiddenList};
use super::words::{Cipher, Compression, HostField, Percent, Period, RedisMode, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use super::file_changes::{Hook, Invalidation};
pub(super) use super::file_routes::{Key, Route};

/// The configuration of Larder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    /// The side that clients and operators see.
    pub server: Server,
    /// The API that is asked.
    pub upstream: Upstream,
    /// Who is asking.
    pub identity: Identity,
    /// What this process keeps.
    pub memory: Memory,
    /// What all instances share; left out or without a URL, memory is the only tier.
    pub redis: Redis,
    /// What a route leaves out.
    pub defaults: Defaults,
    /// What holds for which paths; the most specific pattern wins.
    pub route: Vec<Route>,
    /// How much may be declared invalid, and is remembered of it.
    pub invalidation: Invalidation,
    /// Messages in which the backend, or whoever it trusts, says what has changed.
    pub hook: Vec<Hook>,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Server {
    /// Where clients connect.
    pub listen: String,
    /// Where metrics, health and the ways to invalidate are; "off" to have none.
    pub admin: String,
    /// The bearer token of the admin listener; required unless that listens on loopback.
    pub admin_token: Option<Hidden>,
    /// Threads that serve; 0 is one a core.
    pub workers: u32,
    /// Connections that clients may have open.
    pub max_connections: u32,
    /// Longest time from a request's first byte to the end of its head.
    pub header_timeout: Period,
    /// Longest time a client's connection may be idle between requests; longer than that of a load balancer before it.
    pub idle_timeout: Period,
    /// Longest silence while a client sends a body, or takes one.
    pub body_timeout: Period,
    /// How long a shutdown waits for what was begun.
    pub drain_timeout: Period,
    /// Addresses and networks of the proxies whose X-Forwarded-* and Forwarded are believed.
    pub trusted_proxies: Vec<String>,
    /// Adds the key to Cache-Status, and Server-Timing to every answer.
    pub debug: bool,
}

/// `[upstream]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Upstream {
    /// Where the API is, with a path to put before every request's path or none; required.
    pub url: Option<String>,
    /// The Host the API is told, which is the client's ("client") or the one in url ("upstream").
    pub host: HostField,
    /// A PEM file of certificates to trust instead of the system's.
    pub ca: Option<String>,
    /// Longest time to a connection, with name lookup and TLS.
    pub connect_timeout: Period,
    /// Longest time to the response head.
    pub response_timeout: Period,
    /// How long an unused connection is kept.
    pub idle_timeout: Period,
    /// Longest silence inside a response body.
    pub body_timeout: Period,
    /// Unused connections that are kept; what a burst opened beyond them is closed when it has not been used for a second.
    pub max_idle: u32,
    /// Requests under way at once; the rest waits in a queue.
    pub max_in_flight: u32,
    /// Requests that may wait in that queue.
    pub queue: u32,
    /// How long a request may wait in that queue.
    pub queue_timeout: Period,
    /// Tries after the first, of safe methods and after connection failures only.
    pub retries: u32,
}

/// `[identity]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Identity {
    /// Where a request may bear a credential; the order is the precedence.
    pub credentials: Vec<String>,
    /// The secret that keys are made with, so that nobody who reads a key can try credentials against it.
    pub key_secret: Option<Hidden>,
}

/// `[memory]`
#[expect(clippy::struct_field_names, reason = "the keys are called so")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Memory {
    /// Bytes of all kept answers together, with what they cost beside their bodies.
    pub max_size: Size,
    /// Bytes of one answer's body; a longer one is passed on without being kept.
    pub max_object: Size,
    /// Bytes of the bodies that are coming in to be kept, or to be part of a key; past it they are only passed on.
    pub max_filling: Size,
    /// Bytes of second copies of large bodies that are often asked for, which the kernel then sends without copying them; 0 for none.
    pub max_sendfile: Size,
    /// Variants of one URL that are kept (Vary); for a further one the oldest goes.
    pub max_variants: u32,
}

/// `[redis]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Redis {
    /// Whether it is used at all; false is the switch for when it is the trouble.
    pub enabled: bool,
    /// Where Redis or Valkey is: redis://, rediss:// for TLS, or unix:// with a path.
    pub url: Option<Hidden>,
    /// Several URLs in place of the one: some nodes of the cluster, or the sentinels.
    pub urls: Vec<Hidden>,
    /// Whether the URLs are of one server ("standalone"), of a cluster's nodes ("cluster") or of sentinels ("sentinel").
    pub mode: RedisMode,
    /// The name by which the sentinels know the master.
    pub master: String,
    /// The user of its access control list; left out, the one in the URL or the default user.
    pub username: Option<String>,
    /// The password of that user; left out, the one in the URL.
    pub password: Option<Hidden>,
    /// A PEM file of certificates to trust instead of the system's.
    pub ca: Option<String>,
    /// A PEM file with the certificate that Larder shows to Redis.
    pub client_cert: Option<String>,
    /// A PEM file with the private key of that certificate.
    pub client_key: Option<Hidden>,
    /// What all keys there begin with; instances with the same one share what they keep.
    pub namespace: String,
    /// Longest time that a request waits for Redis; past it the request goes on without.
    pub command_timeout: Period,
    /// Longest time to a connection that answers.
    pub connect_timeout: Period,
    /// Bytes of one answer's body; a longer one is kept in memory only.
    pub max_object: Size,
    /// Bytes of answers that wait to be written; past it they are not. Left out, 32MB or as much as one answer may have, whichever is more.
    pub max_queued: Size,
    /// The key or keys that values are sealed with, 32 bytes in base64, where the first writes and all read; left out, values are in the clear.
    pub encryption_key: Option<HiddenList>,
    /// What values are sealed by where there is a key: "aes-256-gcm", or "chacha20-poly1305" for processors without AES.
    pub cipher: Cipher,
    /// How long one who fetches for all instances may be silent before another does; left out, 3s or six times what a request waits, whichever is more.
    pub lease: Period,
    /// Which bodies are compressed.
    pub compress: Compress,
    /// Whether what is kept outlives another Redis process that takes over, which is right only where that one can have missed nothing (synchronous replication).
    pub trust_failover: bool,
    /// When Redis is left alone for a while.
    pub breaker: RedisBreaker,
}

/// `compress` of `[redis]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Compress {
    /// How bodies are compressed ("zstd"), or that they are not ("off").
    pub algorithm: Compression,
    /// Bytes of a body; shorter ones are not worth it.
    pub above: Size,
}

/// `breaker` of `[redis]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RedisBreaker {
    /// So many failures in a row, and Redis is left alone.
    pub failures: u32,
    /// Longest time between two of them that count as in a row.
    pub window: Period,
    /// How long it is left alone before it is tried again.
    pub open: Period,
}

/// `[defaults]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Defaults {
    /// How long an answer is fresh where the upstream says nothing; 0s is only what the upstream's own headers allow.
    pub ttl: Period,
    /// How long a 404, 410 or the like is fresh where the upstream says nothing.
    pub negative_ttl: Period,
    /// By how much a lifetime that a route gave may be shortened, so that not everything ends at once.
    pub jitter: Percent,
    /// How much of the time since its Last-Modified an answer is taken to be fresh where nobody says how long; at most a day, and 0% for not at all.
    pub heuristic: Percent,
    /// How long past its end an answer is given while it is fetched anew, where the upstream says nothing of that.
    pub stale_while_revalidate: Period,
    /// How long past its end an answer is given where the upstream fails, where it said nothing of that.
    pub stale_if_error: Period,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            admin: "127.0.0.1:8081".into(),
            admin_token: None,
            workers: 0,
            max_connections: 20_000,
            header_timeout: Period::secs(10),
            idle_timeout: Period::secs(75),
            body_timeout: Period::secs(30),
            drain_timeout: Period::secs(30),
            trusted_proxies: Vec::new(),
            debug: false,
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            url: None,
            host: HostField::Client,
            ca: None,
            connect_timeout: Period::secs(3),
            response_timeout: Period::secs(30),
            idle_timeout: Period::secs(30),
            body_timeout: Period::secs(30),
            max_idle: 20,
            max_in_flight: 64,
            queue: 1024,
            queue_timeout: Period::secs(5),
            retries: 1,
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            credentials: ["header:authorization", "cookie:session", "query:token"].map(String::from).into(),
            key_secret: None,
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            max_size: Size(256_000_000),
            max_object: Size(8_000_000),
            max_filling: Size(64_000_000),
            max_sendfile: Size(64_000_000),
            max_variants: 64,
        }
    }
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            enabled: true,
            url: None,
            urls: Vec::new(),
            mode: RedisMode::Standalone,
            master: "mymaster".into(),
            username: None,
            password: None,
            ca: None,
            client_cert: None,
            client_key: None,
            namespace: "larder".into(),
            command_timeout: Period::millis(50),
            connect_timeout: Period::secs(1),
            max_object: Size(1_000_000),
            max_queued: Size(32_000_000),
            encryption_key: None,
            cipher: Cipher::Aes256Gcm,
            lease: Period::secs(3),
            compress: Compress::default(),
            trust_failover: false,
            breaker: RedisBreaker::default(),
        }
    }
}

impl Default for Compress {
    fn default() -> Self {
        Self { algorithm: Compression::Zstd, above: Size(4000) }
    }
}

impl Default for RedisBreaker {
    fn default() -> Self {
        Self { failures: 5, window: Period::secs(10), open: Period::millis(500) }
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            ttl: Period::ZERO,
            negative_ttl: Period::ZERO,
            jitter: Percent(0.05),
            heuristic: Percent(0.1),
            stale_while_revalidate: Period::ZERO,
            stale_if_error: Period::ZERO,
        }
    }
}
