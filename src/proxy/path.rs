//! Which paths can be trusted to mean one thing.
//!
//! Servers disagree on `//`, `..`, `%2f`, `;` and their kin: what one takes for `/static/x.css` is `/account` to
//! another. Larder does not guess which it has before it. A path on which servers may disagree is *ambiguous*; it
//! belongs to no route and passes through uncached, exactly as it was sent. Invariant: two spellings of one resource
//! can't select two routes' policies, and no resource can be made to look like another's.
//!
//! Left out on purpose: letter case and the trailing slash, which some servers ignore. They are significant here.

/// Why a path could mean several things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// `/a//b`
    DoubleSlash,
    /// `/a/../b`, `/a/%2e/b`
    DotSegment,
    /// `/a%2fb`
    EncodedSlash,
    /// `/a\b`, `/a%5cb`
    Backslash,
    /// `/a%00`, `/a%0d`, a raw space
    ControlCharacter,
    /// `/a;b`, `/a%3bb`
    PathParameter,
    /// `/a%3fb`, `/a%23b`
    EncodedDelimiter,
    /// `/a%2`, `/a%zz`, and UTF-8 that writes a character longer than it is
    BadEncoding,
    /// `/%61`, which is `/a`
    NeedlessEncoding,
    /// `/%2561`, which is `/%61` and, decoded twice, `/a`
    NestedEncoding,
    /// `/ä`, as bytes beyond ASCII
    NotAscii,
    /// Does not begin with `/`, such as the `*` of OPTIONS.
    NotAPath,
}

impl Ambiguity {
    /// In words, for `Cache-Status` and people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::DoubleSlash => "the path has an empty segment",
            Self::DotSegment => "the path has a dot segment",
            Self::EncodedSlash => "the path has an encoded slash",
            Self::Backslash => "the path has a backslash",
            Self::ControlCharacter => "the path has a control character or a space",
            Self::PathParameter => "the path has a semicolon",
            Self::EncodedDelimiter => "the path has an encoded ? or #",
            Self::BadEncoding => "the path is not well encoded",
            Self::NeedlessEncoding => "the path encodes what needs no encoding",
            Self::NestedEncoding => "the path is encoded twice",
            Self::NotAscii => "the path has bytes beyond ASCII",
            Self::NotAPath => "the target is not a path",
        }
    }
}

/// What a raw byte is to a path.
#[derive(Clone, Copy)]
enum Class {
    Plain,
    Slash,
    Percent,
    Trouble(Ambiguity),
}

/// Looked up once a byte.
static CLASSES: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut table = [Class::Plain; 256];
    let mut at = 0;
    while at < 256 {
        table[at] = match at {
            0x00..=0x20 | 0x7f => Class::Trouble(Ambiguity::ControlCharacter),
            0x80.. => Class::Trouble(Ambiguity::NotAscii),
            0x2f => Class::Slash,                                       // /
            0x25 => Class::Percent,                                     // %
            0x3b => Class::Trouble(Ambiguity::PathParameter),           // ;
            0x5c => Class::Trouble(Ambiguity::Backslash),               // \
            0x23 | 0x3f => Class::Trouble(Ambiguity::EncodedDelimiter), // # ?: never raw in a path
            _ => Class::Plain,
        };
        at += 1;
    }
    table
}

/// Whether a path means one thing. One pass over the bytes.
pub fn examine(path: &str) -> Result<(), Ambiguity> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(Ambiguity::NotAPath);
    }
    let mut segment = 1;
    let mut at = 1;
    while let Some(&byte) = bytes.get(at) {
        match CLASSES[usize::from(byte)] {
            Class::Plain => {}
            Class::Slash => {
                if at == segment {
                    return Err(Ambiguity::DoubleSlash);
                }
                no_dots(&bytes[segment..at])?;
                segment = at + 1;
            }
            Class::Percent => {
                examine_escape(&bytes[segment..], &bytes[at..])?;
                at += 2;
            }
            Class::Trouble(ambiguity) => return Err(ambiguity),
        }
        at += 1;
    }
    no_dots(&bytes[segment..])
}

fn no_dots(segment: &[u8]) -> Result<(), Ambiguity> {
    if segment == b"." || segment == b".." {
        return Err(Ambiguity::DotSegment);
    }
    Ok(())
}

