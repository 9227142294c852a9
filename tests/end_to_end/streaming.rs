//! Bodies move as they come, in both directions, and what is held of them is bounded.
//!
//! An origin that waits at a gate which only the client opens proves that nothing was held back: a proxy that
//! collects would never get past it. Memory is the process's own resident set, sampled while the body moves.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::herd::alone;
use crate::larder::{CACHED, Larder, poll};
use crate::origin::{Exchange, Gate, Origin};

const MIB: u64 = 1024 * 1024;

/// The body that must not fit.
const GIB: u64 = 1024 * MIB;

/// What is sent the other way.
const UPLOAD: u64 = 256 * MIB;

/// What the process may grow by, however large the body.
const GROWTH_MAX_KIB: u64 = 64 * 1024;

/// Part one, then the gate, then part two.
fn two_parts(gate: &Gate, field: &'static str) -> Origin {
    let gate = gate.clone();
    Origin::start(move |exchange| {
        exchange.head("200 OK", &["transfer-encoding: chunked", field])?;
        exchange.chunk(b"part one")?;
        gate.wait()?;
        exchange.chunk(b"part two")?;
        exchange.chunk(b"")
    })
}

#[test]
fn the_first_bytes_arrive_before_the_origin_has_sent_the_last() {
    for (path, field) in [
        ("/things/kept", "x-kind: cacheable"),
        ("/things/not", "cache-control: no-store"),
        ("/elsewhere", "x-kind: without a route"),
    ] {
        let gate = Gate::default();
        let origin = two_parts(&gate, field);
        let larder = Larder::before(&origin, CACHED);
        let mut client = larder.connect();
        client.ask(path, &[]).unwrap();
        assert_eq!(client.read_head().unwrap().status, 200, "{path}");
        assert_eq!(client.read_chunk().unwrap(), b"part one", "{path}");
        gate.open();
        assert_eq!(client.read_chunk().unwrap(), b"part two", "{path}");
        assert_eq!(client.read_chunk().unwrap(), b"", "{path}");
    }
}

#[test]
fn who_comes_later_reads_along_from_the_beginning() {
    let gate = Gate::default();
    let origin = two_parts(&gate, "x-kind: cacheable");
    let larder = Larder::before(&origin, CACHED);
    let mut first = larder.connect();
    first.ask("/things/1", &[]).unwrap();
    first.read_head().unwrap();
    assert_eq!(first.read_chunk().unwrap(), b"part one");
    let mut second = larder.connect();
    second.ask("/things/1", &[]).unwrap();
    let head = second.read_head().unwrap();
    assert!(head.field("cache-status").unwrap().contains("collapsed"), "{head:?}");
    assert_eq!(second.read_chunk().unwrap(), b"part one");
    // The first one leaves; the fetch is not his alone.
    drop(first);
    gate.open();
    assert_eq!(second.read_chunk().unwrap(), b"part two");
    assert!(poll(|| larder.curl("/things/1", &[]).is_hit().then_some(())).is_some(), "never kept");
    assert_eq!(origin.count("/things/1"), 1);
}

#[test]
fn server_sent_events_arrive_one_by_one() {
    let gates = [Gate::default(), Gate::default(), Gate::default()];
    let waits = gates.clone();
    let origin = Origin::start(move |exchange| {
        exchange.head("200 OK", &["content-type: text/event-stream", "connection: close"])?;
        for (number, gate) in waits.iter().enumerate() {
            exchange.send(format!("data: {number}\n\n").as_bytes())?;
            gate.wait()?;
        }
        exchange.hang_up()
    });
    let larder = Larder::before(&origin, CACHED);
    let mut client = larder.connect();
    client.ask("/things/events", &["Accept: text/event-stream".to_owned()]).unwrap();
    let head = client.read_head().unwrap();
    assert!(head.field("transfer-encoding").is_some(), "{head:?}");
    for (number, gate) in gates.iter().enumerate() {
        assert_eq!(client.read_chunk().unwrap(), format!("data: {number}\n\n").as_bytes());
        gate.open();
    }
    assert_eq!(client.read_chunk().unwrap(), b"");
}

