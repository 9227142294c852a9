//! What was changed while something was on its way: whoever asks after the change was answered sees it, and what began before it
//! never comes back.

use crate::client::{ask, get};
use crate::origin::{Gate, Reply, fresh, reply};
use crate::world::{World, pass_seconds, settle};

/// Changes `/a`, and has been told that this is done.
async fn change(world: &World) {
    world.origin.on("/a", reply(204));
    assert_eq!(world.ask(ask("PUT", "/a").body("new")).await.status, 204);
}

/// A 200 that is kept for five seconds and then asked about.
fn tagged(body: &'static str) -> Reply {
    reply(200)
        .header("cache-control", "max-age=5, stale-while-revalidate=100")
        .header("etag", "\"one\"")
        .body(body)
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_began_before_a_change_is_not_joined_after_it() {
    let world = World::new("");
    let gate = Gate::new();
    world.origin.on("/a", fresh("old").held(&gate));
    let before = world.begin(get("/a")).await;
    change(&world).await;
    let (later, reply) = (Gate::new(), fresh("new"));
    world.origin.on("/a", reply.held(&later));
    let after = world.begin_many(5, "/a").await;
    assert_eq!((gate.waiting(), later.waiting()), (1, 1), "those after it share a fetch of their own");
    later.open();
    for waiting in after {
        assert_eq!(waiting.answer().await.text(), "new");
    }
    gate.open();
    assert_eq!(before.answer().await.text(), "old");
    settle().await;
    let answer = world.get("/a").await;
    assert_eq!((answer.text(), answer.cache_status()), ("new", "larder; hit; ttl=59; detail=memory"));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_began_before_a_change_and_ends_after_it_is_not_kept() {
    for announces_length in [true, false] {
        let world = World::new("");
        let script = fresh("");
        let script = if announces_length { script.header("content-length", "6") } else { script };
        let (tap, reply) = script.flowing();
        world.origin.on("/a", reply);
        let before = world.begin(get("/a")).await;
        tap.push("old").await;
        change(&world).await;
        tap.push("old").await;
        drop(tap);
        assert_eq!(before.answer().await.text(), "oldold");
        settle().await;
        world.origin.on("/a", fresh("new"));
        let answer = world.get("/a").await;
        assert_eq!(answer.text(), "new");
        assert_eq!(answer.cache_status(), "larder; fwd=uri-miss; fwd-status=200; stored");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_while_a_change_was_under_way_is_invalid_once_it_is_done() {
    let world = World::new("");
    let gate = Gate::new();
    world.origin.on("/a", reply(204).held(&gate));
    let changing = world.begin(ask("PUT", "/a").body("new")).await;
    world.origin.on("/a", fresh("old"));
    world.get("/a").await;
    assert!(world.get("/a").await.cache_status().starts_with("larder; hit; "));
    gate.open();
    assert_eq!(changing.answer().await.status, 204);
    world.origin.on("/a", fresh("new"));
    assert_eq!(world.get("/a").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_304_to_a_question_from_before_a_change_keeps_nothing_alive() {
    let world = World::new("");
    world.origin.on("/a", tagged("old"));
    world.get("/a").await;
    pass_seconds(200).await;
    let gate = Gate::new();
    world.origin.on("/a", reply(304).held(&gate));
    let before = world.begin(get("/a")).await;
    change(&world).await;
    world.origin.on("/a", fresh("new"));
    gate.open();
    assert_eq!(before.answer().await.text(), "new", "what was asked about is not what was meant any more");
    let answer = world.get("/a").await;
    assert_eq!(answer.text(), "new");
    assert!(!world.origin.last().headers.contains_key("if-none-match"));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_from_before_a_change_brings_nothing_back() {
    let world = World::new("");
    world.origin.on("/a", tagged("old"));
    world.get("/a").await;
    pass_seconds(6).await;
    let gate = Gate::new();
    world.origin.on("/a", fresh("old still").held(&gate));
    assert_eq!(world.get("/a").await.text(), "old");
    settle().await;
    assert_eq!(gate.waiting(), 1);
    change(&world).await;
    gate.open();
    settle().await;
    world.origin.on("/a", fresh("new"));
    assert_eq!(world.get("/a").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_new_state_is_not_kept_where_another_change_came_between() {
    let world = World::new("");
    let gate = Gate::new();
    let state = fresh("posted").header("content-location", "/a");
    world.origin.on("/a", state.held(&gate));
    let posting = world.begin(ask("POST", "/a").body("posted")).await;
    change(&world).await;
    gate.open();
    assert_eq!(posting.answer().await.text(), "posted");
    settle().await;
    world.origin.on("/a", fresh("whichever came last"));
    assert_eq!(world.get("/a").await.text(), "whichever came last");
}

#[tokio::test(start_paused = true)]
async fn a_completion_from_before_a_change_is_not_kept() {
    let world = World::new("");
    let part = |range: &str| {
        let part = reply(206).header("cache-control", "max-age=60").header("etag", "\"one\"");
        part.header("content-range", range).body("old")
    };
    world.origin.on("/a", part("bytes 0-2/6"));
    world.ask(get("/a").header("range", "bytes=0-2")).await;
    let gate = Gate::new();
    world.origin.on("/a", part("bytes 3-5/6").held(&gate));
    let before = world.begin(get("/a")).await;
    assert_eq!(world.origin.last().header("range"), "bytes=3-");
    change(&world).await;
    gate.open();
    assert_eq!(before.answer().await.text(), "oldold");
    settle().await;
    world.origin.on("/a", fresh("new"));
    assert_eq!(world.get("/a").await.text(), "new");
}
