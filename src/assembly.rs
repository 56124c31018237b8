//! From configuration to a running daemon.
//!
//! Invariant: the only place where the program's settings become the crates' settings; whatever can be wrong with the
//! surroundings (model, port, disk, lock) is found here, before anything is started.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use understudy_actors::annotator::{Critic, Crowd, Rater, RatersClock};
use understudy_actors::answers;
use understudy_actors::bus::Capacities;
use understudy_actors::daemon::{BaseModel, DaemonConfig, DaemonParts, Threads};
use understudy_actors::failpoint::Failpoints;
use understudy_actors::source::{AskingConfig, QuestionSource};
use understudy_actors::supervision::RestartPolicy;
use understudy_checkpoints::checkpoint::{Retention, parse_age};
use understudy_checkpoints::{Bounds, Migrate, RecordKind, Store, StoreConfig, StoreError};
use understudy_learning::LearnerState;
use understudy_learning::annotators::Population;
use understudy_learning::reward::RewardLearner;
use understudy_learning::stages::Rollout;
use understudy_model::LoadedModel;

use crate::config::{Checkpoint, Config};
use crate::failure::Failure;
use crate::phases::folder::RewardFolder;
use crate::sources::drawn::Drawn;
use crate::speaker::{checkpoints_dir, device, engine_config, sampling};
use crate::tasks::desk::Rules;

/// The daemon's settings.
pub fn daemon_config(config: &Config) -> DaemonConfig {
    let generation = &config.generation;
    let asking = AskingConfig {
        samples: generation.samples_per_prompt,
        sampling: (&sampling(generation, config.seed)).into(),
        stop: Vec::new(),
        system: (!generation.system.is_empty()).then(|| generation.system.clone()),
        max_prompt: generation.max_prompt,
        rate: config.source.rate,
    };
    let supervision = &config.supervision;
    let defaults = DaemonConfig::default();
    DaemonConfig {
        seed: config.seed,
        engine: engine_config(generation),
        kept_for_chat: generation.kept_for_chat,
        asking,
        ppo: config.ppo.clone(),
        reward: config.reward.learner.clone(),
        hearing: config.hearing.clone(),
        openness: config.openness.clone(),
        stage: config.stage.clone(),
        capacities: Capacities { chats: generation.max_waiting, ..Capacities::default() },
        answers_in_memory: config.store.answers_in_memory,
        unrated_again: config.store.unrated_again,
        checkpoint_every: config.checkpoint.every_updates,
        retention: retention(&config.checkpoint),
        restart: RestartPolicy {
            max_restarts: supervision.max_restarts,
            within: Duration::from_secs_f64(supervision.within_s),
            ..defaults.restart
        },
        unit_budget: Duration::from_secs_f64(supervision.unit_budget_s),
        threads: Threads::Dedicated { intra_op: config.threads.intra_op },
        lockstep: None,
    }
}

/// Which checkpoints are kept.
pub fn retention(rules: &Checkpoint) -> Retention {
    const CHECKED: &str = "the configuration was checked when it was loaded";
    Retention {
        keep_last: rules.keep_last,
        keep_every: (rules.keep_every > 0).then_some(rules.keep_every),
        keep_best: rules.keep_best.as_ref().map(|best| best.parse().expect(CHECKED)),
        keep_for: rules.keep_for.as_ref().map(|age| parse_age(age).expect(CHECKED)),
    }
}

/// Opens the data directory; only one process may hold it.
pub fn open_store(config: &Config) -> Result<Store, Failure> {
    let dir = &config.data.dir;
    let shown = dir.display();
    let failed = |error: StoreError| {
        Failure::Failed(anyhow::Error::from(error).context(format!("the data directory '{shown}'")))
    };
    std::fs::create_dir_all(dir).map_err(|error| {
        Failure::Failed(anyhow::anyhow!(
            "cannot make the data directory '{shown}' ({error}); set data.dir to a place that can be written"
        ))
    })?;
    let store = &config.store;
    let rings = BTreeMap::from([
        (RecordKind::Answer, Bounds { records: store.max_answers, bytes: store.max_answer_bytes }),
        (RecordKind::Feedback, Bounds { records: store.max_feedback, bytes: store.max_feedback_bytes }),
    ]);
    let (queue_records, min_free_bytes) = (store.queue, store.min_free_bytes);
    let (schema, migrate) = (answers::SCHEMA, Some(answers::migrate as Migrate));
    let settings = StoreConfig { rings, queue_records, min_free_bytes, schema, migrate, ..StoreConfig::default() };
    match Store::open(dir, settings) {
        Ok((store, report)) => {
            tracing::info!(?report, "the data directory is open");
            Ok(store)
        }
        Err(error @ StoreError::Locked { .. }) => Err(Failure::NotReady(error.to_string())),
        Err(error) => Err(failed(error)),
    }
}

