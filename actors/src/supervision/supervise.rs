//! How supervision of an actor is asked for, and what can be seen of it.
//!
//! Invariant: whoever holds a `Supervised` can await readiness and verdict, and cannot reach into the actor. A factory is
//! called on the actor's own place, so what it builds never crosses a thread.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context};
use tokio::sync::watch;

use super::exit::{Crash, Exit, Verdict};
use super::lifeline::Lifeline;
use super::progress::Progress;
use super::quarantine::Quarantine;
use super::restart::RestartPolicy;
use super::supervisor::{Birth, Launch, State, Supervisor};
use crate::cancel::Cancel;
use crate::control::Control;
use crate::place::Place;

type SeeCrash = Box<dyn Fn(&Crash)>;
type SeeEnd = Box<dyn FnOnce(&Exit)>;

/// How an actor is to be kept alive; `start` begins.
pub struct Supervision {
    pub(super) name: &'static str,
    pub(super) policy: RestartPolicy,
    pub(super) place: Place,
    pub(super) budget: Duration,
    pub(super) seed: u64,
    pub(super) quarantine: Quarantine,
    pub(super) on_crash: Vec<SeeCrash>,
    pub(super) on_give_up: Vec<SeeEnd>,
}

/// A supervised actor as seen from outside. Clones are the same.
#[derive(Debug, Clone)]
pub struct Supervised {
    name: &'static str,
    progress: Progress,
    stop: Cancel,
    state: watch::Receiver<State>,
}

impl Supervision {
    /// Under the default policy, inline, with a minute for each unit of work.
    pub fn new(name: &'static str) -> Self {
        let (policy, place, budget) = (RestartPolicy::default(), Place::Inline, Duration::from_secs(60));
        let (quarantine, on_crash, on_give_up) = (Quarantine::in_memory(), Vec::new(), Vec::new());
        Self { name, policy, place, budget, seed: 0, quarantine, on_crash, on_give_up }
    }

    /// When to start anew.
    #[must_use]
    pub fn policy(self, policy: RestartPolicy) -> Self {
        Self { policy, ..self }
    }

    /// Where it runs.
    #[must_use]
    pub fn place(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// How long a unit of work may go on without a mark.
    #[must_use]
    pub fn budget(self, budget: Duration) -> Self {
        Self { budget, ..self }
    }

    /// The run's seed, for the pauses between restarts.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Where what it dies of is kept.
    #[must_use]
    pub fn quarantine(self, quarantine: Quarantine) -> Self {
        Self { quarantine, ..self }
    }

    /// Sees each crash with what was in hand, after the quarantine has.
    #[must_use]
    pub fn on_crash(mut self, see: impl Fn(&Crash) + 'static) -> Self {
        self.on_crash.push(Box::new(see));
        self
    }

    /// Runs before a verdict of giving up is told: the place to close the actor's ingress.
    #[must_use]
    pub fn on_give_up(mut self, close: impl FnOnce(&Exit) + 'static) -> Self {
        self.on_give_up.push(Box::new(close));
        self
    }

    /// Keeps an actor alive. The factory runs on the actor's place, once for each incarnation.
    pub fn start<A, E, F>(self, factory: F) -> (Supervised, Control<A>)
    where
        A: Actor<Context = Context<A>>,
        E: Display,
        F: Fn(Lifeline) -> Result<A, E> + Send + Sync + 'static,
    {
        let control = Control::new();
        let way = control.clone();
        let factory = Arc::new(factory);
        let launch: Launch = Arc::new(move |lifeline: Lifeline, birth: Birth| {
            let (factory, way) = (factory.clone(), way.clone());
            Box::pin(async move {
                let actor = match factory(lifeline.clone()) {
                    Ok(actor) => actor,
                    Err(error) => return lifeline.fail(error),
                };
                birth.tell();
                let context = Context::new();
                way.attach(context.address());
                let _way = Detach(way);
                context.into_future(actor).await;
            })
        });
        (self.begin(launch), control)
    }

    /// Keeps a job alive that is a future and not an actor; it looks at its lifeline's `cancel`.
    pub fn start_job<E, F, J>(self, job: F) -> Supervised
    where
        E: Display,
        F: Fn(Lifeline) -> J + Send + Sync + 'static,
        J: Future<Output = Result<(), E>> + 'static,
    {
        let job = Arc::new(job);
        let launch: Launch = Arc::new(move |lifeline: Lifeline, birth: Birth| {
            let job = job.clone();
            Box::pin(async move {
                birth.tell();
                match job(lifeline.clone()).await {
                    Ok(()) => lifeline.finish(),
                    Err(error) => lifeline.fail(error),
                }
            })
        });
        self.begin(launch)
    }

    fn begin(self, launch: Launch) -> Supervised {
        let (progress, stop) = (Progress::default(), Cancel::new());
        let (tell, state) = watch::channel(State::default());
        let supervised = Supervised { name: self.name, progress: progress.clone(), stop: stop.clone(), state };
        actix_rt::spawn(Supervisor { plan: self, launch, progress, stop, tell: Arc::new(tell) }.run());
        supervised
    }
}

/// Takes the way to an incarnation back when its task ends, also by a panic.
struct Detach<A: Actor>(Control<A>);

impl<A: Actor> Drop for Detach<A> {
    fn drop(&mut self) {
        self.0.detach();
    }
}

impl Supervised {
    /// The actor's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Waits until the first incarnation was built, or tells why it was not.
    pub async fn ready(&self) -> Result<(), Verdict> {
        let mut state = self.state.clone();
        let known = state.wait_for(|state| state.born || state.verdict.is_some()).await;
        match known.as_deref() {
            Ok(State { born: true, .. }) => Ok(()),
            Ok(State { verdict: Some(verdict), .. }) => Err(verdict.clone()),
            _ => Err(gone()),
        }
    }

    /// Waits for the end.
    pub async fn verdict(&self) -> Verdict {
        let mut state = self.state.clone();
        let known = state.wait_for(|state| state.verdict.is_some()).await;
        known.ok().and_then(|state| state.verdict.clone()).unwrap_or_else(gone)
    }

    /// The end, if it has come.
    pub fn verdict_now(&self) -> Option<Verdict> {
        self.state.borrow().verdict.clone()
    }

    /// Restarts so far.
    pub fn restarts(&self) -> u64 {
        self.state.borrow().restarts
    }

    /// Its signs of life.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Cancels the incarnation and starts no other; one that does not end in five seconds is aborted. The hard path:
    /// an orderly end comes from closing the actor's ingress.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

fn gone() -> Verdict {
    Verdict::GaveUp { restarts: 0, last: Exit::Failed("its supervisor is gone".to_owned()) }
}

#[cfg(test)]
#[path = "supervise_tests.rs"]
mod tests;
