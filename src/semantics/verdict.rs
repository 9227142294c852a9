//! May a kept response answer this request, now.
//!
//! `Forward` is the other outcome's name: why the upstream is asked. A request that says nothing of caches costs two
//! look-ups and a comparison: what the response says was read into its `Lifetime` when it came. Past its end a response is
//! good for what its `Staleness` says, and for clients that take it so.

use std::time::Duration;

use http::HeaderMap;
use http::header::{CACHE_CONTROL, PRAGMA};

use super::cache_control::RequestDirectives;
use super::freshness::Lifetime;
use crate::clock::Timestamp;

/// Why a request went to the upstream: the `fwd` of RFC 9211, with the reason in words where the token says too little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Nothing is kept for this key.
    UriMiss,
    /// Something is kept, but for requests with other values in the fields that the response varies on.
    VaryMiss,
    /// What is kept is stale.
    Stale,
    /// What is kept is a part, and not of it all that is asked for.
    Partial,
    /// What is kept is fresh, and the client's directives don't take it.
    Request,
    /// The method is not one that is answered from what is kept.
    Method,
    /// The cache was told to keep out of it.
    Bypass,
}

/// What may be done with what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Fresh enough for this client.
    Serve,
    /// Stale, and this client takes it so.
    ServeStale,
    /// Stale, and good while it is fetched anew.
    ServeAndRefresh,
    /// The upstream must be asked.
    Ask(Forward),
    /// The client wants no upstream asked, and what is kept won't do: 504.
    OnlyIfCached,
}

impl Verdict {
    /// Whether what is kept is the answer.
    pub fn serves(self) -> bool {
        matches!(self, Self::Serve | Self::ServeStale | Self::ServeAndRefresh)
    }
}

impl Forward {
    /// The token of RFC 9211, 2.2.
    pub fn token(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Partial => "partial",
            Self::Request => "request",
            Self::Method => "method",
            Self::Bypass => "bypass",
        }
    }
}

/// `kept`: what the key and variant gave, if anything. Where nothing was given this says `UriMiss`; who knows that
/// other variants are kept calls it `VaryMiss`.
pub fn verdict(kept: Option<&Lifetime>, request: &HeaderMap, now: Timestamp) -> Verdict {
    let says_nothing = !request.contains_key(CACHE_CONTROL) && !request.contains_key(PRAGMA);
    let Some(lifetime) = kept else {
        let refuses = !says_nothing && RequestDirectives::read(request).only_if_cached;
        return if refuses { Verdict::OnlyIfCached } else { Verdict::Ask(Forward::UriMiss) };
    };
    if says_nothing {
        return undirected(lifetime, now);
    }
    let asked = RequestDirectives::read(request);
    match (directed(lifetime, &asked, now), asked.only_if_cached) {
        // RFC 9111, 5.2.1.7: "The only-if-cached request directive indicates that the client only wishes to obtain a
        // stored response. Caches that honor this request directive SHOULD, upon receiving it, respond with either a
        // stored response consistent with the other constraints of the request or a 504 (Gateway Timeout) status code."
        (Verdict::Ask(_), true) => Verdict::OnlyIfCached,
        // The client wants nothing asked; who comes next begins the refresh.
        (Verdict::ServeAndRefresh, true) => Verdict::ServeStale,
        (verdict, _) => verdict,
    }
}

/// Whether it may be used because the upstream failed, or answered with an error that says nothing of the resource.
pub fn serves_on_error(lifetime: &Lifetime, request: &HeaderMap, now: Timestamp) -> bool {
    let asked = RequestDirectives::read(request);
    // RFC 9111, 4.2.4: "A cache MUST NOT generate a stale response if it is prohibited by an explicit in-protocol directive
    // (e.g., by a no-cache response directive, a must-revalidate response directive, or an applicable s-maxage or
    // proxy-revalidate response directive)". Its own window is zero then, and the client's does not count.
    if lifetime.must_ask {
        return false;
    }
    // A client that asks for what is new is told that there is none.
    if asked.no_cache || asked.max_age.is_some_and(|oldest| lifetime.age(now) > oldest) {
        return false;
    }
    // RFC 5861, 4: "When used as a request Cache-Control extension, its scope of application is the request it appears in;
    // when used as a response Cache-Control extension, its scope is any request applicable to the cached response in which
    // it occurs."
    let clients = asked
        .stale_if_error
        .filter(|_| !lifetime.stale.prohibited && !lifetime.stale.strict)
        .unwrap_or_default();
    let window = Duration::from(lifetime.stale.if_error).max(clients);
    !window.is_zero() && lifetime.staleness(now) < window
}

