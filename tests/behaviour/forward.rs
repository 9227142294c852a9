//! What the upstream sees of a request, and the client of an answer's connection.

use crate::client::{Transport, ask, get};
use crate::origin::{Asked, fresh, reply, unstorable};
use crate::world::{World, say};

/// What the origin is asked, with this configuration, by a client from there that sends these fields.
async fn asked(config: &str, client: &str, fields: &[(&str, &str)]) -> Asked {
    let world = World::new(config).with_clients_at(client);
    world.origin.on("/a?b=1", unstorable("one"));
    let ask = fields.iter().fold(get("/a?b=1"), |ask, (name, value)| ask.header(name, value));
    assert_eq!(world.ask(ask).await.text(), "one");
    world.origin.last()
}

fn names(asked: &Asked) -> Vec<&str> {
    let mut names: Vec<&str> = asked.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

#[tokio::test(start_paused = true)]
async fn a_plain_request_arrives_with_who_asks_and_through_whom_and_nothing_else() {
    let asked = asked("", "192.0.2.7", &[("accept", "text/plain")]).await;
    assert_eq!(asked.target, "/a?b=1");
    let expected = [
        "accept",
        "forwarded",
        "host",
        "surrogate-capability",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    ];
    assert_eq!(names(&asked), expected);
    assert_eq!(asked.header("surrogate-capability"), "larder=\"Surrogate/1.0\"");
    assert_eq!(asked.header("host"), "larder.test");
    assert_eq!(asked.header("via"), "1.1 larder");
    assert_eq!(asked.header("x-forwarded-for"), "192.0.2.7");
    assert_eq!(asked.header("x-forwarded-proto"), "http");
    assert_eq!(asked.header("x-forwarded-host"), "larder.test");
    assert_eq!(asked.header("forwarded"), "for=192.0.2.7;host=\"larder.test\";proto=http");
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_the_clients_connection_stays_there() {
    let fields = [
        ("connection", "keep-alive, x-mine"),
        ("connection", "x-too"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic eDp5"),
        ("te", "gzip"),
        ("x-mine", "1"),
        ("x-too", "1"),
        ("x-theirs", "1"),
    ];
    let asked = asked("", "192.0.2.7", &fields).await;
    for (name, _) in &fields[..8] {
        assert!(!asked.headers.contains_key(*name), "{name} went through");
    }
    assert_eq!(asked.header("x-theirs"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_client_can_not_have_its_credentials_or_its_host_taken_away_by_connection() {
    let world = World::new("");
    for token in ["one", "two"] {
        world.origin.on("/a", fresh(token));
        let ask = get("/a").header("authorization", token).header("connection", "authorization, host");
        assert_eq!(world.ask(ask).await.text(), token);
        let asked = world.origin.last();
        assert_eq!((asked.header("authorization"), asked.header("host")), (token, "larder.test"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_trailers_is_said_to() {
    let asked = asked("", "192.0.2.7", &[("te", "gzip, trailers"), ("connection", "te")]).await;
    assert_eq!((asked.header("te"), asked.header("connection")), ("trailers", "te"));
}

#[tokio::test(start_paused = true)]
async fn what_a_stranger_says_of_its_way_is_not_passed_on() {
    let fields = [
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "bank.test"),
        ("x-forwarded-port", "443"),
        ("x_forwarded_host", "bank.test"),
        ("forwarded", "for=10.0.0.1"),
    ];
    let asked = asked("server.trusted_proxies = [\"10.0.0.0/8\"]", "192.0.2.7", &fields).await;
    assert_eq!(asked.header("x-forwarded-for"), "192.0.2.7");
    assert_eq!(asked.header("x-forwarded-proto"), "http");
    assert_eq!(asked.header("x-forwarded-host"), "larder.test");
    assert_eq!(asked.header("forwarded"), "for=192.0.2.7;host=\"larder.test\";proto=http");
    assert!(
        !asked.headers.contains_key("x-forwarded-port") && !asked.headers.contains_key("x_forwarded_host")
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_trusted_proxy_says_of_the_way_is_passed_on_with_our_part() {
    let fields = [
        ("x-forwarded-for", "198.51.100.9, 10.0.0.3"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.test"),
        ("forwarded", "for=198.51.100.9"),
        ("via", "2 edge"),
    ];
    let asked = asked("server.trusted_proxies = [\"10.0.0.0/8\"]", "10.1.2.3", &fields).await;
    assert_eq!(asked.header("x-forwarded-for"), "198.51.100.9, 10.0.0.3, 10.1.2.3");
    assert_eq!(asked.header("x-forwarded-proto"), "https");
    assert_eq!(asked.header("x-forwarded-host"), "shop.test");
    assert_eq!(asked.header("forwarded"), "for=198.51.100.9, for=10.1.2.3;host=\"shop.test\";proto=https");
    let via: Vec<_> = asked.headers.get_all("via").iter().collect();
    assert_eq!(via, ["2 edge", "1.1 larder"]);
}

#[tokio::test(start_paused = true)]
async fn entries_of_two_forwarded_hosts_or_schemes_are_kept_apart_when_a_trusted_proxy_names_them() {
    let world = World::new("server.trusted_proxies = [\"10.0.0.0/8\"]").with_clients_at("10.0.0.1");
    let ways = [("http", "one.test"), ("https", "one.test"), ("https", "two.test")];
    for (scheme, host) in ways {
        world.origin.on("/a", fresh("x").header("x-for", &format!("{scheme} {host}")));
    }
    for round in ["larder; fwd=uri-miss; fwd-status=200; stored", "larder; hit; ttl=60; detail=memory"] {
        for (scheme, host) in ways {
            let ask = get("/a").header("x-forwarded-proto", scheme).header("x-forwarded-host", host);
            let answer = world.ask(ask).await;
            assert_eq!(answer.header("x-for"), format!("{scheme} {host}"));
            assert_eq!(answer.cache_status(), round);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_client_is_named_as_the_rfc_wants() {
    let asked = asked("", "2001:db8::7", &[]).await;
    assert_eq!(asked.header("x-forwarded-for"), "2001:db8::7");
    assert_eq!(asked.header("forwarded"), "for=\"[2001:db8::7]\";host=\"larder.test\";proto=http");
}

#[tokio::test(start_paused = true)]
async fn the_host_is_the_clients_or_the_upstreams_as_configured() {
    let kept = asked("", "192.0.2.7", &[("host", "Shop.test:8080")]).await;
    assert_eq!((kept.header("host"), kept.header("x-forwarded-host")), ("Shop.test:8080", "Shop.test:8080"));
    let own = asked("upstream.host = \"upstream\"", "192.0.2.7", &[("host", "shop.test")]).await;
    assert_eq!(own.header("host"), "origin.test");
    assert_eq!(own.header("x-forwarded-host"), "shop.test", "the client's must not be lost");
}

#[tokio::test(start_paused = true)]
async fn the_path_of_the_upstreams_url_comes_before_every_path() {
    let world = World::new("upstream.url = \"http://origin.test/base/\"");
    world.origin.on("/base/a?b=%2F", fresh("one"));
    assert_eq!(world.get("/a?b=%2F").await.text(), "one");
    world.origin.on("/base//a/../b", reply(200).body("as sent"));
    assert_eq!(world.get("//a/../b").await.text(), "as sent");
}

#[tokio::test(start_paused = true)]
async fn an_http2_request_arrives_as_one_of_http1() {
    let world = World::over(Transport::Http2, "");
    world.origin.on("/a?b=1", fresh("one"));
    let ask = get("/a?b=1").header("cookie", "a=1").header("cookie", "b=2").header("te", "trailers");
    let answer = world.ask(ask).await;
    assert_eq!((answer.text(), answer.header("via")), ("one", "1.1 larder"));
    let asked = world.origin.last();
    assert_eq!(asked.header("host"), "larder.test");
    assert_eq!(asked.header("via"), "2 larder");
    assert_eq!(asked.header("te"), "trailers");
    // RFC 9113, 8.2.3: the crumbs "MUST be concatenated into a single octet string".
    assert_eq!(asked.header("cookie"), "a=1; b=2");
    assert_eq!(asked.headers.get_all("cookie").iter().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_of_http2_without_a_length_arrives_whole() {
    let world = World::over(Transport::Http2, "");
    world.origin.on("/a", reply(201));
    let (tap, upload) = ask("PUT", "/a").flowing();
    let waiting = world.begin(upload).await;
    tap.push("one ").await;
    tap.push("two").await;
    drop(tap);
    assert_eq!(waiting.answer().await.status, 201);
    assert_eq!(world.origin.last().body(), b"one two");
}

#[tokio::test(start_paused = true)]
async fn an_absolute_target_is_taken_for_its_path_and_host() {
    let world = World::new("");
    world.origin.on("/a", fresh("one"));
    let (mut client, _) = world.raw();
    let request = b"GET http://larder.test/a HTTP/1.1\r\nhost: larder.test\r\n\r\n";
    assert!(say(&mut client, request).await.ends_with("\r\n\r\none"));
    assert_eq!(world.get("/a").await.cache_status(), "larder; hit; ttl=59; detail=memory");
}

#[tokio::test(start_paused = true)]
async fn a_client_of_http_1_0_gets_its_answer_and_the_end_of_the_connection() {
    let world = World::new("");
    let (tap, flowing) = unstorable("").flowing();
    world.origin.on("/a", flowing);
    let (mut client, _) = world.raw();
    say(&mut client, b"GET /a HTTP/1.0\r\n\r\n").await;
    assert_eq!(world.origin.last().header("via"), "1.0 larder");
    tap.push("no chunks").await;
    drop(tap);
    assert!(say(&mut client, b"").await.ends_with("no chunks"));
    assert!(crate::world::is_closed(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_the_upstreams_connection_stays_there() {
    let world = World::new("");
    let script = || {
        let reply = unstorable("one").header("connection", "x-theirs").header("keep-alive", "timeout=9");
        reply.header("x-theirs", "1").header("proxy-authenticate", "Basic").header("x-ours", "1")
    };
    world.origin.on("/a", script());
    let answer = world.get("/a").await;
    for name in ["keep-alive", "x-theirs", "proxy-authenticate", "connection"] {
        assert!(!answer.headers.contains_key(name), "{name} went through");
    }
    assert_eq!((answer.header("x-ours"), answer.header("via")), ("1", "1.1 larder"));
}

#[tokio::test(start_paused = true)]
async fn a_get_with_a_body_of_unknown_length_arrives_with_it() {
    for transport in [Transport::Http1, Transport::Http2] {
        let world = World::over(transport, "");
        world.origin.on("/a", fresh("found"));
        let (tap, query) = get("/a").flowing();
        let query = match transport {
            // Else hyper's client would not send it.
            Transport::Http1 => query.header("transfer-encoding", "chunked"),
            Transport::Http2 => query,
        };
        let waiting = world.begin(query).await;
        tap.push("{\"find\": ").await;
        tap.push("1}").await;
        drop(tap);
        assert_eq!(waiting.answer().await.text(), "found");
        let asked = world.origin.last();
        assert_eq!(asked.body(), b"{\"find\": 1}", "{transport:?}");
        assert_eq!(asked.header("transfer-encoding"), "chunked");
        assert!(!asked.headers.contains_key("content-length"));
        world.origin.on("/a", fresh("without"));
        assert_eq!(world.get("/a").await.text(), "without", "it is not kept");
    }
}

/// What the origin sees, and for which host and scheme, when a trusted proxy says this of the way.
async fn told(fields: &[(&str, &str)], proto: &str, host: &str) -> Asked {
    let asked = asked("server.trusted_proxies = [\"10.0.0.0/8\"]", "10.1.2.3", fields).await;
    let all = |name: &str| -> Vec<String> {
        asked.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(all("x-forwarded-proto"), [proto], "{fields:?}");
    assert_eq!(all("x-forwarded-host"), [host], "{fields:?}");
    let forwarded = asked.header("forwarded");
    assert!(forwarded.ends_with(&format!(";host=\"{host}\";proto={proto}")), "{fields:?}: {forwarded}");
    assert!(!format!("{:?}", asked.headers).contains("evil"), "{fields:?}: {:?}", asked.headers);
    asked
}

#[tokio::test(start_paused = true)]
async fn where_an_answer_may_be_kept_the_upstream_sees_the_host_and_scheme_of_the_key_only() {
    told(&[("x-forwarded-host", "evil.test,")], "http", "larder.test").await;
    told(&[("x-forwarded-host", "evil.test, shop.test")], "http", "shop.test").await;
    told(&[("x-forwarded-host", "evil.test"), ("x-forwarded-host", "shop.test")], "http", "shop.test").await;
    told(&[("x-forwarded-host", "shop.test, evil.test/path")], "http", "larder.test").await;
    told(&[("x-forwarded-proto", "evil")], "http", "larder.test").await;
    told(&[("x-forwarded-proto", "evil, https")], "https", "larder.test").await;
    told(&[("x-forwarded-proto", "https"), ("x-forwarded-proto", "evil")], "http", "larder.test").await;
    told(&[("x-forwarded-proto", "https,")], "http", "larder.test").await;
    let elements = "For=198.51.100.9;host=evil.test;proto=https, host=evil.test, for=10.0.0.3;by=evil";
    let asked = told(&[("forwarded", elements)], "http", "larder.test").await;
    let expected = "For=198.51.100.9, for=10.0.0.3, for=10.1.2.3;host=\"larder.test\";proto=http";
    assert_eq!(asked.header("forwarded"), expected);
    let last = [("forwarded", "for=198.51.100.9;host=evil.test, for=10.0.0.3;host=shop.test;proto=https")];
    told(&last, "https", "shop.test").await;
}
