//! What an invalidation takes when nothing goes wrong: three instances, each under light load of hits, and one sender.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::alone;
use crate::line::Line;
use crate::server::Server;
use crate::steady_load;
use crate::telling::{Versions, are_ready, is_acknowledged, started_before};

const ROUTES: &str = "[[route]]\nname = 'things'\nmatch = '/things/{id}'\ntags = ['thing:{id}']\n";
const INVALIDATIONS: usize = 500;
const THINGS: usize = 50;
/// At each instance, and from one request of each to its next.
const CLIENTS: usize = 4;
const PACE: Duration = Duration::from_millis(10);
/// What is wanted of a release build on a machine of its own.
const P50: Duration = Duration::from_millis(5);
const P99: Duration = Duration::from_millis(25);
/// A debug build on a machine that does other things too may take so many times as long.
const BUSY: u32 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_instances_under_load_have_done_it_in_some_milliseconds() {
    let _alone = alone().await;
    let (versions, server) = (Versions::kept(), Server::start(&[]).await);
    let instances = [(); 3].map(|()| started_before(&versions.origin, server.port, ROUTES));
    are_ready(&instances.each_ref()).await;
    is_acknowledged(&instances[0], &["nothing"]).await;

    let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let mut load = JoinSet::new();
    for client in 0..3 * CLIENTS {
        let address = instances[client % 3].address;
        let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
        load.spawn(async move {
            let (mut line, mut tick) = (steady_load::Line::connect(address).await, interval(PACE));
            for step in client.. {
                tick.tick().await;
                if stop.load(SeqCst) {
                    return;
                }
                line.get(&format!("/things/{}", step % THINGS)).await;
                answered.fetch_add(1, SeqCst);
            }
        });
    }
    let mut sender = Line::connect(instances[0].admin).await.unwrap();
    let began = Instant::now();
    let mut times = Vec::new();
    for number in 0..INVALIDATIONS {
        let body = json!({"tags": [format!("thing:{}", number % THINGS)], "wait": "all"}).to_string();
        let (host, length) = (instances[0].admin, body.len());
        let sent = Instant::now();
        let request = format!(
            "POST /invalidate HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        sender.send(request.as_bytes()).await.unwrap();
        let answer = sender.receive().await.unwrap();
        times.push(sent.elapsed());
        let receipt: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let applied = receipt["applied"].as_array().map_or(0, Vec::len);
        assert_eq!((answer.status(), applied), (200, 3), "{}", answer.text());
    }
    let took = began.elapsed();
    stop.store(true, SeqCst);
    load.join_all().await;
    times.sort_unstable();
    let of_hundred = |hundredths: usize| times[times.len() * hundredths / 100];
    let (p50, p99) = (of_hundred(50), of_hundred(99));
    println!(
        "{INVALIDATIONS} invalidations acknowledged by three instances, one after the other: p50 {p50:.1?}, \
         p99 {p99:.1?}, longest {:.1?} (wanted: p50 {P50:?}, p99 {P99:?}); {} requests answered in {took:.1?}",
        times[times.len() - 1],
        answered.load(SeqCst)
    );
    assert!(p50 < P50 * BUSY && p99 < P99 * 2 * BUSY, "p50 {p50:?}, p99 {p99:?}");
}
