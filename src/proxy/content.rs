//! The body of a request as part of its key.
//!
//! RFC 10008, 2.7: "The cache key for a QUERY request MUST incorporate the request content and related metadata." The same
//! holds for every request whose route says `key.body`. It counts either byte for byte, or as JSON by its canonical text; what
//! is sent to the upstream is the client's own in both cases. Invariant: with the body go the fields that say how to read it.

use http::header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE};
use http::{HeaderMap, Method};

use super::graphql::{self, Operation};
use super::route::{BodyPart, KeyParts};
use super::wanted::{Content, Wanted};
use crate::object::canonical_json::{NotCanonical, canonical};
use crate::object::{KeyBuilder, Part};

/// Why a body can't be part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unkeyed {
    /// More bytes than `key.max_body`.
    TooLong,
    /// `memory.max_filling` is taken.
    NoRoom,
    /// Fields come behind it.
    Trailers,
    /// It would have to be decoded to be read as JSON.
    Encoded,
    /// It has no canonical text.
    NotCanonical(NotCanonical),
    /// It is more than a read.
    Acts(Operation),
}

impl Unkeyed {
    /// In words, for `Cache-Status` and people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "the body is longer than key.max_body",
            Self::NoRoom => "too much is being filled at once to read the body",
            Self::Trailers => "the body has trailers",
            Self::Encoded => "the body has a content coding, so its JSON can't be read",
            Self::NotCanonical(why) => why.reason(),
            Self::Acts(operation) => operation.reason(),
        }
    }
}

/// What a method's answers are kept as, if the route's key lets them be kept at all. HEAD is answered from what GET left behind.
pub fn class(method: &Method, keys: &KeyParts) -> Option<&'static str> {
    match *method {
        Method::GET | Method::HEAD => Some("GET"),
        // Their target alone says too little of what is asked.
        _ if keys.body == BodyPart::Ignored => None,
        Method::POST => Some("POST"),
        Method::QUERY => Some("QUERY"),
        _ => None,
    }
}

/// Adds the body and what says how to read it. A body that nobody has read yet adds nothing.
pub fn feed(wanted: &Wanted<'_>, keys: &KeyParts, into: &mut KeyBuilder) -> Result<(), Unkeyed> {
    let body = match wanted.body {
        Content::Unread => return Ok(()),
        Content::None => &[],
        Content::Read(body) => body,
    };
    let is_bodiless = *wanted.method == Method::GET || *wanted.method == Method::HEAD;
    if body.is_empty() && is_bodiless {
        return Ok(());
    }
    if body.len() as u64 > keys.max_body_bytes {
        return Err(Unkeyed::TooLong);
    }
    for (name, part) in [
        (CONTENT_TYPE, Part::BodyType),
        (CONTENT_ENCODING, Part::BodyEncoding),
        (CONTENT_LANGUAGE, Part::BodyLanguage),
    ] {
        for value in wanted.headers.get_all(name) {
            into.part(part, value.as_bytes().trim_ascii());
        }
    }
    match keys.body {
        BodyPart::Ignored => {}
        BodyPart::Raw => into.part(Part::Body, body),
        BodyPart::Json => into.part(Part::Body, read_as_json(body, wanted)?.as_bytes()),
    }
    Ok(())
}

/// No body at all is no JSON, but it can mean one thing only.
fn read_as_json(body: &[u8], wanted: &Wanted<'_>) -> Result<String, Unkeyed> {
    if *wanted.method == Method::POST
        && let Some(operation) = wanted.query.and_then(graphql::in_query)
    {
        return Err(Unkeyed::Acts(operation));
    }
    if body.is_empty() {
        return Ok(String::new());
    }
    if is_encoded(wanted.headers) {
        return Err(Unkeyed::Encoded);
    }
    let text = canonical(body).map_err(Unkeyed::NotCanonical)?;
    graphql::in_body(&text).map_or(Ok(text), |operation| Err(Unkeyed::Acts(operation)))
}

