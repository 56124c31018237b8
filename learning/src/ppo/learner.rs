//! The learner: policy, reference, value model, their optimisers and the KL controller.
//!
//! Invariant: the learner's weights are its own copies and are changed only by an optimiser step or by `restore`; a
//! published snapshot never sees them change.

use tch::Tensor;
use understudy_model::{Branch, HeadInit, ScalarBranch, Trunk};

use super::config::PpoConfig;
use super::guard::Guard;
use super::kl_control::KlController;
use super::score::RunningMoments;
use crate::error::LearningError;
use crate::optimiser::AdamW;
use crate::stages::PolicyVersion;
use crate::state::{LearnerState, check_tensors, get_f64, get_u64, load_tensors, put_f64, put_tensors, with_prefix};

/// Learns a policy from scored rollouts by proximal policy optimisation.
pub struct PpoLearner {
    pub(super) trunk: Trunk,
    pub(super) policy: Branch,
    pub(super) reference: Branch,
    pub(super) value: ScalarBranch,
    pub(super) policy_adam: AdamW,
    pub(super) value_adam: AdamW,
    pub(super) config: PpoConfig,
    pub(super) controller: KlController,
    pub(super) moments: RunningMoments,
    pub(super) version: PolicyVersion,
    pub(super) seed: u64,
    /// Optimiser steps in a row that were not finite.
    pub(super) not_finite: u32,
    /// Notices when it has gone bad.
    pub(super) guard: Guard,
}

impl PpoLearner {
    /// A learner at version 0 whose policy and reference are copies of `policy`, and whose value model, with the
    /// lower ones of the policy's blocks and a head of zeros, says 0 everywhere. An invalid `config` is reported by the first update.
    pub fn new(trunk: Trunk, policy: Branch, config: PpoConfig, seed: u64) -> Self {
        let (learned, reference) = (policy.deep_copy(), policy.deep_copy());
        let value = ScalarBranch::from_branch(&policy.lower(config.value_layers), HeadInit::Zero);
        learned.set_trainable(true);
        value.set_trainable(true);
        let policy_adam = AdamW::new(learned.parameters(), config.adam);
        let value_adam = AdamW::new(value.parameters(), config.adam);
        let controller = config.kl_controller();
        let moments = RunningMoments::default();
        Self {
            trunk,
            policy: learned,
            reference,
            value,
            policy_adam,
            value_adam,
            config,
            controller,
            moments,
            version: 0,
            seed,
            not_finite: 0,
            guard: Guard::default(),
        }
    }

    /// A deep copy of the policy for publication; it requires no gradient and later steps do not reach it.
    pub fn policy_snapshot(&self) -> Branch {
        self.policy.deep_copy()
    }

    /// Updates that taught something.
    pub fn version(&self) -> PolicyVersion {
        self.version
    }

    /// Goes on counting from `version` if that is higher: a version that was published before a crash is never given
    /// out again for other weights.
    pub fn advance_version_to(&mut self, version: PolicyVersion) {
        self.version = self.version.max(version);
    }

    /// Where learning began: what the KL is measured against.
    pub fn reference(&self) -> &Branch {
        &self.reference
    }

    /// The value model.
    pub fn value_model(&self) -> &ScalarBranch {
        &self.value
    }

    /// The frozen lower layers.
    pub fn trunk(&self) -> &Trunk {
        &self.trunk
    }

    /// The settings.
    pub fn config(&self) -> &PpoConfig {
        &self.config
    }

    /// β for the next update.
    pub fn kl_coef(&self) -> f64 {
        self.controller.coefficient()
    }

    /// Everything that a run needs to go on bit for bit. Take it between updates: an update under way is not in it.
    pub fn state(&self) -> LearnerState {
        let mut state = self.copied(&self.weights(), self.moments);
        self.guard.save(&mut state);
        state.scalars["not_finite"] = self.not_finite.into();
        state
    }

    /// Copies of `weights` and of everything beside them, with `moments` in place of its own.
    pub(super) fn copied(&self, weights: &[Named], moments: RunningMoments) -> LearnerState {
        let mut tensors = Vec::new();
        for (prefix, parameters) in weights {
            put_tensors(&mut tensors, prefix, parameters);
        }
        for (prefix, adam) in [(POLICY_ADAM, &self.policy_adam), (VALUE_ADAM, &self.value_adam)] {
            tensors.extend(adam.state().into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
        }
        let mut scalars = serde_json::Map::new();
        scalars.insert("version".into(), self.version.into());
        scalars.insert("seed".into(), self.seed.into());
        scalars.insert("score_count".into(), moments.count.into());
        put_f64(&mut scalars, "score_mean", moments.mean);
        put_f64(&mut scalars, "score_squares", moments.squares);
        put_f64(&mut scalars, "kl_coef", self.controller.coefficient());
        LearnerState { tensors, scalars: scalars.into() }
    }

    /// Takes over what [`PpoLearner::state`] gave. A state that does not fit is refused and changes nothing.
    pub fn restore(&mut self, state: LearnerState) -> Result<(), LearningError> {
        let LearnerState { tensors, scalars } = &state;
        let version = get_u64(scalars, "version")?;
        let seed = get_u64(scalars, "seed")?;
        let moments = RunningMoments {
            count: get_u64(scalars, "score_count")?,
            mean: get_f64(scalars, "score_mean")?,
            squares: get_f64(scalars, "score_squares")?,
        };
        let kl_coef = get_f64(scalars, "kl_coef")?;
        let guard = Guard::saved(&state)?;
        // Absent in what the guard kept: a learner that is put back begins anew.
        let not_finite = scalars["not_finite"].as_u64().unwrap_or(0) as u32;
        let weights = self.weights().map(|(prefix, parameters)| (parameters, with_prefix(tensors, prefix)));
        let (policy_moments, value_moments) = (with_prefix(tensors, POLICY_ADAM), with_prefix(tensors, VALUE_ADAM));
        for (parameters, saved) in &weights {
            check_tensors(parameters, saved)?;
        }
        self.policy_adam.check_state(&policy_moments)?;
        self.value_adam.check_state(&value_moments)?;
        for (parameters, saved) in &weights {
            load_tensors(parameters, saved)?;
        }
        self.policy_adam.load_state(&policy_moments)?;
        self.value_adam.load_state(&value_moments)?;
        self.controller.set_coefficient(kl_coef);
        (self.version, self.seed, self.moments, self.not_finite) = (version, seed, moments, not_finite);
        self.guard = guard;
        Ok(())
    }

    fn weights(&self) -> [Named; 3] {
        let [policy, value] = self.learned_weights();
        [policy, ("reference/", self.reference.parameters()), value]
    }

    /// The weights that learning changes.
    pub(super) fn learned_weights(&self) -> [Named; 2] {
        [("policy/", self.policy.parameters()), ("value/", self.value.parameters())]
    }
}

/// The parameters of one network under their prefix.
type Named = (&'static str, Vec<(String, Tensor)>);

const POLICY_ADAM: &str = "policy_adam/";
const VALUE_ADAM: &str = "value_adam/";
