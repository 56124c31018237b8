//! The head alone, fitted to the end on frozen layers' features.
//!
//! Invariant: only training questions reach the scaling, the weights and the choice of their decay.

use std::ops::Range;

use anyhow::Result;
use tch::{Device, Kind, Tensor};
use understudy::preferences::accuracy::{Accuracy, Tally};
use understudy::preferences::{PairRule, VotedPair};
use understudy_learning::optimiser::{AdamConfig, AdamW};
use understudy_learning::reward::losses::bradley_terry::{BradleyTerry, bradley_terry_loss};
use understudy_learning::reward::losses::prompt_aware::{Reduction, listwise_utility_loss};
use understudy_learning::reward::losses::utility::{Dial, Utility};
use understudy_learning::reward::losses::weak_order::WeightedPair;

use super::Thread;
use super::options::LossChoice;

/// Decays that are tried: weights of |w|².
const DECAYS: [f64; 4] = [0.3, 3.0, 30.0, 300.0];
/// Steps of a fit. The loss no longer changes in its third digit then.
const STEPS: usize = 120;
const LEARNING_RATE: f64 = 0.01;
/// Weight of the utility, as in the reward model's default configuration.
const UTILITY_WEIGHT: f64 = 0.3;
/// The paper's code's steepness.
const COMMON: Utility = Utility::LogSigmoid { c: 4.0 };
const CLIP: (f64, f64) = (0.05, 0.95);
/// By so much is the length's weight decayed less than the others: it is one number beside hundreds.
const LENGTH_IS_FREE: f64 = 20.0;
/// Parts of the training questions for choosing the decay.
const PARTS: usize = 3;

/// One question as the fit sees it.
pub(crate) struct Case {
    /// `[K, F]`.
    pub(crate) features: Tensor,
    /// Pairs by the rule.
    pub(crate) pairs: Vec<VotedPair>,
    /// P(closed-ended) by its votes.
    pub(crate) closedness: f64,
    /// Whether the last column is the logarithm of the answer's length.
    pub(crate) with_length: bool,
}

impl Case {
    /// `columns` of the features, the pairs of `rule`; with the length only to see what it would do.
    pub(crate) fn of(thread: &Thread, columns: &Range<usize>, rule: PairRule, with_length: bool) -> Self {
        let mut rows = Vec::new();
        for (answer, all) in thread.votes.answers.iter().zip(&thread.features) {
            rows.extend_from_slice(&all[columns.clone()]);
            rows.extend(with_length.then(|| (answer.text.chars().count() as f32).ln_1p()));
        }
        let features = Tensor::from_slice(&rows).view([thread.features.len() as i64, -1]);
        Self { features, pairs: thread.votes.pairs(rule), closedness: thread.closedness, with_length }
    }
}

/// A linear score of scaled features.
pub(crate) struct Head {
    scale: Tensor,
    weight: Tensor,
}

