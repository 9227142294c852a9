//! A frame, in the clear or sealed, compressed or not, and what may be found in its place.
//!
//! The first byte says in which form; the next three at which byte a frame is changed, and how. What follows is noise, and
//! also an answer, in lines: `s` and two bytes of a status, `t` a tag, `g` a group, `v` a name it varies on, `b` a line of its
//! body; any other is a field, as `name: value`.
//!
//! An answer is read as it was written, with a head of its own written over it as well; changed or cut, it is unreadable.
//! Noise is unreadable, or is what would be written. No head makes the reader panic.

#![no_main]

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use larder::clock::Timestamp;
use larder::object::seal::{Cipher, EncryptionKey};
use larder::object::wire::{Envelope, SAME_BODY, Settings, Wire};
use larder::object::wire_head::{self, Said};
use larder::object::{
    Epoch, Head, Key, KeyBuilder, KeySecret, Labels, Packed, Part, Stamp, Stored, Tag, Whereabouts,
};
use larder::semantics::freshness::{Source, Staleness};
use larder::semantics::{Lifetime, VaryOn};
use larder_fuzz::{lines, named};
use libfuzzer_sys::fuzz_target;

static FORMS: LazyLock<Vec<Wire>> = LazyLock::new(forms);
static BASE: LazyLock<Key> = LazyLock::new(|| key(b"/"));

fuzz_target!(|input: &[u8]| {
    let Some((&[form, at, more, change], text)) = input.split_first_chunk() else { return };
    let wire = &FORMS[usize::from(form) % FORMS.len()];
    let at = usize::from(u16::from_le_bytes([at, more]));
    let (envelope, stored) = answer(text);
    let frame = wire.encode(&BASE, &envelope, &stored);
    let head = wire.encode_head(&BASE, &envelope, &stored);
    assert_eq!(frame[SAME_BODY], head[SAME_BODY]);
    for frame in [frame.to_vec(), [&head[..], &frame[head.len()..]].concat()] {
        let (said, read) = decode(wire, frame).expect("what was written is read");
        assert_same((&said, &read), (&envelope, &stored));
    }
    assert_others_are_unreadable(wire, &frame, at % frame.len(), change);
    for noise in [text, &[&frame[..at % frame.len()], text].concat()] {
        if let Some((said, read)) = decode(wire, noise.to_vec()) {
            let again = decode(wire, wire.encode(&BASE, &said, &read).to_vec()).expect("it is one of ours");
            assert_same((&again.0, &again.1), (&said, &read));
        }
    }
    assert!(wire.open_secret(text).is_err() || text.starts_with(b"LRDK"));
    read_heads(text, &envelope, &stored, at, change);
});

/// In the clear and sealed in both ways, each with and without compression.
fn forms() -> Vec<Wire> {
    let mut forms = Vec::new();
    for compress_above_bytes in [None, Some(16)] {
        for (keys, cipher) in [
            (Vec::new(), Cipher::Aes256Gcm),
            (vec![EncryptionKey([7; 32])], Cipher::Aes256Gcm),
            (vec![EncryptionKey([7; 32])], Cipher::ChaCha20Poly1305),
        ] {
            let namespace = "larder".to_owned();
            let max_object_bytes = 100_000;
            forms.push(Wire::new(Settings {
                namespace,
                compress_above_bytes,
                max_object_bytes,
                keys,
                cipher,
            }));
        }
    }
    forms
}

fn key(path: &[u8]) -> Key {
    let mut builder = KeyBuilder::new();
    builder.part(Part::Path, path);
    builder.finish(&KeySecret::new(None, &[7; 32]))
}

fn path() -> Arc<[u8]> {
    Arc::from(&b"/"[..])
}

fn decode(wire: &Wire, frame: Vec<u8>) -> Option<(Envelope, Stored)> {
    wire.decode(&BASE, Bytes::from(frame), &Arc::from("route"), &path()).ok()
}

/// A frame with a byte that is another, a frame that is cut, and one in another's place.
fn assert_others_are_unreadable(wire: &Wire, frame: &Bytes, at: usize, change: u8) {
    if change != 0 {
        let mut changed = frame.to_vec();
        changed[at] ^= change;
        assert!(decode(wire, changed).is_none(), "byte {at} was changed");
    }
    assert!(decode(wire, frame[..at].to_vec()).is_none(), "cut at {at}");
    let elsewhere = wire.decode(&key(b"/elsewhere"), frame.clone(), &Arc::from("route"), &path());
    assert!(elsewhere.is_err(), "in another's place");
}

