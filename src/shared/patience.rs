//! Waiting for a reply until a deadline, and no longer.
//!
//! A thread with hundreds of requests to answer may not get round to reading a reply that came in time. So when the time is up,
//! all who hand the reply on have one more turn before it counts as late.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

/// Who reads from the network, who sent the command, the task of a read for many, and who waits for that.
const HANDS: usize = 4;

/// The reply; none, if it is not there by then.
pub async fn in_time<T>(until: Instant, reply: impl Future<Output = T>) -> Option<T> {
    let mut reply = pin!(reply);
    if let Ok(reply) = timeout_at(until, &mut reply).await {
        return Some(reply);
    }
    for _ in 0..HANDS {
        // The runtime looks at the network before it comes back to who has yielded.
        yield_now().await;
        if let Poll::Ready(reply) = poll_fn(|context| Poll::Ready(reply.as_mut().poll(context))).await {
            return Some(reply);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_was_on_its_way_when_the_time_was_up_is_taken() {
        // From hand to hand, each a task of its own that has not had a turn yet.
        let (first, mut last) = oneshot::channel();
        for _ in 1..HANDS {
            let (hand_on, next) = oneshot::channel();
            tokio::spawn(async move { hand_on.send(last.await.unwrap()) });
            last = next;
        }
        first.send(1).unwrap();
        assert_eq!(in_time(Instant::now(), last).await, Some(Ok(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_is_not_waited_for() {
        let began = Instant::now();
        let never = std::future::pending::<()>();
        assert_eq!(in_time(began + Duration::from_millis(50), never).await, None);
        assert_eq!(began.elapsed(), Duration::from_millis(50));
    }
}
