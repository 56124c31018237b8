//! `Port`: a bounded first-in-first-out queue that refuses at the edge and waits inside.
//!
//! Invariant: never more than `capacity` items, whoever clones what; an item that was accepted is delivered to one reader
//! or dropped by [`Port::abandon`], never silently. Nothing here blocks a thread, and no reader owns the queue: when an
//! incarnation dies, the next attaches to the same items. Price: one short mutex for each item.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};
use tokio::sync::{Semaphore, TryAcquireError};

use super::readers::{Readers, wake};
use crate::locked::locked;
use crate::metric;

/// Why a port did not take an item; the item comes back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError<T> {
    /// No room now: a 429 at the edge.
    #[error("the queue is full; try again later")]
    Full(T),
    /// No item will be taken any more: a 503 at the edge.
    #[error("the queue is closed; the daemon is shutting down or its reader gave up")]
    Closed(T),
}

impl<T> OfferError<T> {
    /// The item that was not taken.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) => item,
        }
    }
}

/// The port is closed; the item comes back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the queue is closed; the daemon is shutting down or its reader gave up")]
pub struct Closed<T>(
    /// The item that was not taken.
    pub T,
);

/// The sending end, and the owner, of a bounded queue. Clones are the same queue.
pub struct Port<T> {
    core: Arc<Core<T>>,
}

/// The reading end: gives a stream to each incarnation of the reader.
pub struct Inlet<T> {
    core: Arc<Core<T>>,
}

/// The items of a port as a stream; ends when the port is closed and empty. Each item goes to one stream.
pub struct Items<T> {
    core: Arc<Core<T>>,
    id: u64,
}

struct Core<T> {
    name: &'static str,
    capacity: usize,
    /// One permit for each free place; closed with the port. Fair, so `offer` cannot overtake a waiting `send`.
    room: Semaphore,
    state: Mutex<State<T>>,
}

struct State<T> {
    queue: VecDeque<T>,
    closed: bool,
    readers: Readers,
}

impl<T> Port<T> {
    /// An empty queue of `capacity` items (at least one) under a name that metrics and logs use.
    pub fn new(name: &'static str, capacity: usize) -> Self {
        let capacity = capacity.max(1);
        metrics::gauge!(metric::QUEUE_CAPACITY, "queue" => name).set(capacity as f64);
        let state = State { queue: VecDeque::with_capacity(capacity), closed: false, readers: Readers::default() };
        Self { core: Arc::new(Core { name, capacity, room: Semaphore::new(capacity), state: Mutex::new(state) }) }
    }

    /// Takes the item if there is room now. For edges; works on any thread, in or out of a runtime.
    pub fn offer(&self, item: T) -> Result<(), OfferError<T>> {
        let refused = match self.core.room.try_acquire() {
            Ok(permit) => {
                permit.forget();
                match self.core.push(item) {
                    Ok(()) => return Ok(()),
                    Err(Closed(item)) => OfferError::Closed(item),
                }
            }
            Err(TryAcquireError::NoPermits) => OfferError::Full(item),
            Err(TryAcquireError::Closed) => OfferError::Closed(item),
        };
        let reason = if matches!(refused, OfferError::Full(_)) { "full" } else { "closed" };
        metrics::counter!(metric::QUEUE_REFUSED, "queue" => self.core.name, "reason" => reason).increment(1);
        Err(refused)
    }

    /// Waits for room. For inner stages: `ctx.wait(port.send(item).into_actor(self))`. The future owns all it needs.
    pub fn send(&self, item: T) -> impl Future<Output = Result<(), Closed<T>>> + use<T> {
        let core = self.core.clone();
        async move {
            match core.room.acquire().await {
                Ok(permit) => {
                    permit.forget();
                    core.push(item)
                }
                Err(_closed) => Err(Closed(item)),
            }
        }
    }

    /// Takes no more; what waits in `send` comes back; what is queued is still delivered, then streams end.
    pub fn close(&self) {
        self.core.close();
    }

    /// Closes and drops what is queued, telling how many; a dropped request is answered `Crashed`. The hard path.
    pub fn abandon(&self) -> usize {
        self.core.close();
        let dropped = std::mem::take(&mut locked(&self.core.state).queue);
        metrics::gauge!(metric::QUEUE_DEPTH, "queue" => self.core.name).set(0.0);
        dropped.len()
    }

    /// The reading end.
    pub fn inlet(&self) -> Inlet<T> {
        Inlet { core: self.core.clone() }
    }

    /// Items queued now.
    pub fn len(&self) -> usize {
        locked(&self.core.state).queue.len()
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Items that would be taken now.
    pub fn room(&self) -> usize {
        if self.is_closed() { 0 } else { self.core.room.available_permits() }
    }

    /// Items that it can hold.
    pub fn capacity(&self) -> usize {
        self.core.capacity
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        locked(&self.core.state).closed
    }

    /// The link's name.
    pub fn name(&self) -> &'static str {
        self.core.name
    }
}

impl<T> Inlet<T> {
    /// The items, from wherever the last reader stopped.
    pub fn items(&self) -> Items<T> {
        let id = locked(&self.core.state).readers.enrol();
        Items { core: self.core.clone(), id }
    }

    /// The next item; `None` when the port is closed and empty.
    pub async fn recv(&self) -> Option<T> {
        self.items().next().await
    }

    /// The next item if one is queued.
    pub fn try_recv(&self) -> Option<T> {
        self.core.pop(&mut locked(&self.core.state))
    }

    /// Items queued now.
    pub fn len(&self) -> usize {
        locked(&self.core.state).queue.len()
    }

    /// Whether no more can come than is queued.
    pub fn is_closed(&self) -> bool {
        locked(&self.core.state).closed
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The link's name.
    pub fn name(&self) -> &'static str {
        self.core.name
    }
}

impl<T> Core<T> {
    /// Queues an item for which a permit was taken.
    fn push(&self, item: T) -> Result<(), Closed<T>> {
        let waiting = {
            let mut state = locked(&self.state);
            if state.closed {
                return Err(Closed(item));
            }
            state.queue.push_back(item);
            debug_assert!(state.queue.len() <= self.capacity, "{} holds more than its bound", self.name);
            metrics::gauge!(metric::QUEUE_DEPTH, "queue" => self.name).set(state.queue.len() as f64);
            state.readers.take()
        };
        wake(waiting);
        Ok(())
    }

    fn pop(&self, state: &mut State<T>) -> Option<T> {
        let item = state.queue.pop_front()?;
        metrics::gauge!(metric::QUEUE_DEPTH, "queue" => self.name).set(state.queue.len() as f64);
        self.room.add_permits(1);
        Some(item)
    }

    fn close(&self) {
        let waiting = {
            let mut state = locked(&self.state);
            state.closed = true;
            state.readers.take()
        };
        self.room.close();
        wake(waiting);
    }
}

impl<T> Stream for Items<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = locked(&self.core.state);
        if let Some(item) = self.core.pop(&mut state) {
            return Poll::Ready(Some(item));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.readers.wait(self.id, cx.waker());
        Poll::Pending
    }
}

impl<T> Drop for Items<T> {
    fn drop(&mut self) {
        locked(&self.core.state).readers.leave(self.id);
    }
}

impl<T> Clone for Port<T> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone() }
    }
}

impl<T> Clone for Inlet<T> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone() }
    }
}

impl<T> std::fmt::Debug for Port<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Port({} {}/{})", self.core.name, self.len(), self.core.capacity)
    }
}

#[cfg(test)]
#[path = "port_tests.rs"]
mod tests;