/// Everything that the loop is made of, from what was loaded and opened.
pub fn parts(config: &Config, loaded: &LoadedModel, store: Store, now_ms: i64) -> Result<DaemonParts, Failure> {
    let failed = |error: anyhow::Error| Failure::Failed(error);
    let device = device(config.model.device)?;
    let model = BaseModel::of(loaded, config.model.trainable_layers, device).map_err(|error| failed(error.into()))?;
    let drawn = Drawn::open(&config.source).map_err(|error| failed(error.into()))?;
    let sources = drawn.into_iter().map(|drawn| Box::new(drawn) as Box<dyn QuestionSource>).collect();
    let rater = match config.annotators.attention > 0.0 {
        true => Some((
            crowd(config, &model)?,
            RatersClock { start_ms: now_ms, began: Instant::now(), scale: config.annotators.speed },
        )),
        false => None,
    };
    let reward_start = reward_start(config, &model)?;
    Ok(DaemonParts {
        model,
        store,
        checkpoints: checkpoints_dir(config),
        sources,
        rater,
        judge: None,
        reward_start,
        failpoints: Failpoints::default(),
    })
}

/// What the reward model begins with, where the configuration names it.
fn reward_start(config: &Config, model: &BaseModel) -> Result<Option<LearnerState>, Failure> {
    Ok(reward_folder(&config.reward.start, "reward.start", model)?.map(|folder| folder.state))
}

/// The reward model that `key` names, if it names one.
fn reward_folder(folder: &Path, key: &str, model: &BaseModel) -> Result<Option<RewardFolder>, Failure> {
    if folder.as_os_str().is_empty() {
        return Ok(None);
    }
    if !folder.exists() {
        return Err(Failure::NotReady(format!(
            "the reward model '{}' ({key}) is not there; make it with 'understudy reward', or leave the key empty",
            folder.display()
        )));
    }
    Ok(Some(RewardFolder::read(folder, &model.share().0.tensors())?))
}

fn crowd(config: &Config, model: &BaseModel) -> Result<Box<dyn Rater>, Failure> {
    let annotators = &config.annotators;
    let members =
        Population::draw(&annotators.population, config.seed).map_err(|error| Failure::Failed(error.into()))?;
    let (taste, types) = (annotators.population.taste.clone(), annotators.population.types());
    let crowd = Crowd::new(members, annotators.attention, taste, types, config.seed);
    let Some(judge) = reward_folder(&annotators.judge, "annotators.judge", model)? else { return Ok(Box::new(crowd)) };
    let (trunk, branch) = model.share();
    Ok(Box::new(crowd.judged_by(Box::new(LearnedTaste(judge.learner(trunk, &branch, config.seed)?)))))
}

/// A reward model that stays as it is, as what simulated people go by.
struct LearnedTaste(RewardLearner);

impl Critic for LearnedTaste {
    fn worth(&mut self, answer: &Rollout) -> Option<f64> {
        match self.0.score(std::slice::from_ref(answer)) {
            Ok(scores) => scores.first().map(|score| score.score),
            Err(error) => {
                tracing::error!(answer = answer.id, %error, "the people's judge cannot read an answer: nobody rates it");
                None
            }
        }
    }
}

/// How annotators are asked.
pub fn task_rules(config: &Config) -> Rules {
    let pinned = config.reward.reliability.pinned.iter().cloned().collect();
    let tasks = &config.tasks;
    let lease_ms = (tasks.lease_s * 1000.0) as u64;
    Rules { seed: config.seed, groups: tasks.candidates, gold_share: tasks.gold_share, pinned, lease_ms }
}
