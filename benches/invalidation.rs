//! What an invalidation costs, and what it takes to remember a great many. It prints its figures; there is nothing to compare them
//! with but the other half of each pair.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it prints what it measures, and what can't be measured is a mistake in here"
)]

#[expect(dead_code, reason = "the bench of hits uses the rest")]
mod in_memory;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use larder::invalidation::Event;
use larder::object::Tag;
use larder::proxy::Form;
use larder::proxy::Proxy;

use in_memory::{Origin, fill, is_hit, proxy, request};

/// Room for a million entries of 1 KiB.
const ROOM: &str = "\n[memory]\nmax_size = \"4GB\"\n";

fn main() {
    // `cargo bench -- --test` and the like only want to know that it runs.
    let entries = if std::env::args().any(|argument| argument == "--test") { 1000 } else { 1_000_000 };
    remembering(entries);
    declaring(entries);
}

/// Tags that are remembered, in bytes of this process.
fn remembering(tags: u64) {
    let proxy = proxy("");
    let before = resident();
    declare_tags(&proxy, 0..tags);
    let with_all = resident() - before;
    declare_tags(&proxy, tags..10 * tags);
    let with_ten_times = resident() - before;
    println!("{tags} tags remembered: {:.1} MB", megabytes(with_all));
    println!("{} distinct tags sent: {:.1} MB", 10 * tags, megabytes(with_ten_times));
}

/// One event for a tag that one entry bears, and for one that a million do.
fn declaring(entries: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let proxy = proxy(ROOM);
    for id in 0..entries {
        let thing = request(&Method::GET, &format!("/things/{id}"), [].iter());
        fill(&runtime, &proxy, &thing);
    }
    let (mut one, mut all) = (Vec::new(), Vec::new());
    for _ in 0..2000 {
        one.push(timed(&proxy, "thing:1"));
        all.push(timed(&proxy, "route:things"));
    }
    let (one, all) = (median(one), median(all));
    let ratio = all.as_secs_f64() / one.as_secs_f64();
    println!("a tag on 1 entry: {one:?}; on {entries} entries: {all:?}; ratio {ratio:.2}");
    let thing = request(&Method::GET, "/things/5", [].iter());
    let dead = in_memory::response(runtime.block_on(proxy.answer(thing, in_memory::PEER, Form::Response)));
    assert!(!is_hit(&dead), "what was declared invalid is not served");
}

fn timed(proxy: &Arc<Proxy<Origin>>, tag: &str) -> Duration {
    let event = Event { tags: vec![tag.to_owned()], ..Event::default() };
    let began = now();
    proxy.record().declare(event, None);
    now() - began
}

#[expect(clippy::disallowed_methods, reason = "a bench measures the time that passes")]
fn now() -> Instant {
    Instant::now()
}

fn declare_tags(proxy: &Arc<Proxy<Origin>>, tags: std::ops::Range<u64>) {
    let (mut next, end) = (tags.start, tags.end);
    while next < end {
        let digests = (next..(next + 1000).min(end)).map(|tag| Tag::named(&format!("tag:{tag}"))).collect();
        proxy.record().declare(Event { digests, ..Event::default() }, None);
        next += 1000;
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Of this process, in bytes, as the kernel counts pages of 4096.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
