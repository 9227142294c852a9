//! `Key`: what makes two requests the same, as one HMAC-SHA-256 over parts that each bear their length.
//!
//! A part is a tag, a length and its bytes, so no two different lists of parts can read alike: `a=1` beside `b=2`
//! is not `a=1:b=2`. Secrets go in, only the digest comes out. The digest of a request that bears a credential is
//! keyed with a secret (the configured one, or one drawn when the process started), so that who finds a key can't try
//! credentials against it. Invariant: what is not a part can't make a difference; what is, always does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::recent;

/// The identity of a resource, or of one of its variants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key([u8; 32]);

/// What a part of a key is; the byte is its tag in the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// `GET` for GET and HEAD, `POST`, `QUERY`.
    Method = 1,
    /// `http` or `https`, as the client used it.
    Scheme = 2,
    /// Host and port the client asked for, lower case.
    Authority = 3,
    /// The path, as sent.
    Path = 4,
    /// One query parameter that counts, as sent; they are sorted by name.
    Query = 5,
    /// A request header the route names: its name.
    HeaderName = 6,
    /// … and one of its values.
    HeaderValue = 7,
    /// A cookie the route names: its name.
    CookieName = 8,
    /// … and one of its values.
    CookieValue = 9,
    /// Where a credential was found, such as `header:authorization`.
    CredentialSource = 10,
    /// A credential itself.
    Credential = 11,
    /// The key of the resource, in the key of a variant.
    Resource = 12,
    /// A header the response varies on: its name.
    VaryName = 13,
    /// … and its normalised value.
    VaryValue = 14,
    /// The host a trusted proxy says the client asked for.
    ForwardedHost = 15,
    /// The body of the request, as sent or as canonical JSON.
    Body = 16,
    /// … and how it is to be read: a `Content-Type`.
    BodyType = 17,
    /// … a `Content-Encoding`.
    BodyEncoding = 18,
    /// … a `Content-Language`.
    BodyLanguage = 19,
    /// A credential, in the digest by which what is kept for it is called.
    Bearer = 20,
    /// A credential, in the digest that stands for who bears it.
    Identity = 21,
}

impl Part {
    const ALL: [Self; 21] = [
        Self::Method,
        Self::Scheme,
        Self::Authority,
        Self::Path,
        Self::Query,
        Self::HeaderName,
        Self::HeaderValue,
        Self::CookieName,
        Self::CookieValue,
        Self::CredentialSource,
        Self::Credential,
        Self::Resource,
        Self::VaryName,
        Self::VaryValue,
        Self::ForwardedHost,
        Self::Body,
        Self::BodyType,
        Self::BodyEncoding,
        Self::BodyLanguage,
        Self::Bearer,
        Self::Identity,
    ];

    /// The part with this tag.
    fn of(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|part| *part as u8 == tag)
    }
}

/// Ready-made starting states of the keyed hash. Clones share what is agreed on.
#[derive(Clone)]
pub struct KeySecret {
    /// For requests without a credential.
    plain: Hmac<Sha256>,
    /// For those with one: another once instances have agreed on it.
    secret: Arc<ArcSwap<Random>>,
    /// Whether the operator configured it, so that digests are the same in every process.
    configured: bool,
    /// Tells it from others in this process.
    number: u64,
}

/// A secret that nobody configured, and the state that it makes.
struct Random {
    bytes: [u8; 32],
    state: Hmac<Sha256>,
}

/// Gathers parts.
pub struct KeyBuilder {
    buffer: Vec<u8>,
    /// Whether a credential is among the parts.
    keyed: bool,
    /// How many there are.
    count: usize,
}

/// A key without a configured secret: anything fixed will do where no credential is in it.
const PLAIN: &[u8] = b"larder/1";

/// Secrets made in this process.
static SECRETS: AtomicU64 = AtomicU64::new(1);

fn state(secret: &[u8]) -> Hmac<Sha256> {
    // HMAC takes a key of any length; the error type exists for other MACs.
    Hmac::<Sha256>::new_from_slice(secret).unwrap_or_else(|_| unreachable!())
}

