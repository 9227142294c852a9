//! Those who change things and say so: to any instance, in all the ways there are, until they are told that it is done.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::dice::Dice;
use crate::line::{Line, Message};
use crate::things::{KEYS, KINDS, Kind, Thing};
use crate::truth::Acknowledgement;
use crate::world::{INSTANCES, World};

pub const WRITERS: u64 = 32;
/// Between two of one writer.
const PAUSE: (u64, u64) = (50, 200);
/// What a sender asks for, …
const TIMEOUT: &str = "5s";
/// … and how long it waits for the answer.
const PATIENCE: Duration = Duration::from_secs(8);
const TRIES: usize = 4;

/// What is said, and of what.
struct Order {
    what: &'static str,
    request: Request,
    things: Vec<Thing>,
}

enum Request {
    Invalidate(Value),
    Purge(Thing),
}

/// How it went.
enum Outcome {
    Acknowledged(Message),
    NotLogged,
    Late,
}

/// Until it is over.
pub async fn write(world: Arc<World>, number: u64) {
    let mut dice = world.dice(number);
    let mut lines: [Option<Line>; INSTANCES] = Default::default();
    while !world.is_over() {
        sleep(dice.millis(PAUSE.0, PAUSE.1)).await;
        match dice.below(20) {
            0..=1 => change(&world, &mut dice).await,
            2 => soften(&world, &mut lines, &mut dice).await,
            _ => {
                let order = Order::any(&mut dice);
                invalidate(&world, &order, &mut lines, &mut dice).await;
            }
        }
    }
}

/// Changes all that the order names, and says so until it is acknowledged, or has been tried often enough.
async fn invalidate(
    world: &World,
    order: &Order,
    lines: &mut [Option<Line>; INSTANCES],
    dice: &mut Dice,
) -> bool {
    let mut versions = [None; KEYS];
    for thing in &order.things {
        versions[thing.key].get_or_insert_with(|| world.backend.change(thing.key));
    }
    let raises: Vec<(Thing, u64)> =
        order.things.iter().filter_map(|thing| Some((*thing, versions[thing.key]?))).collect();
    for _ in 0..TRIES {
        let instance = dice.index(INSTANCES);
        let sent = Instant::now();
        match tell(world, instance, &order.request, lines).await {
            Ok(Outcome::Acknowledged(message)) => {
                world.tally.acknowledged(order.what, sent.elapsed());
                let words = format!("{} by instance {instance}: {}", order.request.body(), message.text());
                let answered = Instant::now();
                world.truth.acknowledge(Acknowledgement { words, sent, answered, raises });
                return true;
            }
            Ok(Outcome::NotLogged) => world.tally.not_logged.more(),
            Ok(Outcome::Late) => world.tally.late.more(),
            Err(_) => {
                lines[instance] = None;
                world.tally.write_errors.more();
            }
        }
        if world.is_over() {
            break;
        }
        sleep(dice.millis(50, 300)).await;
    }
    false
}

/// To one instance.
async fn tell(
    world: &World,
    instance: usize,
    request: &Request,
    lines: &mut [Option<Line>; INSTANCES],
) -> io::Result<Outcome> {
    let answer = exchange(world, instance, request, lines).await?;
    match answer.status() {
        200 => {
            let receipt: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let applied = receipt["applied"].as_array().map_or(0, Vec::len);
            if receipt["lagging"] != json!([]) || applied == 0 || !receipt["position"].is_string() {
                world.truth.violated(&format!("200, and yet: {}", answer.text()));
            }
            Ok(Outcome::Acknowledged(answer))
        }
        503 => Ok(Outcome::NotLogged),
        504 => Ok(Outcome::Late),
        _ => {
            let said = format!("{}: {}\n{}", request.body(), answer.head, answer.text());
            world.truth.violated(&said);
            Err(io::Error::other(said))
        }
    }
}

/// A change through a proxy, which tells the others of it.
async fn change(world: &World, dice: &mut Dice) {
    // What is kept of the answer is the subtlest of it.
    let kind = if dice.one_in(2) { Kind::Through } else { KINDS[dice.index(KINDS.len())] };
    let thing = Thing { kind, key: dice.index(KEYS).min(dice.index(KEYS)) };
    let address = world.place(dice.index(INSTANCES)).clients;
    let changing = async {
        let mut line = Line::connect(address).await?;
        let request = format!("PUT {thing} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 2\r\n\r\n{{}}");
        line.send(request.as_bytes()).await?;
        line.receive().await
    };
    match timeout(PATIENCE, changing).await {
        Ok(Ok(answer)) if answer.status() == 200 => world.tally.changes.more(),
        _ => world.tally.write_errors.more(),
    }
}

