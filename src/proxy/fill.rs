//! From the upstream into the cache: ask, decide, and pump the body to all who read it and, at its end, into memory.
//!
//! `ask` is one fetch: its answer with our decision about it. `pump` runs in a task of its own, so that no client's leaving
//! stops what others wait for. Nothing is kept before its last byte has come and the framing has said that it was the last:
//! half a body is never an entry.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use http::header::{AGE, CONTENT_TYPE, DATE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;

use super::Proxy;
use super::coalesce::{Arrived, Pilot};
use super::plan::{Cacheable, variant_key};
use super::tee::{CHUNK_BYTES, Tee};
use crate::object::{Head, Key, Stored};
use crate::semantics::storable::{Asked, Times};
use crate::semantics::vary::VaryOn;
use crate::semantics::{Lifetime, NotStored, fields, storable::storable};
use crate::store::{Room, Slot};
use crate::upstream::{BodyError, Connector, Received, Sent, UpstreamError};

/// A fetch to be made, and all that decides over its answer.
#[derive(Debug)]
pub struct Job {
    /// As the upstream gets it.
    pub request: Request<Sent>,
    /// The client's method and fields.
    pub method: Method,
    /// What the client sent.
    pub headers: Arc<HeaderMap>,
    /// Whose the answer may be.
    pub cacheable: Cacheable,
    /// The route's place in the snapshot.
    pub route: usize,
}

/// What came of asking.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one a fetch, moved once; the box is for the other variant")]
pub enum Fetched {
    /// It will be kept: pump it.
    Keep(Box<Keeping>),
    /// It is for one client only.
    Pass(Response<Received>, NotStored),
}

/// An answer that will be kept, once it is whole.
#[derive(Debug)]
pub struct Keeping {
    /// What readers need.
    pub arrived: Arc<Arrived>,
    /// Where it will lie.
    pub key: Key,
    body: Received,
    times: Times,
    route: usize,
    resource: Key,
}

impl<C: Connector> Proxy<C> {
    /// The task of a flight: asks, announces, pumps.
    pub(super) async fn fly(self: Arc<Self>, job: Job, mut pilot: Pilot) {
        match self.ask(job).await {
            Ok(Fetched::Keep(keeping)) => {
                pilot.keep(keeping.key, Arc::clone(&keeping.arrived));
                self.pump(*keeping, Some(&pilot)).await;
            }
            Ok(Fetched::Pass(response, why)) => pilot.hand_over(response, why),
            Err(error) => pilot.fail(error),
        }
    }

