//! `Complaints`: what is wrong with Redis, told once for each reason, however many links it is felt by.
//!
//! A reason that changes is told too: who has mended the address may still have the wrong password.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What has been told.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    away: Reasons,
    refused: Reasons,
    deaf: Reasons,
}

#[derive(Debug, Default)]
struct Reasons(Mutex<BTreeSet<String>>);

/// Different reasons that are told. Past it something in them changes each time, and says no more.
const REASONS_MAX: usize = 16;

/// Refusals whose words say more than their kind.
const SAID: [&str; 2] = ["ERR", "NOPERM"];

impl Complaints {
    /// Nothing is to be had of it.
    pub(super) fn away(&self, why: &dyn Display) {
        let why = why.to_string();
        if self.away.is_new(&why) {
            tracing::warn!(%why, "Redis is away; requests go on without it");
        }
    }

    /// It is used again.
    pub(super) fn back(&self) {
        if self.away.forget() {
            tracing::info!("Redis is back");
        }
    }

    /// It has answered no, in these words.
    pub(super) fn refused(&self, kind: &'static str, words: &str) {
        if self.refused.is_new(if SAID.contains(&kind) { words } else { kind }) {
            tracing::warn!(kind, words, "Redis refuses a command; further ones are only counted");
        }
    }

    /// There is no subscription. While it is away there can be none.
    pub(super) fn deaf(&self, why: &dyn Display) {
        let why = why.to_string();
        if !self.away.are_any() && self.deaf.is_new(&why) {
            tracing::warn!(%why, "no news of other instances comes through; each fetches for itself");
        }
    }

    /// There is one.
    pub(super) fn hearing(&self) {
        if self.deaf.forget() {
            tracing::info!("news of other instances comes through again");
        }
    }
}

impl Reasons {
    fn is_new(&self, reason: &str) -> bool {
        let mut told = self.lock();
        told.len() < REASONS_MAX && !told.contains(reason) && told.insert(reason.to_owned())
    }

    fn are_any(&self) -> bool {
        !self.lock().is_empty()
    }

    /// Whether there were any.
    fn forget(&self) -> bool {
        !std::mem::take(&mut *self.lock()).is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_once_until_it_is_over_and_no_more_than_so_many() {
        let reasons = Reasons::default();
        assert_eq!(["a", "a", "b", "a"].map(|why| reasons.is_new(why)), [true, false, true, false]);
        assert!(reasons.are_any() && reasons.forget() && !reasons.forget());
        assert!(reasons.is_new("a"));
        let told = (0..1000).filter(|number: &i32| reasons.is_new(&number.to_string())).count();
        assert_eq!(told, REASONS_MAX - 1);
    }
}
