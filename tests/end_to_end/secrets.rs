//! Credentials go to the origin, and are to be found nowhere else: in no log line at any level, no metric, no answer of
//! the admin listener, no explanation, no head and no error.
//!
//! Each credential is a word that nothing else contains, sent in all sorts of requests, good and bad, to a process that
//! tells all it can. What was told is searched for each word as it is, and in the codes that are easily undone.

use std::fmt::Write as _;
use std::io;

use crate::larder::{Larder, command, poll};
use crate::origin::{Exchange, Gate, Origin};

const BEARER: &str = "bearerOpenSesame71";
const BASIC_USER: &str = "basicUserMoriarty";
const BASIC_PASSWORD: &str = "basicPassReichenbach";
const API_KEY: &str = "apiKeyJabberwock42";
const SESSION: &str = "sessionBandersnatch";
const QUOTED: &str = "quotedSessionTumtum";
const TOKEN: &str = "tokenVorpalBlade99";
/// Sent percent-encoded; the plain form is a secret too.
const ODD: &str = "odd/Token+Frumious";
const ODD_SENT: &str = "odd%2FToken%2BFrumious";
const USER_INFO: &str = "userinfoBorogove";
const ADMIN: &str = "adminTokenManxome";
const WRONG_ADMIN: &str = "wrongAdminTulgey";
const KEY_SECRET: &str = "keySecretUffishThought";

/// All but the three that belong to Larder itself: the origin must have seen each of them.
const SENT: [&str; 7] = [BEARER, API_KEY, SESSION, QUOTED, TOKEN, ODD_SENT, BASIC_USER];

/// Tells all it can, and reads credentials from wherever one may be.
const CONFIGURATION: &str = r#"
[server]
debug = true
admin_token = "env:ADMIN"
drain_timeout = "1s"
header_timeout = "1s"

[upstream]
response_timeout = "1s"
retries = 1

[identity]
credentials = ["header:authorization", "header:x-api-key", "cookie:session", "query:token", "query:api_key"]
key_secret = "env:KEY"

[[route]]
name = "things"
match = "/things/{*rest}"
ttl = "5m"

[[route]]
name = "keyed"
match = "/keyed/{*rest}"
ttl = "5m"
key = { query = ["page"], headers = ["x-api-key", "cookie"], cookies = ["session"] }

[[route]]
name = "shared"
match = "/shared/{*rest}"
ttl = "5m"
scope = "shared"

[[route]]
name = "passed"
match = "/passed/{*rest}"
mode = "pass"
"#;

/// Larder's log when a person wants to know, and the libraries' too when one wants to know it all.
const FILTERS: [&str; 2] = [
    "trace",
    "trace,h2=trace,hyper=trace,hyper_rustls=trace,hyper_util=trace,mio=trace,rustls=trace,tokio=trace,want=trace",
];

/// What a process has told, and whom.
#[derive(Default)]
struct Told(Vec<(String, String)>);

impl Told {
    fn add(&mut self, where_from: impl Into<String>, what: impl Into<String>) {
        self.0.push((where_from.into(), what.into()));
    }

    fn assert_free_of(&self, secret: &str) {
        for form in forms(secret) {
            for (where_from, what) in &self.0 {
                let found = what.to_ascii_lowercase().find(&form.to_ascii_lowercase());
                assert!(
                    found.is_none(),
                    "{where_from} tells {secret} as {form}: … {} …",
                    found.map_or("", |at| around(what, at))
                );
            }
        }
    }
}

/// Some of the text before and after this place.
fn around(text: &str, at: usize) -> &str {
    let from = (0..=at.saturating_sub(300)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let to = (at + 200..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[from..to]
}

/// As it is, and as it is easily written.
fn forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let list =
        |each: fn(&u8) -> String, between: &str| bytes.iter().map(each).collect::<Vec<_>>().join(between);
    vec![
        secret.to_owned(),
        base64(bytes),
        list(|byte| format!("{byte:02x}"), ""),
        list(|byte| format!("%{byte:02x}"), ""),
        // As `Debug` shows bytes.
        list(ToString::to_string, ", "),
    ]
}

/// Without padding, so that it is found in front of more.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for sextet in 0..=three.len() {
            text.push(char::from(LETTERS[(bits >> (18 - 6 * sextet) & 63) as usize]));
        }
    }
    text
}

