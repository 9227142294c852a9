//! What the cache has no business with: the client's own request, in its own words, and an answer for it alone.
//!
//! If the client goes away, the future is dropped and the upstream's connection with it. Upgrades go this way too, and so does
//! what changes things: see `change`.

use std::sync::Arc;

use http::header::ACCEPT_ENCODING;
use http::{Response, StatusCode};
use tokio::time::Instant;

use super::Proxy;
use super::body::Body;
use super::change::{Unanswered, may_change};
use super::client::Client;
use super::failure::Failure;
use super::forward::Purpose;
use super::prepare::passing;
use super::refusal::is_refusal;
use super::respond::{Account, failed, single};
use super::target::Target;
use super::upgrade::{self, Hold};
use crate::object::Stamp;
use crate::semantics::Forward;
use crate::semantics::storable::Times;
use crate::telemetry::Outcome;
use crate::upstream::{Connector, Received, Sent};

impl<C: Connector> Proxy<C> {
    /// Asks the upstream for this client alone, and keeps nothing.
    pub(super) async fn pass(
        self: &Arc<Self>,
        client: Box<Client>,
        sent: Sent,
        account: Account,
    ) -> (Outcome, Response<Body>) {
        let outcome = match account.forward {
            Some(Forward::Bypass | Forward::Method) => Outcome::Bypass,
            _ => Outcome::Miss,
        };
        match self.try_pass(client, sent, &account).await {
            Ok(response) => (outcome, response),
            Err(failure) => failed(failure, &account),
        }
    }

    async fn try_pass(
        self: &Arc<Self>,
        mut client: Box<Client>,
        sent: Sent,
        account: &Account,
    ) -> Result<Response<Body>, Failure> {
        let on_client = client.parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
        let hold = client.parts.extensions.remove::<Hold>();
        let upgrades = client.hop.upgrade.is_some();
        let purpose = if upgrades { Purpose::Upgrade } else { Purpose::Pass };
        let target = client.target(&self.trusted_proxies)?;
        let request = |sent| {
            let mut request = Box::new(self.destination.request(&client, &target, purpose, sent)?);
            if self.reads_answer(&client) {
                request.headers_mut().remove(ACCEPT_ENCODING);
            }
            Ok::<_, http::Error>(request)
        };
        let bytes = sent.bytes();
        let again = || bytes.clone().and_then(|bytes| request(Sent::whole(bytes)).ok());
        let first = request(sent)?;
        let permit = self.client.enter().await?;
        let (stamp, began) = (self.record.stamp(), Instant::now());
        let requested_at = self.clock.now_at(began);
        let unanswered = self.watch(&client, &target);
        let mut response = match self.client.send(permit, first, again, self.client_silence_max).await {
            Ok(response) => response,
            Err(error) => {
                if !error.may_have_arrived() {
                    unanswered.settled();
                }
                return Err(error.into());
            }
        };
        let ended = Instant::now();
        self.snapshot.metrics(client.route).upstream.record(ended - began);
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // Boxed: of most that pass, nothing follows.
            if is_refusal(response.status()) {
                Box::pin(self.was_refused_in_passing(&client, &target)).await;
            }
            if !may_change(&client) {
                unanswered.settled();
                return Ok(single(passing(response), account));
            }
            let times = Times { requested_at, answered_at: self.clock.now_at(ended) };
            let asked = (stamp, times, unanswered);
            return Ok(Box::pin(self.passed_on(&client, &target, response, asked, account)).await);
        }
        unanswered.settled();
        match on_client.filter(|_| upgrades) {
            Some(on_client) => {
                upgrade::splice(on_client, hold, &mut response);
                Ok(upgrade::switching(response, account))
            }
            None => Err(Failure::UnaskedUpgrade),
        }
    }

    /// The upstream's answer to a request that may change something on its way to the client, and what follows from it for what is
    /// kept.
    async fn passed_on(
        self: &Arc<Self>,
        client: &Client,
        target: &Target<'_>,
        mut response: Response<Received>,
        (stamp, times, mut unanswered): (Stamp, Times, Unanswered<'_, C>),
        account: &Account,
    ) -> Response<Body> {
        let terms = self.terms_of_get(client, target, &response);
        let own = self.changed(client, target, (&mut response, stamp, terms.as_ref()), &mut unanswered).await;
        // If the client goes away before this, what may have been changed is declared by that.
        unanswered.settled();
        let (Some(own), Some(terms)) = (own, terms) else {
            return single(passing(response), account);
        };
        match self.new_state(&terms, (response, own, times)) {
            Ok(keeping) => self.keep_for(keeping, &client.parts, account).await,
            Err(response) => single(*response, account),
        }
    }
}
