//! From what was typed to the command that does it.

use super::arguments::{Arguments, Command};
use super::failure::Failure;
use super::{check, explain, purge, serve};

/// Does what was asked; for `run` and the demos that is until they are told to stop.
pub fn perform(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Run(run) => serve::run(run),
        Command::Demo(demo) => serve::demo(demo),
        Command::DemoApi(api) => serve::demo_api(&api),
        Command::Check(check) => check::check(check),
        Command::Schema => check::schema(),
        Command::Explain(explain) => explain::explain(&explain),
        Command::Purge(purge) => purge::purge(&purge),
        Command::Top(_) => Err(Failure::NotAvailable("\"larder top\"")),
    }
}
