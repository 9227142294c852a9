//! Telling a running process what has changed: what was named is fetched anew, and nothing else. The examples of
//! `docs/invalidation.md` are run as they stand there.

use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::client::Curl;
use crate::larder::{Larder, command, poll};
use crate::origin::Origin;

const PAGE: &str = include_str!("../../docs/invalidation.md");
const KEY: &[u8] = b"squirrelsquirrelsquirrelsquirrel";

/// Each block of the page that is fenced as this.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("\n```{language}\n");
    PAGE.split(&fence).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

fn secret() -> String {
    format!("whsec_{}", STANDARD.encode(KEY))
}

/// With the configuration of the page.
fn larder(origin: &Origin) -> Larder {
    let [config] = blocks("toml")[..] else { panic!("one configuration") };
    let secret = secret();
    let environment = [
        ("USER_HOOK_SECRET", &*secret),
        ("GITHUB_HOOK_SECRET", "correct-horse"),
        ("DEPLOY_TOKEN", "battery-staple"),
    ];
    Larder::run(&format!("http://{}", origin.address), config, &environment)
}

fn json(answer: &Curl) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// How a request for this was answered: `hit`, or `fwd=…`.
fn came(larder: &Larder, path: &str, arguments: &[&str]) -> String {
    let answer = larder.curl(path, arguments);
    let told = answer.field("cache-status").unwrap_or_else(|| panic!("{answer:?}"));
    told.split("; ").nth(1).unwrap().to_owned()
}

fn is_hit(larder: &Larder, path: &str, arguments: &[&str]) -> bool {
    came(larder, path, arguments) == "hit"
}

/// Keeps the answer to this.
fn keep(larder: &Larder, path: &str, arguments: &[&str]) {
    larder.curl(path, arguments);
    assert!(is_hit(larder, path, arguments), "{path}");
}

fn declare(larder: &Larder, order: &Value) -> Value {
    let answer = larder.admin("/invalidate", &["--data", &order.to_string()]);
    assert_eq!(answer.status, 200, "{answer:?}");
    json(&answer)
}

#[test]
fn the_examples_of_the_page_do_what_it_says() {
    let origin = Origin::echo(&[]);
    let larder = larder(&origin);
    let shells = blocks("bash").into_iter().map(|block| ("bash", block));
    let examples: Vec<_> =
        shells.chain(blocks("python").into_iter().map(|block| ("python3", block))).collect();
    assert_eq!(examples.len(), 6);
    let program = command().get_program().to_owned();
    for (interpreter, block) in examples {
        keep(&larder, "/api/users/5", &[]);
        keep(&larder, "/api/users/6", &[]);
        let asked = origin.count("/api/users/5");
        let block = block.replace("127.0.0.1:8081", &larder.admin.to_string());
        // The instance of this test, and not whose port 8081 is.
        let purge = "larder() { \"$PROGRAM\" \"$1\" --admin \"$ADMIN\" \"${@:2}\"; }\nset -euo pipefail\n";
        let block = if interpreter == "bash" { format!("{purge}{block}") } else { block };
        let ended = Command::new(interpreter)
            .args(["-c", &block])
            .env("PROGRAM", &program)
            .env("ADMIN", larder.admin.to_string())
            .env("USER_HOOK_SECRET", secret())
            .env("DEPLOY_TOKEN", "battery-staple")
            .env("no_proxy", "*")
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{interpreter} is installed (tests/run sees to it): {error}"));
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success(), "{block}\n{ended:?}");
        assert!(said.contains("applied") || said.contains("Forgotten"), "{block}\n{said}");
        // One of them is soft: the old answer once more, while it is fetched anew.
        larder.curl("/api/users/5", &[]);
        let again = poll(|| (origin.count("/api/users/5") > asked).then_some(()));
        assert!(again.is_some(), "was not fetched anew after\n{block}");
    }
}

#[test]
fn a_purged_path_is_gone_for_everybody_and_a_purged_url_alone() {
    let origin = Origin::echo(&[]);
    let larder = larder(&origin);
    let anna = ["-H", "Authorization: Bearer anna"];
    let all = [
        ("/api/users/5", &[][..]),
        ("/api/users/5", &anna),
        ("/api/users/5?page=2", &[]),
        ("/api/users/6", &[]),
    ];
    for (path, arguments) in all {
        keep(&larder, path, arguments);
    }
    let answer = larder.admin("/api/users/5?page=2", &["-X", "PURGE"]);
    assert_eq!((answer.status, &json(&answer)["lagging"]), (200, &json!([])), "{answer:?}");
    let held: Vec<_> = all.iter().map(|(path, arguments)| is_hit(&larder, path, arguments)).collect();
    assert_eq!(held, [true, true, false, true]);
    let answer = larder.admin("/api/users/%35", &["-X", "PURGE"]);
    assert_eq!(answer.status, 200, "{answer:?}");
    let held: Vec<_> = all.iter().map(|(path, arguments)| is_hit(&larder, path, arguments)).collect();
    assert_eq!(held, [false, false, false, true]);
}

