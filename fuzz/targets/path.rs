//! A path, as a client may send it.
//!
//! One that is said to mean one thing does, to a server that decodes it once and to one that decodes it twice, that
//! resolves dot segments, joins slashes or cuts at a semicolon; and it is the only way of writing what it means.

#![no_main]

use larder::proxy::path::examine;
use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode;

fuzz_target!(|input: &[u8]| {
    let Ok(path) = str::from_utf8(input) else { return };
    if examine(path).is_err() {
        return;
    }
    assert!(path.starts_with('/'));
    assert!(path.is_ascii());
    let once: Vec<u8> = percent_decode(path.as_bytes()).collect();
    let twice: Vec<u8> = percent_decode(&once).collect();
    assert_eq!(once, twice, "decoded twice it is another: {path}");
    let slashes = |bytes: &[u8]| bytes.split(|byte| *byte == b'/').count();
    assert_eq!(slashes(path.as_bytes()), slashes(&once), "a slash is hidden: {path}");
    assert!(!once.iter().any(|byte| matches!(byte, b'\\' | b';' | b'?' | b'#' | 0..0x20 | 0x7f)), "{path}");
    let segments: Vec<&[u8]> = once[1..].split(|byte| *byte == b'/').collect();
    for (index, segment) in segments.iter().enumerate() {
        assert!(*segment != b"." && *segment != b"..", "a dot segment: {path}");
        assert!(!segment.is_empty() || index + 1 == segments.len(), "an empty segment: {path}");
    }
    assert_eq!(
        path.to_ascii_lowercase(),
        written(&once, path).to_ascii_lowercase(),
        "there is another way of writing it"
    );
});

/// The decoded path, encoded where it was, if that is no character that needs none.
fn written(once: &[u8], path: &str) -> String {
    let mut given = path.bytes();
    let mut text = String::new();
    for &byte in once {
        let escaped = given.next() == Some(b'%');
        if escaped {
            given.next();
            given.next();
        }
        if escaped && !byte.is_ascii_alphanumeric() && !b"-._~".contains(&byte) {
            text.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        } else {
            text.push(char::from(byte));
        }
    }
    text
}

fn digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or('?')
}
