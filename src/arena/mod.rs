//! `Arena`: bodies once more, in one file in memory, from which the kernel sends them without a copy.
//!
//! A body is written into an `Extent` of the file and sent from there, again and again. Where extents lie only ever goes up: no place
//! is written twice, and what is freed is a hole for good, so that the file is as long as all that it has ever held and takes the room
//! of what it holds now.
//!
//! Why what is on its way never changes: the kernel puts no bytes into a socket's queue, but the pages they lie on, each with a
//! reference. An extent's pages are written before anybody is given it, and never after; freeing it takes them out of the file, and those
//! that a queue still refers to stay as they are until the last of those has been sent. Another extent has other pages: for that pages
//! must be small, which is asked before anything is written (see `kernel`). And whoever sends holds the extent until the kernel has
//! all of it, so that it is no hole before.
//!
//! What a body has here costs memory a second time: `memory.max_sendfile` bounds it, and where there is no room, or the kernel refuses, the
//! body goes out as it lies in memory. Who came first has the room until its entry goes.

mod kernel;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwapOption;

/// Is told what there is to count.
pub type Tell = Box<dyn Fn(News) + Send + Sync>;

/// What there is to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// So many bytes more are held, or fewer.
    Held(i64),
    /// So many bytes the kernel has taken from here to send.
    Sent(u64),
}

/// The file.
pub struct Arena {
    file: File,
    max_bytes: u64,
    used_bytes: AtomicU64,
    /// Where the next extent will lie.
    next: AtomicU64,
    page_bytes: u64,
    /// Where the kernel says whether pages are small; see `kernel`.
    large_pages: PathBuf,
    tell: Tell,
}

/// The place of one body; free when nobody has it any more.
#[derive(Debug)]
pub struct Extent {
    arena: Arc<Arena>,
    offset: u64,
    body_bytes: usize,
    /// In whole pages.
    room_bytes: u64,
}

/// What a body has in the arena: nothing until it is asked for. It belongs to one body, and a clone to the same.
#[derive(Debug, Default)]
pub struct Twin(ArcSwapOption<Begun>);

/// A body that was asked for.
#[derive(Debug, Default)]
struct Begun {
    stage: Mutex<Stage>,
    whole: OnceLock<Arc<Extent>>,
}

#[derive(Debug)]
enum Stage {
    /// So often.
    Asked(u32),
    /// So many bytes of it are there.
    Written(Extent, usize),
    /// It is whole, or could not be written.
    Over,
}

/// At 64 KiB pages cost the kernel what the copy does, at 32 KiB a sixth more; at 100 KiB a sixth less.
const BODY_BYTES_MIN: usize = 80 * 1024;
/// A body is written when it has been asked for so often: what is asked for once or twice is not worth it.
const ASKED_MIN: u32 = 3;
/// So much is written by one who asks, which takes some 150 µs; the next goes on.
const PIECE_BYTES: usize = 256 * 1024;

impl Arena {
    /// For so many bytes at once.
    pub fn new(max_bytes: u64, tell: Tell) -> io::Result<Arc<Self>> {
        Self::under(PathBuf::from(kernel::LARGE_PAGES), max_bytes, tell)
    }

    fn under(large_pages: PathBuf, max_bytes: u64, tell: Tell) -> io::Result<Arc<Self>> {
        let (file, page_bytes) = kernel::file(&large_pages)?;
        Ok(Arc::new(Self {
            file,
            max_bytes,
            used_bytes: AtomicU64::new(0),
            next: AtomicU64::new(0),
            page_bytes,
            large_pages,
            tell,
        }))
    }

    /// This body is asked for: where it lies, if all of it is here.
    pub fn find(self: &Arc<Self>, twin: &Twin, body: &[u8]) -> Option<Arc<Extent>> {
        if body.len() < BODY_BYTES_MIN {
            return None;
        }
        let begun = twin.0.load();
        let Some(begun) = &*begun else {
            // Who comes second at the same moment is not counted.
            twin.0.compare_and_swap(&None::<Arc<Begun>>, Some(Arc::default()));
            return None;
        };
        if begun.whole.get().is_none() {
            begun.go_on(self, body);
        }
        begun.whole.get().map(Arc::clone)
    }