/// RFC 9110, 8.4.1: `identity` is "Reserved": no coding, though it should not be said.
fn is_encoded(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(CONTENT_ENCODING);
    codings.iter().any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;
    use crate::proxy::kinds::Kinds;

    type Fields<'a> = &'a [(&'a str, &'a str)];
    type Parts = Vec<(Part, Vec<u8>)>;

    /// The parts of a request for `/`.
    fn parts(
        part: BodyPart,
        method: &Method,
        query: Option<&str>,
        fields: Fields<'_>,
        body: Content<'_>,
    ) -> Result<Parts, Unkeyed> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let wanted = Wanted {
            method,
            scheme: "http",
            authority: "a",
            forwarded_host: None,
            trusted: false,
            path: "/",
            query,
            headers: &headers,
            kinds: Kinds::read(&headers),
            body,
            upgrade: false,
        };
        let keys = KeyParts { body: part, max_body_bytes: 64, ..KeyParts::default() };
        let mut builder = KeyBuilder::new();
        feed(&wanted, &keys, &mut builder)?;
        Ok(builder.parts().map(|(part, bytes)| (part, bytes.to_vec())).collect())
    }

    fn post(part: BodyPart, fields: Fields<'_>, body: &[u8]) -> Result<Parts, Unkeyed> {
        parts(part, &Method::POST, None, fields, Content::Read(body))
    }

    #[test]
    fn json_counts_by_what_it_means_and_bytes_by_what_they_are() {
        let (spaced, plain) = (br#"{ "b": 1, "a": "\u0061" }"#, br#"{"a":"a","b":1}"#);
        assert_eq!(post(BodyPart::Json, &[], spaced), post(BodyPart::Json, &[], plain));
        assert_eq!(post(BodyPart::Json, &[], spaced), Ok(vec![(Part::Body, plain.to_vec())]));
        assert_eq!(post(BodyPart::Raw, &[], spaced), Ok(vec![(Part::Body, spaced.to_vec())]));
        assert_ne!(post(BodyPart::Json, &[], b"1.0"), post(BodyPart::Json, &[], b"1"));
    }

    #[test]
    fn what_says_how_to_read_it_counts_but_for_white_space_around_it() {
        let of = |fields| post(BodyPart::Raw, fields, b"1");
        let differ: [Fields<'_>; 9] = [
            &[],
            &[("content-type", "")],
            &[("content-type", "text/plain")],
            &[("content-type", "text/plain;charset=a")],
            &[("content-type", "text/plain; charset=a")],
            &[("content-type", "text/plain"), ("content-type", "text/plain")],
            &[("content-encoding", "text/plain")],
            &[("content-language", "text/plain")],
            &[("content-encoding", "a"), ("content-language", "b")],
        ];
        for (index, one) in differ.iter().enumerate() {
            for other in &differ[index + 1..] {
                assert_ne!(of(one), of(other));
            }
        }
        assert_eq!(of(&[("content-type", " a\t")]), of(&[("content-type", "a")]));
        assert_eq!(of(&[("content-length", "1"), ("accept", "a")]), of(&[]));
    }

    #[test]
    fn each_reason_why_a_body_is_no_part_of_a_key_is_given() {
        let long = [b'1'; 65];
        assert_eq!(post(BodyPart::Raw, &[], &long), Err(Unkeyed::TooLong));
        assert_eq!(post(BodyPart::Json, &[], &long), Err(Unkeyed::TooLong));
        assert!(post(BodyPart::Json, &[], &long[1..]).is_ok());
        let gzip: Fields<'_> = &[("content-encoding", "gzip")];
        assert_eq!(post(BodyPart::Json, gzip, b"{}"), Err(Unkeyed::Encoded));
        assert!(post(BodyPart::Raw, gzip, b"{}").is_ok());
        assert!(post(BodyPart::Json, &[("content-encoding", "Identity")], b"{}").is_ok());
        let twice: Fields<'_> = &[("content-encoding", "identity"), ("content-encoding", "br")];
        assert_eq!(post(BodyPart::Json, twice, b"{}"), Err(Unkeyed::Encoded));
        let twice = Unkeyed::NotCanonical(NotCanonical::Twice);
        assert_eq!(post(BodyPart::Json, &[], br#"{"a":1,"a":1}"#), Err(twice));
        let writes = br#"{"query":"mutation { a }"}"#;
        assert_eq!(post(BodyPart::Json, &[], writes), Err(Unkeyed::Acts(Operation::Mutation)));
        assert!(post(BodyPart::Raw, &[], writes).is_ok());
    }

    #[test]
    fn a_mutation_in_the_url_of_a_post_is_one_too() {
        let of = |method: &Method, body| parts(BodyPart::Json, method, Some("query=mutation{a}"), &[], body);
        for body in [Content::None, Content::Read(b"{}")] {
            assert_eq!(of(&Method::POST, body), Err(Unkeyed::Acts(Operation::Mutation)));
        }
        assert!(of(&Method::GET, Content::Read(b"{}")).is_ok(), "a GET does nothing");
    }

    #[test]
    fn no_body_is_a_body_only_for_methods_that_are_about_one() {
        let of = |part, method: &Method, body| parts(part, method, None, &[("content-type", "a")], body);
        for part in [BodyPart::Raw, BodyPart::Json] {
            for body in [Content::None, Content::Read(b"")] {
                assert_eq!(of(part, &Method::GET, body), Ok(vec![]));
                assert_eq!(of(part, &Method::HEAD, body), Ok(vec![]));
                let counts = Ok(vec![(Part::BodyType, b"a".to_vec()), (Part::Body, vec![])]);
                assert_eq!(of(part, &Method::POST, body), counts);
                assert_eq!(of(part, &Method::QUERY, body), counts);
            }
            assert_eq!(of(part, &Method::POST, Content::Unread), Ok(vec![]));
        }
    }

    /// Texts that are often JSON, and often the same JSON.
    fn text() -> impl Strategy<Value = String> {
        let pieces = [
            "{",
            "}",
            "[",
            "]",
            ",",
            "\"a\":",
            "\"\\u0061\":",
            "\"b\":",
            "1",
            "1.0",
            "\"a\"",
            "\"\\u0061\"",
            " ",
        ];
        let noise =
            prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..8).prop_map(|all| all.concat());
        let number = || prop::sample::select(vec!["1", "1.0", " 1"]);
        let object =
            (number(), number(), any::<bool>(), any::<bool>()).prop_map(|(a, b, swapped, escaped)| {
                let a = format!("{}:{a}", if escaped { "\"\\u0061\"" } else { "\"a\"" });
                if swapped { format!("{{\"b\":{b},{a}}}") } else { format!("{{{a}, \"b\":{b}}}") }
            });
        prop_oneof![noise, object]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn two_bodies_have_one_part_if_and_only_if_they_are_the_same(one in text(), other in text()) {
            let raw = |text: &str| post(BodyPart::Raw, &[], text.as_bytes());
            prop_assert_eq!(raw(&one) == raw(&other), one == other);
            let json = |text: &str| post(BodyPart::Json, &[], text.as_bytes()).ok();
            let canonical = |text: &str| match text {
                "" => Some(String::new()),
                text => canonical(text.as_bytes()).ok(),
            };
            prop_assert_eq!(json(&one).is_some(), canonical(&one).is_some());
            if let (Some(a), Some(b)) = (json(&one), json(&other)) {
                prop_assert_eq!(a == b, canonical(&one) == canonical(&other));
            }
        }
    }
}
