//! `Errand`: work that a client begins and that must be done whether it stays or not.
//!
//! It is done in the client's own task as long as the client has to wait for it anyway: a task more for every fetch would be one to
//! make, to wake and to hand its answer over. When the client goes away, or need not wait any longer, the rest goes on in a
//! task of its own.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::shared::CarriedOn;

/// Dropping it before its end gives it a task of its own.
pub(super) struct Errand(CarriedOn<()>);

impl Errand {
    /// Not begun yet.
    pub(super) fn new(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(CarriedOn::new(work))
    }

    /// Does what can be done without waiting.
    pub(super) async fn begin(&mut self) {
        poll_fn(|context| {
            self.go_on(context);
            Poll::Ready(())
        })
        .await;
    }

    /// Works until there is what only this work can bring, or until it is done. None: it is, and has not brought it.
    pub(super) async fn until<T>(&mut self, mut brought: impl FnMut() -> Option<T>) -> Option<T> {
        poll_fn(|context| {
            self.go_on(context);
            let brought = brought();
            if brought.is_some() || self.0.is_over() { Poll::Ready(brought) } else { Poll::Pending }
        })
        .await
    }

    fn go_on(&mut self, context: &mut Context<'_>) {
        let _ = Pin::new(&mut self.0).poll(context);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::watch;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Says 1, waits for a second, and says 2.
    fn errand() -> (Errand, watch::Receiver<u8>) {
        let (says, said) = watch::channel(0);
        let work = async move {
            says.send_replace(1);
            tokio::time::sleep(SECOND).await;
            says.send_replace(2);
        };
        (Errand::new(work), said)
    }

    fn at_least(said: &watch::Receiver<u8>, number: u8) -> Option<u8> {
        Some(*said.borrow()).filter(|said| *said >= number)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_done_by_who_waits_for_it_and_no_further() {
        let (mut errand, said) = errand();
        assert_eq!(*said.borrow(), 0);
        assert_eq!(errand.until(|| at_least(&said, 1)).await, Some(1));
        assert_eq!(*said.borrow(), 1);
        assert_eq!(errand.until(|| at_least(&said, 2)).await, Some(2));
        assert_eq!(errand.until(|| at_least(&said, 3)).await, None, "it is done");
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_when_its_client_goes_away() {
        for begins in [false, true] {
            let (mut errand, mut said) = errand();
            if begins {
                errand.begin().await;
            }
            drop(errand);
            assert!(said.wait_for(|said| *said == 2).await.is_ok(), "begun: {begins}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_goes_away_while_it_waits_takes_nothing_with_it() {
        let (mut errand, mut said) = errand();
        let watched = said.clone();
        let waiting = tokio::spawn(async move { errand.until(|| at_least(&watched, 2)).await });
        assert!(said.wait_for(|said| *said == 1).await.is_ok());
        waiting.abort();
        assert!(said.wait_for(|said| *said == 2).await.is_ok());
    }
}
