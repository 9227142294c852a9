//! What the configuration says of the shared tier.

use std::time::Duration;

use crate::object::seal::{Cipher, EncryptionKey};
use crate::secret::Secret;

/// All of it; there is none of it where no tier is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it is.
    pub place: Place,
    /// How the connection is secured; none: not at all.
    pub tls: Option<Tls>,
    /// What it knows us by.
    pub login: Login,
    /// What all our names begin with.
    pub namespace: String,
    /// Longest time a request waits for a reply.
    pub command_timeout: Duration,
    /// Longest time to a connection that answers.
    pub connect_timeout: Duration,
    /// Bytes of one body; a longer one stays in memory.
    pub max_object_bytes: u64,
    /// Bytes of answers that wait to be written; past it they are not.
    pub max_queued_bytes: u64,
    /// Bodies longer than this are compressed; none: no body is.
    pub compress_above_bytes: Option<u64>,
    /// Values are sealed with the first, and opened with any. Empty: they are in the clear.
    pub encryption_keys: Vec<EncryptionKey>,
    /// With what cipher they are sealed; both are opened.
    pub cipher: Cipher,
    /// When it is left alone.
    pub breaker: Breaker,
    /// How long one who fetches for all instances may be silent before another does.
    pub lease: Duration,
    /// Whether what is kept outlives another server's taking over.
    pub trust_failover: bool,
}

/// Where the tier is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One server.
    One(Secret),
    /// A cluster, by some of its servers.
    Cluster(Vec<Secret>),
    /// Whatever server these sentinels say is the master of that name.
    Sentinel {
        /// The sentinels; a password in one is the sentinel's.
        sentinels: Vec<Secret>,
        /// The name they know the master by.
        master: String,
    },
}

/// Certificates in PEM form.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls {
    /// Who is trusted; none: whom the system trusts.
    pub ca: Option<Vec<u8>>,
    /// Who we are: certificate and key.
    pub client: Option<(Vec<u8>, Secret)>,
}

/// What takes precedence over what stands in a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// The ACL user.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
}

/// When the tier is left alone, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// So many failures in a row, …
    pub failures: u32,
    /// … each within this time of the one before, …
    pub window: Duration,
    /// … and it is left alone for so long, before one probe.
    pub open: Duration,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("ca", &self.ca.is_some()).field("client", &self.client.is_some()).finish()
    }
}
