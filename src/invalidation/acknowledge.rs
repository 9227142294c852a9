//! Waiting until an invalidation holds: here, in the log, or with every live instance.
//!
//! *Append, then read the lines*: who is waited for is asked only once the event is in the log and applied here. Lines count
//! only in the epoch of the event; if another one has begun since, the event is declared anew in that. And nothing is
//! acknowledged before this instance has been in its epoch for a lease: until then somebody may be live whose line was lost.

use std::future::pending;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::event::Event;
use super::record::{Others, Place, Record};
use super::wait::{Outcome, Receipt, Wait};

/// A session that was lost is given so long to come back before nobody waits for it: senders repeat what was not logged.
const AWAY_MAX: Duration = Duration::from_millis(250);

impl Record {
    /// Declares this, and waits for whom the sender wants to be waited for, so long at most.
    pub async fn acknowledge(&self, event: Event, wait: Wait, within: Duration) -> Receipt {
        let deadline = Instant::now() + within;
        if let Some(replay) = self.replayed(&event) {
            return self.acknowledge_again(replay, event, wait, deadline).await;
        }
        self.acknowledge_new(event, wait, deadline).await
    }

    async fn acknowledge_new(&self, event: Event, wait: Wait, deadline: Instant) -> Receipt {
        let mut declared = self.declare(event.clone(), None);
        if wait == Wait::Own {
            let place = self.logged(&mut declared, Duration::ZERO).await;
            return self.receipt(Outcome::Met, place);
        }
        let Some(place) = self.logged_by(&mut declared, deadline).await else {
            return self.receipt(Outcome::NotLogged, None);
        };
        self.acknowledge_logged(event, wait, place, deadline).await
    }

    /// It stands there.
    async fn acknowledge_logged(&self, event: Event, wait: Wait, place: Place, deadline: Instant) -> Receipt {
        match (wait, &self.others) {
            (Wait::All, Some(others)) => self.applied_by_all(others, event, place, deadline).await,
            _ => self.receipt(Outcome::Met, Some(place)),
        }
    }

    /// The same message again. It does nothing more, but is not said to hold before it does.
    async fn acknowledge_again(
        &self,
        replay: Replay,
        event: Event,
        wait: Wait,
        deadline: Instant,
    ) -> Receipt {
        let place = match replay {
            Replay::Logged(place) => place,
            // It is on its way to the log: another that says the same harms nobody, and comes behind it.
            Replay::Unlogged => return self.acknowledge_new(event, wait, deadline).await,
        };
        Receipt { is_replay: true, ..self.acknowledge_logged(event, wait, place, deadline).await }
    }

    fn replayed(&self, event: &Event) -> Option<Replay> {
        let message = event.message?;
        let ledger = self.read();
        let (epoch, _) = ledger.place();
        if let Some(position) = ledger.messages.position(message) {
            let stamp = ledger.stamp_of(epoch, position)?;
            return Some(Replay::Logged(Place { epoch, position, stamp, is_alone: false }));
        }
        ledger.unlogged.of_message(message).map(|_| Replay::Unlogged)
    }

    /// Waits until it is in the log; none: it is not, and nobody should wait any longer.
    async fn logged_by(&self, declared: &mut super::Declared, deadline: Instant) -> Option<Place> {
        let within = deadline.saturating_duration_since(Instant::now());
        tokio::select! {
            biased;
            place = self.logged(declared, within) => place,
            () = self.is_away() => None,
        }
    }

    /// Comes back when the log has been away for longer than a session takes to come back.
    async fn is_away(&self) {
        let Some(others) = &self.others else { return pending().await };
        let mut up = others.up.subscribe();
        loop {
            if up.wait_for(|up| !up).await.is_err() {
                return;
            }
            if timeout(AWAY_MAX, up.wait_for(|up| *up)).await.is_err() {
                return;
            }
        }
    }

    /// Waits until all who are live have applied it.
    async fn applied_by_all(
        &self,
        others: &Others,
        event: Event,
        mut place: Place,
        deadline: Instant,
    ) -> Receipt {
        let _watching = Watching::begin(others);
        let mut reading = others.reading.subscribe();
        let mut logged_at = self.clock.monotonic();
        loop {
            let grace = others.trust().grace_left(self.clock.monotonic());
            let seen = *reading.borrow_and_update();
            if seen.epoch != place.epoch && others.followed() == Some(seen.epoch) {
                // The log that it stood in is gone. All that was kept in that time is dead, but who met the new one before the
                // event came may have fetched since.
                let mut anew = self.declare(event.clone(), None);
                match self.logged_by(&mut anew, deadline).await {
                    Some(at) => place = at,
                    None => return self.receipt(Outcome::NotLogged, None),
                }
                logged_at = self.clock.monotonic();
                continue;
            }
            let is_covered =
                seen.epoch == place.epoch && seen.asked_at >= logged_at && seen.covered >= place.position;
            if is_covered && grace.is_zero() {
                return self.receipt(Outcome::Met, Some(place));
            }
            if !self.next(&mut reading, grace, deadline).await {
                return self.receipt(Outcome::Late, Some(place));
            }
        }
    }

    /// Waits for the next reading, or for the end of the grace; false: the time is up.
    async fn next(
        &self,
        reading: &mut watch::Receiver<super::record::Reading>,
        grace: Duration,
        deadline: Instant,
    ) -> bool {
        let next = async {
            tokio::select! {
                _ = reading.changed() => {}
                () = sleep(grace), if !grace.is_zero() => {}
            }
        };
        timeout_at(deadline, next).await.is_ok()
    }

    fn receipt(&self, outcome: Outcome, place: Option<Place>) -> Receipt {
        let mut applied = vec![self.me.name.clone()];
        let mut lagging = Vec::new();
        if let (Some(others), Some(place)) = (&self.others, place) {
            let roll = others.roll();
            let at = (self.me.id, place.epoch, place.position);
            applied.extend(roll.applied(at.0, at.1, at.2).map(|line| line.name.clone()));
            if outcome == Outcome::Late {
                lagging.extend(roll.lagging(at.0, at.1, at.2).map(|line| line.name.clone()));
            }
        }
        Receipt { outcome, position: place.map(|place| place.position), applied, lagging, is_replay: false }
    }
}

/// A message that was seen before.
enum Replay {
    /// Its event stands there.
    Logged(Place),
    /// It is not in the log yet.
    Unlogged,
}

/// While it is there, the lines are looked at.
struct Watching<'o>(&'o Others);

impl<'o> Watching<'o> {
    fn begin(others: &'o Others) -> Self {
        others.watchers.fetch_add(1, Relaxed);
        others.wanted.notify_one();
        Self(others)
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Relaxed);
    }
}
