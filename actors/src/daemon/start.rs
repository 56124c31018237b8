//! Building and starting the loop.
//!
//! Invariant: learners start before the policy, so not a token is sampled from weights that a restart has left behind;
//! watchers subscribe before anything is published; sources start last.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use understudy_checkpoints::{Disk, QuarantineFiles, Store, StoreHandle};
use understudy_learning::LearnerState;
use understudy_learning::ppo::PpoLearner;
use understudy_learning::reward::RewardLearner;

use super::config::{DaemonConfig, Threads};
use super::handle::DaemonHandle;
use super::in_step::InStep;
use super::parts::{BaseModel, DaemonParts};
use super::resume::{Found, look};
use super::{ResumeReport, StartError};
use crate::annotator::{AnnotatorActor, AnnotatorJob, Rater, RatersClock, SharedOutlook, SharedRater};
use crate::answers::Answers;
use crate::bus::Bus;
use crate::cancel::Cancel;
use crate::checkpoint::{self, CheckpointActor, CheckpointAnchors, CheckpointJob, Saved, SavedState};
use crate::control::Control;
use crate::failpoint::Failpoints;
use crate::feedback::{FeedbackActor, FeedbackJob, PassedOn};
use crate::invariant::Invariants;
use crate::locked::locked;
use crate::place::Place;
use crate::policy::{AnswerIds, AnswerJournal, Outlets, PolicyActor, PolicyJob, Serving};
use crate::ppo::{PpoActor, PpoJob, Versions, Waiting};
use crate::reward::{Judge, Mind, MindParts, RewardActor, RewardJob, RewardView, Wording};
use crate::seams::{Alone, LocalPublisher, StoreLog, WeightPublisher};
use crate::source::{QuestionSource, SharedSource, SourceActor, SourceJob};
use crate::stage::StageView;
use crate::supervision::{Lifeline, Quarantine, Supervised, Supervision};
use crate::worker::Worker;

/// What all factories share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) config: DaemonConfig,
    pub(super) bus: Bus,
    pub(super) model: BaseModel,
    pub(super) store: StoreHandle,
    checkpoints: PathBuf,
    answers: Answers,
    pub(super) ids: AnswerIds,
    invariants: Invariants,
    pub(super) failpoints: Failpoints,
    quarantine: Quarantine,
    in_step: Option<InStep>,
}

/// A running loop: the owner of its threads and its store.
pub struct Daemon {
    pub(super) handle: DaemonHandle,
    pub(super) bus: Bus,
    pub(super) store: Store,
    pub(super) places: Vec<Place>,
    pub(super) actors: Actors,
    pub(super) invariants: Invariants,
}

/// The actors by name, with what ends them.
pub(super) struct Actors {
    pub(super) policy: Supervised,
    pub(super) stage: Option<Supervised>,
    pub(super) feedback: Supervised,
    pub(super) reward: (Supervised, Control<RewardActor>, Cancel),
    pub(super) ppo: (Supervised, Control<PpoActor>, Cancel),
    pub(super) checkpoint: Supervised,
    pub(super) raters: Vec<Supervised>,
    pub(super) sources: Vec<Supervised>,
}

impl Actors {
    pub(super) fn all(&self) -> Vec<Supervised> {
        let fixed = [&self.policy, &self.feedback, &self.reward.0, &self.ppo.0, &self.checkpoint];
        fixed.into_iter().chain(&self.stage).chain(&self.raters).chain(&self.sources).cloned().collect()
    }
}