#[test]
fn base64_is_what_others_take_for_it() {
    for (plain, coded) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        assert_eq!(base64(plain.as_bytes()), coded);
    }
}

/// Answers as its path says, and never repeats what it was asked.
fn answer(exchange: &mut Exchange, gate: &Gate) -> io::Result<()> {
    let target = exchange.request.target.clone();
    let has = |word: &str| target.contains(word);
    if has("broken") {
        exchange.hang_up()
    } else if has("garbage") {
        exchange.send(b"this is not HTTP\r\n\r\n")?;
        exchange.hang_up()
    } else if has("half") {
        exchange.head("200 OK", &["content-length: 100"])?;
        exchange.send(b"half")?;
        exchange.hang_up()
    } else if has("slow") {
        gate.wait()
    } else if has("switch") {
        exchange.head("101 Switching Protocols", &["connection: upgrade", "upgrade: websocket"])?;
        exchange.hang_up()
    } else if has("varies") {
        let vary = "vary: authorization, cookie, x-api-key";
        exchange.answer("200 OK", &[vary, "cache-control: public, max-age=60"], b"x")
    } else if has("unkept") {
        exchange.answer("200 OK", &["cache-control: no-store"], b"x")
    } else if has("denied") {
        exchange.answer("401 Unauthorized", &["www-authenticate: Basic"], b"x")
    } else {
        exchange.answer("200 OK", &["etag: \"one\"", "cache-control: public, max-age=60"], b"x")
    }
}

/// A way to bear credentials: header lines, and what stands in the query.
fn bearings() -> Vec<(Vec<String>, String)> {
    let basic = base64(format!("{BASIC_USER}:{BASIC_PASSWORD}").as_bytes());
    let line = |text: String| (vec![text], String::new());
    let query = |text: String| (Vec::new(), text);
    vec![
        line(format!("Authorization: Bearer {BEARER}")),
        line(format!("Authorization: Basic {basic}==")),
        line(format!("Proxy-Authorization: Bearer {BEARER}")),
        line(format!("X-Api-Key: {API_KEY}")),
        line(format!("X_Api_Key: {API_KEY}")),
        line(format!("Cookie: theme=dark; session={SESSION}; lang=en")),
        line(format!("Cookie: session=\"{QUOTED}\", session={SESSION}")),
        query(format!("token={TOKEN}&page=2")),
        query(format!("page=2&api_key={ODD_SENT}&token={ODD_SENT}")),
        query(format!("a=1;token={TOKEN}")),
        query(format!("TOKEN={TOKEN}&to%6ben={TOKEN}&token[]={TOKEN}")),
        (
            vec![format!("Authorization: Bearer {BEARER}"), format!("Cookie: session={SESSION}")],
            format!("token={TOKEN}"),
        ),
    ]
}

/// With `curl`: what a client could send that means no harm, each way, to each kind of path.
fn ask_properly(larder: &Larder, told: &mut Told) {
    let mut hits = 0;
    for (lines, query) in bearings() {
        let fields: Vec<&str> = lines.iter().flat_map(|line| ["-H", line]).collect();
        for (path, arguments) in [
            ("/things/1", &[][..]),
            ("/things/1", &[]),
            ("/things/1", &["--head"]),
            ("/things/1", &["-H", "If-None-Match: \"one\""]),
            ("/things/1", &["--http2-prior-knowledge"]),
            ("/things/1", &["-H", "Cache-Control: no-cache"]),
            ("/things/2", &["-H", "Cache-Control: only-if-cached"]),
            ("/things/2", &["-H", "Range: bytes=0-1"]),
            ("/things/1", &["--data", "x"]),
            ("/things/1", &["-X", "GET", "--data", "x"]),
            ("/things/varies", &[]),
            ("/things/varies", &[]),
            ("/things/unkept", &[]),
            ("/things/denied", &[]),
            ("/things/broken", &[]),
            ("/things/garbage", &[]),
            ("/things/half", &[]),
            ("/things/switch", &["-H", "Connection: Upgrade", "-H", "Upgrade: websocket"]),
            ("/things/switch", &[]),
            ("/things/a%2fb", &[]),
            ("/things/../x;y", &[]),
            ("/keyed/1", &[]),
            ("/keyed/1", &[]),
            ("/shared/1", &[]),
            ("/shared/1", &[]),
            ("/passed/1", &[]),
            ("/nowhere", &[]),
        ] {
            let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
            let answer = larder.curl(&target, &[&fields[..], arguments].concat());
            hits += usize::from(answer.is_hit());
            told.add(
                format!("the answer to {arguments:?} {path}"),
                format!("{}\n{}", answer.head, answer.text()),
            );
        }
    }
    assert!(hits > 50, "only {hits} hits: nothing was proved of them");
}

