//! How things stand with the log of invalidations: asked for when somebody wants to know, and then told.

use std::fmt;
use std::sync::OnceLock;

use serde::Serialize;

use super::page::{Kind, Page};

/// A moment's look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, read by people")]
pub struct LogState {
    /// Whether other instances have a part in it.
    pub shared: bool,
    /// What this instance is called by the others.
    pub instance: String,
    /// It is read on, and what is declared here will be in it within moments.
    pub followed: bool,
    /// Memory is not believed: what was declared elsewhere may not have come here.
    pub cut_off: bool,
    /// Nothing was read yet since the process started, and it is being read.
    #[serde(skip)]
    pub is_starting: bool,
    /// The last event that was applied here.
    pub position: u64,
    /// Other instances that are live, by name.
    pub others: Vec<String>,
    /// Tags that are remembered.
    pub tags: usize,
    /// Events that were declared here and are not in the log yet.
    pub unlogged: usize,
    /// How often so many of these had come together that everything was declared invalid instead.
    pub overflows: u64,
    /// How often everything kept before became unusable, because the log had been trimmed further than it was read, …
    pub gaps: u64,
    /// … because there was no room to remember more, …
    pub forgotten: u64,
    /// … because another log took the place of the one before.
    pub epochs: u64,
}

/// Who knows how things stand; nobody, before there is a log.
#[derive(Default)]
pub struct LogTeller(OnceLock<Box<dyn Fn() -> LogState + Send + Sync>>);

impl LogTeller {
    /// From now on this one is asked. Only the first is.
    pub fn ask(&self, teller: impl Fn() -> LogState + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(teller));
    }

    /// How things stand now.
    pub fn state(&self) -> LogState {
        self.0.get().map_or_else(LogState::default, |teller| teller())
    }
}

impl fmt::Debug for LogTeller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogTeller").field(&self.0.get().is_some()).finish()
    }
}

pub(super) fn render(page: &mut Page, log: &LogState) {
    let flag = i64::from;
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    for (name, help, value) in [
        ("larder_log_followed", "Whether the invalidation log is read on.", flag(log.followed)),
        (
            "larder_log_cut_off",
            "Whether this instance can't know what was invalidated elsewhere.",
            flag(log.cut_off),
        ),
        (
            "larder_log_position",
            "The last event of the invalidation log that was applied; from 1 again in a new log.",
            i64::try_from(log.position).unwrap_or(i64::MAX),
        ),
        ("larder_log_other_instances", "Other instances that are live.", number(log.others.len())),
        ("larder_log_tags", "Tags whose last invalidation is remembered.", number(log.tags)),
        (
            "larder_log_unlogged",
            "Invalidations that were declared here and are not in the log yet.",
            number(log.unlogged),
        ),
    ] {
        page.family(name, Kind::Gauge, help).sample(&[], value);
    }
    let help = "Times that everything was declared invalid because too much waited for the log.";
    page.family("larder_log_overflows_total", Kind::Counter, help).sample(&[], log.overflows);
    let mut family = page.family(
        "larder_log_floor_raised_total",
        Kind::Counter,
        "Times that what was kept before became unusable because something could not be known, by reason.",
    );
    for (why, count) in [("gap", log.gaps), ("forgotten", log.forgotten), ("epoch", log.epochs)] {
        family.sample(&[("reason", why)], count);
    }
}
