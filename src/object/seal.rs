//! What a value in the shared tier is sealed with, and what vouches for one that is not.
//!
//! A *stretch* of a value has a `Proof`, which is kept beside it. Sealed, the proof is the nonce, and the tag is the stretch's
//! end; in the clear, it is a checksum. Both hold for what the stretch is *bound* to as well: where it lies, and what is said
//! of it beside it. A checksum tells damage, and a value that was put in another's place; it is no proof against who can
//! compute one, which is why nothing in the clear is read where a key is configured. Invariant: no nonce that is not random.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::unreadable::Unreadable;

/// 32 bytes; shown by nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionKey(pub [u8; 32]);

/// How values are sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cipher {
    /// Fast where the processor helps.
    #[default]
    Aes256Gcm,
    /// Fast where it does not.
    ChaCha20Poly1305,
}

/// Closes and opens the values of one namespace.
pub(super) struct Seals {
    /// What all checksums depend on: a value of another namespace is none of ours.
    namespace: u64,
    /// The cipher that is written; both are read.
    cipher: Cipher,
    /// The first writes, all read.
    keys: Vec<Keyed>,
    random: SystemRandom,
}

/// A key, made ready for both ciphers.
struct Keyed {
    id: [u8; 4],
    aes: LessSafeKey,
    chacha: LessSafeKey,
}

/// What a value says of how it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// `CLEAR`, or a cipher.
    pub how: u8,
    /// Zeros if it is in the clear.
    pub key_id: [u8; 4],
}

/// What opens a value that bears a mark.
pub(super) enum Opener<'k> {
    /// It is in the clear; checksums begin with this.
    Checksum(u64),
    /// It is sealed with this.
    Key(&'k LessSafeKey),
}

/// A nonce, or a checksum and four zeros.
pub(super) type Proof = [u8; NONCE_LEN];

/// How long a tag is; the same for both ciphers.
pub(super) const TAG_BYTES: usize = 16;

const CLEAR: u8 = 0;
const AES: u8 = 1;
const CHACHA: u8 = 2;

impl Cipher {
    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes256Gcm => &AES_256_GCM,
            Self::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Aes256Gcm => AES,
            Self::ChaCha20Poly1305 => CHACHA,
        }
    }
}

impl Seals {
    /// Without keys, values are in the clear.
    pub(super) fn new(namespace: &str, keys: &[EncryptionKey], cipher: Cipher) -> Self {
        let keys = keys.iter().map(|key| Keyed::new(key, namespace)).collect();
        Self { namespace: xxh3_64(namespace.as_bytes()), cipher, keys, random: SystemRandom::new() }
    }

    /// What is written says this.
    pub(super) fn mark(&self) -> Mark {
        let sealed = |key: &Keyed| Mark { how: self.cipher.byte(), key_id: key.id };
        self.keys.first().map_or(Mark { how: CLEAR, key_id: [0; 4] }, sealed)
    }

    /// What a stretch that is written needs beyond its text.
    pub(super) fn tag_bytes(&self) -> usize {
        if self.keys.is_empty() { 0 } else { TAG_BYTES }
    }

    /// Seals a stretch, whose end is left for the tag, or sums it up. None: no nonce could be drawn.
    ///
    /// Nonces are 96 random bits. Two that are alike under one key would lay both texts open, and make forgeries possible: the
    /// chance of that stays below 2^-32 for the first 2^32 stretches (NIST SP 800-38D, 8.3). A value has two stretches, and a
    /// key of the operator's is another one in each namespace. So a key is good for two thousand million values of a namespace:
    /// with a hundred written a second it should be replaced within eight months, with a thousand every three weeks.
    pub(super) fn close(&self, bound: &[u8], stretch: &mut [u8]) -> Option<Proof> {
        let Some(key) = self.keys.first() else {
            return Some(checksum(self.namespace, bound, stretch));
        };
        let mut proof = Proof::default();
        self.random.fill(&mut proof).ok()?;
        let (text, tag) = stretch.split_last_chunk_mut::<TAG_BYTES>()?;
        let nonce = Nonce::assume_unique_for_key(proof);
        let sealed = key.of(self.cipher).seal_in_place_separate_tag(nonce, Aad::from(bound), text).ok()?;
        tag.copy_from_slice(sealed.as_ref());
        Some(proof)
    }

    /// What opens a value with this mark.
    pub(super) fn opener(&self, mark: Mark) -> Result<Opener<'_>, Unreadable> {
        let cipher = match mark.how {
            CLEAR if mark.key_id != [0; 4] => return Err(Unreadable::Foreign),
            CLEAR if self.keys.is_empty() => return Ok(Opener::Checksum(self.namespace)),
            CLEAR => return Err(Unreadable::Clear),
            AES => Cipher::Aes256Gcm,
            CHACHA => Cipher::ChaCha20Poly1305,
            _ => return Err(Unreadable::Foreign),
        };
        if self.keys.is_empty() {
            return Err(Unreadable::Sealed);
        }
        let key = self.keys.iter().find(|key| key.id == mark.key_id).ok_or(Unreadable::UnknownKey)?;
        Ok(Opener::Key(key.of(cipher)))
    }
}

impl Opener<'_> {
    /// How much of a stretch's end is no text.
    pub(super) fn tag_bytes(&self) -> usize {
        match self {
            Self::Checksum(_) => 0,
            Self::Key(_) => TAG_BYTES,
        }
    }
}

