//! An answer that is to be kept: where it will lie, and what of it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use http::header::AGE;
use http::{HeaderMap, Response, StatusCode};

use super::Proxy;
use super::called::Called;
use super::job::{Facts, Terms};
use super::landing::Arrived;
use super::plan::variant_key;
use super::prepare::{add_date, compact, prepare, without};
use super::tee::Tee;
use crate::object::{Head, Key, Labels, Packed, Stored, Whereabouts};
use crate::semantics::range::ContentRange;
use crate::semantics::storable::Keep;
use crate::semantics::vary::VaryOn;
use crate::semantics::{Lifetime, validator};
use crate::store::{Evicted, Room};
use crate::upstream::{Connector, Received};

/// An answer that will be kept, once it is whole.
#[derive(Debug)]
pub struct Keeping {
    /// What readers need.
    pub arrived: Arc<Arrived>,
    /// Where it will lie.
    pub key: Key,
    pub(super) body: Received,
    pub(super) facts: Facts,
    /// What it can be called by, as far as its head tells.
    pub(super) called: Called,
    /// The key without variants.
    pub(super) base: Key,
    /// What of it is here already.
    pub(super) around: Around,
}

/// What is put before and behind a body that comes, to make it whole.
#[derive(Debug, Default)]
pub struct Around {
    /// The beginning, or nothing.
    pub before: Bytes,
    /// The end, or nothing.
    pub after: Bytes,
    /// How many bytes must come between the two.
    pub between: Option<u64>,
}

impl Keeping {
    /// `head` is ready but for what is withheld; `length`: of all of it.
    pub(super) fn new(
        head: Head,
        body: Received,
        (length, room): (Option<u64>, Room),
        (keep, (key, vary)): (Keep, Place),
        (facts, called, terms): (Facts, Called, &Terms),
        around: Around,
    ) -> Self {
        let Head { status, mut headers } = head;
        let was_cached = headers.remove(AGE).is_some();
        let whole_head = without(&keep.withheld, &mut headers).map(|headers| Head { status, headers });
        let part = (status == StatusCode::PARTIAL_CONTENT).then(|| ContentRange::read(&headers)).flatten();
        let head = Arc::new(Head { status, headers });
        let tee = Tee::new(length, room);
        let lifetime = keep.lifetime;
        let answered = if around.between.is_some() { StatusCode::PARTIAL_CONTENT } else { status };
        let known = (called.clone(), facts.stamp);
        let arrived =
            Arrived::new((head, answered, whole_head), (part, lifetime, vary, was_cached), known, tee);
        let arrived = Arc::new(arrived);
        Self { arrived, key, body, facts, called, base: terms.cacheable.key, around }
    }
}

impl Keeping {
    /// Who asked is told this status: it is kept as an answer to another method.
    pub(super) fn answer_as(&mut self, status: StatusCode) {
        if let Some(arrived) = Arc::get_mut(&mut self.arrived)
            && arrived.head.status != status
        {
            arrived.answered = status;
            let headers =
                arrived.whole_head.take().map_or_else(|| arrived.head.headers.clone(), |head| head.headers);
            arrived.whole_head = Some(Head { status, headers });
        }
    }
}

/// Where an answer lies, and what it varies on.
pub(super) type Place = (Key, Arc<VaryOn>);

impl<C: Connector> Proxy<C> {
    pub(super) fn keeping(
        response: Response<Received>,
        keep: Keep,
        (room, place): (Room, Place),
        facts: (Facts, Called, &Terms),
    ) -> Keeping {
        let length = http_body::Body::size_hint(response.body()).exact();
        let (parts, body) = response.into_parts();
        let mut headers = compact(parts.headers);
        prepare(&mut headers, parts.version);
        add_date(&mut headers, facts.0.times.answered_at);
        let head = Head { status: parts.status, headers };
        Keeping::new(head, body, (length, room), (keep, place), facts, Around::default())
    }

    /// Where an answer with these fields will lie, and what it varies on.
    pub(super) fn place(&self, terms: &Terms, answer: &HeaderMap) -> Place {
        let base = terms.cacheable.key;
        // `storable` has refused `*`.
        let vary = Arc::new(VaryOn::read(answer).unwrap_or_default());
        if vary.is_empty() {
            return (base, vary);
        }
        let key = variant_key(&base, &vary, terms.headers(), &self.snapshot.identity);
        // Before anybody hears of the answer: who finds it not to be theirs looks here which variant is.
        self.list((base, key, &vary), terms.headers(), answer);
        (key, vary)
    }

