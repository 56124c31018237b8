//! The estimator's saved form.
//!
//! Invariant: restoring gives bit for bit the estimator that was saved, and a state that does not fit changes nothing.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::bits;
use super::estimator::Openness;
use super::gate::{EVIDENCE, Features, Row, Weights};
use super::learned::Step;
use super::memory::Memory;
use crate::error::LearningError;

#[derive(Serialize, Deserialize)]
struct Saved {
    width: usize,
    seed: u64,
    questions: Memory,
    base: Weights,
    folded: u64,
    steps: Vec<SavedStep>,
}

#[derive(Serialize, Deserialize)]
struct SavedStep {
    event: String,
    question: String,
    /// Where the question has none, or others: usually its own stand for them.
    #[serde(with = "bits::features")]
    features: Option<Features>,
    own: bool,
    evidence: Option<[u64; EVIDENCE]>,
    #[serde(with = "bits::number")]
    target: f64,
    #[serde(with = "bits::number")]
    weight: f64,
}

impl Openness {
    /// Everything that was learned, as JSON; numbers stand as bits.
    pub fn state(&self) -> serde_json::Value {
        let saved = Saved {
            width: self.width,
            seed: self.seed,
            questions: self.memory.clone(),
            base: self.gate.base.clone(),
            folded: self.gate.folded,
            steps: self.gate.steps.iter().map(|step| self.save(step)).collect(),
        };
        serde_json::to_value(saved).expect("maps have string keys and numbers are bits")
    }

    fn save(&self, step: &Step) -> SavedStep {
        let known = self.memory.questions.get(&step.question);
        let own = known.is_some_and(|known| known.features == step.row.features);
        SavedStep {
            event: step.event.clone(),
            question: step.question.clone(),
            features: if own { None } else { step.row.features.clone() },
            own,
            evidence: step.row.evidence.map(|evidence| evidence.map(f64::to_bits)),
            target: step.row.target,
            weight: step.row.weight,
        }
    }

    /// Goes on from a state of the same width and seed.
    ///
    /// # Errors
    /// [`LearningError::State`] when it does not read or belongs to another model; nothing is changed then.
    pub fn restore(&mut self, state: &serde_json::Value) -> Result<(), LearningError> {
        let fail = |problem: String| LearningError::state("openness", problem);
        let saved = Saved::deserialize(state).map_err(|error| fail(format!("does not read ({error})")))?;
        if (saved.width, saved.seed) != (self.width, self.seed) {
            let problem = format!(
                "is of width {} and seed {}, this one of {} and {}",
                saved.width, saved.seed, self.width, self.seed
            );
            return Err(fail(problem));
        }
        let size = self.projection.size();
        let fits = |features: &Option<Features>| features.as_ref().is_none_or(|features| features.len() == size);
        let mut memory = saved.questions;
        let features_fit = memory.questions.values().all(|known| fits(&known.features))
            && saved.steps.iter().all(|step| fits(&step.features));
        if !saved.base.fits(size) || !features_fit {
            return Err(fail(format!("is not of a gate on {size} features")));
        }
        memory.questions.values_mut().for_each(|known| known.sum_up());
        let step = |saved: SavedStep| {
            let own = memory.questions.get(&saved.question).and_then(|known| known.features.clone());
            let features = if saved.own { own } else { saved.features };
            let evidence = saved.evidence.map(|evidence| evidence.map(f64::from_bits));
            let row = Row { features, evidence, target: saved.target, weight: saved.weight };
            Step { event: saved.event, question: saved.question, row }
        };
        let steps: VecDeque<Step> = saved.steps.into_iter().map(step).collect();
        self.gate.put(saved.base, saved.folded, steps);
        self.memory = memory;
        Ok(())
    }
}
