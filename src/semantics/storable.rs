//! May this response be kept, for how long, and if not, why.
//!
//! RFC 9111, section 3 asks several things of a response; each *no* here is one of them not met, the most telling
//! first. Two have a word on lifetimes: the upstream, and the route where the upstream is silent (or where the route
//! says `override`). Invariant: what an upstream forbids with `no-store`, and what sets a cookie, is on no entry for
//! everyone, whatever a route says. What has no lifetime left is kept too where it is still good for something: to be asked
//! about, if it has a validator, or to be used past its end.

use std::time::Duration;

use http::header::{AUTHORIZATION, SET_COOKIE};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::cache_control::{RequestDirectives, ResponseDirectives};
use super::freshness::{Lifetime, Source, explicit_lifetime, fresh_until, heuristic_lifetime, initial_age};
use super::range::ContentRange;
use super::staleness::staleness;
use super::targeted::{Governing, governing};
use super::validation::has_validator;
use super::vary::{VaryOn, is_rewritten};
use crate::clock::Timestamp;

pub use super::freshness::Times;
pub use super::not_stored::NotStored;
pub use super::policy::Policy;

/// Who may be given the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Anybody who asks for the same key.
    Everyone,
    /// One identity: its credentials are part of the key.
    Identity,
}

/// How a response is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// For how long.
    pub lifetime: Lifetime,
    /// Without these of its fields.
    pub withheld: Vec<HeaderName>,
}

/// What of the request matters to whether its answer may be kept.
#[expect(clippy::struct_excessive_bools, reason = "each is a thing that is so or not")]
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a Method,
    /// The route names this method beside GET, and the body of the request is in its key.
    pub method_is_cached: bool,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// Who may be given the entry.
    pub audience: Audience,
    /// The operator said `scope = "shared"`: credentials are ignored on purpose.
    pub declared_shared: bool,
    /// It bears what may be a credential, and nobody said what tells one caller from another.
    pub undeclared_credential: bool,
    /// The upstream was asked for a part.
    pub wants_part: bool,
}

/// What may be said of lifetimes without the upstream.
#[derive(Clone, Copy, Debug)]
enum Word {
    /// The route gives this one.
    Given(Duration, Source),
    /// The route could give one to this status, and does not.
    Silent,
    /// With this status only the upstream's word counts.
    None,
}

/// `shorten`: between 0 and 1, drawn by the caller: how much of the policy's jitter is used.
pub fn storable(
    asked: &Asked<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    policy: &Policy,
    times: Times,
    shorten: f64,
) -> Result<Keep, NotStored> {
    understood(asked, status, headers)?;
    let Governing { said, targeted } = governing(headers);
    let word = route_word(policy, status);
    let overrides = overrides(policy, status, word);
    permitted(asked, status, headers, &said, overrides)?;

    let initial_age = initial_age(headers, times);
    let explicit = explicit_lifetime(headers, &said, targeted, times.answered_at);
    let left = explicit.map(|lifetime| lifetime.saturating_sub(initial_age));
    let guess = guess(policy, status, headers, &said, times).filter(|guess| *guess > initial_age);
    let must_ask = said.no_cache && !overrides;
    // What must be asked about each time, and can't be, is of no use.
    let can_be_asked_about = asked.method == Method::GET && has_validator(headers);
    if must_ask && !can_be_asked_about {
        return Err(NotStored::NoCache);
    }
    let has_word = !matches!(word, Word::None);
    let mut stale = staleness(&said, policy, status, has_word, overrides);
    let chosen = chosen(left, word, guess, overrides);
    // What nobody gives a lifetime is for asking about, not for use; the route's window is for what was fresh once. The
    // upstream may well mean it otherwise, and then says so.
    if chosen.is_err() && said.stale_while_revalidate.is_none() {
        stale.while_revalidate = Duration::ZERO.into();
    }
    // What is kept without a lifetime must be good for something else.
    let is_of_use = can_be_asked_about || !stale.longest().is_zero();
    let (until, source) = match chosen {
        Ok((_, Source::Upstream)) => (until(explicit, initial_age, times), Source::Upstream),
        Ok((_, Source::Heuristic)) => (until(guess, initial_age, times), Source::Heuristic),
        Ok((lifetime, source)) => {
            (times.answered_at.plus(shortened(lifetime, policy.jitter, shorten)), source)
        }
        Err(NotStored::Expired | NotStored::NoLifetime) if is_of_use => {
            (until(explicit, initial_age, times), Source::Upstream)
        }
        Err(why) => return Err(why),
    };
    // Does the upstream, by itself, let this be used again for this audience?
    let everyone = asked.audience == Audience::Everyone;
    let upstream_agrees = left.is_some_and(counts) && !said.no_cache && !(said.private && everyone);
    if !upstream_agrees {
        on_the_routes_word_alone(asked, headers)?;
    }
    let immutable = said.immutable;
    let answered_at = times.answered_at;
    Ok(Keep {
        lifetime: Lifetime {
            fresh_until: until,
            initial_age: initial_age.into(),
            answered_at,
            source,
            must_ask,
            immutable,
            stale,
        },
        withheld: withheld(said, everyone, overrides),
    })
}

/// When a lifetime of the upstream's, or none, is over.
fn until(lifetime: Option<Duration>, initial_age: Duration, times: Times) -> Timestamp {
    fresh_until(lifetime.unwrap_or(initial_age), initial_age, times.answered_at)
}

