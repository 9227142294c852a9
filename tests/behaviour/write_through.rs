//! The answer to a change, kept as the new state: only where nothing else was declared of it since the change was sent.

use crate::client::{ask, get};
use crate::origin::{Gate, Reply, fresh, reply};
use crate::tier::FakeTier;
use crate::world::{World, settle};

const CONFIG: &str = "[[route]]\nname = \"doc\"\nmatch = \"/docs/{id}\"\nttl = \"60s\"\nwrite_through = true\n\
    tags = [\"doc:{id}\"]\ninvalidates = [\"docs\"]";

const BY_BODY: &str = "[[route]]\nname = \"doc\"\nmatch = \"/docs/{id}\"\nttl = \"60s\"\nwrite_through = true\n\
    tags = [\"owner:{body:/owner}\"]";

fn made() -> Reply {
    reply(200).header("surrogate-key", "said").body("{\"owner\": 5}")
}

#[tokio::test(start_paused = true)]
async fn whatever_names_the_new_state_meanwhile_comes_after_it() {
    for (order, is_kept) in [
        ("{\"tags\": [\"doc:1\"]}", false),
        ("{\"tags\": [\"said\"]}", false),
        ("{\"paths\": [\"/docs/1\"]}", false),
        ("{\"prefixes\": [\"/docs/\"]}", false),
        ("{\"routes\": [\"doc\"]}", false),
        ("{\"all\": true}", false),
        ("{\"tags\": [\"doc:1\"], \"soft\": true}", false),
        ("{\"tags\": [\"another's\"]}", true),
    ] {
        for by_other in [false, true] {
            let tier = FakeTier::new();
            let (one, two) = (World::sharing(&tier, CONFIG).await, World::sharing(&tier, CONFIG).await);
            let gate = Gate::new();
            one.origin.on("/docs/1", made().held(&gate));
            let changing = one.begin(ask("PUT", "/docs/1").body("x")).await;
            (if by_other { &two } else { &one }).purge_for_all(order).await;
            gate.open();
            let answer = changing.answer().await;
            assert_eq!(answer.cache_status().ends_with("; stored"), is_kept, "{order}");
            settle().await;
            if !is_kept {
                one.origin.on("/docs/1", reply(200).body("new"));
            }
            assert_eq!(one.get("/docs/1").await.text(), if is_kept { "{\"owner\": 5}" } else { "new" });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_its_body_names_it_nothing_at_all_may_come_between() {
    for order in ["{\"tags\": [\"owner:5\"]}", "{\"tags\": [\"another's\"]}"] {
        let world = World::new(BY_BODY);
        let gate = Gate::new();
        world.origin.on("/docs/1", made().held(&gate));
        let changing = world.begin(ask("PUT", "/docs/1").body("x")).await;
        world.purge(order).await;
        gate.open();
        changing.answer().await;
        settle().await;
        world.origin.on("/docs/1", reply(200).body("new"));
        assert_eq!(world.get("/docs/1").await.text(), "new");
    }
    let world = World::new(BY_BODY);
    world.origin.on("/docs/1", made());
    world.ask(ask("PUT", "/docs/1").body("x")).await;
    settle().await;
    assert!(world.get("/docs/1").await.cache_status().contains("hit"));
    world.purge("{\"tags\": [\"owner:5\"]}").await;
    world.origin.on("/docs/1", reply(200).body("new"));
    assert_eq!(world.get("/docs/1").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn of_two_changes_under_way_neither_answer_is_kept_unless_it_came_last_and_alone() {
    let world = World::new(CONFIG);
    let (first, second) = (Gate::new(), Gate::new());
    world.origin.on("/docs/1", reply(200).body("first").held(&first));
    world.origin.on("/docs/1", reply(200).body("second").held(&second));
    let one = world.begin(ask("PUT", "/docs/1").body("1")).await;
    let two = world.begin(ask("PUT", "/docs/1").body("2")).await;
    second.open();
    two.answer().await;
    settle().await;
    first.open();
    one.answer().await;
    settle().await;
    world.origin.on("/docs/1", reply(200).body("whichever came last"));
    assert_eq!(world.get("/docs/1").await.text(), "whichever came last");
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_its_body_does_is_heeded() {
    let world = World::new(CONFIG);
    let (tap, answer) = reply(200).flowing();
    world.origin.on("/docs/1", answer);
    let changing = world.begin(ask("PUT", "/docs/1").body("x")).await;
    tap.push("made").await;
    world.purge("{\"tags\": [\"doc:1\"]}").await;
    drop(tap);
    assert_eq!(changing.answer().await.text(), "made");
    settle().await;
    world.origin.on("/docs/1", reply(200).body("new"));
    assert_eq!(world.get("/docs/1").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_from_before_the_change_does_not_take_its_place() {
    let world = World::new(CONFIG);
    let gate = Gate::new();
    world.origin.on("/docs/1", fresh("old").held(&gate));
    let before = world.begin(get("/docs/1")).await;
    world.origin.on("/docs/1", reply(201).body("made"));
    assert_eq!(world.ask(ask("PUT", "/docs/1").body("x")).await.status, 201);
    settle().await;
    gate.open();
    assert_eq!(before.answer().await.text(), "old");
    settle().await;
    let answer = world.get("/docs/1").await;
    assert_eq!((answer.status, answer.text()), (200, "made"));
}

#[tokio::test(start_paused = true)]
async fn the_others_find_it_and_not_what_they_had() {
    let tier = FakeTier::new();
    let (one, two) = (World::sharing(&tier, CONFIG).await, World::sharing(&tier, CONFIG).await);
    two.origin.on("/docs/1", reply(200).body("old"));
    two.get("/docs/1").await;
    settle().await;
    one.origin.on("/docs/1", reply(201).body("made"));
    assert_eq!(one.ask(ask("PUT", "/docs/1").body("x")).await.status, 201);
    settle().await;
    let answer = two.get("/docs/1").await;
    assert_eq!((answer.status, answer.text()), (200, "made"));
    assert_eq!((one.origin.count(), two.origin.count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_logged_in_time_is_not_kept() {
    let tier = FakeTier::new();
    let (one, two) = (World::sharing(&tier, CONFIG).await, World::sharing(&tier, CONFIG).await);
    let gate = Gate::new();
    tier.log().holds_appends(&gate);
    one.origin.on("/docs/1", made());
    let answer = one.ask(ask("PUT", "/docs/1").body("x")).await;
    assert!(!answer.cache_status().ends_with("stored"), "{}", answer.cache_status());
    one.origin.on("/docs/1", reply(200).body("new"));
    assert_eq!(one.get("/docs/1").await.text(), "new");
    gate.open();
    settle().await;
    two.origin.on("/docs/1", reply(200).body("newer"));
    assert_eq!(two.get("/docs/1").await.text(), "newer");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_does_not_keep_others_from_it() {
    let world = World::new(CONFIG);
    let (tap, answer) = reply(200).flowing();
    world.origin.on("/docs/1", answer);
    let changing = world.begin(ask("PUT", "/docs/1").body("x")).await;
    tap.push("ma").await;
    changing.leave();
    settle().await;
    tap.push("de").await;
    drop(tap);
    settle().await;
    assert_eq!(world.get("/docs/1").await.text(), "made");
}
