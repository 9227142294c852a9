//! `Link`: one connection after the other for the commands of one thread, and the task that keeps it.
//!
//! Invariant: a command on a link that is down fails at once, and one that was sent is given up in time, so no request is
//! ever queued behind a dead connection. Only the keeper connects. A command that is dropped midway leaves nothing
//! behind: its reply is read and thrown away by the driver.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, RedisError, Value, cmd};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::burden::{self, Burden};
use super::complaints::Complaints;
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
    /// Longest time that any command over it may take.
    patience: Duration,
    /// What is queued to be written goes over it.
    is_for_writes: bool,
    burden: Burden,
    complaints: Arc<Complaints>,
    telemetry: Arc<Telemetry>,
}

struct Inner {
    standing: Standing,
    /// With its number; there while the link is up.
    connection: Option<(u64, Connection)>,
    /// Of a cluster: which part of it is left alone.
    shards: Option<Shards>,
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
    /// Down. `is_for_writes`: what is queued to be written goes over it.
    pub(super) fn new(
        settings: &Settings,
        is_for_writes: bool,
        complaints: Arc<Complaints>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let standing = Standing::new(settings.breaker, Instant::now());
        let queued = if is_for_writes { settings.max_queued_bytes } else { 0 };
        Self {
            inner: Mutex::new(Inner { standing, connection: None, shards: None }),
            lost: Notify::new(),
            command_timeout: settings.command_timeout,
            patience: settings.command_timeout + burden::time(queued),
            is_for_writes,
            burden: Burden::default(),
            complaints,
            telemetry,
        }
    }

