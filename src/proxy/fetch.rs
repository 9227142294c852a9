//! Getting an answer that may be kept: one asks for all who want it, the others wait for what comes of that.
//!
//! ```text
//! join ─┬─ began ────▶ fill::fly, an errand ─┐
//!       ├─ waiting ──▶ landing ──────────────┼─ kept ─────▶ read along
//!       └─ already here ▶ a hit              ├─ not kept ─▶ the beginner has it; the others part, each alone
//!                                            └─ failed ───▶ failure, for all
//! ```
//!
//! Nobody waits twice for nothing: who learns that an answer is not to be shared asks alone, at once, beside all others who
//! learnt the same. If a client goes away while it waits, its future is dropped and nothing else changes.

use std::sync::Arc;

use http::request::Parts;
use http::{Response, StatusCode};

use super::Proxy;
use super::body::Body;
use super::client::Client;
use super::coalesce::{Joined, Since};
use super::errand::Errand;
use super::failure::Failure;
use super::fill::Fetched;
use super::flight::{Flight, Portion, Share};
use super::forward::Purpose;
use super::job::is_failure;
use super::keep::Keeping;
use super::landing::{ABANDONED, Arrived, Confirmed, Landing};
use super::lookup::{Found, Looked};
use super::plan::Cacheable;
use super::respond::{self, Account, Trouble, failed, single};
use super::route::Coalesce;
use super::slice;
use super::tee::Reader;
use super::uncacheable::is_bearer;
use crate::object::{Key, Stored};
use crate::semantics::verdict::serves_on_error;
use crate::semantics::{Forward, RequestDirectives, Verdict};
use crate::telemetry::Outcome;
use crate::upstream::{Connector, UpstreamError};

/// How often a request looks again before it asks for itself: an answer may come, vary, and be another's.
const LOOKS_MAX: usize = 3;

/// What a look at what others fetch came to.
pub(super) enum Look {
    /// An answer.
    Answered(Outcome, Response<Body>),
    /// What came was not for this request, but the next may be.
    Again,
    /// Nothing is to be had from others.
    Alone,
}

/// One who wants what has to be fetched. In one piece that stays where it is: what waits with it only borrows it.
pub(super) struct Asker {
    /// Who it is, and what is wanted.
    pub client: Arc<Client>,
    /// What the shared tier was asked for it.
    pub looked: Looked,
    /// As what it is kept.
    pub cacheable: Cacheable,
    /// What there is: looked up a moment ago.
    pub found: Found,
    /// How the answer comes about.
    pub account: Account,
}

/// What a look at the flights begins with: a flight, what was declared since it began, and, if it was begun now, what is done for
/// it and the beginner's share.
type Boarded = (Arc<Flight>, Since, Option<(Errand, Share)>);

impl<C: Connector> Proxy<C> {
    /// Asks the upstream, or waits for what somebody asked for already.
    pub(super) async fn fetch(self: &Arc<Self>, asker: &mut Asker) -> (Outcome, Response<Body>) {
        for _ in 0..LOOKS_MAX {
            if self.goes_alone(asker) {
                break;
            }
            match self.look_at_flights(asker).await {
                Look::Answered(outcome, response) => return (outcome, response),
                Look::Again => {
                    asker.looked.renew();
                    let headers = &asker.client.parts.headers;
                    asker.found = self.find_with(&asker.looked, asker.cacheable.key, headers);
                }
                Look::Alone => break,
            }
        }
        asker.account.collapsed = false;
        // Memory may let go of it while the upstream is asked, and then nobody would weigh it.
        asker.found.stored = None;
        Box::pin(self.fetch_alone(asker)).await
    }

    /// Joins the fetch of this key, or begins it; or says what makes that needless.
    fn board(self: &Arc<Self>, asker: &Asker) -> Result<Boarded, Box<Look>> {
        let Asker { client, looked, cacheable, found, account } = asker;
        let headers = &client.parts.headers;
        let job = self.job_about((client, looked.patience), cacheable, found.stored.clone(), Purpose::Keep);
        let job = job.map_err(|failure| Box::new(answered(failed(failure, account))))?;
        let is_here = || {
            let found = self.find(cacheable.key, headers);
            let serves = || found.verdict_for(client.kinds, headers, self.clock.now()) == Verdict::Serve;
            found.stored.is_some() && serves()
        };
        match self.flights.join(found.key, (client, cacheable), |flight| self.labels_of(flight), is_here) {
            Joined::Waiting(flight, since) => Ok((flight, since, None)),
            Joined::Began(flight, pilot, share) => {
                // Here as long as this client waits for it; what is left of it when the answer's head is here, or when this
                // client goes away, is done behind it.
                let errand = Errand::new(Arc::clone(self).fly(job, pilot));
                Ok((flight, Since::Nothing, Some((errand, share))))
            }
            Joined::AlreadyHere => {
                let hit = self.hit(cacheable.key, &client.parts);
                Err(Box::new(hit.map_or(Look::Again, |response| Look::Answered(Outcome::Hit, response))))
            }
        }
    }

