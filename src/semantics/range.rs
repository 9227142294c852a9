//! Which bytes of a representation a client asks for, and which an answer has.
//!
//! `Ranges` is what a request says, `Span` what that comes to once the length is known, `Part` where a stored piece lies in
//! the whole. Invariant: a span never reaches beyond the bytes there are; what can't be read is as if it were not asked for,
//! so that the client gets the whole. Left out: units other than bytes, and several ranges of a part.

use bytes::Bytes;
use http::header::{CONTENT_RANGE, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue};

use super::grammar::{http_date, trim};
use super::validator::{clock_of, only, strong_date, strong_tag};

/// The most ranges of one request that are looked at. Readers of documents ask for a handful; the rest is an attack (RFC
/// 9110, 17.15).
const RANGES_MAX: usize = 32;

/// The most ranges of one request that may overlap others.
const OVERLAPS_MAX: usize = 2;

/// Spans nearer to each other than this are sent as one. RFC 9110, 15.3.7.2: "the typical overhead between each part of a
/// "multipart/byteranges" is around 80 bytes".
const GAP_MIN: u64 = 80;

/// What a request wants of a representation. Not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges(Vec<Wanted>);

/// One range, as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// `first-` or `first-last`.
    From { first: u64, last: Option<u64> },
    /// `-length`.
    Last(u64),
}

/// Bytes that are there: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first byte, counted from the beginning of the whole.
    pub first: u64,
    /// How many they are.
    pub length: u64,
}

/// What the ranges of a request come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selected {
    /// The ranges are ignored: 200.
    Whole,
    /// 206.
    One(Span),
    /// 206, as multipart: in the order of the request.
    Many(Vec<Span>),
    /// 416.
    Unsatisfiable,
}

/// What the `Content-Range` of a 206 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// Its first byte, counted from the beginning of the whole.
    pub first: u64,
    /// Its last byte; not before the first.
    pub last: u64,
    /// The length of the whole, more than `last`, if the upstream knew it.
    pub total: Option<u64>,
}

/// Where the body of a stored 206 lies in the whole. How far it reaches, its bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its first byte, counted from the beginning of the whole.
    pub first: u64,
    /// The length of the whole, if the upstream knew it.
    pub total: Option<u64>,
    /// It ends where the whole does.
    pub is_tail: bool,
}

impl Ranges {
    /// Of a GET; RFC 9110, 14.2: "A server MUST ignore a Range header field received with a request method that is
    /// unrecognized or for which range handling is not defined."
    ///
    /// None: the request has none, or none that is to be heeded.
    pub fn read(request: &HeaderMap) -> Option<Self> {
        // `Range` is no list: two of them contradict each other.
        let value = trim(only(request, &RANGE)?.as_bytes());
        // RFC 9110, 14.1.1: `ranges-specifier = range-unit "=" range-set`; 14.1: "All range unit names are
        // case-insensitive"; 14.2: "An origin server MUST ignore a Range header field that contains a range unit it does not
        // understand."
        let equals = value.iter().position(|byte| *byte == b'=')?;
        let (unit, set) = (&value[..equals], &value[equals + 1..]);
        if !unit.eq_ignore_ascii_case(b"bytes") {
            return None;
        }
        // RFC 9110, 14.2: "A server that supports range requests MAY ignore or reject a Range header field that contains an
        // invalid ranges-specifier […], a ranges-specifier with more than two overlapping ranges, or a set of many small
        // ranges". RFC 9110, 14.1.1: "A ranges-specifier is invalid if it contains any range-spec that is invalid".
        let members = set.split(|byte| *byte == b',').map(trim).filter(|member| !member.is_empty());
        let wanted: Vec<_> = members.take(RANGES_MAX + 1).map(Wanted::read).collect::<Option<_>>()?;
        (1..=RANGES_MAX).contains(&wanted.len()).then_some(Self(wanted))
    }

