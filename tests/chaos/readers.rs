//! Those who ask, over connections that they keep for a while, a few requests ahead of the answers.
//!
//! Of an instance that is silent something more is asked from time to time all the same: a process that was stopped finds requests
//! that were sent at any time of its sleep.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::backend::Said;
use crate::dice::Dice;
use crate::line::{Line, Message};
use crate::things::{KEYS, KINDS, Thing};
use crate::truth::Asked;
use crate::world::{INSTANCES, World};

pub const READERS: u64 = 24;
/// How many requests are sent ahead.
const AHEAD: usize = 3;
/// How long an instance is silent until it is asked the next.
const SILENCE: Duration = Duration::from_millis(250);
/// How many answers may be missing until the connection is given up: those of twelve seconds.
const MISSING_MAX: usize = 48;
/// With an instance that has nothing to be slow for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Until it is over.
pub async fn read(world: Arc<World>, number: u64) {
    let mut dice = world.dice(number);
    while !world.is_over() {
        let instance = dice.index(INSTANCES);
        let Ok(Ok(line)) = timeout(SILENCE, Line::connect(world.place(instance).clients)).await else {
            world.tally.read_errors.more();
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        if converse(&world, instance, line, &mut dice).await.is_err() {
            world.tally.read_errors.more();
        }
    }
}

/// Some hundred requests over one connection.
async fn converse(world: &World, instance: usize, mut line: Line, dice: &mut Dice) -> io::Result<()> {
    let mut left = 50 + dice.below(300);
    let mut missing = VecDeque::new();
    let host = world.place(instance).clients;
    loop {
        while missing.len() < AHEAD && left > 0 && !world.is_over() {
            left -= 1;
            missing.push_back(ask(world, instance, &mut line, dice, &host.to_string()).await?);
        }
        let Some(first) = missing.front() else { return Ok(()) };
        match timeout(SILENCE, line.receive()).await {
            Ok(answer) => {
                judge(world, first, &answer?);
                missing.pop_front();
                if missing.is_empty() {
                    sleep(dice.millis(2, 20)).await;
                }
            }
            Err(_) if missing.len() < MISSING_MAX && !world.is_over() => {
                missing.push_back(ask(world, instance, &mut line, dice, &host.to_string()).await?);
            }
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

async fn ask(
    world: &World,
    instance: usize,
    line: &mut Line,
    dice: &mut Dice,
    host: &str,
) -> io::Result<Asked> {
    // Some keys are more wanted than others.
    let key = dice.index(KEYS).min(dice.index(KEYS));
    let thing = Thing { kind: KINDS[dice.index(KINDS.len())], key };
    let asked = world.truth.ask(thing, instance);
    let request = format!("GET {thing} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    timeout(SILENCE, line.send(request.as_bytes())).await??;
    Ok(asked)
}

/// Each thing by each instance once, when all is well again.
pub async fn read_all(world: &World) -> io::Result<()> {
    for instance in 0..INSTANCES {
        let address = world.place(instance).clients;
        let mut line = Line::connect(address).await?;
        for thing in Thing::all() {
            let asked = world.truth.ask(thing, instance);
            line.send(format!("GET {thing} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
            let answer = timeout(PATIENCE, line.receive()).await??;
            judge(world, &asked, &answer);
        }
    }
    Ok(())
}

/// Holds an answer against the truth.
fn judge(world: &World, asked: &Asked, answer: &Message) {
    let (tally, status) = (&world.tally, answer.status());
    if status != 200 {
        if (502..=504).contains(&status) {
            tally.failures.more();
        } else {
            world.truth.violated(&format!("{}: {}\n{}", asked.thing, answer.head, answer.text()));
        }
        return;
    }
    let cache_status = answer.field("cache-status").unwrap_or_default();
    let Some(said) = Said::from_json(&answer.body).filter(|said| said.key == asked.thing.key) else {
        world.truth.violated(&format!(
            "not what was asked for, {asked:?}: {}\n{}",
            answer.head,
            answer.text()
        ));
        return;
    };
    tally.reads.more();
    if cache_status.starts_with("larder; hit") {
        tally.hits.more();
        if cache_status.ends_with("detail=redis") {
            tally.shared_hits.more();
        }
    }
    if cache_status.ends_with("detail=cut-off") {
        tally.cut_off.more();
    }
    world.truth.answered(asked, said.version, || {
        let age = world.backend.looked_up_at(said.look_up).map(|at| at.elapsed());
        format!(
            "{cache_status}; looked up {age:.3?} before the answer was read ({said:?}); Age {:?}",
            answer.field("age")
        )
    });
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::truth::Acknowledgement;

    /// Answers every request with version 1.
    async fn forgetful() -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut line = Line::new(stream).unwrap();
                tokio::spawn(async move {
                    while let Ok(request) = line.receive().await {
                        let key = Thing::from_path(request.asked().1).unwrap().key;
                        let body = format!("{{\"key\":{key},\"version\":1,\"look_up\":0}}");
                        let length = body.len();
                        let answer = format!(
                            "HTTP/1.1 200 OK\r\nCache-Status: larder; hit; ttl=9; detail=memory\r\n\
                             Content-Length: {length}\r\n\r\n{body}"
                        );
                        line.send(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        address
    }

    /// Breaks what is tested on purpose: an instance that has never heard of an invalidation.
    #[tokio::test]
    async fn a_stale_answer_is_caught() {
        let world = World::bare(forgetful().await).await;
        let mut dice = world.dice(1);
        let converse = async |dice: &mut Dice| {
            let line = Line::connect(world.place(0).clients).await.unwrap();
            converse(&world, 0, line, dice).await.unwrap();
        };
        converse(&mut dice).await;
        assert_eq!(world.truth.violations(), [""; 0]);
        assert!(world.tally.reads.get() >= 50 && world.tally.hits.get() == world.tally.reads.get());
        let (sent, answered) = (std::time::Instant::now(), std::time::Instant::now());
        let raises = Thing::of_key(0).map(|thing| (thing, 2)).collect();
        world.truth.acknowledge(Acknowledgement { words: "item:0".to_owned(), sent, answered, raises });
        converse(&mut dice).await;
        let violations = world.truth.violations();
        let [violation, ..] = &violations[..] else { panic!("it was not noticed") };
        assert!(violation.contains("has version 1, 2 was acknowledged"), "{violation}");
    }
}
