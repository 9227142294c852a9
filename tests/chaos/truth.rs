//! What must hold: no answer is older than the last version that was acknowledged before it was asked for.
//!
//! Of each thing the highest version is known whose invalidation was answered 200 with `wait = "all"`: its *floor*. A reader
//! notes the floor before it sends its request. What falls below is told with all that is known of it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Instant;

use crate::things::{THINGS, Thing};

/// One mistake is seen again and again: these are told.
const VIOLATIONS_TOLD_MAX: usize = 4;
/// How much of what happened before is told.
const INCIDENTS_TOLD: usize = 14;

pub struct Truth {
    began: Instant,
    floors: [AtomicU64; THINGS],
    acknowledgements: Mutex<Vec<Acknowledgement>>,
    incidents: Mutex<VecDeque<(Instant, String)>>,
    /// The first of them.
    violations: Mutex<Vec<String>>,
    violated: AtomicU64,
}

/// An invalidation that was answered 200.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    /// What was said to whom, and what the answer was.
    pub words: String,
    pub sent: Instant,
    pub answered: Instant,
    /// What is at least how new from now on.
    pub raises: Vec<(Thing, u64)>,
}

/// A request that is about to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub thing: Thing,
    pub instance: usize,
    pub at: Instant,
    floor: u64,
}

impl Truth {
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            floors: std::array::from_fn(|_| AtomicU64::new(0)),
            acknowledgements: Mutex::default(),
            incidents: Mutex::default(),
            violations: Mutex::default(),
            violated: AtomicU64::new(0),
        }
    }

    /// To be noted before the first byte is sent.
    pub fn ask(&self, thing: Thing, instance: usize) -> Asked {
        let floor = self.floors[thing.number()].load(SeqCst);
        Asked { thing, instance, at: Instant::now(), floor }
    }

    /// To be noted when the answer has been read.
    pub fn acknowledge(&self, acknowledgement: Acknowledgement) {
        let raises = acknowledgement.raises.clone();
        self.acknowledgements.lock().unwrap().push(acknowledgement);
        for (thing, version) in raises {
            self.floors[thing.number()].fetch_max(version, SeqCst);
        }
    }

    /// Something has happened that may be why.
    pub fn incident(&self, words: String) {
        self.incidents.lock().unwrap().push_back((Instant::now(), words));
    }

    /// An answer with this version; `more` is what else is known of it.
    pub fn answered(&self, asked: &Asked, version: u64, more: impl FnOnce() -> String) {
        if version < asked.floor {
            self.violated(&self.case(asked, version, &more()));
        }
    }

    /// Another promise than that one.
    pub fn violated(&self, words: &str) {
        self.violated.fetch_add(1, SeqCst);
        let mut violations = self.violations.lock().unwrap();
        if violations.len() < VIOLATIONS_TOLD_MAX {
            violations.push(words.to_owned());
        }
    }

    /// How many there were.
    pub fn violated_times(&self) -> u64 {
        self.violated.load(SeqCst)
    }

    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }

    fn case(&self, asked: &Asked, version: u64, more: &str) -> String {
        let since = |at: Instant| format!("{:9.4}", at.duration_since(self.began).as_secs_f64());
        let Asked { thing, instance, at, floor } = asked;
        let mut text = format!(
            "{thing} of instance {instance} has version {version}, {floor} was acknowledged\n\
             {} asked\n{} answered: {more}\n",
            since(*at),
            since(Instant::now())
        );
        let acknowledgements = self.acknowledgements.lock().unwrap();
        let raises = |acknowledgement: &&Acknowledgement| {
            acknowledgement.raises.iter().any(|(raised, to)| raised == thing && to >= floor)
        };
        if let Some(Acknowledgement { words, sent, answered, .. }) = acknowledgements.iter().find(raises) {
            let _ =
                writeln!(text, "{} invalidated, {} acknowledged: {words}", since(*sent), since(*answered));
        }
        let incidents = self.incidents.lock().unwrap();
        for (at, words) in incidents.iter().skip(incidents.len().saturating_sub(INCIDENTS_TOLD)) {
            let _ = writeln!(text, "{} {words}", since(*at));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::things::Kind;

    const THING: Thing = Thing { kind: Kind::Body, key: 3 };

    fn acknowledge(truth: &Truth, thing: Thing, version: u64) {
        let (sent, answered) = (Instant::now(), Instant::now());
        let words = format!("item:{}", thing.key);
        truth.acknowledge(Acknowledgement { words, sent, answered, raises: vec![(thing, version)] });
    }

    #[test]
    fn what_is_older_than_acknowledged_before_it_was_asked_for_is_a_violation() {
        let truth = Truth::new();
        let before = truth.ask(THING, 0);
        acknowledge(&truth, THING, 5);
        // Later ones may come first.
        acknowledge(&truth, THING, 4);
        let after = truth.ask(THING, 1);
        let other = truth.ask(Thing { kind: Kind::Plain, ..THING }, 1);
        for (asked, version) in [(before, 1), (after, 5), (after, 6), (other, 1)] {
            truth.answered(&asked, version, || unreachable!());
        }
        assert_eq!(truth.violations(), [""; 0]);
        truth.incident("FLUSHALL".to_owned());
        truth.answered(&after, 4, || "larder; hit".to_owned());
        let [violation] = &truth.violations()[..] else { panic!("{:?}", truth.violations()) };
        for words in ["/body/3/it of instance 1 has version 4, 5 was", "larder; hit", "item:3", "FLUSHALL"] {
            assert!(violation.contains(words), "{violation}");
        }
    }

    #[test]
    fn a_version_of_old_counts_until_a_newer_one_is_acknowledged() {
        let truth = Truth::new();
        for version in 1..100 {
            truth.answered(&truth.ask(THING, 0), version - 1, || unreachable!());
            acknowledge(&truth, THING, version);
        }
        assert_eq!(truth.violations(), [""; 0]);
    }
}
