//! `Redis`: the tier over Redis or Valkey, one server, a cluster, or a master under Sentinel.
//!
//! Each worker thread has a link of its own, so that a reply wakes nobody on another thread; one more is for commands from
//! anywhere else. Nothing is connected to before `keep` runs, and nothing here waits for a connection.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use redis::{Value, cmd};

use super::complaints::Complaints;
use super::connect::{BadSettings, Dialer};
use super::hear::Ear;
use super::link::{Link, Question};
use super::names::{self, Names};
use super::scripts::{Prepared, Scripts};
use super::settings::Settings;
use super::tier::{Acquired, Landed, Name, News, Reply, Tier, TierError, Token};
use crate::telemetry::Telemetry;
use crate::telemetry::redis::Command;

/// The tier over Redis.
#[derive(Debug)]
pub struct Redis {
    /// Tells this one from others in `KEPT`.
    id: u64,
    /// The workers', and at the end the one for everybody else.
    links: Vec<Link>,
    dialer: Dialer,
    ear: Ear,
    names: Names,
    scripts: Scripts,
}

thread_local! {
    /// The links that this thread keeps: of which tier, and at which place.
    static KEPT: RefCell<Vec<(u64, usize)>> = const { RefCell::new(Vec::new()) };
}

static IDS: AtomicU64 = AtomicU64::new(0);

/// The bytes of a frame that tell one body from another, first and last.
const SAME_BODY: (&[u8], &[u8]) = (b"4", b"23");
/// `object::wire::ASKED_AT`, likewise.
const ASKED_AT: (&[u8], &[u8]) = (b"24", b"31");

/// Longer than anything is kept for; Redis takes no time whose end it can't write as a number.
const KEEP_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

impl Redis {
    /// Links for so many workers; connects to nothing yet.
    pub fn new(
        settings: &Settings,
        workers: usize,
        telemetry: Arc<Telemetry>,
    ) -> Result<Arc<Self>, BadSettings> {
        let complaints = Arc::new(Complaints::default());
        // What is written goes over the last.
        let link = |at| Link::new(settings, at == workers, Arc::clone(&complaints), Arc::clone(&telemetry));
        let names = Names::new(&settings.namespace);
        Ok(Arc::new(Self {
            id: IDS.fetch_add(1, Relaxed),
            links: (0..=workers).map(link).collect(),
            dialer: Dialer::new(settings)?,
            ear: Ear::new(names.channel(), settings, complaints, telemetry),
            names,
            scripts: Scripts::new(),
        }))
    }

    /// To be run on the worker's own runtime, of one thread: from now on commands of this thread go over its link, which it keeps.
    pub async fn keep(self: Arc<Self>, worker: usize) {
        let Some(link) = self.links.get(worker) else {
            return;
        };
        let _kept = Kept::begin(self.id, worker);
        link.keep(&self.dialer).await;
    }

    /// To be run on the main runtime: keeps the link of commands that come from no worker, and the subscription.
    pub async fn keep_background(self: Arc<Self>) {
        if let Some(link) = self.links.last() {
            tokio::join!(link.keep(&self.dialer), self.ear.keep(&self.dialer));
        }
    }

    /// This thread's.
    fn link(&self) -> Result<&Link, TierError> {
        let kept = KEPT.with_borrow(|kept| kept.iter().find(|(id, _)| *id == self.id).map(|(_, at)| *at));
        let link = kept.and_then(|worker| self.links.get(worker)).or(self.links.last());
        link.ok_or(TierError::Away)
    }

    async fn script(
        &self,
        link: Result<&Link, TierError>,
        command: Command,
        script: &Prepared,
        key: &[u8],
        arguments: &[&[u8]],
    ) -> Result<Value, TierError> {
        link?.ask(command, Question::Script { script, key, arguments }).await
    }
}

