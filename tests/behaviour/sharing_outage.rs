//! The shared tier fails in every way it can, and no client is the worse for it.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::get;
use crate::origin::{Asked, Reply, fresh};
use crate::tier::{FakeTier, Fault};
use crate::world::{World, pass, settle};

const DEADLINE: Duration = Duration::from_millis(50);
const FAULTS: [Fault; 5] =
    [Fault::Away, Fault::Breaks, Fault::TimesOut(DEADLINE), Fault::Full, Fault::LosesWrites];

fn named(asked: &Asked) -> Reply {
    fresh("").body(asked.target.clone())
}

#[tokio::test(start_paused = true)]
async fn every_request_is_answered_and_none_later_than_the_tiers_own_deadline() {
    for (fault, hears) in FAULTS.into_iter().flat_map(|fault| [(fault, false), (fault, true)]) {
        let tier = FakeTier::new();
        let (one, other) = (World::sharing(&tier, "").await, World::sharing(&tier, "").await);
        // If so, there are leases to be asked for too.
        if hears {
            tier.hears();
        }
        one.origin.otherwise(named);
        other.origin.otherwise(named);
        tier.fails(fault);
        for world in [&one, &other] {
            let began = Instant::now();
            for waiting in world.begin_many(20, "/a").await {
                assert_eq!(waiting.answer().await.text(), "/a", "{fault:?}");
            }
            assert!(began.elapsed() <= DEADLINE + Duration::from_millis(2), "{fault:?}");
            assert_eq!(world.origin.count(), 1, "{fault:?}");
        }
        pass(DEADLINE * 3).await;
        assert_eq!(tier.count(), 0, "{fault:?}");
        tier.fails(Fault::None);
        assert_eq!(one.get("/b").await.text(), "/b");
        settle().await;
        assert!(other.get("/b").await.cache_status().ends_with("detail=redis"), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_that_one_request_waits_for_takes_no_longer_than_one_reply_may() {
    let tier = FakeTier::new();
    let one = World::sharing(&tier, "").await;
    tier.hears();
    settle().await;
    one.origin.otherwise(|asked| named(asked).header("vary", "accept-language"));
    // Each reply comes in time, so nothing counts as a failure, for as long as it lasts.
    tier.fails(Fault::Slow(DEADLINE * 4 / 5));
    for path in ["/a", "/b", "/c"] {
        let began = Instant::now();
        assert_eq!(one.get(path).await.text(), path);
        assert!(began.elapsed() <= DEADLINE + Duration::from_millis(2), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn lost_writes_are_counted() {
    let tier = FakeTier::new();
    let one = World::sharing(&tier, "").await;
    one.origin.otherwise(named);
    tier.fails(Fault::Full);
    one.get("/a").await;
    settle().await;
    let shared = &one.telemetry.shared;
    assert_eq!((shared.dropped.get(), shared.written.get(), shared.queued_bytes.get()), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_turns_away_what_comes_and_counts_it() {
    let tier = FakeTier::new();
    let one = World::sharing(&tier, "[redis]\nmax_object = \"1KB\"\nmax_queued = \"20KB\"").await;
    one.origin.otherwise(named);
    // Reads are answered; the first write hangs for an hour, and the others wait behind it.
    tier.fails(Fault::HangsWrites(Duration::from_secs(3600)));
    for number in 0..100 {
        assert_eq!(one.get(&format!("/{number}")).await.status, 200);
    }
    settle().await;
    let shared = &one.telemetry.shared;
    let (dropped, queued) = (shared.dropped.get(), shared.queued_bytes.get());
    assert!((80..100).contains(&dropped), "{dropped}");
    assert!((1..=20_000).contains(&queued), "{queued}");
    pass(Duration::from_secs(8 * 3600)).await;
    assert_eq!(shared.queued_bytes.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_stops_can_wait_until_all_that_was_queued_is_there() {
    let tier = FakeTier::new();
    let one = World::sharing(&tier, "").await;
    one.origin.otherwise(named);
    one.written().await;
    tier.fails(Fault::Slow(DEADLINE));
    for path in ["/a", "/b"] {
        one.get(path).await;
    }
    assert_eq!(tier.count(), 1, "the last is on its way");
    one.written().await;
    assert_eq!(tier.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_back_empty_is_used_again() {
    let tier = FakeTier::new();
    let (one, other) = (World::sharing(&tier, "").await, World::sharing(&tier, "").await);
    one.origin.otherwise(named);
    let mine = || get("/a").header("authorization", "Bearer mine");
    one.origin.on("/a", fresh("mine").header("cache-control", "private"));
    one.ask(mine()).await;
    settle().await;
    let secret = tier.secret();
    tier.wipe();
    // Not before a moment has passed since the log was joined, and then for good.
    pass(Duration::from_millis(200)).await;
    assert_eq!(tier.secret(), secret, "whoever has agreed on it puts it there again");
    one.get("/b").await;
    settle().await;
    assert!(other.get("/b").await.cache_status().ends_with("detail=redis"));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_was_evicted_is_there_again_before_long() {
    let tier = FakeTier::new();
    let _one = World::sharing(&tier, "").await;
    let secret = tier.secret();
    tier.loses_secret();
    pass(Duration::from_secs(61)).await;
    assert_eq!(tier.secret(), secret);
}

#[tokio::test(start_paused = true)]
async fn values_that_are_noise_or_anothers_are_misses_and_counted() {
    type Noise = (&'static str, fn(&FakeTier));
    let noises: [Noise; 6] = [
        ("one bit", |tier| tier.corrupt(|bytes| *bytes.last_mut().unwrap() ^= 1)),
        ("the first bit", |tier| tier.corrupt(|bytes| bytes[0] ^= 1)),
        ("the version", |tier| tier.corrupt(|bytes| bytes[4] ^= 0x40)),
        ("cut off", |tier| tier.corrupt(|bytes| bytes.truncate(bytes.len() - 1))),
        ("nothing", |tier| tier.corrupt(Vec::clear)),
        ("under another's name", FakeTier::shuffle),
    ];
    for (what, change) in noises {
        let tier = FakeTier::new();
        let (one, other) = (World::sharing(&tier, "").await, World::sharing(&tier, "").await);
        one.origin.otherwise(named);
        one.get("/a").await;
        one.get("/b").await;
        settle().await;
        change(&tier);
        other.origin.otherwise(named);
        for target in ["/a", "/b"] {
            let answer = other.get(target).await;
            assert_eq!(answer.text(), target, "{what}");
            assert!(answer.cache_status().starts_with("larder; fwd=uri-miss"), "{what}");
        }
        let unreadable: u64 = other.telemetry.shared.unreadable.get().values().sum();
        assert_eq!(unreadable, 2, "{what}");
        settle().await;
        let third = World::sharing(&tier, "").await;
        assert_eq!(third.get("/a").await.text(), "/a", "{what}: it was written anew");
    }
}

#[tokio::test(start_paused = true)]
async fn it_starts_without_the_tier_and_uses_it_once_it_is_there() {
    let tier = FakeTier::new();
    tier.fails(Fault::Away);
    let (one, other) = (World::sharing(&tier, "").await, World::sharing(&tier, "").await);
    one.origin.otherwise(named);
    assert_eq!(one.get("/a").await.text(), "/a");
    assert_eq!(tier.counts().reads, 0, "it is not used before instances agree");
    tier.fails(Fault::None);
    pass(Duration::from_secs(1)).await;
    one.get("/b").await;
    settle().await;
    assert!(other.get("/b").await.cache_status().ends_with("detail=redis"));
}
