//! Two lists of the parts of a key: in each, a byte for what a part is, one for its length, then its bytes. The first byte of
//! the input says how much of it is the first list.
//!
//! The parts are read back as they were given, and two keys are the same if and only if their lists are.

#![no_main]

use larder::object::{Key, KeyBuilder, KeySecret, Part};
use libfuzzer_sys::fuzz_target;

const KINDS: [Part; 8] = [
    Part::Method,
    Part::Authority,
    Part::Path,
    Part::Query,
    Part::HeaderName,
    Part::HeaderValue,
    Part::CredentialSource,
    Part::Credential,
];

fuzz_target!(|input: &[u8]| {
    let Some((&length, rest)) = input.split_first() else { return };
    let (one, other) = rest.split_at(usize::from(length).min(rest.len()));
    let (one, other) = (parts(one), parts(other));
    let keys = [&one, &other].map(|parts| key(parts));
    assert_eq!(keys[0] == keys[1], one == other, "{one:?}\n{other:?}");
});

fn parts(mut text: &[u8]) -> Vec<(Part, &[u8])> {
    let mut parts = Vec::new();
    while let [kind, length, rest @ ..] = text {
        let (bytes, behind) = rest.split_at(usize::from(*length).min(rest.len()));
        parts.push((KINDS[usize::from(*kind) % KINDS.len()], bytes));
        text = behind;
    }
    parts
}

fn key(parts: &[(Part, &[u8])]) -> Key {
    let mut builder = KeyBuilder::new();
    for (part, bytes) in parts {
        builder.part(*part, bytes);
    }
    assert_eq!(builder.parts().collect::<Vec<_>>(), parts);
    assert_eq!(builder.count(), parts.len());
    assert_eq!(builder.has_secret(), parts.iter().any(|(part, _)| *part == Part::Credential));
    builder.finish(&KeySecret::new(None, &[7; 32]))
}
