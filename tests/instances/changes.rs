//! What tells an instance of a change without being asked to: a change that passes through it, and a message of the API itself.
//! Every instance knows of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};

use crate::along;
use crate::binary::{SOON, get};
use crate::larder::{Larder, poll};
use crate::origin::{Gate, Origin};
use crate::server::{Server, until};
use crate::telling::{
    Versions, are_ready, is_acknowledged, is_kept, is_new, names, post, receipt, signed, started_before,
};

const ROUTES: &str = "[[route]]\nname = 'things'\nmatch = '/things/{id}'\ntags = ['thing:{id}']\ninvalidates = ['list']\n\
                      [[route]]\nname = 'list'\nmatch = '/list'\ntags = ['list', 'thing:{body:/items/*/id}']\n\
                      [[route]]\nname = 'grouped'\nmatch = '/grouped'\n\
                      [[route]]\nname = 'through'\nmatch = '/through/{id}'\ntags = ['thing:{id}', 'name:{body:/name}']\n\
                      write_through = true\n";

/// `whsec_` and these bytes in Base64: an old one and the one in use.
const OLD: &[u8] = b"0123456789abcdef01234567";
const SECRET: &[u8] = b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn hooks() -> String {
    use base64::Engine as _;
    let text = |secret: &[u8]| format!("whsec_{}", base64::prelude::BASE64_STANDARD.encode(secret));
    format!(
        "[[hook]]\nname = 'thing-changed'\nverify = 'standard'\nsecret = ['{}', '{}']\n\
         when = {{ '/event' = ['thing.updated', 'thing.deleted'] }}\ntags = ['thing:{{body:/data/*/id}}']\n",
        text(OLD),
        text(SECRET)
    )
}

async fn two(versions: &Versions, server: &Server, config: &str) -> [Larder; 2] {
    let instances = [(); 2].map(|()| started_before(&versions.origin, server.port, config));
    are_ready(&instances.each_ref()).await;
    is_acknowledged(&instances[0], &["nothing"]).await;
    instances
}

#[tokio::test]
async fn a_change_through_one_instance_is_seen_by_the_other() {
    let _along = along().await;
    let versions = Versions::start(|method, target| {
        let mut fields = vec!["cache-control: max-age=60".to_owned()];
        match (method, target) {
            ("GET", "/grouped") => fields.push("cache-groups: \"things\", \"other\"".to_owned()),
            ("PUT", _) => fields = vec!["cache-group-invalidation: \"things\"".to_owned()],
            _ => {}
        }
        fields
    });
    let server = Server::start(&[]).await;
    let [one, other] = &two(&versions, &server, ROUTES).await;
    let targets = ["/things/1", "/list", "/grouped"];
    for instance in [one, other] {
        for target in targets {
            assert!(is_kept(instance, target), "{target}");
        }
        assert!(is_kept(instance, "/things/2"));
    }
    assert_eq!(one.curl("/things/1", &["-X", "PUT", "--data", "{}"]).status, 200);
    for target in targets {
        assert!(is_new(one, &versions, target), "{target}, where it passed through");
        until("the other has heard of it", SOON, async || is_new(other, &versions, target)).await;
    }
    assert!(get(other, "/things/2").is_hit(), "what was not changed is kept");
}

#[tokio::test]
async fn what_a_change_is_answered_with_is_what_all_have_from_then_on() {
    let _along = along().await;
    let (versions, server) = (Versions::kept(), Server::start(&[]).await);
    let [one, other] = &two(&versions, &server, ROUTES).await;
    assert!(is_kept(one, "/through/1") && is_kept(other, "/through/1"));
    let before = versions.origin.count("/through/1");
    assert_eq!(one.curl("/through/1", &["-X", "PUT", "--data", "{}"]).text(), "version 2");
    let response = get(one, "/through/1");
    assert!(response.is_hit() && versions.is_new(&response), "{response:?}");
    until("the other has heard of it", SOON, async || is_new(other, &versions, "/through/1")).await;
    assert!(versions.origin.count("/through/1") <= before + 2);
    // And it can be invalidated as anything else.
    versions.change();
    is_acknowledged(other, &["route:through"]).await;
    assert!(is_new(one, &versions, "/through/1"));
}

