//! What has been declared invalid, and since when. Nothing is searched for or deleted: an entry remembers how much had been
//! declared before it was fetched, and is dead if what came later names it.
//!
//! The rules know no I/O: the `ledger` holds an entry against all `event`s (with what is `unlogged` yet, what is `settling`, and
//! which `messages` came before), `trust` says whether this instance may believe its memory, `roll` who lives and how far each
//! has come. Around them: a `log` that all instances share, the `record` that all threads see, which `follow`s the log, and
//! `acknowledge`, which waits for others.

mod acknowledge;
mod applying;
pub mod event;
mod fate;
mod follow;
mod ledger;
pub mod log;
mod log_scripts;
mod messages;
mod record;
mod redis_log;
mod redis_session;
mod roll;
mod settings;
mod settling;
mod standing;
mod trust;
mod unlogged;
mod wait;
mod written;

pub use event::{Event, EventId};
pub use fate::Fate;
pub use follow::Agree;
pub use ledger::{Applied, Ledger, Limits};
pub use log::{InstanceId, Line, Log, LogError, Logged, Session};
pub use record::{Declared, Me, Parts, Place, Record};
pub use redis_log::{IsOurSecret, RedisLog, RedisLogSettings};
pub use roll::Roll;
pub use settings::Settings;
pub use trust::{LEASE, MARGIN, Trust};
pub use unlogged::Watched;
pub use wait::{Outcome, Receipt, Wait};
