//! What the outside says of its changes: messages of the backend (`rule`, `signature`, `message`), and orders of who may
//! (`order`). Each becomes an event, written as a `draft` within bounds.

mod draft;
mod message;
mod order;
mod rule;
mod signature;

pub use draft::{Draft, Resolve, Unsayable, can_be_kept};
pub use message::{BadMessage, Told, read};
pub use order::{BadOrder, Order, TIMEOUT, TIMEOUT_MAX, Terms};
pub use rule::{Hook, Proof, Says};
pub use signature::{Proven, TOLERANCE, Unproven, standard_key, verify};
