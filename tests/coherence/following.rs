//! How an instance follows the log, and how it invalidates: `follow` and `acknowledge` without their I/O, around the real ledger,
//! trust and roll.

use std::sync::Arc;

use larder::invalidation::{Event, EventId};

use crate::mutation::Mutation;
use crate::steps::Step;
use crate::world::{
    Call, CallPhase, Calls, Entry, Instance, Named, Order, Phase, Session, State, World, epoch,
};

impl World {
    pub fn steps_of_following(&self, state: &State, by: usize, steps: &mut Vec<Step>) {
        let at = &state.at[by];
        let Some(session) = &at.session else {
            if !at.is_cut {
                steps.push(Step::Join(by));
            }
            return;
        };
        let is_here = !at.is_cut && session.server == state.redis.server;
        let is_valid = is_here && state.redis.epoch == Some(session.epoch);
        if at.is_cut || !is_valid {
            steps.push(Step::Lose(by));
        }
        if !is_here {
            return;
        }
        match session.phase {
            Phase::Answering => return steps.push(Step::Joined(by)),
            Phase::CatchingUp => {
                if Self::next_to_read(state, by).is_some() {
                    steps.push(Step::Read(by));
                }
                return;
            }
            Phase::Up => {}
        }
        if Self::next_to_read(state, by).is_some() {
            steps.push(Step::Read(by));
        }
        if is_valid && !at.ledger.unlogged(session.appended, 1).0.is_empty() {
            steps.push(Step::Append(by));
        }
        match &session.call {
            None if is_valid || self.has(Mutation::LinesWithoutEpoch) => {
                let line = self.line_now(state, by);
                let is_asked_for = state.orders.iter().any(|order| order.by == by && order.place.is_some());
                if is_asked_for || session.renewed != Some((line.counter, line.applied)) {
                    steps.push(Step::Renew(by));
                }
            }
            Some(Call { phase: CallPhase::Coming(_), .. }) => steps.push(Step::Renewed(by)),
            _ => {}
        }
        if is_valid && !session.dead.is_empty() {
            steps.push(Step::Remove(by));
        }
    }

    pub fn steps_of_orders(&self, state: &State, steps: &mut Vec<Step>) {
        for (number, order) in state.orders.iter().enumerate() {
            let at = &state.at[order.by];
            let (Some(place), Some(reading)) = (order.place, at.reading) else { continue };
            if at.is_stopped {
                continue;
            }
            let is_up = at.session.as_ref().is_some_and(|session| session.phase == Phase::Up);
            if reading.0 != place.0 && is_up {
                steps.push(Step::DeclareAnew(number));
            }
            let is_asked = order.is_asked || self.has(Mutation::LinesBeforeTheAppend);
            let is_covered = is_asked && reading.0 == place.0 && reading.1 >= place.1;
            let grace = at.trust.grace_left(state.now(order.by));
            if is_covered && (grace.is_zero() || self.has(Mutation::NoGrace)) {
                steps.push(Step::Acknowledge(number));
            }
        }
    }

    /// Whether anybody waits for what its line says.
    fn is_watched(&self, by: usize) -> bool {
        self.declares[1 - by]
    }

    /// Position, and place in what Redis holds.
    fn next_to_read(state: &State, by: usize) -> Option<usize> {
        let (_, applied) = state.at[by].ledger.place();
        let next = usize::try_from(applied).unwrap().max(state.redis.trimmed);
        (next < state.redis.log.len()).then_some(next)
    }

    fn line_now(&self, state: &State, by: usize) -> larder::invalidation::Line {
        let mut line = state.at[by].line(state.now(by));
        if self.has(Mutation::LineAhead) {
            line.applied = line.applied.max(state.redis.log.len() as u64);
        }
        if let Some(session) = state.at[by].session.as_ref().filter(|_| self.has(Mutation::EpochNotEntered)) {
            line.epoch = session.epoch;
        }
        line
    }

    pub fn join(&self, state: &mut State, by: usize) {
        let now = state.now(by);
        let mut line = state.at[by].line(now);
        let (epoch, end) = state.redis.change(|redis| {
            let epoch = *redis.epoch.get_or_insert_with(|| {
                redis.epochs += 1;
                redis.log = vec![(EventId([255; 16]), Arc::new(Event::default()))];
                redis.trimmed = 0;
                redis.lines.clear();
                epoch(redis.epochs)
            });
            if line.epoch != epoch && !self.has(Mutation::LineOfTheEpochBefore) {
                line.applied = 0;
            }
            line.epoch = epoch;
            if !self.has(Mutation::LineAfterTheLog) && self.is_watched(by) {
                redis.lines.insert(line.id, line);
            }
            (epoch, redis.log.len() as u64)
        });
        let session = Session {
            epoch,
            server: state.redis.server,
            end,
            joined_at: now,
            phase: Phase::Answering,
            renewed: None,
            appended: 0,
            call: None,
            dead: Vec::new(),
        };
        state.at[by].change(|at| at.session = Some(session));
        if self.calls == Calls::Prompt {
            self.joined(state, by);
        }
    }

