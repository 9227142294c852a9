//! The small notations that several fields share: delta-seconds, dates, and lists of directives with arguments.
//!
//! `Members` walks `name`, `name=token` and `name="quoted"` as they come, without allocating. It is tolerant in one
//! direction: what is malformed is still searched for names, but every member that touches it is not `sound`.
//! Invariant: readers let prohibitions count however they are written, and permissions only where they are sound.

use std::time::Duration;

use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, DATE,
    ETAG, EXPIRES, LAST_MODIFIED, LOCATION, VARY,
};
use http::{HeaderName, HeaderValue};

use crate::clock::Timestamp;

/// The most that a number of seconds counts: RFC 9111, 1.2.2: "the cache MUST consider the value to be 2147483648
/// (2^31) or the greatest positive integer it can conveniently represent."
pub(super) const DELTA_SECONDS_MAX: u64 = 1 << 31;

/// Fri, 31 Dec 9999 23:59:59 GMT.
const LAST_DATE: Timestamp = Timestamp::from_millis(253_402_300_799_000);

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

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

/// Fields by which a kept answer is found, read, judged and asked about: without one it would be another answer.
const ESSENTIAL: [HeaderName; 12] = [
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
    CONTENT_RANGE,
    CONTENT_TYPE,
    DATE,
    ETAG,
    EXPIRES,
    LAST_MODIFIED,
    LOCATION,
    VARY,
];

