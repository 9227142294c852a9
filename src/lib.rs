//! Larder: a read-through caching reverse proxy, a sidecar in front of one slow HTTP API.
//!
//! The way of a request: `server::listener` accepts, `server::connection` speaks HTTP, and `proxy::answer` has every branch of
//! what follows: `target` reads for whom and what it is, `plan` gives it a route and a key, `lookup` finds what is kept,
//! `semantics` judges it. A hit goes out as a `message`, which is ready as it lies in memory, or through `respond`. Anything else
//! asks the upstream: `coalesce` sees to it that one asks for all, `fill` decides whether the answer is kept, and `tee` gives it to all who wait while it comes.
//!
//! A module imports only modules above it in this list; `tests/tidy.rs` holds us to it.

/// What time it is.
pub mod clock;

/// When to leave alone what fails, and when to try it again.
pub mod breaker;

/// A text that nothing shows.
pub mod secret;

/// What a misspelt word was meant to be.
pub mod spelling;

/// Large bodies once more, where the kernel sends them from.
pub mod arena;

/// The law of HTTP caching: functions of messages and times.
pub mod semantics;

/// What is kept: keys and answers.
pub mod object;

/// What things are called.
pub mod naming;

/// Errors as RFC 9457 has them.
pub mod problem;

/// What is told: numbers and log lines.
pub mod telemetry;

/// Where answers are kept.
pub mod store;

/// The tier that all instances share.
pub mod shared;

/// What has been declared invalid, and since when.
pub mod invalidation;

/// What the backend says of its changes.
pub mod hooks;

/// The origin side.
pub mod upstream;

/// The way of a request.
pub mod proxy;

/// The control side: health, metrics, what is held.
pub mod admin;

/// The client side: listeners, connections, draining.
pub mod server;

/// What was written → what it means.
pub mod config;

/// Builds it all, runs it, drains it.
pub mod app;

/// A slow API to try it on.
pub mod demo;

/// What is typed.
pub mod cli;
