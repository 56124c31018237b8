//! `Latest`: a link that holds one value, the newest.
//!
//! Invariant: publishing never waits and never fails; a reader sees the newest value or nothing, never an old one after a
//! newer. The only cycle of the daemon (learner to generator) runs over this link, so no loop of links can block.
//! A value needs to be `Send` only: readers move it out or look at it under the lock.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};

use super::readers::{Readers, wake};
use crate::locked::locked;

/// One place for the newest value. Clones are the same place.
pub struct Latest<T> {
    core: Arc<Core<T>>,
}

/// Tells the stamp of each new value that it was in time to see; ends when the link is closed.
pub struct Changes<T> {
    core: Arc<Core<T>>,
    seen: u64,
    id: u64,
}

struct Core<T> {
    name: &'static str,
    state: Mutex<State<T>>,
}

struct State<T> {
    /// Values published so far; 0 before the first.
    stamp: u64,
    value: Option<T>,
    closed: bool,
    readers: Readers,
}

impl<T> Latest<T> {
    /// An empty place.
    pub fn new(name: &'static str) -> Self {
        let state = State { stamp: 0, value: None, closed: false, readers: Readers::default() };
        Self { core: Arc::new(Core { name, state: Mutex::new(state) }) }
    }

    /// Replaces the value and tells its stamp (1, 2, 3 …).
    pub fn publish(&self, value: T) -> u64 {
        let (stamp, waiting, _replaced) = {
            let mut state = locked(&self.core.state);
            state.stamp += 1;
            let replaced = state.value.replace(value);
            (state.stamp, state.readers.take(), replaced)
        };
        wake(waiting);
        stamp
    }

    /// How many values were published: the newest one's stamp, 0 before the first.
    pub fn stamp(&self) -> u64 {
        locked(&self.core.state).stamp
    }

    /// Looks at the newest value under the lock: keep it short. A new incarnation starts from here.
    pub fn read<R>(&self, look: impl FnOnce(u64, &T) -> R) -> Option<R> {
        self.read_newer(0, look)
    }

    /// Looks at the newest value if its stamp is above `than`.
    pub fn read_newer<R>(&self, than: u64, look: impl FnOnce(u64, &T) -> R) -> Option<R> {
        let state = locked(&self.core.state);
        let value = state.value.as_ref().filter(|_| state.stamp > than)?;
        Some(look(state.stamp, value))
    }

    /// Moves the newest value out, with its stamp. Nobody else sees it then.
    pub fn take(&self) -> Option<(u64, T)> {
        self.take_newer(0)
    }

    /// Moves the newest value out if its stamp is above `than`.
    pub fn take_newer(&self, than: u64) -> Option<(u64, T)> {
        let mut state = locked(&self.core.state);
        if state.stamp <= than {
            return None;
        }
        let stamp = state.stamp;
        state.value.take().map(|value| (stamp, value))
    }

    /// Waits for a stamp above `than` and tells it; `None` when the link is closed.
    pub async fn changed(&self, than: u64) -> Option<u64> {
        self.changes(than).next().await
    }

    /// The stamps above `than`, each told once, skipping those already replaced.
    pub fn changes(&self, than: u64) -> Changes<T> {
        let id = locked(&self.core.state).readers.enrol();
        Changes { core: self.core.clone(), seen: than, id }
    }

    /// Ends all `changes`; the value stays readable.
    pub fn close(&self) {
        let waiting = {
            let mut state = locked(&self.core.state);
            state.closed = true;
            state.readers.take()
        };
        wake(waiting);
    }

    /// The link's name.
    pub fn name(&self) -> &'static str {
        self.core.name
    }
}

impl<T: Clone> Latest<T> {
    /// A copy of the newest value, with its stamp.
    pub fn peek(&self) -> Option<(u64, T)> {
        self.read(|stamp, value| (stamp, value.clone()))
    }

    /// A copy of the newest value if its stamp is above `than`.
    pub fn peek_newer(&self, than: u64) -> Option<(u64, T)> {
        self.read_newer(than, |stamp, value| (stamp, value.clone()))
    }
}

impl<T> Stream for Changes<T> {
    type Item = u64;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        let told = {
            let mut state = locked(&self.core.state);
            if state.stamp > self.seen {
                state.stamp
            } else if state.closed {
                return Poll::Ready(None);
            } else {
                state.readers.wait(self.id, cx.waker());
                return Poll::Pending;
            }
        };
        self.seen = told;
        Poll::Ready(Some(told))
    }
}

impl<T> Drop for Changes<T> {
    fn drop(&mut self) {
        locked(&self.core.state).readers.leave(self.id);
    }
}

impl<T> Clone for Latest<T> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone() }
    }
}

impl<T> std::fmt::Debug for Latest<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Latest({} at {})", self.core.name, self.stamp())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_new_value_replaces_what_nobody_took() {
        let latest = Latest::new("snapshots");
        assert_eq!(latest.take(), None);
        latest.publish("first");
        assert_eq!(latest.publish("second"), 2);
        assert_eq!(latest.peek(), Some((2, "second")));
        assert_eq!((latest.peek_newer(2), latest.take_newer(2)), (None, None), "nothing is newer than itself");
        assert_eq!(latest.take_newer(1), Some((2, "second")));
        assert_eq!(latest.take(), None, "what was taken is gone");
        assert_eq!(latest.stamp(), 2, "but its stamp stays");
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_reader_is_told_the_newest_stamp_once() {
        let latest = Latest::new("snapshots");
        let mut changes = latest.changes(0);
        latest.publish(1);
        latest.publish(2);
        assert_eq!(changes.next().await, Some(2));
        let waiting = tokio::spawn(async move { (changes.next().await, changes.next().await) });
        tokio::task::yield_now().await;
        latest.publish(3);
        tokio::task::yield_now().await;
        latest.close();
        assert_eq!(waiting.await.unwrap(), (Some(3), None));
        assert_eq!(latest.changed(2).await, Some(3));
        assert_eq!(latest.changed(3).await, None);
    }

    #[test]
    fn a_value_that_is_not_sync_crosses_threads_and_is_read_in_place() {
        let latest = Latest::new("snapshots");
        latest.publish(Cell::new(7));
        let reader = latest.clone();
        let read = std::thread::spawn(move || reader.read(|stamp, cell| (stamp, cell.get()))).join().unwrap();
        assert_eq!(read, Some((1, 7)));
        assert_eq!(latest.take().map(|(stamp, cell)| (stamp, cell.into_inner())), Some((1, 7)));
    }
}
