//! Groups of stored responses that become invalid together (RFC 9875).
//!
//! A response says in `Cache-Groups` which groups it belongs to; the answer to an unsafe request says in
//! `Cache-Group-Invalidation` which groups are invalid. A group is one of an origin: RFC 9875, 2.1: "They both share the same
//! URI origin". Here they are tags, which know no hosts: a group is invalid for every host, which can only forget too much.
//! Invariant: a name is whole or not there, since a shorter one could be another group's.

use http::{HeaderMap, HeaderName, Method};
use sfv::ListEntry;

use super::structured::list;

/// RFC 9875, 2.
pub const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

/// RFC 9875, 3.
pub const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// The most groups of one response. RFC 9875, 2: "Implementations MUST support at least 32 groups in a field value, with up to
/// at least 32 characters in each member." Far more of each than an entry has by default, and than a server takes in a head: a
/// group that is invalid and left out would leave its entries as they are.
const GROUPS_MAX: usize = 1024;

/// The most characters of a group's name.
const NAME_BYTES_MAX: usize = 1024;

/// The groups that a response belongs to, each once.
pub fn groups(response: &HeaderMap) -> Vec<Box<str>> {
    let mut names = named(response, &CACHE_GROUPS);
    names.retain(|name| name.len() <= NAME_BYTES_MAX);
    names.truncate(GROUPS_MAX);
    names
}

/// The groups that the answer to a request with this method makes invalid, each once. All of them: one that is left out would leave
/// what was declared invalid.
pub fn invalidated_groups(method: &Method, response: &HeaderMap) -> Vec<Box<str>> {
    // RFC 9875, 3: "The Cache-Group-Invalidation header field MUST be ignored on responses to requests that have a safe method
    // (e.g., GET; see Section 9.2.1 of [HTTP])."
    if method.is_safe() {
        return Vec::new();
    }
    named(response, &CACHE_GROUP_INVALIDATION)
}

fn named(response: &HeaderMap, field: &HeaderName) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = Vec::new();
    if !response.contains_key(field) {
        return names;
    }
    for member in list(response, field) {
        // RFC 9875, 2 and 3: the field "is a List of Strings". "Unrecognised Parameters are to be ignored." Another type names
        // no group, and takes none away from those that are named: too few would leave entries that were declared invalid.
        let ListEntry::Item(item) = member else { continue };
        let Some(name) = item.bare_item.as_string() else { continue };
        let name = name.as_str();
        // RFC 9875, 2.1: "the same String (in any position in the List), when compared character-by-character (case
        // sensitive)".
        if !names.iter().any(|known| **known == *name) {
            names.push(name.into());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::example::headers;
    use proptest::prelude::*;

    fn read(lines: &[&str]) -> Vec<Box<str>> {
        let fields: Vec<_> = lines.iter().map(|line| ("cache-groups", *line)).collect();
        groups(&headers(&fields))
    }

    #[test]
    fn groups_are_the_strings_of_a_list() {
        let long = "x".repeat(NAME_BYTES_MAX);
        let table: &[(&[&str], &[&str])] = &[
            (&[], &[]),
            (&[""], &[]),
            (&["\"scripts\""], &["scripts"]),
            (&["\"a\", \"b\";revalidate;x=1 ,\t\"c d\""], &["a", "b", "c d"]),
            (&["\"a\"", "\"b\""], &["a", "b"]),
            (&["\"a\", \"A\", \"a\""], &["a", "A"]),
            (&["\"\""], &[""]),
            (&["\"a\\\"b\\\\\""], &["a\"b\\"]),
            (&["a, \"b\", 1, ?1, (\"c\")"], &["b"]),
            (&["\"a\", \"b"], &[]),
            (&["\"a\",, \"b\""], &[]),
            (&["\"a\","], &[]),
            (&["\"\u{fc}\""], &[]),
            (&["a b"], &[]),
            (&[&format!("\"{long}\"")], &[&long]),
            (&[&format!("\"{long}y\", \"a\"")], &["a"]),
        ];
        for (lines, expected) in table {
            let expected: Vec<Box<str>> = expected.iter().map(|name| Box::from(*name)).collect();
            assert_eq!(read(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn as_many_groups_as_the_rfc_wants_are_kept_and_a_bound_more() {
        let list =
            |count: usize| (0..count).map(|index| format!("\"{index:0>32}\"")).collect::<Vec<_>>().join(", ");
        assert_eq!(read(&[&list(32)]).len(), 32);
        assert_eq!(read(&[&list(1100)]).len(), GROUPS_MAX);
    }

    #[test]
    fn only_an_unsafe_request_invalidates() {
        let response = headers(&[("cache-group-invalidation", "\"a\", \"b\""), ("cache-groups", "\"c\"")]);
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
            assert!(invalidated_groups(&method, &response).is_empty(), "{method}");
        }
        for method in
            [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::from_bytes(b"X").unwrap()]
        {
            assert_eq!(invalidated_groups(&method, &response), ["a", "b"].map(Box::<str>::from), "{method}");
        }
    }

    #[test]
    fn none_that_is_declared_invalid_is_left_out() {
        let list = (0..500).map(|index| format!("\"{index:0>200}\"")).collect::<Vec<_>>().join(", ");
        let response = headers(&[("cache-group-invalidation", list.as_str())]);
        assert_eq!(invalidated_groups(&Method::POST, &response).len(), 500);
    }

    proptest! {
        #[test]
        fn a_group_is_read_as_it_was_written(names in proptest::collection::btree_set("[ -~]{0,20}", 0..10)) {
            let quoted = |name: &String| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
            let line = names.iter().map(quoted).collect::<Vec<_>>().join(", ");
            let expected: Vec<Box<str>> = names.iter().map(|name| Box::from(&**name)).collect();
            prop_assert_eq!(read(&[&line]), expected);
        }
    }
}
