//! One fetch over all instances, where it does not go as it should: whoever waits for another instance waits for something that
//! comes, and not for one fetch after the other.

use std::time::Duration;

use crate::client::{Waiting, ask, get};
use crate::origin::{Gate, Reply, fresh, reply};
use crate::tier::{FakeTier, Fault};
use crate::world::{World, pass_seconds, settle};

/// So many instances that hear each other.
async fn instances(count: usize, config: &str) -> (FakeTier, Vec<World>) {
    let tier = FakeTier::new();
    let mut worlds = Vec::new();
    for _ in 0..count {
        worlds.push(World::sharing(&tier, config).await);
    }
    tier.hears();
    settle().await;
    (tier, worlds)
}

/// How often each was asked.
fn counts(worlds: &[World]) -> Vec<usize> {
    worlds.iter().map(|world| world.origin.count()).collect()
}

/// The first begins, then the others want the same; each upstream takes until its gate opens.
async fn begun_by_the_first(worlds: &[World], answer: impl Fn(&Gate) -> Reply) -> (Vec<Waiting>, Vec<Gate>) {
    let (mut herd, mut gates) = (Vec::new(), Vec::new());
    for world in worlds {
        let gate = Gate::new();
        world.origin.on("/a", answer(&gate));
        gates.push(gate);
        herd.push(world.begin(get("/a")).await);
        settle().await;
    }
    assert_eq!(counts(worlds).iter().sum::<usize>(), 1, "the others wait");
    (herd, gates)
}

