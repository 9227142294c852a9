//! What is asked of the kernel: a file in memory, holes in it, and to send from it. Where it knows no such things, there is no arena.

pub use system::{LARGE_PAGES, file, free, send, write};

#[cfg(target_os = "linux")]
mod system {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsFd;
    use std::path::Path;

    use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create, sendfile};
    use rustix::io::pwrite;
    use rustix::process::{Resource, getrlimit};

    /// Whether files in memory have large pages, of all that asks for none in particular.
    pub const LARGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

    /// An empty file, and the size of its pages.
    pub fn file(large_pages: &Path) -> io::Result<(File, u64)> {
        // Past a limit on the length of files the kernel ends the process.
        if getrlimit(Resource::Fsize).current.is_some() || !pages_are_small(large_pages) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let page_bytes = u64::try_from(rustix::param::page_size()).map_err(io::Error::other)?;
        let create = |flags| memfd_create("larder", MemfdFlags::CLOEXEC | flags);
        // Newer kernels want to be told that nothing in it is to be run; older ones don't know the word.
        let file = create(MemfdFlags::NOEXEC_SEAL).or_else(|_| create(MemfdFlags::empty()))?;
        Ok((File::from(file), page_bytes))
    }

    /// Each place has pages of its own only while none is larger: of one that reaches beyond a hole the kernel fills that part with
    /// zeros, also where a socket's queue refers to it.
    fn pages_are_small(large_pages: &Path) -> bool {
        match std::fs::read_to_string(large_pages) {
            Ok(said) => ["[never]", "[deny]", "[advise]"].iter().any(|word| said.contains(word)),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Writes there; how many bytes.
    pub fn write(file: &File, large_pages: &Path, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        // It can be set at any time.
        if !pages_are_small(large_pages) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(pwrite(file, bytes, offset)?)
    }

    /// Takes the pages out.
    pub fn free(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
        Ok(fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, bytes)?)
    }

    /// Sends from there; how many bytes the socket took.
    pub fn send(socket: impl AsFd, file: &File, mut offset: u64, bytes: usize) -> io::Result<usize> {
        Ok(sendfile(socket, file, Some(&mut offset), bytes)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsFd;
    use std::path::Path;

    pub const LARGE_PAGES: &str = "";

    pub fn file(_: &Path) -> io::Result<(File, u64)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn write(_: &File, _: &Path, _: u64, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn free(_: &File, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn send(_: impl AsFd, _: &File, _: u64, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
