//! Whether a JSON body asks a GraphQL server to do something rather than to say something.
//!
//! A GraphQL client sends everything by POST, reads and writes alike; what a body is, its text says (GraphQL over HTTP: the
//! member `query`, and by an older custom also the URL's parameter of that name). A route that caches POST is for the reads,
//! so a document with the word `mutation` or `subscription` outside of all braces is passed. That is one word too many
//! for some reads, such as an operation that is called `mutation`; it is never one too few for a document that a server
//! would take. Left out: operations that the server knows by a name or a digest alone. Nothing in a request tells what they do.

use percent_encoding::percent_decode_str;

/// What is more than a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It changes something.
    Mutation,
    /// It asks for a stream of events.
    Subscription,
}

impl Operation {
    /// In words, for `Cache-Status` and people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Mutation => "the body is a GraphQL mutation",
            Self::Subscription => "the body is a GraphQL subscription",
        }
    }
}

/// The first operation in a canonical JSON text that is more than a read: in its member `query`, or, if the text is a list
/// (a batch), in that of any of its items.
pub fn in_body(canonical: &str) -> Option<Operation> {
    let depth_of_members = if canonical.starts_with('[') { 2 } else { 1 };
    let (mut rest, mut depth) = (canonical, 0_usize);
    while let Some(at) = rest.find(['{', '}', '[', ']', '"']) {
        let (_, found) = rest.split_at(at);
        match found.bytes().next() {
            Some(b'{' | b'[') => depth += 1,
            Some(b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {
                let (text, behind) = string(found);
                rest = behind;
                // In a canonical text only a member's name has a colon behind it, and nothing stands between.
                if depth == depth_of_members
                    && text.eq_ignore_ascii_case("\"query\"")
                    && let Some(value) = rest.strip_prefix(':').filter(|value| value.starts_with('"'))
                {
                    let (value, behind) = string(value);
                    rest = behind;
                    let text: String = serde_json::from_str(value).unwrap_or_default();
                    if let Some(found) = in_document(&text) {
                        return Some(found);
                    }
                }
                continue;
            }
        }
        rest = &found[1..];
    }
    None
}

/// The same for the URL's parameter `query`.
pub fn in_query(query: &str) -> Option<Operation> {
    let values = query.split('&').filter_map(|parameter| parameter.split_once('='));
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    values
        .filter(|(name, _)| decoded(name).eq_ignore_ascii_case("query"))
        .find_map(|(_, value)| in_document(&decoded(value)))
}

/// A JSON string with its quotes, and what stands behind it.
fn string(text: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    text.split_at(end.map_or(text.len(), |end| end + 2))
}

/// GraphQL, 2.1: strings, block strings and comments are skipped, and what is left is names and punctuation.
fn in_document(text: &str) -> Option<Operation> {
    let mut rest = text.as_bytes();
    let mut depth = 0_usize;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match byte {
            b'#' => skip_line(tail),
            b'"' => match tail.strip_prefix(b"\"\"") {
                Some(block) => skip_block_string(block),
                None => skip_string(tail),
            },
            b'{' => {
                depth += 1;
                tail
            }
            b'}' => {
                depth = depth.saturating_sub(1);
                tail
            }
            _ if is_of_name(byte) => {
                let length = rest.iter().take_while(|byte| is_of_name(**byte)).count();
                let (name, behind) = rest.split_at(length);
                match name {
                    b"mutation" if depth == 0 => return Some(Operation::Mutation),
                    b"subscription" if depth == 0 => return Some(Operation::Subscription),
                    _ => behind,
                }
            }
            _ => tail,
        };
    }
    None
}

