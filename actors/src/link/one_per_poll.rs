//! One item of a stream for each turn of the actor, so that control is heard after one item and not after sixteen.
//!
//! Invariant: between two items the whole task yields, and the runtime looks at timers and at other threads' wake-ups
//! before it goes on. Price: one small allocation and one turn of the scheduler an item.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Stream, StreamExt};

/// A yield in progress, if any. (A plain `wake_by_ref` would keep the runtime from its timers for 61 turns.)
#[derive(Default)]
pub(super) struct Pause(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Pause {
    /// The next `poll` yields once.
    pub(super) fn due(&mut self) {
        self.0 = Some(Box::pin(tokio::task::yield_now()));
    }

    /// Pending for one turn after `due`, else ready.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.0 {
            ready!(pause.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

/// See [`one_per_poll`].
pub struct OnePerPoll<S> {
    stream: S,
    pause: Pause,
}

/// Yields between items: `ctx.add_stream(one_per_poll(inlet.items()))`.
pub fn one_per_poll<S: Stream + Unpin>(stream: S) -> OnePerPoll<S> {
    OnePerPoll { stream, pause: Pause::default() }
}

impl<S: Stream + Unpin> Stream for OnePerPoll<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        ready!(self.pause.poll(cx));
        let item = ready!(self.stream.poll_next_unpin(cx));
        self.pause.due();
        Poll::Ready(item)
    }
}
