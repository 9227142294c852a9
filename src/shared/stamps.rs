//! `Stamps`: what the tier has to know of the log of invalidations, which stands below it in the order of modules.

use crate::object::{Epoch, Stamp, Stored};

/// Who knows what has been declared invalid.
pub trait Stamps: Send + Sync {
    /// Whether nothing that was declared since has made this answer unusable.
    fn is_live(&self, stored: &Stored) -> bool;

    /// What an answer that another instance stamped so is stamped here. None: in another life of the log, so that it is dead.
    fn stamp_of(&self, epoch: Epoch, position: u64) -> Option<Stamp>;

    /// The reverse. None likewise.
    fn place_of(&self, stamp: Stamp) -> Option<(Epoch, u64)>;

    /// Whether the log was read to its end, and is read on.
    fn is_trusted(&self) -> bool;
}
