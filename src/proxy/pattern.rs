//! `Pattern`: which paths a route takes, such as `/api/users/{id}`.
//!
//! A pattern is a list of segments: a literal, `{x}` for exactly one segment that is not empty, or, as the last,
//! `{*rest}` for the tail: everything behind the slash it stands at, even nothing. So `/static/{*rest}` takes
//! `/static/a`, `/static/a/b` and `/static/`, but not `/static`; `/{*rest}` takes every path. A trailing slash is
//! significant. Literals compare decoded, so that `/users/%40me` is no way around a route for `/users/@me`.

use std::cmp::Ordering;

use percent_encoding::{CONTROLS, percent_decode, percent_encode};

use crate::proxy::path;

/// Segments of one pattern; also how deep the search for a route can go.
const SEGMENTS_MAX: usize = 64;
/// Bytes of one pattern.
const BYTES_MAX: usize = 2048;

/// `/api/users/{id}`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    segments: Vec<Segment>,
    text: String,
}

/// What stands between two slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// Itself, decoded; empty only as the last.
    Literal(Box<[u8]>),
    /// `{name}`
    One(String),
    /// `{*name}`
    Rest(String),
}

impl Pattern {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of its captures, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::name)
    }

    /// Whether it takes this path.
    pub fn matches(&self, path: &str) -> bool {
        self.walk(path, |_, _| ())
    }

    /// What its captures stand for in this path, as text; nothing if it does not match.
    pub fn captures(&self, path: &str) -> Vec<(&str, String)> {
        let mut captured = Vec::new();
        if self.walk(path, |name, value| captured.push((name, as_text(value)))) {
            captured
        } else {
            Vec::new()
        }
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Goes along path and pattern; tells `found` the captures on its way and returns whether they match.
    fn walk<'s, 'p>(&'s self, path: &'p str, mut found: impl FnMut(&'s str, &'p str)) -> bool {
        let mut remaining = path.strip_prefix('/');
        for segment in &self.segments {
            let Some(text) = remaining else {
                return false;
            };
            let (first, next) = split(text);
            match segment {
                Segment::Literal(literal) if compare(literal, first) == Ordering::Equal => {}
                Segment::One(name) if !first.is_empty() => found(name, first),
                Segment::Rest(name) => {
                    found(name, text);
                    return true;
                }
                Segment::Literal(_) | Segment::One(_) => return false,
            }
            remaining = next;
        }
        remaining.is_none()
    }
}

impl Segment {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::One(name) | Self::Rest(name) => Some(name),
        }
    }
}

/// Decoded: `%40me` and `@me` are called the same. What is no UTF-8 then is encoded again, in the one way that `%FF` is written.
fn as_text(sent: &str) -> String {
    match String::from_utf8(percent_decode(sent.as_bytes()).collect()) {
        Ok(text) => text,
        Err(error) => percent_encode(error.as_bytes(), CONTROLS).to_string(),
    }
}

/// The first segment, and what is behind the slash after it, if there is one.
pub(super) fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((first, next)) => (first, Some(next)),
        None => (text, None),
    }
}

/// How a literal, decoded, stands to a segment as sent. Does not allocate.
pub(super) fn compare(literal: &[u8], segment: &str) -> Ordering {
    if segment.bytes().any(|byte| byte == b'%') {
        literal.iter().copied().cmp(percent_decode(segment.as_bytes()))
    } else {
        literal.cmp(segment.as_bytes())
    }
}

impl std::str::FromStr for Pattern {
    /// What is wrong with it, for a person.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > BYTES_MAX {
            return Err(format!("a pattern may have at most {BYTES_MAX} bytes, this one has {}", text.len()));
        }
        let Some(tail) = text.strip_prefix('/') else {
            return Err(format!("\"{text}\" must start with \"/\""));
        };
        let count = tail.split('/').count();
        if count > SEGMENTS_MAX {
            return Err(format!("a pattern may have at most {SEGMENTS_MAX} segments, this one has {count}"));
        }
        let mut segments: Vec<Segment> = Vec::with_capacity(count);
        for (index, part) in tail.split('/').enumerate() {
            let last = index + 1 == count;
            if part.is_empty() && !last {
                return Err(format!(
                    "\"{text}\" has an empty segment (\"//\"); such paths are passed through, not cached"
                ));
            }
            let segment = read_segment(part)?;
            if matches!(segment, Segment::Rest(_)) && !last {
                return Err(format!("\"{part}\" takes the whole tail, so nothing may come after it"));
            }
            let name = segment.name();
            if name.is_some() && segments.iter().any(|earlier| earlier.name() == name) {
                return Err(format!("the name in \"{part}\" is used twice in \"{text}\""));
            }
            segments.push(segment);
        }
        Ok(Self { segments, text: text.to_owned() })
    }
}

fn read_segment(part: &str) -> Result<Segment, String> {
    let Some(inner) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
        return read_literal(part);
    };
    let (name, rest) = match inner.strip_prefix('*') {
        Some(name) => (name, true),
        None => (inner, false),
    };
    if name.contains(['{', '}']) {
        return Err(not_whole(part));
    }
    if name.is_empty() {
        let wanted = if rest { "{*rest}" } else { "{id}" };
        return Err(format!("\"{part}\" needs a name, such as \"{wanted}\""));
    }
    let mut letters = name.bytes();
    let begins_well = letters.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !begins_well || !letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(format!(
            "\"{part}\": a name is made of letters, digits and \"_\", and does not begin with a digit"
        ));
    }
    Ok(if rest { Segment::Rest(name.to_owned()) } else { Segment::One(name.to_owned()) })
}

