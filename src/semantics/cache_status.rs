//! `Cache-Status` (RFC 9211): one member that says what this cache did with a request.
//!
//! A parameter is left out where it says nothing; their order is the registry's, with `key` and `detail` last. It is
//! written for every answer, so that a hit is put together on the stack and copied once. Invariant: whatever `key` and
//! `detail` hold, the value is a structured field.

use http::HeaderValue;

use super::verdict::Forward;

/// One member of `Cache-Status` (RFC 9211).
#[derive(Clone, Debug, Default)]
pub struct CacheStatus<'a> {
    /// It was answered from what is kept. Then the fields that speak of the upstream are not written.
    pub hit: bool,
    /// Why the upstream was asked.
    pub fwd: Option<Forward>,
    /// What the upstream said.
    pub fwd_status: Option<u16>,
    /// Seconds left; negative when stale.
    pub ttl: Option<i64>,
    /// The upstream's answer was kept.
    pub stored: bool,
    /// One request to the upstream served several clients.
    pub collapsed: bool,
    /// Only in debug.
    pub key: Option<String>,
    /// A token such as `memory` goes as it is, words go quoted.
    pub detail: Option<&'a str>,
}

/// A value as it grows: on the stack while it is short.
struct Line {
    stack: [u8; Line::STACK_BYTES],
    used: usize,
    /// Everything, once it is longer than the stack has room for.
    long: Vec<u8>,
}

impl CacheStatus<'_> {
    /// Such as `larder; hit; ttl=270; detail=memory`.
    pub fn value(&self) -> HeaderValue {
        let mut line = Line::new();
        line.push(b"larder");
        if self.hit {
            // RFC 9211, 2.1: a hit was not forwarded, and the answer came from the cache.
            line.push(b"; hit");
            self.push_ttl(&mut line);
        } else {
            self.push_forward(&mut line);
        }
        if let Some(key) = &self.key {
            line.push(b"; key=");
            line.push_quoted(key);
        }
        if let Some(detail) = self.detail {
            line.push(b"; detail=");
            // RFC 9211, 2.8: detail is a token or a string.
            if is_token(detail) {
                line.push(detail.as_bytes());
            } else {
                line.push_quoted(detail);
            }
        }
        // All that was written is printable; the name alone is what is left to say if it were not.
        HeaderValue::from_bytes(line.bytes()).unwrap_or(HeaderValue::from_static("larder"))
    }

    /// As it is written. RFC 8941, 3.3.1: an integer has at most fifteen digits.
    pub fn ttl_told(ttl: i64) -> i64 {
        ttl.clamp(-999_999_999_999_999, 999_999_999_999_999)
    }

    fn push_forward(&self, line: &mut Line) {
        if let Some(forward) = self.fwd {
            line.push(b"; fwd=");
            line.push(forward.token().as_bytes());
        }
        if let Some(status) = self.fwd_status {
            line.push(b"; fwd-status=");
            line.push(itoa::Buffer::new().format(status).as_bytes());
        }
        self.push_ttl(line);
        if self.stored {
            line.push(b"; stored");
        }
        if self.collapsed {
            line.push(b"; collapsed");
        }
    }

    fn push_ttl(&self, line: &mut Line) {
        if let Some(ttl) = self.ttl {
            line.push(b"; ttl=");
            line.push(itoa::Buffer::new().format(Self::ttl_told(ttl)).as_bytes());
        }
    }
}

impl Line {
    /// A hit with a long detail fits.
    const STACK_BYTES: usize = 128;

    fn new() -> Self {
        Self { stack: [0; Self::STACK_BYTES], used: 0, long: Vec::new() }
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.long.is_empty() {
            let end = self.used + bytes.len();
            if let Some(room) = self.stack.get_mut(self.used..end) {
                room.copy_from_slice(bytes);
                self.used = end;
                return;
            }
            self.long.extend_from_slice(&self.stack[..self.used]);
        }
        self.long.extend_from_slice(bytes);
    }