impl Daemon {
    /// Starts the loop and returns when all of it is ready. Needs a running actix system.
    pub async fn start(mut config: DaemonConfig, parts: DaemonParts) -> Result<Self, StartError> {
        config.validate()?;
        let DaemonParts { model, store, checkpoints, sources, rater, judge, reward_start, failpoints } = parts;
        let Found { report, unrated } = look(&store.handle(), &checkpoints, config.unrated_again)?;
        if report.checkpoint.as_ref().is_some_and(|newest| !newest.began_with(&model.digest)) {
            return Err(StartError::OtherModel { checkpoints });
        }
        let quarantined = store.handle().dir().join("quarantine");
        let in_step = InStep::of(&mut config, &report)?;
        // In lockstep a round begins when the one before is learned from.
        let max_staleness = if in_step.is_some() { 0 } else { config.ppo.max_staleness };
        let bus = Bus::new(config.capacities, config.ppo.batch_size, max_staleness);
        let shared = Shared {
            answers: Answers::new(store.handle(), config.answers_in_memory),
            ids: AnswerIds::after(in_step.as_ref().map_or(report.highest_answer, |in_step| in_step.last_answer)),
            store: store.handle(),
            invariants: Invariants::new(),
            config,
            bus: bus.clone(),
            model,
            checkpoints,
            failpoints,
            quarantine: Quarantine::open(QuarantineFiles::new(&quarantined, Disk::real(), Default::default())),
            in_step,
        };
        let mut places = Vec::new();
        let mut place = |name| -> Result<Place, StartError> {
            let Threads::Dedicated { intra_op } = shared.config.threads else { return Ok(Place::Inline) };
            let place = Place::dedicated(name, move || tch::set_num_threads(intra_op))?;
            places.push(place.clone());
            Ok(place)
        };
        let (reward_view, reward_seen) = watch::channel(RewardView::default());
        let (newest, newest_seen) = watch::channel(report.checkpoint.clone());
        let ppo = shared.start_ppo(place("ppo")?).await?;
        let reward = shared.start_reward(place("reward")?, judge, reward_start, reward_view).await?;
        let checkpoint = shared.start_checkpoint(place("checkpoint")?, &ppo.1, &reward.1, newest).await?;
        let feedback = shared.start_feedback().await?;
        let stage_view = watch::channel(StageView::direct(0)).0;
        let stage = match shared.config.stage.is_guarded() {
            true => Some(shared.start_stage(place("stage")?, stage_view.clone()).await?),
            false => None,
        };
        let (policy, policy_control) = shared.start_policy(place("policy")?).await?;
        let (mut raters, mut asking) = (Vec::new(), Vec::new());
        match shared.in_step.clone() {
            Some(in_step) => asking.extend(shared.start_conductor(in_step, sources, rater, policy_control).await?),
            None => {
                if let Some((rater, clock)) = rater {
                    raters.push(shared.start_annotator(place("annotator")?, rater, clock, unrated).await?);
                }
                for source in sources {
                    asking.push(shared.start_source(source).await?);
                }
            }
        }
        let stage_view = stage.as_ref().map(|_| stage_view.subscribe());
        let actors = Actors { policy, stage, feedback, reward, ppo, checkpoint, raters, sources: asking };
        let handle = DaemonHandle {
            bus: bus.clone(),
            text: shared.model.text.clone(),
            store: store.handle(),
            answers: shared.answers.clone(),
            actors: Arc::new(actors.all()),
            reward: reward_seen,
            checkpoint: newest_seen,
            stage: stage_view,
            resumed: Arc::new(report),
        };
        tracing::info!(resumed = ?handle.resumed, "the loop is running");
        Ok(Self { handle, bus, store, places, actors, invariants: shared.invariants })
    }

    /// The way to it, for any thread.
    pub fn handle(&self) -> DaemonHandle {
        self.handle.clone()
    }

    /// What it went on from.
    pub fn resumed(&self) -> &ResumeReport {
        &self.handle.resumed
    }

    /// Its actors: the daemon ends when one of them is given up.
    pub fn actors(&self) -> Vec<Supervised> {
        self.actors.all()
    }

    /// Takes on an actor of your own that ends when the answers feed ends: it may give feedback until then.
    pub fn adopt(&mut self, actor: Supervised) {
        self.actors.raters.push(actor);
    }

