//! `[invalidation]` and `[[hook]]` as they are written; a part of `file`, and like it.

use super::hidden::HiddenTexts;
use super::words::{OneOrMore, Period, Size, Verify, Wait};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[invalidation]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Invalidation {
    /// Tags whose invalidation an instance remembers; past it the oldest are forgotten, and what was fetched before those is fetched anew.
    pub max_tags: u32,
    /// Beginnings of paths whose invalidation an instance remembers, likewise.
    pub max_prefixes: u32,
    /// Invalidations that wait while Redis can't be written; past it nothing is answered from the cache until they are written.
    pub max_unlogged: u32,
    /// Tags of one answer; one with more is not kept, since it could not be invalidated.
    pub max_entry_tags: u32,
    /// Bytes of one tag; an answer with a longer one is not kept.
    pub max_tag_length: Size,
    /// Tags, paths, prefixes, routes and identities that one message may name.
    pub max_names: u32,
    /// Bytes of the body of such a message.
    pub max_body: Size,
    /// Fetches at once for what was marked stale ("soft"); what is asked for meanwhile is given stale.
    pub max_refreshes: u32,
    /// Invalidations that Redis keeps for instances that were away; one that missed more forgets what it holds.
    pub log_length: u32,
    /// How long Redis keeps them.
    pub log_age: Period,
}

/// `[[hook]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Hook {
    /// The last part of its URL on the admin listener, as in POST /hooks/user-changed; required.
    pub name: Option<String>,
    /// How its sender proves itself: by Standard Webhooks ("standard"), by X-Hub-Signature-256 ("github") or by a token ("bearer").
    pub verify: Verify,
    /// The secret of the sender, or several while one takes the place of another; required.
    pub secret: Option<HiddenTexts>,
    /// Which messages count: those in which each of these JSON pointers leads to one of its texts, numbers or flags; left out, all.
    pub when: BTreeMap<String, OneOrMore>,
    /// The tags that are invalid from now on, where {body:…} is what stands at that JSON pointer in the message.
    pub tags: Option<Vec<String>>,
    /// The paths, with all their queries, likewise.
    pub paths: Vec<String>,
    /// Beginnings of paths, likewise.
    pub prefixes: Vec<String>,
    /// The routes, by their names, likewise.
    pub routes: Vec<String>,
    /// The identities, likewise.
    pub identities: Vec<String>,
    /// Whether everything is invalid.
    pub all: bool,
    /// Whether what is named is marked stale rather than dropped: it is given once more while it is fetched anew.
    pub soft: bool,
    /// What is fetched this soon after such a message, and is named by it, lives no longer than this; at most 1m.
    pub settle: Period,
    /// When the sender is answered: once this instance has applied it ("self"), once Redis has it ("log") or once all instances have applied it ("all").
    pub wait: Wait,
    /// How long it waits for that at most.
    pub timeout: Period,
}

impl Default for Invalidation {
    fn default() -> Self {
        Self {
            max_tags: 1_000_000,
            max_prefixes: 1000,
            max_unlogged: 10_000,
            max_entry_tags: 100,
            max_tag_length: Size(256),
            max_names: 1000,
            max_body: Size(1_000_000),
            max_refreshes: 8,
            log_length: 100_000,
            log_age: Period::secs(24 * 60 * 60),
        }
    }
}

impl Default for Hook {
    fn default() -> Self {
        Self {
            name: None,
            verify: Verify::Standard,
            secret: None,
            when: BTreeMap::new(),
            tags: None,
            paths: Vec::new(),
            prefixes: Vec::new(),
            routes: Vec::new(),
            identities: Vec::new(),
            all: false,
            soft: false,
            settle: Period::ZERO,
            wait: Wait::All,
            timeout: Period::secs(5),
        }
    }
}
