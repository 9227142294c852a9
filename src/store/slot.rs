//! `Slot`: what lies under a key of L1: an answer, or where to look for one.

use std::sync::Arc;

use super::variants::Variants;
use crate::object::{Stored, Whereabouts};

/// What lies under a key.
#[derive(Clone, Debug)]
pub enum Slot {
    /// An answer.
    Entry(Arc<Stored>),
    /// Look under the key of the variant that these fields of the request select.
    Varies(Arc<Variants>),
}

impl Slot {
    /// What L1 writes on it.
    pub(super) fn whereabouts(&self) -> &Whereabouts {
        match self {
            Self::Entry(stored) => &stored.whereabouts,
            Self::Varies(variants) => variants.whereabouts(),
        }
    }
}
