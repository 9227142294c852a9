//! `Direct`: a connection to one server and no other, for who has to be sure of whom it talks to.
//!
//! It is not made anew and follows nobody: when it has ended, or leads to one that has not got the key any more, all that comes of
//! it are errors.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisError, cmd};
use rustls::ClientConfig;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::address::{Address, Reach};
use super::connect::{Connection, Dialer, Driver, TRIES, Target, Unreachable};
use super::patience::in_time;
use super::scripts::Prepared;
use super::{refusal, shards, stream};

pub(crate) use redis::Value;

/// A connection to one server.
pub(crate) struct Direct {
    connection: Connection,
    _driver: Driver,
}

/// Why there is no answer, in words that may be shown.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// None in time.
    TimedOut,
    /// No connection, or none any more.
    Broken(String),
    /// The server answered no.
    Refused(String),
}

impl Dialer {
    /// Two connections to who has this key.
    pub(crate) async fn two(&self, key: &[u8]) -> Result<(Direct, Direct), NoAnswer> {
        let connecting = async {
            match &self.target {
                Target::One(address) => self.both(&address.reach, &address.hello, key).await,
                Target::Cluster { seeds, .. } => self.owner(seeds, key).await,
                Target::Sentinel { .. } => {
                    let (reach, hello) = self.master().await?;
                    self.both(&reach, hello, key).await
                }
            }
        };
        Ok(self.connected(connecting).await?)
    }

    /// All seeds are asked at once: one that hangs, or knows only who had it before, holds up nobody.
    async fn owner(&self, seeds: &[Address], key: &[u8]) -> Result<(Direct, Direct), Unreachable> {
        let mut asked = JoinSet::new();
        for seed in seeds {
            let (seed, key, tls) = (seed.clone(), key.to_vec(), self.tls.clone());
            let config = self.config();
            asked.spawn(async move {
                let reach = ask(&seed, &key, tls.as_ref(), config).await?;
                Ok::<_, Unreachable>(reach.map(|reach| (reach, seed.hello)))
            });
        }
        let (mut tried, mut why): (Vec<Reach>, _) = (Vec::new(), Unreachable::NoOwner);
        while let Some(answer) = asked.join_next().await {
            let (reach, hello) = match answer {
                Ok(Ok(Some((reach, hello)))) if !tried.contains(&reach) => (reach, hello),
                Ok(Err(error)) => {
                    why = error;
                    continue;
                }
                _ => continue,
            };
            let trying = self.both(&reach, &hello, key);
            match timeout(self.connect_timeout / TRIES, trying).await.unwrap_or(Err(Unreachable::TooSlow)) {
                Ok(both) => return Ok(both),
                Err(error) => why = error,
            }
            tried.push(reach);
        }
        Err(why)
    }

    async fn both(
        &self,
        reach: &Reach,
        hello: &RedisConnectionInfo,
        key: &[u8],
    ) -> Result<(Direct, Direct), Unreachable> {
        tokio::try_join!(self.one(reach, hello, key), self.one(reach, hello, key))
    }

    /// It has answered a question about this key, which nobody does who has not got it.
    async fn one(
        &self,
        reach: &Reach,
        hello: &RedisConnectionInfo,
        key: &[u8],
    ) -> Result<Direct, Unreachable> {
        let mut line = self.line(reach, hello).await?;
        line.connection.query(cmd("PTTL").arg(key)).await?;
        Ok(Direct { connection: line.connection, _driver: line.driver })
    }
}

/// Who has this key.
async fn ask(
    seed: &Address,
    key: &[u8],
    tls: Option<&Arc<ClientConfig>>,
    config: AsyncConnectionConfig,
) -> Result<Option<Reach>, Unreachable> {
    let Reach::Net { host, is_tls, .. } = &seed.reach else {
        return Ok(None);
    };
    let stream = stream::open(&seed.reach, tls).await?;
    let (mut connection, driver) =
        MultiplexedConnection::new_with_config(&seed.hello, stream, config).await?;
    let question = cmd("CLUSTER").arg("SLOTS").take();
    let slots = tokio::select! {
        answer = connection.send_packed_command(&question) => answer?.extract_error()?,
        () = driver => return Err(Unreachable::Lost),
    };
    let owner = shards::owner(&slots, key);
    let reach = |(its, port): (Option<String>, u16)| {
        let host = its.unwrap_or_else(|| host.clone());
        Reach::Net { host, port, is_tls: *is_tls }
    };
    Ok(owner.map(reach))
}

impl Direct {
    /// What it is answered, within this time.
    pub(crate) async fn ask(&self, command: &Cmd, within: Duration) -> Result<Value, NoAnswer> {
        let mut connection = self.connection.clone();
        answer(within, connection.query(command)).await
    }

    /// What this script comes to, within this time.
    pub(crate) async fn run(
        &self,
        script: &Prepared,
        keys: &[&[u8]],
        arguments: &[&[u8]],
        within: Duration,
    ) -> Result<Value, NoAnswer> {
        let mut connection = self.connection.clone();
        answer(within, script.run(&mut connection, keys, arguments)).await
    }
}

async fn answer(
    within: Duration,
    replied: impl Future<Output = Result<Value, RedisError>>,
) -> Result<Value, NoAnswer> {
    match in_time(Instant::now() + within, replied).await {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) if error.is_timeout() => Err(NoAnswer::TimedOut),
        Some(Err(error)) if error.code().is_some() => Err(NoAnswer::Refused(refusal::words(&error))),
        Some(Err(error)) => Err(NoAnswer::Broken(refusal::words(&error))),
        None => Err(NoAnswer::TimedOut),
    }
}

impl From<Unreachable> for NoAnswer {
    fn from(why: Unreachable) -> Self {
        match why {
            Unreachable::TooSlow => Self::TimedOut,
            Unreachable::Refused(words) => Self::Refused(words),
            why => Self::Broken(why.to_string()),
        }
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct").finish_non_exhaustive()
    }
}
