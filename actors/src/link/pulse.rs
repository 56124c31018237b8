//! `Pulse`: how an actor runs a long job as short units without leaving its mailbox.
//!
//! Invariant: while the pulse runs, the actor is handed one [`Beat`] a turn, and between two beats its mailbox is emptied,
//! its timers fire and each of its other streams gives at most one item. So a unit is never started before control was
//! heard, and neither the job nor the data starves. Price: a turn of the scheduler a unit (microseconds).
//!
//! The pattern, in the actor:
//! ```text
//! fn started(&mut self, ctx)              { ctx.add_stream(self.beats.take()); }
//! fn handle(&mut self, item: Batch, ctx)  { self.job = Some(begin(item)); self.pulse.start(); }
//! fn handle(&mut self, _: Beat, ctx) {
//!     if self.lifeline.cancel().is_cancelled() { return self.give_up(ctx); }
//!     let _unit = self.lifeline.progress().begin("minibatch");
//!     if let Done(report) = self.learner.next_unit(…) { self.pulse.rest(); … }
//! }
//! ```

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use futures_util::Stream;

use super::one_per_poll::Pause;
use crate::locked::locked;

/// The moment for one unit of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat;

/// Starts and rests the beats of an actor. Clones are the same pulse.
#[derive(Clone)]
pub struct Pulse {
    core: Arc<Mutex<State>>,
}

/// The beats, for `ctx.add_stream`; never ends by itself.
pub struct Beats {
    core: Arc<Mutex<State>>,
    pause: Pause,
}

#[derive(Default)]
struct State {
    running: bool,
    waker: Option<Waker>,
}

impl Pulse {
    /// A resting pulse and its beats.
    pub fn new() -> (Self, Beats) {
        let core = Arc::new(Mutex::new(State::default()));
        (Self { core: core.clone() }, Beats { core, pause: Pause::default() })
    }

    /// From now on there is a beat every turn.
    pub fn start(&self) {
        let waker = {
            let mut state = locked(&self.core);
            state.running = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// No beat after this one.
    pub fn rest(&self) {
        locked(&self.core).running = false;
    }

    /// Whether it beats.
    pub fn is_running(&self) -> bool {
        locked(&self.core).running
    }
}

impl Stream for Beats {
    type Item = Beat;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Beat>> {
        ready!(self.pause.poll(cx));
        {
            let mut state = locked(&self.core);
            if !state.running {
                state.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        self.pause.due();
        Poll::Ready(Some(Beat))
    }
}

#[cfg(test)]
#[path = "pulse_tests.rs"]
mod tests;
