//! What the targets share: how bytes become messages.
//!
//! A target reads its input as lines of text, so that a failing one can be read, and written by hand.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The value nearest to these bytes: what no field value may hold becomes a space.
pub fn value(bytes: &[u8]) -> HeaderValue {
    let allowed = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    let text: Vec<u8> = bytes.iter().map(|&byte| if allowed(byte) { byte } else { b' ' }).collect();
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
}

/// One field with these lines.
pub fn field<'l>(name: &HeaderName, lines: impl IntoIterator<Item = &'l [u8]>) -> HeaderMap {
    lines.into_iter().map(|line| (name.clone(), value(line))).collect()
}

/// The input's lines.
pub fn lines(input: &[u8]) -> Vec<&[u8]> {
    input.split(|byte| *byte == b'\n').collect()
}

/// A field from a line `name: value`.
pub fn named(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    Some((name, value(&line[colon + 1..])))
}