    /// What must always hold, and how often it did not.
    pub fn invariants(&self) -> &Invariants {
        &self.invariants
    }
}

impl Shared {
    pub(super) fn supervision(&self, name: &'static str, place: Place) -> Supervision {
        let config = &self.config;
        let events = self.bus.events.clone();
        let told = move |crash: &crate::supervision::Crash| {
            let in_hand: Vec<&str> = crash.in_hand.iter().map(|held| held.label.as_str()).collect();
            let what = format!("{}; in hand: {in_hand:?}", crash.exit);
            events.publish(crate::messages::LoopEvent::Trouble { actor: crash.actor, what });
        };
        let supervision = Supervision::new(name).policy(config.restart).place(place).budget(config.unit_budget);
        let broken = self.in_step.as_ref().map(|in_step| in_step.rounds.broken().clone());
        supervision.seed(config.seed).quarantine(self.quarantine.clone()).on_crash(told).on_give_up(move |_| {
            if let Some(broken) = broken {
                broken.cancel();
            }
        })
    }

    async fn start_ppo(&self, place: Place) -> Result<(Supervised, Control<PpoActor>, Cancel), StartError> {
        let (shared, drained) = (self.clone(), Cancel::new());
        let fired = drained.clone();
        let version = watch::channel(0).0;
        let waiting = Waiting::new(self.config.ppo.batch_size);
        let build = move |lifeline| -> Result<PpoActor, StartError> {
            let Shared { config, bus, .. } = &shared;
            let (trunk, branch) = shared.model.share();
            let mut learner = PpoLearner::new(trunk, branch, config.ppo.clone(), config.seed);
            let (mut restored, mut last_update) = (0, None);
            if let Some((state, checkpoint)) = Saved::newest(&shared.checkpoints)? {
                learner.restore(Saved::ppo(&checkpoint)?)?;
                checkpoint::tell(&checkpoint, checkpoint::PPO, || learner.state());
                (restored, last_update) = (state.policy_version, state.last_update);
            }
            let (store, snapshots) = (shared.store.clone(), bus.snapshots.clone());
            let publisher = match &shared.in_step {
                Some(_) => LocalPublisher::in_lockstep(store, snapshots, restored),
                None => LocalPublisher::new(store, snapshots)?,
            };
            let versions = Versions::new(learner.version(), restored, publisher.highest());
            // A later incarnation leaves the newest weights on show until it has learned better ones.
            if bus.snapshots.stamp() == 0 {
                publisher.show(restored, learner.policy_snapshot());
                version.send_replace(restored);
            }
            let job = PpoJob {
                scored: bus.scored.inlet(),
                checkpoints: bus.checkpoints.clone(),
                events: bus.events.clone(),
                pace: bus.pace.clone(),
                learner,
                versions,
                publisher: Box::new(publisher),
                group: Box::new(Alone::default()),
                checkpoint_every: config.checkpoint_every,
                version: version.clone(),
                last_update,
                waiting: waiting.clone(),
                seen: BTreeSet::new(),
                drained: fired.clone(),
                invariants: shared.invariants.clone(),
                failpoints: shared.failpoints.clone(),
            };
            Ok(Worker::new(job, lifeline))
        };
        let closed = self.bus.clone();
        let supervision = self.supervision("ppo", place).on_give_up(move |_| closed.scored.close());
        let (actor, control) = supervision.start(build);
        ready(&actor).await?;
        Ok((actor, control, drained))
    }

