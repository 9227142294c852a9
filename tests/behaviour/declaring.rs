//! Unsafe requests that pass through declare what they have changed: to all instances, whatever becomes of their answer, and
//! without anybody waiting for the log for long.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::{ask, get};
use crate::origin::{Connecting, Gate, fresh, reply};
use crate::tier::FakeTier;
use crate::world::{World, pass_seconds, settle};

const CONFIG: &str = "upstream.retries = 0\n[[route]]\nname = \"user\"\nmatch = \"/users/{id}\"\nttl = \"60s\"\n\
    tags = [\"user:{id}\"]\ninvalidates = [\"users\", \"team:{body:/team}\"]\n\
    [[route]]\nname = \"list\"\nmatch = \"/lists/{name}\"\nttl = \"60s\"\ntags = [\"{name}\"]";

/// Two instances that have all of these.
async fn two() -> (FakeTier, World, World) {
    let tier = FakeTier::new();
    let (one, two) = (World::sharing(&tier, CONFIG).await, World::sharing(&tier, CONFIG).await);
    for target in TARGETS {
        one.origin.on(target, reply(200).body("old"));
        one.get(target).await;
        settle().await;
        assert_eq!(two.get(target).await.text(), "old");
    }
    (tier, one, two)
}

const TARGETS: [&str; 4] = ["/users/5", "/users/6", "/lists/users", "/lists/team:7"];

/// Which of them this one has.
async fn has(world: &World) -> Vec<&'static str> {
    let mut held = Vec::new();
    for target in TARGETS {
        let answer = world.ask(get(target).header("cache-control", "only-if-cached")).await;
        if answer.status == 200 {
            held.push(target);
        }
    }
    held
}

