//! A date as text, and one as a number: eight bytes of it, then the text.
//!
//! A date that was written in any of HTTP's three formats is read as what it was; with something behind it, it is none, and
//! what is no date has expired. `Expires` and `If-Modified-Since` read the same text as the same date.

#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use http::header::{DATE, EXPIRES, IF_MODIFIED_SINCE, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use larder::clock::Timestamp;
use larder::semantics::ResponseDirectives;
use larder::semantics::conditional::{Conditional, evaluate};
use larder::semantics::freshness::explicit_lifetime;
use larder_fuzz::{field, value};
use libfuzzer_sys::fuzz_target;

/// The last second of the year 9999.
const LAST: u64 = 253_402_300_799;

/// When all this happens: 21 November 2026.
const NOW: u64 = 1_795_219_200;

/// 1977 to 2075: two digits of a year say which of these is meant (RFC 9110, 5.6.7).
const TWO_DIGITS: std::ops::Range<u64> = 220_924_800..3_345_062_400;

fuzz_target!(|input: &[u8]| {
    let Some((number, text)) = input.split_first_chunk() else { return };
    let seconds = u64::from_le_bytes(*number) % LAST;
    for date in written(seconds) {
        assert_eq!(left(&[date.as_bytes()]), Duration::from_secs(seconds), "{date}");
        assert_eq!(unmodified(date.as_bytes(), seconds), Conditional::NotModified, "{date}");
        if seconds > 0 {
            assert_eq!(unmodified(date.as_bytes(), seconds + 1), Conditional::Full, "{date}");
        }
        // More text never makes it later.
        let longer = [date.as_bytes(), text].concat();
        let blank = text.iter().all(|byte| value(&[*byte]) == " " || *byte == b'\t');
        if !blank {
            assert_eq!(left(&[&longer]), Duration::ZERO, "{longer:?}");
        }
        assert!(left(&[date.as_bytes(), text]) <= Duration::from_secs(seconds), "{date} and {text:?}");
    }
    let until = left(&[text]).as_secs();
    if until > 0 {
        assert_eq!(unmodified(text, until), Conditional::NotModified, "{text:?}");
        let later = until + 1;
        assert!(later > LAST || unmodified(text, later) == Conditional::Full, "{text:?}");
    }
});

/// The ways to write a date, RFC 9110, 5.6.7.
fn written(seconds: u64) -> Vec<String> {
    let fixed = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    let parts: Vec<&str> = fixed.split([' ', ',']).filter(|part| !part.is_empty()).collect();
    let [weekday, day, month, year, time, _] = parts[..] else { panic!("{fixed}") };
    let unpadded = day.trim_start_matches('0');
    let mut all =
        vec![fixed.clone(), fixed.to_uppercase(), format!("{weekday} {month} {unpadded:>2} {time} {year}")];
    if TWO_DIGITS.contains(&seconds) {
        all.push(format!("{}, {day}-{month}-{} {time} GMT", long(weekday), &year[2..]));
    }
    all
}

fn long(weekday: &str) -> &'static str {
    let days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    days.into_iter().find(|day| day.starts_with(weekday)).unwrap_or_else(|| panic!("{weekday}"))
}

/// What these lines of `Expires` leave from 1970 on.
fn left(lines: &[&[u8]]) -> Duration {
    let mut headers = field(&EXPIRES, lines.iter().copied());
    headers.insert(DATE, date(0));
    let said = ResponseDirectives::default();
    let lifetime = explicit_lifetime(&headers, &said, false, Timestamp::from_millis(NOW * 1000));
    lifetime.unwrap_or_else(|| panic!("Expires says nothing: {headers:?}"))
}

/// What a client is told that has a copy of this date, of a thing that was modified then.
fn unmodified(since: &[u8], modified: u64) -> Conditional {
    let request = field(&IF_MODIFIED_SINCE, [since]);
    let response: HeaderMap = [(LAST_MODIFIED, date(modified)), (DATE, date(NOW))].into_iter().collect();
    evaluate(&Method::GET, &request, StatusCode::OK, &response)
}

fn date(seconds: u64) -> HeaderValue {
    value(httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds)).as_bytes())
}
