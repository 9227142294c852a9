//! What was changed through one instance is never again given by any of them, from memory or from the shared tier, whatever lies
//! there and whenever it gets there.

use crate::client::{ask, get};
use crate::origin::{Gate, fresh, reply};
use crate::tier::{FakeTier, Fault};
use crate::world::{World, pass_seconds, settle};

/// Changes `/a`, and has been told that this is done.
async fn change(world: &World) {
    world.origin.on("/a", reply(204));
    assert_eq!(world.ask(ask("PUT", "/a").body("new")).await.status, 204);
    settle().await;
}

async fn instance(tier: &FakeTier) -> World {
    World::sharing(tier, "").await
}

#[tokio::test(start_paused = true)]
async fn what_was_changed_through_one_is_dead_for_all() {
    let tier = FakeTier::new();
    let (one, other) = (instance(&tier).await, instance(&tier).await);
    one.origin.on("/a", fresh("old"));
    one.get("/a").await;
    settle().await;
    assert_eq!(other.get("/a").await.text(), "old");
    change(&one).await;
    assert_eq!(tier.count(), 1, "nothing is searched for or removed");
    other.origin.on("/a", fresh("new"));
    assert_eq!(other.get("/a").await.text(), "new");
    assert_eq!(instance(&tier).await.get("/a").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_change_by_anybody_is_one_for_everybody() {
    let tier = FakeTier::new();
    let config = "[identity]\ncredentials = [\"header:authorization\"]";
    let (one, other) = (World::sharing(&tier, config).await, World::sharing(&tier, config).await);
    let mine = || get("/a").header("authorization", "Bearer mine");
    one.origin.on("/a", fresh("mine").header("cache-control", "private"));
    one.ask(mine()).await;
    one.origin.on("/a", fresh("everyone's"));
    one.get("/a").await;
    settle().await;
    assert_eq!(tier.count(), 2);
    one.origin.on("/a", reply(204));
    one.ask(ask("PUT", "/a").header("authorization", "Bearer another's").body("new")).await;
    settle().await;
    other.origin.on("/a", fresh("new").header("cache-control", "private"));
    assert_eq!(other.ask(mine()).await.text(), "new");
    other.origin.on("/a", fresh("new"));
    assert_eq!(other.get("/a").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn what_lies_there_still_is_dead_for_the_instance_that_learnt_of_the_change() {
    // Written by itself or by another, removed or not.
    for by_other in [true, false] {
        let tier = FakeTier::new();
        let (one, other) = (instance(&tier).await, instance(&tier).await);
        let writer = if by_other { &other } else { &one };
        writer.origin.on("/a", fresh("old"));
        writer.get("/a").await;
        settle().await;
        tier.fails(Fault::LosesWrites);
        change(&one).await;
        tier.fails(Fault::None);
        assert_eq!(tier.count(), 1, "the removal was lost");
        one.origin.on("/a", fresh("new"));
        assert_eq!(one.get("/a").await.text(), "new");
        settle().await;
        assert_eq!(instance(&tier).await.get("/a").await.text(), "new");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_from_before_a_change_is_not_written() {
    let tier = FakeTier::new();
    let one = instance(&tier).await;
    let gate = Gate::new();
    one.origin.on("/a", fresh("old").held(&gate));
    let before = one.begin(get("/a")).await;
    change(&one).await;
    gate.open();
    assert_eq!(before.answer().await.text(), "old");
    settle().await;
    assert_eq!((tier.count(), tier.counts().puts), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_another_writes_that_does_not_know_of_the_change_yet_is_dead_here() {
    let tier = FakeTier::new();
    let (one, other) = (instance(&tier).await, instance(&tier).await);
    let gate = Gate::new();
    other.origin.on("/a", fresh("old").held(&gate));
    let before = other.begin(get("/a")).await;
    tier.log().cuts("world 2", true);
    change(&one).await;
    gate.open();
    before.answer().await;
    settle().await;
    assert_eq!(tier.count(), 1);
    one.origin.on("/a", fresh("new"));
    assert_eq!(one.get("/a").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_read_from_before_a_change_brings_nothing_back() {
    let tier = FakeTier::new();
    let (one, other) = (instance(&tier).await, instance(&tier).await);
    one.origin.on("/a", fresh("old"));
    one.get("/a").await;
    settle().await;
    let gate = Gate::new();
    tier.holds_reads(&gate);
    let reads = other.begin(get("/a")).await;
    assert_eq!(gate.waiting(), 1);
    tier.fails(Fault::LosesWrites);
    change(&other).await;
    other.origin.on("/a", fresh("new"));
    gate.open();
    assert_eq!(reads.answer().await.text(), "new");
    assert_eq!(other.get("/a").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_nobody_saw_answered_takes_it_too() {
    let tier = FakeTier::new();
    let one = instance(&tier).await;
    one.origin.on("/a", fresh("old"));
    one.get("/a").await;
    settle().await;
    let gate = Gate::new();
    one.origin.on("/a", reply(204).held(&gate));
    one.begin(ask("PUT", "/a").body("new")).await.leave();
    settle().await;
    let other = instance(&tier).await;
    other.origin.on("/a", fresh("new"));
    assert_eq!(other.get("/a").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn the_new_state_that_a_post_gives_is_found_by_the_others() {
    let tier = FakeTier::new();
    let (one, other) = (instance(&tier).await, instance(&tier).await);
    one.origin.on("/a", fresh("old"));
    one.get("/a").await;
    one.origin.on("/a", fresh("posted").header("content-location", "/a"));
    one.ask(ask("POST", "/a").body("new")).await;
    settle().await;
    assert_eq!(other.get("/a").await.text(), "posted");
    assert_eq!(other.origin.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_kept_any_longer_goes_from_there() {
    let tier = FakeTier::new();
    let (one, other) = (instance(&tier).await, instance(&tier).await);
    one.origin.on("/a", fresh("old").header("etag", "\"one\""));
    one.get("/a").await;
    settle().await;
    one.origin.on("/a", crate::origin::unstorable("new"));
    one.ask(get("/a").header("cache-control", "no-cache")).await;
    settle().await;
    assert_eq!(tier.count(), 0);
    other.origin.on("/a", fresh("newer"));
    assert_eq!(other.get("/a").await.text(), "newer");
}

#[tokio::test(start_paused = true)]
async fn what_takes_its_place_and_may_not_go_there_removes_it() {
    let tier = FakeTier::new();
    let one = instance(&tier).await;
    one.origin.on("/a", fresh("old"));
    one.get("/a").await;
    settle().await;
    assert_eq!(tier.count(), 1);
    one.origin.on("/a", reply(200).header("cache-control", "no-cache").header("etag", "\"n\"").body("new"));
    one.ask(get("/a").header("cache-control", "no-cache")).await;
    settle().await;
    assert_eq!(tier.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_fetch_does_not_take_the_place_of_a_later_one() {
    let tier = FakeTier::new();
    let (one, other) = (World::sharing(&tier, "").await, World::sharing(&tier, "").await);
    let third = World::sharing(&tier, "").await;
    let (tap, slow) = fresh("").header("content-length", "3").flowing();
    one.origin.on("/a", slow);
    let first = one.open(get("/a")).await;
    pass_seconds(1).await;
    other.origin.on("/a", fresh("new"));
    other.ask(get("/a").header("cache-control", "no-cache")).await;
    settle().await;
    tap.push("old").await;
    drop(tap);
    assert_eq!(first.rest().await.unwrap().text(), "old");
    settle().await;
    assert_eq!(third.get("/a").await.text(), "new");
}
