//! `POST /hooks/NAME`: a message of the backend's own. Its sender needs no token; the message brings its proof.
//!
//! Who proves nothing learns which header was wrong and nothing else: neither what would have been right, nor what the hook
//! does. A body is read only once its headers may be those of who it should be.

use std::error::Error;

use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use serde_json::json;

use super::invalidate::{Ways, answer};
use super::reply::{self, json, with};
use crate::clock::Timestamp;
use crate::hooks::{self, BadMessage, Hook, Proof, Proven, Told, Unproven};
use crate::problem::problem;
use crate::telemetry::Telemetry;
use crate::telemetry::invalidation::{HookOutcome, Source};

/// A body up to so many bytes is proven on the thread that also renews this instance's lease.
const PROVEN_HERE_BYTES_MAX: usize = 64 * 1024;

impl Ways {
    /// A message to the hook of this name.
    pub(super) async fn message<B>(
        &self,
        name: &str,
        headers: &HeaderMap,
        body: B,
        telemetry: &Telemetry,
    ) -> Response<Bytes>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send,
    {
        let Some(hook) = self.hooks.iter().find(|hook| *hook.name == *name) else {
            // Strangers ask here: they are told of no other.
            return problem(StatusCode::NOT_FOUND, "there is no such hook");
        };
        let (response, outcome) = match self.receive(hook, headers, body, telemetry).await {
            Ok(answered) => answered,
            Err(response) if response.status() == StatusCode::UNAUTHORIZED => {
                (response, HookOutcome::Unauthorized)
            }
            Err(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
                (response, HookOutcome::Refused)
            }
            Err(response) => (response, HookOutcome::Bad),
        };
        if let Some(metrics) = telemetry.hooks.iter().find(|metrics| metrics.name == hook.name) {
            metrics.told(outcome);
        }
        tracing::debug!(hook = name, outcome = outcome.label(), "a hook was called");
        response
    }

    /// `Err` is what is answered to who proves nothing, or says nothing that can be read.
    async fn receive<B>(
        &self,
        hook: &Hook,
        headers: &HeaderMap,
        body: B,
        telemetry: &Telemetry,
    ) -> Result<(Response<Bytes>, HookOutcome), Response<Bytes>>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send,
    {
        let Some(_place) = self.places.message() else { return Err(crowded("messages")) };
        // All that may be wrong but the signature of the body.
        match hooks::verify(&hook.proof, headers, b"", self.clock.now()) {
            Ok(_) | Err(Unproven::Mismatch(_)) => {}
            Err(why) => return Err(refuse(hook, &why)),
        }
        // A token is not of the body: who bears it is known by now.
        let is_proven = matches!(hook.proof, Proof::Bearer(_));
        let unproven = if is_proven { None } else { self.places.unproven() };
        if unproven.is_none() && !is_proven {
            return Err(crowded("bodies"));
        }
        let body = reply::read(body, self.limits.body_bytes_max).await?;
        let proven = prove(hook, headers, &body, self.clock.now()).await?;
        drop(unproven);
        let told = hooks::read(hook, &body, proven.message.as_deref(), &self.terms());
        match told.map_err(|why| not_read(&why))? {
            Told::Ignored(why) => {
                Ok((json(StatusCode::OK, &json!({ "ignored": why })), HookOutcome::Ignored))
            }
            Told::Declared(event) => {
                let receipt = self.declare(Source::Hook, event, hook.wait, hook.timeout, telemetry).await;
                let outcome = if receipt.is_replay { HookOutcome::Replayed } else { HookOutcome::Accepted };
                Ok((answer(&receipt, hook.timeout), outcome))
            }
        }
    }
}

/// Whether the body is by who it should be. A long one takes a while, and is looked at elsewhere.
async fn prove(
    hook: &Hook,
    headers: &HeaderMap,
    body: &Bytes,
    now: Timestamp,
) -> Result<Proven, Response<Bytes>> {
    let proven = if body.len() <= PROVEN_HERE_BYTES_MAX {
        hooks::verify(&hook.proof, headers, body, now)
    } else {
        let (proof, headers, body) = (hook.proof.clone(), headers.clone(), body.clone());
        let proving = tokio::task::spawn_blocking(move || hooks::verify(&proof, &headers, &body, now));
        let failed = |_| problem(StatusCode::INTERNAL_SERVER_ERROR, "the proof could not be looked at");
        proving.await.map_err(failed)?
    };
    proven.map_err(|why| refuse(hook, &why))
}

