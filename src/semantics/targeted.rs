//! Which directives govern a response: those of a field meant for caches like this one, or those of `Cache-Control`.
//!
//! An origin that has something special to say to the cache before it says it in a targeted field: `CDN-Cache-Control`
//! (RFC 9213) or, older, `Surrogate-Control` (W3C note "Edge Architecture Specification"). The first one of these that says
//! anything decides alone. Invariant: within the field that decides, reading errs to the strict side, as with
//! `Cache-Control`. Left out: the freshness extension of `Surrogate-Control` (`max-age=30+60`), which is cut off, and
//! `no-store-remote` and `content`, which are not for a cache next to its origin.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, ListEntry};

use super::cache_control::ResponseDirectives;
use super::grammar::{DELTA_SECONDS_MAX, Quotes, delta_seconds, field_names, is_token_byte, trim};
use super::structured::dictionary;

/// RFC 9213, 3.
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// Edge Architecture Specification, 2.2.
pub const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");

/// How we are called in a `Surrogate-Capability`, and so in a `Surrogate-Control` that is meant for us alone.
pub const DEVICE: &str = "larder";

/// What an upstream says to us, wherever it says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Governing {
    /// The directives.
    pub said: ResponseDirectives,
    /// They are of a targeted field: then `Expires` has no word either.
    pub targeted: bool,
}

/// Whom a member of `Surrogate-Control` is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addressee {
    All,
    Us,
    Others,
}

/// The directives of a `Surrogate-Control` that matter, of one addressee.
#[derive(Clone, Copy, Debug, Default)]
struct Surrogate {
    no_store: bool,
    max_age: Option<Duration>,
}

/// The directives that this response is to be kept and used by.
pub fn governing(headers: &HeaderMap) -> Governing {
    // RFC 9213, 2.2: "the cache MUST select the first (in target-list order) field with a valid, non-empty value and use
    // its value to determine the caching policy for the response, and it MUST ignore the Cache-Control and Expires header
    // fields in that response, unless no valid, non-empty value is available from the listed header fields." The target
    // list is `[CDN-Cache-Control, Surrogate-Control]`.
    match structured(headers).or_else(|| surrogate(headers)) {
        Some(said) => Governing { said, targeted: true },
        None => Governing { said: ResponseDirectives::read(headers), targeted: false },
    }
}

/// What `CDN-Cache-Control` says.
fn structured(headers: &HeaderMap) -> Option<ResponseDirectives> {
    if !headers.contains_key(CDN_CACHE_CONTROL) {
        return None;
    }
    // RFC 9213, 2.1: "If a targeted field in a given response is empty, or a parsing error is encountered, that field MUST
    // be ignored by the cache (i.e., it behaves as if the field were not present, likely falling back to other
    // cache-control mechanisms present)."
    let members = dictionary(headers, &CDN_CACHE_CONTROL)?;
    let mut said = ResponseDirectives::default();
    for (name, value) in &members {
        // RFC 9213, 2.1: "Parameters received on cache directives are to be ignored, unless other handling is explicitly
        // specified."
        let value = match value {
            ListEntry::Item(item) => Some(&item.bare_item),
            ListEntry::InnerList(_) => None,
        };
        take(&mut said, name.as_str(), value);
    }
    Some(said)
}

/// `value`: none if it is of a type that no directive has.
fn take(said: &mut ResponseDirectives, name: &str, value: Option<&BareItem>) {
    // RFC 9213, 2.1: "Implementations SHOULD NOT consume values that violate these inferred constraints. For example, a
    // consuming implementation that coerces a max-age with a decimal value into an integer would behave differently than
    // other implementations, potentially causing interoperability issues." So a value of the wrong type is none; the
    // directive still was said, and then forbids what it can forbid and allows nothing.
    let plain = value.and_then(BareItem::as_boolean) == Some(true);
    match name {
        "no-cache" => match listed(value) {
            Some(names) => said.no_cache_fields = names,
            None => said.no_cache = true,
        },
        "private" => match listed(value) {
            Some(names) => said.private_fields = names,
            None => said.private = true,
        },
        "s-maxage" => said.s_maxage = Some(seconds(value)),
        "max-age" => said.max_age = Some(seconds(value)),
        "stale-while-revalidate" => said.stale_while_revalidate = Some(seconds(value)),
        "stale-if-error" => said.stale_if_error = Some(seconds(value)),
        "must-revalidate" if plain => said.must_revalidate = true,
        "must-revalidate" | "proxy-revalidate" => said.proxy_revalidate = true,
        "must-understand" if plain => said.must_understand = true,
        "must-understand" | "no-store" => said.no_store = true,
        "public" => said.public = plain,
        "immutable" => said.immutable = plain,
        // RFC 9213, 2.2: "unrecognized extension directives are ignored".
        _ => {}
    }
}

