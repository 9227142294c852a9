//! What was declared invalid through one instance is dead for all, by whatever it was named: in their memories, in the shared
//! tier, and for those who come later. And nothing else is.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::client::{Ask, get};
use crate::origin::{Asked, Reply, fresh};
use crate::tier::FakeTier;
use crate::world::{World, settle};

const CONFIG: &str = "[[route]]\nname = \"user\"\nmatch = \"/users/{id}\"\nttl = \"60s\"\n\
    tags = [\"user:{id}\", \"team:{body:/team}\"]";

/// Says which answer of the origin's this is.
fn counting(worlds: &[&World]) {
    for world in worlds {
        let count = AtomicUsize::new(0);
        world.origin.otherwise(move |_: &Asked| -> Reply {
            let body = format!("{{\"team\": 7, \"count\": {}}}", count.fetch_add(1, Relaxed));
            fresh("").header("surrogate-key", "said").body(body)
        });
    }
}

fn named() -> Ask {
    get("/users/5?x=1").header("authorization", "Bearer ann")
}

fn other() -> Ask {
    get("/other/6").header("authorization", "Bearer bob")
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_name_reaches_every_copy() {
    for (order, takes_others) in [
        ("{\"tags\": [\"user:5\"]}", false),
        ("{\"tags\": [\"team:7\"]}", false),
        ("{\"tags\": [\"said\"]}", true),
        ("{\"paths\": [\"/users/5\"]}", false),
        ("{\"paths\": [\"/users/%35?x=1\"]}", false),
        ("{\"prefixes\": [\"/us\"]}", false),
        ("{\"routes\": [\"user\"]}", false),
        ("{\"credentials\": [\"Bearer ann\"]}", false),
        ("{\"credentials\": [\"ann\"]}", false),
        ("{\"all\": true}", true),
    ] {
        let tier = FakeTier::new();
        let (one, two) = (World::sharing(&tier, CONFIG).await, World::sharing(&tier, CONFIG).await);
        counting(&[&one, &two]);
        for ask in [named, other] {
            one.ask(ask()).await;
            settle().await;
            // In its memory by now.
            assert!(two.ask(ask()).await.cache_status().ends_with("detail=redis"), "{order}");
        }
        assert_eq!((one.origin.count(), two.origin.count()), (2, 0), "{order}");
        one.purge_for_all(order).await;
        // One that knows nothing yet but what lies in the shared tier.
        let three = World::sharing(&tier, CONFIG).await;
        counting(&[&three]);
        let answer = three.ask(named()).await;
        assert!(
            answer.cache_status().starts_with("larder; fwd=uri-miss"),
            "{order}: {}",
            answer.cache_status()
        );
        settle().await;
        for world in [&two, &one] {
            // None has what it had: all have what the first has fetched anew.
            let status = world.ask(named()).await.cache_status().to_owned();
            assert!(status.ends_with("detail=redis"), "{order}: {status}");
            assert_eq!(three.origin.count(), 1, "{order}");
        }
        for world in [&one, &two, &three] {
            let is_hit = world.ask(other()).await.cache_status().contains("hit");
            assert!(is_hit || takes_others, "{order} took what it does not name");
            settle().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_identity_is_called_the_same_by_all() {
    let tier = FakeTier::new();
    let (one, two) = (World::sharing(&tier, CONFIG).await, World::sharing(&tier, CONFIG).await);
    let mut headers = http::HeaderMap::new();
    headers.insert("authorization", "Bearer ann".parse().unwrap());
    let id = |entry: serde_json::Value| {
        let tags = entry["request"]["tags"].as_array().unwrap().clone();
        let is_it = |tag: &&serde_json::Value| tag.as_str().unwrap().starts_with("identity:");
        tags.iter().find(is_it).unwrap().as_str().unwrap().to_owned()
    };
    let first = id(one.entry_for("127.0.0.1:1", "http://larder.test/users/5", &headers).await);
    let second = id(two.entry_for("127.0.0.1:1", "http://larder.test/other/6", &headers).await);
    assert_eq!(first, second);
    counting(&[&one, &two]);
    one.ask(named()).await;
    settle().await;
    two.ask(named()).await;
    two.purge_for_all(&format!("{{\"tags\": [\"{first}\"]}}")).await;
    assert!(one.ask(named()).await.cache_status().starts_with("larder; fwd=uri-miss"));
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_credential_is_in_the_log() {
    let tier = FakeTier::new();
    let one = World::sharing(&tier, CONFIG).await;
    one.purge_for_all("{\"credentials\": [\"Bearer secret-of-ann\", \"secret-of-bob\"]}").await;
    let events = tier.log().events();
    let text = String::from_utf8(events[0].to_json()).unwrap();
    assert!(!text.contains("secret") && text.starts_with("{\"digests\":["), "{text}");
}

#[tokio::test(start_paused = true)]
async fn hits_teach_nothing_and_take_no_lock() {
    let world = World::new(CONFIG);
    counting(&[&world]);
    world.ask(named()).await;
    let version = world.record().version();
    for _ in 0..10 {
        assert!(world.ask(named()).await.cache_status().contains("hit"));
    }
    assert_eq!(world.record().version(), version);
    // The lock is held by whoever learns: a hit that wanted it would never come.
    world.purge("{\"tags\": [\"nobody's\"]}").await;
    assert_ne!(world.record().version(), version);
    assert!(world.ask(named()).await.cache_status().contains("hit"));
}

#[tokio::test(start_paused = true)]
async fn what_is_declared_costs_one_event_and_removes_nothing() {
    let tier = FakeTier::new();
    let one = World::sharing(&tier, CONFIG).await;
    counting(&[&one]);
    for page in 0..20 {
        one.get(&format!("/users/{page}")).await;
    }
    settle().await;
    let before = tier.counts();
    one.purge_for_all("{\"tags\": [\"said\"]}").await;
    assert_eq!(tier.log().events().len(), 1);
    assert_eq!((tier.counts(), tier.count()), (before, 20));
    for page in 0..20 {
        let answer = one.get(&format!("/users/{page}")).await;
        assert!(answer.cache_status().starts_with("larder; fwd=uri-miss"));
    }
}
