//! Who waits for whom at the upstream's gate and at a body, and for how long.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::client::get;
use crate::origin::{Connecting, Gate, fresh, reply, unstorable};
use crate::world::{World, heard, pass, pass_seconds, settle};

const CHUNK_BYTES: usize = 16 * 1024;

#[tokio::test(start_paused = true)]
async fn a_slow_but_steady_reader_of_a_body_that_proved_too_large_gets_it_all() {
    let world = World::new("server.body_timeout = \"5s\"\nmemory.max_object = \"2MB\"");
    let (tap, reply) = fresh("").flowing();
    world.origin.on("/a", reply);
    let stalled = world.open(get("/a")).await;
    let mut steady = world.open(get("/a")).await;
    // All of it is still held when the bound is passed, far more than the window: half a minute's reading, and hyper takes
    // the next of it only when all of its own buffer has gone out.
    let pushed = tap.push_until_held(8 * 1024 * 1024).await;
    assert!(pushed > 2_000_000, "{pushed}");
    assert!(pushed < 8 * 1024 * 1024, "nobody reads, so {pushed} is too much");
    let reading = tokio::spawn(async move {
        let mut read = 0;
        while read < pushed + 3 * CHUNK_BYTES {
            read += steady.chunk().await.len();
            pass(Duration::from_millis(300)).await;
        }
        assert_eq!(steady.rest().await.unwrap().text(), "");
        read
    });
    for _ in 0..3 {
        tap.push(vec![b'y'; CHUNK_BYTES]).await;
    }
    drop(tap);
    assert_eq!(reading.await.unwrap(), pushed + 3 * CHUNK_BYTES);
    assert!(stalled.rest().await.is_err(), "who takes nothing is cut off");
    assert_eq!(world.origin.count(), 1);
    assert_eq!(world.telemetry.upstream.in_flight.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_does_not_hold_the_upstream() {
    let world = World::new("server.body_timeout = \"5s\"\nmemory.max_object = \"64KB\"");
    let (tap, reply) = fresh("").flowing();
    world.origin.on("/a", reply);
    let stalled = world.open(get("/a")).await;
    tap.push_until_held(8 * 1024 * 1024).await;
    pass_seconds(6).await;
    assert!(tap.is_dropped().await);
    assert_eq!(world.telemetry.upstream.in_flight.get(), 0);
    assert_eq!(world.telemetry.memory.filling_bytes.get(), 0);
    assert!(stalled.rest().await.is_err(), "a part must not look like the whole");
}

/// One miss whose first chunk comes in the same read as the head, and can't be kept.
async fn is_one_request(world: &World, target: &str, first: &'static [u8], rest: &'static str) {
    world.origin.next_connection(Connecting::Raw);
    let before = world.telemetry.upstream.requests.get();
    let waiting = world.begin(get(target)).await;
    let mut origin = world.origin.raw_connection().await;
    heard(&mut origin).await;
    let head = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut bytes = format!("{head}{:x}\r\n", first.len()).into_bytes();
    bytes.extend_from_slice(first);
    bytes.extend_from_slice(b"\r\n");
    origin.write_all(&bytes).await.unwrap();
    settle().await;
    let end = format!("{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len());
    origin.write_all(end.as_bytes()).await.unwrap();
    let answer = waiting.answer().await;
    assert_eq!(answer.body, [first, rest.as_bytes()].concat());
    assert_eq!(world.telemetry.upstream.requests.get() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_first_chunk_that_is_too_much_costs_no_second_request() {
    let world = World::new("memory.max_object = \"1KB\"");
    is_one_request(&world, "/a", &[b'x'; 4096], "rest").await;
    assert_eq!((world.origin.count(), world.origin.connects()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_miss_that_finds_no_room_costs_no_second_request() {
    let world = World::new("memory.max_filling = \"100KB\"");
    let (tap, reply) = fresh("").header("content-length", "100000").flowing();
    world.origin.on("/full", reply);
    let full = world.open(get("/full")).await;
    is_one_request(&world, "/a", b"first ", "rest").await;
    assert_eq!(world.origin.count(), 1, "only the one that takes the room");
    drop(full);
    assert!(tap.try_push(vec![b'x'; CHUNK_BYTES]).await, "it is kept, and goes on");
}

#[tokio::test(start_paused = true)]
async fn a_wait_in_the_queue_makes_no_answer_older() {
    let config = "[upstream]\nmax_in_flight = 1\nqueue_timeout = \"60s\"\nresponse_timeout = \"60s\"";
    let world = World::new(config);
    let gate = Gate::new();
    world.origin.on("/a", unstorable("one").held(&gate));
    let brief = reply(200).header("cache-control", "max-age=10").body("two");
    world.origin.on("/b", brief);
    let first = world.begin(get("/a")).await;
    let second = world.begin(get("/b")).await;
    pass_seconds(20).await;
    assert_eq!(world.origin.count(), 1);
    gate.open();
    assert_eq!(first.answer().await.text(), "one");
    let answer = second.answer().await;
    assert_eq!(answer.cache_status(), "larder; fwd=uri-miss; fwd-status=200; stored");
    pass_seconds(9).await;
    let hit = world.get("/b").await;
    assert_eq!((hit.cache_status(), hit.text()), ("larder; hit; ttl=1; detail=memory", "two"));
    assert_eq!(hit.header("age"), "9");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_nobody_reads_is_given_up_when_its_answer_is_over() {
    let world = World::new("upstream.body_timeout = \"60s\"");
    let (tap, reply) = reply(200).header("cache-control", "max-age=10").flowing();
    world.origin.on("/a", reply);
    let mut only = world.open(get("/a")).await;
    tap.push("one").await;
    assert_eq!(only.chunk().await, "one");
    drop(only);
    pass_seconds(8).await;
    tap.push("two").await;
    assert!(!tap.is_dropped().await, "it may still be kept");
    assert_eq!(world.telemetry.upstream.in_flight.get(), 1);
    pass_seconds(3).await;
    tap.push("three").await;
    assert!(tap.is_dropped().await, "the origin must see that nobody wants it");
    assert_eq!(world.telemetry.upstream.in_flight.get(), 0);
    assert_eq!(world.telemetry.coalescing.flights.get(), 0);
    assert_eq!(world.telemetry.memory.filling_bytes.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_without_a_length_that_goes_on_and_on_gives_its_place_back() {
    let config = "[upstream]\nbody_timeout = \"4s\"\nmax_in_flight = 1\nqueue_timeout = \"30s\"";
    for script in [fresh(""), unstorable("")] {
        let world = World::new(config);
        let (tap, reply) = script.flowing();
        world.origin.on("/a", reply);
        world.origin.on("/b", fresh("two"));
        let endless = world.begin(get("/a")).await;
        let other = world.begin(get("/b")).await;
        pass_seconds(3).await;
        tap.push("one ").await;
        settle().await;
        assert!(!other.is_over(), "it has its place until then");
        pass_seconds(2).await;
        tap.push("two").await;
        settle().await;
        assert!(other.is_over());
        assert_eq!(other.answer().await.text(), "two");
        drop(tap);
        assert_eq!(endless.answer().await.text(), "one two");
        assert_eq!(world.telemetry.upstream.in_flight.get(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_with_a_length_keeps_its_place_until_it_is_through() {
    let world = World::new("[upstream]\nbody_timeout = \"4s\"\nmax_in_flight = 1\nqueue_timeout = \"30s\"");
    let (tap, reply) = fresh("").header("content-length", "9").flowing();
    world.origin.on("/a", reply);
    world.origin.on("/b", fresh("two"));
    let long = world.begin(get("/a")).await;
    let other = world.begin(get("/b")).await;
    for _ in 0..2 {
        pass_seconds(3).await;
        tap.push("one").await;
    }
    settle().await;
    assert!(!other.is_over());
    tap.push("one").await;
    drop(tap);
    assert_eq!(long.answer().await.text(), "oneoneone");
    assert_eq!(other.answer().await.text(), "two");
}
