//! A server that hangs, dies, comes back empty, or is not there yet.

use std::time::Duration;

use larder::shared::{Tier, TierError};
use larder::telemetry::redis::{Command, CommandOutcome};
use tokio::time::{Instant, sleep};

use crate::basics;
use crate::instance::{COMMAND_TIMEOUT, Instance, MINUTE, name};
use crate::server::{Server, free_port, until};

/// What goes at once takes less than this.
const AT_ONCE: Duration = Duration::from_millis(20);
/// It is used again within this time.
const BACK: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_server_that_hangs_costs_each_command_its_time_out_and_soon_nothing() {
    let server = Server::start(&[]).await;
    let mut instance = Instance::of(&server.url()).await;
    instance.put(name(1), b"one").await.unwrap();
    server.hang();
    let mut times = Vec::new();
    while times.len() < 200 {
        let (result, took) = instance.timed(name(1)).await;
        let error = result.unwrap_err();
        times.push((error, took));
    }
    let waited = times.iter().filter(|(error, _)| *error == TierError::TimedOut).count();
    let away: Vec<_> = times.iter().filter(|(error, _)| *error == TierError::Away).collect();
    assert!(waited <= 5, "{waited} commands waited");
    assert_eq!(waited + away.len(), 200);
    let slowest = away.iter().map(|(_, took)| *took).max().unwrap();
    let longest = times.iter().map(|(_, took)| *took).max().unwrap();
    assert!(slowest < AT_ONCE, "{slowest:?}");
    // For as long as it hangs.
    let began = Instant::now();
    until("some probes were made", MINUTE, async || {
        let (result, took) = instance.timed(name(1)).await;
        assert!(result == Err(TierError::Away) && took < AT_ONCE, "{result:?} {took:?}");
        sleep(Duration::from_millis(1)).await;
        began.elapsed() > Duration::from_millis(1500)
    })
    .await;
    server.go_on();
    let back = instance.back(name(1), BACK).await;
    println!(
        "hung: {waited} commands waited, at most {longest:?}; then at most {slowest:?}; back after {back:?}"
    );
    assert_eq!(instance.get(name(1)).await.unwrap().unwrap(), "one");
    assert!(instance.telemetry.redis.opened.get() >= 1);
    instance.is_up().await;
    basics::work(&mut instance, 10).await;
}

#[tokio::test]
async fn many_at_once_wait_for_a_server_that_hangs_no_longer_than_one() {
    let server = Server::start(&[]).await;
    let instance = Instance::of(&server.url()).await;
    server.hang();
    let began = Instant::now();
    let all: Vec<_> = (0..300).map(|number| instance.tier.get(vec![name(number)])).collect();
    let mut ends = Vec::new();
    for reply in all {
        ends.push(reply.await.unwrap_err());
    }
    // They were not polled at once; but each is given up when the first are, for the link is down then.
    let took = began.elapsed();
    assert!(took < 6 * COMMAND_TIMEOUT + Duration::from_millis(100), "{took:?}");
    assert!(ends.contains(&TierError::Away));
}

#[tokio::test]
async fn a_server_that_hangs_is_found_out_by_no_request() {
    let server = Server::start(&[]).await;
    let instance = Instance::of(&server.url()).await;
    server.hang();
    until("pings have found it out", Duration::from_secs(5), async || {
        instance.telemetry.redis.links_up.get() == 0
    })
    .await;
    let (result, took) = instance.timed(name(1)).await;
    assert!(result == Err(TierError::Away) && took < AT_ONCE, "{result:?} {took:?}");
}

#[tokio::test]
async fn a_server_that_dies_and_comes_back_empty_is_used_again() {
    let mut server = Server::start(&[]).await;
    let mut instance = Instance::of(&server.url()).await;
    for round in 0..3 {
        instance.put(name(1), b"one").await.unwrap();
        server.kill();
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            let (result, took) = instance.timed(name(1)).await;
            assert!(result.is_err());
            longest = longest.max(took);
            sleep(Duration::from_millis(1)).await;
        }
        assert!(longest < AT_ONCE, "{longest:?}");
        server.start_again().await;
        let back = instance.back(name(1), BACK).await;
        println!("killed {round}: commands took at most {longest:?}; back after {back:?}");
        assert_eq!(instance.get(name(1)).await.unwrap(), None);
    }
    instance.is_up().await;
    basics::work(&mut instance, 0).await;
}

#[tokio::test]
async fn an_instance_may_start_before_its_server() {
    let port = free_port();
    let instance = Instance::start(&format!("url = 'redis://127.0.0.1:{port}'"));
    for _ in 0..20 {
        let (result, took) = instance.timed(name(1)).await;
        assert!(result == Err(TierError::Away) && took < AT_ONCE, "{result:?} {took:?}");
        sleep(Duration::from_millis(5)).await;
    }
    assert!(instance.telemetry.redis.connect_failures.get() >= 1);
    let away = instance.telemetry.redis.count(Command::Get, CommandOutcome::Away);
    assert_eq!(away, 20);
    let server = Server::at(port).await;
    let began = Instant::now();
    instance.is_up().await;
    println!("there later: used after {:?}", began.elapsed());
    instance.put(name(1), b"one").await.unwrap();
    drop(server);
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closes_is_made_anew_before_it_is_wanted() {
    let server = Server::start(&[]).await;
    let instance = Instance::of(&server.url()).await;
    instance.put(name(1), b"one").await.unwrap();
    server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    until("all are made anew", BACK, async || {
        instance.telemetry.redis.connects.get() == 4 && instance.telemetry.redis.links_up.get() == 2
    })
    .await;
    let outcomes = [CommandOutcome::Broken, CommandOutcome::Away];
    assert_eq!(outcomes.map(|outcome| instance.telemetry.redis.count(Command::Get, outcome)), [0, 0]);
    assert_eq!(instance.get(name(1)).await.unwrap().unwrap(), "one");
}

#[tokio::test]
async fn when_its_keepers_go_nothing_is_sent_any_more() {
    let server = Server::start(&[]).await;
    let instance = Instance::of(&server.url()).await;
    let (tier, telemetry) = (instance.tier.clone(), instance.telemetry.clone());
    drop(instance);
    until("all links are down", BACK, async || telemetry.redis.links_up.get() == 0).await;
    assert_eq!(tier.get(vec![name(1)]).await.unwrap_err(), TierError::Away);
    until("all connections are closed", BACK, async || {
        // The one who asks.
        server.text(&["INFO", "clients"]).await.contains("connected_clients:1\r")
    })
    .await;
}