/// What may be guessed of a lifetime that nobody gave.
fn guess(
    policy: &Policy,
    status: StatusCode,
    headers: &HeaderMap,
    said: &ResponseDirectives,
    times: Times,
) -> Option<Duration> {
    // RFC 9111, 4.2.2: a cache "MUST NOT use heuristics to determine freshness when an explicit expiration time is present
    // in the stored response. Because of the requirements in Section 3, heuristics can only be used on responses without
    // explicit freshness whose status codes are defined as "heuristically cacheable" (e.g., see Section 15.1 of [HTTP]) and
    // on responses without explicit freshness that have been marked as explicitly cacheable (e.g., with a public response
    // directive)."
    (is_heuristically_cacheable(status) || said.public)
        .then(|| heuristic_lifetime(headers, policy.heuristic, times.answered_at))
        .flatten()
}

/// The fields that are not kept.
fn withheld(said: ResponseDirectives, everyone: bool, overrides: bool) -> Vec<HeaderName> {
    // RFC 9111, 5.2.2.4: "The qualified form of the no-cache response directive, with an argument that lists one or more
    // field names, indicates that a cache MAY use the response to satisfy a subsequent request, subject to any other
    // restrictions on caching, if the listed header fields are excluded from the subsequent response".
    let mut names = if overrides { Vec::new() } else { said.no_cache_fields };
    // RFC 9111, 5.2.2.7: "If a qualified private response directive is present, with an argument that lists one or more field
    // names, then only the listed header fields are limited to a single user: a shared cache MUST NOT store the listed header
    // fields if they are present in the original response but MAY store the remainder of the response message".
    if everyone {
        names.extend(said.private_fields);
    }
    names
}

/// Is it a response that a cache knows how to keep?
fn understood(asked: &Asked<'_>, status: StatusCode, headers: &HeaderMap) -> Result<(), NotStored> {
    // RFC 9111, 3: "the request method is understood by the cache". An answer to HEAD has no body to answer a GET
    // with, and the next GET brings the same head. RFC 10008, 2.7: "The response to a QUERY method is cacheable; a cache
    // MAY use it to satisfy subsequent QUERY requests". RFC 9110, 9.3.3: "a POST request cannot be satisfied by a cached
    // POST response because POST is potentially unsafe"; whoever names POST for a route says that it is a read there.
    if asked.method != Method::GET && !asked.method_is_cached {
        return Err(NotStored::Method);
    }
    // RFC 9111, 3.3: "A cache MUST NOT store incomplete or partial-content responses if it does not support the Range and
    // Content-Range header fields or if it does not understand the range units used in those fields." What is supported is one part, that was asked for, and says where it lies.
    let is_part = asked.wants_part && ContentRange::read(headers).is_some();
    if status == StatusCode::PARTIAL_CONTENT && !is_part {
        return Err(NotStored::PartialContent);
    }
    // RFC 9111, 3: "the response status code is final".
    if status.is_informational() {
        return Err(NotStored::Status);
    }
    if is_never_stored(status) {
        return Err(NotStored::Status);
    }
    Ok(())
}

/// The statuses of RFC 9110, 15.1 that are "defined as heuristically cacheable", and 451 (RFC 7725, 3).
fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 451 | 501)
}

/// Whether its requirements on caching are known here: those of RFC 9110, 15 are, and 451.
fn is_known(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=206 | 300..=305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 451 | 500..=505
    )
}

/// Whether no lifetime makes a final response with this status storable.
fn is_never_stored(status: StatusCode) -> bool {
    let code = status.as_u16();
    // RFC 9111, 3: "if the response status code is 206 or 304 […]: the cache understands the response status code". A 304
    // completes what is stored, and here nothing is revalidated.
    code == 304
        // They answer what is not in the key: a proxy's credentials, conditions, a range, an expectation.
        || matches!(code, 407 | 412 | 416 | 417)
        // RFC 6585, 3 to 6: "Responses with the 428 [429, 431, 511] status code MUST NOT be stored by a cache."
        || matches!(code, 428 | 429 | 431 | 511)
}

/// What the route has to say of a response with this status.
fn route_word(policy: &Policy, status: StatusCode) -> Word {
    let (lifetime, source) = match status.as_u16() {
        // Of the statuses that RFC 9110, 15.1 calls heuristically cacheable, those that say of the resource what it
        // is. Not 204 and 300: "nothing there" and "choose one" are passing answers of an API, kept only if the
        // upstream says so.
        200 | 203 | 206 | 301 | 308 => (policy.ttl, Source::Route),
        404 | 405 | 410 | 414 | 451 | 501 => (policy.negative_ttl, Source::Negative),
        _ => return Word::None,
    };
    if counts(lifetime) { Word::Given(lifetime, source) } else { Word::Silent }
}

/// Whether the route's word stands before the upstream's. Not with a lifetime of zero, which says nothing, and not
/// over a failure of the upstream.
fn overrides(policy: &Policy, status: StatusCode, word: Word) -> bool {
    policy.override_upstream && !status.is_server_error() && matches!(word, Word::Given(..))
}

