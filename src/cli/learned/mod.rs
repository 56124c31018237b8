//! What the reward model has learned of people, questions and itself, read from the newest whole checkpoint.
//!
//! Invariant: reads only. A committed checkpoint never changes, so a daemon at work on the same data directory is not
//! disturbed, and what is shown is what a restart would go on from.

pub(super) mod annotators;
pub(super) mod collapse;
pub(super) mod openness;
mod table;

use serde_json::Value as Json;
use understudy_actors::checkpoint::{Saved, SavedState};

use super::{Failure, Global};
use crate::config::Config;
use crate::speaker::checkpoints_dir;

/// The reward part of the newest whole checkpoint.
struct Learned {
    config: Config,
    state: SavedState,
    /// Of the reward actor; the learner's own are under "learner".
    scalars: Json,
}

impl Learned {
    fn newest(global: &Global) -> Result<Self, Failure> {
        let config = global.load()?.config;
        let dir = checkpoints_dir(&config);
        let failed = |error: anyhow::Error| Failure::Failed(error);
        let shown = config.data.dir.display();
        let newest = match dir.exists() {
            true => Saved::newest(&dir).map_err(|error| failed(error.into()))?,
            false => None,
        };
        let Some((state, checkpoint)) = newest else {
            return Err(Failure::NotReady(format!(
                "there is no checkpoint in '{shown}' yet; let 'understudy demo' or 'serve' run until it has written one \
                 (checkpoint.every_updates), or name another --data-dir"
            )));
        };
        let scalars = Saved::reward_scalars(&checkpoint).map_err(|error| failed(error.into()))?;
        Ok(Self { config, state, scalars })
    }

    /// A part of the reward actor's state; an older program's checkpoint may not have it.
    fn part(&self, name: &str) -> Result<&Json, Failure> {
        let parts = [&self.scalars, &self.scalars["learner"]];
        let found = parts.into_iter().find_map(|scalars| scalars.get(name).filter(|part| !part.is_null()));
        found.ok_or_else(|| {
            Failure::NotReady(format!(
                "the newest checkpoint holds nothing of '{name}'; it is older than this program, or nothing was learned \
                 of it yet: let the daemon write another"
            ))
        })
    }

    /// Where all of it stands, for the first line.
    fn title(&self) -> String {
        let SavedState { reward_version, policy_version, feedback_up_to, .. } = &self.state;
        format!("reward model {reward_version}, policy {policy_version}, ratings up to {feedback_up_to}")
    }
}
