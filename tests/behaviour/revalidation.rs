//! Many who want the same stale thing: one question for all whom its answer may serve, and nobody in line for what is not shared.

use crate::client::{ask, get};
use crate::origin::{Connecting, Gate, Reply, fresh, reply};
use crate::world::{World, pass_seconds, settle};

/// A 200 that is kept with an entity tag.
fn tagged(cache_control: &str, body: &'static str) -> Reply {
    reply(200).header("cache-control", cache_control).header("etag", "\"one\"").body(body)
}

/// A world in which `/a` was kept and has been stale for a second.
async fn stale(config: &str, cache_control: &str) -> World {
    let world = World::new(config);
    world.origin.on("/a", tagged(&format!("max-age=5, {cache_control}"), "one"));
    world.get("/a").await;
    pass_seconds(6).await;
    world
}

#[tokio::test(start_paused = true)]
async fn four_hundred_on_an_expired_entry_are_answered_by_one_question() {
    let world = stale("", "public").await;
    let gate = Gate::new();
    world.origin.on("/a", reply(304).header("cache-control", "max-age=60").held(&gate));
    let all = world.begin_many(400, "/a").await;
    assert_eq!(gate.waiting(), 1);
    assert_eq!(world.origin.last().header("if-none-match"), "\"one\"");
    gate.open();
    let mut collapsed = 0;
    for waiting in all {
        let answer = waiting.answer().await;
        assert_eq!((answer.status, answer.text()), (200, "one"));
        assert!(!answer.headers.contains_key("age"));
        match answer.cache_status() {
            "larder; fwd=stale; fwd-status=304; stored" => {}
            "larder; fwd=stale; fwd-status=304; stored; collapsed" => collapsed += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((world.origin.count(), collapsed), (2, 399));
    assert_eq!(world.telemetry.validation.confirmed.get(), 1);
    assert_eq!(world.telemetry.coalescing.flights.get(), 0);
    assert_eq!(world.get("/a").await.cache_status(), "larder; hit; ttl=59; detail=memory");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_question_has_its_own_conditions_and_ranges_heeded() {
    let world = stale("", "public").await;
    let gate = Gate::new();
    world.origin.on("/a", reply(304).held(&gate));
    let first = world.begin(get("/a")).await;
    let has_it = world.begin(get("/a").header("if-none-match", "\"one\"")).await;
    let range = world.begin(get("/a").header("range", "bytes=1-")).await;
    assert_eq!(gate.waiting(), 1);
    gate.open();
    assert_eq!(first.answer().await.text(), "one");
    assert_eq!(has_it.answer().await.status, 304);
    let range = range.answer().await;
    assert_eq!((range.status, range.header("content-range"), range.text()), (206, "bytes 1-2/3", "ne"));
    assert_eq!(world.origin.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_in_line_for_what_must_be_asked_about_each_time() {
    for cache_control in ["no-cache", "max-age=0"] {
        let world = World::new("");
        world.origin.on("/a", tagged(cache_control, "one"));
        world.get("/a").await;
        let gate = Gate::new();
        for _ in 0..20 {
            world.origin.on("/a", reply(304).held(&gate));
        }
        let all = world.begin_many(20, "/a").await;
        assert_eq!(gate.waiting(), 20);
        gate.open();
        for waiting in all {
            let answer = waiting.answer().await;
            assert_eq!(answer.text(), "one");
            assert_eq!(answer.cache_status(), "larder; fwd=stale; fwd-status=304; stored");
        }
        assert_eq!(world.origin.count(), 21);
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_waited_for_what_must_be_asked_about_each_time_asks_all_at_once() {
    let world = World::new("");
    let (first, others) = (Gate::new(), Gate::new());
    world.origin.on("/a", tagged("no-cache", "one").held(&first));
    for _ in 0..19 {
        world.origin.on("/a", reply(304).held(&others));
    }
    let all = world.begin_many(20, "/a").await;
    assert_eq!(first.waiting(), 1);
    first.open();
    settle().await;
    assert_eq!(others.waiting(), 19);
    others.open();
    for waiting in all {
        assert_eq!(waiting.answer().await.text(), "one");
    }
    assert_eq!(world.origin.count(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_304_that_ends_the_keeping_is_for_the_one_who_asked() {
    let world = stale("", "public").await;
    let gate = Gate::new();
    let cookie = reply(304).header("set-cookie", "id=1");
    world.origin.on("/a", cookie.held(&gate));
    for _ in 0..4 {
        world.origin.on("/a", reply(200).header("cache-control", "no-store").body("two"));
    }
    let all = world.begin_many(5, "/a").await;
    gate.open();
    let mut cookies = 0;
    for waiting in all {
        let answer = waiting.answer().await;
        let has_cookie = answer.headers.contains_key("set-cookie");
        assert_eq!(answer.text(), if has_cookie { "one" } else { "two" });
        cookies += usize::from(has_cookie);
    }
    assert_eq!((cookies, world.origin.count()), (1, 6));
    let plain = &world.origin.asked()[2..];
    assert!(plain.iter().all(|asked| !asked.headers.contains_key("if-none-match")));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_one_for_many_and_outlives_its_client() {
    let world = stale("", "stale-while-revalidate=10").await;
    let gate = Gate::new();
    world.origin.on("/a", fresh("two").held(&gate));
    for waiting in world.begin_many(20, "/a").await {
        assert!(waiting.is_over(), "nobody waits for it");
        let answer = waiting.answer().await;
        assert_eq!(answer.text(), "one");
        assert_eq!(answer.cache_status(), "larder; hit; ttl=-1; detail=stale-while-revalidate");
    }
    assert_eq!((gate.waiting(), world.telemetry.validation.refreshes.get()), (1, 1));
    gate.open();
    settle().await;
    let answer = world.get("/a").await;
    assert_eq!((answer.text(), answer.cache_status()), ("two", "larder; hit; ttl=59; detail=memory"));
    assert_eq!(world.origin.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_stale_waits_for_the_refresh_under_way() {
    let world = stale("", "stale-while-revalidate=10").await;
    let gate = Gate::new();
    world.origin.on("/a", fresh("two").held(&gate));
    assert_eq!(world.get("/a").await.text(), "one");
    let waiting = world.begin(get("/a").header("cache-control", "min-fresh=1")).await;
    assert!(!waiting.is_over());
    gate.open();
    let answer = waiting.answer().await;
    assert_eq!(answer.text(), "two");
    assert_eq!(answer.cache_status(), "larder; fwd=stale; fwd-status=200; stored; collapsed");
    assert_eq!(world.origin.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_are_given_the_stale_answer_when_the_upstream_fails() {
    let world = stale("", "stale-if-error=100").await;
    let gate = Gate::new();
    world.origin.on("/a", reply(503).body("down").held(&gate));
    let all = world.begin_many(20, "/a").await;
    assert_eq!(gate.waiting(), 1);
    gate.open();
    for waiting in all {
        let answer = waiting.answer().await;
        assert_eq!((answer.status, answer.text()), (200, "one"));
        let status = answer.cache_status();
        assert!(status.starts_with("larder; fwd=stale; fwd-status=503; ttl=-1; "), "{status}");
        assert!(status.ends_with("detail=stale-if-error"), "{status}");
    }
    assert_eq!(world.origin.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_are_given_the_stale_answer_when_the_upstream_says_nothing() {
    let config = "upstream.retries = 0\nupstream.response_timeout = \"2s\"";
    let world = stale(config, "stale-if-error=100").await;
    let gate = Gate::new();
    world.origin.on("/a", fresh("late").held(&gate));
    let all = world.begin_many(20, "/a").await;
    pass_seconds(2).await;
    for waiting in all {
        let answer = waiting.answer().await;
        assert_eq!((answer.status, answer.text()), (200, "one"));
        assert_eq!(answer.header("proxy-status"), "larder; error=http_response_timeout");
    }
    assert_eq!(world.origin.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn for_a_second_after_nobody_listened_no_other_connection_is_tried() {
    let world = stale("upstream.retries = 0", "stale-if-error=100").await;
    world.origin.drop_connections();
    settle().await;
    let connects = world.origin.connects();
    world.origin.next_connection(Connecting::Refused);
    let answer = world.get("/a").await;
    assert_eq!((answer.status, answer.text()), (200, "one"));
    assert_eq!(answer.cache_status(), "larder; fwd=stale; ttl=-1; detail=stale-if-error");
    assert_eq!(answer.header("proxy-status"), "larder; error=connection_refused");
    let answer = world.get("/a").await;
    assert_eq!(answer.cache_status(), "larder; hit; ttl=-1; detail=stale-if-error");
    assert!(!answer.headers.contains_key("proxy-status"));
    assert_eq!(world.origin.connects(), connects + 1);
    pass_seconds(1).await;
    world.origin.on("/a", fresh("two"));
    assert_eq!(world.get("/a").await.text(), "two");
}

#[tokio::test(start_paused = true)]
async fn of_a_crowd_before_an_error_each_gets_what_it_takes() {
    let world = stale("", "public").await;
    let (first, others) = (Gate::new(), Gate::new());
    world.origin.on("/a", reply(503).body("down").held(&first));
    for _ in 0..2 {
        world.origin.on("/a", reply(503).body("still down").held(&others));
    }
    let began = world.begin(get("/a")).await;
    let tolerant = || get("/a").header("cache-control", "stale-if-error=100");
    let (takes, takes_too) = (world.begin(tolerant()).await, world.begin(tolerant()).await);
    let (strict, strict_too) = (world.begin(get("/a")).await, world.begin(get("/a")).await);
    assert_eq!(first.waiting(), 1);
    first.open();
    settle().await;
    assert_eq!(others.waiting(), 2, "who takes nothing stale asks for itself, at once");
    let answer = began.answer().await;
    assert_eq!((answer.status, answer.text()), (503, "down"));
    for waiting in [takes, takes_too] {
        let answer = waiting.answer().await;
        assert_eq!((answer.status, answer.text()), (200, "one"));
    }
    others.open();
    for waiting in [strict, strict_too] {
        let answer = waiting.answer().await;
        assert_eq!((answer.status, answer.text()), (503, "still down"));
    }
    assert_eq!(world.origin.count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_field_for_the_one_who_asked_is_not_for_those_who_waited() {
    let world = World::new("");
    let gate = Gate::new();
    let with_user =
        reply(200).header("cache-control", "max-age=60, no-cache=\"x-user\"").header("x-user", "ann");
    world.origin.on("/a", with_user.body("one").held(&gate));
    let all = world.begin_many(5, "/a").await;
    gate.open();
    for (place, waiting) in all.into_iter().enumerate() {
        let answer = waiting.answer().await;
        assert_eq!(answer.text(), "one");
        let is_its_own = !answer.cache_status().ends_with("collapsed");
        assert_eq!(answer.headers.contains_key("x-user"), is_its_own, "{place}");
    }
    assert_eq!(world.origin.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_range_does_not_wait_for_a_fetch_under_way_and_takes_nothing_from_it() {
    let world = World::new("");
    let gate = Gate::new();
    world.origin.on("/a", tagged("max-age=60", "one").held(&gate));
    let part = reply(206).header("cache-control", "max-age=60").header("content-range", "bytes 0-0/3");
    world.origin.on("/a", part.header("etag", "\"one\"").body("o"));
    let whole = world.begin(get("/a")).await;
    let range = world.ask(get("/a").header("range", "bytes=0-0")).await;
    assert_eq!((range.status, range.text()), (206, "o"));
    gate.open();
    assert_eq!(whole.answer().await.text(), "one");
    let answer = world.get("/a").await;
    assert_eq!((answer.status, answer.text()), (200, "one"));
    assert!(!answer.headers.contains_key("content-range"));
    assert_eq!(world.origin.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_head_in_the_middle_of_a_question_leaves_it_alone() {
    let world = stale("", "public").await;
    let gate = Gate::new();
    world.origin.on("/a", reply(304).held(&gate));
    world.origin.on("/a", reply(200).header("etag", "\"two\"").header("content-length", "3"));
    let asking = world.begin(get("/a")).await;
    assert_eq!(world.ask(ask("HEAD", "/a")).await.header("etag"), "\"two\"");
    gate.open();
    assert_eq!(asking.answer().await.text(), "one");
}
