//! One run and what came of it.
//!
//! Invariant: the base policy's answers to the held-out questions are the same for every arm of a seed; the final policy
//! and the reward model are read from the run's last checkpoint, so what is judged is what a restart would go on from.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use indicatif::ProgressBar;
use serde_json::{Value as Json, json};
use tokio::time::{Instant, timeout_at};
use understudy_actors::checkpoint::Saved;
use understudy_actors::daemon::DaemonHandle;
use understudy_actors::messages::LoopEvent;
use understudy_checkpoints::checkpoint::Checkpoint;
use understudy_learning::LearnerState;
use understudy_learning::gold::{QuestionType, worth_by_type};
use understudy_learning::reward::RewardLearner;
use understudy_learning::stages::{Prompt, Question, Rollout, Sampling, TrunkStates, VersionSpan};
use understudy_model::{Branch, Output};

use super::super::live::{self, Plan, Running};
use super::super::{Failure, simulate};
use super::Settings;
use super::arms::Arm;
use super::figures::{Figures, Judged};
use super::people;
use super::record::{Group, Run};
use crate::assembly;
use crate::config::{Config, Generation};
pub(super) use crate::evaluation::Answers;
use crate::evaluation::{Estimate, ask};
use crate::speaker::{Speaker, Which, checkpoints_dir, sampling};

/// The model and the held-out questions, shared by all runs.
pub(super) struct Bench {
    speaker: Speaker,
    /// The branch before any learning; the speaker's own is replaced to hear a final policy.
    base: Branch,
    questions: Vec<(Question, QuestionType)>,
    answers: usize,
    /// The newest seed's, with the seed.
    of_base: Option<(u64, Vec<Answers>)>,
}

/// What was seen while a run went on.
#[derive(Debug, Clone, Default)]
struct Course {
    updates: u64,
    answers: u64,
    ratings: u64,
    foretold: Option<f64>,
    curve: Vec<Option<f64>>,
    seconds: f64,
}

impl Bench {
    /// Loads the model; both types of question must be among the held-out ones.
    pub(super) fn open(config: &Config, questions: Vec<Question>, answers: usize) -> Result<Self, Failure> {
        let types = config.annotators.population.types();
        let typed = |question: Question| {
            let kind = types.of(&question);
            (question, kind)
        };
        let questions: Vec<_> = questions.into_iter().map(typed).collect();
        for kind in [QuestionType::Open, QuestionType::Closed] {
            if questions.iter().all(|(_, own)| *own != kind) {
                let (count, share) = (questions.len(), config.source.held_out);
                return Err(Failure::Usage(format!(
                    "none of the {count} held-out questions is {kind:?}; raise source.held_out (now {share}) or name a \
                     larger source"
                )));
            }
        }
        let speaker = Speaker::load(config, &Which::Base)?;
        let base = speaker.branch.deep_copy();
        Ok(Self { speaker, base, questions, answers, of_base: None })
    }

    /// The model's name.
    pub(super) fn model_name(&self, config: &Config) -> String {
        self.speaker.name(&config.model.path)
    }

    /// The held-out questions' ids and types.
    pub(super) fn questions(&self) -> Json {
        let line = |(question, kind): &(Question, QuestionType)| json!({"id": question.id, "type": kind});
        self.questions.iter().map(line).collect()
    }

    /// The base policy's answers to the held-out questions.
    pub(super) fn answers_of_base(&mut self, config: &Config, seed: u64) -> Result<Vec<Answers>, Failure> {
        if let Some((_, answers)) = self.of_base.as_ref().filter(|(known, _)| *known == seed) {
            return Ok(answers.clone());
        }
        self.speaker.branch = self.base.deep_copy();
        let answers = self.ask(&config.generation, seed)?;
        self.of_base = Some((seed, answers.clone()));
        Ok(answers)
    }

    fn ask(&self, generation: &Generation, seed: u64) -> Result<Vec<Answers>, Failure> {
        let questions: Vec<Question> = self.questions.iter().map(|(question, _)| question.clone()).collect();
        Ok(ask(&self.speaker, &questions, generation, self.answers, seed, &ProgressBar::hidden())?)
    }

    /// The whole loop in a data directory of its own, and then the judgement.
    pub(super) fn run(
        &mut self,
        config: &Config,
        arm: Arm,
        settings: &Settings,
        progress: &ProgressBar,
    ) -> Result<Run, Failure> {
        let mut config = config.clone();
        arm.put_into(&mut config);
        let course = self.learn(&config, arm, settings, progress)?;
        progress.set_message(format!("seed {}, {}: judging", config.seed, arm.name()));
        let failed = |error: anyhow::Error| Failure::Failed(error);
        let (saved, checkpoint) = Saved::newest(&checkpoints_dir(&config))
            .map_err(|error| failed(error.into()))?
            .ok_or_else(|| failed(anyhow::anyhow!("the run of arm '{}' left no checkpoint", arm.name())))?;
        let base = self.answers_of_base(&config, config.seed)?;
        let scores = self.scores(&config, &checkpoint, &base)?;
        self.speaker.branch = self.base.deep_copy();
        self.speaker.take_policy(&checkpoint)?;
        let policy = self.ask(&config.generation, config.seed)?;
        let judged = self.judge(&config, &base, &scores, &policy);
        Ok(Run {
            seed: config.seed,
            arm,
            updates: course.updates,
            policy_version: saved.policy_version,
            reward_version: saved.reward_version,
            answers: course.answers,
            ratings: course.ratings,
            foretold: course.foretold,
            seconds: course.seconds,
            curve: course.curve,
            figures: judged,
        })
    }

