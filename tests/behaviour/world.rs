//! The world of one test: client ─pipe─ proxy ─pipe─ scripted origin, on a clock that only moves when everybody waits.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use larder::clock::Clock;
use larder::config::{self, Settings, Sources};
use larder::hooks::{Order, Terms};
use larder::invalidation::{Event, Log, Outcome, Receipt, Record, Wait};
use larder::proxy::{Hold, Peer, Proxy};
use larder::server::drain::{self, Drain, Drainer};
use larder::server::{self, Ended};
use larder::shared::Tier;
use larder::telemetry::Telemetry;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

use crate::client::{Answer, Ask, Client, Opened, Transport, Waiting, get};
use crate::origin::{Origin, PIPE_BYTES};
use crate::tier::FakeTier;

/// A proxy with a configuration of its own, and the origin behind it.
pub(crate) struct World {
    /// What the proxy finds upstream.
    pub(crate) origin: Origin,
    /// What it counts.
    pub(crate) telemetry: Arc<Telemetry>,
    proxy: Arc<Proxy<Origin>>,
    settings: Settings,
    transport: Transport,
    peer: IpAddr,
    /// The socket that clients reach, where one is shared.
    here: Option<SocketAddr>,
    drain: Drain,
    drainer: Option<Drainer>,
    /// What works behind the clients' backs; with the world it ends.
    writer: AbortHandle,
    follower: AbortHandle,
}

/// How a connection's serving ended, once it has.
pub(crate) type Ending = mpsc::UnboundedReceiver<Ended>;

/// Where clients come from (RFC 5737: nobody has this address).
pub(crate) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// Runs until everybody waits: on a paused clock a timer fires only when no task can go on.
pub(crate) async fn settle() {
    tokio::time::sleep(SETTLED_AFTER).await;
}

/// Beyond this, what happens every second is done once.
const STEPWISE_MAX: Duration = Duration::from_secs(600);

const SETTLED_AFTER: Duration = Duration::from_millis(1);

/// Lets time pass; all timers on the way fire in their order.
pub(crate) async fn pass(duration: Duration) {
    if duration > STEPWISE_MAX {
        // Instances renew what they say of themselves every second: not a year of that.
        tokio::time::advance(duration.saturating_sub(SETTLED_AFTER)).await;
        return settle().await;
    }
    tokio::time::sleep(duration).await;
}

/// The same in seconds.
pub(crate) async fn pass_seconds(seconds: u64) {
    pass(Duration::from_secs(seconds)).await;
}

impl World {
    /// With this configuration, and clients that speak HTTP/1.1.
    pub(crate) fn new(config: &str) -> Self {
        Self::over(Transport::Http1, config)
    }

    /// With clients that speak so.
    pub(crate) fn over(transport: Transport, config: &str) -> Self {
        Self::assembled(transport, config, Clock::simulated(), None)
    }

    /// With a tier behind memory, which other worlds may share. The clocks of all of them go alike.
    pub(crate) async fn sharing(tier: &FakeTier, config: &str) -> Self {
        Self::sharing_over(Transport::Http1, tier, config, 0).await
    }

    /// … and a clock that is ahead of the others by so many seconds.
    pub(crate) async fn sharing_over(
        transport: Transport,
        tier: &FakeTier,
        config: &str,
        ahead_seconds: i64,
    ) -> Self {
        let started = tier.started();
        let Clock::Simulated { epoch, .. } = Clock::simulated() else { panic!("it runs by itself") };
        let seconds = Duration::from_secs(ahead_seconds.unsigned_abs());
        let epoch = if ahead_seconds < 0 { epoch.minus(seconds) } else { epoch.plus(seconds) };
        let clock = Clock::Simulated { epoch, started };
        let world = Self::assembled(transport, config, clock, Some(tier));
        // It agrees with the others on what they call things.
        settle().await;
        world
    }

