//! The small notations that several fields share: delta-seconds, dates, and lists of directives with arguments.
//!
//! `Members` walks `name`, `name=token` and `name="quoted"` as they come, without allocating. It is tolerant in one
//! direction: what is malformed is still searched for names, but every member that touches it is not `sound`.
//! Invariant: readers let prohibitions count however they are written, and permissions only where they are sound.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::clock::Timestamp;

/// The most that a number of seconds counts: RFC 9111, 1.2.2: "the cache MUST consider the value to be 2147483648
/// (2^31) or the greatest positive integer it can conveniently represent."
pub(super) const DELTA_SECONDS_MAX: u64 = 1 << 31;

/// One directive, as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member<'a> {
    /// A token; its case does not matter.
    pub(super) name: &'a [u8],
    /// What follows `=`, if anything did.
    pub(super) argument: Option<Argument<'a>>,
    /// Well-formed from comma to comma, and no quote before it was left open.
    pub(super) sound: bool,
}

/// What follows the `=` of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Argument<'a> {
    /// Without the quotes around it; escapes stand as sent.
    text: &'a [u8],
    quoted: bool,
}

/// The directives of one field line, in order.
#[derive(Clone, Debug)]
pub(super) struct Members<'a> {
    rest: &'a [u8],
    /// A comma, or the start, was the last thing before `rest`.
    at_start: bool,
    /// A quote was opened and never closed: from there on, quotes mean nothing.
    broken: bool,
}

/// Follows a text byte by byte, to tell what of it is quoted.
#[derive(Clone, Debug, Default)]
pub(super) struct Quotes {
    open: bool,
    escaped: bool,
}

impl Quotes {
    /// Takes the next byte. Whether it stands outside of quotes, where it may be a delimiter; a quote itself never is one.
    pub(super) fn outside(&mut self, byte: u8) -> bool {
        if !self.open {
            self.open = byte == b'"';
            return !self.open;
        }
        if self.escaped {
            self.escaped = false;
        } else {
            self.escaped = byte == b'\\';
            self.open = byte != b'"';
        }
        false
    }

    /// The pieces of a text between delimiters that are not quoted.
    pub(super) fn split(text: &[u8], delimiter: u8) -> impl Iterator<Item = &[u8]> {
        let mut quotes = Self::default();
        text.split(move |byte| quotes.outside(*byte) && *byte == delimiter)
    }

    /// Whether every quote in it is closed.
    pub(super) fn close(text: &[u8]) -> bool {
        let mut quotes = Self::default();
        for byte in text {
            quotes.outside(*byte);
        }
        !quotes.open
    }
}

impl<'a> Members<'a> {
    /// Of this line.
    pub(super) fn of(line: &'a [u8]) -> Self {
        Self { rest: line, at_start: true, broken: false }
    }

    /// Moves to the next name: over commas, white space, stray quoted strings and junk.
    fn skip_to_name(&mut self) {
        while let Some((&first, after)) = self.rest.split_first() {
            match first {
                b',' => self.at_start = true,
                b' ' | b'\t' => {}
                b'"' => {
                    self.at_start = false;
                    if let Some((_, behind)) = self.quoted(after) {
                        self.rest = behind;
                        continue;
                    }
                }
                byte if is_token_byte(byte) => return,
                _ => self.at_start = false,
            }
            self.rest = after;
        }
    }

    /// The text of a quoted string whose opening quote was just read, and what is behind its end.
    fn quoted(&mut self, after: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        // Once a quote was found to stay open, later ones can't be told apart: also keeps this linear.
        if self.broken {
            return None;
        }
        let mut escaped = false;
        for (place, &byte) in after.iter().enumerate() {
            match byte {
                // RFC 9110, 5.6.4: "Recipients that process the value of a quoted-string MUST handle a quoted-pair
                // as if it were replaced by the octet following the backslash."
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => return Some((&after[..place], &after[place + 1..])),
                _ => {}
            }
        }
        self.broken = true;
        None
    }