/// RFC 9213, 2.1: "no-cache […] has a value that can be either Boolean true or a string containing a comma-delimited list
/// of field names." One with a name that is none may be about any field.
fn listed(value: Option<&BareItem>) -> Option<Vec<HeaderName>> {
    field_names(value?.as_string()?.as_str().as_bytes())
}

/// RFC 9213, 2.1: "the max-age directive […] has an integer value".
fn seconds(value: Option<&BareItem>) -> Duration {
    let whole = value.and_then(BareItem::as_integer).and_then(|number| u64::try_from(number).ok());
    Duration::from_secs(whole.unwrap_or(0).min(DELTA_SECONDS_MAX))
}

/// What `Surrogate-Control` says; none if it says nothing that matters to us.
fn surrogate(headers: &HeaderMap) -> Option<ResponseDirectives> {
    let (mut to_us, mut to_all) = (Surrogate::default(), Surrogate::default());
    for line in headers.get_all(SURROGATE_CONTROL) {
        let line = line.as_bytes();
        // Where a quote stays open nobody knows what is quoted: then nothing is, and no lifetime of the line is sound.
        let sound = Quotes::close(line);
        let members: Vec<&[u8]> = if sound {
            Quotes::split(line, b',').collect()
        } else {
            line.split(|byte| *byte == b',').collect()
        };
        for member in members {
            let mut parts = Quotes::split(member, b';');
            let directive = trim(parts.next().unwrap_or_default());
            match addressee(parts) {
                Addressee::All => to_all.take(directive, sound),
                Addressee::Us => to_us.take(directive, sound),
                Addressee::Others => {}
            }
        }
    }
    // Edge Architecture Specification, 2.3: "Directives without targetting parameters are applied to all surrogates, unless
    // a targetted directive overrides it." A lifetime for us overrides another lifetime, not a `no-store`.
    let no_store = to_all.no_store || to_us.no_store;
    let max_age = to_us.max_age.or(to_all.max_age);
    (no_store || max_age.is_some()).then(|| ResponseDirectives {
        no_store,
        max_age,
        ..ResponseDirectives::default()
    })
}

/// Edge Architecture Specification, 2.3: "Surrogate-Control directives may have a parameter that identifies the surrogate
/// that they are targetted at, as identified by the device token in the request's Surrogate-Capabilities header."
fn addressee<'a>(parameters: impl Iterator<Item = &'a [u8]>) -> Addressee {
    let is_device = |name: &&[u8]| !name.is_empty() && name.iter().copied().all(is_token_byte);
    let mut whom = Addressee::All;
    for device in parameters.map(trim).filter(is_device) {
        if device.eq_ignore_ascii_case(DEVICE.as_bytes()) {
            return Addressee::Us;
        }
        whom = Addressee::Others;
    }
    whom
}

impl Surrogate {
    /// `sound`: it may allow something.
    fn take(&mut self, directive: &[u8], sound: bool) {
        let length = directive.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(directive.len());
        let (name, argument) = directive.split_at(length);
        if name.eq_ignore_ascii_case(b"no-store") {
            self.no_store = true;
        } else if name.eq_ignore_ascii_case(b"max-age") {
            let said = if sound { lifetime(argument) } else { None }.unwrap_or_default();
            self.max_age = Some(self.max_age.map_or(said, |other| other.min(said)));
        }
    }
}