/// For a client that says nothing of caches.
pub fn undirected(lifetime: &Lifetime, now: Timestamp) -> Verdict {
    // RFC 9111, 5.2.2.4: no-cache "indicates that the response MUST NOT be used to satisfy any other request without
    // forwarding it for validation and receiving a successful response".
    if lifetime.must_ask {
        return Verdict::Ask(Forward::Stale);
    }
    // RFC 9111, 4: "the stored response is one of the following: fresh, allowed to be served stale, successfully
    // validated".
    if lifetime.is_fresh(now) {
        return Verdict::Serve;
    }
    // RFC 5861, 3: "indicates that caches MAY serve the response in which it appears after it becomes stale, up to the
    // indicated number of seconds." The window is zero where staleness is prohibited.
    if lifetime.staleness(now) < Duration::from(lifetime.stale.while_revalidate) {
        return Verdict::ServeAndRefresh;
    }
    Verdict::Ask(Forward::Stale)
}

/// For a client that says what it takes.
fn directed(lifetime: &Lifetime, asked: &RequestDirectives, now: Timestamp) -> Verdict {
    match undirected(lifetime, now) {
        Verdict::Serve if !takes(lifetime, asked, now) => Verdict::Ask(Forward::Request),
        // RFC 9111, 5.2.1.1: "Unless the max-stale request directive is also present, the client does not wish to receive a
        // stale response."
        Verdict::ServeAndRefresh
            if asked.no_cache || asked.max_age.is_some() || asked.min_fresh.is_some() =>
        {
            stale(lifetime, asked, now)
        }
        // RFC 9111, 5.2.1.2: "a response that has exceeded its freshness lifetime by no more than the specified number of
        // seconds".
        Verdict::ServeAndRefresh if asked.max_stale.is_some_and(|most| lifetime.staleness(now) > most) => {
            Verdict::Ask(Forward::Stale)
        }
        Verdict::Ask(_) => stale(lifetime, asked, now),
        verdict => verdict,
    }
}

/// Whether the client takes a stale response.
fn stale(lifetime: &Lifetime, asked: &RequestDirectives, now: Timestamp) -> Verdict {
    let takes_it = asked.max_stale.is_some_and(|most| lifetime.staleness(now) <= most)
        && asked.max_age.is_none_or(|oldest| lifetime.age(now) <= oldest)
        && asked.min_fresh.is_none()
        && !asked.no_cache;
    // RFC 9111, 4.2.4: what prohibits a stale response goes before the client's word.
    if takes_it && !lifetime.must_ask && !lifetime.stale.prohibited && !lifetime.stale.strict {
        return Verdict::ServeStale;
    }
    Verdict::Ask(Forward::Stale)
}

