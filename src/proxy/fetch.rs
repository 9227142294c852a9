//! Getting an answer that may be kept: one asks for all who want it, the others wait for what comes of that.
//!
//! ```text
//! join ─┬─ began ────▶ fill::fly, a task of its own ─┐
//!       ├─ waiting ──▶ landing ──────────────────────┼─ kept ─────▶ read along
//!       └─ already here ▶ a hit                      ├─ not kept ─▶ the beginner has it; the others part, each alone
//!                                                    └─ failed ───▶ failure, for all
//! ```
//!
//! Nobody waits twice for nothing: who learns that an answer is not to be shared asks alone, at once, beside all others who
//! learnt the same. If a client goes away while it waits, its future is dropped and nothing else changes.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Response};

use super::Proxy;
use super::body::Body;
use super::client::Client;
use super::coalesce::{Arrived, Flight, Joined, Landing, Portion};
use super::failure::Failure;
use super::fill::{Fetched, Job};
use super::forward::Purpose;
use super::plan::Cacheable;
use super::respond::{self, Account, failed, single};
use super::route::Coalesce;
use super::tee::Reader;
use crate::object::Key;
use crate::semantics::verdict::verdict;
use crate::semantics::{Audience, Forward, RequestDirectives, Verdict};
use crate::telemetry::Outcome;
use crate::upstream::{Connector, Sent, UpstreamError};

/// How often a request looks again before it asks for itself: an answer may come, vary, and be another's.
const LOOKS_MAX: usize = 3;

/// What a look at what others fetch came to.
#[expect(clippy::large_enum_variant, reason = "one a fetch, taken apart at once")]
enum Look {
    /// An answer.
    Answered(Outcome, Response<Body>),
    /// What came was not for this request, but the next may be.
    Again,
    /// Nothing is to be had from others.
    Alone,
}

