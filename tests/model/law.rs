//! The model: what RFC 9111 lets a shared cache do with an answer that it has seen, and what it promises to do.
//!
//! `Kept` is an answer as a cache might hold it. Nothing here knows what Larder did hold: every answer that ever came is
//! one, and so is everything that a 304, a part or a HEAD may have made of it. `forbids` says why one of them must not
//! answer a request without asking; `is_owed` whether it must. Where a field can be read in several ways, `forbids` takes the
//! reading that allows most and `is_owed` the one that allows least: what lies between is the cache's own affair.

use http::HeaderMap;

use crate::alphabet::Callers;
use crate::fields::{Directives, Millis, date, lines, members, only, seconds, unquoted};
use crate::server::{caller, is_read, language_wanted, meaning};
use crate::{GROUPS_INVALIDATE, TARGETED_FIELDS, UNSAFE_METHODS_INVALIDATE};

/// An answer as a cache might hold it.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Of the exchange that its head is from.
    pub(crate) serial: usize,
    pub(crate) method: String,
    pub(crate) path: String,
    /// As clients sent it: the request that it answered, and all by which it was confirmed.
    pub(crate) requests: Vec<HeaderMap>,
    pub(crate) sent_at: Millis,
    pub(crate) answered_at: Millis,
    pub(crate) sent_after: usize,
    pub(crate) status: u16,
    pub(crate) head: HeaderMap,
    /// All bytes of the representation …
    pub(crate) body: Vec<u8>,
    /// … and which of them the cache was sent.
    pub(crate) has: Vec<bool>,
    /// Only an answer to the one who asked: a 304, or what answers a write.
    pub(crate) is_fleeting: bool,
    /// A cache that keeps what it may has this now.
    pub(crate) is_sure: bool,
    /// It answers a POST with the new state of the URI itself (RFC 9110, 9.3.3).
    pub(crate) is_new_state: bool,
    /// Its head was made from those of others, whose serials these are.
    pub(crate) made_of: Vec<usize>,
    /// Why those were not to be stored.
    pub(crate) taint: Vec<String>,
}

/// A request that a client sends, and what goes on around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) request: &'a HeaderMap,
    pub(crate) callers: Callers,
    pub(crate) now: Millis,
    /// The origin was asked for this request, or a moment ago for another, and failed.
    pub(crate) failed: bool,
    /// What writes have changed.
    pub(crate) changes: &'a [Change],
    /// … and what they may have changed.
    pub(crate) touches: &'a [Change],
}

/// What a write has changed.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) path: String,
    /// RFC 9875, 3.
    pub(crate) groups: Vec<String>,
    /// So many writes have succeeded before it.
    pub(crate) before: usize,
}

impl Change {
    fn concerns(&self, kept: &Kept) -> bool {
        let groups = members(&kept.head, "cache-groups");
        let is_grouped = GROUPS_INVALIDATE && groups.iter().any(|group| self.groups.contains(group));
        let is_named = self.path == kept.path || is_grouped;
        is_named && self.before >= kept.sent_after
    }
}

/// One way to read an answer's head.
#[derive(Clone, Debug)]
struct Reading {
    said: Directives,
    /// None: nothing is said of it.
    lifetime: Option<Millis>,
}

impl Kept {
    /// RFC 9213, 2.2: the first targeted field that is valid and not empty governs alone.
    fn directives(&self) -> (Directives, bool) {
        let targeted = Directives::read(&self.head, "cdn-cache-control");
        let is_valid =
            targeted.sound && !lines(&self.head, "cdn-cache-control").iter().any(|line| line.ends_with(','));
        if TARGETED_FIELDS && is_valid && !targeted.list.is_empty() {
            return (targeted, true);
        }
        (Directives::read(&self.head, "cache-control"), false)
    }

    fn readings(&self) -> Vec<Reading> {
        let (said, targeted) = self.directives();
        let lifetimes = self.lifetimes(&said, targeted).into_iter();
        lifetimes.map(|lifetime| Reading { said: said.clone(), lifetime }).collect()
    }

