//! Whatever may have cost events makes another epoch, and whoever is in the old one finds out; and no command waits for ever.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::invalidation::{Event, IsOurSecret, Line, Log, LogError, RedisLog, Session};
use larder::shared::Tier;
use redis::Value;
use tokio::time::Instant;

use crate::instance::{Instance, MINUTE};
use crate::journal::{Journal, SOON, at, event, events, id, join, line, read_on, refused, timed, told};
use crate::server::{Server, until};
use crate::wire::Wire;

const KEYS: [&str; 2] = ["larder:log", "larder:{larder:log}:instances"];

/// What each command that is about this epoch comes to.
async fn come_to(session: &dyn Session) -> [LogError; 4] {
    [
        timed("renew", session.renew(line(1))).await.unwrap_err(),
        timed("lines", session.lines()).await.unwrap_err(),
        timed("append", session.append(events(0..1))).await.unwrap_err(),
        timed("remove", session.remove(vec![line(1)])).await.unwrap_err(),
    ]
}

async fn are_replaced(session: &dyn Session) {
    assert_eq!(come_to(session).await, [const { LogError::Replaced }; 4]);
}

async fn are_refused(session: &dyn Session, why: &str) {
    for error in come_to(session).await {
        assert!(matches!(&error, LogError::Refused(words) if words.contains(why)), "{error:?}");
    }
}

/// `server` follows `leader`, with all it has.
async fn follow(server: &Server, leader: &Server) {
    server.ask(&["REPLICAOF", "127.0.0.1", &leader.port.to_string()]).await;
    until("the replica follows", Duration::from_secs(10), async || {
        server.says(&["INFO", "replication"], "master_link_status:up").await
    })
    .await;
}

async fn has_all_of(server: &Server, leader: &Server) {
    let last = ["XREVRANGE", KEYS[0], "+", "-", "COUNT", "1"];
    until("the replica has all", Duration::from_secs(5), async || {
        server.ask(&last).await == leader.ask(&last).await
    })
    .await;
}

fn trusting(server: &Server) -> RedisLog {
    let lines = format!("url = '{}'", server.url());
    Journal { trust_failover: true, ..Journal::of(&lines) }.log()
}

#[tokio::test]
async fn a_log_that_lost_a_part_is_another_and_has_no_part_of_the_old_one() {
    let server = Server::start(&[]).await;
    let log = at(&server.url());
    server.ask(&["HSET", KEYS[1], "secret", "acorn"]).await;
    let mut before = join(&log, 1).await;
    for lost in [
        &["DEL", KEYS[0]][..],
        &["DEL", KEYS[1]],
        &["XTRIM", KEYS[0], "MAXLEN", "0"],
        &["HDEL", KEYS[1], "name"],
        &["HSET", KEYS[1], "name", "none"],
        &["SET", KEYS[1], "none"],
        &["FLUSHALL"],
    ] {
        before.append(events(0..3)).await.unwrap();
        server.ask(lost).await;
        if lost[0] == "SET" {
            are_refused(&*before, "WRONGTYPE").await;
        } else {
            are_replaced(&*before).await;
        }
        let has_secret = server.says(&["HGET", KEYS[1], "secret"], "acorn").await;
        let after = join(&log, 2).await;
        assert_eq!(server.says(&["HGET", KEYS[1], "secret"], "acorn").await, has_secret);
        assert_ne!(after.epoch(), before.epoch(), "{lost:?}");
        assert_eq!(after.end(), 1);
        assert_eq!(told(&read_on(&*after, 0).await)[0].2, Some(Event::default()));
        let lines = after.lines().await.unwrap();
        assert_eq!(lines.iter().map(|line| line.id).collect::<Vec<_>>(), [line(2).id]);
        are_replaced(&*before).await;
        server.keys().await;
        before = after;
    }
    server.ask(&["DEL", KEYS[0]]).await;
    server.ask(&["RPUSH", KEYS[0], "a list"]).await;
    are_refused(&*before, "WRONGTYPE").await;
    join(&log, 1).await.append(events(0..1)).await.unwrap();
}

