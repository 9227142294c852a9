//! `Ear`: the subscription to what other instances say, and whether it can be relied on.
//!
//! A connection of its own. It is pinged, for a server that hangs says nothing of it: every second, and so often while somebody
//! waits for news that nobody waits longer than `command_timeout` for what can't be heard.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis::{PushInfo, PushKind, Value, cmd};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::complaints::Complaints;
use super::connect::{Dialer, Line, Unreachable};
use super::names;
use super::patience::in_time;
use super::settings::Settings;
use super::tier::News;
use crate::telemetry::Telemetry;

/// Listens.
#[derive(Debug)]
pub(super) struct Ear {
    channel: String,
    listener: Arc<Listener>,
    waited: Waited,
    command_timeout: Duration,
    /// Time between two attempts.
    open_for: Duration,
    complaints: Arc<Complaints>,
    telemetry: Arc<Telemetry>,
}

/// Who is told.
#[derive(Default)]
struct Listener(OnceLock<Box<dyn Fn(News) + Send + Sync>>);

/// Until when somebody may wait for news, as far as is known.
#[derive(Debug)]
struct Waited {
    zero: Instant,
    until_millis: AtomicU64,
    begun: Notify,
}

/// While somebody waits, so many are due within `command_timeout`; a reply has what is left of that after the first.
const PINGS: u32 = 5;
/// While nobody waits.
const PING_EVERY: Duration = Duration::from_secs(1);

/// A subscription that was there for so long was of use.
const LASTING: Duration = Duration::from_secs(5);

impl Ear {
    pub(super) fn new(
        channel: String,
        settings: &Settings,
        complaints: Arc<Complaints>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let waited = Waited { zero: Instant::now(), until_millis: AtomicU64::new(0), begun: Notify::new() };
        Self {
            channel,
            listener: Arc::default(),
            waited,
            command_timeout: settings.command_timeout,
            open_for: settings.breaker.open,
            complaints,
            telemetry,
        }
    }

    /// Who is told from now on. Only the first is.
    pub(super) fn tell(&self, listener: Box<dyn Fn(News) + Send + Sync>) {
        let _ = self.listener.0.set(listener);
    }

    /// Somebody may wait for news for so long.
    pub(super) fn waited_for(&self, left: Duration) {
        self.waited.extend(left);
    }

    /// Subscribes, and subscribes anew, until it is dropped.
    pub(super) async fn keep(&self, dialer: &Dialer) {
        let (mut attempt, mut in_vain) = (0_usize, 0_u32);
        loop {
            let listener = Arc::clone(&self.listener);
            let heard = move |push: PushInfo| {
                if let Some(news) = news(&push) {
                    listener.hear(news);
                }
            };
            let began = Instant::now();
            let why = match dialer.subscription(&self.channel, attempt, heard).await {
                Ok(line) => {
                    let _hearing = Hearing::begin(self);
                    self.watch(line).await
                }
                Err(why) => why,
            };
            in_vain = if began.elapsed() < LASTING { in_vain.saturating_add(1) } else { 0 };
            // One that was lost is no more than that, and where Redis is away the links will know by the second time.
            if in_vain > 1 {
                self.complaints.deaf(&why);
            }
            attempt = attempt.wrapping_add(1);
            // One that lasted is made anew at once.
            sleep(self.open_for.saturating_sub(began.elapsed())).await;
        }
    }

    /// Until nothing is heard any more, and why.
    async fn watch(&self, mut line: Line) -> Unreachable {
        let began = Instant::now();
        loop {
            let pause = self.command_timeout / PINGS;
            let due = if self.waited.is_waited() { pause } else { PING_EVERY };
            tokio::select! {
                () = line.driver.ended() => return Unreachable::Lost,
                () = self.waited.begun.notified() => {}
                () = sleep(due) => {}
            }
            let ping = cmd("PING");
            let until = Instant::now() + self.command_timeout - pause;
            match in_time(until, line.connection.query(&ping)).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error.into(),
                None => return Unreachable::TooSlow,
            }
            if began.elapsed() >= LASTING {
                self.complaints.hearing();
            }
        }
    }
}

fn news(push: &PushInfo) -> Option<News> {
    match (&push.kind, push.data.as_slice()) {
        (PushKind::Message, [_, Value::BulkString(message)]) => names::news(message),
        _ => None,
    }
}

/// Tells when it begins, and when it ends, even if the task ends.
struct Hearing<'e>(&'e Ear);

impl<'e> Hearing<'e> {
    fn begin(ear: &'e Ear) -> Self {
        ear.telemetry.redis.hearing.set(1);
        ear.listener.hear(News::Hearing);
        Self(ear)
    }
}

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        self.0.telemetry.redis.hearing.set(0);
        self.0.listener.hear(News::Deaf);
    }
}

impl Listener {
    fn hear(&self, news: News) {
        if let Some(listener) = self.0.get() {
            listener(news);
        }
    }
}

impl Waited {
    fn extend(&self, left: Duration) {
        let now = self.now();
        let until = now.saturating_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        if self.until_millis.fetch_max(until, Relaxed) <= now {
            self.begun.notify_one();
        }
    }

    fn is_waited(&self) -> bool {
        self.now() < self.until_millis.load(Relaxed)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Listener").field(&self.0.get().is_some()).finish()
    }
}
