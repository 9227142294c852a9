//! A cluster: names of one resource lie together, slots move, and a master is lost and replaced.

use std::time::Duration;

use larder::shared::{Name, TierError};
use tokio::time::{Instant, sleep};

use crate::basics;
use crate::cluster::Cluster;
use crate::instance::{Instance, key, name};
use crate::server::until;

fn text(name: Name) -> String {
    format!("larder:{{{}}}", name.base)
}

#[tokio::test]
async fn a_cluster_does_all_that_is_asked_of_a_tier_whatever_happens_to_its_nodes() {
    let began = Instant::now();
    let mut cluster = Cluster::start().await;
    println!("the cluster was up after {:?}", began.elapsed());
    let mut instance = Instance::at(&cluster.lines()).await;
    basics::work(&mut instance, 0).await;
    for node in &cluster.masters {
        node.keys().await;
    }
    a_slot_moves(&cluster, &instance).await;
    basics::work(&mut instance, 100).await;
    // Scripts and values are gone on one of the nodes.
    cluster.masters[1].ask(&["SCRIPT", "FLUSH"]).await;
    cluster.masters[1].ask(&["FLUSHALL"]).await;
    basics::work(&mut instance, 200).await;
    a_node_hangs(&cluster, &instance).await;
    instance.is_up().await;
    basics::work(&mut instance, 300).await;
    a_master_is_lost(&mut cluster, &instance).await;
    for node in [&cluster.masters[1], &cluster.masters[2], &cluster.replica] {
        cluster.is_whole(node, 4).await;
    }
    instance.is_up().await;
    basics::work(&mut instance, 500).await;
}

/// ASK while it moves, MOVED when it has.
async fn a_slot_moves(cluster: &Cluster, instance: &Instance) {
    let moved = name(50);
    let (slot, from) = cluster.slot(&text(moved)).await;
    let (from, to) = (&cluster.masters[from], &cluster.masters[(from + 1) % 3]);
    let (from_id, to_id) = (from.text(&["CLUSTER", "MYID"]).await, to.text(&["CLUSTER", "MYID"]).await);
    instance.put(moved, b"here").await.unwrap();
    to.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await;
    from.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await;
    assert_eq!(instance.timed(moved).await.0.unwrap().unwrap(), "here");
    let port = to.port.to_string();
    from.ask(&["MIGRATE", "127.0.0.1", &port, &text(moved), "0", "1000"]).await;
    assert_eq!(instance.timed(moved).await.0.unwrap().unwrap(), "here", "on the way");
    instance.put(moved, b"there").await.unwrap();
    for node in [to, from].into_iter().chain(cluster.nodes()) {
        if !node.text(&["INFO", "replication"]).await.contains("role:slave") {
            node.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await;
        }
    }
    for _ in 0..10 {
        assert_eq!(instance.timed(moved).await.0.unwrap().unwrap(), "there");
    }
}

/// Its part of the values is away, and soon costs nothing; all others are there.
async fn a_node_hangs(cluster: &Cluster, instance: &Instance) {
    for node in cluster.nodes() {
        node.ask(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).await;
    }
    let (mut of_hung, mut of_others) = (Vec::new(), Vec::new());
    for number in 600..700 {
        instance.put(name(number), b"before").await.unwrap();
        let place =
            if cluster.slot(&text(name(number))).await.1 == 1 { &mut of_hung } else { &mut of_others };
        place.push(name(number));
    }
    cluster.masters[1].hang();
    let began = Instant::now();
    let (mut waited, mut away, mut answered) = (0, 0, 0);
    let (mut slowest, mut longest) = (Duration::ZERO, Duration::ZERO);
    while began.elapsed() < Duration::from_secs(3) {
        for at in 0..of_hung.len() {
            let (result, took) = instance.timed(of_hung[at]).await;
            match result.unwrap_err() {
                TierError::Away => slowest = slowest.max(took),
                _ => waited += 1,
            }
            away += 1;
            let (result, took) = instance.timed(of_others[at]).await;
            assert_eq!(result.unwrap().unwrap(), "before");
            longest = longest.max(took);
            answered += 1;
            sleep(Duration::from_millis(1)).await;
        }
    }
    println!(
        "a node hung: of {away} of its commands {waited} waited, and then at most {slowest:?}; \
         {answered} of others answered within {longest:?}"
    );
    assert!(waited <= 5, "{waited} commands waited");
    cluster.masters[1].go_on();
    let began = Instant::now();
    for name in of_hung {
        instance.back(name, Duration::from_secs(2)).await;
    }
    println!("… and all of them back after {:?}", began.elapsed());
}

async fn a_master_is_lost(cluster: &mut Cluster, instance: &Instance) {
    let mut of_lost = Vec::new();
    let mut of_others = Vec::new();
    for number in 400..430 {
        instance.put(name(number), b"before").await.unwrap();
        let place =
            if cluster.slot(&text(name(number))).await.1 == 0 { &mut of_lost } else { &mut of_others };
        place.push(name(number));
    }
    assert!(of_lost.len() > 3 && of_others.len() > 3, "{}", key(0));
    until("the replica has them", Duration::from_secs(2), async || {
        cluster.replica.ask(&["DBSIZE"]).await == cluster.masters[0].ask(&["DBSIZE"]).await
    })
    .await;
    cluster.masters[0].kill();
    let began = Instant::now();
    let (mut answered, mut refused, mut away, mut longest) = (0, 0, 0, Duration::ZERO);
    let mut at = 0;
    loop {
        let names = if at % 2 == 0 { &of_lost } else { &of_others };
        let (result, took) = instance.timed(names[at / 2 % names.len()]).await;
        longest = longest.max(took);
        match result {
            Ok(Some(value)) => {
                assert_eq!(value, "before");
                answered += 1;
                if at % 2 == 0 {
                    break;
                }
            }
            Ok(None) => {}
            Err(TierError::Away) => away += 1,
            Err(_) => refused += 1,
        }
        assert!(began.elapsed() < Duration::from_secs(15), "{answered} answered, {refused} not, {away} away");
        at += 1;
        sleep(Duration::from_millis(2)).await;
    }
    println!(
        "a master lost: replaced after {:?}; {answered} answered, {refused} failed, {away} away; at most {longest:?}",
        began.elapsed()
    );
    let whole = Instant::now();
    for name in of_lost {
        instance.back(name, Duration::from_secs(3)).await;
    }
    println!("… and all of its values {:?} later", whole.elapsed());
}
