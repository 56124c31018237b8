//! The control plane: a handful of messages a minute, over the actix mailbox, which is polled before any stream.
//!
//! Invariant: no data passes here. A [`Control`] leads to whichever incarnation lives now, is bounded (actix' own bound
//! does not hold when addresses are cloned, so no address leaves this module), and every question has a deadline.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use actix::dev::ToEnvelope;
use actix::prelude::SendError;
use actix::{Actor, Addr, Handler, MailboxError, Message};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::link::AskError;
use crate::locked::locked;

/// Questions of the control plane that may wait at once.
const QUESTIONS: usize = 16;

/// Stop taking up work after the unit at hand.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Pause;

/// Take up work again.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Resume;

/// Tell what can be seen from outside, as `O`.
#[derive(Debug, Clone, Copy)]
pub struct Observe<O>(PhantomData<fn() -> O>);

/// Give the state that a checkpoint needs, between two units of work.
#[derive(Debug, Clone, Copy)]
pub struct TakeCheckpoint<S>(PhantomData<fn() -> S>);

impl<O> Observe<O> {
    /// The message.
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<O> Default for Observe<O> {
    fn default() -> Self {
        Self::new()
    }
}

impl<O: 'static> Message for Observe<O> {
    type Result = O;
}

impl<S> TakeCheckpoint<S> {
    /// The message.
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<S> Default for TakeCheckpoint<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: 'static> Message for TakeCheckpoint<S> {
    type Result = Result<S, String>;
}

/// The way to an actor's mailbox, across incarnations. Clones are the same way.
pub struct Control<A: Actor> {
    address: Arc<Mutex<Option<Addr<A>>>>,
    questions: Arc<Semaphore>,
}

impl<A: Actor> Control<A> {
    /// A way to nobody yet.
    pub fn new() -> Self {
        Self { address: Arc::default(), questions: Arc::new(Semaphore::new(QUESTIONS)) }
    }

    /// From now on it leads to this incarnation. Supervision does this; an actor started by hand needs it too.
    pub fn attach(&self, address: Addr<A>) {
        *locked(&self.address) = Some(address);
    }

    /// It leads to nobody until the next `attach`.
    pub fn detach(&self) {
        let gone = locked(&self.address).take();
        drop(gone); // outside the lock: the last address ends an actor
    }

    /// Sends without awaiting the result. `Crashed` when no incarnation lives now.
    pub fn tell<M>(&self, message: M) -> Result<(), AskError>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        // One address, never cloned: only so does actix' bound hold.
        let address = locked(&self.address);
        address.as_ref().ok_or(AskError::Crashed)?.try_send(message).map_err(|refused| match refused {
            SendError::Full(_) => AskError::Full,
            SendError::Closed(_) => AskError::Crashed,
        })
    }

    /// Sends and awaits the result until the deadline. `Crashed` when no incarnation lives or it dies meanwhile.
    pub async fn ask<M>(&self, message: M, deadline: Instant) -> Result<M::Result, AskError>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let _place = self.questions.try_acquire().map_err(|_| AskError::Full)?;
        let request = {
            let address = locked(&self.address);
            address.as_ref().ok_or(AskError::Crashed)?.send(message)
        };
        match tokio::time::timeout_at(deadline, request).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(MailboxError::Closed)) => Err(AskError::Crashed),
            Ok(Err(MailboxError::Timeout)) | Err(_) => Err(AskError::Expired),
        }
    }
}

impl<A: Actor> Default for Control<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Actor> Clone for Control<A> {
    fn clone(&self) -> Self {
        Self { address: self.address.clone(), questions: self.questions.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix::{Context, MessageResult};

    use super::*;
    use crate::testkit::simulated;

    #[derive(Default)]
    struct Switch {
        paused: bool,
    }

    impl Actor for Switch {
        type Context = Context<Self>;
    }

    impl Handler<Pause> for Switch {
        type Result = ();
        fn handle(&mut self, _: Pause, _: &mut Self::Context) {
            self.paused = true;
        }
    }

    impl Handler<Observe<bool>> for Switch {
        type Result = MessageResult<Observe<bool>>;
        fn handle(&mut self, _: Observe<bool>, _: &mut Self::Context) -> Self::Result {
            MessageResult(self.paused)
        }
    }

    #[test]
    fn control_reaches_whoever_lives_and_says_when_nobody_does() {
        simulated(async {
            let control = Control::<Switch>::new();
            let soon = Instant::now() + Duration::from_secs(1);
            assert_eq!(control.tell(Pause), Err(AskError::Crashed));
            control.attach(Switch::default().start());
            control.tell(Pause).unwrap();
            assert_eq!(control.ask(Observe::new(), soon).await, Ok(true));
            control.attach(Switch::default().start());
            assert_eq!(control.ask(Observe::new(), soon).await, Ok(false), "the next incarnation answers");
            control.detach();
            assert_eq!(control.ask(Observe::new(), soon).await, Err(AskError::Crashed));
        });
    }

    #[test]
    fn the_mailbox_bound_holds_with_a_clone_per_call() {
        simulated(async {
            let control = Control::<Switch>::new();
            control.attach(Switch::default().start());
            let taken = (0..1000).filter(|_| control.clone().tell(Pause).is_ok()).count();
            // actix' default capacity is 16, and each sender (here: ours and the first address) has one place more.
            assert!((16..=18).contains(&taken), "{taken} taken");
        });
    }
}
