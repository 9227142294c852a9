//! Events are read by all in the order in which they were appended, lines come and go, and what is too old is trimmed.

use std::time::Duration;

use larder::invalidation::{Event, EventId, Line, LogError};
use redis::Value;
use tokio::time::{Instant, sleep};

use crate::journal::{Journal, SOON, at, event, events, id, join, line, read_on, told};
use crate::server::Server;

#[tokio::test]
async fn what_two_append_both_read_in_one_order_without_gaps() {
    let server = Server::start(&[]).await;
    let (one, other) = (join(&at(&server.url()), 1).await, join(&at(&server.url()), 2).await);
    assert_eq!(one.epoch(), other.epoch());
    assert_eq!((one.end(), other.end()), (1, 1), "it begins with an event that says nothing");
    for number in 0..20 {
        let from = number * 10;
        let (first, second) =
            tokio::join!(one.append(events(from..from + 7)), other.append(events(from + 7..from + 10)));
        first.unwrap();
        second.unwrap();
    }
    let all = read_on(&*one, 0).await;
    assert_eq!(told(&all), told(&read_on(&*other, 0).await));
    let positions: Vec<u64> = all.iter().map(|logged| logged.position).collect();
    assert_eq!(positions, (1..=201).collect::<Vec<_>>());
    assert_eq!(all[0].event, Some(Event::default()));
    let mut ids: Vec<EventId> = all[1..].iter().map(|logged| logged.id).collect();
    ids.sort_unstable();
    let mut expected: Vec<_> = (0..200).map(id).collect();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    let of_one = |from: u64| ids_of(&all, from..from + 7);
    for from in (0..200).step_by(10) {
        assert!(of_one(from).is_sorted(), "what was appended together stays in order");
    }
    assert_eq!(join(&at(&server.url()), 3).await.end(), 201);
    assert_eq!(told(&one.read(200, SOON).await.unwrap()).len(), 1);
    server.keys().await;
}

/// Where these stand.
fn ids_of(all: &[larder::invalidation::Logged], numbers: std::ops::Range<u64>) -> Vec<u64> {
    let place = |number| all.iter().find(|logged| logged.id == id(number)).unwrap().position;
    numbers.map(place).collect()
}

#[tokio::test]
async fn who_waits_is_woken_at_once_and_who_waits_in_vain_in_time() {
    let server = Server::start(&[]).await;
    let (one, other) = (join(&at(&server.url()), 1).await, join(&at(&server.url()), 2).await);
    let began = Instant::now();
    assert_eq!(one.read(1, Duration::from_millis(200)).await.unwrap(), []);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(190) && took < Duration::from_millis(600), "{took:?}");
    let mut longest = Duration::ZERO;
    for number in 0..50 {
        let began = Instant::now();
        let appending = async {
            sleep(Duration::from_millis(5)).await;
            let began = Instant::now();
            other.append(events(number..number + 1)).await.unwrap();
            began
        };
        let (read, appended) = tokio::join!(one.read(number + 1, 5 * SOON), appending);
        let took = appended.elapsed();
        longest = longest.max(took);
        assert_eq!(told(&read.unwrap()), [(number + 2, id(number), Some(event(number)))]);
        assert!(began.elapsed() < SOON);
    }
    println!("read at most {longest:?} after the append began");
    assert!(longest < Duration::from_millis(100), "{longest:?}");
}

#[tokio::test]
async fn a_read_that_is_dropped_costs_no_event() {
    let server = Server::start(&[]).await;
    let session = join(&at(&server.url()), 1).await;
    for number in 0..5 {
        drop(tokio::time::timeout(Duration::from_millis(20), session.read(number + 1, SOON)).await);
        // The connection is still taken by that one.
        let reading = session.read(number + 1, SOON);
        let appending = async {
            sleep(Duration::from_millis(20)).await;
            session.append(events(number..number + 1)).await.unwrap();
        };
        let (read, ()) = tokio::join!(reading, appending);
        assert_eq!(told(&read.unwrap()), [(number + 2, id(number), Some(event(number)))]);
    }
    // Nor does it end the session, if nothing comes.
    drop(tokio::time::timeout(Duration::from_millis(20), session.read(6, SOON)).await);
    assert_eq!(session.read(6, Duration::from_millis(1)).await, Ok(Vec::new()));
}

