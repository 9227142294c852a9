//! The way of an admin request: who asks, what is asked for, the answer.
//!
//! Strangers learn nothing, not even which paths there are; but for the names of hooks, which have to be open to them: 404 is no
//! hook, and 401 says which proof is wanted. Every answer says that it is not to be stored and not to
//! be taken for anything but what its type says: a browser that was led here must not run it as a script.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode, request};
use http_body::Body;
use http_body_util::Full;
use serde_json::json;
use tokio::time::Instant;

use super::access::{Access, Denied};
use super::endpoint::{Endpoint, KNOWN, Unknown};
use super::entry::{EntryLookup, EntryQuestion};
use super::invalidate::Ways;
use super::readiness::Readiness;
use super::reply::{json, read, with};
use crate::problem::problem;
use crate::secret::Secret;
use crate::telemetry::stats::Stats;
use crate::telemetry::{Telemetry, exposition};

/// Why an instance that is ready is less than it could be.
const CUT_OFF: &str = "cut-off: the invalidation log can't be read; Redis is not used, and routes with \
                       when_cut_off = \"bypass\" are answered by the upstream";
/// Of the request that is asked about: far above what `key.max_body` is by default.
const BODY_BYTES_MAX: usize = 1_000_000;

/// Answers admin requests; one for all connections.
pub struct Admin {
    access: Access,
    telemetry: Arc<Telemetry>,
    config: serde_json::Value,
    readiness: Arc<Readiness>,
    entry: EntryLookup,
    ways: Ways,
    started: Instant,
}

/// What it answers from.
pub struct Parts {
    /// All that is counted.
    pub telemetry: Arc<Telemetry>,
    /// Who knows it may ask; none: who is on this machine.
    pub token: Option<Secret>,
    /// The configuration in force, secrets blanked.
    pub config: serde_json::Value,
    /// Whether this instance wants requests.
    pub readiness: Arc<Readiness>,
    /// Looks up what is held for a request, changing nothing.
    pub entry: EntryLookup,
    /// What it takes to declare something invalid.
    pub ways: Ways,
    /// When the process was started.
    pub started: Instant,
}

impl Admin {
    /// Of these parts.
    pub fn new(parts: Parts) -> Self {
        Self {
            access: Access::new(parts.token.as_ref()),
            telemetry: parts.telemetry,
            config: parts.config,
            readiness: parts.readiness,
            entry: parts.entry,
            ways: parts.ways,
            started: parts.started,
        }
    }

