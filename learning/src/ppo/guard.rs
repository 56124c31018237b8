//! Notices a learner that has gone bad, and puts it back to where it was last known to be good.
//!
//! Invariant: what is kept is the state whose very weights were measured well within the bounds, whole (weights, moments,
//! controller, spread of the scores) or not at all; at most one is kept. A version never goes back: what is put back gets
//! a new one, so far on that nothing which the bad policy sampled is learned from.

use serde::{Deserialize, Serialize};

use super::learner::PpoLearner;
use super::report::PpoReport;
use super::score::RunningMoments;
use crate::error::LearningError;
use crate::stages::PolicyVersion;
use crate::state::{LearnerState, get_u64, with_prefix};

/// A KL of at most this share of its budget is well within.
const KL_WELL_WITHIN: f64 = 0.5;
/// An entropy of at least so many floors is well within.
const ENTROPY_WELL_WITHIN: f64 = 1.5;
/// The KL budget in targets where none is given.
const TARGETS: f64 = 4.0;

/// When a learner counts as gone bad. Numbers that are not finite always do, and at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuardConfig {
    /// Most KL to the reference, in nats per sequence; absent is four times the target, 0 is off.
    pub max_kl_per_sequence: Option<f64>,
    /// Least mean entropy, in nats per token; 0 is off.
    pub min_entropy: f64,
    /// Updates in a row beyond either bound until the learner is put back.
    pub patience: u32,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self { max_kl_per_sequence: None, min_entropy: 0.0, patience: 3 }
    }
}

impl GuardConfig {
    /// The KL budget for a target, if there is one.
    fn budget(&self, target: f64) -> Option<f64> {
        Some(self.max_kl_per_sequence.unwrap_or(TARGETS * target)).filter(|budget| *budget > 0.0)
    }

    /// Whether the values can work with the wanted KL of `target`.
    pub(super) fn validate(&self, target: f64) -> Result<(), LearningError> {
        let fail = |field, value: String, remedy| Err(LearningError::Config { field, value, remedy });
        if let Some(budget) = self.max_kl_per_sequence
            && (!budget.is_finite() || budget != 0.0 && budget < 2.0 * target)
        {
            let remedy = "give at least twice target_kl_per_sequence, or 0 to turn it off";
            return fail("guard.max_kl_per_sequence", budget.to_string(), remedy);
        }
        if !self.min_entropy.is_finite() || self.min_entropy < 0.0 {
            return fail("guard.min_entropy", self.min_entropy.to_string(), "give a number that is not below 0");
        }
        if self.patience == 0 {
            return fail("guard.patience", "0".to_owned(), "give a whole number above 0");
        }
        Ok(())
    }
}

/// Why a learner was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoneBad {
    /// A weight or a figure of the update is not finite.
    NotFinite,
    /// The KL to the reference is over its budget.
    Kl,
    /// The entropy is under its floor.
    Entropy,
}

impl GoneBad {
    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFinite => "not_finite",
            Self::Kl => "kl",
            Self::Entropy => "entropy",
        }
    }
}

/// A learner was put back.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollback {
    /// Why.
    pub reason: GoneBad,
    /// The figure behind it, in words.
    pub why: String,
    /// The learner's version whose weights it has again.
    pub to: PolicyVersion,
    /// The version under which it has them.
    pub version: PolicyVersion,
}

/// What the guard remembers. It begins anew with each learner, and with a restored state that holds nothing of it.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// Updates in a row that were bad.
    strikes: u32,
    /// Mean entropy of the last update.
    entropy: Option<f64>,
    /// The last state that was good, without the reference, which never changes.
    good: Option<LearnerState>,
}

/// Among a learner's tensors, those of the guard's good state; among its scalars, what else the guard remembers.
const GUARD: &str = "guard/";
const REMEMBERED: &str = "guard";

impl Guard {
    /// Adds what is remembered to a learner's state.
    pub(super) fn save(&self, state: &mut LearnerState) {
        let entropy_bits = self.entropy.map(f64::to_bits);
        let good = self.good.as_ref().map(|good| good.scalars.clone());
        state.scalars[REMEMBERED] =
            serde_json::json!({"strikes": self.strikes, "entropy_bits": entropy_bits, "good": good});
        for (name, tensor) in self.good.iter().flat_map(|good| &good.tensors) {
            state.tensors.push((format!("{GUARD}{name}"), tensor.shallow_clone())); // never written to
        }
    }

    /// What a saved state remembers.
    pub(super) fn saved(state: &LearnerState) -> Result<Self, LearningError> {
        #[derive(Deserialize)]
        struct Remembered {
            strikes: u32,
            entropy_bits: Option<u64>,
            good: Option<serde_json::Value>,
        }
        let Some(remembered) = state.scalars.get(REMEMBERED) else { return Ok(Self::default()) };
        let Remembered { strikes, entropy_bits, good } = Remembered::deserialize(remembered)
            .map_err(|error| LearningError::state(REMEMBERED, format!("does not read ({error})")))?;
        let tensors = || with_prefix(&state.tensors, GUARD).into_iter().collect();
        let good = good.map(|scalars| LearnerState { tensors: tensors(), scalars });
        Ok(Self { strikes, entropy: entropy_bits.map(f64::from_bits), good })
    }
}

