//! Who waits to be woken by a link.
//!
//! Invariant: at most one waker a reader, and none of a reader that is gone; so re-attaching forever leaks nothing, and
//! no wake-up is spent on the dead.

use std::task::Waker;

/// The wakers of the readers that found nothing.
#[derive(Debug, Default)]
pub(super) struct Readers {
    next: u64,
    waiting: Vec<(u64, Waker)>,
}

impl Readers {
    /// A number for a new reader.
    pub(super) fn enrol(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Reader `id` waits; its earlier waker is replaced.
    pub(super) fn wait(&mut self, id: u64, waker: &Waker) {
        match self.waiting.iter_mut().find(|(reader, _)| *reader == id) {
            Some((_, known)) => known.clone_from(waker),
            None => self.waiting.push((id, waker.clone())),
        }
    }

    /// Reader `id` is gone.
    pub(super) fn leave(&mut self, id: u64) {
        self.waiting.retain(|(reader, _)| *reader != id);
    }

    /// All who wait, to be woken by [`wake`] after the lock is released.
    #[must_use]
    pub(super) fn take(&mut self) -> Vec<(u64, Waker)> {
        std::mem::take(&mut self.waiting)
    }
}

/// Wakes what [`Readers::take`] gave.
pub(super) fn wake(waiting: Vec<(u64, Waker)>) {
    for (_, waker) in waiting {
        waker.wake();
    }
}