#[tokio::test]
async fn as_long_as_nothing_is_lost_a_new_session_is_in_the_same_epoch() {
    let server = Server::start(&[]).await;
    let log = at(&server.url());
    let one = join(&log, 1).await;
    one.append(events(0..2)).await.unwrap();
    server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    until("it is gone", SOON, async || one.lines().await.is_err()).await;
    assert!(matches!(one.read(0, SOON).await, Err(LogError::Away(_))));
    let again = join(&log, 1).await;
    assert_eq!((again.epoch(), again.end()), (one.epoch(), 3));
    assert_eq!(join(&at(&server.url()), 2).await.epoch(), one.epoch());
    let other = format!("url = '{}'\nnamespace = 'other'", server.url());
    let other = join(&Journal::of(&other).log(), 1).await;
    assert_ne!(other.epoch(), one.epoch());
    assert_eq!(other.end(), 1);
}

#[tokio::test]
async fn a_server_that_restarts_from_an_older_dump_has_another_epoch() {
    let mut server = Server::start(&[]).await;
    let log = at(&server.url());
    let before = join(&log, 1).await;
    before.append(events(0..2)).await.unwrap();
    server.ask(&["SAVE"]).await;
    before.append(events(2..4)).await.unwrap();
    server.kill();
    assert!(matches!(timed("append", before.append(events(4..5))).await, Err(LogError::Away(_))));
    assert!(matches!(refused(&log).await, LogError::Away(_)));
    server.start_again().await;
    let after = join(&log, 1).await;
    assert_eq!(after.end(), 3);
    assert_ne!(after.epoch(), before.epoch());
    assert!(matches!(before.lines().await, Err(LogError::Away(_))), "the old connections are gone");
}

#[tokio::test]
async fn a_replica_in_the_place_of_its_master_is_another_epoch_unless_it_is_trusted() {
    let (master, replica) = (Server::start(&[]).await, Server::start(&[]).await);
    follow(&replica, &master).await;
    let (before, trusted) = (join(&at(&master.url()), 1).await, join(&trusting(&master), 2).await);
    assert_ne!(before.epoch(), trusted.epoch());
    before.append(events(0..3)).await.unwrap();
    has_all_of(&replica, &master).await;
    for log in [at(&replica.url()), trusting(&replica)] {
        assert!(matches!(refused(&log).await, LogError::Refused(why) if why.contains("READONLY")));
    }
    replica.ask(&["REPLICAOF", "NO", "ONE"]).await;
    master.ask(&["REPLICAOF", "127.0.0.1", &replica.port.to_string()]).await;
    for session in [&before, &trusted] {
        are_refused(&**session, "READONLY").await;
    }
    let after = join(&at(&replica.url()), 1).await;
    assert_ne!(after.epoch(), before.epoch());
    let after = join(&trusting(&replica), 2).await;
    assert_eq!((after.epoch(), after.end()), (trusted.epoch(), 4));
    assert_eq!(told(&read_on(&*after, 1).await)[2], (4, id(2), Some(event(2))));
}

#[tokio::test]
async fn a_master_that_followed_another_for_a_while_has_another_epoch() {
    let (master, other) = (Server::start(&[]).await, Server::start(&[]).await);
    follow(&other, &master).await;
    let before = join(&at(&master.url()), 1).await;
    before.append(events(0..1)).await.unwrap();
    has_all_of(&other, &master).await;
    other.ask(&["REPLICAOF", "NO", "ONE"]).await;
    before.append(events(1..2)).await.unwrap();
    // The same process, the same connections and the same name; and one event is lost.
    follow(&master, &other).await;
    master.ask(&["REPLICAOF", "NO", "ONE"]).await;
    let after = join(&at(&master.url()), 1).await;
    assert_eq!(after.end(), 2);
    assert_ne!(after.epoch(), before.epoch());
    let errors = come_to(&*before).await;
    let is_over = |error: &LogError| matches!(error, LogError::Replaced | LogError::Away(_));
    assert!(errors.iter().all(is_over), "{errors:?}");
}

