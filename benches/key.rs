//! What it costs to know what a request is: whether its path means one thing, which route it has, what its key is.
//!
//! `plan` is all of that together, as every request pays it; the others are its parts.
#![expect(clippy::panic, reason = "what can't be measured is a mistake in here")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion};
use http::header::{ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue, Method};
use larder::config::{self, Settings, Sources};
use larder::object::{KeyBuilder, Part};
use larder::proxy::identity::Identity;
use larder::proxy::kinds::Kinds;
use larder::proxy::path::examine;
use larder::proxy::plan::{Content, Plan, Wanted, plan};
use larder::proxy::route::Routes;

const CONFIGURATION: &str = r#"
[upstream]
url = "http://127.0.0.1:8000"

[[route]]
name = "users"
match = "/api/users/{id}"
ttl = "5m"

[[route]]
name = "list"
match = "/api/lists/{id}/items"
ttl = "5m"
key = { query = ["page", "sort", "filter"], headers = ["accept-language"], cookies = ["theme"] }
"#;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    plans(&mut criterion);
    digests(&mut criterion);
    paths(&mut criterion);
    searches(&mut criterion);
    criterion.final_summary();
}

/// From the request's head to its route and key.
fn plans(criterion: &mut Criterion) {
    let settings = settings(CONFIGURATION);
    let identity = Identity::new(&settings.identity, &[7; 32]);
    let routes = routes(settings);
    let (none, mut bearer, mut rich) = (HeaderMap::new(), HeaderMap::new(), HeaderMap::new());
    bearer.insert(AUTHORIZATION, HeaderValue::from_static("Bearer 0123456789abcdef0123456789abcdef"));
    rich.insert(AUTHORIZATION, HeaderValue::from_static("Bearer 0123456789abcdef0123456789abcdef"));
    rich.insert(ACCEPT_LANGUAGE, HeaderValue::from_static("de-DE,de;q=0.9,en;q=0.8"));
    rich.insert(COOKIE, HeaderValue::from_static("theme=dark; session=0123456789abcdef; consent=all"));
    let mut group = criterion.benchmark_group("plan");
    for (name, path, query, headers) in [
        ("plain", "/api/users/1", None, &none),
        ("with a credential", "/api/users/1", None, &bearer),
        (
            "with a query, headers, cookies and credentials",
            "/api/lists/42/items",
            Some("sort=name&utm_source=mail&page=3&filter=open&filter=late"),
            &rich,
        ),
    ] {
        let wanted = wanted(path, query, headers);
        let planned = plan(&wanted, &routes, &identity);
        assert!(matches!(planned.plan, Plan::Cache(_)), "{name}: {planned:?}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| plan(black_box(&wanted), &routes, &identity));
        });
    }
    group.finish();
}

/// The digest alone, of 100 bytes in five parts.
fn digests(criterion: &mut Criterion) {
    let settings = settings(CONFIGURATION);
    let identity = Identity::new(&settings.identity, &[7; 32]);
    let parts = || {
        let mut builder = KeyBuilder::new();
        for part in [Part::Method, Part::Scheme, Part::Authority, Part::Path, Part::Query] {
            builder.part(part, b"twenty bytes of text");
        }
        builder
    };
    criterion.bench_function("digest of five parts", |bencher| {
        bencher.iter_batched(parts, |parts| parts.finish(identity.secret()), BatchSize::SmallInput);
    });
}

/// Whether a path means one thing.
fn paths(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("examine");
    for (name, path) in [
        ("short", "/api/users/1"),
        ("long", "/api/v2/organisations/4711/projects/summer-2026/boards/12/columns/3/cards/98765/comments"),
        ("encoded", "/api/files/r%C3%A9sum%C3%A9%20%282026%29.pdf"),
    ] {
        assert_eq!(examine(path), Ok(()), "{path}");
        group.bench_function(name, |bencher| bencher.iter(|| examine(black_box(path))));
    }
    group.finish();
}

/// The search for a route among fifty.
fn searches(criterion: &mut Criterion) {
    let mut text = String::from("[upstream]\nurl = \"http://127.0.0.1:8000\"\n");
    for kind in 0..24 {
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "[[route]]\nname = \"one-{kind}\"\nmatch = \"/api/kind-{kind}/{{id}}\"\n\
             [[route]]\nname = \"below-{kind}\"\nmatch = \"/api/kind-{kind}/{{id}}/items/{{item}}\"\n"
        );
    }
    text.push_str("[[route]]\nname = \"any\"\nmatch = \"/api/{kind}/special\"\n");
    text.push_str("[[route]]\nname = \"static\"\nmatch = \"/static/{*rest}\"\n");
    let routes = routes(settings(&text));
    let mut group = criterion.benchmark_group("find among 50 routes");
    for (name, path, expected) in [
        ("one segment", "/api/kind-12/1", "one-12"),
        ("deep", "/api/kind-23/1/items/7", "below-23"),
        ("the rest of a path", "/static/scripts/app.js", "static"),
        ("none", "/nowhere/at/all", "unrouted"),
    ] {
        assert_eq!(&*routes.get(routes.find(path)).name, expected);
        group.bench_function(name, |bencher| bencher.iter(|| routes.find(black_box(path))));
    }
    group.finish();
}

fn wanted<'r>(path: &'r str, query: Option<&'r str>, headers: &'r HeaderMap) -> Wanted<'r> {
    Wanted {
        trusted: false,
        method: &Method::GET,
        scheme: "http",
        authority: "api.example:8080",
        forwarded_host: None,
        path,
        query,
        headers,
        kinds: Kinds::read(headers),
        body: Content::None,
        upgrade: false,
    }
}

fn settings(text: &str) -> Settings {
    match config::load_text(Path::new("bench.toml"), text, &Sources::default()) {
        Ok(loaded) => loaded.settings,
        Err(mistakes) => panic!("{mistakes}"),
    }
}

fn routes(settings: Settings) -> Routes {
    match Routes::new(settings.routes, settings.unrouted) {
        Ok(routes) => routes,
        Err(conflicts) => panic!("{conflicts:?}"),
    }
}
