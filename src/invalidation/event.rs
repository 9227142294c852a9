//! `Event`: what is declared invalid, in words that every instance understands.
//!
//! It is written to the log as JSON. What it says of credentials, of whole URIs and of keys are digests, so that nothing of a
//! secret is in it. Invariant: an event that can't be read, of a later version say, is one that says all is invalid.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::object::Tag;

/// Tells an event from any other: drawn when it is declared. The same event may come to the log twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub [u8; 16]);

/// Something is invalid from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Event {
    /// `user:5`; routes and identities are `route:NAME` and `identity:ID`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Whole paths, as they are written in URLs, without a query.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Beginnings of paths, likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// Tags of what is not to be written out.
    #[serde(skip_serializing_if = "Vec::is_empty", with = "digests")]
    pub digests: Vec<Tag>,
    /// Everything.
    #[serde(skip_serializing_if = "is_false")]
    pub all: bool,
    /// What is kept is stale rather than gone.
    #[serde(skip_serializing_if = "is_false")]
    pub soft: bool,
    /// What is fetched so soon behind it, and is named by it, lives no longer than this. Milliseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub settle_ms: u64,
    /// The hook's message that it comes from, as a digest: the same message again does nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<u64>,
}

impl Event {
    /// What it is taken for if it can't be read.
    pub fn everything() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// All that it names but prefixes and everything.
    pub fn named(&self) -> impl Iterator<Item = Tag> {
        let tags = self.tags.iter().map(|tag| Tag::named(tag));
        let paths = self.paths.iter().map(|path| Tag::path(&decoded(path)));
        tags.chain(paths).chain(self.digests.iter().copied())
    }

    /// The beginnings of paths, with their percent-encoding undone.
    pub fn beginnings(&self) -> impl Iterator<Item = Vec<u8>> {
        self.prefixes.iter().map(|prefix| decoded(prefix))
    }

    /// How many names are in it.
    pub fn names(&self) -> usize {
        self.tags.len() + self.paths.len() + self.prefixes.len() + self.digests.len()
    }

    /// How many bytes they are.
    pub fn bytes(&self) -> usize {
        let texts = self.tags.iter().chain(&self.paths).chain(&self.prefixes);
        texts.map(String::len).sum::<usize>() + self.digests.len() * size_of::<Tag>()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        !self.all
            && self.tags.is_empty()
            && self.paths.is_empty()
            && self.prefixes.is_empty()
            && self.digests.is_empty()
    }

    /// See `settle_ms`.
    pub fn settle(&self) -> Duration {
        Duration::from_millis(self.settle_ms)
    }

    /// For the log.
    pub fn to_json(&self) -> Vec<u8> {
        // Texts, numbers and flags: none of them can't be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// From the log.
    pub fn from_json(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

/// A path with its percent-encoding undone.
pub fn decoded(path: &str) -> Vec<u8> {
    percent_decode_str(path).collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// As sixteen hexadecimal digits: not every reader of JSON has numbers of 64 bits.
mod digests {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::object::Tag;

    pub fn serialize<S: Serializer>(tags: &[Tag], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(tags.iter().map(|tag| format!("{:016x}", tag.bits())))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Tag>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let read = |text: &String| u64::from_str_radix(text, 16).map(Tag::from_bits);
        texts.iter().map(read).collect::<Result<_, _>>().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for event in [
            Event::default(),
            Event::everything(),
            Event {
                tags: vec!["user:5".into(), "route:user".into()],
                paths: vec!["/a%20b".into()],
                prefixes: vec!["/api/".into()],
                digests: vec![Tag::named("x"), Tag::from_bits(u64::MAX)],
                all: false,
                soft: true,
                settle_ms: 2000,
                message: Some(7),
            },
        ] {
            assert_eq!(Event::from_json(&event.to_json()), Some(event));
        }
        assert_eq!(Event { tags: vec!["a".into()], ..Event::default() }.to_json(), br#"{"tags":["a"]}"#);
    }

    #[test]
    fn what_a_later_version_says_is_not_guessed_at() {
        for text in [&b"{\"tags\":[\"a\"],\"unless\":1}"[..], b"{\"tags\":7}", b"", b"[]x"] {
            assert_eq!(Event::from_json(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_path_is_called_the_same_however_it_is_written() {
        let event = Event { paths: vec!["/%41".into()], ..Event::default() };
        assert_eq!(event.named().collect::<Vec<_>>(), [Tag::path(b"/A")]);
    }
}
