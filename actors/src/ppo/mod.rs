//! `PpoActor`: gathers scored answers, learns from them in short units, publishes what it learned.
//!
//! Invariant: a published version was journaled before; a state for a checkpoint is given between two updates only; what
//! is learned does not depend on when control comes; an update that the learner's guard finds bad is never published.

mod batch;
mod metric;
mod versions;

use std::collections::BTreeSet;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use understudy_learning::ppo::{Outcome, PpoLearner, PpoReport, Progress, Rollback, Update};
use understudy_learning::stages::{AnswerId, PolicyVersion, RewardVersion};
use understudy_learning::{LearnerState, LearningError};

use crate::cancel::Cancel;
use crate::checkpoint::CheckpointRequest;
use crate::failpoint::Failpoints;
use crate::invariant::{InvariantId, Invariants};
use crate::link::{Feed, Inlet, Pace, Port, Ticket};
use crate::messages::{LoopEvent, ScoredGroup};
use crate::seams::{TrainGroup, WeightPublisher};
use crate::supervision::{Held, Hold};
use crate::worker::{Desk, Job, Worker};

pub(crate) use batch::Waiting;
use metric::record;
pub use metric::*;
pub(crate) use versions::Versions;

/// The actor.
pub type PpoActor = Worker<PpoJob>;

/// Groups that are remembered to notice one that comes twice.
const MOST_SEEN: usize = 4096;

/// What the actor gives for a checkpoint.
#[derive(Debug)]
pub struct PpoState {
    /// The learner's tensors and scalars.
    pub learner: LearnerState,
    /// The version under which its policy is published.
    pub version: PolicyVersion,
    /// Updates done.
    pub updates: u64,
    /// What the last update measured; none before the first one since the start, and after one that was found bad.
    pub last_update: Option<LastUpdate>,
}

/// Means over the answers of one update. They were given by the policy before it, and scored by the reward model of
/// that time: figures of different times compare only as far as that model stayed the same.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LastUpdate {
    /// Score of the reward model, normalised.
    pub score: f64,
    /// Score less the penalty for going away from the reference.
    pub reward: f64,
    /// KL to the reference for each answer, in nats.
    pub kl: f64,
}

impl LastUpdate {
    /// The figures, when all of them are numbers.
    fn of(report: &PpoReport) -> Option<Self> {
        let figures = Self { score: report.mean_score, reward: report.mean_reward, kl: report.kl_per_sequence };
        [figures.score, figures.reward, figures.kl].iter().all(|figure| figure.is_finite()).then_some(figures)
    }
}

/// The actor's work.
pub struct PpoJob {
    /// Scored answers.
    pub(crate) scored: Inlet<ScoredGroup>,
    /// Where checkpoints are asked for.
    pub(crate) checkpoints: Port<CheckpointRequest>,
    /// Who wants to see what was learned.
    pub(crate) events: Feed<LoopEvent>,
    /// Told of each update.
    pub(crate) pace: Pace,
    /// The learner.
    pub(crate) learner: PpoLearner,
    /// Published versions against updates done.
    pub(crate) versions: Versions,
    /// Makes versions visible.
    pub(crate) publisher: Box<dyn WeightPublisher>,
    /// The other learners, if any.
    pub(crate) group: Box<dyn TrainGroup>,
    /// Updates between two checkpoints.
    pub(crate) checkpoint_every: u64,
    /// The newest version, for the status.
    pub(crate) version: watch::Sender<PolicyVersion>,
    /// What the last update measured, for the checkpoint's manifest.
    pub(crate) last_update: Option<LastUpdate>,
    /// Groups that wait for an update; they outlive an incarnation.
    pub(crate) waiting: Waiting,
    /// Groups that came lately.
    pub(crate) seen: BTreeSet<AnswerId>,
    /// Fired when nothing more will come and everything was learned.
    pub(crate) drained: Cancel,
    /// Checked while it runs.
    pub(crate) invariants: Invariants,
    /// `ppo.before`, `ppo.after`: around each unit.
    pub(crate) failpoints: Failpoints,
}

