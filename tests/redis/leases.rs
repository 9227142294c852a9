//! Leases, and the news of what came of them.

use std::time::Duration;

use larder::shared::{Acquired, Landed, News, Tier};
use tokio::time::Instant;

use crate::instance::{Instance, name, token};
use crate::server::{Server, until};

const LEASE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn one_of_many_instances_gets_the_lease_and_all_who_wait_hear_what_came_of_it() {
    let server = Server::start(&[]).await;
    let mut instances = Vec::new();
    for _ in 0..5 {
        instances.push(Instance::of(&server.url()).await);
    }
    let mut holder = None;
    for (number, instance) in instances.iter().enumerate() {
        let mine = token();
        match instance.tier.acquire(name(1), mine, LEASE).await.unwrap() {
            Acquired::Ours => assert_eq!(holder.replace((number, mine)), None),
            Acquired::Theirs(left) => assert!(left <= LEASE, "{left:?}"),
        }
    }
    let (number, mine) = holder.unwrap();
    assert_eq!(instances[number].tier.acquire(name(1), mine, LEASE).await.unwrap(), Acquired::Ours);
    let began = Instant::now();
    instances[number].tier.release(name(1), mine, Landed::Failed).await.unwrap();
    for instance in &mut instances {
        instance.is_heard(News::Landed(name(1), Landed::Failed)).await;
    }
    println!("five instances heard of it within {:?}", began.elapsed());
}

#[tokio::test]
async fn nothing_is_said_where_nobody_waits() {
    let server = Server::start(&[]).await;
    let mut instance = Instance::of(&server.url()).await;
    for number in 0..10 {
        let mine = token();
        assert_eq!(instance.tier.acquire(name(number), mine, LEASE).await.unwrap(), Acquired::Ours);
        instance.tier.release(name(number), mine, Landed::Kept).await.unwrap();
    }
    let (first, second) = (token(), token());
    instance.tier.acquire(name(99), first, LEASE).await.unwrap();
    instance.tier.acquire(name(99), second, LEASE).await.unwrap();
    instance.tier.release(name(99), first, Landed::Kept).await.unwrap();
    let heard = instance.news.recv().await.unwrap();
    assert_eq!(heard, News::Landed(name(99), Landed::Kept), "the first that is heard");
    // A message of somebody else's on our channel.
    server.ask(&["PUBLISH", "larder:news", "hello"]).await;
    instance.tier.acquire(name(98), first, LEASE).await.unwrap();
    instance.tier.acquire(name(98), second, LEASE).await.unwrap();
    instance.tier.release(name(98), first, Landed::Kept).await.unwrap();
    assert_eq!(instance.news.recv().await.unwrap(), News::Landed(name(98), Landed::Kept));
}

#[tokio::test]
async fn who_waits_hears_of_it_though_the_lease_was_wiped_away() {
    let server = Server::start(&[]).await;
    let (holder, mut waiting) = (Instance::of(&server.url()).await, Instance::of(&server.url()).await);
    let mine = token();
    assert_eq!(holder.tier.acquire(name(1), mine, LEASE).await.unwrap(), Acquired::Ours);
    assert!(matches!(waiting.tier.acquire(name(1), token(), LEASE).await.unwrap(), Acquired::Theirs(_)));
    server.ask(&["FLUSHALL"]).await;
    holder.tier.release(name(1), mine, Landed::Kept).await.unwrap();
    waiting.is_heard(News::Landed(name(1), Landed::Kept)).await;
}

#[tokio::test]
async fn who_is_silent_loses_the_lease_and_who_renews_it_keeps_it() {
    let server = Server::start(&[]).await;
    let instance = Instance::of(&server.url()).await;
    let (tier, short) = (&instance.tier, Duration::from_millis(150));
    let (silent, diligent, waiting) = (token(), token(), token());
    tier.acquire(name(1), silent, short).await.unwrap();
    tier.acquire(name(2), diligent, short).await.unwrap();
    let mut got = false;
    until("the lease of the silent one is over", Duration::from_secs(2), async || {
        assert!(tier.renew(name(2), diligent, short).await.unwrap());
        assert!(matches!(tier.acquire(name(2), waiting, short).await.unwrap(), Acquired::Theirs(_)));
        got |= tier.acquire(name(1), waiting, LEASE).await.unwrap() == Acquired::Ours;
        got
    })
    .await;
    assert!(!tier.renew(name(1), silent, short).await.unwrap(), "it is another's now");
    tier.release(name(1), silent, Landed::Kept).await.unwrap();
    assert!(tier.renew(name(1), waiting, LEASE).await.unwrap(), "who lost it can't give it back");
}

#[tokio::test]
async fn a_server_that_hangs_or_dies_is_known_to_be_deaf_at_once_while_somebody_waits() {
    let mut server = Server::start(&[]).await;
    let mut instance = Instance::of(&server.url()).await;
    instance.tier.acquire(name(1), token(), LEASE).await.unwrap();
    let theirs = instance.tier.acquire(name(1), token(), LEASE).await.unwrap();
    assert!(matches!(theirs, Acquired::Theirs(_)));
    let began = Instant::now();
    server.hang();
    instance.is_heard(News::Deaf).await;
    let hung = began.elapsed();
    server.go_on();
    instance.is_heard(News::Hearing).await;
    let began = Instant::now();
    server.kill();
    instance.is_heard(News::Deaf).await;
    let killed = began.elapsed();
    println!("deaf after {hung:?} (hung), {killed:?} (killed)");
    assert!(hung < Duration::from_millis(250), "{hung:?}");
    assert!(killed < Duration::from_millis(100), "{killed:?}");
    server.start_again().await;
    instance.is_heard(News::Hearing).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_while_nobody_waits_too() {
    let server = Server::start(&[]).await;
    let mut instance = Instance::of(&server.url()).await;
    let began = Instant::now();
    server.hang();
    instance.is_heard(News::Deaf).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
