//! What was written → what it means.
//!
//! ```text
//! document (file) ─┐
//! given (LARDER_…) ├─▶ written ─▶ references ─▶ read ─▶ file ─▶ check ─▶ Settings
//! given (--set …) ─┘   merged     env: file:    types           meaning
//! ```
//!
//! Each step notes the mistakes it finds with their places and goes on with the rest, so that all are told at once.
//! Nothing here watches or reloads, and nobody imports this but `app` and the commands.

mod bounds;
mod certificates;
mod check;
mod check_hooks;
mod check_invalidation;
mod check_names;
mod check_redis;
mod check_routes;
mod document;
mod file;
mod file_changes;
mod file_routes;
mod given;
mod hidden;
mod load;
mod mistakes;
mod path;
mod read;
mod references;
mod report;
mod schema;
mod settings;
mod templates;
mod unavailable;
mod warnings;
mod warnings_of_changes;
mod words;
mod written;

pub use load::{Loaded, Sources, USUAL_FILE, load, load_text};
pub use mistakes::{Mistake, Mistakes, Place};
pub use schema::schema;
pub use settings::Settings;
