//! Where a command's own words go.

use std::io::{self, Write};

use super::failure::Failure;

/// Writes to stdout. Whoever stops reading (`larder schema | head`) has had enough: that is no failure.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::system("cannot write")(error))
        }
        _ => Ok(()),
    }
}
