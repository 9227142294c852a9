//! `check` and `schema`: the configuration without serving it. Also for the commands that can do without an upstream.

use super::arguments::Check;
use super::failure::Failure;
use super::outlet::say;
use crate::config::{self, Loaded, Sources};

pub(super) fn check(check: Check) -> Result<(), Failure> {
    let loaded = config::load(&Sources::of_process(check.config, Vec::new())).map_err(Failure::Mistakes)?;
    say(&loaded.report())
}

pub(super) fn schema() -> Result<(), Failure> {
    say(&format!("{:#}", config::schema()))
}

/// For commands that need all but an upstream: where the configuration fails only for want of a usable one, another
/// takes its place, which is never connected to.
pub(super) fn load_without_upstream(mut sources: Sources) -> Result<Loaded, Failure> {
    config::load(&sources).or_else(|mistakes| {
        sources.flags.insert(0, ("upstream.url".to_owned(), "http://127.0.0.1:8000".to_owned()));
        config::load(&sources).map_err(|_| Failure::Mistakes(mistakes))
    })
}
