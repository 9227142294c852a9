//! What is kept, after a 304: brought up to date and kept anew, or not kept any longer.

use std::sync::Arc;

use http::StatusCode;
use http::header::{AGE, DATE};

use super::Proxy;
use super::called::Called;
use super::fill::{Exchange, Fetched};
use super::job::{Facts, Terms};
use super::landing::Confirmed;
use super::prepare::{add_date, compact, prepare, without};
use super::share::New;
use crate::object::{Head, Labels, Stored};
use crate::semantics::freshness::initial_age;
use crate::semantics::{Lifetime, NotStored, validation};
use crate::shared::Lease;
use crate::upstream::Connector;

impl<C: Connector> Proxy<C> {
    /// The upstream has said that what was asked about is good still. None: it did not mean what is kept.
    pub(super) fn confirmed(
        &self,
        (response, facts): Exchange,
        terms: &Terms,
        lease: &mut Option<Box<Lease>>,
    ) -> Option<Fetched> {
        let kept = terms.kept.as_ref()?;
        // It may have been declared invalid while we waited to ask: then what the upstream finds unchanged, by a validator that
        // may be weak, is not what was meant. What is declared from now on finds the stamp of this exchange.
        if !self.record.is_live(kept) {
            return None;
        }
        let (mut by, ()) = response.map(drop).into_parts();
        prepare(&mut by.headers, by.version);
        if !validation::confirms(&by.headers, &kept.head.headers()) {
            return None;
        }
        self.telemetry.validation.confirmed.add_one();
        let was_cached = by.headers.contains_key(AGE);
        let (stored, kept_anew) = self.freshened(kept, &by.headers, (facts, lease), terms);
        let confirmed = Confirmed { stored, was_cached };
        Some(match kept_anew {
            Ok(()) => Fetched::Confirmed(confirmed),
            Err(why) => Fetched::ConfirmedOnce(confirmed, why),
        })
    }

    /// Gives what is kept the fields of a message about it, and keeps it so if the law still lets it be kept.
    pub(super) fn freshened(
        &self,
        kept: &Arc<Stored>,
        by: &http::HeaderMap,
        (facts, lease): (Facts, &mut Option<Box<Lease>>),
        terms: &Terms,
    ) -> (Arc<Stored>, Result<(), NotStored>) {
        let status: StatusCode = kept.head.status;
        let answered_at = facts.times.answered_at;
        let mut headers = compact(validation::updated(&kept.head.headers(), by));
        // What says no date was sent when it came, to the millisecond: a Date of ours would be rounded down.
        if !by.contains_key(DATE) {
            headers.remove(DATE);
        }
        // RFC 9111, 4.3.4: "For each stored response identified, the cache MUST update its header fields with the header fields
        // provided in the 304 (Not Modified) response, as per Section 3.2."
        let decided = self.storable(terms, status, &headers, &facts).and_then(|(keep, called)| {
            let labels = with_old(&called, kept)?;
            Ok(((keep, labels), self.place(terms, &headers)))
        });
        let age = initial_age(&headers, facts.times);
        add_date(&mut headers, facts.times.answered_at);
        headers.remove(AGE);
        let as_it_was =
            Lifetime { initial_age: age.into(), answered_at: facts.times.answered_at, ..kept.lifetime };
        let lifetime = decided.as_ref().map_or(as_it_was, |((keep, _), _)| keep.lifetime);
        let labels = decided.as_ref().map_or_else(|_| kept.labels.clone(), |((_, labels), _)| labels.clone());
        if let Ok(((keep, _), _)) = &decided {
            without(&keep.withheld, &mut headers);
        }
        let head = Head { status, headers };
        let stored =
            self.stored(&head, kept.body(), kept.part.as_deref().copied(), (lifetime, labels), &facts);
        let head = stored.head.with_body_of(&kept.head);
        let stored = Arc::new(Stored { body_id: kept.body_id, head, ..stored });
        let base = terms.cacheable.key;
        match decided {
            Ok((_, (key, vary))) => {
                // What took its place meanwhile is newer than the question.
                if self.entry_at(&key).is_none_or(|now_there| Arc::ptr_eq(&now_there, kept))
                    && self.put(key, Arc::clone(&stored))
                {
                    self.share(
                        &facts,
                        (base, key, vary),
                        &stored,
                        (New::Head, lease.take().map(|lease| *lease)),
                    );
                }
                self.uncacheable.forget(&base);
                (stored, Ok(()))
            }
            Err(why) => {
                self.snapshot.metrics(terms.route).not_stored(why);
                // RFC 9111, 5.2.1.5: "the no-store request directive does not apply to the already stored response"; and who
                // asks can't take from others what they may have.
                if !why.is_of_the_request() {
                    self.uncacheable.learn(base, why, false, answered_at);
                    self.forget(base, terms.headers(), kept);
                }
                (stored, Err(why))
            }
        }
    }
}

/// What its body is called it is called still; what was said of it before comes along, for nobody can tell the two apart. One that
/// is called otherwise each time is fetched anew at last.
fn with_old(called: &Called, kept: &Stored) -> Result<Labels, NotStored> {
    if called.later.is_empty() {
        return Ok(called.labels.clone());
    }
    called.within(called.labels.and(kept.labels.tags())).ok_or(NotStored::Untaggable)
}