async fn all_of(herd: Vec<Waiting>) {
    for waiting in herd {
        assert_eq!(waiting.answer().await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn when_what_was_fetched_gets_lost_the_others_fetch_at_once() {
    for fault in [Fault::LosesWrites, Fault::Full] {
        let (tier, worlds) = instances(4, "").await;
        let (herd, gates) = begun_by_the_first(&worlds, |gate| fresh("one").held(gate)).await;
        tier.fails(fault);
        gates[0].open();
        settle().await;
        assert_eq!(counts(&worlds), [1, 1, 1, 1], "{fault:?}");
        gates.iter().for_each(Gate::open);
        all_of(herd).await;
    }
}

#[tokio::test(start_paused = true)]
async fn when_what_was_fetched_proves_too_long_for_the_tier_the_others_fetch_at_once() {
    let (_tier, worlds) = instances(3, "[redis]\nmax_object = \"1KB\"\n").await;
    let (tap, flowing) = fresh("").flowing();
    worlds[0].origin.on("/a", flowing);
    let first = worlds[0].begin(get("/a")).await;
    settle().await;
    let mut herd = Vec::new();
    let also = Gate::new();
    for world in &worlds[1..] {
        world.origin.on("/a", fresh("two").held(&also));
        herd.push(world.begin(get("/a")).await);
    }
    settle().await;
    assert_eq!(counts(&worlds), [1, 0, 0]);
    tap.push("y".repeat(2000)).await;
    drop(tap);
    first.answer().await;
    settle().await;
    assert_eq!(counts(&worlds), [1, 1, 1]);
    also.open();
    all_of(herd).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_slow_reader_of_what_no_instance_will_keep() {
    let (tier, worlds) = instances(2, "[memory]\nmax_object = \"64KB\"\n").await;
    let (tap, flowing) = fresh("").flowing();
    worlds[0].origin.on("/a", flowing);
    let first = worlds[0].open(get("/a")).await;
    let flood = async {
        loop {
            tap.push("x".repeat(4096)).await;
        }
    };
    // Until the reader, who does not read, holds it up.
    assert!(tokio::time::timeout(Duration::from_secs(1), flood).await.is_err());
    worlds[1].origin.on("/a", fresh("two"));
    assert_eq!(worlds[1].get("/a").await.text(), "two");
    assert_eq!(tier.leases(), 0);
    drop((tap, first));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_body_whose_answer_is_over_before_it_is_whole() {
    let (_tier, worlds) = instances(2, "").await;
    let slow = reply(200).header("cache-control", "max-age=2").header("content-length", "1000");
    let (tap, slow) = slow.flowing();
    worlds[0].origin.on("/a", slow);
    let first = worlds[0].open(get("/a")).await;
    pass_seconds(3).await;
    for world in &worlds {
        world.origin.on("/a", fresh("two"));
        assert_eq!(world.get("/a").await.text(), "two");
    }
    drop((tap, first));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_long_for_a_body_that_comes_slowly() {
    let (_tier, worlds) = instances(2, "").await;
    let (tap, slow) = fresh("").header("content-length", "1000").flowing();
    worlds[0].origin.on("/a", slow);
    let first = worlds[0].open(get("/a")).await;
    worlds[1].origin.on("/a", fresh("two"));
    let began = tokio::time::Instant::now();
    assert_eq!(worlds[1].get("/a").await.text(), "two");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    drop((tap, first));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_who_keeps_to_other_rules() {
    let tier = FakeTier::new();
    let route = |ttl: &str| format!("[[route]]\nname = \"a\"\nmatch = \"/a\"\nttl = \"{ttl}\"\n");
    let (one, other) = (World::sharing(&tier, &route("1m")).await, World::sharing(&tier, &route("2m")).await);
    tier.hears();
    settle().await;
    let gate = Gate::new();
    one.origin.on("/a", fresh("one").held(&gate));
    let first = one.begin(get("/a")).await;
    settle().await;
    other.origin.on("/a", fresh("two"));
    assert_eq!(other.get("/a").await.text(), "two");
    gate.open();
    assert_eq!(first.answer().await.text(), "one");
}

#[tokio::test(start_paused = true)]
async fn variants_of_one_cold_resource_are_fetched_beside_each_other() {
    let (_tier, worlds) = instances(4, "").await;
    let languages = ["en", "de", "fr", "it"];
    let (mut herd, mut gates) = (Vec::new(), Vec::new());
    for (world, language) in worlds.iter().zip(languages) {
        let gate = Gate::new();
        world.origin.on("/a", fresh(language).header("vary", "accept-language").held(&gate));
        gates.push(gate);
        herd.push(world.begin(get("/a").header("accept-language", language)).await);
        settle().await;
    }
    assert_eq!(counts(&worlds), [1, 0, 0, 0]);
    gates[0].open();
    settle().await;
    assert_eq!(counts(&worlds), [1, 1, 1, 1]);
    gates.iter().for_each(Gate::open);
    for (waiting, language) in herd.into_iter().zip(languages) {
        assert_eq!(waiting.answer().await.text(), language);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waited_for_what_proves_another_variant_fetches_for_all_instances_too() {
    let (_tier, worlds) = instances(2, "").await;
    let varying = |body: &'static str, gate: &Gate| fresh(body).header("vary", "accept-language").held(gate);
    let (english, german) = (Gate::new(), Gate::new());
    worlds[0].origin.on("/a", varying("en", &english));
    worlds[0].origin.on("/a", varying("de", &german));
    let mut herd = Vec::new();
    for world in &worlds {
        for language in ["en", "de"] {
            herd.push(world.begin(get("/a").header("accept-language", language)).await);
            settle().await;
        }
    }
    // Longer than the tier may take.
    pass_seconds(1).await;
    english.open();
    settle().await;
    german.open();
    for (waiting, language) in herd.into_iter().zip(["en", "de", "en", "de"]) {
        assert_eq!(waiting.answer().await.text(), language);
    }
    assert_eq!(counts(&worlds), [2, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_part_in_memory_is_not_the_whole_that_was_asked_for() {
    let (_tier, worlds) = instances(1, "").await;
    let one = &worlds[0];
    let part = reply(206).header("cache-control", "max-age=60").header("etag", "\"one\"");
    one.origin.on("/a", part.header("content-range", "bytes 2-4/10").body("234"));
    assert_eq!(one.ask(get("/a").header("range", "bytes=2-4")).await.status, 206);
    one.origin.on("/a", fresh("0123456789").header("etag", "\"one\""));
    let answer = one.get("/a").await;
    assert_eq!((answer.status, answer.text()), (200, "0123456789"));
}

#[tokio::test(start_paused = true)]
async fn the_fault_of_the_one_who_asked_there_is_nobody_elses() {
    // Kept by the word of the configuration alone: for a request with a cookie that nobody declared, it is not.
    let (tier, worlds) = instances(2, "[defaults]\nttl = \"60s\"").await;
    let gate = Gate::new();
    let plain = |body: &'static str| reply(200).body(body);
    worlds[0].origin.on("/a", plain("one").held(&gate));
    let first = worlds[0].begin(get("/a").header("cookie", "theme=dark")).await;
    settle().await;
    assert_eq!(tier.leases(), 1);
    worlds[1].origin.on("/a", plain("two"));
    let herd = worlds[1].begin_many(50, "/a").await;
    settle().await;
    assert_eq!(counts(&worlds), [1, 0]);
    gate.open();
    first.answer().await;
    all_of(herd).await;
    assert_eq!(counts(&worlds), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_was_changed_is_forgotten_in_all_its_variants() {
    let (tier, worlds) = instances(2, "").await;
    let (one, other) = (&worlds[0], &worlds[1]);
    for language in ["en", "de"] {
        one.origin.on("/a", fresh("old").header("vary", "accept-language"));
        one.ask(get("/a").header("accept-language", language)).await;
        settle().await;
    }
    assert_eq!(tier.count(), 2);
    one.origin.on("/a", reply(204));
    one.ask(ask("PUT", "/a")).await;
    settle().await;
    for language in ["en", "de"] {
        other.origin.on("/a", fresh("new").header("vary", "accept-language"));
        assert_eq!(other.ask(get("/a").header("accept-language", language)).await.text(), "new");
    }
}
