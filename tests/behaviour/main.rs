//! The proxy as clients and upstreams see it: everything between two pipes, in memory, with the clock paused.
//!
//! `world` builds it; each other file is one kind of behaviour, and `scenarios` runs the files in `tests/scenarios`. No socket
//! and no real time in here: a test that waits for thirty seconds takes none.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test a failure is the message"
)]

mod body;
mod client;
mod journal;
mod origin;
mod tier;
mod world;

mod acknowledging;
mod bodies;
mod changes;
mod coalescing;
mod cut_off;
mod declaring;
mod drain;
mod errors;
mod forward;
mod identities;
mod interim;
mod leading;
mod leading_safely;
mod limits;
mod outage;
mod overtaking;
mod parting;
mod purging;
mod refusals;
mod rests;
mod revalidation;
mod scenario;
mod scenarios;
mod settling;
mod sharing;
mod sharing_addresses;
mod sharing_changes;
mod sharing_outage;
mod sharing_past_memory;
mod sharing_safely;
mod sharing_variants;
mod soft;
mod streaming;
mod tagging;
mod unlogged;
mod upgrade;
mod waiting;
mod write_through;