    /// Connects, and connects anew, until it is dropped. Then the link is down.
    pub(super) async fn keep(&self, dialer: &Dialer) {
        let _guard = Keeping(self);
        loop {
            let next_try = self.lock().standing.next_try();
            if let Some(next_try) = next_try {
                sleep_until(next_try).await;
            }
            match dialer.commands(self.patience, self.is_for_writes).await {
                Ok(line) => {
                    let number = self.came_up(line.connection, line.shards, None);
                    self.watch(number, line.driver, dialer).await;
                }
                Err(why) => {
                    self.telemetry.redis.connect_failures.add_one();
                    self.complaints.away(&why);
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
        let _load = self.burden.add(weight(command, question));
        let replied =
            self.in_time(command, &mut connection, async |connection| send(connection, question).await);
        let (result, sign) = replied.await;
        match sign {
            Some(sign) if is_cluster => self.told_of(key, number, sign),
            Some(sign) => self.told(number, sign),
            None => {}
        }
        result
    }

    /// What came of it, and what it says of the connection, if anything. All of it is counted.
    async fn in_time<T>(
        &self,
        command: Command,
        connection: &mut Connection,
        send: impl AsyncFnOnce(&mut Connection) -> Result<T, RedisError>,
    ) -> (Result<T, TierError>, Option<Sign>) {
        let is_waited_for = matches!(command, Command::Get | Command::Acquire | Command::Ping);
        let writing = self.burden.time();
        let deadline = self.command_timeout + if is_waited_for { Duration::ZERO } else { writing };
        let is_cluster = connection.is_cluster();
        let began = Instant::now();
        let (result, sign) = match in_time(began + deadline, send(connection)).await {
            Some(Ok(value)) => (Ok(value), Sign::Answered),
            Some(Err(error)) => {
                let (means, sign) = refusal::read(&error, is_cluster);
                if let TierError::Refused(kind) = means {
                    self.telemetry.redis.refusals.add_one(kind);
                    self.complaints.refused(kind, &refusal::words(&error));
                }
                (Err(means), sign)
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
        // It may have had to wait behind what is written. If the server hangs, that will be too late as well.
        let is_excused = is_waited_for && !writing.is_zero() && outcome == CommandOutcome::TimedOut;
        (result, (!is_excused).then_some(sign))
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
        let (mut connection, key) = {
            let mut inner = self.lock();
            let key = inner.shards.as_mut().and_then(Shards::next_ping);
            match &inner.connection {
                Some((_, connection)) => (connection.clone(), key),
                None => return false,
            }
        };
        // Any node of a cluster answers a ping, and one that does not says nothing of the others.
        let ping = match &key {
            Some(key) => cmd("PTTL").arg(key).take(),
            None => cmd("PING"),
        };
        let replied =
            self.in_time(Command::Ping, &mut connection, async |connection| connection.query(&ping).await);
        let (result, sign) = replied.await;
        let answered = result.is_ok();
        match (sign, &key) {
            (Some(sign), Some(key)) => self.told_of(key, number, sign),
            (Some(sign), None) => self.told(number, sign),
            (None, _) => {}
        }
        if let (true, Some(shards)) = (answered, &mut self.lock().shards) {
            shards.next_turn();
        }
        answered
    }

    /// Whether the shard of that key answers again, over a new connection, which then takes the place of the old one. The number
    /// of the one that is in use.
    async fn probe(&self, key: &[u8], number: u64, dialer: &Dialer) -> u64 {
        let mut found = None;
        match dialer.commands(self.patience, self.is_for_writes).await {
            Ok(mut line) => {
                // Only a command with a key is answered by no other node.
                let question = cmd("PTTL").arg(key).take();
                if let Ok(Ok(_)) = timeout(self.command_timeout, line.connection.query(&question)).await {
                    return self.came_up(line.connection, line.shards, Some(key));
                }
                // Slots may have moved: who does not answer need not be who is left alone.
                found = line.shards;
            }
            Err(why) => {
                self.telemetry.redis.connect_failures.add_one();
                self.complaints.away(&why);
            }
        }
        if let Some(shards) = &mut self.lock().shards {
            if let Some(mut now) = found {
                now.take_over(shards);
                *shards = now;
            }
            shards.not_reached(key, Instant::now());
        }
        number
    }

    /// `probed`: a key of the shard that is known to answer.
    fn came_up(&self, connection: Connection, mut shards: Option<Shards>, probed: Option<&[u8]>) -> u64 {
        let mut inner = self.lock();
        if let Some(shards) = &mut shards {
            if let Some(before) = &inner.shards {
                shards.take_over(before);
            }
            if let Some(key) = probed {
                shards.reached(key);
            }
        }
        let is_whole = shards.as_ref().is_none_or(Shards::are_closed);
        let number = inner.standing.came_up();
        let before = inner.connection.replace((number, connection));
        inner.shards = shards;
        drop(inner);
        self.telemetry.redis.connects.add_one();
        if before.is_none() {
            self.telemetry.redis.links_up.add(1);
        }
        if is_whole {
            self.complaints.back();
        }
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
            self.complaints.away(&"failures in a row");
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
            // Of one that is nowhere of use, a new connection is made, and nothing else.
            let connection = if shards.are_open() { inner.connection.take() } else { None };
            if connection.is_some() {
                inner.standing.not_reached(Instant::now());
                self.telemetry.redis.links_up.add(-1);
            }
            drop(inner);
            self.telemetry.redis.opened.add_one();
            self.complaints.away(&"failures in a row in one shard of the cluster");
            self.lost.notify_one();
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

/// The bytes of it that take time to send.
fn weight(command: Command, question: Question<'_>) -> u64 {
    let bytes = match (command, question) {
        (Command::Put | Command::Patch, Question::Script { arguments, .. }) => {
            arguments.iter().map(|part| part.len()).sum::<usize>()
        }
        _ => 0,
    };
    bytes as u64
}

async fn send(connection: &mut Connection, question: Question<'_>) -> Result<Value, RedisError> {
    match question {
        Question::Plain { command, .. } => connection.query(command).await,
        Question::Script { script, key, arguments } => script.run(connection, &[key], arguments).await,
    }
}

/// Brings the link down when its keeper goes.
struct Keeping<'l>(&'l Link);

impl Drop for Keeping<'_> {
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

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("standing", &self.standing).finish_non_exhaustive()
    }
}
