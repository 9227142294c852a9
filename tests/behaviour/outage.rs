//! The upstream breaks, is slow, or has too much to do; clients learn it, and nothing half is ever kept.

use tokio::io::AsyncWriteExt;

use crate::client::{ask, get};
use crate::origin::{Connecting, Gate, fresh, reply, unstorable};
use crate::world::{World, heard, pass_seconds, settle};

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_breaks_off_for_all_its_readers_and_is_not_kept() {
    let lengths: [&[(&str, &str)]; 2] = [&[], &[("content-length", "100")]];
    for fields in lengths {
        let world = World::new("");
        let script = fields.iter().fold(fresh(""), |reply, (name, value)| reply.header(name, value));
        let (tap, reply) = script.flowing();
        world.origin.on("/a", reply);
        let first = world.begin(get("/a")).await;
        tap.push("half").await;
        let second = world.begin(get("/a")).await;
        tap.die().await;
        assert!(first.ended().await.is_err(), "half must not look whole");
        assert!(second.ended().await.is_err(), "half must not look whole");
        world.origin.on("/a", fresh("whole"));
        let answer = world.get("/a").await;
        assert_eq!(answer.text(), "whole");
        assert_eq!(answer.cache_status(), "larder; fwd=uri-miss; fwd-status=200; stored");
    }
}

#[tokio::test(start_paused = true)]
async fn a_passed_body_that_breaks_off_breaks_off_for_its_reader() {
    let world = World::new("");
    let (tap, reply) = unstorable("").flowing();
    world.origin.on("/a", reply);
    let waiting = world.begin(get("/a")).await;
    tap.push("half").await;
    tap.die().await;
    assert!(waiting.ended().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_only_the_end_of_the_connection_ends_is_passed_but_not_kept() {
    let world = World::new("");
    for _ in 0..2 {
        world.origin.next_connection(Connecting::Raw);
        let waiting = world.begin(get("/a")).await;
        let mut origin = world.origin.raw_connection().await;
        heard(&mut origin).await;
        let answer = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n\r\nall, or half?";
        origin.write_all(answer.as_bytes()).await.unwrap();
        drop(origin);
        let answer = waiting.answer().await;
        assert_eq!(answer.text(), "all, or half?");
        let detail =
            "larder; fwd=uri-miss; fwd-status=200; detail=\"only the end of the connection ends the body\"";
        assert_eq!(answer.cache_status(), detail);
    }
}

#[tokio::test(start_paused = true)]
async fn a_chunk_with_a_bad_size_breaks_the_answer_off() {
    let world = World::new("");
    world.origin.next_connection(Connecting::Raw);
    let waiting = world.begin(get("/a")).await;
    let mut origin = world.origin.raw_connection().await;
    heard(&mut origin).await;
    let head = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n";
    origin.write_all(format!("{head}3\r\none\r\nzz\r\n").as_bytes()).await.unwrap();
    settle().await;
    assert!(waiting.ended().await.is_err());
    world.origin.on("/a", fresh("whole"));
    assert_eq!(world.get("/a").await.text(), "whole");
}

#[tokio::test(start_paused = true)]
async fn nobody_listens_there() {
    let world = World::new("");
    world.origin.next_connection(Connecting::Refused);
    world.origin.next_connection(Connecting::Refused);
    let answer = world.get("/a").await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.header("proxy-status"), "larder; error=connection_refused");
    assert_eq!(world.origin.connects(), 2, "one retry");
    world.origin.next_connection(Connecting::Refused);
    world.origin.on("/a", fresh("one"));
    assert_eq!(world.get("/a").await.text(), "one", "the retry may do");
}

#[tokio::test(start_paused = true)]
async fn a_connection_does_not_come_about_in_time() {
    let world = World::new("[upstream]\nconnect_timeout = \"3s\"");
    world.origin.next_connection(Connecting::Never);
    let waiting = world.begin(get("/a")).await;
    pass_seconds(2).await;
    assert!(!waiting.is_over());
    pass_seconds(1).await;
    assert!(waiting.is_over());
    let answer = waiting.answer().await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.header("proxy-status"), "larder; error=connection_timeout");
    assert_eq!(world.origin.connects(), 1, "a slow upstream is not asked twice");
}

