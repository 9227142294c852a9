//! What is typed: the commands' words, where they go, and the exit code that scripts read.
//!
//! 0: done. 1: could not be done here and now. 2: what was typed or written has to change first.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Output;
use std::thread::JoinHandle;

use crate::larder::{CACHED, Larder, command, written};
use crate::origin::Origin;

/// What a command left behind.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    told: String,
}

/// One that needs no upstream to be there.
const USERS: &str = r#"[upstream]
url = "http://127.0.0.1:1"

[identity]
credentials = ["header:authorization", "cookie:session", "query:token"]

[[route]]
name = "user"
match = "/api/users/{id}"
ttl = "5m"
key = { query = ["page", "sort"], headers = ["accept-language"] }
tags = ["user:{id}", "page:{query:page}", "team:{body:/team}", "sort:{query:sort}"]
settle = "2s"
"#;

/// In an empty directory, so that no `larder.toml` lies about.
fn larder(arguments: &[&str]) -> Ended {
    let nowhere = tempfile::tempdir().unwrap();
    ended(command().args(arguments).current_dir(&nowhere).output().unwrap())
}

/// With this configuration behind the other arguments.
fn larder_with(config: &str, arguments: &[&str]) -> Ended {
    let file = written(config);
    larder(&[arguments, &["-c", file.path().to_str().unwrap()]].concat())
}

fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        told: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ended {
    /// The words behind this heading.
    fn line(&self, heading: &str) -> &str {
        let mut lines = self.out.lines().filter_map(|line| line.trim().strip_prefix(heading));
        lines.next().unwrap_or_else(|| panic!("no {heading}: {self:?}")).trim()
    }

    /// Refused with this code and these words, and nothing on stdout.
    fn assert_refused(&self, code: i32, words: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{self:?}");
        for words in words {
            assert!(self.told.contains(words), "{words}: {self:?}");
        }
    }
}

