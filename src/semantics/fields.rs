//! Fields that a proxy takes away or adds: hop-by-hop, `Via`, `Age`, `Cache-Status`.
//!
//! A message loses on its way what concerns one connection only, and what `Connection` names besides. Invariant: the
//! sender can't use `Connection` to make us drop what says who asks, for what, or how it may be kept. A request must be
//! stripped *before* its key is made: then the upstream answers exactly the request that the key describes. Left out:
//! `Upgrade`, which who passes an upgrade reads before and sets again after.

use std::time::Duration;

use http::header::{CONNECTION, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use super::grammar::{DELTA_SECONDS_MAX, trim};

pub use super::cache_status::CacheStatus;

/// Of one connection, whether `Connection` names them or not.
///
/// RFC 9110, 7.6.1: "Furthermore, intermediaries SHOULD remove or replace fields that are known to require removal before
/// forwarding, whether or not they appear as a connection-option, after applying those fields' semantics. This includes
/// but is not limited to: Proxy-Connection, Keep-Alive, TE, Transfer-Encoding, Upgrade."
///
/// Beyond these: `HTTP2-Settings` (RFC 7540, 3.2.1: goes with `Upgrade: h2c`), and a proxy's challenges and credentials:
/// RFC 9110, 11.7.1: Proxy-Authenticate "applies only to the next outbound client on the response chain"; 11.7.2:
/// "A proxy MAY relay the credentials from the client request to the next proxy if that is the mechanism by which the
/// proxies cooperatively authenticate a given request." To its clients Larder is the origin, so that they are meant for
/// nobody behind it; they are in no key, and RFC 9111, 3.1 has caches not store them.
pub(crate) const OF_THE_CONNECTION: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
];

/// What `Connection` can't take away: fields for all on the way, by which answers are routed, framed, told apart, kept.
///
/// RFC 9110, 7.6.1: "A sender MUST NOT send a connection option corresponding to a field that is intended for all
/// recipients of the content. For example, Cache-Control is never appropriate as a connection option".
const END_TO_END: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "age",
    "authorization",
    "cache-control",
    "cache-group-invalidation",
    "cache-groups",
    "cache-status",
    "cdn-cache-control",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expires",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "origin",
    "pragma",
    "proxy-status",
    "range",
    "referer",
    "set-cookie",
    "surrogate-control",
    "vary",
    "via",
    "x-real-ip",
];

/// … and all that begin so: the addresses and names that proxies in front of us vouch for.
const END_TO_END_PREFIX: &str = "x-forwarded-";

/// RFC 9211.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Removes what belongs to the connection, also what `Connection` names. Keeps `te: trailers` out: the caller re-adds it.
/// `Trailer` stays: it speaks of the message, not of the connection.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most requests have none: one walk over their names says so.
    if !headers.keys().any(|name| OF_THE_CONNECTION.contains(&name.as_str())) {
        return;
    }
    // RFC 9110, 7.6.1: "Intermediaries MUST parse a received Connection header field before a message is forwarded and, for
    // each connection-option in this field, remove any header or trailer field(s) from the message with the same name as
    // the connection-option, and then remove the Connection header field itself".
    for name in connection_options(headers) {
        if !is_end_to_end(&name) {
            headers.remove(name);
        }
    }
    for name in OF_THE_CONNECTION {
        headers.remove(*name);
    }
}

/// Appends `1.1 larder` to `Via`.
pub fn append_via(headers: &mut HeaderMap, version: Version) {
    // RFC 9110, 7.6.3: "A proxy MUST send an appropriate Via header field, as described below, in each message that it
    // forwards." The version is the one that the message came with; the protocol's name is left out where it is HTTP.
    let hop = match version {
        Version::HTTP_09 => "0.9 larder",
        Version::HTTP_10 => "1.0 larder",
        Version::HTTP_2 => "2 larder",
        Version::HTTP_3 => "3 larder",
        _ => "1.1 larder",
    };
    headers.append(VIA, HeaderValue::from_static(hop));
}

/// Whole seconds, as a field value; without allocating for those under 1000.
pub fn age_value(age: Duration) -> HeaderValue {
    // RFC 9111, 1.2.2: past the largest, "the cache MUST consider the value to be 2147483648 (2^31)".
    let seconds = age.as_secs().min(DELTA_SECONDS_MAX);
    usize::try_from(seconds)
        .ok()
        .and_then(short_number)
        .map_or_else(|| HeaderValue::from(seconds), HeaderValue::from_static)
}

