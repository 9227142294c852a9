//! Whether this instance wants requests: a set of named conditions, of which all must be met.
//!
//! Anyone may ask, so a reason holds no secrets. An instance that has begun to drain never becomes ready again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What stands in the way, if anything; ready as long as nobody says otherwise.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    draining: bool,
    /// Condition → what is wrong. As many as there are names in the code.
    unmet: BTreeMap<&'static str, String>,
}

impl Readiness {
    /// From now on this instance only finishes what it has begun.
    pub fn draining(&self) {
        self.state().draining = true;
    }

    /// A condition is met, or this is why it is not.
    pub fn set(&self, condition: &'static str, state: Result<(), String>) {
        let mut all = self.state();
        match state {
            Ok(()) => all.unmet.remove(condition),
            Err(why) => all.unmet.insert(condition, why),
        };
    }

    /// `Err` has the reasons, at least one.
    pub fn ready(&self) -> Result<(), Vec<String>> {
        let state = self.state();
        let draining = state.draining.then(|| "draining".to_owned());
        let unmet = state.unmet.iter().map(|(name, why)| format!("{name}: {why}"));
        let reasons: Vec<_> = draining.into_iter().chain(unmet).collect();
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }

    /// Each change is one step, so what a panicking thread left behind is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_every_condition_is_met() {
        let readiness = Readiness::default();
        assert_eq!(readiness.ready(), Ok(()));
        readiness.set("upstream", Err("refused".to_owned()));
        readiness.set("listener", Err("not bound".to_owned()));
        readiness.set("upstream", Err("too slow".to_owned()));
        assert_eq!(readiness.ready().unwrap_err(), ["listener: not bound", "upstream: too slow"]);
        readiness.set("listener", Ok(()));
        assert_eq!(readiness.ready().unwrap_err(), ["upstream: too slow"]);
        readiness.set("upstream", Ok(()));
        assert_eq!(readiness.ready(), Ok(()));
    }

    #[test]
    fn draining_is_for_good() {
        let readiness = Readiness::default();
        readiness.draining();
        readiness.set("draining", Ok(()));
        assert_eq!(readiness.ready().unwrap_err(), ["draining"]);
    }
}
