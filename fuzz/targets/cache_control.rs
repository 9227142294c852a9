//! Lines of `Cache-Control`; the last one is what somebody adds.
//!
//! Whatever is added, before or behind, on a line of its own or on the same one: no prohibition is lost, no number grows.
//! (On the same line quotes are taken out of it: one could close a quote that was left open, and so change what was said.)

#![no_main]

use std::time::Duration;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue};
use larder::semantics::{RequestDirectives, ResponseDirectives};
use larder_fuzz::{field, lines, value};
use libfuzzer_sys::fuzz_target;

/// More than this counts as this: RFC 9111, 1.2.2.
const SECONDS_MAX: Duration = Duration::from_secs(1 << 31);

fuzz_target!(|input: &[u8]| {
    let lines = lines(input);
    let Some((added, said)) = lines.split_last() else { return };
    let before = field(&CACHE_CONTROL, said.iter().copied());
    bounded(&before);
    same_in_any_case(&before);
    assert_counts_with(added);

    let behind = field(&CACHE_CONTROL, lines.iter().copied());
    let in_front = field(&CACHE_CONTROL, std::iter::once(*added).chain(said.iter().copied()));
    let more: Vec<u8> = added.iter().copied().filter(|byte| *byte != b'"').collect();
    let mut longer = said.to_vec();
    let last = longer.pop().map(|last| [last, b",", &more].concat());
    longer.extend(last.as_deref());
    let mut earlier = said.to_vec();
    let first = earlier.first().map(|first| [&more, &b","[..], first].concat());
    if let (Some(slot), Some(first)) = (earlier.first_mut(), &first) {
        *slot = first;
    }
    for after in [behind, in_front, field(&CACHE_CONTROL, longer), field(&CACHE_CONTROL, earlier)] {
        assert_no_laxer_response(&before, &after);
        if !before.is_empty() {
            assert_no_laxer_request(&before, &after);
        }
    }
});

/// A prohibition counts, whatever stands behind it.
fn assert_counts_with(junk: &[u8]) {
    let read =
        |word: &[u8]| ResponseDirectives::read(&field(&CACHE_CONTROL, [&*[word, b" ", junk].concat()]));
    assert!(read(b"no-store").no_store, "{junk:?}");
    assert!(read(b"proxy-revalidate").proxy_revalidate, "{junk:?}");
    let no_cache = read(b"no-cache");
    assert!(no_cache.no_cache || !no_cache.no_cache_fields.is_empty(), "{junk:?}");
    let private = read(b"private");
    assert!(private.private || !private.private_fields.is_empty(), "{junk:?}");
}

fn assert_no_laxer_response(before: &HeaderMap, after: &HeaderMap) {
    let (was, is) = (ResponseDirectives::read(before), ResponseDirectives::read(after));
    let told = || format!("{before:?}\n{was:?}\n{after:?}\n{is:?}");
    assert!(!was.no_store || is.no_store, "no-store is lost: {}", told());
    assert!(!was.no_cache || is.no_cache, "no-cache is lost: {}", told());
    assert!(!was.private || is.private, "private is lost: {}", told());
    let kept = |names: &[_], all: bool, now: &[_]| all || names.iter().all(|name| now.contains(name));
    assert!(
        kept(&was.no_cache_fields, is.no_cache, &is.no_cache_fields),
        "a field's no-cache is lost: {}",
        told()
    );
    assert!(
        kept(&was.private_fields, is.private, &is.private_fields),
        "a field's private is lost: {}",
        told()
    );
    let asks = |said: &ResponseDirectives| said.must_revalidate || said.proxy_revalidate;
    assert!(!asks(&was) || asks(&is), "must-revalidate is lost: {}", told());
    for (was, is) in [
        (was.s_maxage, is.s_maxage),
        (was.max_age, is.max_age),
        (was.stale_while_revalidate, is.stale_while_revalidate),
        (was.stale_if_error, is.stale_if_error),
    ] {
        assert!(was.is_none_or(|was| is.is_some_and(|is| is <= was)), "a number has grown: {}", told());
    }
}

fn assert_no_laxer_request(before: &HeaderMap, after: &HeaderMap) {
    let (was, is) = (RequestDirectives::read(before), RequestDirectives::read(after));
    let told = || format!("{before:?}\n{was:?}\n{after:?}\n{is:?}");
    assert!(!was.no_store || is.no_store, "no-store is lost: {}", told());
    assert!(!was.no_cache || is.no_cache, "no-cache is lost: {}", told());
    assert!(!was.only_if_cached || is.only_if_cached, "only-if-cached is lost: {}", told());
    assert!(
        was.min_fresh.is_none_or(|was| is.min_fresh.is_some_and(|is| is >= was)),
        "less fresh: {}",
        told()
    );
    for (was, is) in
        [(was.max_age, is.max_age), (was.max_stale, is.max_stale), (was.stale_if_error, is.stale_if_error)]
    {
        assert!(was.is_none_or(|was| is.is_some_and(|is| is <= was)), "a number has grown: {}", told());
    }
}

/// Numbers have their ceiling, and no more is remembered than was said.
fn bounded(headers: &HeaderMap) {
    let said = ResponseDirectives::read(headers);
    let asked = RequestDirectives::read(headers);
    let numbers =
        [said.s_maxage, said.max_age, said.stale_while_revalidate, said.stale_if_error, asked.max_age];
    for number in numbers.into_iter().chain([asked.min_fresh, asked.stale_if_error]).flatten() {
        assert!(number <= SECONDS_MAX, "{number:?} of {headers:?}");
    }
    assert!(asked.max_stale.is_none_or(|most| most <= SECONDS_MAX || most == Duration::MAX));
    let bytes: usize = headers.values().map(HeaderValue::len).sum();
    assert!(said.no_cache_fields.len() + said.private_fields.len() <= bytes);
}

/// RFC 9111, 5.2: "Cache directives are identified by a token, to be compared case-insensitively".
fn same_in_any_case(headers: &HeaderMap) {
    let upper: HeaderMap = headers.iter().map(|(name, line)| (name.clone(), upper(line))).collect();
    assert_eq!(ResponseDirectives::read(headers), ResponseDirectives::read(&upper));
    assert_eq!(RequestDirectives::read(headers), RequestDirectives::read(&upper));
}

fn upper(line: &HeaderValue) -> HeaderValue {
    value(&line.as_bytes().to_ascii_uppercase())
}
