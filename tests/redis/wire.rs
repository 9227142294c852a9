//! A network with faults: a TCP proxy before a server that delays, throttles, freezes, or drops connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

pub struct Wire {
    pub port: u16,
    faults: Arc<Faults>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Faults {
    /// Where new connections lead.
    target: AtomicU16,
    accepted: AtomicU32,
    /// Each piece of what is sent is so late, in milliseconds.
    latency: AtomicU64,
    /// Bytes a second in each direction; 0: as many as there are.
    throughput: AtomicU64,
    /// Of ten connections, so many are dropped, at once or after a while.
    dropped_of_ten: AtomicU32,
    /// Connections with a lower number get nothing through, and nobody is told.
    frozen_below: watch::Sender<u32>,
}

impl Wire {
    pub async fn before(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let faults = Arc::new(Faults::default());
        faults.target.store(target, SeqCst);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&faults)));
        Self { port, faults, accepting }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// New connections; the old ones stay where they are.
    pub fn lead_to(&self, target: u16) {
        self.faults.target.store(target, SeqCst);
    }

    pub fn delay(&self, latency: Duration) {
        self.faults.latency.store(u64::try_from(latency.as_millis()).unwrap(), SeqCst);
    }

    pub fn throttle(&self, bytes_per_second: u64) {
        self.faults.throughput.store(bytes_per_second, SeqCst);
    }

    pub fn drop_of_ten(&self, connections: u32) {
        self.faults.dropped_of_ten.store(connections, SeqCst);
    }

    /// What is open now; new connections go through.
    pub fn freeze(&self) {
        self.faults.frozen_below.send_replace(self.accepted());
    }

    pub fn accepted(&self) -> u32 {
        self.faults.accepted.load(SeqCst)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, faults: Arc<Faults>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let number = faults.accepted.fetch_add(1, SeqCst);
        // Scattered, and the same in each run.
        let is_dropped = (number * 7) % 10 < faults.dropped_of_ten.load(SeqCst);
        if is_dropped && number.is_multiple_of(2) {
            continue;
        }
        let faults = Arc::clone(&faults);
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(("127.0.0.1", faults.target.load(SeqCst))).await else {
                return;
            };
            let pieces = if is_dropped { 5 } else { u32::MAX };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                () = carry(from_client, to_server, number, pieces, &faults) => {}
                () = carry(from_server, to_client, number, pieces, &faults) => {}
            }
        });
    }
}

async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    number: u32,
    pieces: u32,
    faults: &Faults,
) {
    let mut buffer = vec![0; 16 * 1024];
    for _ in 0..pieces {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        let mut frozen = faults.frozen_below.subscribe();
        if frozen.wait_for(|below| number >= *below).await.is_err() {
            return;
        }
        sleep(Duration::from_millis(faults.latency.load(SeqCst))).await;
        let throughput = faults.throughput.load(SeqCst);
        let takes = (read as u64 * 1000).checked_div(throughput).unwrap_or_default();
        sleep(Duration::from_millis(takes)).await;
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