fn not_whole(part: &str) -> String {
    format!(
        "\"{part}\": a capture must be a whole segment, such as \"/{{id}}/\"; write %7B and %7D for braces"
    )
}

fn read_literal(part: &str) -> Result<Segment, String> {
    if part.contains(['{', '}']) {
        return Err(not_whole(part));
    }
    path::examine(&format!("/{part}")).map_err(|ambiguity| {
        let hint = match ambiguity {
            path::Ambiguity::NotAscii => "; write it percent-encoded",
            path::Ambiguity::NeedlessEncoding => "; write it plainly",
            path::Ambiguity::EncodedDelimiter => "; patterns are paths, without query or fragment",
            _ => "; such paths are passed through, not cached",
        };
        format!("\"{part}\" can't be part of a pattern: {}{hint}", ambiguity.reason())
    })?;
    Ok(Segment::Literal(percent_decode(part.as_bytes()).collect()))
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_takes_exactly_its_paths() {
        for (text, path, expected) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/a/", "/a/", true),
            ("/a/", "/a", false),
            ("/a", "/A", false),
            ("/users/{id}", "/users/7", true),
            ("/users/{id}", "/users/", false),
            ("/users/{id}", "/users", false),
            ("/users/{id}", "/users/7/", false),
            ("/users/{id}", "/users/7/x", false),
            ("/users/{id}/", "/users/7/", true),
            ("/{id}", "/", false),
            ("/static/{*rest}", "/static/a", true),
            ("/static/{*rest}", "/static/a/b", true),
            ("/static/{*rest}", "/static/", true),
            ("/static/{*rest}", "/static", false),
            ("/static/{*rest}", "/statics/a", false),
            ("/{*rest}", "/", true),
            ("/{*rest}", "/a/b/", true),
            ("/{*rest}", "*", false),
            ("/{*rest}", "", false),
            ("/users/@me", "/users/%40me", true),
            ("/users/%40me", "/users/@me", true),
            ("/caf%C3%A9", "/caf%c3%a9", true),
            ("/a%20b", "/a+b", false),
        ] {
            assert_eq!(pattern(text).matches(path), expected, "{text} {path}");
        }
    }

    #[test]
    fn captures_are_texts() {
        for (text, path, expected) in [
            ("/a/{x}/{y}/{*z}", "/a/1/%40/c/d", &[("x", "1"), ("y", "@"), ("z", "c/d")][..]),
            ("/a/{*z}", "/a/", &[("z", "")]),
            ("/{a}", "/caf%c3%A9", &[("a", "café")]),
            ("/{a}", "/caf%c3", &[("a", "caf%C3")]),
            ("/{a}", "/%ff%C3%a9", &[("a", "%FF%C3%A9")]),
            ("/{a}", "/1%202", &[("a", "1 2")]),
            ("/{a}/b", "/1/c", &[]),
            ("/a", "/a", &[]),
        ] {
            let pattern = pattern(text);
            let captures = pattern.captures(path);
            let captures: Vec<_> = captures.iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert_eq!(captures, expected, "{text} {path}");
        }
        assert_eq!(pattern("/{a}/b/{*c}").names().collect::<Vec<_>>(), ["a", "c"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("", "must start with"),
            ("users", "must start with"),
            ("http://a/b", "must start with"),
            ("/a/x{id}", "must be a whole segment"),
            ("/a/{id}.json", "must be a whole segment"),
            ("/a/{{id}}", "must be a whole segment"),
            ("/a/{id}-{x}", "must be a whole segment"),
            ("/a/}", "must be a whole segment"),
            ("/a/{}", "needs a name"),
            ("/a/{*}", "needs a name"),
            ("/a/{1x}", "a name is made of"),
            ("/a/{x-y}", "a name is made of"),
            ("/a/{x}/{x}", "used twice"),
            ("/a/{x}/{*x}", "used twice"),
            ("/{*rest}/a", "nothing may come after it"),
            ("/{*rest}/", "nothing may come after it"),
            ("/a//b", "an empty segment"),
            ("/a/../b", "dot segment"),
            ("/a%2fb", "encoded slash"),
            ("/a;b", "semicolon"),
            ("/%61", "write it plainly"),
            ("/ä", "percent-encoded"),
            ("/a?b=c", "without query"),
            ("/a#b", "without query"),
            ("/a b", "space"),
            ("/a%", "not well encoded"),
        ] {
            let mistake = text.parse::<Pattern>().unwrap_err();
            assert!(mistake.contains(expected), "{text}: {mistake}");
        }
    }

    #[test]
    fn a_pattern_has_bounds() {
        assert!("/a".repeat(64).parse::<Pattern>().is_ok());
        assert!("/a".repeat(65).parse::<Pattern>().unwrap_err().contains("64 segments"));
        assert!(format!("/{}", "a".repeat(2047)).parse::<Pattern>().is_ok());
        assert!(format!("/{}", "a".repeat(2048)).parse::<Pattern>().unwrap_err().contains("2048 bytes"));
    }
}
