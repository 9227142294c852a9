//! What a client sees of a cache that works, and what is never kept.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::larder::{CACHED, Larder};
use crate::origin::Origin;

/// Each answer of the origin is another one, so that a stored one is told from a new one.
fn counting(fields: &'static [&'static str]) -> Origin {
    let asked = AtomicUsize::new(0);
    Origin::start(move |exchange| {
        let body = format!("answer {}", asked.fetch_add(1, Ordering::SeqCst) + 1);
        exchange.answer("200 OK", fields, body.as_bytes())
    })
}

#[test]
fn the_second_request_is_answered_from_memory() {
    let origin = counting(&[]);
    let larder = Larder::before(&origin, CACHED);
    let first = larder.curl("/things/1", &[]);
    assert_eq!((first.status, first.text().as_str()), (200, "answer 1"), "{first:?}");
    let told = first.field("cache-status").unwrap();
    assert!(told.starts_with("larder; fwd=uri-miss") && told.contains("stored"), "{told}");
    let second = larder.curl("/things/1", &[]);
    assert_eq!((second.status, second.text().as_str()), (200, "answer 1"), "{second:?}");
    assert!(second.is_hit(), "{second:?}");
    let age: u64 = second.field("age").expect("a stored answer says how old it is").parse().unwrap();
    assert!(age < 60, "{age}");
    assert_eq!(origin.count("/things/1"), 1);
}

#[test]
fn without_a_configuration_the_origins_own_headers_decide() {
    let origin = Origin::start(|exchange| {
        let fields: &[&str] = match exchange.request.target.as_str() {
            "/lasting" => &["cache-control: max-age=60"],
            _ => &[],
        };
        exchange.answer("200 OK", fields, b"x")
    });
    let larder = Larder::before(&origin, "");
    for target in ["/lasting", "/silent"] {
        assert!(!larder.curl(target, &[]).is_hit());
    }
    assert!(larder.curl("/lasting", &[]).is_hit());
    assert!(!larder.curl("/silent", &[]).is_hit());
    assert_eq!((origin.count("/lasting"), origin.count("/silent")), (1, 2));
}

#[test]
fn head_is_answered_from_a_stored_get() {
    let origin = counting(&[]);
    let larder = Larder::before(&origin, CACHED);
    larder.curl("/things/1", &[]);
    let head = larder.curl("/things/1", &["--head"]);
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, Some("8"), 0), "{head:?}");
    assert!(head.is_hit(), "{head:?}");
    assert_eq!(origin.count("/"), 1);
}

#[test]
fn a_client_that_has_it_already_gets_a_304() {
    let origin = counting(&["etag: \"one\""]);
    let larder = Larder::before(&origin, CACHED);
    larder.curl("/things/1", &[]);
    let same = larder.curl("/things/1", &["-H", "If-None-Match: \"none\", W/\"one\""]);
    assert_eq!((same.status, same.field("etag"), same.body.len()), (304, Some("\"one\""), 0), "{same:?}");
    let other = larder.curl("/things/1", &["-H", "If-None-Match: \"two\""]);
    assert_eq!((other.status, other.text().as_str()), (200, "answer 1"), "{other:?}");
    assert_eq!(origin.count("/"), 1);
}

#[test]
fn a_post_goes_to_the_origin_with_its_body_every_time() {
    let origin = Origin::start(|exchange| {
        let mut body = Vec::new();
        std::io::Read::read_to_end(exchange, &mut body)?;
        exchange.answer("201 Created", &[], &body)
    });
    let larder = Larder::before(&origin, CACHED);
    for body in ["one", "two"] {
        let answer = larder.curl("/things/1", &["--data", body]);
        assert_eq!((answer.status, answer.text().as_str()), (201, body), "{answer:?}");
        assert!(answer.field("cache-status").unwrap().contains("fwd=method"), "{answer:?}");
    }
    assert_eq!(origin.seen().iter().filter(|request| request.method == "POST").count(), 2);
}

#[test]
fn two_authorizations_never_share_an_answer() {
    let origin = Origin::start(|exchange| {
        let caller = exchange.request.field("authorization").unwrap_or("nobody").to_owned();
        exchange.answer("200 OK", &[], caller.as_bytes())
    });
    let larder = Larder::before(&origin, CACHED);
    for round in ["stored", "hit"] {
        for caller in ["Bearer anna", "Bearer bert"] {
            let answer = larder.curl("/things/me", &["-H", &format!("Authorization: {caller}")]);
            assert_eq!((answer.status, answer.text().as_str()), (200, caller));
            assert_eq!(answer.is_hit(), round == "hit", "{answer:?}");
        }
        let nobody = larder.curl("/things/me", &[]);
        assert_eq!((nobody.text().as_str(), nobody.is_hit()), ("nobody", round == "hit"), "{nobody:?}");
    }
    assert_eq!(origin.count("/things/me"), 3);
}

#[test]
fn what_sets_a_cookie_or_says_no_store_is_not_kept() {
    for field in ["set-cookie: session=secret", "cache-control: no-store", "cache-control: private"] {
        let fields: &'static [&'static str] = vec![field].leak();
        let origin = counting(fields);
        let larder = Larder::before(&origin, CACHED);
        for expected in ["answer 1", "answer 2"] {
            let answer = larder.curl("/things/1", &[]);
            assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{field}: {answer:?}");
            assert!(!answer.field("cache-status").unwrap().contains("stored"), "{field}: {answer:?}");
        }
    }
}

#[test]
fn a_path_that_looks_like_another_is_passed_as_it_was_sent() {
    let origin = Origin::echo(&[]);
    let larder = Larder::before(&origin, CACHED);
    let odd = ["/things/../secret", "/things/%2e%2e/secret", "/things//1", "/things/a%2fb", "/things/1;.css"];
    for target in odd {
        for _ in 0..2 {
            let answer = larder.curl(target, &[]);
            assert_eq!((answer.text(), answer.is_hit()), (format!("origin {target}"), false), "{answer:?}");
        }
    }
    assert_eq!(origin.count("/"), 2 * odd.len());
}

#[test]
fn one_cache_serves_http_1_and_http_2() {
    let origin = counting(&[]);
    let larder = Larder::before(&origin, CACHED);
    assert_eq!(larder.curl("/things/1", &["--http1.1"]).text(), "answer 1");
    let second = larder.curl("/things/1", &["--http2-prior-knowledge"]);
    assert!(second.head.starts_with("HTTP/2 200") && second.is_hit(), "{second:?}");
    assert_eq!(second.text(), "answer 1");
}
