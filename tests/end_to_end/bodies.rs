//! POST and QUERY, answered by their bodies: what a client sees with curl, and what `explain` and `/entry` say of it.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::larder::{Larder, command};
use crate::origin::Origin;

const SEARCH: &str = "[identity]\ncredentials = [\"header:authorization\"]\n\
    [[route]]\nname = \"search\"\nmatch = \"/search\"\nmethods = [\"POST\", \"QUERY\"]\nttl = \"5m\"\n\
    key = { body = \"json\", max_body = \"1MB\" }\n";

/// Each answer is another one, and says what it was asked.
fn counting() -> Origin {
    let asked = AtomicUsize::new(0);
    Origin::start(move |exchange| {
        let mut body = Vec::new();
        exchange.read_to_end(&mut body)?;
        let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = format!("answer {number} to {}", String::from_utf8_lossy(&body));
        exchange.answer("200 OK", &[], answer.as_bytes())
    })
}

const JSON: [&str; 2] = ["-H", "Content-Type: application/json"];

#[test]
fn a_search_by_post_is_answered_from_memory_however_it_is_written() {
    let origin = counting();
    let larder = Larder::before(&origin, SEARCH);
    let ask = |method: &str, body: &str| {
        larder.curl("/search", &[&["-X", method, "--data-binary", body][..], &JSON].concat())
    };
    for method in ["POST", "QUERY"] {
        let first = ask(method, "{\"q\": \"tea\", \"n\": 1}");
        assert!(first.text().ends_with(" to {\"q\": \"tea\", \"n\": 1}") && !first.is_hit(), "{first:?}");
        let second = ask(method, "{\"n\":1,\"q\":\"t\\u0065a\"}");
        assert_eq!((second.text(), second.is_hit()), (first.text(), true), "{second:?}");
        let other = ask(method, "{\"n\":1.0,\"q\":\"tea\"}");
        assert!(!other.is_hit() && other.text() != first.text(), "{other:?}");
    }
    // Not JSON, and larger than any buffer on the way.
    let large = "x".repeat(100_000);
    let passed = ask("POST", &large);
    assert_eq!(passed.text(), format!("answer 5 to {large}"));
    assert!(
        passed.field("cache-status").unwrap().contains("detail=\"the body is not JSON\""),
        "{:?}",
        passed.head
    );
    let mutation = "{\"query\": \"mutation { rename }\"}";
    assert!(!ask("POST", mutation).is_hit() && !ask("POST", mutation).is_hit());
    assert_eq!(origin.count("/search"), 7);
}

#[test]
fn a_body_that_is_longer_than_may_be_held_arrives_whole() {
    let origin = Origin::start(|exchange| {
        let mut body = Vec::new();
        exchange.read_to_end(&mut body)?;
        let sum = body.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        exchange.answer("200 OK", &[], format!("{} {sum}", body.len()).as_bytes())
    });
    let larder = Larder::before(&origin, SEARCH);
    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let sum = bytes.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let data = format!("@{}", file.path().display());
    for extra in [&[][..], &["-H", "Transfer-Encoding: chunked"]] {
        let answer = larder.curl("/search", &[&["-X", "POST", "--data-binary", &data][..], extra].concat());
        assert_eq!(answer.text(), format!("{} {sum}", bytes.len()), "{:?}", answer.head);
        assert!(
            answer.field("cache-status").unwrap().contains("longer than key.max_body"),
            "{:?}",
            answer.head
        );
    }
}

#[test]
fn explain_tells_of_the_body_and_of_what_is_held_for_it() {
    let origin = counting();
    let larder = Larder::before(&origin, SEARCH);
    let (admin, url) = (format!("http://{}", larder.admin), larder.url("/search"));
    let explain = |more: &[&str]| {
        let ended = command().args(["explain", "POST", &url]).args(JSON).args(more).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        String::from_utf8(ended.stdout).unwrap()
    };
    let config = larder.config().to_str().unwrap();
    let told = explain(&["-c", config, "-d", "{ \"q\" : \"tea\" }"]);
    assert!(told.contains("plan       cache\n"), "{told}");
    assert!(told.contains("body                 {\"q\":\"tea\"} (11 bytes)\n"), "{told}");
    assert!(told.contains("body's content-type  application/json\n"), "{told}");
    let told = explain(&["-c", config, "-d", "q=tea"]);
    assert!(told.contains("plan       pass: the body is not JSON\n"), "{told}");

    let held = |body: &str| explain(&["--admin", &admin, "-d", body]);
    assert!(held("{\"q\":\"tea\"}").contains("held: none\n"));
    larder.curl("/search", &[&["--data-binary", "{\"q\":\"tea\"}"][..], &JSON].concat());
    let told = held("{ \"q\": \"tea\" }");
    assert!(told.contains("serves: yes\n") && told.contains("tier: memory\n"), "{told}");
    assert!(held("{\"q\":\"coffee\"}").contains("held: none\n"));
    assert!(held("{\"query\":\"mutation{a}\"}").contains("the body is a GraphQL mutation"));
    let bearer = ["-H", "Authorization: Bearer sesame123", "-d", "{\"token\":\"sesame123\"}"];
    let told = explain(&[&["--admin", &admin][..], &bearer].concat());
    assert!(told.contains("(hidden) (21 bytes)") && !told.contains("sesame123"), "{told}");

    // As curl asks it.
    let question = "/entry?method=POST&url=/search";
    let host = format!("X-Larder-Header: host: {}", larder.address);
    let answer = larder.admin(question, &[&["-d", "{\"q\":\"tea\"}", "-H", &host][..], &JSON].concat());
    assert!(answer.text().contains("\"serves\": true"), "{answer:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![b' '; 1_000_001]).unwrap();
    let data = format!("@{}", file.path().display());
    assert_eq!(larder.admin(question, &["--data-binary", &data]).status, 413);
    assert_eq!(origin.count("/search"), 1, "asking has fetched nothing");
}
