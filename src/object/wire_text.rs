//! Texts that belong to a whole namespace, and lie beside its frames: sealed as those are, or vouched for by a checksum.
//!
//! ```text
//!  0  "LRDK" or "LRDE", version, how it is sealed, 0, 0, key id
//! 12  proof
//! 24  the text, tag
//! ```

use std::ops::Range;

use bytes::Bytes;

use super::seal::{self, Opener, Proof};
use super::unreadable::Unreadable;
use super::wire::{Kind, Stretch, Wire, bound, mark};
use super::wire_reader::Reader;

/// What is sealed beside frames, of which there are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// The secret that the namespace's keys are made with.
    Secret,
    /// What the log says.
    Event,
}

/// Their versions are their own: instances of two versions may share a secret and a log, if no frames.
const SECRET: Kind = (*b"LRDK", 1);
const EVENT: Kind = (*b"LRDE", 1);

/// What lies before a text, and what of that is said of it.
const TEXT_PREFIX_BYTES: usize = 24;
const OF_THE_TEXT: Range<usize> = 4..12;

impl Wire {
    /// A text that belongs to the whole namespace. Empty as a frame may be.
    pub fn seal_text(&self, of: Text, text: &[u8]) -> Bytes {
        let mut value = Vec::with_capacity(TEXT_PREFIX_BYTES + text.len() + self.seals.tag_bytes());
        self.put_mark(of.kind(), &mut value);
        let bound = bound(of.stretch(), None, &value[OF_THE_TEXT], &[]);
        value.resize(TEXT_PREFIX_BYTES, 0);
        value.extend_from_slice(text);
        value.resize(value.len() + self.seals.tag_bytes(), 0);
        let proof = self.seals.close(&bound, &mut value[TEXT_PREFIX_BYTES..]);
        let Some(proof) = proof else { return Bytes::new() };
        value[OF_THE_TEXT.end..TEXT_PREFIX_BYTES].copy_from_slice(&proof);
        Bytes::from(value)
    }

    /// What was sealed so.
    pub fn open_text(&self, of: Text, value: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let mut reader = Reader::new(value);
        let opener = self.seals.opener(mark(of.kind(), &mut reader)?)?;
        let proof: Proof = reader.array().ok_or(Unreadable::Length)?;
        let bound = bound(of.stretch(), None, &value[OF_THE_TEXT], &[]);
        let mut stretch = reader.bytes(reader.left()).unwrap_or_default().to_vec();
        let length = stretch.len().checked_sub(opener.tag_bytes()).ok_or(Unreadable::Length)?;
        match opener {
            Opener::Checksum(namespace) => seal::check(namespace, &proof, &bound, &stretch)?,
            Opener::Key(key) => seal::open(key, &proof, &bound, &mut stretch)?,
        }
        stretch.truncate(length);
        Ok(stretch)
    }

    /// The secret that the namespace's keys are made with. Empty as a frame may be.
    pub fn seal_secret(&self, secret: &[u8; 32]) -> Bytes {
        self.seal_text(Text::Secret, secret)
    }

    /// What was sealed so.
    pub fn open_secret(&self, value: &[u8]) -> Result<[u8; 32], Unreadable> {
        self.open_text(Text::Secret, value)?.try_into().map_err(|_| Unreadable::Length)
    }

    /// Whether it was sealed as it would be now: with the first key.
    pub fn is_sealed_as_now(&self, value: &[u8]) -> bool {
        let mut now = Vec::new();
        self.put_mark(SECRET, &mut now);
        value.starts_with(&now)
    }

    /// Whether what is written can be read without a key.
    pub fn is_clear(&self) -> bool {
        self.seals.tag_bytes() == 0
    }
}

impl Text {
    fn kind(self) -> Kind {
        match self {
            Self::Secret => SECRET,
            Self::Event => EVENT,
        }
    }

    fn stretch(self) -> Stretch {
        match self {
            Self::Secret => Stretch::Secret,
            Self::Event => Stretch::Event,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::seal::{Cipher, EncryptionKey};
    use crate::object::wire::Settings;

    const KEY: EncryptionKey = EncryptionKey([3; 32]);
    const OTHER_KEY: EncryptionKey = EncryptionKey([4; 32]);

    fn of(namespace: &str, keys: &[EncryptionKey]) -> Wire {
        Wire::new(Settings {
            namespace: namespace.to_owned(),
            compress_above_bytes: None,
            max_object_bytes: 1_000_000,
            keys: keys.to_vec(),
            cipher: Cipher::default(),
        })
    }

    #[test]
    fn a_text_is_none_of_another_kind() {
        for wire in [of("n", &[]), of("n", &[KEY])] {
            for text in [&b""[..], &[5; 32], &[6; 1000]] {
                let event = wire.seal_text(Text::Event, text);
                assert_eq!(wire.open_text(Text::Event, &event).as_deref(), Ok(text));
                assert_eq!(wire.open_text(Text::Secret, &event), Err(Unreadable::Foreign));
                // Nor one that says it is.
                let renamed = [&SECRET.0[..], &event[4..]].concat();
                assert_eq!(wire.open_text(Text::Secret, &renamed), Err(Unreadable::Altered));
            }
        }
    }

    #[test]
    fn a_secret_comes_back_from_its_own_namespace_only() {
        let secret = [5; 32];
        let (foreign, plain, one) = (of("other", &[KEY]), of("n", &[]), of("n", &[KEY]));
        let both = of("n", &[OTHER_KEY, KEY]);
        for (writer, reader, expected) in [
            (&plain, &plain, Ok(secret)),
            (&one, &one, Ok(secret)),
            (&one, &both, Ok(secret)),
            (&both, &one, Err(Unreadable::UnknownKey)),
            (&plain, &one, Err(Unreadable::Clear)),
            (&one, &plain, Err(Unreadable::Sealed)),
            (&foreign, &one, Err(Unreadable::Altered)),
        ] {
            assert_eq!(reader.open_secret(&writer.seal_secret(&secret)), expected);
        }
        for wire in [plain, one] {
            let value = wire.seal_secret(&secret);
            for end in 0..value.len() {
                assert!(wire.open_secret(&value[..end]).is_err());
            }
            let mut flipped = value.to_vec();
            for bit in 0..value.len() * 8 {
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(wire.open_secret(&flipped).is_err(), "bit {bit}");
                flipped[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}