    /// Room for so many bytes, if there is any.
    fn reserve(self: &Arc<Self>, body_bytes: usize) -> Option<Extent> {
        let room_bytes = u64::try_from(body_bytes).ok()?.checked_next_multiple_of(self.page_bytes)?;
        let take = |used: u64| used.checked_add(room_bytes).filter(|used| *used <= self.max_bytes);
        self.used_bytes.fetch_update(Relaxed, Relaxed, take).ok()?;
        self.tell_change(room_bytes, 1);
        // Petabytes, and then some: nobody gets to the end of it.
        let offset = self.next.fetch_add(room_bytes, Relaxed);
        Some(Extent { arena: Arc::clone(self), offset, body_bytes, room_bytes })
    }

    fn tell_change(&self, bytes: u64, sign: i64) {
        (self.tell)(News::Held(i64::try_from(bytes).unwrap_or(i64::MAX) * sign));
    }
}

impl Begun {
    /// Counts, or writes a piece.
    fn go_on(&self, arena: &Arc<Arena>, body: &[u8]) {
        // Whoever has it is at it.
        let Ok(mut stage) = self.stage.try_lock() else { return };
        *stage = match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::Asked(times) if times + 1 < ASKED_MIN => Stage::Asked(times + 1),
            Stage::Asked(times) => match arena.reserve(body.len()) {
                Some(extent) => self.write(extent, 0, body),
                None => Stage::Asked(times),
            },
            Stage::Written(extent, written) => self.write(extent, written, body),
            Stage::Over => Stage::Over,
        };
    }

    fn write(&self, extent: Extent, written: usize, body: &[u8]) -> Stage {
        let rest = body.get(written..).unwrap_or_default();
        let piece = &rest[..rest.len().min(PIECE_BYTES)];
        let Ok(more) = extent.write(written, piece) else {
            return Stage::Over;
        };
        if written + more < body.len() {
            return if more > 0 { Stage::Written(extent, written + more) } else { Stage::Over };
        }
        let _ = self.whole.set(Arc::new(extent));
        Stage::Over
    }
}

impl Default for Stage {
    /// Whoever makes it asks.
    fn default() -> Self {
        Self::Asked(1)
    }
}

impl Clone for Twin {
    fn clone(&self) -> Self {
        Self(ArcSwapOption::new(self.0.load_full()))
    }
}

impl Extent {
    /// Bytes of the body.
    pub fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Has the kernel send of it what comes behind its first `sent` bytes, and no more than `bytes_max`: how many it took.
    pub fn send(&self, socket: impl AsFd, sent: usize, bytes_max: usize) -> io::Result<usize> {
        let left = self.body_bytes.saturating_sub(sent).min(bytes_max);
        let taken = kernel::send(socket, &self.arena.file, self.at(sent)?, left)?;
        (self.arena.tell)(News::Sent(taken as u64));
        Ok(taken)
    }

    fn write(&self, written: usize, piece: &[u8]) -> io::Result<usize> {
        kernel::write(&self.arena.file, &self.arena.large_pages, self.at(written)?, piece)
    }

