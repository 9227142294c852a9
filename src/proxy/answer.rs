//! The way of a request: what can be said at once, and where it goes if nothing can.
//!
//! ```text
//! hop, target ─▶ plan ─▶ find ─▶ verdict ─┬─ Serve, ServeStale ──────▶ hit: a message, or respond::kept
//!     │          │ │              ▲        ├─ nothing that will do ───▶ look_beyond, and the verdict once more
//!     │          │ │                      ├─ ServeAndRefresh ────────▶ the same, and refresh behind it
//!     │          │ │                      ├─ OnlyIfCached ───────────▶ failure (504)
//!     │          │ │                      └─ Ask ─▶ fetch ─┬─ kept ──▶ respond::arriving
//!     ▼          │ │                              head     ├─ a 304 ─▶ validate ─▶ respond::kept
//!  failure    Read Pass                           part     ├─ not ───▶ respond::single
//!  (400)         │ ▼                                       └─ failed ▶ respond::instead, or failure
//!                │ pass ─▶ change, respond::single
//!                └▶ buffered: the body, then plan once more
//! ```
//!
//! `first` answers hits without waiting for anything, and without a future. What has to wait is boxed apart from it. If the client
//! goes away its future is dropped where it stands: a pass ends with it, a fetch for many does not.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{IF_NONE_MATCH, RANGE};
use http::request::Parts;
use http::{Method, Request, Response};
use tokio::time::Instant;

use super::Proxy;
use super::body::Body;
use super::buffered::Buffered;
use super::client::Client;
use super::failure::Failure;
use super::fetch::Asker;
use super::hit::Hit;
use super::lookup::{Found, Tier};
use super::message::{Answer, Answering, Form};
use super::plan::{Cacheable, Content, PassReason, Plan, Wanted, plan};
use super::respond::{self, Account, Trouble};
use super::route::{BodyPart, WhenCutOff};
use super::target::{BadRequest, Peer};
use crate::clock::Timestamp;
use crate::object::{Key, Stored};
use crate::semantics::{Forward, RequestDirectives, Verdict, conditional, validation};
use crate::telemetry::Outcome;
use crate::upstream::{Connector, Sent};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What can be said at once.
enum First {
    /// All of it.
    Said(Outcome, Response<Body>),
    /// All of it is kept.
    Kept(Outcome, Hit),
    /// The same, and it is to be fetched behind it.
    Refresh(Hit, Cacheable),
    /// Nothing before the shared tier was looked into.
    Beyond(Cacheable),
    /// The upstream must be asked for a head alone.
    Head(Cacheable, Forward),
    /// … for just the range that the client wants.
    Range(Cacheable, Forward),
    /// The upstream must be asked, for an answer that may be kept.
    Fetch(Cacheable, Forward, Found),
    /// The upstream must be asked, for this client alone.
    Pass(Forward, &'static str),
    /// Nothing before its body is read, which is part of the key and no longer than so many bytes.
    Read(u64),
    /// No.
    Fail(Failure),
}

/// … by which route, and under which key.
struct Said {
    first: First,
    route: usize,
    key: Option<Key>,
    /// By its route's word it changes nothing.
    is_read: bool,
}

impl<C: Connector> Proxy<C> {
    /// Answers a request. What is kept may be a message, if the connection takes that `form`.
    pub fn answer<B>(self: &Arc<Self>, request: Request<B>, peer: Peer, form: Form) -> Answering
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let began = Instant::now();
        let (parts, body) = request.into_parts();
        // Not what the head says: HTTP/2 may send a body without announcing it.
        let has_body = !body.is_end_stream();
        let mut client = Client::new(parts, peer);
        let content = if has_body { Content::Unread } else { Content::None };
        let Said { first, route, key, .. } = self.first(&mut client, content, self.clock.now_at(began));
        client.route = route;
        let answer = match first {
            First::Kept(outcome, hit) => self.kept(client, &hit, form, (outcome, began)),
            First::Refresh(hit, cacheable) => {
                self.refresh(&client, &cacheable);
                self.kept(client, &hit, form, (Outcome::Stale, began))
            }
            first => {
                let sent =
                    if has_body { Sent::streaming(body, self.client_silence_max) } else { Sent::Empty };
                let account = Account { key: key.filter(|_| self.debug), ..Account::default() };
                let this = Arc::clone(self);
                // Most of what waits first, by itself: a future in another would be moved once more.
                if let First::Fetch(cacheable, forward, found) = first {
                    let (client, looked) = client.shared();
                    let account = Account { forward: Some(forward), ..account };
                    let mut asker = Asker { client, looked, cacheable, found, account };
                    return Answering::Later(Box::pin(async move {
                        let is_head = asker.client.parts.method == Method::HEAD;
                        let (outcome, response) = this.fetch(&mut asker).await;
                        this.said(response, route, is_head, (outcome, began))
                    }));
                }
                // Boxed, for it goes through many hands.
                let client = Box::new(client);
                return Answering::Later(match first {
                    First::Beyond(cacheable) => Box::pin(async move {
                        let asked = (cacheable, client, sent, account);
                        this.answer_from_beyond(asked, form, began).await
                    }),
                    First::Pass(forward, detail) => Box::pin(async move {
                        let is_head = client.parts.method == Method::HEAD;
                        let account = Account { forward: Some(forward), detail: Some(detail), ..account };
                        let (outcome, response) = this.pass(client, sent, account).await;
                        this.said(response, route, is_head, (outcome, began))
                    }),
                    first => Box::pin(async move {
                        let is_head = client.parts.method == Method::HEAD;
                        let (outcome, response) = this.follow(first, client, sent, account).await;
                        this.said(response, route, is_head, (outcome, began))
                    }),
                });
            }
        };
        Answering::Now(Some(answer))
    }

