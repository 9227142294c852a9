//! Structured fields (RFC 9651): all lines of a field as one Dictionary or List, or nothing.
//!
//! Invariant: reading is strict, as the RFC wants it. Whoever sends a structured field counts on it that a malformed one is
//! as good as none, everywhere: a part of it must not be made use of.

use http::{HeaderMap, HeaderName};
use sfv::{Dictionary, List, Parser};

/// The members of a Dictionary; none if the field is absent, empty or malformed.
pub(super) fn dictionary(headers: &HeaderMap, name: &HeaderName) -> Option<Dictionary> {
    // RFC 9651, 4.2: "If parsing fails, either the entire field value MUST be ignored (i.e., treated as if the field were
    // not present in the section), or alternatively the complete HTTP message MUST be treated as malformed."
    let members: Dictionary = Parser::new(&joined(headers, name)).parse().ok()?;
    (!members.is_empty()).then_some(members)
}

/// The members of a List; none of them if the field is absent, empty or malformed.
pub(super) fn list(headers: &HeaderMap, name: &HeaderName) -> List {
    Parser::new(&joined(headers, name)).parse().unwrap_or_default()
}

/// RFC 9651, 4.2: "When generating `input_bytes`, parsers MUST combine all field lines in the same section (header or
/// trailer) that case-insensitively match the field name into one comma-separated field-value".
fn joined(headers: &HeaderMap, name: &HeaderName) -> Vec<u8> {
    let lines: Vec<&[u8]> = headers.get_all(name).into_iter().map(http::HeaderValue::as_bytes).collect();
    lines.join(&b", "[..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::example::headers;
    use proptest::prelude::*;

    const FIELD: HeaderName = HeaderName::from_static("field");

    #[test]
    fn lines_are_one_field_and_what_is_malformed_is_nothing() {
        let table: &[(&[&str], Option<usize>)] = &[
            (&[], None),
            (&[""], None),
            (&[" "], None),
            (&["a"], Some(1)),
            (&["a=1, b;c=d ,\tc=(1 2);d"], Some(3)),
            (&["a=1", "b=2"], Some(2)),
            (&["a=\"x", "y\""], Some(1)),
            (&["a=1,"], None),
            (&["a=1", ""], None),
            (&["A=1"], None),
            (&["a =1"], None),
            (&["a= 1"], None),
            (&["a=1, &&&&"], None),
            (&["a=1; b c"], None),
            (&["a=1000000000000000"], None),
            (&["a=\"\u{fc}\""], None),
        ];
        for (lines, members) in table {
            let fields: Vec<_> = lines.iter().map(|line| ("field", *line)).collect();
            let read = dictionary(&headers(&fields), &FIELD);
            assert_eq!(read.map(|members| members.len()), *members, "{lines:?}");
        }
    }

    #[test]
    fn a_list_is_read_over_its_lines_and_empty_where_it_is_malformed() {
        let table: &[(&[&str], usize)] = &[
            (&[], 0),
            (&["\"a\", b, 3"], 3),
            (&["\"a\"", "\"b\""], 2),
            (&["\"a\"", "\"b"], 0),
            (&["\"a\" \"b\""], 0),
        ];
        for (lines, members) in table {
            let fields: Vec<_> = lines.iter().map(|line| ("field", *line)).collect();
            assert_eq!(list(&headers(&fields), &FIELD).len(), *members, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_field_or_none(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(value) = http::HeaderValue::from_bytes(&line) {
                let headers: HeaderMap = [(FIELD, value)].into_iter().collect();
                let _ = dictionary(&headers, &FIELD);
                let _ = list(&headers, &FIELD);
            }
        }

        #[test]
        fn what_looks_like_a_field_is_one_or_none(line in "[a-z0-9=\"?:;,() @%*/\\\\.-]{0,60}") {
            let headers = headers(&[("field", &line)]);
            let _ = dictionary(&headers, &FIELD);
            let _ = list(&headers, &FIELD);
        }
    }
}
