//! L2: the tier that all instances share, and that no client ever waits for in vain.
//!
//! `tier` is what it must do, in bytes.

mod settings;
mod tier;

pub use settings::{Breaker, Login, Place, Settings, Tls};
pub use tier::{Acquired, Landed, Name, News, Reply, Tier, TierError, Token};