    /// Of a representation of this length.
    pub fn of_whole(&self, length: u64) -> Selected {
        // RFC 9110, 14.2: "A server that supports range requests MAY ignore a Range header field when the selected
        // representation has no content". No `Content-Range` could say which of no bytes it has.
        if length == 0 {
            return Selected::Whole;
        }
        let spans: Vec<Span> = self.0.iter().filter_map(|wanted| wanted.of(length)).collect();
        let overlaps = |index: usize| {
            spans.iter().enumerate().any(|(other, span)| other != index && span.overlaps(spans[index]))
        };
        // RFC 9110, 14.2: "more than two overlapping ranges […] are indications of either a broken client or a deliberate
        // denial-of-service attack".
        if (0..spans.len()).filter(|index| overlaps(*index)).count() > OVERLAPS_MAX {
            return Selected::Whole;
        }
        // RFC 9110, 15.3.7.2: "A server MUST NOT generate a multipart response to a request for a single range". One that
        // is left of several goes out alone too, which every client understands.
        match coalesced(&spans).as_slice() {
            [] => Selected::Unsatisfiable,
            [span] => Selected::One(*span),
            spans => Selected::Many(spans.to_vec()),
        }
    }

    /// Of a part with a body of this length, if it has all of what is asked for. `length`: of the bytes there are, whatever
    /// its head says.
    pub fn of_part(&self, part: &Part, length: u64) -> Option<Span> {
        // RFC 9111, 3.3: "A cache MUST NOT use an incomplete response to answer requests unless the response has been made
        // complete, or the request is partial and specifies a range wholly within the incomplete response."
        let [wanted] = self.0.as_slice() else {
            return None;
        };
        let end = part.first.checked_add(length)?;
        // More bytes than the whole has: one of the two is wrong.
        if part.total.is_some_and(|total| total < end) {
            return None;
        }
        let span = |first: u64, until: u64| {
            let inside = part.first <= first && first < until && until <= end;
            inside.then(|| Span { first, length: until - first })
        };
        match *wanted {
            Wanted::From { first, last: Some(last) } => {
                // RFC 9110, 14.1.2: "if the value is greater than or equal to the current length of the representation data,
                // the byte range is interpreted as the remainder of the representation".
                let until = last.saturating_add(1);
                span(first, part.total.map_or(until, |total| total.min(until)))
            }
            Wanted::From { first, last: None } if part.is_tail => span(first, end),
            // RFC 9110, 14.1.2: "If the selected representation is shorter than the specified suffix-length, the entire
            // representation is used."
            Wanted::Last(last) if part.is_tail && part.first == 0 => span(end - last.min(length), end),
            Wanted::Last(last) if part.is_tail => span(end.checked_sub(last)?, end),
            _ => None,
        }
    }
}

impl Wanted {
    /// RFC 9110, 14.1.1: `int-range = first-pos "-" [ last-pos ]`, `suffix-range = "-" suffix-length`.
    fn read(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (&text[..dash], &text[dash + 1..]);
        if first.is_empty() {
            return Some(Self::Last(number(last)?));
        }
        let first = number(first)?;
        let last = if last.is_empty() { None } else { Some(number(last)?) };
        // RFC 9110, 14.1.1: "An int-range is invalid if the last-pos value is present and less than the first-pos."
        if last.is_some_and(|last| last < first) {
            return None;
        }
        Some(Self::From { first, last })
    }

    /// What it comes to; none if it is unsatisfiable.
    fn of(self, length: u64) -> Option<Span> {
        // RFC 9110, 14.1.2: "a valid bytes range-spec is satisfiable if it is either: an int-range with a first-pos that is
        // less than the current length of the selected representation or a suffix-range with a non-zero suffix-length."
        match self {
            Self::From { first, last } if first < length => {
                let until = last.map_or(length, |last| last.saturating_add(1).min(length));
                Some(Span { first, length: until - first })
            }
            Self::Last(last) if last > 0 => {
                let wanted = last.min(length);
                Some(Span { first: length - wanted, length: wanted })
            }
            _ => None,
        }
    }
}

impl Span {
    /// Behind its last byte.
    fn end(self) -> u64 {
        self.first.saturating_add(self.length)
    }

    fn overlaps(self, other: Self) -> bool {
        self.first < other.end() && other.first < self.end()
    }
}

