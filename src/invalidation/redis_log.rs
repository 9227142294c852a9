//! `RedisLog`: the log in a Redis stream, and the lines in a hash beside it.
//!
//! ```text
//! NAMESPACE:log                         entries 1-0, 2-0, …: `id`, `by` and `at` (for people), `event`
//! NAMESPACE:{NAMESPACE:log}:instances   `name`    of the log, drawn when it is made
//!                                       `secret`  that keys are made with, where the operator gave none
//!                                       `i:ID`    the line of each instance
//! ```
//!
//! An epoch is a digest of who the server is, what history its data is of, and the name of the log. So whatever may have cost
//! events makes another epoch: a server that was emptied, restarted, replaced by its replica, or followed another for a while.
//! Both keys have a time to live, which all who are at work extend. Nobody else writes there; what somebody has put into the
//! stream nevertheless is read as an event that can't be read.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::cmd;
use sha2::{Digest, Sha256};

use super::event::{Event, EventId};
use super::log::{Line, Log, LogError, Reply, Session};
use super::log_scripts::LogScripts;
use super::redis_session::{KEEP_FOR, Means, Place, RedisSession, no_random_bytes, unexpected};
use super::written;
use crate::object::Epoch;
use crate::object::wire::{self, Wire};
use crate::shared::{self, BadSettings, Dialer, Direct, Names, Value};

/// The log in Redis.
pub struct RedisLog {
    dialer: Dialer,
    means: Arc<Means>,
    trust_failover: bool,
    is_our_secret: Option<IsOurSecret>,
}

/// What is said of it beside where it is.
pub struct RedisLogSettings {
    /// What people call this instance.
    pub name: String,
    /// So many events are kept …
    pub length_max: u64,
    /// … for so long.
    pub age_max: Duration,
    /// A replica that takes its master's place has all events: that makes no new epoch.
    pub trust_failover: bool,
    /// Says whether this, which lies beside the log, is the secret that our keys are made with. None: the operator gave one.
    pub is_our_secret: Option<IsOurSecret>,
}

/// See `RedisLogSettings`.
pub type IsOurSecret = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Who a server is, and what history its data is of.
#[derive(Debug, PartialEq, Eq)]
struct Server {
    run_id: String,
    replication_id: String,
}

/// A log, or one that was made.
struct Found {
    name: Vec<u8>,
    /// The position of its last event.
    end: u64,
    /// What has to stay; empty: it makes no difference.
    secret: Vec<u8>,
}

/// What is slower than a request would put up with may still be a log.
const PATIENCE: u32 = 10;
const PATIENCE_MIN: Duration = Duration::from_millis(500);

impl RedisLog {
    /// Connects to nothing yet.
    pub fn new(redis: &shared::Settings, settings: RedisLogSettings) -> Result<Self, BadSettings> {
        let RedisLogSettings { name, length_max, age_max, trust_failover, is_our_secret } = settings;
        let wire = Wire::new(wire::Settings {
            namespace: redis.namespace.clone(),
            compress_above_bytes: None,
            max_object_bytes: 0,
            keys: redis.encryption_keys.clone(),
            cipher: redis.cipher,
        });
        let names = Names::new(&redis.namespace);
        let means = Means {
            wire,
            scripts: LogScripts::new(),
            log: names.log(),
            instances: names.instances(),
            patience: (redis.command_timeout * PATIENCE).max(PATIENCE_MIN),
            by: name,
            length_max,
            age_max,
        };
        Ok(Self { dialer: Dialer::new(redis)?, means: Arc::new(means), trust_failover, is_our_secret })
    }

    async fn joined(&self, line: Line, last: Option<EventId>) -> Result<RedisSession, LogError> {
        let (reads, writes) = self.dialer.two(self.means.log.as_bytes()).await?;
        let (server, same) = tokio::try_join!(self.server(&reads), self.server(&writes))?;
        if server != same {
            return Err(LogError::Refused("two connections lead to two servers".to_owned()));
        }
        let replication_id = if self.trust_failover { String::new() } else { server.replication_id.clone() };
        let epoch = |name: &[u8]| if self.trust_failover { digest(&[name]) } else { server.epoch(name) };
        let mut found = self.found(&writes, &replication_id, b"").await?;
        // A failover was trusted that lost events: what bears a position behind this end would outlive what comes to stand there, and
        // what others have put in their place is not what was read here.
        let is_read = line.epoch == epoch(&found.name) && line.applied > 0;
        if is_read && (line.applied > found.end || !self.is_there(&writes, line.applied, last).await?) {
            found = self.found(&writes, &replication_id, &found.name).await?;
        }
        let Found { name, secret, .. } = found;
        let place = Place { epoch: epoch(&name), name, replication_id, secret };
        RedisSession::begin(Arc::clone(&self.means), place, (reads, writes), line).await
    }

