//! Bytes no honest client sends: each is refused, answered once, or the connection is closed; never a hang, a crash,
//! a smuggled request or a poisoned entry.
//!
//! `Attack` is a row of the tables: what is sent; `May` is what may come of a table's rows. After each one the
//! process is alive and a clean GET of the same path gets the origin's clean answer. In `bytes`, `PATH` and `HOST`
//! stand for the row's own path and the proxy's address. The origin tells if it is asked for `/smuggled`.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use crate::larder::{CACHED, Larder};
use crate::origin::{Exchange, Origin};

/// A hang is more than this.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What must not be taken for a request of its own.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

struct Attack {
    name: &'static str,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum May {
    /// 4xx, 501 or 505, or closed without an answer.
    OnlyRefuse,
    /// That, or one answer of any kind and then closed: what follows is not read as a request.
    AnswerAndClose,
    /// Any answer, or closed: it is odd, but no harm.
    Answer,
}

/// What came of it.
#[derive(Debug)]
enum Outcome {
    ThenClosed(Vec<u16>),
    StaysOpen(Vec<u16>),
    Hung,
}

fn attack(name: &'static str, bytes: impl AsRef<[u8]>) -> Attack {
    Attack { name, bytes: bytes.as_ref().to_vec() }
}

/// A head of nothing but this line and a host.
fn first(name: &'static str, line: &str) -> Attack {
    attack(name, format!("{line}\r\nHost: HOST\r\n\r\n"))
}

/// A GET with these lines in its head.
fn get(name: &'static str, lines: &str) -> Attack {
    attack(name, format!("GET PATH HTTP/1.1\r\nHost: HOST\r\n{lines}\r\n\r\n"))
}

fn post(name: &'static str, lines: &str, body: &str) -> Attack {
    attack(name, format!("POST PATH HTTP/1.1\r\nHost: HOST\r\n{lines}\r\n\r\n{body}"))
}

/// A POST whose body is these chunks.
fn chunked(name: &'static str, body: &str) -> Attack {
    post(name, "Transfer-Encoding: chunked", body)
}

/// Answers "clean" and the path only to a request without anything odd in it.
fn telling_origin() -> Origin {
    Origin::start(|exchange: &mut Exchange| {
        let mut body = Vec::new();
        exchange.read_to_end(&mut body)?;
        let request = &exchange.request;
        let clean = request.method == "GET" && body.is_empty() && request.target.starts_with("/things/");
        let answer = format!("{} {}", if clean { "clean" } else { "odd" }, request.target);
        exchange.answer("200 OK", &[], answer.as_bytes())
    })
}

fn strict_larder(origin: &Origin) -> Larder {
    Larder::before(origin, &format!("[server]\nheader_timeout = \"1s\"\n{CACHED}"))
}

fn run(may: May, attacks: &[Attack]) {
    let origin = telling_origin();
    let mut larder = strict_larder(&origin);
    let mut failures = Vec::new();
    for (number, attack) in attacks.iter().enumerate() {
        let path = format!("/things/{number}");
        let outcome = strike(&larder, may, &attack.bytes, &path);
        if !may.allows(&outcome) {
            failures.push(format!("{}: may {may:?}, but {outcome:?}", attack.name));
        }
        larder.assert_alive(attack.name);
        let clean = larder.curl(&path, &[]);
        if (clean.status, clean.text()) != (200, format!("clean {path}")) {
            failures.push(format!("{}: poisoned: {clean:?}", attack.name));
        }
        if origin.count("/smuggled") > 0 {
            failures.push(format!(
                "{}: or one before it smuggled a request: {:?}",
                attack.name,
                origin.seen()
            ));
            break;
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), attacks.len(), failures.join("\n"));
    assert!(!larder.log().contains("panicked"), "{}", larder.log());
}