impl ContentRange {
    /// None: it has none, or one that says nothing of which bytes it has.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        // RFC 9110, 14.4: `Content-Range = range-unit SP ( range-resp / unsatisfied-range )`,
        // `range-resp = incl-range "/" ( complete-length / "*" )`.
        let value = trim(only(headers, &CONTENT_RANGE)?.as_bytes());
        let (unit, range) = value.split_at_checked(6)?;
        if !unit.eq_ignore_ascii_case(b"bytes ") {
            return None;
        }
        let slash = range.iter().position(|byte| *byte == b'/')?;
        let (positions, total) = (&range[..slash], &range[slash + 1..]);
        let dash = positions.iter().position(|byte| *byte == b'-')?;
        let first = number(&positions[..dash])?;
        let last = number(&positions[dash + 1..])?;
        let total = if total == b"*" { None } else { Some(number(total)?) };
        // RFC 9110, 14.4: "A Content-Range field value is invalid if it contains a range-resp that has a last-pos value less
        // than its first-pos value, or a complete-length value less than or equal to its last-pos value. The recipient of an
        // invalid Content-Range MUST NOT attempt to recombine the received content with a stored representation."
        let valid = first <= last && last < total.unwrap_or(u64::MAX);
        valid.then_some(Self { first, last, total })
    }

    /// How many bytes it says it has.
    pub fn length(&self) -> u64 {
        self.last - self.first + 1
    }

    /// Where a body with this head lies.
    pub fn part(&self) -> Part {
        Part { first: self.first, total: self.total, is_tail: self.total == Some(self.last + 1) }
    }

    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        self.first == 0 && self.total == Some(self.last + 1)
    }

    /// Both together, if they are adjacent or overlap and are pieces of a whole of the same known length.
    pub fn union(&self, other: &Self) -> Option<Self> {
        let total = self.total.filter(|total| other.total == Some(*total))?;
        let touch = self.first <= other.last + 1 && other.first <= self.last + 1;
        touch.then(|| Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            total: Some(total),
        })
    }
}

/// Puts two pieces of one representation together; who calls has made sure that it is one (`validator::are_same_bytes`).
/// Where both have a byte it is the newer's. None if they don't fit, or if either hasn't as many bytes as its head says.
pub fn combine(old: (&ContentRange, &Bytes), new: (&ContentRange, &Bytes)) -> Option<(ContentRange, Bytes)> {
    let sound = |(range, body): (&ContentRange, &Bytes)| u64::try_from(body.len()) == Ok(range.length());
    if !sound(old) || !sound(new) {
        return None;
    }
    let ((old, old_body), (new, new_body)) = (old, new);
    // RFC 9110, 15.3.7.3: "The combined response content consists of the union of partial content ranges within the new
    // response and all of the matching stored responses."
    let union = old.union(new)?;
    if union == *new {
        return Some((union, new_body.clone()));
    }
    let before = usize::try_from(new.first.saturating_sub(old.first)).ok()?;
    let behind = usize::try_from((new.last + 1).saturating_sub(old.first)).ok()?;
    let mut body = Vec::with_capacity(usize::try_from(union.length()).ok()?);
    body.extend_from_slice(old_body.get(..before)?);
    body.extend_from_slice(new_body);
    body.extend_from_slice(old_body.get(behind..).unwrap_or_default());
    Some((union, body.into()))
}

/// `bytes 42-1233/1234`, for a 206.
pub fn content_range_value(span: Span, total: Option<u64>) -> HeaderValue {
    let last = span.end().saturating_sub(1);
    let total = total.map_or_else(|| "*".to_owned(), |total| total.to_string());
    printed(&format!("bytes {}-{last}/{total}", span.first))
}

/// `bytes */1234`, for a 416. RFC 9110, 14.4: "A server generating a 416 (Range Not Satisfiable) response to a byte-range
/// request SHOULD send a Content-Range header field with an unsatisfied-range value".
pub fn unsatisfied_value(total: u64) -> HeaderValue {
    printed(&format!("bytes */{total}"))
}