#[tokio::test]
async fn large_events_and_many_of_them_are_appended_whole() {
    let server = Server::start(&[]).await;
    let session = join(&at(&server.url()), 1).await;
    let large = |number: u64| Event { tags: vec!["x".repeat(300_000)], ..event(number) };
    let appended: Vec<_> = (0..5).map(|number| (id(number), large(number))).chain(events(5..1400)).collect();
    session.append(appended.clone()).await.unwrap();
    session.append(Vec::new()).await.unwrap();
    // Of so many as are kept.
    let all = read_on(&*session, 0).await;
    assert_eq!(all.len(), 1000);
    let kept = appended[appended.len() - 1000..].iter();
    let expected: Vec<_> =
        (402..).zip(kept).map(|(at, (id, event))| (at, *id, Some(event.clone()))).collect();
    assert!(told(&all) == expected);
    let larger = Event { tags: vec!["x".repeat(5_000_000)], ..Event::default() };
    session.append(vec![(id(0), larger.clone())]).await.unwrap();
    assert!(session.read(1401, SOON).await.unwrap()[0].event == Some(larger));
}

#[tokio::test]
async fn what_is_trimmed_by_length_is_a_gap_for_who_has_not_read_it() {
    let server = Server::start(&[]).await;
    let lines = format!("url = '{}'", server.url());
    let session = join(&Journal { length_max: 10, ..Journal::of(&lines) }.log(), 1).await;
    session.append(events(0..4)).await.unwrap();
    session.append(events(4..30)).await.unwrap();
    let all = read_on(&*session, 5).await;
    assert_eq!((all[0].position, all.len()), (22, 10));
    assert_eq!(read_on(&*session, 0).await, all);
    let none = join(&Journal { length_max: 0, ..Journal::of(&lines) }.log(), 2).await;
    none.append(events(30..32)).await.unwrap();
    let all = read_on(&*session, 0).await;
    assert_eq!(told(&all), [(33, id(31), Some(event(31)))], "the last one stays");
}

#[tokio::test]
async fn what_is_trimmed_by_age_is_a_gap_for_who_has_not_read_it() {
    let server = Server::start(&[]).await;
    let lines = format!("url = '{}'", server.url());
    let age_max = Duration::from_millis(300);
    let session = join(&Journal { age_max, ..Journal::of(&lines) }.log(), 1).await;
    session.append(events(0..40)).await.unwrap();
    session.append(events(40..41)).await.unwrap();
    assert_eq!(read_on(&*session, 0).await.len(), 42, "none is too old");
    sleep(2 * age_max).await;
    assert_eq!(read_on(&*session, 0).await.len(), 42, "an old one is as good as any until it is trimmed");
    for number in 41..45 {
        session.append(events(number..number + 1)).await.unwrap();
        let first = read_on(&*session, 0).await[0].position;
        assert!(first > 10 && first <= number + 2, "{first}");
    }
    assert_eq!(read_on(&*session, 3).await[0].position, 43);
    sleep(2 * age_max).await;
    session.append(events(45..46)).await.unwrap();
    let all = read_on(&*session, 0).await;
    assert_eq!(told(&all), [(47, id(45), Some(event(45)))]);
}

#[tokio::test]
async fn lines_are_read_as_they_were_written_and_removed_only_if_they_still_are() {
    let server = Server::start(&[]).await;
    let (one, other) = (join(&at(&server.url()), 1).await, join(&at(&server.url()), 2).await);
    let of = |number, counter, applied| Line { counter, applied, epoch: one.epoch(), ..line(number) };
    let sorted = |mut lines: Vec<Line>| {
        lines.sort_by_key(|line| line.id);
        lines
    };
    let expected = [of(1, 1, 0), of(2, 1, 0)];
    assert_eq!(sorted(one.lines().await.unwrap()), expected, "with the epoch that was found");
    let name = "Überraschung, \0 and \r\n".to_owned();
    let later = Line { name, ..of(2, u64::MAX, u64::MAX - 1) };
    assert_eq!(sorted(other.renew(later.clone()).await.unwrap()), [of(1, 1, 0), later.clone()]);
    one.remove(vec![of(2, 1, 0), of(7, 1, 1)]).await.unwrap();
    assert_eq!(sorted(one.lines().await.unwrap()), [of(1, 1, 0), later.clone()]);
    one.remove(vec![later]).await.unwrap();
    assert_eq!(sorted(one.lines().await.unwrap()), [of(1, 1, 0)]);
    // Of one that was thought dead and is not.
    assert_eq!(sorted(other.renew(of(2, 3, 4)).await.unwrap()), [of(1, 1, 0), of(2, 3, 4)]);
    one.remove(Vec::new()).await.unwrap();
}

