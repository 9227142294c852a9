//! What things are called: the templates that make tags of requests, answers and messages, and the pointers into JSON that stand
//! in them.

mod bounds;
mod extract;
mod pointer;
mod template;

pub use bounds::Bounds;
pub use extract::{NotRead, extract};
pub use pointer::Pointer;
pub use template::{Piece, Template, TooMany};
