//! Which variant a request selects.
//!
//! A response names the request fields it depends on in `Vary`; two requests select the same variant if all of them
//! have the same *normalised* value. Normalising takes away only what a field's grammar says has no meaning. Invariant:
//! where in doubt, different text is a different variant. Left out: choosing a variant for a client by its preferences; that
//! is the origin's to do, but where `preferred_language` leaves it no choice.

use std::borrow::Cow;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_LANGUAGE, COOKIE, FORWARDED,
    PROXY_AUTHORIZATION, VARY, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::grammar::{Quotes, trim};
use super::preference::{is_coding, is_language, is_language_range, media_ranges, preferences, written};

/// The request fields that a response varies on: lower case, sorted, each once. Empty: it does not vary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VaryOn(Vec<HeaderName>);

impl VaryOn {
    /// None: `*`, no other request is alike. Also for a name that is none, since what it was meant to be is unknown.
    pub fn read(response: &HeaderMap) -> Option<Self> {
        let mut names = Vec::new();
        for line in response.get_all(VARY) {
            for member in line.as_bytes().split(|byte| *byte == b',').map(trim) {
                // RFC 9110, 5.6.1: "A recipient MUST parse and ignore a reasonable number of empty list elements".
                if member.is_empty() {
                    continue;
                }
                // RFC 9110, 12.5.5: "A list containing the member "*" signals that other aspects of the request might
                // have played a role in selecting the response representation".
                if member == b"*" {
                    return None;
                }
                names.push(HeaderName::from_bytes(member).ok()?);
            }
        }
        Some(Self::on(names))
    }

    /// On these fields, whatever their order.
    pub fn on(mut names: Vec<HeaderName>) -> Self {
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        Self(names)
    }

    /// Whether the response is the same for all requests.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields, sorted.
    pub fn names(&self) -> &[HeaderName] {
        &self.0
    }

    /// Whether it depends on the languages that a client prefers.
    pub fn on_language(&self) -> bool {
        self.0.contains(&ACCEPT_LANGUAGE)
    }

    /// Gives name and normalised value for each field, in order; `None` for a field the request lacks.
    pub fn select<'r>(
        &'r self,
        request: &'r HeaderMap,
    ) -> impl Iterator<Item = (&'r HeaderName, Option<Cow<'r, [u8]>>)> {
        self.0.iter().map(|name| (name, normalised(name, request)))
    }

    /// Whether two requests select the same variant.
    pub fn same(&self, one: &HeaderMap, other: &HeaderMap) -> bool {
        // RFC 9111, 4.1: "The header fields from two requests are defined to match if and only if those in the first
        // request can be transformed to those in the second request by applying any of the following: adding or
        // removing whitespace, where allowed in the header field's syntax; combining multiple header field lines with
        // the same field name; normalizing both header field values in a way that is known to have identical semantics,
        // according to the header field's specification". "If (after any normalization that might take place) a header
        // field is absent from a request, it can only match another request if it is also absent there."
        self.select(one).eq(self.select(other))
    }
}

/// The one language, in lower case, that a client prefers to all others, if it is one: not several of equal weight, not any
/// that is not named, and nothing malformed.
///
/// A response in just this language is what an origin with any choice would give: whatever else the client would take, in
/// whatever order and with whatever weights, makes no difference to it.
pub fn preferred_language(request: &HeaderMap) -> Option<String> {
    let mut lines = request.get_all(ACCEPT_LANGUAGE).into_iter();
    let text = joined(lines.next()?, lines, true);
    let wanted = preferences(&text, is_language_range)?;
    let (first, next) = (wanted.first()?, wanted.get(1));
    // RFC 9110, 12.4.2: "a value of 0 means "not acceptable"."
    let is_alone = first.weight > 0 && next.is_none_or(|next| next.weight < first.weight);
    language(&first.name).filter(|_| is_alone)
}

/// The one language, in lower case, that a response is in.
pub fn only_language(response: &HeaderMap) -> Option<String> {
    // RFC 9110, 8.5: "Multiple languages MAY be listed for content that is intended for multiple audiences." Such a response
    // is not just in one of them.
    let mut lines = response.get_all(CONTENT_LANGUAGE).into_iter();
    let text = joined(lines.next()?, lines, true);
    language(&text)
}

/// A tag, and not `*`; RFC 9110, 8.5.1 makes it case-insensitive.
fn language(tag: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(tag).ok().filter(|_| is_language(tag))?;
    Some(text.to_ascii_lowercase())
}

/// Whether the upstream gets another value of this field than a proxy does: of its own address and the like. Scheme and
/// host, as the client used them, are part of every key.
pub fn is_rewritten(name: &HeaderName) -> bool {
    // Some servers take `_` for `-` in names.
    let folded = name.as_str().replace('_', "-");
    match name.as_str() {
        "x-forwarded-proto" | "x-forwarded-host" => false,
        _ => folded.starts_with("x-forwarded-") || *name == FORWARDED || *name == VIA,
    }
}

