//! A body that may be JSON.
//!
//! A document with a canonical text means what that text means, to a reader that is not ours; the text is its own canonical
//! text, no longer than what it was made from, and space around the document makes no difference to it. The input's lines are the
//! names of an object's members, too: their order makes no difference, and their numbers stay as they are.

#![no_main]

use std::collections::BTreeSet;

use larder::object::canonical_json::{NotCanonical, canonical};
use larder_fuzz::lines;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    assert_any_order(input);
    let meant: Result<Value, _> = serde_json::from_slice(input);
    let text = match canonical(input) {
        Ok(text) => text,
        // What readers differ about, another reader may still read.
        Err(NotCanonical::Twice | NotCanonical::TooDeep) => return,
        Err(why) => {
            assert!(meant.is_err(), "{why:?}, but another reads {meant:?}");
            return;
        }
    };
    assert_eq!(canonical(text.as_bytes()).as_ref(), Ok(&text), "its canonical text is another");
    assert!(text.len() <= input.len(), "{text} is longer");
    assert!(!text.contains(['\n', '\r', '\t']), "{text}");
    let spaced = [b"\r\n\t ", input, b" \t\n"].concat();
    assert_eq!(canonical(&spaced).as_ref(), Ok(&text));
    assert!(canonical(&[input, b","].concat()).is_err(), "something stands behind it");
    match meant {
        Ok(meant) => {
            // Whoever writes it from what it means, with the members in order, writes that text; but for numbers, which it folds.
            if !text.bytes().any(|byte| byte.is_ascii_digit()) {
                assert_eq!(meant.to_string(), text);
            }
            assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(meant), "{text}");
        }
        // Numbers keep their text, however large they are; that reader wants to have them as numbers.
        Err(why) => assert!(why.to_string().starts_with("number out of range"), "{why}: {text}"),
    }
});

fn assert_any_order(input: &[u8]) {
    let names: BTreeSet<String> =
        lines(input).into_iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    let members: Vec<String> = names.into_iter().map(|name| format!("{}:1.50", Value::from(name))).collect();
    let written = |members: &[String]| format!("{{{}}}", members.join(","));
    let text = written(&members);
    assert_eq!(canonical(text.as_bytes()).as_ref(), Ok(&text));
    let backwards: Vec<String> = members.iter().rev().cloned().collect();
    assert_eq!(canonical(written(&backwards).as_bytes()).as_ref(), Ok(&text));
    let twice = [&members[..], &members[..1]].concat();
    assert_eq!(canonical(written(&twice).as_bytes()), Err(NotCanonical::Twice));
}
