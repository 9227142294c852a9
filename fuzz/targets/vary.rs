//! A response that varies, and two requests. A line that begins with `v` is one of `Vary`; with `1` or `2`, a field of the
//! first or the second request, as `1name: value`.
//!
//! What is selected by is written as it is read, a request is like itself and like what was selected from it, and what
//! identifies a caller is never taken for something else.

#![no_main]

use http::header::{AUTHORIZATION, COOKIE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};
use larder::semantics::VaryOn;
use larder_fuzz::{field, lines, named, value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut varies: Vec<&[u8]> = Vec::new();
    let (mut one, mut other) = (HeaderMap::new(), HeaderMap::new());
    for line in lines(input) {
        assert_another_caller(line);
        match line.split_first() {
            Some((b'v', names)) => varies.push(names),
            Some((b'1', field)) => one.extend(named(field).map(|(name, value)| (Some(name), value))),
            Some((b'2', field)) => other.extend(named(field).map(|(name, value)| (Some(name), value))),
            _ => {}
        }
    }
    let Some(on) = VaryOn::read(&field(&VARY, varies.iter().copied())) else {
        // Nothing that is added makes requests alike that were not.
        varies.push(b"accept");
        assert_eq!(VaryOn::read(&field(&VARY, varies)), None);
        return;
    };
    assert!(on.names().is_sorted_by(|one, other| one.as_str() < other.as_str()), "{on:?}");
    let written: Vec<&str> = on.names().iter().map(HeaderName::as_str).collect();
    assert_eq!(VaryOn::read(&field(&VARY, [written.join(", ").as_bytes()])).as_ref(), Some(&on));
    for request in [&one, &other] {
        assert_like_itself(&on, request);
    }
    assert_eq!(on.same(&one, &other), on.same(&other, &one));
    if on.same(&one, &other) {
        assert_same_caller(&on, &one, &other);
    }
});

/// A request selects the variant that was selected from it, with more space around its values and more fields beside.
fn assert_like_itself(on: &VaryOn, request: &HeaderMap) {
    assert!(on.same(request, request));
    let padded: HeaderMap = request.iter().map(|(name, value)| (name.clone(), padded(value))).collect();
    assert!(on.same(request, &padded), "space around a value counts: {on:?} {request:?}");
    let beside = HeaderName::from_static("x-nobody-varies-on-this");
    if !on.names().contains(&beside) {
        let mut more = request.clone();
        more.insert(beside, HeaderValue::from_static("x"));
        assert!(on.same(request, &more));
    }
    let mut selected = HeaderMap::new();
    for (name, text) in on.select(request) {
        // Lines that are no list are kept apart by a line break.
        for line in text.iter().flat_map(|text| text.split(|byte| *byte == b'\n')) {
            selected.append(name.clone(), value(line));
        }
    }
    assert!(on.same(request, &selected), "{on:?}: {request:?} is not {selected:?}");
}

/// What identifies a caller is compared as it was sent: space within it makes another.
fn assert_another_caller(sent: &[u8]) {
    let parts: Vec<&[u8]> = sent.split(|byte| *byte == b',').collect();
    let (one, other) = (value(sent), value(&parts.join(&b" ,"[..])));
    if trimmed(one.as_bytes()) == trimmed(other.as_bytes()) {
        return;
    }
    for name in [AUTHORIZATION, COOKIE] {
        let on = VaryOn::read(&field(&VARY, [name.as_str().as_bytes()]));
        let [one, other] = [&one, &other].map(|text| HeaderMap::from_iter([(name.clone(), text.clone())]));
        assert!(
            on.is_some_and(|on| !on.same(&one, &other)),
            "two callers are taken for one: {one:?} {other:?}"
        );
    }
}

fn padded(text: &HeaderValue) -> HeaderValue {
    value(&[b" \t", text.as_bytes(), b"\t "].concat())
}

fn assert_same_caller(on: &VaryOn, one: &HeaderMap, other: &HeaderMap) {
    let sent = |request: &HeaderMap, name: &HeaderName| -> Vec<Vec<u8>> {
        request.get_all(name).into_iter().map(|line| trimmed(line.as_bytes()).to_vec()).collect()
    };
    for name in [AUTHORIZATION, COOKIE] {
        if on.names().contains(&name) {
            assert_eq!(sent(one, &name), sent(other, &name), "two callers are taken for one: {on:?}");
        }
    }
}

fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