    /// What can be said once the shared tier was looked into. A future of its own: what may have to wait for an upstream is ten times
    /// as large, and a hit from the tier has no use for it.
    async fn answer_from_beyond(
        self: &Arc<Self>,
        (cacheable, mut client, sent, account): (Cacheable, Box<Client>, Sent, Account),
        form: Form,
        began: Instant,
    ) -> Answer {
        match self.first_from_beyond(cacheable, &mut client).await {
            First::Kept(outcome, hit) => self.kept(*client, &hit, form, (outcome, began)),
            first => {
                let (route, is_head) = (client.route, client.parts.method == Method::HEAD);
                let (outcome, response) = Box::pin(self.follow(first, client, sent, account)).await;
                self.said(response, route, is_head, (outcome, began))
            }
        }
    }

    async fn first_from_beyond(self: &Arc<Self>, cacheable: Cacheable, client: &mut Client) -> First {
        let found = self.look_beyond(client, &cacheable).await;
        // The clock has gone on while it was looked for.
        let now = self.clock.now();
        let verdict = found.verdict_for(client.kinds, &client.parts.headers, now);
        self.judge(client, cacheable, now, (&found, verdict))
    }

    /// All that has to wait. What is seldom waited for is boxed: each request would carry the room for it about.
    async fn follow(
        self: &Arc<Self>,
        first: First,
        mut client: Box<Client>,
        sent: Sent,
        account: Account,
    ) -> (Outcome, Response<Body>) {
        match first {
            First::Said(outcome, response) => (outcome, response),
            First::Kept(outcome, hit) => (outcome, hit.response(&client.parts)),
            First::Refresh(hit, cacheable) => {
                self.refresh(&client, &cacheable);
                (Outcome::Stale, hit.response(&client.parts))
            }
            First::Fail(failure) => respond::failed(failure, &account),
            First::Beyond(cacheable) => {
                let first = Box::pin(self.first_from_beyond(cacheable, &mut client)).await;
                Box::pin(self.follow(first, client, sent, account)).await
            }
            First::Fetch(cacheable, forward, found) => {
                let (client, looked) = Client::shared_from(client);
                let account = Account { forward: Some(forward), ..account };
                let mut asker = Asker { client, looked, cacheable, found, account };
                Box::pin(self.fetch(&mut asker)).await
            }
            First::Head(cacheable, forward) => {
                let account = Account { forward: Some(forward), ..account };
                Box::pin(self.head(client, cacheable, account)).await
            }
            First::Range(cacheable, forward) => {
                let account = Account { forward: Some(forward), ..account };
                Box::pin(self.fetch_range(client, cacheable, account)).await
            }
            First::Pass(forward, detail) => {
                let account = Account { forward: Some(forward), detail: Some(detail), ..account };
                Box::pin(self.pass(client, sent, account)).await
            }
            First::Read(max_bytes) => match Box::pin(self.buffer(sent, max_bytes)).await {
                Ok(Buffered::Whole(body)) => self.follow_with_body(client, body).await,
                Ok(Buffered::Not(why, sent)) => {
                    let is_raw = self.snapshot.routes.get(client.route).key.body == BodyPart::Raw;
                    client.is_read = is_raw && !is_writers(&client.parts);
                    let reason = PassReason::Unkeyed(why);
                    let (forward, detail) = (Some(reason.forward()), Some(reason.reason()));
                    Box::pin(self.pass(client, sent, Account { forward, detail, ..account })).await
                }
                Err(failure) => respond::failed(failure, &account),
            },
        }
    }