#[test]
fn an_upload_reaches_the_origin_while_the_client_still_sends() {
    let gate = Gate::default();
    let arrived = gate.clone();
    let origin = Origin::start(move |exchange| {
        let mut part = [0; 8];
        exchange.read_exact(&mut part)?;
        arrived.open();
        let mut rest = String::new();
        exchange.read_to_string(&mut rest)?;
        let whole = format!("{}, {rest}", String::from_utf8_lossy(&part));
        exchange.answer("200 OK", &[], whole.as_bytes())
    });
    let larder = Larder::before(&origin, CACHED);
    let mut client = larder.connect();
    let head =
        format!("POST /things/1 HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", larder.address);
    client.send(head.as_bytes()).unwrap();
    client.send(b"8\r\npart one\r\n").unwrap();
    gate.wait().expect("the origin reads part one before part two is sent");
    client.send(b"8\r\npart two\r\n0\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "part one, part two");
}

#[test]
fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let origin = Origin::start(|exchange| {
        let mut body = Vec::new();
        exchange.read_to_end(&mut body)?;
        exchange.answer("200 OK", &[], &body)
    });
    let larder = Larder::before(&origin, CACHED);
    let mut client = larder.connect();
    let head = format!(
        "PUT /things/1 HTTP/1.1\r\nHost: {}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        larder.address
    );
    client.send(head.as_bytes()).unwrap();
    let interim = client.read_exactly(25).unwrap();
    assert_eq!(interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send(b"hello").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "hello");
}

#[test]
fn an_upgraded_connection_carries_bytes_both_ways() {
    let origin = Origin::start(|exchange| {
        assert_eq!(exchange.request.field("upgrade"), Some("websocket"));
        exchange.head("101 Switching Protocols", &["connection: Upgrade", "upgrade: websocket"])?;
        let mut wire = exchange.wire().get_ref().try_clone()?;
        let mut buffer = [0; 1024];
        loop {
            let read = exchange.wire().read(&mut buffer)?;
            if read == 0 {
                return exchange.hang_up();
            }
            wire.write_all(&buffer[..read])?;
        }
    });
    let larder = Larder::before(&origin, CACHED);
    let mut client = larder.connect();
    let fields =
        ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"].map(str::to_owned);
    client.ask("/things/socket", &fields).unwrap();
    let head = client.read_head().unwrap();
    assert_eq!((head.status, head.field("upgrade")), (101, Some("websocket")), "{head:?}");
    for word in [&b"ping"[..], &[0, 255, 13, 10, 13, 10], b"pong"] {
        client.send(word).unwrap();
        assert_eq!(client.read_exactly(word.len()).unwrap(), word);
    }
    client.half_close().unwrap();
    assert_eq!(client.read_to_end().unwrap(), b"");
}

