//! What a look into the shared tier gave: the answers that lie under a resource's names, and which of them is one to a request.
//!
//! The first variant of a resource lies under the resource's own name, the *base*; a further one under a name of its own. So one
//! look at the base answers for a resource that does not vary, and for one that does it tells on which fields: the name of the
//! variant that a request selects is then known. Invariant: an answer is only ever given to a request that selects it by the
//! fields that the answer itself was written with; what a name says is not believed.

use std::sync::Arc;

use crate::object::{Key, Stored};
use crate::semantics::VaryOn;

/// An answer that lies in the shared tier.
#[derive(Clone, Debug)]
pub struct Frame {
    /// What it was kept under: the resource's key, or the variant's.
    pub key: Key,
    /// What it varies on.
    pub vary: Arc<VaryOn>,
    /// The answer.
    pub stored: Arc<Stored>,
}

/// What lay under the names that were looked at.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// Under the base.
    pub base: Option<Frame>,
    /// Under the name of the variant, if that was looked at.
    pub variant: Option<Frame>,
    /// The tier did not say.
    pub failed: bool,
}

/// What that is to a request.
#[derive(Clone, Debug)]
pub enum Seen {
    /// An answer to it.
    Here(Frame),
    /// The resource varies: an answer to it would lie under the name of this variant.
    Elsewhere(Key),
    /// Nothing.
    Nothing,
}

impl Sight {
    /// `select`: the key of the variant that the request selects, by these fields of it; `base`: of the resource.
    pub fn of(&self, base: &Key, select: impl Fn(&VaryOn) -> Key) -> Seen {
        let selected = |frame: &Frame| if frame.vary.is_empty() { *base } else { select(&frame.vary) };
        let fits = |frame: &&Frame| selected(frame) == frame.key;
        let fitting = [&self.base, &self.variant].into_iter().flatten().filter(fits);
        // RFC 9111, 4: "When more than one suitable response is stored, a cache MUST use the most recent one".
        match (fitting.max_by_key(|frame| frame.stored.requested_at), &self.base) {
            (Some(frame), _) => Seen::Here(frame.clone()),
            (None, Some(other)) if !other.vary.is_empty() => Seen::Elsewhere(selected(other)),
            (None, _) => Seen::Nothing,
        }
    }
}
