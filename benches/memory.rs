//! What L1 costs: a look-up, with one key and with ten thousand, and keeping an entry of 1 KiB, with room and without.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use criterion::Criterion;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use larder::clock::Timestamp;
use larder::object::{
    Head, Key, KeyBuilder, KeySecret, Labels, Packed, Part, Stamp, Stored, Tag, Whereabouts,
};
use larder::semantics::Lifetime;
use larder::semantics::freshness::{Source, Staleness};
use larder::store::{Memory, Settings};
use larder::telemetry::Telemetry;

const KEYS: u64 = 10_000;
/// Sat, 21 Nov 2026 00:00:00 GMT
const NOW: Timestamp = Timestamp::from_millis(1_795_219_200_000);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    gets(&mut criterion);
    puts(&mut criterion);
    criterion.final_summary();
}

fn gets(criterion: &mut Criterion) {
    let keys = keys(KEYS);
    let mut group = criterion.benchmark_group("get");
    for (name, asked) in [("one key", &keys[..1]), ("10 000 keys", &keys[..])] {
        let memory = memory(256 << 20);
        for key in asked {
            memory.put(*key, stored());
        }
        assert!(asked.iter().all(|key| memory.get(key).is_some()), "{name}: not all of it was kept");
        let mut turn = asked.iter().cycle();
        group.bench_function(name, |bencher| bencher.iter(|| turn.next().and_then(|key| memory.get(key))));
    }
    let (memory, stranger) = (memory(256 << 20), &keys[0]);
    group.bench_function("nothing there", |bencher| bencher.iter(|| memory.get(black_box(stranger))));
    group.finish();
}

fn puts(criterion: &mut Criterion) {
    let keys = keys(KEYS);
    let entry = stored();
    let mut group = criterion.benchmark_group("insert 1 KiB");
    // All of it weighs some 20 MB: with a tenth of that each new entry pushes out another.
    for (name, max_size_bytes) in [("with room", 256 << 20), ("when full", 2 << 20)] {
        let memory = memory(max_size_bytes);
        let mut turn = keys.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| turn.next().map(|key| memory.put(*key, Arc::clone(&entry))));
        });
    }
    group.finish();
}

fn memory(max_size_bytes: u64) -> Memory {
    let settings = Settings {
        max_size_bytes,
        max_object_bytes: 1 << 20,
        max_filling_bytes: 1 << 20,
        max_sendfile_bytes: 0,
        max_variants: 64,
    };
    Memory::new(&settings, Arc::new(Telemetry::new(["things"])))
}

fn keys(count: u64) -> Vec<Key> {
    let secret = KeySecret::new(None, &[7; 32]);
    let key = |number: u64| {
        let mut builder = KeyBuilder::new();
        builder.part(Part::Path, &number.to_be_bytes());
        builder.finish(&secret)
    };
    (0..count).map(key).collect()
}

fn stored() -> Arc<Stored> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("1024"));
    headers.insert(DATE, HeaderValue::from_static("Sat, 21 Nov 2026 00:00:00 GMT"));
    let labels = Labels::new(vec![Tag::route("things"), Tag::path(b"/things")], b"/things");
    let head = Packed::new(&Head { status: StatusCode::OK, headers }, Bytes::from_static(&[b'x'; 1024]));
    Arc::new(Stored {
        head,
        part: None,
        labels,
        requested_at: NOW,
        lifetime: Lifetime {
            fresh_until: NOW.plus(Duration::from_secs(3600)),
            initial_age: Duration::ZERO.into(),
            answered_at: NOW,
            source: Source::Route,
            must_ask: false,
            immutable: false,
            stale: Staleness::default(),
        },
        route: "things".into(),
        stamp: Stamp(0),
        live_at: AtomicU64::new(0),
        body_id: 0,
        asked_in_vain_until: AtomicU64::new(0),
        whereabouts: Whereabouts::default(),
    })
}
