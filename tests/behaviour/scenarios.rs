//! Runs every file in `tests/scenarios`: over HTTP/1 and over HTTP/2; with a shared tier behind memory, where all must be as it is
//! without one; and with one that fails.

use std::fs;
use std::path::{Path, PathBuf};

use http::HeaderMap;

use crate::client::{Answer, Transport, ask};
use crate::origin::reply;
use crate::scenario::{Exchange, Fault as Wrong, Message, Scenario, Step};
use crate::tier::{FakeTier, Fault};
use crate::world::{World, pass_seconds};

#[tokio::test(start_paused = true)]
async fn each_scenario_holds_over_http1() {
    run_all(Transport::Http1, None).await;
}

#[tokio::test(start_paused = true)]
async fn each_scenario_holds_over_http2() {
    run_all(Transport::Http2, None).await;
}

#[tokio::test(start_paused = true)]
async fn each_scenario_holds_with_a_shared_tier() {
    run_all(Transport::Http1, Some(Fault::None)).await;
}

#[tokio::test(start_paused = true)]
async fn each_scenario_holds_with_a_shared_tier_that_is_away() {
    run_all(Transport::Http1, Some(Fault::Breaks)).await;
}

/// What is not as it is without a shared tier, and why that is right.
const DIFFERENT: [(&str, &str); 2] = [
    ("range/several.txt", "the boundary is drawn, and more is drawn before it"),
    ("variants/bound.txt", "variants for which there was no room in memory are found in the shared tier"),
];

/// So much later the lease is over, which cannot be had anew.
const CUT_OFF: &str = "freshness/a_year.txt";

/// `shared`: with a shared tier that fails so, once instances have agreed.
async fn run_all(transport: Transport, shared: Option<Fault>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("tests/scenarios"), &mut files);
    files.sort();
    assert!(files.len() > 30, "only {} scenarios were found", files.len());
    let mut faults = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root).unwrap_or(&file);
        match Scenario::parse(name, &text) {
            Err(fault) => faults.push(fault.to_string()),
            Ok(_) if shared.is_some() && DIFFERENT.iter().any(|(file, _)| name.ends_with(file)) => {}
            Ok(_) if shared.is_some_and(|fault| fault != Fault::None) && name.ends_with(CUT_OFF) => {}
            Ok(scenario) => {
                let failed = run(&scenario, transport, shared).await;
                faults.extend(failed.iter().map(|fault| format!("{fault}\n    in: {}", scenario.title)));
            }
        }
    }
    assert!(faults.is_empty(), "over {transport:?}, {shared:?}:\n{}", faults.join("\n"));
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// All that did not hold in the first step that did not.
async fn run(scenario: &Scenario, transport: Transport, shared: Option<Fault>) -> Vec<Wrong> {
    let world = match shared {
        None => World::over(transport, &scenario.config),
        Some(fault) => {
            let tier = FakeTier::new();
            let world = World::sharing_over(transport, &tier, &scenario.config, 0).await;
            tier.fails(fault);
            world
        }
    };
    // What each request that is answered from the script must come with.
    let mut wanted: Vec<(&str, &Message)> = Vec::new();
    let mut checked = 0;
    for (place, step) in &scenario.steps {
        let mut wrong = match step {
            Step::Advance(seconds) => {
                pass_seconds(*seconds).await;
                Vec::new()
            }
            Step::Purge(order) => {
                world.purge(order).await;
                Vec::new()
            }
            Step::Origin(exchange) => {
                wanted.push((&exchange.target, &exchange.request));
                world.origin.on(&exchange.target, answer_of(exchange));
                Vec::new()
            }
            Step::OriginWasAsked(count) if world.origin.count() == *count => Vec::new(),
            Step::OriginWasAsked(_) => vec![format!("the origin was asked {}", world.origin.count())],
            Step::Client(exchange) => client(&world, exchange).await,
        };
        for asked in world.origin.asked().iter().skip(checked) {
            checked += 1;
            if let Some(at) = wanted.iter().position(|(target, _)| *target == asked.target) {
                let (_, message) = wanted.remove(at);
                wrong.extend(unlike(message, &asked.headers, "the origin was asked with"));
            }
        }
        wrong.extend(
            world.origin.unexpected().iter().map(|asked| format!("unexpected at the origin: {asked}")),
        );
        if !wrong.is_empty() {
            // Said here with its place; the world's end would only say it again.
            std::mem::forget(world);
            return wrong.into_iter().map(|what| Wrong { place: place.clone(), what }).collect();
        }
    }
    Vec::new()
}

fn answer_of(exchange: &Exchange) -> crate::origin::Reply {
    let fields = exchange.answer.fields.iter();
    let reply = fields.fold(reply(exchange.status), |reply, (name, value)| reply.header(name, value));
    reply.body(exchange.answer.text())
}

async fn client(world: &World, exchange: &Exchange) -> Vec<String> {
    let mut request = ask(exchange.method.as_deref().unwrap_or("GET"), &exchange.target);
    for (name, value) in &exchange.request.fields {
        request = request.header(name, value);
    }
    if !exchange.request.body.is_empty() {
        request = request.body(exchange.request.text());
    }
    match world.try_ask(request).await {
        Err(error) => vec![format!("no whole answer: {error}")],
        Ok(answer) => differences(exchange, &answer),
    }
}

fn differences(exchange: &Exchange, answer: &Answer) -> Vec<String> {
    let mut wrong = Vec::new();
    if answer.status != exchange.status {
        wrong.push(format!("the status is {}", answer.status));
    }
    wrong.extend(unlike(&exchange.answer, &answer.headers, "the answer has"));
    let expected = exchange.answer.text();
    if expected != "*" && expected.as_bytes() != answer.body {
        wrong.push(format!("the body is {:?}", String::from_utf8_lossy(&answer.body)));
    }
    wrong
}

/// What is told of these fields and does not hold.
fn unlike(message: &Message, headers: &HeaderMap, which: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let values = |name: &str| -> Vec<String> {
        let all = headers.get_all(name).iter();
        all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    };
    for (name, _) in &message.fields {
        let found = values(name);
        let told = message.fields.iter().filter(|(other, _)| other == name);
        if !told.map(|(_, value)| value).eq(&found) {
            wrong.push(format!("{which} {name}: {found:?}"));
        }
    }
    for name in &message.absent {
        let found = values(name);
        if !found.is_empty() {
            wrong.push(format!("{which} {name}: {found:?}"));
        }
    }
    wrong
}