impl KeySecret {
    /// With the operator's secret all keys depend on it. Without one, keys that hold a credential depend on
    /// `random`, which the caller draws once a process.
    pub fn new(configured: Option<&[u8]>, random: &[u8; 32]) -> Self {
        let secret = |state| Arc::new(ArcSwap::from_pointee(Random { bytes: *random, state }));
        let number = SECRETS.fetch_add(1, Relaxed);
        match configured {
            Some(text) => Self { plain: state(text), secret: secret(state(text)), configured: true, number },
            None => Self { plain: state(PLAIN), secret: secret(state(random)), configured: false, number },
        }
    }

    /// From now on keys that hold a credential depend on these bytes, unless a secret is configured.
    pub fn agree_on(&self, bytes: &[u8; 32]) {
        if !self.configured {
            self.secret.store(Arc::new(Random { bytes: *bytes, state: state(bytes) }));
        }
    }

    /// What they depend on where none is configured.
    pub fn secret(&self) -> [u8; 32] {
        self.secret.load().bytes
    }

    /// Whether keys with credentials are the same in every process.
    pub fn is_configured(&self) -> bool {
        self.configured
    }
}

impl KeyBuilder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            // Enough for an ordinary request: host, path, a few parameters, a token.
            buffer: Vec::with_capacity(384),
            keyed: false,
            count: 0,
        }
    }

    /// Adds a part: tag, length, bytes.
    pub fn part(&mut self, part: Part, bytes: &[u8]) {
        self.keyed |= part == Part::Credential;
        self.count += 1;
        self.buffer.push(part as u8);
        self.buffer.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.buffer.extend_from_slice(bytes);
    }

    /// Adds a part of any kind that holds a credential: the key will be one that nobody can try credentials against.
    pub fn secret_part(&mut self, part: Part, bytes: &[u8]) {
        self.keyed = true;
        self.part(part, bytes);
    }

    /// Whether a credential is among the parts.
    pub fn has_secret(&self) -> bool {
        self.keyed
    }

    /// How many parts there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The parts, read back: what `explain` shows is what the key holds. Credentials are among them.
    pub fn parts(&self) -> impl Iterator<Item = (Part, &[u8])> {
        let mut rest = self.buffer.as_slice();
        std::iter::from_fn(move || {
            let (&tag, tail) = rest.split_first()?;
            let (length, tail) = tail.split_first_chunk()?;
            let (bytes, tail) = tail.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
            rest = tail;
            Some((Part::of(tag)?, bytes))
        })
    }

    /// The key of these parts.
    pub fn finish(self, secret: &KeySecret) -> Key {
        self.digest(secret)
    }

    /// The same, and more may be added.
    pub fn digest(&self, secret: &KeySecret) -> Key {
        // What holds a credential is nowhere remembered.
        if self.keyed {
            return self.computed(secret);
        }
        if let Some(digest) = recent::recall(secret.number, &self.buffer) {
            return Key(digest);
        }
        let key = self.computed(secret);
        recent::remember(secret.number, &self.buffer, key.0);
        key
    }

    fn computed(&self, secret: &KeySecret) -> Key {
        let mut mac = if self.keyed { secret.secret.load().state.clone() } else { secret.plain.clone() };
        mac.update(&self.buffer);
        Key(mac.finalize().into_bytes().into())
    }
}

impl Default for KeyBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl Key {
    /// The digest.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The same under these rules, to tell it from the same under others.
    #[must_use]
    pub fn under(&self, rules: u64) -> Self {
        let mut bytes = self.0;
        for (byte, mixed) in bytes.iter_mut().zip(rules.to_le_bytes()) {
            *byte ^= mixed;
        }
        Self(bytes)
    }

    /// A digest that was read back.
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// The digest is uniform already: eight bytes of it are a hash.
impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.first_chunk().map_or(0, |first| u64::from_le_bytes(*first)));
    }
}