/// What nobody watches.
async fn soften(world: &World, lines: &mut [Option<Line>; INSTANCES], dice: &mut Dice) {
    let tag = format!("soft:{}", dice.below(5));
    let request = Request::Invalidate(json!({"tags": [tag], "soft": true, "wait": "log"}));
    let instance = dice.index(INSTANCES);
    match exchange(world, instance, &request, lines).await {
        Ok(_) => world.tally.soft.more(),
        Err(_) => lines[instance] = None,
    }
}

/// Over the connection that there is, or a new one.
async fn exchange(
    world: &World,
    instance: usize,
    request: &Request,
    lines: &mut [Option<Line>; INSTANCES],
) -> io::Result<Message> {
    let admin = world.place(instance).admin;
    let line = match &mut lines[instance] {
        Some(line) => line,
        none => none.insert(timeout(PATIENCE, Line::connect(admin)).await??),
    };
    line.send(&request.bytes(&admin.to_string())).await?;
    timeout(PATIENCE, line.receive()).await?
}

impl Order {
    /// Mostly by a tag.
    fn any(dice: &mut Dice) -> Self {
        let key = dice.index(KEYS).min(dice.index(KEYS));
        let thing = Thing { kind: KINDS[dice.index(KINDS.len())], key };
        let invalidate = |what, mut body: Value, things| {
            body["wait"] = "all".into();
            body["timeout"] = TIMEOUT.into();
            Self { what, request: Request::Invalidate(body), things }
        };
        match dice.below(100) {
            0..=9 => Self { what: "PURGE", request: Request::Purge(thing), things: vec![thing] },
            10..=14 => invalidate("path", json!({"paths": [thing.to_string()]}), vec![thing]),
            15..=24 => invalidate("prefix", json!({"prefixes": [thing.prefix()]}), vec![thing]),
            25..=29 => {
                let keys = [key, (key + 1) % KEYS];
                let things = keys.into_iter().flat_map(Thing::of_key).collect();
                invalidate("tags", json!({"tags": keys.map(|key| format!("item:{key}"))}), things)
            }
            30..=31 => {
                invalidate("route", json!({"routes": [thing.kind.name()]}), thing.kind.things().collect())
            }
            32 => invalidate("all", json!({"all": true}), Thing::all().collect()),
            _ => Self::tag(key),
        }
    }

    fn tag(key: usize) -> Self {
        let body = json!({"tags": [format!("item:{key}")], "wait": "all", "timeout": TIMEOUT});
        Self { what: "tag", request: Request::Invalidate(body), things: Thing::of_key(key).collect() }
    }
}

impl Request {
    fn body(&self) -> String {
        match self {
            Self::Invalidate(body) => body.to_string(),
            Self::Purge(thing) => format!("PURGE {thing}"),
        }
    }

    fn bytes(&self, host: &str) -> Vec<u8> {
        match self {
            Self::Invalidate(body) => {
                let body = body.to_string();
                let length = body.len();
                format!(
                    "POST /invalidate HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
                     Content-Length: {length}\r\n\r\n{body}"
                )
            }
            Self::Purge(thing) => format!("PURGE {thing} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        }
        .into_bytes()
    }
}

/// Once all is well again: each key is invalidated by each instance in turn and acknowledged, within this time.
pub async fn all_are_acknowledged(world: &World, within: Duration) -> Result<(), String> {
    let mut lines: [Option<Line>; INSTANCES] = Default::default();
    let began = Instant::now();
    for instance in 0..INSTANCES {
        for key in 0..KEYS {
            let order = Order::tag(key);
            loop {
                if began.elapsed() > within {
                    return Err(format!("item:{key} by instance {instance} not within {within:?}"));
                }
                let versions: Vec<_> = {
                    let version = world.backend.change(key);
                    order.things.iter().map(|thing| (*thing, version)).collect()
                };
                let sent = Instant::now();
                match tell(world, instance, &order.request, &mut lines).await {
                    Ok(Outcome::Acknowledged(message)) => {
                        world.tally.acknowledged("at the end", sent.elapsed());
                        let words = message.text();
                        let answered = Instant::now();
                        world.truth.acknowledge(Acknowledgement { words, sent, answered, raises: versions });
                        break;
                    }
                    Ok(_) => sleep(Duration::from_millis(50)).await,
                    Err(_) => lines[instance] = None,
                }
            }
        }
    }
    Ok(())
}

#[test]
fn an_order_names_what_it_invalidates() {
    let mut dice = Dice::new(1, 1);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        let order = Order::any(&mut dice);
        seen.insert(order.what);
        assert!(!order.things.is_empty(), "{}", order.request.body());
        if let ("tag", Request::Invalidate(body)) = (order.what, &order.request) {
            assert_eq!(body["tags"][0], format!("item:{}", order.things[0].key));
            assert_eq!(order.things.len(), KINDS.len());
        }
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        ["PURGE", "all", "path", "prefix", "route", "tag", "tags"]
    );
    assert_eq!(Kind::Body.things().count(), KEYS);
}
