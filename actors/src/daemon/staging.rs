//! Starting what a guarded stage needs: its actor, and an engine for each role.
//!
//! Invariant: the stage starts after the learner and before the policy, so there is a lead when the first request comes.

use tokio::sync::watch;
use understudy_model::generate::EngineConfig;

use super::StartError;
use super::start::{Shared, ready};
use crate::place::Place;
use crate::policy::StagedEngine;
use crate::seams::{LocalEngine, RolloutEngine};
use crate::stage::{StageActor, StageFiles, StageJob, StageParts, StageView};
use crate::supervision::Supervised;
use crate::worker::Worker;

impl Shared {
    /// What generates: one engine, or one for each role on a guarded stage.
    pub(super) fn engine(&self) -> Box<dyn RolloutEngine> {
        let Self { config, bus, .. } = self;
        let local = |settings: EngineConfig| LocalEngine::new(self.model.engine(settings), bus.snapshots.clone());
        let newest = local(config.engine.clone());
        if !config.stage.is_guarded() {
            return Box::new(newest);
        }
        let slots = config.stage.canary_sequences;
        let candidate = local(EngineConfig { max_sequences: slots, ..config.engine.clone() });
        let (lead, share) = (local(config.engine.clone()), config.stage.canary_share);
        Box::new(StagedEngine::new(newest, lead, (candidate, slots), bus.casts.clone(), share))
    }

    pub(super) async fn start_stage(
        &self,
        place: Place,
        view: watch::Sender<StageView>,
    ) -> Result<Supervised, StartError> {
        let shared = self.clone();
        let build = move |lifeline| -> Result<StageActor, StartError> {
            let Shared { config, bus, .. } = &shared;
            let job = StageJob::open(StageParts {
                config: &config.stage,
                rules: config.stage.rules(config.ppo.target_kl_per_sequence),
                bus,
                files: StageFiles::new(shared.store.dir()),
                like: shared.model.share().1,
                ids: shared.ids.clone(),
                view: view.clone(),
            });
            Ok(Worker::new(job.map_err(StartError::Stage)?, lifeline))
        };
        let closed = self.bus.clone();
        let supervision = self.supervision("stage", place).on_give_up(move |_| {
            closed.orders.abandon();
        });
        let (actor, _) = supervision.start(build);
        ready(&actor).await?;
        Ok(actor)
    }
}
