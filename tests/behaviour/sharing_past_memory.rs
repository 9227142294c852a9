//! What memory has no room for is given from the shared tier as it would be from memory: also when it is over.

use crate::client::get;
use crate::origin::reply;
use crate::tier::FakeTier;
use crate::world::{World, pass_seconds, settle};

/// One instance that has fetched this, and one whose memory is too small for it.
async fn one_and_a_small_one(cache_control: &str) -> (World, World) {
    let tier = FakeTier::new();
    let one = World::sharing(&tier, "").await;
    let small = World::sharing(&tier, "[memory]\nmax_size = \"2KB\"\nmax_object = \"1KB\"\n").await;
    let long = reply(200).header("cache-control", cache_control).header("etag", "\"e\"");
    one.origin.on("/a", long.body(vec![b'x'; 4000]));
    one.get("/a").await;
    pass_seconds(3).await;
    (one, small)
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_is_given_while_it_is_refreshed() {
    let (_one, small) = one_and_a_small_one("max-age=1, stale-while-revalidate=60").await;
    small.origin.on("/a", reply(304).header("cache-control", "max-age=60"));
    let stale = small.get("/a").await;
    assert!(stale.cache_status().contains("detail=stale-while-revalidate"), "{}", stale.cache_status());
    settle().await;
    assert_eq!((small.origin.count(), small.origin.last().header("if-none-match")), (1, "\"e\""));
    assert_eq!(small.get("/a").await.cache_status(), "larder; hit; ttl=59; detail=redis");
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_is_asked_about_and_given_where_the_upstream_fails() {
    let (_one, small) = one_and_a_small_one("max-age=1, stale-if-error=60").await;
    small.origin.on("/a", reply(500));
    let answer = small.ask(get("/a")).await;
    assert_eq!((answer.status, answer.text().len()), (200, 4000));
    assert_eq!(small.origin.last().header("if-none-match"), "\"e\"");
}
