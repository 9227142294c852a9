//! A HEAD that can't be answered from what is kept: the upstream's head, for the client and for what is kept.

use std::sync::Arc;

use http::{Method, Response, StatusCode};

use super::Proxy;
use super::body::Body;
use super::client::Client;
use super::failure::Failure;
use super::forward::Purpose;
use super::job::{Facts, Job, Terms, is_failure};
use super::plan::Cacheable;
use super::prepare::passing;
use super::respond::{Account, Trouble, failed, single};
use crate::invalidation::Fate;
use crate::object::Stored;
use crate::semantics::NotStored;
use crate::semantics::validation::{self, HeadSays};
use crate::telemetry::Outcome;
use crate::upstream::Connector;

impl<C: Connector> Proxy<C> {
    /// Asks for the head. There is no body to keep; what it says of what is kept is heeded.
    pub(super) async fn head(
        self: &Arc<Self>,
        client: Box<Client>,
        cacheable: Cacheable,
        account: Account,
    ) -> (Outcome, Response<Body>) {
        let (client, looked) = Client::shared_from(client);
        // The client's own conditions go along: what the upstream says of them is for this client alone.
        let job = match self.job((&client, &looked), &cacheable, Purpose::Retry) {
            Ok(job) => job,
            Err(failure) => return failed(failure, &account),
        };
        let Job { request, terms } = job;
        let (response, facts) = match self.exchange(request, &terms).await {
            Ok(exchange) => exchange,
            Err(error) => {
                let failure = Failure::from(error);
                return self
                    .stale_instead(terms.kept.as_ref(), Trouble::Failure(failure), &client.parts, &account)
                    .map_or_else(|| failed(failure, &account), |stale| (Outcome::Stale, stale));
            }
        };
        let status = response.status();
        let kept = terms.kept.clone();
        if is_failure(status)
            && let Some(stale) =
                self.stale_instead(kept.as_ref(), Trouble::Answer(status), &client.parts, &account)
        {
            return (Outcome::Stale, stale);
        }
        let response = passing(response);
        if let (StatusCode::OK, Some(kept)) = (status, kept) {
            self.heed(&kept, &response, facts, terms);
        }
        (Outcome::Miss, single(response, &account.not_kept(NotStored::Method)))
    }

    /// RFC 9111, 4.3.5: "When a cache makes an inbound HEAD request for a target URI and receives a 200 (OK) response, the
    /// cache SHOULD update or invalidate each of its stored GET responses that could have been chosen for that request".
    fn heed(&self, kept: &Arc<Stored>, response: &Response<Body>, facts: Facts, terms: Box<Terms>) {
        let headers = response.headers().clone();
        let length = kept.part.as_deref().map_or(Some(kept.body_bytes().len() as u64), |part| part.total);
        let is_ok = kept.head.status == StatusCode::OK || kept.part.is_some();
        // Something was declared of it while we waited to ask: a head alone does not take that back.
        match self.record.fate(kept) {
            Fate::Live => {}
            Fate::Soft => return,
            Fate::Dead => return self.forget(terms.cacheable.key, terms.headers(), kept),
        }
        match validation::head_says(&headers, &kept.head.headers(), length) {
            // What is kept answers GET: it is judged as an answer to that.
            HeadSays::Same if is_ok && kept.part.is_none() => {
                let terms = Terms { method: Method::GET, ..*terms };
                let _ = self.freshened(kept, &headers, (facts, &mut None), &terms);
            }
            HeadSays::Same | HeadSays::Nothing if is_ok => {}
            _ => self.forget(terms.cacheable.key, terms.headers(), kept),
        }
    }
}
