//! For those who waited while another asked: whether what came is an answer to them too, now.
//!
//! A request may only be given what it could have been given from memory: an answer to what it asks, fresh, and named by nothing
//! that was declared invalid before it came. Else it looks again, or asks alone.

use std::sync::Arc;

use super::Proxy;
use super::client::Client;
use super::fetch::Look;
use super::flight::Flight;
use super::landing::{Arrived, Confirmed, Landing};
use super::lookup::Found;
use super::respond::{self, Account};
use crate::object::{Key, Labels, Stored};
use crate::semantics::verdict::verdict;
use crate::semantics::{Forward, VaryOn, Verdict};
use crate::telemetry::Outcome;
use crate::upstream::Connector;

impl<C> Proxy<C> {
    /// What a flight's answer can be called by, as far as its request tells.
    pub(super) fn labels_of(&self, flight: &Flight) -> Option<Labels> {
        let Flight { client, cacheable, .. } = flight;
        self.called_of(client, client.route, cacheable).map(|called| called.labels)
    }
}

impl<C: Connector> Proxy<C> {
    /// Whether what others fetched is something that could be given from memory now.
    pub(super) async fn is_landing_live(&self, landing: &Landing) -> bool {
        match landing {
            Landing::Kept(arrived) => arrived.is_live(&self.record).await,
            Landing::Confirmed(confirmed) => self.record.is_live(&confirmed.stored),
            // What was found is looked at again; the others have nothing to give.
            Landing::Found(_) | Landing::NotKept(..) | Landing::Parted | Landing::Failed(_) => true,
        }
    }

    /// For all who waited while the upstream was asked whether what is kept is good still, and it is.
    pub(super) fn joined_confirmed(
        &self,
        flight: &Flight,
        confirmed: &Confirmed,
        client: &Client,
        account: &Account,
        began: bool,
    ) -> Look {
        let headers = &client.parts.headers;
        let stored = &confirmed.stored;
        let vary = VaryOn::read(&stored.head.headers()).unwrap_or_default();
        let suits = flight.answers(&vary, headers)
            && verdict(Some(&stored.lifetime), headers, self.clock.now()) == Verdict::Serve;
        if !began && !suits {
            self.telemetry.coalescing.parted.add_one();
            return Look::Alone;
        }
        let outcome = if began { Outcome::Miss } else { Outcome::Collapsed };
        Look::Answered(outcome, self.confirmed_to(confirmed, &client.parts, account))
    }

    /// For all who waited while another instance's answer was looked for, and is there.
    pub(super) fn joined_found(&self, flight: &Flight, found: &Found, client: &Client) -> Look {
        let (headers, now) = (&client.parts.headers, self.clock.now());
        let suits = |stored: &&Arc<Stored>| {
            let vary = VaryOn::read(&stored.head.headers()).unwrap_or_default();
            let is_for_this = flight.answers(&vary, headers) && self.record.is_live(stored);
            is_for_this && found.verdict(headers, now) == Verdict::Serve
        };
        let Some(stored) = found.stored.as_ref().filter(suits) else {
            self.telemetry.coalescing.parted.add_one();
            return Look::Again;
        };
        let account = Account { detail: Some(found.tier.word()), ..Account::default() };
        Look::Answered(Outcome::Hit, respond::kept(stored, &client.parts, now, &account))
    }

    /// For one who joined: an answer that is being kept, if it is an answer to this request, now.
    pub(super) fn joined(
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
            Verdict::Ask(Forward::Stale) | Verdict::ServeStale | Verdict::ServeAndRefresh => {
                self.flights.retire(key, flight);
                return Look::Again;
            }
            _ => return Look::Alone,
        }
        match arrived.tee.reader() {
            Some(reader) => {
                let response = self.along(arrived, reader, &client.parts, account, false);
                Look::Answered(Outcome::Collapsed, response)
            }
            // Its beginning has gone by: it will not be kept.
            None => Look::Alone,
        }
    }
}