    async fn start_reward(
        &self,
        place: Place,
        judge: Option<Judge>,
        start: Option<LearnerState>,
        view: watch::Sender<RewardView>,
    ) -> Result<(Supervised, Control<RewardActor>, Cancel), StartError> {
        let (shared, drained) = (self.clone(), Cancel::new());
        let fired = drained.clone();
        let start = Arc::new(Mutex::new(start));
        let build = move |lifeline| -> Result<RewardActor, StartError> {
            let Shared { config, bus, .. } = &shared;
            let (model, reward, seed) = (shared.model.clone(), config.reward.clone(), config.seed);
            let start = start.clone();
            let fresh = Arc::new(move || {
                let (trunk, branch) = model.share();
                let mut learner = RewardLearner::new(trunk, &branch, reward.clone(), seed)?;
                if let Some(start) = &*locked(&start) {
                    learner.restore(start)?;
                }
                Ok(learner)
            });
            let (text, end) = (shared.model.text.clone(), shared.model.eos.first().copied());
            let mut mind = Mind::new(MindParts {
                fresh,
                width: shared.model.width(),
                wording: Wording { text, end, longest: config.engine.max_context },
                hearing: config.hearing.clone(),
                openness: config.openness.clone(),
                seed: config.seed,
                answers: shared.answers.clone(),
                judge: judge.clone(),
            })?;
            let mut recall = None;
            if let Some((_, checkpoint)) = Saved::newest(&shared.checkpoints)? {
                recall = Some(mind.restore(Saved::reward(&checkpoint)?)?);
                checkpoint::tell(&checkpoint, checkpoint::REWARD, || mind.state());
            }
            let job = RewardJob {
                rollouts: bus.rollouts.inlet(),
                ratings: bus.ratings.inlet(),
                judgements: bus.judgements.inlet(),
                scored: bus.scored.clone(),
                events: bus.events.clone(),
                log: Box::new(StoreLog(shared.store.clone())),
                mind,
                recall,
                anchors: Box::new(CheckpointAnchors(shared.checkpoints.clone())),
                config: config.hearing.clone(),
                view: view.clone(),
                fences: shared.in_step.as_ref().map(|in_step| in_step.fences.inlet()),
                drained: fired.clone(),
                failpoints: shared.failpoints.clone(),
            };
            Ok(Worker::new(job, lifeline))
        };
        let closed = self.bus.clone();
        let supervision = self.supervision("reward", place).on_give_up(move |_| {
            closed.rollouts.close();
            closed.ratings.close();
            closed.judgements.abandon();
        });
        let (actor, control) = supervision.start(build);
        ready(&actor).await?;
        Ok((actor, control, drained))
    }

    async fn start_checkpoint(
        &self,
        place: Place,
        ppo: &Control<PpoActor>,
        reward: &Control<RewardActor>,
        newest: watch::Sender<Option<SavedState>>,
    ) -> Result<Supervised, StartError> {
        let (shared, ppo, reward) = (self.clone(), ppo.clone(), reward.clone());
        let build = move |lifeline| -> Result<CheckpointActor, StartError> {
            let job = CheckpointJob {
                requests: shared.bus.checkpoints.inlet(),
                events: shared.bus.events.clone(),
                ppo: ppo.clone(),
                reward: reward.clone(),
                rounds: shared.in_step.as_ref().map(|in_step| in_step.rounds.clone()),
                ids: shared.ids.clone(),
                base: shared.model.digest.clone(),
                dir: shared.checkpoints.clone(),
                retention: shared.config.retention.clone(),
                newest: newest.clone(),
                failpoints: shared.failpoints.clone(),
            };
            Ok(Worker::new(job, lifeline))
        };
        let closed = self.bus.clone();
        let supervision = self.supervision("checkpoint", place).on_give_up(move |_| {
            closed.checkpoints.abandon();
        });
        let (actor, _) = supervision.start(build);
        ready(&actor).await?;
        Ok(actor)
    }

    async fn start_feedback(&self) -> Result<Supervised, StartError> {
        let shared = self.clone();
        // What is in the journal by now is heard from there by the reward actor itself.
        let passed_on = PassedOn::after(self.store.last_seq());
        let build = move |lifeline| -> Result<FeedbackActor, StartError> {
            let job = FeedbackJob {
                inbox: shared.bus.feedback.inlet(),
                ratings: shared.bus.ratings.clone(),
                events: shared.bus.events.clone(),
                answers: shared.answers.clone(),
                log: Box::new(StoreLog(shared.store.clone())),
                passed_on: passed_on.clone(),
                failpoints: shared.failpoints.clone(),
            };
            Ok(Worker::new(job, lifeline))
        };
        let closed = self.bus.clone();
        let supervision = self.supervision("feedback", Place::Inline).on_give_up(move |_| {
            closed.feedback.abandon();
        });
        let (actor, _) = supervision.start(build);
        ready(&actor).await?;
        Ok(actor)
    }