#[test]
fn check_prints_the_routes_and_what_is_worth_a_warning() {
    let ended = larder_with(USERS, &["check"]);
    assert_eq!((ended.code, ended.told.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.line("user").starts_with("/api/users/{id}"), "{ended:?}");
    assert!(!ended.out.contains("warning:"), "{ended:?}");
    let guessed = USERS.replace("credentials =", "# credentials =");
    let ended = larder_with(&guessed, &["check"]);
    assert!(ended.line("warning:").starts_with("identity.credentials"), "{ended:?}");
    assert_eq!(ended.code, Some(0), "a warning is no mistake");
}

#[test]
fn check_tells_all_mistakes_at_once_with_line_and_column() {
    let wrong = USERS.replace("ttl =", "tll =").replace("/api/users/{id}", "api");
    let ended = larder_with(&wrong, &["check"]);
    ended.assert_refused(
        2,
        &[".toml:9:9: match", ".toml:10:1: unknown key \"tll\" in route \"user\" (did you mean \"ttl\"?)"],
    );
    assert_eq!(ended.told.lines().count(), 2, "{ended:?}");
    larder_with("[server\n", &["check"]).assert_refused(2, &[".toml:1:"]);
    larder(&["check", "-c", "nowhere.toml"]).assert_refused(2, &["nowhere.toml"]);
}

#[test]
fn schema_is_json_and_knows_the_keys() {
    let ended = larder(&["schema"]);
    assert_eq!((ended.code, ended.told.as_str()), (Some(0), ""), "{ended:?}");
    let schema: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert!(schema["properties"]["upstream"].is_object(), "{schema}");
}

#[test]
fn explain_says_route_identity_and_key_and_never_the_credential() {
    let url = "http://api.example/api/users/7?page=2&token=hunter2secret&utm=x";
    let fields = ["-H", "Authorization: Bearer sesame123", "-H", "Cookie: session=openup99", "-H"];
    let arguments = [&["explain", "GET", url], &fields[..], &["Accept-Language: de"]].concat();
    let ended = larder_with(USERS, &arguments);
    assert_eq!((ended.code, ended.told.as_str()), (Some(0), ""), "{ended:?}");
    assert_eq!(ended.line("route"), "user  /api/users/{id}");
    assert_eq!((ended.line("plan"), ended.line("audience")), ("cache", "identity"));
    assert_eq!(ended.line("identity"), "header:authorization");
    assert_eq!((ended.line("tags"), ended.line("settle")), ("route:user", "2s"));
    for part in [
        "path:/api/users/7",
        "user:7",
        "page:2",
        "team:{body:/team}",
        "authority                        api.example",
        "path                             /api/users/7",
        "query                            page=2",
        "header:accept-language           de",
        "credential header:authorization  (hidden)",
        "credential cookie:session        (hidden)",
        "credential query:token           (hidden)",
    ] {
        assert_eq!(ended.line(part), "", "{ended:?}");
    }
    assert!(!ended.out.contains("sort:"), "{ended:?}");
    for secret in ["hunter2secret", "sesame123", "openup99"] {
        assert!(!ended.out.contains(secret), "{ended:?}");
    }
}

#[test]
fn explain_gives_two_requests_for_the_same_one_digest() {
    let digest = |url: &str| {
        let ended = larder_with(USERS, &["explain", "GET", url]);
        ended.line("digest").to_owned()
    };
    let one = digest("http://api.example/api/users/7?page=2&utm=x");
    assert_eq!(one.len(), 64, "{one}");
    assert_eq!(one, digest("http://API.example:80/api/users/7?utm=y&page=2"));
    assert_ne!(one, digest("http://api.example/api/users/8?page=2"));
}

#[test]
fn explain_says_why_a_request_is_passed_through() {
    for (method, url, extra, why) in [
        ("POST", "/api/users/1", &["-d", "x"][..], "pass: the method is not one the route caches"),
        ("GET", "/api/users/1", &["-d", "x"], "pass: the request has a body"),
        ("GET", "/api/users/../admin", &[], "pass: the path has a dot segment"),
        (
            "GET",
            "/api/users/1",
            &["-H", "X-Original-URL: /a"],
            "pass: a header may route the request elsewhere",
        ),
    ] {
        let ended = larder_with(USERS, &[&["explain", method, url], extra].concat());
        assert!(ended.line("plan").starts_with(why), "{ended:?}");
        assert_eq!(ended.code, Some(0));
    }
}

#[test]
fn explain_with_an_instance_says_what_is_held() {
    let origin = Origin::echo(&[]);
    let running = Larder::before(&origin, CACHED);
    let admin = format!("http://{}", running.admin);
    let bearer = "Authorization: Bearer sesame123";
    let url = running.url("/things/1");
    let explain = |field: &str| larder(&["explain", "--admin", &admin, "GET", &url, "-H", field]);

    let before = explain(bearer);
    assert_eq!((before.code, before.line("held:")), (Some(0), "none"), "{before:?}");
    running.curl("/things/1", &["-H", bearer]);
    assert!(running.curl("/things/1", &["-H", bearer]).is_hit());
    let after = explain(bearer);
    assert_eq!((after.code, after.told.as_str(), after.line("held:")), (Some(0), "", ""), "{after:?}");
    assert_eq!((after.line("tier:"), after.line("serves:"), after.line("status:")), ("memory", "yes", "200"));
    assert_eq!(after.line("size:"), "origin /things/1".len().to_string());
    let (age, ttl): (u64, u64) = (after.line("age:").parse().unwrap(), after.line("ttl:").parse().unwrap());
    // Five minutes, less 5 % of jitter and the time that this took.
    assert!(age < 60 && (200..=300).contains(&ttl), "{after:?}");
    assert!(!after.out.contains("sesame123"), "{after:?}");
    // Another caller's request has nothing, and asking has fetched nothing and counted nothing.
    assert_eq!(explain("Authorization: Bearer other").line("held:"), "none");
    assert_eq!((origin.count("/"), running.stats()["routes"][0]["requests"].as_u64()), (1, Some(2)));
}

#[test]
fn explain_without_anybody_there_fails_at_once_and_says_where() {
    let address = Origin::nowhere().to_string();
    larder(&["explain", "--admin", &address, "GET", "/"])
        .assert_refused(1, &["no Larder answers at", &address]);
}

/// An admin listener that answers one request so; and what it was asked.
fn stub(answer: String) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        // The order is the last thing that is sent, and it has one closing brace.
        while !asked.ends_with(b"}") {
            let mut bytes = [0; 1024];
            let count = stream.read(&mut bytes).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&asked));
            asked.extend(&bytes[..count]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(asked).unwrap()
    });
    (address, asked)
}