/// Sends the row's bytes and reads the answer; and what comes behind it, where that must be nothing.
fn strike(larder: &Larder, may: May, bytes: &[u8], path: &str) -> Outcome {
    let bytes = replace(bytes, b"PATH", path.as_bytes());
    let bytes = replace(&bytes, b"HOST", larder.address.to_string().as_bytes());
    let mut client = larder.connect();
    client.patience(ANSWER_WITHIN);
    // An error here means that the proxy has closed already; reading tells.
    drop(client.send(&bytes));
    let mut statuses = Vec::new();
    loop {
        match client.read_response() {
            Ok(response) => {
                statuses.push(response.status);
                if may != May::AnswerAndClose {
                    return Outcome::StaysOpen(statuses);
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return if statuses.is_empty() { Outcome::Hung } else { Outcome::StaysOpen(statuses) };
            }
            Err(_) => return Outcome::ThenClosed(statuses),
        }
    }
}

impl May {
    fn allows(self, outcome: &Outcome) -> bool {
        let statuses = match outcome {
            Outcome::Hung => return false,
            Outcome::ThenClosed(statuses) | Outcome::StaysOpen(statuses) => &statuses[..],
        };
        let closed = matches!(outcome, Outcome::ThenClosed(_));
        match (self, statuses) {
            (_, [] | [400..=499 | 501 | 505]) | (Self::Answer, _) => true,
            (Self::AnswerAndClose, [_]) => closed,
            _ => false,
        }
    }
}

fn replace(bytes: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        if let Some(behind) = rest.strip_prefix(what) {
            out.extend_from_slice(with);
            rest = behind;
        } else {
            out.push(*first);
            rest = &rest[1..];
        }
    }
    out
}

#[test]
fn a_length_that_is_not_one_number_is_refused() {
    let length = |name, value: &str| post(name, &format!("Content-Length: {value}"), "hello");
    run(
        May::OnlyRefuse,
        &[
            length("two differing lengths", "5\r\nContent-Length: 0"),
            length("a list of lengths", "5, 6"),
            length("a signed length", "+5"),
            length("a negative length", "-5"),
            length("a length in words", "five"),
            length("a length in hex", "0x5"),
            length("an empty length", ""),
            length("a length past 64 bits", "99999999999999999999"),
        ],
    );
}