    /// RFC 9111, 4.2.1: s-maxage, max-age, Expires less Date.
    fn lifetimes(&self, said: &Directives, targeted: bool) -> Vec<Option<Millis>> {
        for name in ["s-maxage", "max-age"] {
            let arguments = said.arguments(name);
            if let [Some(text)] = arguments[..]
                && let Some(lifetime) = seconds(text)
                && said.sound
            {
                return vec![Some(lifetime * 1000)];
            }
            // "When there is more than one value present for a given directive […], either the first occurrence should be
            // used or the response should be considered stale." "Caches are encouraged to consider responses that have
            // invalid freshness information […] to be stale." Of quoted numbers 5.2 says that both forms ought to be read.
            if let Some(first) = arguments.first() {
                let first = first.map(unquoted).and_then(seconds).unwrap_or(0);
                return vec![Some(first * 1000), Some(0)];
            }
        }
        let expires = lines(&self.head, "expires");
        let Some(first) = expires.first().filter(|_| !targeted) else {
            return [None].into_iter().chain(self.heuristic_lifetime(said).map(Some)).collect();
        };
        let from = only(&self.head, "date").and_then(date).unwrap_or(self.answered_at);
        // 5.3: "A cache recipient MUST interpret invalid date formats, especially the value "0", as representing a time in
        // the past".
        let lifetime = date(first).map_or(0, |until| until.saturating_sub(from));
        if expires.len() == 1 { vec![Some(lifetime)] } else { vec![Some(lifetime), Some(0)] }
    }

    /// RFC 9111, 4.2.2: "no more than some fraction of the interval since that time. A typical setting of this fraction might be
    /// 10%." For a POST not: RFC 9110, 9.3.3 has it "explicit".
    fn heuristic_lifetime(&self, said: &Directives) -> Option<Millis> {
        let is_cacheable = matches!(self.status, 200 | 404) || said.says("public");
        let modified = only(&self.head, "last-modified").and_then(date)?;
        let from = only(&self.head, "date").and_then(date).unwrap_or(self.answered_at);
        (is_cacheable && !self.is_new_state).then_some(from.saturating_sub(modified) / 10)
    }

    /// RFC 9111, 5.1: the first member; one that is invalid counts as none.
    fn age_value(&self) -> u64 {
        members(&self.head, "age").first().and_then(|text| seconds(text)).unwrap_or(0)
    }

    /// RFC 9111, 4.2.3: `current_age`, in milliseconds: at least this and at most that. `Date` has whole seconds.
    pub(crate) fn age(&self, now: Millis) -> (Millis, Millis) {
        let response_delay = self.answered_at - self.sent_at;
        let date_value = only(&self.head, "date").and_then(date).unwrap_or(self.answered_at);
        let apparent_age = self.answered_at.saturating_sub(date_value);
        let corrected_age_value = self.age_value() * 1000 + response_delay;
        let resident_time = now.saturating_sub(self.answered_at);
        let least = corrected_age_value.max(apparent_age / 1000 * 1000);
        (least + resident_time, corrected_age_value.max(apparent_age) + resident_time)
    }

    /// Moments at which something ends that this answer says of its time.
    pub(crate) fn ends(&self) -> Vec<Millis> {
        let mut ends = Vec::new();
        for reading in self.readings() {
            let age = self.age(self.answered_at).0;
            let end = self.answered_at + reading.lifetime.unwrap_or(0).saturating_sub(age);
            ends.push(end);
            for window in ["stale-while-revalidate", "stale-if-error"] {
                ends.extend(reading.said.number(window).map(|seconds| end + seconds * 1000));
            }
        }
        ends
    }

    /// Whichever way one reads it.
    pub(crate) fn is_stale(&self, now: Millis) -> bool {
        self.readings().iter().all(|reading| self.age(now).0 >= reading.lifetime.unwrap_or(0))
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.has.iter().all(|has| *has)
    }

