//! Values: what is put is got, for so long, whatever else lies there.

use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use larder::shared::{Acquired, Tier};
use tokio::time::Instant;

use crate::basics;
use crate::instance::{Instance, MINUTE, key, name, token, variant};
use crate::server::{Server, VALKEY, until};

#[tokio::test]
async fn redis_does_all_that_is_asked_of_a_tier() {
    let server = Server::start(&[]).await;
    let mut instance = Instance::of(&server.url()).await;
    basics::work(&mut instance, 0).await;
    server.keys().await;
}

#[tokio::test]
async fn valkey_does_all_that_is_asked_of_a_tier() {
    let mut server = Server::of(VALKEY, &[]).await;
    let said = server.text(&["INFO", "server"]).await;
    assert!(said.contains("valkey_version:"), "{said}");
    let mut instance = Instance::of(&server.url().replace("redis://", "valkey://")).await;
    basics::work(&mut instance, 0).await;
    server.keys().await;
    server.kill();
    assert!(instance.get(name(1)).await.is_err());
    server.start_again().await;
    instance.back(name(1), Duration::from_secs(2)).await;
    basics::work(&mut instance, 0).await;
}

#[tokio::test]
async fn a_database_and_a_socket_in_the_file_system_are_places_too() {
    let server = Server::start(&["--unixsocket", "{folder}/s"]).await;
    let mut by_number = Instance::of(&format!("{}/3", server.url())).await;
    basics::work(&mut by_number, 0).await;
    by_number.put(name(1), b"three").await.unwrap();
    let socket = format!("unix://{}/s?db=3", server.folder.path().display());
    let by_socket = Instance::of(&socket).await;
    assert_eq!(by_socket.get(name(1)).await.unwrap().unwrap(), "three");
}

#[tokio::test]
async fn nothing_lives_longer_than_it_was_put_for_and_all_of_it_ends() {
    let server = Server::start(&[]).await;
    let Instance { ref tier, .. } = Instance::of(&server.url()).await;
    let value = Bytes::from(vec![0; 100]);
    tier.put(name(1), value.clone(), Duration::from_millis(60)).await.unwrap();
    tier.put(name(2), value.clone(), Duration::ZERO).await.unwrap();
    tier.put(name(3), value.clone(), Duration::MAX).await.unwrap();
    tier.put(name(4), value.clone(), MINUTE).await.unwrap();
    assert!(tier.patch(name(4), value.slice(..50), 2 * MINUTE).await.unwrap());
    tier.agree(value.clone(), None, MINUTE).await.unwrap();
    for number in 10..20 {
        assert_eq!(tier.acquire(name(number), token(), MINUTE).await.unwrap(), Acquired::Ours);
        assert!(matches!(tier.acquire(name(number), token(), MINUTE).await.unwrap(), Acquired::Theirs(_)));
    }
    let keys = server.keys().await;
    assert!(keys.iter().all(|key| key.starts_with(b"larder:")), "{keys:?}");
    assert!(keys.len() >= 13, "{keys:?}");
    let patched = format!("larder:{{{}}}", key(4));
    let left: u64 = server.text(&["PTTL", &patched]).await.parse().unwrap();
    assert!(left > 60_000, "{left}");
    until("the first is over", Duration::from_secs(1), async || {
        tier.get(vec![name(1), name(2)]).await.unwrap() == [None, None]
    })
    .await;
}

