//! Who says how good an answer is: the documented taste, or a reward model from a file.
//!
//! Invariant: judging changes nothing, and the judge is never the reward that the policy learned from unless it was named.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use understudy_actors::checkpoint::Saved;
use understudy_checkpoints::checkpoint;
use understudy_learning::LearnerState;
use understudy_learning::gold::{Taste, Types, worth_by_type};
use understudy_learning::reward::RewardLearner;
use understudy_learning::stages::{Prompt, Question, Rollout};

use crate::config::Config;
use crate::phases::folder::RewardFolder;
use crate::speaker::Speaker;

/// An answer to judge.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// `[R]`.
    pub tokens: Vec<i64>,
    /// Its text.
    pub text: String,
    /// Whether it ended by itself.
    pub finished: bool,
}

/// A judge.
pub enum Judge {
    /// The gold reward.
    Gold {
        /// What is liked.
        taste: Box<Taste>,
        /// Which questions have right and wrong answers.
        types: Types,
    },
    /// A reward model.
    Learned {
        /// Where it was read.
        name: String,
        /// With its weights.
        learner: Box<RewardLearner>,
    },
}

impl Judge {
    /// The taste of the configured simulated people.
    pub fn gold(config: &Config) -> Self {
        let population = &config.annotators.population;
        Self::Gold { taste: Box::new(population.taste.clone()), types: population.types() }
    }

    /// The reward model at `path`: a checkpoint of the daemon, or a folder that `understudy reward` made. `speaker` has the
    /// model that it stands on.
    pub fn open(path: &Path, speaker: &Speaker, config: &Config) -> anyhow::Result<Self> {
        let shown = path.display();
        let (reward, state) = if path.join("reward.json").is_file() {
            let folder = RewardFolder::read(path, &speaker.trunk.tensors())?;
            (folder.config, folder.state)
        } else {
            let of = || {
                format!(
                    "'{shown}' is no reward model; name a checkpoint of the daemon or a folder of 'understudy reward'"
                )
            };
            let checkpoint = checkpoint::load(path).with_context(of)?;
            speaker.stands_under(&checkpoint).map_err(|failure| anyhow::anyhow!(failure.to_string()))?;
            let LearnerState { tensors, mut scalars } = Saved::reward(&checkpoint).with_context(of)?;
            (config.reward.learner.clone(), LearnerState { tensors, scalars: scalars["learner"].take() })
        };
        let (trunk, branch) = (speaker.trunk.shallow_clone(), &speaker.branch);
        let mut learner = RewardLearner::new(trunk, branch, reward, config.seed)?;
        learner.restore(&state).with_context(|| format!("the reward model '{shown}' does not fit this model"))?;
        Ok(Self::Learned { name: shown.to_string(), learner: Box::new(learner) })
    }

    /// How it is told of.
    pub fn name(&self) -> String {
        match self {
            Self::Gold { .. } => "the gold taste".to_owned(),
            Self::Learned { name, .. } => format!("the reward model '{name}'"),
        }
    }

    /// `[K]` rewards of answers to `question`, whose prompt is `prompt`.
    pub fn score(&self, question: &Question, prompt: &[i64], answers: &[Said]) -> anyhow::Result<Vec<f64>> {
        match self {
            Self::Gold { taste, types } => {
                let worth = |said: &Said| worth_by_type(taste, types, question, &said.text, said.finished);
                Ok(answers.iter().map(worth).collect())
            }
            Self::Learned { learner, .. } => {
                let rollouts = rollouts(question, prompt, answers);
                Ok(learner.score(&rollouts)?.into_iter().map(|score| score.score).collect())
            }
        }
    }
}

fn rollouts(question: &Question, prompt: &[i64], answers: &[Said]) -> Vec<Rollout> {
    let question = Arc::new(question.clone());
    let rollout = |(id, said): (usize, &Said)| {
        let prompt = Prompt { question: question.clone(), tokens: prompt.to_vec() };
        Rollout::written(id as u64, 0, prompt, said.tokens.clone(), said.text.clone(), said.finished)
    };
    answers.iter().enumerate().map(rollout).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::scored::tests::tiny;
    use crate::phases::folder::{ABOUT, About};
    use understudy_actors::checkpoint::encode;
    use understudy_learning::reward::HeadStart;
    use understudy_model::digest;

    #[test]
    fn a_reward_model_from_a_folder_scores_as_the_learner_that_was_saved() {
        let (speaker, mut config) = tiny(4);
        // A head that says something.
        config.reward.head_start = HeadStart::Normal;
        let learner =
            RewardLearner::new(speaker.trunk.shallow_clone(), &speaker.branch, config.reward.learner.clone(), 77)
                .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let state = learner.state();
        std::fs::write(folder.path().join("reward.safetensors"), encode(&state.tensors).unwrap()).unwrap();
        let about = serde_json::json!({"config": config.reward.learner, "scalars": state.scalars});
        std::fs::write(folder.path().join("reward.json"), about.to_string()).unwrap();
        let about = About { trunk: digest(&speaker.trunk.tensors()), ..About::default() };
        std::fs::write(folder.path().join(ABOUT), serde_json::to_vec(&about).unwrap()).unwrap();
        let judge = Judge::open(folder.path(), &speaker, &config).unwrap();
        let other = Judge::open(folder.path(), &tiny(9).0, &config).err().unwrap();
        assert!(format!("{other:#}").contains("stands on other frozen layers"), "{other:#}");
        let question = crate::sources::sample::questions().unwrap().next().unwrap().unwrap();
        let said = |tokens: &[i64]| Said { tokens: tokens.to_vec(), text: String::new(), finished: true };
        let answers = [said(&[1, 2, 3]), said(&[9])];
        let wanted = learner.score(&rollouts(&question, &[4, 5], &answers)).unwrap();
        let found = judge.score(&question, &[4, 5], &answers).unwrap();
        assert_eq!(found, wanted.iter().map(|score| score.score).collect::<Vec<_>>());
        assert_ne!(found[0], found[1]);
    }

    #[test]
    fn what_is_no_reward_model_is_refused_by_name() {
        let (speaker, config) = tiny(4);
        let folder = tempfile::tempdir().unwrap();
        let error = Judge::open(folder.path(), &speaker, &config).err().unwrap();
        assert!(format!("{error:#}").contains("is no reward model"), "{error:#}");
    }
}
