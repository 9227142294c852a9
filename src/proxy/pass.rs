//! What the cache has no business with: the client's own request, in its own words, and an answer for it alone.
//!
//! If the client goes away, the future is dropped and the upstream's connection with it. Upgrades go this way too.

use http::{Response, StatusCode};
use tokio::time::Instant;

use super::Proxy;
use super::body::Body;
use super::client::Client;
use super::failure::Failure;
use super::forward::Purpose;
use super::respond::{Account, failed, single};
use super::upgrade::{self, Hold};
use crate::semantics::Forward;
use crate::telemetry::Outcome;
use crate::upstream::{Connector, Sent};

impl<C: Connector> Proxy<C> {
    /// Asks the upstream for this client alone, and keeps nothing.
    pub(super) async fn pass(
        &self,
        client: Client,
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
        &self,
        mut client: Client,
        sent: Sent,
        account: &Account,
    ) -> Result<Response<Body>, Failure> {
        let on_client = client.parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
        let hold = client.parts.extensions.remove::<Hold>();
        let upgrades = client.hop.upgrade.is_some();
        let purpose = if upgrades { Purpose::Upgrade } else { Purpose::Pass };
        let target = client.target(&self.trusted_proxies)?;
        let request = self.destination.request(&client, &target, purpose, sent)?;
        let permit = self.client.enter().await?;
        let began = Instant::now();
        let mut response = self.client.send(permit, request, self.client_silence_max).await?;
        self.snapshot.metrics(client.route).upstream.record(began.elapsed());
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(single(response, account));
        }
        match on_client.filter(|_| upgrades) {
            Some(on_client) => {
                upgrade::splice(on_client, hold, &mut response);
                Ok(upgrade::switching(response, account))
            }
            None => Err(Failure::UnaskedUpgrade),
        }
    }
}
