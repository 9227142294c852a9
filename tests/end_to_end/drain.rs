//! How it ends: what was begun is finished, nothing new is begun, and the end comes in time.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::larder::{CACHED, Larder, poll};
use crate::origin::{Gate, Origin};

/// Sends the head, then waits at the gate with the body.
fn held_origin(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |exchange| {
        exchange.head("200 OK", &["content-length: 16"])?;
        exchange.send(b"part one")?;
        gate.wait()?;
        exchange.send(b"part two")
    })
}

fn refuses(larder: &Larder) -> bool {
    TcpStream::connect(larder.address).is_err()
}

#[test]
fn a_terminated_process_finishes_what_it_has_begun() {
    let gate = Gate::default();
    let origin = held_origin(&gate);
    let mut larder = Larder::before(&origin, &format!("[server]\ndrain_timeout = \"15s\"\n{CACHED}"));
    let _idle = larder.connect();
    let mut client = larder.connect();
    client.ask("/things/1", &[]).unwrap();
    client.read_head().unwrap();
    assert_eq!(client.read_exactly(8).unwrap(), b"part one");
    larder.terminate();
    assert!(poll(|| refuses(&larder).then_some(())).is_some(), "still accepts connections");
    assert!(!larder.has_ended(), "ended with an answer under way:\n{}", larder.log());
    gate.open();
    assert_eq!(client.read_exactly(8).unwrap(), b"part two");
    let begun = Instant::now();
    let status = larder.wait().expect("ends once all is answered");
    assert!(status.success(), "{status}:\n{}", larder.log());
    assert!(begun.elapsed() < Duration::from_secs(5), "an idle connection held it for {:?}", begun.elapsed());
}

#[test]
fn a_process_does_not_wait_longer_than_its_drain_timeout() {
    let gate = Gate::default();
    let origin = held_origin(&gate);
    let mut larder = Larder::before(&origin, &format!("[server]\ndrain_timeout = \"300ms\"\n{CACHED}"));
    let mut client = larder.connect();
    client.ask("/things/1", &[]).unwrap();
    client.read_head().unwrap();
    let begun = Instant::now();
    larder.terminate();
    larder.wait().expect("ends when the time is up");
    assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
    gate.open();
}
