//! The gate: an online logistic regression from a prompt to P(closed-ended), for questions with few ratings.
//!
//! Invariant: one step is a function of the weights before it and its row, so that learning can be replayed bit for
//! bit; weights and opinion are bounded.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bits;
use super::evidence::Figures;
use crate::rng::{Purpose, Stream};

/// A prompt's features as the gate sees them.
pub(super) type Features = Arc<[f32]>;

/// Numbers of evidence beside the prompt.
pub(super) const EVIDENCE: usize = 5;
/// Stream of the projection's signs: no other weights are drawn with it.
const PROJECTION_STREAM: u64 = 0x0be4;
/// One outlying dimension of a trunk state cannot drown the others: they are cut here, in units of the root mean square.
const OUTLIER: f64 = 4.0;
/// The log Bayes factor is cut here.
const LOG_BF_CLIP: f64 = 6.0;
/// Bound on each weight.
const MOST_WEIGHT: f64 = 20.0;
/// Bound on the logit: the opinion stays within 0.018 and 0.982.
const MOST_LOGIT: f64 = 4.0;
/// Sum of squared gradients that AdaGrad begins with: bounds the first steps.
const FIRST_SQUARES: f64 = 0.1;
/// Prompts after which the mean of the features follows new ones at a constant rate.
const MEAN_MEMORY: u64 = 1024;

/// Projects features of `width` numbers to at most `size`, by random signs (Achlioptas 2003).
#[derive(Debug, Clone)]
pub(super) struct Projection {
    width: usize,
    size: usize,
    /// `[size, width]` of ±1; empty where nothing need be projected.
    signs: Vec<f32>,
}

impl Projection {
    pub(super) fn new(width: usize, size: usize, seed: u64) -> Self {
        if width <= size {
            return Self { width, size: width, signs: Vec::new() };
        }
        let mut stream = Stream::new(seed, Purpose::Init, PROJECTION_STREAM);
        let signs = (0..size * width).map(|_| if stream.uniform() < 0.5 { 1.0 } else { -1.0 }).collect();
        Self { width, size, signs }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// `None` where the features are missing or broken: the gate then has no opinion.
    pub(super) fn apply(&self, features: &[f32]) -> Option<Features> {
        if features.is_empty() || features.len() != self.width || features.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let square = features.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / self.width as f64;
        let scale = if square > 0.0 { 1.0 / square.sqrt() } else { 0.0 };
        let cut: Vec<f64> = features.iter().map(|value| (f64::from(*value) * scale).clamp(-OUTLIER, OUTLIER)).collect();
        if self.signs.is_empty() {
            return Some(cut.iter().map(|value| *value as f32).collect());
        }
        let root = (self.width as f64).sqrt();
        let rows = self.signs.chunks_exact(self.width);
        let dot = |row: &[f32]| row.iter().zip(&cut).map(|(sign, value)| f64::from(*sign) * value).sum::<f64>();
        Some(rows.map(|row| (dot(row) / root) as f32).collect())
    }
}

/// The evidence as the gate sees it: that there is some, rho, log Bayes factor, votes, ties. Zero is what says nothing.
pub(super) fn evidence_features(figures: &Figures) -> [f64; EVIDENCE] {
    let log_bf = figures.log_bayes_factor.unwrap_or(0.0).clamp(-LOG_BF_CLIP, LOG_BF_CLIP) / LOG_BF_CLIP;
    [
        1.0,
        figures.rho.map_or(0.0, |rho| rho - 0.5),
        log_bf,
        figures.vote_entropy.map_or(0.0, |entropy| 1.0 - entropy),
        figures.tie_rate.unwrap_or(0.0),
    ]
}

/// One step of learning.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) features: Option<Features>,
    /// `None` for a declared question: its label says more than its ratings.
    pub(super) evidence: Option<[f64; EVIDENCE]>,
    /// Wanted opinion in `[0, 1]`.
    pub(super) target: f64,
    /// In `[0, 1]`.
    pub(super) weight: f64,
}

/// Learning rate and decay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) rate: f64,
    pub(super) decay: f64,
}

