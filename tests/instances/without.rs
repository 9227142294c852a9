//! The real binary without its Redis: switched off, not there yet, hung from the start, of another password, or full. Clients
//! see nothing of it; the log says it once, and the metrics say how often.

use std::time::{Duration, Instant};

use crate::along;
use crate::binary::{
    BACK, SOON, WORKERS, ask, count, entries, get, is_from_redis, is_in_use, metric, redis, started, told,
    using,
};
use crate::larder::{CACHED, Larder};
use crate::origin::Origin;
use crate::server::{REDIS, Server, free_port, until};

/// What the log says when Redis is not there.
const AWAY: &str = "Redis is away";

/// Fifty things that are new to it, each asked for twice and fetched once. How long the slowest answer took.
fn serves(larder: &Larder, origin: &Origin, what: &str) -> Duration {
    let (mut client, mut slowest) = (larder.connect(), Duration::ZERO);
    for number in 0..50 {
        let target = format!("/things/{what}/{number}");
        for _ in 0..2 {
            let began = Instant::now();
            let answer = ask(&mut client, &target, &[]);
            slowest = slowest.max(began.elapsed());
            assert_eq!(answer.text(), format!("origin {target}"), "{answer:?}");
        }
    }
    assert_eq!(origin.count(&format!("/things/{what}/")), 50);
    slowest
}

/// How long it takes until what one has fetched is the other's.
async fn used_after(began: Instant, one: &Larder, other: &Larder) -> Duration {
    let mut number = 0;
    until("what one has fetched is the other's", SOON, async || {
        number += 1;
        let target = format!("/things/back/{number}");
        get(one, &target);
        is_from_redis(&get(other, &target))
    })
    .await;
    began.elapsed()
}

/// How many have ever connected to it.
async fn connections(server: &Server) -> u64 {
    let text = server.text(&["INFO", "stats"]).await;
    let line = text.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn one_that_is_switched_off_is_not_even_connected_to() {
    let _along = along().await;
    let origin = Origin::echo(&[]);
    let server = Server::start(&[]).await;
    let config = |more: &str| format!("{WORKERS}[redis]\nurl = '{}'\n{more}\n{CACHED}", server.url());
    let upstream = format!("http://{}", origin.address);
    let off = [("LARDER_REDIS__ENABLED", "false")];
    for (what, more, environment) in [("file", "enabled = false", &[][..]), ("environment", "", &off)] {
        let before = connections(&server).await;
        let larder = Larder::run(&upstream, &config(more), environment);
        serves(&larder, &origin, what);
        // Ours is the only one since.
        assert_eq!(connections(&server).await, before + 1, "switched off by {what}");
        assert_eq!(
            (&redis(&larder)["links_up"], metric(&larder, "larder_redis_connects_total")),
            (&0.into(), 0)
        );
        assert!(server.keys().await.is_empty(), "switched off by {what}");
    }
    // With the same file otherwise it is.
    is_in_use(&Larder::run(&upstream, &config(""), &[])).await;
}

#[tokio::test]
async fn one_that_comes_later_is_not_waited_for_and_then_used() {
    let _along = along().await;
    let origin = Origin::echo(&[]);
    let port = free_port();
    let began = Instant::now();
    let url = format!("url = 'redis://127.0.0.1:{port}'");
    let (one, two) = (started(&origin, &url), started(&origin, &url));
    let start = began.elapsed();
    let slowest = serves(&one, &origin, "early");
    until("it is told of", SOON, async || told(&one, AWAY) == 1).await;
    let server = Server::at(port).await;
    let used = used_after(Instant::now(), &one, &two).await;
    println!("no Redis: two start in {start:?}, slowest answer {slowest:?}; used {used:?} after it came");
    assert!(used < BACK, "{used:?}");
    assert_eq!((told(&one, AWAY), told(&one, "Redis is back")), (1, 1), "{}", one.log());
    assert!(!entries(&server).await.is_empty());
}

#[tokio::test]
async fn one_that_hangs_from_the_start_is_in_nobodys_way() {
    let _along = along().await;
    let origin = Origin::echo(&[]);
    let server = Server::start(&[]).await;
    server.hang();
    let url = format!("url = '{}'", server.url());
    let instances = [started(&origin, &url), started(&origin, &url)];
    for (instance, what) in instances.iter().zip(["one", "two"]) {
        let slowest = serves(instance, &origin, what);
        println!("hung from the start, instance {what}: slowest answer {slowest:?}");
        until("it is told of", SOON, async || told(instance, AWAY) == 1).await;
    }
    server.go_on();
    let [one, two] = &instances;
    let used = used_after(Instant::now(), one, two).await;
    println!("hung from the start: used {used:?} after it went on");
    assert!(used < BACK, "{used:?}");
}

#[tokio::test]
async fn one_that_wants_another_password_is_told_of_once_and_the_password_never() {
    let _along = along().await;
    let origin = Origin::echo(&[]);
    let server = Server::with_admin(REDIS, &["--requirepass", "acorn-31c7"], ":acorn-31c7@").await;
    let wrong = "hazelnut-9d02";
    let in_url = format!("url = 'redis://:{wrong}@127.0.0.1:{}'", server.port);
    let beside = format!("url = '{}'\npassword = '{wrong}'", server.url());
    for (what, config) in [("url", in_url), ("beside", beside)] {
        let larder = started(&origin, &config);
        let failures = || metric(&larder, "larder_redis_connect_failures_total");
        until("it was refused", SOON, async || failures() >= 3).await;
        serves(&larder, &origin, what);
        // Tried again and again, by nobody's request.
        let before = failures();
        until("it is tried again", SOON, async || failures() >= before + 3).await;
        assert_eq!((told(&larder, AWAY), told(&larder, "authentication failed")), (1, 1), "{}", larder.log());
        let says = [larder.log(), larder.admin("/config", &[]).text(), larder.admin("/metrics", &[]).text()];
        for text in says {
            assert!(!text.contains(wrong), "the password is in {text}");
        }
    }
}

#[tokio::test]
async fn one_that_is_full_is_read_from_and_what_is_not_written_is_counted() {
    let _along = along().await;
    let origin = Origin::echo(&[]);
    let server = Server::start(&["--maxmemory-policy", "noeviction"]).await;
    let (one, two) = (using(&origin, &server).await, using(&origin, &server).await);
    for number in 0..10 {
        get(&one, &format!("/things/before/{number}"));
    }
    until("it is written", SOON, async || count(&one, "written") == 10).await;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let slowest = serves(&one, &origin, "full");
    for number in 0..10 {
        let hit = get(&two, &format!("/things/before/{number}"));
        assert!(is_from_redis(&hit), "{hit:?}");
    }
    until("all that was lost is counted", SOON, async || count(&one, "dropped") == 50).await;
    let refused = metric(&one, "larder_redis_refusals_total{kind=\"OOM\"}");
    println!("full: slowest answer {slowest:?}; 50 writes lost, {refused} commands refused");
    assert!(refused >= 50, "{refused}");
    assert_eq!((count(&one, "written"), count(&one, "breaker_opened")), (10, 0));
    assert_eq!((told(&one, "Redis refuses a command"), told(&one, AWAY)), (1, 0), "{}", one.log());
    assert!(redis(&one)["links_up"].as_u64() > Some(0));
    // Room again.
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    used_after(Instant::now(), &one, &two).await;
}
