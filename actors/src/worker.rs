//! `Worker`: an actix actor whose work is one loop of short units.
//!
//! Invariant: control goes over the actor's mailbox and is heard between two units, because the loop yields after each;
//! the loop is the only one that touches the work, so no two units interleave. A panic in a unit ends the incarnation and
//! nothing else. Price: the loop is a future that the actor polls, one turn of the scheduler a unit.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture};
use tokio::sync::{Notify, oneshot};

use crate::control::{Pause, Resume, TakeCheckpoint};
use crate::supervision::Lifeline;

/// What a worker does.
pub trait Job: Unpin + 'static {
    /// What it gives for a checkpoint.
    type State: Send + 'static;
    /// Works until there is nothing more to do (`Ok`) or it cannot go on.
    fn run(self, desk: Desk<Self::State>) -> impl Future<Output = Result<(), String>> + 'static;
}

/// The job's side of the control plane.
pub struct Desk<S> {
    /// Signs of life and the wish to end.
    pub lifeline: Lifeline,
    orders: Rc<Orders<S>>,
}

struct Orders<S> {
    paused: RefCell<bool>,
    finish: RefCell<bool>,
    states: RefCell<VecDeque<oneshot::Sender<S>>>,
    changed: Notify,
}

/// The daemon drains and nothing more will come: end when nothing is left to do.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Finish;

/// An actor that runs a job.
pub struct Worker<J: Job> {
    job: Option<J>,
    lifeline: Lifeline,
    orders: Rc<Orders<J::State>>,
}

impl<J: Job> Worker<J> {
    /// An incarnation; its work begins when it is started.
    pub fn new(job: J, lifeline: Lifeline) -> Self {
        let (paused, finish, states, changed) = Default::default();
        Self { job: Some(job), lifeline, orders: Rc::new(Orders { paused, finish, states, changed }) }
    }
}

impl<S> Desk<S> {
    /// Whether no new work should be taken up.
    pub fn is_paused(&self) -> bool {
        *self.orders.paused.borrow()
    }

    /// Whether it should end once nothing is left to do.
    pub fn should_finish(&self) -> bool {
        *self.orders.finish.borrow()
    }

    /// Whether it should end at once.
    pub fn is_cancelled(&self) -> bool {
        self.lifeline.cancel().is_cancelled()
    }

    /// Somebody who waits for the state, if anybody does.
    pub fn state_wanted(&self) -> Option<oneshot::Sender<S>> {
        self.orders.states.borrow_mut().pop_front()
    }

    /// Waits until something was ordered or the end is wished for. An order that came since the last wait counts.
    pub async fn ordered(&self) {
        tokio::select! {
            () = self.orders.changed.notified() => (),
            () = self.lifeline.cancel().cancelled() => (),
        }
    }
}

impl<J: Job> Actor for Worker<J> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let job = self.job.take().expect("an incarnation is started once");
        let desk = Desk { lifeline: self.lifeline.clone(), orders: self.orders.clone() };
        let ended = job.run(desk).into_actor(self).map(|outcome, worker, ctx: &mut Self::Context| {
            match outcome {
                Ok(()) => worker.lifeline.finish(),
                Err(why) => worker.lifeline.fail(why),
            }
            ctx.stop();
        });
        ctx.spawn(ended);
    }
}

impl<J: Job> Handler<Pause> for Worker<J> {
    type Result = ();
    fn handle(&mut self, _: Pause, _: &mut Self::Context) {
        *self.orders.paused.borrow_mut() = true;
        self.orders.changed.notify_one();
    }
}

impl<J: Job> Handler<Resume> for Worker<J> {
    type Result = ();
    fn handle(&mut self, _: Resume, _: &mut Self::Context) {
        *self.orders.paused.borrow_mut() = false;
        self.orders.changed.notify_one();
    }
}

impl<J: Job> Handler<Finish> for Worker<J> {
    type Result = ();
    fn handle(&mut self, _: Finish, _: &mut Self::Context) {
        *self.orders.finish.borrow_mut() = true;
        self.orders.changed.notify_one();
    }
}

impl<J: Job> Handler<TakeCheckpoint<J::State>> for Worker<J> {
    type Result = ResponseFuture<Result<J::State, String>>;
    fn handle(&mut self, _: TakeCheckpoint<J::State>, _: &mut Self::Context) -> Self::Result {
        let (give, state) = oneshot::channel();
        self.orders.states.borrow_mut().push_back(give);
        self.orders.changed.notify_one();
        let name = self.lifeline.actor();
        Box::pin(async move { state.await.map_err(|_| format!("{name} ended before it gave its state")) })
    }
}
