//! Instances that are asked by their own addresses, and what an operator sees of what only others have.

use crate::client::{Ask, get};
use crate::origin::{Gate, Reply, fresh};
use crate::tier::FakeTier;
use crate::world::{World, settle};

const ONE: &str = "127.0.0.1:8080";
const OTHER: &str = "127.0.0.1:8090";

type Repeats = (&'static str, fn(&str) -> Reply);

/// Two instances with one tier, on one machine.
async fn two() -> (World, World) {
    let (_tier, one, other) = three().await;
    (one, other)
}

/// … and the tier.
async fn three() -> (FakeTier, World, World) {
    let tier = FakeTier::new();
    let one = World::sharing(&tier, "").await.reached_at(ONE);
    let other = World::sharing(&tier, "").await.reached_at(OTHER);
    tier.hears();
    settle().await;
    (tier, one, other)
}

fn at(host: &'static str) -> Ask {
    get("/a").header("host", host)
}

#[tokio::test(start_paused = true)]
async fn instances_that_are_asked_by_their_own_addresses_share() {
    let (one, other) = two().await;
    one.origin.on("/a", fresh("one"));
    one.ask(at(ONE)).await;
    settle().await;
    assert_eq!(other.ask(at(OTHER)).await.cache_status(), "larder; hit; ttl=59; detail=redis");
    // It is neither the other's address here, nor any other host.
    for host in [ONE, "localhost:8090", "127.0.0.1:", "127.0.0.2:8090", "api.example"] {
        other.origin.on("/a", fresh(host));
        assert_eq!(other.ask(at(host)).await.text(), host);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_leads_to_the_instance_that_was_asked_is_for_those_at_the_same_address() {
    let (tier, one, other) = three().await;
    let sidecar = World::sharing(&tier, "").await.reached_at(ONE);
    let repeats: [Repeats; 3] = [
        ("body", |here| fresh("").body(format!("{{\"next\": \"http://{here}/a?page=2\"}}"))),
        ("head", |here| fresh("a").header("link", &format!("<http://{here}/b>; rel=next"))),
        ("unseen", |_| fresh("a").header("content-encoding", "gzip")),
    ];
    for (what, reply) in repeats {
        let path = format!("/{what}");
        one.origin.on(&path, reply(ONE));
        other.origin.on(&path, reply(OTHER));
        for (world, here) in [(&one, ONE), (&other, OTHER)] {
            let asked = || get(&path).header("host", here);
            assert_eq!(
                world.ask(asked()).await.cache_status(),
                "larder; fwd=uri-miss; fwd-status=200; stored"
            );
            settle().await;
            assert_eq!(world.ask(asked()).await.cache_status(), "larder; hit; ttl=59; detail=memory");
        }
    }
    assert_eq!((one.origin.count(), other.origin.count()), (3, 3));
    for (what, reply) in repeats {
        // As each machine may have one.
        let path = format!("/again-{what}");
        one.origin.on(&path, reply(ONE));
        one.ask(get(&path).header("host", ONE)).await;
        settle().await;
        assert!(sidecar.ask(get(&path).header("host", ONE)).await.cache_status().ends_with("detail=redis"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_waited_for_an_answer_that_is_anothers_alone_fetches_once() {
    let (one, other) = two().await;
    let gate = Gate::new();
    one.origin.on("/a", fresh("http://127.0.0.1:8080/b").held(&gate));
    other.origin.on("/a", fresh("http://127.0.0.1:8090/b"));
    let first = one.begin(at(ONE)).await;
    let mut herd = Vec::new();
    for _ in 0..20 {
        herd.push(other.begin(at(OTHER)).await);
    }
    assert_eq!((gate.waiting(), other.origin.count()), (1, 0));
    gate.open();
    assert_eq!(first.answer().await.text(), "http://127.0.0.1:8080/b");
    for waiting in herd {
        assert_eq!(waiting.answer().await.text(), "http://127.0.0.1:8090/b");
    }
    assert_eq!(other.origin.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_operator_sees_what_only_another_instance_holds() {
    let (one, other) = two().await;
    one.origin.on("/a", fresh("one").header("vary", "accept-language").header("etag", "\"1\""));
    assert_eq!(other.entry(OTHER, "/a").await["held"], serde_json::Value::Null);
    one.ask(at(ONE)).await;
    settle().await;
    assert_eq!(one.entry(ONE, "/a").await["held"]["tier"], "memory");
    let held = other.entry(OTHER, "/a").await["held"].clone();
    assert_eq!((&held["tier"], &held["serves"], &held["size"]), (&"redis".into(), &true.into(), &3.into()));
    assert_eq!((&held["vary"][0], &held["ttl"]), (&"accept-language".into(), &59.into()));
    // One that listens everywhere is reached at the address that a request names.
    assert_eq!(other.entry("0.0.0.0:8090", "http://127.0.0.1:8090/a").await["held"]["tier"], "redis");
    // Nothing of that was a client's hit, or brought it here.
    let counts = &other.telemetry.shared;
    assert_eq!((counts.hits.get(), counts.misses.get()), (0, 0));
    assert_eq!(other.ask(at(OTHER)).await.cache_status(), "larder; hit; ttl=59; detail=redis");
}
