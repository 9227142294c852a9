//! Clients that ask a known number of times: one after the other, at a steady rate, or all at once.
//!
//! `client ADDRESS TARGET [count=1] [first=0] [seconds=0] [connections=1] [rate=0] [together=0] [host=ADDRESS] [method=GET] [body=TEXT] [field=NAME:VALUE]…`
//!
//! `{n}` in the target, the body or a field stands for the request's number, which runs from `first`. With a `rate` (per second, over all
//! connections) each request has its time, and one that is late is sent at once; without, the next follows the answer.
//! No request is begun after that many `seconds`, where there are any.
//! With `together` all connections are open before the first request is sent. Prints one line of JSON: how many were
//! answered by which status, the bytes, the seconds, and latencies in microseconds. One thread.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::Barrier;
use tokio::task::LocalSet;

const BUFFER_BYTES: usize = 256 * 1024;
const HEADERS_MAX: usize = 64;

/// What is asked, and when.
struct Plan {
    address: String,
    host: String,
    target: String,
    method: String,
    body: String,
    fields: String,
    first: u64,
    count: u64,
    seconds_max: Option<f64>,
    connections: usize,
    rate: f64,
    together: bool,
}

/// What came of it.
#[derive(Default)]
struct Tally {
    latencies: RefCell<Vec<Duration>>,
    statuses: RefCell<BTreeMap<u16, u64>>,
    bytes: Cell<usize>,
    failed: Cell<u64>,
}

impl Plan {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let (Some(address), Some(target)) = (arguments.next(), arguments.next()) else {
            return Err("usage: client ADDRESS TARGET [count=1] [first=0] [connections=1] [rate=0] …".into());
        };
        let mut plan = Self {
            host: address.clone(),
            address,
            target,
            method: "GET".to_owned(),
            body: String::new(),
            fields: String::new(),
            first: 0,
            count: 1,
            seconds_max: None,
            connections: 1,
            rate: 0.0,
            together: false,
        };
        for argument in arguments {
            match argument.split_once('=').ok_or("name=value is wanted")? {
                ("count", value) => plan.count = value.parse()?,
                ("first", value) => plan.first = value.parse()?,
                ("seconds", value) => plan.seconds_max = Some(value.parse()?),
                ("connections", value) => plan.connections = value.parse()?,
                ("rate", value) => plan.rate = value.parse()?,
                ("together", value) => plan.together = value == "1",
                ("host", value) => value.clone_into(&mut plan.host),
                ("method", value) => value.clone_into(&mut plan.method),
                ("body", value) => value.clone_into(&mut plan.body),
                ("field", value) => plan.fields.extend([value, "\r\n"]),
                _ => return Err(format!("{argument}: not known").into()),
            }
        }
        Ok(plan)
    }

    fn has_numbers(&self) -> bool {
        [&self.target, &self.body, &self.fields].iter().any(|text| text.contains("{n}"))
    }

    fn is_over(&self, started: Instant) -> bool {
        self.seconds_max.is_some_and(|seconds| started.elapsed().as_secs_f64() >= seconds)
    }

    fn request(&self, number: u64) -> Vec<u8> {
        let Self { host, target, method, body, fields, .. } = self;
        let body = body.replace("{n}", &number.to_string());
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n{fields}{length}\r\n"
        )
        .replace("{n}", &number.to_string())
        .into_bytes()
        .into_iter()
        .chain(body.into_bytes())
        .collect()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let plan = Rc::new(Plan::read(std::env::args().skip(1))?);
    let tally = Rc::new(Tally::default());
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let started = LocalSet::new().block_on(&runtime, ask_all(&plan, &tally))?;
    tally.print(started.elapsed());
    Ok(())
}

