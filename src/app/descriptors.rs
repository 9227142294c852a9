//! Room for file descriptors, made before there are threads.
//!
//! The kernel's table of a process' descriptors begins with room for 64, and is made anew with twice the room when that is used up. In
//! a process with threads, who opens the one too many then sleeps until no core can be at the old table any longer: 10 ms and more,
//! measured, in which a worker serves nobody. It is a burst that takes it there, such as all who waited for an answer that turns out
//! to be another's alone. With one thread there is nobody to wait for.

use std::io;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit};

/// 64 KiB of the kernel's memory. Where more are open than that, one stall is shared by as many.
const ROOM_MAX: usize = 8192;

/// Sees to it that so many can be open without the table growing, as far as the process may have that many.
pub(super) fn make_room(wanted: usize) {
    let allowed = getrlimit(Resource::Nofile).current.and_then(|allowed| usize::try_from(allowed).ok());
    let room = wanted.min(ROOM_MAX).min(allowed.unwrap_or(usize::MAX));
    // The table has room up to the highest, and does not shrink when that is closed.
    if let Some(Ok(highest)) = room.checked_sub(1).map(i32::try_from) {
        // Without it, all works as before.
        let _ = fcntl_dupfd_cloexec(io::stderr(), highest);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Of this process.
    fn room() -> Option<usize> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        status.lines().find_map(|line| line.strip_prefix("FDSize:"))?.trim().parse().ok()
    }

    #[test]
    fn there_is_room_for_as_many_as_are_wanted_and_allowed() {
        let allowed = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| most.try_into().unwrap());
        for wanted in [0, 1, 1000, usize::MAX] {
            make_room(wanted);
            assert!(room().unwrap() >= wanted.min(ROOM_MAX).min(allowed), "{wanted}");
        }
    }
}
