//! What is acknowledged to who declares something invalid: that those it waits for have applied it, and who they are. Nobody is
//! waited for who can't serve what is old, and nothing is said to hold that may not.

use std::time::Duration;

use larder::invalidation::{Event, Outcome, Receipt, Wait};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::origin::{Gate, fresh};
use crate::tier::FakeTier;
use crate::world::{World, pass, pass_seconds, settle};

const BYPASS: &str = "[[route]]\nname = \"all\"\nmatch = \"/{*rest}\"\nwhen_cut_off = \"bypass\"";

/// Longer than any instance has grace for.
const GRACE: Duration = Duration::from_millis(3400);
const SOON: Duration = Duration::from_millis(200);

/// Several worlds that have been together for a while.
async fn worlds<const N: usize>() -> (FakeTier, [World; N]) {
    let tier = FakeTier::new();
    let mut worlds = Vec::new();
    for _ in 0..N {
        worlds.push(World::sharing(&tier, BYPASS).await);
    }
    pass(GRACE).await;
    (tier, worlds.try_into().ok().unwrap())
}

/// What came of it, and how long that took.
async fn timed(declared: JoinHandle<Receipt>) -> (Receipt, Duration) {
    let began = Instant::now();
    let receipt = declared.await.unwrap();
    (receipt, began.elapsed())
}

