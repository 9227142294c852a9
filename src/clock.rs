//! What time it is, and the only place that may ask the machine.
//!
//! `Timestamp` is a point of wall-clock time in milliseconds: what ages and lifetimes are computed with.
//! `Clock` is the machine's, or one that runs with Tokio's timers, so that a test that advances Tokio's paused
//! clock moves lifetimes with the same knob. Everything below `proxy` is *told* the time; how long something
//! took is measured with `tokio::time::Instant`, never with this.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// A length of time as it is kept: whole milliseconds in six bytes. That is up to 8900 years; what is longer is as long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Millis([u8; 6]);

/// Where `now` comes from.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The machine's wall clock.
    System,
    /// Began at `epoch` and moves with Tokio's clock since `started`.
    Simulated {
        /// What it said when it started.
        epoch: Timestamp,
        /// When that was, on Tokio's clock.
        started: tokio::time::Instant,
    },
}

/// How long the wall clock is gone on from what it said.
const ANCHORED_FOR: Duration = Duration::from_millis(10);

thread_local! {
    /// What the wall clock said last, as a time since 1970, and when that was on Tokio's.
    static ANCHOR: Cell<Option<(tokio::time::Instant, Duration)>> = const { Cell::new(None) };
}

/// A machine that was asleep must not take its lease for one that still holds.
#[cfg(target_os = "linux")]
const STEADY: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const STEADY: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

impl Timestamp {
    /// From milliseconds since 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Time before 1970 counts as 1970.
    pub fn from_system(time: SystemTime) -> Self {
        Self::since_1970(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    fn since_1970(since: Duration) -> Self {
        Self(since.as_secs().saturating_mul(1000).saturating_add(u64::from(since.subsec_millis())))
    }

    /// For formatting dates.
    pub fn to_system(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0)
    }

    /// This much later; saturates.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// This much earlier; not before 1970.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<Duration> for Millis {
    fn from(duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min((1 << 48) - 1);
        Self(millis.to_le_bytes().first_chunk().copied().unwrap_or_default())
    }
}

impl From<Millis> for Duration {
    fn from(kept: Millis) -> Self {
        let mut millis = [0; 8];
        millis[..6].copy_from_slice(&kept.0);
        Self::from_millis(u64::from_le_bytes(millis))
    }
}

impl Clock {
    /// A clock for tests: starts at a fixed date and moves with Tokio's.
    pub fn simulated() -> Self {
        Self::Simulated {
            // Sat, 21 Nov 2026 00:00:00 GMT
            epoch: Timestamp::from_millis(1_795_219_200_000),
            started: tokio::time::Instant::now(),
        }
    }

    /// A clock that never goes back, and goes on while the machine sleeps: what a lease is counted by. Since some moment before
    /// the process, or the test, began.
    pub fn monotonic(&self) -> Duration {
        match self {
            Self::System => {
                let now = rustix::time::clock_gettime(STEADY);
                let part = |number: i64| u64::try_from(number).unwrap_or(0);
                Duration::from_secs(part(now.tv_sec)) + Duration::from_nanos(part(now.tv_nsec))
            }
            Self::Simulated { started, .. } => started.elapsed(),
        }
    }

    /// The time of this instant, which Tokio's clock gave: the machine is not asked again while what it last said on this thread
    /// can be gone on from. A wall clock that is set is followed a moment later.
    pub fn now_at(&self, instant: tokio::time::Instant) -> Timestamp {
        if !matches!(self, Self::System) {
            return self.now();
        }
        ANCHOR.with(|anchor| {
            if let Some((then, said)) = anchor.get()
                && let Some(passed) = instant.checked_duration_since(then)
                && passed < ANCHORED_FOR
            {
                return Timestamp::since_1970(said + passed);
            }
            let is_before = |(then, _): &(tokio::time::Instant, Duration)| instant < *then;
            let (then, said) = anchor.get().filter(is_before).unwrap_or_else(|| {
                // Not of the instant that is asked about, which may be long over.
                #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
                let (then, now) = (tokio::time::Instant::now(), SystemTime::now());
                let read = (then, now.duration_since(UNIX_EPOCH).unwrap_or_default());
                anchor.set(Some(read));
                read
            });
            // One of the two is nothing.
            let passed = instant.saturating_duration_since(then);
            Timestamp::since_1970(said + passed).minus(then.saturating_duration_since(instant))
        })
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        match self {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
            Self::System => Timestamp::from_system(SystemTime::now()),
            Self::Simulated { epoch, started } => epoch.plus(started.elapsed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_kept_to_the_millisecond_and_one_that_is_too_long_as_the_longest() {
        for millis in [0, 1, 999, 1 << 31, 5000 * 366 * 24 * 3_600_000, (1 << 48) - 1] {
            let duration = Duration::from_millis(millis);
            assert_eq!(Duration::from(Millis::from(duration + Duration::from_nanos(999_999))), duration);
        }
        for longer in [Duration::from_millis(1 << 48), Duration::MAX] {
            assert_eq!(Duration::from(Millis::from(longer)), Duration::from_millis((1 << 48) - 1));
        }
    }

    #[test]
    fn an_instant_that_is_over_has_its_own_time_whatever_was_asked_before() {
        let passed = Duration::from_secs(20);
        let now = tokio::time::Instant::now();
        // First where nothing was read on this thread, then where something was.
        for _ in 0..2 {
            let [began, ended] = [now - passed, now].map(|instant| Clock::System.now_at(instant));
            // Each is cut to a millisecond.
            assert!(ended.since(began).abs_diff(passed) <= Duration::from_millis(2), "{began:?} {ended:?}");
        }
        let ahead = Clock::System.now_at(now).since(Clock::System.now());
        assert!(ahead <= Duration::from_millis(2), "{ahead:?}");
    }
}