impl<C: Connector> Proxy<C> {
    /// Asks the upstream, or waits for what somebody asked for already.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        client: Client,
        cacheable: Cacheable,
        mut account: Account,
    ) -> (Outcome, Response<Body>) {
        let headers = Arc::new(client.parts.headers.clone());
        for _ in 0..LOOKS_MAX {
            if self.goes_alone(&cacheable, &client, account.forward) {
                break;
            }
            match self.look_at_flights(&client, &cacheable, &headers, &mut account).await {
                Look::Answered(outcome, response) => return (outcome, response),
                Look::Again => {}
                Look::Alone => break,
            }
        }
        account.collapsed = false;
        self.fetch_alone(client, &cacheable, headers, account).await
    }

    /// Joins the fetch of this key, or begins it, and waits for what comes of it.
    async fn look_at_flights(
        self: &Arc<Self>,
        client: &Client,
        cacheable: &Cacheable,
        headers: &Arc<HeaderMap>,
        account: &mut Account,
    ) -> Look {
        let found = self.find(cacheable.key, headers);
        let is_here =
            || self.find(cacheable.key, headers).verdict(headers, self.clock.now()) == Verdict::Serve;
        let (flight, portion) = match self.flights.join(found.key, headers, is_here) {
            Joined::Waiting(flight) => (flight, None),
            Joined::Began(flight, pilot, portion) => {
                let job = match self.job(client, cacheable, headers, Purpose::Keep) {
                    Ok(job) => job,
                    Err(failure) => return answered(failed(failure, account)),
                };
                tokio::spawn(Arc::clone(self).fly(job, pilot));
                (flight, Some(portion))
            }
            Joined::AlreadyHere => {
                let hit = self.hit(cacheable.key, &client.parts);
                return hit.map_or(Look::Again, |response| Look::Answered(Outcome::Hit, response));
            }
        };
        account.collapsed = portion.is_none();
        match (flight.landing().await, portion) {
            (Landing::Failed(error), _) => answered(failed(error.into(), account)),
            (landing, Some(mut portion)) => self.begun(&landing, portion.try_recv().ok(), client, account),
            (Landing::Kept(arrived), None) => self.joined(&flight, found.key, &arrived, client, account),
            (Landing::NotKept(why), None) => {
                self.telemetry.coalescing.parted.add_one();
                // The fault of the one who began: the next may do better, and all who wait here may share that.
                if why.is_of_the_request() && !is_bearer(cacheable, headers) {
                    Look::Again
                } else {
                    Look::Alone
                }
            }
        }
    }

    /// For the one who began: its portion was sent before the landing was announced.
    fn begun(&self, landing: &Landing, portion: Option<Portion>, client: &Client, account: &Account) -> Look {
        match (landing, portion) {
            (Landing::Kept(arrived), Some(Portion::Reader(reader))) => {
                Look::Answered(Outcome::Miss, self.along(arrived, reader, &client.parts, account))
            }
            (Landing::NotKept(why), Some(Portion::Answer(response))) => {
                Look::Answered(Outcome::Miss, single(response, &account.clone().not_kept(*why)))
            }
            _ => Look::Alone,
        }
    }

    /// For one who joined: an answer that is being kept, if it is an answer to this request, now.
    fn joined(
        &self,
        flight: &Arc<Flight>,
        key: Key,
        arrived: &Arc<Arrived>,
        client: &Client,
        account: &Account,
    ) -> Look {
        let headers = &client.parts.headers;
        // Another variant of it.
        if !flight.answers(&arrived.vary, headers) {
            self.telemetry.coalescing.parted.add_one();
            return Look::Again;
        }
        // The head may have come long ago, and the body be coming still.
        match verdict(Some(&arrived.lifetime), headers, self.clock.now()) {
            Verdict::Serve => {}
            Verdict::Ask(Forward::Stale) => {
                self.flights.retire(key, flight);
                return Look::Again;
            }
            _ => return Look::Alone,
        }
        match arrived.tee.reader() {
            Some(reader) => {
                Look::Answered(Outcome::Collapsed, self.along(arrived, reader, &client.parts, account))
            }
            // Its beginning has gone by: it will not be kept.
            None => Look::Alone,
        }
    }

    /// Asks the upstream without giving others a part in it. What may be kept is kept all the same.
    async fn fetch_alone(
        self: &Arc<Self>,
        client: Client,
        cacheable: &Cacheable,
        headers: Arc<HeaderMap>,
        account: Account,
    ) -> (Outcome, Response<Body>) {
        let remembered = self.uncacheable.remembers(
            &cacheable.key,
            is_bearer(cacheable, &client.parts.headers),
            self.clock.now(),
        );
        let purpose = if remembered { Purpose::Retry } else { Purpose::Keep };
        let fetched = match self.job(&client, cacheable, &headers, purpose) {
            Ok(job) => self.ask(job).await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        match fetched {
            Err(failure) => failed(failure, &account),
            Ok(Fetched::Pass(response, why)) => (Outcome::Miss, single(response, &account.not_kept(why))),
            Ok(Fetched::Keep(keeping)) => {
                // A reader before the pump starts, or the beginning might be gone.
                let reader = keeping.arrived.tee.reader();
                let arrived = Arc::clone(&keeping.arrived);
                let proxy = Arc::clone(self);
                tokio::spawn(async move { proxy.pump(*keeping, None).await });
                match reader {
                    Some(reader) => (Outcome::Miss, self.along(&arrived, reader, &client.parts, &account)),
                    None => failed(UpstreamError::Abandoned.into(), &account),
                }
            }
        }
    }

    /// Whether this request takes no part in others' fetches.
    fn goes_alone(&self, cacheable: &Cacheable, client: &Client, forward: Option<Forward>) -> bool {
        // RFC 9111, 5.2.1.4: a client that wants nothing older than its own asking gets nothing that was asked for before,
        // also where nothing is kept yet. What comes for one that says no-store is nobody else's to wait for.
        let asked = RequestDirectives::read(&client.parts.headers);
        let wants_its_own =
            asked.no_cache || asked.no_store || asked.max_age.is_some_and(|oldest| oldest.is_zero());
        if wants_its_own || forward == Some(Forward::Request) {
            return true;
        }
        if self.snapshot.routes.get(client.route).coalesce == Coalesce::Off {
            return true;
        }
        let remembered = self.uncacheable.remembers(
            &cacheable.key,
            is_bearer(cacheable, &client.parts.headers),
            self.clock.now(),
        );
        if remembered {
            self.telemetry.coalescing.remembered.add_one();
        }
        remembered
    }

    fn job(
        &self,
        client: &Client,
        cacheable: &Cacheable,
        headers: &Arc<HeaderMap>,
        purpose: Purpose,
    ) -> Result<Job, Failure> {
        let target = client.target(&self.trusted_proxies)?;
        Ok(Job {
            request: self.destination.request(client, &target, purpose, Sent::Empty)?,
            method: client.parts.method.clone(),
            headers: Arc::clone(headers),
            cacheable: *cacheable,
            route: client.route,
        })
    }

    /// What has come in the meantime.
    fn hit(&self, key: Key, parts: &Parts) -> Option<Response<Body>> {
        let now = self.clock.now();
        let found = self.find(key, &parts.headers);
        let stored = found.stored.as_ref()?;
        let account = Account { key: Some(found.key).filter(|_| self.debug), ..Account::default() };
        (found.verdict(&parts.headers, now) == Verdict::Serve)
            .then(|| respond::kept(stored, parts, now, &account))
    }

    /// An answer that is coming in, read along.
    fn along(&self, arrived: &Arrived, reader: Reader, parts: &Parts, account: &Account) -> Response<Body> {
        respond::arriving(arrived, Body::Shared(reader), parts, self.clock.now(), account)
    }
}

/// Whether the request bears what may keep its answer from being kept, and that of others not.
fn is_bearer(cacheable: &Cacheable, headers: &HeaderMap) -> bool {
    let everyones = cacheable.audience == Audience::Everyone && !cacheable.declared_shared;
    cacheable.undeclared_credential || (everyones && headers.contains_key(AUTHORIZATION))
}

fn answered((outcome, response): (Outcome, Response<Body>)) -> Look {
    Look::Answered(outcome, response)
}
