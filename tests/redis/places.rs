//! The log at every place there is: a cluster, a master under Sentinel, TLS, a socket, with a password, on Valkey.

use std::time::Duration;

use larder::invalidation::{LogError, RedisLog, Session};

use crate::cluster::Cluster;
use crate::journal::{Journal, SOON, at, event, events, id, join, line, read_on, refused, told};
use crate::sentinels::Sentinels;
use crate::server::{REDIS, Server, VALKEY, free_port, until};

/// What a log has to do wherever it is.
pub async fn works(log: &RedisLog) -> Box<dyn Session> {
    let session = join(log, 1).await;
    let end = session.end();
    let reading = session.read(end, SOON);
    let appending = async { session.append(events(end..end + 2)).await.unwrap() };
    let (read, ()) = tokio::join!(reading, appending);
    assert_eq!(read.unwrap()[0].position, end + 1);
    let all = read_on(&*session, end).await;
    assert_eq!(told(&all)[1], (end + 2, id(end + 1), Some(event(end + 1))));
    let lines = session.renew(line(1)).await.unwrap();
    assert_eq!(session.lines().await.unwrap(), lines);
    assert!(lines.contains(&line(1)));
    session.remove(vec![line(1)]).await.unwrap();
    assert!(!session.lines().await.unwrap().contains(&line(1)));
    let other = join(log, 2).await;
    assert_eq!((other.epoch(), other.end()), (session.epoch(), end + 2));
    session
}

/// Once it is there again.
async fn works_again(log: &RedisLog) -> Box<dyn Session> {
    until("it is joined", Duration::from_secs(20), async || log_joins(log).await).await;
    works(log).await
}

async fn log_joins(log: &RedisLog) -> bool {
    use larder::invalidation::Log;
    log.join(line(3), None).await.is_ok()
}

#[tokio::test]
async fn a_cluster_has_it_on_one_node_wherever_that_is() {
    let mut cluster = Cluster::start().await;
    let log = Journal::of(&cluster.lines()).log();
    let before = works(&log).await;
    let (slot, owner) = cluster.slot("larder:log").await;
    assert_eq!(cluster.slot("larder:{larder:log}:instances").await.0, slot);
    assert_eq!(cluster.masters[owner].keys().await.len(), 2);
    // One of them is enough, and one that hangs is none.
    cluster.masters[(owner + 1) % 3].hang();
    works(&Journal::of(&cluster.lines()).log()).await;
    cluster.masters[(owner + 1) % 3].go_on();
    let one = format!("urls = ['{}']\nmode = 'cluster'", cluster.masters[(owner + 2) % 3].url());
    works(&Journal::of(&one).log()).await;
    for node in cluster.nodes() {
        cluster.is_whole(node, 4).await;
    }
    move_log(&cluster, &slot, owner).await;
    let moved = before.lines().await.unwrap_err();
    assert!(matches!(&moved, LogError::Refused(why) if why.contains("MOVED")), "{moved:?}");
    let after = works_again(&log).await;
    assert_ne!(after.epoch(), before.epoch());
    for node in &mut cluster.masters {
        node.kill();
    }
    assert!(matches!(refused(&log).await, LogError::Away(_)));
}

/// With all that is in it, from one node to the next.
async fn move_log(cluster: &Cluster, slot: &str, owner: usize) {
    let (from, to) = (&cluster.masters[owner], &cluster.masters[(owner + 1) % 3]);
    let (from_id, to_id) = (from.text(&["CLUSTER", "MYID"]).await, to.text(&["CLUSTER", "MYID"]).await);
    to.ask(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &from_id]).await;
    from.ask(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &to_id]).await;
    let port = to.port.to_string();
    let keys = ["larder:log", "larder:{larder:log}:instances"];
    from.ask(&["MIGRATE", "127.0.0.1", &port, "", "0", "1000", "KEYS", keys[0], keys[1]]).await;
    for node in [to, from].into_iter().chain(&cluster.masters) {
        node.ask(&["CLUSTER", "SETSLOT", slot, "NODE", &to_id]).await;
    }
}

#[tokio::test]
async fn a_master_that_was_replaced_is_found_and_is_another_epoch() {
    let mut all = Sentinels::start().await;
    let lines = all.lines();
    let log = Journal::of(&lines).log();
    let trusting = Journal { trust_failover: true, ..Journal::of(&lines) }.log();
    let (before, trusted) = (works(&log).await, works(&trusting).await);
    until("the replica has all", SOON, async || {
        all.replica.ask(&["XLEN", "larder:log"]).await == all.master.ask(&["XLEN", "larder:log"]).await
    })
    .await;
    all.master.kill();
    assert!(matches!(before.read(1, SOON).await, Err(LogError::Away(_))));
    let after = works_again(&log).await;
    assert_ne!(after.epoch(), before.epoch());
    assert_eq!(works(&trusting).await.epoch(), trusted.epoch());
}

#[tokio::test]
async fn a_socket_will_do_and_so_will_another_database() {
    let server = Server::start(&["--unixsocket", "{folder}/s"]).await;
    let socket = format!("unix://{}/s", server.folder.path().display());
    let epoch = works(&at(&socket)).await.epoch();
    assert_eq!(works(&at(&server.url())).await.epoch(), epoch);
    let other = works(&at(&format!("{socket}?db=3"))).await;
    assert_ne!(other.epoch(), epoch);
}

#[tokio::test]
async fn valkey_will_do() {
    let server = Server::of(VALKEY, &[]).await;
    works(&at(&server.url())).await;
}

#[tokio::test]
async fn a_password_has_to_be_the_right_one_and_is_told_nobody() {
    let server = Server::with_admin(REDIS, &["--requirepass", "acorn"], ":acorn@").await;
    let url = |password: &str| format!("redis://:{password}@127.0.0.1:{}", server.port);
    for (wrong, says) in [(url("hazelnut"), "Password authentication failed"), (server.url(), "NOAUTH")] {
        let error = refused(&at(&wrong)).await;
        assert!(matches!(&error, LogError::Refused(why) if why.contains(says)), "{error:?}");
        assert!(!format!("{error:?}").contains("hazelnut"), "{error:?}");
    }
    works(&at(&url("acorn"))).await;
}

#[tokio::test]
async fn nobody_there_is_no_log() {
    let port = free_port();
    assert!(matches!(refused(&at(&format!("redis://127.0.0.1:{port}"))).await, LogError::Away(_)));
}

#[tokio::test]
async fn a_full_memory_refuses_what_is_declared_and_says_so() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]).await;
    let session = works(&at(&server.url())).await;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    for refused in [session.append(events(0..1)).await, session.renew(line(1)).await.map(drop)] {
        assert!(matches!(&refused, Err(LogError::Refused(why)) if why.contains("OOM")), "{refused:?}");
    }
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    works(&at(&server.url())).await;
}
