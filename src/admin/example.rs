//! An `Admin` for tests: it holds nothing, and writes down what is declared to it.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Admin, EntryQuestion, Parts, Places, Readiness, Ways};
use crate::clock::{Clock, Timestamp};
use crate::hooks::Hook;
use crate::invalidation::{Event, Outcome, Receipt, Settings, Wait};
use crate::object::Tag;
use crate::secret::Secret;
use crate::telemetry::{self, Telemetry};

pub(super) const TOKEN: &str = "correct horse";
/// When all of it happens: the time of the example of Standard Webhooks. Seconds.
pub(super) const NOW: u64 = 1_614_265_330;

/// What was declared.
pub(super) type Declared = Arc<Mutex<Vec<(Event, Wait, Duration)>>>;

pub(super) fn admin(token: Option<&str>, readiness: Arc<Readiness>) -> Admin {
    Admin::new(Parts { readiness, ..parts(token, receipt(Outcome::Met), Vec::new(), Arc::default()) })
}

/// Everything that is declared comes to this.
pub(super) fn admin_with(receipt: Receipt, hooks: Vec<Hook>, declared: &Declared) -> (Admin, Arc<Telemetry>) {
    let parts = parts(Some(TOKEN), receipt, hooks, Arc::clone(declared));
    let telemetry = Arc::clone(&parts.telemetry);
    (Admin::new(parts), telemetry)
}

fn parts(token: Option<&str>, receipt: Receipt, hooks: Vec<Hook>, declared: Declared) -> Parts {
    let telemetry = Telemetry::new(["user", "unrouted"]).with_hooks(hooks.iter().map(|hook| &*hook.name));
    telemetry.routes[0].answered(telemetry::Outcome::Hit, Duration::from_micros(20));
    let invalidate = move |event, wait, timeout| {
        declared.lock().unwrap().push((event, wait, timeout));
        Box::pin(std::future::ready(receipt.clone())) as super::Acknowledged
    };
    Parts {
        telemetry: Arc::new(telemetry),
        token: token.map(|token| Secret::new(token.to_owned())),
        config: json!({"server": {"admin_token": "…"}}),
        readiness: Arc::default(),
        entry: Box::new(|question| Box::pin(async move { found(&question) })),
        ways: Ways {
            invalidate: Box::new(invalidate),
            resolve: Box::new(url),
            credential: Box::new(|credential| vec![Tag::named(&format!("credential {credential}"))]),
            limits: Settings { body_bytes_max: 1000, ..Settings::default() },
            routes: vec!["user".into(), "unrouted".into()],
            hooks,
            clock: Clock::Simulated { epoch: Timestamp::from_millis(NOW * 1000), started: Instant::now() },
            places: Places::default(),
        },
        started: Instant::now(),
    }
}

pub(super) fn receipt(outcome: Outcome) -> Receipt {
    let lagging = if outcome == Outcome::Late { vec!["b".into()] } else { vec![] };
    let position = (outcome != Outcome::NotLogged).then_some(17);
    Receipt { outcome, position, applied: vec!["a".into()], lagging, is_replay: false }
}

/// What a path with a query is called here.
pub(super) fn url(url: &str) -> Tag {
    Tag::named(&format!("url {url}"))
}

fn found(question: &EntryQuestion) -> Result<Value, String> {
    if question.url == "/unheard-of" {
        return Err("no such thing".to_owned());
    }
    let authorization = question.headers.get("authorization");
    let authorization = authorization.map(|value| value.to_str().unwrap());
    Ok(json!({
        "asked": format!("{} {}", question.method, question.url),
        "by": authorization,
        "body": question.body.len(),
    }))
}

pub(super) async fn ask(
    admin: &Admin,
    request: &str,
    headers: &[(&str, &str)],
) -> (http::response::Parts, String) {
    ask_with_body(admin, request, headers, Empty::<Bytes>::new()).await
}

pub(super) async fn ask_with_body<B>(
    admin: &Admin,
    request: &str,
    headers: &[(&str, &str)],
    body: B,
) -> (http::response::Parts, String)
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send,
{
    let (method, uri) = request.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body).unwrap();
    let (head, body) = admin.answer(request).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head, String::from_utf8(body.into()).unwrap())
}

/// A body of which nothing ever comes.
pub(super) struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}
