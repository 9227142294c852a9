//! A server that is there and says no: it is full, it is no master, it wants a password.

use std::time::Duration;

use larder::shared::{Tier, TierError};

use crate::basics;
use crate::instance::{Instance, MINUTE, name, token};
use crate::server::{REDIS, Server, until};
use crate::wire::Wire;

#[tokio::test]
async fn a_full_memory_refuses_writes_and_is_no_outage() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]).await;
    let mut instance = Instance::of(&server.url()).await;
    instance.put(name(1), b"one").await.unwrap();
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    for _ in 0..50 {
        assert_eq!(instance.put(name(2), b"two").await, Err(TierError::Refused("OOM")));
        assert_eq!(instance.get(name(1)).await.unwrap().unwrap(), "one");
        let lease = instance.tier.acquire(name(3), token(), MINUTE).await;
        assert_eq!(lease, Err(TierError::Refused("OOM")));
    }
    instance.tier.remove(vec![name(1)]).await.unwrap();
    assert_eq!((instance.telemetry.redis.links_up.get(), instance.telemetry.redis.opened.get()), (2, 0));
    assert_eq!(instance.telemetry.redis.refusals.get()["OOM"], 100);
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    basics::work(&mut instance, 0).await;
}

#[tokio::test]
async fn a_wrong_password_is_an_outage_until_it_is_the_right_one() {
    let server = Server::with_admin(REDIS, &["--requirepass", "acorn"], ":acorn@").await;
    let url = |password: &str| format!("redis://:{password}@127.0.0.1:{}", server.port);
    let none = Instance::start(&format!("url = '{}'", server.url()));
    let wrong = Instance::start(&format!("url = '{}'", url("hazelnut")));
    let mut right = Instance::of(&url("acorn")).await;
    basics::work(&mut right, 0).await;
    for instance in [&none, &wrong] {
        until("both links were refused", MINUTE, async || {
            instance.telemetry.redis.connect_failures.get() >= 2
        })
        .await;
        assert_eq!(instance.timed(name(1)).await.0, Err(TierError::Away));
    }
    // What is written beside the URL goes first.
    let beside = format!("url = '{}'\npassword = 'acorn'", url("hazelnut"));
    basics::work(&mut Instance::at(&beside).await, 100).await;
    server.ask(&["CONFIG", "SET", "requirepass", "hazelnut"]).await;
    wrong.is_up().await;
}

#[tokio::test]
async fn who_has_become_a_replica_is_left_for_the_new_master_behind_the_same_address() {
    let (old, new) = (Server::start(&[]).await, Server::start(&[]).await);
    let wire = Wire::before(old.port).await;
    let mut instance = Instance::of(&wire.url()).await;
    instance.put(name(1), b"one").await.unwrap();
    old.ask(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]).await;
    wire.lead_to(new.port);
    assert_eq!(instance.put(name(2), b"two").await, Err(TierError::Refused("READONLY")));
    until("the new one is written to", Duration::from_secs(2), async || {
        instance.put(name(2), b"two").await.is_ok()
    })
    .await;
    assert_eq!(new.keys().await.len(), 1);
    // The background's link has not met it yet.
    basics::work(&mut instance, 10).await;
}

#[tokio::test]
async fn one_that_stays_a_replica_is_not_connected_to_again_and_again() {
    let (master, replica) = (Server::start(&[]).await, Server::start(&[]).await);
    replica.ask(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]).await;
    let instance = Instance::of(&replica.url()).await;
    for _ in 0..50 {
        assert!(instance.put(name(1), b"one").await.is_err());
        drop(instance.get(name(1)).await);
    }
    let connects = instance.telemetry.redis.connects.get();
    assert!(connects <= 4, "{connects}");
}