fn names(receipt: &Receipt) -> Vec<&str> {
    let mut names: Vec<&str> = receipt.applied.iter().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn message(number: u64) -> Event {
    Event { tags: vec!["a".to_owned()], message: Some(number), ..Event::default() }
}

#[tokio::test(start_paused = true)]
async fn all_who_live_have_applied_it_and_are_named() {
    let (tier, [one, two, three]) = worlds().await;
    one.origin.on("/a", fresh("old"));
    for world in [&one, &two, &three] {
        assert_eq!(world.get("/a").await.text(), "old");
        settle().await;
    }
    let (receipt, took) = timed(two.invalidate("{\"paths\": [\"/a\"]}")).await;
    assert_eq!((receipt.outcome, receipt.position, receipt.is_replay), (Outcome::Met, Some(2), false));
    assert_eq!(names(&receipt), ["world 1", "world 2", "world 3"]);
    assert_eq!(receipt.lagging, [""; 0]);
    assert!(took < Duration::from_millis(10), "{took:?}");
    for world in [&one, &two, &three] {
        world.origin.on("/a", fresh("new"));
        assert_eq!(world.get("/a").await.text(), "new");
        settle().await;
        tier.loses_values();
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_log_or_for_this_instance_waits_for_nobody_else() {
    let (tier, [one, _two]) = worlds().await;
    tier.log().cuts("world 2", true);
    settle().await;
    let (receipt, took) = timed(one.invalidate("{\"tags\": [\"a\"], \"wait\": \"log\"}")).await;
    assert_eq!((receipt.outcome, receipt.position), (Outcome::Met, Some(2)));
    assert!(took < Duration::from_millis(5), "{took:?}");
    let (receipt, took) = timed(one.invalidate("{\"tags\": [\"a\"], \"wait\": \"self\"}")).await;
    assert_eq!((receipt.outcome, names(&receipt)), (Outcome::Met, vec!["world 1"]));
    assert!(took < Duration::from_millis(5), "{took:?}");
    tier.log().is_away(true);
    settle().await;
    let receipt = one.invalidate("{\"tags\": [\"a\"], \"wait\": \"self\"}").await.unwrap();
    assert_eq!((receipt.outcome, receipt.position), (Outcome::Met, None));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cut_off_is_waited_for_until_it_trusts_its_memory_no_more() {
    let (tier, [one, two]) = worlds().await;
    two.origin.on("/a", fresh("old"));
    two.get("/a").await;
    settle().await;
    tier.log().cuts("world 2", true);
    let declared = one.invalidate("{\"paths\": [\"/a\"]}");
    let began = Instant::now();
    let mut last_served_old = Duration::ZERO;
    while !declared.is_finished() {
        if two.get("/a").await.text() == "old" {
            last_served_old = began.elapsed();
            assert!(!declared.is_finished());
        }
        two.origin.otherwise(|_| fresh("new"));
        pass(Duration::from_millis(10)).await;
        assert!(began.elapsed() < Duration::from_secs(4));
    }
    let receipt = declared.await.unwrap();
    assert_eq!((receipt.outcome, names(&receipt)), (Outcome::Met, vec!["world 1"]));
    assert!(began.elapsed() > last_served_old + Duration::from_millis(250), "{last_served_old:?}");
    assert!(last_served_old > Duration::from_millis(1900), "{last_served_old:?}");
    assert_eq!(two.get("/a").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn one_that_has_died_is_waited_for_as_long_and_then_forgotten() {
    let (tier, [one, two]) = worlds().await;
    two.dies();
    let (receipt, took) = timed(one.invalidate("{\"tags\": [\"a\"]}")).await;
    assert_eq!((receipt.outcome, names(&receipt)), (Outcome::Met, vec!["world 1"]));
    assert!((2..=4).contains(&took.as_secs()), "{took:?}");
    pass_seconds(2).await;
    assert_eq!(tier.log().lines(), ["world 1"]);
    let (_, took) = timed(one.invalidate("{\"tags\": [\"a\"]}")).await;
    assert!(took < Duration::from_millis(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_leaves_is_not_waited_for() {
    let (tier, [one, two]) = worlds().await;
    two.origin.on("/a", fresh("old"));
    two.get("/a").await;
    settle().await;
    two.record().leave().await;
    assert_eq!(tier.log().lines(), ["world 1"]);
    let (receipt, took) = timed(one.invalidate("{\"paths\": [\"/a\"]}")).await;
    assert_eq!((receipt.outcome, names(&receipt)), (Outcome::Met, vec!["world 1"]));
    assert!(took < Duration::from_millis(10), "{took:?}");
    two.origin.on("/a", fresh("new"));
    assert_eq!(two.get("/a").await.text(), "new", "it serves nothing from memory any more");
}

#[tokio::test(start_paused = true)]
async fn when_the_time_is_up_those_who_lag_are_named() {
    let (tier, [one, _two, _three]) = worlds().await;
    tier.log().cuts("world 2", true);
    let (receipt, took) = timed(one.invalidate("{\"tags\": [\"a\"], \"timeout\": \"1s\"}")).await;
    assert_eq!((receipt.outcome, receipt.position), (Outcome::Late, Some(2)));
    assert_eq!(
        (names(&receipt), &receipt.lagging[..]),
        (vec!["world 1", "world 3"], &["world 2".to_owned()][..])
    );
    assert!((1000..1010).contains(&took.as_millis()), "{took:?}");
    tier.log().cuts("world 2", false);
    pass(SOON).await;
    let receipt = one.invalidate("{\"tags\": [\"a\"]}").await.unwrap();
    assert_eq!((receipt.outcome, names(&receipt)), (Outcome::Met, vec!["world 1", "world 2", "world 3"]));
}

#[tokio::test(start_paused = true)]
async fn one_that_reads_slowly_is_waited_for() {
    let (tier, [one, two]) = worlds().await;
    let gate = Gate::new();
    tier.log().holds_reads(&gate);
    // Reads under way have not seen the gate; the next ones do.
    one.invalidate("{\"tags\": [\"first\"], \"wait\": \"log\", \"timeout\": \"100ms\"}").await.unwrap();
    settle().await;
    let declared = one.invalidate("{\"tags\": [\"a\"]}");
    pass(SOON).await;
    assert!(!declared.is_finished());
    gate.open();
    let receipt = declared.await.unwrap();
    assert_eq!((receipt.outcome, names(&receipt)), (Outcome::Met, vec!["world 1", "world 2"]));
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn one_that_has_just_started_acknowledges_nothing_yet() {
    let tier = FakeTier::new();
    let one = World::sharing(&tier, BYPASS).await;
    let (receipt, took) = timed(one.invalidate("{\"tags\": [\"a\"]}")).await;
    assert_eq!(receipt.outcome, Outcome::Met);
    assert!((3250..3350).contains(&took.as_millis()), "{took:?}");
    let two = World::sharing(&tier, BYPASS).await;
    let receipt = two.invalidate("{\"tags\": [\"a\"], \"timeout\": \"2s\"}").await.unwrap();
    assert_eq!((receipt.outcome, receipt.lagging.len()), (Outcome::Late, 0));
    let (receipt, took) = timed(one.invalidate("{\"tags\": [\"a\"]}")).await;
    assert_eq!(names(&receipt), ["world 1", "world 2"]);
    assert!(took < Duration::from_millis(10), "who is long there may: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn after_the_log_was_lost_nothing_is_acknowledged_for_a_lease() {
    let (tier, [one, two]) = worlds().await;
    // The lines are lost with it: of this one nobody can know, and it trusts its memory still.
    tier.log().cuts("world 2", true);
    two.origin.on("/a", fresh("old"));
    two.get("/a").await;
    tier.log().wiped();
    pass(SOON).await;
    let (receipt, took) = timed(one.invalidate("{\"paths\": [\"/a\"]}")).await;
    assert_eq!((receipt.outcome, names(&receipt)), (Outcome::Met, vec!["world 1"]));
    assert!((2900..3300).contains(&took.as_millis()), "{took:?}");
    two.origin.on("/a", fresh("new"));
    assert_eq!(two.get("/a").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_log_is_lost_while_it_is_waited_for_is_declared_anew() {
    let (tier, [one, two]) = worlds().await;
    tier.log().cuts("world 2", true);
    let declared = one.invalidate("{\"paths\": [\"/a\"], \"timeout\": \"10s\"}");
    pass(SOON).await;
    assert!(!declared.is_finished());
    tier.log().wiped();
    tier.log().cuts("world 2", false);
    let receipt = declared.await.unwrap();
    assert_eq!((receipt.outcome, names(&receipt)), (Outcome::Met, vec!["world 1", "world 2"]));
    let events = tier.log().events();
    assert_eq!(events.iter().filter(|event| event.paths == ["/a"]).count(), 1);
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_away_for_a_moment_is_waited_for_and_then_not() {
    let (tier, [one, two]) = worlds().await;
    tier.log().is_away(true);
    let declared = one.invalidate("{\"tags\": [\"a\"]}");
    pass(Duration::from_millis(120)).await;
    assert!(!declared.is_finished());
    tier.log().is_away(false);
    let receipt = declared.await.unwrap();
    assert_eq!((receipt.outcome, names(&receipt)), (Outcome::Met, vec!["world 1", "world 2"]));
    tier.log().is_away(true);
    settle().await;
    let (receipt, took) = timed(one.invalidate("{\"tags\": [\"a\"]}")).await;
    assert_eq!((receipt.outcome, receipt.position), (Outcome::NotLogged, None));
    assert!((200..300).contains(&took.as_millis()), "{took:?}");
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn the_same_message_again_is_acknowledged_and_does_nothing_wherever_it_comes() {
    let (tier, [one, two]) = worlds().await;
    let declare = |world: &World| world.declare(message(7), Wait::All, Duration::from_secs(5));
    let first = declare(&one).await.unwrap();
    assert_eq!((first.outcome, first.position, first.is_replay), (Outcome::Met, Some(2), false));
    for world in [&one, &two] {
        world.origin.on("/a", fresh("new").header("surrogate-key", "a"));
        world.get("/a").await;
        settle().await;
        let again = declare(world).await.unwrap();
        assert_eq!((again.outcome, again.position, again.is_replay), (Outcome::Met, Some(2), true));
        assert_eq!(names(&again), ["world 1", "world 2"]);
        assert!(world.get("/a").await.cache_status().contains("hit"));
        tier.loses_values();
    }
    assert_eq!(tier.log().events().len(), 1);
    // One that starts has read of it.
    let three = World::sharing(&tier, BYPASS).await;
    assert!(declare(&three).await.unwrap().is_replay);
    let other = one.declare(message(8), Wait::All, Duration::from_secs(5)).await.unwrap();
    assert_eq!((other.position, other.is_replay), (Some(3), false));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_could_not_be_logged_is_no_replay_until_it_is() {
    let (tier, [one, two]) = worlds().await;
    tier.log().is_away(true);
    settle().await;
    let declare = |world: &World| world.declare(message(7), Wait::All, Duration::from_secs(5));
    for _ in 0..2 {
        let receipt = declare(&one).await.unwrap();
        assert_eq!((receipt.outcome, receipt.is_replay), (Outcome::NotLogged, false));
    }
    tier.log().is_away(false);
    pass(SOON).await;
    let receipt = declare(&two).await.unwrap();
    assert_eq!((receipt.outcome, receipt.is_replay), (Outcome::Met, true));
}

#[tokio::test(start_paused = true)]
async fn a_replay_waits_for_those_who_have_not_applied_it() {
    let (tier, [one, two]) = worlds().await;
    tier.log().cuts("world 2", true);
    let declare = || one.declare(message(7), Wait::All, Duration::from_secs(1));
    assert_eq!(declare().await.unwrap().outcome, Outcome::Late);
    let again = declare().await.unwrap();
    assert_eq!(
        (again.outcome, again.is_replay, again.lagging),
        (Outcome::Late, true, vec!["world 2".to_owned()])
    );
    tier.log().cuts("world 2", false);
    pass(SOON).await;
    assert_eq!(declare().await.unwrap().outcome, Outcome::Met);
    assert_eq!(tier.log().events().len(), 1);
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn alone_it_is_applied_at_once_whoever_is_waited_for() {
    let world = World::new("");
    for (position, wait) in [(1, "all"), (2, "log"), (3, "self")] {
        let (receipt, took) =
            timed(world.invalidate(&format!("{{\"all\": true, \"wait\": \"{wait}\"}}"))).await;
        assert_eq!((receipt.outcome, receipt.position), (Outcome::Met, Some(position)));
        assert_eq!((names(&receipt), took), (vec!["alone"], Duration::ZERO));
    }
    let declare = || world.declare(message(7), Wait::All, Duration::from_secs(1));
    assert!(!declare().await.unwrap().is_replay);
    assert!(declare().await.unwrap().is_replay);
}

#[tokio::test(start_paused = true)]
async fn many_at_once_are_all_acknowledged() {
    let (tier, [one, two]) = worlds().await;
    let all: Vec<_> = (0..500)
        .map(|number| {
            let world = if number % 2 == 0 { &one } else { &two };
            world.invalidate(&format!("{{\"tags\": [\"t{number}\"]}}"))
        })
        .collect();
    let began = Instant::now();
    let mut positions = Vec::new();
    for declared in all {
        let receipt = declared.await.unwrap();
        assert_eq!((receipt.outcome, names(&receipt)), (Outcome::Met, vec!["world 1", "world 2"]));
        positions.push(receipt.position.unwrap());
    }
    positions.sort_unstable();
    assert_eq!(positions, (2..502).collect::<Vec<_>>());
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    assert_eq!(tier.log().events().len(), 500);
}