/// For senders, who try again, and not for those who ask how things stand.
fn crowded(what: &str) -> Response<Bytes> {
    let detail = format!("too many {what} for hooks are under way: send it again");
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, &detail);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn refuse(hook: &Hook, why: &Unproven) -> Response<Bytes> {
    // RFC 9110, 11.6.1: "A server generating a 401 (Unauthorized) response MUST send a WWW-Authenticate header field containing at
    // least one challenge". For signatures there is no registered one.
    let challenge = match hook.proof {
        Proof::Bearer(_) => "Bearer realm=\"larder\"",
        Proof::Standard(_) | Proof::GitHub(_) => "HMAC-SHA256 realm=\"larder\"",
    };
    with(problem(StatusCode::UNAUTHORIZED, &why.to_string()), WWW_AUTHENTICATE, challenge)
}

fn not_read(why: &BadMessage) -> Response<Bytes> {
    let status = match why {
        BadMessage::TooMany(_) => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    problem(status, &why.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http_body_util::Full;
    use serde_json::Value;
    use tokio::time::timeout;

    use super::super::Admin;
    use super::super::example::{Declared, Never, admin_with, ask_with_body, receipt};
    use super::super::places::{MESSAGES_MAX, UNPROVEN_MAX};
    use super::*;
    use crate::hooks::Says;
    use crate::invalidation::{Event, Outcome, Receipt, Wait};
    use crate::secret::Secret;
    use crate::telemetry::invalidation::InvalidationOutcome;

    /// The example of the Standard Webhooks libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &str = r#"{"test": 2432232314}"#;
    const SIGNED: [(&str, &str); 3] = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ];
    /// GitHub's own, and its body is no JSON.
    const HUB_SECRET: &str = "It's a Secret to Everybody";
    const HUB_SIGNED: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn hooks() -> Vec<Hook> {
        let secret = |text: &str| vec![Secret::new(text.to_owned())];
        let says = Says { tags: vec!["test:{body:/test}".parse().unwrap()], ..Says::default() };
        let standard = Hook {
            name: "standard".into(),
            proof: Proof::Standard(secret(SECRET)),
            when: Vec::new(),
            says,
            soft: true,
            settle: Duration::from_secs(2),
            wait: Wait::Log,
            timeout: Duration::from_secs(3),
        };
        let when = vec![("/event".parse().unwrap(), vec!["user.updated".to_owned()])];
        let github = Proof::GitHub(secret(HUB_SECRET));
        let bearer = Proof::Bearer(secret("battery"));
        vec![
            Hook { name: "github".into(), proof: github, ..standard.clone() },
            Hook { name: "bearer".into(), proof: bearer, when, ..standard.clone() },
            standard,
        ]
    }

    async fn send(
        admin: &Admin,
        hook: &str,
        headers: &[(&str, &str)],
        body: &'static str,
    ) -> (http::response::Parts, Value) {
        let request = format!("POST /hooks/{hook}");
        // Whatever name it was sent to, and without the token.
        let headers = [headers, &[("host", "larder.example"), ("origin", "https://any.example")]].concat();
        let (head, text) = ask_with_body(admin, &request, &headers, Full::from(body)).await;
        (head, serde_json::from_str(&text).unwrap())
    }

    fn counts(telemetry: &Telemetry, hook: &str) -> [u64; 6] {
        let metrics = telemetry.hooks.iter().find(|metrics| *metrics.name == *hook).unwrap();
        HookOutcome::ALL.map(|outcome| metrics.count(outcome))
    }

    fn example(receipt: Receipt) -> (Admin, Arc<Telemetry>, Declared) {
        let declared = Declared::default();
        let (admin, telemetry) = admin_with(receipt, hooks(), &declared);
        (admin, telemetry, declared)
    }

    #[tokio::test]
    async fn a_message_that_is_proven_declares_what_the_hook_says() {
        let (admin, telemetry, declared) = example(receipt(Outcome::Met));
        let (head, body) = send(&admin, "standard", &SIGNED, BODY).await;
        assert_eq!(head.status, 200, "{body}");
        assert_eq!(body, json!({"position": "17", "applied": ["a"], "lagging": []}));
        let (event, wait, timeout) = declared.lock().unwrap().pop().unwrap();
        let expected = Event {
            tags: vec!["test:2432232314".into()],
            soft: true,
            settle_ms: 2000,
            message: event.message,
            ..Event::default()
        };
        assert!(event.message.is_some());
        assert_eq!((event, wait, timeout), (expected, Wait::Log, Duration::from_secs(3)));
        assert_eq!(counts(&telemetry, "standard"), [1, 0, 0, 0, 0, 0]);
        assert_eq!(telemetry.invalidation.count(Source::Hook, InvalidationOutcome::Met), 1);
    }

    #[tokio::test]
    async fn a_replay_is_told_as_one_and_counts_as_nothing_declared() {
        let (admin, telemetry, _) = example(Receipt { is_replay: true, ..receipt(Outcome::Met) });
        let (head, body) = send(&admin, "standard", &SIGNED, BODY).await;
        assert_eq!(head.status, 200);
        assert_eq!(body, json!({"position": "17", "applied": ["a"], "lagging": [], "replay": true}));
        assert_eq!(counts(&telemetry, "standard"), [0, 0, 1, 0, 0, 0]);
        assert_eq!(telemetry.invalidation.count(Source::Hook, InvalidationOutcome::Met), 0);
    }

    #[tokio::test]
    async fn what_was_not_met_is_for_the_sender_to_try_again() {
        for (outcome, status) in [(Outcome::Late, 504), (Outcome::NotLogged, 503)] {
            let (admin, _, _) = example(receipt(outcome));
            let (head, body) = send(&admin, "standard", &SIGNED, BODY).await;
            assert_eq!((head.status.as_u16(), &body["status"]), (status, &json!(status)), "{body}");
        }
    }

    #[tokio::test]
    async fn who_proves_nothing_is_refused_with_what_is_wrong() {
        let (admin, telemetry, declared) = example(receipt(Outcome::Met));
        let old = [SIGNED[0], ("webhook-timestamp", "1614260000"), SIGNED[2]];
        let no_number = [SIGNED[0], ("webhook-timestamp", "now"), SIGNED[2]];
        let no_signature = [SIGNED[0], SIGNED[1], ("webhook-signature", "v1,bm90LWEtc2lnbmF0dXJl v1,!!")];
        for (hook, headers, body, status, words) in [
            ("standard", &[][..], BODY, 401, "the header webhook-id is missing"),
            ("standard", &SIGNED, "{}", 401, "webhook-signature does not match"),
            ("standard", &old, BODY, 401, "webhook-timestamp is 5330s old, and may be 300s"),
            ("standard", &no_number, BODY, 401, "is not the seconds since 1970"),
            ("standard", &no_signature, BODY, 401, "has no v1 that is 32 bytes"),
            ("github", &[("x-hub-signature-256", "sha256=deadbeef")], BODY, 401, "64 hexadecimal digits"),
            ("bearer", &[("authorization", "battery")], BODY, 401, "is not \"Bearer …\""),
            ("github", &[], BODY, 401, "the header x-hub-signature-256 is missing"),
            ("bearer", &[("authorization", "Bearer x")], BODY, 401, "the bearer token is not this hook's"),
            ("bearer", &SIGNED, BODY, 401, "the header authorization is missing"),
        ] {
            let (head, answer) = send(&admin, hook, headers, body).await;
            assert_eq!(head.status, status, "{answer}");
            assert!(answer["detail"].as_str().unwrap().contains(words), "{answer}");
            assert!(head.headers.contains_key(WWW_AUTHENTICATE), "{answer}");
        }
        assert!(declared.lock().unwrap().is_empty());
        assert_eq!(counts(&telemetry, "standard"), [0, 0, 0, 5, 0, 0]);
        assert_eq!(counts(&telemetry, "bearer"), [0, 0, 0, 3, 0, 0]);
    }

    #[tokio::test]
    async fn what_is_proven_and_says_nothing_is_refused_with_what_is_missing() {
        let (admin, telemetry, declared) = example(receipt(Outcome::Met));
        let hub = [("x-hub-signature-256", HUB_SIGNED)];
        let (head, answer) = send(&admin, "github", &hub, "Hello, World!").await;
        assert_eq!(head.status, 400, "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains("the body is no JSON"), "{answer}");
        let bearer = [("authorization", "Bearer battery")];
        let (head, answer) = send(&admin, "bearer", &bearer, r#"{"event": "user.updated"}"#).await;
        assert_eq!(head.status, 400, "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains("stands at /test"), "{answer}");
        assert!(declared.lock().unwrap().is_empty());
        assert_eq!(counts(&telemetry, "github"), [0, 0, 0, 0, 1, 0]);
        assert_eq!(counts(&telemetry, "bearer"), [0, 0, 0, 0, 1, 0]);
    }

    #[tokio::test]
    async fn a_message_that_is_not_meant_is_taken_and_ignored() {
        let (admin, telemetry, declared) = example(receipt(Outcome::Met));
        let bearer = [("authorization", "Bearer battery")];
        let (head, answer) = send(&admin, "bearer", &bearer, r#"{"event": "ping", "test": 1}"#).await;
        assert_eq!(head.status, 200, "{answer}");
        let why = "at /event stands \"ping\", and this hook is for \"user.updated\"";
        assert_eq!(answer, json!({ "ignored": why }));
        assert!(declared.lock().unwrap().is_empty());
        assert_eq!(counts(&telemetry, "bearer"), [0, 1, 0, 0, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_is_neither_told_of_hooks_nor_has_a_body_read() {
        let (admin, _, _) = example(receipt(Outcome::Met));
        let (head, answer) = send(&admin, "unknown", &SIGNED, BODY).await;
        assert_eq!((head.status.as_u16(), &answer["detail"]), (404, &json!("there is no such hook")));
        for (hook, headers) in [("standard", &SIGNED[..2]), ("bearer", &[("authorization", "Bearer x")])] {
            let request = format!("POST /hooks/{hook}");
            let at_once = timeout(Duration::from_secs(1), ask_with_body(&admin, &request, headers, Never));
            assert_eq!(at_once.await.expect(hook).0.status, 401, "{hook}");
        }
        let request = "POST /hooks/standard";
        assert_eq!(ask_with_body(&admin, request, &SIGNED, Never).await.0.status, 408);
        let large = Full::from(vec![b' '; 1001]);
        assert_eq!(ask_with_body(&admin, request, &SIGNED, large).await.0.status, 413);
        // A hook's method is told to those who may ask.
        assert_eq!(ask_with_body(&admin, "GET /hooks/standard", &[], Never).await.0.status, 401);
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_who_hold_bodies_back_do_not_fill_the_place() {
        let (admin, telemetry, declared) = example(receipt(Outcome::Met));
        let admin = Arc::new(admin);
        let holds: Vec<_> = (0..UNPROVEN_MAX)
            .map(|_| {
                let admin = Arc::clone(&admin);
                tokio::spawn(
                    async move { ask_with_body(&admin, "POST /hooks/standard", &SIGNED, Never).await },
                )
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (head, answer) = send(&admin, "standard", &SIGNED, BODY).await;
        assert_eq!((head.status.as_u16(), &head.headers[RETRY_AFTER]), (503, &HeaderValue::from_static("1")));
        assert!(answer["detail"].as_str().unwrap().contains("send it again"), "{answer}");
        assert_eq!(counts(&telemetry, "standard"), [0, 0, 0, 0, 0, 1]);
        // Who is known by its token needs no such place.
        let bearer = [("authorization", "Bearer battery")];
        let body = r#"{"event": "user.updated", "test": 1}"#;
        assert_eq!(send(&admin, "bearer", &bearer, body).await.0.status, 200);
        for hold in holds {
            assert_eq!(hold.await.unwrap().0.status, 408);
        }
        assert_eq!(send(&admin, "standard", &SIGNED, BODY).await.0.status, 200);
        assert_eq!(declared.lock().unwrap().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn messages_leave_room_for_who_asks_how_things_stand() {
        let (admin, telemetry, _) = example(receipt(Outcome::Met));
        let admin = Arc::new(admin);
        let bearer = [("authorization", "Bearer battery")];
        for _ in 0..MESSAGES_MAX {
            let admin = Arc::clone(&admin);
            tokio::spawn(async move { ask_with_body(&admin, "POST /hooks/bearer", &bearer, Never).await });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (head, answer) = send(&admin, "bearer", &bearer, "{}").await;
        assert_eq!(head.status, 503, "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains("too many messages"), "{answer}");
        assert_eq!(counts(&telemetry, "bearer"), [0, 0, 0, 0, 0, 1]);
    }

    #[tokio::test]
    async fn a_long_body_is_proven_elsewhere_and_all_the_same() {
        let long = Bytes::from(vec![b' '; PROVEN_HERE_BYTES_MAX + 1]);
        let hooks = hooks();
        let bearer = HeaderMap::from_iter([(http::header::AUTHORIZATION, "Bearer battery".parse().unwrap())]);
        let proven = |headers: HeaderMap| {
            let (hook, long) = (hooks[1].clone(), long.clone());
            async move { prove(&hook, &headers, &long, Timestamp::default()).await }
        };
        assert!(proven(bearer).await.is_ok());
        assert_eq!(proven(HeaderMap::new()).await.unwrap_err().status(), 401);
    }
}