/// A list of field names that an answer can be kept without; none if it is not one, or names nothing.
pub(super) fn field_names(text: &[u8]) -> Option<Vec<HeaderName>> {
    let names = text.split(|byte| *byte == b',').map(trim).filter(|name| !name.is_empty());
    let names: Vec<_> = names.map(HeaderName::from_bytes).collect::<Result<_, _>>().ok()?;
    (!names.is_empty() && !names.iter().any(|name| ESSENTIAL.contains(name))).then_some(names)
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

/// A date in one of HTTP's three formats; none before 1970, none after the year 9999. `now`: which century a year of two
/// digits is in.
pub(super) fn http_date(value: &HeaderValue, now: Timestamp) -> Option<Timestamp> {
    let text = value.to_str().ok()?.trim();
    // RFC 9111, 4.2: "Although all date formats are specified to be case-sensitive, a cache recipient SHOULD match the field
    // value case-insensitively."
    date_as_written(text, now).or_else(|| date_as_written(&in_proper_case(text), now))
}

fn date_as_written(text: &str, now: Timestamp) -> Option<Timestamp> {
    let date = match with_whole_year(text, now) {
        Some(text) => httpdate::parse_http_date(&text),
        None => httpdate::parse_http_date(text),
    };
    date.ok().map(Timestamp::from_system)
}

/// The obsolete `Sunday, 06-Nov-94 08:49:37 GMT` as `Sun, 06 Nov 1994 08:49:37 GMT`; none if it is no such date.
fn with_whole_year(text: &str, now: Timestamp) -> Option<String> {
    let (day_name, date) = text.split_once(", ")?;
    let (day, date) = date.split_once('-')?;
    let (month, date) = date.split_once('-')?;
    let (year, time) = date.split_once(' ')?;
    let day_name = DAYS.iter().find(|name| **name == day_name)?.get(..3)?;
    let two_digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let year: u64 = year.parse().ok().filter(|_| two_digits(year))?;
    // RFC 9110, 5.6.7: "Recipients of a timestamp value in rfc850-date format, which uses a two-digit year, MUST interpret a
    // timestamp that appears to be more than 50 years in the future as representing the most recent year in the past that had
    // the same last two digits." So it is in the last year with these digits that isn't more than 50 years away.
    let today = httpdate::fmt_http_date(now.min(LAST_DATE).to_system());
    let limit = today.get(12..16)?.parse::<u64>().ok()? + 50;
    let mut whole_year = limit - (limit - year) % 100;
    // Of the very year it depends on the day.
    let place = |day, month, time| (MONTHS.iter().position(|name| *name == month), day, time);
    if whole_year == limit
        && place(day, month, time) > place(today.get(5..7)?, today.get(8..11)?, today.get(17..)?)
    {
        whole_year -= 100;
    }
    Some(format!("{day_name}, {day} {month} {whole_year} {time}"))
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

    /// Sat, 21 Nov 2026 00:00:00 GMT.
    const NOW: Timestamp = Timestamp::from_millis(1_795_219_200_000);

    fn date(text: &str, now: Timestamp) -> Option<Timestamp> {
        http_date(&HeaderValue::from_str(text).unwrap(), now)
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
            let expected = expected.map(|seconds| Timestamp::from_millis(seconds * 1000));
            assert_eq!(date(text, NOW), expected, "{text}");
        }
    }

    #[test]
    fn a_year_of_two_digits_is_the_last_one_that_is_not_more_than_fifty_years_away() {
        let now = |text: &str| date(text, NOW).unwrap();
        let (now_1994, now_2026, now_2094) = (
            now("Sun, 06 Nov 1994 08:49:37 GMT"),
            now("Sat, 21 Nov 2026 12:00:00 GMT"),
            now("Sat, 06 Nov 2094 08:49:37 GMT"),
        );
        let table: &[(&str, Timestamp, Option<&str>)] = &[
            ("Sunday, 06-Nov-94 08:49:37 GMT", now_2026, Some("Sun, 06 Nov 1994 08:49:37 GMT")),
            ("Sunday, 06-Nov-94 08:49:37 GMT", now_1994, Some("Sun, 06 Nov 1994 08:49:37 GMT")),
            ("Saturday, 06-Nov-94 08:49:37 GMT", now_2094, Some("Sat, 06 Nov 2094 08:49:37 GMT")),
            ("Thursday, 18-Aug-50 02:01:18 GMT", now_2026, Some("Thu, 18 Aug 2050 02:01:18 GMT")),
            ("Tuesday, 01-Jan-75 00:00:00 GMT", now_2026, Some("Tue, 01 Jan 2075 00:00:00 GMT")),
            ("Saturday, 01-Jan-00 00:00:00 GMT", now_2026, Some("Sat, 01 Jan 2000 00:00:00 GMT")),
            ("Friday, 01-Jan-10 00:00:00 GMT", now_2094, None),
            ("Wednesday, 01-Jan-10 00:00:00 GMT", now_2094, Some("Wed, 01 Jan 2110 00:00:00 GMT")),
            // To the second.
            ("Saturday, 21-Nov-76 12:00:00 GMT", now_2026, Some("Sat, 21 Nov 2076 12:00:00 GMT")),
            ("Sunday, 21-Nov-76 12:00:01 GMT", now_2026, Some("Sun, 21 Nov 1976 12:00:01 GMT")),
            ("Tuesday, 01-Dec-76 00:00:00 GMT", now_2026, None),
            ("Wednesday, 01-Dec-76 00:00:00 GMT", now_2026, Some("Wed, 01 Dec 1976 00:00:00 GMT")),
            ("Friday, 30-Oct-76 23:59:59 GMT", now_2026, Some("Fri, 30 Oct 2076 23:59:59 GMT")),
            ("Saturday, 01-Jan-77 00:00:00 GMT", now_2026, Some("Sat, 01 Jan 1977 00:00:00 GMT")),
            // Not of that form.
            ("Sun, 06-Nov-94 08:49:37 GMT", now_2026, None),
            ("Sunday, 06-Nov-1994 08:49:37 GMT", now_2026, None),
            ("Sunday, 06-Nov-+4 08:49:37 GMT", now_2026, None),
            ("Sunday, 6-Nov-94 08:49:37 GMT", now_2026, None),
            ("Sunday, 06-Nov-94 08:49:37", now_2026, None),
            ("Sunday, 31-Feb-94 08:49:37 GMT", now_2026, None),
            ("Sunday, 06 Nov 94 08:49:37 GMT", now_2026, None),
            ("sunday, 06-nov-94 08:49:37 gmt", now_2026, Some("Sun, 06 Nov 1994 08:49:37 GMT")),
        ];
        for (text, at, expected) in table {
            assert_eq!(date(text, *at), expected.map(now), "{text} at {at:?}");
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
                let _ = http_date(&value, NOW);
            }
        }

        #[test]
        fn any_old_date_is_one_or_none_at_any_time(text in "[MSa-z]{0,4}day, [0-9+-]{2}-[A-Za-z]{3}-[0-9+é]{2} [0-9:]{8} GMT", now in any::<u64>()) {
            if let Ok(value) = HeaderValue::from_str(&text) {
                let _ = http_date(&value, Timestamp::from_millis(now));
            }
        }

        /// What is written in the obsolete form is read back, if it is from within fifty years.
        #[test]
        fn an_old_date_of_our_time_is_read_as_it_was_meant(now in 0_u64..8_000_000_000, away in -1_570_000_000_i64..1_570_000_000) {
            let Some(then) = now.checked_add_signed(away) else { return Ok(()) };
            let [now, then] = [now, then].map(|seconds| Timestamp::from_millis(seconds * 1000));
            let whole = httpdate::fmt_http_date(then.to_system());
            let day_name = DAYS.iter().find(|name| name.starts_with(&whole[..3])).unwrap();
            let old = format!("{day_name}, {}-{}-{}{}", &whole[5..7], &whole[8..11], &whole[14..16], &whole[16..]);
            prop_assert_eq!(date(&old, now), Some(then), "{} at {:?}", old, now);
        }
    }
}
