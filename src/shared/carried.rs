//! A future that is carried on by a task of its own, if who waits for it goes away.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// What is to come to its end, whoever waits for it. Most of the time somebody does, and then it needs no task.
pub struct CarriedOn<T: Send + 'static>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T: Send + 'static> CarriedOn<T> {
    /// Polled or not, it comes to its end.
    pub fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(future)))
    }

    /// It has come to its end.
    pub fn is_over(&self) -> bool {
        self.0.is_none()
    }
}

impl<T: Send + 'static> Future for CarriedOn<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(future) = &mut self.0 else {
            return Poll::Pending;
        };
        let polled = future.as_mut().poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

/// At the end of the process there is nobody left to carry it on for.
impl<T: Send + 'static> Drop for CarriedOn<T> {
    fn drop(&mut self) {
        if let Some(rest) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(rest);
        }
    }
}

impl<T: Send + 'static> fmt::Debug for CarriedOn<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CarriedOn").field("is_over", &self.is_over()).finish()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn who_leaves_takes_nothing_with_it() {
        for is_polled in [false, true] {
            let (go, gone) = oneshot::channel();
            let (tell, told) = oneshot::channel();
            let mut waiting = CarriedOn::new(async move {
                gone.await.unwrap();
                tell.send(7).unwrap();
            });
            if is_polled {
                assert!(polled_once(&mut waiting).await.is_pending());
            }
            drop(waiting);
            go.send(()).unwrap();
            assert_eq!(told.await, Ok(7));
        }
    }

    #[tokio::test]
    async fn who_stays_is_given_what_it_came_to() {
        assert_eq!(CarriedOn::new(async { 7 }).await, 7);
    }

    async fn polled_once<T: Send + 'static>(future: &mut CarriedOn<T>) -> Poll<T> {
        std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context))).await
    }
}
