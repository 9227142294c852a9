//! While the log is away, what is declared holds here at once and can't be kept here until it is written; once it is, all others
//! know of it too.

use std::time::Duration;

use larder::invalidation::{Event, Outcome, Wait};

use crate::client::{ask, get};
use crate::origin::{Gate, fresh, reply};
use crate::tier::FakeTier;
use crate::world::{World, pass, settle};

const SOON: Duration = Duration::from_millis(200);

async fn two(config: &str) -> (FakeTier, World, World) {
    let tier = FakeTier::new();
    let (one, two) = (World::sharing(&tier, config).await, World::sharing(&tier, config).await);
    one.origin.on("/a", fresh("old").header("surrogate-key", "said"));
    one.get("/a").await;
    settle().await;
    assert_eq!(two.get("/a").await.text(), "old");
    (tier, one, two)
}

#[tokio::test(start_paused = true)]
async fn what_is_declared_holds_here_and_nothing_it_names_is_kept_until_it_is_logged() {
    let (tier, one, two) = two("").await;
    tier.log().is_away(true);
    settle().await;
    let receipt = one.invalidate("{\"tags\": [\"said\"]}").await.unwrap();
    assert_eq!((receipt.outcome, receipt.position), (Outcome::NotLogged, None));
    assert_eq!((receipt.applied, receipt.lagging), (vec!["world 1".to_owned()], Vec::new()));
    for count in 2..5 {
        one.origin.on("/a", fresh("new").header("surrogate-key", "said"));
        assert_eq!(one.get("/a").await.text(), "new");
        settle().await;
        assert_eq!(one.origin.count(), count);
    }
    assert_eq!(two.get("/a").await.text(), "old", "nobody could tell it");
    one.origin.on("/b", fresh("other"));
    one.get("/b").await;
    assert!(one.get("/b").await.cache_status().contains("hit"), "what it does not name is kept");
    tier.log().is_away(false);
    pass(SOON).await;
    assert_eq!(tier.log().events().len(), 1);
    two.origin.on("/a", fresh("newer").header("surrogate-key", "said"));
    assert_eq!(two.get("/a").await.text(), "newer");
    settle().await;
    assert_eq!(one.get("/a").await.text(), "newer", "and it can be kept again");
    assert!(one.get("/a").await.cache_status().contains("hit"));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_could_not_be_logged_is_so_later() {
    let (tier, one, two) = two("").await;
    tier.log().cuts("world 1", true);
    settle().await;
    one.origin.on("/a", reply(204));
    assert_eq!(one.ask(ask("PUT", "/a").body("x")).await.status, 204);
    one.origin.on("/a", fresh("new"));
    assert_eq!(one.get("/a").await.text(), "new");
    assert_eq!(two.get("/a").await.text(), "old");
    tier.log().cuts("world 1", false);
    pass(SOON).await;
    two.origin.on("/a", fresh("new"));
    assert_eq!(two.get("/a").await.text(), "new");
    assert_eq!(tier.log().events().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_while_it_was_not_logged_does_not_come_back_with_it() {
    let (tier, one, _two) = two("").await;
    tier.log().is_away(true);
    settle().await;
    let gate = Gate::new();
    one.invalidate("{\"paths\": [\"/a\"]}").await.unwrap();
    one.origin.on("/a", fresh("between").held(&gate));
    let between = one.begin(get("/a")).await;
    tier.log().is_away(false);
    pass(SOON).await;
    gate.open();
    assert_eq!(between.answer().await.text(), "between");
    settle().await;
    // Nobody can tell whether it was asked for before that stood in the log.
    one.origin.on("/a", fresh("new"));
    assert_eq!(one.get("/a").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn several_are_logged_in_their_order_once_each() {
    let (tier, one, two) = two("").await;
    tier.log().is_away(true);
    settle().await;
    for number in 0..300 {
        one.declare(tagged(&format!("t{number}")), Wait::Own, SOON).await.unwrap();
    }
    tier.log().is_away(false);
    pass(SOON).await;
    let names: Vec<String> = tier.log().events().iter().map(|event| event.tags[0].clone()).collect();
    let expected: Vec<String> = (0..300).map(|number| format!("t{number}")).collect();
    assert_eq!(names, expected);
    // A session that is lost in the middle appends nothing twice that it has seen.
    tier.log().is_away(true);
    pass(SOON).await;
    tier.log().is_away(false);
    pass(SOON).await;
    assert_eq!(tier.log().events().len(), 300);
    assert_eq!(two.record().stamp(), one.record().stamp());
}

fn tagged(tag: &str) -> Event {
    Event { tags: vec![tag.to_owned()], ..Event::default() }
}

#[tokio::test(start_paused = true)]
async fn more_than_can_be_remembered_is_everything() {
    let (tier, one, two) = two("invalidation.max_unlogged = 5").await;
    tier.log().is_away(true);
    settle().await;
    for number in 0..5 {
        one.declare(tagged(&format!("t{number}")), Wait::Own, SOON).await.unwrap();
    }
    assert_eq!(one.get("/a").await.text(), "old");
    let late = one.declare(tagged("t5"), Wait::Log, SOON).await.unwrap();
    assert_eq!(late.outcome, Outcome::NotLogged);
    one.origin.on("/a", fresh("new"));
    assert_eq!(one.get("/a").await.text(), "new", "anything may be among what was forgotten");
    assert_eq!(two.get("/a").await.text(), "old");
    tier.log().is_away(false);
    pass(SOON).await;
    let events = tier.log().events();
    assert_eq!(events, [Event::everything()]);
    two.origin.on("/a", fresh("new"));
    assert_eq!(two.get("/a").await.text(), "new");
    // From then on all is as it was.
    one.purge_for_all("{\"tags\": [\"t6\"]}").await;
    assert!(two.get("/a").await.cache_status().contains("hit"));
}

#[tokio::test(start_paused = true)]
async fn soft_is_soft_before_it_is_logged_too() {
    let (tier, one, two) = two("").await;
    tier.log().is_away(true);
    settle().await;
    one.invalidate("{\"paths\": [\"/a\"], \"soft\": true, \"wait\": \"self\"}").await.unwrap();
    let gate = Gate::new();
    one.origin.on("/a", fresh("new").held(&gate));
    assert!(one.get("/a").await.cache_status().ends_with("detail=stale-while-revalidate"));
    assert!(two.get("/a").await.cache_status().contains("hit"));
    tier.log().is_away(false);
    pass(SOON).await;
    two.origin.on("/a", fresh("new"));
    assert!(two.get("/a").await.cache_status().ends_with("detail=stale-while-revalidate"));
    settle().await;
    gate.open();
}