    fn assembled(transport: Transport, config: &str, clock: Clock, tier: Option<&FakeTier>) -> Self {
        let settings = settings(config, tier.is_some());
        let telemetry = larder::app::telemetry(&settings);
        let origin = Origin::new();
        let counts = Arc::clone(&telemetry);
        let beyond = tier.map(|tier| {
            let log: Arc<dyn Log> = Arc::new(tier.log().clone());
            (Arc::new(tier.clone()) as Arc<dyn Tier>, log)
        });
        let name = tier.map_or_else(|| "alone".to_owned(), FakeTier::next_name);
        let proxy = larder::app::assemble(&settings, clock, counts, origin.clone(), beyond, name).unwrap();
        let writer = tokio::spawn(Arc::clone(&proxy).keep_sharing()).abort_handle();
        let follower = Arc::clone(proxy.record()).follow(larder::app::agree(&proxy));
        let follower = tokio::spawn(follower).abort_handle();
        let (drainer, drain) = drain::pair();
        let drainer = Some(drainer);
        Self {
            origin,
            telemetry,
            proxy,
            settings,
            transport,
            peer: CLIENT,
            here: None,
            drain,
            drainer,
            writer,
            follower,
        }
    }

    /// With clients from there.
    pub(crate) fn with_clients_at(mut self, address: &str) -> Self {
        self.peer = address.parse().unwrap();
        self
    }

    /// Where clients reach it at this address.
    pub(crate) fn reached_at(mut self, address: &str) -> Self {
        self.here = Some(address.parse().unwrap());
        self
    }

    /// Once all that is for the shared tier is there, or lost.
    pub(crate) async fn written(&self) {
        self.proxy.shared().unwrap().written().await;
    }

    /// Declares this invalid, in the words of `POST /invalidate`, and goes on when it is in the log.
    pub(crate) async fn purge(&self, order: &str) {
        let Order { event, .. } = self.order(order);
        let receipt = self.record().acknowledge(event, Wait::Log, Duration::from_secs(5)).await;
        assert_eq!(receipt.outcome, Outcome::Met, "{order}: {receipt:?}");
    }

    /// … and when all have heard of it.
    pub(crate) async fn purge_for_all(&self, order: &str) {
        self.purge(order).await;
        settle().await;
    }

    /// The same for one who waits for whom the order says, and wants to know what came of it.
    pub(crate) fn invalidate(&self, order: &str) -> JoinHandle<Receipt> {
        let Order { event, wait, timeout } = self.order(order);
        self.declare(event, wait, timeout)
    }

    /// The same of an event that is made already.
    pub(crate) fn declare(&self, event: Event, wait: Wait, within: Duration) -> JoinHandle<Receipt> {
        let record = Arc::clone(self.record());
        tokio::spawn(async move { record.acknowledge(event, wait, within).await })
    }

    fn order(&self, order: &str) -> Order {
        let all = self.settings.routes.iter().chain([&self.settings.unrouted]);
        let routes: Vec<Arc<str>> = all.map(|route| route.name.clone()).collect();
        let resolve = |path: &str| self.proxy.url(path);
        let credential = |text: &str| self.proxy.credential(text);
        let limits = self.settings.invalidation;
        let terms = Terms { limits, routes: &routes, resolve: &resolve, credential: &credential };
        Order::read(order.as_bytes(), &terms).unwrap_or_else(|wrong| panic!("{order}: {wrong}"))
    }

    /// What it knows to be invalid.
    pub(crate) fn record(&self) -> &Arc<Record> {
        self.proxy.record()
    }

    /// It dies: nobody hears of it any more, and it can't say so.
    pub(crate) fn dies(&self) {
        self.writer.abort();
        self.follower.abort();
    }

    /// What `/entry` says of a GET of this, where it listens there.
    pub(crate) async fn entry(&self, listen: &str, url: &str) -> serde_json::Value {
        self.entry_for(listen, url, &HeaderMap::new()).await
    }

    /// … with these fields.
    pub(crate) async fn entry_for(&self, listen: &str, url: &str, headers: &HeaderMap) -> serde_json::Value {
        let entry = self.proxy.entry(listen.parse().unwrap(), &Method::GET, url, headers, &[]).await;
        serde_json::to_value(entry.unwrap()).unwrap()
    }

