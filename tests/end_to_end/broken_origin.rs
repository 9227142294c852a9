//! An origin that dies, hangs, lies or is not there: clients learn of it, and nothing of it is kept.

use std::collections::BTreeSet;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::Curl;
use crate::larder::{CACHED, Larder};
use crate::origin::{Exchange, Gate, Origin};

/// Breaks on the first request, well from then on.
fn breaks_once(break_it: impl Fn(&mut Exchange) -> io::Result<()> + Send + Sync + 'static) -> Origin {
    let asked = AtomicUsize::new(0);
    Origin::start(move |exchange| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => break_it(exchange),
        _ => exchange.answer("200 OK", &[], b"whole"),
    })
}

/// What Larder says when it is the origin's fault.
fn assert_problem(answer: &Curl, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    let kind = answer.field("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/problem+json"), "{answer:?}");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["status"], status, "{body}");
    let told = answer.field("proxy-status").unwrap_or_default();
    assert!(told.starts_with("larder; error="), "{answer:?}");
}

/// The transfer is seen to be broken, and the next client gets the whole from the origin.
fn assert_broken_then_whole(origin: &Origin) {
    let larder = Larder::before(origin, CACHED);
    let broken = larder.curl("/things/1", &[]);
    assert!(matches!(broken.exit, Some(18 | 56)), "not seen to be broken: {broken:?}");
    let whole = larder.curl("/things/1", &[]);
    assert_eq!((whole.exit, whole.status, whole.text().as_str()), (Some(0), 200, "whole"), "{whole:?}");
    assert!(!whole.is_hit(), "{whole:?}");
    assert_eq!(origin.count("/things/1"), 2);
    assert!(larder.curl("/things/1", &[]).is_hit());
}

#[test]
fn a_body_cut_short_of_its_length_is_broken_for_the_client_and_not_kept() {
    assert_broken_then_whole(&breaks_once(|exchange| {
        exchange.head("200 OK", &["content-length: 100000"])?;
        exchange.send(&vec![b'x'; 50_000])?;
        exchange.hang_up()
    }));
}

#[test]
fn a_chunked_body_without_its_end_is_broken_for_the_client_and_not_kept() {
    assert_broken_then_whole(&breaks_once(|exchange| {
        exchange.head("200 OK", &["transfer-encoding: chunked"])?;
        exchange.chunk(&vec![b'x'; 50_000])?;
        exchange.hang_up()
    }));
}

#[test]
fn everyone_who_joined_a_fetch_sees_it_break() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = breaks_once(move |exchange| {
        exchange.head("200 OK", &["content-length: 100000"])?;
        exchange.send(b"part one")?;
        held.wait()?;
        exchange.hang_up()
    });
    let larder = Larder::before(&origin, CACHED);
    let mut clients: Vec<_> = (0..5).map(|_| larder.connect()).collect();
    for client in &mut clients {
        client.ask("/things/1", &[]).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.read_head().unwrap().status, 200);
        assert_eq!(client.read_exactly(8).unwrap(), b"part one");
    }
    gate.open();
    for client in &mut clients {
        let rest = client.read_exactly(100_000 - 8);
        assert!(
            rest.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock),
            "the rest came, or nothing did"
        );
    }
    assert_eq!(origin.count("/things/1"), 1);
}

#[test]
fn an_origin_that_is_not_there_is_a_502() {
    let larder = Larder::at(Origin::nowhere(), CACHED);
    assert_problem(&larder.curl("/things/1", &[]), 502);
    assert_problem(&larder.curl("/elsewhere", &["--data", "x"]), 502);
}

#[test]
fn an_origin_that_does_not_answer_in_time_is_a_504() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = breaks_once(move |exchange| {
        held.wait()?;
        exchange.hang_up()
    });
    let larder = Larder::before(&origin, &format!("[upstream]\nresponse_timeout = \"300ms\"\n{CACHED}"));
    assert_problem(&larder.curl("/things/1", &[]), 504);
    assert_eq!(larder.curl("/things/1", &[]).text(), "whole");
    gate.open();
}

