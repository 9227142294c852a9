//! Those who waited for an answer that is not theirs to have: they part, all at once, and the next herd is not held up.

use crate::client::get;
use crate::origin::{Gate, Reply, fresh, reply, unstorable};
use crate::world::{World, pass_seconds, settle};

/// Scripts one answer that lands first, then so many that wait at the gate.
fn script(world: &World, first: Reply, others: usize, gate: &Gate, other: impl Fn() -> Reply) {
    world.origin.on("/a", first);
    for _ in 0..others {
        world.origin.on("/a", other().held(gate));
    }
}

#[tokio::test(start_paused = true)]
async fn an_uncacheable_answer_sends_all_who_waited_upstream_at_once() {
    let world = World::new("");
    let (first, others) = (Gate::new(), Gate::new());
    script(&world, unstorable("mine").held(&first), 30, &others, || unstorable("theirs"));
    let began = world.begin(get("/a")).await;
    let waiting = world.begin_many(30, "/a").await;
    assert_eq!(world.origin.count(), 1);
    first.open();
    settle().await;
    assert_eq!(others.waiting(), 30, "they must not wait for each other");
    others.open();
    let answer = began.answer().await;
    assert_eq!(answer.text(), "mine");
    let not_stored = "larder; fwd=uri-miss; fwd-status=200; detail=\"the upstream said no-store\"";
    assert_eq!(answer.cache_status(), not_stored);
    for each in waiting {
        let answer = each.answer().await;
        assert_eq!((answer.text(), answer.cache_status()), ("theirs", not_stored));
    }
    assert_eq!(world.telemetry.coalescing.parted.get(), 30);
}

#[tokio::test(start_paused = true)]
async fn what_proved_uncacheable_lets_the_next_herd_straight_through() {
    let world = World::new("");
    world.origin.on("/a", unstorable("one"));
    world.get("/a").await;
    let gate = Gate::new();
    for _ in 0..40 {
        world.origin.on("/a", unstorable("one").held(&gate));
    }
    let all = world.begin_many(40, "/a").await;
    assert_eq!(gate.waiting(), 40);
    gate.open();
    for waiting in all {
        assert_eq!(waiting.answer().await.text(), "one");
    }
    assert_eq!(world.telemetry.coalescing.remembered.get(), 40);
}

