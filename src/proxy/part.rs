//! Parts of an answer: asked for, put together, completed.
//!
//! A range that is not kept is asked for alone, as the client asks for it; what comes is kept as a part. Parts of one
//! representation become one where they touch, and the whole once nothing is missing. Who then asks for the whole costs the
//! upstream no more than the rest. Invariant: bytes are put together only under one strong validator.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, DATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::Proxy;
use super::body::Body;
use super::client::Client;
use super::failure::Failure;
use super::fill::{Exchange, Fetched};
use super::forward::Purpose;
use super::job::{Facts, Job, Terms, is_failure};
use super::keep::{Around, Keeping};
use super::plan::Cacheable;
use super::prepare::{add_date, compact, prepare};
use super::respond::{Account, Trouble, failed, single};
use super::share::{New, Shelf};
use crate::object::{Head, Stored};
use crate::semantics::range::{ContentRange, combine};
use crate::semantics::{validation, validator};
use crate::telemetry::Outcome;
use crate::upstream::Connector;

impl<C: Connector> Proxy<C> {
    /// Asks the upstream for just what this client asks for. Others who want the same do so too: what is in one range
    /// is seldom what another wants.
    pub(super) async fn fetch_range(
        self: &Arc<Self>,
        client: Box<Client>,
        cacheable: Cacheable,
        account: Account,
    ) -> (Outcome, Response<Body>) {
        let (client, looked) = Client::shared_from(client);
        let parts = &client.parts;
        let job = match self.job((&client, &looked), &cacheable, Purpose::Range) {
            Ok(job) => job,
            Err(failure) => return failed(failure, &account),
        };
        let Job { request, terms } = job;
        let kept = terms.kept.as_ref();
        let (response, facts) = match self.exchange(request, &terms).await {
            Ok(exchange) => exchange,
            Err(error) => {
                let failure = Failure::from(error);
                return self
                    .stale_instead(kept, Trouble::Failure(failure), parts, &account)
                    .map_or_else(|| failed(failure, &account), |stale| (Outcome::Stale, stale));
            }
        };
        let status = response.status();
        if is_failure(status)
            && let Some(stale) = self.stale_instead(kept, Trouble::Answer(status), parts, &account)
        {
            return (Outcome::Stale, stale);
        }
        match self.decide((response, facts), &terms) {
            Fetched::Keep(keeping) => (Outcome::Miss, self.keep_for(keeping, parts, &account).await),
            Fetched::Pass(response, why, status) => {
                (Outcome::Miss, single(*response, &account.not_kept(why).answered(status)))
            }
            // Nothing was asked about.
            Fetched::Confirmed(confirmed) | Fetched::ConfirmedOnce(confirmed, _) => {
                (Outcome::Miss, self.confirmed_to(&confirmed, parts, &account))
            }
        }
    }