impl Head {
    /// Minimises mean −log P of the pairs + the utility + `decay`·|w|², every question's pairs weighing 2(K − 1)/K of
    /// its choices as in the reward model.
    pub(crate) fn fit(cases: &[&Case], loss: LossChoice, decay: f64) -> Result<Self> {
        let cases: Vec<&&Case> = cases.iter().filter(|case| !case.pairs.is_empty()).collect();
        let rows: Vec<&Tensor> = cases.iter().map(|case| &case.features).collect();
        // Within questions: what differs between questions tells no pair apart.
        let inner: Vec<Tensor> =
            rows.iter().map(|rows| *rows - rows.mean_dim([0i64].as_slice(), true, Kind::Float)).collect();
        let scale = (Tensor::cat(&inner, 0).square().mean_dim([0i64].as_slice(), true, Kind::Float) + 1e-8).sqrt();
        if cases.first().is_some_and(|case| case.with_length) {
            let mut length = scale.narrow(1, scale.size()[1] - 1, 1);
            length /= LENGTH_IS_FREE;
        }
        let all = Tensor::cat(&rows, 0) / &scale;
        let (mut pairs, mut linked, mut first) = (Vec::new(), Vec::new(), 0);
        for case in &cases {
            let count = case.features.size()[0] as usize;
            let own = case.pairs.iter().map(|pair| WeightedPair {
                better: first + pair.better,
                worse: first + pair.worse,
                weight: 2.0 / count as f64,
            });
            let own: Vec<WeightedPair> = own.collect();
            if count >= 4 && own.len() >= 3 {
                linked.push((own.clone(), case.closedness));
            }
            pairs.extend(own);
            first += count;
        }
        let index = |of: fn(&WeightedPair) -> usize| {
            Tensor::from_slice(&pairs.iter().map(|pair| of(pair) as i64).collect::<Vec<_>>())
        };
        let (better, worse) = (index(|pair| pair.better), index(|pair| pair.worse));
        let share = Tensor::from_slice(&pairs.iter().map(|pair| pair.weight as f32).collect::<Vec<_>>());
        let width = all.size()[1];
        let weight = Tensor::zeros([width], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let mut adam = AdamW::new(vec![("w".to_owned(), weight.shallow_clone())], AdamConfig::default());
        for step in 0..STEPS {
            adam.zero_grad();
            let z = all.mv(&weight) / (width as f64).sqrt();
            let (chosen, rejected) = (z.index_select(0, &better), z.index_select(0, &worse));
            let options = BradleyTerry { weight: Some(&share), ..Default::default() };
            let mut total = bradley_terry_loss(&chosen, &rejected, options);
            if loss != LossChoice::Pairs {
                let mut sum = Tensor::zeros([], (Kind::Float, Device::Cpu));
                for (pairs, closedness) in &linked {
                    let dial = Dial::from_closedness(*closedness, CLIP);
                    sum += match loss {
                        LossChoice::Common => listwise_utility_loss(&z, pairs, |x| COMMON.value(x), Reduction::Mean),
                        _ => listwise_utility_loss(&z, pairs, |x| dial.value(x), Reduction::Mean),
                    };
                }
                total += sum * (UTILITY_WEIGHT / cases.len() as f64);
            }
            total += weight.square().mean(Kind::Float) * decay;
            total.backward();
            let rate = LEARNING_RATE * 20.0 * (1.0 - step as f64 / STEPS as f64);
            adam.step(rate, f64::INFINITY)?;
        }
        Ok(Self { scale, weight: weight.detach() })
    }

    /// `[K]` scores.
    pub(crate) fn scores(&self, features: &Tensor) -> Result<Vec<f64>> {
        let z = (features / &self.scale).mv(&self.weight);
        Ok(Vec::try_from(z.to_kind(Kind::Double))?)
    }
}

/// How many pairs of each of `asked` the head fitted on `known` gets right; the decay is chosen within `known`.
pub(crate) fn tallies(known: &[&Case], asked: &[&Case], loss: LossChoice) -> Result<(Vec<Tally>, f64)> {
    let mut best = (f64::NEG_INFINITY, DECAYS[0]);
    for decay in DECAYS {
        let mut found = Vec::new();
        for part in 0..PARTS {
            let side = |own: bool| -> Vec<&Case> {
                known.iter().enumerate().filter(|(i, _)| (i % PARTS == part) == own).map(|(_, case)| *case).collect()
            };
            // Every loss has the decay that pairs alone choose: what is compared then differs in nothing else.
            let head = Head::fit(&side(false), LossChoice::Pairs, decay)?;
            for case in side(true) {
                found.push(right(&case.pairs, &head.scores(&case.features)?));
            }
        }
        let share = Accuracy::of(&found).share;
        if share > best.0 {
            best = (share, decay);
        }
    }
    let head = Head::fit(known, loss, best.1)?;
    let tally = |case: &&Case| Ok(right(&case.pairs, &head.scores(&case.features)?));
    Ok((asked.iter().map(tally).collect::<Result<_>>()?, best.1))
}

/// How many of `pairs` the scores get right.
pub(crate) fn right(pairs: &[VotedPair], scores: &[f64]) -> Tally {
    let right = pairs.iter().filter(|pair| scores[pair.better] > scores[pair.worse]).count() as f64;
    Tally { right, pairs: pairs.len() }
}
