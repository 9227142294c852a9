//! Chaos: three instances of the real binary, one real Redis, and everything that can go wrong between them, while what is cached
//! changes and is read all the time. No read may see a version older than the last one that was acknowledged before it was sent.
//!
//! `truth` is what must hold; `backend` is the API, `things` what it has; `readers` and `writers` ask and change; `faults` are what
//! happens to the processes of `world`, to the Redis of `stores`, and to the network, which is `relay`. All chance is `dice`.
//!
//! `CHAOS_SECONDS` is how long it goes on, `CHAOS_SEED` repeats what was drawn. `CHAOS_CUT_OFF=serve` breaks what is tested on purpose: then
//! violations are to be expected. `LARDER_BIN` puts another binary under test.

#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "these tests run in real time, the machine's clock is theirs")]
#![expect(clippy::print_stdout, reason = "a measured figure is part of the result")]

#[expect(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../end_to_end/client.rs"]
mod client;
#[expect(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../end_to_end/larder.rs"]
mod larder;
#[expect(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../end_to_end/origin.rs"]
mod origin;
#[expect(dead_code, reason = "the tests of the tier use the rest")]
#[path = "../redis/server.rs"]
mod server;

mod backend;
mod dice;
mod faults;
mod line;
mod readers;
mod relay;
mod stores;
mod tally;
mod things;
mod truth;
mod world;
mod writers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use readers::READERS;
use world::World;
use writers::{WRITERS, all_are_acknowledged};

/// Until three instances that have just started, or are well again, acknowledge everything: some leases, and a busy machine.
const WELL: Duration = Duration::from_secs(30);
const SECONDS: u64 = 60;
/// What has to happen in that time.
const READS: u64 = 100_000;
const ACKNOWLEDGEMENTS: u64 = 1_000;
const FAULTS: u64 = 20;

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_older_than_what_was_acknowledged_before_it() {
    let seed = from_environment("CHAOS_SEED").unwrap_or_else(|| getrandom::u64().unwrap());
    let seconds = from_environment("CHAOS_SECONDS").unwrap_or(SECONDS);
    let cut_off = std::env::var("CHAOS_CUT_OFF").unwrap_or_else(|_| "bypass".to_owned());
    println!("CHAOS_SEED={seed} CHAOS_SECONDS={seconds}");
    let world = World::start(seed, &cut_off).await;
    all_are_acknowledged(&world, WELL).await.unwrap_or_else(|why| panic!("at the beginning: {why}"));

    let mut load = JoinSet::new();
    (0..READERS).for_each(|number| drop(load.spawn(readers::read(Arc::clone(&world), number))));
    (500..500 + WRITERS).for_each(|number| drop(load.spawn(writers::write(Arc::clone(&world), number))));
    let began = Instant::now();
    let end = async {
        sleep(Duration::from_secs(seconds)).await;
        // A machine that does other things too may take as long again.
        let last = Instant::now() + Duration::from_secs(seconds);
        while lacks(&world, seconds).is_some() && Instant::now() < last {
            sleep(Duration::from_secs(1)).await;
        }
        world.end();
    };
    tokio::join!(faults::befall_instances(&world), faults::befall_redis(&world), end);
    load.join_all().await;
    let took = began.elapsed();

    let well = Instant::now();
    let end = all_are_acknowledged(&world, WELL).await;
    let end = end.and(readers::read_all(&world).await.map_err(|error| error.to_string()));
    println!("CHAOS_SEED={seed}, {took:.1?}, all well again after {:.1?}", well.elapsed());
    println!("{}; {} look-ups at the API", world.tally, world.backend.look_ups());
    let violations = world.truth.violations();
    println!("{} violations", world.truth.violated_times());
    if !violations.is_empty() || end.is_err() {
        let logs = world.logs().await;
        panic!("CHAOS_SEED={seed}\n{}\n{end:?}\n{logs}", violations.join("\n"));
    }
    assert_eq!(lacks(&world, seconds), None, "of what has to happen in that time");
}

/// What has not happened often enough, if anything.
fn lacks(world: &World, seconds: u64) -> Option<&'static str> {
    let tally = &world.tally;
    let counts = [
        ("reads", tally.reads.get(), READS),
        ("acknowledgements", tally.acknowledgements(), ACKNOWLEDGEMENTS),
        ("faults", tally.faults(), FAULTS),
    ];
    let is_lacking = |(_, count, wanted): &&(_, u64, u64)| *count < wanted * seconds.min(SECONDS) / SECONDS;
    counts.iter().find(is_lacking).map(|(what, ..)| *what)
}
