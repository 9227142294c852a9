//! L2: the tier that all instances share, and that no client ever waits for in vain.
//!
//! `tier` is what it must do, in bytes. `second` is what the proxy has of it, in answers: it reads (`reads`: one for a herd;
//! `sight`: what that gave) and writes behind the client's back (`queue`, `write`), under names that `bases` keeps track of and
//! with a `secret` that all instances agree on.

mod address;
mod bases;
mod queue;
mod reads;
mod second;
mod secret;
mod security;
mod settings;
mod sight;
mod tier;
mod write;

pub use address::{Address, Reach};
pub use queue::Entry;
pub use second::{IsLive, Parts, Question, Shared};
pub use security::check_client;
pub use settings::{Breaker, Login, Place, Settings, Tls};
pub use sight::{Frame, Seen, Sight};
pub use tier::{Acquired, Landed, Name, News, Reply, Tier, TierError, Token};
