//! Bodies that are part of the key: read whole before anything is said, in bounded room and time, and never lost.

use http::HeaderMap;

use crate::body::Tap;
use crate::client::{Answer, Ask, ask, get};
use crate::origin::{Gate, fresh, reply, unstorable};
use crate::outage::about_to_close;
use crate::world::{World, is_closed, pass_seconds, say, settle};

/// POST and QUERY of every path, keyed by what JSON means; with these lines before it.
fn json(before: &str) -> World {
    keyed(before, "body = \"json\"")
}

fn keyed(before: &str, key: &str) -> World {
    let methods = "methods = [\"GET\", \"HEAD\", \"POST\", \"QUERY\"]";
    World::new(&format!(
        "{before}\n[[route]]\nname = \"all\"\nmatch = \"/{{*rest}}\"\n{methods}\nkey = {{ {key} }}"
    ))
}

fn post(body: &'static str) -> Ask {
    ask("POST", "/a").body(body)
}

fn detail(answer: &Answer) -> &str {
    answer.cache_status().split_once("detail=\"").map_or("", |(_, detail)| detail.trim_end_matches('"'))
}

/// A request whose body comes as the test writes it, and says so: hyper would send none with a GET else.
fn chunked(method: &str) -> (Tap, Ask) {
    ask(method, "/a").header("transfer-encoding", "chunked").flowing()
}

const STORED: &str = "larder; fwd=uri-miss; fwd-status=200; stored";

