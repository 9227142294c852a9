//! What is told: numbers and log lines. One type per fact, handles resolved per route when the configuration is read.
//!
//! `number` has the kinds of numbers, `metrics`, `invalidation` and `redis` the facts that are counted, `log_state` one that
//! is asked for. They are shown twice: `exposition` for
//! Prometheus, `stats` as JSON for people and the dashboard. `log` sets up the lines on stderr. No fact here holds a
//! credential or anything derived from one.

pub mod exposition;
pub mod invalidation;
pub mod log;
pub mod log_state;
pub mod metrics;
pub mod number;
mod page;
pub mod redis;
pub mod shared;
pub mod stats;
mod stats_invalidation;
mod stats_shared;

pub use metrics::{Outcome, RouteMetrics, Telemetry};
