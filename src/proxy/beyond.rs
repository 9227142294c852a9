//! The second look: into the tier that all instances share, where memory has nothing that will do.
//!
//! ```text
//! find ─ nothing that will do ─▶ read, one for a herd ─┬─ an answer ▶ memory ─▶ the same verdict as over what memory gave
//!                                                      └─ nothing, or trouble ▶ as without it
//! ```
//!
//! What is found there is not believed to be good: it is held against this instance's record of invalidations, against what memory has, and then
//! judged like anything else. Who asks first makes the read; if its client leaves, a task carries it on, for the others. It puts
//! what it found into memory before it leaves the table of reads: who comes then finds the one or the other. Who waited is
//! given what was read even where memory would not take it.

use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use http::header::RANGE;
use http::request::Parts;
use http::{HeaderMap, Method};
use tokio::time::Instant;

use super::Proxy;
use super::client::Client;
use super::job::Terms;
use super::keep::is_part_of;
use super::lookup::{Found, Patience, Tier};
use super::plan::{Cacheable, variant_key};
use super::share::rules_at;
use crate::clock::Timestamp;
use crate::invalidation::Fate;
use crate::object::{Key, Stored};
use crate::semantics::verdict::serves_on_error;
use crate::semantics::{Forward, RequestDirectives, Verdict};
use crate::shared::{CarriedOn, Frame, Joined, Question, Read, Seen, Shared, Sight, in_time};
use crate::store::Slot;
use crate::upstream::Connector;

/// The tier did not answer, or not in time.
#[derive(Debug)]
pub(super) struct Unanswered;

/// What is asked for, as the second look must know it. It has no `Debug`, for it may hold credentials.
#[derive(Clone)]
pub(super) struct Asking {
    /// The key of the resource.
    pub base: Key,
    /// The request.
    pub headers: Arc<HeaderMap>,
    /// The route's place in the snapshot.
    pub route: usize,
    /// The path, with its percent-encoding undone.
    pub path: Arc<[u8]>,
    /// The address of this instance's own socket, if the client asked by that.
    pub here: Option<SocketAddr>,
}

impl Asking {
    /// On these terms.
    pub(super) fn on(terms: &Terms) -> Self {
        let Terms { client, cacheable, route, here, .. } = terms;
        let headers = Arc::new(terms.headers().clone());
        Self { base: cacheable.key, headers, route: *route, path: client.path(), here: *here }
    }
}

/// What a read comes to, for who asks.
enum Beyond {
    /// An answer, which memory has now; none: memory has one as new.
    Here(Option<Found>),
    /// The name of the variant that would be one.
    Elsewhere(Key),
    /// Nothing.
    Nothing,
}

/// The resource's own name, and the variant's that the first look has told of.
const LOOKS_MAX: usize = 2;

impl<C: Connector> Proxy<C> {
    /// Whether another instance may have what this request can be given, where memory's verdict was this.
    pub(super) fn is_worth_a_look(
        &self,
        (parts, route): (&Parts, usize),
        cacheable: &Cacheable,
        (found, verdict): (&Found, Verdict),
        now: Timestamp,
    ) -> bool {
        if self.shared_by(route).is_none() || !may_be_elsewhere(found, verdict) {
            return false;
        }
        let headers = &parts.headers;
        if let Some(stored) = &found.stored {
            // Others don't have either what must be asked about each time. And what the upstream failed to say anything of a
            // moment ago may be used as it is.
            let is_told = stored.is_asked_in_vain(now) && serves_on_error(&stored.lifetime, headers, now);
            if stored.lifetime.must_ask || is_told {
                return false;
            }
        }
        // A client that wants its own answer is not given one that another instance asked for.
        let asked = RequestDirectives::read(headers);
        if asked.no_cache || asked.no_store || asked.max_age.is_some_and(|oldest| oldest.is_zero()) {
            return false;
        }
        // What comes of a fetch under way is newer than whatever lies there.
        let joins = parts.method != Method::HEAD && !headers.contains_key(RANGE) && !asked.only_if_cached;
        let is_coming = joins && self.flights.has(&found.key, |flight| self.labels_of(flight));
        !is_coming && !self.remembers(cacheable, headers)
    }

