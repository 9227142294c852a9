//! `Hit`: what is kept for a request, at one moment; and the last of each answer: in which form it goes out, and how it is counted.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response};
use tokio::time::Instant;

use super::Proxy;
use super::body::Body;
use super::client::Client;
use super::message::{Answer, Form, Message};
use super::respond::{self, Account};
use crate::clock::Timestamp;
use crate::object::Stored;
use crate::telemetry::Outcome;

/// What is kept for a request, at one moment.
pub(super) struct Hit {
    pub(super) stored: Arc<Stored>,
    pub(super) now: Timestamp,
    pub(super) account: Account,
}

impl Hit {
    pub(super) fn response(&self, request: &Parts) -> Response<Body> {
        respond::kept(&self.stored, request, self.now, &self.account)
    }
}

impl<C> Proxy<C> {
    /// What is kept, in the form that is best.
    pub(super) fn kept(
        &self,
        client: Client,
        hit: &Hit,
        form: Form,
        (outcome, began): (Outcome, Instant),
    ) -> Answer {
        let Hit { stored, now, account } = hit;
        let message = match form {
            Form::Message if !client.kinds.has_condition() => {
                let message = Message::of(stored, &client.parts.method, *now, account);
                message.map(|message| message.sent_from(self.arena.as_ref()))
            }
            Form::Message | Form::Response => None,
        };
        let Some(message) = message else {
            let response = respond::kept(stored, &client.parts, *now, account);
            let is_head = client.parts.method == Method::HEAD;
            return self.said(response, client.route, is_head, (outcome, began));
        };
        self.snapshot.metrics(client.route).answered(outcome, began.elapsed());
        let mut headers = client.parts.headers;
        headers.clear();
        Answer::Message(message, headers)
    }

    /// Counts an answer, and says what has to be said of each.
    pub(super) fn said(
        &self,
        mut response: Response<Body>,
        route: usize,
        is_head: bool,
        (outcome, began): (Outcome, Instant),
    ) -> Answer {
        if is_head {
            respond::leave_out_body(&mut response);
        }
        let took = began.elapsed();
        self.snapshot.metrics(route).answered(outcome, took);
        if self.debug {
            respond::add_timing(response.headers_mut(), took);
        }
        Answer::Response(response)
    }
}