impl PpoLearner {
    /// Between measuring and learning: keeps the state as it was before this update if its policy, whose KL has just been
    /// measured as `kl`, is well within the bounds. `moments` are those of before the update.
    pub(super) fn keep_if_good(&mut self, kl: f64, moments: RunningMoments) {
        let (config, guard) = (&self.config.guard, &self.guard);
        let (budget, floor) = (config.budget(self.config.target_kl_per_sequence), config.min_entropy);
        let near = budget.is_none_or(|budget| kl <= KL_WELL_WITHIN * budget);
        let lively = guard.entropy.is_none_or(|entropy| entropy >= ENTROPY_WELL_WITHIN * floor);
        let watches = budget.is_some() || floor > 0.0;
        if watches && kl.is_finite() && near && lively && guard.strikes == 0 {
            self.guard.good = None; // never two at a time
            self.guard.good = Some(self.copied(&self.learned_weights(), moments));
        }
    }

    /// Looks at an update that is over. A learner that has gone bad goes back to the last good state, under a new
    /// version, and says why; one that has no good state to go back to learns on.
    ///
    /// Without a good state numbers that are not finite are an error: such a learner must not go on.
    pub fn guard(&mut self, report: &PpoReport) -> Result<Option<Rollback>, LearningError> {
        if let Some((what, value)) = self.not_finite_in(report) {
            let Some(good) = self.guard.good.take() else { return Err(LearningError::NonFinite { what, value }) };
            return self.put_back(good, GoneBad::NotFinite, format!("{what} is {value}")).map(Some);
        }
        let Some((reason, why)) = self.out_of_bounds(report) else {
            (self.guard.strikes, self.guard.entropy) = (0, Some(report.entropy));
            return Ok(None);
        };
        (self.guard.strikes, self.guard.entropy) = (self.guard.strikes.saturating_add(1), Some(report.entropy));
        if self.guard.strikes < self.config.guard.patience {
            return Ok(None);
        }
        let Some(good) = self.guard.good.take() else { return Ok(None) };
        let why = format!("{why}, for {} updates in a row", self.guard.strikes);
        self.put_back(good, reason, why).map(Some)
    }

    fn put_back(&mut self, good: LearnerState, reason: GoneBad, why: String) -> Result<Rollback, LearningError> {
        let to = get_u64(&good.scalars, "version")?;
        let mut tensors: Vec<_> = good.tensors.iter().map(|(name, t)| (name.clone(), t.shallow_clone())).collect();
        let reference = self.reference.parameters();
        tensors.extend(reference.into_iter().map(|(name, tensor)| (format!("reference/{name}"), tensor)));
        // Answers of the policy that is given up are stale from now on: it is no proximal policy of this one.
        let version = self.version + self.config.max_staleness + 1;
        self.restore(LearnerState { tensors, scalars: good.scalars.clone() })?;
        self.version = version;
        self.guard.good = Some(good);
        Ok(Rollback { reason, why, to, version })
    }

    fn out_of_bounds(&self, report: &PpoReport) -> Option<(GoneBad, String)> {
        let (kl, entropy, floor) = (report.kl_per_sequence, report.entropy, self.config.guard.min_entropy);
        if let Some(budget) = self.config.guard.budget(self.config.target_kl_per_sequence)
            && kl > budget
        {
            let why = format!("the KL to the reference is {kl:.3} nats per sequence, at most {budget} are borne");
            return Some((GoneBad::Kl, why));
        }
        let low = entropy < floor;
        low.then(|| {
            (GoneBad::Entropy, format!("the entropy is {entropy:.4} nats per token, at least {floor} is wanted"))
        })
    }

    /// The first of the update's figures, and of the learned weights, that is not finite.
    fn not_finite_in(&self, report: &PpoReport) -> Option<(&'static str, f64)> {
        let _guard = tch::no_grad_guard();
        let figures = [
            ("the KL to the reference", report.kl_per_sequence),
            ("the mean reward", report.mean_reward),
            ("the entropy", report.entropy),
            ("the policy loss", report.policy_loss),
            ("the value loss", report.value_loss),
            ("the policy's move", report.approx_kl),
        ];
        let norm = |parameters: Vec<(String, tch::Tensor)>| {
            parameters.iter().map(|(_, tensor)| tensor.norm().double_value(&[])).sum::<f64>()
        };
        let weights = [
            ("the norm of the policy's weights", norm(self.policy.parameters())),
            ("the norm of the value model's weights", norm(self.value.parameters())),
        ];
        figures.into_iter().chain(weights).find(|(_, value)| !value.is_finite())
    }
}