    fn learn(&self, config: &Config, arm: Arm, settings: &Settings, progress: &ProgressBar) -> Result<Course, Failure> {
        let store = assembly::open_store(config)?;
        let now = simulate::MONDAY_NOON_MS;
        let parts = assembly::parts(config, &self.speaker.loaded, store, now)?;
        let parts = people::hide_types(parts, config.annotators.population.types(), arm.tells());
        let seen: Rc<RefCell<Option<Course>>> = Rc::default();
        let (done, updates, limit) = (seen.clone(), settings.updates, settings.limit);
        let (progress, title) = (progress.clone(), format!("seed {}, {}", config.seed, arm.name()));
        let plan = Plan {
            config: config.clone(),
            http: false,
            lockstep: None,
            reload: None,
            people_now_ms: now,
            metrics: None,
            watch: move |running: Running| async move {
                let course = watch(running.handle, updates, limit, &progress, &title).await;
                *done.borrow_mut() = Some(course);
                "done".to_owned()
            },
        };
        live::run_parts(plan, parts)?;
        // Only a signal ends the loop before its watcher does.
        seen.take().ok_or_else(|| Failure::Ended {
            code: 130,
            sentence: "told to end; started again with the same --out, it goes on after the last whole run".to_owned(),
        })
    }

    /// How the final reward model scores each of the base policy's answers.
    fn scores(&self, config: &Config, checkpoint: &Checkpoint, base: &[Answers]) -> Result<Vec<Vec<f64>>, Failure> {
        let failed = |error: anyhow::Error| Failure::Failed(error);
        let LearnerState { tensors, mut scalars } = Saved::reward(checkpoint).map_err(|error| failed(error.into()))?;
        let state = LearnerState { tensors, scalars: scalars["learner"].take() };
        let trunk = self.speaker.trunk.shallow_clone();
        let learner = RewardLearner::new(trunk, &self.base, config.reward.learner.clone(), config.seed);
        let mut learner = learner.map_err(|error| failed(error.into()))?;
        learner.restore(&state).map_err(|error| failed(error.into()))?;
        let score = |asked: &Answers| {
            let scored = learner.score(&rollouts(asked, &config.generation)).map_err(|error| failed(error.into()))?;
            Ok(scored.into_iter().map(|score| score.score).collect())
        };
        base.iter().map(score).collect()
    }

    fn judge(
        &self,
        config: &Config,
        base: &[Answers],
        scores: &[Vec<f64>],
        policy: &[Answers],
    ) -> BTreeMap<Group, Figures> {
        let population = &config.annotators.population;
        let (taste, types) = (&population.taste, population.types());
        let worth = |asked: &Answers| -> Vec<f64> {
            asked.said().map(|(text, ended)| worth_by_type(taste, &types, &asked.question, text, ended)).collect()
        };
        let judged: Vec<(QuestionType, Judged)> = self
            .questions
            .iter()
            .zip(base.iter().zip(policy))
            .zip(scores)
            .map(|(((_, kind), (base, policy)), scores)| {
                (*kind, Judged { base: worth(base), scores: scores.clone(), policy: worth(policy) })
            })
            .collect();
        let of = |group: Group| {
            let members: Vec<&Judged> =
                judged.iter().filter(|(kind, _)| group.holds(*kind)).map(|(_, judged)| judged).collect();
            (group, Figures::of(&members))
        };
        Group::ALL.into_iter().map(of).collect()
    }
}

/// Watches the loop until it has done enough.
async fn watch(
    handle: DaemonHandle,
    updates: u64,
    limit: Option<Duration>,
    progress: &ProgressBar,
    title: &str,
) -> Course {
    let mut events = handle.events();
    let begun = Instant::now();
    let mut course = Course::default();
    let mut gold: Vec<f64> = Vec::new();
    loop {
        let event = match limit {
            Some(limit) => match timeout_at(begun + limit, events.next()).await {
                Ok(event) => event,
                Err(_) => break,
            },
            None => events.next().await,
        };
        match event {
            None => break,
            Some(LoopEvent::Rated { .. }) => course.ratings += 1,
            Some(LoopEvent::Answered { .. }) => course.answers += 1,
            Some(LoopEvent::Gold { gold: quality, .. }) => gold.push(quality),
            Some(LoopEvent::PolicyUpdate { .. }) => {
                course.curve.push((!gold.is_empty()).then(|| Estimate::of(&gold).mean));
                gold.clear();
                course.updates += 1;
                progress.set_message(format!("{title}: update {}, {} ratings", course.updates, course.ratings));
                if updates > 0 && course.updates >= updates {
                    break;
                }
            }
            Some(_) => {}
        }
    }
    course.foretold = handle.status().reward.accuracy;
    course.seconds = begun.elapsed().as_secs_f64();
    course
}

/// The answers as the reward model reads them.
fn rollouts(asked: &Answers, generation: &Generation) -> Vec<Rollout> {
    let question = Arc::new(asked.question.clone());
    let sampling = Sampling::from(&sampling(generation, 0));
    let rollout = |(id, output): (usize, &Output)| Rollout {
        id: id as u64,
        group: 0,
        prompt: Prompt { question: question.clone(), tokens: asked.prompt.clone() },
        tokens: output.tokens.clone(),
        text: output.text.clone(),
        old_logprobs: output.logprobs.clone(),
        kept_mass: output.kept_mass.clone(),
        version_spans: vec![VersionSpan { start: 0, version: 0 }],
        sampling: sampling.clone(),
        finish: output.finish.into(),
        trunk: TrunkStates::Absent,
    };
    asked.outputs.iter().enumerate().map(rollout).collect()
}