/// An update under way.
struct Working {
    update: Update,
    tickets: Vec<Ticket>,
    /// The oldest reward model that scored any of its answers.
    scored_by: RewardVersion,
    began: Instant,
    /// Keep the groups in the actor's hand.
    _hands: Vec<Hold>,
}

impl Job for PpoJob {
    type State = PpoState;

    async fn run(mut self, desk: Desk<PpoState>) -> Result<(), String> {
        let waiting = self.waiting.clone();
        let mut working: Option<Working> = None;
        let mut open = true;
        let mut scored = self.scored.items();
        loop {
            if desk.is_cancelled() {
                return Err("told to end".to_owned());
            }
            if let Some(work) = &mut working {
                match self.unit(&desk, work) {
                    Ok(None) => {}
                    Ok(Some(report)) => self.learned(working.take().expect("it is the one at work"), report)?,
                    Err(error @ LearningError::NonFinite { .. }) => {
                        // Nothing was changed by the unit that failed: this batch is given up, the next one begins.
                        tracing::error!(%error, "an update was given up");
                        metrics::counter!(ABANDONED).increment(1);
                        working = None;
                    }
                    Err(error) => return Err(error.to_string()),
                }
                tokio::task::yield_now().await;
                continue;
            }
            while let Some(somebody) = desk.state_wanted() {
                // Whoever asked may have given up waiting.
                let _ = somebody.send(self.state());
            }
            if !desk.is_paused()
                && let Some(batch) = waiting.take()
            {
                working = Some(self.begin(&desk, batch)?);
                continue;
            }
            if !open && (desk.is_paused() || !waiting.is_ready()) {
                self.drained.cancel();
                if desk.should_finish() {
                    return Ok(());
                }
            }
            tokio::select! {
                biased;
                () = desk.ordered() => (),
                group = scored.next(), if open && !waiting.is_ready() => match group {
                    Some(group) => {
                        self.check_once(&group);
                        waiting.push(group);
                    }
                    None => open = false,
                },
            }
        }
    }
}

impl PpoJob {
    /// A group that came before would be learned from twice.
    fn check_once(&mut self, group: &ScoredGroup) {
        let Some(first) = group.rollouts.first().map(|scored| scored.rollout.group) else { return };
        let fresh = self.seen.insert(first);
        self.invariants.check(InvariantId::LearnedOnce, fresh, || format!("the answers {first} and following"));
        if self.seen.len() > MOST_SEEN {
            self.seen.pop_first();
        }
    }

    fn state(&self) -> PpoState {
        PpoState {
            learner: self.learner.state(),
            version: self.published(),
            updates: self.learner.version(),
            last_update: self.last_update,
        }
    }

    fn published(&self) -> PolicyVersion {
        self.versions.published(self.learner.version())
    }

    fn begin(&mut self, desk: &Desk<PpoState>, groups: Vec<ScoredGroup>) -> Result<Working, String> {
        let hands = groups.iter().map(|group| desk.lifeline.hold(described(group))).collect();
        let begun = self.begin_in_hand(groups);
        Ok(Working { _hands: hands, ..desk.lifeline.judge(begun)? })
    }

    fn begin_in_hand(&mut self, groups: Vec<ScoredGroup>) -> Result<Working, String> {
        self.group.barrier().map_err(|error| error.to_string())?;
        let (mut batch, mut tickets) = (Vec::new(), Vec::new());
        for group in groups {
            batch.extend(group.rollouts);
            tickets.push(group.ticket);
        }
        for scored in &mut batch {
            self.versions.to_updates(&mut scored.rollout);
        }
        let scored_by = batch.iter().map(|scored| scored.reward_version).min().unwrap_or(0);
        let began = Instant::now();
        let update = self.learner.begin_update(batch).map_err(|error| error.to_string())?;
        Ok(Working { update, tickets, scored_by, began, _hands: Vec::new() })
    }

