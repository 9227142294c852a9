//! Larder's own errors say so in one form; requests that can be read in two ways are refused, and harm nobody else's.

use serde_json::Value;

use crate::client::{Answer, Transport, ask, get};
use crate::origin::{Connecting, Gate, fresh, unstorable};
use crate::world::{World, is_closed, pass_seconds, say};

/// Whether it is an error of ours, told in every way it should be.
fn is_problem(answer: &Answer, status: u16, error: &str) {
    assert_eq!(answer.status, status);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("proxy-status"), format!("larder; error={error}"));
    assert!(answer.cache_status().starts_with("larder"));
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&body["type"], &body["status"]), (&"about:blank".into(), &status.into()));
    for member in ["title", "detail"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    }
    let text = answer.text();
    assert!(!text.contains("origin.test") && !text.contains("/secret") && !text.contains("s3cr3t"), "{text}");
    assert_eq!(answer.headers.contains_key("retry-after"), status == 503);
}

fn secret() -> crate::client::Ask {
    get("/secret?token=s3cr3t").header("authorization", "Bearer s3cr3t")
}

#[tokio::test(start_paused = true)]
async fn each_error_of_our_own_is_told_in_the_same_form_and_tells_no_secret() {
    let config = "[upstream]\nretries = 0\nmax_in_flight = 1\nqueue = 1\nresponse_timeout = \"9s\"\nqueue_timeout = \"2s\"";
    let world = World::new(config);
    world.origin.next_connection(Connecting::Refused);
    is_problem(&world.ask(secret()).await, 502, "connection_refused");
    world.origin.next_connection(Connecting::Never);
    is_problem(&world.ask(secret()).await, 504, "connection_timeout");
    let cached = secret().header("cache-control", "only-if-cached");
    is_problem(&world.ask(cached).await, 504, "http_request_denied");

    let gate = Gate::new();
    world.origin.on("/slow", unstorable("late").held(&gate));
    let slow = world.begin(get("/slow")).await;
    let queued = world.begin(secret()).await;
    is_problem(&world.get("/full").await, 503, "connection_limit_reached");
    pass_seconds(2).await;
    is_problem(&queued.answer().await, 503, "connection_limit_reached");
    pass_seconds(7).await;
    is_problem(&slow.answer().await, 504, "http_response_timeout");
    let other_host = get("/a").header("host", "two words");
    is_problem(&world.ask(other_host).await, 400, "http_request_error");
}

#[tokio::test(start_paused = true)]
async fn an_error_says_why_the_upstream_was_asked() {
    let world = World::new("[upstream]\nretries = 0");
    for (method, status) in [("GET", "larder; fwd=uri-miss"), ("POST", "larder; fwd=method; detail=")] {
        world.origin.next_connection(Connecting::Refused);
        let answer = world.ask(ask(method, "/a")).await;
        assert!(answer.cache_status().starts_with(status), "{}", answer.cache_status());
    }
}

#[tokio::test(start_paused = true)]
async fn with_debug_every_answer_names_its_key_and_its_time_and_without_it_none_does() {
    let world = World::new("server.debug = true");
    world.origin.on("/a", fresh("one"));
    let (miss, hit) = (world.get("/a").await, world.get("/a").await);
    let key = |answer: &Answer| {
        let key = answer.cache_status().split("key=\"").nth(1).expect("no key");
        key.split('"').next().unwrap_or_default().to_owned()
    };
    assert_eq!(key(&miss).len(), 64);
    assert_eq!(key(&miss), key(&hit));
    assert!(hit.header("server-timing").starts_with("larder;dur="));
    let world = World::new("");
    world.origin.on("/a", fresh("one"));
    let quiet = world.get("/a").await;
    assert!(!quiet.headers.contains_key("server-timing") && !quiet.cache_status().contains("key="));
}

