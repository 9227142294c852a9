//! The rules of coherence, tried in every order in which things can happen in small worlds.
//!
//! The real ledger, trust and roll are driven inside a model of all the rest: two instances, a Redis that is emptied, fails over
//! and trims, an upstream whose answers have versions, processes that stop and crash. After an invalidation was acknowledged by
//! all, no request that comes later may be given an older version by any instance that believes its memory. That is asked in
//! every state. So that this can't hold for want of anything happening, what was met is counted; and each rule that is left out
//! must be missed: `mutation` lists them.
//!
//! `search` is the explorer, `world` what there is, `steps` what can happen (`following` the log, `serving`, `faults`), `judge`
//! what must hold, `worlds` what is searched. `WORLD=emptied cargo test --test coherence -- --nocapture` searches those worlds
//! alone whose name has that in it, and tells of them; `WORLD=larger`, best with `--release`, searches those that take minutes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a failure is the message")]
#![expect(clippy::print_stdout, reason = "how much was searched is part of the result")]

mod faults;
mod following;
mod judge;
mod mutation;
mod search;
mod serving;
mod steps;
mod world;
mod worlds;
