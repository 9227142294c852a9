//! What `larder demo` shows: a slow API as they come, a configuration that fits it, and what to try.
//!
//! The API (`api`, over the records in `records`) stands for the one a newcomer has: three kinds of data, each slow in
//! its own way, a login that hands out tokens, answers that differ by caller, and not one caching header. `start`
//! puts the proxy before it, `guide` writes down the commands worth trying. Nothing in here is used by `larder run`.

pub mod api;
mod guide;
mod records;
mod start;

pub use start::{CONFIGURATION, DemoError, Place, start};