/// Does anything forbid it, whatever its lifetime?
fn permitted(
    asked: &Asked<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    said: &ResponseDirectives,
    overrides: bool,
) -> Result<(), NotStored> {
    let everyone = asked.audience == Audience::Everyone;
    // RFC 9111, 3: "if the response status code is 206 or 304, or the must-understand cache directive (see Section 5.2.2.3)
    // is present: the cache understands the response status code".
    if said.must_understand && !is_known(status) {
        return Err(NotStored::NotUnderstood);
    }
    // RFC 9111, 3: "the no-store cache directive is not present in the response". 5.2.2.3: "When a cache that implements the
    // must-understand directive receives a response that includes it, the cache SHOULD ignore the no-store directive if it
    // understands and implements the status code's caching requirements."
    if said.no_store && !said.must_understand {
        return Err(NotStored::NoStore);
    }
    // RFC 9111, 5.2.1.5: "The no-store request directive indicates that a cache MUST NOT store any part of either
    // this request or any response to it."
    if RequestDirectives::read(asked.headers).no_store {
        return Err(NotStored::RequestNoStore);
    }
    // RFC 9111, 3: "if the cache is shared: the private response directive is either not present or allows a shared
    // cache to store a modified response". An entry that only its own identity gets is not shared.
    if said.private && everyone && !overrides {
        return Err(NotStored::Private);
    }
    // RFC 9111, 7.3: "Note that the Set-Cookie response header field does not inhibit caching […]. Servers that wish to
    // control caching of these responses are encouraged to emit appropriate Cache-Control response header fields". Many
    // don't, and then one client's session is everyone's: never.
    if headers.contains_key(SET_COOKIE) && everyone {
        return Err(NotStored::SetCookie);
    }
    // RFC 9111, 4.1: "A stored response with a Vary header field value containing a member "*" always fails to match."
    let vary = VaryOn::read(headers).ok_or(NotStored::VaryStar)?;
    // RFC 9111, 4.1: fields must "match those fields in the original request (i.e., the request that caused the cached
    // response to be stored)". Of these the upstream saw others than came here, so there is nothing to compare.
    if vary.names().iter().any(is_rewritten) {
        return Err(NotStored::VaryForwarded);
    }
    // RFC 9111, 3.5: "A shared cache MUST NOT use a cached response to a request with an Authorization header field to
    // satisfy any subsequent request unless the response contains a Cache-Control field with a response directive that
    // allows it to be stored by a shared cache, and the cache conforms to the requirements of that directive for that
    // response. In this specification, the following response directives have such an effect: must-revalidate, public,
    // and s-maxage." On an identity's entry the credential is in the key.
    if everyone && !asked.declared_shared && asked.headers.contains_key(AUTHORIZATION) {
        let allowed = said.public || said.must_revalidate || said.s_maxage.is_some_and(counts);
        if !allowed {
            return Err(NotStored::Authorization);
        }
    }
    Ok(())
}

/// Whose lifetime it is. `left`: what remains of the upstream's. `guess`: what may be guessed where nobody gives one.
fn chosen(
    left: Option<Duration>,
    word: Word,
    guess: Option<Duration>,
    overrides: bool,
) -> Result<(Duration, Source), NotStored> {
    match (left, word) {
        (_, Word::Given(lifetime, source)) if overrides => Ok((lifetime, source)),
        // RFC 9111, 3, a response may be stored if it contains: "an Expires header field", "a max-age response
        // directive", "if the cache is shared: an s-maxage response directive". A zero lifetime says the opposite.
        (Some(left), _) if counts(left) => Ok((left, Source::Upstream)),
        (Some(_), _) => Err(NotStored::Expired),
        // RFC 9111, 3: "a cache extension that allows it to be cached": the operator's word, where there is no other.
        (None, Word::Given(lifetime, source)) => Ok((lifetime, source)),
        (None, _) if guess.is_some() => Ok((guess.unwrap_or_default(), Source::Heuristic)),
        (None, Word::Silent) => Err(NotStored::NoLifetime),
        (None, Word::None) => Err(NotStored::Status),
    }
}

/// What must not be kept only because a route gave a ttl.
fn on_the_routes_word_alone(asked: &Asked<'_>, headers: &HeaderMap) -> Result<(), NotStored> {
    if headers.contains_key(SET_COOKIE) {
        return Err(NotStored::SetCookie);
    }
    if asked.undeclared_credential && asked.audience == Audience::Everyone {
        return Err(NotStored::UndeclaredCredential);
    }
    Ok(())
}

/// Less up to `jitter` of itself, and never nothing.
fn shortened(lifetime: Duration, jitter: f64, shorten: f64) -> Duration {
    let kept = 1.0 - jitter.clamp(0.0, 1.0) * shorten.clamp(0.0, 1.0);
    Duration::try_from_secs_f64(lifetime.as_secs_f64() * kept)
        .unwrap_or(lifetime)
        .clamp(Duration::from_millis(1), lifetime)
}