    /// The answer to a request for the rest of what is kept: the whole. None: it is not the rest.
    pub(super) fn completed(&self, exchange: Exchange, terms: &Terms) -> Option<Fetched> {
        let (response, mut facts) = exchange;
        let kept = terms.kept.as_ref()?;
        let old = kept.part.as_deref().copied()?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return None;
        }
        let new = ContentRange::read(response.headers())?;
        // RFC 9111, 3.4: "if they all share the same strong validator".
        if !validator::are_same_bytes(&kept.head.headers(), response.headers()) {
            return None;
        }
        let whole = old.union(&new).filter(ContentRange::is_whole)?;
        let is_prefix = new.first == old.last + 1;
        let is_suffix = old.first == new.last + 1;
        let announced = http_body::Body::size_hint(response.body()).exact();
        if !(is_prefix || is_suffix) || announced.is_some_and(|length| length != new.length()) {
            return None;
        }
        let total = whole.total?;
        let (parts, body) = response.into_parts();
        let mut by = parts.headers;
        prepare(&mut by, parts.version);
        let mut headers = whole_headers(validation::updated(&kept.head.headers(), &by), total);
        if !by.contains_key(DATE) {
            headers.remove(DATE);
        }
        let (keep, mut called) = self.storable(terms, StatusCode::OK, &headers, &facts).ok()?;
        called.labels = called.labels.and(kept.labels.tags());
        add_date(&mut headers, facts.times.answered_at);
        let mut room = self.filling.room();
        if total > self.max_object_bytes || !room.grow(total) {
            return None;
        }
        let place = self.place(terms, &headers);
        // A change that came between the two names the older bytes.
        facts.stamp = facts.stamp.min(kept.stamp);
        let (before, after) =
            if is_prefix { (kept.body(), Bytes::new()) } else { (Bytes::new(), kept.body()) };
        let around = Around { before, after, between: Some(new.length()) };
        let head = Head { status: StatusCode::OK, headers };
        let facts = (facts, called, terms);
        let keeping = Keeping::new(head, body, (Some(total), room), (keep, place), facts, around);
        Some(Fetched::Keep(Box::new(keeping)))
    }

    /// Keeps a part, together with what is kept already of the same representation.
    pub(super) fn put_part(&self, place: Shelf, new: Stored, facts: &Facts) {
        let key = place.1;
        let now = facts.times.answered_at;
        let Some(old) = self.entry_at(&key) else {
            self.put(key, Arc::new(new));
            return;
        };
        // A few bytes must not take the place of the whole, unless they say that it is another by now.
        let is_other = validator::differ(&old.head.headers(), &new.head.headers());
        let is_of_use =
            old.lifetime.is_fresh(now) || old.lifetime.staleness(now) < old.lifetime.stale.longest();
        if old.part.is_none() && is_of_use && !is_other {
            return;
        }
        let same = validator::are_same_bytes(&old.head.headers(), &new.head.headers());
        let joined = Some(&old).filter(|_| same).and_then(|old| self.joined_parts(old, &new, facts));
        let stored = Arc::new(joined.unwrap_or(new));
        if self.put(key, Arc::clone(&stored)) && stored.part.is_none() {
            self.share(facts, place, &stored, (New::Whole, None));
        }
    }

    /// Both parts as one, or as the whole, if they touch.
    fn joined_parts(&self, old: &Stored, new: &Stored, facts: &Facts) -> Option<Stored> {
        let mut facts = *facts;
        let (old_range, new_range) = (old.part.as_deref()?, new.part.as_deref()?);
        let (range, body) = combine((old_range, &old.body()), (new_range, &new.body()))?;
        if body.len() as u64 > self.max_object_bytes {
            return None;
        }
        facts.stamp = facts.stamp.min(old.stamp);
        let labels = new.labels.and(old.labels.tags());
        // RFC 9111, 3.4: "When combining the new response with one or more stored responses, a cache MUST update the stored
        // response header fields using the header fields provided in the new response, as per Section 3.2."
        let updated = validation::updated(&old.head.headers(), &new.head.headers());
        let length = body.len() as u64;
        if range.is_whole() {
            let head = Head { status: StatusCode::OK, headers: whole_headers(updated, length) };
            return Some(self.stored(&head, body, None, (new.lifetime, labels), &facts));
        }
        let mut headers = whole_headers(updated, length);
        let total = range.total.map_or_else(|| "*".to_owned(), |total| total.to_string());
        let value = format!("bytes {}-{}/{total}", range.first, range.last);
        headers.insert(CONTENT_RANGE, HeaderValue::from_str(&value).ok()?);
        let head = Head { status: StatusCode::PARTIAL_CONTENT, headers };
        Some(self.stored(&head, body, Some(range), (new.lifetime, labels), &facts))
    }
}

/// The fields of the whole, or of a larger part.
fn whole_headers(fields: HeaderMap, length: u64) -> HeaderMap {
    let mut headers = compact(fields);
    headers.remove(CONTENT_RANGE);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers
}
