//! Large bodies that are asked for often lie once more in a file in memory, from which the kernel sends them: what clients see is the
//! same, and the room comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::client::Raw;
use crate::larder::{CACHED, Larder, poll};
use crate::origin::Origin;

/// More than two sockets take of a body that nobody reads.
const LONG: usize = 7_900_000;
const SHORT: usize = 100_000;
/// In pages.
const SHORT_ROOM: u64 = 102_400;

/// One that no other target has, nor this one's next; no part of it is like another.
fn body(target: &str, version: usize, size: usize) -> Vec<u8> {
    let mut seed =
        target.bytes().fold(version as u64 + 1, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
    let word = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((seed >> 32) as u32)
    };
    std::iter::from_fn(word).flat_map(u32::to_le_bytes).take(size).collect()
}

/// Its answers are another version once `changed`.
fn origin(size: usize, changed: Arc<AtomicUsize>) -> Origin {
    Origin::start(move |exchange| {
        let target = exchange.request.target.clone();
        let version = changed.load(Ordering::SeqCst);
        let size = if target.starts_with("/things/small/") { 10 } else { size };
        exchange.answer("200 OK", &[], &body(&target, version, size))
    })
}

/// Bytes of second copies.
fn held(larder: &Larder) -> u64 {
    larder.stats()["memory"]["sendfile_bytes"].as_u64().unwrap()
}

/// Bytes that the kernel has sent from them.
fn sent(larder: &Larder) -> u64 {
    larder.stats()["memory"]["sendfile_sent_bytes"].as_u64().unwrap()
}

/// Whether so much is sent in the end, and no more; the client may have the last bytes before they are counted.
fn has_sent(larder: &Larder, bytes: u64) -> bool {
    poll(|| (sent(larder) >= bytes).then_some(())).is_some() && sent(larder) == bytes
}

/// Asks until there is a second copy.
fn warm(larder: &Larder, target: &str) {
    let before = held(larder);
    let mut client = larder.connect();
    let copied = poll(|| {
        client.ask(target, &[]).unwrap();
        client.read_response().unwrap();
        (held(larder) > before).then_some(())
    });
    assert!(copied.is_some(), "{target}");
    // A long one is not written at once.
    for _ in 0..LONG / (256 * 1024) {
        client.ask(target, &[]).unwrap();
        client.read_response().unwrap();
    }
}

