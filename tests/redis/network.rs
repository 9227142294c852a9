//! A network that is slow, narrow, frozen, or loses connections.

use std::time::Duration;

use bytes::Bytes;
use larder::shared::{Tier, TierError};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::basics;
use crate::instance::{COMMAND_TIMEOUT, Instance, MINUTE, SLACK, name};
use crate::server::{Server, until};
use crate::wire::Wire;

#[tokio::test]
async fn a_connection_that_froze_is_given_up_though_nobody_has_closed_it() {
    let server = Server::start(&[]).await;
    let wire = Wire::before(server.port).await;
    let mut instance = Instance::of(&wire.url()).await;
    instance.put(name(1), b"one").await.unwrap();
    let connections = wire.accepted();
    wire.freeze();
    let back = instance.back(name(1), Duration::from_secs(2)).await;
    println!("frozen: back after {back:?} by a new connection");
    assert!(wire.accepted() > connections);
    instance.is_up().await;
    basics::work(&mut instance, 10).await;
}

#[tokio::test]
async fn a_network_slower_than_the_time_out_is_as_good_as_none() {
    let server = Server::start(&[]).await;
    let wire = Wire::before(server.port).await;
    let mut instance = Instance::of(&wire.url()).await;
    wire.delay(Duration::from_millis(10));
    for _ in 0..20 {
        instance.timed(name(1)).await.0.unwrap();
    }
    wire.delay(Duration::from_millis(100));
    let began = Instant::now();
    let mut waited = 0;
    while began.elapsed() < Duration::from_millis(1500) {
        let (result, _) = instance.timed(name(1)).await;
        waited += usize::from(result.unwrap_err() == TierError::TimedOut);
        sleep(Duration::from_millis(2)).await;
    }
    assert!(waited <= 5, "{waited} commands waited");
    wire.delay(Duration::ZERO);
    let back = instance.back(name(1), Duration::from_secs(2)).await;
    println!("100 ms late: {waited} commands waited; back after {back:?}");
    instance.is_up().await;
    basics::work(&mut instance, 10).await;
}

#[tokio::test]
async fn a_narrow_network_holds_up_no_command_longer_than_its_time() {
    let server = Server::start(&[]).await;
    let wire = Wire::before(server.port).await;
    let mut instance = Instance::of(&wire.url()).await;
    instance.put(name(1), b"one").await.unwrap();
    // Narrower than what is reckoned with.
    wire.throttle(400_000);
    let large = vec![7; 1_000_000];
    let (mut failed, mut longest) = (0, Duration::ZERO);
    for _ in 0..40 {
        let began = Instant::now();
        failed += usize::from(instance.put(name(2), &large).await.is_err());
        longest = longest.max(began.elapsed());
        instance.timed(name(1)).await.0.ok();
    }
    assert!(longest < COMMAND_TIMEOUT + Duration::from_secs(1) + 2 * SLACK, "{longest:?}");
    assert!(failed > 30, "{failed}");
    assert!(instance.telemetry.redis.opened.get() >= 1);
    wire.throttle(0);
    instance.back(name(1), Duration::from_secs(3)).await;
    instance.is_up().await;
    basics::work(&mut instance, 10).await;
}

#[tokio::test]
async fn a_network_that_takes_its_time_for_large_values_is_no_outage() {
    let server = Server::start(&[]).await;
    let wire = Wire::before(server.port).await;
    let instance = Instance::of(&wire.url()).await;
    wire.throttle(4_000_000);
    let large = Bytes::from(vec![7; 1_000_000]);
    // The last has to wait for all others.
    let mut writes = JoinSet::new();
    for number in 0..6 {
        let (tier, large) = (instance.tier.clone(), large.clone());
        writes.spawn(async move { tier.put(name(number), large, MINUTE).await });
    }
    sleep(Duration::from_millis(1)).await;
    let mut reads = 0;
    while !writes.is_empty() {
        // Who waits for a reply does not do so any longer than ever.
        instance.timed(name(9)).await.0.ok();
        reads += 1;
        while let Some(written) = writes.try_join_next() {
            written.unwrap().unwrap();
        }
    }
    assert!(reads > 10, "{reads}");
    let mut frame = vec![7; 500_000];
    frame[0] = 8;
    assert!(instance.tier.patch(name(1), Bytes::from(frame), MINUTE).await.unwrap());
    let redis = &instance.telemetry.redis;
    assert_eq!((redis.opened.get(), redis.connects.get(), redis.links_up.get()), (0, 2, 2));
    for key in server.keys().await {
        let length = server.ask(&["STRLEN", &String::from_utf8(key).unwrap()]).await;
        assert_eq!(length, redis::Value::Int(1_000_000));
    }
    assert_eq!(server.ask(&["DBSIZE"]).await, redis::Value::Int(6));
}

#[tokio::test]
async fn a_third_of_all_connections_lost_is_a_nuisance_and_no_more() {
    let server = Server::start(&[]).await;
    let wire = Wire::before(server.port).await;
    let instance = Instance::at(&format!(
        "url = '{}'\nbreaker = {{ open = '50ms', window = '10s', failures = 5 }}",
        wire.url()
    ))
    .await;
    instance.put(name(1), b"one").await.unwrap();
    wire.drop_of_ten(3);
    let (mut answered, mut longest, mut connections) = (0, Duration::ZERO, 0);
    for number in 0..1000 {
        let (result, took) = instance.timed(name(1)).await;
        if let Ok(value) = result {
            assert_eq!(value.unwrap(), "one");
            answered += 1;
        }
        longest = longest.max(took);
        if number % 50 == 0 {
            // As if the network had lost all of them.
            connections =
                server.text(&["CLIENT", "KILL", "TYPE", "normal"]).await.parse().unwrap_or(connections);
        }
        sleep(Duration::from_millis(1)).await;
    }
    println!(
        "30 % of connections lost: {answered} of 1000 answered, at most {longest:?}, {} connections",
        wire.accepted()
    );
    assert!(answered > 500, "{answered}");
    wire.drop_of_ten(0);
    until("it is up", Duration::from_secs(2), async || instance.timed(name(1)).await.0.is_ok()).await;
}
