//! How the learner keeps and tells the uncertainty of its scores.
//!
//! Invariant: an event is heard when it is first learned from, by the scores that foretold it; replays change nothing.

use tch::Tensor;

use super::{RewardLearner, SCORING_FACTOR, to_f64};
use crate::error::LearningError;
use crate::reward::epistemic::witnesses;
use crate::reward::reliability::Voice;
use crate::reward::terms::{RewardExample, Terms};
use crate::stages::Rollout;

impl RewardLearner {
    /// Logits and their standard deviations, in order, from one pass.
    pub(super) fn judged(&self, answers: &[&Rollout]) -> Result<(Vec<f64>, Vec<f64>), LearningError> {
        let _guard = tch::no_grad_guard();
        let (mut raw, mut deviations) = (vec![0.0; answers.len()], vec![0.0; answers.len()]);
        for pass in self.model.passes(answers, self.config.tokens_per_pass * SCORING_FACTOR) {
            let parts = self.model.read(answers, &pass)?;
            let logits = to_f64(&self.model.logits_of(&parts))?;
            let stds = match &self.epistemic {
                Some(epistemic) => epistemic.deviations(&epistemic.project(&parts))?,
                None => vec![0.0; pass.len()],
            };
            for ((&place, logit), std) in pass.iter().zip(logits).zip(stds) {
                (raw[place], deviations[place]) = (logit, std);
            }
        }
        Ok((raw, deviations))
    }

    /// The posterior hears what it has not heard before; `logits` are the scores before the step.
    pub(super) fn hear(
        &mut self,
        batch: &[RewardExample],
        terms: &Terms<'_>,
        logits: &[f64],
        voices: &[Voice],
    ) -> Result<(), LearningError> {
        let Some(epistemic) = &self.epistemic else { return Ok(()) };
        let fresh: Vec<usize> = (0..batch.len()).filter(|&event| epistemic.is_new(batch[event].seq)).collect();
        let thresholds = self.current_thresholds()?;
        let mut heard = Vec::new();
        for (event, said) in fresh.into_iter().filter_map(|event| Some((event, terms.statements.said[event].as_ref()?)))
        {
            let mut witnesses =
                witnesses(said, logits, &thresholds, &voices[terms.statements.by[event]], self.config.margin);
            let mut places: Vec<usize> =
                witnesses.iter().flat_map(|witness| [Some(witness.answer), witness.against]).flatten().collect();
            places.sort_unstable();
            places.dedup();
            let row = |place: usize| places.binary_search(&place).expect("it was just put in");
            for witness in &mut witnesses {
                (witness.answer, witness.against) = (row(witness.answer), witness.against.map(row));
            }
            let _guard = tch::no_grad_guard();
            heard.push((batch[event].seq, epistemic.project(&self.model.read(&terms.answers(), &places)?), witnesses));
        }
        if let Some(epistemic) = &mut self.epistemic {
            heard.iter().for_each(|(seq, features, witnesses)| epistemic.hear(*seq, features, witnesses));
        }
        Ok(())
    }

    /// Uncertainty is told against the mean of these answers, as scores are.
    pub(super) fn centre_on(&mut self, answers: &[&Rollout]) -> Result<(), LearningError> {
        let _guard = tch::no_grad_guard();
        let Some(epistemic) = &mut self.epistemic else { return Ok(()) };
        let passes = self.model.passes(answers, self.config.tokens_per_pass * SCORING_FACTOR).into_iter();
        let read = passes.map(|pass| Ok(epistemic.project(&self.model.read(answers, &pass)?)));
        let features = read.collect::<Result<Vec<_>, LearningError>>()?;
        if !features.is_empty() {
            epistemic.centre_on(&Tensor::cat(&features, 0));
        }
        Ok(())
    }
}
