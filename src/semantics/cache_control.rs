//! The directives of `Cache-Control`, of requests and of responses, read once into numbers and flags.
//!
//! Invariant: reading can only err to the strict side. A prohibition counts wherever it stands and whatever argument
//! it has; of a number given twice the stricter counts; a number that can't be read counts as the strictest one.
//! A permission (`public`, `max-stale`, a stale window) counts only if it is soundly written.

use std::time::Duration;

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderName};

use super::grammar::{DELTA_SECONDS_MAX, Member, Members};

/// What a client asks of caches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// Nothing of this request or its answer may be kept.
    pub no_store: bool,
    /// The upstream must be asked.
    pub no_cache: bool,
    /// The upstream must not be asked.
    pub only_if_cached: bool,
    /// The oldest answer it takes.
    pub max_age: Option<Duration>,
    /// How long the answer must still be fresh.
    pub min_fresh: Option<Duration>,
    /// How far past its end it takes an answer.
    pub max_stale: Option<Duration>,
    /// How far past its end it takes one where the upstream fails (RFC 5861, 4).
    pub stale_if_error: Option<Duration>,
}

/// What an upstream allows and forbids.
#[expect(clippy::struct_excessive_bools, reason = "each is a directive that is there or is not")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// It must not be kept.
    pub no_store: bool,
    /// It must not be used again without asking.
    pub no_cache: bool,
    /// These of its fields must not be used again without asking.
    pub no_cache_fields: Vec<HeaderName>,
    /// It is for one user.
    pub private: bool,
    /// These of its fields are for one user.
    pub private_fields: Vec<HeaderName>,
    /// It may be kept although the request bore `Authorization`.
    pub public: bool,
    /// Once stale it must not be used without asking; also allows keeping, as `public` does.
    pub must_revalidate: bool,
    /// As `must_revalidate`, for shared caches; allows nothing.
    pub proxy_revalidate: bool,
    /// How long it is fresh for a shared cache.
    pub s_maxage: Option<Duration>,
    /// How long it is fresh.
    pub max_age: Option<Duration>,
    /// It may be kept only by who knows its status; who does need not heed `no-store`.
    pub must_understand: bool,
    /// While it is fresh it will not change (RFC 8246).
    pub immutable: bool,
    /// How far past its end it may be used while it is fetched anew (RFC 5861, 3).
    pub stale_while_revalidate: Option<Duration>,
    /// How far past its end it may be used where the upstream fails (RFC 5861, 4).
    pub stale_if_error: Option<Duration>,
}

impl RequestDirectives {
    /// Of all its field lines.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut asked = Self::default();
        for member in members(headers, &CACHE_CONTROL) {
            if member.is("no-store") {
                asked.no_store = true;
            } else if member.is("no-cache") {
                asked.no_cache = true;
            } else if member.is_plainly("only-if-cached") {
                asked.only_if_cached = true;
            } else if member.is("max-age") {
                asked.max_age = Some(smaller(asked.max_age, &member));
            } else if member.is("min-fresh") {
                // Of two, the one that asks for more; one that can't be read asks for more than anything has.
                let wanted = member.seconds().unwrap_or(Duration::from_secs(DELTA_SECONDS_MAX));
                asked.min_fresh = Some(asked.min_fresh.map_or(wanted, |other| other.max(wanted)));
            } else if member.is("max-stale") {
                asked.max_stale = Some(permitted(asked.max_stale, &member));
            } else if member.is("stale-if-error") {
                asked.stale_if_error = Some(smaller(asked.stale_if_error, &member));
            }
        }
        // RFC 7234, 5.4: "When the Cache-Control header field is not present in a request, caches MUST consider the
        // no-cache request pragma-directive as having the same effect as if "Cache-Control: no-cache" were present".
        // RFC 9111, 5.4 deprecates the field; a client that still sends it means this, and asking more is safe.
        if !headers.contains_key(CACHE_CONTROL) {
            asked.no_cache = members(headers, &PRAGMA).any(|member| member.is("no-cache"));
        }
        asked
    }
}