/// Whether the client takes a fresh response of this age. `no-store` is not asked: RFC 9111, 5.2.1.5: "if a request
/// containing this directive is satisfied from a cache, the no-store request directive does not apply to the already
/// stored response."
fn takes(lifetime: &Lifetime, asked: &RequestDirectives, now: Timestamp) -> bool {
    // RFC 9111, 5.2.1.4: "The no-cache request directive indicates that the client prefers a stored response not be
    // used to satisfy the request without successful validation on the origin server."
    if asked.no_cache {
        return false;
    }
    // RFC 9111, 5.2.1.1: "The max-age request directive indicates that the client prefers a response whose age is less
    // than or equal to the specified number of seconds." An age of exactly zero happens only within the clock's step.
    // RFC 8246, 2.1: "Proxies SHOULD skip conditionally revalidating fresh responses containing the immutable extension
    // unless there is a signal from the client that a validation is necessary (e.g., a no-cache Cache-Control request
    // directive". A reload says max-age=0, and is what the extension is for.
    if let Some(oldest) = asked.max_age
        && (oldest.is_zero() || lifetime.age(now) > oldest)
        && !(oldest.is_zero() && lifetime.immutable)
    {
        return false;
    }
    // RFC 9111, 5.2.1.3: "The min-fresh request directive indicates that the client prefers a response whose freshness
    // lifetime is no less than its current age plus the specified time in seconds."
    if let Some(wanted) = asked.min_fresh
        && lifetime.left(now) < wanted
    {
        return false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::example::headers as request;
    use crate::semantics::freshness::{Source, Staleness};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_795_219_200_000 + seconds * 1000)
    }

    /// Came at 0, five seconds old, fresh until 60.
    fn lifetime() -> Lifetime {
        Lifetime {
            fresh_until: at(60),
            initial_age: Duration::from_secs(5).into(),
            answered_at: at(0),
            source: Source::Upstream,
            must_ask: false,
            immutable: false,
            stale: Staleness::default(),
        }
    }

    type Fields<'a> = &'a [(&'a str, &'a str)];

    #[test]
    fn a_fresh_response_is_served_unless_the_client_wants_a_younger_one() {
        use Forward::{Request, Stale};
        use Verdict::{Ask, OnlyIfCached, Serve, ServeStale};
        let table: &[(Fields<'_>, u64, Verdict)] = &[
            (&[], 0, Serve),
            (&[], 59, Serve),
            (&[], 60, Ask(Stale)),
            (&[], 100, Ask(Stale)),
            (&[("accept", "*/*")], 1, Serve),
            (&[("cache-control", "")], 1, Serve),
            (&[("cache-control", "no-cache")], 1, Ask(Request)),
            (&[("cache-control", "no-cache")], 60, Ask(Stale)),
            (&[("pragma", "no-cache")], 1, Ask(Request)),
            (&[("pragma", "no-cache"), ("cache-control", "max-age=99")], 1, Serve),
            (&[("cache-control", "no-store")], 1, Serve),
            (&[("cache-control", "max-age=0")], 0, Ask(Request)),
            (&[("cache-control", "max-age=15")], 10, Serve),
            (&[("cache-control", "max-age=14")], 10, Ask(Request)),
            (&[("cache-control", "max-age=garbage")], 1, Ask(Request)),
            (&[("cache-control", "min-fresh=50")], 10, Serve),
            (&[("cache-control", "min-fresh=51")], 10, Ask(Request)),
            (&[("cache-control", "min-fresh=garbage")], 1, Ask(Request)),
            (&[("cache-control", "max-stale")], 61, ServeStale),
            (&[("cache-control", "max-stale=1")], 61, ServeStale),
            (&[("cache-control", "max-stale=1")], 62, Ask(Stale)),
            (&[("cache-control", "max-stale=x")], 61, Ask(Stale)),
            (&[("cache-control", "max-stale, max-age=66")], 61, ServeStale),
            (&[("cache-control", "max-stale, max-age=65")], 61, Ask(Stale)),
            (&[("cache-control", "max-stale, min-fresh=0")], 61, Ask(Stale)),
            (&[("cache-control", "max-stale, no-cache")], 61, Ask(Stale)),
            (&[("cache-control", "max-stale, only-if-cached")], 61, ServeStale),
            (&[("cache-control", "only-if-cached")], 1, Serve),
            (&[("cache-control", "only-if-cached")], 60, OnlyIfCached),
            (&[("cache-control", "only-if-cached, max-age=1")], 10, OnlyIfCached),
            (&[("cache-control", "only-if-cached, no-cache")], 1, OnlyIfCached),
        ];
        for (fields, now, expected) in table {
            let got = verdict(Some(&lifetime()), &request(fields), at(*now));
            assert_eq!(got, *expected, "{fields:?} at {now}");
        }
    }

    #[test]
    fn a_client_that_reloads_gets_no_kept_response_however_young() {
        let newborn = Lifetime { initial_age: Duration::ZERO.into(), ..lifetime() };
        let reload = request(&[("cache-control", "max-age=0")]);
        assert_eq!(verdict(Some(&newborn), &reload, at(0)), Verdict::Ask(Forward::Request));
    }

    #[test]
    fn what_is_immutable_is_not_asked_about_for_a_reload_but_for_no_cache() {
        let immutable = Lifetime { immutable: true, ..lifetime() };
        let ask = |fields: Fields<'_>, now| verdict(Some(&immutable), &request(fields), at(now));
        assert_eq!(ask(&[("cache-control", "max-age=0")], 10), Verdict::Serve);
        assert_eq!(ask(&[("cache-control", "max-age=1")], 10), Verdict::Ask(Forward::Request));
        assert_eq!(ask(&[("cache-control", "no-cache")], 10), Verdict::Ask(Forward::Request));
        assert_eq!(ask(&[("cache-control", "max-age=0")], 60), Verdict::Ask(Forward::Stale));
    }

    #[test]
    fn what_must_be_asked_about_is_never_served_without() {
        let asked_about =
            Lifetime { must_ask: true, stale: Staleness { prohibited: true, ..windows(9, 9) }, ..lifetime() };
        for fields in [&[][..], &[("cache-control", "max-stale")], &[("cache-control", "max-age=99")]] {
            assert_eq!(verdict(Some(&asked_about), &request(fields), at(1)), Verdict::Ask(Forward::Stale));
            assert!(!serves_on_error(&asked_about, &request(fields), at(1)));
        }
    }

    fn windows(while_revalidate: u64, if_error: u64) -> Staleness {
        Staleness {
            strict: false,
            prohibited: false,
            while_revalidate: Duration::from_secs(while_revalidate).into(),
            if_error: Duration::from_secs(if_error).into(),
        }
    }

    #[test]
    fn in_its_window_a_stale_response_is_served_and_refreshed_unless_the_client_wants_a_fresh_one() {
        use Forward::Stale;
        use Verdict::{Ask, ServeAndRefresh, ServeStale};
        let table: &[(Fields<'_>, u64, Verdict)] = &[
            (&[], 59, Verdict::Serve),
            (&[], 60, ServeAndRefresh),
            (&[], 69, ServeAndRefresh),
            (&[], 70, Ask(Stale)),
            (&[("cache-control", "x")], 60, ServeAndRefresh),
            (&[("cache-control", "max-stale=2")], 62, ServeAndRefresh),
            (&[("cache-control", "max-stale=2")], 63, Ask(Stale)),
            (&[("cache-control", "max-age=999")], 60, Ask(Stale)),
            (&[("cache-control", "max-age=999, max-stale")], 60, ServeStale),
            (&[("cache-control", "min-fresh=0")], 60, Ask(Stale)),
            (&[("cache-control", "no-cache")], 60, Ask(Stale)),
            (&[("cache-control", "only-if-cached")], 60, ServeStale),
        ];
        let lifetime = Lifetime { stale: windows(10, 0), ..lifetime() };
        for (fields, now, expected) in table {
            assert_eq!(
                verdict(Some(&lifetime), &request(fields), at(*now)),
                *expected,
                "{fields:?} at {now}"
            );
        }
    }

    #[test]
    fn on_an_error_a_response_is_served_within_the_window_of_its_own_or_of_the_request() {
        let table: &[(u64, Fields<'_>, u64, bool)] = &[
            (0, &[], 60, false),
            (10, &[], 60, true),
            (10, &[], 69, true),
            (10, &[], 70, false),
            (10, &[("cache-control", "no-cache")], 60, false),
            (10, &[("cache-control", "max-age=5")], 60, false),
            (0, &[("cache-control", "stale-if-error=10")], 69, true),
            (0, &[("cache-control", "stale-if-error=10")], 70, false),
        ];
        for (window, fields, now, expected) in table {
            let lifetime = Lifetime { stale: windows(0, *window), ..lifetime() };
            let got = serves_on_error(&lifetime, &request(fields), at(*now));
            assert_eq!(got, *expected, "{window} {fields:?} at {now}");
        }
        let prohibited =
            Lifetime { stale: Staleness { prohibited: true, ..Staleness::default() }, ..lifetime() };
        let takes_it = request(&[("cache-control", "stale-if-error=10")]);
        assert!(!serves_on_error(&prohibited, &takes_it, at(60)));
    }

    #[test]
    fn where_nothing_is_kept_the_upstream_is_asked_unless_the_client_forbids_it() {
        use Verdict::{Ask, OnlyIfCached};
        let table: &[(Fields<'_>, Verdict)] = &[
            (&[], Ask(Forward::UriMiss)),
            (&[("cache-control", "no-cache")], Ask(Forward::UriMiss)),
            (&[("cache-control", "only-if-cached")], OnlyIfCached),
        ];
        for (fields, expected) in table {
            assert_eq!(verdict(None, &request(fields), at(0)), *expected, "{fields:?}");
        }
    }

    #[test]
    fn tokens_are_those_of_the_registry() {
        let table = [
            (Forward::UriMiss, "uri-miss"),
            (Forward::VaryMiss, "vary-miss"),
            (Forward::Stale, "stale"),
            (Forward::Partial, "partial"),
            (Forward::Request, "request"),
            (Forward::Method, "method"),
            (Forward::Bypass, "bypass"),
        ];
        for (forward, token) in table {
            assert_eq!(forward.token(), token);
        }
    }
}
