//! Invalidations and hooks, as `/stats` shows them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Telemetry;
use super::invalidation::{HookMetrics, HookOutcome, InvalidationOutcome, Source};

/// See [`super::invalidation::InvalidationMetrics`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InvalidationStats {
    /// Requests that went through and may have changed something.
    pub changes: u64,
    /// Times that the log was not followed any more.
    pub sessions_lost: u64,
    /// Declared from outside: way → what became of it → how many.
    pub declared: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
}

/// One hook: what became of its messages.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HookStats {
    /// Its name.
    pub hook: String,
    /// What became of them → how many.
    #[serde(flatten)]
    pub told: BTreeMap<&'static str, u64>,
}

impl InvalidationStats {
    /// As they are now.
    pub fn new(telemetry: &Telemetry) -> Self {
        let metrics = &telemetry.invalidation;
        let of = |source| {
            InvalidationOutcome::ALL.map(|outcome| (outcome.label(), metrics.count(source, outcome))).into()
        };
        Self {
            changes: metrics.changes.get(),
            sessions_lost: metrics.sessions_lost.get(),
            declared: Source::ALL.map(|source| (source.label(), of(source))).into(),
        }
    }
}

impl HookStats {
    /// As they are now.
    pub fn new(hook: &HookMetrics) -> Self {
        let told = HookOutcome::ALL.map(|outcome| (outcome.label(), hook.count(outcome)));
        Self { hook: hook.name.to_string(), told: told.into() }
    }
}