    /// The answer to a request; its body is read only where it is part of the question, and only for who may ask.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send,
    {
        let (head, body) = request.into_parts();
        let found = Endpoint::find(&head.method, head.uri.path());
        let public = found.is_ok_and(Endpoint::is_public);
        let denied = if public { None } else { self.access.check(&head).err() };
        let mut response = match (denied, found) {
            (Some(denied), _) => refuse(&denied),
            (None, Ok(endpoint)) => self.tell(endpoint, &head, body).await,
            (None, Err(unknown)) => explain(unknown, &head),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if head.method == Method::HEAD {
            // Not every version of HTTP takes the body away by itself; without it the length has to be said.
            let length = response.body().len();
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
            return response.map(|_| Full::default());
        }
        response.map(Full::new)
    }

    async fn tell<B>(&self, endpoint: Endpoint<'_>, request: &request::Parts, body: B) -> Response<Bytes>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send,
    {
        match endpoint {
            Endpoint::Live => json(StatusCode::OK, &json!({"status": "live"})),
            Endpoint::Ready => self.ready(),
            Endpoint::Metrics => self.metrics(),
            Endpoint::Stats => {
                let stats = Stats::new(&self.telemetry, self.started.elapsed());
                json(StatusCode::OK, &stats)
            }
            Endpoint::Config => json(StatusCode::OK, &self.config),
            Endpoint::Entry => match read(body, BODY_BYTES_MAX).await {
                Ok(body) => self.entry(request, body).await,
                Err(refusal) => refusal,
            },
            Endpoint::Invalidate => match read(body, self.ways.limits.body_bytes_max).await {
                Ok(body) => self.ways.order(&body, &self.telemetry).await,
                Err(refusal) => refusal,
            },
            Endpoint::Purge => self.ways.purge(&request.uri, &self.telemetry).await,
            Endpoint::Hook(name) => self.ways.message(name, &request.headers, body, &self.telemetry).await,
        }
    }

    fn ready(&self) -> Response<Bytes> {
        let log = self.telemetry.log.state();
        let mut reasons = self.readiness.ready().err().unwrap_or_default();
        if log.is_starting {
            reasons.push("log: what was invalidated before this instance started is being read".to_owned());
        }
        if !reasons.is_empty() {
            let body = json!({"status": "not ready", "reasons": reasons});
            return json(StatusCode::SERVICE_UNAVAILABLE, &body);
        }
        // Without Redis requests are answered all the same: to send them elsewhere would only make it worse.
        let reasons: &[&str] = if log.cut_off { &[CUT_OFF] } else { &[] };
        json(StatusCode::OK, &json!({"status": "ready", "reasons": reasons}))
    }

    fn metrics(&self) -> Response<Bytes> {
        let text = exposition::render(&self.telemetry, self.started.elapsed());
        with(Response::new(text.into()), CONTENT_TYPE, exposition::CONTENT_TYPE)
    }

    async fn entry(&self, request: &request::Parts, body: Bytes) -> Response<Bytes> {
        let question = EntryQuestion::read(request, body, self.access.takes_authorization());
        let found = match question {
            Ok(question) => (self.entry)(question).await,
            Err(why) => Err(why),
        };
        match found {
            Ok(found) => json(StatusCode::OK, &found),
            Err(why) => problem(StatusCode::BAD_REQUEST, &why),
        }
    }
}

fn refuse(denied: &Denied) -> Response<Bytes> {
    match denied {
        Denied::Token => {
            let detail = "this wants \"Authorization: Bearer …\" with the token of server.admin_token";
            with(problem(StatusCode::UNAUTHORIZED, detail), WWW_AUTHENTICATE, "Bearer realm=\"larder\"")
        }
        Denied::Host => problem(
            StatusCode::FORBIDDEN,
            "without server.admin_token only requests to an address, localhost or a name under .localhost are \
             answered: any other name could be a web page's that was pointed here",
        ),
        Denied::Page => problem(
            StatusCode::FORBIDDEN,
            "without server.admin_token nothing is done for a web page of another origin, as its Origin says it is",
        ),
    }
}

fn explain(unknown: Unknown, request: &request::Parts) -> Response<Bytes> {
    let (method, path) = (&request.method, request.uri.path());
    match unknown {
        Unknown::NotAvailable => {
            let detail = format!("{method} {path} is not available yet");
            problem(StatusCode::NOT_IMPLEMENTED, &detail)
        }
        Unknown::Method(allow) => {
            let detail = format!("{path} takes {allow}, not {method}");
            with(problem(StatusCode::METHOD_NOT_ALLOWED, &detail), ALLOW, allow)
        }
        Unknown::Path => {
            let detail = format!("there is no {path} here; there are {KNOWN}");
            problem(StatusCode::NOT_FOUND, &detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::super::example::{Never, TOKEN, admin, ask, ask_with_body};
    use super::*;

    #[tokio::test]
    async fn each_request_gets_its_answer() {
        let admin = admin(None, Arc::default());
        let problem = "application/problem+json";
        for (request, status, content_type, fact) in [
            ("GET /health/live", 200, "application/json", "\"live\""),
            ("GET /health/ready", 200, "application/json", "\"reasons\": []"),
            (
                "GET /metrics",
                200,
                exposition::CONTENT_TYPE,
                "larder_requests_total{route=\"user\",outcome=\"hit\"} 1\n",
            ),
            ("GET /stats", 200, "application/json", "\"hit_rate\": 1.0"),
            ("GET /config", 200, "application/json", "\"admin_token\": \"…\""),
            ("GET /entry?method=HEAD&url=/a", 200, "application/json", "\"asked\": \"HEAD /a\""),
            ("GET /entry", 400, problem, "which \\\"url\\\""),
            ("GET /entry?url=/unheard-of", 400, problem, "no such thing"),
            ("GET /nothing?token=x", 404, problem, "no /nothing here; there are GET"),
            ("POST /stats", 405, problem, "takes GET, HEAD, not POST"),
            ("POST /invalidate", 400, problem, "no JSON"),
            ("PURGE /a", 200, "application/json", "\"position\": \"17\""),
            ("POST /hooks/b", 404, problem, "there is no such hook"),
            ("POST /reload", 501, problem, "POST /reload is not available yet"),
            ("GET /", 501, problem, "not available yet"),
        ] {
            let (head, body) = ask(&admin, request, &[("host", "localhost")]).await;
            assert_eq!(head.status, status, "{request} {body}");
            assert_eq!(head.headers[CONTENT_TYPE], content_type, "{request}");
            assert_eq!(head.headers[CACHE_CONTROL], "no-store", "{request}");
            assert_eq!(head.headers[X_CONTENT_TYPE_OPTIONS], "nosniff", "{request}");
            assert!(body.contains(fact), "{request}: {body}");
            if content_type != exposition::CONTENT_TYPE {
                serde_json::from_str::<serde_json::Value>(&body).expect(request);
            }
            if status == 405 {
                assert_eq!(head.headers[ALLOW], "GET, HEAD", "{request}");
            }
        }
    }

    #[tokio::test]
    async fn a_question_may_have_a_body_of_its_own() {
        let admin = admin(None, Arc::default());
        let host = [("host", "localhost")];
        for method in ["GET", "POST"] {
            let request = format!("{method} /entry?method=POST&url=/a");
            let (head, text) = ask_with_body(&admin, &request, &host, Full::from("{}")).await;
            assert_eq!(head.status, 200, "{text}");
            assert!(text.contains("\"asked\": \"POST /a\"") && text.contains("\"body\": 2"), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_read_up_to_a_bound_and_not_for_strangers() {
        let open = admin(None, Arc::default());
        let host = [("host", "localhost")];
        let ask = |body| ask_with_body(&open, "POST /entry?url=/a", &host, body);
        assert_eq!(ask(Full::from(vec![0; BODY_BYTES_MAX])).await.0.status, 200);
        assert_eq!(ask(Full::from(vec![0; BODY_BYTES_MAX + 1])).await.0.status, 413);
        let request = "POST /entry?url=/a";
        assert_eq!(ask_with_body(&open, request, &host, Never).await.0.status, 408);
        let closed = admin(Some(TOKEN), Arc::default());
        let at_once = timeout(Duration::from_secs(1), ask_with_body(&closed, request, &host, Never));
        assert_eq!(at_once.await.unwrap().0.status, 401);
        assert_eq!(ask_with_body(&closed, "POST /stats", &host, Never).await.0.status, 401);
    }

    #[tokio::test]
    async fn a_head_request_gets_the_same_head_and_no_body() {
        let admin = admin(None, Arc::default());
        for path in ["/health/live", "/config", "/nothing"] {
            let host = [("host", "localhost")];
            let (get, body) = ask(&admin, &format!("GET {path}"), &host).await;
            let (head, nothing) = ask(&admin, &format!("HEAD {path}"), &host).await;
            assert_eq!(head.status, get.status, "{path}");
            assert_eq!(head.headers[CONTENT_TYPE], get.headers[CONTENT_TYPE], "{path}");
            assert_eq!(head.headers[CONTENT_LENGTH], body.len().to_string(), "{path}");
            assert_eq!(nothing, "", "{path}");
        }
    }

    #[tokio::test]
    async fn an_instance_that_drains_is_live_and_not_ready() {
        let readiness = Arc::new(Readiness::default());
        let admin = admin(Some(TOKEN), readiness.clone());
        readiness.draining();
        let (head, body) = ask(&admin, "GET /health/ready", &[]).await;
        assert_eq!(head.status, 503);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body, json!({"status": "not ready", "reasons": ["draining"]}));
        assert_eq!(ask(&admin, "GET /health/live", &[]).await.0.status, 200);
    }

    #[tokio::test]
    async fn with_a_token_strangers_learn_nothing_but_whether_we_live() {
        let admin = admin(Some(TOKEN), Arc::default());
        let paths = [
            "GET /metrics",
            "GET /config",
            "GET /nothing",
            "POST /stats",
            "GET /hooks/a",
            "PURGE /a",
            "GET /",
        ];
        for request in paths {
            for headers in [&[][..], &[("authorization", "Bearer wrong")], &[("host", "localhost")]] {
                let (head, body) = ask(&admin, request, headers).await;
                assert_eq!(head.status, 401, "{request} {headers:?}");
                assert_eq!(head.headers[WWW_AUTHENTICATE], "Bearer realm=\"larder\"");
                assert_eq!(head.headers[CACHE_CONTROL], "no-store");
                assert!(!body.contains("GET /"), "{body}");
            }
        }
        for request in ["GET /health/live", "GET /health/ready"] {
            assert_eq!(ask(&admin, request, &[]).await.0.status, 200, "{request}");
        }
        let mine = [("authorization", "Bearer correct horse"), ("host", "larder.example")];
        assert_eq!(ask(&admin, "GET /config", &mine).await.0.status, 200);
        assert_eq!(ask(&admin, "GET /nothing", &mine).await.0.status, 404);
    }

    #[tokio::test]
    async fn a_page_that_points_its_own_name_at_us_reads_nothing() {
        let admin = admin(None, Arc::default());
        for request in ["GET /config", "GET /stats", "GET /nothing", "POST /invalidate", "PURGE /a"] {
            let (head, body) = ask(&admin, request, &[("host", "evil.example:8081")]).await;
            assert_eq!(head.status, 403, "{request}");
            assert!(body.contains("server.admin_token"), "{body}");
        }
        let headers = [("host", "localhost"), ("origin", "https://evil.example")];
        let (head, body) = ask(&admin, "PURGE /a", &headers).await;
        assert_eq!(head.status, 403);
        assert!(body.contains("of another origin"), "{body}");
    }

    #[tokio::test]
    async fn the_admin_token_is_never_taken_for_the_callers_credential() {
        let admin = admin(Some(TOKEN), Arc::default());
        let mine = ("authorization", "Bearer correct horse");
        let (_, body) = ask(&admin, "GET /entry?url=/a", &[mine]).await;
        let read: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(read, json!({"asked": "GET /a", "by": null, "body": 0}));
        let callers = ("x-larder-header", "authorization: Bearer caller");
        let (_, body) = ask(&admin, "GET /entry?url=/a", &[mine, callers]).await;
        let read: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(read["by"], "Bearer caller");
    }

    #[tokio::test]
    async fn without_a_token_authorization_is_the_callers() {
        let admin = admin(None, Arc::default());
        let headers = [("host", "[::1]:8081"), ("authorization", "Bearer caller")];
        let (_, body) = ask(&admin, "GET /entry?url=/a", &headers).await;
        let read: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(read["by"], "Bearer caller");
    }
}
