//! `Hook`: what the configuration says of one kind of message.

use std::sync::Arc;
use std::time::Duration;

use crate::invalidation::Wait;
use crate::naming::{Pointer, Template};
use crate::secret::Secret;

/// One `[[hook]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// `POST /hooks/NAME`
    pub name: Arc<str>,
    /// What its sender has to prove.
    pub proof: Proof,
    /// A message counts only where at each of these places one of these texts stands.
    pub when: Vec<(Pointer, Vec<String>)>,
    /// What it declares invalid.
    pub says: Says,
    /// What is kept is stale rather than gone.
    pub soft: bool,
    /// What is fetched so soon behind it, and is named by it, lives no longer than this.
    pub settle: Duration,
    /// For whom it is waited, …
    pub wait: Wait,
    /// … and for how long.
    pub timeout: Duration,
}

/// How a sender proves to be who it should be; any of the secrets will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Standard Webhooks, v1.
    Standard(Vec<Secret>),
    /// `X-Hub-Signature-256`
    GitHub(Vec<Secret>),
    /// `Authorization: Bearer …`
    Bearer(Vec<Secret>),
}

/// What a message declares invalid, by templates over its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Says {
    /// Tags.
    pub tags: Vec<Template>,
    /// Whole paths.
    pub paths: Vec<Template>,
    /// Beginnings of paths.
    pub prefixes: Vec<Template>,
    /// Routes, by name.
    pub routes: Vec<Template>,
    /// Identities.
    pub identities: Vec<Template>,
    /// Everything.
    pub all: bool,
}