    /// Whether this event stands there, where it can have been replaced at all.
    async fn is_there(
        &self,
        writes: &Direct,
        position: u64,
        last: Option<EventId>,
    ) -> Result<bool, LogError> {
        let (true, Some(last)) = (self.trust_failover, last) else { return Ok(true) };
        let at = format!("{position}-0");
        let question = cmd("XRANGE").arg(&self.means.log).arg(&at).arg(&at).take();
        let answer = writes.ask(&question, self.means.patience).await?;
        // One that was trimmed away can't be told from one that never was.
        Ok(written::first_id(&answer) == Some(last))
    }

    async fn server(&self, connection: &Direct) -> Result<Server, LogError> {
        let question = cmd("INFO").arg("server").arg("replication").take();
        let said = match connection.ask(&question, self.means.patience).await? {
            Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
            Value::VerbatimString { text, .. } => text,
            _ => return Err(unexpected()),
        };
        Server::read(&said)
    }

    /// Makes a log if there is none, or one that has lost a part.
    async fn found(&self, writes: &Direct, replication_id: &str, lost: &[u8]) -> Result<Found, LogError> {
        let Means { wire, scripts, log, instances, patience, by, .. } = &*self.means;
        let mut new = [0; 16];
        let first = written::event(wire, &Event::default());
        let (Ok(()), Some(first)) = (getrandom::fill(&mut new), first) else {
            return Err(no_random_bytes());
        };
        let keys = [log.as_bytes(), instances.as_bytes()];
        let (replication_id, keep_for) = (replication_id.as_bytes(), KEEP_FOR.as_bytes());
        let arguments = [&new[..], replication_id, keep_for, by.as_bytes(), &first, lost];
        let answer = writes.run(&scripts.begin, &keys, &arguments, *patience).await?;
        let parts = match answer {
            Value::Int(0) => return Err(LogError::Replaced),
            Value::Array(parts) => <[Value; 3]>::try_from(parts).map_err(|_| unexpected())?,
            _ => return Err(unexpected()),
        };
        let [Value::BulkString(name), end, secret] = parts else {
            return Err(unexpected());
        };
        let (end, _) = written::position(&end).ok_or_else(unexpected)?;
        let secret = match (&self.is_our_secret, secret) {
            (None, _) => Vec::new(),
            (Some(is_ours), Value::BulkString(secret)) if is_ours(&secret) => secret,
            _ => return Err(LogError::Refused("the secret of the keys is not agreed on".to_owned())),
        };
        Ok(Found { name, end, secret })
    }
}

impl Log for RedisLog {
    fn join(&self, line: Line, last: Option<EventId>) -> Reply<'_, Box<dyn Session>> {
        Box::pin(async move { Ok(Box::new(self.joined(line, last).await?) as Box<dyn Session>) })
    }
}

impl Server {
    /// From what it says of itself.
    fn read(said: &str) -> Result<Self, LogError> {
        let field = |name: &str| {
            let value = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.filter(|value| !value.is_empty()).ok_or_else(unexpected)
        };
        if field("role")? != "master" {
            return Err(LogError::Refused("READONLY this server follows another".to_owned()));
        }
        let (run_id, replication_id) = (field("run_id")?, field("master_replid")?);
        Ok(Self { run_id: run_id.to_owned(), replication_id: replication_id.to_owned() })
    }

    fn epoch(&self, name: &[u8]) -> Epoch {
        digest(&[self.run_id.as_bytes(), self.replication_id.as_bytes(), name])
    }
}

/// Of parts of fixed lengths.
fn digest(parts: &[&[u8]]) -> Epoch {
    let digest = Sha256::digest(parts.concat());
    Epoch(digest.first_chunk().copied().unwrap_or_default())
}

impl fmt::Debug for RedisLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLog").field("log", &self.means.log).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\n\r\n# Replication\r\nrole:master\r\n\
        connected_slaves:0\r\nmaster_replid:def\r\nmaster_replid2:000\r\n";

    #[test]
    fn a_server_says_who_it_is_and_whom_it_follows() {
        let server = Server::read(SAID).unwrap();
        assert_eq!((server.run_id.as_str(), server.replication_id.as_str()), ("abc", "def"));
        for (said, other) in [("role:master", "role:slave"), ("run_id:", "run:"), ("master_replid:def", "")] {
            assert!(Server::read(&SAID.replace(said, other)).is_err(), "{other}");
        }
    }

    #[test]
    fn an_epoch_is_a_digest_of_all_it_depends_on() {
        let epoch = |said: &str, name: &[u8]| Server::read(said).unwrap().epoch(name);
        let one = epoch(SAID, b"name");
        assert_eq!(one, epoch(SAID, b"name"));
        // printf abcdefname | sha256sum
        assert_eq!(one.0[..4], [0xe7, 0xca, 0x17, 0x69]);
        assert_ne!(one, epoch(SAID, b"another"));
        assert_ne!(one, epoch(&SAID.replace("abc", "abd"), b"name"));
        assert_ne!(one, epoch(&SAID.replace("def", "deg"), b"name"));
    }
}
