//! A user of the access control list who may do no more than the documentation says.

use std::time::Duration;

use larder::invalidation::LogError;
use larder::shared::{Tier, TierError};
use tokio::time::timeout;

use crate::basics;
use crate::instance::{Instance, MINUTE, name};
use crate::journal::{Journal, refused};
use crate::places;
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
    instance.tier.agree("acorn".into(), None, MINUTE).await.unwrap();
    places::works(&Journal::of(&lines).log()).await;
    assert!(instance.telemetry.redis.refusals.get().is_empty(), "{:?}", instance.telemetry.redis.refusals);
    let other = lines.replace("namespace = 'shop'", "namespace = 'other'");
    let heard = timeout(Duration::from_millis(300), Instance::at(&other)).await;
    assert!(heard.is_err(), "the channel of another namespace is not ours to hear");
    let log = refused(&Journal::of(&other).log()).await;
    assert!(matches!(&log, LogError::Refused(why) if why.contains("NOPERM")), "{log:?}");
    assert_eq!(instance.get(name(1)).await, Ok::<_, TierError>(None));
}
