//! The end, in the order of flow.
//!
//! Invariant: each step begins when the one before has ended, so nothing upstream can send to what is closed: sources,
//! policy, annotators, feedback, reward, learner, the last checkpoint, the store, the threads. All that was acknowledged is
//! on disk before any of it begins.

use tokio::time::Instant;

use super::start::{Actors, Daemon};
use crate::cancel::Cancel;
use crate::checkpoint::CheckpointRequest;
use crate::runtime::Drain;
use crate::supervision::Supervised;
use crate::worker::Finish;

impl Daemon {
    /// The steps of a clean end, to be run under a deadline. Stop taking HTTP requests before.
    pub fn drain(self, by: Instant) -> Drain {
        let Self { bus, store, places, actors, .. } = self;
        let Actors { policy, stage, feedback, reward, ppo, checkpoint, raters, sources } = actors;
        let mut drain = Drain::new();
        for source in sources {
            let (bus, stop) = (bus.clone(), source.clone());
            drain = drain.actor(source, move || bus.pace.close()).force(move || stop.stop());
        }
        let (closing, forced, stop) = (bus.clone(), bus.clone(), policy.clone());
        drain = drain
            .actor(policy, move || {
                closing.pace.close();
                closing.prompts.close();
                closing.chats.close();
            })
            .force(move || {
                forced.rollouts.abandon();
                stop.stop();
            });
        if let Some(stage) = stage {
            let (closing, stop) = (bus.clone(), stage.clone());
            drain = drain.actor(stage, move || closing.orders.close()).force(move || stop.stop());
        }
        let closing = bus.clone();
        drain = drain.step("answers", async move {
            closing.answers.close();
            Ok::<_, String>(())
        });
        for rater in raters {
            let stop = rater.clone();
            drain = drain.actor(rater, || ()).force(move || stop.stop());
        }
        let (closing, forced, stop) = (bus.clone(), bus.clone(), feedback.clone());
        drain = drain.actor(feedback, move || closing.feedback.close()).force(move || {
            forced.ratings.abandon();
            stop.stop();
        });
        let (closing, forced) = (bus.clone(), bus.clone());
        let (reward, reward_control, reward_drained) = reward;
        let (ppo, ppo_control, ppo_drained) = ppo;
        let stop = reward.clone();
        drain = drain
            .step(
                "reward drained",
                drained(reward.clone(), reward_drained, move || {
                    closing.rollouts.close();
                    closing.ratings.close();
                }),
            )
            .force(move || {
                forced.scored.abandon();
                stop.stop();
            });
        let (closing, stop) = (bus.clone(), ppo.clone());
        drain = drain
            .step("ppo drained", drained(ppo.clone(), ppo_drained, move || closing.scored.close()))
            .force(move || stop.stop());
        let asking = bus.clone();
        drain = drain.step("last checkpoint", async move {
            let (request, outcome) = CheckpointRequest::awaited();
            asking.checkpoints.send(request).await.map_err(|_| "its actor is gone".to_owned())?;
            let done = outcome.await.map_err(|_| "its actor failed with the request in hand".to_owned())?;
            done.map(|done| tracing::info!(path = %done.path.display(), "the last checkpoint"))
        });
        let (closing, stop) = (bus.clone(), checkpoint.clone());
        drain = drain.actor(checkpoint, move || closing.checkpoints.close()).force(move || stop.stop());
        // Whoever cannot be told has ended, and its verdict says how.
        drain = drain.actor(reward, move || {
            let _ = reward_control.tell(Finish);
        });
        drain = drain.actor(ppo, move || {
            let _ = ppo_control.tell(Finish);
        });
        drain = drain.step("store", async move {
            bus.events.close();
            store.close()
        });
        for place in places {
            drain = drain.place(place, by);
        }
        drain
    }
}

/// Closes an actor's ingress and waits until it has worked off what was in it, or has ended.
async fn drained(actor: Supervised, drained: Cancel, close: impl FnOnce()) -> Result<(), String> {
    close();
    tokio::select! {
        () = drained.cancelled() => Ok(()),
        verdict = actor.verdict() => Err(verdict.to_string()),
    }
}
