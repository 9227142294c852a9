//! How things stand with the record: for people, and for the tier behind memory.

use std::sync::atomic::Ordering::Relaxed;

use super::ledger::Floors;
use super::record::{Others, Record};
use crate::object::{Epoch, Stamp, Stored};
use crate::shared::Stamps;
use crate::telemetry::log_state::LogState;

impl Record {
    /// How things stand, for people.
    pub(super) fn state(&self) -> LogState {
        let ledger = self.read();
        let Floors { gaps, forgotten, epochs } = ledger.floors();
        let others = self.others.as_ref();
        let named = |others: &Others| {
            others.roll().others(self.me.id).map(|line| line.name.clone()).collect::<Vec<_>>()
        };
        LogState {
            shared: others.is_some(),
            instance: self.me.name.clone(),
            followed: self.is_followed(),
            cut_off: !self.is_trusted(),
            is_starting: others.is_some_and(|others| !others.has_started.load(Relaxed)),
            position: ledger.place().1,
            others: others.map(named).unwrap_or_default(),
            tags: ledger.tags(),
            unlogged: ledger.unlogged.len(),
            overflows: ledger.unlogged.overflows,
            gaps,
            forgotten,
            epochs,
        }
    }
}

impl Stamps for Record {
    fn is_live(&self, stored: &Stored) -> bool {
        Self::is_live(self, stored)
    }

    fn stamp_of(&self, epoch: Epoch, position: u64) -> Option<Stamp> {
        self.read().stamp_of(epoch, position)
    }

    fn place_of(&self, stamp: Stamp) -> Option<(Epoch, u64)> {
        self.read().place_of(stamp)
    }

    fn is_trusted(&self) -> bool {
        Self::is_trusted(self)
    }
}
