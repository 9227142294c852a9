//! One fetch over all instances: one asks, the others wait for what it keeps, and nobody waits for what does not come.

use std::time::Duration;

use crate::client::get;
use crate::origin::{Gate, fresh, reply, unstorable};
use crate::tier::{FakeTier, Fault};
use crate::world::{World, pass, settle};

/// Two instances that hear each other.
async fn two(config: &str) -> (FakeTier, World, World) {
    let tier = FakeTier::new();
    let one = World::sharing(&tier, config).await;
    let other = World::sharing(&tier, config).await;
    tier.hears();
    settle().await;
    (tier, one, other)
}

#[tokio::test(start_paused = true)]
async fn two_herds_on_two_instances_fetch_once() {
    let (tier, one, other) = two("").await;
    let held = Gate::new();
    one.origin.on("/a", fresh("one").held(&held));
    let first = one.begin_many(200, "/a").await;
    settle().await;
    let second = other.begin_many(200, "/a").await;
    settle().await;
    assert_eq!((held.waiting(), tier.leases()), (1, 1));
    held.open();
    for waiting in first.into_iter().chain(second) {
        assert_eq!(waiting.answer().await.text(), "one");
    }
    assert_eq!((one.origin.count(), other.origin.count()), (1, 0));
    assert_eq!(tier.leases(), 0, "the lease was given back");
    let status = other.get("/a").await;
    assert_eq!(status.cache_status(), "larder; hit; ttl=59; detail=memory");
}

