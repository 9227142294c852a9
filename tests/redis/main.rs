//! The shared tier before real servers, and before all that happens to them: each test starts its own, on free ports, and stops,
//! kills, fills, cuts off and replaces them.
//!
//! `server` is one of them, `cluster` and `sentinels` are several, `wire` is a network with faults, `instance` is what is tested:
//! the tier as one Larder has it. A missing `redis-server` is a failure that says what to install.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "where a failure is the message, and figures are told"
)]

mod acl;
mod basics;
mod cluster;
mod clusters;
mod complaints;
mod epochs;
mod events;
mod instance;
mod journal;
mod leases;
mod log;
mod masters;
mod network;
mod outages;
mod places;
mod refusals;
mod sentinels;
mod server;
mod tls;
mod values;
mod wire;
