//! What is to be written to the shared tier: after the client was answered, in the order in which it was said.
//!
//! The queue is bounded by bytes. One that is full turns away what comes, and counts it: a write that is lost costs another
//! instance a fetch, and so does a removal that is lost. Removals, which are small, have some room
//! that answers can't take. What is being written takes up its room until it is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::leases::Lease;
use super::tier::Name;
use crate::object::{Key, Stored};
use crate::semantics::VaryOn;
use crate::telemetry::Telemetry;

/// What is to be done.
#[derive(Debug)]
pub enum Order {
    /// An answer is to be kept.
    Keep(Entry),
    /// What lies under these names of this resource is to be forgotten.
    Remove(Key, Vec<Name>),
}

/// An answer on its way to the other instances.
#[derive(Debug)]
pub struct Entry {
    /// The key of its resource.
    pub base: Key,
    /// What it is kept under: that, or the key of its variant.
    pub key: Key,
    /// What it varies on.
    pub vary: Arc<VaryOn>,
    /// A digest of all that decided that it may be kept, and for whom.
    pub rules: u64,
    /// The answer.
    pub stored: Arc<Stored>,
    /// Its body was kept before: only its head is new.
    pub is_update: bool,
    /// It was fetched for all instances, who are told when it is there. Goes the entry, they learn that it never will be.
    pub lease: Option<Lease>,
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    more: Notify,
    /// All is done.
    done: Notify,
    max_bytes: u64,
    telemetry: Arc<Telemetry>,
}

#[derive(Debug, Default)]
struct Waiting {
    orders: VecDeque<Order>,
    /// Of those, and of those that are being carried out.
    bytes: u64,
}

/// Orders that may be carried out at once: no two of one resource.
#[derive(Debug)]
pub struct Batch<'q> {
    /// In their order.
    pub orders: Vec<Order>,
    bytes: u64,
    queue: &'q Queue,
}

/// What an order costs beside the answer that it holds.
const ORDER_BYTES: u64 = 256;
/// This part of the room once more is for removals alone.
const REMOVALS_SHARE: u64 = 8;
/// Behind more than this other instances don't wait for what is written: they fetch, each once.
const LEASED_BEHIND_MAX: u64 = 1024 * 1024;
/// Answers that are carried out at once have so many bytes, or are one: all of them are encoded before the first is sent, by a
/// thread that does other things too.
const AT_ONCE_BYTES_MAX: u64 = 512 * 1024;

impl Queue {
    /// With room for so much.
    pub fn new(max_bytes: u64, telemetry: Arc<Telemetry>) -> Self {
        Self { waiting: Mutex::default(), more: Notify::new(), done: Notify::new(), max_bytes, telemetry }
    }

    /// Puts it last. False: there is no room.
    pub fn push(&self, mut order: Order) -> bool {
        let bytes = order.weight();
        let max_bytes = match order {
            Order::Keep(_) => self.max_bytes,
            Order::Remove(..) => self.max_bytes.saturating_add(self.max_bytes / REMOVALS_SHARE),
        };
        let mut waiting = self.lock();
        if waiting.bytes.saturating_add(bytes) > max_bytes {
            drop(waiting);
            self.telemetry.shared.dropped.add_one();
            return false;
        }
        // Dropped once the lock is not held any more.
        let mut _lease = None;
        if let Order::Keep(entry) = &mut order
            && waiting.bytes > LEASED_BEHIND_MAX
        {
            _lease = entry.lease.take();
        }
        waiting.bytes += bytes;
        waiting.orders.push_back(order);
        self.report(&waiting);
        drop(waiting);
        self.more.notify_one();
        true
    }

    /// Waits for orders, and takes as many as may be carried out at once. It stops before the second of one resource: the
    /// first may take two round trips, and the second must not overtake it. If the future is dropped, nothing is taken.
    pub async fn next(&self, orders_max: usize) -> Batch<'_> {
        loop {
            let batch = self.take(orders_max);
            if !batch.orders.is_empty() {
                return batch;
            }
            // One that was pushed since has left its permit.
            self.more.notified().await;
        }
    }

    /// Waits until all that was pushed is carried out.
    pub async fn emptied(&self) {
        loop {
            let done = self.done.notified();
            if self.lock().bytes == 0 {
                return;
            }
            done.await;
        }
    }

    fn take(&self, orders_max: usize) -> Batch<'_> {
        let mut batch = Batch { orders: Vec::new(), bytes: 0, queue: self };
        let mut waiting = self.lock();
        while batch.orders.len() < orders_max {
            let waits = |order: &Order| {
                let is_too_much = batch.bytes + order.weight() > AT_ONCE_BYTES_MAX;
                let is_under_way = batch.orders.iter().any(|other| other.base() == order.base());
                is_under_way || (is_too_much && !batch.orders.is_empty())
            };
            if waiting.orders.front().is_some_and(waits) {
                break;
            }
            let Some(order) = waiting.orders.pop_front() else { break };
            batch.bytes += order.weight();
            batch.orders.push(order);
        }
        batch
    }

    fn report(&self, waiting: &Waiting) {
        self.telemetry.shared.queued_bytes.set(i64::try_from(waiting.bytes).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Order {
    fn base(&self) -> &Key {
        match self {
            Self::Keep(entry) => &entry.base,
            Self::Remove(base, _) => base,
        }
    }

    fn weight(&self) -> u64 {
        let held = match self {
            Self::Keep(entry) => entry.stored.weight(),
            Self::Remove(_, names) => size_of_val(names.as_slice()),
        };
        ORDER_BYTES + held as u64
    }
}

/// Gives the room back.
impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        waiting.bytes = waiting.bytes.saturating_sub(self.bytes);
        self.queue.report(&waiting);
        if waiting.bytes == 0 {
            self.queue.done.notify_waiters();
        }
    }
}
