//! How an instance is told that something has changed, in all the ways there are, and an API whose answers say which version they
//! are of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::binary::{SOON, WORKERS, get};
use crate::client::{Curl, Response};
use crate::larder::Larder;
use crate::origin::Origin;
use crate::server::until;

/// Longer than an instance that is silent is waited for, and one that has met a new log waits.
pub const LEASE: Duration = Duration::from_millis(3_300);

/// Answers with its version, whatever it is asked; a PUT or POST makes the next one.
pub struct Versions {
    pub origin: Origin,
    version: Arc<AtomicU64>,
}

impl Versions {
    /// `fields` are those of the answer to this method and target.
    pub fn start(fields: impl Fn(&str, &str) -> Vec<String> + Send + Sync + 'static) -> Self {
        let version = Arc::new(AtomicU64::new(1));
        let counted = Arc::clone(&version);
        let origin = Origin::start(move |exchange| {
            let request = exchange.request.clone();
            if request.method == "PUT" || request.method == "POST" {
                counted.fetch_add(1, SeqCst);
            }
            let body = format!("version {}", counted.load(SeqCst));
            let fields = fields(&request.method, &request.target);
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            exchange.answer("200 OK", &fields, body.as_bytes())
        });
        Self { origin, version }
    }

    pub fn kept() -> Self {
        Self::start(|_, _| vec!["cache-control: max-age=60".to_owned()])
    }

    /// Something has changed, and nobody knows.
    pub fn change(&self) {
        self.version.fetch_add(1, SeqCst);
    }

    /// Whether this is what there is now.
    pub fn is_new(&self, response: &Response) -> bool {
        response.text() == format!("version {}", self.version.load(SeqCst))
    }
}

/// With these routes, before the Redis at that port. Waits for nothing.
pub fn started_before(origin: &Origin, port: u16, routes: &str) -> Larder {
    Larder::before(origin, &format!("{WORKERS}[redis]\nurl = 'redis://127.0.0.1:{port}'\n{routes}"))
}

/// All of them have read the log.
pub async fn are_ready(instances: &[&Larder]) {
    for instance in instances {
        until("it is ready", SOON, async || reasons(instance).is_empty()).await;
    }
}

/// What `/health/ready` says is not as it should be. It is 200 all the same, but for the first moments of a process.
pub fn reasons(larder: &Larder) -> Vec<String> {
    let ready = larder.admin("/health/ready", &[]);
    let reasons = names(&receipt(&ready), "reasons");
    let is_starting = reasons.iter().any(|reason| reason.starts_with("log: "));
    assert_eq!(ready.status, if is_starting { 503 } else { 200 }, "{ready:?}");
    reasons
}

/// What `POST /invalidate` comes to.
pub fn invalidate(larder: &Larder, body: &Value) -> Curl {
    post(larder, "/invalidate", &body.to_string(), &[])
}

/// With `wait = "all"` until it is acknowledged: Redis may have to be found again first.
pub async fn is_acknowledged(larder: &Larder, tags: &[&str]) -> Value {
    let mut receipt = Value::Null;
    until("it is acknowledged", SOON, async || {
        let answer = invalidate(larder, &json!({"tags": tags, "wait": "all", "timeout": "5s"}));
        receipt = serde_json::from_slice(&answer.body).unwrap_or_default();
        answer.status == 200
    })
    .await;
    receipt
}

/// Texts of an array.
pub fn names(receipt: &Value, member: &str) -> Vec<String> {
    let mut names: Vec<String> =
        serde_json::from_value(receipt[member].clone()).unwrap_or_else(|error| panic!("{error}: {receipt}"));
    names.sort();
    names
}

/// On the admin listener.
pub fn post(larder: &Larder, path: &str, body: &str, fields: &[String]) -> Curl {
    let mut arguments = vec!["-X", "POST", "-H", "Content-Type: application/json", "--data-raw", body];
    arguments.extend(fields.iter().flat_map(|field| ["-H", field.as_str()]));
    larder.admin(path, &arguments)
}

/// The JSON of an answer.
pub fn receipt(answer: &Curl) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// What a client gets, however it gets it.
pub fn is_new(larder: &Larder, versions: &Versions, target: &str) -> bool {
    versions.is_new(&get(larder, target))
}

/// Whether memory or Redis has it: asked for twice, for somebody has to be the first.
pub fn is_kept(larder: &Larder, target: &str) -> bool {
    get(larder, target);
    get(larder, target).is_hit()
}

/// The fields of a message by Standard Webhooks: `secret` is what stands behind `whsec_`, as bytes; `age` says how long ago it was sent.
pub fn signed(id: &str, secret: &[u8], body: &str, age: Duration) -> Vec<String> {
    let now = (SystemTime::now() - age).duration_since(UNIX_EPOCH).unwrap();
    let mut code = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    code.update(format!("{id}.{}.{body}", now.as_secs()).as_bytes());
    let code = BASE64_STANDARD.encode(code.finalize().into_bytes());
    vec![
        format!("webhook-id: {id}"),
        format!("webhook-timestamp: {}", now.as_secs()),
        // One of another version, and one that is wrong, before it.
        format!("webhook-signature: v1a,AAAA v1,{} v1,{code}", BASE64_STANDARD.encode([0; 32])),
    ]
}