    pub fn joined(&self, state: &mut State, by: usize) {
        let now = state.now(by);
        state.at[by].change(|at| {
            let Some(session) = &mut at.session else { return };
            session.phase = Phase::CatchingUp;
            let (epoch, end) = (session.epoch, session.end);
            let (known, applied) = at.ledger.place();
            if known != epoch || end < applied {
                if by == 0 || !self.has(Mutation::EpochNotEntered) {
                    at.learn(|ledger| ledger.enter(epoch));
                }
                at.trust.met_epoch(now);
                at.flag = false;
            }
            self.catch_up(at, self.serves[by], now);
        });
        // The first event says nothing.
        if Self::next_to_read(state, by) == Some(0) {
            self.read(state, by);
        }
    }

    /// Trusted, if the log is read to its end.
    fn catch_up(&self, at: &mut Instance, serves: bool, now: std::time::Duration) {
        let (_, applied) = at.ledger.place();
        let Some(session) = &mut at.session else { return };
        let is_there = applied >= session.end || self.has(Mutation::TrustedBeforeTheEnd);
        if session.phase != Phase::CatchingUp || !is_there {
            return;
        }
        session.phase = Phase::Up;
        session.end = 0;
        if serves {
            let since = if self.has(Mutation::LeaseFromTheReply) { now } else { session.joined_at };
            at.trust.caught_up(since);
        }
        at.flag = self.has(Mutation::FlagForAClock) && at.trust.holds(now);
        at.reading = Some((session.epoch, 0));
        session.joined_at = std::time::Duration::ZERO;
    }

    pub fn read(&self, state: &mut State, by: usize) {
        let Some(next) = Self::next_to_read(state, by) else { return };
        let (id, event) = state.redis.log[next].clone();
        let position = next as u64 + 1;
        let now = state.now(by);
        let place = state.at[by].change(|at| {
            let (_, applied) = at.ledger.place();
            let own = at.learn(|ledger| {
                if self.has(Mutation::GapIgnored) {
                    for missing in applied + 1..position {
                        ledger.apply(missing, EventId([254; 16]), Some(&Event::default()), now);
                    }
                }
                ledger.apply(position, id, Some(&event), now)
            });
            if let Some(own) = own {
                Self::keep_put(at, id, own);
            }
            self.catch_up(at, self.serves[by], now);
            own.map(|_| (at.ledger.place().0, position))
        });
        let Some(place) = place else { return };
        for order in state.orders.iter_mut().filter(|order| order.event == id) {
            order.place = Some(place);
        }
    }

    /// The answer to a change is kept as the new state, unless something else was declared since it was sent.
    fn keep_put(at: &mut Instance, id: EventId, own: larder::invalidation::Applied) {
        let Some(place) = at.puts.iter().position(|put| put.event == Some(id)) else { return };
        let put = at.puts.remove(place);
        if own.is_alone {
            at.memory[put.key] = Some(Entry { version: put.version, stamp: own.stamp });
        }
    }

    pub fn declare(&self, state: &mut State, by: usize, key: usize, named: Named) {
        state.left.writes -= 1;
        state.upstream[key] += 1;
        let version = state.upstream[key];
        let mut order =
            Order { by, key, named, version, event: EventId([0; 16]), place: None, is_asked: false };
        if self.has(Mutation::OwnNotApplied) {
            order.event = state.new_event();
            let event = Arc::new(Self::event(key, named));
            state.redis.change(|redis| redis.log.push((order.event, event)));
            order.place = state.redis.epoch.map(|epoch| (epoch, state.redis.log.len() as u64));
        } else {
            order.event = Self::declare_here(state, by, key, named);
        }
        state.orders.push(order);
    }

    fn declare_here(state: &mut State, by: usize, key: usize, named: Named) -> EventId {
        let id = state.new_event();
        let event = Self::event(key, named);
        state.at[by].change(|at| at.learn(|ledger| ledger.declare(id, event, None)));
        id
    }

    pub fn declare_anew(state: &mut State, number: usize) {
        let Order { by, key, named, .. } = state.orders[number];
        let event = Self::declare_here(state, by, key, named);
        let order = &mut state.orders[number];
        (order.event, order.place, order.is_asked) = (event, None, false);
    }

    pub fn append(state: &mut State, by: usize) {
        let State { redis, at, .. } = state;
        let appended = at[by].session.as_ref().map_or(0, |session| session.appended);
        let (events, last) = at[by].ledger.unlogged(appended, 9);
        redis.change(|redis| redis.log.extend(events.into_iter().map(|(id, event)| (id, Arc::new(event)))));
        at[by].change(|at| {
            if let Some(session) = &mut at.session {
                session.appended = last;
            }
        });
    }

