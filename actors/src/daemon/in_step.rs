//! What is otherwise when the daemon runs in lockstep.
//!
//! Invariant: everything that a run begins with comes from the newest checkpoint alone; what the journal has beyond it is
//! repeated. A failed actor ends the run, so that a round is run from its beginning or not at all.

use std::sync::Mutex;

use understudy_learning::stages::AnswerId;

use super::start::Shared;
use super::{DaemonConfig, ResumeReport, StartError};
use crate::annotator::{Rater, RatersClock, SharedRater};
use crate::control::Control;
use crate::link::Port;
use crate::lockstep::{Conductor, ConductorActor, FenceRequest, Lockstep, RoundState, Rounds};
use crate::place::Place;
use crate::policy::PolicyActor;
use crate::source::{QuestionSource, SharedSource};
use crate::supervision::{RestartPolicy, Supervised};
use crate::worker::Worker;

/// A run in lockstep, as all factories share it.
#[derive(Clone)]
pub(super) struct InStep {
    lockstep: Lockstep,
    pub(super) rounds: Rounds,
    pub(super) fences: Port<FenceRequest>,
    /// The last answer of the last round.
    pub(super) last_answer: AnswerId,
    checkpoint_every: u64,
}

impl InStep {
    /// `None` when the daemon does not run so. `config` is changed to what lockstep needs.
    pub(super) fn of(config: &mut DaemonConfig, report: &ResumeReport) -> Result<Option<Self>, StartError> {
        let Some(lockstep) = config.lockstep else { return Ok(None) };
        let state = match &report.checkpoint {
            None => RoundState::default(),
            Some(saved) => saved.lockstep.ok_or_else(|| {
                StartError::Config(
                    "the newest checkpoint was not written in lockstep, so nothing can be repeated from it: use another \
                     data.dir, or run without lockstep"
                        .to_owned(),
                )
            })?,
        };
        let last_answer = report.checkpoint.as_ref().map_or(0, |saved| saved.next_answer - 1);
        let checkpoint_every = std::mem::take(&mut config.checkpoint_every); // the conductor's, not the learner's
        config.restart = RestartPolicy::never();
        config.capacities.prompts = config.capacities.prompts.max(config.ppo.batch_size);
        let (rounds, fences) = (Rounds::after(state), Port::new("fences", 1));
        Ok(Some(Self { lockstep, rounds, fences, last_answer, checkpoint_every }))
    }
}

impl Shared {
    pub(super) async fn start_conductor(
        &self,
        in_step: InStep,
        sources: Vec<Box<dyn QuestionSource>>,
        rater: Option<(Box<dyn Rater>, RatersClock)>,
        policy: Control<PolicyActor>,
    ) -> Result<Option<Supervised>, StartError> {
        if sources.is_empty() {
            return Ok(None);
        }
        let sources: Vec<SharedSource> =
            sources.into_iter().map(|source| SharedSource::new(Mutex::new(source))).collect();
        let start_ms = rater.as_ref().map_or(0, |(_, clock)| clock.start_ms);
        let rater = rater.map(|(rater, _)| SharedRater::new(Mutex::new(rater)));
        let shared = self.clone();
        let build = move |lifeline| -> Result<ConductorActor, StartError> {
            let config = &shared.config;
            let job = Conductor {
                sources: sources.clone(),
                rater: rater.clone(),
                start_ms,
                asking: config.asking.clone(),
                questions: (config.ppo.batch_size / config.asking.samples) as u64,
                lockstep: in_step.lockstep,
                checkpoint_every: in_step.checkpoint_every,
                text: shared.model.text.clone(),
                bus: shared.bus.clone(),
                fences: in_step.fences.clone(),
                policy: policy.clone(),
                rounds: in_step.rounds.clone(),
                failpoints: shared.failpoints.clone(),
            };
            Ok(Worker::new(job, lifeline))
        };
        let (actor, _) = self.supervision("conductor", Place::Inline).start(build);
        actor.ready().await.map_err(|verdict| StartError::Actors { actor: actor.name(), verdict })?;
        Ok(Some(actor))
    }
}
