//! A fetch to be made: the request as the upstream gets it, and what decides over its answer.
//!
//! Where something is kept that can't be used as it is, the request asks about that: whether it is good still, or for the rest of
//! a part. What comes back is then held against what is kept.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use super::Proxy;
use super::called::Called;
use super::client::Client;
use super::failure::Failure;
use super::forward::Purpose;
use super::lookup::Patience;
use super::plan::Cacheable;
use crate::clock::Timestamp;
use crate::object::{Stamp, Stored};
use crate::semantics::storable::Times;
use crate::semantics::verdict::serves_on_error;
use crate::semantics::{conditional, validation, validator};
use crate::upstream::{Connector, Sent};

/// A fetch to be made. It goes through many hands, and so is boxed; and its request by itself, for it goes further.
#[derive(Debug)]
pub struct Job {
    /// As the upstream gets it.
    pub request: Box<Request<Sent>>,
    /// … and it asks whether what is kept is good still.
    pub asks_about_kept: bool,
    /// All that decides over its answer.
    pub terms: Terms,
}

/// What decides over an answer.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The client's method.
    pub method: Method,
    /// What the client sent.
    pub headers: Arc<HeaderMap>,
    /// Whose the answer may be.
    pub cacheable: Cacheable,
    /// The route's place in the snapshot.
    pub route: usize,
    /// What the answer can be called by, as far as the request tells.
    pub called: Called,
    /// How much of it is asked for.
    pub wants: Wants,
    /// What is kept for it, and can't be used as it is.
    pub kept: Option<Arc<Stored>>,
    /// The address of this instance's own socket, if the client asked by that.
    pub here: Option<SocketAddr>,
    /// How long the shared tier may still be asked on the client's behalf.
    pub patience: Patience,
}

/// How much of an answer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// All of it.
    Whole,
    /// What the client's `Range` says.
    Part,
    /// What the part that is kept lacks.
    Rest,
}

/// What is known of an answer beside what it says.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When it was asked for and when it came.
    pub times: Times,
    /// … and when on the clock that never goes back.
    pub asked_at: Duration,
    /// All that had been declared invalid before it was asked for.
    pub stamp: Stamp,
    /// What it can be called by, as far as is known.
    pub called: Called,
    /// The route's place in the snapshot.
    pub route: usize,
    /// See `Terms`.
    pub here: Option<SocketAddr>,
}

impl<C: Connector> Proxy<C> {
    /// A fetch for this client: of what is kept, it asks whether it is good still.
    pub(super) fn job(
        &self,
        client: &Client,
        cacheable: &Cacheable,
        headers: &Arc<HeaderMap>,
        purpose: Purpose,
    ) -> Result<Box<Job>, Failure> {
        let kept = self.find_with(&client.looked, cacheable.key, headers).stored;
        self.job_about(client, cacheable, (headers, kept), purpose)
    }

    /// The same where it was looked for already.
    pub(super) fn job_about(
        &self,
        client: &Client,
        cacheable: &Cacheable,
        (headers, kept): (&Arc<HeaderMap>, Option<Arc<Stored>>),
        purpose: Purpose,
    ) -> Result<Box<Job>, Failure> {
        let target = client.target(&self.trusted_proxies)?;
        // A 304 to HEAD, or to what was asked for with the client's own conditions, would be for the client; and to POST such a
        // condition means something else.
        let may_ask = client.parts.method == Method::GET && purpose != Purpose::Range;
        let about = kept.as_ref().filter(|_| may_ask).and_then(|kept| About::of(kept, self.max_object_bytes));
        // Our questions are in the place of the client's.
        let purpose = if about.is_some() { Purpose::Keep } else { purpose };
        let sent = Sent::whole(client.body.clone());
        let mut request = Box::new(self.destination.request(client, &target, purpose, sent)?);
        let mut wants = if purpose == Purpose::Range { Wants::Part } else { Wants::Whole };
        let mut asks_about_kept = false;
        match (about, &kept) {
            (Some(About::Itself), Some(kept)) => {
                asks_about_kept = validation::ask_about(&kept.head.headers(), request.headers_mut());
            }
            (Some(About::Rest { range, tag }), _) => {
                request.headers_mut().insert(RANGE, range);
                request.headers_mut().insert(IF_RANGE, tag);
                wants = Wants::Rest;
            }
            _ => {}
        }
        let wanted = client.wanted(&target, &client.parts.method);
        let called = self.called(&wanted, client.route, cacheable);
        if !called.later.is_empty() {
            // What its body is called by must be readable.
            request.headers_mut().remove(ACCEPT_ENCODING);
        }
        let terms = Terms {
            method: client.parts.method.clone(),
            headers: Arc::clone(headers),
            cacheable: *cacheable,
            route: client.route,
            called,
            wants,
            kept,
            here: client.asked_here(&target),
            patience: client.looked.patience,
        };
        Ok(Box::new(Job { request, asks_about_kept, terms }))
    }
}

/// What can be asked about something that is kept.
enum About {
    /// Whether it is good still.
    Itself,
    /// For what it lacks.
    Rest { range: HeaderValue, tag: HeaderValue },
}

impl About {
    fn of(kept: &Stored, max_object_bytes: u64) -> Option<Self> {
        let Some(part) = kept.part.as_deref() else {
            return validation::has_validator(&kept.head.headers()).then_some(Self::Itself);
        };
        let has_all_it_says = part.length() == kept.body.len() as u64;
        // What can't be held whole is not completed.
        let range = match part.total.filter(|total| *total <= max_object_bytes) {
            Some(total) if part.first == 0 && part.last + 1 < total => format!("bytes={}-", part.last + 1),
            Some(total) if part.first > 0 && part.last + 1 == total => format!("bytes=0-{}", part.first - 1),
            _ => return None,
        };
        // RFC 9110, 13.1.5: "A client MUST NOT generate an If-Range header field containing an entity tag that is marked as
        // weak"; and without a strong validator the two could not be put together.
        let tag = validator::strong_tag_value(&kept.head.headers()).filter(|_| has_all_it_says)?.clone();
        Some(Self::Rest { range: HeaderValue::from_str(&range).ok()?, tag })
    }
}

impl Terms {
    /// Whether what is kept may take the place of such an answer.
    pub(super) fn is_better_kept(&self, status: StatusCode, now: Timestamp) -> bool {
        let kept = self.kept.as_ref().filter(|_| is_failure(status));
        // For anybody: who asked may well want something else, and must not decide over what others are given.
        kept.is_some_and(|kept| serves_on_error(&kept.lifetime, &HeaderMap::new(), now))
    }
}

/// RFC 5861, 4: "an error is any situation that would result in a 500, 502, 503, or 504 HTTP response status code being
/// returned."
pub(super) fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// The same request for the whole, without our own question whether what is kept is good.
pub(super) fn plain(request: &Request<Sent>) -> Request<Sent> {
    let mut again = Request::new(request.body().again().unwrap_or_default());
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.version_mut() = request.version();
    *again.headers_mut() = request.headers().clone();
    conditional::strip_conditions(again.headers_mut());
    again.headers_mut().remove(RANGE);
    again
}
