//! Another protocol on the same connection, WebSocket above all.

use tokio::io::AsyncWriteExt;

use crate::origin::{Connecting, reply};
use crate::world::{World, heard, is_closed, pass_seconds, say, settle};

const ASKS: &str = "GET /chat HTTP/1.1\r\nhost: larder.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn after_an_upgrade_bytes_go_both_ways_until_one_side_ends() {
    let world = World::new("[[route]]\nname = \"all\"\nmatch = \"/{*rest}\"\nttl = \"60s\"");
    let switching = reply(101).header("connection", "upgrade").header("upgrade", "websocket");
    world
        .origin
        .on("/chat", switching.header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=").echoing());
    let (mut client, _) = world.raw();
    let head = say(&mut client, ASKS.as_bytes()).await.to_lowercase();
    assert!(head.starts_with("http/1.1 101 switching protocols\r\n"), "{head}");
    assert!(head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pp"), "{head}");
    let passed = "cache-status: larder; fwd=bypass; detail=\"the request asks for another protocol\"\r\n";
    assert!(head.contains(passed), "{head}");
    for word in ["one", "two"] {
        assert_eq!(say(&mut client, word.as_bytes()).await, word);
        pass_seconds(300).await;
    }
    let asked = world.origin.last();
    assert_eq!((asked.header("connection"), asked.header("upgrade")), ("upgrade", "websocket"));
    world.origin.drop_connections();
    client.shutdown().await.unwrap();
    assert!(is_closed(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_the_upstream_refuses_is_an_answer_like_others() {
    let world = World::new("");
    world.origin.on("/chat", reply(426).header("upgrade", "websocket").body("not so"));
    let (mut client, _) = world.raw();
    let answer = say(&mut client, ASKS.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 426 ") && answer.ends_with("not so"), "{answer}");
    assert!(!is_closed(&mut client).await, "the connection stays what it was");
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_nobody_asked_for_is_a_bad_gateway() {
    for request in ["GET", "POST"] {
        let world = World::new("[upstream]\nretries = 0");
        world.origin.next_connection(Connecting::Raw);
        let (mut client, _) = world.raw();
        let head = format!("{request} /a HTTP/1.1\r\nhost: larder.test\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        settle().await;
        let mut origin = world.origin.raw_connection().await;
        heard(&mut origin).await;
        let switched =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        origin.write_all(switched.as_bytes()).await.unwrap();
        settle().await;
        let answer = heard(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert!(!is_closed(&mut client).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_for_an_upgrade_without_connection_is_none() {
    let world = World::new("");
    world.origin.on("/a", crate::origin::fresh("one"));
    let asked = crate::client::get("/a").header("upgrade", "websocket");
    let answer = world.ask(asked).await;
    assert_eq!(answer.text(), "one");
    assert!(!world.origin.last().headers.contains_key("upgrade"));
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_of_http2_past_the_cache_is_not_built() {
    let world = World::new("");
    world.origin.on("/a", crate::origin::fresh("one"));
    let (mut client, _) = world.raw();
    let head = "GET /a HTTP/1.1\r\nhost: larder.test\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n\
        http2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n";
    for status in ["fwd=uri-miss; fwd-status=200; stored", "hit; ttl=59; detail=memory"] {
        let answer = say(&mut client, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(status), "{answer}");
    }
    let asked = world.origin.last();
    assert!(!asked.headers.contains_key("upgrade") && !asked.headers.contains_key("http2-settings"));
}
