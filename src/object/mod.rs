//! What is kept: the name of a resource and the facts of one of its answers. No judgements, no clock, no I/O. What is sent of it
//! from a file of the kernel's lies in `arena`.

pub mod canonical_json;
#[cfg(test)]
pub(crate) mod example;
pub mod head;
pub mod key;
pub mod packed;
mod recent;
pub mod seal;
mod squeeze;
pub mod stamp;
pub mod stored;
pub mod tag;
pub mod unreadable;
pub mod whereabouts;
pub mod wire;
pub mod wire_head;
mod wire_reader;
pub mod wire_text;

pub use head::Head;
pub use key::{Key, KeyBuilder, KeySecret, Part};
pub use packed::Packed;
pub use stamp::{Epoch, Stamp};
pub use stored::Stored;
pub use tag::{Labels, Tag};
pub use whereabouts::Whereabouts;
