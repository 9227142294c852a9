//! L2: the tier that all instances share, and that no client ever waits for in vain.
//!
//! `tier` is what it must do, in bytes.

mod address;
mod security;
mod settings;
mod tier;

pub use address::{Address, Reach};
pub use security::check_client;
pub use settings::{Breaker, Login, Place, Settings, Tls};
pub use tier::{Acquired, Landed, Name, News, Reply, Tier, TierError, Token};