fn purge(larder: &Larder, path: &str) {
    let order = serde_json::json!({ "paths": [path], "wait": "self" }).to_string();
    let answer = larder.admin("/invalidate", &["--data", &order]);
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Whether so much is held in the end; memory lets go of what is gone when it has something to do.
fn comes_to(larder: &Larder, bytes: u64) -> bool {
    let mut client = larder.connect();
    let mut number = 0;
    let is_so = || {
        for _ in 0..100 {
            number += 1;
            client.ask(&format!("/things/small/{number}"), &[]).unwrap();
            client.read_response().unwrap();
        }
        (held(larder) == bytes).then_some(())
    };
    poll(is_so).is_some()
}

/// The body of the next response, a bit at a time.
fn read_slowly(client: &mut Raw) -> Vec<u8> {
    let head = client.read_head().unwrap();
    let length: usize = head.field("content-length").unwrap().parse().unwrap();
    let mut all = Vec::new();
    while all.len() < length {
        all.extend(client.read_exactly((length - all.len()).min(7_001)).unwrap());
    }
    all
}

#[test]
fn from_the_third_hit_on_the_kernel_sends_it() {
    let origin = origin(SHORT, Arc::default());
    let larder = Larder::before(&origin, CACHED);
    let expected = body("/things/1", 0, SHORT);
    let mut client = larder.connect();
    let mut ask = || {
        client.ask("/things/1", &[]).unwrap();
        let answer = client.read_response().unwrap();
        assert!(answer.body == expected, "{}", answer.head);
        answer.is_hit()
    };
    assert!(!ask());
    let hits = (0..10_000).filter(|_| ask()).take(2).count();
    assert_eq!((hits, held(&larder), sent(&larder)), (2, 0, 0), "not yet");
    for hits in 3..10 {
        assert!(ask());
        assert!(has_sent(&larder, (hits - 2) * SHORT as u64), "{hits} hits: {}", sent(&larder));
    }
    let metrics = larder.admin("/metrics", &[]).text();
    assert!(
        metrics.lines().any(|line| line == "larder_memory_sendfile_sent_bytes_total 700000"),
        "{metrics}"
    );
    assert!(metrics.lines().any(|line| line == "larder_memory_sendfile_bytes 102400"), "{metrics}");
}

#[test]
fn what_is_asked_for_often_is_the_same_from_its_file() {
    let origin = origin(SHORT, Arc::default());
    let larder = Larder::before(&origin, CACHED);
    let expected = body("/things/1", 0, SHORT);
    larder.curl("/things/1", &[]);
    larder.curl("/things/1", &[]);
    assert_eq!(held(&larder), 0, "not yet");
    warm(&larder, "/things/1");
    assert_eq!(held(&larder), SHORT_ROOM);
    let mut expected_sent = sent(&larder);
    // How the body goes out, and how much of it from the file.
    let whole = SHORT as u64;
    for (arguments, from_file) in
        [(&["--http1.1"][..], whole), (&["--http2-prior-knowledge"], 0), (&["--http1.0"], 0)]
    {
        let answer = larder.curl("/things/1", arguments);
        assert!(answer.is_hit() && answer.body == expected, "{arguments:?}: {}", answer.head);
        expected_sent += from_file;
        assert!(has_sent(&larder, expected_sent), "{arguments:?}: {}", sent(&larder));
    }
    let last = larder.curl("/things/1", &["-H", "Connection: close"]);
    assert!(last.field("connection") == Some("close") && last.body == expected, "{}", last.head);
    assert!(has_sent(&larder, expected_sent + whole), "{}", sent(&larder));
    let head = larder.curl("/things/1", &["--head"]);
    assert_eq!((head.field("content-length"), head.body.len()), (Some("100000"), 0), "{head:?}");
    let part = larder.curl("/things/1", &["--range", "70000-90000"]);
    assert!(part.status == 206 && part.body == expected[70_000..=90_000], "{}", part.head);
    assert_eq!((origin.count("/"), held(&larder)), (1, SHORT_ROOM));
    assert!(larder.curl("/things/1", &[]).body == expected);
    assert!(has_sent(&larder, expected_sent + 2 * whole), "neither of the two is in it: {}", sent(&larder));
}

#[test]
fn pipelined_answers_come_in_their_order_to_who_reads_slowly() {
    let origin = origin(1_000_000, Arc::default());
    let larder = Larder::before(&origin, CACHED);
    warm(&larder, "/things/1");
    warm(&larder, "/things/2");
    let before = sent(&larder);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = larder.connect();
                let targets = ["/things/1", "/things/small/1", "/things/2", "/things/1", "/things/2"];
                for target in targets {
                    client.ask(target, &[]).unwrap();
                }
                for target in targets {
                    let size = if target == "/things/small/1" { 10 } else { 1_000_000 };
                    assert!(read_slowly(&mut client) == body(target, 0, size), "{target}");
                }
            });
        }
    });
    assert!(has_sent(&larder, before + 4 * 4 * 1_000_000), "all of them: {}", sent(&larder) - before);
}

#[test]
fn what_is_replaced_while_it_is_sent_arrives_as_it_was() {
    let changed = Arc::<AtomicUsize>::default();
    let origin = origin(LONG, Arc::clone(&changed));
    let larder = Larder::before(&origin, CACHED);
    warm(&larder, "/things/1");
    let old_room = held(&larder);
    let mut slow = larder.connect();
    slow.ask("/things/1", &[]).unwrap();
    let head = slow.read_head().unwrap();
    assert!(head.is_hit(), "{head:?}");
    changed.store(1, Ordering::SeqCst);
    purge(&larder, "/things/1");
    warm(&larder, "/things/1");
    assert_eq!(held(&larder), 2 * old_room, "the old one is on its way still");
    let sent_before = sent(&larder);
    let mut rest = Vec::new();
    while rest.len() < LONG {
        rest.extend(slow.read_exactly((LONG - rest.len()).min(500_000)).unwrap());
    }
    assert!(rest == body("/things/1", 0, LONG), "the old one");
    assert!(sent(&larder) > sent_before, "from its file to the end");
    assert!(larder.curl("/things/1", &[]).body == body("/things/1", 1, LONG), "the new one");
    assert!(comes_to(&larder, old_room), "{}", held(&larder));
}

/// Says so when it goes, also where something is not as it should be.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What is purged before somebody asks is not given to them, and nobody gets a bit of one and a bit of another.
#[test]
fn each_gets_one_whole_version_while_others_take_its_place() {
    const SIZE: usize = 300_000;
    const VERSIONS: usize = 8;
    /// So many bodies are more than two sockets take.
    const AT_ONCE: usize = LONG.div_ceil(SIZE);
    let changed = Arc::<AtomicUsize>::default();
    let origin = origin(SIZE, Arc::clone(&changed));
    let larder = Larder::before(&origin, CACHED);
    let bodies: Vec<_> = (0..VERSIONS).map(|version| body("/things/1", version, SIZE)).collect();
    // The last before which everything was purged.
    let (purged, is_done) = (AtomicUsize::new(0), AtomicBool::new(false));
    warm(&larder, "/things/1");
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = larder.connect();
                while !is_done.load(Ordering::SeqCst) {
                    let least = purged.load(Ordering::SeqCst);
                    (0..AT_ONCE).for_each(|_| client.ask("/things/1", &[]).unwrap());
                    for _ in 0..AT_ONCE {
                        let got = read_slowly(&mut client);
                        let latest = changed.load(Ordering::SeqCst);
                        assert!(bodies[least..=latest].contains(&got), "none of {least} to {latest}");
                    }
                }
            });
        }
        // Else the others would ask for ever.
        let _done = Done(&is_done);
        for version in 1..VERSIONS {
            changed.store(version, Ordering::SeqCst);
            purge(&larder, "/things/1");
            purged.store(version, Ordering::SeqCst);
            let before = sent(&larder);
            let goes_out = || (sent(&larder) > before + SIZE as u64).then_some(());
            assert!(poll(goes_out).is_some(), "{version}");
        }
    });
}

