//! The slow API behind the demo, over HTTP/1.1: what a backend looks like before anyone has thought of caching.
//!
//! | request | takes | wants a token |
//! | --- | --- | --- |
//! | `GET /api/users/{id}` | 40 ms | yes |
//! | `PUT`, `PATCH /api/users/{id}` `{"name":"…"}` | 40 ms | yes |
//! | `GET /api/projects`, `GET /api/projects/{id}` | 120 ms | yes |
//! | `GET /api/servers/{id}/status` | 20 ms | no |
//! | `POST /api/login` `{"user":"ada"}` | – | no |
//! | `GET /health` | – | no |
//!
//! Every record it answers with says how many it has answered so far (`served`), which shows whether an answer is a
//! new one, and those that want a token say whose it was (`seen_by`). It sends no caching headers. Bodies and
//! connections are bounded, as everywhere in Larder.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Full, Limited};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::records::Records;

/// The API: what it knows and how often it was asked.
pub struct Api {
    records: Records,
    served: AtomicU64,
}

/// An answer that is no record: a status, what it says, and the methods that would have done.
struct Refusal {
    status: StatusCode,
    error: &'static str,
    allow: Option<&'static str>,
}

/// How long the database behind it would take.
const USER_TAKES: Duration = Duration::from_millis(40);
const PROJECT_TAKES: Duration = Duration::from_millis(120);
const STATUS_TAKES: Duration = Duration::from_millis(20);
/// Of a request.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Far more than Larder keeps open to an upstream.
const CONNECTIONS_MAX: usize = 1024;
/// After a failed accept, most likely for want of file descriptors: gives others time to close theirs.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Api {
    /// With its records as they are at the start. Fails only where the system has no random numbers.
    pub fn new() -> std::io::Result<Self> {
        let records = Records::new().map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self { records, served: AtomicU64::new(0) })
    }

    /// Serves all who connect, until `stop` is ready. Connections still open then end with the runtime.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: impl Future<Output = ()>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut stop = pin!(stop);
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                accepted = accepted => accepted,
                () = &mut stop => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // Small answers one after the other: waiting to fill a packet would only add to the delays above.
            let _ = stream.set_nodelay(true);
            let api = Arc::clone(&self);
            tokio::spawn(async move {
                api.converse(stream).await;
                drop(place);
            });
        }
    }

    /// One connection, to its end.
    async fn converse(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(|request| {
            let api = Arc::clone(&self);
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        // How it ends is the other side's business: a closed connection is all there is to tell either way.
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        match self.find(request).await {
            Ok(value) => respond(StatusCode::OK, &value),
            Err(refusal) => {
                let mut response = respond(refusal.status, &json!({ "error": refusal.error }));
                if let Some(allow) = refusal.allow {
                    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
                }
                if refusal.status == StatusCode::UNAUTHORIZED {
                    response
                        .headers_mut()
                        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                }
                response
            }
        }
    }

    async fn find<B>(&self, request: Request<B>) -> Result<Value, Refusal>
    where
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let (head, body) = request.into_parts();
        let path = head.uri.path().trim_start_matches('/');
        let parts: Vec<&str> = path.split('/').collect();
        let read = matches!(head.method, Method::GET | Method::HEAD);
        match (parts.as_slice(), &head.method) {
            (["health"], _) if read => Ok(json!({ "status": "ok" })),
            (["api", "login"], &Method::POST) => self.log_in(&read_json(body).await?),
            (["api", "users", id], _) if read => {
                self.for_caller(&head.headers, USER_TAKES, || self.records.user(id)).await
            }
            (["api", "users", id], &Method::PUT | &Method::PATCH) => {
                let wanted = read_json(body).await?;
                self.caller(&head.headers)?;
                match self.records.rename(id, wanted["name"].as_str()) {
                    Some(false) => {
                        Err(Refusal::new(StatusCode::BAD_REQUEST, r#"send {"name":"…"}, at most 200 bytes"#))
                    }
                    _ => self.for_caller(&head.headers, USER_TAKES, || self.records.user(id)).await,
                }
            }
            (["api", "projects"], _) if read => {
                let all = || Some(json!({ "projects": Records::projects() }));
                self.for_caller(&head.headers, PROJECT_TAKES, all).await
            }
            (["api", "projects", id], _) if read => {
                self.for_caller(&head.headers, PROJECT_TAKES, || Records::project(id)).await
            }
            (["api", "servers", id, "status"], _) if read => {
                tokio::time::sleep(STATUS_TAKES).await;
                self.counted(Records::server(id))
            }
            (["api", "users", _], _) => Err(Refusal::method("GET, HEAD, PUT, PATCH")),
            (["api", "login"], _) => Err(Refusal::method("POST")),
            (
                ["health"] | ["api", "projects"] | ["api", "projects", _] | ["api", "servers", _, "status"],
                _,
            ) => Err(Refusal::method("GET, HEAD")),
            _ => Err(Refusal::not_found()),
        }
    }

    fn log_in(&self, wanted: &Value) -> Result<Value, Refusal> {
        let user =
            wanted["user"].as_str().ok_or(Refusal::new(StatusCode::BAD_REQUEST, r#"send {"user":"ada"}"#))?;
        let token = self
            .records
            .log_in(user)
            .ok_or(Refusal::new(StatusCode::UNAUTHORIZED, "nobody of that name: try ada, grace or linus"))?;
        Ok(json!({ "token": token, "user": user }))
    }

    /// A record for one who has logged in, after the time it takes.
    async fn for_caller(
        &self,
        headers: &HeaderMap,
        takes: Duration,
        record: impl FnOnce() -> Option<Value>,
    ) -> Result<Value, Refusal> {
        let caller = self.caller(headers)?;
        tokio::time::sleep(takes).await;
        let mut value = self.counted(record())?;
        value["seen_by"] = caller.into();
        Ok(value)
    }

    fn counted(&self, record: Option<Value>) -> Result<Value, Refusal> {
        let mut value = record.ok_or(Refusal::not_found())?;
        value["served"] = (self.served.fetch_add(1, Relaxed) + 1).into();
        Ok(value)
    }

    fn caller(&self, headers: &HeaderMap) -> Result<&'static str, Refusal> {
        headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .and_then(|token| self.records.bearer(token))
            .ok_or(Refusal::new(StatusCode::UNAUTHORIZED, "log in first: POST /api/login"))
    }
}

impl Refusal {
    const fn new(status: StatusCode, error: &'static str) -> Self {
        Self { status, error, allow: None }
    }

    const fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no such thing here")
    }

    const fn method(allow: &'static str) -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, error: "not with this method", allow: Some(allow) }
    }
}

async fn read_json<B>(body: B) -> Result<Value, Refusal>
where
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let too_large =
        |_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "a body of more than 64 KiB, or one broken off");
    let bytes = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(too_large)?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "that is not JSON"))
}

