//! What is kept: the name of a resource and the facts of one of its answers. No judgements, no clock, no I/O.

pub mod canonical_json;
#[cfg(test)]
mod example;
pub mod key;
pub mod resource;
pub mod seal;
mod squeeze;
pub mod stored;
pub mod unreadable;
pub mod wire;
pub mod wire_head;
mod wire_reader;

pub use key::{Key, KeyBuilder, KeySecret, Part};
pub use resource::{Epoch, Position, Resource, Stamp};
pub use stored::{Head, Stored};