/// A GET over HTTP/2 with these, however wrong they are.
fn http_2(path: &str, authority: &str) -> Vec<u8> {
    // RFC 7541, appendix A: 2 is ":method: GET", 6 is ":scheme: http", 4 and 1 are the names of the other two.
    let mut block = vec![0x82, 0x86];
    for (name, value) in [(4, path), (1, authority)] {
        block.extend([name, u8::try_from(value.len()).unwrap()]);
        block.extend(value.as_bytes());
    }
    let length = u8::try_from(block.len()).unwrap();
    // No settings; then the head of stream 1, which is all of it.
    let frames: [&[u8]; 3] = [&[0, 0, 0, 4, 0, 0, 0, 0, 0], &[0, 0, length, 1, 5, 0, 0, 0, 1], &block];
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frames.concat()[..]].concat()
}

/// Over bare TCP: what should be refused, or goes wrong on its way.
fn ask_badly(larder: &Larder, told: &mut Told) {
    let bearer = format!("Host: a\r\nAuthorization: Bearer {BEARER}\r\nCookie: session={SESSION}\r\n");
    let long = "x".repeat(200_000);
    for request in [
        format!(
            "GET /things/1?token={TOKEN} HTTP/1.1\r\n{bearer}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"
        ),
        format!("GET /things/1?token={TOKEN} HTTP/1.1\r\n{bearer}X-Bad: \0\r\n\r\n"),
        format!("GET /things/1?token={TOKEN} HTTP/1.1\r\nAuthorization : Bearer {BEARER}\r\n\r\n"),
        format!("GET /things/1?token={TOKEN} HTTP/1.1\r\nAuthorization: Bearer {BEARER}\0\r\n\r\n"),
        format!("GET /things/1?token={TOKEN} HTTP/9.9\r\n{bearer}\r\n"),
        format!("GET /things/1?token={TOKEN} \u{7f}\r\n{bearer}\r\n"),
        format!("GET /things/1?token={TOKEN} HTTP/1.1\r\nAuthorization: Bearer {BEARER}\r\n\r\n"),
        format!("GET /things/1?token={TOKEN} HTTP/1.1\r\n{bearer}Host: b\r\n\r\n"),
        format!("GET /things/1?token={TOKEN} HTTP/1.1\r\n{bearer}X-Long: {long}\r\n\r\n"),
        format!("GET /things/1?token={TOKEN}&x={long} HTTP/1.1\r\n{bearer}\r\n"),
        format!("GET http://ada:{USER_INFO}@a/things/1 HTTP/1.1\r\n{bearer}\r\n"),
        format!("GET /things/1 HTTP/1.1\r\nHost: ada:{USER_INFO}@a\r\n\r\n"),
        format!("CONNECT ada:{USER_INFO}@a:80 HTTP/1.1\r\n{bearer}\r\n"),
        format!("OPTIONS * HTTP/1.1\r\n{bearer}\r\n"),
        format!("POST /things/1?token={TOKEN} HTTP/1.1\r\n{bearer}Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        format!(
            "POST /things/1 HTTP/1.1\r\n{bearer}Transfer-Encoding: chunked\r\nTrailer: x-api-key\r\n\r\n\
             1\r\nx\r\n0\r\nX-Api-Key: {API_KEY}\r\n\r\n"
        ),
        format!("PRI * HTTP/2.0\r\n\r\nAuthorization: Bearer {BEARER}\r\n\r\n"),
        format!("\u{16}\u{3}\u{1} Authorization: Bearer {BEARER}"),
        // The rest never comes.
        format!("GET /things/1?token={TOKEN} HTTP/1.1\r\n{bearer}"),
        format!("POST /things/1?token={TOKEN} HTTP/1.1\r\n{bearer}Content-Length: 9\r\n\r\nhalf"),
    ] {
        let mut client = larder.connect();
        // It may be refused before all of it is sent.
        drop(client.send(request.as_bytes()));
        drop(client.half_close());
        let answer = client.read_to_end().unwrap_or_default();
        let line = request.lines().next().unwrap_or_default().get(..30).unwrap_or(&request).to_owned();
        told.add(format!("the answer to {line}"), String::from_utf8_lossy(&answer));
    }
    for (path, authority) in [
        (format!("/things/1?token={TOKEN} x"), "a".to_owned()),
        (format!("/things/1?token={TOKEN}"), format!("ada:{USER_INFO}@a b")),
        (format!("/things/1?token={TOKEN}"), format!("ada:{USER_INFO}@a")),
    ] {
        let mut client = larder.connect();
        client.send(&http_2(&path, &authority)).unwrap();
        client.half_close().unwrap();
        told.add("the answer to HTTP/2", String::from_utf8_lossy(&client.read_to_end().unwrap_or_default()));
    }
    // One who waits for nothing, and one whose upstream is too slow.
    larder.connect().ask(&format!("/things/3?token={TOKEN}"), &[format!("X-Api-Key: {API_KEY}")]).unwrap();
    let slow = larder.curl(&format!("/things/slow?token={TOKEN}"), &["-H", &format!("X-Api-Key: {API_KEY}")]);
    assert_eq!(slow.status, 504, "{slow:?}");
    told.add("the answer to what is too slow", format!("{}\n{}", slow.head, slow.text()));
}

