//! `Stamp`, `Epoch` and `Position`: a place in the order in which invalidations were learnt, here and over all instances.

/// How much this instance had learnt: one sequence over all lives of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

/// Which life of the log a position belongs to: drawn when it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub [u8; 16]);
