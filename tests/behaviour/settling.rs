//! What is fetched soon after it was named may come of a replica that lags: it lives no longer than that takes.

use std::time::Duration;

use larder::invalidation::{Event, Wait};

use crate::origin::{Gate, fresh};
use crate::tier::FakeTier;
use crate::world::{World, pass, pass_seconds, settle};

const SETTLES: &str = "[[route]]\nname = \"all\"\nmatch = \"/{*rest}\"\nsettle = \"2s\"";

fn event(tag: &str, settle: Duration) -> Event {
    let settle_ms = u64::try_from(settle.as_millis()).unwrap();
    Event { tags: vec![tag.to_owned()], settle_ms, ..Event::default() }
}

/// How long what is fetched now is fresh.
async fn ttl(world: &World, target: &str) -> String {
    world.origin.on(target, fresh("one").header("surrogate-key", "said"));
    world.get(target).await;
    settle().await;
    let status = world.get(target).await.cache_status().to_owned();
    assert!(status.contains("hit"), "{status}");
    status.split("ttl=").nth(1).unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn the_route_of_another_instance_settles_too() {
    let tier = FakeTier::new();
    let (one, two) = (World::sharing(&tier, SETTLES).await, World::sharing(&tier, SETTLES).await);
    pass_seconds(200).await;
    one.purge_for_all("{\"tags\": [\"said\"]}").await;
    assert_eq!(ttl(&two, "/a").await, "1");
    // What the other has fetched is as short here.
    assert_eq!(one.get("/a").await.cache_status(), "larder; hit; ttl=1; detail=redis");
    pass_seconds(3).await;
    assert_eq!(ttl(&one, "/a").await, "59");
}

#[tokio::test(start_paused = true)]
async fn an_event_may_say_how_long_for_itself() {
    let tier = FakeTier::new();
    let (one, two) = (World::sharing(&tier, "").await, World::sharing(&tier, "").await);
    pass_seconds(10).await;
    one.declare(event("said", Duration::from_secs(5)), Wait::Log, Duration::from_secs(5)).await.unwrap();
    settle().await;
    assert_eq!(ttl(&one, "/a").await, "4");
    assert_eq!(ttl(&two, "/b").await, "4");
    one.origin.on("/c", fresh("another"));
    one.get("/c").await;
    assert!(one.get("/c").await.cache_status().contains("ttl=60"), "it was not named");
    pass_seconds(5).await;
    assert_eq!(ttl(&two, "/a").await, "59");
}

#[tokio::test(start_paused = true)]
async fn of_several_words_the_shortest_life_counts() {
    let world = World::new(SETTLES);
    pass_seconds(200).await;
    for seconds in [10, 5] {
        let event = event("said", Duration::from_secs(seconds));
        world.declare(event, Wait::Own, Duration::from_secs(5)).await.unwrap();
    }
    assert_eq!(ttl(&world, "/a").await, "1");
    pass_seconds(3).await;
    assert_eq!(ttl(&world, "/a").await, "4", "the route has settled, the events have not");
    pass_seconds(5).await;
    assert_eq!(ttl(&world, "/a").await, "9");
    pass_seconds(10).await;
    assert_eq!(ttl(&world, "/a").await, "59");
}

#[tokio::test(start_paused = true)]
async fn it_counts_when_it_was_asked_for_not_when_it_came() {
    let world = World::new(SETTLES);
    pass_seconds(200).await;
    let gate = Gate::new();
    world.purge("{\"paths\": [\"/a\"]}").await;
    pass(Duration::from_millis(1500)).await;
    world.origin.on("/a", fresh("lags").held(&gate));
    let asking = world.begin(crate::client::get("/a")).await;
    pass_seconds(5).await;
    gate.open();
    asking.answer().await;
    settle().await;
    assert!(world.get("/a").await.cache_status().contains("ttl=1;"), "the replica was asked within the time");
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_before_and_what_starts_anew_is_not_named() {
    let world = World::new(SETTLES);
    assert_eq!(ttl(&world, "/a").await, "59", "nothing was ever named");
    world.purge("{\"paths\": [\"/b\"]}").await;
    assert!(world.get("/a").await.cache_status().contains("hit"));
}