    async fn start_policy(&self, place: Place) -> Result<(Supervised, Control<PolicyActor>), StartError> {
        let shared = self.clone();
        let build = move |lifeline: Lifeline| -> Result<PolicyActor, StartError> {
            let Shared { config, bus, .. } = &shared;
            let in_hand = lifeline.in_hand().clone();
            let outlets = Outlets {
                rollouts: bus.rollouts.clone(),
                answers: bus.answers.clone(),
                events: bus.events.clone(),
                known: shared.answers.clone(),
                pace: bus.pace.clone(),
                temperature: config.ppo.temperature,
                lockstep: shared.in_step.is_some(),
                newest_only: config.stage.is_guarded(),
            };
            let engine = shared.engine();
            let journal = AnswerJournal::new(shared.store.clone());
            let slots = (config.engine.max_sequences, config.kept_for_chat);
            let job = PolicyJob {
                chats: bus.chats.inlet(),
                prompts: bus.prompts.inlet(),
                snapshots: bus.snapshots.clone(),
                serving: Serving::new(engine, shared.ids.clone(), slots, journal, outlets).holding(in_hand),
                failpoints: shared.failpoints.clone(),
            };
            Ok(Worker::new(job, lifeline))
        };
        let closed = self.bus.clone();
        let supervision = self.supervision("policy", place).on_give_up(move |_| {
            closed.chats.abandon();
            closed.prompts.abandon();
        });
        let (actor, control) = supervision.start(build);
        ready(&actor).await?;
        Ok((actor, control))
    }

    async fn start_annotator(
        &self,
        place: Place,
        rater: Box<dyn Rater>,
        clock: RatersClock,
        unrated: Vec<crate::messages::AnsweredQuestion>,
    ) -> Result<Supervised, StartError> {
        let (shared, rater) = (self.clone(), SharedRater::new(Mutex::new(rater)));
        let outlook = SharedOutlook::new(unrated, self.bus.answers.subscribe());
        let build = move |lifeline| -> Result<AnnotatorActor, StartError> {
            let job = AnnotatorJob {
                rater: rater.clone(),
                outlook: outlook.clone(),
                feedback: shared.bus.feedback.clone(),
                events: shared.bus.events.clone(),
                clock,
                failpoints: shared.failpoints.clone(),
            };
            Ok(Worker::new(job, lifeline))
        };
        let (actor, _) = self.supervision("annotator", place).start(build);
        ready(&actor).await?;
        Ok(actor)
    }

    async fn start_source(&self, source: Box<dyn QuestionSource>) -> Result<Supervised, StartError> {
        let (shared, source) = (self.clone(), SharedSource::new(Mutex::new(source)));
        let build = move |lifeline| -> Result<SourceActor, StartError> {
            let job = SourceJob {
                source: source.clone(),
                config: shared.config.asking.clone(),
                text: shared.model.text.clone(),
                prompts: shared.bus.prompts.clone(),
                pace: shared.bus.pace.clone(),
                store: shared.store.clone(),
                seed: shared.config.seed,
                failpoints: shared.failpoints.clone(),
            };
            Ok(Worker::new(job, lifeline))
        };
        let (actor, _) = self.supervision("source", Place::Inline).start(build);
        ready(&actor).await?;
        Ok(actor)
    }
}

pub(super) async fn ready(actor: &Supervised) -> Result<(), StartError> {
    actor.ready().await.map_err(|verdict| StartError::Actors { actor: actor.name(), verdict })
}
