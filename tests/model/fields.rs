//! What a field says, as the RFCs read it: lists, directives, dates, entity tags, ranges.
//!
//! Slow and plain on purpose, and nothing of it is shared with the proxy: two readers that were written apart are unlikely
//! to err alike. All values the model deals with are ASCII.

use http::{HeaderMap, HeaderName};

/// Milliseconds since 1970.
pub(crate) type Millis = u64;

/// The directives of a field, in order, names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    pub(crate) list: Vec<(String, Option<String>)>,
    /// Every member is a name, or a name and an argument without space, and every quote is closed.
    pub(crate) sound: bool,
}

/// One range of a `Range` field: `a-b`, `a-`, `-n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    FromTo(usize, usize),
    From(usize),
    Last(usize),
}

/// Every line of a field.
pub(crate) fn lines<'h>(head: &'h HeaderMap, name: &str) -> Vec<&'h str> {
    head.get_all(name).iter().map(|line| line.to_str().unwrap()).collect()
}

/// The value of a field that is there once.
pub(crate) fn only<'h>(head: &'h HeaderMap, name: &str) -> Option<&'h str> {
    match lines(head, name)[..] {
        [line] => Some(line),
        _ => None,
    }
}

/// RFC 9110, 5.3 and 5.6.1: the members of all lines; a comma in quotes parts nothing.
pub(crate) fn members(head: &HeaderMap, name: &str) -> Vec<String> {
    let mut all = Vec::new();
    for line in lines(head, name) {
        let (mut member, mut quoted) = (String::new(), false);
        for character in line.chars() {
            quoted ^= character == '"';
            if character == ',' && !quoted {
                all.push(std::mem::take(&mut member));
            } else {
                member.push(character);
            }
        }
        all.push(member);
    }
    all.iter().map(|member| member.trim().to_owned()).filter(|member| !member.is_empty()).collect()
}

impl Directives {
    /// RFC 9111, 5.2.
    pub(crate) fn read(head: &HeaderMap, field: &str) -> Self {
        let mut read = Self { list: Vec::new(), sound: true };
        for member in members(head, field) {
            let (name, argument) = match member.split_once('=') {
                Some((name, argument)) => (name, Some(argument.to_owned())),
                None => (&*member, None),
            };
            let is_whole = match &argument {
                None => true,
                Some(text) => is_quoted(text) || HeaderName::from_bytes(text.as_bytes()).is_ok(),
            };
            read.sound &= is_whole && HeaderName::from_bytes(name.as_bytes()).is_ok();
            read.list.push((name.trim().to_ascii_lowercase(), argument.map(|text| text.trim().to_owned())));
        }
        read
    }

    /// Every argument of this directive; nothing for one that has none.
    pub(crate) fn arguments(&self, name: &str) -> Vec<Option<&str>> {
        self.list.iter().filter(|each| each.0 == name).map(|each| each.1.as_deref()).collect()
    }

    /// It is there, with or without an argument.
    pub(crate) fn has(&self, name: &str) -> bool {
        !self.arguments(name).is_empty()
    }

    /// It is there without an argument.
    pub(crate) fn says(&self, name: &str) -> bool {
        self.arguments(name).contains(&None)
    }

    /// The largest number that it is given.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.arguments(name).into_iter().flatten().filter_map(|text| seconds(unquoted(text))).max()
    }

    /// The fields that its qualified form names.
    pub(crate) fn names(&self, name: &str) -> Vec<String> {
        let arguments = self.arguments(name).into_iter().flatten();
        let listed = arguments.flat_map(|text| unquoted(text).split(','));
        listed.map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect()
    }
}

/// A quoted string, and nothing behind it.
fn is_quoted(text: &str) -> bool {
    text.len() > 1 && text.starts_with('"') && text[1..].find('"') == Some(text.len() - 2)
}

pub(crate) fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// RFC 9111, 1.2.2: digits, and past 2^31 that.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse::<u64>().unwrap_or(u64::MAX).min(1 << 31))
}

/// RFC 9110, 5.6.7.
pub(crate) fn date(text: &str) -> Option<Millis> {
    let time = httpdate::parse_http_date(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.as_secs() * 1000)
}

pub(crate) fn written_date(at: Millis) -> String {
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(at / 1000))
}

/// RFC 9110, 8.8.3.2.
pub(crate) fn weakly_equal(one: &str, other: &str) -> bool {
    one.strip_prefix("W/").unwrap_or(one) == other.strip_prefix("W/").unwrap_or(other)
}

/// RFC 9110, 8.8.3.2.
pub(crate) fn strongly_equal(one: &str, other: &str) -> bool {
    one == other && !one.starts_with("W/")
}

/// RFC 9110, 14.1.2: what a `Range` asks for; nothing if it is to be ignored.
pub(crate) fn ranges(head: &HeaderMap) -> Option<Vec<Asked>> {
    let (unit, set) = only(head, "range")?.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    set.split(',').map(|each| range(each.trim())).collect()
}

fn range(text: &str) -> Option<Asked> {
    let (first, last) = text.split_once('-')?;
    match (first, last) {
        ("", "") => None,
        ("", last) => last.parse().ok().map(Asked::Last),
        (first, "") => first.parse().ok().map(Asked::From),
        (first, last) => {
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then_some(Asked::FromTo(first, last))
        }
    }
}

impl Asked {
    /// First and last byte of a whole of this length; nothing if there are none.
    pub(crate) fn of(self, length: usize) -> Option<(usize, usize)> {
        match self {
            Self::FromTo(first, last) if first < length => Some((first, last.min(length - 1))),
            Self::From(first) if first < length => Some((first, length - 1)),
            Self::Last(count) if count > 0 && length > 0 => Some((length.saturating_sub(count), length - 1)),
            _ => None,
        }
    }
}

/// `bytes 0-4/60`: first, last and length.
pub(crate) fn content_range(text: &str) -> Option<(usize, usize, usize)> {
    let (span, length) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = span.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, length.parse().ok()?))
}
