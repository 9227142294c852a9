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
use super::lookup::{Looked, Patience};
use super::plan::Cacheable;
use crate::clock::Timestamp;
use crate::object::{Stamp, Stored};
use crate::semantics::range::ContentRange;
use crate::semantics::storable::Times;
use crate::semantics::verdict::serves_on_error;
use crate::semantics::{validation, validator};
use crate::upstream::{Connector, Sent};

/// A fetch to be made. It goes through many hands, and so is boxed, in two pieces that part.
pub struct Job {
    /// As the upstream gets it.
    pub request: Box<Request<Sent>>,
    /// All that decides over its answer, and that the request can be made of once more.
    pub terms: Box<Terms>,
}

/// What decides over an answer. It has no `Debug` on purpose, as `Client` has none.
#[derive(Clone)]
pub struct Terms {
    /// Who asks, with all that was sent.
    pub client: Arc<Client>,
    /// What the answer is to be an answer to: the client's method, as a rule.
    pub method: Method,
    /// Whose the answer may be.
    pub cacheable: Cacheable,
    /// The route's place in the snapshot.
    pub route: usize,
    /// Which of the client's fields go along.
    pub purpose: Purpose,
    /// What is asked about what is kept.
    pub question: Question,
    /// How much of it is asked for.
    pub wants: Wants,
    /// What is kept for it, and can't be used as it is.
    pub kept: Option<Arc<Stored>>,
    /// The address of this instance's own socket, if the client asked by that.
    pub here: Option<SocketAddr>,
    /// How long the shared tier may still be asked on the client's behalf.
    pub patience: Patience,
}

/// What can be asked about something that is kept.
#[derive(Clone, Debug)]
pub enum Question {
    /// Nothing.
    None,
    /// Whether it is good still.
    WhetherGood,
    /// For what it lacks.
    Rest {
        /// Where that lies.
        range: HeaderValue,
        /// Of what.
        tag: HeaderValue,
    },
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
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// When it was asked for and when it came.
    pub times: Times,
    /// … and when on the clock that never goes back.
    pub asked_at: Duration,
    /// All that had been declared invalid before it was asked for.
    pub stamp: Stamp,
    /// The route's place in the snapshot.
    pub route: usize,
    /// See `Terms`.
    pub here: Option<SocketAddr>,
}

impl<C> Proxy<C> {
    /// What an answer on these terms will be called by, as far as the request tells.
    pub(super) fn called_on(&self, terms: &Terms) -> Option<Called> {
        self.called_of(&terms.client, terms.route, &terms.cacheable)
    }
}

impl<C: Connector> Proxy<C> {
    /// A fetch for this client: of what is kept, it asks whether it is good still.
    pub(super) fn job(
        &self,
        (client, looked): (&Arc<Client>, &Looked),
        cacheable: &Cacheable,
        purpose: Purpose,
    ) -> Result<Job, Failure> {
        let kept = self.find_with(looked, cacheable.key, &client.parts.headers).stored;
        self.job_about((client, looked.patience), cacheable, kept, purpose)
    }

    /// The same where it was looked for already.
    pub(super) fn job_about(
        &self,
        (client, patience): (&Arc<Client>, Patience),
        cacheable: &Cacheable,
        kept: Option<Arc<Stored>>,
        purpose: Purpose,
    ) -> Result<Job, Failure> {
        // A 304 to HEAD, or to what was asked for with the client's own conditions, would be for the client; and to POST such a
        // condition means something else.
        let may_ask = client.parts.method == Method::GET && purpose != Purpose::Range;
        let about = kept.as_ref().filter(|_| may_ask);
        let question = about.map_or(Question::None, |kept| Question::about(kept, self.max_object_bytes));
        let (purpose, wants) = match &question {
            Question::None if purpose == Purpose::Range => (purpose, Wants::Part),
            Question::None => (purpose, Wants::Whole),
            // Our questions are in the place of the client's.
            Question::WhetherGood => (Purpose::Keep, Wants::Whole),
            Question::Rest { .. } => (Purpose::Keep, Wants::Rest),
        };
        let here = match client.peer.here {
            Some(_) => client.asked_here(&client.target(&self.trusted_proxies)?),
            None => None,
        };
        let terms = Box::new(Terms {
            client: Arc::clone(client),
            method: client.parts.method.clone(),
            cacheable: *cacheable,
            route: client.route,
            purpose,
            question,
            wants,
            kept,
            here,
            patience,
        });
        Ok(Job { request: self.request(&terms)?, terms })
    }

    /// The request, as the upstream gets it.
    pub(super) fn request(&self, terms: &Terms) -> Result<Box<Request<Sent>>, Failure> {
        let client = &*terms.client;
        let target = client.target(&self.trusted_proxies)?;
        let sent = Sent::whole(client.body.clone());
        let mut request = Box::new(self.destination.request(client, &target, terms.purpose, sent)?);
        let headers = request.headers_mut();
        match (&terms.question, &terms.kept) {
            (Question::WhetherGood, Some(kept)) => validation::ask_about(&kept.head.headers(), headers),
            (Question::Rest { range, tag }, _) => {
                headers.insert(RANGE, range.clone());
                headers.insert(IF_RANGE, tag.clone());
            }
            _ => {}
        }
        // What its body is called by must be readable.
        let mut templates = self.snapshot.routes.get(terms.route).tags.iter();
        if templates.any(|template| template.pointers().next().is_some())
            && self.called_on(terms).is_none_or(|called| !called.later.is_empty())
        {
            headers.remove(ACCEPT_ENCODING);
        }
        Ok(request)
    }
}

impl Question {
    /// What can be asked about this.
    fn about(kept: &Stored, max_object_bytes: u64) -> Self {
        let question = match kept.part.as_deref() {
            None => validation::has_validator(&kept.head.headers()).then_some(Self::WhetherGood),
            Some(part) => Self::rest(kept, *part, max_object_bytes),
        };
        question.unwrap_or(Self::None)
    }

    fn rest(kept: &Stored, part: ContentRange, max_object_bytes: u64) -> Option<Self> {
        let has_all_it_says = part.length() == kept.body_bytes().len() as u64;
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
    /// What the client sent.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.client.parts.headers
    }

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
