//! For whom the sender of an invalidation waits, and what is said when the waiting is over.

use serde::{Deserialize, Serialize};

/// `wait`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// This instance has applied it.
    #[serde(rename = "self")]
    Own,
    /// It is written to the log.
    Log,
    /// Every live instance has applied it.
    #[default]
    All,
}

/// What came of an invalidation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// How it ended.
    pub outcome: Outcome,
    /// Where it stands in the log, as far as is known.
    pub position: Option<u64>,
    /// The names of the instances that have applied it, as far as is known.
    pub applied: Vec<String>,
    /// … and of those that have not.
    pub lagging: Vec<String>,
    /// It had been declared before: a hook's message that was seen already.
    pub is_replay: bool,
}

impl Receipt {
    /// Nobody has applied anything.
    pub fn nothing(outcome: Outcome) -> Self {
        Self { outcome, position: None, applied: Vec::new(), lagging: Vec::new(), is_replay: false }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Those who were to be waited for have applied it: 200.
    Met,
    /// The time was up: 504.
    Late,
    /// It is applied here, and was not written to the log: 503.
    NotLogged,
}
