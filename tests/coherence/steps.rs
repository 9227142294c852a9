//! What can happen next in a state, and what comes of it. Between any two of these steps all others can come.

use std::fmt;

use crate::judge;
use crate::mutation::Mutation;
use crate::search::{Model, Part};
use crate::world::{Calls, Entry, Instance, KEYS, Left, Named, Redis, State, Warm, World, Written};

/// By which instance, and with which key, flight or order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    // Answering.
    Begin(usize, usize),
    Answer(usize, usize),
    Land(usize, usize),
    WriteSecond(usize, usize),
    Look(usize, usize),
    Promote(usize, usize),
    Ask(usize, usize),
    Reply,
    Put(usize, usize),
    Answered(usize, usize),
    // Invalidating.
    Declare(usize, usize, Named),
    Append(usize),
    Acknowledge(usize),
    DeclareAnew(usize),
    // Following.
    Join(usize),
    Joined(usize),
    Read(usize),
    Renew(usize),
    Arrive(usize),
    Renewed(usize),
    Remove(usize),
    Lose(usize),
    Stray,
    // What befalls.
    Tick,
    Stop(usize),
    Continue(usize),
    Cut(usize),
    Heal(usize),
    Crash(usize),
    Wipe,
    Failover(usize),
    Trim,
}

impl Model for World {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let mut state = State {
            redis: Part::new(Redis::default()),
            at: [0, 1].map(|by| Part::new(Instance::new(by, 0, std::time::Duration::ZERO))),
            upstream: [0; KEYS],
            promised: [0; KEYS],
            orders: Vec::new(),
            request: None,
            ticks: 0,
            numbers: 0,
            left: self.left,
        };
        if !self.is_cold {
            self.settle(&mut state);
        }
        state
    }

    fn steps(&self, state: &State) -> Vec<Step> {
        let mut steps = Vec::new();
        for by in 0..2 {
            if !state.at[by].is_stopped {
                self.steps_of_following(state, by, &mut steps);
                self.steps_of_serving(state, by, &mut steps);
            }
        }
        self.steps_of_orders(state, &mut steps);
        self.steps_beyond(state, &mut steps);
        steps
    }

    fn take(&self, state: &State, step: Step) -> Result<State, String> {
        let mut state = state.clone();
        self.advance(&mut state, step)?;
        Ok(state)
    }

    fn judge(&self, state: &State) -> Result<Vec<&'static str>, String> {
        judge::judge(self, state)
    }
}

impl World {
    fn advance(&self, state: &mut State, step: Step) -> Result<(), String> {
        match step {
            Step::Begin(by, key) => Self::begin(state, by, key),
            Step::Answer(by, flight) => {
                let version = state.upstream[state.at[by].flights[flight].key];
                state.at[by].change(|at| at.flights[flight].version = Some(version));
            }
            Step::Land(by, flight) => self.land(state, by, flight),
            Step::WriteSecond(by, key) => self.write_second(state, by, key),
            Step::Look(by, key) => Self::look(state, by, key),
            Step::Promote(by, key) => self.promote(state, by, key),
            Step::Ask(by, key) => self.ask(state, by, key),
            Step::Reply => return self.reply(state),
            Step::Put(by, key) => Self::put(state, by, key),
            Step::Answered(by, put) => self.put_answered(state, by, put),
            Step::Declare(by, key, named) => self.declare(state, by, key, named),
            Step::Append(by) => Self::append(state, by),
            Step::Acknowledge(order) => return self.acknowledge(state, order),
            Step::DeclareAnew(order) => Self::declare_anew(state, order),
            Step::Join(by) => self.join(state, by),
            Step::Joined(by) => self.joined(state, by),
            Step::Read(by) => self.read(state, by),
            Step::Renew(by) => self.renew(state, by),
            Step::Arrive(by) => self.arrive(state, by),
            Step::Renewed(by) => self.renewed(state, by),
            Step::Remove(by) => self.remove(state, by),
            Step::Lose(by) => Self::lose(state, by),
            Step::Stray => Self::arrive_stray(state),
            Step::Tick => Self::tick(state),
            Step::Stop(by) => {
                state.left.stops -= 1;
                state.at[by].change(|at| at.is_stopped = true);
            }
            Step::Continue(by) => state.at[by].change(|at| at.is_stopped = false),
            Step::Cut(by) => {
                state.left.cuts -= 1;
                state.at[by].change(|at| at.is_cut = true);
            }
            Step::Heal(by) => state.at[by].change(|at| at.is_cut = false),
            Step::Crash(by) => self.crash(state, by),
            Step::Wipe => Self::wipe(state),
            Step::Failover(lost) => Self::fail_over(state, lost),
            Step::Trim => {
                state.left.trims -= 1;
                state.redis.change(|redis| redis.trimmed = redis.log.len() - 1);
            }
        }
        Ok(())
    }

