//! Bodies go through as they come, both ways, and no faster than they are read.

use http::HeaderMap;

use crate::body::Tap;
use crate::client::{Opened, ask, get};
use crate::origin::{Reply, fresh, reply, unstorable};
use crate::world::{World, is_closed, pass_seconds, say, settle};

/// What buffers, pipes and windows hold together; a tenth of what is pushed against them.
const BOUND_BYTES: usize = 1024 * 1024;
const MUCH_BYTES: usize = 10 * BOUND_BYTES;

/// One answer, begun: the end by which the origin writes it, and the one where the client reads it.
async fn begun(world: &World, reply: Reply) -> (Tap, Opened) {
    let (tap, reply) = reply.flowing();
    world.origin.on("/a", reply);
    let opened = world.open(get("/a")).await;
    (tap, opened)
}

#[tokio::test(start_paused = true)]
async fn the_first_byte_arrives_before_the_last_is_written() {
    for reply in [fresh(""), unstorable("")] {
        let world = World::new("");
        let (tap, mut opened) = begun(&world, reply).await;
        for word in ["one ", "two ", "three"] {
            tap.push(word).await;
            assert_eq!(opened.chunk().await, word);
        }
        drop(tap);
        assert_eq!(opened.rest().await.unwrap().text(), "");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_kept_comes_no_faster_than_it_is_read() {
    let world = World::new("");
    let (tap, opened) = begun(&world, unstorable("")).await;
    let taken = tap.push_until_held(MUCH_BYTES).await;
    assert!(taken < BOUND_BYTES, "{taken} bytes were taken from the origin for a client that reads none");
    drop(tap);
    assert_eq!(opened.rest().await.unwrap().body.len(), taken);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_proves_too_large_comes_no_faster_than_it_is_read() {
    let world = World::new("memory.max_object = \"64KB\"");
    let (tap, opened) = begun(&world, fresh("")).await;
    assert_eq!(opened.header("cache-status"), "larder; fwd=uri-miss; fwd-status=200; stored");
    let taken = tap.push_until_held(MUCH_BYTES).await;
    assert!(taken > 64 * 1024, "{taken}");
    assert!(taken < BOUND_BYTES, "{taken} bytes were taken from the origin for a client that reads none");
    drop(tap);
    assert_eq!(opened.rest().await.unwrap().body.len(), taken);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_proves_too_large_is_not_kept_and_who_comes_late_fetches_for_himself() {
    let world = World::new("memory.max_object = \"10KB\"");
    let (tap, mut early) = begun(&world, fresh("")).await;
    tap.push(vec![b'x'; 8 * 1024]).await;
    let first = early.chunk().await.len();
    tap.push(vec![b'y'; 8 * 1024]).await;
    settle().await;
    world.origin.on("/a", fresh("small now"));
    assert_eq!(world.get("/a").await.text(), "small now");
    drop(tap);
    assert_eq!(first + early.rest().await.unwrap().body.len(), 16 * 1024);
    assert_eq!(world.origin.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_body_announced_as_too_large_is_passed() {
    let world = World::new("memory.max_object = \"10KB\"");
    for _ in 0..2 {
        world.origin.on("/a", fresh("").body(vec![b'x'; 10_001]));
        let answer = world.get("/a").await;
        assert_eq!(answer.body.len(), 10_001);
        let detail =
            "larder; fwd=uri-miss; fwd-status=200; detail=\"the body is larger than memory.max_object\"";
        assert_eq!(answer.cache_status(), detail);
    }
    world.origin.on("/b", fresh("").body(vec![b'x'; 10_000]));
    world.get("/b").await;
    assert!(world.get("/b").await.cache_status().starts_with("larder; hit; "), "the bound itself fits");
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_holds_up_the_others_is_cut_off_and_they_get_it_all() {
    let world = World::new("server.body_timeout = \"5s\"\nmemory.max_object = \"64KB\"");
    let (tap, stalled) = begun(&world, fresh("")).await;
    let reading = world.begin(get("/a")).await;
    let mut pushed = 0;
    for _ in 0..100 {
        tap.push(vec![b'x'; 16 * 1024]).await;
        pushed += 16 * 1024;
    }
    drop(tap);
    assert_eq!(reading.answer().await.body.len(), pushed);
    assert!(stalled.rest().await.is_err(), "a part must not look like the whole");
    assert_eq!(world.origin.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn bodies_that_come_in_together_stay_within_max_filling() {
    let world = World::new("memory.max_filling = \"100KB\"");
    let sixty = || fresh("").header("content-length", "61440");
    let (tap, first) = begun(&world, sixty()).await;
    let (other_tap, other) = sixty().flowing();
    world.origin.on("/b", other);
    let second = world.open(get("/b")).await;
    let detail = "larder; fwd=uri-miss; fwd-status=200; detail=\"too much is being filled at once\"";
    assert_eq!(second.header("cache-status"), detail);
    for (tap, opened) in [(tap, first), (other_tap, second)] {
        let reading = tokio::spawn(opened.rest());
        tap.push(vec![b'x'; 60 * 1024]).await;
        drop(tap);
        assert_eq!(reading.await.unwrap().unwrap().body.len(), 60 * 1024);
    }
    assert_eq!(world.telemetry.memory.filling_bytes.get(), 0, "room must be given back");
    assert!(world.get("/a").await.cache_status().starts_with("larder; hit; "));
    world.origin.on("/b", fresh("").body(vec![b'x'; 60 * 1024]));
    let stored = world.get("/b").await;
    assert_eq!(stored.cache_status(), "larder; fwd=uri-miss; fwd-status=200; stored");
}

#[tokio::test(start_paused = true)]
async fn a_passed_answer_whose_client_has_left_is_not_read_on() {
    let world = World::new("");
    let (tap, opened) = begun(&world, unstorable("")).await;
    tap.push("one").await;
    drop(opened);
    assert!(tap.push_until_held(MUCH_BYTES).await < BOUND_BYTES);
    assert!(tap.is_dropped().await);
    assert_eq!(world.telemetry.upstream.in_flight.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn trailers_go_through_and_what_has_them_is_not_kept() {
    let world = World::new("");
    for _ in 0..2 {
        let (tap, reply) = fresh("").header("trailer", "x-sum").flowing();
        world.origin.on("/a", reply);
        let opened = world.open(get("/a").header("te", "trailers").header("connection", "te")).await;
        let reading = tokio::spawn(opened.rest());
        tap.push("one").await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        tap.trailers(trailers).await;
        let answer = reading.await.unwrap().unwrap();
        assert_eq!(answer.text(), "one");
        assert_eq!(answer.trailers.expect("no trailers came")["x-sum"], "1");
        assert_eq!(world.origin.last().header("te"), "trailers");
    }
    assert_eq!(world.origin.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn events_arrive_as_they_are_sent_however_long_the_silence_between_them() {
    let world =
        World::new("upstream.body_timeout = \"5s\"\nupstream.max_in_flight = 1\n[defaults]\nttl = \"60s\"");
    let (tap, mut events) = begun(&world, reply(200).header("content-type", "text/event-stream")).await;
    let endless = "larder; fwd=uri-miss; fwd-status=200; detail=\"the body is a stream without end\"";
    assert_eq!(events.header("cache-status"), endless);
    for _ in 0..3 {
        tap.push("data: now\n\n").await;
        assert_eq!(events.chunk().await, "data: now\n\n");
        pass_seconds(20).await;
    }
    world.origin.on("/b", reply(200).body("one"));
    assert_eq!(world.get("/b").await.text(), "one", "a stream must not hold a place at the upstream");
}

#[tokio::test(start_paused = true)]
async fn a_request_body_goes_through_as_it_comes() {
    let world = World::new("");
    let (tap, upload) = ask("POST", "/a").flowing();
    world.origin.on("/a", reply(201).body("made"));
    let waiting = world.begin(upload).await;
    tap.push("first ").await;
    settle().await;
    assert_eq!(world.origin.last().body(), b"first ");
    tap.push("second").await;
    drop(tap);
    assert_eq!(waiting.answer().await.status, 201);
    assert_eq!(world.origin.last().body(), b"first second");
}

#[tokio::test(start_paused = true)]
async fn a_request_body_comes_no_faster_than_the_upstream_reads_it() {
    let world = World::new("");
    world.origin.next_connection(crate::origin::Connecting::Raw);
    let (tap, upload) = ask("POST", "/a").flowing();
    let _waiting = world.begin(upload).await;
    let _unread = world.origin.raw_connection().await;
    let taken = tap.push_until_held(MUCH_BYTES).await;
    assert!(taken < BOUND_BYTES, "{taken} bytes were taken for an upstream that reads none");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_to_be_told_to_go_on_is_told() {
    let world = World::new("");
    world.origin.on("/a", reply(200).body("got it"));
    let (mut client, _) = world.raw();
    let head = "POST /a HTTP/1.1\r\nhost: larder.test\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    assert_eq!(say(&mut client, head.as_bytes()).await, "HTTP/1.1 100 Continue\r\n\r\n");
    let answer = say(&mut client, b"hello").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("got it"), "{answer}");
    assert_eq!(world.origin.last().body(), b"hello");
    assert!(!is_closed(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_before_the_request_is_through_is_told_at_once() {
    let world = World::new("");
    let (_never_ends, upload) = ask("POST", "/a").flowing();
    world.origin.on("/a", reply(413).body("too much").early());
    let answer = world.ask(upload).await;
    assert_eq!((answer.status, answer.text()), (413, "too much"));
}