#[tokio::test(start_paused = true)]
async fn what_a_route_names_is_invalid_for_all() {
    let (_tier, one, two) = two().await;
    let answer = reply(200).header("content-type", "application/json").body("{\"team\": 7}");
    two.origin.on("/users/5", answer);
    let answer = two.ask(ask("PATCH", "/users/5").body("x")).await;
    assert_eq!(answer.text(), "{\"team\": 7}", "the client has all of what was read ahead");
    settle().await;
    for world in [&one, &two] {
        assert_eq!(has(world).await, ["/users/6"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_read_for_its_names_is_passed_on_whole() {
    let (_tier, one, _two) = two().await;
    let (tap, answer) = reply(200).header("content-type", "application/json").flowing();
    one.origin.on("/users/5", answer);
    let asking = one.begin(ask("PATCH", "/users/5").body("x")).await;
    let filler = "x".repeat(30_000);
    tap.push(format!("{{\"filler\": \"{filler}\",")).await;
    tap.push("\"team\": 7}").await;
    drop(tap);
    assert_eq!(asking.answer().await.text(), format!("{{\"filler\": \"{filler}\",\"team\": 7}}"));
    assert_eq!(has(&one).await, ["/users/6"]);
}

#[tokio::test(start_paused = true)]
async fn where_it_can_not_be_told_what_was_changed_it_may_be_anything() {
    // It breaks off, takes too long, is compressed, names too much, or nobody is there any more to read it for.
    for how in 0..5 {
        let (tier, one, two) = two().await;
        let answer = reply(200).header("content-type", "application/json");
        let answer = if how == 2 { answer.header("content-encoding", "gzip") } else { answer };
        let (tap, answer) = answer.flowing();
        one.origin.on("/users/5", answer);
        let asking = one.begin(ask("PATCH", "/users/5").body("x")).await;
        tap.push("{\"team\": ").await;
        let is_over = match how {
            0 => {
                tap.die().await;
                asking.ended().await.is_err()
            }
            1 => {
                pass_seconds(6).await;
                tap.push("7}").await;
                drop(tap);
                asking.answer().await.text() == "{\"team\": 7}"
            }
            2 => {
                drop(tap);
                asking.answer().await.text() == "{\"team\": "
            }
            3 => {
                let long = "x".repeat(300);
                tap.push(format!("\"{long}\"}}")).await;
                drop(tap);
                asking.answer().await.text().len() > 300
            }
            _ => {
                asking.leave();
                true
            }
        };
        assert!(is_over, "{how}");
        settle().await;
        for world in [&one, &two] {
            assert_eq!(has(world).await, [""; 0], "{how}");
        }
        assert_eq!(tier.log().events().len(), 1, "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_head_tells_holds_though_the_client_goes_away_before_the_body_is_read() {
    let tier = FakeTier::new();
    let one = World::sharing(&tier, CONFIG).await;
    let (tap, answer) = reply(200).header("content-type", "application/json").flowing();
    one.origin.on("/users/5", answer.header("cache-group-invalidation", "\"group\""));
    let asking = one.begin(ask("PATCH", "/users/5").body("x")).await;
    asking.leave();
    settle().await;
    let events = tier.log().events();
    assert_eq!(events.len(), 1);
    assert!(events[0].all && events[0].tags == ["group"], "{events:?}");
    drop(tap);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_leaves_the_change_behind() {
    let (_tier, one, two) = two().await;
    let gate = Gate::new();
    one.origin.on("/users/5", reply(204).held(&gate));
    let asking = one.begin(ask("PUT", "/users/5").body("x")).await;
    assert_eq!(gate.waiting(), 1);
    assert_eq!(has(&one).await, TARGETS);
    asking.leave();
    settle().await;
    for world in [&one, &two] {
        assert_eq!(has(world).await, ["/users/6", "/lists/team:7"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_breaks_may_have_changed_it_all_the_same() {
    let (_tier, one, two) = two().await;
    one.origin.drop_connections();
    settle().await;
    one.origin.next_connection(Connecting::Raw);
    let asking = one.begin(ask("PUT", "/users/5").body("x")).await;
    let connection = one.origin.raw_connection().await;
    settle().await;
    drop(connection);
    assert_eq!(asking.answer().await.status, 502);
    settle().await;
    for world in [&one, &two] {
        assert_eq!(has(world).await, ["/users/6", "/lists/team:7"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_was_never_reached_has_changed_nothing() {
    let (tier, one, two) = two().await;
    one.origin.drop_connections();
    settle().await;
    one.origin.next_connection(Connecting::Refused);
    assert_eq!(one.ask(ask("PUT", "/users/5").body("x")).await.status, 502);
    settle().await;
    for world in [&one, &two] {
        assert_eq!(has(world).await, TARGETS);
    }
    assert_eq!(tier.log().events().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_too_slow_may_have_changed_it() {
    let tier = FakeTier::new();
    let config = format!("upstream.response_timeout = \"2s\"\n{CONFIG}");
    let one = World::sharing(&tier, &config).await;
    one.origin.on("/users/5", reply(200).body("old"));
    one.get("/users/5").await;
    let never = Gate::new();
    one.origin.on("/users/5", reply(204).held(&never));
    assert_eq!(one.ask(ask("PUT", "/users/5").body("x")).await.status, 504);
    assert_eq!(has(&one).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_was_changed_is_in_the_log_before_the_client_is_answered() {
    let (tier, one, two) = two().await;
    let gate = Gate::new();
    tier.log().holds_appends(&gate);
    one.origin.on("/users/5", reply(204));
    let asking = one.begin(ask("PUT", "/users/5").body("x")).await;
    assert_eq!((gate.waiting(), asking.is_over()), (1, false));
    assert_eq!(has(&two).await, TARGETS);
    gate.open();
    assert_eq!(asking.answer().await.status, 204);
    assert_eq!(tier.log().events().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_for_the_log_no_longer_than_for_any_command() {
    let (tier, one, two) = two().await;
    let gate = Gate::new();
    tier.log().holds_appends(&gate);
    one.origin.on("/users/5", reply(204));
    let began = Instant::now();
    assert_eq!(one.ask(ask("PUT", "/users/5").body("x")).await.status, 204);
    let took = began.elapsed();
    assert!((49..=60).contains(&took.as_millis()), "{took:?}");
    assert_eq!(has(&one).await, ["/users/6", "/lists/team:7"], "here it holds at once");
    assert_eq!(has(&two).await, TARGETS);
    // The append is one that hangs, and comes to something in the end.
    gate.open();
    settle().await;
    assert_eq!(has(&two).await, ["/users/6", "/lists/team:7"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_log_nobody_waits_for_it() {
    let (tier, one, _two) = two().await;
    tier.log().is_away(true);
    settle().await;
    one.origin.on("/users/5", reply(204));
    let began = Instant::now();
    assert_eq!(one.ask(ask("PUT", "/users/5").body("x")).await.status, 204);
    assert!(began.elapsed() < Duration::from_millis(5), "{:?}", began.elapsed());
    assert_eq!(has(&one).await, ["/users/6", "/lists/team:7"]);
}

#[tokio::test(start_paused = true)]
async fn groups_and_locations_are_invalid_for_all() {
    let tier = FakeTier::new();
    let (one, two) = (World::sharing(&tier, "").await, World::sharing(&tier, "").await);
    for (target, field, value) in [("/a", "cache-groups", "\"one\""), ("/b", "x", "x"), ("/c", "x", "x")] {
        one.origin.on(target, fresh("old").header(field, value));
        one.get(target).await;
        settle().await;
        two.get(target).await;
    }
    let answer = reply(201).header("location", "/b").header("content-location", "/c");
    two.origin.on("/made", answer.header("cache-group-invalidation", "\"one\""));
    two.ask(ask("POST", "/made").body("x")).await;
    settle().await;
    for target in ["/a", "/b", "/c"] {
        one.origin.on(target, fresh("new"));
        assert_eq!(one.get(target).await.text(), "new");
        settle().await;
        assert_eq!(two.get(target).await.text(), "new");
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_by_post_changes_nothing_and_a_write_by_it_does() {
    let config = "[[route]]\nname = \"search\"\nmatch = \"/search\"\nmethods = [\"GET\", \"POST\"]\nttl = \"60s\"\n\
        key = { body = \"json\" }\ninvalidates = [\"everything\"]";
    let tier = FakeTier::new();
    let world = World::sharing(&tier, config).await;
    world.origin.on("/a", fresh("old").header("surrogate-key", "everything"));
    world.get("/a").await;
    world.origin.on("/search", reply(200).body("found"));
    let search = || ask("POST", "/search").header("content-type", "application/json").body("{\"q\": 1}");
    assert_eq!(world.ask(search()).await.text(), "found");
    assert!(world.ask(search()).await.cache_status().contains("hit"));
    assert_eq!((world.get("/a").await.text(), tier.log().events().len()), ("old", 0));
    world.origin.on("/search", reply(200));
    world.ask(ask("DELETE", "/search")).await;
    pass_seconds(1).await;
    world.origin.on("/a", fresh("new"));
    assert_eq!(world.get("/a").await.text(), "new");
}
