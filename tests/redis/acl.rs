//! A user of the access control list who may do no more than the documentation says.

use std::time::Duration;

use larder::shared::TierError;
use tokio::time::timeout;

use crate::basics;
use crate::instance::{Instance, name};
use crate::server::Server;

/// The commands that the page on Redis lists.
fn documented() -> Vec<String> {
    let page = include_str!("../../docs/redis.md");
    let list = page.split("access control list needs\n`").nth(1).unwrap().split('`').next().unwrap();
    list.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn what_the_documentation_asks_for_is_enough() {
    let server = Server::start(&[]).await;
    let commands = documented();
    let mut rule = vec!["ACL", "SETUSER", "shop", "reset", "on", ">acorn", "~shop:*", "&shop:*"];
    rule.extend(commands.iter().map(String::as_str));
    server.ask(&rule).await;
    server.ask(&["ACL", "SETUSER", "default", "off"]).await;
    let lines =
        format!("url = '{}'\nusername = 'shop'\npassword = 'acorn'\nnamespace = 'shop'", server.url());
    let mut instance = Instance::at(&lines).await;
    basics::work(&mut instance, 0).await;
    assert!(instance.telemetry.redis.refusals.get().is_empty(), "{:?}", instance.telemetry.redis.refusals);
    let other = lines.replace("namespace = 'shop'", "namespace = 'other'");
    let heard = timeout(Duration::from_millis(300), Instance::at(&other)).await;
    assert!(heard.is_err(), "the channel of another namespace is not ours to hear");
    assert_eq!(instance.get(name(1)).await, Ok::<_, TierError>(None));
}
