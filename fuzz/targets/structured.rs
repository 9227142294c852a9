//! Lines of four fields, each told by its first character: `a` of `Cache-Control`, `c` of `CDN-Cache-Control`, `s` of
//! `Surrogate-Control`, `g` of `Cache-Groups`.
//!
//! The field for caches like this one decides alone; what it says is read again when it is written; groups have names that are
//! whole and bounded.

#![no_main]

use std::time::Duration;

use http::header::{CACHE_CONTROL, EXPIRES};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use larder::semantics::ResponseDirectives;
use larder::semantics::groups::{CACHE_GROUP_INVALIDATION, CACHE_GROUPS, groups, invalidated_groups};
use larder::semantics::targeted::{CDN_CACHE_CONTROL, SURROGATE_CONTROL, governing};
use larder_fuzz::{lines, value};
use libfuzzer_sys::fuzz_target;

/// RFC 9111, 1.2.2.
const SECONDS_MAX: Duration = Duration::from_secs(1 << 31);

fuzz_target!(|input: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in lines(input) {
        let Some((kind, text)) = line.split_first() else { continue };
        let name = match kind {
            b'a' => CACHE_CONTROL,
            b'c' => CDN_CACHE_CONTROL,
            b's' => SURROGATE_CONTROL,
            b'g' => CACHE_GROUPS,
            _ => continue,
        };
        headers.append(name, value(text));
    }
    assert_governed(&headers);
    assert_groups(&headers);
});

fn assert_governed(headers: &HeaderMap) {
    let found = governing(headers);
    let said = &found.said;
    for number in
        [said.s_maxage, said.max_age, said.stale_while_revalidate, said.stale_if_error].into_iter().flatten()
    {
        assert!(number <= SECONDS_MAX, "{number:?} of {headers:?}");
    }
    if !found.targeted {
        assert_eq!(*said, ResponseDirectives::read(headers));
        return;
    }
    // RFC 9213, 2.2: "it MUST ignore the Cache-Control and Expires header fields in that response".
    let mut others = headers.clone();
    others.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, max-age=1"));
    others.insert(EXPIRES, HeaderValue::from_static("0"));
    assert_eq!(governing(&others), found);
    if !headers.contains_key(CDN_CACHE_CONTROL) && said.no_store {
        // Another line of it may be for another surrogate, or for us; it lifts nothing.
        others.append(SURROGATE_CONTROL, HeaderValue::from_static("max-age=60;larder, max-age=60"));
        assert!(governing(&others).said.no_store, "no-store is lost: {headers:?}");
    }
    let text = written(said);
    if !text.is_empty() {
        let again: HeaderMap = [(CDN_CACHE_CONTROL, value(text.as_bytes()))].into_iter().collect();
        assert_eq!(governing(&again), found, "{text}");
    }
}

/// What was said, as a Dictionary.
fn written(said: &ResponseDirectives) -> String {
    let names = |name: &str, all: bool, fields: &[HeaderName]| match fields {
        _ if all => Some(name.to_owned()),
        [] => None,
        fields => {
            let fields: Vec<&str> = fields.iter().map(HeaderName::as_str).collect();
            Some(format!("{name}=\"{}\"", fields.join(", ")))
        }
    };
    let flag = |name: &str, set: bool| set.then(|| name.to_owned());
    let number = |name: &str, said: Option<Duration>| said.map(|said| format!("{name}={}", said.as_secs()));
    let members = [
        flag("no-store", said.no_store),
        names("no-cache", said.no_cache, &said.no_cache_fields),
        names("private", said.private, &said.private_fields),
        flag("public", said.public),
        flag("must-revalidate", said.must_revalidate),
        flag("proxy-revalidate", said.proxy_revalidate),
        flag("must-understand", said.must_understand),
        flag("immutable", said.immutable),
        number("s-maxage", said.s_maxage),
        number("max-age", said.max_age),
        number("stale-while-revalidate", said.stale_while_revalidate),
        number("stale-if-error", said.stale_if_error),
    ];
    members.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn assert_groups(headers: &HeaderMap) {
    let named = groups(headers);
    assert!(named.len() <= 128 && named.iter().all(|name| name.len() <= 128), "{named:?}");
    let once: std::collections::BTreeSet<_> = named.iter().collect();
    assert_eq!(once.len(), named.len(), "one is named twice: {named:?}");
    let quoted = named.iter().map(|name| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")));
    let text = value(quoted.collect::<Vec<_>>().join(", ").as_bytes());
    let again: HeaderMap =
        [(CACHE_GROUPS, text.clone()), (CACHE_GROUP_INVALIDATION, text)].into_iter().collect();
    assert_eq!(groups(&again), named);
    // What a response says of its groups is what another one makes invalid.
    assert_eq!(invalidated_groups(&Method::POST, &again), named);
    assert!(invalidated_groups(&Method::GET, &again).is_empty());
}
