//! `Link`: one connection after the other for the commands of one thread, and the task that keeps it.
//!
//! Invariant: a command on a link that is down fails at once, and one that was sent is given up in time, so no request is
//! ever queued behind a dead connection. Only the keeper connects. A command that is dropped midway leaves nothing
//! behind: its reply is read and thrown away by the driver.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, RedisError, ServerErrorKind, Value, cmd};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::connect::{Connection, Dialer, Driver};
use super::patience::in_time;
use super::refusal;
use super::scripts::Prepared;
use super::settings::Settings;
use super::shards::Shards;
use super::standing::{Change, Sign, Standing};
use super::tier::TierError;
use crate::telemetry::Telemetry;
use crate::telemetry::redis::{Command, CommandOutcome};

/// One connection after the other.
#[derive(Debug)]
pub(super) struct Link {
    inner: Mutex<Inner>,
    /// For the keeper: the link is down.
    lost: Notify,
    command_timeout: Duration,
    outage: Arc<Outage>,
    telemetry: Arc<Telemetry>,
}

struct Inner {
    standing: Standing,
    /// With its number; there while the link is up.
    connection: Option<(u64, Connection)>,
    /// Of a cluster: which part of it is left alone.
    shards: Option<Shards>,
}

/// So that an outage is one line in the log, however many links it is felt by.
#[derive(Debug, Default)]
pub(super) struct Outage {
    is_told: AtomicBool,
}

/// What is asked of Redis.
#[derive(Clone, Copy)]
pub(super) enum Question<'q> {
    Plain {
        command: &'q Cmd,
        /// What it is about.
        key: &'q [u8],
    },
    Script {
        script: &'q Prepared,
        key: &'q [u8],
        arguments: &'q [&'q [u8]],
    },
}

/// A link is asked so often whether it is there: a connection that died unused is found out by nobody's request.
const PING_EVERY: Duration = Duration::from_secs(1);

/// After one that was not answered in time.
const PING_AGAIN: Duration = Duration::from_millis(100);

impl Link {
    /// Down.
    pub(super) fn new(settings: &Settings, outage: Arc<Outage>, telemetry: Arc<Telemetry>) -> Self {
        let standing = Standing::new(settings.breaker, Instant::now());
        Self {
            inner: Mutex::new(Inner { standing, connection: None, shards: None }),
            lost: Notify::new(),
            command_timeout: settings.command_timeout,
            outage,
            telemetry,
        }
    }

    /// Connects, and connects anew, until it is dropped. Then the link is down.
    pub(super) async fn keep(&self, dialer: &Dialer) {
        let _guard = Kept(self);
        loop {
            let next_try = self.lock().standing.next_try();
            if let Some(next_try) = next_try {
                sleep_until(next_try).await;
            }
            match dialer.commands().await {
                Ok(line) => {
                    let number = self.came_up(line.connection, line.shards);
                    self.watch(number, line.driver, dialer).await;
                }
                Err(why) => {
                    self.telemetry.redis.connect_failures.add_one();
                    self.outage.begins(&why);
                    self.lock().standing.not_reached(Instant::now());
                }
            }
        }
    }

    /// Asks, and gives up in time.
    pub(super) async fn ask(&self, command: Command, question: Question<'_>) -> Result<Value, TierError> {
        let (Question::Plain { key, .. } | Question::Script { key, .. }) = question;
        let Some((number, mut connection)) = self.way(key) else {
            self.telemetry.redis.command(command, CommandOutcome::Away, None);
            return Err(TierError::Away);
        };
        let is_cluster = connection.is_cluster();
        let replied =
            self.in_time(command, &mut connection, async |connection| send(connection, question).await);
        let (result, sign) = replied.await;
        if is_cluster {
            self.told_of(key, number, sign);
        } else {
            self.told(number, sign);
        }
        result
    }

    /// What came of it, and what it says of the connection. All of it is counted.
    async fn in_time<T>(
        &self,
        command: Command,
        connection: &mut Connection,
        send: impl AsyncFnOnce(&mut Connection) -> Result<T, RedisError>,
    ) -> (Result<T, TierError>, Sign) {
        let is_cluster = connection.is_cluster();
        let began = Instant::now();
        let replied = in_time(Instant::now() + self.command_timeout, send(connection)).await;
        let (result, sign) = match replied {
            Some(Ok(value)) => (Ok(value), Sign::Answered),
            Some(Err(error)) => {
                let (error, sign) = refusal::read(&error, is_cluster);
                if let TierError::Refused(kind) = error {
                    self.refused(kind);
                }
                (Err(error), sign)
            }
            None => (Err(TierError::TimedOut), Sign::Failed),
        };
        let outcome = match result {
            Ok(_) => CommandOutcome::Answered,
            Err(TierError::Refused(_)) => CommandOutcome::Refused,
            Err(TierError::TimedOut) => CommandOutcome::TimedOut,
            Err(TierError::Away | TierError::Broken) => CommandOutcome::Broken,
        };
        self.telemetry.redis.command(command, outcome, Some(began.elapsed()));
        (result, sign)
    }

    /// The connection that a command about this key may go over.
    fn way(&self, key: &[u8]) -> Option<(u64, Connection)> {
        let inner = self.lock();
        let is_left_alone = inner.shards.as_ref().is_some_and(|shards| shards.is_open(key));
        if is_left_alone { None } else { inner.connection.clone() }
    }

