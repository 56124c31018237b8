//! `Feed`: one publisher to many subscribers; a slow subscriber loses its oldest items, and that is counted.
//!
//! Invariant: publishing never waits and never fails, whatever a subscriber does; each subscriber sees items in order of
//! publication, without repetition, and knows how many it missed. Price: a copy for each subscriber.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;

use crate::locked::locked;
use crate::metric;

/// The publishing end. Clones are the same feed.
pub struct Feed<T> {
    core: Arc<Core<T>>,
}

/// One subscriber's items; a stream that ends when the feed is closed and its items are read.
pub struct Subscription<T> {
    core: Arc<Core<T>>,
    id: u64,
}

struct Core<T> {
    name: &'static str,
    capacity: usize,
    state: Mutex<State<T>>,
}

struct State<T> {
    next: u64,
    closed: bool,
    forgotten: u64,
    subscribers: Vec<Subscriber<T>>,
}

struct Subscriber<T> {
    id: u64,
    queue: VecDeque<T>,
    forgotten: u64,
    waker: Option<Waker>,
}

impl<T: Clone> Feed<T> {
    /// A feed that keeps up to `capacity` items (at least one) for each subscriber.
    pub fn new(name: &'static str, capacity: usize) -> Self {
        let state = State { next: 0, closed: false, forgotten: 0, subscribers: Vec::new() };
        Self { core: Arc::new(Core { name, capacity: capacity.max(1), state: Mutex::new(state) }) }
    }

    /// Gives a copy to each subscriber; nothing happens without one or after `close`.
    pub fn publish(&self, item: T) {
        let mut wakers = Vec::new();
        let mut dropped = Vec::new();
        {
            let mut state = locked(&self.core.state);
            if state.closed {
                return;
            }
            for subscriber in &mut state.subscribers {
                if subscriber.queue.len() == self.core.capacity {
                    dropped.extend(subscriber.queue.pop_front());
                    subscriber.forgotten += 1;
                }
                subscriber.queue.push_back(item.clone());
                wakers.extend(subscriber.waker.take());
            }
            state.forgotten += dropped.len() as u64;
        }
        if !dropped.is_empty() {
            metrics::counter!(metric::FEED_FORGOTTEN, "queue" => self.core.name).increment(dropped.len() as u64);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// A subscriber that sees everything published from now on.
    pub fn subscribe(&self) -> Subscription<T> {
        let mut state = locked(&self.core.state);
        state.next += 1;
        let id = state.next;
        state.subscribers.push(Subscriber { id, queue: VecDeque::new(), forgotten: 0, waker: None });
        Subscription { core: self.core.clone(), id }
    }
}

impl<T> Feed<T> {
    /// Ends all subscriptions once their items are read.
    pub fn close(&self) {
        let wakers: Vec<Waker> = {
            let mut state = locked(&self.core.state);
            state.closed = true;
            state.subscribers.iter_mut().filter_map(|subscriber| subscriber.waker.take()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Subscribers now.
    pub fn subscribers(&self) -> usize {
        locked(&self.core.state).subscribers.len()
    }

    /// Items forgotten so far, over all subscribers.
    pub fn forgotten(&self) -> u64 {
        locked(&self.core.state).forgotten
    }

    /// The link's name.
    pub fn name(&self) -> &'static str {
        self.core.name
    }
}

impl<T> Subscription<T> {
    /// Items that this subscriber missed so far.
    pub fn forgotten(&self) -> u64 {
        let state = locked(&self.core.state);
        state.subscribers.iter().find(|subscriber| subscriber.id == self.id).map_or(0, |found| found.forgotten)
    }
}

impl<T> Stream for Subscription<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = locked(&self.core.state);
        let closed = state.closed;
        let subscriber = state
            .subscribers
            .iter_mut()
            .find(|subscriber| subscriber.id == self.id)
            .expect("a subscriber is listed until its subscription is dropped");
        match subscriber.queue.pop_front() {
            Some(item) => Poll::Ready(Some(item)),
            None if closed => Poll::Ready(None),
            None => {
                subscriber.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        let mut state = locked(&self.core.state);
        let place = state.subscribers.iter().position(|subscriber| subscriber.id == self.id);
        let gone = place.map(|index| state.subscribers.remove(index));
        drop(state);
        drop(gone); // outside the lock: an item's own drop may publish
    }
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone() }
    }
}

impl<T> std::fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Feed({}, {} subscribers)", self.core.name, self.subscribers())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_subscriber_loses_its_oldest_and_knows_how_many() {
        let feed = Feed::new("answers", 2);
        feed.publish(0);
        let (mut slow, mut quick) = (feed.subscribe(), feed.subscribe());
        let mut seen = Vec::new();
        for item in 1..=5 {
            feed.publish(item);
            seen.extend(quick.next().await);
        }
        feed.close();
        assert_eq!(seen, [1, 2, 3, 4, 5]);
        assert_eq!((slow.forgotten(), quick.forgotten(), feed.forgotten()), (3, 0, 3));
        assert_eq!(slow.by_ref().collect::<Vec<_>>().await, [4, 5]);
        assert_eq!(quick.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_subscriber_wakes_and_a_dropped_one_costs_nothing() {
        let feed = Feed::new("answers", 1);
        let mut kept = feed.subscribe();
        drop(feed.subscribe());
        assert_eq!(feed.subscribers(), 1);
        let waiting = tokio::spawn(async move { kept.next().await });
        tokio::task::yield_now().await;
        feed.publish(9);
        assert_eq!(waiting.await.unwrap(), Some(9));
        assert_eq!(feed.forgotten(), 0);
    }
}
