//! Shutdown in order of flow.
//!
//! Invariant: a step begins when the one before it has ended; all share one deadline. A step that fails is told and does
//! not keep the others from their end; one that does not end is named with what it is doing, and then the hard path runs
//! from the sink upwards, which frees whoever waits on a full port.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::time::{Instant, timeout_at};

use crate::place::Place;
use crate::supervision::Supervised;

/// A list of steps to a clean end.
#[derive(Default)]
pub struct Drain {
    steps: Vec<Step>,
}

struct Step {
    name: String,
    work: LocalBoxFuture<'static, Result<(), String>>,
    doing: Box<dyn Fn() -> String>,
    force: Option<Box<dyn FnOnce()>>,
}

/// All steps ended in time: how long each took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drained {
    /// Step and time, in order.
    pub steps: Vec<(String, Duration)>,
}

/// Why the end was not clean.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrainError {
    /// A step did not end in time.
    #[error("'{step}' kept the gate from closing{doing}; never begun: {}", none_or_list(.unbegun))]
    KeptOpen {
        /// The step.
        step: String,
        /// What it was doing, if it says.
        doing: String,
        /// The steps after it.
        unbegun: Vec<String>,
    },
    /// A second signal came.
    #[error("told to end at once while '{step}' was ending")]
    Interrupted {
        /// The step.
        step: String,
    },
    /// All steps ended, some with an error.
    #[error("ended with faults: {}", none_or_list(.0))]
    Failed(
        /// `step: cause` each.
        Vec<String>,
    ),
}

fn none_or_list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl Drain {
    /// No steps yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Then this. The future does nothing before its turn.
    #[must_use]
    pub fn step<E: Display>(
        mut self,
        name: impl Into<String>,
        work: impl Future<Output = Result<(), E>> + 'static,
    ) -> Self {
        let work = work.map(|outcome| outcome.map_err(|error| error.to_string())).boxed_local();
        self.steps.push(Step { name: name.into(), work, doing: Box::new(String::new), force: None });
        self
    }

    /// Then close an actor's ingress and await its verdict. Having been given up is a fault, told here once more.
    #[must_use]
    pub fn actor(mut self, actor: Supervised, close: impl FnOnce() + 'static) -> Self {
        let seen = actor.clone();
        let name = actor.name();
        let work = async move {
            close();
            let verdict = actor.verdict().await;
            if verdict.is_failure() { Err(verdict.to_string()) } else { Ok(()) }
        };
        self = self.step(name, work);
        self.last().doing = Box::new(move || match seen.progress().busy() {
            Some(busy) => format!(" (in '{}' for {:.1} s)", busy.unit, busy.since.elapsed().as_secs_f64()),
            None => " (between units of work)".to_owned(),
        });
        self
    }

    /// Then end a dedicated thread and join it.
    #[must_use]
    pub fn place(self, place: Place, by: Instant) -> Self {
        let name = format!("thread {}", place.name());
        self.step(name, async move { place.stop(by).await })
    }

    /// What the hard path does for the last step: abandon its ingress, stop its actor.
    #[must_use]
    pub fn force(mut self, force: impl FnOnce() + 'static) -> Self {
        self.last().force = Some(Box::new(force));
        self
    }

    fn last(&mut self) -> &mut Step {
        self.steps.last_mut().expect("called on a list with a step, as its doc says")
    }

    /// Runs the steps until `by`, or until told `again` to end.
    pub async fn run(self, by: Instant, again: impl Future<Output = ()>) -> Result<Drained, DrainError> {
        let mut again = std::pin::pin!(again);
        let (mut ended, mut faults) = (Vec::new(), Vec::new());
        let mut steps = self.steps.into_iter();
        while let Some(step) = steps.next() {
            let began = Instant::now();
            tracing::info!(step = step.name, "closing");
            let outcome = tokio::select! {
                biased;
                () = &mut again => return Err(DrainError::Interrupted { step: step.name }),
                outcome = timeout_at(by, step.work) => outcome,
            };
            match outcome {
                Ok(Ok(())) => ended.push((step.name, began.elapsed())),
                Ok(Err(fault)) => {
                    tracing::error!(step = step.name, fault, "closed with a fault");
                    faults.push(format!("{}: {fault}", step.name));
                }
                Err(_late) => {
                    let doing = (step.doing)();
                    tracing::error!(step = step.name, doing, "kept the gate from closing");
                    let unbegun: Vec<Step> = steps.collect();
                    let names = unbegun.iter().map(|step| step.name.clone()).collect();
                    let forces = [step.force].into_iter().chain(unbegun.into_iter().map(|step| step.force));
                    forces.flatten().collect::<Vec<_>>().into_iter().rev().for_each(|force| force());
                    return Err(DrainError::KeptOpen { step: step.name, doing, unbegun: names });
                }
            }
        }
        if faults.is_empty() { Ok(Drained { steps: ended }) } else { Err(DrainError::Failed(faults)) }
    }
}

#[cfg(test)]
#[path = "drain_tests.rs"]
mod tests;
