//! The worlds that are searched, and what must come of it.

use crate::mutation::Mutation;
use crate::search::{Found, search};
use crate::steps::Step;
use crate::world::{Calls, Left, Named, Warm, World};

/// More than any of them has.
const STATES_MAX: usize = 1_000_000;

/// Nothing happens here but one invalidation, at A; B has memory, and is who suffers.
const BASE: World = World {
    name: "",
    keys: 1,
    is_cold: false,
    history: 0,
    unread: 0,
    warm: Warm::Nowhere,
    has_second: false,
    calls: Calls::Prompt,
    declares: [true, false],
    serves: [false, true],
    fetches: [false, true],
    suffers: [false, true],
    names: &[Named::Request],
    left: Left {
        writes: 1,
        fetches: 0,
        looks: 0,
        requests: 0,
        puts: 0,
        ticks: 0,
        stops: 0,
        cuts: 0,
        crashes: 0,
        wipes: 0,
        failovers: 0,
        trims: 0,
    },
    mutation: None,
};

const fn left(writes: u8, fetches: u8, ticks: u8) -> Left {
    Left { writes, fetches, ticks, ..BASE.left }
}

/// Fetches, joining and landing, while something is declared invalid twice.
const CALM: World = World { name: "calm", left: left(2, 3, 0), ..BASE };

/// The same for what only the answer tells, and for beginnings of paths.
const ANSWERED: World =
    World { name: "named by the answer", names: &[Named::Answer, Named::Path], left: left(1, 2, 0), ..BASE };

/// Both instances fetch, keep and declare.
const BOTH: World = World {
    name: "both",
    warm: Warm::Everywhere,
    declares: [true, true],
    serves: [true, true],
    fetches: [true, true],
    left: left(2, 1, 0),
    ..BASE
};

/// Both write to the shared tier and read from there.
const SHARED: World = World {
    name: "shared tier",
    has_second: true,
    serves: [true, true],
    fetches: [true, true],
    left: Left { looks: 2, ..left(1, 2, 0) },
    ..BASE
};

/// What names one key leaves the other; what names everything does not.
const TWO_KEYS: World = World {
    name: "two keys",
    keys: 2,
    warm: Warm::Everywhere,
    names: &[Named::Request, Named::All],
    left: left(2, 1, 0),
    ..BASE
};

/// The answer to a change is kept as the new state, while something else changes the same behind the instances' back.
const CHANGED: World = World {
    name: "changed through an instance",
    declares: [true, true],
    serves: [true, true],
    names: &[Named::Answer],
    left: Left { puts: 1, ..left(1, 0, 0) },
    ..BASE
};

/// The process is stopped and goes on; and a request takes its time.
const STOPPED: World = World {
    name: "stopped",
    warm: Warm::Everywhere,
    left: Left { stops: 1, requests: 1, ..left(1, 1, 3) },
    ..BASE
};

/// The network between B and Redis breaks, and is mended.
const CUT: World =
    World { name: "cut", warm: Warm::Everywhere, left: Left { cuts: 1, ..left(1, 1, 3) }, ..BASE };

/// Redis answers late: leases and deaths overlap.
const LATE: World =
    World { name: "late answers", warm: Warm::Everywhere, calls: Calls::Late, left: left(1, 0, 2), ..BASE };

/// Lines arrive when whoever sent them has another session.
const SLOW: World = World {
    name: "slow commands",
    warm: Warm::Everywhere,
    calls: Calls::Slow,
    left: Left { cuts: 1, ..left(1, 0, 2) },
    ..BASE
};

/// Everything in Redis is gone.
const EMPTIED: World = World {
    name: "emptied",
    history: 1,
    warm: Warm::Everywhere,
    left: Left { wipes: 1, ..left(1, 1, 2) },
    ..BASE
};

