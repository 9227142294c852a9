//! From the upstream into the cache: ask, and decide what becomes of the answer.
//!
//! `ask` is one fetch: a `Job`'s request and our decision about its answer. It is kept (`keep`, `pump`), confirms what is
//! kept (`validate`), completes it (`part`), or is for one client only. `fly` is a fetch for many: an
//! errand of who begins it, so that no client's leaving stops what others wait for.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::header::TRANSFER_ENCODING;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use tokio::time::Instant;

use super::Proxy;
use super::body::Body;
use super::called::Called;
use super::coalesce::Pilot;
use super::flight::Portion;
use super::job::{Facts, Job, Question, Terms, Wants, is_failure};
use super::keep::Keeping;
use super::landing::Confirmed;
use super::lead::Lead;
use super::prepare::{is_endless, passing};
use super::refusal::is_refusal;
use crate::clock::Timestamp;
use crate::object::Labels;
use crate::semantics::storable::{Asked, Keep, Times, storable};
use crate::semantics::{Lifetime, NotStored, validator};
use crate::shared::{Landed, Lease};
use crate::store::Room;
use crate::upstream::{Connector, Received, Sent, UpstreamError};

/// What came of asking.
#[derive(Debug)]
pub enum Fetched {
    /// It will be kept: pump it.
    Keep(Box<Keeping>),
    /// What was kept is good still, and kept anew.
    Confirmed(Confirmed),
    /// … and may not be kept any longer.
    ConfirmedOnce(Confirmed, NotStored),
    /// It is for one client only. The status is the upstream's. Boxed, for it goes from hand to hand.
    Pass(Box<Response<Body>>, NotStored, StatusCode),
}

impl Fetched {
    /// It is for one client only because of what that one sent: the next may bring what all may have.
    fn is_fault_of_request(&self) -> bool {
        match self {
            Self::Pass(_, why, _) | Self::ConfirmedOnce(_, why) => why.is_of_the_request(),
            Self::Keep(_) | Self::Confirmed(_) => false,
        }
    }
}

/// An answer's head, and what is known of it.
pub(super) type Exchange = (Response<Received>, Facts);

impl<C: Connector> Proxy<C> {
    /// The way of a flight: asks, or lets another instance ask; announces; pumps. The lease is for all instances: an error, or a task
    /// that ends halfway, drops it, and then the others learn that it failed.
    ///
    /// No `async fn`: the future of one has room for its arguments twice, and there are as many of these as fetches under way.
    pub(super) fn fly(self: Arc<Self>, job: Job, mut pilot: Pilot) -> impl Future<Output = ()> + Send {
        let is_led = self.is_led(&job.terms);
        async move {
            let mut lease = None;
            if is_led {
                let key = pilot.key().unwrap_or(job.terms.cacheable.key);
                // Boxed, as all that few flights need: the others should not carry the room for it about.
                match Box::pin(self.lead(&job.terms, key)).await {
                    Lead::Found(found) => return pilot.found(found),
                    Lead::Part => return pilot.part(),
                    Lead::Fetch(taken) => lease = taken.map(Box::new),
                }
            }
            match self.ask(job, &mut lease).await {
                Ok(Fetched::Keep(keeping)) if keeping.arrived.lifetime.can_be_shared() => {
                    // What will not lie in the shared tier, others need not wait for.
                    let lease = lease.filter(|_| self.is_to_be_shared(&keeping)).map(|lease| *lease);
                    pilot.keep(keeping.key, Arc::clone(&keeping.arrived));
                    Box::pin(self.pump(keeping, Some(&pilot), lease)).await;
                }
                Ok(Fetched::Confirmed(confirmed)) if confirmed.stored.lifetime.can_be_shared() => {
                    pilot.confirm(confirmed);
                }
                Ok(fetched) => {
                    if let Some(lease) = lease.filter(|_| !fetched.is_fault_of_request()) {
                        lease.land(Landed::NotShared);
                    }
                    if let Some(keeping) = Self::hand_over(fetched, pilot) {
                        Box::pin(self.pump(keeping, None, None)).await;
                    }
                }
                Err(error) => pilot.fail(error),
            }
        }
    }