    /// Fields that must not be sent again without validation: named by `private="…"` or `no-cache="…"`.
    pub(crate) fn withheld(&self, callers: Callers) -> Vec<String> {
        let (said, _) = self.directives();
        let mut names = if self.is_shared(callers) { said.names("private") } else { Vec::new() };
        names.extend(said.names("no-cache"));
        names
    }

    /// Whether the route's key has nothing of who asked.
    fn is_shared(&self, callers: Callers) -> bool {
        callers == Callers::Nobody || self.requests.iter().all(|request| caller(request).is_empty())
    }
}

/// Why an answer must not be used for this request without asking the origin. Nothing: it may.
pub(crate) fn forbids(kept: &Kept, situation: &Situation<'_>) -> Vec<String> {
    let mut reasons = never(kept, situation);
    reasons.extend(not_for(kept, situation));
    if UNSAFE_METHODS_INVALIDATE && situation.changes.iter().any(|change| change.concerns(kept)) {
        reasons.push(
            "a write to its URI or group has succeeded since it was asked for (RFC 9111, 4.4; RFC 9875, 3)"
                .to_owned(),
        );
    }
    let of_time =
        kept.readings().iter().map(|reading| too_old(kept, reading, situation)).min_by_key(Vec::len);
    reasons.extend(of_time.unwrap_or_default());
    reasons
}

/// Why an answer must never be stored by a shared cache, or at least never used again.
pub(crate) fn never(kept: &Kept, situation: &Situation<'_>) -> Vec<String> {
    let (said, _) = kept.directives();
    let is_shared = kept.is_shared(situation.callers);
    let asked = kept.requests.iter().map(|request| Directives::read(request, "cache-control"));
    let mut reasons = kept.taint.clone();
    let mut because = |holds: bool, reason: &str| {
        if holds {
            reasons.push(reason.to_owned());
        }
    };
    because(kept.is_fleeting, "it was an answer to one request only (RFC 9111, 3)");
    // 5.2.2.3: "A response that contains the must-understand directive SHOULD also contain the no-store directive" and "if a
    // cache […] understands […], it SHOULD ignore the no-store directive".
    let is_understood = said.says("must-understand") && matches!(kept.status, 200 | 404 | 500 | 503);
    because(said.says("no-store") && !is_understood, "its no-store (RFC 9111, 5.2.2.5)");
    because(
        asked.into_iter().any(|asked| asked.says("no-store")),
        "the no-store of its request (RFC 9111, 5.2.1.5)",
    );
    because(is_shared && said.says("private"), "its private (RFC 9111, 5.2.2.7)");
    because(
        is_shared && kept.head.contains_key("set-cookie"),
        "its Set-Cookie (the contract: never on a shared entry)",
    );
    // RFC 9111, 3.5: "must-revalidate, public, and s-maxage".
    let is_public = ["public", "must-revalidate", "s-maxage"].iter().any(|name| said.has(name));
    let authorized = kept.requests.iter().all(|request| request.contains_key("authorization"));
    because(is_shared && authorized && !is_public, "the Authorization of its request (RFC 9111, 3.5)");
    because(members(&kept.head, "vary").iter().any(|name| name == "*"), "its Vary: * (RFC 9111, 4.1)");
    because(kept.status == 429, "its status (RFC 6585, 4)");
    reasons
}

