//! All that a cache has seen, and everything it may have made of it.
//!
//! An answer is learnt as it came. A 304, a part and a HEAD are also learnt as what they make of what was there before
//! (RFC 9111, 3.2, 3.4, 4.3.4, 4.3.5): one `Kept` for each answer that they may have been joined with.

use http::HeaderMap;

use crate::alphabet::Callers;
use crate::fields::{Millis, date, members, only, strongly_equal, weakly_equal};
use crate::law::{Change, Kept, Situation, forbids, is_owed, is_storable, never, not_for};
use crate::server::{Exchange, Sent, bytes_sent, caller, is_read};

/// For how long a failure may stand for the next one.
const MOMENT: Millis = 5_000;

/// What there is to know.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) kept: Vec<Kept>,
    exchanges: Vec<(Exchange, String)>,
    /// See `Situation`.
    changes: Vec<Change>,
    touches: Vec<Change>,
}

impl History {
    pub(crate) fn situation<'a>(
        &'a self,
        callers: Callers,
        method: &'a str,
        path: &'a str,
        request: &'a HeaderMap,
        now: Millis,
    ) -> Situation<'a> {
        let (changes, touches) = (&self.changes, &self.touches);
        Situation { method, path, request, callers, now, failed: false, changes, touches }
    }

    /// An exchange that was made for this request of a client.
    pub(crate) fn learn(&mut self, exchange: &Exchange, client: &HeaderMap, callers: Callers) {
        self.exchanges.push((exchange.clone(), caller(client)));
        self.note_write(exchange);
        let Some(sent) = &exchange.answer else { return };
        let mut own = own(exchange, sent, client);
        let situation = self.situation(callers, &exchange.method, &exchange.path, client, own.answered_at);
        own.is_sure = is_storable(&own, &situation);
        let mut all = Vec::new();
        for base in self.kept.iter().filter(|base| joins(base, &own, exchange, &situation)) {
            for head in joined_heads(base, sent, callers) {
                let taint = never(base, &situation);
                all.push(Kept { taint, ..joined(base, &own, head) });
            }
        }
        self.kept.push(own);
        for kept in all {
            self.add(kept);
        }
    }

    /// The cache had this answer only now.
    pub(crate) fn came_late(&mut self, serial: usize, now: Millis) {
        for kept in self.kept.iter_mut().filter(|kept| kept.serial == serial) {
            kept.answered_at = now;
        }
    }

    /// Two that are alike in all but their requests are one.
    fn add(&mut self, new: Kept) {
        let alike = |kept: &&mut Kept| {
            kept.serial == new.serial
                && kept.head == new.head
                && kept.body == new.body
                && kept.has == new.has
                && kept.taint == new.taint
        };
        match self.kept.iter_mut().find(|kept| alike(kept) && !kept.made_of.is_empty()) {
            Some(kept) => {
                kept.requests.extend(new.requests);
                kept.made_of.extend(new.made_of);
            }
            None => self.kept.push(new),
        }
    }

    fn note_write(&mut self, exchange: &Exchange) {
        if is_read(&exchange.method) {
            return;
        }
        let none = HeaderMap::new();
        let head = exchange.answer.as_ref().map_or(&none, |sent| &sent.head);
        let groups = members(head, "cache-group-invalidation");
        let of = |path: &str, groups: &[String]| Change {
            path: path.to_owned(),
            groups: groups.to_vec(),
            before: exchange.sent_after,
        };
        if exchange.is_successful_write() {
            self.changes.push(of(&exchange.path, &groups));
        }
        // What the origin refuses as the client's mistake has changed nothing.
        let is_refused = exchange.status().is_some_and(|status| (400..500).contains(&status));
        if !is_refused || !groups.is_empty() {
            self.touches.push(of(&exchange.path, &groups));
        }
        if !is_refused {
            let named = ["location", "content-location"].map(|name| only(head, name));
            self.touches.extend(named.into_iter().flatten().map(|path| of(path, &[])));
        }
    }

    /// Whether the origin has failed to answer for this path, and that a moment ago.
    pub(crate) fn failed_lately(&self, path: &str, now: Millis) -> bool {
        let mut all = self.exchanges.iter().rev().map(|(exchange, _)| exchange);
        let last = all.find(|exchange| exchange.path == path && is_read(&exchange.method));
        last.is_some_and(|last| last.is_error() && now < last.answered_at + MOMENT)
    }

    /// The answer that this request must get without anybody asking the origin.
    pub(crate) fn owed(&self, situation: &Situation<'_>) -> Option<&Kept> {
        let mut all = self.kept.iter().rev();
        all.find(|kept| is_owed(kept, situation) && !self.may_be_displaced(kept, situation))
    }

    /// Whether what came later may have taken its place.
    fn may_be_displaced(&self, kept: &Kept, situation: &Situation<'_>) -> bool {
        let asker = caller(situation.request);
        let later = self.exchanges.iter().filter(|(exchange, _)| {
            exchange.serial > kept.serial && exchange.path == kept.path && is_read(&exchange.method)
        });
        let of_key = later.filter(|(_, by)| situation.callers == Callers::Nobody || *by == asker);
        of_key.into_iter().any(|(exchange, _)| {
            let results = || self.kept.iter().filter(|each| each.serial == exchange.serial && each.is_sure);
            let is_beside = |each: &Kept| {
                members(&each.head, "vary") == members(&kept.head, "vary")
                    && !not_for(each, situation).is_empty()
            };
            let harmless = exchange.is_error() && !self.says_how_long(exchange.serial);
            !harmless && !results().any(|each| is_owed(each, situation) || is_beside(each))
        })
    }

    fn says_how_long(&self, serial: usize) -> bool {
        let mut own = self.kept.iter().filter(|kept| kept.serial == serial);
        own.any(|kept| kept.head.contains_key("cache-control") || kept.head.contains_key("expires"))
    }

    /// RFC 9111, 4: "When more than one suitable response is stored, a cache MUST use the most recent one (as determined by
    /// the Date header field)". `before`: the first exchange that is made for this very request.
    pub(crate) fn is_superseded(&self, kept: &Kept, situation: &Situation<'_>, before: usize) -> bool {
        let dated = |kept: &Kept| only(&kept.head, "date").and_then(date).unwrap_or(kept.answered_at);
        self.kept.iter().any(|newer| {
            (kept.serial + 1..before).contains(&newer.serial)
                && dated(newer) >= dated(kept)
                && is_owed(newer, situation)
                && !self.may_be_displaced(newer, situation)
        })
    }

    /// Why what this exchange brought must not be given to one who had not asked for it.
    pub(crate) fn not_for_others(&self, serial: usize, situation: &Situation<'_>) -> Vec<String> {
        let made = self.kept.iter().filter(|kept| kept.serial == serial && !kept.is_fleeting);
        let least = made.map(|kept| forbids(kept, situation)).min_by_key(Vec::len).unwrap_or_default();
        least
            .into_iter()
            .map(|reason| format!("#{serial} was given to several in spite of {reason}"))
            .collect()
    }

    /// A client was given what this exchange and an older answer make together: then they are kept together.
    pub(crate) fn saw_joined(&mut self, at: usize, callers: Callers) {
        let kept = &self.kept[at];
        let client = kept.requests.last().cloned().unwrap_or_default();
        let situation = self.situation(callers, &kept.method, &kept.path, &client, kept.answered_at);
        let is_kept = is_storable(kept, &situation);
        self.kept[at].is_sure = is_kept;
    }

    /// The next moment after this at which something ends that an answer has said.
    pub(crate) fn next_end(&self, now: Millis) -> Option<Millis> {
        self.kept.iter().flat_map(Kept::ends).filter(|end| *end > now).min()
    }

    /// Whether an answer that the cache may hold has just these validators.
    pub(crate) fn knows_validators(&self, exchange: &Exchange, client: &HeaderMap) -> bool {
        let conditions = ["if-none-match", "if-modified-since"];
        let is_theirs = |name| exchange.request.get_all(name).iter().eq(client.get_all(name));
        let is_asked = |name| exchange.request.contains_key(name);
        if !conditions.into_iter().any(is_asked) || conditions.into_iter().all(is_theirs) {
            return true;
        }
        let theirs = members(client, "if-none-match");
        let tags = members(&exchange.request, "if-none-match");
        let since = only(&exchange.request, "if-modified-since");
        self.kept.iter().filter(|kept| kept.path == exchange.path && kept.serial < exchange.serial).any(
            |kept| {
                let own_tag = only(&kept.head, "etag");
                let tags_fit = tags.iter().all(|tag| Some(&**tag) == own_tag || theirs.contains(tag));
                let dates = [
                    only(&kept.head, "last-modified"),
                    only(&kept.head, "date"),
                    only(client, "if-modified-since"),
                ];
                tags_fit && since.is_none_or(|since| dates.contains(&Some(since)))
            },
        )
    }
}

