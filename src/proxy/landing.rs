//! `Landing`: what came of a fetch, for all who wait for it; and `Arrived`, an answer that is coming in and will be kept.

use std::sync::Arc;

use http::StatusCode;
use tokio::sync::watch;

use super::called::Called;
use super::lookup::Found;
use super::tee::Tee;
use crate::invalidation::{Fate, Record};
use crate::object::{Head, Labels, Stamp, Stored};
use crate::semantics::range::ContentRange;
use crate::semantics::vary::VaryOn;
use crate::semantics::{Lifetime, NotStored};
use crate::upstream::UpstreamError;

/// What came of a fetch.
#[derive(Clone, Debug)]
pub enum Landing {
    /// It is being kept: read along.
    Kept(Arc<Arrived>),
    /// What was kept is good still.
    Confirmed(Confirmed),
    /// Another instance has fetched it, or it has come here in the meantime.
    Found(Found),
    /// It is the beginner's alone. The status is the upstream's.
    NotKept(NotStored, StatusCode),
    /// Another instance has fetched it for one client only: nobody here has anything yet.
    Parted,
    /// There is none.
    Failed(UpstreamError),
}

/// Who flew it has said nothing.
pub(super) const ABANDONED: Landing = Landing::Failed(UpstreamError::Abandoned);

/// What was kept, after the upstream has said that it is good still.
#[derive(Clone, Debug)]
pub struct Confirmed {
    /// As it is kept from now on.
    pub stored: Arc<Stored>,
    /// It was another cache's word: it came with an `Age`.
    pub was_cached: bool,
}

/// An answer that is coming in and will be kept.
#[derive(Debug)]
pub struct Arrived {
    /// Status and fields.
    pub head: Arc<Head>,
    /// What the upstream answered: a 206 where the rest of a part makes the whole.
    pub answered: StatusCode,
    /// The same with the fields that only who asked may see, where there are any.
    pub whole_head: Option<Head>,
    /// It is a part, and lies there.
    pub part: Option<ContentRange>,
    /// How long it will be fresh.
    pub lifetime: Lifetime,
    /// What it varies on.
    pub vary: Arc<VaryOn>,
    /// Another cache had it before us: it came with an `Age`.
    pub was_cached: bool,
    /// Its body.
    pub tee: Arc<Tee>,
    /// What it can be called by, as far as request and head tell.
    labels: Labels,
    /// All that had been declared invalid before it was asked for.
    stamp: Stamp,
    /// The same with what its body tells.
    whole_labels: watch::Sender<Naming>,
}

/// What an answer is called, where its body tells.
#[derive(Clone, Debug)]
enum Naming {
    /// It is coming.
    NotYet,
    /// It has told.
    Known(Labels),
    /// It will not be known.
    Never,
}

impl Arrived {
    /// `called`: as far as request and head tell.
    pub(super) fn new(
        (head, answered, whole_head): (Arc<Head>, StatusCode, Option<Head>),
        (part, lifetime, vary, was_cached): (Option<ContentRange>, Lifetime, Arc<VaryOn>, bool),
        (called, stamp): (Called, Stamp),
        tee: Arc<Tee>,
    ) -> Self {
        let Called { labels, later, .. } = called;
        let known = if later.is_empty() { Naming::Known(labels.clone()) } else { Naming::NotYet };
        let whole_labels = watch::Sender::new(known);
        Self {
            head,
            answered,
            whole_head,
            part,
            lifetime,
            vary,
            was_cached,
            tee,
            labels,
            stamp,
            whole_labels,
        }
    }

    /// Its body has told what it can be called by.
    pub(super) fn named(&self, labels: Labels) {
        self.whole_labels.send_if_modified(|naming| {
            *naming = Naming::Known(labels);
            // Who begins to wait now finds it there.
            self.whole_labels.receiver_count() > 0
        });
    }

    /// If it is not known by now what it is called, nobody need wait for that.
    pub(super) fn named_never(&self) {
        self.whole_labels.send_if_modified(|naming| {
            let is_open = matches!(naming, Naming::NotYet);
            if is_open {
                *naming = Naming::Never;
            }
            is_open
        });
    }

    /// Whether nothing kills it that is known by now. Where its body tells what it is called, that is known at its end.
    pub(super) async fn is_live(&self, record: &Record) -> bool {
        if record.fate_of(&self.labels, self.stamp) == Fate::Dead {
            return false;
        }
        let mut labels = self.whole_labels.subscribe();
        let naming = labels.wait_for(|naming| !matches!(naming, Naming::NotYet)).await;
        let naming = naming.map_or(Naming::Never, |naming| naming.clone());
        match naming {
            Naming::Known(labels) => record.fate_of(&labels, self.stamp) != Fate::Dead,
            Naming::NotYet | Naming::Never => false,
        }
    }
}