    /// Sends the request and decides over the answer's head.
    pub(super) async fn ask(&self, job: Job) -> Result<Fetched, UpstreamError> {
        let Job { request, method, headers, cacheable, route } = job;
        // Time in the queue is not the answer's: it must not make it older.
        let permit = self.client.enter().await?;
        let requested_at = self.clock.now();
        let began = tokio::time::Instant::now();
        let response = self.client.send(permit, request, self.client_silence_max).await?;
        // RFC 9110, 7.8: "A server MUST NOT switch to a protocol that was not indicated by the client in the corresponding
        // request's Upgrade header field". None of these requests had one; told on, it would be the client's connection.
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::Malformed);
        }
        self.snapshot.metrics(route).upstream.record(began.elapsed());
        let times = Times { requested_at, answered_at: self.clock.now() };

        let asked = Asked {
            method: &method,
            headers: &headers,
            audience: cacheable.audience,
            declared_shared: cacheable.declared_shared,
            undeclared_credential: cacheable.undeclared_credential,
        };
        let policy = &self.snapshot.routes.get(route).policy;
        let decided =
            storable(&asked, response.status(), response.headers(), policy, times, self.dice.roll())
                .and_then(|lifetime| self.roomy(&response, lifetime));
        match decided {
            Ok((lifetime, room)) => {
                let key = cacheable.key;
                Ok(Fetched::Keep(Box::new(self.keeping(
                    response,
                    lifetime,
                    room,
                    times,
                    (route, key),
                    &headers,
                ))))
            }
            Err(why) => {
                self.snapshot.metrics(route).not_stored(why);
                let is_error = response.status().is_server_error();
                self.uncacheable.learn(cacheable.key, why, is_error, times.answered_at);
                Ok(Fetched::Pass(response, why))
            }
        }
    }

    /// Whether a body like this can be held whole.
    fn roomy(
        &self,
        response: &Response<Received>,
        lifetime: Lifetime,
    ) -> Result<(Lifetime, Room), NotStored> {
        let headers = response.headers();
        if is_endless(headers) {
            return Err(NotStored::Endless);
        }
        let length = http_body::Body::size_hint(response.body()).exact();
        let chunked = headers.contains_key(TRANSFER_ENCODING);
        // RFC 9112, 8: a close-delimited body can't be told from one that broke off; "A cache MUST NOT store" it unless it
        // is known to be whole (RFC 9111, 3.3 on incomplete responses).
        if length.is_none() && !chunked && response.version() < Version::HTTP_2 {
            return Err(NotStored::CloseDelimited);
        }
        if length.is_some_and(|length| length > self.max_object_bytes) {
            return Err(NotStored::TooLarge);
        }
        let mut room = self.filling.room();
        // What is announced is claimed at once: better not to begin than to give up halfway.
        if !room.grow(length.unwrap_or(0)) {
            return Err(NotStored::NoRoom);
        }
        Ok((lifetime, room))
    }

    fn keeping(
        &self,
        response: Response<Received>,
        lifetime: Lifetime,
        room: Room,
        times: Times,
        (route, resource): (usize, Key),
        request: &HeaderMap,
    ) -> Keeping {
        let length = http_body::Body::size_hint(response.body()).exact();
        let (parts, body) = response.into_parts();
        // `storable` has refused `*`.
        let vary = Arc::new(VaryOn::read(&parts.headers).unwrap_or_default());
        let mut key = resource;
        if !vary.is_empty() {
            key = variant_key(&resource, &vary, request, &self.snapshot.identity);
            // Before anybody hears of the answer: who finds it not to be theirs looks here which variant is.
            self.memory.put_varies(resource, Arc::clone(&vary));
        }
        let mut headers = compact(&parts.headers);
        prepare(&mut headers, parts.version);
        let was_cached = headers.remove(AGE).is_some();
        // RFC 9110, 6.6.1: "A recipient with a clock that receives a response message without a Date header field MUST
        // record the time it was received and append a corresponding Date header field".
        if !headers.contains_key(DATE) {
            let date = httpdate::fmt_http_date(times.answered_at.to_system());
            headers.extend(HeaderValue::from_str(&date).ok().map(|date| (DATE, date)));
        }
        let head = Arc::new(Head { status: parts.status, headers });
        let arrived = Arc::new(Arrived { head, lifetime, vary, was_cached, tee: Tee::new(length, room) });
        Keeping { arrived, key, body, times, route, resource }
    }

    /// Moves the body from the upstream to its readers and, when it is whole, into memory.
    pub(super) async fn pump(&self, keeping: Keeping, pilot: Option<&Pilot>) {
        let Keeping { arrived, key, mut body, times, route, resource } = keeping;
        let tee = &arrived.tee;
        let _ends = EndsAnyway(tee);
        let announced = http_body::Body::size_hint(&body).exact().unwrap_or(0);
        let mut keeps = true;
        let mut come: u64 = 0;
        let end = loop {
            let frame = match body.frame().await {
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
            let more = come.max(announced) - before + CHUNK_BYTES as u64;
            if keeps && let Some(why) = self.refuse(tee, come, more) {
                keeps = false;
                self.give_up(resource, route, why, pilot);
                tee.narrow();
            }
            tee.push(chunk);
            if !keeps && tee.room(self.client_silence_max).await.is_err() {
                return;
            }
            // What comes for nobody, and will be old when it is whole, would only take a place at the upstream.
            if !arrived.lifetime.is_fresh(self.clock.now()) && !tee.has_readers() {
                return;
            }
        };
        // A cache may leave trailers out, but then what is kept is not what came (RFC 9110, 6.5): rare enough to pass.
        let whole = matches!(end, Ok(None)) && keeps;
        if whole {
            let (head, has_cache_status) = arrived.head.for_hits();
            let stored = Stored {
                head,
                has_cache_status,
                body: tee.whole(),
                requested_at: times.requested_at,
                answered_at: times.answered_at,
                lifetime: arrived.lifetime,
                route: Arc::clone(&self.snapshot.routes.get(route).name),
            };
            // RFC 9111, 4: "When more than one suitable response is stored, a cache MUST use the most recent one": a long body
            // that was asked for earlier must not take the place of what was asked for later and is here already.
            let has_newer = matches!(
                self.memory.get(&key),
                Some(Slot::Entry(kept)) if kept.requested_at > times.requested_at
            );
            if !has_newer {
                self.memory.put(key, Arc::new(stored));
            }
            self.uncacheable.forget(&resource);
        } else if keeps {
            let why = if end.is_ok() { NotStored::Trailers } else { NotStored::BrokenOff };
            self.give_up(resource, route, why, pilot);
        }
        tee.end(end);
    }

    /// Why a body that has grown to `come` bytes, by `more`, can't be held any longer.
    fn refuse(&self, tee: &Tee, come: u64, more: u64) -> Option<NotStored> {
        if come > self.max_object_bytes {
            return Some(NotStored::TooLarge);
        }
        (!tee.grow(more)).then_some(NotStored::NoRoom)
    }

    /// It will not be kept after all.
    fn give_up(&self, resource: Key, route: usize, why: NotStored, pilot: Option<&Pilot>) {
        self.snapshot.metrics(route).not_stored(why);
        self.uncacheable.learn(resource, why, false, self.clock.now());
        if let Some(pilot) = pilot {
            pilot.leave();
        }
    }
}

/// If the pump is dropped with its task, at the end of the process, nobody waits for the rest for ever.
struct EndsAnyway<'t>(&'t Tee);

impl Drop for EndsAnyway<'_> {
    fn drop(&mut self) {
        self.0.end(Err(BodyError::Abandoned));
    }
}

/// Server-sent events go on as long as both sides live.
pub(super) fn is_endless(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    let kind = kind.as_bytes();
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or(kind).trim_ascii();
    essence.eq_ignore_ascii_case(b"text/event-stream")
}

/// An upstream's head without what belongs to its connection, and with our name.
pub(super) fn prepare(headers: &mut HeaderMap, version: Version) {
    fields::strip_hop_by_hop(headers);
    fields::append_via(headers, version);
}

/// The same fields in one piece of memory of their own. As they come from hyper they are slices of the connection's
/// read buffer, and would keep all of it alive for as long as the entry lives.
fn compact(headers: &HeaderMap) -> HeaderMap {
    let mut buffer = BytesMut::with_capacity(headers.values().map(HeaderValue::len).sum());
    for value in headers.values() {
        buffer.put_slice(value.as_bytes());
    }
    let mut values = buffer.freeze();
    let mut compact = HeaderMap::with_capacity(headers.len() + 4);
    for (name, value) in headers {
        // The bytes were a header value a moment ago.
        if let Ok(mut own) = HeaderValue::from_maybe_shared(values.split_to(value.len())) {
            own.set_sensitive(value.is_sensitive());
            compact.append(name, own);
        }
    }
    compact
}