/// Requests that two readers may read in two ways, or that are none.
const HOSTILE: [(&str, &str); 20] = [
    ("two lengths", "POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxy"),
    ("a length that is a list", "POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 1, 2\r\n\r\nxy"),
    ("a length with a sign", "POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: +1\r\n\r\nx"),
    ("an unknown coding", "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    (
        "chunked twice",
        "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("chunked not last", "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked, x\r\n\r\n0\r\n\r\n"),
    ("a folded line", "GET /a HTTP/1.1\r\nhost: h\r\nx: one\r\n two\r\n\r\n"),
    ("a blank before the colon", "GET /a HTTP/1.1\r\nhost : h\r\n\r\n"),
    ("no host", "GET /a HTTP/1.1\r\n\r\n"),
    ("two hosts", "GET /a HTTP/1.1\r\nhost: h\r\nhost: h\r\n\r\n"),
    ("an empty host", "GET /a HTTP/1.1\r\nhost:\r\n\r\n"),
    ("a host with a path", "GET /a HTTP/1.1\r\nhost: h/b\r\n\r\n"),
    ("a host with a user", "GET /a HTTP/1.1\r\nhost: u@h\r\n\r\n"),
    ("target and host that differ", "GET http://one/a HTTP/1.1\r\nhost: two\r\n\r\n"),
    ("a tunnel", "CONNECT h:80 HTTP/1.1\r\nhost: h:80\r\n\r\n"),
    ("no target", "OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n"),
    ("a blank in the target", "GET /a b HTTP/1.1\r\nhost: h\r\n\r\n"),
    ("a zero byte in a field", "GET /a HTTP/1.1\r\nhost: h\r\nx: \0\r\n\r\n"),
    ("a zero byte in the target", "GET /\0 HTTP/1.1\r\nhost: h\r\n\r\n"),
    ("another version", "GET /a HTTP/3.0\r\nhost: h\r\n\r\n"),
];

#[tokio::test(start_paused = true)]
async fn what_can_be_read_in_two_ways_is_refused_before_anybody_is_asked() {
    let world = World::new("[defaults]\nttl = \"60s\"");
    for (what, request) in HOSTILE {
        let (mut client, _) = world.raw();
        let answer = say(&mut client, request.as_bytes()).await;
        let refused = answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5");
        assert!(refused || (answer.is_empty() && is_closed(&mut client).await), "{what}: {answer:?}");
        let answers = answer.matches("HTTP/1.1 ").count();
        assert!(answers <= 1, "{what}: the rest was taken for another request: {answer:?}");
        assert_eq!(world.origin.count(), 0, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_length_beside_chunks_does_not_hide_a_second_request() {
    let world = World::new("");
    world.origin.on("/a", unstorable("one"));
    let (mut client, _) = world.raw();
    let request = "POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n\
        0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
    let answer = say(&mut client, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 4") || is_closed(&mut client).await, "{answer}");
    let asked = world.origin.asked();
    assert!(asked.iter().all(|asked| asked.target == "/a"), "{asked:?}");
    assert!(asked.iter().all(|asked| !asked.headers.contains_key("content-length")), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_bad_chunk_ends_the_connection_and_the_request_at_the_upstream() {
    let world = World::new("");
    world.origin.on("/a", unstorable("one"));
    for chunk in ["zz\r\n", "-1\r\n", "ffffffffffffffffff\r\n", "1\nx"] {
        let (mut client, _) = world.raw();
        let head = "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = say(&mut client, format!("{head}{chunk}").as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{chunk:?}: {answer}");
        assert!(is_closed(&mut client).await, "{chunk:?}: {answer}");
        assert!(!answer.ends_with("one"), "{chunk:?}: {answer}");
        world.origin.on("/a", unstorable("one"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_its_sending_side_leaves_nothing_behind() {
    let world = World::new("");
    let gate = Gate::new();
    world.origin.on("/a", unstorable("one").held(&gate));
    let (mut client, mut ending) = world.raw();
    say(&mut client, b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
    tokio::io::AsyncWriteExt::shutdown(&mut client).await.unwrap();
    gate.open();
    ending.recv().await.expect("the connection must end");
    pass_seconds(1).await;
    assert_eq!(world.telemetry.upstream.in_flight.get(), 0);
    assert_eq!(world.telemetry.coalescing.flights.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_error_in_answer_to_head_has_the_length_of_its_text_but_not_the_text() {
    for transport in [Transport::Http1, Transport::Http2] {
        let world = World::over(transport, "[upstream]\nretries = 0");
        let mut lengths = Vec::new();
        for method in ["GET", "HEAD"] {
            world.origin.next_connection(Connecting::Refused);
            let answer = world.ask(ask(method, "/a")).await;
            assert_eq!(answer.status, 502);
            assert_eq!(answer.body.is_empty(), method == "HEAD", "{transport:?}");
            lengths.push(answer.header("content-length").to_owned());
        }
        assert_eq!(lengths[0], lengths[1], "{transport:?}");
        assert_ne!(lengths[0], "0");
    }
}

#[tokio::test(start_paused = true)]
async fn an_absolute_target_does_not_stand_for_a_host_field() {
    let world = World::new("");
    let (mut client, _) = world.raw();
    let answer = say(&mut client, b"GET http://larder.test/a HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(world.origin.count(), 0);
}