    /// What follows the name just read, if it is `=` and something.
    fn argument(&mut self) -> Option<Argument<'a>> {
        let after = trim_start(trim_start(self.rest).strip_prefix(b"=")?);
        if let Some(opened) = after.strip_prefix(b"\"") {
            let (text, behind) = self.quoted(opened).unwrap_or((b"", opened));
            self.rest = behind;
            return Some(Argument { text, quoted: true });
        }
        let end = |byte: &u8| matches!(byte, b',' | b';' | b' ' | b'\t' | b'"');
        let length = after.iter().position(end).unwrap_or(after.len());
        let (text, behind) = after.split_at(length);
        self.rest = behind;
        Some(Argument { text, quoted: false })
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        self.skip_to_name();
        let begun_well = self.at_start;
        let end = |byte: &u8| !is_token_byte(*byte);
        let length = self.rest.iter().position(end).unwrap_or(self.rest.len());
        let (name, behind) = self.rest.split_at(length);
        if name.is_empty() {
            return None;
        }
        self.rest = behind;
        let argument = self.argument();
        let left = trim_start(self.rest);
        let ended_well = left.is_empty() || left.starts_with(b",");
        self.at_start = false;
        Some(Member { name, argument, sound: begun_well && ended_well && !self.broken })
    }
}

impl Member<'_> {
    /// Whether it is this directive.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Whether it is this directive, written as its grammar has it: without an argument.
    pub(super) fn is_plainly(&self, name: &str) -> bool {
        self.is_plain() && self.is(name)
    }

    /// Whether it is well-formed and has no argument.
    pub(super) fn is_plain(&self) -> bool {
        self.sound && self.argument.is_none()
    }

    /// Its argument as a list of field names; none if it is not one.
    pub(super) fn field_names(&self) -> Option<Vec<HeaderName>> {
        let Argument { text, .. } = self.argument.filter(|_| self.sound)?;
        field_names(text)
    }

    /// Its argument as a number of seconds.
    pub(super) fn seconds(&self) -> Option<Duration> {
        let Argument { text, quoted } = self.argument.filter(|_| self.sound)?;
        if !quoted {
            return delta_seconds(text.iter().copied());
        }
        // RFC 9111, 5.2: "Cache directives are identified by a token, to be compared case-insensitively, and have an
        // optional argument that can use both token and quoted-string syntax. For the directives defined below that
        // define arguments, recipients ought to accept both forms".
        let mut bytes = text.iter().copied();
        delta_seconds(std::iter::from_fn(|| match bytes.next() {
            Some(b'\\') => bytes.next(),
            byte => byte,
        }))
    }
}

/// A list of field names; none if it is not one, or names nothing.
pub(super) fn field_names(text: &[u8]) -> Option<Vec<HeaderName>> {
    let names = text.split(|byte| *byte == b',').map(trim).filter(|name| !name.is_empty());
    let names: Vec<_> = names.map(HeaderName::from_bytes).collect::<Result<_, _>>().ok()?;
    (!names.is_empty()).then_some(names)
}

/// RFC 9111, 1.2.2: `delta-seconds = 1*DIGIT`, any number of them, up to `DELTA_SECONDS_MAX`.
pub(super) fn delta_seconds(bytes: impl Iterator<Item = u8>) -> Option<Duration> {
    let mut seconds: Option<u64> = None;
    for byte in bytes {
        if !byte.is_ascii_digit() {
            return None;
        }
        let more = seconds.unwrap_or(0) * 10 + u64::from(byte - b'0');
        seconds = Some(more.min(DELTA_SECONDS_MAX));
    }
    seconds.map(Duration::from_secs)
}

/// A date in one of HTTP's three formats; none before 1970, none after the year 9999.
pub(super) fn http_date(value: &HeaderValue) -> Option<Timestamp> {
    let text = value.to_str().ok()?.trim();
    let date = httpdate::parse_http_date(text)
        // RFC 9111, 4.2: "Although all date formats are specified to be case-sensitive, a cache recipient SHOULD match
        // the field value case-insensitively."
        .or_else(|_| httpdate::parse_http_date(&in_proper_case(text)))
        .ok()?;
    Some(Timestamp::from_system(date))
}

