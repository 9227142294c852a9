//! Many at once: one fetch for what can be shared, no queue for what cannot.
//!
//! Counts are asserted strictly. Times are printed and asserted generously: the promise is the origin's own time plus
//! 10 % and 50 ms, measured on a quiet machine with a release build (`LARDER_BIN`).

use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Raw;
use crate::larder::{CACHED, Larder};
use crate::origin::Origin;

/// What the origin takes for each answer.
const ORIGIN_TIME: Duration = Duration::from_millis(300);

static MEASURED: Mutex<()> = Mutex::new(());

/// Tests that measure time or memory, or need many sockets, take turns.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    MEASURED.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Each answer takes `ORIGIN_TIME` and says which one it is.
fn slow_origin(fields: &'static [&'static str]) -> Origin {
    Origin::start(move |exchange| {
        thread::sleep(ORIGIN_TIME);
        let body = format!("answer to {}", exchange.request.field("x-caller").unwrap_or_default());
        exchange.answer("200 OK", fields, body.as_bytes())
    })
}

/// All connect, then all ask, then all are read; how long it took from the first question to the last answer.
fn herd(larder: &Larder, count: usize, target: &str) -> (Duration, Vec<String>) {
    let mut clients: Vec<Raw> = (0..count).map(|_| larder.connect()).collect();
    let begun = Instant::now();
    for (number, client) in clients.iter_mut().enumerate() {
        client.ask(target, &[format!("X-Caller: {number}")]).unwrap();
    }
    let answers = clients.iter_mut().map(|client| {
        let response = client.read_response().unwrap();
        assert_eq!(response.status, 200, "{response:?}");
        response.text()
    });
    let answers = answers.collect();
    (begun.elapsed(), answers)
}

#[test]
fn four_hundred_clients_on_a_cold_key_are_one_request_to_the_origin() {
    let _alone = alone();
    let origin = slow_origin(&[]);
    let larder = Larder::before(&origin, CACHED);
    let (took, answers) = herd(&larder, 400, "/things/1");
    let promised = ORIGIN_TIME.mul_f64(1.1) + Duration::from_millis(50);
    println!(
        "400 clients, cold key, origin {ORIGIN_TIME:?}: all answered in {took:?} (promised {promised:?})"
    );
    assert_eq!(origin.count("/things/1"), 1);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "all get the same answer");
    assert!(took >= ORIGIN_TIME && took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn two_hundred_clients_on_an_uncacheable_key_do_not_queue_behind_each_other() {
    let _alone = alone();
    let origin = slow_origin(&["cache-control: no-store"]);
    let larder = Larder::before(&origin, &format!("[upstream]\nmax_in_flight = 256\n{CACHED}"));
    for (round, promised) in [("not known to be uncacheable", 2.1), ("known to be", 1.1)] {
        let (took, answers) = herd(&larder, 200, "/things/1");
        let promised = ORIGIN_TIME.mul_f64(promised);
        println!(
            "200 clients, uncacheable key ({round}), origin {ORIGIN_TIME:?}: all answered in {took:?} (promised {promised:?})"
        );
        for (number, answer) in answers.iter().enumerate() {
            assert_eq!(*answer, format!("answer to {number}"), "an answer that may not be shared was");
        }
        assert!(took < Duration::from_secs(6), "{took:?}, one after the other takes {:?}", ORIGIN_TIME * 200);
    }
    let asked = origin.count("/things/1");
    // Each needs an answer of its own; the fetch that found out may have been nobody's.
    assert!(asked == 400, "{asked} requests to the origin for 400 clients");
}

/// Had a herd to make that room, all its clients would wait until it is there: with threads, the kernel takes milliseconds for it.
#[test]
fn there_is_room_for_the_descriptors_of_all_clients_before_the_first_comes() {
    use rustix::process::{Resource, getrlimit};
    // A process begins with the room that its parent's open descriptors take.
    let _alone = alone();
    let origin = slow_origin(&[]);
    let (clients, fetches) = (5000, 100);
    let bounds = format!("[server]\nmax_connections = {clients}\n[upstream]\nmax_in_flight = {fetches}\n");
    let larder = Larder::before(&origin, &bounds);
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = larder.descriptors_room();
    println!("room for {room} descriptors; {allowed} are allowed");
    assert!(room >= allowed.min(clients + fetches), "{room} of {allowed}");
}
