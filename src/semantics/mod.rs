//! The law of HTTP caching: functions of messages and times, nothing else. No clock, no I/O, no `async`.
//!
//! Above each `if` stands the sentence of the RFC that it obeys. Every *no* has a name: `NotStored`, `Forward`.
//! A response goes through `storable` once, when it comes; what that read from it (`Lifetime`) is kept, so that a
//! `verdict` on a hit parses nothing of it again. Where a message is malformed, the side is taken that asks the
//! upstream once too often.
//!
//! What is read of a response: `targeted` says which field's directives govern it, `cache_control` what these are,
//! `freshness` how long it lives, `staleness` what it is good for past its end, `validation` how the upstream is asked about it and
//! what a 304 changes, `groups` and `surrogate` what it becomes invalid with. What is read of a request: `vary`, with
//! `preference`, which variant it selects; `conditional` whether its client has it already; `range` which bytes it wants,
//! and `multipart` how several pieces of it are sent. `validator` says whether two answers are the same bytes, `reference`
//! what an unsafe request has made invalid. `grammar` and `structured` are the notations below them all.

pub mod cache_control;
pub mod cache_status;
pub mod conditional;
#[cfg(test)]
pub(crate) mod example;
pub mod fields;
pub mod freshness;
mod grammar;
pub mod groups;
pub mod multipart;
pub mod not_stored;
pub mod policy;
mod preference;
pub mod range;
pub mod reference;
mod staleness;
pub mod storable;
mod structured;
pub mod surrogate;
pub mod targeted;
pub mod validation;
pub mod validator;
pub mod vary;
pub mod verdict;

pub use cache_control::{RequestDirectives, ResponseDirectives};
pub use cache_status::CacheStatus;
pub use conditional::Conditional;
pub use freshness::{Lifetime, Times};
pub use not_stored::NotStored;
pub use storable::{Asked, Audience, Keep, Policy, storable};
pub use targeted::{Governing, governing};
pub use vary::VaryOn;
pub use verdict::{Forward, Verdict, verdict};