    /// Both have joined long ago; what is asked for is kept, if the world is warm.
    fn settle(&self, state: &mut State) {
        let go = |state: &mut State, steps: &[Step]| {
            for step in steps {
                let taken = self.advance(state, *step);
                assert!(taken.is_ok(), "{step}");
            }
        };
        state.left = Left { ticks: 2, ..Left::default() };
        for by in 0..2 {
            go(state, &[Step::Join(by)]);
            if self.calls != Calls::Prompt {
                go(state, &[Step::Joined(by)]);
            }
        }
        state.redis.change(|redis| {
            for _ in 0..self.history {
                let first = redis.log[0].clone();
                redis.log.push(first);
            }
        });
        for (by, unread) in [(0, 0), (1, self.unread)] {
            go(state, &vec![Step::Read(by); self.history - unread]);
        }
        for _ in 0..2 {
            go(state, &[Step::Tick]);
            for by in [0, 1, 0] {
                go(state, &[Step::Renew(by)]);
                if self.calls == Calls::Slow {
                    go(state, &[Step::Arrive(by)]);
                }
                if self.calls != Calls::Prompt {
                    go(state, &[Step::Renewed(by)]);
                }
            }
        }
        state.left = self.left;
        for key in 0..self.keys {
            for by in (0..2).filter(|by| self.serves[*by] && self.warm == Warm::Everywhere) {
                let stamp = state.at[by].ledger.stamp();
                state.at[by].change(|at| at.memory[key] = Some(Entry { version: 0, stamp }));
            }
            if self.has_second && self.warm != Warm::Nowhere {
                let (epoch, position) = state.at[0].ledger.place();
                let written = Written { version: 0, epoch, position };
                state.redis.change(|redis| redis.second[key] = Some(written));
            }
        }
    }

    /// Whether requests are answered from memory: until its lease is over.
    pub fn is_trusted(&self, state: &State, by: usize) -> bool {
        if self.has(Mutation::FlagForAClock) {
            return state.at[by].flag;
        }
        state.at[by].trust.holds(state.now(by))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |by: &usize| ["A", "B"][*by];
        match self {
            Self::Begin(by, key) => write!(f, "{} begins to fetch {key}", who(by)),
            Self::Answer(by, flight) => write!(f, "the upstream answers fetch {flight} of {}", who(by)),
            Self::Land(by, flight) => write!(f, "fetch {flight} of {} lands and is kept", who(by)),
            Self::WriteSecond(by, key) => write!(f, "{} writes {key} to the shared tier", who(by)),
            Self::Look(by, key) => write!(f, "{} reads {key} from the shared tier", who(by)),
            Self::Promote(by, key) => write!(f, "{} takes {key} from there into memory", who(by)),
            Self::Ask(by, key) => write!(f, "a request for {key} comes to {}", who(by)),
            Self::Reply => write!(f, "it is answered"),
            Self::Put(by, key) => write!(f, "a change of {key} goes through {}", who(by)),
            Self::Answered(by, put) => write!(f, "change {put} is answered to {}", who(by)),
            Self::Declare(by, key, named) => {
                write!(f, "{key} is changed, and declared invalid at {} by {named:?}", who(by))
            }
            Self::Append(by) => write!(f, "{} appends what was declared", who(by)),
            Self::Acknowledge(order) => write!(f, "order {order} is acknowledged"),
            Self::DeclareAnew(order) => write!(f, "order {order} is declared anew"),
            Self::Join(by) => write!(f, "{} asks to join", who(by)),
            Self::Joined(by) => write!(f, "{} has joined", who(by)),
            Self::Read(by) => write!(f, "{} reads on", who(by)),
            Self::Renew(by) => write!(f, "{} sends its line", who(by)),
            Self::Arrive(by) => write!(f, "the line of {} arrives", who(by)),
            Self::Renewed(by) => write!(f, "{} is told all lines", who(by)),
            Self::Remove(by) => write!(f, "{} takes dead lines away", who(by)),
            Self::Lose(by) => write!(f, "{} loses its session", who(by)),
            Self::Stray => write!(f, "a line of a lost session arrives"),
            Self::Tick => write!(f, "time goes by"),
            Self::Stop(by) => write!(f, "{} is stopped", who(by)),
            Self::Continue(by) => write!(f, "{} goes on", who(by)),
            Self::Cut(by) => write!(f, "{} is cut from Redis", who(by)),
            Self::Heal(by) => write!(f, "{} is cut no longer", who(by)),
            Self::Crash(by) => write!(f, "{} crashes and starts anew", who(by)),
            Self::Wipe => write!(f, "Redis is emptied"),
            Self::Failover(lost) => write!(f, "a replica takes over and lacks the last {lost}"),
            Self::Trim => write!(f, "the log is trimmed"),
        }
    }
}