/// Why it is an answer to other requests than this one.
pub(crate) fn not_for(kept: &Kept, situation: &Situation<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    if kept.path != situation.path {
        reasons.push("it is another resource's (RFC 9111, 4)".to_owned());
    }
    let is_answerable = match situation.method {
        "GET" => kept.method == "GET" || kept.is_new_state,
        "HEAD" => is_read(&kept.method) || kept.is_new_state,
        _ => false,
    };
    if !is_answerable {
        reasons.push(format!("it answered a {} (RFC 9111, 4)", kept.method));
    }
    let of_caller = |request: &HeaderMap| caller(request) == caller(situation.request);
    if situation.callers == Callers::Guessed && !kept.requests.iter().any(of_caller) {
        reasons.push("it is another caller's (the contract: nobody sees another's data)".to_owned());
    }
    let of_variant = |request: &HeaderMap| {
        let mut names = members(&kept.head, "vary").into_iter().map(|name| name.to_ascii_lowercase());
        names.all(|name| meaning(&name, request) == meaning(&name, situation.request))
    };
    if !kept.requests.iter().any(of_variant) && !is_in_language(kept, situation.request) {
        reasons.push("it is another variant (RFC 9111, 4.1)".to_owned());
    }
    reasons
}

/// Larder's word, beyond the letter of RFC 9111, 4.1: of variants by `Accept-Language`, one whose `Content-Language` is what a
/// request wants more than all else is what the origin would choose for it.
fn is_in_language(kept: &Kept, request: &HeaderMap) -> bool {
    let names = members(&kept.head, "vary").into_iter().map(|name| name.to_ascii_lowercase());
    let (language, others): (Vec<_>, Vec<_>) = names.partition(|name| name == "accept-language");
    let same = |other: &HeaderMap| others.iter().all(|name| meaning(name, request) == meaning(name, other));
    let spoken = only(&kept.head, "content-language").map(str::to_ascii_lowercase);
    !language.is_empty()
        && spoken.is_some()
        && spoken == language_wanted(request)
        && kept.requests.iter().any(same)
}

/// Why it is too old now, read like this.
fn too_old(kept: &Kept, reading: &Reading, situation: &Situation<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    let said = &reading.said;
    if said.says("no-cache") {
        reasons.push("its no-cache (RFC 9111, 5.2.2.4)".to_owned());
    }
    let asked = Directives::read(situation.request, "cache-control");
    let (age, _) = kept.age(situation.now);
    let lifetime = reading.lifetime.unwrap_or(0);
    let staleness = age.saturating_sub(lifetime);
    let is_fresh = lifetime > age;
    let within = |name: &str| said.number(name).is_some_and(|seconds| staleness <= seconds * 1000);
    // What s-maxage rules out no word of the client's brings back.
    let asks_for_it = asked.number("stale-if-error").is_some_and(|most| staleness <= most * 1000);
    let is_excused = situation.failed && (within("stale-if-error") || (asks_for_it && !said.has("s-maxage")));
    if !is_fresh {
        // RFC 9111, 5.2.2.10: s-maxage "incorporates the semantics of the proxy-revalidate response directive"; not so
        // where the same field gives a window for stale use itself.
        let is_strict = said.says("must-revalidate") || said.says("proxy-revalidate");
        let is_taken = !said.has("s-maxage") && max_stale(&asked).is_some_and(|most| staleness <= most);
        if is_strict || !(is_excused || within("stale-while-revalidate") || is_taken) {
            reasons.push(format!("stale for {staleness} ms (RFC 9111, 4.2.4)"));
        }
    }
    if !is_excused {
        // RFC 8246, 2: "Proxies SHOULD skip conditionally revalidating fresh responses containing the immutable extension unless
        // there is a signal from the client that a validation is necessary (e.g., a no-cache Cache-Control request directive".
        let is_immutable = is_fresh && said.says("immutable");
        reasons.extend(unwanted(&asked, situation.request, age, lifetime, is_immutable));
    }
    reasons
}

/// In milliseconds; without a number, for ever.
fn max_stale(asked: &Directives) -> Option<Millis> {
    let arguments = asked.arguments("max-stale");
    let most =
        |text: Option<&str>| text.map_or(Millis::MAX, |text| seconds(unquoted(text)).unwrap_or(0) * 1000);
    arguments.into_iter().map(most).max()
}

