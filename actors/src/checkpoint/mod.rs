//! `CheckpointActor`: collects the learners' states between their units and commits them as one checkpoint.
//!
//! Invariant: a checkpoint is committed whole or not at all, on a thread that no learner waits for; a failed one leaves
//! the last good one as it was, and is told.

mod anchors;
mod held;
mod metric;
mod saved;
mod tensors;

use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use understudy_checkpoints::checkpoint::{Retention, commit, prune};

use crate::control::{Control, TakeCheckpoint};
use crate::failpoint::Failpoints;
use crate::link::{Feed, Inlet};
use crate::lockstep::Rounds;
use crate::messages::LoopEvent;
use crate::policy::AnswerIds;
use crate::ppo::{PpoActor, PpoState};
use crate::reward::{RewardActor, RewardState};
use crate::supervision::Held;
use crate::worker::{Desk, Job, Worker};

pub(crate) use anchors::CheckpointAnchors;
pub(crate) use held::tell;
pub use metric::*;
pub(crate) use saved::{PPO, REWARD};
pub use saved::{Saved, SavedError, SavedState};
pub use tensors::{TensorsError, decode, encode};

/// The actor.
pub type CheckpointActor = Worker<CheckpointJob>;

/// How long a learner may take to come to the end of its unit and copy its state.
const PATIENCE: Duration = Duration::from_secs(600);

/// Somebody wants a checkpoint.
#[derive(Debug, Default)]
pub struct CheckpointRequest {
    /// Told of the outcome, where somebody waits for it.
    pub reply: Option<oneshot::Sender<Result<CheckpointDone, String>>>,
}

impl CheckpointRequest {
    /// One that nobody waits for.
    pub fn routine() -> Self {
        Self::default()
    }

    /// One whose outcome is awaited.
    pub fn awaited() -> (Self, oneshot::Receiver<Result<CheckpointDone, String>>) {
        let (reply, outcome) = oneshot::channel();
        (Self { reply: Some(reply) }, outcome)
    }
}

/// A committed checkpoint.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct CheckpointDone {
    /// Its directory.
    pub path: PathBuf,
    /// What it holds.
    pub state: SavedState,
}

/// The actor's work.
pub struct CheckpointJob {
    /// Who wants one.
    pub(crate) requests: Inlet<CheckpointRequest>,
    /// Who wants to know of each.
    pub(crate) events: Feed<LoopEvent>,
    /// The policy's learner.
    pub(crate) ppo: Control<PpoActor>,
    /// The reward's learner.
    pub(crate) reward: Control<RewardActor>,
    /// Where a run in lockstep stands.
    pub(crate) rounds: Option<Rounds>,
    /// The counter of answer ids.
    pub(crate) ids: AnswerIds,
    /// Names the weights that learning began with.
    pub(crate) base: String,
    /// Where checkpoints lie.
    pub(crate) dir: PathBuf,
    /// Which are kept.
    pub(crate) retention: Retention,
    /// The newest, for the status.
    pub(crate) newest: watch::Sender<Option<SavedState>>,
    /// `checkpoint.before`, `checkpoint.after`.
    pub(crate) failpoints: Failpoints,
}

impl Job for CheckpointJob {
    type State = ();

    async fn run(self, desk: Desk<()>) -> Result<(), String> {
        let mut requests = self.requests.items();
        loop {
            let request = tokio::select! {
                biased;
                () = desk.lifeline.cancel().cancelled() => return Err("told to end".to_owned()),
                request = requests.next() => request,
            };
            let Some(CheckpointRequest { reply }) = request else { return Ok(()) };
            let outcome = self.take(&desk).await;
            match &outcome {
                Ok(done) => tracing::info!(path = %done.path.display(), "a checkpoint is committed"),
                Err(why) => {
                    metrics::counter!(FAILED).increment(1);
                    tracing::error!(why, "no checkpoint was committed; the last good one is as it was");
                    self.events.publish(LoopEvent::Trouble { actor: "checkpoint", what: why.clone() });
                }
            }
            if let Some(reply) = reply {
                // Whoever asked may have given up waiting.
                let _ = reply.send(outcome);
            }
        }
    }
}

impl CheckpointJob {
    async fn take(&self, desk: &Desk<()>) -> Result<CheckpointDone, String> {
        let began = Instant::now();
        let deadline = began + PATIENCE;
        let ppo = async {
            let state = self.ppo.ask(TakeCheckpoint::<PpoState>::new(), deadline).await;
            state.map_err(|error| format!("the state of ppo: {error}"))?
        };
        let reward = async {
            let state = self.reward.ask(TakeCheckpoint::<RewardState>::new(), deadline).await;
            state.map_err(|error| format!("the state of reward: {error}"))?
        };
        let (ppo, reward) = tokio::try_join!(ppo, reward)?;
        let about = json!({"policy_version": ppo.version, "reward_version": reward.version, "updates": ppo.updates});
        let _hand = desk.lifeline.hold(Held::new(format!("checkpoint of policy {}", ppo.version)).saying(&about));
        let unit = desk.lifeline.begin("commit");
        self.failpoints.hit("checkpoint.before").map_err(|error| error.to_string())?;
        let lockstep = self.rounds.as_ref().map(Rounds::saved).transpose()?;
        let saved = Saved::new(self.base.clone(), ppo, reward, self.ids.next(), lockstep);
        let saved = saved.map_err(|error| error.to_string())?;
        unit.mark();
        let state = saved.state.clone();
        let parts: Vec<(&str, &[u8])> = saved.parts.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        let path =
            commit(&self.dir, state.policy_version, &parts, state.to_json()).map_err(|error| error.to_string())?;
        unit.mark();
        if let Err(error) = prune(&self.dir, &self.retention) {
            tracing::warn!(%error, "old checkpoints could not be removed");
        }
        self.failpoints.hit("checkpoint.after").map_err(|error| error.to_string())?;
        let seconds = began.elapsed().as_secs_f64();
        metrics::counter!(COMMITTED).increment(1);
        metrics::histogram!(SECONDS).record(seconds);
        self.events.publish(LoopEvent::Checkpoint {
            step: state.policy_version,
            policy_version: state.policy_version,
            reward_version: state.reward_version,
            seconds,
        });
        self.newest.send_replace(Some(state.clone()));
        Ok(CheckpointDone { path, state })
    }
}