    /// What only the one who began the flight may have; given back if it is to be kept all the same.
    fn hand_over(fetched: Fetched, pilot: Pilot) -> Option<Box<Keeping>> {
        match fetched {
            // It is kept to be asked about, or to be used where nothing else is to be had: not by those who wait now.
            Fetched::Keep(keeping) => {
                let status = keeping.arrived.head.status;
                if let Some(reader) = keeping.arrived.tee.reader() {
                    let portion = Portion::Reader(Arc::clone(&keeping.arrived), reader);
                    pilot.hand_over(portion, NotStored::Expired, status);
                }
                return Some(keeping);
            }
            Fetched::Confirmed(confirmed) => {
                let portion = Portion::Confirmed(confirmed);
                pilot.hand_over(portion, NotStored::Expired, StatusCode::NOT_MODIFIED);
            }
            Fetched::ConfirmedOnce(confirmed, why) => {
                let portion = Portion::ConfirmedOnce(confirmed, why);
                pilot.hand_over(portion, why, StatusCode::NOT_MODIFIED);
            }
            Fetched::Pass(response, why, status) => {
                pilot.hand_over(Portion::Answer(response), why, status);
            }
        }
        None
    }

    /// Sends the request and decides over the answer's head. What is kept at once takes the lease along.
    pub(super) async fn ask(
        &self,
        job: Job,
        lease: &mut Option<Box<Lease>>,
    ) -> Result<Fetched, UpstreamError> {
        let Job { request, terms } = job;
        let exchange = self.exchange(request, &terms).await?;
        let (asks_about_kept, asks_for_rest) = match &terms.question {
            Question::None => return Ok(self.decide(exchange, &terms)),
            Question::WhetherGood => (true, false),
            Question::Rest { .. } => (false, true),
        };
        let status = exchange.0.status();
        let fetched = match status {
            StatusCode::NOT_MODIFIED if asks_about_kept => self.confirmed(exchange, &terms, lease),
            // RFC 9110, 13.1.2 has no 412 for a GET; whatever it means, it is about our condition, and the client had none.
            StatusCode::PRECONDITION_FAILED if asks_about_kept => not_wanted(exchange),
            StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED if asks_for_rest => {
                not_wanted(exchange)
            }
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if asks_for_rest => {
                self.completed(exchange, &terms)
            }
            _ => {
                let count = &self.telemetry.validation;
                if is_failure(status) { &count.failed } else { &count.changed }.add_one();
                Some(self.decide(exchange, &terms))
            }
        };
        if let Some(fetched) = fetched {
            return Ok(fetched);
        }
        // It was about something else. Asked plainly, the upstream must say what it has.
        let terms = Box::new(Terms { wants: Wants::Whole, question: Question::None, ..*terms });
        // It could be made before, with more in it.
        let again = self.request(&terms).map_err(|_| UpstreamError::Abandoned)?;
        Box::pin(self.exchange(again, &terms)).await.map(|exchange| self.decide(exchange, &terms))
    }

