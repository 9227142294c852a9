//! What is counted of the connections to Redis: commands by kind and by what came of them, and how long Redis took.

use std::time::Duration;

use super::number::{CountByName, Counter, Gauge, Histogram};
use super::page::{Kind, Page};

/// The connections to Redis.
#[derive(Debug, Default)]
pub struct RedisMetrics {
    commands: [[Counter; CommandOutcome::ALL.len()]; Command::ALL.len()],
    /// From sending a command to its reply.
    pub times: Histogram,
    /// Replies that said no, by their kind.
    pub refusals: CountByName,
    /// Times that a connection was left alone because of failures in a row.
    pub opened: Counter,
    /// Connections that came about.
    pub connects: Counter,
    /// Attempts that came to nothing.
    pub connect_failures: Counter,
    /// Connections that can be used.
    pub links_up: Gauge,
    /// 1 while news of other instances comes through.
    pub hearing: Gauge,
}

/// A kind of command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Reads values.
    Get,
    /// Writes a value.
    Put,
    /// Writes over the beginning of one.
    Patch,
    /// Forgets values.
    Remove,
    /// Agrees on a value.
    Agree,
    /// Takes a lease.
    Acquire,
    /// Holds it for longer.
    Renew,
    /// Gives it back.
    Release,
    /// Asks whether it is there.
    Ping,
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// It was answered.
    Answered,
    /// It was answered with no.
    Refused,
    /// It was not sent, for there was no connection.
    Away,
    /// There was no reply in time.
    TimedOut,
    /// The connection broke.
    Broken,
}

impl Command {
    /// Every one there is.
    pub const ALL: [Self; 9] = [
        Self::Get,
        Self::Put,
        Self::Patch,
        Self::Remove,
        Self::Agree,
        Self::Acquire,
        Self::Renew,
        Self::Release,
        Self::Ping,
    ];

    /// The word in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Remove => "remove",
            Self::Agree => "agree",
            Self::Acquire => "acquire",
            Self::Renew => "renew",
            Self::Release => "release",
            Self::Ping => "ping",
        }
    }
}

impl CommandOutcome {
    /// Every one there is.
    pub const ALL: [Self; 5] = [Self::Answered, Self::Refused, Self::Away, Self::TimedOut, Self::Broken];

    /// The word in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Away => "away",
            Self::TimedOut => "timed_out",
            Self::Broken => "broken",
        }
    }
}

impl RedisMetrics {
    /// Something came of a command; none: it was not sent, and took no time.
    pub fn command(&self, command: Command, outcome: CommandOutcome, took: Option<Duration>) {
        self.commands[command as usize][outcome as usize].add_one();
        if let Some(took) = took {
            self.times.record(took);
        }
    }

    /// How many came to that.
    pub fn count(&self, command: Command, outcome: CommandOutcome) -> u64 {
        self.commands[command as usize][outcome as usize].get()
    }
}

pub(super) fn render(page: &mut Page, redis: &RedisMetrics) {
    let mut family = page.family(
        "larder_redis_commands_total",
        Kind::Counter,
        "Commands for Redis, by kind and by what came of them.",
    );
    for command in Command::ALL {
        for outcome in CommandOutcome::ALL {
            let labels = [("command", command.label()), ("outcome", outcome.label())];
            family.sample(&labels, redis.count(command, outcome));
        }
    }
    page.family(
        "larder_redis_command_duration_seconds",
        Kind::Histogram,
        "Time from sending a command to Redis to its reply, or to the end of waiting for it.",
    )
    .histogram(&[], &redis.times.distribution());
    let refusals = redis.refusals.get();
    if !refusals.is_empty() {
        let mut family = page.family(
            "larder_redis_refusals_total",
            Kind::Counter,
            "Replies of Redis that said no, by kind.",
        );
        for (kind, count) in refusals {
            family.sample(&[("kind", &kind)], count);
        }
    }
    page.counter(
        "larder_redis_breaker_opened_total",
        "Times that a connection to Redis was left alone because of failures in a row.",
        &redis.opened,
    );
    page.counter("larder_redis_connects_total", "Connections to Redis that came about.", &redis.connects);
    page.counter(
        "larder_redis_connect_failures_total",
        "Attempts to connect to Redis that came to nothing.",
        &redis.connect_failures,
    );
    page.gauge("larder_redis_links_up", "Connections to Redis that can be used.", &redis.links_up);
    page.gauge(
        "larder_redis_hearing",
        "Whether news of other instances comes through (1) or not (0).",
        &redis.hearing,
    );
}
