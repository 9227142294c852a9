//! The end: what was begun is finished, what is idle goes at once, and nothing waits longer than the limit.

use std::time::Duration;

use larder::server::Ended;
use tokio::io::AsyncWriteExt;

use crate::client::{Http2Raw, Transport, get};
use crate::origin::{Gate, fresh};
use crate::world::{World, heard, is_closed, pass_seconds, say, settle};

const LIMIT: Duration = Duration::from_secs(30);
const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nhost: larder.test\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn what_was_begun_is_finished_and_its_connection_closed() {
    for transport in [Transport::Http1, Transport::Http2] {
        let mut world = World::over(transport, "");
        let gate = Gate::new();
        world.origin.on("/a", fresh("one").held(&gate));
        let waiting = world.begin(get("/a")).await;
        let finished = world.finish(LIMIT);
        pass_seconds(10).await;
        assert!(!finished.is_finished(), "{transport:?}: a request is still being answered");
        gate.open();
        assert_eq!(waiting.answer().await.text(), "one", "{transport:?}");
        settle().await;
        assert!(finished.is_finished(), "{transport:?}");
        assert!(finished.await.unwrap(), "{transport:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_under_way_comes_to_its_end() {
    let mut world = World::new("");
    let (tap, reply) = fresh("").flowing();
    world.origin.on("/a", reply);
    let mut opened = world.open(get("/a")).await;
    tap.push("one ").await;
    assert_eq!(opened.chunk().await, "one ");
    let finished = world.finish(LIMIT);
    pass_seconds(5).await;
    tap.push("two").await;
    drop(tap);
    assert_eq!(opened.rest().await.unwrap().text(), "two");
    assert!(finished.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_at_once() {
    let mut world = World::new("");
    world.origin.on("/a", fresh("one"));
    let (mut used, mut used_ending) = world.raw();
    let (mut unused, mut unused_ending) = world.raw();
    say(&mut used, b"GET /a HTTP/1.1\r\nhost: larder.test\r\n\r\n").await;
    let finished = world.finish(LIMIT);
    settle().await;
    assert!(finished.await.unwrap());
    assert!(is_closed(&mut used).await && is_closed(&mut unused).await);
    assert_eq!(used_ending.recv().await, Some(Ended::Well));
    assert_eq!(unused_ending.recv().await, Some(Ended::Well));
}

#[tokio::test(start_paused = true)]
async fn an_answer_told_in_the_end_says_that_the_connection_closes() {
    let mut world = World::new("");
    let gate = Gate::new();
    world.origin.on("/a", fresh("one").held(&gate));
    let (mut client, _) = world.raw();
    say(&mut client, b"GET /a HTTP/1.1\r\nhost: larder.test\r\n\r\n").await;
    let _finished = world.finish(LIMIT);
    settle().await;
    gate.open();
    let answer = say(&mut client, b"").await.to_lowercase();
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("one"), "{answer}");
    assert!(is_closed(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_cut_off_and_said_to_be() {
    let mut world = World::new("");
    let gate = Gate::new();
    world.origin.on("/a", fresh("one").held(&gate));
    let _waiting = world.begin(get("/a")).await;
    let finished = world.finish(Duration::from_secs(3));
    pass_seconds(2).await;
    assert!(!finished.is_finished());
    pass_seconds(1).await;
    assert!(!finished.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_together_with_the_end_is_answered() {
    let mut world = World::new("");
    world.origin.on("/a", fresh("one"));
    let mut clients: Vec<_> = (0..20).map(|_| world.raw()).collect();
    settle().await;
    // The end is told before the bytes are there, and nobody runs in between.
    let finished = world.finish(LIMIT);
    for (client, _) in &mut clients {
        client.write_all(REQUEST).await.unwrap();
    }
    for (mut client, mut ending) in clients {
        let answer = heard(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("one"), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close\r\n"), "{answer}");
        assert!(is_closed(&mut client).await);
        assert_eq!(ending.recv().await, Some(Ended::Well));
    }
    assert!(finished.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_first_request_on_its_way_when_the_end_begins_is_answered() {
    for pieces in [&[REQUEST][..], &[&REQUEST[..20], &REQUEST[20..]]] {
        let mut world = World::new("");
        world.origin.on("/a", fresh("one"));
        let (mut client, _) = world.raw();
        settle().await;
        let finished = world.finish(LIMIT);
        for piece in pieces {
            settle().await;
            client.write_all(piece).await.unwrap();
        }
        let answer = heard(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("one"), "{answer}");
        assert!(finished.await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_request_over_http2_is_answered_too() {
    let mut world = World::over(Transport::Http2, "");
    world.origin.on("/a", fresh("one"));
    let (client, _) = world.raw();
    settle().await;
    let finished = world.finish(LIMIT);
    settle().await;
    let mut client = Http2Raw::open(client, 65_535).await;
    client.ask("/a").await;
    assert_eq!(client.pass_seconds(1).await, b"one");
    assert!(finished.await.unwrap());
}