/// How the value of a field is written when it is compared.
fn normalised<'r>(name: &HeaderName, request: &'r HeaderMap) -> Option<Cow<'r, [u8]>> {
    let mut lines = request.get_all(name).into_iter();
    let first = lines.next()?;
    let text = joined(first, lines, is_list(name));
    let normal = match *name {
        // RFC 9110, 8.4.1: "All content codings are case-insensitive". An empty field has a meaning ("no content coding"), and
        // so has a weight of 0.
        ACCEPT_ENCODING => preferences(&text, is_coding).map(|wanted| written(&wanted)),
        // RFC 4647, 2: language ranges are compared without regard to case.
        ACCEPT_LANGUAGE => preferences(&text, is_language_range).map(|wanted| written(&wanted)),
        ACCEPT => Some(media_ranges(&text)),
        _ => None,
    };
    Some(normal.filter(|normal| *normal != *text).map_or(text, Cow::Owned))
}

/// All lines as one value. Of a list, white space around its commas goes; other fields keep theirs, and their lines
/// stay apart by a byte that no value has.
fn joined<'r>(
    first: &'r HeaderValue,
    more: impl Iterator<Item = &'r HeaderValue>,
    list: bool,
) -> Cow<'r, [u8]> {
    let mut text = Cow::Borrowed(trim(first.as_bytes()));
    for line in more {
        let whole = text.to_mut();
        whole.push(if list { b',' } else { b'\n' });
        whole.extend_from_slice(trim(line.as_bytes()));
    }
    if list && has_padded_comma(&text) {
        return Cow::Owned(without_padding(&text));
    }
    text
}

/// Whether the lines of a field may be joined by commas, and white space be added around them. Those that identify a
/// caller are compared as sent.
fn is_list(name: &HeaderName) -> bool {
    *name != COOKIE && *name != AUTHORIZATION && *name != PROXY_AUTHORIZATION
}

fn has_padded_comma(text: &[u8]) -> bool {
    let padding = |byte: u8| matches!(byte, b' ' | b'\t');
    text.windows(2).any(|pair| match pair {
        [b',', after] => padding(*after),
        [before, b','] => padding(*before),
        _ => false,
    })
}

