//! How much of the upstream may be in use: `max_in_flight` requests, a bounded queue before them, a bounded wait in it.
//!
//! First come, first served. A place is a `Permit`; whoever holds it gives it back by dropping it, when the answer's body
//! has ended, because a backend that writes one request at a time is busy until then.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Settings, UpstreamError};
use crate::telemetry::Telemetry;

/// The way in.
#[derive(Debug)]
pub struct Gate {
    places: Arc<Semaphore>,
    queued: Arc<AtomicUsize>,
    queue_max: usize,
    queue_timeout: Duration,
    telemetry: Arc<Telemetry>,
}

/// A place at the upstream.
#[derive(Debug)]
pub struct Permit {
    _place: OwnedSemaphorePermit,
    telemetry: Arc<Telemetry>,
}

/// A place in the queue; given back however the wait ends, also when the client goes away in it.
struct Queued<'g>(&'g Gate);

impl Gate {
    /// As configured.
    pub fn new(settings: &Settings, telemetry: Arc<Telemetry>) -> Self {
        Self {
            places: Arc::new(Semaphore::new(settings.max_in_flight)),
            queued: Arc::default(),
            queue_max: settings.queue_max,
            queue_timeout: settings.queue_timeout,
            telemetry,
        }
    }

    /// Waits for a place, in the queue if there is room in it.
    pub async fn enter(&self) -> Result<Permit, UpstreamError> {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => Ok(self.permit(place)),
            // Boxed, for most find one free.
            Err(_) => Box::pin(self.enter_later()).await,
        }
    }

    async fn enter_later(&self) -> Result<Permit, UpstreamError> {
        let _queued = self.queue()?;
        let waiting = Arc::clone(&self.places).acquire_owned();
        match tokio::time::timeout(self.queue_timeout, waiting).await {
            Ok(Ok(place)) => Ok(self.permit(place)),
            // The semaphore is never closed.
            Ok(Err(_)) => Err(UpstreamError::Abandoned),
            Err(_) => {
                self.telemetry.upstream.queue_timeouts.add_one();
                Err(UpstreamError::QueueTimeout(self.queue_timeout))
            }
        }
    }

    fn queue(&self) -> Result<Queued<'_>, UpstreamError> {
        let claim = |queued| (queued < self.queue_max).then_some(queued + 1);
        if self.queued.fetch_update(Relaxed, Relaxed, claim).is_err() {
            self.telemetry.upstream.queue_full.add_one();
            return Err(UpstreamError::QueueFull);
        }
        self.telemetry.upstream.queued.add(1);
        Ok(Queued(self))
    }

    fn permit(&self, place: OwnedSemaphorePermit) -> Permit {
        self.telemetry.upstream.in_flight.add(1);
        Permit { _place: place, telemetry: Arc::clone(&self.telemetry) }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Relaxed);
        self.0.telemetry.upstream.queued.add(-1);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.telemetry.upstream.in_flight.add(-1);
    }
}
