//! Everything that can wait or grow has a bound.

use tokio::io::AsyncWriteExt;

use larder::server::Ended;

use crate::client::{Http2Raw, Transport, get};
use crate::origin::{Gate, fresh, reply, unstorable};
use crate::world::{World, heard, is_closed, pass_seconds, say, settle};

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nhost: larder.test\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_head_that_is_too_long_is_refused() {
    for kilobytes in [70, 80, 300] {
        refuses_a_head_of(kilobytes).await;
    }
}

async fn refuses_a_head_of(kilobytes: usize) {
    let world = World::new("");
    let (mut client, mut ending) = world.raw();
    let (mut reading, mut writing) = tokio::io::split(client);
    let head = format!("GET /a HTTP/1.1\r\nhost: larder.test\r\nx: {}\r\n\r\n", "x".repeat(kilobytes * 1024));
    let sent = tokio::spawn(async move {
        let _ = writing.write_all(head.as_bytes()).await;
        writing
    });
    let mut answer = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut reading, &mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
    client = reading.unsplit(sent.await.unwrap());
    assert!(is_closed(&mut client).await);
    assert_eq!(ending.recv().await, Some(Ended::Broken));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_too_long_over_http2_is_refused_too() {
    for kilobytes in [70, 80, 300] {
        let world = World::over(Transport::Http2, "");
        let long = get("/a").header("x", &"x".repeat(kilobytes * 1024));
        let answer = tokio::time::timeout(std::time::Duration::from_secs(5), world.try_ask(long)).await;
        let refused = answer.expect("an answer, not a silence").map_or(true, |answer| answer.status == 431);
        assert!(refused, "{kilobytes} KiB");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_with_too_many_fields_is_refused() {
    let world = World::new("");
    let (mut client, _) = world.raw();
    let fields: Vec<String> = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    let head = format!("GET /a HTTP/1.1\r\nhost: larder.test\r\n{}\r\n", fields.concat());
    let answer = say(&mut client, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(is_closed(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_in_is_not_waited_for() {
    let world = World::new("[server]\nheader_timeout = \"8s\"");
    let (mut client, _) = world.raw();
    for byte in &REQUEST[..8] {
        client.write_all(&[*byte]).await.unwrap();
        pass_seconds(1).await;
    }
    // Looked at now and then: a quarter of the limit late at most.
    pass_seconds(3).await;
    assert!(is_closed(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn a_second_head_that_does_not_end_is_not_waited_for() {
    let world = World::new("[server]\nheader_timeout = \"8s\"");
    world.origin.on("/a", fresh("one"));
    let (mut client, _) = world.raw();
    assert!(say(&mut client, REQUEST).await.starts_with("HTTP/1.1 200 "));
    client.write_all(&REQUEST[..20]).await.unwrap();
    pass_seconds(7).await;
    assert!(!is_closed(&mut client).await);
    pass_seconds(5).await;
    assert!(is_closed(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn who_connects_and_says_nothing_is_not_waited_for() {
    let world = World::new("[server]\nheader_timeout = \"8s\"");
    let (mut client, _) = world.raw();
    pass_seconds(7).await;
    assert!(!is_closed(&mut client).await);
    pass_seconds(1).await;
    assert!(is_closed(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_request_had_a_body_is_idle_after_it() {
    let world = World::new("[server]\nheader_timeout = \"8s\"\nidle_timeout = \"40s\"");
    world.origin.on("/a", unstorable("one"));
    let (mut client, mut ending) = world.raw();
    let head = b"POST /a HTTP/1.1\r\nhost: larder.test\r\ncontent-length: 5\r\n\r\n";
    assert_eq!(say(&mut client, head).await, "");
    assert!(say(&mut client, b"hello").await.starts_with("HTTP/1.1 200 "));
    pass_seconds(36).await;
    assert!(!is_closed(&mut client).await);
    pass_seconds(15).await;
    assert!(is_closed(&mut client).await);
    assert_eq!(ending.recv().await, Some(Ended::Well));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_when_its_time_is_over_and_not_before() {
    let world = World::new("[server]\nidle_timeout = \"40s\"");
    let lasting = reply(200).header("cache-control", "max-age=1000").body("one");
    world.origin.on("/a", lasting);
    let (mut client, mut ending) = world.raw();
    for _ in 0..3 {
        assert!(say(&mut client, REQUEST).await.starts_with("HTTP/1.1 200 "));
        pass_seconds(36).await;
    }
    assert!(!is_closed(&mut client).await);
    pass_seconds(15).await;
    assert!(is_closed(&mut client).await);
    assert_eq!(ending.recv().await, Some(Ended::Well));
}

#[tokio::test(start_paused = true)]
async fn an_idle_http2_connection_is_closed_too() {
    let world = World::over(Transport::Http2, "[server]\nidle_timeout = \"40s\"");
    world.origin.on("/a", fresh("one"));
    let mut client = world.connect().await;
    assert_eq!(client.ask(get("/a")).await.unwrap().text(), "one");
    pass_seconds(35).await;
    assert!(!client.is_closed());
    pass_seconds(20).await;
    assert!(client.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_waits_for_its_answer_is_not_idle() {
    let world = World::new(
        "[server]\nidle_timeout = \"5s\"\nheader_timeout = \"5s\"\n[upstream]\nresponse_timeout = \"5m\"",
    );
    let gate = Gate::new();
    world.origin.on("/a", fresh("one").held(&gate));
    let waiting = world.begin(get("/a")).await;
    pass_seconds(200).await;
    gate.open();
    assert_eq!(waiting.answer().await.text(), "one");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_its_answer_loses_its_connection() {
    let world = World::new("[server]\nbody_timeout = \"20s\"\n[upstream]\nmax_in_flight = 1");
    let (tap, reply) = unstorable("").flowing();
    world.origin.on("/a", reply);
    let (mut client, mut ending) = world.raw();
    client.write_all(REQUEST).await.unwrap();
    settle().await;
    tap.push_until_held(10_000_000).await;
    pass_seconds(15).await;
    assert!(!tap.is_dropped().await);
    pass_seconds(15).await;
    assert!(tap.is_dropped().await, "the upstream must not be held up any longer");
    assert_eq!(ending.recv().await, Some(Ended::Broken));
    assert_eq!(world.telemetry.upstream.in_flight.get(), 0);
    heard(&mut client).await;
    assert!(is_closed(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_that_gives_its_answer_no_window_loses_its_connection() {
    let world = World::new("[server]\nbody_timeout = \"20s\"\n[upstream]\nmax_in_flight = 1");
    let (tap, reply) = unstorable("").flowing();
    world.origin.on("/a", reply);
    let (client, mut ending) = world.raw();
    let mut client = Http2Raw::open(client, 0).await;
    client.ask("/a").await;
    tap.push_until_held(10_000_000).await;
    client.pass_seconds(15).await;
    assert!(!tap.is_dropped().await);
    client.pass_seconds(15).await;
    assert!(tap.is_dropped().await, "the upstream must not be held up any longer");
    assert_eq!(ending.recv().await, Some(Ended::Broken));
    assert_eq!(world.telemetry.upstream.in_flight.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_that_waits_for_a_slow_answer_keeps_its_connection() {
    let world = World::new("[server]\nbody_timeout = \"20s\"");
    let (tap, reply) = unstorable("").flowing();
    world.origin.on("/a", reply);
    let (client, mut ending) = world.raw();
    let mut client = Http2Raw::open(client, 65_535).await;
    client.ask("/a").await;
    for _ in 0..3 {
        tap.push("one").await;
        assert_eq!(client.pass_seconds(25).await, b"one");
    }
    assert!(!tap.is_dropped().await);
    assert!(ending.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn memory_stays_within_its_bound_whatever_is_stored() {
    let world = World::new("[memory]\nmax_size = \"200KB\"\nmax_object = \"20KB\"");
    for number in 0..300 {
        let path = format!("/{number}");
        world.origin.on(&path, fresh("").body(vec![b'x'; 5_000]));
        assert_eq!(world.get(&path).await.body.len(), 5_000);
        let held = world.telemetry.memory.bytes.get();
        assert!(held <= 200_000, "{held} bytes after {number} entries");
    }
    assert!(world.telemetry.memory.evicted.get() > 200);
    assert!(world.telemetry.memory.entries.get() > 10, "most of the room must be used");
    assert_eq!(world.telemetry.memory.filling_bytes.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_small_entries_is_weighed_with_what_it_costs_beside_its_bodies() {
    let world = World::new("[memory]\nmax_size = \"200KB\"\nmax_object = \"20KB\"");
    for number in 0..400 {
        let path = format!("/{number}");
        world.origin.on(&path, fresh("x"));
        world.get(&path).await;
    }
    assert!(world.telemetry.memory.entries.get() < 250);
}