    fn at(&self, bytes: usize) -> io::Result<u64> {
        let offset = u64::try_from(bytes).ok().and_then(|bytes| self.offset.checked_add(bytes));
        offset.ok_or(io::ErrorKind::InvalidInput.into())
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        // What could not be freed takes room still.
        if kernel::free(&self.arena.file, self.offset, self.room_bytes).is_ok() {
            self.arena.used_bytes.fetch_sub(self.room_bytes, Relaxed);
            self.arena.tell_change(self.room_bytes, -1);
        }
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Arena").field("used_bytes", &self.used_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod example {
    use super::*;

    /// The place of a body of so many bytes, of which only these were written.
    pub fn extent(written: &[u8], body_bytes: usize) -> Arc<Extent> {
        let extent = Arena::new(u64::MAX, Box::new(|_| ())).unwrap().reserve(body_bytes).unwrap();
        assert_eq!(extent.write(0, written).unwrap(), written.len());
        Arc::new(extent)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::AtomicI64;

    use super::*;

    const SIZE: usize = 100_000;
    const ROOM: i64 = 102_400;

    /// How many bytes an arena says that it holds.
    fn holding() -> (Tell, Arc<AtomicI64>) {
        let held = Arc::<AtomicI64>::default();
        let told = Arc::clone(&held);
        let tell = move |news| {
            if let News::Held(change) = news {
                told.fetch_add(change, Relaxed);
            }
        };
        (Box::new(tell), held)
    }

    /// An arena for so many bytes, and how many it says that it holds.
    fn arena(max_bytes: i64) -> (Arc<Arena>, Arc<AtomicI64>) {
        let (tell, held) = holding();
        (Arena::new(max_bytes.unsigned_abs(), tell).unwrap(), held)
    }

    /// One that no other is like, and no part of it like another.
    fn body(number: u32, size: usize) -> Vec<u8> {
        (0_u32..)
            .flat_map(|word| (word.wrapping_mul(2_654_435_761) ^ number).to_le_bytes())
            .take(size)
            .collect()
    }

    /// Asked for until it is there.
    fn found(arena: &Arc<Arena>, twin: &Twin, body: &[u8]) -> Arc<Extent> {
        let ask = |_| {
            // Another may be at it.
            std::thread::yield_now();
            arena.find(twin, body)
        };
        (0..1_000_000).find_map(ask).unwrap()
    }

    /// All that is sent of it, a reader waiting at the other end.
    fn sent(extent: &Extent) -> Vec<u8> {
        let (near, mut far) = UnixStream::pair().unwrap();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            far.read_to_end(&mut all).map(|_| all)
        });
        let mut gone = 0;
        while gone < extent.body_bytes() {
            gone += extent.send(&near, gone, 70_000).unwrap();
        }
        drop(near);
        reader.join().unwrap().unwrap()
    }

    #[test]
    fn what_is_asked_for_often_enough_is_there_and_sent_as_it_is() {
        let (arena, told) = arena(ROOM);
        let (twin, body) = (Twin::default(), body(1, SIZE));
        assert!(arena.find(&twin, &body).is_none(), "once");
        assert!(arena.find(&twin, &body).is_none(), "twice");
        assert_eq!(told.load(Relaxed), 0);
        let extent = arena.find(&twin, &body).unwrap();
        assert_eq!((told.load(Relaxed), extent.body_bytes()), (ROOM, SIZE));
        assert!(sent(&extent) == body);
        assert_eq!(
            extent.send(UnixStream::pair().unwrap().0, SIZE, 10).unwrap(),
            0,
            "what lies behind it is not its own"
        );
    }

    #[test]
    fn a_short_body_is_never_there() {
        let (arena, told) = arena(ROOM);
        let (twin, body) = (Twin::default(), body(1, BODY_BYTES_MIN - 1));
        assert!((0..100).all(|_| arena.find(&twin, &body).is_none()));
        assert_eq!(told.load(Relaxed), 0);
    }

    #[test]
    fn a_long_body_is_written_piece_by_piece() {
        let (arena, _) = arena(i64::MAX);
        let (twin, body) = (Twin::default(), body(1, 3 * PIECE_BYTES + 1));
        let asked = (1..100).find(|_| arena.find(&twin, &body).is_some());
        assert_eq!(asked, Some(ASKED_MIN + 3));
        assert!(sent(&found(&arena, &twin, &body)) == body);
    }

    #[test]
    fn there_is_no_more_than_may_be_and_room_comes_back() {
        let (arena, told) = arena(2 * ROOM - 1);
        let (one, other) = (Twin::default(), Twin::default());
        let bodies = [body(1, SIZE), body(2, SIZE)];
        let extent = found(&arena, &one, &bodies[0]);
        let shared = one.clone();
        assert!((0..100).all(|_| arena.find(&other, &bodies[1]).is_none()), "no room");
        drop(one);
        drop(extent);
        assert!(arena.find(&other, &bodies[1]).is_none(), "the clone has it");
        assert!(Arc::ptr_eq(&found(&arena, &shared, &bodies[0]), &arena.find(&shared, &bodies[0]).unwrap()));
        drop(shared);
        assert_eq!(told.load(Relaxed), 0);
        assert!(sent(&found(&arena, &other, &bodies[1])) == bodies[1]);
        assert_eq!(told.load(Relaxed), ROOM);
    }

    #[test]
    fn no_place_is_written_twice_and_what_is_free_takes_no_memory() {
        let (arena, _) = arena(i64::MAX);
        let held_bytes = || arena.file.metadata().unwrap().blocks() * 512;
        let mut next = 0;
        for number in 0..50 {
            let (twin, body) = (Twin::default(), body(number, SIZE));
            let extent = found(&arena, &twin, &body);
            assert_eq!(extent.offset, next);
            next += ROOM.unsigned_abs();
            assert_eq!(held_bytes(), ROOM.unsigned_abs(), "one of {number}");
        }
        assert_eq!(held_bytes(), 0);
    }