    /// Looks, and says what there is now: in the shared tier, or else in memory.
    pub(super) async fn look_beyond(self: &Arc<Self>, client: &mut Client, cacheable: &Cacheable) -> Found {
        let memory = |client: &Client| self.find(cacheable.key, &client.parts.headers);
        let (Some(shared), Some(about)) = (self.shared_by(client.route), self.about(client)) else {
            return memory(client);
        };
        let until = Instant::now() + shared.patience;
        client.looked.patience = Patience::Until(until);
        // Nobody looks at them meanwhile: lent, they need not be copied.
        let headers = Arc::new(mem::take(&mut client.parts.headers));
        let asking = about.with(cacheable.key, headers);
        let looked = self.find_beyond(&asking, until).await;
        client.parts.headers = Arc::unwrap_or_clone(asking.headers);
        match looked {
            Ok(Some(found)) => {
                client.looked.found = Some(found.clone());
                found
            }
            Ok(None) => memory(client),
            // It does not answer in time: the client has waited for it long enough.
            Err(Unanswered) => {
                client.looked.patience = Patience::Spent;
                memory(client)
            }
        }
    }

    pub(super) fn asking(&self, client: &Client, cacheable: &Cacheable) -> Option<Asking> {
        let headers = Arc::new(client.parts.headers.clone());
        Some(self.about(client)?.with(cacheable.key, headers))
    }

    fn about(&self, client: &Client) -> Option<About> {
        let target = client.target(&self.trusted_proxies).ok()?;
        Some(About { route: client.route, path: client.path(), here: client.asked_here(&target) })
    }

    /// None: nothing there that memory has not. Nobody waits past `until`.
    pub(super) async fn find_beyond(
        self: &Arc<Self>,
        asking: &Asking,
        until: Instant,
    ) -> Result<Option<Found>, Unanswered> {
        let Some(shared) = self.shared_by(asking.route) else {
            return Ok(None);
        };
        let mut variant = self.variant_beyond(shared, asking);
        let mut other_variants = false;
        for _ in 0..LOOKS_MAX {
            let question = self.question(asking, variant);
            let looked = match shared.join(&question) {
                Joined::First(read) => {
                    let reading = Arc::clone(self).read_beyond(asking.clone(), question, read);
                    in_time(until, CarriedOn::new(reading)).await.flatten()
                }
                Joined::Later(place) => {
                    in_time(until, place.sight()).await.and_then(|sight| self.take(&sight, asking))
                }
            };
            let Some(beyond) = looked else {
                self.count_look(false);
                return Err(Unanswered);
            };
            match beyond {
                Beyond::Here(promoted) => {
                    self.count_look(promoted.is_some());
                    return Ok(promoted);
                }
                Beyond::Elsewhere(key) if variant != Some(key) && !self.has_come(asking) => {
                    variant = Some(key);
                    other_variants = true;
                }
                Beyond::Elsewhere(_) => {
                    other_variants = true;
                    break;
                }
                Beyond::Nothing => break,
            }
        }
        self.count_look(false);
        let found = self.find(asking.base, &asking.headers);
        Ok(Some(Found {
            other_variants: found.stored.is_none() && (found.other_variants || other_variants),
            ..found
        }))
    }

    /// Makes a read that others may have joined meanwhile.
    async fn read_beyond(self: Arc<Self>, asking: Asking, question: Question, read: Read) -> Option<Beyond> {
        let sight = self.shared.as_ref()?.read(&question).await;
        let beyond = self.take(&sight, &asking);
        read.saw(sight);
        beyond
    }

    /// Whether another who waited for the same read has brought what this one is for.
    fn has_come(&self, asking: &Asking) -> bool {
        self.find(asking.base, &asking.headers).verdict(&asking.headers, self.clock.now()) == Verdict::Serve
    }

    /// What was read comes to this, for who asks, and lies in memory. None: the tier did not say.
    fn take(&self, sight: &Sight, asking: &Asking) -> Option<Beyond> {
        if sight.failed {
            return None;
        }
        Some(match self.sight_of(sight, asking) {
            Seen::Here(frame) => {
                let at_base = self.memory.get(&asking.base);
                if self.is_of_use(&frame, at_base.as_ref()) {
                    Beyond::Here(self.promote(asking, &frame, at_base))
                } else {
                    Beyond::Nothing
                }
            }
            Seen::Elsewhere(key) => Beyond::Elsewhere(key),
            Seen::Nothing => Beyond::Nothing,
        })
    }

    /// What lies there, for nobody who is to be answered: it is neither counted nor kept.
    pub(super) async fn peek(&self, asking: &Asking) -> Option<Frame> {
        let shared = self.shared_by(asking.route)?;
        let mut variant = self.variant_beyond(shared, asking);
        for _ in 0..LOOKS_MAX {
            let sight = shared.read(&self.question(asking, variant)).await;
            match self.seen(&sight, asking) {
                Seen::Here(frame) => return Some(frame),
                Seen::Elsewhere(key) if variant != Some(key) => variant = Some(key),
                Seen::Elsewhere(_) | Seen::Nothing => break,
            }
        }
        None
    }

