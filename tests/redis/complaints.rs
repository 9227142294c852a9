//! What an operator is told of a Redis that is away, or says no.

use std::time::Duration;

use larder::shared::TierError;
use tokio::time::sleep;

use crate::instance::{Instance, MINUTE, name};
use crate::log::Log;
use crate::server::{REDIS, Server, free_port, until};

/// Longer than it takes to say the same again.
const SOME_TRIES: Duration = Duration::from_millis(1200);

#[tokio::test]
async fn each_reason_for_an_outage_is_told_once_and_no_password_is() {
    let log = Log::begin();
    let port = free_port();
    let instance = Instance::start(&format!("url = 'redis://shop:hazelnut@127.0.0.1:{port}'"));
    until("it is told", MINUTE, async || log.count("Redis is away") > 0).await;
    sleep(SOME_TRIES).await;
    assert_eq!((log.count("Redis is away"), log.count("refused (os error")), (1, 1), "{}", log.text());
    let server = Server::at(port).await;
    until("another reason is told", MINUTE, async || log.count("Redis is away") > 1).await;
    sleep(SOME_TRIES).await;
    assert_eq!((log.count("Redis is away"), log.count("uthentication")), (2, 1), "{}", log.text());
    server.ask(&["ACL", "SETUSER", "shop", "on", ">hazelnut", "+@all", "~*", "&*"]).await;
    instance.is_up().await;
    assert_eq!((log.count("Redis is back"), log.count("WARN")), (1, 2), "{}", log.text());
    assert!(!log.text().contains("hazelnut"), "{}", log.text());
}

#[tokio::test]
async fn who_repeats_the_words_of_a_login_is_not_quoted() {
    let log = Log::begin();
    // No server of before 6 knows HELLO, and says so with all that came with it.
    let server = Server::start(&["--rename-command", "HELLO", "", "--requirepass", "hazelnut"]).await;
    let _instance = Instance::start(&format!("url = 'redis://:hazelnut@127.0.0.1:{}'", server.port));
    until("no news is told", MINUTE, async || log.count("no news of other instances") > 0).await;
    sleep(SOME_TRIES).await;
    assert_eq!(log.count("no news of other instances"), 1, "{}", log.text());
    assert!(log.count("unknown command") == 1 && !log.text().contains("hazelnut"), "{}", log.text());
}

#[tokio::test]
async fn what_is_not_permitted_is_told_in_the_words_of_the_server() {
    let log = Log::begin();
    let server = Server::of(REDIS, &[]).await;
    let rule = ["ACL", "SETUSER", "shop", "on", ">hazelnut", "~*", "resetchannels", "+@all", "-get"];
    server.ask(&rule).await;
    let instance = Instance::start(&format!("url = 'redis://shop:hazelnut@127.0.0.1:{}'", server.port));
    until("it is up", MINUTE, async || instance.telemetry.redis.links_up.get() == 2).await;
    for _ in 0..3 {
        assert_eq!(instance.get(name(1)).await, Err(TierError::Refused("NOPERM")));
    }
    assert_eq!(log.count("Redis refuses a command"), 1, "{}", log.text());
    assert_eq!(log.count("no permissions to run the 'get' command"), 1, "{}", log.text());
    until("no news is told", MINUTE, async || log.count("no news of other instances") > 0).await;
    sleep(SOME_TRIES).await;
    assert_eq!(log.count("no news of other instances"), 1, "{}", log.text());
    assert_eq!(log.count("Redis is away"), 0, "{}", log.text());
    server.ask(&["ACL", "SETUSER", "shop", "allchannels"]).await;
    instance.is_up().await;
    until("news is told", MINUTE, async || log.count("comes through again") > 0).await;
}
