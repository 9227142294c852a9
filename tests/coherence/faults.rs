//! What befalls instances and Redis, and what comes by itself: time, answers of the upstream, what was sent.

use std::time::Duration;

use crate::steps::Step;
use crate::world::{CallPhase, Instance, Redis, State, World};

impl World {
    pub fn steps_beyond(&self, state: &State, steps: &mut Vec<Step>) {
        let left = &state.left;
        if left.ticks > 0 {
            steps.push(Step::Tick);
        }
        for by in 0..2 {
            self.steps_against(state, by, steps);
            let at = &state.at[by];
            let asked = at.flights.iter().enumerate().filter(|(_, flight)| flight.version.is_none());
            steps.extend(asked.map(|(number, _)| Step::Answer(by, number)));
            // Also what a process has sent that is stopped by now.
            let session = at.session.as_ref().filter(|session| session.server == state.redis.server);
            let call = session.and_then(|session| session.call.as_ref());
            if !at.is_cut && call.is_some_and(|call| matches!(call.phase, CallPhase::Going(_))) {
                steps.push(Step::Arrive(by));
            }
        }
        if !state.redis.stray.is_empty() {
            steps.push(Step::Stray);
        }
        let Some(_) = state.redis.epoch else { return };
        if left.wipes > 0 {
            steps.push(Step::Wipe);
        }
        if left.failovers > 0 {
            steps.push(Step::Failover(0));
            if state.redis.log.len() - state.redis.trimmed > 1 {
                steps.push(Step::Failover(1));
            }
        }
        if left.trims > 0 && state.redis.trimmed + 1 < state.redis.log.len() {
            steps.push(Step::Trim);
        }
    }

    fn steps_against(&self, state: &State, by: usize, steps: &mut Vec<Step>) {
        let (at, left) = (&state.at[by], &state.left);
        if at.is_stopped {
            steps.push(Step::Continue(by));
        }
        if at.is_cut {
            steps.push(Step::Heal(by));
        }
        if !self.suffers[by] {
            return;
        }
        if left.stops > 0 && !at.is_stopped {
            steps.push(Step::Stop(by));
        }
        if left.cuts > 0 && !at.is_cut {
            steps.push(Step::Cut(by));
        }
        if left.crashes > 0 {
            steps.push(Step::Crash(by));
        }
    }

    /// A lease is half over, on all clocks. Timers that are due go off, where the process runs.
    pub fn tick(state: &mut State) {
        state.left.ticks -= 1;
        state.ticks += 1;
        for by in 0..2 {
            let now = state.now(by);
            let at = &mut state.at[by];
            if !at.is_stopped && at.flag && !at.trust.holds(now) {
                at.change(|at| at.flag = false);
            }
        }
    }

    /// Nothing is left of the process but its line, and what it sent.
    pub fn crash(&self, state: &mut State, by: usize) {
        state.left.crashes -= 1;
        Self::lose(state, by);
        let times = self.left.crashes - state.left.crashes;
        let now = state.now(by) + Duration::from_secs(7);
        state.at[by].change(|at| *at = Instance { is_cut: at.is_cut, ..Instance::new(by, times, now) });
        state.orders.retain(|order| order.by != by);
        if state.request.as_ref().is_some_and(|request| request.by == by) {
            state.request = None;
        }
    }

    /// All keys are gone; it is the same process.
    pub fn wipe(state: &mut State) {
        state.left.wipes -= 1;
        state.redis.change(|redis| {
            let Redis { epochs, server, ref mut stray, .. } = *redis;
            *redis = Redis { epochs, server, stray: std::mem::take(stray), ..Redis::default() };
        });
    }

    /// Another process, with all keys but the end of the log.
    pub fn fail_over(state: &mut State, lost: usize) {
        state.left.failovers -= 1;
        state.redis.change(|redis| {
            redis.server += 1;
            redis.epochs += 1;
            redis.epoch = Some(crate::world::epoch(redis.epochs));
            redis.log.truncate(redis.log.len() - lost);
        });
    }
}
