//! Clients that ask at a steady pace, each over one connection, of two instances; and what they have met with.
//!
//! Of each five requests two are for what is in memory, one for what nobody has, one for what another client asks the other
//! instance for at about the same time, and one for what memory has let expire: Redis has a part in three of five. An answer
//! that is not the right one ends the test.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// As many at each of the two instances.
const CLIENTS: usize = 16;
/// From one request of a client to its next, if it is answered before.
const PACE: Duration = Duration::from_millis(15);
/// No answer may take longer.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Load {
    clients: JoinSet<Vec<Sample>>,
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

/// One request.
struct Sample {
    target: String,
    began: Instant,
    took: Duration,
}

/// All requests.
pub struct Samples(Vec<Sample>);

/// Of those of some time.
#[derive(Clone, Debug)]
pub struct Figures {
    pub count: usize,
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
    /// What took that long.
    pub slowest: String,
}

/// A connection that is kept.
pub struct Line(BufReader<TcpStream>);

impl Load {
    pub fn start(instances: [SocketAddr; 2]) -> Self {
        let (answered, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let (answered, stop) = (Arc::clone(&answered), Arc::clone(&stop));
            let address = instances[number % 2];
            clients.spawn(async move {
                let mut line = Line::connect(address).await;
                let (mut samples, mut tick) = (Vec::new(), interval(PACE));
                tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
                for step in 0.. {
                    tick.tick().await;
                    if stop.load(SeqCst) {
                        break;
                    }
                    samples.push(line.sample(target(number, step)).await);
                    answered.fetch_add(1, SeqCst);
                }
                samples
            });
        }
        Self { clients, answered, stop }
    }

    pub fn answered(&self) -> usize {
        self.answered.load(SeqCst)
    }

    pub async fn stop(self) -> Samples {
        self.stop.store(true, SeqCst);
        Samples(self.clients.join_all().await.into_iter().flatten().collect())
    }
}

/// What this client asks for next.
fn target(client: usize, step: usize) -> String {
    match step % 5 {
        0 | 2 => format!("/things/hot/{}", step % 8),
        1 => format!("/things/cold/{client}/{step}"),
        // Neighbours are clients of different instances.
        3 => format!("/things/both/{}/{step}", client / 2),
        _ => format!("/brief/{}", step % 32),
    }
}

impl Line {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    async fn sample(&mut self, target: String) -> Sample {
        let began = Instant::now();
        let (head, body) = self.get(&target).await;
        let took = began.elapsed();
        assert_eq!(body, format!("origin {target}"), "after {took:?}: {head}");
        Sample { target, began, took }
    }

    /// Head and body of an answer, which is a good one.
    pub async fn get(&mut self, target: &str) -> (String, String) {
        let answer = timeout(PATIENCE, self.exchange(target)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{target}: no answer within {PATIENCE:?}"));
        let (head, body) = answer.unwrap_or_else(|error| panic!("{target}: {error}"));
        assert!(head.starts_with("HTTP/1.1 200 "), "{target}: {head}\n{body}");
        (head, body)
    }

    async fn exchange(&mut self, target: &str) -> io::Result<(String, String)> {
        let host = self.0.get_ref().peer_addr()?;
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        self.0.write_all(request.as_bytes()).await?;
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                break;
            }
            let value = line.to_ascii_lowercase();
            if let Some(value) = value.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok((head, String::from_utf8_lossy(&body).into_owned()))
    }

    /// What an admin listener says of the shared tier.
    pub async fn redis(&mut self) -> Value {
        let (_, body) = self.get("/stats").await;
        let stats: Value = serde_json::from_str(&body).unwrap();
        stats["redis"].clone()
    }
}

impl Samples {
    /// Of the requests that began in this time.
    pub fn between(&self, from: Instant, to: Instant) -> Figures {
        let began = self.0.iter().filter(|sample| (from..to).contains(&sample.began));
        let mut samples: Vec<&Sample> = began.collect();
        assert!(samples.len() >= 100, "{} requests are too few", samples.len());
        samples.sort_unstable_by_key(|sample| sample.took);
        let count = samples.len();
        let of_hundred = |hundredths: usize| samples[(count * hundredths / 100).min(count - 1)].took;
        let slowest = samples[count - 1];
        Figures {
            count,
            p50: of_hundred(50),
            p99: of_hundred(99),
            max: slowest.took,
            slowest: slowest.target.clone(),
        }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { count, p50, p99, max, slowest } = self;
        write!(f, "{count:5} requests, p50 {p50:8.1?}, p99 {p99:8.1?}, max {max:8.1?} ({slowest})")
    }
}
