//! The real binary before a real server: how it is started here, what it says of itself, and how it is asked.

use std::time::Duration;

use serde_json::Value;

use crate::client::{Raw, Response};
use crate::larder::{CACHED, Larder};
use crate::origin::Origin;
use crate::server::{Server, until};

/// So that the number of its connections is known.
pub const WORKERS: &str = "[server]\nworkers = 2\n";
/// Each worker's, and one for all that goes on behind.
const LINKS: i64 = 3;
/// For all that has to happen some time.
pub const SOON: Duration = Duration::from_secs(10);
/// A Redis that comes, or comes back, is used within this time.
pub const BACK: Duration = Duration::from_secs(2);

/// Starts, and waits for nothing else. `redis` is what stands in that part of its configuration.
pub fn started(origin: &Origin, redis: &str) -> Larder {
    Larder::before(origin, &format!("{WORKERS}[redis]\n{redis}\n{CACHED}"))
}

/// Uses that server. Which secret keys the names of what belongs to one identity is agreed on then, too.
pub async fn using(origin: &Origin, server: &Server) -> Larder {
    let larder = started(origin, &format!("url = '{}'", server.url()));
    is_in_use(&larder).await;
    larder
}

pub async fn is_in_use(larder: &Larder) {
    let agreed = "larder_redis_commands_total{command=\"agree\",outcome=\"answered\"}";
    until("it uses Redis", SOON, async || {
        let redis = redis(larder);
        let is_up = redis["links_up"] == LINKS && redis["hearing"] == true;
        is_up && metric(larder, agreed) > 0 && larder.stats()["log"]["cut_off"] == false
    })
    .await;
}

/// What `/stats` says of the shared tier.
pub fn redis(larder: &Larder) -> Value {
    larder.stats()["redis"].clone()
}

/// One number of those.
pub fn count(larder: &Larder, name: &str) -> u64 {
    redis(larder)[name].as_u64().unwrap_or_else(|| panic!("/stats says nothing of {name}"))
}

/// A sample of `/metrics`; 0, if it is not there.
pub fn metric(larder: &Larder, sample: &str) -> u64 {
    let page = larder.admin("/metrics", &[]).text();
    let value = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

/// One request, and its answer, which is a good one.
pub fn ask(client: &mut Raw, target: &str, fields: &[String]) -> Response {
    client.ask(target, fields).unwrap();
    let response = client.read_response().unwrap();
    assert_eq!(response.status, 200, "{target}: {response:?}");
    response
}

/// The same over a connection of its own.
pub fn get(larder: &Larder, target: &str) -> Response {
    ask(&mut larder.connect(), target, &[])
}

/// Whether Redis has given it.
pub fn is_from_redis(response: &Response) -> bool {
    response.is_hit() && response.field("cache-status").is_some_and(|status| status.ends_with("detail=redis"))
}

/// The names of answers that lie there.
pub async fn entries(server: &Server) -> Vec<String> {
    let keys = server.keys().await.into_iter().map(|key| String::from_utf8(key).unwrap());
    keys.filter(|key| key.starts_with("larder:{") && !key.ends_with(":lease")).collect()
}

/// How often a message is in the log.
pub fn told(larder: &Larder, message: &str) -> usize {
    larder.log().matches(message).count()
}