/// Takes away white space around commas, but not within quoted strings.
fn without_padding(text: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(text.len());
    let (mut quotes, mut after_comma) = (Quotes::default(), false);
    for &byte in text {
        let outside = quotes.outside(byte);
        let is_comma = outside && byte == b',';
        if after_comma && outside && matches!(byte, b' ' | b'\t') {
            continue;
        }
        if is_comma {
            // What was quoted ends with a quote: this is never part of it.
            while matches!(kept.last(), Some(b' ' | b'\t')) {
                kept.pop();
            }
        }
        kept.push(byte);
        after_comma = is_comma;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::example::headers;
    use proptest::prelude::*;

    #[test]
    fn vary_is_read_over_its_lines_sorted_and_each_name_once() {
        let table: &[(&[&str], Option<&[&str]>)] = &[
            (&[], Some(&[])),
            (&[""], Some(&[])),
            (&[" , ,"], Some(&[])),
            (&["Accept-Encoding"], Some(&["accept-encoding"])),
            (&["Origin, accept", "ACCEPT ,\tX-A"], Some(&["accept", "origin", "x-a"])),
            (&["*"], None),
            (&["accept, *"], None),
            (&["accept", " * "], None),
            (&["*, accept"], None),
            (&["not a name"], None),
            (&["accept; q=1"], None),
            (&["\"accept\""], None),
            (&["**"], Some(&["**"])),
        ];
        for (lines, expected) in table {
            let fields: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
            let read = VaryOn::read(&headers(&fields));
            let names = read.as_ref().map(|on| on.names().iter().map(HeaderName::as_str).collect::<Vec<_>>());
            assert_eq!(names.as_deref(), *expected, "{lines:?}");
        }
    }

    #[test]
    fn fields_that_proxies_rewrite_are_known_but_those_in_the_key() {
        for (name, expected) in [
            ("x-forwarded-for", true),
            ("forwarded", true),
            ("via", true),
            ("x-forwarded-port", true),
            ("x_forwarded_for", true),
            ("x_forwarded_host", true),
            ("x-forwarded-proto", false),
            ("x-forwarded-host", false),
            ("x-forwarded", false),
            ("accept", false),
        ] {
            assert_eq!(is_rewritten(&HeaderName::from_static(name)), expected, "{name}");
        }
    }

    type Fields<'a> = &'a [(&'a str, &'a str)];

    fn check(table: &[(&str, Fields<'_>, Fields<'_>, bool)]) {
        for (vary, one, other, expected) in table {
            let on = VaryOn::read(&headers(&[("vary", vary)])).unwrap();
            let (one, other) = (headers(one), headers(other));
            assert_eq!(on.same(&one, &other), *expected, "{vary}: {one:?} {other:?}");
        }
    }

    #[test]
    fn requests_are_alike_only_where_the_difference_has_no_meaning() {
        check(&[
            ("accept", &[], &[], true),
            ("accept", &[], &[("accept", "")], false),
            ("accept", &[("accept", "a")], &[("accept", "a")], true),
            ("accept", &[("accept", "a")], &[("accept", "A")], false),
            ("accept", &[("accept", "a")], &[("x", "b"), ("accept", "a")], true),
            ("accept", &[("accept", "a,b")], &[("accept", " a ,\tb ")], true),
            ("accept", &[("accept", "a, b")], &[("accept", "a"), ("accept", "b")], true),
            ("accept", &[("accept", "a, b")], &[("accept", "b, a")], false),
            ("accept", &[("accept", "a b")], &[("accept", "a  b")], false),
            ("accept", &[("accept", "a/b;c=D, e/f")], &[("accept", "A/B ; C=D"), ("accept", "e/F")], true),
            ("accept", &[("accept", "a/b;c=d")], &[("accept", "a/b;c=D")], false),
            ("accept", &[("accept", "a/b, c/d")], &[("accept", "c/d, a/b")], false),
            ("x", &[("x", "\"a, b\"")], &[("x", "\"a,b\"")], false),
            ("x", &[("x", "\"a \" ,b")], &[("x", "\"a \",b")], true),
            ("x", &[("x", r#""a\" , b""#)], &[("x", r#""a\",b""#)], false),
            ("cookie", &[("cookie", "a=1, b")], &[("cookie", "a=1,b")], false),
            ("cookie", &[("cookie", "a"), ("cookie", "b")], &[("cookie", "a,b")], false),
            ("a, b", &[("a", "1")], &[("b", "1")], false),
        ]);
    }

    #[test]
    fn codings_and_languages_have_no_case_and_codings_no_order() {
        check(&[
            (
                "accept-language",
                &[("accept-language", "de-AT, en")],
                &[("accept-language", "DE-at,en")],
                true,
            ),
            ("accept-language", &[("accept-language", "de, en")], &[("accept-language", "en, de")], true),
            (
                "accept-language",
                &[("accept-language", "de, en;q=0.50")],
                &[("accept-language", "en;Q=0.5"), ("accept-language", "DE;q=1.0")],
                true,
            ),
            (
                "accept-language",
                &[("accept-language", "de, en;q=0.5")],
                &[("accept-language", "en, de;q=0.5")],
                false,
            ),
            ("accept-language", &[("accept-language", "de, en")], &[("accept-language", "de")], false),
            (
                "accept-language",
                &[("accept-language", "de;q=x, en")],
                &[("accept-language", "en, de;q=x")],
                false,
            ),
            (
                "accept-language",
                &[("accept-language", "de;q=x,en")],
                &[("accept-language", "de;q=x , en")],
                true,
            ),
            ("accept-language", &[("accept-language", "")], &[], false),
            (
                "accept-encoding",
                &[("accept-encoding", "gzip, br")],
                &[("accept-encoding", "BR,GZIP;q=1.0")],
                true,
            ),
            ("accept-encoding", &[("accept-encoding", "gzip ; q=1")], &[("accept-encoding", "gzip")], true),
            ("accept-encoding", &[("accept-encoding", "gzip;q=0")], &[("accept-encoding", "gzip")], false),
            ("accept-encoding", &[("accept-encoding", "gzip;q=0")], &[], false),
            ("accept-encoding", &[("accept-encoding", "")], &[], false),
            (
                "accept-encoding",
                &[("accept-encoding", "gzip;q=0.1")],
                &[("accept-encoding", "gzip;q=0.2")],
                false,
            ),
            (
                "accept-encoding",
                &[("accept-encoding", "*;q=0, br;q=0.80, gzip;q=1.000")],
                &[("accept-encoding", "gzip, br;q=0.8, *;q=0")],
                true,
            ),
            (
                "accept-encoding",
                &[("accept-encoding", "gzip, identity;q=0")],
                &[("accept-encoding", "gzip")],
                false,
            ),
            ("a, b", &[("a", "1"), ("b", "2")], &[("a", "2"), ("b", "1")], false),
        ]);
    }

    #[test]
    fn a_language_is_preferred_if_nothing_is_wanted_as_much() {
        let table: &[(&[&str], Option<&str>)] = &[
            (&[], None),
            (&[""], None),
            (&["de"], Some("de")),
            (&["de-AT, de;q=0.9, *;q=0.1"], Some("de-at")),
            (&["en;q=0.3", "fr;q=0.7 , it;q=0.5"], Some("fr")),
            (&["de, DE"], Some("de")),
            (&["de, en"], None),
            (&["de;q=0.5, en;q=0.5, fr;q=0.4"], None),
            (&["*"], None),
            (&["*, de;q=0.5"], None),
            (&["de, *"], None),
            (&["de;q=0"], None),
            (&["de;q=0, *;q=0.5"], None),
            (&["de, en;q=x"], None),
            (&["de, en;q=2"], None),
            (&["de, de;q=0.5"], None),
        ];
        for (lines, expected) in table {
            let fields: Vec<_> = lines.iter().map(|line| ("accept-language", *line)).collect();
            assert_eq!(preferred_language(&headers(&fields)).as_deref(), *expected, "{lines:?}");
        }
    }

    #[test]
    fn a_response_is_in_one_language_if_it_names_just_that() {
        let table: &[(&[&str], Option<&str>)] = &[
            (&[], None),
            (&[""], None),
            (&["De-AT"], Some("de-at")),
            (&[" en "], Some("en")),
            (&["de, en"], None),
            (&["de", "en"], None),
            (&["*"], None),
            (&["not a tag"], None),
        ];
        for (lines, expected) in table {
            let fields: Vec<_> = lines.iter().map(|line| ("content-language", *line)).collect();
            assert_eq!(only_language(&headers(&fields)).as_deref(), *expected, "{lines:?}");
        }
    }

    #[test]
    fn a_response_depends_on_languages_if_it_says_so() {
        for (vary, expected) in
            [("Accept-Language", true), ("accept, accept-language", true), ("accept", false), ("", false)]
        {
            let on = VaryOn::read(&headers(&[("vary", vary)])).unwrap();
            assert_eq!(on.on_language(), expected, "{vary}");
        }
    }

    #[test]
    fn a_value_that_is_normal_already_is_borrowed() {
        let on = VaryOn::read(&headers(&[("vary", "accept, accept-encoding, accept-language")])).unwrap();
        let request = headers(&[
            ("accept", "a/b,c/d;e=F"),
            ("accept-encoding", "br,gzip"),
            ("accept-language", "de,en;q=0.5"),
        ]);
        let borrowed = |(_, value): (_, Option<Cow<'_, [u8]>>)| matches!(value, Some(Cow::Borrowed(_)));
        assert!(on.select(&request).all(borrowed));
    }

    fn request() -> impl Strategy<Value = HeaderMap> {
        let name =
            prop_oneof![Just("accept"), Just("accept-encoding"), Just("accept-language"), Just("cookie")];
        proptest::collection::vec((name, "[aA\",;\\\\ =q01.]{0,8}"), 0..4).prop_map(|fields| {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            headers(&fields)
        })
    }

    fn selected(on: &VaryOn, request: &HeaderMap) -> Vec<(String, Option<Vec<u8>>)> {
        on.select(request).map(|(name, value)| (name.to_string(), value.map(Cow::into_owned))).collect()
    }

    proptest! {
        #[test]
        fn any_vary_can_be_read(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let headers: HeaderMap = [(VARY, value)].into_iter().collect();
                if let Some(on) = VaryOn::read(&headers) {
                    prop_assert!(on.names().windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
                }
            }
        }

        #[test]
        fn a_star_anywhere_means_that_nothing_is_alike(before in "([a-z]{1,5} ?, ?){0,3}", after in "( ?, ?[a-z]{1,5}){0,3}") {
            let line = format!("{before}*{after}");
            prop_assert_eq!(VaryOn::read(&headers(&[("vary", &line)])), None);
        }

        #[test]
        fn same_says_what_select_says(one in request(), other in request()) {
            let on = VaryOn::read(&headers(&[("vary", "accept, accept-encoding, accept-language, cookie")])).unwrap();
            prop_assert!(on.same(&one, &one));
            prop_assert_eq!(on.same(&one, &other), on.same(&other, &one));
            prop_assert_eq!(on.same(&one, &other), selected(&on, &one) == selected(&on, &other));
        }

        #[test]
        fn a_normal_value_stays_as_it_is(request in request()) {
            let on = VaryOn::read(&headers(&[("vary", "accept, accept-encoding, accept-language")])).unwrap();
            let again: HeaderMap = on
                .select(&request)
                .filter_map(|(name, value)| Some((name.clone(), HeaderValue::from_bytes(&value?).ok()?)))
                .collect();
            prop_assert_eq!(selected(&on, &again), selected(&on, &request));
        }
    }
}