    /// Lists a variant of a resource among those that memory holds.
    pub(super) fn list(
        &self,
        (base, key, vary): (Key, Key, &VaryOn),
        request: &HeaderMap,
        answer: &HeaderMap,
    ) {
        let variants = self.memory.variants(&base, vary);
        let now = self.clock.now();
        // One that is not there at all may be coming in.
        let is_over = |key: &Key| self.entry_at(key).is_some_and(|kept| !kept.lifetime.is_fresh(now));
        let evicted = variants.admit(key, request, answer, self.variants_max, is_over);
        self.memory.put_variants(base, &variants);
        if let Some(Evicted { key, splits }) = evicted {
            self.telemetry.memory.variants_evicted.add_one(splits.as_str());
            self.memory.forget(&key);
        }
    }

    /// Keeps an answer, unless a later one is here already: false.
    pub(super) fn put(&self, key: Key, stored: Arc<Stored>) -> bool {
        // RFC 9111, 4: "When more than one suitable response is stored, a cache MUST use the most recent one": a long body
        // that was asked for earlier must not take the place of what was asked for later and is here already. But where that is
        // a part of it, nothing is lost; and what is over or dead is in nobody's way. What was declared invalid while it came takes no place
        // of what was not.
        // Found out now, while all that it depends on is at hand, and written on it: the first hit need not.
        let is_live = self.record.is_live(&stored);
        let has_newer = self.entry_at(&key).is_some_and(|kept| {
            let is_later = kept.requested_at > stored.requested_at
                && kept.lifetime.is_fresh(stored.lifetime.answered_at)
                && !is_part_of(&kept, &stored);
            is_later || !is_live
        });
        if !has_newer {
            self.memory.put(key, stored);
        }
        !has_newer
    }

    /// All of an answer that is kept.
    pub(super) fn stored(
        &self,
        head: &Head,
        body: Bytes,
        part: Option<ContentRange>,
        (lifetime, labels): (Lifetime, Labels),
        facts: &Facts,
    ) -> Stored {
        Stored {
            head: Packed::new(head, body),
            body_id: self.dice.draw(),
            requested_at: facts.times.requested_at,
            part: part.map(Box::new),
            labels,
            lifetime,
            route: Arc::clone(&self.snapshot.routes.get(facts.route).name),
            stamp: facts.stamp,
            live_at: AtomicU64::new(0),
            asked_in_vain_until: AtomicU64::new(0),
            whereabouts: Whereabouts::default(),
        }
    }
}

/// Whether all bytes of one are in the other, which is whole.
pub(super) fn is_part_of(one: &Stored, other: &Stored) -> bool {
    let is_part = one.part.is_some() && other.part.is_none();
    is_part && validator::are_same_bytes(&one.head.headers(), &other.head.headers())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::clock::Clock;
    use crate::config::{Sources, load_text};
    use crate::invalidation::Event;
    use crate::object::example;
    use crate::upstream::NetConnector;
    use crate::{app, upstream};

    fn proxy() -> Arc<Proxy<NetConnector>> {
        let text = "[upstream]\nurl = \"http://origin.test\"\n";
        let settings = load_text(Path::new("larder.toml"), text, &Sources::default()).unwrap().settings;
        let connector = upstream::connector(&settings.upstream).unwrap();
        let (telemetry, name) = (app::telemetry(&settings), "alone".to_owned());
        app::assemble(&settings, Clock::System, telemetry, connector, None, name).unwrap()
    }

    #[test]
    fn what_is_kept_is_found_live_then_so_that_its_first_hit_need_not_look() {
        let (proxy, key) = (proxy(), Key::from_bytes([1; 32]));
        // Where nothing lies, and where something does.
        for body in [b"one", b"two"] {
            let stored = Stored { stamp: proxy.record.stamp(), ..example::stored(&[], body) };
            // Of something else: now one has to look to know.
            proxy.record.declare(Event { tags: vec!["user:8".to_owned()], ..Event::default() }, None);
            let stored = Arc::new(stored);
            assert!(proxy.put(key, Arc::clone(&stored)));
            assert_eq!(stored.live_at.load(Relaxed), proxy.record.version());
        }
    }
}