#[tokio::test]
async fn a_failover_that_was_trusted_and_lost_events_is_found_out_by_who_has_read_them() {
    let mut server = Server::start(&[]).await;
    let log = trusting(&server);
    let before = join(&log, 1).await;
    before.append(events(0..2)).await.unwrap();
    server.ask(&["SAVE"]).await;
    before.append(events(2..4)).await.unwrap();
    let line = |applied| Line { applied, epoch: before.epoch(), ..line(1) };
    before.renew(line(5)).await.unwrap();
    server.kill();
    server.start_again().await;
    // Whoever has read no more than there is can't know.
    let unaware = join(&log, 2).await;
    assert_eq!((unaware.epoch(), unaware.end()), (before.epoch(), 3));
    let same = log.join(line(3), None).await.unwrap();
    assert_eq!(same.epoch(), before.epoch());
    assert!(same.lines().await.unwrap().contains(&line(3)));
    let after = log.join(line(4), None).await.unwrap();
    assert_ne!(after.epoch(), before.epoch());
    assert_eq!(after.end(), 1);
    assert_eq!(after.lines().await.unwrap(), [Line { applied: 0, epoch: after.epoch(), ..line(0) }]);
    are_replaced(&*unaware).await;
    let later = join(&log, 2).await;
    assert_eq!(later.epoch(), after.epoch());
}

#[tokio::test]
async fn a_failover_that_was_trusted_and_lost_events_is_found_out_though_others_have_appended_since() {
    let mut server = Server::start(&[]).await;
    let log = trusting(&server);
    let before = join(&log, 1).await;
    before.append(events(0..2)).await.unwrap();
    server.ask(&["SAVE"]).await;
    before.append(events(2..4)).await.unwrap();
    let read = before.read(4, Duration::ZERO).await.unwrap();
    let line = |applied| Line { applied, epoch: before.epoch(), ..line(1) };
    server.kill();
    server.start_again().await;
    // As many as were lost: the position alone says nothing.
    join(&log, 2).await.append(events(4..6)).await.unwrap();
    let last = Some(read[0].id);
    let after = log.join(line(5), last).await.unwrap();
    assert_ne!(after.epoch(), before.epoch());
    // What stands where it was read is the log that was read.
    after.append(events(6..7)).await.unwrap();
    let line = Line { applied: 2, epoch: after.epoch(), ..line(0) };
    let same = log.join(line, Some(events(6..7)[0].0)).await.unwrap();
    assert_eq!(same.epoch(), after.epoch());
}

#[tokio::test]
async fn what_was_applied_in_another_epoch_is_not_said_to_be_in_this_one() {
    let server = Server::start(&[]).await;
    let log = at(&server.url());
    let before = log.join(Line { applied: 7, ..line(1) }, None).await.unwrap();
    assert_eq!(before.lines().await.unwrap()[0].applied, 0);
    before.append(events(0..3)).await.unwrap();
    let line = Line { applied: 4, epoch: before.epoch(), ..line(1) };
    let again = log.join(line.clone(), None).await.unwrap();
    assert_eq!(again.lines().await.unwrap(), std::slice::from_ref(&line));
    server.ask(&["FLUSHALL"]).await;
    let after = log.join(line.clone(), None).await.unwrap();
    assert_eq!(after.lines().await.unwrap(), [Line { applied: 0, epoch: after.epoch(), ..line }]);
}