    /// Until the connection is not to be used any more.
    async fn watch(&self, mut number: u64, mut driver: Driver, dialer: &Dialer) {
        let mut next_ping = PING_EVERY;
        loop {
            let (is_up, probe) = {
                let inner = self.lock();
                (inner.standing.is_up(number), inner.shards.as_ref().and_then(Shards::next_probe))
            };
            if !is_up {
                return;
            }
            tokio::select! {
                () = self.lost.notified() => {}
                () = driver.ended() => self.told(number, Sign::Broken),
                key = due(probe) => number = self.probe(&key, number, dialer).await,
                () = sleep(next_ping) => {
                    let answered = self.ping(number).await;
                    next_ping = if answered { PING_EVERY } else { PING_AGAIN };
                }
            }
        }
    }

    async fn ping(&self, number: u64) -> bool {
        let connection = self.lock().connection.as_ref().map(|(_, connection)| connection.clone());
        let Some(mut connection) = connection else {
            return false;
        };
        let ping = self.in_time(Command::Ping, &mut connection, async |connection| connection.ping().await);
        let (result, sign) = ping.await;
        self.told(number, sign);
        result.is_ok()
    }

    /// Whether the shard of that key answers again, over a new connection, which then takes the place of the old one. The number
    /// of the one that is in use.
    async fn probe(&self, key: &[u8], number: u64, dialer: &Dialer) -> u64 {
        match dialer.commands().await {
            Ok(mut line) => {
                // Only a command with a key is answered by no other node.
                let question = cmd("PTTL").arg(key).take();
                if let Ok(Ok(_)) = timeout(self.command_timeout, line.connection.query(&question)).await {
                    return self.came_up(line.connection, line.shards);
                }
            }
            Err(_) => self.telemetry.redis.connect_failures.add_one(),
        }
        if let Some(shards) = &mut self.lock().shards {
            shards.not_reached(key, Instant::now());
        }
        number
    }

    fn came_up(&self, connection: Connection, shards: Option<Shards>) -> u64 {
        let mut inner = self.lock();
        let number = inner.standing.came_up();
        let before = inner.connection.replace((number, connection));
        inner.shards = shards;
        drop(inner);
        self.telemetry.redis.connects.add_one();
        if before.is_none() {
            self.telemetry.redis.links_up.add(1);
        }
        self.outage.ends();
        number
    }

    fn told(&self, number: u64, sign: Sign) {
        let mut inner = self.lock();
        let change = inner.standing.told(number, sign, Instant::now());
        if change == Change::Nothing {
            return;
        }
        let connection = inner.connection.take();
        drop(inner);
        drop(connection);
        self.telemetry.redis.links_up.add(-1);
        if change == Change::Opened {
            self.telemetry.redis.opened.add_one();
            self.outage.begins(&"failures in a row");
        }
        self.lost.notify_one();
    }

    /// Of a cluster: what fails in one shard says nothing of the others.
    fn told_of(&self, key: &[u8], number: u64, sign: Sign) {
        let mut inner = self.lock();
        if !inner.standing.is_up(number) {
            return;
        }
        let Some(shards) = &mut inner.shards else {
            return;
        };
        if sign == Sign::Answered {
            shards.answered(key);
            inner.standing.told(number, sign, Instant::now());
        } else if shards.failed(key, Instant::now()) {
            drop(inner);
            self.telemetry.redis.opened.add_one();
            self.outage.begins(&"failures in a row in one shard of the cluster");
            self.lost.notify_one();
        }
    }

    fn refused(&self, kind: &'static str) {
        let is_new = !self.telemetry.redis.refusals.get().contains_key(kind);
        self.telemetry.redis.refusals.add_one(kind);
        if is_new {
            tracing::warn!(kind, "Redis refuses a command; further ones are only counted");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key to probe for, when it is time; never, if there is none.
async fn due(probe: Option<(Instant, Vec<u8>)>) -> Vec<u8> {
    match probe {
        Some((at, key)) => {
            sleep_until(at).await;
            key
        }
        None => std::future::pending().await,
    }
}

/// A script that is not known there is sent whole, and is known from then on.
async fn send(connection: &mut Connection, question: Question<'_>) -> Result<Value, RedisError> {
    let (script, key, arguments) = match question {
        Question::Plain { command, .. } => return connection.query(command).await,
        Question::Script { script, key, arguments } => (script, key, arguments),
    };
    match connection.query(&script.by_hash(key, arguments)).await {
        Err(error) if error.kind() == ServerErrorKind::NoScript.into() => {
            connection.query(&script.by_text(key, arguments)).await
        }
        replied => replied,
    }
}

/// Brings the link down when its keeper goes.
struct Kept<'l>(&'l Link);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        let connection = inner.connection.take();
        inner.standing.not_reached(Instant::now());
        drop(inner);
        if connection.is_some() {
            self.0.telemetry.redis.links_up.add(-1);
        }
    }
}

impl Outage {
    fn begins(&self, why: &dyn std::fmt::Display) {
        if !self.is_told.swap(true, Relaxed) {
            tracing::warn!(%why, "Redis is away; requests go on without it");
        }
    }

    fn ends(&self) {
        if self.is_told.swap(false, Relaxed) {
            tracing::info!("Redis is back");
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("standing", &self.standing).finish_non_exhaustive()
    }
}