    /// Joins the fetch of this key, or begins it, and waits for what comes of it.
    async fn look_at_flights(self: &Arc<Self>, asker: &mut Asker) -> Look {
        let (flight, since, begun) = match self.board(asker) {
            Ok(boarded) => boarded,
            Err(look) => return *look,
        };
        // Boxed: who begins should not carry the room for it about.
        let (landing, portion) = match begun {
            None => (Box::pin(flight.landing()).await, None),
            Some((mut errand, share)) => {
                (errand.until(|| flight.landed()).await.unwrap_or(ABANDONED), Some(share))
            }
        };
        let Asker { client, cacheable, found, account, .. } = asker;
        let headers = &client.parts.headers;
        account.collapsed = portion.is_none();
        if since == Since::Something && !Box::pin(self.is_landing_live(&landing)).await {
            // It was asked for before something that this client may know of.
            self.flights.retire(found.key, &flight);
            self.telemetry.coalescing.parted.add_one();
            return Look::Again;
        }
        if let Some(stale) = self.instead(found, &landing, &client.parts, account) {
            return Look::Answered(Outcome::Stale, stale);
        }
        match (landing, portion) {
            (Landing::Failed(error), _) => answered(failed(error.into(), account)),
            (Landing::Confirmed(confirmed), portion) => {
                self.joined_confirmed(&flight, &confirmed, client, account, portion.is_some())
            }
            (Landing::Parted, _) => {
                self.telemetry.coalescing.parted.add_one();
                Look::Alone
            }
            (Landing::Found(found), _) => self.joined_found(&flight, &found, client),
            (landing, Some(portion)) => self.begun(&landing, portion.take(), client, account),
            (Landing::Kept(arrived), None) => self.joined(&flight, found.key, &arrived, client, account),
            (Landing::NotKept(why, _), None) => {
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

    /// What is kept, if the upstream failed and this client may have that instead.
    fn instead(
        &self,
        found: &Found,
        landing: &Landing,
        parts: &Parts,
        account: &Account,
    ) -> Option<Response<Body>> {
        let trouble = match landing {
            Landing::Failed(error) => Trouble::Failure((*error).into()),
            Landing::NotKept(_, status) if is_failure(*status) => Trouble::Answer(*status),
            _ => return None,
        };
        self.stale_instead(found.stored.as_ref(), trouble, parts, account)
    }

    /// For the one who began: its portion was sent before the landing was announced.
    fn begun(&self, landing: &Landing, portion: Option<Portion>, client: &Client, account: &Account) -> Look {
        let parts = &client.parts;
        let response = match portion {
            Some(Portion::Reader(arrived, reader)) => self.along(&arrived, reader, parts, account, true),
            Some(Portion::Confirmed(confirmed)) => self.confirmed_to(&confirmed, parts, account),
            Some(Portion::ConfirmedOnce(confirmed, why)) => {
                self.confirmed_to(&confirmed, parts, &account.clone().not_kept(why))
            }
            Some(Portion::Answer(response)) => match landing {
                Landing::NotKept(why, status) => {
                    single(*response, &account.clone().not_kept(*why).answered(*status))
                }
                _ => return Look::Alone,
            },
            None => return Look::Alone,
        };
        Look::Answered(Outcome::Miss, response)
    }

    /// Asks the upstream without giving others a part in it. What may be kept is kept all the same.
    async fn fetch_alone(self: &Arc<Self>, asker: &Asker) -> (Outcome, Response<Body>) {
        let Asker { client, looked, cacheable, account, .. } = asker;
        let parts = &client.parts;
        let remembered = self.remembers(cacheable, &parts.headers);
        let purpose = if remembered { Purpose::Retry } else { Purpose::Keep };
        let job = match self.job((client, looked), cacheable, purpose) {
            Ok(job) => job,
            Err(failure) => return failed(failure, account),
        };
        let kept = job.terms.kept.clone();
        let fetched = match self.ask(job, &mut None).await {
            Ok(fetched) => fetched,
            Err(error) => {
                let failure = Failure::from(error);
                return self
                    .stale_instead(kept.as_ref(), Trouble::Failure(failure), parts, account)
                    .map_or_else(|| failed(failure, account), |stale| (Outcome::Stale, stale));
            }
        };
        match fetched {
            Fetched::Pass(response, why, status) => {
                if is_failure(status)
                    && let Some(stale) =
                        self.stale_instead(kept.as_ref(), Trouble::Answer(status), parts, account)
                {
                    return (Outcome::Stale, stale);
                }
                (Outcome::Miss, single(*response, &account.clone().not_kept(why).answered(status)))
            }
            Fetched::Confirmed(confirmed) => (Outcome::Miss, self.confirmed_to(&confirmed, parts, account)),
            Fetched::ConfirmedOnce(confirmed, why) => {
                (Outcome::Miss, self.confirmed_to(&confirmed, parts, &account.clone().not_kept(why)))
            }
            Fetched::Keep(keeping) => (Outcome::Miss, self.keep_for(keeping, parts, account).await),
        }
    }

    /// What is to be kept, read along by the one who asked for it.
    pub(super) async fn keep_for(
        self: &Arc<Self>,
        keeping: Box<Keeping>,
        parts: &Parts,
        account: &Account,
    ) -> Response<Body> {
        // A reader before the pump starts, or the beginning might be gone.
        let reader = keeping.arrived.tee.reader();
        let arrived = Arc::clone(&keeping.arrived);
        let proxy = Arc::clone(self);
        // A short body has come with its head: then it is kept at once.
        Errand::new(async move { proxy.pump(keeping, None, None).await }).begin().await;
        match reader {
            Some(reader) => self.along(&arrived, reader, parts, account, true),
            None => failed(UpstreamError::Abandoned.into(), account).1,
        }
    }

    /// Whether this request takes no part in others' fetches.
    fn goes_alone(&self, Asker { client, cacheable, found, account, .. }: &Asker) -> bool {
        // RFC 9111, 5.2.1.4: a client that wants nothing older than its own asking gets nothing that was asked for before,
        // also where nothing is kept yet. What comes for one that says no-store is nobody else's to wait for.
        let wants_its_own = || {
            let asked = RequestDirectives::read(&client.parts.headers);
            asked.no_cache || asked.no_store || asked.max_age.is_some_and(|oldest| oldest.is_zero())
        };
        if (client.kinds.directs_caches() && wants_its_own()) || account.forward == Some(Forward::Request) {
            return true;
        }
        if self.snapshot.routes.get(client.route).coalesce == Coalesce::Off {
            return true;
        }
        // What must be asked about each time, others may not be given either.
        if found.stored.as_ref().is_some_and(|stored| !stored.lifetime.can_be_shared()) {
            return true;
        }
        let remembered = self.remembers(cacheable, &client.parts.headers);
        if remembered {
            self.telemetry.coalescing.remembered.add_one();
        }
        remembered
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
    pub(super) fn along(
        &self,
        arrived: &Arrived,
        reader: Reader,
        parts: &Parts,
        account: &Account,
        is_its_own: bool,
    ) -> Response<Body> {
        let head = arrived.whole_head.as_ref().filter(|_| is_its_own).unwrap_or(&arrived.head);
        respond::arriving(head, arrived, Body::Shared(reader), parts, self.clock.now(), account)
    }

    /// What was kept and has just been found good.
    pub(super) fn confirmed_to(
        &self,
        confirmed: &Confirmed,
        parts: &Parts,
        account: &Account,
    ) -> Response<Body> {
        let account = Account {
            answered: Some(StatusCode::NOT_MODIFIED),
            stored: account.detail.is_none(),
            without_age: !confirmed.was_cached,
            ..account.clone()
        };
        respond::kept(&confirmed.stored, parts, self.clock.now(), &account)
    }

    /// What is kept, though it is stale, where the upstream failed: if the law and this client let it be used.
    pub(super) fn stale_instead(
        &self,
        kept: Option<&Arc<Stored>>,
        trouble: Trouble,
        parts: &Parts,
        account: &Account,
    ) -> Option<Response<Body>> {
        let now = self.clock.now();
        let kept = kept.filter(|kept| {
            self.record.is_live(kept) && slice::has_all(kept, &parts.method, &parts.headers)
        })?;
        serves_on_error(&kept.lifetime, &parts.headers, now).then(|| {
            self.telemetry.validation.failed.add_one();
            respond::instead(kept, trouble, parts, now, account)
        })
    }
}

fn answered((outcome, response): (Outcome, Response<Body>)) -> Look {
    Look::Answered(outcome, response)
}
