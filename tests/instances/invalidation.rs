//! What one instance is told to forget all have forgotten when the answer comes; and what is answered when that can't be said.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::along;
use crate::binary::{SOON, get};
use crate::client::Curl;
use crate::larder::{Larder, command};
use crate::relay::{Passage, Relay};
use crate::server::{Server, until};
use crate::telling::{
    LEASE, Versions, are_ready, invalidate, is_acknowledged, is_kept, is_new, names, reasons, receipt,
    started_before,
};

/// A route that trusts its lifetimes when it is cut off, and one that does not.
const ROUTES: &str = "[[route]]\nname = 'serve'\nmatch = '/serve/{id}'\ntags = ['item:{id}', 'all-of:serve']\n\
                      [[route]]\nname = 'bypass'\nmatch = '/bypass/{id}'\ntags = ['item:{id}']\n\
                      when_cut_off = 'bypass'\n";
/// What a busy machine takes beside.
const SLACK: Duration = Duration::from_secs(2);

type Tell = Box<dyn Fn(&Larder) -> Curl>;

async fn three(versions: &Versions, server: &Server) -> [Larder; 3] {
    let instances = [(); 3].map(|()| started_before(&versions.origin, server.port, ROUTES));
    are_ready(&instances.each_ref()).await;
    // What was met with when it started has to be over.
    is_acknowledged(&instances[0], &["nothing"]).await;
    instances
}

fn cache_status(larder: &Larder, target: &str) -> String {
    get(larder, target).field("cache-status").unwrap_or_default().to_owned()
}

fn is_cut_off(status: &str) -> bool {
    status.starts_with("larder; fwd=bypass") && status.ends_with("detail=cut-off")
}

#[tokio::test]
async fn what_one_instance_is_told_all_have_done_when_it_answers() {
    let _along = along().await;
    let (versions, server) = (Versions::kept(), Server::start(&[]).await);
    let instances = three(&versions, &server).await;
    let purge = |target: &'static str| move |larder: &Larder| larder.admin(target, &["-X", "PURGE"]);
    let post = |body: Value| move |larder: &Larder| invalidate(larder, &body);
    let ways: [(&str, Tell); 10] = [
        ("a tag of a capture", Box::new(post(json!({"tags": ["item:1"]})))),
        ("a tag, for all that wait", Box::new(post(json!({"tags": ["all-of:serve"], "wait": "all"})))),
        ("a tag among others", Box::new(post(json!({"tags": ["a", "b", "item:1"], "timeout": "9s"})))),
        ("a path", Box::new(post(json!({"paths": ["/serve/1"]})))),
        ("a path that is written otherwise", Box::new(post(json!({"paths": ["/%73erve/1"]})))),
        ("a prefix", Box::new(post(json!({"prefixes": ["/ser"]})))),
        ("a route", Box::new(post(json!({"routes": ["serve"]})))),
        ("everything", Box::new(post(json!({"all": true})))),
        ("PURGE", Box::new(purge("/serve/1"))),
        ("the same again", Box::new(purge("/serve/1"))),
    ];
    for (number, (what, tell)) in ways.iter().enumerate() {
        for instance in &instances {
            assert!(is_kept(instance, "/serve/1"), "before {what}");
        }
        versions.change();
        let answer = tell(&instances[number % 3]);
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
        let receipt = receipt(&answer);
        assert_eq!(
            (names(&receipt, "applied").len(), names(&receipt, "lagging").len()),
            (3, 0),
            "{what}: {receipt}"
        );
        assert!(receipt["position"].is_string(), "{what}: {receipt}");
        for instance in &instances {
            assert!(is_new(instance, &versions, "/serve/1"), "after {what}");
        }
    }
    // What is not named is not touched.
    let before = versions.origin.count("/bypass/2");
    assert!(is_kept(&instances[0], "/bypass/2"));
    assert_eq!(invalidate(&instances[0], &json!({"tags": ["item:1"]})).status, 200);
    assert!(get(&instances[0], "/bypass/2").is_hit());
    assert_eq!(versions.origin.count("/bypass/2"), before + 1);
}

