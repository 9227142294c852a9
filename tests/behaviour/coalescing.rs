//! One fetch for all who want the same thing at the same time, and nobody's life hangs on another's.

use crate::client::{ask, get};
use crate::origin::{Gate, fresh, reply};
use crate::world::{World, pass_seconds, settle};

#[tokio::test(start_paused = true)]
async fn a_hundred_on_one_cold_key_are_answered_by_one_request() {
    let world = World::new("");
    let gate = Gate::new();
    world.origin.on("/a", fresh("one").held(&gate));
    let all = world.begin_many(100, "/a").await;
    assert_eq!(gate.waiting(), 1);
    gate.open();
    let mut collapsed = 0;
    for waiting in all {
        let answer = waiting.answer().await;
        assert_eq!((answer.status, answer.text()), (200, "one"));
        collapsed +=
            usize::from(answer.cache_status() == "larder; fwd=uri-miss; fwd-status=200; stored; collapsed");
    }
    assert_eq!((world.origin.count(), collapsed), (1, 99));
    assert_eq!(world.telemetry.coalescing.joined.get(), 99);
    assert_eq!(world.telemetry.coalescing.flights.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_herd_on_an_expired_entry_is_answered_by_one_request() {
    let world = World::new("");
    world.origin.on("/a", fresh("one"));
    world.get("/a").await;
    pass_seconds(60).await;
    let gate = Gate::new();
    world.origin.on("/a", fresh("two").held(&gate));
    let all = world.begin_many(50, "/a").await;
    gate.open();
    for waiting in all {
        let answer = waiting.answer().await;
        assert_eq!(answer.text(), "two");
        assert!(answer.cache_status().starts_with("larder; fwd=stale; "));
    }
    assert_eq!(world.origin.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_who_goes_away_takes_nobodys_answer_with_it() {
    let world = World::new("");
    let gate = Gate::new();
    world.origin.on("/a", fresh("one").held(&gate));
    let began = world.begin(get("/a")).await;
    let joined = world.begin(get("/a")).await;
    let left = world.begin(get("/a")).await;
    began.leave();
    left.leave();
    settle().await;
    assert_eq!(gate.waiting(), 1, "the fetch must go on without the one who began it");
    gate.open();
    assert_eq!(joined.answer().await.text(), "one");
    assert_eq!(world.get("/a").await.cache_status(), "larder; hit; ttl=59; detail=memory");
    assert_eq!(world.origin.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_everybody_has_left_is_still_kept() {
    let world = World::new("");
    let (tap, reply) = fresh("").flowing();
    world.origin.on("/a", reply);
    let mut only = world.open(get("/a")).await;
    tap.push("half, ").await;
    assert_eq!(only.chunk().await, "half, ");
    drop(only);
    settle().await;
    tap.push("and half").await;
    drop(tap);
    settle().await;
    let answer = world.get("/a").await;
    assert_eq!(answer.text(), "half, and half");
    assert!(answer.cache_status().starts_with("larder; hit; "));
}

#[tokio::test(start_paused = true)]
async fn who_joins_late_reads_from_the_first_byte_while_the_body_still_comes() {
    let world = World::new("");
    let (tap, reply) = fresh("").flowing();
    world.origin.on("/a", reply);
    let mut early = world.open(get("/a")).await;
    tap.push("first ").await;
    assert_eq!(early.chunk().await, "first ");
    let mut late = world.open(get("/a")).await;
    assert_eq!(late.header("cache-status"), "larder; fwd=uri-miss; fwd-status=200; stored; collapsed");
    assert_eq!(late.chunk().await, "first ");
    tap.push("second").await;
    drop(tap);
    assert_eq!(early.rest().await.unwrap().text(), "second");
    assert_eq!(late.rest().await.unwrap().text(), "second");
    assert_eq!(world.origin.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_upstream_is_everybodys_with_one_request() {
    let world = World::new("upstream.retries = 0\nupstream.response_timeout = \"2s\"");
    let gate = Gate::new();
    world.origin.on("/a", fresh("late").held(&gate));
    let all = world.begin_many(20, "/a").await;
    pass_seconds(2).await;
    for waiting in all {
        let answer = waiting.answer().await;
        assert_eq!(answer.status, 504);
        assert_eq!(answer.header("proxy-status"), "larder; error=http_response_timeout");
    }
    assert_eq!(world.origin.count(), 1);
    world.origin.on("/a", fresh("one"));
    assert_eq!(world.get("/a").await.text(), "one", "a failure must not be remembered");
}

#[tokio::test(start_paused = true)]
async fn who_wants_it_new_does_not_join_what_was_asked_for_before() {
    let world = World::new("");
    world.origin.on("/a", fresh("old"));
    world.get("/a").await;
    let gate = Gate::new();
    world.origin.on("/a", fresh("one").held(&gate));
    world.origin.on("/a", fresh("two").held(&gate));
    let new = || get("/a").header("cache-control", "no-cache");
    let (first, second) = (world.begin(new()).await, world.begin(new()).await);
    assert_eq!(gate.waiting(), 2);
    gate.open();
    assert_eq!(first.answer().await.text(), "one");
    assert_eq!(second.answer().await.text(), "two");
}

#[tokio::test(start_paused = true)]
async fn who_wants_it_new_does_not_join_a_fetch_of_a_key_that_holds_nothing() {
    let world = World::new("");
    let gate = Gate::new();
    world.origin.on("/a", fresh("one").held(&gate));
    world.origin.on("/a", fresh("two").held(&gate));
    let first = world.begin(get("/a")).await;
    let second = world.begin(get("/a").header("cache-control", "no-cache")).await;
    assert_eq!(gate.waiting(), 2);
    gate.open();
    assert_eq!(first.answer().await.text(), "one");
    assert_eq!(second.answer().await.text(), "two");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_an_answer_that_its_asker_wants_not_to_be_stored() {
    let world = World::new("");
    let (held, free) = (Gate::new(), Gate::new());
    free.open();
    world.origin.on("/a", fresh("one").held(&held));
    world.origin.on("/a", fresh("two").held(&free));
    let unstored = world.begin(get("/a").header("cache-control", "no-store")).await;
    assert_eq!(world.get("/a").await.text(), "two");
    held.open();
    assert_eq!(unstored.answer().await.text(), "one");
    assert_eq!(world.get("/a").await.text(), "two");
}

#[tokio::test(start_paused = true)]
async fn two_tokens_do_not_share_a_fetch() {
    let world = World::new("");
    let gate = Gate::new();
    world.origin.on("/a", fresh("one's").held(&gate));
    world.origin.on("/a", fresh("two's").held(&gate));
    let one = world.begin(get("/a").header("authorization", "Bearer one")).await;
    let two = world.begin(get("/a").header("authorization", "Bearer two")).await;
    assert_eq!(gate.waiting(), 2);
    gate.open();
    assert_eq!(one.answer().await.text(), "one's");
    assert_eq!(two.answer().await.text(), "two's");
}

#[tokio::test(start_paused = true)]
async fn with_coalescing_off_each_request_fetches_for_itself() {
    let world = World::new("[[route]]\nname = \"a\"\nmatch = \"/a\"\ncoalesce = \"off\"");
    let gate = Gate::new();
    for _ in 0..3 {
        world.origin.on("/a", fresh("one").held(&gate));
    }
    let all = world.begin_many(3, "/a").await;
    assert_eq!(gate.waiting(), 3);
    gate.open();
    for waiting in all {
        assert_eq!(waiting.answer().await.text(), "one");
    }
    assert!(world.get("/a").await.cache_status().starts_with("larder; hit; "));
}

#[tokio::test(start_paused = true)]
async fn clients_with_conditions_join_those_without() {
    let world = World::new("");
    let gate = Gate::new();
    world.origin.on("/a", fresh("one").header("etag", "\"one\"").held(&gate));
    let has_it = world.begin(get("/a").header("if-none-match", "\"one\"")).await;
    let has_not = world.begin(get("/a")).await;
    gate.open();
    let answer = has_it.answer().await;
    assert_eq!((answer.status, answer.text()), (304, ""));
    assert_eq!(has_not.answer().await.text(), "one");
    assert_eq!(world.origin.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_head_does_not_wait_for_a_fetch_under_way() {
    let world = World::new("");
    let gate = Gate::new();
    world.origin.on("/a", fresh("one").held(&gate));
    world.origin.on("/a", reply(200).header("content-length", "3"));
    let fetching = world.begin(get("/a")).await;
    let answer = world.ask(ask("HEAD", "/a")).await;
    assert_eq!((answer.status, answer.header("content-length"), answer.text()), (200, "3", ""));
    gate.open();
    assert_eq!(fetching.answer().await.text(), "one");
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_an_answer_that_has_become_stale_while_its_body_comes() {
    let world = World::new("");
    let (tap, reply) = fresh("").flowing();
    world.origin.on("/a", reply);
    let mut early = world.open(get("/a")).await;
    tap.push("old").await;
    assert_eq!(early.chunk().await, "old");
    for _ in 0..3 {
        pass_seconds(20).await;
        tap.push(", slow").await;
    }
    let gate = Gate::new();
    world.origin.on("/a", fresh("new").held(&gate));
    let late = world.begin_many(5, "/a").await;
    assert_eq!(gate.waiting(), 1, "the late ones want one new answer together");
    gate.open();
    for waiting in late {
        assert_eq!(waiting.answer().await.text(), "new");
    }
    drop(tap);
    assert_eq!(early.rest().await.unwrap().text(), ", slow, slow, slow");
    assert_eq!(world.get("/a").await.text(), "new", "what is over must not replace what is fresh");
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_an_answer_that_is_older_than_he_takes() {
    let world = World::new("");
    let (tap, reply) = fresh("").flowing();
    world.origin.on("/a", reply);
    let mut early = world.open(get("/a")).await;
    tap.push("old").await;
    assert_eq!(early.chunk().await, "old");
    pass_seconds(10).await;
    world.origin.on("/a", fresh("new"));
    let picky = get("/a").header("cache-control", "max-age=5");
    assert_eq!(world.ask(picky).await.text(), "new");
    drop(tap);
}
