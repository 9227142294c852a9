//! Several real instances before one real Redis, with real clients: what they share, what they forget together, what each does
//! without it, and how little clients notice when it goes and comes.
//!
//! `binary` is an instance, `telling` how it is told of a change, `steady_load` are clients; the origin and the process are those of the end-to-end tests, the server is
//! that of the tests of the tier. A target of its own, so that what is measured here and what is measured there don't disturb each
//! other.

#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "these tests run in real time, the machine's clock is theirs")]
#![expect(clippy::print_stdout, reason = "a measured figure is part of the result")]

#[expect(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../end_to_end/client.rs"]
mod client;
#[expect(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../end_to_end/larder.rs"]
mod larder;
#[expect(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../end_to_end/origin.rs"]
mod origin;
#[expect(dead_code, reason = "the tests of the tier use the rest")]
#[path = "../redis/server.rs"]
mod server;

#[path = "../chaos/line.rs"]
mod line;
#[path = "../chaos/relay.rs"]
mod relay;

mod binary;
mod calm;
mod changes;
mod invalidation;
mod readme;
mod sharing;
mod steady;
mod steady_load;
mod telling;
mod without;

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static MEASURED: RwLock<()> = RwLock::const_new(());

/// Nothing else runs here that would disturb a measurement.
async fn alone() -> RwLockWriteGuard<'static, ()> {
    MEASURED.write().await
}

/// Others may run too.
async fn along() -> RwLockReadGuard<'static, ()> {
    MEASURED.read().await
}