    /// RFC 8941, 3.3.3: a string is printable ASCII, with a backslash before each quote and backslash.
    fn push_quoted(&mut self, text: &str) {
        self.push(b"\"");
        // Nearly always there is nothing to escape.
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
            self.push(text.as_bytes());
            return self.push(b"\"");
        }
        for character in text.chars() {
            match character {
                '"' => self.push(b"\\\""),
                '\\' => self.push(b"\\\\"),
                ' '..='~' => self.push(character.encode_utf8(&mut [0; 4]).as_bytes()),
                _ => self.push(b"?"),
            }
        }
        self.push(b"\"");
    }

    fn bytes(&self) -> &[u8] {
        if self.long.is_empty() { &self.stack[..self.used] } else { &self.long }
    }
}

/// RFC 8941, 3.3.4: `sf-token = ( ALPHA / "*" ) *( tchar / ":" / "/" )`.
fn is_token(text: &str) -> bool {
    use super::grammar::is_token_byte;
    let begins = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'*';
    text.as_bytes().first().is_some_and(begins)
        && text.bytes().all(|byte| is_token_byte(byte) || byte == b':' || byte == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_member_says_what_was_done_in_the_order_of_the_contract() {
        let none = CacheStatus::default();
        let table = [
            (none.clone(), "larder"),
            (
                CacheStatus { hit: true, ttl: Some(270), detail: Some("memory"), ..none.clone() },
                "larder; hit; ttl=270; detail=memory",
            ),
            (
                CacheStatus {
                    fwd: Some(Forward::UriMiss),
                    fwd_status: Some(200),
                    stored: true,
                    ..none.clone()
                },
                "larder; fwd=uri-miss; fwd-status=200; stored",
            ),
            (
                CacheStatus {
                    fwd: Some(Forward::Stale),
                    fwd_status: Some(304),
                    stored: true,
                    collapsed: true,
                    ..none.clone()
                },
                "larder; fwd=stale; fwd-status=304; stored; collapsed",
            ),
            (
                CacheStatus { fwd: Some(Forward::Bypass), detail: Some("route mode is pass"), ..none },
                "larder; fwd=bypass; detail=\"route mode is pass\"",
            ),
        ];
        for (status, expected) in table {
            assert_eq!(status.value(), expected, "{status:?}");
        }
    }

    #[test]
    fn a_hit_says_nothing_of_the_upstream_and_key_goes_before_detail() {
        let none = CacheStatus::default();
        let table = [
            (
                CacheStatus {
                    hit: true,
                    ttl: Some(-5),
                    key: Some("GET /a".to_owned()),
                    detail: Some("stale-while-revalidate"),
                    ..none.clone()
                },
                "larder; hit; ttl=-5; key=\"GET /a\"; detail=stale-while-revalidate",
            ),
            (
                CacheStatus {
                    fwd: Some(Forward::VaryMiss),
                    fwd_status: Some(200),
                    ttl: Some(60),
                    stored: true,
                    ..none.clone()
                },
                "larder; fwd=vary-miss; fwd-status=200; ttl=60; stored",
            ),
            (CacheStatus { hit: true, fwd: Some(Forward::Stale), stored: true, ..none }, "larder; hit"),
        ];
        for (status, expected) in table {
            assert_eq!(status.value(), expected, "{status:?}");
        }
    }

    #[test]
    fn what_is_no_token_is_quoted_and_what_is_not_printable_is_replaced() {
        let table = [
            ("memory", "memory"),
            ("*a/b:c", "*a/b:c"),
            ("", "\"\""),
            ("1st", "\"1st\""),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("a\r\nb: c", "\"a??b: c\""),
            ("\u{fc}", "\"?\""),
        ];
        for (detail, expected) in table {
            let status = CacheStatus { detail: Some(detail), ..CacheStatus::default() };
            assert_eq!(status.value(), format!("larder; detail={expected}"), "{detail}");
        }
    }

    proptest! {
        #[test]
        fn a_value_of_any_length_is_whole(key in "[a-z /]{0,300}", detail in "\\PC{0,200}", ttl in any::<i64>()) {
            let status = CacheStatus {
                hit: true,
                ttl: Some(ttl),
                key: Some(key.clone()),
                detail: Some(&detail),
                ..CacheStatus::default()
            };
            let value = status.value();
            let text = value.to_str().unwrap();
            let begin = format!("larder; hit; ttl={}; key=\"{key}\"; detail=", ttl.clamp(-999_999_999_999_999, 999_999_999_999_999));
            prop_assert!(text.starts_with(&begin), "{}", text);
        }
    }
}
