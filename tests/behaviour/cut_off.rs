//! An instance that can't read the log of invalidations: for the length of its lease nothing is different, then it knows that nobody
//! waits for it any more, and does what its routes say. It trusts its memory again when it has caught up.

use std::time::Duration;

use crate::client::{Ask, ask, get};
use crate::origin::{Gate, fresh, reply};
use crate::tier::FakeTier;
use crate::world::{World, pass, pass_seconds, settle};

const CONFIG: &str = "[[route]]\nname = \"serve\"\nmatch = \"/serve/{*rest}\"\n\
    [[route]]\nname = \"bypass\"\nmatch = \"/bypass/{*rest}\"\nwhen_cut_off = \"bypass\"\n\
    [[route]]\nname = \"stale\"\nmatch = \"/stale/{*rest}\"\nstale_while_revalidate = \"60s\"";

const LEASE: Duration = Duration::from_secs(3);
const SOON: Duration = Duration::from_millis(200);

/// Two worlds, of which the second has kept `old` for both routes.
async fn two() -> (FakeTier, World, World) {
    let tier = FakeTier::new();
    let (one, two) = (World::sharing(&tier, CONFIG).await, World::sharing(&tier, CONFIG).await);
    for target in ["/serve/a", "/bypass/a"] {
        two.origin.on(target, fresh("old"));
        two.get(target).await;
        settle().await;
    }
    (tier, one, two)
}

fn only_if_cached(target: &str) -> Ask {
    get(target).header("cache-control", "only-if-cached")
}

#[tokio::test(start_paused = true)]
async fn within_the_lease_nothing_is_different_and_after_it_a_route_does_what_it_says() {
    let (tier, one, two) = two().await;
    tier.log().cuts("world 2", true);
    one.purge_for_all("{\"all\": true}").await;
    pass(Duration::from_millis(1900)).await;
    for target in ["/serve/a", "/bypass/a"] {
        let answer = two.get(target).await;
        assert!(answer.text() == "old" && answer.cache_status().ends_with("detail=memory"));
    }
    pass(Duration::from_millis(1100)).await;
    let answer = two.get("/serve/a").await;
    assert_eq!((answer.text(), answer.cache_status()), ("old", "larder; hit; ttl=56; detail=cut-off"));
    for count in 3..6 {
        two.origin.on("/bypass/a", fresh("new"));
        let answer = two.get("/bypass/a").await;
        assert_eq!((answer.text(), answer.cache_status()), ("new", "larder; fwd=bypass; detail=cut-off"));
        assert_eq!(two.origin.count(), count, "nothing of it is kept");
    }
    assert_eq!(two.ask(only_if_cached("/bypass/a")).await.status, 504);
    assert_eq!(two.ask(only_if_cached("/serve/a")).await.text(), "old");
    let head = || reply(200).header("content-length", "3");
    two.origin.on("/bypass/a", head());
    assert_eq!(two.ask(ask("HEAD", "/bypass/a")).await.cache_status(), "larder; fwd=bypass; detail=cut-off");
    two.origin.on("/bypass/a", reply(206).header("content-range", "bytes 0-0/3").body("n"));
    assert_eq!(two.ask(get("/bypass/a").header("range", "bytes=0-0")).await.status, 206);
}

#[tokio::test(start_paused = true)]
async fn it_trusts_its_memory_again_when_it_has_caught_up_and_not_before() {
    let (tier, one, two) = two().await;
    tier.log().cuts("world 2", true);
    one.purge_for_all("{\"paths\": [\"/bypass/a\"]}").await;
    pass(LEASE).await;
    let gate = Gate::new();
    tier.log().holds_reads(&gate);
    tier.log().cuts("world 2", false);
    pass(SOON).await;
    assert!(gate.waiting() > 0, "it reads");
    two.origin.on("/bypass/a", fresh("new"));
    assert_eq!(two.get("/bypass/a").await.cache_status(), "larder; fwd=bypass; detail=cut-off");
    assert!(two.get("/serve/a").await.cache_status().ends_with("detail=cut-off"));
    gate.open();
    settle().await;
    two.origin.on("/bypass/a", fresh("newer"));
    let answer = two.get("/bypass/a").await;
    assert_eq!(
        (answer.text(), answer.cache_status()),
        ("newer", "larder; fwd=uri-miss; fwd-status=200; stored")
    );
    assert!(two.get("/serve/a").await.cache_status().ends_with("detail=memory"), "nothing has named it");
}