    /// One request and the head of its answer.
    pub(super) async fn exchange(
        &self,
        request: Box<Request<Sent>>,
        terms: &Terms,
    ) -> Result<Exchange, UpstreamError> {
        // Time in the queue is not the answer's: it must not make it older.
        let permit = self.client.enter().await?;
        // Before the request is sent: whatever is changed from now on may not be in its answer.
        let (stamp, asked_at) = (self.record.stamp(), self.clock.monotonic());
        let began = Instant::now();
        let requested_at = self.clock.now_at(began);
        let sent =
            self.client.send(permit, request, || self.request(terms).ok(), self.client_silence_max).await;
        let ended = Instant::now();
        let now = self.clock.now_at(ended);
        let is_trouble = |status| is_failure(status) || status == StatusCode::TOO_MANY_REQUESTS;
        let failed = sent.as_ref().map_or(true, |response| is_trouble(response.status()));
        if let Some(kept) = terms.kept.as_ref().filter(|_| failed) {
            kept.was_asked_in_vain(now.plus(ASKED_IN_VAIN_FOR));
        }
        let response = sent?;
        // RFC 9110, 7.8: "A server MUST NOT switch to a protocol that was not indicated by the client in the corresponding
        // request's Upgrade header field". None of these requests had one; told on, it would be the client's connection.
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::Malformed);
        }
        if is_refusal(response.status()) {
            Box::pin(self.was_refused(terms)).await;
        }
        self.snapshot.metrics(terms.route).upstream.record(ended - began);
        let times = Times { requested_at, answered_at: now };
        let Terms { route, here, .. } = *terms;
        Ok((response, Facts { times, asked_at, stamp, route, here }))
    }

    /// Whether it is kept, and how.
    pub(super) fn decide(&self, (response, facts): Exchange, terms: &Terms) -> Fetched {
        let status = response.status();
        let decided = if terms.is_better_kept(status, facts.times.answered_at) {
            Err(NotStored::Failure)
        } else {
            self.storable(terms, status, response.headers(), &facts).and_then(|(keep, called)| {
                let room = self.roomy(&response)?;
                Ok((keep, called, (room, self.place(terms, response.headers()))))
            })
        };
        match decided {
            Ok((keep, called, place)) => {
                Fetched::Keep(Box::new(Self::keeping(response, keep, place, (facts, called, terms))))
            }
            Err(why) => {
                self.snapshot.metrics(terms.route).not_stored(why);
                self.learn(terms, &response, why, facts.times.answered_at);
                Fetched::Pass(Box::new(passing(response)), why, status)
            }
        }
    }

    /// What an answer that is not kept says of what is, and of the answers that are to come.
    fn learn(&self, terms: &Terms, response: &Response<Received>, why: NotStored, now: Timestamp) {
        let status = response.status();
        // What answers a range or a client's own condition says nothing of the whole.
        if terms.wants == Wants::Part || matches!(status.as_u16(), 206 | 304 | 412 | 416) {
            return;
        }
        // RFC 9111, 4.3.3: "A full response (i.e., one containing content) indicates that none of the stored responses nominated
        // in the conditional request are suitable." But a refusal says something of who asks, and an error of the moment.
        let is_of_the_resource =
            status.is_success() || matches!(status.as_u16(), 300 | 301 | 308 | 404 | 405 | 410 | 451);
        let is_of_the_moment = status.is_server_error() || (terms.kept.is_some() && !is_of_the_resource);
        self.uncacheable.learn(terms.cacheable.key, why, is_of_the_moment, now);
        if let Some(kept) = terms.kept.as_ref().filter(|_| is_of_the_resource && !why.is_of_the_request()) {
            // The same once more, but of a kind that can't be held just now.
            let is_the_same = matches!(
                why,
                NotStored::TooLarge | NotStored::NoRoom | NotStored::Endless | NotStored::CloseDelimited
            ) && !validator::differ(&kept.head.headers(), response.headers());
            if !is_the_same {
                self.forget(terms.cacheable.key, terms.headers(), kept);
            }
        }
    }

    /// What the law says of an answer on these terms, and what it can be called by, as far as its head tells.
    pub(super) fn storable(
        &self,
        terms: &Terms,
        status: StatusCode,
        headers: &HeaderMap,
        facts: &Facts,
    ) -> Result<(Keep, Called), NotStored> {
        let asked = Asked {
            method: &terms.method,
            method_is_cached: terms.cacheable.by_body,
            headers: terms.headers(),
            audience: terms.cacheable.audience,
            declared_shared: terms.cacheable.declared_shared,
            undeclared_credential: terms.cacheable.undeclared_credential,
            wants_part: terms.wants != Wants::Whole,
        };
        let policy = &self.snapshot.routes.get(terms.route).policy;
        let keep = storable(&asked, status, headers, policy, facts.times, self.dice.roll())?;
        // Not sooner: what is not kept is called by nobody.
        let called = self.called_on(terms).ok_or(NotStored::Untaggable)?;
        let labels = self.with_head(&called, headers).ok_or(NotStored::Untaggable)?;
        // Of a part nobody knows what the whole is called.
        if status == StatusCode::PARTIAL_CONTENT && !called.later.is_empty() {
            return Err(NotStored::Untaggable);
        }
        let lifetime = self.settled(keep.lifetime, (&labels, called.ends_at), facts);
        Ok((Keep { lifetime, ..keep }, Called { labels, ..called }))
    }

    /// A lifetime that ends with the token of who asks, or soon, where the backend may not have settled.
    pub(super) fn settled(
        &self,
        lifetime: Lifetime,
        (labels, ends_at): (&Labels, Option<Timestamp>),
        facts: &Facts,
    ) -> Lifetime {
        let settle = self.snapshot.routes.get(facts.route).settle;
        let settle = self.record.settles(labels, facts.asked_at, settle);
        let settled_at = settle.map(|settle| facts.times.answered_at.plus(settle));
        [ends_at, settled_at].into_iter().flatten().fold(lifetime, Lifetime::ending)
    }

    /// Whether a body like this can be held whole.
    fn roomy(&self, response: &Response<Received>) -> Result<Room, NotStored> {
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
        Ok(room)
    }
}

/// Gives its place at the upstream back, before who asks again waits for one.
fn not_wanted(exchange: Exchange) -> Option<Fetched> {
    drop(exchange);
    None
}

/// How long the news that the upstream failed is fresh: those who may have what is kept are spared the wait.
const ASKED_IN_VAIN_FOR: Duration = Duration::from_secs(1);