/// `segment`: from the beginning of the segment on; `escape`: from the `%` on.
fn examine_escape(segment: &[u8], escape: &[u8]) -> Result<(), Ambiguity> {
    let Some(byte) = escaped(escape) else {
        return Err(Ambiguity::BadEncoding);
    };
    let next = escape.get(3..).unwrap_or_default();
    match byte {
        b'/' => Err(Ambiguity::EncodedSlash),
        b'\\' => Err(Ambiguity::Backslash),
        b';' => Err(Ambiguity::PathParameter),
        b'?' | b'#' => Err(Ambiguity::EncodedDelimiter),
        0x00..=0x1f | 0x7f => Err(Ambiguity::ControlCharacter),
        b'.' if is_dot_segment(segment) => Err(Ambiguity::DotSegment),
        b'.' | b'-' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
            Err(Ambiguity::NeedlessEncoding)
        }
        b'%' if next.len() >= 2 && next[..2].iter().all(u8::is_ascii_hexdigit) => {
            Err(Ambiguity::NestedEncoding)
        }
        // Lead bytes that only a `/` or `.` in disguise has: overlong forms, which lax decoders accept.
        0xc0 | 0xc1 | 0xf5..=0xff => Err(Ambiguity::BadEncoding),
        0xe0 if matches!(escaped(next), Some(0x80..=0x9f)) => Err(Ambiguity::BadEncoding),
        0xf0 if matches!(escaped(next), Some(0x80..=0x8f)) => Err(Ambiguity::BadEncoding),
        _ => Ok(()),
    }
}

/// The byte that the `%xx` at the beginning stands for.
fn escaped(text: &[u8]) -> Option<u8> {
    let &[b'%', high, low, ..] = text else {
        return None;
    };
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    Some(digit(high)? << 4 | digit(low)?)
}

