//! Answers for the tests of the wire form: one that is like most, and any.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use http::header::AGE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::collection::vec;
use proptest::prelude::*;

use super::wire_head::Envelope;
use super::{Epoch, Head, Key, Labels, Packed, Stamp, Stored, Tag, Whereabouts};
use crate::clock::{Millis, Timestamp};
use crate::semantics::VaryOn;
use crate::semantics::freshness::{Lifetime, Source, Staleness};

/// Sat, 21 Nov 2026 00:00:00 GMT
const NOW: Timestamp = Timestamp::from_millis(1_795_219_200_000);

pub(super) fn route() -> Arc<str> {
    "things".into()
}

pub(super) fn path() -> Arc<[u8]> {
    Arc::from(&b"/things"[..])
}

/// An ordinary answer.
pub(crate) fn stored(fields: &[(&'static str, &'static str)], body: &[u8]) -> Stored {
    let field = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let lifetime = Lifetime {
        fresh_until: NOW.plus(Duration::from_secs(60)),
        initial_age: Duration::from_secs(3).into(),
        answered_at: NOW,
        source: Source::Upstream,
        must_ask: false,
        immutable: false,
        stale: Staleness::default(),
    };
    Answer {
        status: StatusCode::OK,
        headers: fields.iter().map(field).collect(),
        body: Bytes::copy_from_slice(body),
        body_id: 7,
        requested_at: NOW,
        lifetime,
        tags: vec![Tag::named("user:7")],
    }
    .stored()
}

pub(super) fn envelope() -> Envelope {
    Envelope {
        key: Key::from_bytes([9; 32]),
        vary: VaryOn::default(),
        rules: 5,
        epoch: Epoch([1; 16]),
        position: 3,
    }
}

/// Whether they are the same in all that a frame has.
pub(super) fn assert_same(one: &Stored, other: &Stored) {
    assert_eq!(one.head.status, other.head.status);
    assert_eq!(one.head.headers(), other.head.headers());
    assert_eq!(one.head.message(), other.head.message());
    assert_eq!(one.head.has_cache_status, other.head.has_cache_status);
    assert_eq!(one.body_bytes(), other.body_bytes());
    assert_eq!(one.part, other.part);
    assert_eq!(one.body_id, other.body_id);
    assert_eq!(one.requested_at, other.requested_at);
    assert_eq!(one.lifetime, other.lifetime);
    assert_eq!(one.route, other.route);
    assert_eq!(one.labels, other.labels);
    assert_eq!(one.stamp, other.stamp);
    assert_eq!(one.weight(), other.weight());
}

/// What an answer can be.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    body_id: u64,
    requested_at: Timestamp,
    lifetime: Lifetime,
    tags: Vec<Tag>,
}

impl Answer {
    pub(super) fn stored(mut self) -> Stored {
        // No head that is kept has one.
        self.headers.remove(AGE);
        Stored {
            head: Packed::new(&Head { status: self.status, headers: self.headers }, self.body),
            part: None,
            labels: Labels::of(&self.tags, &path()),
            body_id: self.body_id,
            requested_at: self.requested_at,
            lifetime: self.lifetime,
            route: route(),
            stamp: Stamp(0),
            live_at: AtomicU64::new(0),
            asked_in_vain_until: AtomicU64::new(0),
            whereabouts: Whereabouts::default(),
        }
    }
}

pub(super) fn answers() -> impl Strategy<Value = Answer> {
    let status = (200_u16..1000)
        .prop_filter("a part", |status| *status != 206)
        .prop_map(|status| StatusCode::from_u16(status).unwrap());
    let body = prop_oneof![vec(any::<u8>(), 0..3000), vec(0_u8..3, 0..3000)].prop_map(Bytes::from);
    (status, headers(), body, any::<u64>(), times(), lifetimes(), tags()).prop_map(
        |(status, headers, body, body_id, requested_at, lifetime, tags)| Answer {
            status,
            headers,
            body,
            body_id,
            requested_at,
            lifetime,
            tags,
        },
    )
}

pub(super) fn envelopes() -> impl Strategy<Value = Envelope> {
    let vary = vec(name(), 0..4).prop_map(VaryOn::on);
    (any::<[u8; 32]>(), vary, any::<u64>(), any::<[u8; 16]>(), any::<u64>()).prop_map(
        |(key, vary, rules, epoch, position)| Envelope {
            key: Key::from_bytes(key),
            vary,
            rules,
            epoch: Epoch(epoch),
            position,
        },
    )
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let allowed = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    let value = vec(any::<u8>().prop_filter("of a value", allowed), 0..40)
        .prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap());
    vec((name(), value), 0..20).prop_map(|fields| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value);
        }
        headers
    })
}

fn name() -> impl Strategy<Value = HeaderName> {
    const KNOWN: &[&str] = &["content-type", "date", "etag", "age", "cache-status", "vary", "x-a", "x-b"];
    prop_oneof![
        proptest::sample::select(KNOWN).prop_map(HeaderName::from_static),
        "[a-z!#$%&'+.^_`|~0-9-]{1,70}".prop_map(|name| HeaderName::from_bytes(name.as_bytes()).unwrap()),
    ]
}

fn tags() -> impl Strategy<Value = Vec<Tag>> {
    vec(any::<u64>().prop_map(Tag::from_bits), 0..4)
}

fn times() -> impl Strategy<Value = Timestamp> {
    (0..=253_402_300_799_000_u64).prop_map(Timestamp::from_millis)
}

fn durations() -> impl Strategy<Value = Millis> {
    prop_oneof![
        Just(Duration::ZERO),
        (0_u64..100_000_000_000, 0_u32..1_000_000_000).prop_map(|(s, n)| Duration::new(s, n)),
    ]
    .prop_map(Millis::from)
}

fn lifetimes() -> impl Strategy<Value = Lifetime> {
    let source =
        proptest::sample::select(&[Source::Upstream, Source::Heuristic, Source::Route, Source::Negative]);
    let stale = prop_oneof![
        Just(Staleness { prohibited: true, ..Staleness::default() }),
        (durations(), durations(), any::<bool>()).prop_map(|(while_revalidate, if_error, strict)| {
            Staleness { prohibited: false, while_revalidate, if_error, strict }
        }),
    ];
    (any::<u64>(), durations(), times(), source, any::<(bool, bool)>(), stale).prop_map(
        |(fresh_until, initial_age, answered_at, source, (must_ask, immutable), stale)| Lifetime {
            fresh_until: Timestamp::from_millis(fresh_until),
            initial_age,
            answered_at,
            source,
            must_ask,
            immutable,
            stale,
        },
    )
}