/// Whether a stretch in the clear is what was written.
pub(super) fn check(namespace: u64, proof: &Proof, bound: &[u8], stretch: &[u8]) -> Result<(), Unreadable> {
    if *proof == checksum(namespace, bound, stretch) { Ok(()) } else { Err(Unreadable::Altered) }
}

/// Opens a stretch, where it lies; its tag stays behind it.
pub(super) fn open(
    key: &LessSafeKey,
    proof: &Proof,
    bound: &[u8],
    stretch: &mut [u8],
) -> Result<(), Unreadable> {
    let nonce = Nonce::assume_unique_for_key(*proof);
    key.open_in_place(nonce, Aad::from(bound), stretch).map_or(Err(Unreadable::Altered), |_| Ok(()))
}

fn checksum(namespace: u64, bound: &[u8], stretch: &[u8]) -> Proof {
    let sum = xxh3_64_with_seed(stretch, xxh3_64_with_seed(bound, namespace)).to_le_bytes();
    let mut proof = Proof::default();
    proof[..sum.len()].copy_from_slice(&sum);
    proof
}

impl Keyed {
    /// What seals is derived from the operator's key, for each namespace and cipher, so that none is used for two things.
    fn new(key: &EncryptionKey, namespace: &str) -> Self {
        let mut named = digest::Context::new(&digest::SHA256);
        named.update(b"larder key id");
        named.update(&key.0);
        let mut id = [0; 4];
        id.copy_from_slice(&named.finish().as_ref()[..4]);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &key.0);
        let derived = |cipher: Cipher| {
            let purpose = [b"larder seal", [cipher.byte()].as_slice(), namespace.as_bytes()].concat();
            // Both ciphers take a key of 32 bytes, and that is what this hash gives.
            let unbound = UnboundKey::new(cipher.algorithm(), hmac::sign(&secret, &purpose).as_ref());
            LessSafeKey::new(unbound.unwrap_or_else(|_| unreachable!()))
        };
        Self { id, aes: derived(Cipher::Aes256Gcm), chacha: derived(Cipher::ChaCha20Poly1305) }
    }

    fn of(&self, cipher: Cipher) -> &LessSafeKey {
        match cipher {
            Cipher::Aes256Gcm => &self.aes,
            Cipher::ChaCha20Poly1305 => &self.chacha,
        }
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey(…)")
    }
}

impl fmt::Debug for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seals")
            .field("mark", &self.mark())
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: EncryptionKey = EncryptionKey([3; 32]);

    #[test]
    fn what_was_sealed_opens_under_the_same_key_namespace_cipher_and_bound_only() {
        for cipher in [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
            let seals = Seals::new("n", &[KEY], cipher);
            let mut sealed = *b"what was said\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
            let proof = seals.close(b"here", &mut sealed).unwrap();
            assert_ne!(&sealed[..13], b"what was said");
            let opened = |with: &Seals, bound: &[u8], mark: Mark| {
                let mut copy = sealed;
                match with.opener(mark)? {
                    Opener::Key(key) => open(key, &proof, bound, &mut copy).map(|()| copy[..13].to_vec()),
                    Opener::Checksum(_) => unreachable!(),
                }
            };
            let mark = seals.mark();
            assert_eq!(opened(&seals, b"here", mark).as_deref(), Ok(&b"what was said"[..]));
            assert_eq!(opened(&seals, b"there", mark), Err(Unreadable::Altered));
            let other_cipher = Mark { how: 3 - mark.how, ..mark };
            assert_eq!(opened(&seals, b"here", other_cipher), Err(Unreadable::Altered));
            for (namespace, keys, expected) in [
                ("m", &[KEY][..], Err(Unreadable::Altered)),
                ("n", &[], Err(Unreadable::Sealed)),
                ("n", &[EncryptionKey([4; 32])], Err(Unreadable::UnknownKey)),
                ("n", &[EncryptionKey([4; 32]), KEY], Ok(b"what was said".to_vec())),
            ] {
                assert_eq!(opened(&Seals::new(namespace, keys, cipher), b"here", mark), expected);
            }
        }
    }

    #[test]
    fn no_nonce_is_used_twice() {
        let seals = Seals::new("n", &[KEY], Cipher::default());
        let mut nonces: Vec<Proof> =
            (0..100).map(|_| seals.close(b"", &mut [0; TAG_BYTES]).unwrap()).collect();
        nonces.sort_unstable();
        nonces.dedup();
        assert_eq!(nonces.len(), 100);
    }

    #[test]
    fn a_mark_that_is_none_is_foreign() {
        for (how, key_id) in [(CLEAR, [0, 0, 0, 1]), (3, [0; 4]), (255, [0; 4])] {
            let found = Seals::new("n", &[], Cipher::default()).opener(Mark { how, key_id }).map(|_| ());
            assert_eq!(found, Err(Unreadable::Foreign));
        }
    }

    #[test]
    fn a_key_id_is_the_beginning_of_a_digest() {
        // (printf 'larder key id'; printf '\003%.0s' {1..32}) | sha256sum
        let mark = Seals::new("n", &[KEY], Cipher::default()).mark();
        assert_eq!(mark.how, AES);
        assert_eq!(mark.key_id, KEY_ID);
        assert_eq!(format!("{KEY:?}"), "EncryptionKey(…)");
    }

    const KEY_ID: [u8; 4] = [0x72, 0xd8, 0x19, 0xd4];
}
