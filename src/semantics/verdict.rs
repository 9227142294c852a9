//! May a kept response answer this request, now.
//!
//! `Forward` is the other outcome's name: why the upstream is asked. A request that says nothing of caches costs two
//! look-ups and a comparison. Left out: stale answers (`max-stale`, `stale-while-revalidate`) and revalidation: what is
//! stale is fetched anew.

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
    /// The upstream must be asked.
    Ask(Forward),
    /// The client wants no upstream asked, and what is kept won't do: 504.
    OnlyIfCached,
}

impl Forward {
    /// The token of RFC 9211, 2.2.
    pub fn token(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
            Self::Method => "method",
            Self::Bypass => "bypass",
        }
    }
}

/// `kept`: what the key and variant gave, if anything. Where nothing was given this says `UriMiss`; who knows that
/// other variants are kept calls it `VaryMiss`.
pub fn verdict(kept: Option<&Lifetime>, request: &HeaderMap, now: Timestamp) -> Verdict {
    if !request.contains_key(CACHE_CONTROL) && !request.contains_key(PRAGMA) {
        return match usable(kept, now) {
            Ok(_) => Verdict::Serve,
            Err(why) => Verdict::Ask(why),
        };
    }
    directed(kept, &RequestDirectives::read(request), now)
}

/// What is kept, if it is fresh.
fn usable(kept: Option<&Lifetime>, now: Timestamp) -> Result<&Lifetime, Forward> {
    let lifetime = kept.ok_or(Forward::UriMiss)?;
    // RFC 9111, 4: "the stored response is one of the following: fresh, allowed to be served stale, successfully
    // validated".
    if !lifetime.is_fresh(now) {
        return Err(Forward::Stale);
    }
    Ok(lifetime)
}

/// The same for a client that says what it takes.
fn directed(kept: Option<&Lifetime>, asked: &RequestDirectives, now: Timestamp) -> Verdict {
    let suits = usable(kept, now)
        .and_then(|lifetime| if takes(lifetime, asked, now) { Ok(()) } else { Err(Forward::Request) });
    match suits {
        Ok(()) => Verdict::Serve,
        // RFC 9111, 5.2.1.7: "The only-if-cached request directive indicates that the client only wishes to obtain a
        // stored response. Caches that honor this request directive SHOULD, upon receiving it, respond with either a
        // stored response consistent with the other constraints of the request or a 504 (Gateway Timeout) status code."
        Err(_) if asked.only_if_cached => Verdict::OnlyIfCached,
        Err(why) => Verdict::Ask(why),
    }
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
    if let Some(oldest) = asked.max_age
        && (oldest.is_zero() || lifetime.age(now) > oldest)
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
    use crate::semantics::freshness::Source;
    use std::time::Duration;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_795_219_200_000 + seconds * 1000)
    }

    /// Came at 0, five seconds old, fresh until 60.
    fn lifetime() -> Lifetime {
        Lifetime {
            fresh_until: at(60),
            initial_age: Duration::from_secs(5),
            answered_at: at(0),
            source: Source::Upstream,
        }
    }

    type Fields<'a> = &'a [(&'a str, &'a str)];

    #[test]
    fn a_fresh_response_is_served_unless_the_client_wants_a_younger_one() {
        use Forward::{Request, Stale};
        use Verdict::{Ask, OnlyIfCached, Serve};
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
            (&[("cache-control", "max-stale")], 61, Ask(Stale)),
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
        let newborn = Lifetime { initial_age: Duration::ZERO, ..lifetime() };
        let reload = request(&[("cache-control", "max-age=0")]);
        assert_eq!(verdict(Some(&newborn), &reload, at(0)), Verdict::Ask(Forward::Request));
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
            (Forward::Request, "request"),
            (Forward::Method, "method"),
            (Forward::Bypass, "bypass"),
        ];
        for (forward, token) in table {
            assert_eq!(forward.token(), token);
        }
    }
}