    /// A client's end of a new connection, for every byte on it; and how it ended.
    pub(crate) fn raw(&self) -> (DuplexStream, Ending) {
        let (near, far) = duplex(PIPE_BYTES);
        let proxy = Arc::clone(&self.proxy);
        let peer = Peer { address: self.peer, scheme: "http", here: self.here };
        let answer = move |request, form| proxy.answer(request, peer, form);
        let (limits, drain) = (self.settings.server.limits, self.drain.clone());
        let hold = Hold(Arc::new(self.drain.clone()));
        let (end, ending) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let ended = server::serve(far, limits, drain, hold, answer).await;
            let _ = end.send(ended);
        });
        (near, ending)
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.transport, self.raw().0).await
    }

    /// The whole answer to this request, on a connection of its own.
    pub(crate) async fn ask(&self, ask: Ask) -> Answer {
        self.try_ask(ask).await.expect("the answer broke off")
    }

    /// The same for one that may break off.
    pub(crate) async fn try_ask(&self, ask: Ask) -> Result<Answer, hyper::Error> {
        self.connect().await.ask(ask).await
    }

    /// The whole answer to a GET.
    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.ask(get(target)).await
    }

    /// The head of the answer, and its body to be read.
    pub(crate) async fn open(&self, ask: Ask) -> Opened {
        self.connect().await.open(ask).await.unwrap()
    }

    /// Sends a request in a task of its own, and goes on when everybody waits.
    pub(crate) async fn begin(&self, ask: Ask) -> Waiting {
        let mut client = self.connect().await;
        let waiting = Waiting::new(tokio::spawn(async move { client.ask(ask).await }));
        settle().await;
        waiting
    }

    /// As many GETs at once.
    pub(crate) async fn begin_many(&self, count: usize, target: &str) -> Vec<Waiting> {
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            let mut client = self.connect().await;
            let ask = get(target);
            all.push(Waiting::new(tokio::spawn(async move { client.ask(ask).await })));
        }
        settle().await;
        all
    }

    /// Begins the end, and waits for it; false if something had to be cut off.
    pub(crate) fn finish(&mut self, limit: Duration) -> JoinHandle<bool> {
        let drainer = self.drainer.take().unwrap();
        // Ours would be waited for too.
        (_, self.drain) = drain::pair();
        tokio::spawn(drainer.finish(limit))
    }
}

/// A request that nobody had scripted is a failure, also where the test does not look.
impl Drop for World {
    fn drop(&mut self) {
        self.writer.abort();
        self.follower.abort();
        let unexpected = self.origin.unexpected();
        assert!(
            unexpected.is_empty() || std::thread::panicking(),
            "nobody told the origin what to answer: {unexpected:?}"
        );
    }
}

/// What this configuration means. The upstream is the scripted one, and lifetimes are not shortened, unless it says otherwise.
fn settings(config: &str, shares: bool) -> Settings {
    let said = |line: &str| config.lines().any(|each| each.trim_start().starts_with(line));
    let mut flags = Vec::new();
    if !said("upstream.url =") {
        flags.push(("upstream.url".to_owned(), "http://origin.test".to_owned()));
    }
    if !said("jitter =") {
        flags.push(("defaults.jitter".to_owned(), "0%".to_owned()));
    }
    if shares {
        flags.push(("redis.url".to_owned(), "redis://nobody.test".to_owned()));
    }
    let sources = Sources { flags, ..Sources::default() };
    match config::load_text(Path::new("test.toml"), config, &sources) {
        Ok(loaded) => loaded.settings,
        Err(mistakes) => panic!("{mistakes}"),
    }
}

/// Writes it all, and reads what comes back until nothing more does.
pub(crate) async fn say(stream: &mut DuplexStream, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    heard(stream).await
}

/// What comes until nothing more does, or the other side closes.
pub(crate) async fn heard(stream: &mut DuplexStream) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        tokio::select! {
            biased;
            read = stream.read(&mut buffer) => match read {
                Ok(0) | Err(_) => break,
                Ok(read) => all.extend_from_slice(&buffer[..read]),
            },
            () = settle() => break,
        }
    }
    String::from_utf8(all).unwrap()
}

/// Whether the other side has closed, after all that it still had to say.
pub(crate) async fn is_closed(stream: &mut DuplexStream) -> bool {
    heard(stream).await;
    let mut byte = [0];
    tokio::select! {
        biased;
        read = stream.read(&mut byte) => matches!(read, Ok(0) | Err(_)),
        () = settle() => false,
    }
}
