//! Three engines as one: the newest version for training answers, the lead and the candidate for people.
//!
//! Invariant: a request stays with the engine that took it; none is refused because there is a candidate. All versions share
//! the trunk, so a version more costs its branch and its own key-value cache.

use tokio::time::Instant;
use understudy_learning::stages::PolicyVersion;
use understudy_model::ModelError;

use crate::link::Latest;
use crate::seams::{EngineRefusal, GenerateRequest, Generated, LocalEngine, RolloutEngine};
use crate::stage::{Cast, goes_to_candidate};

/// The engines of a guarded stage.
pub(crate) struct StagedEngine {
    newest: LocalEngine,
    lead: LocalEngine,
    candidate: LocalEngine,
    casts: Latest<Cast>,
    seen: u64,
    has_candidate: bool,
    share: f64,
    /// Answers to one request that the candidate's engine can give.
    candidate_slots: usize,
}

impl StagedEngine {
    /// `newest` follows the published versions; `lead` and `candidate`, of `candidate_slots` places, follow `casts`.
    pub(crate) fn new(
        newest: LocalEngine,
        lead: LocalEngine,
        (candidate, candidate_slots): (LocalEngine, usize),
        casts: Latest<Cast>,
        share: f64,
    ) -> Self {
        Self { newest, lead, candidate, casts, seen: 0, has_candidate: false, share, candidate_slots }
    }

    fn take_cast(&mut self) {
        let look = |stamp, cast: &Cast| {
            let one = |one: &(PolicyVersion, understudy_model::Branch)| (one.0, one.1.shallow_clone());
            (stamp, one(&cast.lead), cast.candidate.as_ref().map(one))
        };
        let Some((stamp, lead, candidate)) = self.casts.read_newer(self.seen, look) else { return };
        let is_first = std::mem::replace(&mut self.seen, stamp) == 0;
        self.has_candidate = candidate.is_some();
        // What a candidate began that is tried no longer ends on the lead's weights, as its spans tell.
        let (version, branch) = candidate.unwrap_or_else(|| (lead.0, lead.1.shallow_clone()));
        if is_first || version != self.candidate.version() {
            self.candidate.take(version, branch);
        }
        if is_first || lead.0 != self.lead.version() {
            self.lead.take(lead.0, lead.1);
        }
    }
}

impl RolloutEngine for StagedEngine {
    fn submit(&mut self, request: GenerateRequest) -> Result<(), EngineRefusal> {
        self.take_cast();
        if !request.people {
            return self.newest.submit(request);
        }
        let fits = request.samples <= self.candidate_slots;
        if self.has_candidate && fits && goes_to_candidate(request.id, self.share) {
            match self.candidate.submit(request.clone()) {
                Err(EngineRefusal::Full) => {}
                taken_or_invalid => return taken_or_invalid,
            }
        }
        self.lead.submit(request)
    }

    fn cancel(&mut self, request: u64) {
        self.newest.cancel(request);
        self.lead.cancel(request);
        self.candidate.cancel(request);
    }

    fn step(&mut self) -> Result<Vec<Generated>, ModelError> {
        let mut generated = Vec::new();
        for engine in [&mut self.lead, &mut self.candidate, &mut self.newest] {
            if !engine.is_idle() {
                generated.extend(engine.step()?);
            }
        }
        Ok(generated)
    }

    fn load_newest(&mut self) -> Option<(PolicyVersion, Instant)> {
        self.take_cast();
        self.newest.load_newest()
    }

    fn version(&self) -> PolicyVersion {
        self.newest.version()
    }

    fn is_idle(&self) -> bool {
        self.newest.is_idle() && self.lead.is_idle() && self.candidate.is_idle()
    }
}
