//! The admin listener: what operators and their tools ask of a running instance.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /health/live` | 200 `{"status":"live"}` as long as the process answers at all |
//! | `GET /health/ready` | 200 `{"status":"ready","reasons":[]}`, or 503 `"not ready"` with the reasons |
//! | `GET /metrics` | the numbers for Prometheus |
//! | `GET /stats` | the numbers as JSON, with hit rates and percentiles |
//! | `GET /config` | the configuration in force, secrets blanked |
//! | `GET /entry?method=GET&url=/a%3Fb=1` | what is held for that request; how to say whose it is: see `entry` |
//! | `POST /invalidate` | who has applied what its body declares invalid |
//! | `PURGE /any/path` | the same, of that path |
//! | `POST /hooks/NAME` | the same, of what the hook's rule makes of its body |
//!
//! `HEAD` is answered wherever `GET` is. What the contract names and this version has not is 501; what nobody has
//! heard of is 404. Everything but `/health/*` and hooks, which bring their own proof, is closed to strangers: see `access`.
//! `answer` has the way of an admin request.

mod access;
mod answer;
mod endpoint;
mod entry;
#[cfg(test)]
mod example;
mod hook;
mod invalidate;
mod places;
mod readiness;
mod reply;

pub use answer::{Admin, Parts};
pub use entry::{EntryAnswer, EntryLookup, EntryQuestion};
pub use invalidate::{Acknowledged, Called, Invalidate, Ways};
pub use places::{CONNECTIONS_MAX, Places};
pub use readiness::Readiness;