/// Whether the ranges of a request are to be heeded for this response, as far as `If-Range` goes.
pub fn if_range_holds(request: &HeaderMap, response: &HeaderMap) -> bool {
    if !request.contains_key(IF_RANGE) {
        return true;
    }
    // RFC 9110, 13.1.5: "A recipient of an If-Range header field MUST ignore the Range header field if the If-Range
    // condition evaluates to false." So does one that can't be evaluated.
    let Some(condition) = only(request, &IF_RANGE) else {
        return false;
    };
    let text = trim(condition.as_bytes());
    // RFC 9110, 13.1.5: "A valid entity-tag can be distinguished from a valid HTTP-date by examining the first three
    // characters for a DQUOTE."
    if text.iter().take(3).any(|byte| *byte == b'"') {
        // RFC 9110, 13.1.5: "If the entity-tag validator provided exactly matches the ETag field value for the selected
        // representation using the strong comparison function (Section 8.8.3.2), the condition is true."
        return strong_tag(response) == Some(text);
    }
    // RFC 9110, 13.1.5: "If the HTTP-date validator provided is not a strong validator in the sense defined by Section
    // 8.8.2.2, the condition is false." "If the HTTP-date validator provided exactly matches the Last-Modified field value
    // for the selected representation, the condition is true."
    http_date(condition, clock_of(response)).is_some_and(|date| strong_date(response) == Some(date))
}

/// Sorted out: spans that overlap or nearly touch are one, at the place of the first of them.
fn coalesced(spans: &[Span]) -> Vec<Span> {
    // RFC 9110, 15.3.7.2: "When multiple ranges are requested, a server MAY coalesce any of the ranges that overlap, or that
    // are separated by a gap that is smaller than the overhead of sending multiple parts, regardless of the order in which
    // the corresponding range-spec appeared in the received Range header field."
    let mut places: Vec<(usize, Span)> = spans.iter().copied().enumerate().collect();
    places.sort_by_key(|(_, span)| span.first);
    let mut merged: Vec<(usize, Span)> = Vec::with_capacity(places.len());
    for (place, span) in places {
        match merged.last_mut() {
            Some((first_place, before)) if span.first < before.end().saturating_add(GAP_MIN) => {
                *first_place = place.min(*first_place);
                before.length = span.end().max(before.end()) - before.first;
            }
            _ => merged.push((place, span)),
        }
    }
    // RFC 9110, 15.3.7.2: "A server that generates a multipart response SHOULD send the parts in the same order that the
    // corresponding range-spec appeared in the received Range header field, excluding those ranges that were deemed
    // unsatisfiable or that were coalesced into other ranges."
    merged.sort_by_key(|(place, _)| *place);
    merged.into_iter().map(|(_, span)| span).collect()
}

/// RFC 9110, 14.1.2: "recipients MUST anticipate potentially large decimal numerals and prevent parsing errors due to integer
/// conversion overflows." No representation has a byte at the largest number there is, which stands for all beyond.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = |before: u64, digit: &u8| before.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, value))
}

