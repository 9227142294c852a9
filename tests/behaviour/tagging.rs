//! What entries are called: how it is found out, who is told, and what becomes of what can't be called anything.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use http::HeaderMap;
use larder::semantics::NotStored;

use crate::client::{ask, get};
use crate::origin::{fresh, reply};
use crate::tier::FakeTier;
use crate::world::{World, pass_seconds, settle};

/// Lists of items, each of which is a tag.
const LISTS: &str = "[[route]]\nname = \"list\"\nmatch = \"/list/{page}\"\nttl = \"60s\"\n\
    tags = [\"page:{page}\", \"item:{body:/items/*/id}\"]";

/// A list of so many bytes, whose last item has this id.
fn list(bytes: usize, last: u32) -> String {
    let filler = "x".repeat(bytes);
    format!("{{\"filler\": \"{filler}\", \"items\": [{{\"id\": 1}}, {{\"id\": {last}}}]}}")
}

fn untaggable(world: &World, route: &str) -> u64 {
    let route = world.telemetry.routes.iter().find(|each| &*each.name == route).unwrap();
    let mut counts = route.not_stored_counts();
    counts.find(|(why, _)| *why == NotStored::Untaggable).map_or(0, |(_, count)| count)
}

#[tokio::test(start_paused = true)]
async fn a_long_body_that_comes_in_pieces_is_called_by_what_it_says() {
    for bytes in [10, 70_000, 500_000] {
        let world = World::new(LISTS);
        let (tap, reply) = reply(200).flowing();
        world.origin.on("/list/1", reply);
        let body = list(bytes, 77);
        let reading = world.begin(get("/list/1")).await;
        for chunk in body.as_bytes().chunks(10_000) {
            tap.push(chunk.to_vec()).await;
        }
        drop(tap);
        assert_eq!(reading.answer().await.text(), body);
        settle().await;
        world.purge("{\"tags\": [\"item:7\"]}").await;
        assert_eq!(world.get("/list/1").await.text(), body, "{bytes}: another tag");
        assert_eq!(world.origin.count(), 1);
        world.purge("{\"tags\": [\"item:77\"]}").await;
        world.origin.on("/list/1", reply_with("new"));
        assert_eq!(world.get("/list/1").await.text(), "new", "{bytes}");
    }
}

