//! What is softly declared invalid is stale: given once more, here and by the others, while a few fetches bring it up to date.

use crate::client::get;
use crate::origin::{Gate, fresh, reply};
use crate::tier::FakeTier;
use crate::world::{World, pass, pass_seconds, settle};

const STALE: &str = "detail=stale-while-revalidate";

#[tokio::test(start_paused = true)]
async fn one_fetch_is_made_however_many_are_given_it_stale() {
    let world = World::new("");
    world.origin.on("/a", fresh("old"));
    world.get("/a").await;
    world.purge("{\"paths\": [\"/a\"], \"soft\": true}").await;
    let gate = Gate::new();
    world.origin.on("/a", fresh("new").held(&gate));
    for waiting in world.begin_many(20, "/a").await {
        let answer = waiting.answer().await;
        assert!(answer.text() == "old" && answer.cache_status().ends_with(STALE));
    }
    assert_eq!((gate.waiting(), world.origin.count()), (1, 2));
    assert_eq!(world.telemetry.validation.refreshes.get(), 1);
    gate.open();
    settle().await;
    let answer = world.get("/a").await;
    assert!(answer.text() == "new" && answer.cache_status().ends_with("detail=memory"));
    assert_eq!(world.origin.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_are_fetched_at_once() {
    let world = World::new("[invalidation]\nmax_refreshes = 2");
    for page in 0..5 {
        world.origin.on(&format!("/{page}"), fresh("old").header("surrogate-key", "popular"));
        world.get(&format!("/{page}")).await;
    }
    world.purge("{\"tags\": [\"popular\"], \"soft\": true}").await;
    let gate = Gate::new();
    for page in 0..5 {
        world.origin.on(&format!("/{page}"), fresh("new").held(&gate));
        assert_eq!(world.get(&format!("/{page}")).await.text(), "old");
    }
    settle().await;
    let validation = &world.telemetry.validation;
    assert_eq!((gate.waiting(), validation.refreshes.get(), validation.deferred.get()), (2, 2, 3));
    gate.open();
    settle().await;
    let mut stale = 0;
    for page in 0..5 {
        stale += usize::from(world.get(&format!("/{page}")).await.text() == "old");
        settle().await;
    }
    assert_eq!(stale, 3, "whoever found no place tries again");
    for page in 0..5 {
        assert_eq!(world.get(&format!("/{page}")).await.text(), "new");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hard_event_ends_what_a_soft_one_left() {
    let world = World::new("");
    world.origin.on("/a", fresh("old").header("surrogate-key", "said"));
    world.get("/a").await;
    world.purge("{\"tags\": [\"said\"], \"soft\": true}").await;
    let gate = Gate::new();
    world.origin.on("/a", fresh("old still").header("surrogate-key", "said").held(&gate));
    assert_eq!(world.get("/a").await.text(), "old");
    settle().await;
    world.purge("{\"tags\": [\"said\"]}").await;
    world.origin.on("/a", fresh("new"));
    let after = world.begin(get("/a")).await;
    gate.open();
    assert_eq!(after.answer().await.text(), "new");
    settle().await;
    assert_eq!(world.get("/a").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_from_before_is_stale_when_it_comes() {
    let world = World::new("");
    let gate = Gate::new();
    world.origin.on("/a", fresh("old").held(&gate));
    let before = world.begin(get("/a")).await;
    world.purge("{\"paths\": [\"/a\"], \"soft\": true}").await;
    gate.open();
    before.answer().await;
    settle().await;
    world.origin.on("/a", fresh("new"));
    assert!(world.get("/a").await.cache_status().ends_with(STALE));
    settle().await;
    assert_eq!(world.get("/a").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn every_instance_gives_it_stale_and_one_fetches_it_for_all() {
    let tier = FakeTier::new();
    let (one, two) = (World::sharing(&tier, "").await, World::sharing(&tier, "").await);
    let three = World::sharing(&tier, "").await;
    tier.hears();
    settle().await;
    one.origin.on("/a", fresh("old"));
    one.get("/a").await;
    settle().await;
    assert_eq!(two.get("/a").await.text(), "old");
    one.purge_for_all("{\"paths\": [\"/a\"], \"soft\": true}").await;
    // From the shared tier it is stale as well.
    let gate = Gate::new();
    three.origin.on("/a", fresh("new").held(&gate));
    for world in [&three, &two, &one] {
        let answer = world.get("/a").await;
        assert!(
            answer.text() == "old" && answer.cache_status().ends_with(STALE),
            "{}",
            answer.cache_status()
        );
        settle().await;
    }
    assert_eq!((three.origin.count(), two.origin.count(), one.origin.count()), (1, 0, 1));
    gate.open();
    settle().await;
    for world in [&three, &two, &one] {
        assert_eq!(world.get("/a").await.text(), "new");
    }
    assert_eq!((two.origin.count(), one.origin.count()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_fails_takes_nothing_away() {
    let world = World::new("upstream.retries = 0\nupstream.response_timeout = \"2s\"");
    world.origin.on("/a", fresh("old"));
    world.get("/a").await;
    world.purge("{\"paths\": [\"/a\"], \"soft\": true}").await;
    let never = Gate::new();
    world.origin.on("/a", fresh("late").held(&never));
    assert_eq!(world.get("/a").await.text(), "old");
    pass_seconds(3).await;
    world.origin.on("/a", reply(500));
    assert_eq!(world.get("/a").await.text(), "old");
    pass_seconds(2).await;
    let (tap, half) = fresh("").flowing();
    world.origin.on("/a", half);
    assert_eq!(world.get("/a").await.text(), "old");
    settle().await;
    tap.push("half").await;
    tap.die().await;
    pass_seconds(2).await;
    world.origin.on("/a", fresh("new"));
    assert_eq!(world.get("/a").await.text(), "old");
    settle().await;
    assert_eq!(world.get("/a").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn places_are_given_back_by_fetches_that_fail() {
    let world = World::new("invalidation.max_refreshes = 1\nupstream.retries = 0");
    for page in 0..3 {
        world.origin.on(&format!("/{page}"), fresh("old"));
        world.get(&format!("/{page}")).await;
    }
    world.purge("{\"all\": true, \"soft\": true}").await;
    for page in 0..3 {
        world.origin.on(&format!("/{page}"), reply(503));
        assert_eq!(world.get(&format!("/{page}")).await.text(), "old");
        settle().await;
    }
    assert_eq!((world.origin.count(), world.telemetry.validation.deferred.get()), (6, 0));
}

#[tokio::test(start_paused = true)]
async fn it_is_given_no_longer_than_its_lifetime() {
    let world = World::new("");
    world.origin.on("/a", fresh("old"));
    world.get("/a").await;
    world.purge("{\"paths\": [\"/a\"], \"soft\": true}").await;
    pass(std::time::Duration::from_secs(60)).await;
    world.origin.on("/a", reply(503));
    assert_eq!(world.get("/a").await.status, 503);
}