/// … while B lags: what comes out of the shared tier is stamped ahead of what it has read.
const EMPTIED_AHEAD: World = World {
    name: "emptied, stamped ahead",
    history: 3,
    unread: 3,
    has_second: true,
    warm: Warm::Beyond,
    left: Left { wipes: 1, looks: 1, ..left(1, 0, 2) },
    ..BASE
};

/// A replica takes over that lacks the end of the log, or not.
const FAILED_OVER: World = World {
    name: "failed over",
    history: 1,
    warm: Warm::Everywhere,
    has_second: true,
    left: Left { failovers: 1, looks: 1, ..left(1, 0, 2) },
    ..BASE
};

/// One of the processes dies, and starts anew.
const CRASHED: World = World {
    name: "crashed",
    warm: Warm::Everywhere,
    suffers: [true, true],
    left: Left { crashes: 1, ..left(1, 1, 2) },
    ..BASE
};

/// Events are trimmed away that not all have read.
const TRIMMED: World = World {
    name: "trimmed",
    keys: 2,
    warm: Warm::Everywhere,
    left: Left { trims: 1, cuts: 1, ..left(2, 1, 0) },
    ..BASE
};

/// There is nothing at all in the beginning.
const BEGUN: World = World { name: "begun", is_cold: true, left: left(1, 1, 2), ..BASE };

/// … also when joining anew.
const CUT_LATE: World = World {
    name: "cut, late answers",
    warm: Warm::Everywhere,
    calls: Calls::Late,
    left: Left { cuts: 1, ..left(1, 0, 2) },
    ..BASE
};

/// Everything is gone while answers are on their way.
const EMPTIED_LATE: World = World {
    name: "emptied, late answers",
    history: 1,
    warm: Warm::Everywhere,
    calls: Calls::Late,
    left: Left { wipes: 1, ..left(1, 0, 1) },
    ..BASE
};

/// … or while one of the two is cut off.
const EMPTIED_CUT: World = World {
    name: "emptied and cut",
    history: 1,
    warm: Warm::Everywhere,
    left: Left { wipes: 1, cuts: 1, ..left(1, 0, 2) },
    ..BASE
};

/// What must be met where, so that nothing holds for want of it.
const ALL: [(World, &[&str]); 19] = [
    (CALM, &["all acknowledged", "hit", "joined", "not joined", "dead in memory", "waited for"]),
    (ANSWERED, &["all acknowledged", "hit", "joined", "joined in vain"]),
    (BOTH, &["all acknowledged", "hit", "dead before it is logged"]),
    (SHARED, &["all acknowledged", "promoted", "dead in the shared tier"]),
    (TWO_KEYS, &["all acknowledged", "hit"]),
    (CHANGED, &["all acknowledged", "hit"]),
    (STOPPED, &["acknowledged", "bypassed: cut off", "catching up", "held dead", "hit"]),
    (CUT, &["acknowledged", "bypassed: cut off", "catching up", "held dead", "hit"]),
    (LATE, &["acknowledged", "bypassed: cut off", "held dead"]),
    (CUT_LATE, &["acknowledged", "bypassed: cut off", "held dead"]),
    (SLOW, &["acknowledged", "bypassed: cut off", "held dead"]),
    (EMPTIED, &["acknowledged", "another epoch", "in grace", "hit", "joined"]),
    (EMPTIED_LATE, &["acknowledged", "another epoch", "in grace"]),
    (EMPTIED_CUT, &["acknowledged", "another epoch", "in grace", "bypassed: cut off"]),
    (EMPTIED_AHEAD, &["acknowledged", "another epoch", "promoted", "dead in the shared tier"]),
    (FAILED_OVER, &["acknowledged", "another epoch", "in grace", "promoted", "dead in the shared tier"]),
    (CRASHED, &["acknowledged", "bypassed: cut off", "in grace", "held dead"]),
    (TRIMMED, &["acknowledged", "gap", "hit"]),
    (BEGUN, &["acknowledged", "catching up", "in grace", "hit"]),
];

