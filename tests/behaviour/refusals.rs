//! Whom the upstream refuses is given nothing any more that was kept for that one, by no instance.

use crate::client::{Ask, ask, get};
use crate::origin::{Reply, fresh, reply};
use crate::tier::FakeTier;
use crate::world::{World, pass_seconds, settle};

fn by(who: &str) -> Ask {
    get("/a").header("authorization", &format!("Bearer {who}"))
}

fn private(body: &'static str) -> Reply {
    reply(200).header("cache-control", "private, max-age=60").body(body)
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_one_instance_is_one_by_all() {
    for status in [401, 403] {
        let tier = FakeTier::new();
        let (one, two) = (World::sharing(&tier, "").await, World::sharing(&tier, "").await);
        for who in ["ann", "bob"] {
            one.origin.on("/a", private("old"));
            one.ask(by(who)).await;
            settle().await;
            assert_eq!(two.ask(by(who)).await.text(), "old");
        }
        two.origin.on("/a", reply(status));
        assert_eq!(two.ask(by("ann").header("cache-control", "no-cache")).await.status, status);
        settle().await;
        let three = World::sharing(&tier, "").await;
        for world in [&one, &two, &three] {
            world.origin.on("/a", reply(status));
            assert_eq!(world.ask(by("ann")).await.status, status);
            assert_eq!(world.ask(by("bob")).await.text(), "old", "another's");
            settle().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_variant_of_it_goes() {
    let tier = FakeTier::new();
    let (one, two) = (World::sharing(&tier, "").await, World::sharing(&tier, "").await);
    let ask = |language: &str| by("ann").header("accept-language", language);
    for language in ["de", "en"] {
        one.origin.on("/a", private("old").header("vary", "accept-language"));
        one.ask(ask(language)).await;
        settle().await;
        two.ask(ask(language)).await;
    }
    one.origin.on("/a", reply(403));
    one.ask(ask("de").header("cache-control", "no-cache")).await;
    settle().await;
    for world in [&one, &two] {
        for language in ["de", "en"] {
            world.origin.on("/a", reply(403));
            assert_eq!(world.ask(ask(language)).await.status, 403);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_asked_before_being_refused_may_ask_again_later() {
    let world = World::new("");
    world.origin.on("/a", private("old"));
    world.ask(by("ann")).await;
    world.origin.on("/a", reply(401));
    world.ask(by("ann").header("cache-control", "no-cache")).await;
    world.origin.on("/a", private("new"));
    assert_eq!(world.ask(by("ann")).await.text(), "new");
    assert!(world.ask(by("ann")).await.cache_status().contains("hit"));
}

#[tokio::test(start_paused = true)]
async fn strangers_who_are_refused_fill_no_log() {
    let tier = FakeTier::new();
    let one = World::sharing(&tier, "").await;
    one.origin.on("/a", fresh("everyone's"));
    one.get("/a").await;
    for number in 0..20 {
        one.origin.on("/a", reply(401));
        assert_eq!(one.ask(by(&number.to_string())).await.status, 401);
    }
    settle().await;
    assert_eq!(tier.log().events().len(), 0);
    assert_eq!(one.get("/a").await.text(), "everyone's");
}

#[tokio::test(start_paused = true)]
async fn one_that_has_nothing_of_theirs_tells_those_who_have() {
    let tier = FakeTier::new();
    let (one, two) = (World::sharing(&tier, "").await, World::sharing(&tier, "").await);
    for language in ["de", "en"] {
        one.origin.on("/a", private("old").header("vary", "accept-language"));
        one.ask(by("ann").header("accept-language", language)).await;
        settle().await;
    }
    // It asks at once, since the client wants it new, and has looked nowhere.
    two.origin.on("/a", reply(403));
    let new = by("ann").header("accept-language", "fr").header("cache-control", "no-cache");
    assert_eq!(two.ask(new).await.status, 403);
    settle().await;
    for language in ["de", "en"] {
        one.origin.on("/a", reply(403));
        assert_eq!(one.ask(by("ann").header("accept-language", language)).await.status, 403);
    }
    assert_eq!(tier.log().events().len(), 1, "once was enough");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_passing_is_one_too() {
    let config = "[[route]]\nname = \"all\"\nmatch = \"/a\"\nwhen_cut_off = \"bypass\"";
    let tier = FakeTier::new();
    for method in ["GET", "HEAD", "POST", "DELETE"] {
        let (one, two) = (World::sharing(&tier, config).await, World::sharing(&tier, config).await);
        one.origin.on("/a", private("old"));
        one.ask(by("ann")).await;
        settle().await;
        assert_eq!(two.ask(by("ann")).await.text(), "old");
        // What is conditional for the upstream, or changes something, is passed.
        let passed = ask(method, "/a").header("authorization", "Bearer ann").header("if-match", "\"x\"");
        two.origin.on("/a", reply(401));
        assert_eq!(two.ask(passed).await.status, 401);
        settle().await;
        for world in [&one, &two] {
            world.origin.on("/a", reply(401));
            assert_eq!(world.ask(by("ann")).await.status, 401, "{method}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_while_cut_off_is_so_afterwards() {
    let config = "[[route]]\nname = \"all\"\nmatch = \"/a\"\nwhen_cut_off = \"bypass\"";
    let tier = FakeTier::new();
    let (one, two) = (World::sharing(&tier, config).await, World::sharing(&tier, config).await);
    two.origin.on("/a", private("old"));
    two.ask(by("ann")).await;
    settle().await;
    one.ask(by("ann")).await;
    tier.log().cuts("world 2", true);
    pass_seconds(4).await;
    two.origin.on("/a", reply(401));
    assert_eq!(two.ask(by("ann")).await.status, 401);
    tier.log().cuts("world 2", false);
    pass_seconds(1).await;
    for world in [&one, &two] {
        world.origin.on("/a", reply(401));
        assert_eq!(world.ask(by("ann")).await.status, 401);
    }
}
