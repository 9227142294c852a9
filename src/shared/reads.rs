//! One read for all who want the same thing at the same time.
//!
//! The first who asks makes the read (and who goes away midway leaves it to a task); others get a place at it, and only for them is
//! there anything to announce. A read is taken off the table before it is announced, so who joins one joins what is still under
//! way. What it saw may have been changed since it began; whoever uses it holds each answer against the ledger, as everything
//! that is kept.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::sight::Sight;
use super::tier::Name;

/// All reads under way, and whom each is announced to. As many as there are requests that wait for one.
#[derive(Debug, Default)]
pub struct Reads(Mutex<HashMap<Name, Option<Announce>>>);

type Announce = watch::Sender<Option<Arc<Sight>>>;

/// What there is for who asks.
#[derive(Debug)]
pub enum Joined {
    /// The read itself, to be made.
    First(Read),
    /// A place at one that is under way.
    Later(Place),
}

/// A read that was begun; dropped without a word, those who wait saw nothing.
#[derive(Debug)]
pub struct Read {
    reads: Arc<Reads>,
    name: Name,
    is_on_table: bool,
}

/// The place of one who waits for a read.
#[derive(Debug)]
pub struct Place(watch::Receiver<Option<Arc<Sight>>>);

impl Reads {
    /// A place at the read of this name; or the read itself, for the first who asks.
    pub fn join(self: &Arc<Self>, name: Name) -> Joined {
        match self.lock().entry(name) {
            Entry::Occupied(mut under_way) => {
                let announce = under_way.get_mut().get_or_insert_with(|| watch::channel(None).0);
                Joined::Later(Place(announce.subscribe()))
            }
            Entry::Vacant(place) => {
                place.insert(None);
                Joined::First(Read { reads: Arc::clone(self), name, is_on_table: true })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Option<Announce>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read {
    /// This is what it saw.
    pub fn saw(mut self, sight: Sight) {
        if let Some(announce) = self.leave() {
            announce.send_replace(Some(Arc::new(sight)));
        }
    }

    /// Whom it is to be announced to, if anybody has joined. After that another may have the name.
    fn leave(&mut self) -> Option<Announce> {
        if !std::mem::take(&mut self.is_on_table) {
            return None;
        }
        self.reads.lock().remove(&self.name).flatten()
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Place {
    /// What it saw; nothing, if it ended without a word.
    pub async fn sight(mut self) -> Arc<Sight> {
        let seen = self.0.wait_for(Option::is_some).await;
        seen.ok().and_then(|seen| seen.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Key;

    fn name(byte: u8) -> Name {
        Name { base: Key::from_bytes([byte; 32]), variant: None }
    }

    fn first(reads: &Arc<Reads>) -> Read {
        match reads.join(name(1)) {
            Joined::First(read) => read,
            Joined::Later(_) => panic!("nobody had asked"),
        }
    }

    fn later(reads: &Arc<Reads>) -> Place {
        match reads.join(name(1)) {
            Joined::First(_) => panic!("one is under way"),
            Joined::Later(place) => place,
        }
    }

    #[tokio::test]
    async fn all_who_join_see_what_the_first_saw_and_who_comes_after_reads_anew() {
        let reads = Arc::<Reads>::default();
        let read = first(&reads);
        let places = [later(&reads), later(&reads)];
        read.saw(Sight { failed: true, ..Sight::default() });
        for place in places {
            assert!(place.sight().await.failed);
        }
        first(&reads);
    }

    #[tokio::test]
    async fn of_a_read_that_ends_without_a_word_those_who_wait_saw_nothing() {
        let reads = Arc::<Reads>::default();
        let read = first(&reads);
        let place = later(&reads);
        drop(read);
        assert!(!place.sight().await.failed);
        // One that has left takes nobody else off the table.
        let (old, place) = (first(&reads), later(&reads));
        old.saw(Sight { failed: true, ..Sight::default() });
        let _new = first(&reads);
        assert!(place.sight().await.failed);
        later(&reads);
    }
}
