//! How an instance answers: memory, fetches that others join, the shared tier, changes that go through.
//!
//! Requests themselves are not steps but where they take time: in each state the judge asks what one that came now would be
//! given. A 304 is a fetch like any other: what it confirms is what the upstream has.

use larder::invalidation::{Fate, Watched};

use crate::mutation::Mutation;
use crate::steps::Step;
use crate::world::{Entry, Flight, Named, Put, Request, State, World, Written};

impl World {
    pub fn steps_of_serving(&self, state: &State, by: usize, steps: &mut Vec<Step>) {
        let (at, left) = (&state.at[by], &state.left);
        for key in 0..self.keys {
            let is_kept = at.live(key).is_some();
            let is_under_way =
                at.flights.iter().any(|flight| flight.key == key && self.may_join(state, by, flight));
            if self.fetches[by] && left.fetches > 0 && !is_kept && !is_under_way {
                steps.push(Step::Begin(by, key));
            }
            if self.has_second && !at.is_cut {
                if at.queue[key].is_some() {
                    steps.push(Step::WriteSecond(by, key));
                }
                let is_there = state.redis.second[key].is_some() && at.looks[key].is_none();
                if left.looks > 0 && !is_kept && is_there && self.is_trusted(state, by) {
                    steps.push(Step::Look(by, key));
                }
            }
            if at.looks[key].is_some() {
                steps.push(Step::Promote(by, key));
            }
            if left.requests > 0 && state.request.is_none() && state.promised[key] > 0 {
                steps.push(Step::Ask(by, key));
            }
            if self.declares[by] && left.puts > 0 {
                steps.push(Step::Put(by, key));
            }
            if self.declares[by] && left.writes > 0 {
                steps.extend(self.names.iter().map(|named| Step::Declare(by, key, *named)));
            }
        }
        let landed = at.flights.iter().enumerate().filter(|(_, flight)| flight.version.is_some());
        steps.extend(landed.map(|(number, _)| Step::Land(by, number)));
        let answered = at.puts.iter().enumerate().filter(|(_, put)| put.event.is_none());
        steps.extend(answered.map(|(number, _)| Step::Answered(by, number)));
        if state.request.as_ref().is_some_and(|request| request.by == by) {
            steps.push(Step::Reply);
        }
    }

    /// Whether a request that comes now joins it.
    pub fn may_join(&self, state: &State, by: usize, flight: &Flight) -> bool {
        let is_live = || {
            let labels = Self::labels_of_request(flight.key);
            state.at[by].ledger.fate(&labels, flight.stamp) != Fate::Dead
        };
        !flight.is_retired && (!flight.has_learnt || self.has(Mutation::JoiningUnchecked) || is_live())
    }

    /// Whether one that joined is given what it brings, as things stand.
    pub fn is_given(&self, state: &State, by: usize, flight: &Flight) -> bool {
        let is_unchecked = self.has(Mutation::JoiningUnchecked) || self.has(Mutation::LandingUnchecked);
        !flight.has_learnt || is_unchecked || state.at[by].is_live(flight.key, flight.stamp)
    }

    pub fn begin(state: &mut State, by: usize, key: usize) {
        state.left.fetches -= 1;
        state.at[by].change(|at| {
            at.flights.iter_mut().filter(|flight| flight.key == key).for_each(|one| one.is_retired = true);
            let stamp = at.ledger.stamp();
            at.flights.push(Flight { key, stamp, has_learnt: false, version: None, is_retired: false });
        });
    }

    pub fn land(&self, state: &mut State, by: usize, number: usize) {
        state.at[by].change(|at| {
            let Flight { key, stamp, version, .. } = at.flights.remove(number);
            let Some(version) = version else { return };
            let stamp = if self.has(Mutation::StampedAfterTheFetch) { at.ledger.stamp() } else { stamp };
            let entry = Some(Entry { version, stamp });
            at.memory[key] = entry;
            if self.has_second {
                at.queue[key] = entry;
            }
        });
    }

    pub fn write_second(&self, state: &mut State, by: usize, key: usize) {
        let Some(Entry { version, stamp }) = state.at[by].change(|at| at.queue[key].take()) else { return };
        let at = &state.at[by];
        let stamp = if self.has(Mutation::WrittenRestamped) { at.ledger.stamp() } else { stamp };
        let place = at.ledger.place_of(stamp).filter(|_| at.is_live(key, stamp));
        if let Some((epoch, position)) = place {
            let written = Written { version, epoch, position };
            state.redis.change(|redis| redis.second[key] = Some(written));
        }
    }

    pub fn look(state: &mut State, by: usize, key: usize) {
        state.left.looks -= 1;
        let written = state.redis.second[key];
        state.at[by].change(|at| at.looks[key] = written);
    }

    pub fn promote(&self, state: &mut State, by: usize, key: usize) {
        let found = state.at[by].looks[key].and_then(|written| self.open(state, by, key, written));
        state.at[by].change(|at| {
            at.looks[key] = None;
            if found.is_some() {
                at.memory[key] = found;
            }
        });
    }

    /// What lies in the shared tier, as an entry of this instance; none: it may not be used.
    pub fn open(&self, state: &State, by: usize, key: usize, written: Written) -> Option<Entry> {
        let at = &state.at[by];
        let Written { version, epoch, position } = written;
        let stamp = at.ledger.stamp_of(epoch, position)?;
        if self.has(Mutation::PromotionRestamps) {
            return Some(Entry { version, stamp: at.ledger.stamp() });
        }
        at.is_live(key, stamp).then_some(Entry { version, stamp })
    }

    /// A request that takes its time: first it is seen whether memory may be believed, then what is there.
    pub fn ask(&self, state: &mut State, by: usize, key: usize) {
        state.left.requests -= 1;
        let is_trusted = self.is_trusted(state, by);
        let kept = if self.has(Mutation::TrustAskedLast) { state.at[by].live(key) } else { None };
        state.request = Some(Request { by, key, promised: state.promised[key], is_trusted, kept });
    }

    pub fn reply(&self, state: &mut State) -> Result<(), String> {
        let Some(Request { by, key, promised, mut is_trusted, mut kept }) = state.request.take() else {
            return Ok(());
        };
        if self.has(Mutation::TrustAskedLast) {
            is_trusted = self.is_trusted(state, by);
        } else {
            kept = state.at[by].live(key);
        }
        match kept.filter(|_| is_trusted) {
            Some(version) if version < promised => {
                Err(format!("a request was given version {version} out of memory, {promised} was promised"))
            }
            _ => Ok(()),
        }
    }

    pub fn put(state: &mut State, by: usize, key: usize) {
        state.left.puts -= 1;
        state.upstream[key] += 1;
        let version = state.upstream[key];
        state.at[by].change(|at| {
            let before = at.ledger.stamp();
            at.puts.push(Put { key, before, version, event: None });
        });
    }

    pub fn put_answered(&self, state: &mut State, by: usize, number: usize) {
        let id = state.new_event();
        state.at[by].change(|at| {
            let Put { key, before, .. } = at.puts[number];
            at.puts[number].event = Some(id);
            let labels = if self.has(Mutation::PutWatchedByUri) {
                Self::labels_of_request(key)
            } else {
                Self::labels(key)
            };
            let event = Self::event(key, Named::Request);
            at.learn(|ledger| ledger.declare(id, event, Some(Watched { labels: Some(labels), before })));
        });
    }
}