fn answered(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn purge_says_who_has_applied_it() {
    let (admin, asked) = stub(answered("200 OK", r#"{"position":"17","applied":["a","b"],"lagging":[]}"#));
    let ended = larder(&["purge", "--admin", &admin, "--token", "sesame", "--tag", "user:5", "--soft"]);
    assert_eq!((ended.code, ended.told.as_str()), (Some(0), ""), "{ended:?}");
    assert_eq!(ended.out, "Marked stale by 2 instances: a, b.\nPosition in the log: 17\n");
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("POST /invalidate HTTP/1.1\r\n"), "{asked}");
    for words in
        ["authorization: Bearer sesame\r\n", r#""tags":["user:5"]"#, r#""soft":true"#, r#""wait":"all""#]
    {
        assert!(asked.contains(words), "{words}: {asked}");
    }
}

#[test]
fn a_purge_that_was_not_met_is_no_success() {
    for (code, status, detail) in [
        (1, "504 Gateway Timeout", "not applied within 5s by b, which may still serve what it names"),
        (1, "503 Service Unavailable", "applied on this instance, but not written to the log: send it again"),
        (2, "400 Bad Request", "there is no route \\\"usr\\\" (did you mean \\\"user\\\"?)"),
    ] {
        let (admin, asked) =
            stub(answered(status, &format!("{{\"detail\":\"{detail}\",\"lagging\":[\"b\"]}}")));
        let detail = detail.replace('\\', "");
        larder(&["purge", "--admin", &admin, "--all"]).assert_refused(code, &[&admin, status, &detail]);
        asked.join().unwrap();
    }
    let (admin, asked) = stub(answered("401 Unauthorized", ""));
    larder(&["purge", "--admin", &admin, "--all"]).assert_refused(1, &["set LARDER_ADMIN_TOKEN"]);
    asked.join().unwrap();
    let address = Origin::nowhere().to_string();
    larder(&["purge", "--admin", &address, "--all"]).assert_refused(1, &["no Larder answers at", &address]);
}

#[test]
fn what_is_not_built_yet_is_refused_by_name() {
    for (arguments, words) in [
        (&["top"][..], "\"larder top\" is not available yet"),
        (&["top", "--admin", "http://127.0.0.1:1"], "\"larder top\" is not available yet"),
        (
            &["run", "--upstream", "http://127.0.0.1:1", "--set", "server.slow=1s"],
            "\"server.slow\" is not available yet",
        ),
    ] {
        larder(arguments).assert_refused(2, &[words]);
    }
}

#[test]
fn run_on_a_taken_address_ends_and_says_which() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (free, upstream) = ("127.0.0.1:0", ["run", "--upstream", "http://127.0.0.1:1"]);
    for (listen, admin, key) in [(&*address, free, "server.listen"), (free, &address, "server.admin")] {
        let ended = larder(&[&upstream[..], &["--listen", listen, "--admin", admin]].concat());
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let last = ended.told.lines().last().unwrap_or_default();
        assert!(last.contains(&address) && last.contains(key), "{ended:?}");
    }
}

#[test]
fn what_is_typed_wrongly_is_refused_before_anything_is_served() {
    for (arguments, words) in [
        (&["run"][..], "upstream.url is missing"),
        (&["run", "--upstream", "nowhere"], "upstream.url"),
        (&["run", "--upstream", "http://127.0.0.1:1", "--set", "server.listn=1"], "did you mean"),
        (&["run", "--upstream", "http://127.0.0.1:1", "--set", "server.listen"], "KEY=VALUE"),
        (&["run", "--upstream", "http://127.0.0.1:1", "--listen", "127.0.0.1"], "server.listen"),
        (&["run", "--upstream", "http://127.0.0.1:1", "--log-format", "xml"], "expected auto, human or json"),
        (&["serve"], "unrecognized subcommand"),
        (&["explain", "GET", "ftp://x"], "expected http://"),
        (&["purge"], "--tag <TAG>"),
        (&["purge", "--path", "http://h/users/5"], "its path alone"),
        (&["purge", "--all", "--timeout", "2m"], "at most 60s"),
    ] {
        larder(arguments).assert_refused(2, &[words]);
    }
    let unknown = larder_with(&USERS.replace("ttl =", "tll ="), &["run"]);
    unknown.assert_refused(2, &[".toml:10:1: unknown key \"tll\"", "did you mean \"ttl\"?"]);
}

#[test]
fn a_filter_of_log_lines_that_makes_no_sense_is_refused() {
    let output = command().arg("schema").env("RUST_LOG", "larder=loud").output().unwrap();
    ended(output).assert_refused(2, &["RUST_LOG"]);
}