/// `.` or `..`, each dot plain or encoded, up to the next slash.
fn is_dot_segment(text: &[u8]) -> bool {
    let mut rest = text;
    let mut dots = 0;
    loop {
        match rest {
            [] | [b'/', ..] => return dots == 1 || dots == 2,
            [b'.', tail @ ..] | [b'%', b'2', b'e' | b'E', tail @ ..] => rest = tail,
            _ => return false,
        }
        dots += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_paths_mean_one_thing() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a/b.css",
            "/.well-known/x",
            "/a/...",
            "/..a",
            "/a..",
            "/~me",
            "/a%20b",
            "/caf%C3%A9",
            "/caf%c3%a9",
            "/%E2%82%AC",
            "/%F0%9F%98%80",
            "/a%40b",
            "/100%25",
            "/100%25/x",
            "/a=b,c:d@e!$&'()*+",
            "/%7Bx%7D",
            "/caf%e9",
            "/a%2C",
            "/[x]",
            "/%e0%a4%85",
            "/%25zz",
        ] {
            assert_eq!(examine(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn every_ambiguity_has_its_name() {
        use Ambiguity::*;
        for (path, expected) in [
            ("", NotAPath),
            ("*", NotAPath),
            ("a/b", NotAPath),
            ("http://x/", NotAPath),
            ("//", DoubleSlash),
            ("/a//b", DoubleSlash),
            ("/a/b//", DoubleSlash),
            ("//evil.example/", DoubleSlash),
            ("/.", DotSegment),
            ("/..", DotSegment),
            ("/a/./b", DotSegment),
            ("/a/../b", DotSegment),
            ("/a/..", DotSegment),
            ("/%2e", DotSegment),
            ("/%2E%2e/a", DotSegment),
            ("/a/.%2e/b", DotSegment),
            ("/a/%2e./b", DotSegment),
            ("/a%2fb", EncodedSlash),
            ("/a%2Fb", EncodedSlash),
            ("/a\\b", Backslash),
            ("/a%5cb", Backslash),
            ("/a%5Cb", Backslash),
            ("/a%00", ControlCharacter),
            ("/a%0d%0a", ControlCharacter),
            ("/a\0", ControlCharacter),
            ("/a b", ControlCharacter),
            ("/a\u{7f}", ControlCharacter),
            ("/a%7F", ControlCharacter),
            ("/a;b", PathParameter),
            ("/a;/b.css", PathParameter),
            ("/a%3bb", PathParameter),
            ("/a%3fb.css", EncodedDelimiter),
            ("/a%23b.css", EncodedDelimiter),
            ("/a?b", EncodedDelimiter),
            ("/a#b", EncodedDelimiter),
            ("/%", BadEncoding),
            ("/a%2", BadEncoding),
            ("/a%zz", BadEncoding),
            ("/a%2/b", BadEncoding),
            ("/%u002e", BadEncoding),
            ("/%c0%ae%c0%ae/", BadEncoding),
            ("/a%c0%af", BadEncoding),
            ("/%e0%80%af", BadEncoding),
            ("/%F0%80%80%AF", BadEncoding),
            ("/%+1", BadEncoding),
            ("/%61", NeedlessEncoding),
            ("/a%2Ecss", NeedlessEncoding),
            ("/%2e%2e%2e", NeedlessEncoding),
            ("/%7Eme", NeedlessEncoding),
            ("/a%2db", NeedlessEncoding),
            ("/%2561", NestedEncoding),
            ("/%252e%252e/", NestedEncoding),
            ("/a%252fb", NestedEncoding),
            ("/ä", NotAscii),
            ("/a/\u{ff0f}", NotAscii),
        ] {
            assert_eq!(examine(path), Err(expected), "{path:?}");
        }
    }

    /// The rules once more, each on its own, with no regard for speed.
    fn model(path: &str) -> Vec<Ambiguity> {
        use Ambiguity::*;
        let Some(tail) = path.strip_prefix('/') else {
            return vec![NotAPath];
        };
        let mut found = Vec::new();
        let mut note = |yes: bool, what| {
            if yes {
                found.push(what);
            }
        };
        let lower = path.to_ascii_lowercase();
        note(path.contains("//"), DoubleSlash);
        note(
            tail.split('/').any(|segment| {
                matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
            }),
            DotSegment,
        );
        note(lower.contains("%2f"), EncodedSlash);
        note(path.contains('\\') || lower.contains("%5c"), Backslash);
        note(path.contains(';') || lower.contains("%3b"), PathParameter);
        note(path.contains(['?', '#']) || lower.contains("%3f") || lower.contains("%23"), EncodedDelimiter);
        note(!path.is_ascii(), NotAscii);
        note(path.chars().any(|c| c == ' ' || c.is_ascii_control()), ControlCharacter);
        let escapes: Vec<(usize, Option<u8>)> = path
            .match_indices('%')
            .map(|(at, _)| {
                let digits = path.get(at + 1..at + 3).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                (at, digits.and_then(|d| u8::from_str_radix(d, 16).ok()))
            })
            .collect();
        for (at, byte) in escapes {
            let after =
                |byte: u8| lower.get(at + 3..).is_some_and(|t| t.starts_with(&format!("%{byte:02x}")));
            match byte {
                None => note(true, BadEncoding),
                Some(b) => {
                    note(b.is_ascii_control(), ControlCharacter);
                    note(b.is_ascii_alphanumeric() || b"-._~".contains(&b), NeedlessEncoding);
                    let digits = lower.get(at + 3..at + 5);
                    let nested = digits.is_some_and(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                    note(b == b'%' && nested, NestedEncoding);
                    note(b == 0xc0 || b == 0xc1 || b >= 0xf5, BadEncoding);
                    note(b == 0xe0 && (0x80..=0x9f).any(after), BadEncoding);
                    note(b == 0xf0 && (0x80..=0x8f).any(after), BadEncoding);
                }
            }
        }
        found
    }

    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            8 => "[a-z0-9]{1,3}",
            4 => Just("/".to_owned()),
            2 => Just(".".to_owned()),
            3 => any::<u8>().prop_map(|byte| format!("%{byte:02x}")),
            1 => any::<u8>().prop_map(|byte| format!("%{byte:02X}")),
            1 => Just("%2e".to_owned()),
            1 => Just("%25".to_owned()),
            1 => Just("%e0%80".to_owned()),
            1 => any::<char>().prop_map(String::from),
            1 => "[ -~]",
        ];
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn agrees_with_the_rules_taken_one_by_one(path in pieces()) {
            let expected = model(&path);
            match examine(&path) {
                Ok(()) => prop_assert!(expected.is_empty(), "{path:?}: {expected:?}"),
                Err(found) => prop_assert!(expected.contains(&found), "{path:?}: {found:?} is not in {expected:?}"),
            }
        }

        #[test]
        fn noise_is_never_a_panic(path in any::<String>()) {
            prop_assert_eq!(examine(&path).is_err(), !model(&path).is_empty());
        }

        #[test]
        fn an_unambiguous_path_keeps_its_segments_when_decoded(path in pieces()) {
            if examine(&path).is_ok() {
                let decoded: Vec<u8> = percent_encoding::percent_decode_str(&path).collect();
                let slashes = |bytes: &[u8]| bytes.split(|byte| *byte == b'/').count();
                prop_assert_eq!(slashes(path.as_bytes()), slashes(&decoded));
                let dots = |segment: &[u8]| segment == b"." || segment == b"..";
                prop_assert!(!decoded.split(|byte| *byte == b'/').any(dots));
            }
        }
    }
}
