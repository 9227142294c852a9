//! `POST /invalidate` and `PURGE /any/path`: somebody who may says what is invalid, and is told who has applied it.
//!
//! 200 only when those who were to be waited for have applied it. All other answers may be followed by the same order once
//! more: to declare something twice is harmless.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode, Uri};
use serde::Serialize;

use super::places::Places;
use super::reply::json;
use crate::clock::Clock;
use crate::hooks::{self, BadOrder, Draft, Hook, Order, TIMEOUT, Terms};
use crate::invalidation::{Event, Outcome, Receipt, Settings, Wait};
use crate::object::Tag;
use crate::problem::{problem, problem_with};
use crate::telemetry::Telemetry;
use crate::telemetry::invalidation::{InvalidationOutcome, Source};

/// Declares something invalid, and waits for those it is told to wait for, at most so long.
pub type Invalidate = Box<dyn Fn(Event, Wait, Duration) -> Acknowledged + Send + Sync>;

/// Who has applied it. What was declared stays so if nobody waits for this any more.
pub type Acknowledged = Pin<Box<dyn Future<Output = Receipt> + Send>>;

/// What entries are called that have to do with this.
pub type Called<T> = Box<dyn Fn(&str) -> T + Send + Sync>;

/// All that it takes to declare something from outside.
pub struct Ways {
    /// Declares it.
    pub invalidate: Invalidate,
    /// What the entries of a path with a query are called.
    pub resolve: Called<Tag>,
    /// All that the entries of who bears a credential are called.
    pub credential: Called<Vec<Tag>>,
    /// How much may be declared at once.
    pub limits: Settings,
    /// The names of all routes.
    pub routes: Vec<Arc<str>>,
    /// Who may send messages.
    pub hooks: Vec<Hook>,
    /// What their timestamps are held against.
    pub clock: Clock,
    /// How many of them there may be at once.
    pub places: Places,
}

/// What is answered, whatever the status.
#[derive(Serialize)]
struct Report<'r> {
    /// A text: not every reader of JSON has numbers of 64 bits.
    position: Option<String>,
    applied: &'r [String],
    lagging: &'r [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replay: bool,
}

impl Ways {
    /// What has to be known to read what is declared.
    pub(super) fn terms(&self) -> Terms<'_> {
        Terms {
            limits: self.limits,
            routes: &self.routes,
            resolve: &self.resolve,
            credential: &self.credential,
        }
    }

    /// By the body of `POST /invalidate`.
    pub(super) async fn order(&self, body: &[u8], telemetry: &Telemetry) -> Response<Bytes> {
        match Order::read(body, &self.terms()) {
            Ok(Order { event, wait, timeout }) => {
                let receipt = self.declare(Source::Api, event, wait, timeout, telemetry).await;
                answer(&receipt, timeout)
            }
            Err(BadOrder::Wrong(why)) => problem(StatusCode::BAD_REQUEST, &why),
            Err(BadOrder::TooMuch(why)) => problem(StatusCode::PAYLOAD_TOO_LARGE, &why),
        }
    }

    /// By the target of `PURGE`: the path and all that is kept of it, or with a query that URL alone.
    pub(super) async fn purge(&self, target: &Uri, telemetry: &Telemetry) -> Response<Bytes> {
        let path = target.query().map_or_else(
            || target.path().to_owned(),
            // A `?` with nothing behind it is a query, too.
            |query| format!("{}?{query}", target.path()),
        );
        let mut draft = Draft::new(Event::default(), self.limits, &self.resolve);
        if let Err(why) = draft.path(&path).and_then(|()| hooks::can_be_kept(&path, false)) {
            return problem(StatusCode::BAD_REQUEST, &format!("what is to be purged {why}"));
        }
        let receipt = self.declare(Source::Purge, draft.finish(), Wait::All, TIMEOUT, telemetry).await;
        answer(&receipt, TIMEOUT)
    }

    pub(super) async fn declare(
        &self,
        source: Source,
        event: Event,
        wait: Wait,
        timeout: Duration,
        telemetry: &Telemetry,
    ) -> Receipt {
        let receipt = (self.invalidate)(event, wait, timeout).await;
        if !receipt.is_replay {
            telemetry.invalidation.declared(
                source,
                match receipt.outcome {
                    Outcome::Met => InvalidationOutcome::Met,
                    Outcome::Late => InvalidationOutcome::Late,
                    Outcome::NotLogged => InvalidationOutcome::NotLogged,
                },
            );
        }
        receipt
    }
}