/// As it came.
fn own(exchange: &Exchange, sent: &Sent, client: &HeaderMap) -> Kept {
    let has = bytes_sent(&exchange.method, sent);
    let named = only(&sent.head, "content-location");
    let is_new_state = exchange.method == "POST" && sent.status == 200 && named == Some(&*exchange.path);
    let is_itself = sent.status == 416 || !is_read(&exchange.method);
    let (status, head, body) = if is_itself {
        (sent.status, sent.head.clone(), sent.body.clone())
    } else {
        (sent.whole.status, sent.whole.head.clone(), sent.whole.body.clone())
    };
    Kept {
        serial: exchange.serial,
        method: exchange.method.clone(),
        path: exchange.path.clone(),
        requests: vec![client.clone()],
        sent_at: exchange.sent_at,
        answered_at: exchange.answered_at,
        sent_after: exchange.sent_after + usize::from(is_new_state),
        status,
        has: if is_itself { vec![true; body.len()] } else { has },
        head,
        body,
        is_fleeting: (is_itself && !is_new_state) || sent.status == 304,
        is_sure: false,
        made_of: Vec::new(),
        taint: Vec::new(),
        is_new_state,
    }
}

/// Whether a cache may join what it has with what came.
fn joins(base: &Kept, own: &Kept, exchange: &Exchange, situation: &Situation<'_>) -> bool {
    if base.is_fleeting || !(base.method == "GET" || base.is_new_state) || base.status != 200 {
        return false;
    }
    let both = |name| only(&base.head, name).zip(only(&own.head, name));
    // The same strong tag is the same representation, whatever it was negotiated by.
    let is_same =
        both("etag").is_some_and(|(one, other)| strongly_equal(one, other)) && base.path == own.path;
    let as_get = Situation { method: "GET", ..*situation };
    if !is_same && !not_for(base, &as_get).is_empty() {
        return false;
    }
    match exchange.status() {
        // RFC 9111, 4.3.4; without an ETag in the request the date was what it named.
        Some(304) => {
            let tags = members(&exchange.request, "if-none-match");
            let named = |tag: &str| tags.iter().any(|named| named == "*" || weakly_equal(named, tag));
            let same_tag = both("etag").is_none_or(|(one, other)| weakly_equal(one, other));
            let since = only(&exchange.request, "if-modified-since").and_then(date);
            let modified = ["last-modified", "date"].map(|name| only(&base.head, name).and_then(date));
            let by_date = tags.is_empty() && modified.into_iter().flatten().any(|at| Some(at) <= since);
            same_tag && (by_date || only(&base.head, "etag").is_some_and(named))
        }
        // RFC 9111, 3.4: "they all share the same strong validator".
        Some(206) => is_same || is_same_by_date(base, own),
        // RFC 9111, 4.3.5.
        Some(200) if exchange.method == "HEAD" => {
            let fits = |name| both(name).is_none_or(|(one, other)| one == other);
            let received = |name| own.head.contains_key(name) && !base.head.contains_key(name);
            let same = |name| fits(name) && !received(name);
            same("etag") && same("last-modified") && base.body.len() == own.body.len()
        }
        _ => false,
    }
}