#[tokio::test]
async fn a_line_that_nobody_here_can_read_is_somebodys() {
    let server = Server::start(&[]).await;
    let session = join(&at(&server.url()), 1).await;
    let hash = "larder:{larder:log}:instances";
    let strange = async || {
        let mut lines = session.lines().await.unwrap();
        lines.retain(|found| found.id != line(1).id);
        lines.sort_by(|one, other| one.name.cmp(&other.name));
        lines
    };
    server
        .ask(&["HSET", hash, "i:abcdefgh", "\u{2}of a later version", "i:short", "", "else", "no line"])
        .await;
    let before = strange().await;
    assert_eq!(before.len(), 2);
    assert_eq!(before[1].name, "unknown (6162636465666768)");
    assert!(before.iter().all(|line| line.epoch.0 == [0; 16] && line.applied == 0), "{before:?}");
    server.ask(&["HSET", hash, "i:abcdefgh", "\u{2}of a later version, renewed"]).await;
    let after = strange().await;
    assert_eq!((&after[0], after[1].id), (&before[0], before[1].id));
    assert_ne!(after[1].counter, before[1].counter);
    session.remove(before).await.unwrap();
    assert_eq!(strange().await, after[1..]);
    session.remove(after).await.unwrap();
    assert_eq!(strange().await, []);
}

#[tokio::test]
async fn what_somebody_else_puts_into_the_log_is_an_event_that_cannot_be_read() {
    let server = Server::start(&[]).await;
    let session = join(&at(&server.url()), 1).await;
    session.append(events(0..1)).await.unwrap();
    let id_text = "0123456789abcdef";
    let id_read = EventId(*b"0123456789abcdef");
    let none = EventId([0; 16]);
    let add = async |words: &[&str]| server.ask(&[&["XADD", "larder:log"], words].concat()).await;
    add(&["3-0", "what", "ever"]).await;
    add(&["4-0", "id", id_text, "event", "{\"later\":1}"]).await;
    add(&["5-0", "id", "short", "event", "{}"]).await;
    add(&["6-0", "id", id_text]).await;
    add(&["6-1", "id", id_text, "event", "{}"]).await;
    add(&["9-5", "id", id_text, "event", "{}"]).await;
    session.append(events(1..2)).await.unwrap();
    let all = read_on(&*session, 2).await;
    let unreadable = [(3, none), (4, id_read), (5, none), (6, id_read), (9, id_read)];
    let unreadable = unreadable.map(|(position, id)| (position, id, None));
    assert_eq!(told(&all), [&unreadable[..], &[(10, id(1), Some(event(1)))]].concat());
    assert_eq!(read_on(&*session, 6).await, all[4..]);
}

#[tokio::test]
async fn it_works_with_scripts_that_were_flushed() {
    let server = Server::start(&[]).await;
    let session = join(&at(&server.url()), 1).await;
    for number in 0..3 {
        server.ask(&["SCRIPT", "FLUSH"]).await;
        session.append(events(number..number + 1)).await.unwrap();
        assert_eq!(session.renew(line(1)).await.unwrap(), [line(1)]);
    }
    assert_eq!(session.read(1, SOON).await.unwrap().len(), 3);
}

#[tokio::test]
async fn keys_live_on_while_somebody_is_at_work() {
    let server = Server::start(&[]).await;
    let session = join(&at(&server.url()), 1).await;
    let keys = ["larder:log", "larder:{larder:log}:instances"];
    for key in keys {
        server.ask(&["PEXPIRE", key, "60000"]).await;
    }
    session.renew(line(1)).await.unwrap();
    let days = async |key: &str| match server.ask(&["TTL", key]).await {
        Value::Int(seconds) => (seconds + 3600) / 86_400,
        _ => panic!("{key}"),
    };
    for key in keys {
        assert_eq!(days(key).await, 7);
    }
    // What is kept for longer stays for longer.
    server.ask(&["EXPIRE", keys[1], "2000000"]).await;
    session.renew(line(1)).await.unwrap();
    assert_eq!(days(keys[1]).await, 23);
    session.append(events(0..1)).await.unwrap();
    assert_eq!(session.lines().await, Ok::<_, LogError>(vec![line(1)]));
}
