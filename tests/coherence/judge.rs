//! What must hold in every state: a request that came now would be given nothing older than was promised.

use larder::invalidation::Fate;

use crate::mutation::Mutation;
use crate::world::{Phase, State, World};

/// Why that does not hold; or what is to be met there.
pub fn judge(world: &World, state: &State) -> Result<Vec<&'static str>, String> {
    let mut met = Vec::new();
    if state.orders.is_empty() && state.left.writes == 0 {
        met.push("all acknowledged");
    }
    if state.promised.iter().any(|promised| *promised > 0) {
        met.push("acknowledged");
    }
    for by in 0..2 {
        learnt(state, by, &mut met);
        if state.at[by].is_stopped || !world.serves[by] {
            continue;
        }
        if world.is_trusted(state, by) {
            given(world, state, by, &mut met)?;
        } else if (0..world.keys).any(|key| state.at[by].live(key).is_some()) {
            met.push("bypassed: cut off");
        }
    }
    for order in &state.orders {
        let at = &state.at[order.by];
        let Some((epoch, position)) = order.place else { continue };
        if at.roll.lagging(at.id, epoch, position).next().is_some() {
            met.push("waited for");
        }
        if !at.trust.grace_left(state.now(order.by)).is_zero() {
            met.push("in grace");
        }
    }
    Ok(met)
}

/// What a request is given by an instance that believes its memory.
fn given(world: &World, state: &State, by: usize, met: &mut Vec<&'static str>) -> Result<(), String> {
    let at = &state.at[by];
    for key in 0..world.keys {
        let promised = state.promised[key];
        let check = |what, version: u8| {
            if version >= promised {
                return Ok(what);
            }
            let who = ["A", "B"][by];
            Err(format!(
                "{who}: {what}: a request for {key} is given version {version}, {promised} was promised"
            ))
        };
        match at.live(key) {
            Some(version) => met.push(check("hit", version)?),
            None if at.memory[key].is_some() => met.push("dead in memory"),
            None => {}
        }
        let beyond = state.redis.second[key].filter(|_| !at.is_cut && world.has_second);
        for written in at.looks[key].into_iter().chain(beyond) {
            // Stamped anew it is wrong already; what it does to memory is what is to be found.
            if world.has(Mutation::PromotionRestamps) {
                continue;
            }
            match world.open(state, by, key, written) {
                Some(entry) => met.push(check("promoted", entry.version)?),
                None => met.push("dead in the shared tier"),
            }
        }
        for flight in at.flights.iter().filter(|flight| flight.key == key) {
            if !world.may_join(state, by, flight) {
                met.push("not joined");
            } else if let Some(version) = flight.version {
                if world.is_given(state, by, flight) {
                    met.push(check("joined", version)?);
                } else {
                    met.push("joined in vain");
                }
            }
        }
    }
    Ok(())
}

/// What has befallen it.
fn learnt(state: &State, by: usize, met: &mut Vec<&'static str>) {
    let at = &state.at[by];
    let floors = at.ledger.floors();
    if floors.gaps > 0 {
        met.push("gap");
    }
    if floors.epochs > 1 {
        met.push("another epoch");
    }
    if at.session.as_ref().is_some_and(|session| session.phase == Phase::CatchingUp) {
        met.push("catching up");
    }
    if at.roll.dead().iter().any(|line| line.id == state.at[1 - by].id) {
        met.push("held dead");
    }
    let is_unlogged = |key: usize| {
        at.memory[key].is_some_and(|entry| at.ledger.fate(&World::labels(key), entry.stamp) == Fate::Dead)
            && !at.ledger.unlogged(0, 1).0.is_empty()
    };
    if is_unlogged(0) {
        met.push("dead before it is logged");
    }
}
