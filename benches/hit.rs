//! A hit, from the head of a request to the head of its answer: all that Larder does of its own, and no HTTP on a wire.
//!
//! What is measured is `Proxy::answer` and letting its answer go; beside that, the same where a million tags were declared
//! invalid before, and where something else is between any two hits.
#![expect(clippy::panic, clippy::unwrap_used, reason = "what can't be measured is a mistake in here")]

mod in_memory;

use criterion::{BatchSize, Criterion};
use http::{Method, StatusCode};
use larder::invalidation::Event;
use larder::object::Tag;

use in_memory::{fill, hit, is_hit, proxy, request};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    hits(&mut criterion);
    remembered(&mut criterion);
    criterion.final_summary();
}

fn hits(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let proxy = proxy("");
    let bearer = ("authorization", "Bearer 0123456789abcdef0123456789abcdef");
    let language = ("accept-language", "de-DE,de;q=0.9,en;q=0.8");
    let cookies = ("cookie", "theme=dark; consent=all");
    let mut group = criterion.benchmark_group("hit");
    for (name, method, target, fields, status) in [
        ("anonymous", Method::GET, "/things/1", &[][..], StatusCode::OK),
        ("with a credential", Method::GET, "/things/1", &[bearer], StatusCode::OK),
        (
            "with a query and key headers",
            Method::GET,
            "/lists/1?sort=name&utm_source=mail&page=3",
            &[language, cookies],
            StatusCode::OK,
        ),
        ("not modified", Method::GET, "/things/1", &[("if-none-match", "\"one\"")], StatusCode::NOT_MODIFIED),
        ("head", Method::HEAD, "/things/1", &[], StatusCode::OK),
    ] {
        let unconditional = fields.iter().filter(|(name, _)| *name != "if-none-match");
        fill(&runtime, &proxy, &request(&Method::GET, target, unconditional));
        let request = request(&method, target, fields.iter());
        let _inside = runtime.enter();
        let answer = hit(&proxy, request.clone());
        assert_eq!((answer.status(), is_hit(&answer)), (status, true), "{name}: {:?}", answer.headers());
        group.bench_function(name, |bencher| {
            bencher.iter_batched(|| request.clone(), |request| hit(&proxy, request), BatchSize::SmallInput);
        });
    }
    group.finish();
}

/// In pairs, so that both see the same machine.
fn remembered(criterion: &mut Criterion) {
    const TAGS: u64 = 1_000_000;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (none, million) = (proxy(""), proxy(""));
    for first in (0..TAGS).step_by(1000) {
        let digests = (first..first + 1000).map(|tag| Tag::named(&format!("tag:{tag}"))).collect();
        million.record().declare(Event { digests, ..Event::default() }, None);
    }
    let thing = request(&Method::GET, "/things/1", [].iter());
    for proxy in [&none, &million] {
        fill(&runtime, proxy, &thing);
    }
    let _inside = runtime.enter();
    let mut group = criterion.benchmark_group("hit with tags remembered");
    for round in ["first", "second"] {
        for (name, proxy) in [("none", &none), ("a million", &million)] {
            group.bench_function(format!("{name}, {round}"), |bencher| {
                bencher.iter_batched(|| thing.clone(), |thing| hit(proxy, thing), BatchSize::SmallInput);
            });
        }
    }
    group.bench_function("a million, and one more before each hit", |bencher| {
        let one_more = || {
            let tags = vec!["another".to_owned()];
            million.record().declare(Event { tags, ..Event::default() }, None);
            thing.clone()
        };
        bencher.iter_batched(one_more, |thing| hit(&million, thing), BatchSize::PerIteration);
    });
    group.finish();
}
