//! `Seed`: key → hash, another in every process.
//!
//! A key is a digest, so eight bytes of it would do, if all who choose keys meant well. But without a configured secret anybody
//! can compute the keys of requests that bear no credential, and look for ones that would lie in the same place. Where that is,
//! is not known without the seed.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::object::Key;

/// What hashes depend on.
#[derive(Clone, Copy, Debug)]
pub struct Seed {
    mixed_in: u64,
    factor: u64,
}

impl Seed {
    /// Drawn at random.
    pub fn drawn() -> Self {
        let random = RandomState::new();
        Self { mixed_in: random.hash_one(0), factor: random.hash_one(1) | 1 }
    }

    /// The hash of this key.
    pub fn hash(self, key: &Key) -> u64 {
        self.mix(key.bytes().first_chunk().map_or(0, |first| u64::from_le_bytes(*first)))
    }

    fn mix(self, word: u64) -> u64 {
        // Both halves of the product: each bit of the hash depends on all of the word and the seed.
        let product = u128::from(word ^ self.mixed_in) * u128::from(self.factor);
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
        half(product) ^ half(product >> 64)
    }
}

/// For tables of keys, which give a hasher eight of their bytes and nothing else.
impl BuildHasher for Seed {
    type Hasher = Seeded;

    fn build_hasher(&self) -> Seeded {
        Seeded { seed: *self, hash: 0 }
    }
}

/// A hash in the making.
#[derive(Debug)]
pub struct Seeded {
    seed: Seed,
    hash: u64,
}

impl Hasher for Seeded {
    fn write_u64(&mut self, word: u64) {
        self.hash = self.seed.mix(self.hash ^ word);
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (into, byte) in word.iter_mut().zip(chunk) {
                *into = *byte;
            }
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}