impl Tier for Redis {
    fn get(&self, names: Vec<Name>) -> Reply<'_, Vec<Option<Bytes>>> {
        let link = self.link();
        Box::pin(async move {
            let Some((first, more)) = names.split_first() else {
                return Ok(Vec::new());
            };
            let key = self.names.value(first);
            let mut command = cmd(if more.is_empty() { "GET" } else { "MGET" });
            command.arg(&key);
            for name in more {
                command.arg(self.names.value(name));
            }
            match link?.ask(Command::Get, Question::Plain { command: &command, key: &key }).await {
                Ok(Value::Array(values)) => Ok(values.into_iter().map(bytes).collect()),
                Ok(value) => Ok(vec![bytes(value)]),
                // Something that is not ours lies there.
                Err(TierError::Refused("WRONGTYPE")) => Ok(vec![None; names.len()]),
                Err(error) => Err(error),
            }
        })
    }

    fn put(&self, name: Name, value: Bytes, keep_for: Duration) -> Reply<'_, bool> {
        let link = self.link();
        Box::pin(async move {
            let (key, keep_for) = (self.names.value(&name), millis(keep_for).to_string());
            let arguments = [value.as_ref(), keep_for.as_bytes(), ASKED_AT.0, ASKED_AT.1];
            let reply = self.script(link, Command::Put, &self.scripts.put, &key, &arguments).await?;
            Ok(reply == Value::Int(1))
        })
    }

    fn patch(&self, name: Name, head: Bytes, keep_for: Duration) -> Reply<'_, bool> {
        let link = self.link();
        Box::pin(async move {
            let (key, keep_for) = (self.names.value(&name), millis(keep_for).to_string());
            let arguments =
                [head.as_ref(), keep_for.as_bytes(), SAME_BODY.0, SAME_BODY.1, ASKED_AT.0, ASKED_AT.1];
            let reply = self.script(link, Command::Patch, &self.scripts.patch, &key, &arguments).await?;
            Ok(reply == Value::Int(1))
        })
    }

    fn remove(&self, names: Vec<Name>) -> Reply<'_, ()> {
        let link = self.link();
        Box::pin(async move {
            let link = link?;
            let mut result = Ok(());
            // In a cluster each of them may lie elsewhere.
            let together = |one: &Name, next: &Name| !self.dialer.is_cluster() || one.base == next.base;
            for names in names.chunk_by(together) {
                let mut command = cmd("UNLINK");
                let keys: Vec<_> = names.iter().map(|name| self.names.value(name)).collect();
                command.arg(&keys);
                let key = keys.first().map_or(&[][..], Vec::as_slice);
                let replied = link.ask(Command::Remove, Question::Plain { command: &command, key }).await;
                result = result.and(replied.map(drop));
            }
            result
        })
    }

    fn agree(&self, mine: Bytes, replace: Option<Bytes>, keep_for: Duration) -> Reply<'_, Bytes> {
        let link = self.link();
        Box::pin(async move {
            let (key, keep_for) = (self.names.instances(), millis(keep_for).to_string());
            let is_there: &[u8] = if replace.is_some() { b"1" } else { b"0" };
            let replaced = replace.as_deref().unwrap_or_default();
            let arguments = [mine.as_ref(), keep_for.as_bytes(), is_there, replaced];
            let script = &self.scripts.agree;
            let reply = self.script(link, Command::Agree, script, key.as_bytes(), &arguments).await?;
            bytes(reply).ok_or(UNEXPECTED)
        })
    }

    fn acquire(&self, name: Name, token: Token, lease: Duration) -> Reply<'_, Acquired> {
        let link = self.link();
        Box::pin(async move {
            let (key, lease) = (self.names.lease(&name), millis(lease).to_string());
            let arguments = [&token.0[..], lease.as_bytes()];
            match self.script(link, Command::Acquire, &self.scripts.acquire, &key, &arguments).await? {
                Value::Int(-1) => Ok(Acquired::Ours),
                Value::Int(left) => {
                    let left = Duration::from_millis(u64::try_from(left).map_err(|_| UNEXPECTED)?);
                    self.ear.waited_for(left);
                    Ok(Acquired::Theirs(left))
                }
                _ => Err(UNEXPECTED),
            }
        })
    }

    fn renew(&self, name: Name, token: Token, lease: Duration) -> Reply<'_, bool> {
        let link = self.link();
        Box::pin(async move {
            let (key, lease) = (self.names.lease(&name), millis(lease).to_string());
            let arguments = [&token.0[..], lease.as_bytes()];
            let reply = self.script(link, Command::Renew, &self.scripts.renew, &key, &arguments).await?;
            Ok(reply == Value::Int(1))
        })
    }

    fn release(&self, name: Name, token: Token, landed: Landed) -> Reply<'_, ()> {
        let link = self.link();
        Box::pin(async move {
            let (key, channel) = (self.names.lease(&name), self.names.channel());
            let message = names::message(&name, landed);
            let arguments = [&token.0[..], channel.as_bytes(), &message];
            self.script(link, Command::Release, &self.scripts.release, &key, &arguments).await.map(drop)
        })
    }

    fn tell(&self, listener: Box<dyn Fn(News) + Send + Sync>) {
        self.ear.tell(listener);
    }
}

/// No server answers so.
const UNEXPECTED: TierError = TierError::Refused("an answer that makes no sense");

/// The buffer that the reply was read into. What is no text counts as nothing.
fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(Bytes::from(bytes)),
        _ => None,
    }
}

/// Never zero, which Redis refuses.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.min(KEEP_MAX).as_millis()).unwrap_or(u64::MAX).max(1)
}

/// While it is there, commands of this thread go over that link.
struct Kept(u64);

impl Kept {
    fn begin(id: u64, worker: usize) -> Self {
        KEPT.with_borrow_mut(|kept| kept.push((id, worker)));
        Self(id)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // At the end of a thread there is nothing left to forget.
        let _ = KEPT.try_with(|kept| kept.borrow_mut().retain(|(id, _)| *id != self.0));
    }
}