    #[test]
    fn what_is_on_its_way_stays_what_it_was() {
        let (arena, told) = arena(ROOM);
        let (twin, first) = (Twin::default(), body(1, SIZE));
        let (near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let gone = found(&arena, &twin, &first).send(&near, 0, SIZE).unwrap();
        assert!(gone > 0);
        drop(twin);
        assert_eq!(told.load(Relaxed), 0, "it is a hole now");
        for number in 2..20 {
            let twin = Twin::default();
            let _extent = found(&arena, &twin, &body(number, SIZE));
        }
        let mut read = vec![0; gone];
        far.read_exact(&mut read).unwrap();
        assert!(read == first[..gone]);
    }

    #[test]
    fn what_the_kernel_took_is_told_and_nothing_else() {
        let taken = Arc::<AtomicU64>::default();
        let told = Arc::clone(&taken);
        let tell = move |news| {
            if let News::Sent(bytes) = news {
                told.fetch_add(bytes, Relaxed);
            }
        };
        let arena = Arena::new(u64::MAX, Box::new(tell)).unwrap();
        let body = body(1, SIZE);
        let extent = found(&arena, &Twin::default(), &body);
        assert_eq!(taken.load(Relaxed), 0, "it was only written");
        assert!(sent(&extent) == body);
        assert_eq!(taken.load(Relaxed), SIZE as u64);
        let (near, _far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let gone = std::iter::from_fn(|| extent.send(&near, 0, SIZE).ok()).sum::<usize>();
        assert_eq!(taken.load(Relaxed), (SIZE + gone) as u64, "the socket was full in the end");
    }

    #[test]
    fn with_large_pages_there_is_none() {
        let says = tempfile::NamedTempFile::new().unwrap();
        let arena = |words: &str| {
            std::fs::write(says.path(), words).unwrap();
            Arena::under(says.path().to_owned(), u64::MAX, Box::new(|_| ()))
        };
        for small in ["always within_size advise [never] deny force\n", "[deny]", "always [advise] never"] {
            assert!(arena(small).is_ok(), "{small}");
        }
        for large in ["[always] within_size advise never deny force\n", "[within_size]", "[force]", ""] {
            let error = arena(large).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{large}");
        }
        let nowhere = says.path().join("nothing");
        let not_said = Arena::under(nowhere, u64::MAX, Box::new(|_| ()));
        assert!(not_said.is_err(), "it cannot be read");
        let gone = says.path().to_owned();
        says.close().unwrap();
        assert!(Arena::under(gone, u64::MAX, Box::new(|_| ())).is_ok(), "a kernel that knows of none");
    }

    #[test]
    fn nothing_more_is_written_once_pages_may_be_large_and_what_was_is_sent() {
        let says = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(says.path(), "[never]").unwrap();
        let (tell, held) = holding();
        let arena = Arena::under(says.path().to_owned(), u64::MAX, tell).unwrap();
        let (whole, half, none) = (Twin::default(), Twin::default(), Twin::default());
        let (short, long) = (body(1, SIZE), body(2, 2 * PIECE_BYTES));
        let extent = found(&arena, &whole, &short);
        assert!((0..ASKED_MIN).all(|_| arena.find(&half, &long).is_none()));
        assert!(held.load(Relaxed) > ROOM, "it is half there");
        std::fs::write(says.path(), "[always]").unwrap();
        assert!((0..100).all(|_| arena.find(&half, &long).is_none()), "half of it is nothing");
        assert!((0..100).all(|_| arena.find(&none, &short).is_none()));
        assert_eq!(held.load(Relaxed), ROOM, "what was begun is let go");
        assert!(Arc::ptr_eq(&extent, &found(&arena, &whole, &short)));
        assert!(sent(&extent) == short);
    }

    #[test]
    fn many_ask_at_once() {
        let (arena, told) = arena(ROOM);
        let (twin, body) = (Twin::default(), body(1, SIZE));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!(sent(&found(&arena, &twin, &body)) == body));
            }
        });
        assert_eq!(told.load(Relaxed), ROOM, "one copy");
    }
}
