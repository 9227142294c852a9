//! What goes wrong, and is put right again: one fault of an instance or its network, or two, and one of Redis at the same time.
//!
//! Each kind comes as often as any other, in an order that is drawn. Between two of one sort there is a calm, for after a new life
//! of the log nothing is acknowledged for the time of a lease, and something should be.

use std::time::Duration;

use tokio::time::sleep;

use crate::dice::Dice;
use crate::relay::Passage;
use crate::server::until;
use crate::world::{INSTANCES, World};

/// Of an instance, or between it and Redis.
#[derive(Clone, Copy)]
enum Local {
    Stop,
    Kill,
    Through(Passage),
}

const LOCAL: [Local; 8] = [
    Local::Stop,
    // Twice: it is the subtlest.
    Local::Stop,
    Local::Kill,
    Local::Through(Passage::Cut),
    Local::Through(Passage::Hung),
    Local::Through(Passage::Deaf),
    Local::Through(Passage::Mute),
    Local::Through(Passage::Slow(Duration::from_millis(20))),
];

/// Of Redis.
#[derive(Clone, Copy, Debug)]
enum Central {
    Stop,
    Empty,
    Older,
    Flush,
    LoseLog,
    LoseLines,
    Failover,
}

const CENTRAL: [Central; 7] = [
    Central::Stop,
    Central::Empty,
    Central::Older,
    Central::Flush,
    Central::LoseLog,
    Central::LoseLines,
    Central::Failover,
];

/// Until it is over; then all is well.
pub async fn befall_instances(world: &World) {
    let mut dice = world.dice(100_000);
    loop {
        for fault in dice.shuffled(&LOCAL) {
            world.rest(dice.millis(700, 1700)).await;
            if world.is_over() {
                return;
            }
            let number = dice.index(INSTANCES);
            let mut other_dice = world.dice(dice.below(u64::MAX));
            let another = async {
                if other_dice.one_in(4) {
                    let fault = LOCAL[other_dice.index(LOCAL.len())];
                    fault.befall(world, (number + 1) % INSTANCES, &mut other_dice).await;
                }
            };
            tokio::join!(fault.befall(world, number, &mut dice), another);
        }
    }
}

/// Likewise.
pub async fn befall_redis(world: &World) {
    let mut dice = world.dice(200_000);
    loop {
        for fault in dice.shuffled(&CENTRAL) {
            world.rest(dice.millis(5000, 8000)).await;
            if world.is_over() {
                return;
            }
            fault.befall(world, &mut dice).await;
        }
    }
}

impl Local {
    fn name(self) -> &'static str {
        match self {
            Self::Stop => "SIGSTOP",
            Self::Kill => "SIGKILL",
            Self::Through(Passage::All) => "nothing",
            Self::Through(Passage::Cut) => "cut",
            Self::Through(Passage::Hung) => "hung",
            Self::Through(Passage::Deaf) => "deaf",
            Self::Through(Passage::Mute) => "mute",
            Self::Through(Passage::Slow(_)) => "slow",
        }
    }

    async fn befall(self, world: &World, number: usize, dice: &mut Dice) {
        let instance = &world.instances[number];
        world.tally.fault(self.name());
        world.truth.incident(format!("instance {number}: {} begins", self.name()));
        let mut larder = instance.larder.lock().await;
        match self {
            Self::Stop => {
                let running = larder.as_ref().unwrap();
                running.signal("-STOP");
                sleep(short_or_long(dice)).await;
                running.signal("-CONT");
            }
            Self::Kill => {
                drop(larder.take());
                world.rest(dice.millis(0, 2000)).await;
                instance.start_again(&mut larder).await;
            }
            Self::Through(passage) => {
                instance.relay.let_pass(passage);
                sleep(short_or_long(dice)).await;
                instance.relay.let_pass(Passage::All);
                // What was held comes late, or never.
                if dice.one_in(2) {
                    instance.relay.reset();
                }
            }
        }
        world.truth.incident(format!("instance {number}: {} is over", self.name()));
    }
}

/// Shorter than a lease, or so long that the others go on without it.
fn short_or_long(dice: &mut Dice) -> Duration {
    if dice.one_in(4) { dice.millis(2800, 6000) } else { dice.millis(100, 1500) }
}

impl Central {
    fn name(self) -> &'static str {
        match self {
            Self::Stop => "Redis stopped",
            Self::Empty => "Redis restarted empty",
            Self::Older => "Redis restarted from an older dump",
            Self::Flush => "FLUSHALL",
            Self::LoseLog => "log deleted",
            Self::LoseLines => "lines deleted",
            Self::Failover => "failover",
        }
    }

    async fn befall(self, world: &World, dice: &mut Dice) {
        world.tally.fault(self.name());
        world.truth.incident(format!("{} begins", self.name()));
        let mut stores = world.stores.lock().await;
        match self {
            Self::Stop => {
                stores.serving.hang();
                sleep(dice.millis(100, 4500)).await;
                stores.serving.go_on();
            }
            Self::Empty => {
                stores.kill();
                sleep(dice.millis(0, 1500)).await;
                stores.come_back_empty().await;
            }
            Self::Older => {
                stores.save().await;
                sleep(dice.millis(200, 2000)).await;
                stores.kill();
                sleep(dice.millis(0, 1000)).await;
                stores.come_back_older().await;
            }
            Self::Flush => stores.says(&["FLUSHALL"]).await,
            Self::LoseLog => stores.says(&["DEL", "larder:log"]).await,
            Self::LoseLines => stores.says(&["DEL", "larder:{larder:log}:instances"]).await,
            Self::Failover => {
                let soon = Duration::from_secs(10);
                until("the replica has it all", soon, async || stores.is_followed().await).await;
                // What is written from now on is lost.
                stores.promote().await;
                sleep(dice.millis(0, 400)).await;
                stores.kill();
                sleep(dice.millis(0, 500)).await;
                for instance in &world.instances {
                    instance.relay.lead_to(stores.heir());
                }
                stores.change_places().await;
            }
        }
        world.truth.incident(format!("{} is over", self.name()));
    }
}