/// The PUT has changed what it is about, and its answer waits. Somebody else changes it once more and says so, in any of these ways.
#[test]
fn a_change_that_is_answered_late_does_not_bring_back_what_was_invalidated_meanwhile() {
    let ways = [
        json!({"tags": ["thing:0"]}),
        json!({"paths": ["/through/1"]}),
        json!({"prefixes": ["/through/2"]}),
        json!({"routes": ["through"]}),
        json!({"all": true}),
        json!({"tags": ["name:this"]}),
        json!({"tags": ["by-head"]}),
    ];
    let gates: Vec<Gate> = ways.iter().map(|_| Gate::default()).collect();
    let held = gates.clone();
    let version = Arc::new(AtomicU64::new(1));
    let counted = Arc::clone(&version);
    let origin = Origin::start(move |exchange| {
        let body = json!({"name": "this", "version": counted.load(SeqCst)}).to_string();
        let number: usize = exchange.request.target.strip_prefix("/through/").unwrap().parse().unwrap();
        if exchange.request.method == "PUT" {
            held[number].wait()?;
        }
        let fields =
            ["cache-control: max-age=60", "content-type: application/json", "surrogate-key: by-head"];
        exchange.answer("200 OK", &fields, body.as_bytes())
    });
    let larder = Larder::before(&origin, ROUTES);
    for (number, (way, gate)) in ways.iter().zip(&gates).enumerate() {
        let target = format!("/through/{number}");
        let mut client = larder.connect();
        let put =
            format!("PUT {target} HTTP/1.1\r\nHost: {}\r\nContent-Length: 2\r\n\r\n{{}}", larder.address);
        client.send(put.as_bytes()).unwrap();
        assert!(poll(|| (origin.count(&target) == 1).then_some(())).is_some(), "the PUT never came");
        version.fetch_add(1, SeqCst);
        assert_eq!(post(&larder, "/invalidate", &way.to_string(), &[]).status, 200, "{way}");
        gate.open();
        assert_eq!(client.read_response().unwrap().status, 200);
        for _ in 0..2 {
            let response = get(&larder, &target);
            let said: Value = serde_json::from_slice(&response.body).unwrap();
            assert_eq!(said["version"], version.load(SeqCst), "{way}: {}", response.head);
        }
    }
}

#[tokio::test]
async fn a_message_that_is_signed_is_done_by_all_and_once() {
    let _along = along().await;
    let (versions, server) = (Versions::kept(), Server::start(&[]).await);
    let instances = two(&versions, &server, &format!("{ROUTES}{}", hooks())).await;
    let [one, other] = &instances;
    let keep = || {
        for instance in &instances {
            assert!(is_kept(instance, "/things/1") && is_kept(instance, "/things/2"));
        }
    };
    let path = "/hooks/thing-changed";
    let body = json!({"event": "thing.updated", "data": [{"id": 1}, {"id": "7"}]}).to_string();
    let now = Duration::ZERO;
    for (id, secret) in [("msg_1", SECRET), ("msg_2", OLD)] {
        keep();
        versions.change();
        let fields = signed(id, secret, &body, now);
        let answer = post(one, path, &body, &fields);
        assert_eq!((answer.status, names(&receipt(&answer), "applied").len()), (200, 2), "{id}: {answer:?}");
        for instance in &instances {
            assert!(is_new(instance, &versions, "/things/1"), "{id}");
            assert!(get(instance, "/things/2").is_hit(), "{id}");
        }
        // The same again, wherever it goes to.
        keep();
        for instance in [other, one] {
            let again = post(instance, path, &body, &fields);
            assert_eq!(again.status, 200, "{id}: {again:?}");
        }
        for instance in &instances {
            assert!(get(instance, "/things/1").is_hit(), "{id} was replayed");
        }
    }
}

#[tokio::test]
async fn a_message_that_proves_nothing_does_nothing() {
    let _along = along().await;
    let (versions, server) = (Versions::kept(), Server::start(&[]).await);
    let [one, other] = &two(&versions, &server, &format!("{ROUTES}{}", hooks())).await;
    assert!(is_kept(one, "/things/1") && is_kept(other, "/things/1"));
    let path = "/hooks/thing-changed";
    let body = json!({"event": "thing.updated", "data": [{"id": 1}]}).to_string();
    let (now, too_old) = (Duration::ZERO, Duration::from_secs(301));
    let changed = body.replace("updated", "deleted");
    for (what, body, fields) in [
        ("none", &body, vec![]),
        ("another secret", &body, signed("msg_3", b"another", &body, now)),
        ("another body", &changed, signed("msg_4", SECRET, &body, now)),
        ("too old", &body, signed("msg_5", SECRET, &body, too_old)),
    ] {
        let answer = post(one, path, body, &fields);
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
    }
    let unheard = json!({"event": "thing.looked-at", "data": [{"id": 1}]}).to_string();
    let answer = post(one, path, &unheard, &signed("msg_6", SECRET, &unheard, now));
    assert_eq!(answer.status, 200, "{answer:?}");
    for instance in [one, other] {
        assert!(get(instance, "/things/1").is_hit());
    }
    assert_eq!(post(one, "/hooks/unknown", &body, &[]).status, 404);
}

#[tokio::test]
async fn a_soft_one_is_served_stale_once_more_and_fetched_behind() {
    let _along = along().await;
    let (versions, server) = (Versions::kept(), Server::start(&[]).await);
    let instances = two(&versions, &server, ROUTES).await;
    for instance in &instances {
        assert!(is_kept(instance, "/things/1"));
    }
    versions.change();
    let soft: Value = json!({"tags": ["thing:1"], "soft": true, "wait": "all"});
    assert_eq!(post(&instances[0], "/invalidate", &soft.to_string(), &[]).status, 200);
    for instance in &instances {
        until("it is fetched behind", SOON, async || is_new(instance, &versions, "/things/1")).await;
    }
    assert!(versions.origin.count("/things/1") <= 4, "{}", versions.origin.count("/things/1"));
}