/// Every name that `Connection` has.
fn connection_options(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .into_iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|option| HeaderName::from_bytes(trim(option)).ok())
        .collect()
}

fn is_end_to_end(name: &HeaderName) -> bool {
    END_TO_END.contains(&name.as_str()) || name.as_str().starts_with(END_TO_END_PREFIX)
}

/// `000` to `999` behind each other.
#[expect(clippy::cast_possible_truncation, reason = "what is cast is below ten")]
static DIGITS: [u8; 3000] = {
    let mut digits = [b'0'; 3000];
    let mut number = 0;
    while number < 1000 {
        digits[number * 3] += (number / 100) as u8;
        digits[number * 3 + 1] += (number / 10 % 10) as u8;
        digits[number * 3 + 2] += (number % 10) as u8;
        number += 1;
    }
    digits
};

/// The text of a number of up to three digits.
fn short_number(number: usize) -> Option<&'static str> {
    let width = match number {
        0..10 => 1,
        10..100 => 2,
        _ => 3,
    };
    let end = number.checked_mul(3)?.checked_add(3)?;
    std::str::from_utf8(DIGITS.get(end - width..end)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::example::headers;
    use proptest::prelude::*;

    #[test]
    fn what_belongs_to_the_connection_goes_named_or_not() {
        let mut given = headers(&[
            ("connection", "keep-alive, X-One"),
            ("connection", " x-two ,, not a name, \"x-three\""),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("http2-settings", "AAMAAABk"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authorization", "Basic YTpi"),
            ("proxy-authentication-info", "x"),
            ("x-one", "1"),
            ("x-one", "1 again"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("trailer", "x-checksum"),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut given);
        let expected = headers(&[("x-three", "3"), ("trailer", "x-checksum"), ("accept", "*/*")]);
        assert_eq!(given, expected);
    }

    #[test]
    fn without_connection_an_ordinary_message_stays_as_it_is() {
        let fields = headers(&[("host", "a"), ("accept", "*/*"), ("x-one", "1")]);
        let mut given = fields.clone();
        strip_hop_by_hop(&mut given);
        assert_eq!(given, fields);
    }

    #[test]
    fn connection_cannot_take_away_what_identity_framing_and_caching_rest_on() {
        let mut names = END_TO_END.to_vec();
        names.extend(["x-forwarded-for", "x-forwarded-host", "x-forwarded-anything"]);
        for name in names {
            let mut given =
                headers(&[(name, "kept"), ("connection", &format!("close, {}", name.to_uppercase()))]);
            strip_hop_by_hop(&mut given);
            assert_eq!(given, headers(&[(name, "kept")]), "{name}");
        }
    }

    #[test]
    fn via_gets_a_member_with_the_version_that_came_in() {
        let table = [
            (Version::HTTP_10, "1.0 larder"),
            (Version::HTTP_11, "1.1 larder"),
            (Version::HTTP_2, "2 larder"),
        ];
        for (version, expected) in table {
            let mut given = headers(&[("via", "1.1 other")]);
            append_via(&mut given, version);
            assert_eq!(given, headers(&[("via", "1.1 other"), ("via", expected)]));
        }
    }

    #[test]
    fn an_age_is_whole_seconds_up_to_the_largest_that_can_be_said() {
        let table = [
            (0, "0"),
            (999, "0"),
            (1_000, "1"),
            (9_999, "9"),
            (10_000, "10"),
            (99_000, "99"),
            (100_000, "100"),
            (270_500, "270"),
            (999_999, "999"),
            (1_000_000, "1000"),
            (31_535_999_000, "31535999"),
            (u64::MAX, "2147483648"),
        ];
        for (millis, expected) in table {
            assert_eq!(age_value(Duration::from_millis(millis)), expected, "{millis}");
        }
        for seconds in 0..1100 {
            assert_eq!(age_value(Duration::from_secs(seconds)), seconds.to_string());
        }
    }

    proptest! {
        #[test]
        fn any_connection_can_be_stripped(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let mut given = headers(&[("host", "a"), ("cookie", "b")]);
                let expected = given.clone();
                given.append(CONNECTION, value);
                strip_hop_by_hop(&mut given);
                prop_assert_eq!(given, expected);
            }
        }
    }
}