    /// The same, now that the body is here; the clock has gone on while it came.
    async fn follow_with_body(
        self: &Arc<Self>,
        mut client: Box<Client>,
        body: Bytes,
    ) -> (Outcome, Response<Body>) {
        let Said { first, key, is_read, .. } = self.say(&client, Content::Read(&body), self.clock.now());
        client.is_read =
            is_read && !is_writers(&client.parts) && !conditional::for_origin(&client.parts.headers);
        let account = Account { key: key.filter(|_| self.debug), ..Account::default() };
        client.body = body.clone();
        Box::pin(self.follow(first, client, Sent::whole(body), account)).await
    }

    /// What can be said without asking anybody.
    fn first(&self, client: &mut Client, content: Content<'_>, now: Timestamp) -> Said {
        match client.take_hop() {
            Ok(()) => self.say(client, content, now),
            Err(bad) => self.refused(bad),
        }
    }

    fn refused(&self, bad: BadRequest) -> Said {
        let route = self.snapshot.routes.unrouted_index();
        Said { first: First::Fail(bad.into()), route, key: None, is_read: false }
    }

    fn say(&self, client: &Client, content: Content<'_>, now: Timestamp) -> Said {
        let target = match client.target(&self.trusted_proxies) {
            Ok(target) => target,
            Err(bad) => return self.refused(bad),
        };
        let parts = &client.parts;
        let wanted = Wanted {
            body: content,
            upgrade: client.hop.upgrade.is_some(),
            ..client.wanted(&target, &parts.method)
        };
        let routed = plan(&wanted, &self.snapshot.routes, &self.snapshot.identity);
        // What can't be read as JSON may be a mutation; of raw bytes the route has it that they are not.
        let is_raw = self.snapshot.routes.get(routed.route).key.body == BodyPart::Raw;
        let is_read = match routed.plan {
            Plan::Cache(_) => true,
            Plan::Pass(reason) => is_raw && reason.is_read(),
            Plan::Read(_) => false,
        };
        let (first, key) = match routed.plan {
            Plan::Pass(reason) => (First::Pass(reason.forward(), reason.reason()), None),
            Plan::Read(max_bytes) => (First::Read(max_bytes), None),
            Plan::Cache(cacheable) => {
                (self.look((client, routed.route), cacheable, now), Some(cacheable.key))
            }
        };
        Said { first, route: routed.route, key, is_read }
    }

    /// What can be said of a request with a key.
    fn look(&self, (client, route): (&Client, usize), cacheable: Cacheable, now: Timestamp) -> First {
        let Client { parts, kinds, .. } = client;
        // RFC 9111, 4.3.2: such conditions "only apply to an origin server".
        if kinds.has_condition() && (is_writers(parts) || conditional::for_origin(&parts.headers)) {
            // RFC 9111, 5.2.1.7: a client that says so gets nothing from the upstream, whatever else it says.
            if RequestDirectives::read(&parts.headers).only_if_cached {
                return First::Fail(Failure::OnlyIfCached);
            }
            return First::Pass(Forward::Bypass, "the request has a condition for the upstream");
        }
        // Asked before memory is looked at: what is trusted at a moment after the request came has applied all that was acknowledged
        // before it, and forgets none of that until memory is looked at. The other way round, trust could come back in between, and
        // what was found before it be given.
        let is_trusted = self.record.is_trusted();
        let mut found = self.find(cacheable.key, &parts.headers);
        // Nobody waits for us any more: what is declared invalid may not have come here.
        if !is_trusted {
            if self.snapshot.routes.get(route).when_cut_off == WhenCutOff::Bypass {
                let only_if_cached = RequestDirectives::read(&parts.headers).only_if_cached;
                let pass = First::Pass(Forward::Bypass, "cut-off");
                return if only_if_cached { First::Fail(Failure::OnlyIfCached) } else { pass };
            }
            found.tier = Tier::CutOff;
        }
        let verdict = found.verdict_for(*kinds, &parts.headers, now);
        if !verdict.serves() && self.is_worth_a_look((parts, route), &cacheable, (&found, verdict), now) {
            return First::Beyond(cacheable);
        }
        self.judge(client, cacheable, now, (&found, verdict))
    }