#[tokio::test(start_paused = true)]
async fn what_was_served_while_cut_off_is_dead_once_it_hears_of_it() {
    let (tier, one, two) = two().await;
    tier.log().cuts("world 2", true);
    pass(LEASE).await;
    one.purge_for_all("{\"paths\": [\"/serve/a\", \"/serve/b\"]}").await;
    two.origin.on("/serve/b", fresh("old"));
    two.get("/serve/b").await;
    for target in ["/serve/a", "/serve/b"] {
        assert!(two.get(target).await.cache_status().ends_with("detail=cut-off"));
    }
    tier.log().cuts("world 2", false);
    pass(SOON).await;
    for target in ["/serve/a", "/serve/b"] {
        two.origin.on(target, fresh("new"));
        assert_eq!(two.get(target).await.text(), "new");
    }
}

#[tokio::test(start_paused = true)]
async fn the_shared_tier_is_not_used_meanwhile() {
    let (tier, one, two) = two().await;
    one.origin.on("/serve/b", fresh("old"));
    one.get("/serve/b").await;
    settle().await;
    tier.log().cuts("world 2", true);
    pass(LEASE).await;
    let before = tier.counts();
    two.origin.on("/serve/b", fresh("new"));
    assert_eq!(two.get("/serve/b").await.text(), "new");
    settle().await;
    assert_eq!(tier.counts(), before);
    tier.log().cuts("world 2", false);
    pass(SOON).await;
    assert_eq!(two.get("/serve/b").await.text(), "new", "it is kept here");
    one.origin.on("/serve/c", fresh("c"));
    one.get("/serve/c").await;
    settle().await;
    assert!(two.get("/serve/c").await.cache_status().ends_with("detail=redis"));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_stopped_looks_at_the_clock_before_it_serves() {
    let (tier, one, two) = two().await;
    let gate = Gate::new();
    tier.log().holds_reads(&gate);
    // The reads under way end with this; the next ones wait.
    one.purge_for_all("{\"tags\": [\"first\"]}").await;
    one.invalidate("{\"paths\": [\"/bypass/a\"], \"wait\": \"self\"}").await.unwrap();
    settle().await;
    assert_eq!(two.get("/bypass/a").await.text(), "old");
    // No timer of its has fired, and nobody has told it anything.
    tokio::time::advance(LEASE).await;
    two.origin.on("/bypass/a", fresh("new"));
    assert_eq!(two.get("/bypass/a").await.cache_status(), "larder; fwd=bypass; detail=cut-off");
    gate.open();
    pass(SOON).await;
    two.origin.on("/bypass/a", fresh("newer"));
    assert_eq!(two.get("/bypass/a").await.text(), "newer");
}

#[tokio::test(start_paused = true)]
async fn a_short_cut_changes_nothing() {
    let (tier, one, two) = two().await;
    tier.log().cuts("world 2", true);
    pass_seconds(1).await;
    tier.log().cuts("world 2", false);
    pass(SOON).await;
    for _ in 0..20 {
        pass_seconds(1).await;
        assert!(two.get("/bypass/a").await.cache_status().ends_with("detail=memory"));
    }
    drop(one);
}

#[tokio::test(start_paused = true)]
async fn stale_windows_are_open_on_a_route_that_serves_on() {
    let (tier, _one, two) = two().await;
    two.origin.on("/stale/a", reply(200).header("cache-control", "max-age=5").body("old"));
    two.get("/stale/a").await;
    tier.log().cuts("world 2", true);
    pass_seconds(10).await;
    two.origin.on("/stale/a", reply(200).header("cache-control", "max-age=5").body("new"));
    assert_eq!(two.get("/stale/a").await.text(), "old");
    settle().await;
    let answer = two.get("/stale/a").await;
    assert_eq!((answer.text(), answer.cache_status()), ("new", "larder; hit; ttl=4; detail=cut-off"));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_came_back_empty_kills_all_that_was_before() {
    let (tier, one, two) = two().await;
    one.origin.on("/serve/b", fresh("old"));
    one.get("/serve/b").await;
    settle().await;
    tier.log().wiped();
    pass(SOON).await;
    assert!(tier.count() >= 3, "it lies there still");
    for world in [&one, &two] {
        world.origin.otherwise(|_| fresh("new"));
        for target in ["/serve/a", "/bypass/a", "/serve/b"] {
            assert_eq!(world.get(target).await.text(), "new", "{target}");
        }
        settle().await;
    }
    // What is fetched since is shared as ever.
    let three = World::sharing(&tier, CONFIG).await;
    assert_eq!(three.get("/serve/a").await.text(), "new");
    one.purge_for_all("{\"paths\": [\"/serve/a\"]}").await;
    for world in [&one, &two, &three] {
        world.origin.otherwise(|_| fresh("newest"));
        assert_eq!(world.get("/serve/a").await.text(), "newest");
        tier.loses_values();
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_from_before_the_log_was_lost_is_dead_when_it_comes() {
    let (tier, _one, two) = two().await;
    let gate = Gate::new();
    two.origin.on("/serve/b", fresh("old").held(&gate));
    let before = two.begin(get("/serve/b")).await;
    tier.log().wiped();
    pass(SOON).await;
    two.origin.on("/serve/b", fresh("new"));
    let after = two.begin(get("/serve/b")).await;
    gate.open();
    assert_eq!(before.answer().await.text(), "old");
    assert_eq!(after.answer().await.text(), "new");
    settle().await;
    assert_eq!(two.get("/serve/b").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_away_may_have_named_anything() {
    let (tier, one, two) = two().await;
    tier.log().cuts("world 2", true);
    for number in 0..5 {
        one.purge(&format!("{{\"tags\": [\"t{number}\"]}}")).await;
    }
    tier.log().trimmed_to(2);
    tier.log().cuts("world 2", false);
    pass(SOON).await;
    two.origin.on("/serve/a", fresh("new"));
    assert_eq!(two.get("/serve/a").await.text(), "new");
    assert!(two.get("/serve/a").await.cache_status().contains("hit"), "and is kept again");
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_away_after_it_was_read_harms_nobody() {
    let (tier, one, two) = two().await;
    for number in 0..5 {
        one.purge_for_all(&format!("{{\"tags\": [\"t{number}\"]}}")).await;
    }
    tier.log().trimmed_to(1);
    tier.log().cuts("world 2", true);
    settle().await;
    tier.log().cuts("world 2", false);
    pass(SOON).await;
    assert!(two.get("/serve/a").await.cache_status().contains("hit"));
}

#[tokio::test(start_paused = true)]
async fn one_that_starts_reads_the_log_before_it_uses_the_shared_tier() {
    let (tier, one, _two) = two().await;
    one.purge_for_all("{\"paths\": [\"/serve/a\"]}").await;
    let gate = Gate::new();
    tier.log().holds_reads(&gate);
    let three = World::sharing(&tier, CONFIG).await;
    let before = tier.counts().reads;
    three.origin.on("/serve/b", fresh("b"));
    assert_eq!(three.get("/serve/b").await.text(), "b");
    three.origin.on("/bypass/a", fresh("new"));
    let answer = three.get("/bypass/a").await;
    assert_eq!((answer.text(), answer.cache_status()), ("new", "larder; fwd=bypass; detail=cut-off"));
    assert_eq!(tier.counts().reads, before);
    gate.open();
    settle().await;
    three.origin.on("/serve/a", fresh("new"));
    assert_eq!(three.get("/serve/a").await.text(), "new", "it was declared invalid before three was there");
    assert_eq!(three.get("/bypass/a").await.text(), "old", "nothing has named it");
}

#[tokio::test(start_paused = true)]
async fn one_that_starts_without_a_log_works_without_it() {
    let tier = FakeTier::new();
    tier.log().is_away(true);
    let one = World::sharing(&tier, CONFIG).await;
    one.origin.on("/serve/a", fresh("old"));
    one.get("/serve/a").await;
    assert!(one.get("/serve/a").await.cache_status().ends_with("detail=cut-off"));
    assert_eq!(tier.counts().reads, 0);
    tier.log().is_away(false);
    pass(SOON).await;
    one.origin.on("/serve/a", fresh("new"));
    assert_eq!(one.get("/serve/a").await.text(), "new", "what was kept before any log was read is dead");
}

#[tokio::test(start_paused = true)]
async fn one_without_a_shared_tier_is_cut_off_from_nothing() {
    let world = World::new(CONFIG);
    world.origin.on("/bypass/a", fresh("one"));
    world.get("/bypass/a").await;
    pass_seconds(30).await;
    assert_eq!(world.get("/bypass/a").await.cache_status(), "larder; hit; ttl=30; detail=memory");
}
