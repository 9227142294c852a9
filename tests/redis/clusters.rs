//! A cluster: names of one resource lie together, slots move, and a master is lost and replaced.

use std::time::Duration;

use bytes::Bytes;
use larder::shared::{Name, Tier, TierError};
use tokio::time::{Instant, sleep};

use crate::basics;
use crate::cluster::Cluster;
use crate::instance::{Instance, MINUTE, key, name};
use crate::server::{Server, until};

/// Several probes, on a machine with much else to do.
const BACK: Duration = Duration::from_secs(6);

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

#[tokio::test]
async fn what_part_of_a_cluster_fails_is_known_by_where_its_slots_are_now() {
    let cluster = Cluster::start().await;
    let instance = Instance::at(&cluster.lines()).await;
    most_masters_hang_while_nobody_asks(&cluster, &instance).await;
    for node in cluster.nodes() {
        node.ask(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).await;
    }
    a_large_value_is_written_to_a_slow_node(&cluster, &instance).await;
    for node in &cluster.masters {
        node.ask(&["FLUSHALL"]).await;
    }
    who_a_slot_has_moved_to_hangs(&cluster, &instance).await;
    some_slots_are_nobodys(&cluster).await;
}

/// The connection is of use all the same, and stays.
async fn most_masters_hang_while_nobody_asks(cluster: &Cluster, instance: &Instance) {
    let (hung, redis) = (&cluster.masters[1..], &instance.telemetry.redis);
    let (connects, opened) = (redis.connects.get(), redis.opened.get());
    hung.iter().for_each(Server::hang);
    // By each of the two links, of each of the two.
    until("it is found out", Duration::from_secs(20), async || redis.opened.get() >= opened + 4).await;
    assert_eq!((redis.connects.get(), redis.links_up.get()), (connects, 2));
    // It has been found out by nobody's request, and the one that is left goes on.
    let mut answered = 0;
    for number in 0..30 {
        let (result, _) = instance.timed(name(number)).await;
        answered += usize::from(result != Err(TierError::Away));
    }
    assert!((1..20).contains(&answered), "{answered}");
    hung.iter().for_each(Server::go_on);
    for node in cluster.nodes() {
        cluster.is_whole(node, 4).await;
    }
    for number in 0..30 {
        instance.back(name(number), BACK).await;
    }
}

/// By the one that is for writes.
async fn a_large_value_is_written_to_a_slow_node(cluster: &Cluster, instance: &Instance) {
    let tier = instance.tier.clone();
    let at = cluster.slot(&text(name(1))).await.1;
    cluster.masters[at].hang();
    let writing = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(tier.put(name(1), Bytes::from(vec![7; 1_000_000]), MINUTE))
    });
    sleep(Duration::from_millis(400)).await;
    cluster.masters[at].go_on();
    until("it is written", Duration::from_secs(2), async || writing.is_finished()).await;
    writing.join().unwrap().unwrap();
}

/// And the one that it has moved from is used.
async fn who_a_slot_has_moved_to_hangs(cluster: &Cluster, instance: &Instance) {
    let mut of_first = Vec::new();
    for number in 0..30 {
        if cluster.slot(&text(name(number))).await.1 == 1 {
            of_first.push(name(number));
        }
    }
    let (moved, stayed) = (of_first[0], of_first[1]);
    let slot = cluster.slot(&text(moved)).await.0;
    let (from, to) = (
        cluster.masters[1].text(&["CLUSTER", "MYID"]).await,
        cluster.masters[2].text(&["CLUSTER", "MYID"]).await,
    );
    // So that what it says of the slot is newer than what any other says.
    cluster.masters[2].ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from]).await;
    for node in cluster.masters.iter().rev() {
        node.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &to]).await;
    }
    for node in cluster.nodes() {
        until("all nodes know where it is", Duration::from_secs(10), async || {
            let nodes = node.text(&["CLUSTER", "NODES"]).await;
            let owner = nodes.lines().find(|line| line.starts_with(&to)).unwrap_or_default().to_owned();
            owner.split(' ').any(|range| range == slot)
        })
        .await;
    }
    for name in [moved, stayed] {
        instance.back(name, Duration::from_secs(2)).await;
    }
    cluster.masters[2].hang();
    until("it is left alone", Duration::from_secs(2), async || {
        instance.timed(moved).await.0 == Err(TierError::Away)
    })
    .await;
    let back = instance.back(stayed, BACK).await;
    println!("a slot has moved to a node that hung: the others are back after {back:?}");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        assert_eq!(instance.timed(stayed).await.0, Ok(None));
        assert!(instance.timed(moved).await.0.is_err());
        sleep(Duration::from_millis(5)).await;
    }
    cluster.masters[2].go_on();
    instance.back(moved, BACK).await;
}

/// They are away, and nobody else is.
async fn some_slots_are_nobodys(cluster: &Cluster) {
    for node in cluster.nodes() {
        node.ask(&["CLUSTER", "DELSLOTSRANGE", "0", "4000"]).await;
    }
    let instance = Instance::at(&cluster.lines()).await;
    let (mut of_nobody, mut of_others) = (Vec::new(), Vec::new());
    for number in 0..30 {
        let (slot, _) = cluster.slot(&text(name(number))).await;
        let slot: u32 = slot.parse().unwrap();
        if slot <= 4000 { &mut of_nobody } else { &mut of_others }.push(name(number));
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        for name in &of_nobody {
            assert!(instance.timed(*name).await.0.is_err());
        }
        for name in &of_others {
            assert_eq!(instance.timed(*name).await.0, Ok(None));
        }
    }
    assert_eq!(instance.timed(of_nobody[0]).await.0, Err(TierError::Away));
    cluster.masters[0].ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "4000"]).await;
    for name in of_nobody {
        instance.back(name, BACK).await;
    }
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
