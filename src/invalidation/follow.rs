//! Following the log: one session after the other, as long as the process lives.
//!
//! ```text
//! agree ─▶ join: our line is there ─▶ read to the end ─▶ trusted ─┬─ read on, apply, and renew our line
//!   ▲                                                             ├─ renew our line every second
//!   │                                                             ├─ append what was declared here
//!   └───────────────── anything fails, or our lease is over ──────┴─ look at the lines, while somebody waits
//! ```
//!
//! The order is what makes it true: the line is written *before* the log is read to its end, so that whoever appends either
//! sees the line, and waits for us, or appended before we read. A session that ends takes nothing away: memory is trusted until
//! the lease is over, and what was declared and not seen in the log is appended anew by the next.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::log::{Line, LogError, Reply, Session};
use super::record::{Others, Reading, Record};
use super::roll::Roll;
use super::trust::Trust;
use crate::object::Epoch;

/// What has to be agreed on with other instances before each session.
pub type Agree = Box<dyn Fn() -> Reply<'static, ()> + Send + Sync>;

/// A line says at least so often that its owner lives; a lease is three of these.
const RENEWED_EVERY: Duration = Duration::from_secs(1);
/// Between two sessions.
const TRIED_EVERY: Duration = Duration::from_millis(100);
/// As long as the process is that young, it is no news that there is none yet.
const STARTED_WITHIN: Duration = Duration::from_secs(1);
/// … and this is the time between two attempts.
const TRIED_AT_START_EVERY: Duration = Duration::from_millis(20);
/// Longest time that one read waits for an event.
const READ_WAIT: Duration = Duration::from_secs(1);
/// Events that are appended at once.
const APPENDED_MAX: usize = 256;
/// While somebody waits for what the lines say, …
const LOOKED_EVERY: Duration = Duration::from_millis(1);
/// … until the last who came has waited for so long, …
const QUICK: Duration = Duration::from_millis(100);
/// … and from then on.
const LOOKED_LATER_EVERY: Duration = Duration::from_millis(10);

/// What the parts of a session tell one another.
struct Course<'s> {
    session: &'s dyn Session,
    others: &'s Others,
    /// The line should be written: something was applied.
    due: Notify,
    /// Something that was appended may have been trimmed away before it was read.
    has_gap: AtomicBool,
}

impl Record {
    /// Follows the log, if there is one; to be run as long as the process does.
    pub async fn follow(self: Arc<Self>, agree: Agree) {
        let Some(others) = &self.others else { return };
        let counter = AtomicU64::new(1);
        let started = Instant::now();
        loop {
            let began = Instant::now();
            let why = self.attend(others, &agree, &counter).await;
            if *others.left.borrow() {
                return;
            }
            // Connections are made while we are here already.
            if !others.has_started.load(Relaxed) && started.elapsed() < STARTED_WITHIN {
                sleep(TRIED_AT_START_EVERY).await;
                continue;
            }
            others.has_started.store(true, Relaxed);
            let was_up = others.up.send_replace(false);
            // What fails again and again is told of once.
            if was_up || !others.told.swap(true, Relaxed) {
                tracing::warn!(%why, "the invalidation log is not followed");
            }
            if was_up {
                self.telemetry.invalidation.sessions_lost.add_one();
            }
            // One that lasted is made anew at once.
            sleep(TRIED_EVERY.saturating_sub(began.elapsed())).await;
        }
    }

    /// One session, from its beginning to its end, and why it ended.
    async fn attend(&self, others: &Others, agree: &Agree, counter: &AtomicU64) -> LogError {
        let (session, sent_at) = match self.join(others, agree, counter).await {
            Ok(joined) => joined,
            Err(why) => return why,
        };
        if let Err(why) = self.catch_up(&*session).await {
            return why;
        }
        others.trust().caught_up(sent_at);
        self.trust_until(others.trust().until());
        others.reading.send_replace(Reading { epoch: session.epoch(), ..Reading::default() });
        others.up.send_replace(true);
        others.told.store(false, Relaxed);
        others.has_started.store(true, Relaxed);
        tracing::info!(position = self.read().place().1, "the invalidation log is followed");
        let course =
            Course { session: &*session, others, due: Notify::new(), has_gap: AtomicBool::new(false) };
        // Whatever was declared before is appended, or appended anew.
        let ended = tokio::select! {
            ended = self.read_on(&course) => ended,
            ended = self.renew(&course, counter) => ended,
            ended = self.append(&course) => ended,
            ended = self.look(&course) => ended,
            () = others.leaving.notified() => return self.take_leave(others, &*session).await,
        };
        ended.err().unwrap_or(LogError::Replaced)
    }

    /// Nobody need wait for us any more: nothing is served from now on.
    async fn take_leave(&self, others: &Others, session: &dyn Session) -> LogError {
        self.trust_until(None);
        let result = session.leave(self.me.id).await;
        others.left.send_replace(true);
        result.err().unwrap_or(LogError::Away("this instance has left".to_owned()))
    }

