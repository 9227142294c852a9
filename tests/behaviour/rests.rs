//! The rest of what is kept in part: what is put together is whole and of one thing, or the answer breaks off and nothing is kept.

use crate::client::get;
use crate::origin::{Gate, Reply, fresh, reply};
use crate::world::{World, settle};

const WHOLE: &str = "0123456789";

/// So much of the whole.
fn part(range: &str) -> Reply {
    let part = reply(206).header("cache-control", "max-age=60").header("etag", "\"one\"");
    part.header("content-range", &format!("bytes {range}/10"))
}

/// A world that has the beginning.
async fn with_beginning() -> World {
    let world = World::new("");
    world.origin.on("/a", part("0-2").body("012"));
    let answer = world.ask(get("/a").header("range", "bytes=0-2")).await;
    assert_eq!((answer.status, answer.text()), (206, "012"));
    world
}

/// The beginning is still what is kept, and it can be completed.
async fn has_only_the_beginning(world: &World) {
    let answer = world.ask(get("/a").header("range", "bytes=0-2")).await;
    assert_eq!((answer.status, answer.text()), (206, "012"));
    assert!(answer.cache_status().starts_with("larder; hit; "), "{}", answer.cache_status());
    world.origin.on("/a", part("3-9").body(&WHOLE.as_bytes()[3..]));
    assert_eq!(world.get("/a").await.text(), WHOLE);
    assert_eq!(world.origin.last().header("range"), "bytes=3-");
}

#[tokio::test(start_paused = true)]
async fn a_rest_that_breaks_off_breaks_the_answer_off_and_nothing_of_it_is_kept() {
    for fields in [&[][..], &[("content-length", "7")]] {
        let world = with_beginning().await;
        let script = fields.iter().fold(part("3-9"), |reply, (name, value)| reply.header(name, value));
        let (tap, reply) = script.flowing();
        world.origin.on("/a", reply);
        let (first, second) = (world.begin(get("/a")).await, world.begin(get("/a")).await);
        tap.push("345").await;
        tap.die().await;
        assert!(first.ended().await.is_err(), "half must not look whole");
        assert!(second.ended().await.is_err(), "half must not look whole");
        has_only_the_beginning(&world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rest_that_lies_about_its_length_breaks_the_answer_off_and_nothing_of_it_is_kept() {
    for body in ["", "345", "3456789x", "3456789 and on and on"] {
        let world = with_beginning().await;
        let (tap, reply) = part("3-9").flowing();
        world.origin.on("/a", reply);
        let waiting = world.begin(get("/a")).await;
        if !body.is_empty() {
            tap.push(body).await;
        }
        drop(tap);
        assert!(waiting.ended().await.is_err(), "{body:?}");
        settle().await;
        has_only_the_beginning(&world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_beginning_that_lies_about_its_length_breaks_the_answer_off() {
    let world = World::new("");
    world.origin.on("/a", part("7-9").body("789"));
    world.ask(get("/a").header("range", "bytes=-3")).await;
    let (tap, reply) = part("0-6").flowing();
    world.origin.on("/a", reply);
    let waiting = world.begin(get("/a")).await;
    tap.push("012345").await;
    drop(tap);
    assert!(waiting.ended().await.is_err());
    settle().await;
    world.origin.on("/a", fresh("whole"));
    assert_eq!(world.get("/a").await.text(), "whole");
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_comes_at_once_while_the_rest_is_on_its_way() {
    let world = with_beginning().await;
    let (tap, reply) = part("3-9").flowing();
    world.origin.on("/a", reply);
    let mut first = world.open(get("/a")).await;
    assert_eq!(first.header("content-length"), "10");
    assert_eq!(first.chunk().await, "012");
    tap.push("34").await;
    assert_eq!(first.chunk().await, "34");
    let mut second = world.open(get("/a")).await;
    assert_eq!(second.header("cache-status"), "larder; fwd=partial; fwd-status=206; stored; collapsed");
    assert!(second.chunk().await.starts_with(b"012"));
    tap.push("56789").await;
    drop(tap);
    assert_eq!(first.rest().await.unwrap().text(), "56789");
    assert!(second.rest().await.unwrap().text().ends_with("56789"));
    assert!(world.get("/a").await.cache_status().starts_with("larder; hit; "));
    assert_eq!(world.origin.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn many_who_want_the_whole_of_what_is_kept_in_part_share_the_rest() {
    let world = with_beginning().await;
    let gate = Gate::new();
    world.origin.on("/a", part("3-9").body(&WHOLE.as_bytes()[3..]).held(&gate));
    let all = world.begin_many(20, "/a").await;
    assert_eq!(gate.waiting(), 1);
    gate.open();
    for waiting in all {
        let answer = waiting.answer().await;
        assert_eq!((answer.status, answer.text()), (200, WHOLE));
    }
    assert_eq!(world.origin.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_lies_about_its_length_is_never_put_to_another() {
    let world = World::new("");
    world.origin.on("/a", part("0-4").body("012"));
    world.ask(get("/a").header("range", "bytes=0-4")).await;
    world.origin.on("/a", part("5-9").body("56789"));
    world.ask(get("/a").header("range", "bytes=5-9")).await;
    world.origin.on("/a", fresh("whole"));
    assert_eq!(world.get("/a").await.text(), "whole");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_breaks_off_is_not_kept() {
    let world = World::new("");
    let (tap, reply) = part("0-4").header("content-length", "5").flowing();
    world.origin.on("/a", reply);
    let waiting = world.begin(get("/a").header("range", "bytes=0-4")).await;
    tap.push("012").await;
    tap.die().await;
    assert!(waiting.ended().await.is_err());
    world.origin.on("/a", part("0-1").body("01"));
    let answer = world.ask(get("/a").header("range", "bytes=0-1")).await;
    assert_eq!(answer.cache_status(), "larder; fwd=uri-miss; fwd-status=206; stored");
}