fn reply_with(body: &'static str) -> crate::origin::Reply {
    reply(200).body(body)
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_long_body_has_its_end_before_it_is_known_what_it_is_called() {
    let world = World::new(LISTS);
    let (tap, reply) = reply(200).flowing();
    world.origin.on("/list/1", reply);
    let mut reading = world.open(get("/list/1")).await;
    tap.push("{\"items\": [").await;
    assert_eq!(reading.chunk().await, "{\"items\": [", "it streams at once");
    tap.push("]}").await;
    drop(tap);
    assert_eq!(reading.rest().await.unwrap().text(), "]}");
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_called_all_its_names_is_counted() {
    let config = format!("[invalidation]\nmax_entry_tags = 3\n{LISTS}");
    let world = World::new(&config);
    world.origin.on("/list/1", reply(200).header("surrogate-key", "a b c d").body("{}"));
    let answer = world.get("/list/1").await;
    let why = "it has more tags than an entry may have, or some that are not readable";
    assert_eq!(answer.cache_status(), format!("larder; fwd=uri-miss; fwd-status=200; detail=\"{why}\""));
    assert_eq!(untaggable(&world, "list"), 1);
    world.origin.on("/list/2", reply_with("{\"items\": [{\"id\": 1}, {\"id\": 2}, {\"id\": 3}]}"));
    world.get("/list/2").await;
    settle().await;
    assert_eq!(untaggable(&world, "list"), 2);
    world.origin.on("/list/3", reply(200).header("content-encoding", "br").body("zipped"));
    world.get("/list/3").await;
    assert_eq!(untaggable(&world, "list"), 3);
    world.origin.on("/list/4", reply_with("{\"items\": [{\"id\": 1}, {\"id\": 2}]}"));
    world.get("/list/4").await;
    settle().await;
    assert!(world.get("/list/4").await.cache_status().starts_with("larder; hit; "));
    assert_eq!(untaggable(&world, "list"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_long_body_with_too_many_names_is_not_kept_and_everybody_has_it_whole() {
    let world = World::new(&format!("[invalidation]\nmax_entry_tags = 2\n{LISTS}"));
    let body = list(100_000, 7);
    world.origin.on("/list/1", reply(200).body(body.clone()));
    let all = world.begin_many(3, "/list/1").await;
    for waiting in all {
        assert_eq!(waiting.answer().await.text(), body);
    }
    settle().await;
    assert_eq!((world.origin.count(), untaggable(&world, "list")), (1, 1));
    world.origin.on("/list/1", reply_with("{}"));
    assert_eq!(world.get("/list/1").await.text(), "{}");
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_listed_with_what_it_is_called() {
    let tier = FakeTier::new();
    let (one, other) = (World::sharing(&tier, LISTS).await, World::sharing(&tier, LISTS).await);
    let answer = reply(200).header("surrogate-key", "said page:1").header("cache-groups", "\"group\"");
    one.origin.on("/list/1", answer.body("{\"items\": [{\"id\": 1}, {\"id\": \"b\"}]}"));
    let ann = || get("/list/1").header("authorization", "Bearer ann");
    one.ask(ann()).await;
    settle().await;
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Bearer ann".parse().unwrap());
    headers.insert("host", "larder.test".parse().unwrap());
    for (world, tier) in [(&one, "memory"), (&other, "redis")] {
        let held = &world.entry_for("127.0.0.1:1", "/list/1", &headers).await["held"];
        assert_eq!(held["tier"], tier);
        let tags: Vec<&str> =
            held["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        let identity = tags.iter().find(|tag| tag.starts_with("identity:")).unwrap();
        let expected =
            ["route:list", "path:/list/1", identity, "page:1", "item:1", "item:b", "said", "group"];
        assert_eq!(tags, expected);
        assert!(!held.to_string().contains("ann"), "{held}");
    }
    // Each of them is one by which it can be purged, and so is the identity, by that name.
    let held = &one.entry_for("127.0.0.1:1", "/list/1", &headers).await["held"];
    let identity = held["tags"][2].as_str().unwrap().strip_prefix("identity:").unwrap().to_owned();
    other.purge_for_all(&format!("{{\"identities\": [\"{identity}\"]}}")).await;
    assert!(one.entry_for("127.0.0.1:1", "/list/1", &headers).await["held"].is_null());
    assert!(other.entry_for("127.0.0.1:1", "/list/1", &headers).await["held"].is_null());
}

#[tokio::test(start_paused = true)]
async fn softly_invalidated_is_listed_as_such() {
    let world = World::new("");
    world.origin.on("/a", fresh("one"));
    world.get("/a").await;
    let held = || async { world.entry("127.0.0.1:1", "http://larder.test/a").await["held"].clone() };
    assert_eq!(held().await["is_soft"], false);
    world.purge("{\"paths\": [\"/a\"], \"soft\": true}").await;
    assert_eq!(held().await["is_soft"], true);
    world.purge("{\"paths\": [\"/a\"]}").await;
    assert!(held().await.is_null());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_called_otherwise_each_time_gathers_no_names_without_end() {
    let world = World::new(&format!("[invalidation]\nmax_entry_tags = 4\n{LISTS}"));
    let number = AtomicUsize::new(0);
    world.origin.otherwise(move |asked| {
        let reply = reply(if asked.header("if-none-match").is_empty() { 200 } else { 304 });
        let version = format!("version:{}", number.fetch_add(1, Relaxed));
        let reply = reply.header("cache-control", "max-age=1, must-revalidate").header("etag", "\"e\"");
        reply.header("surrogate-key", &version).header("x", "y")
    });
    for _ in 0..12 {
        world.get("/list/1").await;
        // Longer than what was not kept is remembered.
        pass_seconds(200).await;
    }
    let asked = world.origin.asked();
    let whole = asked.iter().filter(|asked| asked.header("if-none-match").is_empty()).count();
    assert!((2..6).contains(&whole), "asked for the whole {whole} times of {}", asked.len());
}

#[tokio::test(start_paused = true)]
async fn a_head_of_what_is_called_by_its_body_asks_for_no_compression_either() {
    let world = World::new(LISTS);
    world.origin.on("/list/1", reply(200).header("content-length", "2"));
    world.ask(ask("HEAD", "/list/1").header("accept-encoding", "gzip")).await;
    assert!(!world.origin.last().headers.contains_key("accept-encoding"));
    world.origin.on("/list/1", reply(206).header("content-range", "bytes 0-0/2").body("{"));
    world.ask(get("/list/1").header("accept-encoding", "gzip").header("range", "bytes=0-0")).await;
    assert!(!world.origin.last().headers.contains_key("accept-encoding"));
}
