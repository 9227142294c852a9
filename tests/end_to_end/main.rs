//! End to end: the real binary over TCP, a scripted origin behind it, `curl` and raw sockets before it.
//!
//! `larder.rs` starts the process, `origin.rs` is what it stands in front of, `client.rs` is who asks. Every test
//! has processes and ports of its own. Nothing sleeps for a fixed time: what is waited for is a condition with a
//! deadline, and an origin that is to be slow is held by a `Gate`. Figures are printed (`--show-output` shows them);
//! asserted are the counts strictly and the times generously, for a build machine is noisy.
//!
//! `LARDER_BIN` puts another binary under test, a release build for instance. `LARDER_SEED` repeats a random run.

#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "these tests run in real time, the machine's clock is theirs")]
#![expect(clippy::print_stdout, reason = "a measured figure is part of the result")]

mod client;
mod larder;
mod origin;

mod admin;
mod bodies;
mod broken_origin;
mod commands;
mod demo;
mod drain;
mod from_file;
mod herd;
mod hits;
mod hostile;
mod identities;
mod invalidation;
mod secrets;
mod streaming;
mod tls_upstream;
