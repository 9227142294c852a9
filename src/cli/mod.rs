//! The commands: what may be typed (`arguments`, `asked`), and what each then does.
//!
//! A command returns what went wrong as a `Failure`, which knows its exit code; `main` prints it. What a command has to
//! say goes to stdout, logs and mistakes go to stderr.

pub mod arguments;
mod asked;
mod check;
mod explain;
mod failure;
mod instance;
mod outlet;
mod perform;
mod purge;
mod serve;
mod token;

pub use arguments::Arguments;
pub use failure::Failure;
pub use perform::perform;