/// What operators see.
fn ask_the_admin(larder: &Larder, told: &mut Told) {
    let own = format!("X-Larder-Header: authorization: Bearer {BEARER}");
    let admin = format!("Authorization: Bearer {ADMIN}");
    let mut ask = |path: &str, fields: &[&str]| {
        let fields: Vec<_> = fields.iter().flat_map(|field| ["-H", field]).collect();
        let answer = larder.admin(path, &fields);
        told.add(
            format!("the admin's answer to {}", path.split('?').next().unwrap_or_default()),
            format!("{}\n{}", answer.head, answer.text()),
        );
        answer
    };
    for path in ["/metrics", "/stats", "/config"] {
        assert_eq!(ask(path, &[&admin]).status, 200, "{path}");
        ask(path, &[&format!("Authorization: Bearer {WRONG_ADMIN}")]);
    }
    // What was sent there by other methods may have changed it.
    larder.curl("/things/1", &["-H", &format!("Authorization: Bearer {BEARER}")]);
    let held = ask("/entry?url=/things/1", &[&admin, &own]);
    assert!(held.text().contains("\"tier\": \"memory\""), "{held:?}");
    for (lines, query) in bearings() {
        let lines: Vec<_> = lines.iter().map(|line| format!("X-Larder-Header: {line}")).collect();
        let fields: Vec<_> = lines.iter().map(String::as_str).chain([&*admin]).collect();
        let escaped = query.replace('%', "%25").replace('&', "%26");
        for path in ["/things/1", "/keyed/1", "/shared/1", "/things/a//b", "/nowhere", "http://a/things/1"] {
            ask(&format!("/entry?url={path}?{escaped}"), &fields);
            // Forgotten to escape it.
            ask(&format!("/entry?url={path}?{query}&{query}"), &fields);
        }
    }
    for url in [
        format!("http://ada:{USER_INFO}@a/things/1"),
        format!("things/1?token={TOKEN}"),
        format!("/things/1?token={TOKEN}%23fragment"),
        format!("/things/1?token={TOKEN}%20space"),
    ] {
        ask(&format!("/entry?url={url}"), &[&admin, &own]);
    }
}