/// The weights and AdaGrad's sums: prompt features, then evidence, then the constant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Weights {
    #[serde(with = "bits::numbers")]
    weights: Vec<f64>,
    #[serde(with = "bits::numbers")]
    squares: Vec<f64>,
    /// Mean of the features seen: what all prompts share says nothing of one.
    #[serde(with = "bits::numbers")]
    mean: Vec<f64>,
    seen: u64,
}

impl Weights {
    pub(super) fn new(size: usize) -> Self {
        let all = size + EVIDENCE + 1;
        Self { weights: vec![0.0; all], squares: vec![FIRST_SQUARES; all], mean: vec![0.0; size], seen: 0 }
    }

    /// Whether the parts have the lengths of a gate on `size` features and nothing is broken.
    pub(super) fn fits(&self, size: usize) -> bool {
        let all = size + EVIDENCE + 1;
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        (self.weights.len(), self.squares.len(), self.mean.len()) == (all, all, size)
            && finite(&self.weights)
            && finite(&self.mean)
            && self.squares.iter().all(|square| square.is_finite() && *square > 0.0)
    }

    /// The whole input: prompt features centred and of length 1 (zero where there are none), evidence, 1.
    fn input(&self, features: Option<&Features>, evidence: Option<&[f64; EVIDENCE]>) -> Vec<f64> {
        let mut input = vec![0.0; self.weights.len()];
        if let Some(features) = features {
            let centred = features.iter().zip(&self.mean).map(|(value, mean)| f64::from(*value) - mean);
            input.iter_mut().zip(centred).for_each(|(slot, value)| *slot = value);
            let length = input.iter().map(|value| value * value).sum::<f64>().sqrt();
            let scale = if length > 1e-9 { 1.0 / length } else { 0.0 };
            input.iter_mut().for_each(|value| *value *= scale);
        }
        let size = self.mean.len();
        if let Some(evidence) = evidence {
            input[size..size + EVIDENCE].copy_from_slice(evidence);
        }
        input[size + EVIDENCE] = 1.0;
        input
    }

    fn of_input(&self, input: &[f64]) -> f64 {
        let logit: f64 = self.weights.iter().zip(input).map(|(weight, value)| weight * value).sum();
        1.0 / (1.0 + (-logit.clamp(-MOST_LOGIT, MOST_LOGIT)).exp())
    }

    /// P(closed-ended) by the prompt, and by the evidence where it is given.
    pub(super) fn opinion(&self, features: Option<&Features>, evidence: Option<&[f64; EVIDENCE]>) -> f64 {
        self.of_input(&self.input(features, evidence))
    }

    /// Learns one row: without its evidence, so that the prompt's weights must do without it, and then with it.
    pub(super) fn learn(&mut self, row: &Row, pace: Pace) {
        if let Some(features) = &row.features {
            self.seen += 1;
            let share = 1.0 / self.seen.min(MEAN_MEMORY) as f64;
            self.mean.iter_mut().zip(features.iter()).for_each(|(mean, x)| *mean += share * (f64::from(*x) - *mean));
        }
        self.step(row, None, pace);
        if row.evidence.is_some() {
            self.step(row, row.evidence.as_ref(), pace);
        }
    }

