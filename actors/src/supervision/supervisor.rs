//! The supervisor: starts incarnations, watches them, starts anew or gives up.
//!
//! Invariant: one incarnation at a time; the next begins only after the last one's task has ended and was dropped, on
//! the same place. A first incarnation that cannot be built is an error of the start and is not retried. When the
//! supervisor gives up it closes the actor's ingress before it tells, so that nobody waits on the dead.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinError};
use tokio::time::{Instant, timeout};
use understudy_model::hash::fnv1a;
use understudy_model::rng::{Purpose, Stream};

use super::exit::{Crash, Exit, Verdict};
use super::in_hand::Held;
use super::lifeline::Lifeline;
use super::progress::Progress;
use super::restart::{Decision, Restarts};
use super::supervise::Supervision;
use crate::cancel::Cancel;
use crate::metric;

/// How long an incarnation that was told to end may take before its task is aborted, and then before it counts as lost.
const GRACE: Duration = Duration::from_secs(5);

/// What is known of a supervised actor.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) born: bool,
    pub(super) restarts: u64,
    pub(super) verdict: Option<Verdict>,
}

/// Builds one incarnation's whole life, on its place.
pub(super) type Launch = Arc<dyn Fn(Lifeline, Birth) -> LocalBoxFuture<'static, ()> + Send + Sync>;

/// Tells that an incarnation was built.
#[derive(Clone)]
pub(super) struct Birth(Arc<watch::Sender<State>>);

impl Birth {
    pub(super) fn tell(&self) {
        self.0.send_modify(|state| state.born = true);
    }
}

pub(super) struct Supervisor {
    pub(super) plan: Supervision,
    pub(super) launch: Launch,
    pub(super) progress: Progress,
    pub(super) stop: Cancel,
    pub(super) tell: Arc<watch::Sender<State>>,
}

/// How an incarnation ended.
struct End {
    exit: Exit,
    in_hand: Vec<Held>,
    /// Its place is lost: no other can follow.
    fatal: bool,
}

type Outcome = oneshot::Receiver<Result<(), JoinError>>;

impl Supervisor {
    pub(super) async fn run(mut self) {
        let name = self.plan.name;
        // By its name, so that each actor draws its own pauses.
        let jitter = Stream::new(self.plan.seed, Purpose::Backoff, fnv1a(name.bytes()));
        let mut restarts = Restarts::new(self.plan.policy, jitter);
        let verdict = loop {
            let lifeline = Lifeline::new(name, restarts.total(), self.progress.clone());
            let lifeline = lifeline.with_quarantine(self.plan.quarantine.clone());
            let End { exit, in_hand, fatal } = self.live(&lifeline).await;
            metrics::counter!(metric::ACTOR_EXITS, "actor" => name, "exit" => exit.as_str()).increment(1);
            if exit == Exit::Finished {
                break Verdict::Finished;
            }
            if self.stop.is_cancelled() && !fatal {
                break Verdict::Stopped(exit);
            }
            self.report(Crash { actor: name, incarnation: lifeline.incarnation(), exit: exit.clone(), in_hand });
            let unborn = !self.tell.borrow().born;
            let decision = if fatal || unborn { Decision::GiveUp } else { restarts.after_failure(Instant::now()) };
            let Decision::Restart(pause) = decision else {
                break Verdict::GaveUp { restarts: restarts.total(), last: exit };
            };
            tracing::warn!(actor = name, restart = restarts.total(), ?pause, "the actor is started anew");
            tokio::select! {
                () = self.stop.cancelled() => break Verdict::Stopped(exit),
                () = tokio::time::sleep(pause) => (),
            }
            metrics::counter!(metric::ACTOR_RESTARTS, "actor" => name).increment(1);
            self.tell.send_modify(|state| state.restarts = restarts.total());
        };
        if let Verdict::GaveUp { last, .. } = &verdict {
            tracing::error!(actor = name, %verdict, "the actor is given up; its ingress closes");
            self.plan.on_give_up.drain(..).for_each(|close| close(last));
        }
        self.tell.send_modify(|state| state.verdict = Some(verdict));
    }

    fn report(&self, crash: Crash) {
        let held: Vec<&str> = crash.in_hand.iter().map(|held| held.label.as_str()).collect();
        let (actor, incarnation) = (crash.actor, crash.incarnation);
        tracing::error!(actor, incarnation, exit = %crash.exit, in_hand = ?held, "an incarnation ended");
        self.plan.quarantine.see(&crash);
        self.plan.on_crash.iter().for_each(|see| see(&crash));
    }

    /// One incarnation, from its factory to its end.
    async fn live(&self, lifeline: &Lifeline) -> End {
        self.progress.reset();
        let (ended, mut end) = oneshot::channel();
        let (begun, begin) = oneshot::channel();
        let (launch, line, birth) = (self.launch.clone(), lifeline.clone(), Birth(self.tell.clone()));
        self.plan.place.run(move || {
            // The factory runs inside the task, so that its panic is caught like any other.
            let task = actix_rt::spawn(async move { launch(line, birth).await });
            let _ = begun.send(task.abort_handle());
            actix_rt::spawn(async move {
                // Nobody listens when the incarnation was already counted as lost.
                let _ = ended.send(task.await);
            });
        });
        let Ok(abort) = begin.await else {
            let why = format!("the thread '{}' is gone", self.plan.place.name());
            return End { exit: Exit::Failed(why), in_hand: Vec::new(), fatal: true };
        };
        tokio::select! {
            outcome = &mut end => match outcome {
                Ok(outcome) => End { exit: exit_of(outcome, lifeline), in_hand: lifeline.in_hand().held(), fatal: false },
                Err(_gone) => {
                    let why = format!("the thread '{}' ended under it", self.plan.place.name());
                    End { exit: Exit::Failed(why), in_hand: lifeline.in_hand().held(), fatal: true }
                }
            },
            () = self.stop.cancelled() => put_down(lifeline, &mut end, &abort, None).await,
            (unit, after) = self.progress.stuck(self.plan.budget) => {
                tracing::error!(actor = self.plan.name, unit, ?after, "no progress within the budget; cancelling");
                put_down(lifeline, &mut end, &abort, Some(Exit::Stuck { unit, after })).await
            }
        }
    }
}

/// Ends an incarnation: wishes it to end, then aborts its task between two polls, then counts its thread as lost.
async fn put_down(lifeline: &Lifeline, end: &mut Outcome, abort: &AbortHandle, stuck: Option<Exit>) -> End {
    let in_hand = lifeline.in_hand().held();
    lifeline.cancel().cancel();
    if let Ok(Ok(outcome)) = timeout(GRACE, &mut *end).await {
        return End { exit: stuck.unwrap_or_else(|| exit_of(outcome, lifeline)), in_hand, fatal: false };
    }
    abort.abort();
    let fatal = timeout(GRACE, end).await.is_err();
    let exit = stuck.unwrap_or_else(|| Exit::Failed("did not end when it was told to".to_owned()));
    End { exit, in_hand, fatal }
}

fn exit_of(outcome: Result<(), JoinError>, lifeline: &Lifeline) -> Exit {
    match outcome {
        Ok(()) => lifeline.said().unwrap_or_else(|| Exit::Failed("it stopped without a verdict".to_owned())),
        Err(error) => match error.try_into_panic() {
            Ok(payload) => Exit::Panicked(panic_text(payload.as_ref())),
            Err(_cancelled) => Exit::Failed("its task was aborted".to_owned()),
        },
    }
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