/// Hexadecimal.
impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    type Parts = Vec<(Part, Vec<u8>)>;

    fn builder(parts: &[(Part, Vec<u8>)]) -> KeyBuilder {
        let mut builder = KeyBuilder::new();
        for (part, bytes) in parts {
            builder.part(*part, bytes);
        }
        builder
    }

    fn key(parts: &[(Part, &[u8])], secret: &KeySecret) -> Key {
        let parts: Parts = parts.iter().map(|(part, bytes)| (*part, bytes.to_vec())).collect();
        builder(&parts).finish(secret)
    }

    fn parts() -> impl Strategy<Value = Parts> {
        let part = (0..Part::ALL.len()).prop_map(|index| Part::ALL[index]);
        // Bytes that look like tags and lengths, so that parts could be mistaken for each other.
        let bytes = proptest::collection::vec(prop_oneof![Just(0_u8), 0_u8..16, any::<u8>()], 0..12);
        proptest::collection::vec((part, bytes), 0..8)
    }

    #[test]
    fn every_part_has_a_tag_of_its_own() {
        let tags: HashSet<u8> = Part::ALL.iter().map(|part| *part as u8).collect();
        assert_eq!(tags.len(), Part::ALL.len());
        assert!(Part::ALL.iter().all(|part| Part::of(*part as u8) == Some(*part)));
        assert_eq!(Part::of(0), None);
    }

    #[test]
    fn neighbours_are_not_taken_for_each_other() {
        let secret = KeySecret::new(None, &[7; 32]);
        let lists: [&[(Part, &[u8])]; 9] = [
            &[],
            &[(Part::Query, b"")],
            &[(Part::Query, b"a=1"), (Part::Query, b"b=2")],
            &[(Part::Query, b"a=1&b=2")],
            &[(Part::Query, b"a=1b=2")],
            &[(Part::Query, b"b=2"), (Part::Query, b"a=1")],
            &[(Part::Path, b"a=1"), (Part::Query, b"b=2")],
            &[(Part::HeaderName, b"x")],
            &[(Part::HeaderName, b"x"), (Part::HeaderValue, b"")],
        ];
        let keys: HashSet<Key> = lists.iter().map(|list| key(list, &secret)).collect();
        assert_eq!(keys.len(), lists.len());
    }

    #[test]
    fn a_known_digest() {
        // printf '\004\0\0\0\0\0\0\0\001/' | openssl dgst -sha256 -hmac larder/1
        let key = key(&[(Part::Path, b"/")], &KeySecret::new(None, &[0; 32]));
        assert_eq!(key.to_string(), "6c60c67975dcc2466bd1a5ad1450c94e440b77c7d8d5f364c9603dfb7a79a1f1");
        assert_eq!(format!("{key:?}"), format!("Key({key})"));
    }

    #[test]
    fn what_holds_a_credential_depends_on_the_process_unless_a_secret_is_configured() {
        let plain: &[(Part, &[u8])] = &[(Part::Path, b"/")];
        let bearing: &[(Part, &[u8])] = &[(Part::Path, b"/"), (Part::Credential, b"s")];
        let (one, other) = (KeySecret::new(None, &[1; 32]), KeySecret::new(None, &[2; 32]));
        assert_eq!(key(plain, &one), key(plain, &other));
        assert_ne!(key(bearing, &one), key(bearing, &other));
        assert!(!one.is_configured());

        let configured = |secret: &[u8], random| KeySecret::new(Some(secret), &[random; 32]);
        assert_eq!(key(bearing, &configured(b"k", 1)), key(bearing, &configured(b"k", 2)));
        assert_ne!(key(bearing, &configured(b"k", 1)), key(bearing, &configured(b"l", 1)));
        assert_ne!(key(plain, &configured(b"k", 1)), key(plain, &configured(b"l", 1)));
        assert!(configured(b"k", 1).is_configured());
    }

    #[test]
    fn a_secret_part_is_keyed_whatever_it_is() {
        let of = |secret: &KeySecret| {
            let mut builder = KeyBuilder::new();
            assert!(!builder.has_secret());
            builder.secret_part(Part::HeaderValue, b"Bearer s");
            assert!(builder.has_secret());
            builder.finish(secret)
        };
        assert_ne!(of(&KeySecret::new(None, &[1; 32])), of(&KeySecret::new(None, &[2; 32])));
    }

    proptest! {
        #[test]
        fn parts_can_be_read_back(parts in parts()) {
            let builder = builder(&parts);
            let back: Parts = builder.parts().map(|(part, bytes)| (part, bytes.to_vec())).collect();
            prop_assert_eq!(builder.count(), parts.len());
            prop_assert_eq!(back, parts);
        }

        #[test]
        fn different_parts_have_different_keys(one in parts(), other in parts()) {
            let secret = KeySecret::new(Some(b"k"), &[0; 32]);
            let same = one == other;
            prop_assert_eq!(builder(&one).buffer == builder(&other).buffer, same);
            prop_assert_eq!(builder(&one).finish(&secret) == builder(&other).finish(&secret), same);
        }
    }
}