/// Why the client does not want an answer of this age. RFC 9111, 5.2.1 leaves it to the cache to heed that; Larder says it does.
fn unwanted(
    asked: &Directives,
    request: &HeaderMap,
    age: Millis,
    lifetime: Millis,
    is_immutable: bool,
) -> Vec<String> {
    let mut reasons = Vec::new();
    if asked.says("no-cache") {
        reasons.push("the request's no-cache (RFC 9111, 5.2.1.4)".to_owned());
    }
    let is_pragmatic = members(request, "pragma").iter().any(|member| member == "no-cache");
    if is_pragmatic && !request.contains_key("cache-control") {
        reasons.push("the request's Pragma (RFC 7234, 5.4)".to_owned());
    }
    // Of two the one that allows more; both together allow what either does.
    let grace = max_stale(asked).unwrap_or(0);
    let too_old = asked.number("max-age").is_some_and(|most| age / 1000 > most.saturating_add(grace / 1000));
    if too_old && !is_immutable {
        reasons.push("the request's max-age (RFC 9111, 5.2.1.1)".to_owned());
    }
    let wanted = asked.arguments("min-fresh").into_iter().flatten().filter_map(seconds).min();
    if wanted.is_some_and(|wanted| lifetime.saturating_sub(age) < wanted * 1000) {
        reasons.push("the request's min-fresh (RFC 9111, 5.2.1.3)".to_owned());
    }
    reasons
}

/// Whether a cache that keeps what it may must have kept this, when it came.
pub(crate) fn is_storable(kept: &Kept, situation: &Situation<'_>) -> bool {
    let (said, _) = kept.directives();
    let is_plain = |name: &str| {
        matches!(
            name,
            "max-age" | "s-maxage" | "public" | "stale-while-revalidate" | "stale-if-error" | "immutable"
        ) || matches!(name, "must-revalidate" | "proxy-revalidate" | "extension" | "private")
    };
    let understood =
        said.sound && said.list.iter().all(|(name, _)| is_plain(name)) && said.names("private").is_empty();
    let lives = |reading: &Reading| reading.lifetime.unwrap_or(0) > kept.age(kept.answered_at).1;
    let asked = |request: &HeaderMap| {
        Directives::read(request, "cache-control").has("no-store") || request.contains_key("range")
    };
    kept.method == "GET"
        && matches!(kept.status, 200 | 404)
        && kept.is_complete()
        && never(kept, situation).is_empty()
        && !kept.head.contains_key("set-cookie")
        && !kept.requests.iter().any(asked)
        && understood
        && kept.readings().iter().all(lives)
}

/// Whether an answer that is surely kept must be what this request gets, without asking: it is fresh whichever way one reads it,
/// the request is just like the one that it answered, and says nothing against it.
pub(crate) fn is_owed(kept: &Kept, situation: &Situation<'_>) -> bool {
    let (asked, request) = (Directives::read(situation.request, "cache-control"), situation.request);
    let alike = |other: &HeaderMap| {
        let names = members(&kept.head, "vary").into_iter().map(|name| name.to_ascii_lowercase());
        let all = names.chain(["authorization".to_owned(), "cookie".to_owned()]);
        all.into_iter().all(|name| lines(request, &name) == lines(other, &name))
    };
    let suits = |reading: &Reading| {
        let (_, age) = kept.age(situation.now);
        let left = reading.lifetime.unwrap_or(0).saturating_sub(age);
        left > 0
            && asked.list.iter().all(|(name, argument)| {
                let wanted = argument.as_deref().and_then(seconds);
                match &**name {
                    "max-age" => wanted.is_some_and(|most| most > 0 && age <= most * 1000),
                    "min-fresh" => wanted.is_some_and(|least| left >= least * 1000),
                    "max-stale" | "only-if-cached" => true,
                    _ => false,
                }
            })
    };
    let is_touched = situation.touches.iter().any(|change| change.concerns(kept));
    is_read(situation.method)
        && kept.is_sure
        && forbids(kept, situation).is_empty()
        && asked.sound
        && !request.contains_key("pragma")
        && !is_touched
        && kept.requests.iter().all(alike)
        && kept.readings().iter().all(suits)
}