#[test]
fn two_ideas_of_where_a_body_ends_smuggle_nothing() {
    let body = format!("0\r\n\r\n{SMUGGLED}");
    let old = format!("POST PATH HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    run(
        May::OnlyRefuse,
        &[
            post("gzip as the only coding", "Transfer-Encoding: gzip", &body),
            post("chunked not last", "Transfer-Encoding: chunked, identity", &body),
            post("almost chunked", "Transfer-Encoding: xchunked", &body),
            post("chunked behind a vertical tab", "Transfer-Encoding:\x0bchunked", &body),
            post("chunked behind a space", "Transfer-Encoding : chunked", &body),
            attack("transfer-encoding in HTTP/1.0", old),
        ],
    );
    run(
        May::AnswerAndClose,
        &[
            post("length, then coding", "Content-Length: 5\r\nTransfer-Encoding: chunked", &body),
            post("coding, then length", "Transfer-Encoding: chunked\r\nContent-Length: 5", &body),
            get("both on a GET", &format!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{body}")),
        ],
    );
}

#[test]
fn lines_that_end_with_a_bare_line_feed_are_refused() {
    let feeds = format!(
        "POST PATH HTTP/1.1\nHost: HOST\nContent-Length: {}\nConnection: close\n\n{SMUGGLED}{SMUGGLED}",
        SMUGGLED.len()
    );
    run(
        May::OnlyRefuse,
        &[
            attack("a length among bare line feeds", feeds),
            attack("bare line feeds", "GET PATH HTTP/1.1\nHost: HOST\n\n"),
            attack("a bare line feed after the target", "GET PATH HTTP/1.1\nHost: HOST\r\n\r\n"),
            attack("a bare line feed at the end", "GET PATH HTTP/1.1\r\nHost: HOST\r\n\n"),
        ],
    );
}

#[test]
fn broken_chunks_are_refused() {
    run(
        May::OnlyRefuse,
        &[
            chunked("a size that is no number", "zz\r\nhello\r\n0\r\n\r\n"),
            chunked("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
            chunked("a signed size", "+5\r\nhello\r\n0\r\n\r\n"),
            chunked("a size with a prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
            chunked("an empty size", "\r\nhello\r\n0\r\n\r\n"),
            chunked("a size past 64 bits", "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"),
            chunked("data longer than its size", "3\r\nhello\r\n0\r\n\r\n"),
            chunked("an extension without end", &format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(100_000))),
            chunked("trailers without end", &format!("0\r\n{}\r\n", "a: b\r\n".repeat(20_000))),
        ],
    );
}

#[test]
fn odd_header_lines_are_refused() {
    run(
        May::OnlyRefuse,
        &[
            get("a folded line", "X-A: one\r\n two"),
            get("a space before the colon", "X-A : one"),
            get("a tab before the colon", "X-A\t: one"),
            get("a line without a colon", "X-A"),
            get("a line without a name", ": one"),
            get("NUL in a value", "X-A: o\0ne"),
            get("NUL in a name", "X-\0A: one"),
            get("a bare CR in a value", "X-A: o\rne"),
            get("two hosts", "Host: other.example"),
            attack("no host", "GET PATH HTTP/1.1\r\nX-A: b\r\n\r\n"),
            attack("a host that is no authority", "GET PATH HTTP/1.1\r\nHost: a b/c?d#e\r\n\r\n"),
            attack("a folded first line", "GET PATH HTTP/1.1\r\n Host: HOST\r\n\r\n"),
        ],
    );
}

#[test]
fn odd_first_lines_are_refused() {
    let elsewhere = "CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n";
    run(
        May::OnlyRefuse,
        &[
            first("NUL in the path", "GET PATH\0 HTTP/1.1"),
            first("a space in the path", "GET PATH x HTTP/1.1"),
            first("HTTP/3.0", "GET PATH HTTP/3.0"),
            first("HTTP/1.2", "GET PATH HTTP/1.2"),
            first("HTTP/0.9", "GET PATH"),
            first("http in small letters", "GET PATH http/1.1"),
            first("a method with odd letters", "G(T PATH HTTP/1.1"),
            first("no path", "GET  HTTP/1.1"),
            first("a path without its slash", "GET things/1 HTTP/1.1"),
            first("another host in an absolute target", "GET http://other.examplePATH HTTP/1.1"),
            first("an authority for a target", "GET HOST HTTP/1.1"),
            first("CONNECT", "CONNECT HOST HTTP/1.1"),
            attack("CONNECT elsewhere", elsewhere),
            attack("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello there\r\n\r\n"),
            attack("noise", b"\xff\xfe\xfd\x00\x01\x02\r\n\r\n\r\n\r\n"),
            attack(
                "HTTP/2 that goes wrong",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\0\0\0\0\0\x01 and more",
            ),
        ],
    );
}

#[test]
fn heads_past_every_bound_are_refused() {
    let long = "a".repeat(100 * 1024);
    let lines = format!("X-A: {}\r\n", &long[..57]).repeat(16 * 1024);
    run(
        May::OnlyRefuse,
        &[
            get("one line of 100 KiB", &format!("X-A: {long}")),
            get("a name of 100 KiB", &format!("{long}: a")),
            get("lines of 1 MiB together", &format!("{lines}X-B: b")),
            first("a target of 100 KiB", &format!("GET PATH?{long} HTTP/1.1")),
            first("a method of 100 KiB", &format!("{long} PATH HTTP/1.1")),
            attack("empty lines without end", "\r\n".repeat(512 * 1024)),
        ],
    );
    run(May::Answer, &[get("200 lines", &format!("{}X-B: b", "X-A: a\r\n".repeat(200)))]);
}

#[test]
fn odd_but_honest_requests_poison_nothing() {
    run(
        May::Answer,
        &[
            first("this host in an absolute target", "GET http://HOSTPATH HTTP/1.1"),
            first("HTTP/1.0 with a host", "GET PATH HTTP/1.0"),
            first("OPTIONS of the whole", "OPTIONS * HTTP/1.1"),
            first("an empty line first", "\r\nGET PATH HTTP/1.1"),
            first("an unknown method", "BREW PATH HTTP/1.1"),
            attack("HTTP/1.0", "GET PATH HTTP/1.0\r\n\r\n"),
            attack("a path that is not UTF-8", b"GET PATH/\xff\xfe HTTP/1.1\r\nHost: HOST\r\n\r\n"),
            attack("a query that is not UTF-8", b"GET PATH?\xc3\x28 HTTP/1.1\r\nHost: HOST\r\n\r\n"),
            attack("a value that is not UTF-8", b"GET PATH HTTP/1.1\r\nHost: HOST\r\nX-A: \xff\xfe\r\n\r\n"),
            get("codings the client would take", "TE: gzip"),
            get("a body on a GET", "Content-Length: 5\r\n\r\nhello"),
            get("hop by hop what is not", "Connection: host, authorization, cookie, content-length"),
            get("a range past all ranges", "Range: bytes=18446744073709551615-18446744073709551616"),
            get("an expectation nobody has", "Expect: the-unexpected"),
            post("the same length twice", "Content-Length: 5\r\nContent-Length: 5", "hello"),
        ],
    );
}

#[test]
fn the_absolute_form_names_the_same_resource() {
    let origin = Origin::echo(&[]);
    let larder = Larder::before(&origin, CACHED);
    let mut client = larder.connect();
    let head = format!("GET http://{0}/things/1 HTTP/1.1\r\nHost: {0}\r\n\r\n", larder.address);
    client.send(head.as_bytes()).unwrap();
    assert_eq!(client.read_response().unwrap().text(), "origin /things/1");
    assert!(larder.curl("/things/1", &[]).is_hit());
}

#[test]
fn requests_behind_each_other_are_answered_in_order() {
    let origin = Origin::echo(&[]);
    let larder = Larder::before(&origin, CACHED);
    let mut client = larder.connect();
    for number in 0..10 {
        client.ask(&format!("/things/{number}"), &[]).unwrap();
    }
    for number in 0..10 {
        assert_eq!(client.read_response().unwrap().text(), format!("origin /things/{number}"));
    }
}

#[test]
fn a_client_that_takes_its_time_with_the_head_is_shown_the_door() {
    run(
        May::OnlyRefuse,
        &[
            attack("half a first line", "GET PATH HT"),
            attack("half a head", "GET PATH HTTP/1.1\r\nHost: HOST\r\nX-A: "),
            attack("half an HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\n"),
        ],
    );
    let origin = telling_origin();
    let larder = strict_larder(&origin);
    let mut client = larder.connect();
    client.patience(Duration::from_millis(50));
    let begun = Instant::now();
    client.send(b"GET /things/1 HTTP/1.1\r\n").unwrap();
    // A line every 50 ms: each is quick, the head is not.
    let mut closed = false;
    while !closed && begun.elapsed() < ANSWER_WITHIN {
        closed = client.send(b"X-A: a\r\n").is_err() || client.read_to_end().is_ok();
    }
    assert!(closed, "still open after {:?}", begun.elapsed());
}

#[test]
fn a_client_that_has_said_all_gets_its_answer_or_the_door() {
    let origin = telling_origin();
    let mut larder = Larder::before(&origin, CACHED);
    for (name, bytes) in [
        ("a whole request", "GET /things/1 HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("half a head", "GET /things/1 HTTP/1.1\r\nHo"),
        ("half a body", "POST /things/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhello"),
        ("half a chunk", "POST /things/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"),
        ("nothing", ""),
    ] {
        let mut client = larder.connect();
        client.patience(ANSWER_WITHIN);
        client.send(bytes.as_bytes()).unwrap();
        client.half_close().unwrap();
        let end = client.read_to_end();
        let hung = end.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        assert!(!hung, "{name}: {end:?}");
        larder.assert_alive(name);
    }
    assert_eq!(larder.curl("/things/1", &["-H", "Host: x"]).text(), "clean /things/1");
}