/// What came of it, in a status and in words.
pub(super) fn answer(receipt: &Receipt, timeout: Duration) -> Response<Bytes> {
    let report = Report {
        position: receipt.position.map(|position| position.to_string()),
        applied: &receipt.applied,
        lagging: &receipt.lagging,
        replay: receipt.is_replay,
    };
    match receipt.outcome {
        Outcome::Met => json(StatusCode::OK, &report),
        Outcome::Late => problem_with(StatusCode::GATEWAY_TIMEOUT, &late(receipt, timeout), &report),
        Outcome::NotLogged => {
            let detail = "applied on this instance, but not written to the log, so that no other knows of it: send it again";
            let mut response = problem_with(StatusCode::SERVICE_UNAVAILABLE, detail, &report);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

fn late(receipt: &Receipt, timeout: Duration) -> String {
    let timeout = humantime::format_duration(timeout);
    let applied = match &receipt.applied[..] {
        [] => String::new(),
        names => format!(" (applied by {})", names.join(", ")),
    };
    match &receipt.lagging[..] {
        [] => format!(
            "after {timeout} it is not known who has applied it{applied}; sending it again is harmless"
        ),
        names => format!(
            "not applied within {timeout} by {}, which may still serve what it names{applied}; sending it again is harmless",
            names.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use http::response;
    use http_body_util::Full;
    use serde_json::{Value, json};

    use super::super::Admin;
    use super::super::example::{Declared, TOKEN, admin_with, ask_with_body, receipt, url};
    use super::*;

    async fn ask(admin: &Admin, request: &str, body: &str) -> (response::Parts, Value) {
        let bearer = format!("Bearer {TOKEN}");
        let body = Full::from(body.to_owned());
        let (head, text) = ask_with_body(admin, request, &[("authorization", &bearer)], body).await;
        (head, serde_json::from_str(&text).unwrap())
    }

    const ORDER: &str = r#"{"tags": ["user:5"], "wait": "log", "timeout": "1s"}"#;

    #[tokio::test]
    async fn what_is_ordered_is_declared_and_who_has_applied_it_is_told() {
        let declared = Declared::default();
        let (admin, telemetry) = admin_with(receipt(Outcome::Met), Vec::new(), &declared);
        let (head, body) = ask(&admin, "POST /invalidate", ORDER).await;
        assert_eq!(head.status, 200, "{body}");
        assert_eq!(body, json!({"position": "17", "applied": ["a"], "lagging": []}));
        let event = Event { tags: vec!["user:5".into()], ..Event::default() };
        assert_eq!(*declared.lock().unwrap(), [(event, Wait::Log, Duration::from_secs(1))]);
        assert_eq!(telemetry.invalidation.count(Source::Api, InvalidationOutcome::Met), 1);
    }

    #[tokio::test]
    async fn a_purge_is_of_its_path_or_of_its_url_alone() {
        let declared = Declared::default();
        let (admin, telemetry) = admin_with(receipt(Outcome::Met), Vec::new(), &declared);
        for (target, paths, digests) in [
            ("/users/5", &["/users/5"][..], vec![]),
            ("/a%20b", &["/a%20b"], vec![]),
            ("/stats", &["/stats"], vec![]),
            ("/a?b=1&c", &[], vec![url("/a?b=1&c")]),
            ("/a?", &[], vec![url("/a?")]),
            ("http://api.example/a?b", &[], vec![url("/a?b")]),
        ] {
            let (head, body) = ask(&admin, &format!("PURGE {target}"), "not read").await;
            assert_eq!((head.status.as_u16(), &body["position"]), (200, &json!("17")), "{target}");
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            let event = Event { paths, digests, ..Event::default() };
            assert_eq!(declared.lock().unwrap().pop(), Some((event, Wait::All, Duration::from_secs(5))));
        }
        assert_eq!(ask(&admin, "PURGE *", "").await.0.status, 400);
        assert_eq!(ask(&admin, "PURGE /a//b", "").await.0.status, 400);
        assert_eq!(telemetry.invalidation.count(Source::Purge, InvalidationOutcome::Met), 6);
    }

    #[tokio::test]
    async fn what_was_not_met_is_no_success_and_says_what_to_do() {
        let declared = Declared::default();
        let (admin, telemetry) = admin_with(receipt(Outcome::Late), Vec::new(), &declared);
        let (head, body) = ask(&admin, "POST /invalidate", ORDER).await;
        assert_eq!((head.status.as_u16(), head.headers.get(RETRY_AFTER)), (504, None));
        assert_eq!(head.headers["content-type"], "application/problem+json");
        assert_eq!(
            (&body["position"], &body["applied"], &body["lagging"], &body["status"]),
            (&json!("17"), &json!(["a"]), &json!(["b"]), &json!(504))
        );
        assert_eq!(
            body["detail"],
            "not applied within 1s by b, which may still serve what it names (applied by a); sending it again is harmless"
        );
        assert_eq!(telemetry.invalidation.count(Source::Api, InvalidationOutcome::Late), 1);

        let (admin, telemetry) = admin_with(receipt(Outcome::NotLogged), Vec::new(), &declared);
        let (head, body) = ask(&admin, "POST /invalidate", ORDER).await;
        assert_eq!((head.status.as_u16(), &head.headers[RETRY_AFTER]), (503, &HeaderValue::from_static("1")));
        assert_eq!((&body["position"], &body["lagging"]), (&Value::Null, &json!([])));
        assert!(body["detail"].as_str().unwrap().ends_with("send it again"), "{body}");
        assert_eq!(telemetry.invalidation.count(Source::Api, InvalidationOutcome::NotLogged), 1);
    }

    #[test]
    fn where_nobody_is_known_to_lag_that_is_said() {
        let receipt = Receipt { applied: vec![], lagging: vec![], ..receipt(Outcome::Late) };
        let expected = "after 5s it is not known who has applied it; sending it again is harmless";
        assert_eq!(late(&receipt, TIMEOUT), expected);
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused_and_declares_nothing() {
        let declared = Declared::default();
        let (admin, telemetry) = admin_with(receipt(Outcome::Met), Vec::new(), &declared);
        let many = json!({ "tags": vec!["a"; 1001] }).to_string().replace(' ', "");
        let large = format!("{{\"tags\": [\"{}\"]}}", "a".repeat(1000));
        for (body, status, words) in [
            ("", 400, "no JSON"),
            ("{}", 400, "it names nothing"),
            (r#"{"routes": ["usr"]}"#, 400, "did you mean \"user\"?"),
            (&large, 413, "more than 1000 bytes"),
            (&many, 413, "more than 1000 bytes"),
        ] {
            let (head, answer) = ask(&admin, "POST /invalidate", body).await;
            assert_eq!((head.status.as_u16(), &answer["status"]), (status, &json!(status)), "{answer}");
            assert!(answer["detail"].as_str().unwrap().contains(words), "{answer}");
        }
        assert!(declared.lock().unwrap().is_empty());
        assert_eq!(telemetry.invalidation.count(Source::Api, InvalidationOutcome::Met), 0);
    }

    #[tokio::test]
    async fn an_order_needs_the_token() {
        let declared = Declared::default();
        let (admin, _) = admin_with(receipt(Outcome::Met), Vec::new(), &declared);
        for request in ["POST /invalidate", "PURGE /a"] {
            let host = [("host", "localhost")];
            let (head, _) = ask_with_body(&admin, request, &host, Full::from(ORDER)).await;
            assert_eq!(head.status, 401, "{request}");
        }
        assert!(declared.lock().unwrap().is_empty());
    }
}
