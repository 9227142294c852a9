//! `Resource`: a URI as what an unsafe request changes, whoever asks for it and however. And `Stamp`: a place in the order in
//! which such changes were learnt.
//!
//! RFC 9111, 4.4 has a cache "invalidate the target URI", which is every entry of it: of all identities, variants and bodies.
//! Invariant: requests for one URI have one `Resource`. Two URIs may share one, and then both are forgotten: `/%41` and `/A`
//! on purpose, others by a chance of one in 2^64.

use std::hash::{DefaultHasher, Hasher};

/// A digest of authority, path and query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resource(u64);

/// How many changes had been learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub u64);

/// Which life of the record of changes a position belongs to: drawn when that record begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(pub [u8; 16]);

/// A place in that record, as all instances have it: two numbers, for it may be the position in a Redis stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64, pub u64);

impl Resource {
    /// `path`: with its percent-encoding undone; `query`: the parameters that count, in an order of their own.
    pub fn new<'q>(authority: &str, path: &[u8], query: impl Iterator<Item = &'q [u8]>) -> Self {
        let mut hasher = DefaultHasher::new();
        let mut add = |part: &[u8]| {
            hasher.write_usize(part.len());
            hasher.write(part);
        };
        add(authority.as_bytes());
        add(path);
        query.for_each(add);
        Self(hasher.finish())
    }

    /// One of so many places.
    pub fn place(self, places: usize) -> usize {
        usize::try_from(self.0 % places.max(1) as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(authority: &str, path: &str, query: &[&str]) -> Resource {
        Resource::new(authority, path.as_bytes(), query.iter().map(|part| part.as_bytes()))
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let one = of("a", "/b", &["c=1", "d=2"]);
        assert_eq!(one, of("a", "/b", &["c=1", "d=2"]));
        for other in [
            of("a/b", "", &["c=1", "d=2"]),
            of("a", "/b", &["c=1d=2"]),
            of("a", "/bc=1", &["d=2"]),
            of("a", "/b", &["c=1"]),
        ] {
            assert_ne!(one, other);
        }
    }
}