    /// What is to be looked for.
    pub(super) fn question(&self, asking: &Asking, variant: Option<Key>) -> Question {
        Question {
            base: asking.base,
            variant,
            rules: self.snapshot.rules(asking.route),
            rules_here: rules_at(self.snapshot.rules(asking.route), asking.here),
            route: Arc::clone(&self.snapshot.routes.get(asking.route).name),
            route_index: asking.route,
            path: Arc::clone(&asking.path),
        }
    }

    /// The variant that the request selects, as far as is known what the resource varies on: asked for along with the base, a
    /// hit takes one round trip.
    pub(super) fn variant_beyond(&self, shared: &Shared, asking: &Asking) -> Option<Key> {
        let known = self.variants_of(&asking.base).map(|variants| variants.vary().clone());
        let vary = known.map(Arc::new).or_else(|| shared.vary(&asking.base, asking.route))?;
        (!vary.is_empty()).then(|| variant_key(&asking.base, &vary, &asking.headers, &self.snapshot.identity))
    }

    /// What was read, to this request.
    pub(super) fn seen(&self, sight: &Sight, asking: &Asking) -> Seen {
        match self.sight_of(sight, asking) {
            Seen::Here(frame) if !self.is_of_use(&frame, self.memory.get(&asking.base).as_ref()) => {
                Seen::Nothing
            }
            seen => seen,
        }
    }

    fn sight_of(&self, sight: &Sight, asking: &Asking) -> Seen {
        sight.of(&asking.base, |vary| {
            variant_key(&asking.base, vary, &asking.headers, &self.snapshot.identity)
        })
    }

    /// It may have been changed since it was read; and what memory knows the resource to vary on was learnt here.
    fn is_of_use(&self, frame: &Frame, at_base: Option<&Slot>) -> bool {
        let varies_otherwise = matches!(at_base, Some(Slot::Varies(all)) if *all.vary() != *frame.vary);
        !varies_otherwise && self.record.is_live(&frame.stored)
    }

    /// Keeps in memory what was found there, unless memory has one as new. None: it has. `at_base`: what it has under the
    /// resource's own name.
    ///
    /// Its times and its stamp stay what they were: it is no younger for having come here, and lives no longer. If a change
    /// comes between the look at the record and the putting, the entry lies in memory with the stamp it had, and is dead.
    fn promote(&self, asking: &Asking, frame: &Frame, at_base: Option<Slot>) -> Option<Found> {
        let Frame { key, vary, stored } = frame;
        let at_base = match at_base {
            Some(Slot::Entry(kept)) if self.record.is_live(&kept) => Some(kept),
            _ => None,
        };
        let at_key = if *key == asking.base { at_base.clone() } else { self.entry_at(key) };
        let is_newer = |kept: &Arc<Stored>| {
            let is_later = kept.requested_at >= stored.requested_at && !is_part_of(kept, stored);
            is_later && !Arc::ptr_eq(kept, stored)
        };
        if [&at_key, &at_base].into_iter().flatten().any(is_newer) {
            return None;
        }
        if !at_key.is_some_and(|kept| Arc::ptr_eq(&kept, stored)) {
            if !vary.is_empty() {
                self.list((asking.base, *key, vary), &asking.headers, &stored.head.headers());
            }
            self.memory.put(*key, Arc::clone(stored));
        }
        let is_soft = self.record.fate(stored) == Fate::Soft;
        let stored = Some(Arc::clone(stored));
        Some(Found { key: *key, stored, is_soft, other_variants: false, tier: Tier::Shared })
    }

    fn count_look(&self, is_hit: bool) {
        let counts = &self.telemetry.shared;
        if is_hit { &counts.hits } else { &counts.misses }.add_one();
    }
}

/// What is asked for, without the request's fields.
struct About {
    route: usize,
    path: Arc<[u8]>,
    here: Option<SocketAddr>,
}

impl About {
    fn with(self, base: Key, headers: Arc<HeaderMap>) -> Asking {
        let Self { route, path, here } = self;
        Asking { base, headers, route, path, here }
    }
}

/// Whether memory lacks what another instance may have.
fn may_be_elsewhere(found: &Found, verdict: Verdict) -> bool {
    match verdict {
        Verdict::Ask(Forward::UriMiss | Forward::VaryMiss | Forward::Stale) => true,
        Verdict::OnlyIfCached => found.stored.as_ref().is_none_or(|stored| stored.part.is_none()),
        _ => false,
    }
}