#[test]
fn an_origin_that_falls_silent_in_a_body_breaks_the_transfer() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = breaks_once(move |exchange| {
        exchange.head("200 OK", &["content-length: 1000"])?;
        exchange.send(b"part one")?;
        held.wait()?;
        exchange.hang_up()
    });
    let larder = Larder::before(&origin, &format!("[upstream]\nbody_timeout = \"300ms\"\n{CACHED}"));
    let broken = larder.curl("/things/1", &["--max-time", "10"]);
    assert!(matches!(broken.exit, Some(18 | 56)), "{broken:?}");
    assert_eq!(larder.curl("/things/1", &[]).text(), "whole");
    gate.open();
}

#[test]
fn a_head_that_is_no_http_is_a_502() {
    let garbage: [&'static [u8]; 4] = [
        b"\x00\x01\x02 what?\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\ncontent-length: minus one\r\n\r\nhello",
        b"HTTP/1.1 20000 OK\r\n\r\n",
    ];
    for bytes in garbage {
        let origin = breaks_once(move |exchange| {
            exchange.send(bytes)?;
            exchange.hang_up()
        });
        let larder = Larder::before(&origin, CACHED);
        assert_problem(&larder.curl("/things/1", &["-X", "POST"]), 502);
        assert_eq!(larder.curl("/things/1", &[]).text(), "whole");
    }
}

#[test]
fn a_response_with_two_framings_poisons_nothing() {
    let origin = Origin::start(|exchange| match exchange.request.target.as_str() {
        "/things/odd" => exchange.send(
            b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n\
              5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\npoisoned",
        ),
        target => {
            let body = format!("clean {target}");
            exchange.answer("200 OK", &[], body.as_bytes())
        }
    });
    let larder = Larder::before(&origin, CACHED);
    let odd = larder.curl("/things/odd", &[]);
    let read_as_chunked = (odd.status, odd.text()) == (200, "hello".to_owned());
    assert!(odd.status == 502 || read_as_chunked || matches!(odd.exit, Some(18 | 56)), "{odd:?}");
    for number in 0..5 {
        let target = format!("/things/{number}");
        assert_eq!(larder.curl(&target, &[]).text(), format!("clean {target}"));
    }
}

#[test]
fn interim_answers_do_not_end_the_wait_for_the_final_one() {
    let origin = Origin::start(|exchange| {
        exchange.head("103 Early Hints", &["link: </style.css>; rel=preload"])?;
        exchange.head("102 Processing", &[])?;
        exchange.answer("200 OK", &[], b"final")
    });
    let larder = Larder::before(&origin, CACHED);
    let answer = larder.curl("/things/1", &[]);
    assert_eq!((answer.status, answer.text().as_str()), (200, "final"), "{answer:?}");
    assert!(larder.curl("/things/1", &[]).is_hit());
}

#[test]
fn a_body_that_ends_with_the_connection_is_delivered_and_not_kept() {
    let origin = Origin::start(|exchange| {
        exchange.head("200 OK", &["cache-control: max-age=60", "connection: close"])?;
        exchange.send(b"as far as it goes")?;
        exchange.hang_up()
    });
    let larder = Larder::before(&origin, CACHED);
    for asked in 1..=2 {
        let answer = larder.curl("/things/1", &[]);
        assert_eq!((answer.exit, answer.text().as_str()), (Some(0), "as far as it goes"), "{answer:?}");
        assert_eq!(origin.count("/things/1"), asked);
    }
}

#[test]
fn a_safe_request_is_sent_again_when_a_kept_connection_turns_out_dead() {
    // Every connection answers one request, reads another and dies without a word.
    let used = Mutex::new(BTreeSet::new());
    let origin = Origin::start(move |exchange| {
        let first = used.lock().unwrap().insert(exchange.wire().get_ref().peer_addr()?);
        if first {
            exchange.answer("200 OK", &["cache-control: no-store"], b"fine")
        } else {
            exchange.hang_up()
        }
    });
    let larder = Larder::before(&origin, CACHED);
    for _ in 0..4 {
        let answer = larder.curl("/things/1", &[]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "fine"), "{answer:?}");
    }
}
