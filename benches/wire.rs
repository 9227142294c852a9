//! What a frame costs: an answer of 1 KiB and of 100 KiB written and read, in the clear, sealed, compressed.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use larder::clock::Timestamp;
use larder::object::seal::{Cipher, EncryptionKey};
use larder::object::wire::{Envelope, Settings, Wire};
use larder::object::{
    Epoch, Head, Key, KeyBuilder, KeySecret, Labels, Packed, Part, Stamp, Stored, Tag, Whereabouts,
};
use larder::semantics::freshness::{Source, Staleness};
use larder::semantics::{Lifetime, VaryOn};

/// Sat, 21 Nov 2026 00:00:00 GMT
const NOW: Timestamp = Timestamp::from_millis(1_795_219_200_000);

/// What an API answers with.
const FIELDS: &[(&str, &str)] = &[
    ("content-type", "application/json; charset=utf-8"),
    ("content-length", "1024"),
    ("date", "Sat, 21 Nov 2026 00:00:00 GMT"),
    ("cache-control", "max-age=60, stale-while-revalidate=30"),
    ("etag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\""),
    ("vary", "accept-encoding"),
    ("via", "1.1 larder"),
    ("x-request-id", "7b2f6c1e-57f0-4b1c-9f57-0d1d3a2a2d5e"),
];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (size, length) in [("1 KiB", 1 << 10), ("100 KiB", 100 << 10)] {
        let keys = vec![EncryptionKey([7; 32])];
        measure(&mut criterion, size, length, "clear", &settings(Vec::new()));
        measure(&mut criterion, size, length, "AES-256-GCM", &settings(keys.clone()));
        let chacha = Settings { cipher: Cipher::ChaCha20Poly1305, ..settings(keys) };
        measure(&mut criterion, size, length, "ChaCha20-Poly1305", &chacha);
        let squeezing = Settings { compress_above_bytes: Some(0), ..settings(Vec::new()) };
        measure(&mut criterion, size, length, "compressed", &squeezing);
    }
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, size: &str, length: usize, form: &str, settings: &Settings) {
    let wire = Wire::new(settings.clone());
    let (base, envelope, stored) = (key(), envelope(), stored(length));
    let (route, path) = (Arc::clone(&stored.route), Arc::from(stored.labels.path()));
    let frame = wire.encode(&base, &envelope, &stored);
    let mut group = criterion.benchmark_group(format!("{size}, {form}"));
    group.bench_function("encode", |bencher| bencher.iter(|| wire.encode(&base, &envelope, &stored)));
    // As it comes: in a buffer of its own.
    group.bench_function("decode", |bencher| {
        let fresh = || Bytes::from(frame.to_vec());
        bencher.iter_batched(fresh, |frame| wire.decode(&base, frame, &route, &path), BatchSize::LargeInput);
    });
    group.bench_function("encode, decode", |bencher| {
        bencher.iter(|| wire.decode(&base, wire.encode(&base, &envelope, &stored), &route, &path));
    });
    group.finish();
}

fn settings(keys: Vec<EncryptionKey>) -> Settings {
    Settings {
        namespace: "larder".to_owned(),
        compress_above_bytes: None,
        max_object_bytes: 1 << 20,
        keys,
        cipher: Cipher::Aes256Gcm,
    }
}

fn key() -> Key {
    let mut builder = KeyBuilder::new();
    builder.part(Part::Path, b"/things");
    builder.finish(&KeySecret::new(None, &[7; 32]))
}

fn envelope() -> Envelope {
    Envelope {
        key: key(),
        vary: VaryOn::on(vec![http::header::ACCEPT_ENCODING]),
        rules: 1,
        epoch: Epoch([1; 16]),
        position: 1,
    }
}

/// Lines of JSON, each of which is another.
fn body(length: usize) -> Bytes {
    let line = |number: usize| {
        format!("{{\"id\":{number},\"name\":\"thing {}\",\"price\":{}}},\n", number * 7919, number * 104_729)
    };
    let mut text: String = (0..=length / 30).map(line).collect();
    text.truncate(length);
    Bytes::from(text)
}

fn stored(length: usize) -> Stored {
    let field = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let headers: HeaderMap = FIELDS.iter().map(field).collect();
    let labels = Labels::new(vec![Tag::route("things"), Tag::path(b"/things")], b"/things");
    let head = Packed::new(&Head { status: StatusCode::OK, headers }, body(length));
    Stored {
        head,
        part: None,
        labels,
        requested_at: NOW,
        lifetime: Lifetime {
            fresh_until: NOW.plus(Duration::from_secs(60)),
            initial_age: Duration::ZERO.into(),
            answered_at: NOW,
            source: Source::Upstream,
            must_ask: false,
            immutable: false,
            stale: Staleness::default(),
        },
        route: "things".into(),
        stamp: Stamp(0),
        live_at: AtomicU64::new(0),
        body_id: 7,
        asked_in_vain_until: AtomicU64::new(0),
        whereabouts: Whereabouts::default(),
    }
}
