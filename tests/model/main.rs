//! The cache against an executable model of HTTP caching: random histories of what an origin answers, what clients ask and how
//! time passes, played against the real proxy, and every answer judged.
//!
//! `law` is the model; it knows the RFCs and nothing of `larder::semantics`. `alphabet` says what histories are made of,
//! `server` is a correct origin, `history` all that a cache may have made of what it saw, `judge` holds an answer against
//! both, `play` runs a history. A failure prints the shortest history found, as a scenario, and the seed.
//!
//! A target of its own, so that more of it can be run alone: `MODEL_CASES=20000 cargo test --test model`. The world is that
//! of the behaviour tests.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test a failure is the message"
)]

#[expect(dead_code, reason = "the behaviour tests use the rest")]
#[path = "../behaviour/body.rs"]
mod body;
#[expect(dead_code, reason = "the behaviour tests use the rest")]
#[path = "../behaviour/client.rs"]
mod client;
#[expect(dead_code, reason = "the behaviour tests use the rest")]
#[path = "../behaviour/journal.rs"]
mod journal;
#[expect(dead_code, reason = "the behaviour tests use the rest")]
#[path = "../behaviour/origin.rs"]
mod origin;
#[expect(dead_code, reason = "the behaviour tests use the rest")]
#[path = "../behaviour/tier.rs"]
mod tier;
#[expect(dead_code, reason = "the behaviour tests use the rest")]
#[path = "../behaviour/world.rs"]
mod world;

mod alphabet;
mod fields;
mod history;
mod judge;
mod law;
mod play;
mod server;

use std::cell::RefCell;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::alphabet::{Focus, case};
use crate::judge::Way;
use crate::play::{Tally, play};

/// A write makes what is stored for its URI invalid (RFC 9111, 4.4).
const UNSAFE_METHODS_INVALIDATE: bool = true;

/// … and what is stored of its groups (RFC 9875, 3). Larder reads them and does not act on them yet.
const GROUPS_INVALIDATE: bool = false;

/// `CDN-Cache-Control` governs where it is there (RFC 9213).
const TARGETED_FIELDS: bool = true;

/// Every run plays the same histories; `MODEL_SEED` plays others.
const SEED: u64 = 9_439_741_675_457_871_489;
/// Histories, where nobody wants more.
const CASES: u32 = 150;
const STEPS_MAX: usize = 20;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Plays histories of this kind; returns how often each way was gone.
fn hold(focus: Focus) -> Tally {
    let cases = number("MODEL_CASES").or(number("PROPTEST_CASES"));
    let seed = number("MODEL_SEED").unwrap_or(SEED);
    let config = Config {
        cases: cases.map_or(CASES, |cases| u32::try_from(cases).unwrap()),
        failure_persistence: None,
        max_shrink_iters: 50_000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let total = RefCell::new(Tally::new());
    let result = runner.run(&case(focus, STEPS_MAX), |case| {
        let tally = play(&case).map_err(TestCaseError::fail)?;
        for (way, count) in tally {
            *total.borrow_mut().entry(way).or_default() += count;
        }
        Ok(())
    });
    match result {
        Ok(()) => total.into_inner(),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
        Err(TestError::Fail(reason, shortest)) => {
            let told = play(&shortest).err().unwrap_or_else(|| format!("{reason}\nbut not the second time"));
            panic!("MODEL_SEED={seed} plays this again\n\n{told}")
        }
    }
}

/// That a kind of history is not one in which nothing happens.
#[expect(clippy::print_stdout, reason = "a figure that the tests measure")]
fn assert_gone(tally: &Tally, ways: &[Way]) {
    println!("{tally:?}");
    for way in ways {
        assert!(tally.get(way).is_some_and(|count| *count > 2), "hardly ever {way:?}: {tally:?}");
    }
}

#[test]
fn lifetimes_ages_and_what_clients_ask_of_caches() {
    let tally = hold(Focus { lifetimes: true, failures: true, ..Focus::default() });
    assert_gone(&tally, &[Way::OwedHit, Way::Forwarded, Way::Refused]);
}

#[test]
fn answers_past_their_lifetime() {
    let tally = hold(Focus { staleness: true, failures: true, ..Focus::default() });
    assert_gone(&tally, &[Way::OwedHit, Way::Forwarded, Way::Stale, Way::Validated]);
}

#[test]
fn fields_that_are_oddly_written() {
    let tally = hold(Focus { lifetimes: true, odd: true, ..Focus::default() });
    assert_gone(&tally, &[Way::OwedHit, Way::Forwarded]);
}

#[test]
fn validators_and_conditions() {
    let tally = hold(Focus { validators: true, failures: true, ..Focus::default() });
    assert_gone(&tally, &[Way::OwedHit, Way::Forwarded]);
}

#[test]
fn parts() {
    let tally = hold(Focus { parts: true, ..Focus::default() });
    assert_gone(&tally, &[Way::OwedHit, Way::Hit, Way::Forwarded, Way::Validated]);
}

#[test]
fn variants() {
    let tally = hold(Focus { variants: true, ..Focus::default() });
    assert_gone(&tally, &[Way::OwedHit, Way::Forwarded]);
}

#[test]
fn callers() {
    let tally = hold(Focus { callers: true, lifetimes: true, ..Focus::default() });
    assert_gone(&tally, &[Way::OwedHit, Way::Forwarded]);
}

#[test]
fn writes() {
    let tally = hold(Focus { writes: true, ..Focus::default() });
    assert_gone(&tally, &[Way::OwedHit, Way::Forwarded]);
}

#[test]
fn herds() {
    let tally =
        hold(Focus { herds: true, callers: true, variants: true, validators: true, ..Focus::default() });
    assert_gone(&tally, &[Way::OwedHit, Way::Forwarded, Way::Validated]);
}

#[test]
fn all_at_once() {
    let all = Focus {
        odd: true,
        lifetimes: true,
        failures: true,
        validators: true,
        parts: true,
        variants: true,
        callers: true,
        writes: true,
        herds: true,
        targeted: true,
        // Narrower than `lifetimes`.
        staleness: false,
    };
    let tally = hold(all);
    assert_gone(&tally, &[Way::Hit, Way::OwedHit, Way::Forwarded]);
}
