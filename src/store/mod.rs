//! Where answers are kept: L1 in this process. Tiers keep, they do not judge.

mod filling;
mod index;
mod memory;
mod seed;
mod slot;
mod variants;

pub use filling::{Filling, Room};
pub use memory::Memory;
pub use seed::Seed;
pub use slot::Slot;
pub use variants::{Evicted, Variants};

/// How much may be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of all entries together, overhead included.
    pub max_size_bytes: u64,
    /// Bytes of one body; a longer one streams through.
    pub max_object_bytes: u64,
    /// Bytes of bodies that are coming in to be kept; past it answers stream through unkept.
    pub max_filling_bytes: u64,
    /// Bytes of second copies of large bodies, which the kernel sends without copying them; 0: none.
    pub max_sendfile_bytes: u64,
    /// Variants of one resource; for a further one the oldest goes.
    pub max_variants: usize,
}