fn respond(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{value}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use hyper::client::conn::http1::{SendRequest, handshake};
    use tokio::time::Instant;

    use super::*;

    /// A client at the other end of a pipe, and an API that only it knows.
    async fn client() -> SendRequest<Full<Bytes>> {
        connect(&Arc::new(Api::new().unwrap())).await
    }

    async fn connect(api: &Arc<Api>) -> SendRequest<Full<Bytes>> {
        let (near, far) = tokio::io::duplex(16 * 1024);
        tokio::spawn(Arc::clone(api).converse(far));
        let (sender, connection) = handshake(TokioIo::new(near)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn ask(
        client: &mut SendRequest<Full<Bytes>>,
        method: &str,
        path: &str,
        token: &str,
        body: impl Into<Bytes>,
    ) -> (u16, HeaderMap, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "demo")
            .header("authorization", format!("Bearer {token}"))
            .body(Full::new(body.into()))
            .unwrap();
        client.ready().await.unwrap();
        let (head, body) = client.send_request(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), head.headers, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn token(client: &mut SendRequest<Full<Bytes>>, user: &str) -> String {
        let (status, _, answer) =
            ask(client, "POST", "/api/login", "", json!({ "user": user }).to_string()).await;
        assert_eq!(status, 200);
        answer["token"].as_str().unwrap().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn each_kind_of_data_takes_its_time() {
        let mut client = client().await;
        let ada = token(&mut client, "ada").await;
        for (path, millis) in [
            ("/api/users/1", 40),
            ("/api/projects", 120),
            ("/api/projects/7", 120),
            ("/api/servers/3/status", 20),
            ("/health", 0),
        ] {
            let began = Instant::now();
            let (status, headers, _) = ask(&mut client, "GET", path, &ada, "").await;
            assert_eq!(status, 200, "{path}");
            // Tokio rounds a paused clock up to whole milliseconds.
            assert!(
                (millis..=millis + 1).contains(&began.elapsed().as_millis()),
                "{path}: {:?}",
                began.elapsed()
            );
            for absent in ["cache-control", "expires", "etag", "last-modified", "vary", "age"] {
                assert!(!headers.contains_key(absent), "{path} sends {absent}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_says_who_saw_it_and_that_it_is_new() {
        let mut client = client().await;
        let ada = token(&mut client, "ada").await;
        let grace = token(&mut client, "grace").await;
        let (_, _, first) = ask(&mut client, "GET", "/api/users/1", &ada, "").await;
        let (_, _, second) = ask(&mut client, "GET", "/api/users/1", &grace, "").await;
        assert_eq!((&first["seen_by"], &second["seen_by"]), (&json!("ada"), &json!("grace")));
        assert_eq!((&first["served"], &second["served"]), (&json!(1), &json!(2)));
        assert_eq!(first["name"], "ada");
    }

    #[tokio::test(start_paused = true)]
    async fn a_renamed_user_is_answered_with_the_new_name() {
        let mut client = client().await;
        let ada = token(&mut client, "ada").await;
        for (method, name) in [("PATCH", "Ada L."), ("PUT", "Ada Lovelace")] {
            let body = json!({ "name": name }).to_string();
            let (status, _, answer) = ask(&mut client, method, "/api/users/1", &ada, body).await;
            assert_eq!((status, &answer["name"]), (200, &json!(name)), "{method}");
            let (_, _, answer) = ask(&mut client, "GET", "/api/users/1", &ada, "").await;
            assert_eq!(answer["name"], name);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_offered_is_refused() {
        let api = Arc::new(Api::new().unwrap());
        let ada = token(&mut connect(&api).await, "ada").await;
        let huge = "x".repeat(BODY_BYTES_MAX + 1);
        for (method, path, token, body, status) in [
            ("GET", "/api/users/1", "wrong", "", 401),
            ("GET", "/api/projects", "", "", 401),
            ("PATCH", "/api/users/1", "", r#"{"name":"x"}"#, 401),
            ("POST", "/api/login", "", r#"{"user":"mallory"}"#, 401),
            ("POST", "/api/login", "", "{}", 400),
            ("POST", "/api/login", "", "not json", 400),
            ("POST", "/api/login", "", huge.as_str(), 413),
            ("PATCH", "/api/users/1", &ada, r#"{"name":7}"#, 400),
            ("PATCH", "/api/users/999", &ada, r#"{"name":"x"}"#, 404),
            ("GET", "/api/users/999", &ada, "", 404),
            ("GET", "/api/users/1/", &ada, "", 404),
            ("GET", "/", "", "", 404),
            ("DELETE", "/api/users/1", &ada, "", 405),
            ("GET", "/api/login", "", "", 405),
            ("POST", "/api/projects", &ada, "", 405),
        ] {
            // One connection each: what is too large ends the connection it came on.
            let mut client = connect(&api).await;
            let (got, headers, _) = ask(&mut client, method, path, token, body.to_owned()).await;
            assert_eq!(got, status, "{method} {path} {}", body.get(..20).unwrap_or(body));
            assert_eq!(headers.contains_key("allow"), status == 405, "{method} {path}");
        }
    }
}