#[tokio::test(start_paused = true)]
async fn what_proved_uncacheable_is_believed_for_a_while_only() {
    let world = World::new("");
    world.origin.on("/a", unstorable("one"));
    world.get("/a").await;
    pass_seconds(121).await;
    let gate = Gate::new();
    world.origin.on("/a", fresh("two").held(&gate));
    let all = world.begin_many(10, "/a").await;
    assert_eq!(gate.waiting(), 1);
    gate.open();
    for waiting in all {
        assert_eq!(waiting.answer().await.text(), "two");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_can_be_kept_after_all_ends_the_exception() {
    let world = World::new("");
    world.origin.on("/a", unstorable("one"));
    world.get("/a").await;
    world.origin.on("/a", fresh("two"));
    let stored = world.get("/a").await;
    assert_eq!(stored.cache_status(), "larder; fwd=uri-miss; fwd-status=200; stored");
    pass_seconds(60).await;
    let gate = Gate::new();
    world.origin.on("/a", fresh("three").held(&gate));
    let all = world.begin_many(10, "/a").await;
    assert_eq!(gate.waiting(), 1);
    gate.open();
    for waiting in all {
        assert_eq!(waiting.answer().await.text(), "three");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cookie_that_is_set_reaches_the_one_who_asked_and_nobody_else() {
    let world = World::new("[defaults]\nttl = \"60s\"");
    let (first, others) = (Gate::new(), Gate::new());
    let with_cookie = reply(200).header("set-cookie", "session=secret").body("mine").held(&first);
    script(&world, with_cookie, 5, &others, || reply(200).body("theirs"));
    let began = world.begin(get("/a")).await;
    let waiting = world.begin_many(5, "/a").await;
    first.open();
    others.open();
    let answer = began.answer().await;
    assert_eq!((answer.header("set-cookie"), answer.text()), ("session=secret", "mine"));
    for each in waiting {
        let answer = each.answer().await;
        assert_eq!(answer.text(), "theirs");
        assert!(!answer.headers.contains_key("set-cookie"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_uncacheable_answer_whose_asker_has_left_is_nobodys() {
    let world = World::new("");
    let (first, others) = (Gate::new(), Gate::new());
    script(&world, unstorable("mine").held(&first), 1, &others, || unstorable("theirs"));
    let began = world.begin(get("/a")).await;
    let joined = world.begin(get("/a")).await;
    began.leave();
    first.open();
    others.open();
    assert_eq!(joined.answer().await.text(), "theirs");
}

#[tokio::test(start_paused = true)]
async fn who_waited_for_another_variant_gets_its_own() {
    let world = World::new("");
    let gate = Gate::new();
    let varying = |body| fresh(body).header("vary", "accept-language");
    world.origin.on("/a", varying("hello").held(&gate));
    world.origin.on("/a", varying("hallo").held(&gate));
    let in_language = |language| get("/a").header("accept-language", language);
    let english = world.begin(in_language("en")).await;
    let same = world.begin(in_language("en")).await;
    let german = [world.begin(in_language("de")).await, world.begin(in_language("de")).await];
    gate.let_one_through();
    settle().await;
    assert_eq!(english.answer().await.text(), "hello");
    let collapsed = "larder; fwd=uri-miss; fwd-status=200; stored; collapsed";
    assert_eq!(same.answer().await.cache_status(), collapsed);
    assert_eq!(gate.waiting(), 1, "those of the other language want one answer together");
    gate.open();
    for each in german {
        assert_eq!(each.answer().await.text(), "hallo");
    }
    let asked = world.origin.asked();
    let languages: Vec<&str> = asked.iter().map(|asked| asked.header("accept-language")).collect();
    assert_eq!(languages, ["en", "de"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_holds_nobody_up_but_is_forgotten_soon() {
    let world = World::new("[defaults]\nttl = \"60s\"");
    world.origin.on("/a", reply(500));
    assert_eq!(world.get("/a").await.status, 500);
    let gate = Gate::new();
    for _ in 0..3 {
        world.origin.on("/a", reply(500).held(&gate));
    }
    let all = world.begin_many(3, "/a").await;
    assert_eq!(gate.waiting(), 3);
    gate.open();
    for waiting in all {
        assert_eq!(waiting.answer().await.status, 500);
    }
    pass_seconds(2).await;
    let gate = Gate::new();
    world.origin.on("/a", reply(200).body("well").held(&gate));
    let all = world.begin_many(3, "/a").await;
    assert_eq!(gate.waiting(), 1);
    gate.open();
    for waiting in all {
        assert_eq!(waiting.answer().await.text(), "well");
    }
}

/// An answer that only the route has stored, and not for a request with a cookie that nobody declared.
fn on_the_routes_word(body: &'static str) -> Reply {
    reply(200).body(body)
}

#[tokio::test(start_paused = true)]
async fn what_was_not_kept_because_of_its_request_does_not_part_the_next_herd() {
    for (field, value) in [("cookie", "theme=dark"), ("cache-control", "no-store")] {
        let world = World::new("[defaults]\nttl = \"60s\"");
        world.origin.on("/a", on_the_routes_word("not kept"));
        let answer = world.ask(get("/a").header(field, value)).await;
        assert!(!answer.cache_status().ends_with("stored"), "{}", answer.cache_status());
        let gate = Gate::new();
        for _ in 0..10 {
            world.origin.on("/a", on_the_routes_word("kept").held(&gate));
        }
        let all = world.begin_many(10, "/a").await;
        assert_eq!(gate.waiting(), 1, "after {field}: {value}");
        gate.open();
        for waiting in all {
            assert_eq!(waiting.answer().await.text(), "kept");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waited_behind_one_whose_answer_is_not_kept_for_its_request_share_the_next() {
    let world = World::new("[defaults]\nttl = \"60s\"");
    let (first, others) = (Gate::new(), Gate::new());
    script(&world, on_the_routes_word("mine").held(&first), 10, &others, || on_the_routes_word("ours"));
    let began = world.begin(get("/a").header("cookie", "theme=dark")).await;
    let waiting = world.begin_many(10, "/a").await;
    assert_eq!(world.origin.count(), 1, "nobody knows yet that they must part");
    first.open();
    settle().await;
    assert_eq!(others.waiting(), 1, "one more for all of them");
    others.open();
    assert_eq!(began.answer().await.text(), "mine");
    for each in waiting {
        assert_eq!(each.answer().await.text(), "ours");
    }
    assert!(world.get("/a").await.cache_status().starts_with("larder; hit; "));
}

#[tokio::test(start_paused = true)]
async fn conditions_on_what_proved_uncacheable_are_the_upstreams_to_judge() {
    let world = World::new("");
    let etag = "\"one\"";
    world.origin.on("/a", unstorable("one").header("etag", etag));
    world.get("/a").await;
    let not_modified = reply(304).header("etag", etag).header("cache-control", "max-age=60");
    world.origin.on("/a", not_modified);
    let answer = world.ask(get("/a").header("if-none-match", etag)).await;
    assert_eq!((answer.status, answer.header("etag"), answer.text()), (304, etag, ""));
    assert_eq!(world.origin.last().header("if-none-match"), etag);
    assert!(!answer.cache_status().contains("; stored"), "{}", answer.cache_status());
    world.origin.on("/a", unstorable("two"));
    let answer = world.get("/a").await;
    assert_eq!((answer.status, answer.text()), (200, "two"));
    assert!(!world.origin.last().headers.contains_key("if-none-match"));
    world.origin.on("/a", fresh("three").header("etag", "\"three\""));
    let answer = world.ask(get("/a").header("if-none-match", etag)).await;
    assert_eq!((answer.status, answer.text()), (200, "three"));
    assert!(world.get("/a").await.cache_status().starts_with("larder; hit; "), "that may be kept again");
}
