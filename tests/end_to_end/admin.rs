//! The admin listener of a running process: what it says is what has happened, and not everybody may hear it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::client::Curl;
use crate::larder::{CACHED, Larder, poll};
use crate::origin::{Gate, Origin};

const TOKEN: &str = "correct-horse-battery";

impl Curl {
    fn json(&self) -> Value {
        assert_eq!(self.field("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What a problem (RFC 9457) says.
    fn detail(&self) -> String {
        assert_eq!(self.field("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status, "{problem}");
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// One of everything that a request can come to on the route `things`.
fn busy() -> (Origin, Larder) {
    let origin = Origin::start(|exchange| match exchange.request.target.as_str() {
        "/things/broken" => exchange.hang_up(),
        "/things/unkept" => exchange.answer("200 OK", &["cache-control: no-store"], b"x"),
        _ => exchange.answer("200 OK", &[], b"0123456789"),
    });
    let larder = Larder::before(&origin, CACHED);
    for (target, arguments) in [
        ("/things/1", &[][..]),
        ("/things/1", &[]),
        ("/things/1", &["--head"]),
        ("/things/2", &[]),
        ("/things/unkept", &[]),
        ("/things/1", &["--data", "x"]),
        ("/things/broken", &["--data", "x"]),
        ("/elsewhere", &[]),
    ] {
        let status = if target == "/things/broken" { 502 } else { 200 };
        assert_eq!(larder.curl(target, arguments).status, status, "{target}");
    }
    (origin, larder)
}

#[test]
fn stats_count_what_was_sent() {
    let (origin, larder) = busy();
    let stats = larder.stats();
    let of = |route: &Value| {
        ["requests", "hits", "misses", "collapsed", "stale", "bypassed", "errors"]
            .map(|name| route[name].as_u64().unwrap_or_else(|| panic!("{name} in {route}")))
    };
    let [things, unrouted] = &stats["routes"].as_array().unwrap()[..] else {
        panic!("one route and the rest: {stats}");
    };
    assert_eq!((&things["route"], of(things)), (&"things".into(), [7, 2, 3, 0, 0, 1, 1]), "{things}");
    assert_eq!(things["hit_rate"], 0.4, "two of five that could have been hits");
    assert_eq!(things["not_stored"]["no_store"], 1, "{things}");
    assert!(things["hit_ms"]["p50"].is_number() && things["upstream_ms"]["p99"].is_number(), "{things}");
    assert_eq!((&unrouted["route"], of(unrouted)), (&"unrouted".into(), [1, 0, 1, 0, 0, 0, 0]), "{unrouted}");
    let (upstream, memory) = (&stats["upstream"], &stats["memory"]);
    assert_eq!(upstream["requests"].as_u64().unwrap(), origin.count("/") as u64, "{upstream}");
    assert_eq!((&upstream["in_flight"], &upstream["broken"]), (&0.into(), &1.into()), "{upstream}");
    assert_eq!((&memory["entries"], &memory["stored"]), (&2.into(), &2.into()), "{memory}");
    let bytes = memory["bytes"].as_u64().unwrap();
    assert!((20..10_000).contains(&bytes), "two bodies of 10 bytes and what they cost beside: {bytes}");
    assert!(stats["connections"]["accepted"].as_u64() >= Some(8), "{stats}");
}

/// Name and labels → value, every line understood.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let (mut kinds, mut samples) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(told) = line.strip_prefix("# TYPE ") {
            let (family, kind) = told.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(kinds.insert(family, kind).is_none(), "twice: {line}");
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
            let name = sample.split('{').next().unwrap();
            let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let known = kinds.contains_key(name)
                || histogram.is_some_and(|family| kinds.get(family) == Some(&"histogram"));
            assert!(known, "of no family: {line}");
            let value = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(samples.insert(sample.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    samples
}

#[test]
fn metrics_can_be_read_and_say_what_stats_say() {
    let (_origin, larder) = busy();
    let answer = larder.admin("/metrics", &[]);
    assert_eq!(answer.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"), "{answer:?}");
    let (samples, stats) = (samples(&answer.text()), larder.stats());
    for route in stats["routes"].as_array().unwrap() {
        for (outcome, name) in
            [("hit", "hits"), ("miss", "misses"), ("bypass", "bypassed"), ("error", "errors")]
        {
            let labels = format!("{{route={},outcome=\"{outcome}\"}}", route["route"]);
            let counted = route[name].as_f64();
            assert_eq!(samples.get(&format!("larder_requests_total{labels}")).copied(), counted, "{labels}");
            let timed = samples.get(&format!("larder_request_duration_seconds_count{labels}"));
            assert_eq!(timed.copied(), counted, "{labels}");
        }
    }
    let asked = samples.get("larder_upstream_requests_total").copied();
    assert_eq!(asked, stats["upstream"]["requests"].as_f64());
}

#[test]
fn a_process_that_drains_is_live_and_not_ready() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |exchange| {
        held.wait()?;
        exchange.answer("200 OK", &[], b"x")
    });
    let mut larder = Larder::before(&origin, CACHED);
    let ready = larder.admin("/health/ready", &[]);
    assert_eq!((ready.status, &ready.json()["status"]), (200, &"ready".into()));
    let mut client = larder.connect();
    client.ask("/things/1", &[]).unwrap();
    assert!(poll(|| (origin.count("/") == 1).then_some(())).is_some(), "the request never came");
    larder.terminate();
    let unready = poll(|| Some(larder.admin("/health/ready", &[])).filter(|answer| answer.status != 200));
    let unready = unready.expect("says that it drains");
    assert_eq!((unready.status, &unready.json()["reasons"]), (503, &serde_json::json!(["draining"])));
    larder.assert_alive("the beginning of the end");
    gate.open();
    assert_eq!(client.read_response().unwrap().status, 200);
    assert!(larder.wait().expect("ends once all is answered").success());
}

#[test]
fn the_configuration_in_force_is_shown_without_its_secrets() {
    let config = format!(
        "[server]\nadmin_token = \"env:ADMIN\"\n[identity]\nkey_secret = \"0123456789abcdef-key\"\n\
         credentials = [\"env:SOURCE\"]\n{CACHED}"
    );
    let environment = [("ADMIN", TOKEN), ("SOURCE", "header:x-hush-hush")];
    let larder = Larder::run("http://127.0.0.1:1", &config, &environment);
    let answer = larder.admin("/config", &["-H", &format!("Authorization: Bearer {TOKEN}")]);
    let shown = answer.json();
    assert_eq!(shown["server"]["admin_token"], "(set)", "{shown}");
    assert_eq!(shown["identity"]["key_secret"], "(set)", "{shown}");
    assert_eq!(shown["upstream"]["url"], "http://127.0.0.1:1", "what a flag said is in force: {shown}");
    assert_eq!(shown["route"][0]["ttl"], "5m", "{shown}");
    assert_eq!(shown["memory"]["max_size"], "256MB", "what nobody wrote is shown too: {shown}");
    for secret in [TOKEN, "0123456789abcdef-key", "x-hush-hush"] {
        assert!(!answer.text().contains(secret), "{shown}");
    }
}

#[test]
fn with_a_token_everything_but_health_wants_it() {
    let config = format!("[server]\nadmin_token = \"{TOKEN}\"\n{CACHED}");
    let larder = Larder::run("http://127.0.0.1:1", &config, &[]);
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(larder.admin(path, &[]).status, 200, "{path}");
    }
    let right = format!("Authorization: Bearer {TOKEN}");
    for path in ["/metrics", "/stats", "/config", "/entry?url=/things/1", "/", "/nowhere", "/events"] {
        for wrong in [&[][..], &["-H", "Authorization: Bearer correct-horse"], &["-H", &right, "-H", &right]]
        {
            let answer = larder.admin(path, wrong);
            assert_eq!(answer.status, 401, "{path} {wrong:?}");
            assert_eq!(answer.field("www-authenticate"), Some("Bearer realm=\"larder\""), "{answer:?}");
            assert!(answer.detail().contains("server.admin_token"), "{answer:?}");
        }
        assert_ne!(larder.admin(path, &["-H", &right]).status, 401, "{path}");
    }
}

#[test]
fn without_a_token_a_name_that_a_stranger_may_own_is_not_answered() {
    let larder = Larder::run("http://127.0.0.1:1", CACHED, &[]);
    let answer = larder.admin("/stats", &["-H", "Host: evil.example"]);
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(larder.admin("/stats", &["-H", "Host: localhost:8081"]).status, 200);
}

#[test]
fn what_is_not_there_says_what_is() {
    let larder = Larder::run("http://127.0.0.1:1", CACHED, &[]);
    for (method, path, status, words) in [
        ("GET", "/nowhere", 404, "/metrics"),
        ("POST", "/stats", 405, "GET, HEAD"),
        ("GET", "/invalidate", 405, "POST"),
        ("POST", "/invalidate", 400, "no JSON"),
        ("POST", "/hooks/user-changed", 404, "there is no such hook"),
        ("POST", "/reload", 501, "not available yet"),
        ("POST", "/routes/things/mode", 501, "not available yet"),
        ("GET", "/events", 501, "not available yet"),
        ("GET", "/", 501, "not available yet"),
    ] {
        let answer = larder.admin(path, &["-X", method]);
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(answer.detail().contains(words), "{method} {path}: {answer:?}");
        if status == 405 {
            assert_eq!(answer.field("allow"), Some(words), "{method} {path}");
        }
    }
}

#[test]
fn entry_tells_what_is_held_for_this_caller() {
    let origin = Origin::start(|exchange| {
        exchange.answer("200 OK", &["cache-control: max-age=60", "vary: accept-language"], b"0123456789")
    });
    let larder = Larder::before(&origin, CACHED);
    let (anna, german) = ("Authorization: Bearer anna", "Accept-Language: de");
    larder.curl("/things/1", &["-H", anna, "-H", german]);
    assert!(larder.curl("/things/1", &["-H", anna, "-H", german]).is_hit());
    let entry = |path: &str, fields: &[&str]| {
        let fields: Vec<_> = fields.iter().flat_map(|field| ["-H", field]).collect();
        larder.admin(path, &fields).json()
    };

    let by_url = format!("/entry?method=GET&url={}", larder.url("/things/1"));
    let said = "X-Larder-Header: authorization: Bearer anna";
    for (path, fields) in [
        ("/entry?url=/things/1", [anna, german]),
        ("/entry?url=/things/1&method=HEAD", [anna, german]),
        (&by_url, [anna, german]),
        (&by_url, [said, "X-Larder-Header: accept-language: de"]),
    ] {
        let found = entry(path, &fields);
        let held = &found["held"];
        assert_eq!((&held["tier"], &held["size"]), (&"memory".into(), &10.into()), "{path}: {found}");
        assert_eq!((&held["route"], &held["status"]), (&"things".into(), &200.into()), "{path}: {found}");
        assert_eq!((&held["serves"], &held["lifetime_from"]), (&true.into(), &"upstream".into()), "{found}");
        assert_eq!(held["vary"], serde_json::json!(["accept-language"]), "{found}");
        let (age, ttl) = (held["age"].as_u64().unwrap(), held["ttl"].as_u64().unwrap());
        assert!((59..=60).contains(&(age + ttl)), "{found}");
        assert_eq!(found["request"]["identity"], "header:authorization", "{found}");
        assert!(!found.to_string().contains("anna"), "{found}");
    }
    for fields in [&[german][..], &[anna], &["Authorization: Bearer bert", german]] {
        assert_eq!(entry("/entry?url=/things/1", fields)["held"], Value::Null, "{fields:?}");
    }
    assert_eq!(origin.count("/"), 1);
}

#[test]
fn a_question_that_makes_no_sense_is_told_why() {
    let larder = Larder::run("http://127.0.0.1:1", CACHED, &[]);
    for (query, words) in [
        ("", "which \"url\"?"),
        ("?url=things", "a path"),
        ("?url=/a&url=/b", "twice"),
        ("?url=/a&colour=red", "unknown parameter"),
        ("?url=/a&method=get", "capitals"),
        ("?url=%ff", "UTF-8"),
    ] {
        let answer = larder.admin(&format!("/entry{query}"), &[]);
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.detail().contains(words), "{query}: {answer:?}");
    }
}
