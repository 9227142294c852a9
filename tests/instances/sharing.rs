//! Several real processes before one real server: what one has fetched all have, one fetches for all, and nobody gets
//! what is another's.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::along;
use crate::binary::{SOON, ask, count, entries, get, is_from_redis, is_in_use, started, using};
use crate::client::Raw;
use crate::larder::Larder;
use crate::origin::{Exchange, Gate, Origin};
use crate::server::{Server, until};

/// Things that are fetched before a restart.
const THINGS: usize = 20;
/// What the origin says of how old its answers are.
const AGE: u64 = 100;
/// For how long a fetch is one instance's, where it is short.
const LEASE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn four_hundred_clients_of_two_instances_on_a_cold_key_are_one_request_to_the_origin() {
    let _along = along().await;
    let origin_time = Duration::from_millis(200);
    let origin = Origin::start(move |exchange| {
        thread::sleep(origin_time);
        let body = format!("answer to {}", exchange.request.field("x-caller").unwrap_or_default());
        exchange.answer("200 OK", &[], body.as_bytes())
    });
    let server = Server::start(&[]).await;
    // A machine that is too busy to answer in time is an outage too, and not what this is about.
    let redis = format!("url = '{}'\ncommand_timeout = '1s'", server.url());
    let instances = [started(&origin, &redis), started(&origin, &redis)];
    for instance in &instances {
        is_in_use(instance).await;
    }
    let mut clients: Vec<Raw> = (0..400).map(|number| instances[number % 2].connect()).collect();
    let began = Instant::now();
    for (number, client) in clients.iter_mut().enumerate() {
        client.ask("/things/1", &[format!("X-Caller: {number}")]).unwrap();
    }
    let answers: Vec<_> = clients.iter_mut().map(|client| client.read_response().unwrap()).collect();
    let took = began.elapsed();
    println!(
        "400 clients of two instances, cold key, origin {origin_time:?}: all answered in {took:?}; \
         {} fetches, {} leases taken, {} waited for",
        origin.count("/things/1"),
        instances.iter().map(|instance| count(instance, "leases_taken")).sum::<u64>(),
        instances.iter().map(|instance| count(instance, "leases_waited")).sum::<u64>(),
    );
    assert_eq!(origin.count("/things/1"), 1);
    for answer in &answers {
        assert_eq!((answer.status, answer.text()), (200, answers[0].text()));
    }
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn an_instance_that_starts_has_what_another_has_fetched_before() {
    let _along = along().await;
    let origin = Origin::start(|exchange| {
        let body = format!("origin {}", exchange.request.target);
        exchange.answer("200 OK", &[&format!("Age: {AGE}")], body.as_bytes())
    });
    let server = Server::start(&[]).await;
    let mut before = using(&origin, &server).await;
    let first = Instant::now();
    for number in 0..THINGS {
        get(&before, &format!("/things/{number}"));
    }
    let last = Instant::now();
    until("all is written", SOON, async || count(&before, "written") == THINGS as u64).await;
    before.terminate();
    assert!(before.wait().is_some_and(|status| status.success()), "{}", before.log());
    // Neither that it began nor that it ended is anything to worry about.
    assert!(!before.log().contains("is not followed"), "{}", before.log());

    let after = using(&origin, &server).await;
    let age = |target: &str| {
        let answer = get(&after, target);
        let age: u64 = answer.field("age").unwrap().parse().unwrap();
        (answer, age)
    };
    let mut ages = Vec::new();
    for number in 0..THINGS {
        let target = format!("/things/{number}");
        let youngest = AGE + last.elapsed().as_secs();
        let (answer, age) = age(&target);
        assert!(is_from_redis(&answer), "{answer:?}");
        assert_eq!(answer.text(), format!("origin {target}"));
        // Its seconds are whole ones, at both ends.
        assert!((youngest..=AGE + first.elapsed().as_secs() + 2).contains(&age), "{age}, {answer:?}");
        ages.push(age);
    }
    until("it grows older", SOON, async || age("/things/0").1 > ages[0]).await;
    assert_eq!(origin.count("/things/"), THINGS, "the origin was asked again");
}

#[tokio::test]
async fn if_the_one_who_fetches_is_killed_another_takes_over() {
    let _along = along().await;
    let (gate, asked) = (Gate::default(), AtomicUsize::new(0));
    let held = gate.clone();
    let origin = Origin::start(move |exchange: &mut Exchange| -> io::Result<()> {
        if asked.fetch_add(1, SeqCst) == 0 {
            held.wait()?;
        }
        exchange.answer("200 OK", &[], b"here it is")
    });
    let server = Server::start(&[]).await;
    let redis = format!("url = '{}'\nlease = '{}s'", server.url(), LEASE.as_secs());
    let (holder, other) = (started(&origin, &redis), started(&origin, &redis));
    is_in_use(&holder).await;
    is_in_use(&other).await;

    let (mut lost, mut client) = (holder.connect(), other.connect());
    lost.ask("/things/1", &[]).unwrap();
    until("the first fetches", SOON, async || origin.count("/things/1") == 1).await;
    client.ask("/things/1", &[]).unwrap();
    until("the second waits for it", SOON, async || count(&other, "leases_waited") == 1).await;
    // By SIGKILL: it says nothing to anybody.
    drop(holder);
    let killed = Instant::now();
    let answer = client.read_response().unwrap();
    let took = killed.elapsed();
    println!("holder killed, lease {LEASE:?}: the other answers {took:?} later");
    assert_eq!((answer.status, answer.text()), (200, "here it is".to_owned()));
    assert_eq!(origin.count("/things/1"), 2);
    assert!(took < LEASE + Duration::from_secs(1), "{took:?}");
    gate.open();
}

#[tokio::test]
async fn who_waits_for_anothers_fetch_fetches_when_redis_hangs() {
    let _along = along().await;
    let (gate, asked) = (Gate::default(), AtomicUsize::new(0));
    let held = gate.clone();
    let origin = Origin::start(move |exchange: &mut Exchange| -> io::Result<()> {
        let number = asked.fetch_add(1, SeqCst);
        if number == 0 {
            held.wait()?;
        }
        exchange.answer("200 OK", &[], format!("answer {number}").as_bytes())
    });
    let server = Server::start(&[]).await;
    let (holder, other) = (using(&origin, &server).await, using(&origin, &server).await);
    let (mut first, mut second) = (holder.connect(), other.connect());
    first.ask("/things/1", &[]).unwrap();
    until("the first fetches", SOON, async || origin.count("/things/1") == 1).await;
    second.ask("/things/1", &[]).unwrap();
    until("the second waits for it", SOON, async || count(&other, "leases_waited") == 1).await;
    server.hang();
    let hung = Instant::now();
    let answer = second.read_response().unwrap();
    let took = hung.elapsed();
    println!("Redis hangs while one waits for another's fetch: its answer comes {took:?} later");
    assert_eq!((answer.status, answer.text()), (200, "answer 1".to_owned()));
    assert!(took < Duration::from_secs(1), "{took:?}");
    // And the holder is not disturbed.
    gate.open();
    let answer = first.read_response().unwrap();
    assert_eq!((answer.status, answer.text()), (200, "answer 0".to_owned()));
}

#[tokio::test]
async fn a_lease_that_could_not_be_given_back_holds_up_nobody_when_redis_is_back() {
    let _along = along().await;
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |exchange: &mut Exchange| -> io::Result<()> {
        held.wait()?;
        exchange.answer("200 OK", &[], b"here it is")
    });
    let server = Server::start(&[]).await;
    let redis = format!("url = '{}'\nlease = '30s'", server.url());
    let (holder, other) = (started(&origin, &redis), started(&origin, &redis));
    is_in_use(&holder).await;
    is_in_use(&other).await;
    let mut client = holder.connect();
    client.ask("/things/1", &[]).unwrap();
    until("it is fetched", SOON, async || origin.count("/things/1") == 1).await;
    server.hang();
    until("it is left alone", SOON, async || count(&holder, "links_up") == 0).await;
    gate.open();
    assert_eq!(client.read_response().unwrap().text(), "here it is");
    server.go_on();
    is_in_use(&holder).await;
    is_in_use(&other).await;
    let began = Instant::now();
    assert_eq!(get(&other, "/things/1").text(), "here it is");
    let took = began.elapsed();
    println!("a lease lost in an outage, Redis back: the other's answer takes {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// Who asks, in one of the forms a credential has: a header's line or nothing, and what the query adds.
struct Caller {
    credential: &'static str,
    fields: Vec<String>,
    query: String,
}

fn callers() -> Vec<Caller> {
    let caller = |credential, field: &str, query: &str| Caller {
        credential,
        fields: if field.is_empty() { Vec::new() } else { vec![format!("{field}{credential}")] },
        query: if query.is_empty() { String::new() } else { format!("{query}{credential}") },
    };
    vec![
        caller("alice-5f1c9be27d40", "Authorization: Bearer ", ""),
        caller("bob-77ab03e1c9d2", "Authorization: Bearer ", ""),
        caller("carol-1d9e44f05ab6", "Cookie: session=", ""),
        caller("dave-c03b8a6612fe", "", "?token="),
    ]
}

/// Everything that lies there, names and values.
async fn dump(server: &Server) -> Vec<u8> {
    let mut all = Vec::new();
    for key in server.keys().await {
        let name = String::from_utf8(key).unwrap();
        assert!(name.starts_with("larder:"), "{name} is outside the namespace");
        let value = match server.text(&["TYPE", &name]).await.as_str() {
            "hash" => server.ask(&["HGETALL", &name]).await,
            "stream" => server.ask(&["XRANGE", &name, "-", "+"]).await,
            _ => server.ask(&["GET", &name]).await,
        };
        all.extend([name.as_bytes(), b"\n"].concat());
        gather(&value, &mut all);
    }
    all
}

/// All texts that are in there.
fn gather(value: &redis::Value, into: &mut Vec<u8>) {
    match value {
        redis::Value::BulkString(bytes) => into.extend([bytes, &b"\n"[..]].concat()),
        redis::Value::Array(values) => values.iter().for_each(|value| gather(value, into)),
        redis::Value::Map(pairs) => {
            pairs.iter().flat_map(|(name, value)| [name, value]).for_each(|value| gather(value, into));
        }
        _ => {}
    }
}

/// In what forms a credential could be found, if it had got there.
fn traces(credential: &str) -> Vec<Vec<u8>> {
    let mut traces = vec![credential.as_bytes().to_vec()];
    for text in [credential.to_owned(), format!("Bearer {credential}"), format!("session={credential}")] {
        let digest = Sha256::digest(text.as_bytes());
        let hex: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        traces.extend([
            BASE64_STANDARD_NO_PAD.encode(&text).into_bytes(),
            BASE64_URL_SAFE_NO_PAD.encode(&text).into_bytes(),
            BASE64_STANDARD_NO_PAD.encode(digest).into_bytes(),
            hex.concat().into_bytes(),
            digest.to_vec(),
        ]);
    }
    traces
}

#[tokio::test]
async fn each_identity_finds_its_own_on_every_instance_and_no_credential_is_in_redis() {
    let _along = along().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let number = Arc::clone(&asked);
    // Says to nobody who is asking: what is found in Redis has come there by Larder.
    let origin = Origin::start(move |exchange| {
        let body = format!("answer {}", number.fetch_add(1, SeqCst));
        exchange.answer("200 OK", &[], body.as_bytes())
    });
    let server = Server::start(&[]).await;
    let (one, two) = (using(&origin, &server).await, using(&origin, &server).await);
    let callers = callers();
    for (number, caller) in callers.iter().enumerate() {
        let target = format!("/things/1{}", caller.query);
        // On the first instance it is new to each of them.
        let miss = ask(&mut one.connect(), &target, &caller.fields);
        assert_eq!((miss.is_hit(), miss.text()), (false, format!("answer {number}")), "{miss:?}");
        let known = number as u64 + 1;
        until("it is written", SOON, async || count(&one, "written") == known).await;
        // And on the second to all who have not asked before.
        for (earlier, caller) in callers[..=number].iter().enumerate() {
            let target = format!("/things/1{}", caller.query);
            let hit = ask(&mut two.connect(), &target, &caller.fields);
            assert_eq!((hit.is_hit(), hit.text()), (true, format!("answer {earlier}")), "{hit:?}");
            assert_eq!(is_from_redis(&hit), earlier == number, "{hit:?}");
        }
    }
    let nobody = get(&two, "/things/1");
    assert_eq!(nobody.text(), format!("answer {}", callers.len()), "one without a credential got another's");
    assert_eq!(asked.load(SeqCst), callers.len() + 1);

    let entries = entries(&server).await;
    let all = dump(&server).await;
    println!("{} keys of {} identities, {} bytes in Redis", entries.len(), callers.len(), all.len());
    assert!(entries.len() >= callers.len(), "{entries:?}");
    for caller in &callers {
        for trace in traces(caller.credential) {
            let found = all.windows(trace.len()).any(|window| window == trace);
            assert!(!found, "{} lies in Redis", String::from_utf8_lossy(&trace));
        }
    }
}

/// Writes, by this method.
fn change(larder: &Larder, method: &str, target: &str, fields: &[String]) {
    let lines: Vec<&str> = fields.iter().flat_map(|line| ["-H", line]).collect();
    let answer = larder.curl(target, &[&["-X", method, "-d", "new"], &lines[..]].concat());
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn what_a_write_through_one_instance_has_changed_is_given_by_none() {
    let _along = along().await;
    let version = AtomicUsize::new(0);
    let origin = Origin::start(move |exchange| {
        let version = version.fetch_add(usize::from(exchange.request.method != "GET"), SeqCst);
        exchange.answer("200 OK", &[], format!("version {version}").as_bytes())
    });
    let server = Server::start(&[]).await;
    let (one, two) = (using(&origin, &server).await, using(&origin, &server).await);
    let writes = [
        ("POST", Vec::new()),
        ("PUT", Vec::new()),
        ("DELETE", Vec::new()),
        ("PUT", vec!["Authorization: Bearer alice".to_owned()]),
    ];
    let mut known = Vec::new();
    for (number, (method, fields)) in writes.iter().enumerate() {
        let target = format!("/things/{number}");
        let before = ask(&mut one.connect(), &target, fields);
        assert_eq!(before.text(), format!("version {number}"));
        until("it is written", SOON, async || entries(&server).await.len() > known.len()).await;
        let entry = entries(&server).await.into_iter().find(|entry| !known.contains(entry)).unwrap();
        change(&one, method, &target, fields);
        // This one has never had it.
        let after = ask(&mut two.connect(), &target, fields);
        assert_eq!((after.is_hit(), after.text()), (false, format!("version {}", number + 1)), "{after:?}");
        let own = ask(&mut one.connect(), &target, fields);
        assert_eq!(own.text(), format!("version {}", number + 1));
        known.push(entry);
    }
}