impl ResponseDirectives {
    /// Of all its field lines.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        for member in members(headers, &CACHE_CONTROL) {
            said.take(&member);
        }
        said
    }

    fn take(&mut self, member: &Member<'_>) {
        match &*member.name.to_ascii_lowercase() {
            // RFC 9111, 5.2.2.4 and 5.2.2.7: with field names these are about those fields only. Names that can't be read
            // may be any, so that the directive is about all.
            b"no-cache" => match member.field_names() {
                Some(names) => self.no_cache_fields.extend(names),
                None => self.no_cache = true,
            },
            b"private" => match member.field_names() {
                Some(names) => self.private_fields.extend(names),
                None => self.private = true,
            },
            b"s-maxage" => self.s_maxage = Some(smaller(self.s_maxage, member)),
            b"max-age" => self.max_age = Some(smaller(self.max_age, member)),
            b"stale-while-revalidate" => {
                self.stale_while_revalidate = Some(smaller(self.stale_while_revalidate, member));
            }
            b"stale-if-error" => self.stale_if_error = Some(smaller(self.stale_if_error, member)),
            // Restricts staleness, and permits keeping: badly written it only restricts.
            b"must-revalidate" if member.is_plain() => self.must_revalidate = true,
            b"must-revalidate" | b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" if member.is_plain() => self.must_understand = true,
            // Badly written, only the prohibition that goes with it is left.
            b"must-understand" | b"no-store" => self.no_store = true,
            b"public" if member.is_plain() => self.public = true,
            b"immutable" if member.is_plain() => self.immutable = true,
            _ => {}
        }
    }
}

/// Of all lines: RFC 9110, 5.3 makes them one list.
fn members<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = Member<'h>> {
    headers.get_all(name).into_iter().flat_map(|line| Members::of(line.as_bytes()))
}

/// The number of this directive or the one that came before, whichever is the stricter.
fn smaller(before: Option<Duration>, member: &Member<'_>) -> Duration {
    // RFC 9111, 4.2.1: "When there is more than one value present for a given directive (e.g., two Expires header
    // field lines or multiple Cache-Control: max-age directives), either the first occurrence should be used or the
    // response should be considered stale." The smaller is never fresher than either. "Caches are encouraged to
    // consider responses that have invalid freshness information (e.g., a max-age directive with non-integer content)
    // to be stale."
    let said = member.seconds().unwrap_or(Duration::ZERO);
    before.map_or(said, |other| other.min(said))
}

