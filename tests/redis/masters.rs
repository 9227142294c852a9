//! A master under Sentinel, which is lost and replaced.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::basics;
use crate::instance::{Instance, name};
use crate::sentinels::Sentinels;
use crate::server::until;

#[tokio::test]
async fn the_master_is_found_by_the_sentinels_and_so_is_the_next_one() {
    let began = Instant::now();
    let mut all = Sentinels::start().await;
    println!("the sentinels were up after {:?}", began.elapsed());
    // One that hangs holds up nobody.
    all.watchers[0].hang();
    let mut instance = Instance::at(&all.lines()).await;
    all.watchers[0].go_on();
    basics::work(&mut instance, 0).await;
    instance.put(name(1), b"before").await.unwrap();
    until("the replica has it", Duration::from_secs(2), async || {
        all.replica.ask(&["DBSIZE"]).await == all.master.ask(&["DBSIZE"]).await
    })
    .await;
    all.master.kill();
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    until("the next one is used", Duration::from_secs(20), async || {
        let (result, took) = instance.timed(name(1)).await;
        longest = longest.max(took);
        sleep(Duration::from_millis(2)).await;
        result.is_ok()
    })
    .await;
    println!(
        "a master lost: the next one used after {:?}; commands took at most {longest:?}",
        began.elapsed()
    );
    assert_eq!(instance.get(name(1)).await.unwrap().unwrap(), "before");
    instance.is_up().await;
    basics::work(&mut instance, 10).await;
    // The old one comes back as a replica, and nobody is misled.
    all.master.start_again().await;
    until("it follows", Duration::from_secs(20), async || {
        all.master.says(&["INFO", "replication"], "role:slave").await
    })
    .await;
    basics::work(&mut instance, 20).await;
    basics::work(&mut Instance::at(&all.lines()).await, 30).await;
}
