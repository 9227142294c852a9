//! The end: who accepts stops, who serves finishes what was begun, and whoever waits for them waits no longer than a limit.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

/// Says that the end has come, and waits for it.
#[derive(Debug)]
pub struct Drainer {
    begin: watch::Sender<bool>,
    /// Closes when the last `Drain` is gone.
    done: mpsc::Receiver<()>,
}

/// Held by everyone whose work is waited for.
#[derive(Clone, Debug)]
pub struct Drain {
    begun: watch::Receiver<bool>,
    _work: mpsc::Sender<()>,
}

/// Two ends of one shutdown.
pub fn pair() -> (Drainer, Drain) {
    let (begin, end) = watch::channel(false);
    let (work, done) = mpsc::channel(1);
    (Drainer { begin, done }, Drain { begun: end, _work: work })
}

impl Drain {
    /// Waits until the end begins.
    pub async fn begun(&mut self) {
        // An error means that nobody is left to say so: the end.
        let _ = self.begun.wait_for(|begun| *begun).await;
    }
}

impl Drain {
    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        *self.begun.borrow()
    }

    /// Whether it has begun since this was made, if it had not by then; for the cost of looking at an atomic.
    pub fn begins(&self) -> bool {
        // An error means that nobody is left to say so: the end.
        self.begun.has_changed().unwrap_or(true)
    }
}

impl Drainer {
    /// Begins the end, and waits until all work is done or the limit is reached. False: something was cut off.
    pub async fn finish(mut self, limit: Duration) -> bool {
        self.begin.send_replace(true);
        tokio::time::timeout(limit, self.done.recv()).await.is_ok()
    }
}
