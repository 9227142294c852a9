//! What one instance has fetched is a hit for all, for as long as it is good and in every way in which memory's would be.

use crate::client::{ask, get};
use crate::origin::{Gate, Reply, fresh, reply};
use crate::tier::{Counts, FakeTier};
use crate::world::{World, pass_seconds, settle};

/// Two instances with one tier.
async fn two(config: &str) -> (FakeTier, World, World) {
    let tier = FakeTier::new();
    let one = World::sharing(&tier, config).await;
    let other = World::sharing(&tier, config).await;
    (tier, one, other)
}

/// A 200 that is good for a minute and can be asked about.
fn tagged(body: &'static str) -> Reply {
    fresh(body).header("etag", "\"one\"")
}

#[tokio::test(start_paused = true)]
async fn one_instances_fetch_is_the_others_hit() {
    let (tier, one, other) = two("").await;
    one.origin.on("/a", fresh("one").header("x-field", "1"));
    assert_eq!(one.get("/a").await.cache_status(), "larder; fwd=uri-miss; fwd-status=200; stored");
    settle().await;
    assert_eq!(tier.counts().puts, 1);
    let answer = other.get("/a").await;
    assert_eq!(answer.text(), "one");
    assert_eq!(answer.cache_status(), "larder; hit; ttl=59; detail=redis");
    assert_eq!((answer.header("x-field"), answer.header("age")), ("1", "0"));
    assert_eq!(other.get("/a").await.cache_status(), "larder; hit; ttl=59; detail=memory");
    assert_eq!((other.origin.count(), tier.counts().reads), (0, 2));
    assert_eq!((other.telemetry.shared.hits.get(), other.telemetry.shared.misses.get()), (1, 0));
    assert_eq!((one.telemetry.shared.hits.get(), one.telemetry.shared.misses.get()), (0, 1));
    assert_eq!(one.telemetry.shared.written.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_was_restarted_is_warm() {
    let tier = FakeTier::new();
    let before = World::sharing(&tier, "").await;
    before.origin.on("/a", fresh("one"));
    before.get("/a").await;
    settle().await;
    drop(before);
    let after = World::sharing(&tier, "").await;
    assert_eq!(after.get("/a").await.text(), "one");
}

#[tokio::test(start_paused = true)]
async fn age_and_lifetime_go_on_where_they_were() {
    let (tier, one, other) = two("").await;
    one.origin.on("/a", fresh("one").header("age", "5"));
    one.get("/a").await;
    pass_seconds(40).await;
    let answer = other.get("/a").await;
    assert_eq!((answer.header("age"), answer.cache_status()), ("45", "larder; hit; ttl=15; detail=redis"));
    pass_seconds(10).await;
    let answer = other.get("/a").await;
    assert_eq!((answer.header("age"), answer.cache_status()), ("55", "larder; hit; ttl=5; detail=memory"));
    pass_seconds(5).await;
    assert_eq!(tier.count(), 0, "what is good for nothing is not kept");
    other.origin.on("/a", fresh("two"));
    let answer = other.get("/a").await;
    assert_eq!(answer.cache_status(), "larder; fwd=stale; fwd-status=200; stored");
}

#[tokio::test(start_paused = true)]
async fn a_herd_on_a_cold_key_reads_once() {
    let (tier, one, other) = two("").await;
    one.origin.on("/a", fresh("one"));
    one.get("/a").await;
    settle().await;
    let gate = Gate::new();
    tier.holds_reads(&gate);
    let herd = other.begin_many(100, "/a").await;
    assert_eq!(gate.waiting(), 1);
    gate.open();
    for waiting in herd {
        let answer = waiting.answer().await;
        assert_eq!((answer.text(), answer.cache_status()), ("one", "larder; hit; ttl=59; detail=redis"));
    }
    assert_eq!(tier.counts().reads, 2);
}

#[tokio::test(start_paused = true)]
async fn a_herd_that_finds_nothing_there_fetches_once() {
    let (tier, one, _other) = two("").await;
    let (gate, upstream) = (Gate::new(), Gate::new());
    tier.holds_reads(&gate);
    one.origin.on("/a", fresh("one").held(&upstream));
    let herd = one.begin_many(100, "/a").await;
    assert_eq!((gate.waiting(), upstream.waiting()), (1, 0));
    gate.open();
    settle().await;
    assert_eq!(upstream.waiting(), 1);
    let later = one.begin_many(10, "/a").await;
    upstream.open();
    for waiting in herd.into_iter().chain(later) {
        assert_eq!(waiting.answer().await.text(), "one");
    }
    assert_eq!(
        (one.origin.count(), tier.counts().reads),
        (1, 1),
        "who finds a fetch under way reads nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_who_leaves_takes_nobodys_read_with_it() {
    let (tier, one, other) = two("").await;
    one.origin.on("/a", fresh("one"));
    one.get("/a").await;
    settle().await;
    let gate = Gate::new();
    tier.holds_reads(&gate);
    let first = other.begin(get("/a")).await;
    let second = other.begin(get("/a")).await;
    first.leave();
    settle().await;
    assert_eq!(gate.waiting(), 1);
    gate.open();
    assert_eq!(second.answer().await.text(), "one");
    assert_eq!(tier.counts().reads, 2);
}

#[tokio::test(start_paused = true)]
async fn head_ranges_and_conditions_are_answered_from_there() {
    let config = "";
    let (tier, one, _) = two(config).await;
    one.origin.on("/a", tagged("0123456789"));
    one.get("/a").await;
    settle().await;
    let fresh_instance = || World::sharing(&tier, config);

    let answer = fresh_instance().await.ask(ask("HEAD", "/a")).await;
    assert_eq!((answer.status, answer.text(), answer.header("content-length")), (200, "", "10"));
    assert!(answer.cache_status().ends_with("detail=redis"));

    let answer = fresh_instance().await.ask(get("/a").header("range", "bytes=2-4")).await;
    assert_eq!((answer.status, answer.text(), answer.header("content-range")), (206, "234", "bytes 2-4/10"));

    let answer = fresh_instance().await.ask(get("/a").header("if-none-match", "\"one\"")).await;
    assert_eq!((answer.status, answer.text()), (304, ""));

    let answer = fresh_instance().await.ask(get("/a").header("cache-control", "only-if-cached")).await;
    assert_eq!((answer.status, answer.text()), (200, "0123456789"));

    let answer = fresh_instance().await.ask(get("/b").header("cache-control", "only-if-cached")).await;
    assert_eq!(answer.status, 504);
}

#[tokio::test(start_paused = true)]
async fn who_wants_its_own_answer_is_given_no_others() {
    for directive in ["no-cache", "max-age=0", "no-store"] {
        let (tier, one, other) = two("").await;
        one.origin.on("/a", fresh("one"));
        one.get("/a").await;
        settle().await;
        let before = tier.counts().reads;
        other.origin.on("/a", fresh("two"));
        let answer = other.ask(get("/a").header("cache-control", directive)).await;
        assert_eq!((answer.text(), tier.counts().reads), ("two", before), "{directive}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_there_is_served_while_it_is_refreshed() {
    let (_tier, one, other) = two("[defaults]\nstale_while_revalidate = \"60s\"").await;
    one.origin.on("/a", fresh("one"));
    one.get("/a").await;
    pass_seconds(61).await;
    other.origin.on("/a", fresh("two"));
    let answer = other.get("/a").await;
    assert_eq!(answer.text(), "one");
    assert_eq!(answer.cache_status(), "larder; hit; ttl=-1; detail=stale-while-revalidate");
    settle().await;
    assert_eq!(other.get("/a").await.text(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_takes_what_another_instance_has_refreshed() {
    let (_tier, one, other) = two("[defaults]\nstale_while_revalidate = \"60s\"").await;
    one.origin.on("/a", fresh("one"));
    one.get("/a").await;
    settle().await;
    other.get("/a").await;
    pass_seconds(61).await;
    one.origin.on("/a", fresh("two"));
    assert_eq!(one.get("/a").await.text(), "one");
    settle().await;
    assert_eq!(other.get("/a").await.text(), "one");
    settle().await;
    assert_eq!(other.get("/a").await.text(), "two");
    assert_eq!((one.origin.count(), other.origin.count()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_such_a_refresh_is_given_what_it_found() {
    let (tier, one, other) = two("[defaults]\nstale_while_revalidate = \"60s\"").await;
    one.origin.on("/a", fresh("one"));
    one.get("/a").await;
    settle().await;
    other.get("/a").await;
    pass_seconds(61).await;
    one.origin.on("/a", fresh("two"));
    one.get("/a").await;
    settle().await;
    let gate = Gate::new();
    tier.holds_reads(&gate);
    assert_eq!(other.get("/a").await.text(), "one");
    settle().await;
    let waits = other.begin(get("/a").header("cache-control", "max-age=30")).await;
    gate.open();
    let answer = waits.answer().await;
    assert_eq!(answer.text(), "two");
    assert!(answer.cache_status().ends_with("detail=redis"), "{}", answer.cache_status());
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_there_is_asked_about_and_given_where_the_upstream_fails() {
    let (_tier, one, other) = two("[defaults]\nstale_if_error = \"60s\"").await;
    one.origin.on("/a", tagged("one"));
    one.get("/a").await;
    pass_seconds(61).await;
    other.origin.on("/a", reply(500));
    let answer = other.get("/a").await;
    assert_eq!((answer.status, answer.text()), (200, "one"));
    assert_eq!(other.origin.last().header("if-none-match"), "\"one\"");
    assert!(answer.cache_status().contains("detail=stale-if-error"));
    pass_seconds(2).await;
    other.origin.on("/a", reply(304).header("cache-control", "max-age=60"));
    let answer = other.get("/a").await;
    assert_eq!((answer.status, answer.text()), (200, "one"));
    assert_eq!(answer.cache_status(), "larder; fwd=stale; fwd-status=304; stored");
}

#[tokio::test(start_paused = true)]
async fn a_304_sends_no_body_again() {
    let (tier, one, other) = two("").await;
    let body = "0123456789".repeat(1000);
    one.origin.on("/a", fresh("").header("etag", "\"one\"").body(body.clone()));
    one.get("/a").await;
    pass_seconds(70).await;
    let before = tier.counts();
    one.origin.on("/a", reply(304).header("cache-control", "max-age=60").header("x-new", "1"));
    assert_eq!(one.get("/a").await.text(), body);
    settle().await;
    let Counts { puts, patches, written_bytes, .. } = tier.counts();
    assert_eq!((puts, patches), (before.puts, before.patches + 1));
    assert!(written_bytes - before.written_bytes < 2000, "{written_bytes}");
    assert_eq!(one.telemetry.shared.patched.get(), 1);
    let answer = other.get("/a").await;
    assert_eq!((answer.text(), answer.header("x-new")), (&*body, "1"));
    assert_eq!(answer.cache_status(), "larder; hit; ttl=59; detail=redis");
}

#[tokio::test(start_paused = true)]
async fn a_304_sends_the_body_where_it_lies_there_no_more() {
    let (tier, one, other) = two("").await;
    one.origin.on("/a", tagged("one"));
    one.get("/a").await;
    pass_seconds(70).await;
    tier.loses_values();
    one.origin.on("/a", reply(304).header("cache-control", "max-age=60"));
    one.get("/a").await;
    settle().await;
    assert_eq!(other.get("/a").await.cache_status(), "larder; hit; ttl=59; detail=redis");
}

#[tokio::test(start_paused = true)]
async fn what_head_says_of_it_reaches_the_others() {
    let (tier, one, other) = two("").await;
    one.origin.on("/a", tagged("one").header("content-length", "3"));
    one.get("/a").await;
    pass_seconds(61).await;
    one.origin.on("/a", tagged("").header("content-length", "3").header("x-new", "1"));
    one.ask(ask("HEAD", "/a")).await;
    settle().await;
    assert_eq!(tier.counts().patches, 1);
    assert_eq!(other.get("/a").await.header("x-new"), "1");
}

#[tokio::test(start_paused = true)]
async fn clocks_that_differ_make_nothing_live_longer() {
    for ahead in [3600, 30, 1, -30, -3600] {
        let tier = FakeTier::new();
        let one = World::sharing_over(crate::client::Transport::Http1, &tier, "", ahead).await;
        let other = World::sharing(&tier, "").await;
        one.origin.on("/a", fresh("one"));
        one.get("/a").await;
        settle().await;
        other.origin.otherwise(|_| fresh("two"));
        let answer = other.get("/a").await;
        let age: u64 = if answer.text() == "one" { answer.header("age").parse().unwrap() } else { 60 };
        // One that is far ahead would be found to have just come, time and again.
        let expected = if ahead == 1 { 0 } else { 60.min(if ahead < 0 { -ahead } else { 60 }) };
        assert_eq!(age, expected.unsigned_abs(), "{ahead}");
        pass_seconds(60).await;
        assert_eq!(other.get("/a").await.text(), "two", "{ahead}");
    }
}