/// What `explain` prints, with an instance and without.
fn ask_explain(larder: &Larder, filter: &str, told: &mut Told) {
    let instance = larder.admin.to_string();
    let mut explain = |arguments: &[&str], token: &str| {
        let output = command()
            .arg("explain")
            .args(arguments)
            .envs([("RUST_LOG", filter), ("ADMIN", ADMIN), ("KEY", KEY_SECRET)])
            .env("LARDER_ADMIN_TOKEN", token)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        told.add(format!("explain {}", arguments[0]), text);
        output.status.code()
    };
    let file = larder.config().to_str().unwrap().to_owned();
    for (lines, query) in bearings() {
        let fields: Vec<&str> = lines.iter().flat_map(|line| ["-H", line]).collect();
        for path in ["/things/1", "/keyed/1", "/things/a//b", "/nowhere", "http://a/things/1"] {
            let url = format!("{path}?{query}");
            for place in [["-c", &file], ["--admin", &instance]] {
                assert_eq!(
                    explain(&[&place[..], &["GET", &url], &fields].concat(), ADMIN),
                    Some(0),
                    "{place:?}"
                );
            }
        }
    }
    let bearer = format!("Authorization: Bearer {BEARER}");
    for (arguments, code) in [
        (&["-c", &file, "GET", &format!("http://ada:{USER_INFO}@a/things/1")][..], 2),
        (&["--admin", &instance, "GET", &format!("http://ada:{USER_INFO}@a/things/1")], 2),
        (&["-c", &file, "GET", &format!("things?token={TOKEN}")], 2),
        (&["-c", &file, "GET", "/things/1", "-H", &format!("Authorization {BEARER}")], 2),
        (&["-c", &file, "GET", "/things/1", "-H", &format!("Authorization: {BEARER}\u{1}")], 2),
        (&["-c", &file, "GET", "/things/1", &bearer], 2),
        (&["--admin", &instance, "--token", &format!("{ADMIN}\u{1}"), "GET", "/things/1"], 2),
        (&["--admin", &instance, "--token", WRONG_ADMIN, "GET", "/things/1", "-H", &bearer], 1),
        (&["--admin", &format!("https://ada:{USER_INFO}@a"), "GET", "/things/1"], 2),
        (&["--admin", "127.0.0.1:1", "GET", "/things/1", "-H", &bearer], 1),
    ] {
        assert_eq!(explain(arguments, ADMIN), Some(code), "{arguments:?}");
    }
}

#[test]
fn no_credential_is_told_to_anybody_but_the_origin() {
    for filter in FILTERS {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |exchange| answer(exchange, &held));
        let environment = [("RUST_LOG", filter), ("ADMIN", ADMIN), ("KEY", KEY_SECRET)];
        let mut larder = Larder::run(&format!("http://{}", origin.address), CONFIGURATION, &environment);
        let mut told = Told::default();
        ask_properly(&larder, &mut told);
        ask_badly(&larder, &mut told);
        ask_the_admin(&larder, &mut told);
        ask_explain(&larder, filter, &mut told);
        larder.assert_alive("all that");
        gate.open();
        larder.terminate();
        larder.wait().expect("ends in time");
        let log =
            poll(|| Some(larder.log()).filter(|log| log.contains("stopped"))).expect("says its last word");
        told.add("the log", log);

        let mut seen = String::new();
        for request in origin.seen() {
            writeln!(seen, "{} {} {:?}", request.method, request.target, request.fields).unwrap();
        }
        for secret in SENT.map(str::to_owned).into_iter().chain([base64(BASIC_USER.as_bytes())]) {
            let sent = seen.contains(&secret) || seen.contains(&base64(secret.as_bytes()));
            assert!(sent, "{secret} never reached the origin: nothing was proved of it");
        }
        let whole = format!("{BASIC_USER}:{BASIC_PASSWORD}");
        let own = [BASIC_PASSWORD, ODD, USER_INFO, ADMIN, WRONG_ADMIN, KEY_SECRET, &whole];
        for secret in SENT.into_iter().chain(own) {
            told.assert_free_of(secret);
        }
    }
}