/// Whether a lifetime is one on a clock of milliseconds.
fn counts(lifetime: Duration) -> bool {
    lifetime >= Duration::from_millis(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::semantics::example::headers;
    use crate::semantics::freshness::Staleness;
    use proptest::prelude::*;

    /// Sat, 21 Nov 2026 00:00:00 GMT.
    const CAME: Timestamp = Timestamp::from_millis(1_795_219_200_000);

    type Fields<'a> = &'a [(&'a str, &'a str)];
    type Outcome = Result<(u64, Source), NotStored>;

    /// A request and its answer; each test says what differs from the ordinary.
    #[derive(Clone)]
    #[expect(clippy::struct_excessive_bools, reason = "each is a thing that is so or not")]
    struct Case<'a> {
        method: Method,
        /// What the route names beside GET.
        also: &'a [Method],
        request: Fields<'a>,
        audience: Audience,
        declared_shared: bool,
        undeclared_credential: bool,
        wants_part: bool,
        status: u16,
        response: Fields<'a>,
        ttl: u64,
        negative_ttl: u64,
        overrides: bool,
        /// `stale_while_revalidate` and `stale_if_error` of the route.
        windows: (u64, u64),
        heuristic: f64,
    }

    /// What the upstream allows by itself.
    fn plain(response: Fields<'_>) -> Case<'_> {
        Case {
            method: Method::GET,
            also: &[],
            request: &[],
            audience: Audience::Everyone,
            declared_shared: false,
            undeclared_credential: false,
            wants_part: false,
            status: 200,
            response,
            ttl: 0,
            negative_ttl: 0,
            overrides: false,
            windows: (0, 0),
            heuristic: 0.1,
        }
    }

    /// On a route with `ttl = 300 s`, `negative_ttl = 20 s`.
    fn routed(response: Fields<'_>) -> Case<'_> {
        Case { ttl: 300, negative_ttl: 20, ..plain(response) }
    }

    /// … and `override`.
    fn overriding(response: Fields<'_>) -> Case<'_> {
        Case { overrides: true, ..routed(response) }
    }

    impl Case<'_> {
        fn ask(&self, jitter: f64, shorten: f64) -> Result<Lifetime, NotStored> {
            self.keep(jitter, shorten).map(|keep| keep.lifetime)
        }

        fn keep(&self, jitter: f64, shorten: f64) -> Result<Keep, NotStored> {
            let request = headers(self.request);
            let asked = Asked {
                method: &self.method,
                method_is_cached: self.also.contains(&self.method),
                headers: &request,
                audience: self.audience,
                declared_shared: self.declared_shared,
                undeclared_credential: self.undeclared_credential,
                wants_part: self.wants_part,
            };
            let policy = Policy {
                ttl: Duration::from_secs(self.ttl),
                override_upstream: self.overrides,
                negative_ttl: Duration::from_secs(self.negative_ttl),
                jitter,
                heuristic: self.heuristic,
                stale_while_revalidate: Duration::from_secs(self.windows.0),
                stale_if_error: Duration::from_secs(self.windows.1),
            };
            let times = Times { requested_at: CAME, answered_at: CAME };
            let status = StatusCode::from_u16(self.status).unwrap();
            storable(&asked, status, &headers(self.response), &policy, times, shorten)
        }

        /// Seconds it may be kept, and on whose word.
        fn outcome(&self) -> Outcome {
            let lifetime = self.ask(0.0, 0.0)?;
            assert_eq!(lifetime.answered_at, CAME);
            Ok((lifetime.left(CAME).as_secs(), lifetime.source))
        }
    }

    fn check(table: &[(Case<'_>, Outcome)]) {
        for (row, (case, expected)) in table.iter().enumerate() {
            let Case { status, request, response, .. } = case;
            assert_eq!(case.outcome(), *expected, "row {row}: {request:?} → {status} {response:?}");
        }
    }

    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    const COOKIE: (&str, &str) = ("set-cookie", "id=1");

    #[test]
    fn an_upstream_that_gives_a_lifetime_is_obeyed_with_or_without_a_route() {
        let upstream = |seconds| Ok((seconds, Source::Upstream));
        check(&[
            (plain(&[FRESH]), upstream(60)),
            (routed(&[FRESH]), upstream(60)),
            (plain(&[FRESH, ("age", "20")]), upstream(40)),
            (plain(&[FRESH, ("age", "60")]), Err(NotStored::Expired)),
            (plain(&[("cache-control", "max-age=0")]), Err(NotStored::Expired)),
            (routed(&[("cache-control", "max-age=0")]), Err(NotStored::Expired)),
            (routed(&[("cache-control", "max-age=x")]), Err(NotStored::Expired)),
            (routed(&[("cache-control", "max-age=60, s-maxage=0")]), Err(NotStored::Expired)),
            (routed(&[("expires", "0")]), Err(NotStored::Expired)),
            (plain(&[("expires", "Sat, 21 Nov 2026 00:01:00 GMT")]), upstream(60)),
            (
                plain(&[
                    ("expires", "Sat, 21 Nov 2026 00:01:00 GMT"),
                    ("date", "Fri, 20 Nov 2026 23:59:50 GMT"),
                ]),
                upstream(60),
            ),
        ]);
    }

    #[test]
    fn where_the_upstream_is_silent_the_route_gives_the_lifetime_by_status() {
        let route = Ok((300, Source::Route));
        let negative = Ok((20, Source::Negative));
        for (status, expected) in [
            (200, route),
            (203, route),
            (301, route),
            (308, route),
            (404, negative),
            (405, negative),
            (410, negative),
            (414, negative),
            (451, negative),
            (501, negative),
            (204, Err(NotStored::Status)),
            (300, Err(NotStored::Status)),
            (302, Err(NotStored::Status)),
            (307, Err(NotStored::Status)),
            (400, Err(NotStored::Status)),
            (401, Err(NotStored::Status)),
            (403, Err(NotStored::Status)),
            (500, Err(NotStored::Status)),
            (502, Err(NotStored::Status)),
            (503, Err(NotStored::Status)),
        ] {
            check(&[(Case { status, ..routed(&[]) }, expected)]);
            let off = if expected.is_ok() { NotStored::NoLifetime } else { NotStored::Status };
            check(&[(Case { status, ..plain(&[]) }, Err(off))]);
        }
    }

    #[test]
    fn a_lifetime_from_the_upstream_makes_any_final_status_storable_that_stands_for_itself() {
        for status in [200, 203, 204, 299, 302, 307, 400, 401, 403, 404, 500, 502, 503, 599] {
            check(&[(Case { status, ..plain(&[FRESH]) }, Ok((60, Source::Upstream)))]);
        }
        for status in [100, 101, 103, 304, 407, 412, 416, 417, 428, 429, 431, 511] {
            check(&[(Case { status, ..overriding(&[FRESH]) }, Err(NotStored::Status))]);
        }
    }

    const PART: Fields<'_> = &[FRESH, ("content-range", "bytes 0-4/9")];

    #[test]
    fn parts_nobody_asked_for_and_other_methods_are_not_stored() {
        check(&[
            (Case { status: 206, ..plain(PART) }, Err(NotStored::PartialContent)),
            (Case { status: 206, wants_part: true, ..plain(PART) }, Ok((60, Source::Upstream))),
            (Case { status: 206, wants_part: true, ..plain(&[FRESH]) }, Err(NotStored::PartialContent)),
            (
                Case { status: 206, wants_part: true, ..routed(&[("content-range", "bytes 0-4/9")]) },
                Ok((300, Source::Route)),
            ),
            // RFC 9110, 14.4: "The Content-Range header field has no meaning for status codes that do not explicitly describe its
            // semantic."
            (plain(&[FRESH, ("content-range", "bytes 0-1/5")]), Ok((60, Source::Upstream))),
            (Case { method: Method::HEAD, ..routed(&[FRESH]) }, Err(NotStored::Method)),
            (Case { method: Method::POST, ..routed(&[FRESH]) }, Err(NotStored::Method)),
            (Case { method: Method::QUERY, ..routed(&[FRESH]) }, Err(NotStored::Method)),
        ]);
    }

    #[test]
    fn a_method_that_the_route_names_is_stored_by_the_same_rules() {
        for method in [Method::POST, Method::QUERY] {
            let named = |response| Case {
                method: method.clone(),
                also: &[Method::POST, Method::QUERY],
                ..plain(response)
            };
            let by_route = Case { ttl: 300, ..named(&[]) };
            check(&[
                (named(&[FRESH]), Ok((60, Source::Upstream))),
                (by_route, Ok((300, Source::Route))),
                (named(&[]), Err(NotStored::NoLifetime)),
                (named(&[("cache-control", "no-store")]), Err(NotStored::NoStore)),
                (named(&[FRESH, ("set-cookie", "a=b")]), Err(NotStored::SetCookie)),
                (Case { status: 206, ..named(&[FRESH]) }, Err(NotStored::PartialContent)),
            ]);
        }
    }

    #[test]
    fn what_forbids_storing_goes_before_every_lifetime() {
        let everyone = routed;
        let identity = |response| Case { audience: Audience::Identity, ..routed(response) };
        let no_store: Fields<'_> = &[("cache-control", "max-age=60"), ("cache-control", "No-Store")];
        let no_cache: Fields<'_> = &[("cache-control", "no-cache, max-age=60")];
        let private: Fields<'_> = &[("cache-control", "private, max-age=60")];
        let client: Fields<'_> = &[("cache-control", "no-store")];
        check(&[
            (everyone(no_store), Err(NotStored::NoStore)),
            (identity(no_store), Err(NotStored::NoStore)),
            (overriding(no_store), Err(NotStored::NoStore)),
            (Case { request: client, ..everyone(&[FRESH]) }, Err(NotStored::RequestNoStore)),
            (Case { request: client, ..overriding(&[FRESH]) }, Err(NotStored::RequestNoStore)),
            (everyone(no_cache), Err(NotStored::NoCache)),
            (identity(no_cache), Err(NotStored::NoCache)),
            (everyone(&[("cache-control", "no-cache=\"x y\", max-age=60")]), Err(NotStored::NoCache)),
            (overriding(no_cache), Ok((300, Source::Route))),
            (everyone(private), Err(NotStored::Private)),
            (everyone(&[("cache-control", "private=\"x y\", max-age=60")]), Err(NotStored::Private)),
            (identity(private), Ok((60, Source::Upstream))),
            (identity(&[("cache-control", "private")]), Ok((300, Source::Route))),
            (overriding(private), Ok((300, Source::Route))),
            (everyone(&[FRESH, ("vary", "accept, *")]), Err(NotStored::VaryStar)),
            (overriding(&[("vary", "*")]), Err(NotStored::VaryStar)),
            (everyone(&[FRESH, ("vary", "accept")]), Ok((60, Source::Upstream))),
            (everyone(&[FRESH, ("vary", "accept, X-Forwarded-For")]), Err(NotStored::VaryForwarded)),
            (identity(&[FRESH, ("vary", "forwarded")]), Err(NotStored::VaryForwarded)),
            (overriding(&[("vary", "x_forwarded_prefix")]), Err(NotStored::VaryForwarded)),
            (everyone(&[FRESH, ("vary", "x-forwarded-proto, x-forwarded-host")]), Ok((60, Source::Upstream))),
        ]);
    }

    #[test]
    fn set_cookie_is_stored_for_an_identity_only_and_only_if_the_upstream_gives_a_lifetime() {
        let identity = |case| Case { audience: Audience::Identity, ..case };
        check(&[
            (plain(&[FRESH, COOKIE]), Err(NotStored::SetCookie)),
            (plain(&[("cache-control", "public, s-maxage=60"), COOKIE]), Err(NotStored::SetCookie)),
            (routed(&[COOKIE]), Err(NotStored::SetCookie)),
            (overriding(&[FRESH, COOKIE]), Err(NotStored::SetCookie)),
            (Case { declared_shared: true, ..overriding(&[COOKIE]) }, Err(NotStored::SetCookie)),
            (identity(plain(&[FRESH, COOKIE])), Ok((60, Source::Upstream))),
            (identity(routed(&[COOKIE])), Err(NotStored::SetCookie)),
            (identity(overriding(&[COOKIE])), Err(NotStored::SetCookie)),
            (identity(overriding(&[FRESH, COOKIE])), Ok((300, Source::Route))),
            (
                identity(overriding(&[("cache-control", "no-cache, max-age=60"), COOKIE])),
                Err(NotStored::SetCookie),
            ),
            (identity(overriding(&[("cache-control", "max-age=0"), COOKIE])), Err(NotStored::SetCookie)),
        ]);
    }

    #[test]
    fn an_answer_to_authorization_is_for_everyone_only_if_somebody_says_so() {
        let bearing = |case| Case { request: &[("authorization", "Bearer x")], ..case };
        check(&[
            (bearing(plain(&[FRESH])), Err(NotStored::Authorization)),
            (bearing(routed(&[])), Err(NotStored::Authorization)),
            (bearing(overriding(&[FRESH])), Err(NotStored::Authorization)),
            (bearing(plain(&[("cache-control", "max-age=60, public")])), Ok((60, Source::Upstream))),
            (bearing(plain(&[("cache-control", "s-maxage=60")])), Ok((60, Source::Upstream))),
            (bearing(overriding(&[("cache-control", "s-maxage=x")])), Err(NotStored::Authorization)),
            (bearing(plain(&[("cache-control", "max-age=60, must-revalidate")])), Ok((60, Source::Upstream))),
            (
                bearing(plain(&[("cache-control", "max-age=60, proxy-revalidate")])),
                Err(NotStored::Authorization),
            ),
            (bearing(routed(&[("cache-control", "public")])), Ok((300, Source::Route))),
            (Case { declared_shared: true, ..bearing(routed(&[])) }, Ok((300, Source::Route))),
            (Case { audience: Audience::Identity, ..bearing(routed(&[])) }, Ok((300, Source::Route))),
        ]);
    }

    #[test]
    fn a_credential_that_nobody_declared_needs_the_upstreams_own_word() {
        let bearing = |case| Case { undeclared_credential: true, ..case };
        check(&[
            (bearing(routed(&[])), Err(NotStored::UndeclaredCredential)),
            (bearing(Case { status: 404, ..routed(&[]) }), Err(NotStored::UndeclaredCredential)),
            (bearing(plain(&[])), Err(NotStored::NoLifetime)),
            (bearing(routed(&[FRESH])), Ok((60, Source::Upstream))),
            (bearing(overriding(&[FRESH])), Ok((300, Source::Route))),
            (bearing(overriding(&[])), Err(NotStored::UndeclaredCredential)),
            (
                bearing(overriding(&[("cache-control", "private, max-age=60")])),
                Err(NotStored::UndeclaredCredential),
            ),
            (Case { audience: Audience::Identity, ..bearing(routed(&[])) }, Ok((300, Source::Route))),
        ]);
    }

    #[test]
    fn override_puts_the_routes_word_first_where_it_has_one() {
        let stale: Fields<'_> = &[("cache-control", "max-age=0")];
        let old: Fields<'_> = &[FRESH, ("age", "500")];
        let of = |status, response| Case { status, ..overriding(response) };
        check(&[
            (overriding(&[FRESH]), Ok((300, Source::Route))),
            (overriding(stale), Ok((300, Source::Route))),
            (overriding(old), Ok((300, Source::Route))),
            (of(404, &[FRESH]), Ok((20, Source::Negative))),
            (of(302, &[FRESH]), Ok((60, Source::Upstream))),
            (of(302, &[]), Err(NotStored::Status)),
            (of(500, &[FRESH]), Ok((60, Source::Upstream))),
            (of(500, stale), Err(NotStored::Expired)),
            (of(501, &[FRESH]), Ok((60, Source::Upstream))),
            (of(501, &[]), Ok((20, Source::Negative))),
            (of(503, &[("cache-control", "no-cache, max-age=60")]), Err(NotStored::NoCache)),
            (Case { ttl: 0, ..overriding(&[FRESH]) }, Ok((60, Source::Upstream))),
            (Case { ttl: 0, ..overriding(&[]) }, Err(NotStored::NoLifetime)),
            (
                Case { ttl: 0, ..overriding(&[("cache-control", "private, max-age=60")]) },
                Err(NotStored::Private),
            ),
            (Case { negative_ttl: 0, ..of(404, &[("cache-control", "no-cache")]) }, Err(NotStored::NoCache)),
        ]);
    }

    const ETAG: (&str, &str) = ("etag", "\"v1\"");
    /// A hundred seconds before the answer came.
    const MODIFIED: (&str, &str) = ("last-modified", "Fri, 20 Nov 2026 23:58:20 GMT");

    #[test]
    fn a_lifetime_that_nobody_gives_is_guessed_from_last_modified() {
        let guess = Ok((10, Source::Heuristic));
        for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 451, 501] {
            check(&[(Case { status, ..plain(&[MODIFIED]) }, guess)]);
        }
        for status in [201, 202, 302, 303, 307, 400, 403, 500, 502, 503, 504, 599] {
            check(&[(Case { status, ..plain(&[MODIFIED]) }, Err(NotStored::Status))]);
            check(&[(Case { status, ..plain(&[MODIFIED, ("cache-control", "public")]) }, guess)]);
        }
        check(&[
            (plain(&[MODIFIED, ("age", "4")]), Ok((6, Source::Heuristic))),
            (plain(&[MODIFIED, ("date", "Fri, 20 Nov 2026 23:59:58 GMT")]), Ok((7, Source::Heuristic))),
            (plain(&[("last-modified", "Fri, 20 Nov 2020 00:00:00 GMT")]), Ok((86_400, Source::Heuristic))),
            // Not where somebody says something, nor where nobody is to be believed.
            (routed(&[MODIFIED]), Ok((300, Source::Route))),
            (plain(&[MODIFIED, FRESH]), Ok((60, Source::Upstream))),
            (plain(&[MODIFIED, COOKIE]), Err(NotStored::SetCookie)),
            (
                Case { undeclared_credential: true, ..plain(&[MODIFIED]) },
                Err(NotStored::UndeclaredCredential),
            ),
            (plain(&[("last-modified", "yesterday")]), Err(NotStored::NoLifetime)),
            (Case { heuristic: 0.0, ..plain(&[MODIFIED]) }, Ok((0, Source::Upstream))),
            (Case { heuristic: 0.5, ..plain(&[MODIFIED]) }, Ok((50, Source::Heuristic))),
            (plain(&[("last-modified", "Sat, 21 Nov 2026 00:00:10 GMT")]), Ok((0, Source::Upstream))),
            (plain(&[MODIFIED, ("pragma", "no-cache")]), Ok((0, Source::Upstream))),
        ]);
    }

    #[test]
    fn what_is_stale_when_it_comes_is_kept_if_it_can_be_asked_about_or_used_past_its_end() {
        let stale = Ok((0, Source::Upstream));
        check(&[
            (plain(&[ETAG]), stale),
            (plain(&[("cache-control", "max-age=0"), ETAG]), stale),
            (plain(&[("cache-control", "max-age=0"), MODIFIED]), stale),
            (plain(&[("cache-control", "no-cache"), ETAG]), stale),
            (plain(&[("cache-control", "no-cache, max-age=60"), ETAG]), Ok((60, Source::Upstream))),
            (plain(&[("cache-control", "max-age=0, stale-while-revalidate=9")]), stale),
            (plain(&[("cache-control", "max-age=0, stale-if-error=9")]), stale),
            (
                plain(&[("cache-control", "max-age=0, stale-if-error=9, must-revalidate")]),
                Err(NotStored::Expired),
            ),
            (Case { status: 500, ..plain(&[ETAG]) }, Err(NotStored::Status)),
            (plain(&[ETAG, COOKIE]), Err(NotStored::SetCookie)),
            (Case { undeclared_credential: true, ..plain(&[ETAG]) }, Err(NotStored::UndeclaredCredential)),
        ]);
        let old = plain(&[FRESH, ETAG, ("age", "100")]).ask(0.0, 0.0).unwrap();
        assert_eq!(old.staleness(CAME), Duration::from_secs(40));
        assert!(!old.can_be_shared());
        let asked_about = plain(&[("cache-control", "no-cache, max-age=60"), ETAG]).ask(0.0, 0.0).unwrap();
        assert!(asked_about.must_ask && asked_about.stale.prohibited && !asked_about.can_be_shared());
    }

    #[test]
    fn must_understand_stores_what_is_known_whatever_no_store_says_and_nothing_else() {
        let with = |status, text| {
            let fields: &'static [(&str, &str)] = match text {
                0 => &[("cache-control", "max-age=60, must-understand, no-store")],
                1 => &[("cache-control", "max-age=60, must-understand")],
                _ => &[("cache-control", "max-age=60, must-understand=1")],
            };
            Case { status, ..plain(fields) }
        };
        check(&[
            (with(200, 0), Ok((60, Source::Upstream))),
            (with(200, 1), Ok((60, Source::Upstream))),
            (with(200, 2), Err(NotStored::NoStore)),
            (with(599, 0), Err(NotStored::NotUnderstood)),
            (with(599, 1), Err(NotStored::NotUnderstood)),
            (with(299, 1), Err(NotStored::NotUnderstood)),
        ]);
    }

    #[test]
    fn stale_windows_are_the_upstreams_or_else_the_routes_and_none_where_staleness_is_prohibited() {
        let prohibited = Staleness { prohibited: true, ..Staleness::default() };
        let windows = |swr, sie| Staleness {
            strict: false,
            prohibited: false,
            while_revalidate: Duration::from_secs(swr).into(),
            if_error: Duration::from_secs(sie).into(),
        };
        let table: &[(&str, bool, Staleness)] = &[
            ("max-age=60", false, windows(5, 50)),
            ("max-age=60, stale-while-revalidate=7", false, windows(7, 50)),
            ("max-age=60, stale-while-revalidate=7, stale-if-error=70", false, windows(7, 70)),
            ("max-age=60, stale-while-revalidate=0", false, windows(0, 50)),
            ("max-age=60, stale-while-revalidate=7", true, windows(5, 50)),
            ("max-age=60, must-revalidate", false, prohibited),
            ("max-age=60, proxy-revalidate, stale-if-error=70", false, prohibited),
            ("max-age=60, must-revalidate", true, windows(5, 50)),
            ("s-maxage=60", false, prohibited),
            ("s-maxage=60, stale-if-error=70", false, Staleness { prohibited: true, ..windows(0, 70) }),
            ("s-maxage=60", true, windows(5, 50)),
        ];
        for (text, overrides, expected) in table {
            let response = [("cache-control", *text)];
            let case = Case { windows: (5, 50), overrides: *overrides, ..routed(&response) };
            assert_eq!(case.ask(0.0, 0.0).unwrap().stale, *expected, "{text} {overrides}");
        }
    }

    #[test]
    fn fields_named_by_no_cache_and_private_are_not_kept() {
        let response = [("cache-control", "max-age=60, no-cache=\"a\", private=\"b, c\"")];
        let names = |case: Case<'_>| {
            let keep = case.keep(0.0, 0.0).unwrap();
            keep.withheld.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(plain(&response)), "a b c");
        assert_eq!(names(Case { audience: Audience::Identity, ..plain(&response) }), "a");
        assert_eq!(names(overriding(&response)), "b c");
    }

    #[test]
    fn jitter_shortens_what_the_route_gave_and_nothing_else() {
        let left = |case: &Case<'_>, jitter, shorten| case.ask(jitter, shorten).unwrap().left(CAME);
        let route = routed(&[]);
        for (jitter, shorten, millis) in [
            (0.05, 0.0, 300_000),
            (0.05, 1.0, 285_000),
            (0.5, 0.5, 225_000),
            (1.0, 1.0, 1),
            (7.0, 1.0, 1),
            (-1.0, 1.0, 300_000),
            (f64::NAN, 1.0, 300_000),
        ] {
            assert_eq!(left(&route, jitter, shorten), Duration::from_millis(millis), "{jitter} {shorten}");
        }
        assert_eq!(left(&routed(&[FRESH]), 0.5, 1.0), Duration::from_secs(60));
        let negative = Case { status: 404, ..routed(&[]) };
        assert_eq!(left(&negative, 0.5, 1.0), Duration::from_secs(10));
    }

    #[test]
    fn a_slow_answer_uses_up_the_upstreams_lifetime_but_not_the_routes() {
        let fields = headers(&[]);
        let asked = Asked {
            method: &Method::GET,
            method_is_cached: false,
            headers: &fields,
            audience: Audience::Everyone,
            declared_shared: false,
            undeclared_credential: false,
            wants_part: false,
        };
        let policy = Policy {
            ttl: Duration::from_secs(2),
            override_upstream: false,
            negative_ttl: Duration::ZERO,
            jitter: 0.0,
            heuristic: 0.1,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
        };
        let times = Times { requested_at: CAME, answered_at: CAME.plus(Duration::from_secs(3)) };
        let ask = |response| storable(&asked, StatusCode::OK, &headers(response), &policy, times, 0.0);
        let route = ask(&[]).unwrap().lifetime;
        assert_eq!(route.fresh_until, CAME.plus(Duration::from_secs(5)));
        assert_eq!(route.age(times.answered_at), Duration::from_secs(3));
        assert_eq!(ask(&[("cache-control", "max-age=3")]), Err(NotStored::Expired));
        let upstream = ask(&[("cache-control", "max-age=4")]).unwrap().lifetime;
        assert_eq!(upstream.left(times.answered_at), Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn nothing_that_says_no_store_or_sets_a_cookie_is_stored_for_everyone(
            cache_control in "[a-z=0-9, -]{0,40}",
            other in prop_oneof![Just(("cache-control", "no-store")), Just(COOKIE)],
            overrides in any::<bool>(),
            status in 100_u16..600,
        ) {
            let response = [("cache-control", cache_control.as_str()), other];
            let case = Case { status, overrides, ..routed(&response) };
            prop_assert!(case.outcome().is_err());
        }

        #[test]
        fn whatever_is_stored_is_fresh_when_it_comes_or_good_for_something_else(
            cache_control in "((max-age|s-maxage|stale-if-error)=[0-9]{0,4}(, )?){1,2}",
            age in "[0-9]{0,4}",
            etag in any::<bool>(),
        ) {
            let etag = if etag { ("etag", "\"x\"") } else { ("x", "y") };
            let response = [("cache-control", cache_control.as_str()), ("age", age.as_str()), etag];
            if let Ok(lifetime) = plain(&response).ask(0.0, 0.0) {
                let is_of_use = etag.0 == "etag" || !lifetime.stale.longest().is_zero();
                prop_assert!(lifetime.is_fresh(CAME) || is_of_use);
            }
        }
    }
}