#[tokio::test(start_paused = true)]
async fn who_waited_is_told_that_it_came_from_the_shared_tier() {
    let (_tier, one, other) = two("").await;
    let held = Gate::new();
    one.origin.on("/a", fresh("one").held(&held));
    let first = one.begin(get("/a")).await;
    settle().await;
    let second = other.begin(get("/a")).await;
    settle().await;
    assert!(!second.is_over());
    held.open();
    assert_eq!(first.answer().await.cache_status(), "larder; fwd=uri-miss; fwd-status=200; stored");
    assert_eq!(second.answer().await.cache_status(), "larder; hit; ttl=59; detail=redis");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_held_as_long_as_the_upstream_takes() {
    let (tier, one, other) = two("").await;
    let held = Gate::new();
    one.origin.on("/a", fresh("one").held(&held));
    let first = one.begin(get("/a")).await;
    settle().await;
    let second = other.begin(get("/a")).await;
    for _ in 0..20 {
        pass(Duration::from_secs(1)).await;
        assert_eq!(tier.leases(), 1);
    }
    held.open();
    assert_eq!((first.answer().await.text(), second.answer().await.text()), ("one", "one"));
    assert_eq!(other.origin.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn when_the_holder_dies_another_takes_over() {
    let (tier, one, other) = two("").await;
    let held = Gate::new();
    one.origin.on("/a", fresh("one").held(&held));
    let first = one.begin(get("/a")).await;
    settle().await;
    tier.kills_holders();
    other.origin.on("/a", fresh("two"));
    let second = other.begin(get("/a")).await;
    pass(Duration::from_secs(2)).await;
    assert!(!second.is_over(), "its lease has not run out");
    pass(Duration::from_millis(1100)).await;
    assert_eq!(second.answer().await.text(), "two");
    first.leave();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_could_not_be_given_back_is_when_the_tier_is_back() {
    let (tier, one, _other) = two("").await;
    let held = Gate::new();
    one.origin.on("/a", fresh("one").held(&held));
    let first = one.begin(get("/a")).await;
    settle().await;
    tier.fails(Fault::Away);
    held.open();
    assert_eq!(first.answer().await.text(), "one");
    pass(Duration::from_secs(1)).await;
    assert_eq!(tier.leases(), 1);
    tier.fails(Fault::None);
    pass(Duration::from_millis(200)).await;
    assert_eq!(tier.leases(), 0, "others would wait for it until it has run out");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_taken_without_knowing_is_given_back() {
    let (tier, one, _other) = two("").await;
    let held = Gate::new();
    one.origin.on("/a", fresh("one").held(&held));
    tier.fails(Fault::TakesLeasesUnheard(Duration::from_millis(50)));
    let first = one.begin(get("/a")).await;
    settle().await;
    assert_eq!(tier.leases(), 1);
    pass(Duration::from_millis(200)).await;
    assert_eq!((one.origin.count(), tier.leases()), (1, 0), "it fetches without one");
    held.open();
    assert_eq!(first.answer().await.text(), "one");
}

#[tokio::test(start_paused = true)]
async fn what_proves_uncacheable_serialises_nobody() {
    let (_tier, one, other) = two("").await;
    let (held, also) = (Gate::new(), Gate::new());
    one.origin.on("/a", unstorable("one").held(&held));
    other.origin.otherwise(move |_| unstorable("two").held(&also));
    let first = one.begin(get("/a")).await;
    settle().await;
    let second = other.begin_many(50, "/a").await;
    settle().await;
    assert_eq!(other.origin.count(), 0);
    held.open();
    assert_eq!(first.answer().await.text(), "one");
    settle().await;
    assert_eq!(other.origin.count(), 50, "all of them ask, at once");
    second.into_iter().for_each(crate::client::Waiting::leave);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_holders_is_not_everybodys() {
    let (tier, one, other) = two("").await;
    let held = Gate::new();
    one.origin.on("/a", fresh("one").held(&held));
    let first = one.begin(get("/a")).await;
    pass(Duration::from_secs(10)).await;
    other.origin.on("/a", fresh("two"));
    let second = other.begin_many(20, "/a").await;
    settle().await;
    assert_eq!((other.origin.count(), tier.leases()), (0, 1));
    // The upstream has had its thirty seconds, and the others would wait for another ten.
    pass(Duration::from_secs(20)).await;
    assert_eq!(first.answer().await.status, 504);
    for waiting in second {
        assert_eq!(waiting.answer().await.text(), "two");
    }
    assert_eq!(other.origin.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_the_tier_each_instance_fetches_for_itself_at_once() {
    for fault in [Fault::Away, Fault::Breaks, Fault::Full] {
        let (tier, one, other) = two("").await;
        tier.fails(fault);
        let held = Gate::new();
        one.origin.on("/a", fresh("one").held(&held));
        other.origin.on("/a", fresh("two"));
        let first = one.begin_many(20, "/a").await;
        settle().await;
        assert_eq!(other.get("/a").await.text(), "two", "{fault:?}");
        held.open();
        for waiting in first {
            assert_eq!(waiting.answer().await.text(), "one");
        }
        assert_eq!((one.origin.count(), other.origin.count()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_where_no_news_comes_through() {
    let (tier, one, other) = two("").await;
    let held = Gate::new();
    one.origin.on("/a", fresh("one").held(&held));
    other.origin.on("/a", fresh("two"));
    other.origin.on("/b", fresh("three"));
    let first = one.begin(get("/a")).await;
    settle().await;
    let second = other.begin(get("/a")).await;
    settle().await;
    assert!(!second.is_over());
    tier.is_deaf();
    assert_eq!(second.answer().await.text(), "two", "whoever waited is let go");
    assert_eq!(other.get("/b").await.text(), "three");
    held.open();
    assert_eq!(first.answer().await.text(), "one");
}

#[tokio::test(start_paused = true)]
async fn routes_that_say_instance_or_memory_ask_nobody_else() {
    for line in ["coalesce = \"instance\"", "coalesce = \"off\"", "tier = \"memory\""] {
        let config = format!("[[route]]\nname = \"a\"\nmatch = \"/a\"\n{line}\n");
        let (tier, one, other) = two(&config).await;
        let held = Gate::new();
        one.origin.on("/a", fresh("one").held(&held));
        other.origin.on("/a", fresh("two"));
        let first = one.begin(get("/a")).await;
        settle().await;
        assert_eq!(tier.leases(), 0, "{line}");
        assert_eq!(other.get("/a").await.text(), "two", "{line}");
        held.open();
        first.answer().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_will_not_lie_in_the_tier_is_not_waited_for() {
    let (tier, one, other) = two("[redis]\nmax_object = \"1KB\"\n").await;
    let (tap, reply) = fresh("").header("content-length", "2000").flowing();
    one.origin.on("/a", reply);
    let first = one.open(get("/a")).await;
    other.origin.on("/a", fresh("two"));
    assert_eq!(tier.leases(), 0, "it is given back as soon as that is known");
    assert_eq!(other.get("/a").await.text(), "two");
    drop((tap, first));
}

#[tokio::test(start_paused = true)]
async fn one_instance_asks_whether_what_all_have_is_good_still() {
    let (_tier, one, other) = two("").await;
    one.origin.on("/a", fresh("one").header("etag", "\"one\""));
    one.get("/a").await;
    settle().await;
    other.get("/a").await;
    pass(Duration::from_secs(61)).await;
    let held = Gate::new();
    one.origin
        .on("/a", reply(304).header("etag", "\"one\"").header("cache-control", "max-age=60").held(&held));
    let first = one.begin(get("/a")).await;
    settle().await;
    let second = other.begin(get("/a")).await;
    settle().await;
    held.open();
    assert_eq!((first.answer().await.text(), second.answer().await.text()), ("one", "one"));
    assert_eq!((one.origin.count(), other.origin.count()), (2, 0));
}
