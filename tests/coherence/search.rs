//! The search: all states that a model can come to, breadth first, each once; so the first wrong one has the shortest way.
//!
//! States are told apart by a digest of 64 bits: of a million, two are taken for one by a chance of one in 40 million, and then
//! one of them is not gone on from.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// What is searched.
pub trait Model {
    type State: Clone + Hash;
    type Step: Copy;

    fn start(&self) -> Self::State;

    /// All that can happen next.
    fn steps(&self, state: &Self::State) -> Vec<Self::Step>;

    /// What comes of it; or why that must not be.
    fn take(&self, state: &Self::State, step: Self::Step) -> Result<Self::State, String>;

    /// Why this must not be, if it must not; else what is worth counting in it.
    fn judge(&self, state: &Self::State) -> Result<Vec<&'static str>, String>;
}

/// What came of a search.
pub struct Found<Step> {
    pub states: usize,
    pub steps: usize,
    pub depth: usize,
    /// In how many states something was met.
    pub met: BTreeMap<&'static str, usize>,
    /// The shortest way to a state that must not be, and why.
    pub wrong: Option<(Vec<Step>, String)>,
    /// There are more.
    pub is_cut_short: bool,
    /// From so many states no step leads on, or only in circles, and yet what should come has not.
    pub stuck: usize,
}

/// How a state was come to first.
struct Way<Step> {
    from: usize,
    step: Option<Step>,
    depth: usize,
}

/// `goal`: what each state must be able to come to, if that is asked.
pub fn search<M: Model>(model: &M, states_max: usize, goal: Option<&'static str>) -> Found<M::Step> {
    let mut found = Found {
        states: 0,
        steps: 0,
        depth: 0,
        met: BTreeMap::new(),
        wrong: None,
        is_cut_short: false,
        stuck: 0,
    };
    let start = model.start();
    let mut known = HashMap::from([(digest(&start), 0)]);
    let mut ways = vec![Way { from: 0, step: None, depth: 0 }];
    let mut back: Vec<Vec<usize>> = vec![Vec::new()];
    let mut reached = Vec::new();
    let mut next = VecDeque::from([(0, start)]);
    while let Some((number, state)) = next.pop_front() {
        found.depth = ways[number].depth;
        match model.judge(&state) {
            Ok(met) => {
                if goal.is_some_and(|goal| met.contains(&goal)) {
                    reached.push(number);
                }
                for what in met {
                    *found.met.entry(what).or_default() += 1;
                }
            }
            Err(why) => {
                found.wrong = Some((way(&ways, number), why));
                break;
            }
        }
        for step in model.steps(&state) {
            found.steps += 1;
            let after = match model.take(&state, step) {
                Ok(after) => after,
                Err(why) => {
                    let steps = way(&ways, number).into_iter().chain([step]).collect();
                    found.wrong = Some((steps, why));
                    break;
                }
            };
            let to = *known.entry(digest(&after)).or_insert(ways.len());
            if to == ways.len() {
                if ways.len() >= states_max {
                    found.is_cut_short = true;
                    break;
                }
                ways.push(Way { from: number, step: Some(step), depth: ways[number].depth + 1 });
                back.push(Vec::new());
                next.push_back((to, after));
            }
            if goal.is_some() {
                back[to].push(number);
            }
        }
        if found.wrong.is_some() || found.is_cut_short {
            break;
        }
    }
    found.states = ways.len();
    if goal.is_some() {
        found.stuck = ways.len() - can_reach(&back, reached);
    }
    found
}

/// How many states lead to one of these.
fn can_reach(back: &[Vec<usize>], mut open: Vec<usize>) -> usize {
    let mut can = vec![false; back.len()];
    for number in &open {
        can[*number] = true;
    }
    while let Some(number) = open.pop() {
        for from in &back[number] {
            if !can[*from] {
                can[*from] = true;
                open.push(*from);
            }
        }
    }
    can.into_iter().filter(|can| *can).count()
}

fn way<Step: Copy>(ways: &[Way<Step>], mut number: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    while let Some(step) = ways[number].step {
        steps.push(step);
        number = ways[number].from;
    }
    steps.reverse();
    steps
}

fn digest(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A part of a state: shared by all states in which it is the same, with its digest.
#[derive(Clone, Debug)]
pub struct Part<T> {
    value: Arc<T>,
    digest: u64,
}

impl<T: Clone + Hash> Part<T> {
    pub fn new(value: T) -> Self {
        let digest = digest(&value);
        Self { value: Arc::new(value), digest }
    }

    pub fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let value = Arc::make_mut(&mut self.value);
        let result = change(value);
        self.digest = digest(value);
        result
    }
}

impl<T> Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Hash for Part<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}