/// Sends `total` bytes in pieces, and counts them as they go.
fn pour(exchange: &mut Exchange, total: u64, chunked: bool, poured: &AtomicU64) -> io::Result<()> {
    let piece = vec![b'x'; 256 * 1024];
    for _ in 0..total / piece.len() as u64 {
        if chunked {
            exchange.chunk(&piece)?;
        } else {
            exchange.send(&piece)?;
        }
        poured.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
    if chunked { exchange.chunk(b"") } else { Ok(()) }
}

/// Runs `curl` to its end; the most the proxy has grown meanwhile, in KiB, and what `curl` wrote.
fn growth_during(larder: &Larder, arguments: &[&str]) -> (u64, String) {
    let before = larder.resident_kib();
    let mut curl = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "120", "--noproxy", "*"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut most = before;
    while curl.try_wait().unwrap().is_none() {
        most = most.max(larder.resident_kib());
        thread::sleep(Duration::from_millis(5));
    }
    let mut written = String::new();
    curl.stdout.take().unwrap().read_to_string(&mut written).unwrap();
    (most - before, written)
}

#[test]
fn a_body_of_a_gibibyte_passes_through_bounded_memory() {
    let _alone = alone();
    for (what, path, chunked) in [
        ("uncacheable, length known", "/pass", false),
        ("uncacheable, length unknown", "/pass", true),
        ("cacheable, length known", "/things/1", false),
        ("cacheable, length unknown", "/things/1", true),
    ] {
        let origin = Origin::start(move |exchange| {
            let length = format!("content-length: {GIB}");
            let framing = if chunked { "transfer-encoding: chunked" } else { &length };
            exchange.head("200 OK", &[framing])?;
            pour(exchange, GIB, chunked, &AtomicU64::new(0))
        });
        let larder = Larder::before(&origin, CACHED);
        larder.curl("/nothing-yet", &["--head"]);
        let begun = Instant::now();
        let (growth, size) = growth_during(
            &larder,
            &[
                "--output",
                "/dev/null",
                "--output",
                "/dev/null",
                "--write-out",
                "%{size_download}",
                &larder.url(path),
            ],
        );
        println!("1 GiB, {what}: {growth} KiB growth, {:.1} s", begun.elapsed().as_secs_f64());
        assert_eq!(size, GIB.to_string(), "{what}");
        assert!(growth < GROWTH_MAX_KIB, "{what}: grew by {growth} KiB");
    }
}

#[test]
fn a_large_upload_passes_through_bounded_memory() {
    let _alone = alone();
    let origin = Origin::start(|exchange| {
        let received = io::copy(exchange, &mut io::sink())?;
        exchange.answer("200 OK", &[], received.to_string().as_bytes())
    });
    let larder = Larder::before(&origin, CACHED);
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(UPLOAD).unwrap();
    let path = file.path().to_str().unwrap();
    for framing in ["Transfer-Encoding: chunked", "X-Framing: length"] {
        let (growth, written) =
            growth_during(&larder, &["--upload-file", path, "--header", framing, &larder.url("/things/1")]);
        println!("256 MiB upload, {framing}: {growth} KiB growth");
        assert_eq!(written, UPLOAD.to_string(), "{framing}");
        assert!(growth < GROWTH_MAX_KIB, "{framing}: grew by {growth} KiB");
    }
}

#[test]
fn a_client_that_does_not_read_holds_the_origin_back() {
    let _alone = alone();
    for (what, path) in [("uncacheable", "/pass"), ("cacheable", "/things/1")] {
        let poured = Arc::new(AtomicU64::new(0));
        let counter = poured.clone();
        let origin = Origin::start(move |exchange| {
            exchange.head("200 OK", &["transfer-encoding: chunked"])?;
            pour(exchange, GIB, true, &counter)
        });
        let larder = Larder::before(&origin, CACHED);
        let before = larder.resident_kib();
        let mut client = larder.connect();
        client.ask(path, &[]).unwrap();
        assert_eq!(client.read_head().unwrap().status, 200);
        // Held back means: nothing has moved for half a second.
        let mut last = (0, Instant::now());
        let held = poll(|| {
            let now = poured.load(Ordering::Relaxed);
            if now != last.0 {
                last = (now, Instant::now());
            }
            (now > 0 && last.1.elapsed() > Duration::from_millis(500)).then_some(now)
        });
        let held = held.expect("the origin is never held back");
        let growth = larder.resident_kib().saturating_sub(before);
        println!(
            "a client that does not read, {what}: held back after {} MiB, {growth} KiB growth",
            held / MIB
        );
        assert!(held < GIB / 4, "{what}: {held} bytes went into a client that reads nothing");
        assert!(growth < GROWTH_MAX_KIB, "{what}: grew by {growth} KiB");
    }
}
