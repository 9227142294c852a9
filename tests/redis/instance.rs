//! The tier as one instance has it: a worker's link, the one for everything else, and the subscription.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use larder::config::{self, Sources};
use larder::object::{Key, KeyBuilder, KeySecret, Part};
use larder::shared::redis::Redis;
use larder::shared::{Name, News, Settings, Tier, TierError, Token};
use larder::telemetry::Telemetry;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::server::until;

pub const COMMAND_TIMEOUT: Duration = Duration::from_millis(50);
/// What a busy machine may take beside.
pub const SLACK: Duration = Duration::from_millis(50);
pub const MINUTE: Duration = Duration::from_secs(60);

pub struct Instance {
    pub tier: Arc<Redis>,
    pub telemetry: Arc<Telemetry>,
    pub news: UnboundedReceiver<News>,
    tasks: Vec<JoinHandle<()>>,
}

/// What `[redis]` with these lines means.
pub fn settings(lines: &str) -> Settings {
    let text = format!("[upstream]\nurl = 'http://127.0.0.1:1'\n[redis]\n{lines}\n");
    let loaded = config::load_text(Path::new("larder.toml"), &text, &Sources::default());
    loaded.unwrap_or_else(|mistakes| panic!("{mistakes}")).settings.redis.unwrap()
}

pub fn key(number: u64) -> Key {
    let mut parts = KeyBuilder::new();
    parts.part(Part::Path, &number.to_le_bytes());
    parts.finish(&KeySecret::new(None, &[0; 32]))
}

pub fn name(number: u64) -> Name {
    Name { base: key(number), variant: None }
}

pub fn variant(number: u64, variant: u64) -> Name {
    Name { base: key(number), variant: Some(key(1_000_000 + variant)) }
}

/// Another each time.
pub fn token() -> Token {
    static DRAWN: AtomicU64 = AtomicU64::new(1);
    Token(u128::from(DRAWN.fetch_add(1, Relaxed)).to_le_bytes())
}

impl Instance {
    /// Does not wait for a connection.
    pub fn start(lines: &str) -> Self {
        let telemetry = Arc::new(Telemetry::default());
        let tier = Redis::new(&settings(lines), 1, Arc::clone(&telemetry)).unwrap();
        let (sender, news) = unbounded_channel();
        tier.tell(Box::new(move |news| {
            let _ = sender.send(news);
        }));
        let tasks =
            vec![tokio::spawn(Arc::clone(&tier).keep(0)), tokio::spawn(Arc::clone(&tier).keep_background())];
        Self { tier, telemetry, news, tasks }
    }

    pub async fn at(lines: &str) -> Self {
        let mut instance = Self::start(lines);
        instance.is_heard(News::Hearing).await;
        instance.is_up().await;
        instance
    }

    pub async fn of(url: &str) -> Self {
        Self::at(&format!("url = '{url}'")).await
    }

    /// Both links are, and news comes through.
    pub async fn is_up(&self) {
        let redis = &self.telemetry.redis;
        let is_up = async || redis.links_up.get() == 2 && redis.hearing.get() == 1;
        until("both links are up, and news comes through", Duration::from_secs(10), is_up).await;
    }

    /// Skips what is heard before it.
    pub async fn is_heard(&mut self, expected: News) {
        let heard = async { while self.news.recv().await.unwrap() != expected {} };
        assert!(timeout(Duration::from_secs(10), heard).await.is_ok(), "not heard: {expected:?}");
    }

    pub async fn get(&self, name: Name) -> Result<Option<Bytes>, TierError> {
        self.tier.get(vec![name]).await.map(|mut values| values.pop().unwrap())
    }

    /// Whether it lies there now.
    pub async fn put(&self, name: Name, value: &[u8]) -> Result<bool, TierError> {
        self.tier.put(name, Bytes::copy_from_slice(value), MINUTE).await
    }

    /// Reads, and how long that took, which is never longer than it may.
    pub async fn timed(&self, name: Name) -> (Result<Option<Bytes>, TierError>, Duration) {
        let began = Instant::now();
        let result = self.get(name).await;
        let took = began.elapsed();
        assert!(took < COMMAND_TIMEOUT + SLACK, "a command took {took:?}: {result:?}");
        (result, took)
    }

    /// How long it takes until what is asked for is answered again.
    pub async fn back(&self, name: Name, within: Duration) -> Duration {
        let began = Instant::now();
        until("it is used again", within, async || self.timed(name).await.0.is_ok()).await;
        began.elapsed()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