#[test]
fn each_name_means_what_it_says() {
    let origin = Origin::echo(&[]);
    let larder = larder(&origin);
    let (anna, bert) = (["-H", "Authorization: Bearer anna"], ["-H", "Authorization: Bearer bert"]);
    for (order, gone) in [
        (json!({"tags": ["user:5"]}), [true, false, true, true]),
        (json!({"paths": ["/api/users/6"]}), [false, true, false, false]),
        (json!({"prefixes": ["/api/users/"]}), [true; 4]),
        (json!({"routes": ["user"], "wait": "self"}), [true; 4]),
        (json!({"routes": ["unrouted"]}), [false; 4]),
        (json!({"credentials": ["anna"]}), [false, false, true, false]),
        (json!({"all": true, "wait": "log"}), [true; 4]),
    ] {
        let all = [
            ("/api/users/5", &[][..]),
            ("/api/users/6", &[]),
            ("/api/users/5", &anna),
            ("/api/users/5", &bert),
        ];
        for (path, arguments) in all {
            keep(&larder, path, arguments);
        }
        let report = declare(&larder, &order);
        assert_eq!(report["applied"].as_array().map(Vec::len), Some(1), "{report}");
        let got = all.map(|(path, arguments)| !is_hit(&larder, path, arguments));
        assert_eq!(got, gone, "{order}");
    }
    assert!(!larder.log().contains("anna"), "{}", larder.log());
    assert_eq!(larder.stats()["invalidation"]["changes"], 0);
    larder.curl("/api/users/5", &["-X", "PUT"]);
    assert_eq!(
        larder.stats()["invalidation"]["changes"],
        1,
        "what was declared from outside is counted apart"
    );
}

#[test]
fn a_credential_and_a_url_are_found_as_they_were_sent() {
    let origin = Origin::echo(&[]);
    let config =
        "[identity]\ncredentials = [\"query:token\", \"cookie:session\"]\n[defaults]\nttl = \"5m\"\n";
    let larder = Larder::run(&format!("http://{}", origin.address), config, &[]);
    let (token, cookie) = ("/a?token=abc%2Bdef%3D%3D", ["-H", "Cookie: session=\"s3cr3ts\""]);
    for (path, arguments, order) in [
        (token, &[][..], json!({"credentials": ["abc+def=="]})),
        (token, &[], json!({"credentials": ["abc%2bdef%3d%3d"]})),
        ("/a", &cookie, json!({"credentials": ["s3cr3ts"]})),
        ("/a?", &[], json!({"paths": ["/a?"]})),
    ] {
        keep(&larder, path, arguments);
        keep(&larder, "/a", &[]);
        declare(&larder, &order);
        assert!(!is_hit(&larder, path, arguments), "{path} {order}");
        assert!(is_hit(&larder, "/a", &[]), "{path} {order}");
    }
}

#[test]
fn the_tags_of_what_is_held_show_no_credential() {
    let origin = Origin::echo(&[]);
    let config = "[[route]]\nname = \"t\"\nmatch = \"/t/{id}\"\nttl = \"5m\"\ntags = [\"t:{id}\"]\n";
    let larder = Larder::run(&format!("http://{}", origin.address), config, &[]);
    keep(&larder, "/t/abcdef123456", &["-H", "Authorization: Bearer abcdef123456"]);
    let caller = ["-H", "X-Larder-Header: Authorization: Bearer abcdef123456"];
    let answer = larder.admin("/entry?url=/t/abcdef123456", &caller);
    let held = &json(&answer)["held"]["tags"];
    assert_eq!(held[0], "route:t", "{answer:?}");
    assert!(!held.to_string().contains("abcdef"), "{held}");
}

/// What a sender of Standard Webhooks sends.
fn message(larder: &Larder, id: &str, body: &str) -> Curl {
    let sent = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    mac.update(format!("{id}.{sent}.{body}").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let fields = [
        format!("webhook-id: {id}"),
        format!("webhook-timestamp: {sent}"),
        format!("webhook-signature: v1,{signature}"),
    ];
    let fields = fields.iter().flat_map(|field| ["-H", field]);
    let arguments: Vec<&str> = fields.chain(["--data-binary", body]).collect();
    larder.admin("/hooks/user-changed", &arguments)
}

#[test]
fn a_message_works_once_and_its_replay_does_nothing() {
    let origin = Origin::echo(&[]);
    let larder = larder(&origin);
    let changed = r#"{"event": "user.updated", "data": {"id": 5}}"#;
    keep(&larder, "/api/users/5", &[]);
    let first = message(&larder, "msg_1", changed);
    assert_eq!((first.status, json(&first).get("replay")), (200, None), "{first:?}");
    assert!(!is_hit(&larder, "/api/users/5", &[]));
    let replay = message(&larder, "msg_1", changed);
    assert_eq!((replay.status, &json(&replay)["replay"]), (200, &json!(true)), "{replay:?}");
    assert!(is_hit(&larder, "/api/users/5", &[]));
    assert_eq!(message(&larder, "msg_2", changed).status, 200);
    assert!(!is_hit(&larder, "/api/users/5", &[]));

    let other = message(&larder, "msg_3", r#"{"event": "user.viewed", "data": {"id": 5}}"#);
    assert_eq!(other.status, 200, "{other:?}");
    assert!(json(&other)["ignored"].as_str().unwrap().contains("user.viewed"), "{other:?}");
    let nothing = message(&larder, "msg_4", r#"{"event": "user.updated"}"#);
    assert_eq!(nothing.status, 400, "{nothing:?}");
    let unsigned = larder.admin("/hooks/user-changed", &["--data-binary", changed]);
    assert_eq!(unsigned.status, 401, "{unsigned:?}");
    assert!(is_hit(&larder, "/api/users/5", &[]));
    let told = &larder.stats()["hooks"][0];
    assert_eq!(
        *told,
        json!({"hook": "user-changed", "accepted": 2, "ignored": 1, "replayed": 1, "unauthorized": 1, "bad": 1, "refused": 0})
    );
}