    /// Leaves the log, when the last request is answered and what was declared here is written there.
    pub async fn leave(&self) {
        let Some(others) = self.others.as_ref().filter(|others| *others.up.borrow()) else { return };
        let mut applied = others.applied.subscribe();
        while self.read().unlogged.len() > 0 {
            if applied.changed().await.is_err() {
                return;
            }
        }
        let mut left = others.left.subscribe();
        others.leaving.notify_one();
        let _ = left.wait_for(|left| *left).await;
    }

    /// Our line is there, and the ledger is of this log.
    async fn join(
        &self,
        others: &Others,
        agree: &Agree,
        counter: &AtomicU64,
    ) -> Result<(Box<dyn Session>, Duration), LogError> {
        agree().await?;
        let sent_at = self.clock.monotonic();
        let last = self.read().last();
        let session = others.log.join(self.line(counter), last).await?;
        let (known, applied) = self.read().place();
        // One that is shorter than what was read has lost its end.
        if known != session.epoch() || session.end() < applied {
            self.learn(|ledger| ledger.enter(session.epoch()));
            others.trust().met_epoch(self.clock.monotonic());
            self.trust_until(None);
        }
        Ok((session, sent_at))
    }

    async fn catch_up(&self, session: &dyn Session) -> Result<(), LogError> {
        loop {
            let (_, applied) = self.read().place();
            if applied >= session.end() {
                return Ok(());
            }
            let events = session.read(applied, READ_WAIT).await?;
            if events.is_empty() {
                return Err(LogError::TimedOut);
            }
            self.apply(&events);
        }
    }

    async fn read_on(&self, course: &Course<'_>) -> Result<(), LogError> {
        loop {
            let (_, applied) = self.read().place();
            let events = course.session.read(applied, READ_WAIT).await?;
            if events.first().is_some_and(|first| first.position > applied + 1) {
                course.has_gap.store(true, Relaxed);
                course.others.declared.notify_one();
            }
            if !events.is_empty() {
                self.apply(&events);
                course.due.notify_one();
            }
        }
    }

    async fn renew(&self, course: &Course<'_>, counter: &AtomicU64) -> Result<(), LogError> {
        // At once, to know who else is there.
        course.due.notify_one();
        loop {
            let _ = timeout(RENEWED_EVERY, course.due.notified()).await;
            let sent_at = self.clock.monotonic();
            let lines = course.session.renew(self.line(counter)).await?;
            let now = self.clock.monotonic();
            {
                let mut trust = course.others.trust();
                trust.renewed(sent_at, now);
                if !trust.holds(now) {
                    // Whoever invalidates may have stopped waiting for us: what came meanwhile has to be read first.
                    return Err(LogError::TimedOut);
                }
                self.trust_until(trust.until());
            }
            let dead = self.saw(course, lines, sent_at);
            if !dead.is_empty() {
                course.session.remove(dead).await?;
            }
        }
    }

    async fn append(&self, course: &Course<'_>) -> Result<(), LogError> {
        let mut sent = 0;
        loop {
            if course.has_gap.swap(false, Relaxed) {
                // Nobody could say whether it was there.
                sent = 0;
            }
            let (events, last) = self.read().unlogged(sent, APPENDED_MAX);
            if events.is_empty() {
                course.others.declared.notified().await;
                continue;
            }
            course.session.append(events).await?;
            sent = last;
        }
    }

    async fn look(&self, course: &Course<'_>) -> Result<(), LogError> {
        let mut quick_until = Instant::now();
        loop {
            if course.others.watchers.load(Relaxed) == 0 {
                course.others.wanted.notified().await;
                quick_until = Instant::now() + QUICK;
                continue;
            }
            let asked_at = self.clock.monotonic();
            let lines = course.session.lines().await?;
            self.saw(course, lines, asked_at);
            // Who has not applied it by now hangs, or is dead: that is not found out any sooner by asking often.
            let pause = if Instant::now() < quick_until { LOOKED_EVERY } else { LOOKED_LATER_EVERY };
            if timeout(pause, course.others.wanted.notified()).await.is_ok() {
                quick_until = Instant::now() + QUICK;
                sleep(LOOKED_EVERY).await;
            }
        }
    }

    /// Takes in what the lines say, tells who waits, and gives back those that nobody writes any more.
    fn saw(&self, course: &Course<'_>, lines: Vec<Line>, asked_at: Duration) -> Vec<Line> {
        let epoch = course.session.epoch();
        let mut roll = course.others.roll();
        roll.saw(lines, asked_at, self.clock.monotonic());
        let covered = roll.covered(self.me.id, epoch);
        course.others.reading.send_replace(Reading { asked_at, epoch, covered });
        roll.dead()
    }

    fn line(&self, counter: &AtomicU64) -> Line {
        let (epoch, applied) = self.read().place();
        Line {
            id: self.me.id,
            name: self.me.name.clone(),
            counter: counter.fetch_add(1, Relaxed),
            epoch,
            applied,
        }
    }
}

impl Others {
    pub(super) fn trust(&self) -> MutexGuard<'_, Trust> {
        self.trust.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn roll(&self) -> MutexGuard<'_, Roll> {
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch that is followed now, if any is.
    pub(super) fn followed(&self) -> Option<Epoch> {
        self.up.borrow().then(|| self.reading.borrow().epoch)
    }
}
