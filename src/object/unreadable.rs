//! Why a value of the shared tier is no answer of ours: one name a reason, the same in metrics and logs. Each is a miss.
//!
//! Invariant: `ALL` has each of them once, and no two share a label.

/// Why a value can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreadable {
    /// Nothing that Larder writes.
    Foreign,
    /// Written by another version.
    Version,
    /// Not as long as it says.
    Length,
    /// In the clear, and a key is configured: nobody vouches for it.
    Clear,
    /// Sealed, and no key is configured.
    Sealed,
    /// Sealed with a key that is not configured, or not any more.
    UnknownKey,
    /// Its seal or its checksum does not hold: it is not what was written, or not where it was written.
    Altered,
    /// Its body is larger than what is kept.
    TooLarge,
    /// Its body does not decompress to what it says.
    Compression,
    /// Its head says what no answer's does.
    Malformed,
}

impl Unreadable {
    /// Every one there is.
    pub const ALL: &'static [Self] = &[
        Self::Foreign,
        Self::Version,
        Self::Length,
        Self::Clear,
        Self::Sealed,
        Self::UnknownKey,
        Self::Altered,
        Self::TooLarge,
        Self::Compression,
        Self::Malformed,
    ];

    /// For metrics: `unknown_key`, …
    pub fn label(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Version => "version",
            Self::Length => "length",
            Self::Clear => "clear",
            Self::Sealed => "sealed",
            Self::UnknownKey => "unknown_key",
            Self::Altered => "altered",
            Self::TooLarge => "too_large",
            Self::Compression => "compression",
            Self::Malformed => "malformed",
        }
    }

    /// For people: `it was written by another version of Larder`, …
    pub fn reason(self) -> &'static str {
        match self {
            Self::Foreign => "it is nothing that Larder wrote",
            Self::Version => "it was written by another version of Larder",
            Self::Length => "it is not as long as it says",
            Self::Clear => "it is not encrypted, and redis.encryption_key is set",
            Self::Sealed => "it is encrypted, and redis.encryption_key is not set",
            Self::UnknownKey => "it is encrypted with a key that is not in redis.encryption_key",
            Self::Altered => "it is not what was written there",
            Self::TooLarge => "its body is larger than redis.max_object",
            Self::Compression => "its body can't be decompressed",
            Self::Malformed => "its head makes no sense",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_has_a_label_and_a_reason_of_its_own() {
        let labels: HashSet<&str> = Unreadable::ALL.iter().map(|why| why.label()).collect();
        let reasons: HashSet<&str> = Unreadable::ALL.iter().map(|why| why.reason()).collect();
        assert_eq!((labels.len(), reasons.len()), (Unreadable::ALL.len(), Unreadable::ALL.len()));
    }
}
