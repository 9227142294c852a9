//! `Tag`: what an entry can be called by when something is declared invalid; and `Labels`, all that one entry or fetch can be called by.
//!
//! A tag is the digest of a text: `user:5` that a route's template made, `route:user`, `identity:…`, a `Surrogate-Key`. All
//! instances make the same digest of the same text. Two texts may have one digest, by a chance of one in 2^64; then both are
//! forgotten together, which costs a fetch. Invariant: labels are of the request and of its answer alone, and whoever has read
//! both has the same ones.

use std::sync::Arc;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// A digest of what something is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(u64);

/// What an entry, or a fetch, can be called by. A clone shares them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    /// The tags, and the path behind them.
    text: Arc<[u8]>,
    /// How many tags.
    count: usize,
}

impl Tag {
    /// What one takes where it is kept.
    pub const BYTES: usize = size_of::<u64>();

    /// Called so: what a template, a field of the answer or a purge says. `route:user` is the same as `route("user")`.
    pub fn named(text: &str) -> Self {
        Self(xxh3_64(text.as_bytes()))
    }

    /// All that a route keeps.
    pub fn route(name: &str) -> Self {
        Self::of(b"route:", name.as_bytes())
    }

    /// All that is kept for one who asks.
    pub fn identity(id: &str) -> Self {
        Self::of(b"identity:", id.as_bytes())
    }

    /// All that is kept of a path, whatever its query. `decoded`: with its percent-encoding undone.
    pub fn path(decoded: &[u8]) -> Self {
        Self::of(b"path:", decoded)
    }

    /// A list of parts of this kind, none of which can run into the next.
    pub fn parts<'p>(kind: &str, parts: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut digest = Xxh3::new();
        let mut add = |part: &[u8]| {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part);
        };
        add(kind.as_bytes());
        parts.into_iter().for_each(add);
        Self(digest.digest())
    }

    fn of(kind: &[u8], text: &[u8]) -> Self {
        let mut digest = Xxh3::new();
        digest.update(kind);
        digest.update(text);
        Self(digest.digest())
    }

    /// As a number, for other instances.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// From that number.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl Labels {
    /// Of these tags and that path.
    pub fn new(mut tags: Vec<Tag>, path: &[u8]) -> Self {
        tags.sort_unstable();
        tags.dedup();
        Self::of(&tags, path)
    }

    /// Of these tags, each of which is there once, in this order.
    pub fn of(tags: &[Tag], path: &[u8]) -> Self {
        let mut text = Vec::with_capacity(tags.len() * Tag::BYTES + path.len());
        for tag in tags {
            text.extend_from_slice(&tag.bits().to_le_bytes());
        }
        text.extend_from_slice(path);
        Self { text: text.into(), count: tags.len() }
    }

    /// The same, and these.
    #[must_use]
    pub fn and(&self, more: impl IntoIterator<Item = Tag>) -> Self {
        let mut tags: Vec<_> = self.tags().collect();
        tags.extend(more);
        if tags.len() == self.count {
            return self.clone();
        }
        Self::new(tags, self.path())
    }

    /// Each tag once, in an order of their own.
    pub fn tags(&self) -> impl ExactSizeIterator<Item = Tag> {
        let (tags, _) = self.parts();
        tags.as_chunks().0.iter().map(|bytes| Tag::from_bits(u64::from_le_bytes(*bytes)))
    }

    /// The path, with its percent-encoding undone: prefixes are held against it.
    pub fn path(&self) -> &[u8] {
        self.parts().1
    }

    /// What it takes to keep them.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        self.text.split_at_checked(self.count * Tag::BYTES).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_is_written_out_is_the_same_as_one_that_is_made() {
        assert_eq!(Tag::named("route:user"), Tag::route("user"));
        assert_eq!(Tag::named("identity:7"), Tag::identity("7"));
        assert_eq!(Tag::named("path:/a b"), Tag::path(b"/a b"));
        assert_eq!(Tag::from_bits(Tag::named("x").bits()), Tag::named("x"));
    }

    #[test]
    fn it_is_the_same_in_every_process() {
        assert_eq!(Tag::named("user:5").bits(), 0x1157_9b35_420c_dafd);
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let one = Tag::parts("uri", [&b"a"[..], b"/b", b"c=1", b"d=2"]);
        assert_eq!(one, Tag::parts("uri", [&b"a"[..], b"/b", b"c=1", b"d=2"]));
        for other in [
            Tag::parts("uri", [&b"a/b"[..], b"", b"c=1", b"d=2"]),
            Tag::parts("uri", [&b"a"[..], b"/b", b"c=1d=2"]),
            Tag::parts("url", [&b"a"[..], b"/b", b"c=1", b"d=2"]),
            Tag::parts("uri", [&b"a"[..], b"/b", b"c=1"]),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn labels_hold_each_tag_once() {
        let (one, two) = (Tag::named("1"), Tag::named("2"));
        let labels = Labels::new(vec![one, one], b"/");
        assert!(labels.tags().eq([one]));
        assert_eq!(labels.and([one, two]), Labels::new(vec![two, one], b"/"));
        assert_eq!(labels.and([]), labels);
    }

    #[test]
    fn labels_are_what_they_were_made_of() {
        for tags in [vec![], vec![Tag::named("1")], vec![Tag::named("1"), Tag::named("2")]] {
            let labels = Labels::new(tags.clone(), b"/a b");
            assert_eq!((labels.tags().len(), labels.path()), (tags.len(), &b"/a b"[..]));
            assert!(tags.iter().all(|tag| labels.tags().any(|label| label == *tag)));
        }
        assert_eq!(Labels::default(), Labels::of(&[], b""));
    }
}