/// A number's digits pass for a name's; there is nothing that begins with a digit and ends with a word.
fn is_of_name(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

fn skip_line(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    end.map_or(&[], |end| &text[end..])
}

/// A string ends with its line, if it has not ended before.
fn skip_string(mut text: &[u8]) -> &[u8] {
    while let Some((&byte, tail)) = text.split_first() {
        text = match byte {
            b'"' | b'\n' | b'\r' => return tail,
            b'\\' => tail.split_first().map_or(tail, |(_, behind)| behind),
            _ => tail,
        };
    }
    text
}

/// Only three quotes end it, and only a backslash right before them keeps them from it.
fn skip_block_string(mut text: &[u8]) -> &[u8] {
    while let Some((_, tail)) = text.split_first() {
        if let Some(behind) = text.strip_prefix(b"\"\"\"") {
            return behind;
        }
        text = text.strip_prefix(b"\\\"\"\"").unwrap_or(tail);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::Operation::{Mutation, Subscription};
    use super::*;
    use crate::object::canonical_json::canonical;

    fn of(body: &serde_json::Value) -> Option<Operation> {
        in_body(&canonical(body.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn what_writes_is_told_from_what_reads() {
        for (document, expected) in [
            ("{ user { name } }", None),
            ("query { user }", None),
            ("mutation { rename }", Some(Mutation)),
            ("mutation{rename}", Some(Mutation)),
            ("\u{feff}mutation Rename($a: Int = 1) { rename }", Some(Mutation)),
            (",,mutation{rename}", Some(Mutation)),
            ("subscription { changes }", Some(Subscription)),
            ("query A { a } mutation B { b }", Some(Mutation)),
            ("query A($v: In = {a: {b: 1}}) { a }mutation B { b }", Some(Mutation)),
            ("fragment F on User { mutation } query { subscription }", None),
            ("{ mutation { subscription } }", None),
            ("query Mutation { a }", None),
            ("query mutations { a_mutation }", None),
            ("# mutation { a }\n{ b }", None),
            ("# a\rmutation { b }", Some(Mutation)),
            ("{ a } # b\nmutation { b }", Some(Mutation)),
            ("{ a(b: \"{ \") } mutation { b }", Some(Mutation)),
            ("{ a(b: \"}\") mutation }", None),
            ("{ a(b: \"\\\"}\") mutation }", None),
            ("{ a(b: \"\\\\\") } mutation { b }", Some(Mutation)),
            ("{ a(b: \"\") } mutation { b }", Some(Mutation)),
            ("{ a(b: \"\"\" } \" \"\" } \\\"\"\" } \"\"\") mutation }", None),
            ("{ a(b: \"\"\" { \\\\\"\"\" \"\"\") } mutation { b }", Some(Mutation)),
            ("\"\"\"mutation\"\"\" { a }", None),
            ("\"mutation\" { a }", None),
            ("{ a(b: \"{\n } mutation { b }", Some(Mutation)),
            ("} mutation { b }", Some(Mutation)),
            ("", None),
            ("\"", None),
            ("\"\"\"", None),
            ("\"\\", None),
            ("#", None),
        ] {
            assert_eq!(in_document(document), expected, "{document}");
            assert_eq!(
                of(&json!({ "variables": { "query": "mutation" }, "query": document })),
                expected,
                "{document}"
            );
            assert_eq!(
                of(&json!([{ "query": "{ a }" }, 7, { "id": [{}], "query": document }])),
                expected,
                "{document}"
            );
        }
    }

    #[test]
    fn only_the_documents_own_member_counts() {
        let writes = "mutation { a }";
        for body in [
            json!({ "variables": { "query": writes } }),
            json!({ "query": { "query": writes } }),
            json!({ "query": [writes] }),
            json!({ "q\"query": writes, "operationName": "query" }),
            json!([[{ "query": writes }]]),
            json!([["query", writes]]),
            json!({ "a": "\"query\":\"mutation\"" }),
            json!("query"),
            json!(writes),
            json!(1),
        ] {
            assert_eq!(of(&body), None, "{body}");
        }
        // Some servers read names without regard to case.
        assert_eq!(of(&json!({ "Query": writes })), Some(Mutation));
        let escaped = r#"{"qu\u0065ry":"\u006dutation\u0020{a}"}"#;
        assert_eq!(in_body(&canonical(escaped.as_bytes()).unwrap()), Some(Mutation));
    }

    #[test]
    fn the_urls_own_parameter_counts_too() {
        for (query, expected) in [
            ("query=mutation{a}", Some(Mutation)),
            ("a=1&query=query%20A%7Ba%7D+mutation%7Bb%7D", Some(Mutation)),
            ("qu%65ry=%73ubscription{a}", Some(Subscription)),
            ("query={mutation}", None),
            ("q=mutation", None),
            ("query", None),
            ("", None),
        ] {
            assert_eq!(in_query(query), expected, "{query}");
        }
    }

    /// Pieces of documents that hold the word where it is none of the document's own.
    fn innocent() -> impl Strategy<Value = String> {
        prop::sample::select(vec![
            "query A",
            "($a: Int = {b: 1})",
            "{ mutation }",
            "{a{mutation{subscription}}}",
            "\"mutation {\"",
            "\"\"\" } mutation \" \\\"\"\" { \"\"\"",
            "# mutation } \"\n",
            "fragment F on T",
            "@d(a: \"\\\"} mutation\")",
            " ",
            ",",
        ])
        .prop_map(str::to_owned)
    }

    proptest! {
        #[test]
        fn the_word_is_found_wherever_it_stands_by_itself(
            before in prop::collection::vec(innocent(), 0..6),
            after in prop::collection::vec(innocent(), 0..6),
        ) {
            let (before, after) = (before.join(" "), after.join(" "));
            prop_assert_eq!(in_document(&format!("{before} {after}")), None);
            prop_assert_eq!(in_document(&format!("{before} mutation {after}")), Some(Mutation));
        }

        #[test]
        fn noise_does_no_harm(text in any::<String>()) {
            let _ = (in_document(&text), in_query(&text), in_body(&text));
        }
    }
}