#[tokio::test]
async fn what_is_not_ours_under_our_names_counts_as_nothing() {
    let server = Server::start(&[]).await;
    let instance = Instance::of(&server.url()).await;
    let tier = &instance.tier;
    for number in 1..=4 {
        for suffix in ["", ":lease"] {
            server.ask(&["RPUSH", &format!("larder:{{{}}}{suffix}", key(number)), "a list"]).await;
        }
    }
    server.ask(&["SADD", "larder:{larder:log}:instances", "a set"]).await;
    assert_eq!(instance.get(name(1)).await.unwrap(), None);
    assert_eq!(tier.get(vec![name(1), variant(1, 1)]).await.unwrap(), [None, None]);
    let head = Bytes::from_static(&[0; 100]);
    assert!(!tier.patch(name(2), head.clone(), MINUTE).await.unwrap());
    instance.put(name(3), b"ours").await.unwrap();
    assert_eq!(instance.get(name(3)).await.unwrap().unwrap(), "ours");
    assert!(!tier.renew(name(4), token(), MINUTE).await.unwrap());
    assert_eq!(tier.acquire(name(4), token(), MINUTE).await.unwrap(), Acquired::Ours);
    assert_eq!(tier.agree(head.clone(), None, MINUTE).await.unwrap(), head);
    // A text that is none of ours, and lives for ever.
    server.ask(&["SET", &format!("larder:{{{}}}:lease", key(5)), "seventeen letters"]).await;
    assert_eq!(tier.acquire(name(5), token(), MINUTE).await.unwrap(), Acquired::Ours);
    server.ask(&["SET", &format!("larder:{{{}}}", key(6)), "short"]).await;
    assert!(!tier.patch(name(6), head, MINUTE).await.unwrap());
    assert_eq!(instance.telemetry.redis.links_up.get(), 2);
}

#[tokio::test]
async fn all_agree_on_what_the_first_has_put_there() {
    let server = Server::start(&[]).await;
    let (one, other) = (Instance::of(&server.url()).await, Instance::of(&server.url()).await);
    let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
    assert_eq!(one.tier.agree(first.clone(), None, MINUTE).await.unwrap(), first);
    assert_eq!(other.tier.agree(second.clone(), None, 2 * MINUTE).await.unwrap(), first);
    let left: u64 = server.text(&["PTTL", "larder:{larder:log}:instances"]).await.parse().unwrap();
    assert!(left > 60_000, "{left}");
    // It has no less time for one who keeps it for less.
    one.tier.agree(second.clone(), None, MINUTE / 2).await.unwrap();
    let left: u64 = server.text(&["PTTL", "larder:{larder:log}:instances"]).await.parse().unwrap();
    assert!(left > 60_000, "{left}");
    let not_there = Some(Bytes::from_static(b"third"));
    assert_eq!(other.tier.agree(second.clone(), not_there, MINUTE).await.unwrap(), first);
    assert_eq!(other.tier.agree(second.clone(), Some(first.clone()), MINUTE).await.unwrap(), second);
    assert_eq!(one.tier.agree(first, None, MINUTE).await.unwrap(), second);
}

#[tokio::test]
async fn scripts_and_values_that_are_flushed_are_only_gone() {
    let server = Server::start(&[]).await;
    let mut instance = Instance::of(&server.url()).await;
    for _ in 0..3 {
        basics::work(&mut instance, 0).await;
        server.ask(&["SCRIPT", "FLUSH"]).await;
        server.ask(&["FLUSHALL"]).await;
    }
    let redis = &instance.telemetry.redis;
    assert_eq!((redis.opened.get(), redis.connects.get()), (0, 2));
}

#[tokio::test]
async fn a_command_that_is_dropped_midway_takes_nobodys_reply() {
    let server = Server::start(&[]).await;
    let instance = Instance::of(&server.url()).await;
    for number in 0..50 {
        instance.put(name(number), format!("value {number}").as_bytes()).await.unwrap();
    }
    for round in 0..200 {
        for number in 0..40 {
            let mut dropped = instance.tier.get(vec![name(number)]);
            let mut context = Context::from_waker(Waker::noop());
            assert!(dropped.as_mut().poll(&mut context).is_pending());
        }
        let number = 10 + round % 40;
        let value = instance.get(name(number)).await.unwrap().unwrap();
        assert_eq!(value, format!("value {number}").as_bytes());
    }
}

#[tokio::test]
async fn the_largest_values_come_back_whole_and_in_time() {
    let server = Server::start(&[]).await;
    let instance = Instance::of(&server.url()).await;
    for bytes in [0, 1, 1000, 100_000, 1_100_000] {
        let value: Vec<u8> = (0..bytes).map(|at: u32| u8::try_from(at % 251).unwrap()).collect();
        instance.put(name(1), &value).await.unwrap();
        let began = Instant::now();
        assert_eq!(instance.get(name(1)).await.unwrap().unwrap(), value);
        println!("{bytes} bytes: {:?}", began.elapsed());
    }
}
