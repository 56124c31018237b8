//! The loss of a mixed batch, as a function of its answers' logits.
//!
//! Invariant: every event enters as −log P(what was said); the utility and the centring are additions whose weights the
//! configuration names.

use tch::{Kind, Tensor};

use super::config::RewardConfig;
use super::losses::bradley_terry::{BradleyTerry, bradley_terry_loss};
use super::losses::ordinal::{cumulative_logit_nll, level_log_probabilities, rising_thresholds};
use super::losses::prompt_aware::{Reduction, listwise_utility_loss};
use super::losses::thumbs::thumbs_nll;
use super::losses::utility::Dial;
use super::losses::weak_order::{WeightedPair, pair_tensors};
use super::terms::{LEVELS, Said, Terms};

/// The parts of a batch's loss.
pub(super) struct Loss {
    pub(super) total: Tensor,
    pub(super) likelihood: f64,
    pub(super) utility: f64,
    pub(super) utility_questions: usize,
}

/// Mean of the events' negative log-likelihoods + utility_weight · prompt-aware terms + centring.
pub(super) fn batch_loss(
    terms: &Terms<'_>,
    logits: &Tensor,
    thresholds: &[(String, Tensor)],
    config: &RewardConfig,
) -> Loss {
    let events = terms.said.iter().flatten().count() as f64;
    let likelihood = likelihood(terms, logits, thresholds) / events;
    let linked = match config.utility_weight {
        0.0 => Vec::new(),
        _ => terms.linked(config.utility_answers),
    };
    let mut utility = Tensor::zeros([], (Kind::Float, logits.device()));
    for (pairs, closedness) in &linked {
        let dial = Dial::from_closedness(*closedness, config.closedness_clip);
        utility += listwise_utility_loss(logits, pairs, |x| dial.value(x), Reduction::Mean);
    }
    let mut centring = Tensor::zeros([], (Kind::Float, logits.device()));
    let questions = terms.by_question();
    for places in &questions {
        let places = Tensor::from_slice(places).to_device(logits.device());
        centring += logits.index_select(0, &places).mean(Kind::Float).square();
    }
    let total = &likelihood
        + &utility * (config.utility_weight / events)
        + centring * (config.centring / questions.len().max(1) as f64);
    Loss {
        total,
        likelihood: likelihood.double_value(&[]),
        utility: utility.double_value(&[]) / linked.len().max(1) as f64,
        utility_questions: linked.len(),
    }
}

/// Sum over the events of −log P(what was said), each pair at its weight.
fn likelihood(terms: &Terms<'_>, logits: &Tensor, thresholds: &[(String, Tensor)]) -> Tensor {
    let device = logits.device();
    let mut sum = Tensor::zeros([], (Kind::Float, device));
    let mut pairs: Vec<WeightedPair> = Vec::new();
    let (mut graded, mut shares) = (Vec::new(), Vec::new());
    let (mut thumbed, mut ups) = (Vec::new(), Vec::new());
    for said in terms.said.iter().flatten() {
        match said {
            Said::Order { pairs: order } => pairs.extend(order),
            Said::Grade { answer, shares: own, .. } => {
                graded.push(*answer as i64);
                shares.extend(own.iter().map(|share| *share as f32));
            }
            Said::Thumb { answer, up } => {
                thumbed.push(*answer as i64);
                ups.push(if *up { 1f32 } else { 0.0 });
            }
        }
    }
    let at = |places: &[i64]| logits.index_select(0, &Tensor::from_slice(places).to_device(device));
    if !pairs.is_empty() {
        let (better, worse, weight) = pair_tensors(&pairs, Kind::Float, device);
        let (chosen, rejected) = (logits.index_select(0, &better), logits.index_select(0, &worse));
        let options = BradleyTerry { weight: Some(&weight), ..Default::default() };
        sum += bradley_terry_loss(&chosen, &rejected, options) * weight.sum(Kind::Float);
    }
    if !graded.is_empty() {
        let (one, zero) = (Tensor::from(1f32).to_device(device), Tensor::from(0f32).to_device(device));
        let tau = rising_thresholds(&thresholds[0].1);
        let log_p = level_log_probabilities(&at(&graded), &tau, &one, &zero);
        let shares = Tensor::from_slice(&shares).view([-1, LEVELS as i64]).to_device(device);
        sum += cumulative_logit_nll(&log_p, &shares).sum(Kind::Float);
    }
    if !thumbed.is_empty() {
        let ups = Tensor::from_slice(&ups).to_device(device);
        sum += thumbs_nll(&at(&thumbed), &ups, &thresholds[1].1, 1.0).sum(Kind::Float);
    }
    sum
}