/// The longest staleness this allows, or the one that came before, whichever is the less.
fn permitted(before: Option<Duration>, member: &Member<'_>) -> Duration {
    // RFC 9111, 5.2.1.2: "If a value is present, then the client is willing to accept a response that has exceeded its
    // freshness lifetime by no more than the specified number of seconds. If no value is assigned to max-stale, then the
    // client is willing to accept a stale response of any age."
    let said = if member.is_plain() { Duration::MAX } else { member.seconds().unwrap_or(Duration::ZERO) };
    before.map_or(said, |other| other.min(said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn lines(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (CACHE_CONTROL, HeaderValue::from_bytes(line.as_bytes()).unwrap())).collect()
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn response_directives_are_read_whatever_their_case_order_and_lines() {
        let none = ResponseDirectives::default();
        let table: &[(&[&str], ResponseDirectives)] = &[
            (&[], none.clone()),
            (&[""], none.clone()),
            (&["NO-STORE"], ResponseDirectives { no_store: true, ..none.clone() }),
            (&["no-store=\"x\""], ResponseDirectives { no_store: true, ..none.clone() }),
            (
                &["Max-Age=60, PUBLIC"],
                ResponseDirectives { max_age: Some(seconds(60)), public: true, ..none.clone() },
            ),
            (
                &["max-age=60", "s-maxage=5,\tmust-revalidate , proxy-revalidate"],
                ResponseDirectives {
                    max_age: Some(seconds(60)),
                    s_maxage: Some(seconds(5)),
                    must_revalidate: true,
                    proxy_revalidate: true,
                    ..none.clone()
                },
            ),
            (
                &["no-cache=\"set-cookie, x\", max-age=1"],
                ResponseDirectives {
                    no_cache_fields: vec![
                        HeaderName::from_static("set-cookie"),
                        HeaderName::from_static("x"),
                    ],
                    max_age: Some(seconds(1)),
                    ..none.clone()
                },
            ),
            (
                &["private=set-cookie"],
                ResponseDirectives {
                    private_fields: vec![HeaderName::from_static("set-cookie")],
                    ..none.clone()
                },
            ),
            (&["private=\"\""], ResponseDirectives { private: true, ..none.clone() }),
            (&["private=\"a b\""], ResponseDirectives { private: true, ..none.clone() }),
            (&["no-cache=\"a"], ResponseDirectives { no_cache: true, ..none.clone() }),
            (
                &["no-cache, no-cache=a"],
                ResponseDirectives {
                    no_cache: true,
                    no_cache_fields: vec![HeaderName::from_static("a")],
                    ..none.clone()
                },
            ),
            (
                &["immutable, must-understand, no-store"],
                ResponseDirectives { immutable: true, must_understand: true, no_store: true, ..none.clone() },
            ),
            (&["immutable=1, must-understand=1"], ResponseDirectives { no_store: true, ..none.clone() }),
            (
                &["stale-while-revalidate=5, stale-while-revalidate=9, stale-if-error=x"],
                ResponseDirectives {
                    stale_while_revalidate: Some(seconds(5)),
                    stale_if_error: Some(seconds(0)),
                    ..none.clone()
                },
            ),
            (&["extension=\"no-store, private\""], none.clone()),
            (&[r#"extension="a\", no-store""#], none.clone()),
            (&["no-storex, xno-store, x-private"], none.clone()),
            (&["public=yes"], none),
        ];
        for (given, expected) in table {
            assert_eq!(&ResponseDirectives::read(&lines(given)), expected, "{given:?}");
        }
    }

    #[test]
    fn a_lifetime_said_twice_or_badly_is_the_stricter_one() {
        let table: &[(&[&str], Option<Duration>)] = &[
            (&["max-age=\"60\""], Some(seconds(60))),
            (&[r#"max-age="6\0""#], Some(seconds(60))),
            (&["max-age = 60"], Some(seconds(60))),
            (&["max-age=1800, max-age=1"], Some(seconds(1))),
            (&["max-age=1", "max-age=1800"], Some(seconds(1))),
            (&["max-age=60, max-age=x"], Some(seconds(0))),
            (&["max-age=99999999999999999999"], Some(seconds(1 << 31))),
            (&["max-age"], Some(seconds(0))),
            (&["max-age="], Some(seconds(0))),
            (&["max-age=\"\""], Some(seconds(0))),
            (&["max-age=-1"], Some(seconds(0))),
            (&["max-age=1.5"], Some(seconds(0))),
            (&["max-age='60'"], Some(seconds(0))),
            (&["max-age=60a"], Some(seconds(0))),
            (&["max-age=60; public"], Some(seconds(0))),
            (&["max-age=\"60"], Some(seconds(0))),
            (&["x=\"max-age=3600\", max-age=1"], Some(seconds(1))),
            (&["x=\"open, max-age=3600"], Some(seconds(0))),
            (&["x-max-age=60"], None),
        ];
        for (given, expected) in table {
            assert_eq!(ResponseDirectives::read(&lines(given)).max_age, *expected, "{given:?}");
        }
    }

    #[test]
    fn a_prohibition_behind_junk_counts_and_a_permission_does_not() {
        let said = ResponseDirectives::read(&lines(&["max-age=60; private; public no-cache"]));
        assert!(said.private && said.no_cache && !said.public);
        let said = ResponseDirectives::read(&lines(&["x=\"open, no-store, must-revalidate"]));
        assert!(said.no_store && !said.must_revalidate);
    }

    #[test]
    fn request_directives_are_read_with_the_stricter_of_two_numbers() {
        let none = RequestDirectives::default();
        let table: &[(&[&str], RequestDirectives)] = &[
            (
                &["no-store, no-cache, only-if-cached"],
                RequestDirectives { no_store: true, no_cache: true, only_if_cached: true, ..none.clone() },
            ),
            (
                &["max-age=5, max-age=9", "min-fresh=5, min-fresh=9"],
                RequestDirectives { max_age: Some(seconds(5)), min_fresh: Some(seconds(9)), ..none.clone() },
            ),
            (
                &["max-age=x, min-fresh=x"],
                RequestDirectives {
                    max_age: Some(seconds(0)),
                    min_fresh: Some(seconds(1 << 31)),
                    ..none.clone()
                },
            ),
            (&["max-stale"], RequestDirectives { max_stale: Some(Duration::MAX), ..none.clone() }),
            (&["max-stale, max-stale=5"], RequestDirectives { max_stale: Some(seconds(5)), ..none.clone() }),
            (&["max-stale=x"], RequestDirectives { max_stale: Some(seconds(0)), ..none.clone() }),
            (&["stale-if-error=7"], RequestDirectives { stale_if_error: Some(seconds(7)), ..none }),
        ];
        for (given, expected) in table {
            assert_eq!(&RequestDirectives::read(&lines(given)), expected, "{given:?}");
        }
    }

    #[test]
    fn pragma_counts_only_in_a_request_without_cache_control() {
        let mut headers = HeaderMap::new();
        headers.append(PRAGMA, HeaderValue::from_static("x, No-Cache"));
        assert!(RequestDirectives::read(&headers).no_cache);
        headers.append(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        assert!(!RequestDirectives::read(&headers).no_cache);
        let mut other = HeaderMap::new();
        other.append(PRAGMA, HeaderValue::from_static("no-cachet"));
        assert!(!RequestDirectives::read(&other).no_cache);
    }

    fn member() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ -!#-+\\--~]{0,20}",
            "[a-z-]{1,10}=\"[a-z, =;-]{0,20}\"",
            r#"[a-z-]{1,10}="[a-z, ]{0,8}\\["\\][a-z, ]{0,8}""#,
            Just("public".to_owned()),
            "max-age=[0-9]{1,12}",
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let headers: HeaderMap = [(CACHE_CONTROL, value)].into_iter().collect();
                let _ = ResponseDirectives::read(&headers);
                let _ = RequestDirectives::read(&headers);
            }
        }

        #[test]
        fn no_store_outside_quotes_always_counts(
            mut members in proptest::collection::vec(member(), 0..6),
            place in any::<proptest::sample::Index>(),
            spelling in "(no-store|No-Store|NO-STORE)( |\t|=x|=\"y\")?",
        ) {
            members.insert(place.index(members.len() + 1), spelling);
            let headers = lines(&[&members.join(",")]);
            prop_assert!(ResponseDirectives::read(&headers).no_store, "{}", members.join(","));
            prop_assert!(RequestDirectives::read(&headers).no_store);
        }

        #[test]
        fn no_store_on_a_line_of_its_own_always_counts(
            before in proptest::collection::vec(32_u8..127, 0..60),
            after in proptest::collection::vec(32_u8..127, 0..60),
        ) {
            let text = |bytes| String::from_utf8(bytes).unwrap();
            let headers = lines(&[&text(before), "no-store", &text(after)]);
            prop_assert!(ResponseDirectives::read(&headers).no_store);
        }

        #[test]
        fn more_text_never_lengthens_a_lifetime(more in "[ -~]{0,60}", seconds in 0_u64..10_000) {
            let alone = format!("max-age={seconds}");
            let said = ResponseDirectives::read(&lines(&[&alone, &more])).max_age;
            prop_assert!(said.is_some_and(|said| said <= Duration::from_secs(seconds)));
        }
    }
}