/// RFC 9110, 8.8.2.2: a date is a strong validator if the answer was sent at least a second after it.
fn is_same_by_date(one: &Kept, other: &Kept) -> bool {
    let dates = |kept: &Kept| ["last-modified", "date"].map(|name| only(&kept.head, name).and_then(date));
    let strong = |kept: &Kept| match dates(kept) {
        [Some(modified), Some(sent)] if sent >= modified + 1000 => Some(modified),
        _ => None,
    };
    let untagged = [one, other].iter().all(|kept| !kept.head.contains_key("etag"));
    untagged && strong(one).is_some() && strong(one) == strong(other)
}

fn joined(base: &Kept, own: &Kept, head: HeaderMap) -> Kept {
    let mut requests = base.requests.clone();
    requests.extend(own.requests.clone());
    let has = base.has.iter().zip(&own.has).map(|(one, other)| *one || *other);
    Kept {
        requests,
        head,
        has: if base.has.len() == own.has.len() { has.collect() } else { base.has.clone() },
        body: base.body.clone(),
        method: base.method.clone(),
        made_of: vec![base.serial],
        is_new_state: base.is_new_state,
        is_fleeting: false,
        is_sure: false,
        ..own.clone()
    }
}

/// RFC 9111, 3.2: "The cache MUST add each header field in the provided response to the stored response, replacing field
/// values that are already present". Where the new answer has no `Date` or `Age` one may keep the old one or not; and what the
/// old one withholds need not have been stored (3.1).
fn joined_heads(base: &Kept, sent: &Sent, callers: Callers) -> Vec<HeaderMap> {
    let mut head = base.head.clone();
    for name in sent.head.keys().filter(|name| !matches!(name.as_str(), "content-length" | "content-range")) {
        head.remove(name);
        for value in sent.head.get_all(name) {
            head.append(name, value.clone());
        }
    }
    let mut heads = vec![head];
    let withheld = base.withheld(callers);
    for name in ["date", "age"].into_iter().chain(withheld.iter().map(String::as_str)) {
        if base.head.contains_key(name) && !sent.head.contains_key(name) {
            let without = heads.clone().into_iter().map(|mut head| {
                head.remove(name);
                head
            });
            heads.extend(without.collect::<Vec<_>>());
        }
    }
    heads
}