/// Until all have been answered; when the first was sent.
async fn ask_all(plan: &Rc<Plan>, tally: &Rc<Tally>) -> Result<Instant, Box<dyn Error>> {
    let (next, started) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(Instant::now())));
    let ready = Rc::new(Barrier::new(plan.connections));
    let asking: Vec<_> = (0..plan.connections)
        .map(|_| {
            let (plan, tally, next) = (Rc::clone(plan), Rc::clone(tally), Rc::clone(&next));
            let (ready, started) = (Rc::clone(&ready), Rc::clone(&started));
            tokio::task::spawn_local(async move {
                let connected = TcpStream::connect(&plan.address).await;
                if plan.together {
                    // A server that is slow to accept is not what is measured.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    if ready.wait().await.is_leader() {
                        started.set(Instant::now());
                    }
                }
                match connected {
                    Ok(stream) => ask_in_turn(stream, &plan, &tally, &next, &started).await,
                    Err(_) => tally.failed.set(tally.failed.get() + 1),
                }
            })
        })
        .collect();
    for task in asking {
        task.await?;
    }
    Ok(started.get())
}

async fn ask_in_turn(
    mut stream: TcpStream,
    plan: &Plan,
    tally: &Tally,
    next: &Cell<u64>,
    started: &Cell<Instant>,
) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    let always_the_same = (!plan.has_numbers()).then(|| Bytes::from(plan.request(0)));
    while next.get() < plan.count && !plan.is_over(started.get()) {
        let number = next.replace(next.get() + 1);
        let request = always_the_same.clone().unwrap_or_else(|| plan.request(plan.first + number).into());
        if plan.rate > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "nobody sends that many")]
            let due = started.get() + Duration::from_secs_f64(number as f64 / plan.rate);
            tokio::time::sleep_until(due.into()).await;
        }
        // Of all together, each waits for the last one's turn as well.
        let sent = if plan.together { started.get() } else { Instant::now() };
        if let Ok((status, bytes)) = exchange(&mut stream, &request, &mut buffer).await {
            tally.answered(sent.elapsed(), status, bytes);
            continue;
        }
        tally.failed.set(tally.failed.get() + 1);
        let Ok(another) = TcpStream::connect(&plan.address).await else { return };
        stream = another;
    }
}

/// One request and its whole answer.
async fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<(u16, usize), Box<dyn Error>> {
    stream.write_all(request).await?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err("closed".into());
        }
        if let Some(status) = whole(buffer)? {
            return Ok((status, buffer.len()));
        }
    }
}

/// The status of the answer, once all of it is there.
fn whole(bytes: &[u8]) -> Result<Option<u16>, Box<dyn Error>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else { return Ok(None) };
    let status = response.code.ok_or("no status")?;
    let field = |name: &str| {
        let named = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value)
    };
    let complete = if matches!(status, 204 | 304) {
        true
    } else if let Some(length) = field("content-length") {
        bytes.len() >= head + str::from_utf8(length)?.trim().parse::<usize>()?
    } else {
        field("transfer-encoding").ok_or("an answer without a length")?;
        bytes[head..].ends_with(b"0\r\n\r\n")
    };
    Ok(complete.then_some(status))
}

impl Tally {
    fn answered(&self, latency: Duration, status: u16, bytes: usize) {
        self.latencies.borrow_mut().push(latency);
        *self.statuses.borrow_mut().entry(status).or_default() += 1;
        self.bytes.set(self.bytes.get() + bytes);
    }

    fn print(&self, took: Duration) {
        let mut latencies = self.latencies.take();
        latencies.sort_unstable();
        let at = |thousandths: usize| {
            let place = (latencies.len() * thousandths / 1000).min(latencies.len().saturating_sub(1));
            latencies.get(place).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
        };
        let statuses: Vec<String> =
            self.statuses.borrow().iter().map(|(status, count)| format!(r#""{status}":{count}"#)).collect();
        println!(
            r#"{{"answered":{},"failed":{},"statuses":{{{}}},"bytes":{},"seconds":{:.6},"first_us":{:.1},"p50_us":{:.1},"p90_us":{:.1},"p99_us":{:.1},"last_us":{:.1}}}"#,
            latencies.len(),
            self.failed.get(),
            statuses.join(","),
            self.bytes.get(),
            took.as_secs_f64(),
            at(0),
            at(500),
            at(900),
            at(990),
            at(1000),
        );
    }
}