    /// What can be said of it, now that this was found.
    fn judge(
        &self,
        Client { parts, kinds, .. }: &Client,
        cacheable: Cacheable,
        now: Timestamp,
        (found, verdict): (&Found, Verdict),
    ) -> First {
        let account = Account { key: Some(found.key).filter(|_| self.debug), ..Account::default() };
        let is_head = parts.method == Method::HEAD;
        if let (Verdict::Ask(_), Some(stored)) = (verdict, &found.stored)
            && stored.is_asked_in_vain(now)
            && let Some(response) = self.stale_instead(Some(stored), Trouble::Before, parts, &account)
        {
            return First::Said(Outcome::Stale, response);
        }
        let hit = |stored: &Arc<Stored>, detail| Hit {
            stored: Arc::clone(stored),
            now,
            account: Account { detail: Some(detail), ..account },
        };
        match (verdict, &found.stored) {
            // RFC 9110, 14.2: Range means nothing in a HEAD, which so is for the head of the whole.
            (verdict, Some(stored)) if is_head && verdict.serves() && stored.part.is_some() => {
                if RequestDirectives::read(&parts.headers).only_if_cached {
                    First::Fail(Failure::OnlyIfCached)
                } else {
                    First::Head(cacheable, Forward::Partial)
                }
            }
            (Verdict::Serve, Some(stored)) => First::Kept(Outcome::Hit, hit(stored, found.tier.word())),
            (Verdict::ServeStale, Some(stored)) => {
                // A client that wants nobody asked is given what may be used while it is fetched anew, and nothing is fetched.
                let is_its_wish = RequestDirectives::read(&parts.headers).max_stale.is_some();
                let detail = if is_its_wish { "max-stale" } else { "stale-while-revalidate" };
                First::Kept(Outcome::Stale, hit(stored, detail))
            }
            (Verdict::ServeAndRefresh, Some(stored)) => {
                let hit = hit(stored, "stale-while-revalidate");
                // A head alone would refresh nothing.
                if is_head { First::Kept(Outcome::Stale, hit) } else { First::Refresh(hit, cacheable) }
            }
            (Verdict::OnlyIfCached, _) => First::Fail(Failure::OnlyIfCached),
            (Verdict::Ask(forward), _) if is_head => First::Head(cacheable, forward),
            // What a range of an answer to another method means is between the client and the upstream.
            (Verdict::Ask(forward), _)
                if parts.method != Method::GET && parts.headers.contains_key(RANGE) =>
            {
                First::Pass(forward, "a range was asked for")
            }
            // What can be asked about is, as a whole: if it is good still, any range can be cut from it.
            (Verdict::Ask(forward), stored)
                if kinds.has_condition() && wants_range(parts) && !can_be_asked_about(stored.as_ref()) =>
            {
                First::Range(cacheable, forward)
            }
            (Verdict::Ask(forward), _) => First::Fetch(cacheable, forward, found.clone()),
            // Nothing is kept, so nothing can have been found good: asked for all the same.
            (_, None) => First::Fetch(cacheable, Forward::UriMiss, found.clone()),
        }
    }
}

/// RFC 9110, 13.1.2: If-None-Match can be used "to prevent an unsafe request method (e.g., PUT) from inadvertently modifying an
/// existing representation", and POST is one wherever it is not a read.
fn is_writers(parts: &Parts) -> bool {
    parts.method == Method::POST && parts.headers.contains_key(IF_NONE_MATCH)
}

fn wants_range(parts: &Parts) -> bool {
    parts.method == Method::GET && parts.headers.contains_key(RANGE)
}

fn can_be_asked_about(stored: Option<&Arc<Stored>>) -> bool {
    stored.is_some_and(|stored| stored.part.is_none() && validation::has_validator(&stored.head.headers()))
}