#[tokio::test(start_paused = true)]
async fn a_head_does_not_come_in_time() {
    let world = World::new("[upstream]\nresponse_timeout = \"7s\"");
    let gate = Gate::new();
    world.origin.on("/a", fresh("one").held(&gate));
    let waiting = world.begin(get("/a")).await;
    pass_seconds(6).await;
    assert!(!waiting.is_over());
    pass_seconds(1).await;
    assert!(waiting.is_over());
    let answer = waiting.answer().await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.header("proxy-status"), "larder; error=http_response_timeout");
    assert_eq!(gate.waiting(), 0, "the request must have been given up");
}

#[tokio::test(start_paused = true)]
async fn a_long_upload_is_not_a_slow_upstream() {
    let world = World::new("[upstream]\nresponse_timeout = \"7s\"");
    world.origin.on("/a", reply(201));
    let (tap, upload) = ask("POST", "/a").flowing();
    let waiting = world.begin(upload).await;
    for _ in 0..10 {
        pass_seconds(5).await;
        tap.push("some more").await;
    }
    drop(tap);
    assert_eq!(waiting.answer().await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn silence_inside_a_body_ends_it() {
    for script in [fresh(""), unstorable("")] {
        let world = World::new("[upstream]\nbody_timeout = \"4s\"");
        let (tap, reply) = script.flowing();
        world.origin.on("/a", reply);
        let waiting = world.begin(get("/a")).await;
        for _ in 0..3 {
            tap.push("a little").await;
            pass_seconds(3).await;
        }
        assert!(!waiting.is_over());
        pass_seconds(2).await;
        assert!(waiting.is_over() && waiting.ended().await.is_err());
        assert!(tap.is_dropped().await);
    }
}

/// A world whose origin answers one request on a connection, and closes it when it gets the next one on it.
pub(crate) async fn about_to_close(
    world: &World,
    method: &str,
    body: &'static str,
) -> crate::client::Waiting {
    world.origin.next_connection(Connecting::Raw);
    let first = world.begin(get("/first")).await;
    let mut origin = world.origin.raw_connection().await;
    heard(&mut origin).await;
    origin.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert_eq!(first.answer().await.status, 200);
    let second = world.begin(ask(method, "/second").body(body)).await;
    assert!(heard(&mut origin).await.starts_with(method), "the connection must be used again");
    drop(origin);
    settle().await;
    second
}

#[tokio::test(start_paused = true)]
async fn a_get_on_a_connection_that_dies_is_tried_once_more() {
    let world = World::new("");
    world.origin.on("/second", fresh("second"));
    let answer = about_to_close(&world, "GET", "").await.answer().await;
    assert_eq!(answer.text(), "second");
    assert_eq!((world.origin.connects(), world.telemetry.upstream.retries.get()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_post_on_a_connection_that_dies_is_not_tried_again() {
    for body in ["", "order"] {
        let world = World::new("");
        let answer = about_to_close(&world, "POST", body).await.answer().await;
        assert_eq!(answer.status, 502);
        assert_eq!(answer.header("proxy-status"), "larder; error=connection_terminated");
        assert_eq!(world.origin.connects(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn without_retries_nothing_is_tried_again() {
    let world = World::new("[upstream]\nretries = 0");
    assert_eq!(about_to_close(&world, "GET", "").await.answer().await.status, 502);
    assert_eq!(world.origin.connects(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_http_is_a_bad_gateway() {
    let world = World::new("[upstream]\nretries = 0");
    world.origin.next_connection(Connecting::Raw);
    let waiting = world.begin(get("/a")).await;
    let mut origin = world.origin.raw_connection().await;
    heard(&mut origin).await;
    origin.write_all(b"220 mail.example ESMTP\r\n\r\n").await.unwrap();
    let answer = waiting.answer().await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.header("proxy-status"), "larder; error=http_protocol_error");
}

#[tokio::test(start_paused = true)]
async fn when_the_queue_is_full_clients_are_told_to_come_again() {
    let world = World::new("[upstream]\nmax_in_flight = 2\nqueue = 1");
    let gate = Gate::new();
    let mut all = Vec::new();
    for path in ["/a", "/b", "/c"] {
        world.origin.on(path, unstorable("one").held(&gate));
        all.push(world.begin(get(path)).await);
    }
    let answer = world.get("/d").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    assert_eq!(answer.header("proxy-status"), "larder; error=connection_limit_reached");
    assert_eq!(gate.waiting(), 2, "the third is in the queue");
    gate.open();
    for waiting in all {
        assert_eq!(waiting.answer().await.text(), "one");
    }
    assert_eq!(world.telemetry.upstream.in_flight.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_the_queue_for_too_long_is_told_to_come_again() {
    let world = World::new("[upstream]\nmax_in_flight = 1\nqueue_timeout = \"2s\"");
    let gate = Gate::new();
    world.origin.on("/a", unstorable("one").held(&gate));
    let first = world.begin(get("/a")).await;
    let second = world.begin(get("/b")).await;
    pass_seconds(2).await;
    assert!(second.is_over());
    let answer = second.answer().await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    gate.open();
    assert_eq!(first.answer().await.text(), "one");
    assert_eq!(world.telemetry.upstream.queued.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_queue_leaves_room_in_it() {
    let world = World::new("[upstream]\nmax_in_flight = 1\nqueue = 1");
    let gate = Gate::new();
    world.origin.on("/a", unstorable("one").held(&gate));
    world.origin.on("/c", unstorable("three"));
    let first = world.begin(get("/a")).await;
    world.begin(ask("DELETE", "/b")).await.leave();
    settle().await;
    let third = world.begin(get("/c")).await;
    gate.open();
    assert_eq!(first.answer().await.text(), "one");
    assert_eq!(third.answer().await.text(), "three");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_falls_silent_in_its_request_is_told_so() {
    let world = World::new("[server]\nbody_timeout = \"6s\"");
    let (tap, upload) = ask("POST", "/a").flowing();
    world.origin.on("/a", reply(201));
    let waiting = world.begin(upload).await;
    tap.push("some").await;
    pass_seconds(5).await;
    assert!(!waiting.is_over());
    pass_seconds(2).await;
    let answer = waiting.answer().await;
    assert_eq!(answer.status, 408);
    assert_eq!(answer.header("proxy-status"), "larder; error=http_request_error");
    assert!(!answer.text().is_empty());
}

#[tokio::test(start_paused = true)]
async fn kept_alive_connections_that_the_upstream_closed_meanwhile_harm_nobody() {
    let world = World::new("");
    world.origin.on("/a", unstorable("one"));
    world.origin.on("/a", unstorable("two"));
    world.get("/a").await;
    world.origin.drop_connections();
    settle().await;
    assert_eq!(world.get("/a").await.text(), "two");
    assert_eq!(world.origin.connects(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_kept_alive_connection_is_used_again_until_its_time_is_over() {
    let world = World::new("[upstream]\nidle_timeout = \"30s\"");
    for _ in 0..4 {
        world.origin.on("/a", unstorable("one"));
    }
    world.get("/a").await;
    pass_seconds(29).await;
    world.get("/a").await;
    assert_eq!(world.origin.connects(), 1);
    pass_seconds(31).await;
    world.get("/a").await;
    assert_eq!(world.origin.connects(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_another_transfer_coding_than_chunks_is_a_bad_gateway_and_not_kept() {
    let framings = [
        "transfer-encoding: gzip\r\n\r\nhalf of i",
        "transfer-encoding: identity\r\n\r\nhalf of i",
        "transfer-encoding: gzip, chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
        "transfer-encoding: chunked, chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
    ];
    for (method, framing) in framings.iter().flat_map(|framing| [("GET", framing), ("POST", framing)]) {
        let world = World::new("");
        world.origin.next_connection(Connecting::Raw);
        let waiting = world.begin(ask(method, "/a")).await;
        let mut origin = world.origin.raw_connection().await;
        heard(&mut origin).await;
        let answer = format!("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n{framing}");
        origin.write_all(answer.as_bytes()).await.unwrap();
        drop(origin);
        let answer = waiting.answer().await;
        assert_eq!(answer.status, 502, "{method} {framing:?}");
        assert_eq!(answer.header("proxy-status"), "larder; error=http_protocol_error");
        assert_eq!((world.origin.connects(), world.telemetry.upstream.in_flight.get()), (1, 0));
        world.origin.on("/a", fresh("whole"));
        let answer = world.get("/a").await;
        let stored = "larder; fwd=uri-miss; fwd-status=200; stored";
        assert_eq!((answer.text(), answer.cache_status()), ("whole", stored), "{method} {framing:?}");
    }
}