/// Noise as a head, and a head with a change that no seal or checksum tells.
fn read_heads(noise: &[u8], envelope: &Envelope, stored: &Stored, at: usize, change: u8) {
    let mut head = Vec::new();
    wire_head::write(envelope, stored, &mut head);
    let at = at % head.len();
    head[at] ^= change;
    let spliced = [&head[..at], noise].concat();
    for head in [noise.to_vec(), spliced, head] {
        let head = Bytes::from(head);
        let Some(said) = wire_head::read(&head) else { continue };
        // What is computed with at each hit.
        let _ = said.lifetime.age(Timestamp::from_millis(u64::MAX));
        let _ = said.lifetime.ttl(said.lifetime.answered_at);
        let (envelope, stored) = kept(said);
        let mut again = Vec::new();
        wire_head::write(&envelope, &stored, &mut again);
        let again = Bytes::from(again);
        let (said, read) = kept(wire_head::read(&again).expect("what was read can be written"));
        assert_same((&said, &read), (&envelope, &stored));
    }
}

/// The answer with this head, and no body.
fn kept(said: Said<'_>) -> (Envelope, Stored) {
    let mut headers = HeaderMap::new();
    for (name, value) in said.fields.iter() {
        // They go out as they are read.
        let name = HeaderName::from_bytes(name).expect("a name");
        headers.append(name, HeaderValue::from_bytes(value).expect("a value"));
    }
    let stored = Stored {
        head: Packed::new(&Head { status: said.status, headers }, Bytes::new()),
        labels: Labels::of(&said.tags, &path()),
        requested_at: said.requested_at,
        lifetime: said.lifetime,
        ..with_body(StatusCode::OK, HeaderMap::new(), Vec::new(), Labels::default())
    };
    (said.envelope, stored)
}

fn answer(text: &[u8]) -> (Envelope, Stored) {
    let (mut headers, mut body, mut status) = (HeaderMap::new(), Vec::new(), StatusCode::OK);
    let (mut tags, mut vary): (Vec<Tag>, Vec<HeaderName>) = Default::default();
    for line in lines(text) {
        match line {
            [b's', one, other] => {
                let number = 200 + u16::from_le_bytes([*one, *other]) % 800;
                status = StatusCode::from_u16(number).expect("from 200 to 999");
            }
            [b't', tag @ ..] => tags.push(Tag::path(tag)),
            [b'v', name @ ..] => {
                vary.extend(HeaderName::from_bytes(name).ok().filter(|name| name.as_str() != "*"));
            }
            [b'b', more @ ..] => body.extend_from_slice(more),
            line => {
                if let Some((name, value)) = named(line) {
                    headers.append(name, value);
                }
            }
        }
    }
    let status = if status == StatusCode::PARTIAL_CONTENT { StatusCode::OK } else { status };
    let stored = with_body(status, headers, body, Labels::of(&tags, &path()));
    let vary = VaryOn::on(vary);
    (Envelope { key: key(b"/variant"), vary, rules: 4, epoch: Epoch([1; 16]), position: 3 }, stored)
}

fn with_body(status: StatusCode, headers: HeaderMap, body: Vec<u8>, labels: Labels) -> Stored {
    let now = Timestamp::from_millis(1_795_219_200_000);
    Stored {
        head: Packed::new(&Head { status, headers }, Bytes::from(body)),
        part: None,
        labels,
        body_id: 7,
        requested_at: now,
        lifetime: Lifetime {
            fresh_until: now.plus(Duration::from_secs(60)),
            initial_age: Duration::ZERO.into(),
            answered_at: now,
            source: Source::Upstream,
            must_ask: false,
            immutable: false,
            stale: Staleness::default(),
        },
        route: "route".into(),
        stamp: Stamp(0),
        live_at: AtomicU64::new(0),
        asked_in_vain_until: AtomicU64::new(0),
        whereabouts: Whereabouts::default(),
    }
}

fn assert_same((said, one): (&Envelope, &Stored), (expected, other): (&Envelope, &Stored)) {
    assert_eq!(said, expected);
    assert_eq!((one.head.status, one.head.headers()), (other.head.status, other.head.headers()));
    assert_eq!(one.head.message(), other.head.message());
    let facts = |each: &Stored| (each.body(), each.body_id, each.part.clone());
    assert_eq!(facts(one), facts(other));
    assert_eq!(one.requested_at, other.requested_at);
    assert_eq!((one.lifetime, &one.labels), (other.lifetime, &other.labels));
}