/// Of `=30` or `=30+60`: seconds for which it is fresh (Edge Architecture Specification, 2.2), and behind the `+` those for
/// which it may be used after that.
fn lifetime(argument: &[u8]) -> Option<Duration> {
    let mut numbers = argument.strip_prefix(b"=")?.split(|byte| *byte == b'+');
    let fresh = delta_seconds(numbers.next()?.iter().copied())?;
    if let Some(stale) = numbers.next() {
        delta_seconds(stale.iter().copied())?;
    }
    numbers.next().is_none().then_some(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::example::headers;
    use proptest::prelude::*;

    type Fields<'a> = &'a [(&'a str, &'a str)];

    /// Whether it is not to be kept, and for how many seconds it is fresh.
    type Told = Option<(bool, Option<u64>)>;

    /// What governs, as `TARGETED` or not and as the directives that are not at rest.
    fn read(fields: Fields<'_>) -> String {
        let Governing { said, targeted } = governing(&headers(fields));
        let flag = |name: &str, set: bool| set.then(|| name.to_owned());
        let names = |name: &str, names: &[HeaderName]| {
            let names: Vec<_> = names.iter().map(HeaderName::as_str).collect();
            (!names.is_empty()).then(|| format!("{name}={}", names.join("+")))
        };
        let time = |name: &str, time: Option<Duration>| time.map(|time| format!("{name}={}", time.as_secs()));
        let all = [
            flag("TARGETED", targeted),
            flag("no-store", said.no_store),
            flag("no-cache", said.no_cache),
            names("no-cache", &said.no_cache_fields),
            flag("private", said.private),
            names("private", &said.private_fields),
            flag("public", said.public),
            flag("must-revalidate", said.must_revalidate),
            flag("proxy-revalidate", said.proxy_revalidate),
            flag("must-understand", said.must_understand),
            flag("immutable", said.immutable),
            time("s-maxage", said.s_maxage),
            time("max-age", said.max_age),
            time("swr", said.stale_while_revalidate),
            time("sie", said.stale_if_error),
        ];
        all.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_first_targeted_field_that_says_something_decides_alone() {
        let (cdn, surrogate, all) = ("cdn-cache-control", "surrogate-control", "cache-control");
        let table: &[(Fields<'_>, &str)] = &[
            (&[], ""),
            (&[(all, "max-age=5")], "max-age=5"),
            (&[(all, "no-store"), (cdn, "max-age=60")], "TARGETED max-age=60"),
            (&[(all, "max-age=60, public"), (cdn, "no-store")], "TARGETED no-store"),
            (&[(all, "no-store"), (cdn, "none")], "TARGETED"),
            (&[(all, "no-store"), (cdn, "")], "no-store"),
            (&[(all, "no-store"), (cdn, "max-age=60, &&&&&")], "no-store"),
            (&[(all, "no-store"), (cdn, "MaX-aGe=60")], "no-store"),
            (&[(all, "no-store"), (cdn, "max-age =60")], "no-store"),
            (&[(all, "no-store"), (cdn, "max-age= 60")], "no-store"),
            (&[(all, "no-store"), (cdn, "max-age=60,")], "no-store"),
            (&[(all, "no-store"), (surrogate, "max-age=60")], "TARGETED max-age=60"),
            (&[(all, "no-store"), (surrogate, "content=\"ESI/1.0\"")], "no-store"),
            (&[(cdn, "max-age=1"), (surrogate, "max-age=60")], "TARGETED max-age=1"),
            (&[(cdn, "private"), (surrogate, "no-store")], "TARGETED private"),
            (&[(cdn, "@"), (surrogate, "max-age=60"), (all, "max-age=5")], "TARGETED max-age=60"),
            (&[(cdn, "@"), (surrogate, "@"), (all, "max-age=5")], "max-age=5"),
        ];
        for (fields, expected) in table {
            assert_eq!(read(fields), *expected, "{fields:?}");
        }
    }

    #[test]
    fn a_directive_with_a_value_of_the_wrong_type_forbids_and_does_not_allow() {
        let table: &[(&[&str], &str)] = &[
            (&["max-age=60, foo, s-maxage=5;a=b"], "max-age=60 s-maxage=5"),
            (
                &["max-age=60", "must-revalidate, proxy-revalidate"],
                "must-revalidate proxy-revalidate max-age=60",
            ),
            (&["public, immutable, must-understand"], "public must-understand immutable"),
            (&["public=?1, immutable=?1, must-revalidate=?1"], "public must-revalidate immutable"),
            (&["public=?0, immutable=1, must-revalidate=x"], "proxy-revalidate"),
            (&["must-understand=1"], "no-store"),
            (&["no-store=?0"], "no-store"),
            (&["no-store=1"], "no-store"),
            (&["no-cache=?0, private=?0"], "no-cache private"),
            (&["no-cache, private"], "no-cache private"),
            (&["no-cache=\"a, B\", private=\"set-cookie\""], "no-cache=a+b private=set-cookie"),
            (&["no-cache=\"\", private=\" , \""], "no-cache private"),
            (&["no-cache=\"not a name\", private=set-cookie"], "no-cache private"),
            (&["no-cache=(\"a\")"], "no-cache"),
            (&["stale-while-revalidate=30, stale-if-error=60"], "swr=30 sie=60"),
            (&["stale-while-revalidate, stale-if-error=\"60\""], "swr=0 sie=0"),
            (&["max-age=\"60\""], "max-age=0"),
            (&["max-age=60.5"], "max-age=0"),
            (&["max-age=-60"], "max-age=0"),
            (&["max-age"], "max-age=0"),
            (&["max-age=?1"], "max-age=0"),
            (&["max-age=a60"], "max-age=0"),
            (&["max-age=(60)"], "max-age=0"),
            (&["max-age=@60"], "max-age=0"),
            (&["max-age=2147483648"], "max-age=2147483648"),
            (&["max-age=99999999999"], "max-age=2147483648"),
            (&["max-age=60, max-age=1"], "max-age=1"),
        ];
        for (lines, expected) in table {
            let fields: Vec<_> = lines.iter().map(|line| ("cdn-cache-control", *line)).collect();
            let words = |text: &str| {
                let mut words: Vec<_> = text.split(' ').map(str::to_owned).collect();
                words.sort();
                words
            };
            assert_eq!(words(&read(&fields)), words(&format!("TARGETED {expected}")), "{lines:?}");
        }
    }

    #[test]
    fn of_a_surrogate_control_the_members_for_all_and_for_us_count() {
        let table: &[(&[&str], Told)] = &[
            (&["max-age=60"], Some((false, Some(60)))),
            (&["Max-Age=60, NO-STORE"], Some((true, Some(60)))),
            (&["max-age=60+30"], Some((false, Some(60)))),
            (&["max-age=60+x"], Some((false, Some(0)))),
            (&["max-age=60+1+1"], Some((false, Some(0)))),
            (&["max-age=99999999999+99999999999"], Some((false, Some(1 << 31)))),
            (&["max-age =60"], Some((false, Some(0)))),
            (&["max-age= 60"], Some((false, Some(0)))),
            (&["max-age=\"60\""], Some((false, Some(0)))),
            (&["max-age"], Some((false, Some(0)))),
            (&["max-age=60, max-age=5"], Some((false, Some(5)))),
            (&["max-age=60", "no-store"], Some((true, Some(60)))),
            (&["foobar, max-age=60"], Some((false, Some(60)))),
            (&["no-store junk"], Some((true, None))),
            (&["no-store-remote"], None),
            (&["content=\"max-age=5, no-store\""], None),
            (&["content=\"a\\\", no-store\""], None),
            (&["content=\"ESI/1.0 , max-age=60, no-store"], Some((true, Some(0)))),
            (&["max-age=60;abc"], None),
            (&["max-age=60;abc, max-age=5"], Some((false, Some(5)))),
            (&["max-age=5, max-age=60;larder"], Some((false, Some(60)))),
            (&["max-age=60;Larder, max-age=5"], Some((false, Some(60)))),
            (&["max-age=60 ; abc ; larder"], Some((false, Some(60)))),
            (&["max-age=60;larder, max-age=5;larder"], Some((false, Some(5)))),
            (&["max-age=60;"], Some((false, Some(60)))),
            (&["no-store;abc, max-age=60"], Some((false, Some(60)))),
            (&["no-store, max-age=60;larder"], Some((true, Some(60)))),
            (&["no-store;larder, max-age=60"], Some((true, Some(60)))),
            (&["no-store;abc"], None),
            (&[";larder"], None),
        ];
        for (lines, expected) in table {
            let fields: Vec<_> = lines.iter().map(|line| ("surrogate-control", *line)).collect();
            let Governing { said, targeted } = governing(&headers(&fields));
            let read = targeted.then_some((said.no_store, said.max_age));
            let expected = expected.map(|(no_store, seconds)| (no_store, seconds.map(Duration::from_secs)));
            assert_eq!(read, expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(
            cdn in proptest::collection::vec(any::<u8>(), 0..100),
            surrogate in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut headers = HeaderMap::new();
            for (name, bytes) in [(CDN_CACHE_CONTROL, cdn), (SURROGATE_CONTROL, surrogate)] {
                if let Ok(value) = http::HeaderValue::from_bytes(&bytes) {
                    headers.append(name, value);
                }
            }
            let _ = governing(&headers);
        }

        #[test]
        fn a_valid_cdn_cache_control_makes_all_others_silent(
            seconds in 0_u64..100_000,
            surrogate in "[ -~]{0,60}",
            all in "[ -~]{0,60}",
        ) {
            let line = format!("max-age={seconds}");
            let alone = governing(&headers(&[("cdn-cache-control", &line)]));
            let fields = [("cache-control", &*all), ("surrogate-control", &*surrogate), ("cdn-cache-control", &*line)];
            prop_assert_eq!(&governing(&headers(&fields)), &alone);
            prop_assert_eq!(alone.said.max_age, Some(Duration::from_secs(seconds)));
        }

        #[test]
        fn a_no_store_for_us_counts_whatever_stands_around_it(
            before in "[a-z0-9=+;, ]{0,30}",
            after in "[a-z0-9=+;, \"]{0,30}",
            spelling in "(no-store|No-Store)(;larder)?",
        ) {
            let line = format!("{before},{spelling},{after}");
            prop_assert!(governing(&headers(&[("surrogate-control", &line)])).said.no_store, "{}", line);
        }

        #[test]
        fn more_members_for_all_never_lengthen_a_lifetime(more in "[ -:<-~]{0,40}", seconds in 0_u64..10_000) {
            let alone = format!("max-age={seconds}");
            let said = governing(&headers(&[("surrogate-control", &alone), ("surrogate-control", &more)])).said;
            prop_assert!(said.max_age.is_some_and(|age| age <= Duration::from_secs(seconds)));
        }
    }
}
