//! A client that asks after something was declared invalid is given nothing that was asked for before, whatever is under way: by
//! what the request tells of it, its head, or its body. Who had asked before is given that.

use crate::client::{ask, get};
use crate::origin::{Gate, Reply, fresh, reply};
use crate::tier::FakeTier;
use crate::world::{World, pass_seconds, settle};

const TAGGED: &str = "[[route]]\nname = \"post\"\nmatch = \"/posts/{id}\"\nttl = \"60s\"\n\
    tags = [\"post:{id}\", \"user:{body:/user}\"]";

const BY_PATH: &str =
    "[[route]]\nname = \"post\"\nmatch = \"/posts/{id}\"\nttl = \"60s\"\ntags = [\"post:{id}\"]";

fn said(body: &'static str) -> Reply {
    fresh(body).header("surrogate-key", "said")
}

#[tokio::test(start_paused = true)]
async fn what_the_request_tells_is_seen_at_once() {
    for order in [
        "{\"tags\": [\"post:1\"]}",
        "{\"paths\": [\"/posts/1\"]}",
        "{\"prefixes\": [\"/posts/\"]}",
        "{\"routes\": [\"post\"]}",
        "{\"all\": true}",
    ] {
        let world = World::new(BY_PATH);
        let (old, new) = (Gate::new(), Gate::new());
        world.origin.on("/posts/1", fresh("old").held(&old));
        let before = world.begin(get("/posts/1")).await;
        world.purge("{\"tags\": [\"post:2\"]}").await;
        let unconcerned = world.begin(get("/posts/1")).await;
        assert_eq!(world.origin.count(), 1, "{order}: nothing has named it yet");
        world.purge(order).await;
        world.origin.on("/posts/1", fresh("new").held(&new));
        let after = world.begin_many(3, "/posts/1").await;
        assert_eq!((old.waiting(), new.waiting()), (1, 1), "{order}");
        old.open();
        assert_eq!(before.answer().await.text(), "old");
        new.open();
        // It might be given the old one, and is not: what comes is held against all that is known then.
        assert_eq!(unconcerned.answer().await.text(), "new");
        for waiting in after {
            assert_eq!(waiting.answer().await.text(), "new", "{order}");
        }
        settle().await;
        assert_eq!(world.get("/posts/1").await.text(), "new");
        assert_eq!(world.origin.count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_head_tells_is_seen_when_it_comes() {
    for (order, parts) in [("{\"tags\": [\"said\"]}", true), ("{\"tags\": [\"other\"]}", false)] {
        let world = World::new("");
        let gate = Gate::new();
        world.origin.on("/a", said("old").held(&gate));
        let before = world.begin(get("/a")).await;
        world.purge(order).await;
        let after = world.begin_many(3, "/a").await;
        assert_eq!(world.origin.count(), 1, "nobody can know yet what it is called");
        let later = Gate::new();
        if parts {
            world.origin.on("/a", said("new").held(&later));
        }
        gate.open();
        assert_eq!(before.answer().await.text(), "old");
        settle().await;
        assert_eq!(later.waiting(), usize::from(parts), "those after it share a fetch of their own");
        later.open();
        for waiting in after {
            assert_eq!(waiting.answer().await.text(), if parts { "new" } else { "old" });
        }
        settle().await;
        assert_eq!(world.get("/a").await.text(), if parts { "new" } else { "old" });
        assert_eq!(world.origin.count(), 1 + usize::from(parts));
    }
}

#[tokio::test(start_paused = true)]
async fn who_joins_while_the_body_comes_is_told_by_its_head_at_once() {
    let world = World::new("");
    let (tap, old) = said("").flowing();
    world.origin.on("/a", old);
    let mut before = world.open(get("/a")).await;
    tap.push("old ").await;
    assert_eq!(before.chunk().await, "old ");
    world.purge("{\"tags\": [\"other\"]}").await;
    let mut along = world.open(get("/a")).await;
    assert_eq!(along.chunk().await, "old ", "what was declared does not name it");
    world.purge("{\"tags\": [\"said\"]}").await;
    world.origin.on("/a", said("new"));
    assert_eq!(world.get("/a").await.text(), "new");
    tap.push("body").await;
    drop(tap);
    assert_eq!(before.rest().await.unwrap().text(), "body");
    assert_eq!(along.rest().await.unwrap().text(), "body");
    settle().await;
    assert_eq!(world.get("/a").await.text(), "new", "what was asked for before takes no place");
}

#[tokio::test(start_paused = true)]
async fn what_the_body_tells_is_waited_for_only_where_something_was_declared() {
    for (order, parts) in [("{\"tags\": [\"user:5\"]}", true), ("{\"tags\": [\"user:6\"]}", false)] {
        let world = World::new(TAGGED);
        let (tap, old) = reply(200).flowing();
        world.origin.on("/posts/1", old);
        let mut before = world.open(get("/posts/1")).await;
        tap.push("{\"user\":").await;
        assert_eq!(before.chunk().await, "{\"user\":");
        let mut along = world.open(get("/posts/1")).await;
        assert_eq!(along.chunk().await, "{\"user\":", "nothing was declared: it streams at once");
        world.purge(order).await;
        let after = world.begin(get("/posts/1")).await;
        assert!(!after.is_over());
        assert_eq!(world.origin.count(), 1);
        if parts {
            world.origin.on("/posts/1", reply(200).body("new"));
        }
        tap.push(" 5}").await;
        drop(tap);
        assert_eq!(after.answer().await.text(), if parts { "new" } else { "{\"user\": 5}" });
        assert_eq!(before.rest().await.unwrap().text(), " 5}");
        assert_eq!(along.rest().await.unwrap().text(), " 5}");
        settle().await;
        assert_eq!(world.get("/posts/1").await.text(), if parts { "new" } else { "{\"user\": 5}" });
        assert_eq!(world.origin.count(), 1 + usize::from(parts));
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_what_a_body_tells_is_not_left_waiting_where_it_breaks_off() {
    // It dies, grows too large, has trailers, or has too many names.
    for how in 0..4 {
        let config = "[memory]\nmax_object = \"64KB\"\n[invalidation]\nmax_entry_tags = 3\n";
        let tags = "tags = [\"item:{body:/*}\"]";
        let world =
            World::new(&format!("{config}[[route]]\nname = \"all\"\nmatch = \"/a\"\nttl = \"60s\"\n{tags}"));
        let (tap, old) = reply(200).header("trailer", "x-end").flowing();
        world.origin.on("/a", old);
        let before = world.begin(get("/a").header("te", "trailers").header("connection", "te")).await;
        tap.push("[1, ").await;
        world.purge("{\"tags\": [\"item:1\"]}").await;
        let after = world.begin(get("/a")).await;
        assert_eq!((world.origin.count(), after.is_over()), (1, false));
        world.origin.on("/a", reply(200).body("[9]"));
        match how {
            0 => tap.die().await,
            1 => {
                tap.push_until_held(80 * 1024).await;
                drop(tap);
            }
            2 => tap.trailers([("x-end".parse().unwrap(), "1".parse().unwrap())].into_iter().collect()).await,
            _ => {
                tap.push("2, 3, 4]").await;
                drop(tap);
            }
        }
        assert_eq!(after.answer().await.text(), "[9]", "{how}");
        let _ = before.ended().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_was_overtaken_is_dead_by_the_names_it_brings() {
    for (order, is_dead) in [("{\"tags\": [\"user:5\"]}", true), ("{\"tags\": [\"user:6\"]}", false)] {
        let world = World::new(TAGGED);
        let gate = Gate::new();
        world.origin.on("/posts/1", reply(200).body("{\"user\": 5}").held(&gate));
        let before = world.begin(get("/posts/1")).await;
        world.purge(order).await;
        gate.open();
        before.answer().await;
        settle().await;
        if is_dead {
            world.origin.on("/posts/1", reply(200).body("new"));
        }
        let answer = world.get("/posts/1").await;
        assert_eq!(answer.text(), if is_dead { "new" } else { "{\"user\": 5}" });
    }
}

/// Kept for five seconds, then asked about; called `user:5` by its body, and `said` by its head.
fn asked_about() -> Reply {
    let reply =
        reply(200).header("cache-control", "max-age=5, stale-while-revalidate=100, stale-if-error=100");
    reply.header("etag", "\"one\"").header("surrogate-key", "said").body("{\"user\": 5}")
}

#[tokio::test(start_paused = true)]
async fn a_304_under_way_is_held_against_all_that_is_kept_of_it() {
    for order in ["{\"tags\": [\"user:5\"]}", "{\"tags\": [\"said\"]}", "{\"paths\": [\"/posts/1\"]}"] {
        let world = World::new(TAGGED);
        world.origin.on("/posts/1", asked_about());
        world.get("/posts/1").await;
        pass_seconds(200).await;
        let gate = Gate::new();
        world.origin.on("/posts/1", reply(304).header("cache-control", "max-age=60").held(&gate));
        let before = world.begin(get("/posts/1")).await;
        world.purge(order).await;
        world.origin.on("/posts/1", reply(200).body("new"));
        let is_seen_at_once = order.contains("path");
        if is_seen_at_once {
            world.origin.on("/posts/1", reply(200).body("new"));
        }
        let after = world.begin_many(3, "/posts/1").await;
        gate.open();
        // Nothing is left for the upstream to confirm: it is asked for the whole.
        for waiting in after.into_iter().chain([before]) {
            assert_eq!(waiting.answer().await.text(), "new", "{order}");
        }
        settle().await;
        assert_eq!(world.get("/posts/1").await.text(), "new");
        assert_eq!(world.origin.count(), 3 + usize::from(is_seen_at_once));
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_sent_after_it_was_declared_may_confirm_what_was_softly_invalidated() {
    let world = World::new(TAGGED);
    world.origin.on("/posts/1", asked_about());
    world.get("/posts/1").await;
    world.purge("{\"tags\": [\"said\"], \"soft\": true}").await;
    world.origin.on("/posts/1", reply(304).header("cache-control", "max-age=60"));
    world.get("/posts/1").await;
    settle().await;
    assert!(world.get("/posts/1").await.cache_status().ends_with("detail=memory"));
    world.purge("{\"tags\": [\"user:5\"]}").await;
    world.origin.on("/posts/1", reply(200).body("new"));
    assert_eq!(world.get("/posts/1").await.text(), "new", "its names are what they were");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_under_way_is_overtaken_too() {
    for order in ["{\"tags\": [\"user:5\"]}", "{\"tags\": [\"said\"]}", "{\"prefixes\": [\"/p\"]}"] {
        let world = World::new(TAGGED);
        world.origin.on("/posts/1", asked_about());
        world.get("/posts/1").await;
        pass_seconds(6).await;
        let gate = Gate::new();
        world.origin.on("/posts/1", asked_about().held(&gate));
        assert_eq!(world.get("/posts/1").await.text(), "{\"user\": 5}");
        settle().await;
        assert_eq!(gate.waiting(), 1);
        world.purge(order).await;
        world.origin.on("/posts/1", reply(200).body("new"));
        let after = world.begin(get("/posts/1")).await;
        gate.open();
        assert_eq!(after.answer().await.text(), "new", "{order}");
        settle().await;
        assert_eq!(world.get("/posts/1").await.text(), "new");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_from_before_keeps_nothing_alive() {
    let world = World::new("");
    let head = || reply(200).header("cache-control", "max-age=60").header("etag", "\"one\"");
    world.origin.on("/a", head().header("surrogate-key", "said").body("old"));
    world.get("/a").await;
    pass_seconds(70).await;
    let gate = Gate::new();
    world.origin.on("/a", head().header("content-length", "3").held(&gate));
    let before = world.begin(ask("HEAD", "/a")).await;
    world.purge("{\"tags\": [\"said\"]}").await;
    gate.open();
    assert_eq!(before.answer().await.status, 200);
    world.origin.on("/a", fresh("new"));
    assert_eq!(world.get("/a").await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn what_is_read_along_by_others_with_a_304_is_no_older_than_they() {
    // A client with a validator of its own joins after the event, too.
    let world = World::new("");
    let gate = Gate::new();
    world.origin.on("/a", said("old").header("etag", "\"one\"").held(&gate));
    let before = world.begin(get("/a")).await;
    world.purge("{\"tags\": [\"said\"]}").await;
    let after = world.begin(get("/a").header("if-none-match", "\"one\"")).await;
    world.origin.on("/a", fresh("new").header("etag", "\"two\""));
    gate.open();
    assert_eq!(before.answer().await.status, 200);
    let answer = after.answer().await;
    assert_eq!((answer.status, answer.text()), (200, "new"));
}

#[tokio::test(start_paused = true)]
async fn another_instances_fetch_is_overtaken_too() {
    for (order, dead) in [("{\"tags\": [\"said\"]}", true), ("{\"tags\": [\"other\"]}", false)] {
        let tier = FakeTier::new();
        let (one, two) = (World::sharing(&tier, "").await, World::sharing(&tier, "").await);
        tier.hears();
        settle().await;
        let gate = Gate::new();
        one.origin.on("/a", said("old").held(&gate));
        let before = one.begin(get("/a")).await;
        one.purge_for_all(order).await;
        let after = two.begin(get("/a")).await;
        assert_eq!(two.origin.count(), 0, "it waits for the other instance");
        if dead {
            two.origin.on("/a", said("new"));
        }
        gate.open();
        assert_eq!(before.answer().await.text(), "old");
        assert_eq!(after.answer().await.text(), if dead { "new" } else { "old" });
        settle().await;
        assert_eq!(one.get("/a").await.text(), if dead { "new" } else { "old" });
        assert_eq!(one.origin.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_from_the_shared_tier_keeps_the_stamp_it_has() {
    let tier = FakeTier::new();
    let (one, two) = (World::sharing(&tier, TAGGED).await, World::sharing(&tier, TAGGED).await);
    one.origin.on("/posts/1", asked_about());
    one.get("/posts/1").await;
    settle().await;
    // Two has applied more than one had when it fetched that.
    one.purge_for_all("{\"tags\": [\"another's\"]}").await;
    assert!(two.get("/posts/1").await.cache_status().ends_with("detail=redis"));
    two.purge_for_all("{\"tags\": [\"user:5\"]}").await;
    assert!(!tier.values().is_empty());
    let three = World::sharing(&tier, TAGGED).await;
    for world in [&two, &three, &one] {
        world.origin.on("/posts/1", reply(200).body("new"));
        assert_eq!(world.get("/posts/1").await.text(), "new");
        tier.loses_values();
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_read_of_the_shared_tier_is_overtaken() {
    let tier = FakeTier::new();
    let (one, two) = (World::sharing(&tier, TAGGED).await, World::sharing(&tier, TAGGED).await);
    one.origin.on("/posts/1", asked_about());
    one.get("/posts/1").await;
    settle().await;
    let gate = Gate::new();
    tier.holds_reads(&gate);
    two.origin.on("/posts/1", reply(200).body("new"));
    let reading = two.begin(get("/posts/1")).await;
    assert_eq!(gate.waiting(), 1);
    one.purge_for_all("{\"tags\": [\"user:5\"]}").await;
    gate.open();
    assert_eq!(reading.answer().await.text(), "new");
    assert_eq!(two.get("/posts/1").await.text(), "new");
}