/// With capitals where a date has them. RFC 9111, 4.2: "A cache recipient SHOULD consider a date with a zone abbreviation
/// other than "GMT" to be invalid".
fn in_proper_case(date: &str) -> String {
    let mut within = false;
    let words: String = date
        .chars()
        .map(|character| {
            let first = !within;
            within = character.is_ascii_alphabetic();
            if first { character.to_ascii_uppercase() } else { character.to_ascii_lowercase() }
        })
        .collect();
    words.replace("Gmt", "GMT")
}

/// RFC 9110, 5.6.2: the characters of a token.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Without optional white space (space and tab) at either end.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let mut rest = trim_start(bytes);
    while let [before @ .., b' ' | b'\t'] = rest {
        rest = before;
    }
    rest
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [b' ' | b'\t', after @ ..] = rest {
        rest = after;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `name` or `name=text`, with `!` in front of what is not sound.
    fn read(line: &str) -> Vec<String> {
        Members::of(line.as_bytes())
            .map(|member| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let mark = if member.sound { "" } else { "!" };
                let argument = member.argument.map(|argument| format!("={}", text(argument.text)));
                format!("{mark}{}{}", text(member.name), argument.unwrap_or_default())
            })
            .collect()
    }

    #[test]
    fn members_are_read_as_they_are_meant_and_marked_where_they_are_malformed() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            (" , ,\t,", &[]),
            ("no-store", &["no-store"]),
            ("a,b , c", &["a", "b", "c"]),
            ("a=1, b=\"2\"", &["a=1", "b=2"]),
            ("a = 1 , b =\"2\" ", &["a=1", "b=2"]),
            ("a=\"x, no-store\", b", &["a=x, no-store", "b"]),
            (r#"a="x\", no-store", b"#, &[r#"a=x\", no-store"#, "b"]),
            ("a=, b", &["a=", "b"]),
            ("a=1; b", &["!a=1", "!b"]),
            ("a b", &["!a", "!b"]),
            ("a=1 b, c", &["!a=1", "!b", "c"]),
            ("\"no-store\", a", &["a"]),
            ("\"no-store\" a, b", &["!a", "b"]),
            ("a=\"x, no-store", &["!a=", "!x", "!no-store"]),
            ("a=\"x, b=\"y\", c", &["!a=x, b=", "!y", "!c"]),
            ("@, a", &["a"]),
        ];
        for (line, expected) in table {
            assert_eq!(&read(line), expected, "{line}");
        }
    }

    #[test]
    fn delta_seconds_are_digits_and_nothing_else_and_have_a_ceiling() {
        let table: &[(&str, Option<u64>)] = &[
            ("0", Some(0)),
            ("60", Some(60)),
            ("003600", Some(3600)),
            ("2147483648", Some(1 << 31)),
            ("2147483649", Some(1 << 31)),
            ("99999999999999999999999999999999999999", Some(1 << 31)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            ("1e3", None),
            ("60s", None),
            ("a60", None),
            (" 60", None),
            ("'60'", None),
        ];
        for (text, expected) in table {
            assert_eq!(delta_seconds(text.bytes()), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn dates_are_read_in_all_three_formats_and_never_guessed() {
        let table: &[(&str, Option<u64>)] = &[
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("SUN, 06 nov 1994 08:49:37 gMT", Some(784_111_777)),
            ("sunday, 06-NOV-94 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Wed, 31 Dec 1969 23:59:59 GMT", None),
            ("0", None),
            ("-1", None),
            ("", None),
            ("Sun, 06 Nov 1994 08:49:37 UTC", None),
            ("Sun, 06 Nov 1994", None),
            ("1994-11-06T08:49:37Z", None),
        ];
        for (text, expected) in table {
            let value = HeaderValue::from_str(text).unwrap();
            let expected = expected.map(|seconds| Timestamp::from_millis(seconds * 1000));
            assert_eq!(http_date(&value), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_walked_to_its_end(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let members = Members::of(&line).count();
            prop_assert!(members <= line.len());
        }

        #[test]
        fn a_line_of_quotes_commas_and_backslashes_is_walked_to_its_end(line in "[\",\\\\= a;]{0,80}") {
            let members = Members::of(line.as_bytes()).count();
            prop_assert!(members <= line.len());
        }

        #[test]
        fn any_value_is_a_date_or_not(line in proptest::collection::vec(32_u8..=255, 0..40)) {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let _ = http_date(&value);
            }
        }
    }
}