    fn unit(&mut self, desk: &Desk<PpoState>, work: &mut Working) -> Result<Option<PpoReport>, LearningError> {
        let _unit = desk.lifeline.begin("micro-batch");
        match self.unit_in_hand(work) {
            // Not a failure of the actor: it gives the batch up and goes on.
            Err(error @ LearningError::NonFinite { .. }) => Err(error),
            outcome => desk.lifeline.judge(outcome),
        }
    }

    fn unit_in_hand(&mut self, work: &mut Working) -> Result<Option<PpoReport>, LearningError> {
        let injected = |error: crate::failpoint::Injected| LearningError::input("fail point", error.to_string());
        self.failpoints.hit("ppo.before").map_err(injected)?;
        let progress = self.learner.next_unit(&mut work.update)?;
        self.failpoints.hit("ppo.after").map_err(injected)?;
        match progress {
            Progress::Working { .. } => Ok(None),
            Progress::Done(report) => Ok(Some(*report)),
        }
    }

    /// An update is over: publish, tell, and ask for a checkpoint when one is due.
    fn learned(&mut self, work: Working, mut report: PpoReport) -> Result<(), String> {
        if report.outcome == Outcome::NothingToLearn {
            tracing::warn!(dropped_stale = report.dropped_stale, "an update found nothing to learn from");
            return Ok(()); // the tickets give their places back
        }
        let scored_by = work.scored_by;
        work.tickets.into_iter().for_each(Ticket::spend);
        let mut shared = [report.mean_score, report.mean_reward, report.kl_per_sequence];
        self.group.all_mean(&mut shared).map_err(|error| error.to_string())?;
        [report.mean_score, report.mean_reward, report.kl_per_sequence] = shared;
        let rollback = self.learner.guard(&report).map_err(|error| error.to_string())?;
        self.last_update = LastUpdate::of(&report).filter(|_| rollback.is_none());
        let version = self.published();
        let newest = *self.version.borrow();
        self.invariants.check(InvariantId::VersionsRise, version > newest, || format!("{version} after {newest}"));
        let figures = [
            report.policy_loss,
            report.value_loss,
            report.kl_per_sequence,
            report.kl_coef,
            report.entropy,
            report.mean_score,
            report.mean_reward,
        ];
        let policy = self.learner.policy_snapshot();
        self.publisher.publish(version, policy, &figures).map_err(|error| error.to_string())?;
        // Counted from the daemon's start and not by the learner, which goes back when it starts from a checkpoint.
        self.pace.advance(self.pace.version() + 1);
        self.version.send_replace(version);
        let most = self.learner.config().max_staleness as f64;
        self.invariants.check(InvariantId::StalenessBounded, report.staleness_mean <= most, || {
            format!("{} updates on average, at most {most} are borne", report.staleness_mean)
        });
        let seconds = work.began.elapsed().as_secs_f64();
        record(&report, seconds);
        self.events.publish(LoopEvent::PolicyUpdate { version, scored_by, report: Box::new(report), seconds });
        let went_back = rollback.is_some();
        if let Some(rollback) = rollback {
            self.tell_of(rollback, version);
        }
        // What lies on disk may be of the policy that was given up.
        let due = went_back || self.learner.version().is_multiple_of(self.checkpoint_every);
        if self.checkpoint_every > 0 && due {
            // Full means that one is on its way already; it will hold this update.
            let _ = self.checkpoints.offer(CheckpointRequest::routine());
        }
        Ok(())
    }

    fn tell_of(&self, rollback: Rollback, version: PolicyVersion) {
        let Rollback { reason, why, to, .. } = rollback;
        let (reason, weights_of) = (reason.as_str(), self.versions.published(to));
        tracing::warn!(reason, why, version, weights_of, "the policy had gone bad and was put back");
        metrics::counter!(ROLLBACKS, "reason" => reason).increment(1);
        self.events.publish(LoopEvent::PolicyRollback { version, weights_of, reason, why });
    }
}

/// A group as a quarantine keeps it.
fn described(group: &ScoredGroup) -> Held {
    let first = group.rollouts.first().map_or(0, |scored| scored.rollout.group);
    Held::new(format!("scored answers {first} and following")).saying(&group.rollouts)
}
