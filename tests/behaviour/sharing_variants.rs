//! Resources that vary, in the tier that instances share: the first variant lies under the resource's own name, and a hit takes
//! one round trip.

use crate::client::{Ask, get};
use crate::origin::{Asked, Reply, fresh};
use crate::tier::FakeTier;
use crate::world::{World, pass_seconds, settle};

/// In the language that was asked for.
fn by_language(asked: &Asked) -> Reply {
    fresh("").header("vary", "accept-language").body(asked.header("accept-language").to_owned())
}

fn in_language(target: &str, language: &str) -> Ask {
    get(target).header("accept-language", language)
}

async fn instance(tier: &FakeTier) -> World {
    let world = World::sharing(tier, "").await;
    world.origin.otherwise(by_language);
    world
}

#[tokio::test(start_paused = true)]
async fn every_variant_is_found_by_the_others_and_by_them_alone() {
    let tier = FakeTier::new();
    let (one, other) = (instance(&tier).await, instance(&tier).await);
    for language in ["de", "en", "fr"] {
        one.ask(in_language("/a", language)).await;
        settle().await;
    }
    assert_eq!(tier.count(), 3);
    let own: Vec<bool> = tier.values().iter().map(|(name, ..)| name.variant.is_none()).collect();
    assert_eq!(own.iter().filter(|own| **own).count(), 1, "one of them lies under the resource's own name");
    for language in ["fr", "de", "en"] {
        let answer = other.ask(in_language("/a", language)).await;
        assert_eq!((answer.text(), other.origin.count()), (language, 0));
        assert!(answer.cache_status().ends_with("detail=redis"), "{}", answer.cache_status());
    }
    let answer = other.ask(in_language("/a", "it")).await;
    assert_eq!(answer.text(), "it");
    assert!(answer.cache_status().starts_with("larder; fwd=vary-miss"), "{}", answer.cache_status());
}

#[tokio::test(start_paused = true)]
async fn a_hit_takes_one_round_trip_for_the_first_variant_and_for_a_further_one_once_it_is_known_to_vary() {
    let tier = FakeTier::new();
    let one = instance(&tier).await;
    for target in ["/a", "/b"] {
        for language in ["de", "en"] {
            one.ask(in_language(target, language)).await;
            settle().await;
        }
    }
    let round_trips = async |world: &World, target: &str, language: &str| {
        let before = tier.counts().reads;
        let answer = world.ask(in_language(target, language)).await;
        assert!(answer.cache_status().ends_with("detail=redis"), "{}", answer.cache_status());
        tier.counts().reads - before
    };
    let cold = instance(&tier).await;
    assert_eq!(round_trips(&cold, "/a", "de").await, 1, "it lies under the resource's own name");
    assert_eq!(round_trips(&cold, "/a", "en").await, 1, "it is known what the resource varies on");
    assert_eq!(round_trips(&cold, "/b", "en").await, 1, "another of the route varied on that");
    let colder = instance(&tier).await;
    assert_eq!(round_trips(&colder, "/a", "en").await, 2, "nothing is known yet");
}

#[tokio::test(start_paused = true)]
async fn a_herd_that_wants_several_variants_reads_each_once() {
    let tier = FakeTier::new();
    let (one, other) = (instance(&tier).await, instance(&tier).await);
    for language in ["de", "en"] {
        one.ask(in_language("/a", language)).await;
        settle().await;
    }
    let gate = crate::origin::Gate::new();
    tier.holds_reads(&gate);
    let mut herd = Vec::new();
    for number in 0..40 {
        herd.push(other.begin(in_language("/a", ["de", "en"][number % 2])).await);
    }
    let before = tier.counts().reads - gate.waiting();
    gate.open();
    for (number, waiting) in herd.into_iter().enumerate() {
        assert_eq!(waiting.answer().await.text(), ["de", "en"][number % 2]);
    }
    assert_eq!((tier.counts().reads - before, other.origin.count()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn what_varies_otherwise_now_takes_the_place_of_what_was() {
    let tier = FakeTier::new();
    let (one, other) = (instance(&tier).await, World::sharing(&tier, "").await);
    one.ask(in_language("/a", "de")).await;
    settle().await;
    pass_seconds(60).await;
    let by_agent = |body: &'static str| fresh(body).header("vary", "user-agent");
    other.origin.on("/a", by_agent("x"));
    other.ask(in_language("/a", "en").header("user-agent", "x")).await;
    settle().await;
    let third = World::sharing(&tier, "").await;
    let answer = third.ask(in_language("/a", "fr").header("user-agent", "x")).await;
    assert_eq!(answer.text(), "x");
    third.origin.on("/a", by_agent("y"));
    assert_eq!(third.ask(get("/a").header("user-agent", "y")).await.text(), "y");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_vary_there_is_no_answer_where_it_is_known_to_vary() {
    let tier = FakeTier::new();
    let (one, other) = (World::sharing(&tier, "").await, instance(&tier).await);
    other.ask(in_language("/a", "de")).await;
    settle().await;
    tier.loses_values();
    one.origin.on("/a", fresh("plain"));
    one.get("/a").await;
    settle().await;
    assert_eq!(tier.count(), 1);
    assert_eq!(other.ask(in_language("/a", "en")).await.text(), "en");
    assert_eq!(other.ask(in_language("/a", "de")).await.text(), "de");
}

#[tokio::test(start_paused = true)]
async fn a_304_for_a_further_variant_sends_no_body() {
    let tier = FakeTier::new();
    let one = World::sharing(&tier, "").await;
    let tagged = |body: &'static str| {
        fresh(body).header("vary", "accept-language").header("etag", &format!("\"{body}\""))
    };
    for language in ["de", "en"] {
        one.origin.on("/a", tagged(language));
        one.ask(in_language("/a", language)).await;
        pass_seconds(1).await;
    }
    pass_seconds(59).await;
    // The first one is over; the second is not, and is asked about on the client's word.
    let not_changed = crate::origin::reply(304).header("vary", "accept-language");
    one.origin.on("/a", not_changed.header("cache-control", "max-age=60").header("etag", "\"de\""));
    one.ask(in_language("/a", "de")).await;
    settle().await;
    assert_eq!((tier.counts().patches, tier.counts().puts), (1, 2));
    pass_seconds(1).await;
    let not_changed = crate::origin::reply(304).header("vary", "accept-language");
    one.origin.on("/a", not_changed.header("cache-control", "max-age=60").header("etag", "\"en\""));
    one.ask(in_language("/a", "en")).await;
    settle().await;
    assert_eq!((tier.counts().patches, tier.counts().puts), (2, 2));
}
