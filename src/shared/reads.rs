//! One read for all who want the same thing at the same time.
//!
//! A read is a task of its own: it belongs to nobody who waits for it. It is taken off the table before it is announced, so who
//! joins one joins what is still under way. What it saw may have been changed since it began; whoever uses it holds each
//! answer against the ledger, as everything that is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::sight::Sight;
use super::tier::Name;

/// All reads under way. As many as there are requests that wait for one.
#[derive(Debug, Default)]
pub struct Reads(Mutex<HashMap<Name, Coming>>);

type Coming = watch::Receiver<Option<Arc<Sight>>>;

/// A read that was begun; dropped without a word, those who wait saw nothing.
#[derive(Debug)]
pub struct Read {
    reads: Arc<Reads>,
    name: Name,
    announce: watch::Sender<Option<Arc<Sight>>>,
}

/// The place of one who waits for a read.
#[derive(Debug)]
pub struct Place(Coming);

impl Reads {
    /// A place at the read of this name; and the read itself, for the first who asks: to be made, in a task.
    pub fn join(self: &Arc<Self>, name: Name) -> (Place, Option<Read>) {
        let mut table = self.lock();
        if let Some(coming) = table.get(&name) {
            return (Place(coming.clone()), None);
        }
        let (announce, coming) = watch::channel(None);
        table.insert(name, coming.clone());
        (Place(coming), Some(Read { reads: Arc::clone(self), name, announce }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Coming>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read {
    /// This is what it saw.
    pub fn saw(self, sight: Arc<Sight>) {
        self.leave();
        self.announce.send_replace(Some(sight));
    }

    fn leave(&self) {
        let mut table = self.reads.lock();
        // After it has left, another may have the name.
        if table.get(&self.name).is_some_and(|coming| coming.same_channel(&self.announce.subscribe())) {
            table.remove(&self.name);
        }
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Place {
    /// What it saw; nothing, if its task ended without a word.
    pub async fn sight(mut self) -> Arc<Sight> {
        let seen = self.0.wait_for(Option::is_some).await;
        seen.ok().and_then(|seen| seen.clone()).unwrap_or_default()
    }
}