#[test]
fn who_leaves_in_the_middle_takes_no_room_along() {
    let origin = origin(LONG, Arc::default());
    let larder = Larder::before(&origin, CACHED);
    warm(&larder, "/things/1");
    let before = sent(&larder);
    for _ in 0..5 {
        let mut client = larder.connect();
        client.ask("/things/1", &[]).unwrap();
        client.read_head().unwrap();
        client.read_exactly(100_000).unwrap();
    }
    assert!(sent(&larder) > before + 5 * 100_000);
    purge(&larder, "/things/1");
    assert!(!larder.curl("/things/1", &[]).is_hit());
    assert!(comes_to(&larder, 0), "{}", held(&larder));
}

#[test]
fn who_takes_nothing_is_cut_off_and_keeps_no_room() {
    let origin = origin(LONG, Arc::default());
    let larder = Larder::before(&origin, &format!("[server]\nbody_timeout = \"1s\"\n{CACHED}"));
    warm(&larder, "/things/1");
    let mut stuck = larder.connect();
    stuck.ask("/things/1", &[]).unwrap();
    assert!(stuck.read_head().unwrap().is_hit());
    let cut_off = || (larder.stats()["connections"]["broken"].as_u64() > Some(0)).then_some(());
    assert!(poll(cut_off).is_some());
    purge(&larder, "/things/1");
    assert!(!larder.curl("/things/1", &[]).is_hit());
    assert!(comes_to(&larder, 0), "{}", held(&larder));
    assert!(stuck.read_exactly(LONG).is_err(), "half of it");
}

#[test]
fn past_the_bound_bodies_go_out_as_before_until_who_has_the_room_goes() {
    let origin = origin(SHORT, Arc::default());
    let larder = Larder::before(&origin, &format!("[memory]\nmax_sendfile = \"250KB\"\n{CACHED}"));
    let mut client = larder.connect();
    let mut ask = |target: &str| {
        client.ask(target, &[]).unwrap();
        let answer = client.read_response().unwrap();
        assert!(answer.body == body(target, 0, SHORT), "{target}");
        answer.is_hit()
    };
    let targets = ["/things/1", "/things/2", "/things/3", "/things/4"];
    // Once each, so that the first two come first.
    for target in targets {
        assert!(poll(|| ask(target).then_some(())).is_some());
    }
    for _ in 0..10 {
        assert!(targets.iter().all(|target| ask(target)));
    }
    assert_eq!(held(&larder), 2 * SHORT_ROOM);
    let full = sent(&larder);
    for _ in 0..10 {
        assert!(ask("/things/3") && ask("/things/4"));
    }
    assert_eq!((held(&larder), sent(&larder)), (2 * SHORT_ROOM, full), "who came first has the room");
    assert!(ask("/things/1"));
    assert!(has_sent(&larder, full + SHORT as u64));
    purge(&larder, "/things/1");
    let mut client = larder.connect();
    client.ask("/things/1", &[]).unwrap();
    assert!(!client.read_response().unwrap().is_hit());
    // Memory lets go of what is gone when it has something to do.
    let room_is_taken = || {
        client.ask("/things/small/1", &[String::from("Cache-Control: no-cache")]).unwrap();
        client.read_response().unwrap();
        let before = sent(&larder);
        assert!(ask("/things/3"));
        (sent(&larder) > before).then_some(())
    };
    assert!(poll(room_is_taken).is_some(), "another has it now");
    assert_eq!(held(&larder), 2 * SHORT_ROOM);
}

#[test]
fn with_no_room_at_all_nothing_goes_that_way() {
    let origin = origin(SHORT, Arc::default());
    let larder = Larder::before(&origin, &format!("[memory]\nmax_sendfile = \"0B\"\n{CACHED}"));
    for _ in 0..10 {
        assert!(larder.curl("/things/1", &[]).body == body("/things/1", 0, SHORT));
    }
    assert_eq!((held(&larder), sent(&larder)), (0, 0));
}