fn where_it_is_missed(mutation: Mutation) -> World {
    use Mutation as M;
    let world = match mutation {
        M::StampedAfterTheFetch | M::JoiningUnchecked | M::LineAhead => CALM,
        M::LandingUnchecked => ANSWERED,
        M::PromotionRestamps | M::WrittenRestamped => SHARED,
        M::GapIgnored => TRIMMED,
        M::EpochNotEntered | M::LineOfTheEpochBefore | M::LinesWithoutEpoch | M::NoGrace => EMPTIED,
        M::LeaseFromTheReply => CUT_LATE,
        M::LateRenewalTrusted => SLOW,
        M::LinesBeforeTheAppend | M::LineAfterTheLog => BEGUN,
        M::TrustedBeforeTheEnd | M::RemovedUncompared => CUT,
        M::FlagForAClock | M::TrustAskedLast => STOPPED,
        M::OwnNotApplied => BOTH,
        M::DeadTooSoon => LATE,
        M::PutWatchedByUri => CHANGED,
    };
    World { mutation: Some(mutation), ..world }
}

fn is_faultless(world: &World) -> bool {
    let Left { writes, fetches, looks, puts, .. } = world.left;
    !world.is_cold && world.left == Left { looks, puts, ..left(writes, fetches, 0) }
}

/// Searched to the end, and nothing wrong found.
fn explore(world: &World, states_max: usize) -> Found<Step> {
    // Where nothing goes wrong every invalidation must come to be acknowledged, whatever has happened.
    let goal = is_faultless(world).then_some("all acknowledged");
    let found = search(world, states_max, goal);
    let Found { states, steps, depth, met, .. } = &found;
    println!("{}: {states} states, {steps} steps, {depth} deep", world.name);
    println!("    {met:?}");
    if let Some((way, why)) = &found.wrong {
        panic!("{}: {}: {why}", world.name, told(way));
    }
    assert!(found.is_cut_short || found.stuck == 0, "{}: not all can be acknowledged", world.name);
    found
}

fn told(way: &[Step]) -> String {
    way.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[test]
fn nothing_older_than_was_promised_is_served() {
    let only = std::env::var("WORLD").unwrap_or_default();
    if only == "larger" {
        for world in larger() {
            let found = explore(&world, 2 * STATES_MAX);
            println!("    {}", if found.is_cut_short { "and more" } else { "all" });
        }
        return;
    }
    for (world, met) in ALL.iter().filter(|(world, _)| world.name.contains(&only)) {
        let found = explore(world, STATES_MAX);
        assert!(!found.is_cut_short, "{}: there is more", world.name);
        for what in *met {
            assert!(found.met.contains_key(what), "{}: {what}: never met", world.name);
        }
    }
}

#[test]
fn each_rule_that_is_left_out_is_missed() {
    for mutation in Mutation::ALL {
        let world = where_it_is_missed(mutation);
        let (way, why) = search(&world, STATES_MAX, None)
            .wrong
            .unwrap_or_else(|| panic!("{mutation:?}: nothing is found to go wrong in \"{}\"", world.name));
        println!("{mutation:?}: {} steps in \"{}\"\n    {}; {why}", way.len(), world.name, told(&way));
    }
}

/// The same with more of everything, for who changes the rules: millions of states, minutes and gigabytes.
fn larger() -> [World; 11] {
    let more = |world: World, change: fn(&mut Left)| {
        let mut world = world;
        change(&mut world.left);
        world
    };
    [
        more(CALM, |left| left.writes = 3),
        more(BOTH, |left| left.fetches = 2),
        more(STOPPED, |left| left.stops = 2),
        more(CUT, |left| left.stops = 1),
        more(SLOW, |left| left.fetches = 1),
        more(EMPTIED, |left| left.stops = 1),
        more(EMPTIED, |left| left.writes = 2),
        more(FAILED_OVER, |left| left.cuts = 1),
        more(CRASHED, |left| left.wipes = 1),
        more(TRIMMED, |left| left.ticks = 2),
        more(BEGUN, |left| left.crashes = 1),
    ]
}