/// What was printed here has nothing in it that a value can't have.
fn printed(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("bytes */*"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::example::headers;
    use proptest::prelude::*;

    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const A_SECOND_LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    type Fields<'a> = &'a [(&'a str, &'a str)];

    fn ranges(text: &str) -> Option<Ranges> {
        Ranges::read(&headers(&[("range", text)]))
    }

    /// `first+length` of each span.
    fn selected(text: &str, length: u64) -> String {
        let span = |span: &Span| format!("{}+{}", span.first, span.length);
        match ranges(text).map(|ranges| ranges.of_whole(length)) {
            None => "ignored".to_owned(),
            Some(Selected::Whole) => "whole".to_owned(),
            Some(Selected::Unsatisfiable) => "unsatisfiable".to_owned(),
            Some(Selected::One(one)) => span(&one),
            Some(Selected::Many(spans)) => spans.iter().map(span).collect::<Vec<_>>().join(" "),
        }
    }

    #[test]
    fn a_range_is_cut_to_what_there_is() {
        let table = [
            ("bytes=0-499", "0+500"),
            ("bytes=500-999", "500+500"),
            ("bytes=-500", "9500+500"),
            ("bytes=9500-", "9500+500"),
            ("bytes=0-", "0+10000"),
            ("bytes=0-0", "0+1"),
            ("bytes=9999-", "9999+1"),
            ("bytes=9999-99999", "9999+1"),
            ("bytes=-10000", "0+10000"),
            ("bytes=-10001", "0+10000"),
            ("bytes=5-99999999999999999999999999", "5+9995"),
            ("bytes=-99999999999999999999999999", "0+10000"),
            ("bytes=000-0001", "0+2"),
            ("BYTES=0-1", "0+2"),
            (" bytes=0-1 ", "0+2"),
            ("bytes= 0-1 ,", "0+2"),
            ("bytes=10000-", "unsatisfiable"),
            ("bytes=10000-10001", "unsatisfiable"),
            ("bytes=99999999999999999999999999-", "unsatisfiable"),
            ("bytes=-0", "unsatisfiable"),
            ("bytes=-0, 20000-", "unsatisfiable"),
        ];
        for (text, expected) in table {
            assert_eq!(selected(text, 10_000), expected, "{text}");
        }
    }

    #[test]
    fn a_malformed_range_is_ignored() {
        let table = [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=1",
            "bytes=2-1",
            "bytes=a-b",
            "bytes=0-1, x",
            "bytes=0-1, 3-2",
            "bytes=0-1-2",
            "bytes=0 - 1",
            "bytes=--1",
            "bytes=+1-2",
            "bytes=0x0-1",
            "bytes =0-1",
            "bytes 0-1",
            "items=0-1",
            "octets=0-1",
        ];
        for text in table {
            assert_eq!(selected(text, 10_000), "ignored", "{text}");
        }
        assert_eq!(Ranges::read(&headers(&[])), None);
        assert_eq!(Ranges::read(&headers(&[("range", "bytes=0-1"), ("range", "bytes=0-1")])), None);
    }

    #[test]
    fn several_ranges_go_out_in_their_order_and_near_ones_together() {
        let table = [
            ("bytes=0-0,-1", "0+1 9999+1"),
            ("bytes=-1,0-0", "9999+1 0+1"),
            ("bytes=0-999, 4500-5499, -1000", "0+1000 4500+1000 9000+1000"),
            ("bytes=500-600,601-999", "500+500"),
            ("bytes=500-700,601-999", "500+500"),
            ("bytes=601-999,500-600", "500+500"),
            ("bytes=0-9, 89-99", "0+100"),
            ("bytes=0-9, 90-99", "0+10 90+10"),
            ("bytes=0-99, 10-19", "0+100"),
            ("bytes=5000-5001, 0-9, 9000-9001, 10-19", "5000+2 0+20 9000+2"),
            ("bytes=0-9, 20000-", "0+10"),
            ("bytes=0-, 0-", "0+10000"),
            ("bytes=0-9, 5-14, 10-19", "whole"),
            ("bytes=0-0, 0-0, 0-0", "whole"),
            ("bytes=0-9, 5-14, 100-109, 105-114", "whole"),
            ("bytes=0-, -10000, 5-6", "whole"),
        ];
        for (text, expected) in table {
            assert_eq!(selected(text, 10_000), expected, "{text}");
        }
    }

    #[test]
    fn no_more_ranges_than_a_reader_needs_are_looked_at() {
        let list = |count: usize| {
            let all: Vec<_> = (0..count).map(|index| format!("{}-{}", index * 200, index * 200)).collect();
            format!("bytes={}", all.join(","))
        };
        assert!(
            matches!(ranges(&list(32)).unwrap().of_whole(100_000), Selected::Many(spans) if spans.len() == 32)
        );
        assert_eq!(ranges(&list(33)), None);
    }

    #[test]
    fn nothing_has_no_ranges() {
        for text in ["bytes=0-", "bytes=-5", "bytes=0-0, 2-3"] {
            assert_eq!(selected(text, 0), "whole", "{text}");
        }
    }

    #[test]
    fn a_part_answers_only_what_lies_wholly_in_it() {
        /// Its first byte and its length.
        type Place = Option<(u64, u64)>;
        let tail = Part { first: 4, total: Some(10), is_tail: true };
        let middle = Part { first: 4, total: Some(20), is_tail: false };
        let open = Part { first: 4, total: None, is_tail: false };
        let head = Part { first: 0, total: Some(6), is_tail: true };
        let table: &[(Part, u64, &str, Place)] = &[
            (middle, 6, "4-9", Some((4, 6))),
            (middle, 6, "5-5", Some((5, 1))),
            (middle, 6, "3-9", None),
            (middle, 6, "4-10", None),
            (middle, 6, "10-11", None),
            (middle, 6, "4-", None),
            (middle, 6, "-1", None),
            (middle, 6, "-20", None),
            (open, 6, "4-9", Some((4, 6))),
            (open, 6, "4-10", None),
            (open, 6, "4-99999999999999999999", None),
            (open, 6, "4-", None),
            (open, 6, "-1", None),
            (tail, 6, "4-9", Some((4, 6))),
            (tail, 6, "8-99", Some((8, 2))),
            (tail, 6, "8-99999999999999999999", Some((8, 2))),
            (tail, 6, "8-", Some((8, 2))),
            (tail, 6, "3-", None),
            (tail, 6, "10-", None),
            (tail, 6, "10-11", None),
            (tail, 6, "-6", Some((4, 6))),
            (tail, 6, "-1", Some((9, 1))),
            (tail, 6, "-7", None),
            (tail, 6, "-0", None),
            (tail, 5, "4-9", None),
            (tail, 5, "4-8", Some((4, 5))),
            (tail, 5, "5-", Some((5, 4))),
            (tail, 5, "-1", Some((8, 1))),
            (tail, 7, "4-8", None),
            (tail, 0, "4-", None),
            (head, 6, "-99", Some((0, 6))),
            (head, 6, "0-", Some((0, 6))),
            (middle, 6, "4-5,7-8", None),
            (Part { first: u64::MAX, ..open }, 6, "4-5", None),
        ];
        for (part, length, text, expected) in table {
            let ranges = ranges(&format!("bytes={text}")).unwrap();
            let expected = expected.map(|(first, length)| Span { first, length });
            assert_eq!(ranges.of_part(part, *length), expected, "{text} of {length} at {part:?}");
        }
    }

    #[test]
    fn a_content_range_is_read_if_it_is_one_and_makes_sense() {
        type Read = Option<(u64, u64, Option<u64>)>;
        let table: &[(&[&str], Read)] = &[
            (&["bytes 42-1233/1234"], Some((42, 1233, Some(1234)))),
            (&["bytes 42-1233/*"], Some((42, 1233, None))),
            (&["Bytes 0-0/1"], Some((0, 0, Some(1)))),
            (&["bytes */1234"], None),
            (&["bytes 5-4/10"], None),
            (&["bytes 5-10/10"], None),
            (&["bytes 5-9/9"], None),
            (&["bytes 0-18446744073709551615/*"], None),
            (&["bytes 5-9"], None),
            (&["bytes 5-/10"], None),
            (&["bytes -9/10"], None),
            (&["bytes=5-9/10"], None),
            (&["bytes 5-9/10/10"], None),
            (&["bytes 5-9-9/10"], None),
            (&["bytes 5-9/ 10"], None),
            (&["items 5-9/10"], None),
            (&["5-9/10"], None),
            (&["byt"], None),
            (&[""], None),
            (&[], None),
            (&["bytes 5-9/10", "bytes 5-9/10"], None),
        ];
        for (lines, expected) in table {
            let fields: Vec<_> = lines.iter().map(|line| ("content-range", *line)).collect();
            let expected = expected.map(|(first, last, total)| ContentRange { first, last, total });
            assert_eq!(ContentRange::read(&headers(&fields)), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_said_of_a_span_can_be_read_back() {
        let span = Span { first: 42, length: 1192 };
        assert_eq!(content_range_value(span, Some(1234)), "bytes 42-1233/1234");
        assert_eq!(content_range_value(span, None), "bytes 42-1233/*");
        assert_eq!(unsatisfied_value(1234), "bytes */1234");
    }

    #[test]
    fn if_range_holds_only_for_the_same_bytes() {
        let dated: Fields<'_> = &[("last-modified", THEN), ("date", A_SECOND_LATER)];
        let table: &[(&[&str], Fields<'_>, bool)] = &[
            (&[], &[], true),
            (&["\"a\""], &[("etag", "\"a\"")], true),
            (&["\"a\""], &[("etag", "\"b\"")], false),
            (&["W/\"a\""], &[("etag", "\"a\"")], false),
            (&["\"a\""], &[("etag", "W/\"a\"")], false),
            (&["W/\"a\""], &[("etag", "W/\"a\"")], false),
            (&["\"a\""], &[], false),
            (&["\"a\""], &[("etag", "\"a\""), ("etag", "\"a\"")], false),
            (&["\"a\", \"b\""], &[("etag", "\"a\"")], false),
            (&["\"a\"", "\"a\""], &[("etag", "\"a\"")], false),
            (&["a"], &[("etag", "a")], false),
            (&["*"], &[("etag", "\"a\"")], false),
            (&[""], &[("etag", "\"\"")], false),
            (&["\"\""], &[("etag", "\"\"")], true),
            (&[THEN], dated, true),
            (&["Sunday, 06-Nov-94 08:49:37 GMT"], dated, true),
            (&[A_SECOND_LATER], dated, false),
            (&[THEN], &[("last-modified", THEN), ("date", THEN)], false),
            (&[THEN], &[("last-modified", THEN)], false),
            (&[THEN], &[("date", A_SECOND_LATER)], false),
            (&["yesterday"], dated, false),
        ];
        for (conditions, response, expected) in table {
            let request: Vec<_> = conditions.iter().map(|value| ("if-range", *value)).collect();
            let holds = if_range_holds(&headers(&request), &headers(response));
            assert_eq!(holds, *expected, "{conditions:?} {response:?}");
        }
    }

    fn piece(text: &str, total: Option<u64>, body: &'static str) -> (ContentRange, Bytes) {
        let (first, last) = text.split_once('-').unwrap();
        let range = ContentRange { first: first.parse().unwrap(), last: last.parse().unwrap(), total };
        (range, Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn pieces_are_put_together_where_they_touch_and_the_newer_wins() {
        let ten = Some(10);
        let table = [
            (piece("0-3", ten, "abcd"), piece("4-9", ten, "EFGHIJ"), Some("0-9 abcdEFGHIJ")),
            (piece("4-9", ten, "efghij"), piece("0-3", ten, "ABCD"), Some("0-9 ABCDefghij")),
            (piece("0-5", ten, "abcdef"), piece("4-9", ten, "EFGHIJ"), Some("0-9 abcdEFGHIJ")),
            (piece("4-9", ten, "efghij"), piece("0-5", ten, "ABCDEF"), Some("0-9 ABCDEFghij")),
            (piece("0-9", ten, "abcdefghij"), piece("4-5", ten, "EF"), Some("0-9 abcdEFghij")),
            (piece("4-5", ten, "ef"), piece("0-9", ten, "ABCDEFGHIJ"), Some("0-9 ABCDEFGHIJ")),
            (piece("2-4", ten, "cde"), piece("2-4", ten, "CDE"), Some("2-4 CDE")),
            (piece("2-4", ten, "cde"), piece("5-5", ten, "F"), Some("2-5 cdeF")),
            (piece("0-2", ten, "abc"), piece("4-9", ten, "EFGHIJ"), None),
            (piece("4-9", ten, "efghij"), piece("0-2", ten, "ABC"), None),
            (piece("0-3", ten, "abcd"), piece("4-9", Some(11), "EFGHIJ"), None),
            (piece("0-3", None, "abcd"), piece("4-9", None, "EFGHIJ"), None),
            (piece("0-3", ten, "abcd"), piece("4-9", None, "EFGHIJ"), None),
            (piece("0-3", ten, "abc"), piece("3-9", ten, "DEFGHIJ"), None),
            (piece("0-3", ten, "abcd"), piece("4-9", ten, "EFGHIJK"), None),
        ];
        for ((old, old_body), (new, new_body), expected) in table {
            let got = combine((&old, &old_body), (&new, &new_body)).map(|(range, body)| {
                format!("{}-{} {}", range.first, range.last, std::str::from_utf8(&body).unwrap())
            });
            assert_eq!(got.as_deref(), expected, "{old:?} {new:?}");
        }
    }

    #[test]
    fn a_piece_knows_whether_it_ends_the_whole_or_is_all_of_it() {
        let table = [
            ("0-9", Some(10), true, true),
            ("1-9", Some(10), true, false),
            ("0-8", Some(10), false, false),
            ("0-9", None, false, false),
        ];
        for (text, total, is_tail, is_whole) in table {
            let (range, _) = piece(text, total, "");
            assert_eq!((range.part().is_tail, range.is_whole()), (is_tail, is_whole), "{text} {total:?}");
        }
    }

    fn spec() -> impl Strategy<Value = String> {
        prop_oneof![
            (0_u64..300, 0_u64..300).prop_map(|(first, more)| format!("{first}-{}", first + more)),
            (0_u64..300).prop_map(|first| format!("{first}-")),
            (0_u64..300).prop_map(|last| format!("-{last}")),
        ]
    }

    proptest! {
        #[test]
        fn any_fields_can_be_read(
            range in proptest::collection::vec(any::<u8>(), 0..80),
            digits in "bytes[= ][0-9*,/ -]{0,60}",
            length in any::<u64>(),
        ) {
            for bytes in [&*range, digits.as_bytes()] {
                if let Ok(value) = HeaderValue::from_bytes(bytes) {
                    let headers: HeaderMap =
                        [(RANGE, value.clone()), (CONTENT_RANGE, value)].into_iter().collect();
                    let part = ContentRange::read(&headers).map(|range| range.part());
                    if let Some(ranges) = Ranges::read(&headers) {
                        let _ = ranges.of_whole(length);
                        let _ = part.map(|part| ranges.of_part(&part, length));
                    }
                }
            }
        }

        /// Every byte asked for is sent, none is sent twice, and none that is far from what was asked for.
        #[test]
        fn what_is_sent_is_what_was_asked_for(specs in proptest::collection::vec(spec(), 1..5), length in 1_u64..250) {
            let text = format!("bytes={}", specs.join(","));
            let ranges = ranges(&text).unwrap();
            let asked = |at: u64| ranges.0.iter().any(|wanted| {
                wanted.of(length).is_some_and(|span| span.first <= at && at < span.end())
            });
            let spans = match ranges.of_whole(length) {
                Selected::Whole => return Ok(()),
                Selected::Unsatisfiable => vec![],
                Selected::One(span) => vec![span],
                Selected::Many(spans) => spans,
            };
            for at in 0..length {
                let sent = spans.iter().filter(|span| span.first <= at && at < span.end()).count();
                prop_assert!(sent <= 1);
                prop_assert!(sent == 1 || !asked(at), "{} is missing of {}", at, text);
                let near = (at.saturating_sub(GAP_MIN)..at + GAP_MIN).any(asked);
                prop_assert!(sent == 0 || near, "{} is too much of {}", at, text);
            }
            prop_assert!(spans.iter().all(|span| span.length > 0 && span.end() <= length));
        }

        /// What a part answers, the whole would have answered in the same way.
        #[test]
        fn a_part_answers_as_the_whole_would(spec in spec(), first in 0_u64..100, length in 0_u64..100, rest in 0_u64..100) {
            let total = first + length + rest;
            let part = Part { first, total: Some(total), is_tail: rest == 0 };
            let ranges = ranges(&format!("bytes={spec}")).unwrap();
            if let Some(span) = ranges.of_part(&part, length) {
                prop_assert_eq!(ranges.of_whole(total), Selected::One(span));
                prop_assert!(first <= span.first && span.end() <= first + length);
            }
        }

        /// Pieces of one text give pieces of that text.
        #[test]
        fn pieces_of_a_text_make_a_longer_piece_of_it(
            (old, new) in ((0_usize..40, 1_usize..20), (0_usize..40, 1_usize..20)),
        ) {
            let text = Bytes::from((0_u8..60).collect::<Vec<_>>());
            let piece = |(first, length): (usize, usize)| {
                let range = ContentRange { first: first as u64, last: (first + length - 1) as u64, total: Some(60) };
                (range, text.slice(first..first + length))
            };
            let ((old, old_body), (new, new_body)) = (piece(old), piece(new));
            let combined = combine((&old, &old_body), (&new, &new_body));
            let touch = old.first <= new.last + 1 && new.first <= old.last + 1;
            prop_assert_eq!(combined.is_some(), touch);
            if let Some((range, body)) = combined {
                let (first, last) = (usize::try_from(range.first).unwrap(), usize::try_from(range.last).unwrap());
                prop_assert_eq!((range.first, range.last), (old.first.min(new.first), old.last.max(new.last)));
                prop_assert_eq!(body, text.slice(first..=last));
            }
        }
    }
}