    pub fn acknowledge(&self, state: &mut State, number: usize) -> Result<(), String> {
        let order = state.orders.remove(number);
        if self.mutation.is_none() && !state.at[order.by].trust.grace_left(state.now(order.by)).is_zero() {
            return Err("acknowledged in grace".to_owned());
        }
        state.promised[order.key] = state.promised[order.key].max(order.version);
        Ok(())
    }

    pub fn renew(&self, state: &mut State, by: usize) {
        let (sent_at, line) = (state.now(by), self.line_now(state, by));
        let behind = state.orders.iter().filter(|order| order.by == by && order.place.is_some());
        let behind = behind.map(|order| order.event).collect();
        state.at[by].change(|at| {
            if let Some(session) = &mut at.session {
                session.renewed = Some((line.counter, line.applied));
                session.call = Some(Call { sent_at, behind, phase: CallPhase::Going(line) });
            }
        });
        if self.calls != Calls::Slow {
            self.arrive(state, by);
        }
    }

    /// A line comes to Redis, and what lines there are is on its way back.
    pub fn arrive(&self, state: &mut State, by: usize) {
        let State { redis, at, .. } = state;
        let Some(session) = &at[by].session else { return };
        let is_valid = redis.epoch == Some(session.epoch);
        let Some(Call { phase: CallPhase::Going(line), .. }) = session.call.clone() else { return };
        let mut lines = redis.change(|redis| {
            if is_valid && self.is_watched(by) {
                redis.lines.insert(line.id, line);
            }
            redis.lines.values().cloned().collect::<Vec<_>>()
        });
        if !self.is_watched(1 - by) {
            lines.clear();
        }
        at[by].change(|at| {
            let Some(session) = &mut at.session else { return };
            match &mut session.call {
                Some(call) if is_valid || self.has(Mutation::LinesWithoutEpoch) => {
                    call.phase = CallPhase::Coming(lines);
                }
                _ => at.session = None,
            }
        });
        if self.calls == Calls::Prompt {
            self.renewed(state, by);
        }
    }

    pub fn arrive_stray(state: &mut State) {
        state.redis.change(|redis| {
            let (epoch, line) = redis.stray.remove(0);
            if redis.epoch == Some(epoch) {
                redis.lines.insert(line.id, line);
            }
        });
    }

    pub fn renewed(&self, state: &mut State, by: usize) {
        let now = state.now(by);
        let State { at, orders, .. } = state;
        at[by].change(|at| {
            let Some(session) = &mut at.session else { return };
            let Some(Call { sent_at, behind, phase: CallPhase::Coming(lines) }) = session.call.take() else {
                return;
            };
            if !self.serves[by] {
                // Nobody asks.
            } else if self.has(Mutation::LeaseFromTheReply) {
                at.trust.renewed(now, now);
            } else if self.has(Mutation::LateRenewalTrusted) {
                at.trust.caught_up(sent_at);
            } else {
                at.trust.renewed(sent_at, now);
            }
            at.flag = self.has(Mutation::FlagForAClock) && at.trust.holds(now);
            // Where nobody looks at memory it makes no difference: one can look at the lines without a lease.
            if self.serves[by] && !at.trust.holds(now) {
                at.session = None;
                return;
            }
            if self.has(Mutation::DeadTooSoon) {
                at.roll.saw(lines, now, sent_at);
            } else {
                at.roll.saw(lines, sent_at, now);
            }
            at.reading = Some((session.epoch, at.roll.covered(at.id, session.epoch)));
            session.dead = at.roll.dead();
            for order in orders.iter_mut().filter(|order| behind.contains(&order.event)) {
                order.is_asked = true;
            }
        });
    }

    pub fn remove(&self, state: &mut State, by: usize) {
        let State { redis, at, .. } = state;
        let dead = at[by].change(|at| {
            at.session.as_mut().map(|session| std::mem::take(&mut session.dead)).unwrap_or_default()
        });
        redis.change(|redis| {
            for line in dead {
                let is_same = redis.lines.get(&line.id) == Some(&line);
                if is_same || self.has(Mutation::RemovedUncompared) {
                    redis.lines.remove(&line.id);
                }
            }
        });
    }

    pub fn lose(state: &mut State, by: usize) {
        let State { redis, at, .. } = state;
        let Some(session) = at[by].change(|at| at.session.take()) else { return };
        // What was sent may still come.
        if let Some(Call { phase: CallPhase::Going(line), .. }) = session.call
            && session.server == redis.server
        {
            redis.change(|redis| redis.stray.push((session.epoch, line)));
        }
    }
}
