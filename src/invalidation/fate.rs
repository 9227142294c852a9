//! `Fate`: what has become of something that was fetched, by what was declared invalid since.

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Nothing.
    Live,
    /// It is stale by declaration.
    Soft,
    /// It may not be served, whatever happens.
    Dead,
}
