//! The API behind the proxies: it knows the version of each key, and takes some time between looking it up and answering.
//!
//! So an answer may be old news when it goes out, which is what a cache must not be led astray by. Each look-up has a number that
//! is in the answer, and its time is kept, so that a stale answer can be told from where it came.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::dice::Dice;
use crate::line::{Line, Message};
use crate::things::{KEYS, Kind, Thing};

/// The longest time between looking up and answering, in milliseconds: mostly, …
const THOUGHT: u64 = 30;
/// … and now and then: longer than it takes to acknowledge something.
const LONG_THOUGHT: u64 = 400;

pub struct Backend {
    pub address: SocketAddr,
    data: Arc<Data>,
    accepting: JoinHandle<()>,
}

struct Data {
    versions: [AtomicU64; KEYS],
    /// When which look-up was made.
    looked_up: Mutex<Vec<Instant>>,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    pub key: usize,
    pub version: u64,
    pub look_up: usize,
}

impl Backend {
    pub async fn start(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let data = Arc::new(Data {
            versions: std::array::from_fn(|_| AtomicU64::new(1)),
            looked_up: Mutex::default(),
        });
        let served = Arc::clone(&data);
        let accepting = tokio::spawn(async move {
            for number in 1_000.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (data, dice) = (Arc::clone(&served), Dice::new(seed, number));
                tokio::spawn(async move { serve(stream, &data, dice).await });
            }
        });
        Self { address, data, accepting }
    }

    /// The new version.
    pub fn change(&self, key: usize) -> u64 {
        self.data.change(key)
    }

    pub fn looked_up_at(&self, look_up: usize) -> Option<Instant> {
        self.data.looked_up.lock().unwrap().get(look_up).copied()
    }

    pub fn look_ups(&self) -> usize {
        self.data.looked_up.lock().unwrap().len()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Data {
    fn change(&self, key: usize) -> u64 {
        self.versions[key].fetch_add(1, SeqCst) + 1
    }

    fn look_up(&self, key: usize) -> Said {
        let mut looked_up = self.looked_up.lock().unwrap();
        looked_up.push(Instant::now());
        Said { key, version: self.versions[key].load(SeqCst), look_up: looked_up.len() - 1 }
    }
}

impl Said {
    fn to_json(self) -> String {
        let Self { key, version, look_up } = self;
        format!("{{\"key\":{key},\"version\":{version},\"look_up\":{look_up}}}")
    }

    /// None, if it is no answer of ours.
    pub fn from_json(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.strip_prefix("{\"key\":")?.strip_suffix('}')?;
        let (key, text) = text.split_once(",\"version\":")?;
        let (version, look_up) = text.split_once(",\"look_up\":")?;
        Some(Self { key: key.parse().ok()?, version: version.parse().ok()?, look_up: look_up.parse().ok()? })
    }
}

/// Until the connection ends.
async fn serve(stream: TcpStream, data: &Data, mut dice: Dice) -> io::Result<()> {
    let mut line = Line::new(stream)?;
    loop {
        let request = line.receive().await?;
        let (method, target) = request.asked();
        let Some(thing) = Thing::from_path(target) else {
            // A thing that nobody watches.
            line.send(&answer("200 OK", "cache-control: max-age=60\r\n", "{}")).await?;
            continue;
        };
        match method {
            "PUT" => {
                data.change(thing.key);
                let said = data.look_up(thing.key);
                sleep(thought(&mut dice)).await;
                line.send(&answer("200 OK", &fields(thing, said), &said.to_json())).await?;
            }
            _ => get(&mut line, &request, thing, data, &mut dice).await?,
        }
    }
}

fn thought(dice: &mut Dice) -> Duration {
    let longest = if dice.one_in(8) { LONG_THOUGHT } else { THOUGHT };
    dice.millis(0, longest)
}

async fn get(
    line: &mut Line,
    request: &Message,
    thing: Thing,
    data: &Data,
    dice: &mut Dice,
) -> io::Result<()> {
    let said = data.look_up(thing.key);
    let thought = thought(dice);
    let fields = fields(thing, said);
    if thing.kind == Kind::Stale && dice.one_in(30) {
        sleep(thought).await;
        if dice.one_in(3) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        return line.send(&answer("503 Service Unavailable", "", "out of order")).await;
    }
    if request.field("if-none-match") == Some(&tag(said)) {
        sleep(thought).await;
        return line.send(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").as_bytes()).await;
    }
    let whole = answer("200 OK", &fields, &said.to_json());
    if thing.kind == Kind::Body {
        // The head says nothing of what comes.
        let (early, late) = whole.split_at(whole.len() - 5);
        line.send(early).await?;
        sleep(thought).await;
        return line.send(late).await;
    }
    sleep(thought).await;
    line.send(&whole).await
}

/// A validator says which version it is, and nothing of when it was looked up.
fn tag(said: Said) -> String {
    format!("\"{}-{}\"", said.key, said.version)
}

fn fields(thing: Thing, said: Said) -> String {
    // What may be stale has to become so.
    let lifetime = Duration::from_secs(if thing.kind == Kind::Stale { 1 } else { 60 });
    let named = if thing.kind == Kind::Named {
        format!("surrogate-key: x item:{}\r\n", thing.key)
    } else {
        String::new()
    };
    format!("cache-control: max-age={}\r\netag: {}\r\n{named}", lifetime.as_secs(), tag(said))
}

fn answer(status: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{fields}\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let said = Said { key: 7, version: 12, look_up: 99 };
        assert_eq!(Said::from_json(said.to_json().as_bytes()), Some(said));
        assert_eq!(Said::from_json(b"out of order"), None);
    }

    async fn ask(line: &mut Line, request: &str) -> Message {
        line.send(request.as_bytes()).await.unwrap();
        line.receive().await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_has_the_version_of_when_it_was_looked_up() {
        let backend = Backend::start(1).await;
        let mut line = Line::connect(backend.address).await.unwrap();
        for kind in [Kind::Plain, Kind::Body, Kind::Named] {
            let thing = Thing { kind, key: 3 };
            let version = backend.change(3);
            let response = ask(&mut line, &format!("GET {thing} HTTP/1.1\r\n\r\n")).await;
            let said = Said::from_json(&response.body).unwrap();
            assert_eq!((said.key, said.version), (3, version));
            let etag = response.field("etag").unwrap();
            let again = format!("GET {thing} HTTP/1.1\r\nif-none-match: {etag}\r\n\r\n");
            assert_eq!(ask(&mut line, &again).await.status(), 304);
            backend.change(3);
            assert_eq!(ask(&mut line, &again).await.status(), 200);
        }
        let thing = Thing { kind: Kind::Through, key: 3 };
        let response = ask(&mut line, &format!("PUT {thing} HTTP/1.1\r\ncontent-length: 1\r\n\r\nx")).await;
        let said = Said::from_json(&response.body).unwrap();
        assert_eq!(said.version + 1, backend.change(3));
        assert_eq!(backend.look_ups(), 10);
        assert!(backend.looked_up_at(said.look_up).is_some());
    }
}
