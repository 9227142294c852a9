//! Which variant a request selects.
//!
//! A response names the request fields it depends on in `Vary`; two requests select the same variant if all of them
//! have the same *normalised* value. Normalising takes away only what a field's grammar says has no meaning. Invariant:
//! where in doubt, different text is a different variant. Left out: preferences (`Accept-Language` order, q-values).

use std::borrow::Cow;

use http::header::{
    ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, FORWARDED, PROXY_AUTHORIZATION, VARY, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::grammar::trim;

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
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        Some(Self(names))
    }

    /// Whether the response is the same for all requests.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields, sorted.
    pub fn names(&self) -> &[HeaderName] {
        &self.0
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
    if *name == ACCEPT_ENCODING {
        return Some(Cow::Owned(encodings(&text)));
    }
    if *name == ACCEPT_LANGUAGE {
        // RFC 4647, 2: language ranges are compared without regard to case.
        return Some(lower(text));
    }
    Some(text)
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
    let (mut quoted, mut escaped, mut after_comma) = (false, false, false);
    for &byte in text {
        let padding = matches!(byte, b' ' | b'\t') && !quoted;
        if padding && after_comma {
            continue;
        }
        if byte == b',' && !quoted {
            // What was quoted ends with a quote: this is never part of it.
            while matches!(kept.last(), Some(b' ' | b'\t')) {
                kept.pop();
            }
        }
        kept.push(byte);
        after_comma = byte == b',' && !quoted;
        if quoted {
            quoted = byte != b'"' || escaped;
            escaped = byte == b'\\' && !escaped;
        } else {
            quoted = byte == b'"';
            escaped = false;
        }
    }
    kept
}

/// The codings in alphabetical order, in lower case, without white space, without a weight of 1.
fn encodings(text: &[u8]) -> Vec<u8> {
    // RFC 9110, 8.4.1: "All content codings are case-insensitive"; 12.4.2: "If no "q" parameter is present, the default
    // weight is 1." Their order has no meaning. A weight of 0 has one, and so has an empty field ("no content coding").
    let mut codings: Vec<Vec<u8>> = text
        .split(|byte| *byte == b',')
        .map(|coding| {
            let mut coding = coding.to_ascii_lowercase();
            coding.retain(|byte| !matches!(byte, b' ' | b'\t'));
            let whole = [&b";q=1"[..], b";q=1.", b";q=1.0", b";q=1.00", b";q=1.000"];
            if let Some(weight) = whole.into_iter().find(|weight| coding.ends_with(weight)) {
                coding.truncate(coding.len() - weight.len());
            }
            coding
        })
        .filter(|coding| !coding.is_empty())
        .collect();
    codings.sort_unstable();
    codings.dedup();
    codings.join(&b',')
}

fn lower(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if text.iter().any(u8::is_ascii_uppercase) {
        return Cow::Owned(text.to_ascii_lowercase());
    }
    text
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
            ("accept-language", &[("accept-language", "de, en")], &[("accept-language", "en, de")], false),
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
            ("a, b", &[("a", "1"), ("b", "2")], &[("a", "2"), ("b", "1")], false),
        ]);
    }

    #[test]
    fn a_value_that_is_normal_already_is_borrowed() {
        let on = VaryOn::read(&headers(&[("vary", "accept, accept-language")])).unwrap();
        let request = headers(&[("accept", "a,b"), ("accept-language", "de")]);
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
            let on = VaryOn::read(&headers(&[("vary", "accept, accept-language")])).unwrap();
            let again: HeaderMap = on
                .select(&request)
                .filter_map(|(name, value)| Some((name.clone(), HeaderValue::from_bytes(&value?).ok()?)))
                .collect();
            prop_assert_eq!(selected(&on, &again), selected(&on, &request));
        }
    }
}
