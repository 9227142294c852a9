//! The body of an answer that is kept, on its way from the upstream to all who read it and, at its end, into memory.
//!
//! It runs beside who reads, in the errand of the one who asked or in a task of its own. Nothing is kept before the last byte has come and the framing has said that it was the last:
//! half a body is never an entry.

use std::sync::Arc;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::Proxy;
use super::called::{Called, READ_HERE_BYTES_MAX};
use super::coalesce::Pilot;
use super::job::Facts;
use super::keep::Keeping;
use super::landing::Arrived;
use super::share::New;
use super::tee::{CHUNK_BYTES, Tee};
use crate::object::Key;
use crate::semantics::NotStored;
use crate::shared::{Landed, Lease};
use crate::upstream::{BodyError, Connector, Received};

impl<C: Connector> Proxy<C> {
    /// Moves the body from the upstream to its readers and, when it is whole, into memory and to the other instances. The
    /// lease is given back as soon as they need not wait for it.
    pub(super) async fn pump(&self, keeping: Box<Keeping>, pilot: Option<&Pilot>, mut lease: Option<Lease>) {
        let Keeping { arrived, key, mut body, facts, called, base, around } = *keeping;
        let tee = &arrived.tee;
        let _ends = EndsAnyway(&arrived);
        let here = (around.before.len() + around.after.len()) as u64;
        let announced = http_body::Body::size_hint(&body).exact().unwrap_or(0) + here;
        let mut keeps = true;
        let mut come = around.before.len() as u64;
        if come > 0 {
            tee.push(around.before);
        }
        let begun_at = come;
        let waited_for = lease.as_ref().map(Lease::period).unwrap_or_default();
        let over_at = Instant::now() + arrived.lifetime.left(self.clock.now()).min(waited_for);
        let mut end = loop {
            let frame = match next_frame(&mut body, &mut lease, over_at).await {
                None => break Ok(None),
                Some(Err(error)) => break Err(error),
                Some(Ok(frame)) => frame,
            };
            let chunk = match frame.into_data() {
                Ok(chunk) => chunk,
                Err(frame) => break Ok(frame.into_trailers().ok()),
            };
            let before = come.max(announced);
            come += chunk.len() as u64;
            // Before a reader has it: with it the answer would look whole.
            if around.between.is_some_and(|between| come - begun_at > between) {
                break Err(BodyError::BrokenOff);
            }
            let more = come.max(announced) - before + CHUNK_BYTES as u64;
            if keeps && let Some(why) = self.refuse(tee, come, more) {
                keeps = false;
                self.give_up(&arrived, base, facts.route, why, pilot);
                // The rest comes at the pace of who reads it.
                if let Some(lease) = lease.take() {
                    lease.land(if why == NotStored::TooLarge { Landed::NotShared } else { Landed::Failed });
                }
                tee.narrow();
            }
            // It is longer than what lies there may be.
            if lease.is_some() && !self.is_shareable(come) {
                drop(lease.take());
            }
            tee.push(chunk);
            if !keeps && tee.room(self.client_silence_max).await.is_err() {
                return;
            }
            // What comes for nobody, and will be old when it is whole, would only take a place at the upstream.
            let shared = arrived.lifetime.can_be_shared();
            if shared && !arrived.lifetime.is_fresh(self.clock.now()) && !tee.has_readers() {
                return;
            }
        };
        // Fewer bytes than the head said are not the rest of it either.
        if end.is_ok() && around.between.is_some_and(|between| between != come - begun_at) {
            end = Err(BodyError::BrokenOff);
        }
        if end.is_ok() && !around.after.is_empty() {
            tee.push(around.after);
        }
        // A cache may leave trailers out, but then what is kept is not what came (RFC 9110, 6.5): rare enough to pass.
        let whole = matches!(end, Ok(None)) && keeps;
        if whole {
            let is_long = !called.later.is_empty() && tee.whole().len() > READ_HERE_BYTES_MAX;
            if is_long {
                // Its readers need not wait until it is known what it is called.
                tee.end(end);
                return self.keep_whole(&arrived, (facts, called), (base, key), (lease, pilot)).await;
            }
            self.keep_whole(&arrived, (facts, called), (base, key), (lease, pilot)).await;
        } else if keeps {
            let why = if end.is_ok() { NotStored::Trailers } else { NotStored::BrokenOff };
            self.give_up(&arrived, base, facts.route, why, pilot);
        }
        tee.end(end);
    }

    /// All of it has come.
    async fn keep_whole(
        &self,
        arrived: &Arrived,
        (facts, called): (Facts, Called),
        (base, key): (Key, Key),
        (lease, pilot): (Option<Lease>, Option<&Pilot>),
    ) {
        let body = arrived.tee.whole();
        let labels = self.with_body(&called, (&arrived.head.headers, &body)).await;
        let Some(labels) = labels else {
            return self.give_up(arrived, base, facts.route, NotStored::Untaggable, pilot);
        };
        arrived.named(labels.clone());
        let lifetime = self.settled(arrived.lifetime, (&labels, called.ends_at), &facts);
        let stored = self.stored(&arrived.head, body, arrived.part, (lifetime, labels), &facts);
        let place = (base, key, Arc::clone(&arrived.vary));
        if stored.part.is_some() {
            return self.put_part(place, stored, &facts);
        }
        let stored = Arc::new(stored);
        if self.put(key, Arc::clone(&stored)) {
            self.share(&facts, place, &stored, (New::Whole, lease));
        }
        self.uncacheable.forget(&base);
    }

    /// Why a body that has grown to `come` bytes, by `more`, can't be held any longer.
    fn refuse(&self, tee: &Tee, come: u64, more: u64) -> Option<NotStored> {
        if come > self.max_object_bytes {
            return Some(NotStored::TooLarge);
        }
        (!tee.grow(more)).then_some(NotStored::NoRoom)
    }

    /// It will not be kept after all.
    fn give_up(&self, arrived: &Arrived, base: Key, route: usize, why: NotStored, pilot: Option<&Pilot>) {
        arrived.named_never();
        self.snapshot.metrics(route).not_stored(why);
        // A part says nothing of the whole.
        if arrived.part.is_none() {
            self.uncacheable.learn(base, why, false, self.clock.now());
        }
        if let Some(pilot) = pilot {
            pilot.leave();
        }
    }
}

/// The next of the body. When the answer is over before it is whole, other instances need not wait for it any longer: they begin
/// anew, as whoever asks here does. Nor do they when it comes slowly: clients of this instance read along, those of others can't.
async fn next_frame(
    body: &mut Received,
    lease: &mut Option<Lease>,
    over_at: Instant,
) -> Option<Result<Frame<Bytes>, BodyError>> {
    if lease.is_some() {
        match timeout_at(over_at, body.frame()).await {
            Ok(frame) => return frame,
            Err(_) => drop(lease.take()),
        }
    }
    body.frame().await
}

/// If the pump is dropped with its task, at the end of the process, nobody waits for the rest for ever.
struct EndsAnyway<'a>(&'a Arrived);

impl Drop for EndsAnyway<'_> {
    fn drop(&mut self) {
        self.0.tee.end(Err(BodyError::Abandoned));
        self.0.named_never();
    }
}