#[tokio::test(start_paused = true)]
async fn a_herd_with_one_body_is_answered_by_one_request() {
    let world = json("");
    let gate = Gate::new();
    world.origin.on("/a", fresh("one").held(&gate));
    let mut all = Vec::new();
    for body in ["{\"a\":1, \"b\":2}", "{\"b\":2,\"a\":1}", " {\"\\u0061\":1,\"b\":2} "].repeat(10) {
        all.push(world.begin(post(body)).await);
    }
    assert_eq!(gate.waiting(), 1);
    assert!(world.telemetry.memory.filling_bytes.get() > 0, "what waits takes room");
    gate.open();
    for waiting in all {
        assert_eq!(waiting.answer().await.text(), "one");
    }
    assert_eq!(world.origin.count(), 1);
    assert_eq!(world.origin.last().body(), b"{\"a\":1, \"b\":2}", "as its client wrote it");
    assert!(world.ask(post("{\"b\":2,\"a\":1}")).await.cache_status().starts_with("larder; hit; "));
    settle().await;
    assert_eq!(world.telemetry.memory.filling_bytes.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn two_bodies_and_two_callers_do_not_share_a_fetch() {
    let world = json("");
    let gate = Gate::new();
    for text in ["one", "other body", "other caller"] {
        world.origin.on("/a", fresh(text).held(&gate));
    }
    let one = world.begin(post("1").header("authorization", "Bearer one")).await;
    let other_body = world.begin(post("1.0").header("authorization", "Bearer one")).await;
    let other_caller = world.begin(post("1").header("authorization", "Bearer two")).await;
    assert_eq!(gate.waiting(), 3);
    gate.open();
    assert_eq!(one.answer().await.text(), "one");
    assert_eq!(other_body.answer().await.text(), "other body");
    assert_eq!(other_caller.answer().await.text(), "other caller");
    let bodies: Vec<_> = world
        .origin
        .asked()
        .iter()
        .map(|asked| (asked.body(), asked.header("authorization").to_owned()))
        .collect();
    assert_eq!(bodies[0], (b"1".to_vec(), "Bearer one".to_owned()));
    assert_eq!(bodies[1], (b"1.0".to_vec(), "Bearer one".to_owned()));
    assert_eq!(bodies[2], (b"1".to_vec(), "Bearer two".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn those_who_part_each_send_their_own_body() {
    let world = json("");
    let gate = Gate::new();
    world.origin.on("/a", unstorable("one").held(&gate));
    world.origin.on("/a", unstorable("two").held(&gate));
    let began = world.begin(post("[1]")).await;
    let joined = world.begin(post("[ 1 ]")).await;
    assert_eq!(gate.waiting(), 1);
    gate.open();
    assert_eq!(began.answer().await.text(), "one");
    assert_eq!(joined.answer().await.text(), "two");
    assert_eq!(world.origin.last().body(), b"[ 1 ]");
}

#[tokio::test(start_paused = true)]
async fn the_upstream_is_asked_when_the_body_is_there_and_is_told_how_long_it_is() {
    for method in ["GET", "POST", "QUERY"] {
        let world = json("");
        let (tap, upload) = chunked(method);
        world.origin.on("/a", fresh("one"));
        let waiting = world.begin(upload).await;
        tap.push("{\"a\"").await;
        settle().await;
        assert_eq!((world.origin.connects(), world.origin.count()), (0, 0));
        tap.push(":1}").await;
        drop(tap);
        assert_eq!(waiting.answer().await.cache_status(), STORED);
        let asked = world.origin.last();
        assert_eq!((asked.body(), asked.header("content-length")), (b"{\"a\":1}".to_vec(), "7"), "{method}");
        assert!(!asked.headers.contains_key("transfer-encoding"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_body_in_chunks_is_none() {
    let world = json("");
    for method in ["GET", "POST"] {
        world.origin.on("/a", fresh("one"));
        assert_eq!(world.ask(ask(method, "/a")).await.cache_status(), STORED);
        let (tap, empty) = chunked(method);
        drop(tap);
        assert!(world.ask(empty).await.cache_status().starts_with("larder; hit; "), "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_proves_too_long_goes_through_as_it_comes() {
    let world = keyed("", "body = \"raw\", max_body = \"10B\"");
    let (tap, upload) = ask("POST", "/a").flowing();
    world.origin.on("/a", fresh("one"));
    let waiting = world.begin(upload).await;
    for (chunk, so_far) in
        [("first ", ""), ("and ", ""), ("second ", "first and second "), ("third", "first and second third")]
    {
        tap.push(chunk).await;
        settle().await;
        let seen = if world.origin.count() == 0 { Vec::new() } else { world.origin.last().body() };
        assert_eq!(String::from_utf8(seen).unwrap(), so_far);
    }
    assert_eq!(world.telemetry.memory.filling_bytes.get(), 0, "what has gone on takes no room");
    drop(tap);
    let answer = waiting.answer().await;
    assert_eq!((answer.text(), detail(&answer)), ("one", "the body is longer than key.max_body"));
    assert_eq!(world.origin.last().header("transfer-encoding"), "chunked");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_says_it_is_too_long_is_not_waited_for() {
    let world = keyed("", "body = \"raw\", max_body = \"10B\"");
    world.origin.on("/a", unstorable("one"));
    let (mut client, _) = world.raw();
    let head = b"POST /a HTTP/1.1\r\nhost: larder.test\r\ncontent-length: 11\r\n\r\nhello ";
    assert_eq!(say(&mut client, head).await, "");
    assert_eq!(world.origin.last().body(), b"hello ");
    let answer = say(&mut client, b"world").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("longer than key.max_body"), "{answer}");
    assert_eq!(
        (world.origin.last().body(), world.origin.last().header("content-length")),
        (b"hello world".to_vec(), "11")
    );
    // One byte less is read, and kept.
    world.origin.on("/a", fresh("two"));
    assert_eq!(world.ask(post("hello worl")).await.cache_status(), STORED);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_finds_no_room_goes_through_with_all_its_bytes() {
    let world = keyed("memory.max_filling = \"100B\"", "body = \"raw\"");
    let (first, upload) = ask("POST", "/a").flowing();
    world.origin.on("/a", reply(200).body("two"));
    let waiting = world.begin(upload).await;
    first.push("x".repeat(60)).await;
    settle().await;
    assert_eq!(world.telemetry.memory.filling_bytes.get(), 60);
    let (second, upload) = ask("POST", "/a").flowing();
    let other = world.begin(upload).await;
    second.push("y".repeat(30)).await;
    second.push("z".repeat(30)).await;
    second.push("!").await;
    drop(second);
    let answer = other.answer().await;
    assert_eq!(
        (answer.text(), detail(&answer)),
        ("two", "too much is being filled at once to read the body")
    );
    let all = ["y".repeat(30), "z".repeat(30), "!".to_owned()].concat();
    assert_eq!(String::from_utf8(world.origin.last().body()).unwrap(), all);
    assert_eq!(world.telemetry.memory.filling_bytes.get(), 60);
    world.origin.on("/a", reply(200).body("one"));
    drop(first);
    assert_eq!(waiting.answer().await.text(), "one");
    settle().await;
    assert_eq!(world.telemetry.memory.filling_bytes.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_only_announced_takes_no_room() {
    let world = keyed("", "body = \"raw\", max_body = \"1MB\"");
    let mut clients = Vec::new();
    for _ in 0..20 {
        let (mut client, ending) = world.raw();
        let head = b"POST /a HTTP/1.1\r\nhost: larder.test\r\ncontent-length: 1000000\r\n\r\nx";
        assert_eq!(say(&mut client, head).await, "");
        clients.push((client, ending));
    }
    assert_eq!(world.telemetry.memory.filling_bytes.get(), 20);
}

#[tokio::test(start_paused = true)]
async fn trailers_go_through_with_the_body_before_them() {
    let world = json("");
    let (tap, upload) = ask("POST", "/a").header("trailer", "x-sum").flowing();
    world.origin.on("/a", fresh("one"));
    let waiting = world.begin(upload).await;
    tap.push("{}").await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    tap.trailers(trailers).await;
    let answer = waiting.answer().await;
    assert_eq!((answer.text(), detail(&answer)), ("one", "the body has trailers"));
    let asked = world.origin.last();
    assert_eq!(asked.body(), b"{}");
    let trailers = asked.trailers.lock().unwrap().clone().expect("no trailers came");
    assert_eq!(trailers["x-sum"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_breaks_off_leaves_nothing_behind() {
    let world = json("");
    let (mut client, _) = world.raw();
    let head =
        b"POST /a HTTP/1.1\r\nhost: larder.test\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\nzz\r\n";
    let answer = say(&mut client, head).await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("larder; error=http_request_error"),
        "{answer}"
    );
    assert!(is_closed(&mut client).await);
    // Half of what was announced, and then nobody.
    let (mut client, _) = world.raw();
    let head = b"POST /a HTTP/1.1\r\nhost: larder.test\r\ncontent-length: 4\r\n\r\n{}";
    assert_eq!(say(&mut client, head).await, "");
    assert!(world.telemetry.memory.filling_bytes.get() > 0);
    drop(client);
    settle().await;
    assert_eq!(world.telemetry.memory.filling_bytes.get(), 0);
    assert_eq!(world.origin.count(), 0);
    world.origin.on("/a", fresh("one"));
    assert_eq!(world.ask(post("{}")).await.cache_status(), STORED);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_falls_silent_in_its_body_is_told_so() {
    let world = json("[server]\nbody_timeout = \"6s\"");
    let (tap, upload) = ask("QUERY", "/a").flowing();
    let waiting = world.begin(upload).await;
    for _ in 0..3 {
        tap.push(" ").await;
        pass_seconds(5).await;
        assert!(!waiting.is_over(), "slow is not silent");
    }
    pass_seconds(2).await;
    let answer = waiting.answer().await;
    assert_eq!((answer.status, answer.header("proxy-status")), (408, "larder; error=http_request_error"));
    assert_eq!((world.origin.count(), world.telemetry.memory.filling_bytes.get()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_to_be_told_to_go_on_is_told_before_the_upstream_is_asked() {
    let world = json("");
    world.origin.on("/a", fresh("got it"));
    let (mut client, _) = world.raw();
    let head = "POST /a HTTP/1.1\r\nhost: larder.test\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    assert_eq!(say(&mut client, head.as_bytes()).await, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(world.origin.count(), 0);
    let answer = say(&mut client, b"{}").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("got it"), "{answer}");
    assert!(!is_closed(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn a_query_on_a_connection_that_dies_is_tried_again_with_its_body_and_a_post_is_not() {
    let world = json("");
    world.origin.on("/second", fresh("second"));
    let answer = about_to_close(&world, "QUERY", "{}").await.answer().await;
    assert_eq!((answer.text(), world.origin.last().body()), ("second", b"{}".to_vec()));
    assert_eq!((world.origin.connects(), world.telemetry.upstream.retries.get()), (2, 1));
    let world = json("");
    let answer = about_to_close(&world, "POST", "{}").await.answer().await;
    assert_eq!((answer.status, world.origin.connects()), (502, 1));
}

#[tokio::test(start_paused = true)]
async fn with_no_room_for_its_answer_a_post_is_answered_all_the_same() {
    let world = keyed("memory.max_filling = \"10B\"", "body = \"raw\"");
    world.origin.on("/a", fresh("an answer of some length"));
    let answer = world.ask(post("x")).await;
    assert_eq!(
        (answer.text(), detail(&answer)),
        ("an answer of some length", "too much is being filled at once")
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_body_waits_for_nothing() {
    let world = json("");
    world.origin.on("/a", fresh("one"));
    assert_eq!(world.get("/a").await.cache_status(), STORED);
    assert!(world.get("/a").await.cache_status().starts_with("larder; hit; "));
    assert!(world.ask(ask("HEAD", "/a")).await.cache_status().starts_with("larder; hit; "));
    assert_eq!(world.ask(get("/b").header("cache-control", "only-if-cached")).await.status, 504);
    let wants_kept = post("{}").header("cache-control", "only-if-cached");
    assert_eq!((world.ask(wants_kept).await.status, world.origin.count()), (504, 1));
}