#[tokio::test]
async fn a_first_replica_makes_another_epoch_for_all_at_once() {
    let (master, replica) = (Server::start(&[]).await, Server::start(&[]).await);
    let (before, trusted) = (join(&at(&master.url()), 1).await, join(&trusting(&master), 2).await);
    follow(&replica, &master).await;
    // Whoever came later would be in another one.
    are_replaced(&*before).await;
    assert_ne!(join(&at(&master.url()), 1).await.epoch(), before.epoch());
    assert_eq!(trusted.lines().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_server_that_hangs_costs_each_command_its_time_and_no_more() {
    let server = Server::start(&[]).await;
    let log = at(&server.url());
    let session = join(&log, 1).await;
    server.hang();
    let began = Instant::now();
    let wait = Duration::from_millis(300);
    let (read, errors) = tokio::join!(timed("read", session.read(1, wait)), come_to(&*session));
    assert_eq!(read, Err(LogError::TimedOut));
    assert_eq!(errors, [const { LogError::TimedOut }; 4]);
    assert_eq!(timed("join", log.join(line(2), None)).await.err(), Some(LogError::TimedOut));
    println!("hung: a session is given up, and another not begun, after {:?}", began.elapsed());
    server.go_on();
    let again = join(&log, 1).await;
    assert_eq!(again.epoch(), session.epoch(), "it was only slow");
}

#[tokio::test]
async fn a_network_that_froze_is_found_out_by_every_command() {
    let server = Server::start(&[]).await;
    let wire = Wire::before(server.port).await;
    let log = at(&wire.url());
    let session = join(&log, 1).await;
    let reading = session.read(1, Duration::from_millis(500));
    wire.freeze();
    assert_eq!(timed("read", reading).await, Err(LogError::TimedOut));
    assert_eq!(come_to(&*session).await, [const { LogError::TimedOut }; 4]);
    assert_eq!(join(&log, 1).await.epoch(), session.epoch());
}

#[tokio::test]
async fn who_has_not_got_the_secret_that_lies_beside_the_log_is_not_let_in() {
    let server = Server::start(&[]).await;
    let lines = format!("url = '{}'", server.url());
    let ours = Arc::new(Mutex::new(b"acorn".to_vec()));
    let holds = Arc::clone(&ours);
    let is_our_secret: Option<IsOurSecret> = Some(Box::new(move |there| *there == *holds.lock().unwrap()));
    let log = Journal { is_our_secret, ..Journal::of(&lines) }.log();
    let any = at(&server.url());
    let epoch = join(&any, 2).await.epoch();
    assert!(matches!(refused(&log).await, LogError::Refused(why) if why.contains("not agreed on")));
    let instance = Instance::of(&server.url()).await;
    instance.tier.agree("hazelnut".into(), None, MINUTE).await.unwrap();
    assert!(matches!(refused(&log).await, LogError::Refused(why) if why.contains("not agreed on")));
    *ours.lock().unwrap() = b"hazelnut".to_vec();
    let session = join(&log, 1).await;
    assert_eq!(session.epoch(), epoch);
    session.renew(line(1)).await.unwrap();
    instance.tier.agree("acorn".into(), Some("hazelnut".into()), MINUTE).await.unwrap();
    let error = session.renew(line(1)).await.unwrap_err();
    assert!(matches!(&error, LogError::Refused(why) if why.contains("is another")), "{error:?}");
    let Value::Int(left) = server.ask(&["PTTL", KEYS[1]]).await else { panic!() };
    assert!(left > 6 * 86_400_000, "{left}");
    // It outlives the log, for who is at work names things by it.
    server.ask(&["DEL", KEYS[0]]).await;
    *ours.lock().unwrap() = b"acorn".to_vec();
    assert_ne!(join(&log, 1).await.epoch(), epoch);
}

#[tokio::test]
async fn sealed_events_are_nothing_without_the_key() {
    let server = Server::start(&[]).await;
    let key = |letter: &str| format!("'{}='", letter.repeat(43));
    let log = |keys: &[&str]| {
        let keys: Vec<String> = keys.iter().map(|letter| key(letter)).collect();
        let lines = format!("url = '{}'\nencryption_key = [{}]", server.url(), keys.join(", "));
        Journal::of(&lines).log()
    };
    let one = join(&log(&["A"]), 1).await;
    one.append(events(0..2)).await.unwrap();
    join(&log(&["E", "A"]), 2).await.append(events(2..3)).await.unwrap();
    join(&at(&server.url()), 3).await.append(events(3..4)).await.unwrap();
    let found = server.ask(&["XRANGE", KEYS[0], "-", "+"]).await;
    let is_shown = |text: &str| format!("{found:?}").contains(text);
    assert!(!is_shown("tag:0") && !is_shown("tag:2") && is_shown("tag:3"));
    let some = |number| Some(event(number));
    let sealed = Some(Event::default());
    for (keys, expected) in [
        (&["A"][..], [sealed.clone(), some(0), some(1), None, None]),
        (&["E"], [None, None, None, some(2), None]),
        (&["E", "A"], [sealed, some(0), some(1), some(2), None]),
        (&["I"], [const { None }; 5]),
    ] {
        let read = read_on(&*join(&log(keys), 4).await, 0).await;
        let read: Vec<_> = read.into_iter().map(|logged| logged.event).collect();
        assert_eq!(read, expected, "{keys:?}");
    }
    let read = read_on(&*join(&at(&server.url()), 3).await, 0).await;
    let read: Vec<_> = read.into_iter().map(|logged| (logged.id, logged.event)).collect();
    assert_eq!(read[1..], [(id(0), None), (id(1), None), (id(2), None), (id(3), some(3))]);
}