    /// AdaGrad (Duchi, Hazan, Singer 2011) on weight·cross-entropy + decay/2·‖w‖².
    fn step(&mut self, row: &Row, evidence: Option<&[f64; EVIDENCE]>, pace: Pace) {
        let input = self.input(row.features.as_ref(), evidence);
        let error = row.weight * (self.of_input(&input) - row.target);
        for ((weight, square), value) in self.weights.iter_mut().zip(&mut self.squares).zip(&input) {
            let gradient = error * value + pace.decay * *weight;
            *square += gradient * gradient;
            *weight = (*weight - pace.rate * gradient / square.sqrt()).clamp(-MOST_WEIGHT, MOST_WEIGHT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { rate: 0.5, decay: 1e-3 };

    #[test]
    fn the_prompts_features_are_learned_though_the_evidence_tells_the_same() {
        let projection = Projection::new(200, 32, 7);
        let mut stream = Stream::new(3, Purpose::Evaluation, 0);
        let mut weights = Weights::new(projection.size());
        let mut prompt = |closed: bool| {
            let sign = if closed { 1.0 } else { -1.0 };
            let shift = |i: usize| if i < 60 { 0.7 * sign } else { 0.0 };
            let features: Vec<f32> = (0..200).map(|i| (5.0 + shift(i) + stream.normal()) as f32).collect();
            projection.apply(&features).unwrap()
        };
        for i in 0..400 {
            let closed = i % 2 == 0;
            let target = if closed { 0.9 } else { 0.1 };
            let evidence = Some([1.0, target - 0.5, 2.0 * target - 1.0, 0.0, 0.0]);
            weights.learn(&Row { features: Some(prompt(closed)), evidence, target, weight: 0.5 }, PACE);
        }
        let mut right = 0;
        for i in 0..200 {
            let closed = i % 2 == 0;
            right += usize::from((weights.opinion(Some(&prompt(closed)), None) > 0.5) == closed);
        }
        assert!(right > 160, "{right} of 200 unseen prompts");
    }

    #[test]
    fn broken_features_are_no_features() {
        let projection = Projection::new(4, 2, 0);
        assert!(projection.apply(&[1.0, f32::NAN, 0.0, 0.0]).is_none());
        assert!(projection.apply(&[1.0]).is_none());
        assert!(projection.apply(&[0.0; 4]).unwrap().iter().all(|value| *value == 0.0));
    }

    fn row(features: Option<&Features>, evidence: Option<[f64; EVIDENCE]>, weight: f64) -> Row {
        Row { features: features.cloned(), evidence, target: 1.0, weight }
    }

    #[test]
    fn one_step_by_hand() {
        let mut weights = Weights::new(0);
        weights.learn(&row(None, None, 1.0), PACE);
        // Opinion 1/2 of what is 1: gradient -1/2, and AdaGrad begins with 0.1.
        let wanted = 0.5 * 0.5 / (0.1f64 + 0.25).sqrt();
        assert!((weights.weights[EVIDENCE] - wanted).abs() < 1e-15, "{weights:?}");
        let before = weights.weights[EVIDENCE];
        weights.learn(&row(None, None, 0.0), PACE);
        let after = weights.weights[EVIDENCE];
        assert!(after < before && after > 0.99 * before, "what weighs nothing teaches nothing; weights decay");
    }

    #[test]
    fn a_row_is_learned_without_its_evidence_and_then_with_it() {
        let features: Features = Arc::from([0.3f32, -0.4].as_slice());
        let evidence = [1.0, 0.4, 0.8, 0.0, 0.0];
        let (mut learned, mut by_hand) = (Weights::new(2), Weights::new(2));
        // The first prompt is its own mean: a second one is needed for the features to say anything.
        for weights in [&mut learned, &mut by_hand] {
            weights.learn(&row(Some(&Arc::from([0.1f32, 0.2].as_slice())), None, 1.0), PACE);
        }
        learned.learn(&row(Some(&features), Some(evidence), 0.7), PACE);
        by_hand.learn(&row(Some(&features), None, 0.7), PACE);
        by_hand.step(&row(Some(&features), Some(evidence), 0.7), Some(&evidence), PACE);
        assert_eq!(learned, by_hand);
    }

    #[test]
    fn what_all_prompts_share_an_outlier_and_great_weights_do_not_drown_the_rest() {
        let mut weights = Weights::new(2);
        let features: Features = Arc::from([3.0f32, -4.0].as_slice());
        weights.learn(&row(Some(&features), None, 1.0), PACE);
        assert_eq!(weights.input(Some(&features), None)[..2], [0.0, 0.0]);
        let mut outlier = vec![0.0f32; 100];
        outlier[7] = -1000.0;
        // One of a hundred has ten times the root mean square.
        assert_eq!(Projection::new(100, 100, 0).apply(&outlier).unwrap()[7], -4.0);
        weights.weights.fill(MOST_WEIGHT);
        let sure = weights.opinion(None, Some(&[1.0; EVIDENCE]));
        assert!((sure - 1.0 / (1.0 + (-4f64).exp())).abs() < 1e-15, "{sure}");
    }
}
