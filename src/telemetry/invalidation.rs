//! What is counted of invalidations: by where they came from and what became of them, and of each hook's messages.

use std::sync::Arc;

use super::number::Counter;
use super::page::{Kind, Page};

/// What was declared invalid.
#[derive(Debug, Default)]
pub struct InvalidationMetrics {
    /// Requests that may have changed something, and so made what was kept for it invalid.
    pub changes: Counter,
    /// Times that the log was not followed any more.
    pub sessions_lost: Counter,
    declared: [[Counter; InvalidationOutcome::ALL.len()]; Source::ALL.len()],
}

/// Where an invalidation came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `POST /invalidate`, which `larder purge` uses too.
    Api,
    /// `POST /hooks/NAME`
    Hook,
    /// `PURGE /any/path`
    Purge,
}

/// What became of an invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidationOutcome {
    /// Those who were to be waited for have applied it.
    Met,
    /// Not all of them had, when the time was up.
    Late,
    /// It was not written to the log.
    NotLogged,
}

/// One hook.
#[derive(Debug)]
pub struct HookMetrics {
    /// Its name.
    pub name: Arc<str>,
    told: [Counter; HookOutcome::ALL.len()],
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookOutcome {
    /// It declared something invalid.
    Accepted,
    /// It was none that the hook is for.
    Ignored,
    /// It had come before.
    Replayed,
    /// Its sender did not prove to be who it should be.
    Unauthorized,
    /// It could not be read, or named nothing.
    Bad,
    /// There were too many at once.
    Refused,
}

impl Source {
    /// Every one there is.
    pub const ALL: [Self; 3] = [Self::Api, Self::Hook, Self::Purge];

    /// The word in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Hook => "hook",
            Self::Purge => "purge",
        }
    }
}

impl InvalidationOutcome {
    /// Every one there is.
    pub const ALL: [Self; 3] = [Self::Met, Self::Late, Self::NotLogged];

    /// The word in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Late => "late",
            Self::NotLogged => "not_logged",
        }
    }
}

impl HookOutcome {
    /// Every one there is.
    pub const ALL: [Self; 6] =
        [Self::Accepted, Self::Ignored, Self::Replayed, Self::Unauthorized, Self::Bad, Self::Refused];

    /// The word in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Ignored => "ignored",
            Self::Replayed => "replayed",
            Self::Unauthorized => "unauthorized",
            Self::Bad => "bad",
            Self::Refused => "refused",
        }
    }
}

impl InvalidationMetrics {
    /// Something was declared invalid.
    pub fn declared(&self, source: Source, outcome: InvalidationOutcome) {
        self.declared[source as usize][outcome as usize].add_one();
    }

    /// How many came to that.
    pub fn count(&self, source: Source, outcome: InvalidationOutcome) -> u64 {
        self.declared[source as usize][outcome as usize].get()
    }
}

impl HookMetrics {
    /// All zero.
    pub fn new(name: Arc<str>) -> Self {
        Self { name, told: Default::default() }
    }

    /// A message came.
    pub fn told(&self, outcome: HookOutcome) {
        self.told[outcome as usize].add_one();
    }

    /// How many came to that.
    pub fn count(&self, outcome: HookOutcome) -> u64 {
        self.told[outcome as usize].get()
    }
}

pub(super) fn render(page: &mut Page, invalidation: &InvalidationMetrics, hooks: &[Arc<HookMetrics>]) {
    page.counter(
        "larder_invalidation_changes_total",
        "Requests that may have changed something, and made what was kept for their URL invalid.",
        &invalidation.changes,
    );
    page.counter(
        "larder_log_sessions_lost_total",
        "Times that the invalidation log was not followed any more.",
        &invalidation.sessions_lost,
    );
    let mut family = page.family(
        "larder_invalidations_total",
        Kind::Counter,
        "Invalidations that were declared from outside, by way and by what became of them.",
    );
    for source in Source::ALL {
        for outcome in InvalidationOutcome::ALL {
            let labels = [("source", source.label()), ("outcome", outcome.label())];
            family.sample(&labels, invalidation.count(source, outcome));
        }
    }
    // Without a hook there is no series, and a family without one says nothing.
    if hooks.is_empty() {
        return;
    }
    let mut family = page.family(
        "larder_hooks_total",
        Kind::Counter,
        "Messages to hooks, by hook and by what became of them.",
    );
    for hook in hooks {
        for outcome in HookOutcome::ALL {
            family.sample(&[("hook", &hook.name), ("outcome", outcome.label())], hook.count(outcome));
        }
    }
}
