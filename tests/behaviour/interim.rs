//! Interim answers of the upstream: they end here, whatever kind of request they come for, and nothing of them is in the final one.

use tokio::io::AsyncWriteExt;

use crate::client::{Ask, Transport, ask, get};
use crate::origin::{Connecting, fresh};
use crate::world::{World, heard, say, settle};

const INTERIM: &str = "HTTP/1.1 100 Continue\r\n\r\n\
    HTTP/1.1 102 Processing\r\nx-interim: 1\r\n\r\n\
    HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\ncache-control: no-store\r\n\r\n\
    HTTP/1.1 103 Early Hints\r\nset-cookie: id=1\r\n\r\n\
    HTTP/1.1 199 Whatever\r\ncontent-length: 7\r\n\r\n";

/// What comes of this request when the upstream says so first, and then this.
async fn answered(world: &World, ask: Ask, last: &str) -> crate::client::Answer {
    world.origin.next_connection(Connecting::Raw);
    let waiting = world.begin(ask).await;
    let mut origin = world.origin.raw_connection().await;
    heard(&mut origin).await;
    for piece in INTERIM.split_inclusive("\r\n\r\n") {
        origin.write_all(piece.as_bytes()).await.unwrap();
        settle().await;
        assert!(!waiting.is_over(), "{piece:?} is not the last word");
    }
    origin.write_all(last.as_bytes()).await.unwrap();
    let answer = waiting.answer().await;
    for name in ["x-interim", "link", "set-cookie"] {
        assert!(!answer.headers.contains_key(name), "{name}");
    }
    answer
}

#[tokio::test(start_paused = true)]
async fn interim_answers_are_no_part_of_what_is_kept() {
    let last =
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\netag: \"one\"\r\ncontent-length: 3\r\n\r\none";
    for transport in [Transport::Http1, Transport::Http2] {
        let world = World::over(transport, "");
        let answer = answered(&world, get("/a"), last).await;
        assert_eq!((answer.status, answer.text()), (200, "one"));
        assert_eq!(answer.cache_status(), "larder; fwd=uri-miss; fwd-status=200; stored");
        let hit = world.get("/a").await;
        assert_eq!(hit.cache_status(), "larder; hit; ttl=59; detail=memory");
        assert_eq!((hit.header("cache-control"), hit.text()), ("max-age=60", "one"));
        for name in ["x-interim", "link", "set-cookie"] {
            assert!(!hit.headers.contains_key(name), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn interim_answers_are_no_part_of_what_is_passed_or_confirmed() {
    let world = World::new("");
    let last = "HTTP/1.1 201 Created\r\ncontent-length: 4\r\nconnection: close\r\n\r\nmade";
    let answer = answered(&world, ask("POST", "/a").body("hello"), last).await;
    assert_eq!((answer.status, answer.text()), (201, "made"));

    let last = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n";
    let answer = answered(&world, ask("HEAD", "/a"), last).await;
    assert_eq!((answer.status, answer.header("content-length")), (200, "9"));

    let kept = "HTTP/1.1 200 OK\r\ncache-control: no-cache\r\netag: \"one\"\r\ncontent-length: 3\r\nconnection: close\r\n\r\none";
    assert_eq!(answered(&world, get("/a"), kept).await.text(), "one");
    let confirms = "HTTP/1.1 304 Not Modified\r\nx-new: 1\r\nconnection: close\r\n\r\n";
    let answer = answered(&world, get("/a"), confirms).await;
    assert_eq!((answer.status, answer.text(), answer.header("x-new")), (200, "one", "1"));
    assert_eq!(answer.cache_status(), "larder; fwd=stale; fwd-status=304; stored");
}

#[tokio::test(start_paused = true)]
async fn the_first_bytes_a_client_reads_are_of_the_final_answer() {
    let world = World::new("");
    world.origin.next_connection(Connecting::Raw);
    let (mut client, _ending) = world.raw();
    assert_eq!(say(&mut client, b"GET /a HTTP/1.1\r\nhost: larder.test\r\n\r\n").await, "");
    let mut origin = world.origin.raw_connection().await;
    heard(&mut origin).await;
    origin.write_all(INTERIM.as_bytes()).await.unwrap();
    assert_eq!(heard(&mut client).await, "");
    origin.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none").await.unwrap();
    let heard = heard(&mut client).await;
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n") && heard.ends_with("\r\n\r\none"), "{heard}");
    assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "{heard}");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_says_nothing_after_an_interim_answer_is_a_bad_gateway() {
    let world = World::new("upstream.retries = 0");
    world.origin.next_connection(Connecting::Raw);
    let waiting = world.begin(get("/a")).await;
    let mut origin = world.origin.raw_connection().await;
    heard(&mut origin).await;
    origin.write_all(INTERIM.as_bytes()).await.unwrap();
    settle().await;
    drop(origin);
    let answer = waiting.answer().await;
    assert_eq!(answer.status, 502);
    assert_eq!(world.telemetry.upstream.in_flight.get(), 0);
    world.origin.on("/a", fresh("one"));
    assert_eq!(world.get("/a").await.text(), "one");
}
