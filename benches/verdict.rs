//! What the law costs: judging what is kept, on every hit, and what came, on every fill; and the line that tells of it.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, DATE, ETAG, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use larder::clock::Timestamp;
use larder::semantics::freshness::{Source, Staleness};
use larder::semantics::{
    Asked, Audience, CacheStatus, Forward, Lifetime, Policy, Times, Verdict, storable, verdict,
};

/// Sat, 21 Nov 2026 00:00:00 GMT
const NOW: Timestamp = Timestamp::from_millis(1_795_219_200_000);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    verdicts(&mut criterion);
    fills(&mut criterion);
    lines(&mut criterion);
    criterion.final_summary();
}

/// A fresh entry and what clients say.
fn verdicts(criterion: &mut Criterion) {
    let lifetime = Lifetime {
        fresh_until: NOW.plus(Duration::from_secs(300)),
        initial_age: Duration::ZERO.into(),
        answered_at: NOW,
        source: Source::Route,
        must_ask: false,
        immutable: false,
        stale: Staleness::default(),
    };
    let now = NOW.plus(Duration::from_secs(60));
    let mut group = criterion.benchmark_group("verdict");
    for (name, fields) in [
        ("the client says nothing", &[][..]),
        ("max-age=120", &[(CACHE_CONTROL, "max-age=120")]),
        (
            "max-age=120, min-fresh=10, no-transform",
            &[(CACHE_CONTROL, "max-age=120, min-fresh=10, no-transform")],
        ),
    ] {
        let request = headers(fields);
        assert_eq!(verdict(Some(&lifetime), &request, now), Verdict::Serve, "{name}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| verdict(black_box(Some(&lifetime)), black_box(&request), now));
        });
    }
    group.finish();
}

/// May this be kept, and for how long?
fn fills(criterion: &mut Criterion) {
    let policy = Policy {
        ttl: Duration::from_secs(300),
        override_upstream: false,
        negative_ttl: Duration::ZERO,
        jitter: 0.05,
        heuristic: 0.1,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
    };
    let request = HeaderMap::new();
    let asked = Asked {
        method: &Method::GET,
        method_is_cached: false,
        headers: &request,
        audience: Audience::Everyone,
        declared_shared: false,
        undeclared_credential: false,
        wants_part: false,
    };
    let times = Times { requested_at: NOW, answered_at: NOW.plus(Duration::from_millis(40)) };
    let mut group = criterion.benchmark_group("storable");
    for (name, fields) in [
        ("the upstream says nothing", &[(CONTENT_TYPE, "application/json"), (CONTENT_LENGTH, "1024")][..]),
        (
            "the upstream says all it can",
            &[
                (CONTENT_TYPE, "application/json"),
                (DATE, "Sat, 21 Nov 2026 00:00:00 GMT"),
                (CACHE_CONTROL, "public, max-age=60, s-maxage=300, stale-while-revalidate=30"),
                (ETAG, "\"0123456789abcdef\""),
                (VARY, "accept-encoding, accept-language"),
            ],
        ),
    ] {
        let answer = headers(fields);
        let judged = storable(&asked, StatusCode::OK, &answer, &policy, times, 0.5);
        assert!(judged.is_ok(), "{name}: {judged:?}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| storable(&asked, StatusCode::OK, black_box(&answer), &policy, times, 0.5));
        });
    }
    group.finish();
}

/// `Cache-Status`, of which every answer has one.
fn lines(criterion: &mut Criterion) {
    let hit = CacheStatus { hit: true, ttl: Some(270), detail: Some("memory"), ..CacheStatus::default() };
    let miss = CacheStatus {
        fwd: Some(Forward::UriMiss),
        fwd_status: Some(200),
        stored: true,
        ..CacheStatus::default()
    };
    let pass = CacheStatus {
        fwd: Some(Forward::Bypass),
        detail: Some("route mode is pass"),
        ..CacheStatus::default()
    };
    let mut group = criterion.benchmark_group("cache-status");
    for (name, status, expected) in [
        ("hit", hit, "larder; hit; ttl=270; detail=memory"),
        ("miss", miss, "larder; fwd=uri-miss; fwd-status=200; stored"),
        ("pass", pass, "larder; fwd=bypass; detail=\"route mode is pass\""),
    ] {
        assert_eq!(status.value(), expected);
        group.bench_function(name, |bencher| bencher.iter(|| black_box(&status).value()));
    }
    group.finish();
}

fn headers(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
}