#[tokio::test]
async fn the_command_tells_all_and_says_who_has_done_it() {
    let _along = along().await;
    let (versions, server) = (Versions::kept(), Server::start(&[]).await);
    let instances = three(&versions, &server).await;
    for instance in &instances {
        assert!(is_kept(instance, "/serve/1"));
    }
    versions.change();
    let admin = format!("http://{}", instances[1].admin);
    let output = command().args(["purge", "--admin", &admin, "--tag", "item:1"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for instance in &instances {
        assert!(is_new(instance, &versions, "/serve/1"));
    }
    for name in names(&receipt(&invalidate(&instances[0], &json!({"tags": ["nothing"]}))), "applied") {
        assert!(said.contains(&name), "{name} is not in: {said}");
    }
}

#[tokio::test]
async fn what_redis_has_lost_nobody_serves() {
    let _along = along().await;
    let (versions, mut server) = (Versions::kept(), Server::start(&[]).await);
    let instances = three(&versions, &server).await;
    for what in ["FLUSHALL", "restart", "DEL"] {
        for instance in &instances {
            until("it is kept", SOON, async || is_kept(instance, "/serve/1")).await;
        }
        versions.change();
        match what {
            "FLUSHALL" => drop(server.ask(&["FLUSHALL"]).await),
            "DEL" => drop(server.ask(&["DEL", "larder:log"]).await),
            _ => {
                server.kill();
                server.start_again().await;
            }
        }
        let began = Instant::now();
        let receipt = is_acknowledged(&instances[0], &["item:1"]).await;
        let took = began.elapsed();
        println!("{what}: acknowledged again after {took:.1?}");
        for instance in &instances {
            assert!(is_new(instance, &versions, "/serve/1"), "after {what}: {receipt}");
        }
        until("all are back", SOON, async || {
            names(&is_acknowledged(&instances[0], &["nothing"]).await, "applied").len() == 3
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_trusts_nothing_where_it_is_told_so() {
    let _along = along().await;
    let (versions, server) = (Versions::kept(), Server::start(&[]).await);
    let relay = Relay::before(server.port).await;
    let far = started_before(&versions.origin, relay.port, ROUTES);
    let near = started_before(&versions.origin, server.port, ROUTES);
    are_ready(&[&far, &near]).await;
    is_acknowledged(&near, &["nothing"]).await;
    for passage in [Passage::Cut, Passage::Hung, Passage::Mute] {
        for target in ["/serve/1", "/bypass/1"] {
            until("it is kept", SOON, async || is_kept(&far, target)).await;
        }
        relay.let_pass(passage);
        let began = Instant::now();
        until("it is cut off", LEASE + SLACK, async || is_cut_off(&cache_status(&far, "/bypass/1"))).await;
        let took = began.elapsed();
        println!("{passage:?}: cut off after {took:.1?}");
        let (passed, fetched) = (versions.origin.count("/bypass/1"), versions.origin.count("/serve/1"));
        for _ in 0..5 {
            assert!(is_cut_off(&cache_status(&far, "/bypass/1")));
            let status = cache_status(&far, "/serve/1");
            assert!(status.starts_with("larder; hit") && status.ends_with("detail=cut-off"), "{status}");
        }
        assert_eq!(versions.origin.count("/bypass/1"), passed + 5);
        assert_eq!(versions.origin.count("/serve/1"), fetched);
        // The other need not wait for it for ever, and tells it once it can.
        versions.change();
        is_acknowledged(&near, &["item:1"]).await;
        assert!(is_new(&far, &versions, "/bypass/1"));
        relay.let_pass(Passage::All);
        let began = Instant::now();
        until("it is back", SOON, async || {
            let response = get(&far, "/bypass/1");
            assert!(versions.is_new(&response), "{response:?}");
            response.is_hit()
        })
        .await;
        println!("{passage:?}: back after {:.1?}", began.elapsed());
        assert!(is_new(&far, &versions, "/serve/1"));
        assert!(!cache_status(&far, "/serve/1").contains("cut-off"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_logged_is_done_here_and_told_to_the_others_later() {
    let _along = along().await;
    let (versions, server) = (Versions::kept(), Server::start(&[]).await);
    let relay = Relay::before(server.port).await;
    let far = started_before(&versions.origin, relay.port, ROUTES);
    let near = started_before(&versions.origin, server.port, ROUTES);
    are_ready(&[&far, &near]).await;
    is_acknowledged(&near, &["nothing"]).await;
    assert!(is_kept(&far, "/serve/1") && is_kept(&near, "/serve/1"));
    relay.let_pass(Passage::Cut);
    versions.change();
    let answer = invalidate(&far, &json!({"tags": ["item:1"], "wait": "all", "timeout": "5s"}));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("application/problem+json"), "{answer:?}");
    for _ in 0..3 {
        assert!(is_new(&far, &versions, "/serve/1"), "it was told");
        assert!(!is_new(&near, &versions, "/serve/1"), "nobody can have told it");
    }
    relay.let_pass(Passage::All);
    let began = Instant::now();
    until("the other has heard of it", SOON, async || is_new(&near, &versions, "/serve/1")).await;
    println!("not logged: told to the others {:.1?} after the way was open", began.elapsed());
    // And it may be kept here again.
    until("it is kept again", SOON, async || is_kept(&far, "/serve/1")).await;
}

#[tokio::test]
async fn without_redis_an_invalidation_holds_where_it_was_told() {
    let _along = along().await;
    let (versions, mut server) = (Versions::kept(), Server::start(&[]).await);
    let instances = three(&versions, &server).await;
    for instance in &instances {
        assert!(is_kept(instance, "/serve/1"));
    }
    server.kill();
    versions.change();
    for wait in ["log", "all"] {
        let answer = invalidate(&instances[0], &json!({"tags": ["item:1"], "wait": wait}));
        assert_eq!(answer.status, 503, "{wait}: {answer:?}");
        assert!(is_new(&instances[0], &versions, "/serve/1"), "{wait}");
    }
    assert_eq!(invalidate(&instances[0], &json!({"tags": ["item:1"], "wait": "self"})).status, 200);
    server.start_again().await;
    for instance in &instances {
        until("all have heard of it", SOON, async || is_new(instance, &versions, "/serve/1")).await;
    }
    is_acknowledged(&instances[1], &["item:1"]).await;
}

#[tokio::test]
async fn who_is_stopped_is_named_and_then_no_longer_waited_for() {
    let _along = along().await;
    let (versions, server) = (Versions::kept(), Server::start(&[]).await);
    let instances = three(&versions, &server).await;
    let [one, _, stopped] = &instances;
    for instance in &instances {
        assert!(is_kept(instance, "/bypass/1"));
    }
    let all = names(&is_acknowledged(one, &["nothing"]).await, "applied");
    assert_eq!(all.len(), 3, "{all:?}");
    stopped.signal("-STOP");
    let began = Instant::now();
    versions.change();
    let late = invalidate(one, &json!({"tags": ["item:1"], "wait": "all", "timeout": "1s"}));
    let took = began.elapsed();
    assert_eq!(late.status, 504, "{late:?}");
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(2), "{took:?}");
    let told = receipt(&late);
    let (applied, lagging) = (names(&told, "applied"), names(&told, "lagging"));
    assert_eq!((applied.len(), lagging.len()), (2, 1), "{told}");
    assert!(applied.iter().chain(&lagging).all(|name| all.contains(name)), "{told} of {all:?}");

    let met = invalidate(one, &json!({"tags": ["item:1"], "wait": "all", "timeout": "9s"}));
    let took = began.elapsed();
    println!("stopped: no longer waited for after {took:.1?}");
    assert_eq!((met.status, names(&receipt(&met), "applied")), (200, applied), "{met:?}");
    // It may have been silent for a second before it was stopped.
    assert!(took + Duration::from_millis(1200) > LEASE && took < LEASE + SLACK, "{took:?}");

    // Asked while it sleeps, it must know when it wakes.
    let mut early = stopped.connect();
    early.ask("/bypass/1", &[]).unwrap();
    stopped.signal("-CONT");
    let response = early.read_response().unwrap();
    assert!(versions.is_new(&response), "{response:?}");
    until("all three are waited for again", SOON, async || {
        names(&is_acknowledged(one, &["nothing"]).await, "applied") == all
    })
    .await;
}

#[tokio::test]
async fn an_instance_that_has_not_read_the_log_says_so_and_serves() {
    let _along = along().await;
    let (versions, server) = (Versions::kept(), Server::start(&[]).await);
    server.hang();
    let larder = started_before(&versions.origin, server.port, ROUTES);
    let says = |what: &str| reasons(&larder).iter().any(|reason| reason.starts_with(what));
    assert!(says("log: "), "{:?}", reasons(&larder));
    assert!(is_new(&larder, &versions, "/serve/1"));
    // A Redis that is not there keeps nobody from being asked.
    until("it is ready all the same", SOON, async || says("cut-off")).await;
    assert!(is_new(&larder, &versions, "/serve/1"));
    assert_eq!(larder.admin("/health/live", &[]).status, 200);
    server.go_on();
    let began = Instant::now();
    are_ready(&[&larder]).await;
    println!("ready {:.1?} after Redis went on", began.elapsed());
    assert!(is_kept(&larder, "/serve/1"));
}

#[tokio::test]
async fn without_a_redis_there_is_nobody_else_to_wait_for() {
    let _along = along().await;
    let versions = Versions::kept();
    let larder = Larder::before(&versions.origin, ROUTES);
    assert_eq!(larder.admin("/health/ready", &[]).status, 200);
    for wait in ["self", "log", "all"] {
        assert!(is_kept(&larder, "/bypass/1"));
        versions.change();
        let began = Instant::now();
        let answer = invalidate(&larder, &json!({"tags": ["item:1"], "wait": wait}));
        assert_eq!(
            (answer.status, names(&receipt(&answer), "applied").len()),
            (200, 1),
            "{wait}: {answer:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(1), "{wait}: {:?}", began.elapsed());
        assert!(is_new(&larder, &versions, "/bypass/1"), "{wait}");
    }
}
