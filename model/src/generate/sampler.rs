//! From logits to a token: one softmax, then the inverse of the distribution function at one uniform number.
//!
//! Invariant: a draw takes exactly one number from the sequence's own stream (none when greedy), and walks the kept
//! tokens in the order of their ids, so rounding elsewhere cannot reorder them.

use tch::{Kind, Tensor};

use super::request::SamplingParams;
use crate::rng::Stream;

/// A sampled token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Drawn {
    pub(crate) token: i64,
    /// Over the kept support.
    pub(crate) logprob: f32,
    pub(crate) kept_mass: f32,
}

/// Distributions of a step's rows, on the host. The buffers are kept between steps.
#[derive(Debug, Default)]
pub(crate) struct Distributions {
    logprobs: Vec<f32>,
    probs: Vec<f32>,
    width: usize,
}

impl Distributions {
    /// Of `logits` `[R, V]` at one temperature for each row (0 counts as 1).
    pub(crate) fn compute(&mut self, logits: &Tensor, temperatures: &[f64]) {
        let (rows, width) = logits.size2().expect("logits are [R, V]");
        let plain = temperatures.iter().all(|&t| t == 0.0 || t == 1.0);
        let scaled = if plain {
            logits.shallow_clone()
        } else {
            let t: Vec<f32> = temperatures.iter().map(|&t| if t == 0.0 { 1.0 } else { t as f32 }).collect();
            logits / Tensor::from_slice(&t).to_device(logits.device()).unsqueeze(1)
        };
        let logprobs = scaled.log_softmax(-1, Kind::Float);
        let numel = (rows * width) as usize;
        self.width = width as usize;
        self.logprobs.resize(numel, 0.0);
        self.probs.resize(numel, 0.0);
        logprobs.copy_data(&mut self.logprobs, numel);
        if temperatures.iter().any(|&t| t != 0.0) {
            logprobs.exp().copy_data(&mut self.probs, numel);
        }
    }

    /// Draws from row `row`; `None` if the row is not finite.
    pub(crate) fn draw(&self, row: usize, params: &SamplingParams, stream: &mut Stream) -> Option<Drawn> {
        let range = row * self.width..(row + 1) * self.width;
        let logprobs = &self.logprobs[range.clone()];
        if params.temperature == 0.0 {
            return greedy(logprobs);
        }
        let probs = &self.probs[range];
        let uniform = stream.uniform();
        if params.full_support() { draw_full(logprobs, probs, uniform) } else { draw_kept(probs, params, uniform) }
    }
}

/// The likeliest token, the first of equals.
fn greedy(logprobs: &[f32]) -> Option<Drawn> {
    let mut best = 0;
    for (i, l) in logprobs.iter().enumerate() {
        if *l > logprobs[best] {
            best = i;
        }
    }
    let logprob = *logprobs.get(best)?;
    logprob.is_finite().then_some(Drawn { token: best as i64, logprob, kept_mass: 1.0 })
}

/// Tokens summed at a time before looking which of them it is.
const STRIDE: usize = 256;

fn draw_full(logprobs: &[f32], probs: &[f32], uniform: f64) -> Option<Drawn> {
    let sums: Vec<f64> = probs.chunks(STRIDE).map(|chunk| f64::from(chunk.iter().sum::<f32>())).collect();
    let total: f64 = sums.iter().sum();
    // A softmax sums to 1 within rounding; anything else (NaN too) had logits that are not finite.
    if !near_one(total) {
        return None;
    }
    let target = uniform * total;
    let mut below = 0.0;
    let mut token = None;
    for (chunk, sum) in sums.iter().enumerate() {
        if below + sum <= target {
            below += sum;
            continue;
        }
        let start = chunk * STRIDE;
        let end = (start + STRIDE).min(probs.len());
        token = walk((start..end).map(|i| (i, probs[i])), target - below);
        break;
    }
    let token = token.or_else(|| probs.iter().rposition(|&p| p > 0.0))?;
    Some(Drawn { token: token as i64, logprob: logprobs[token], kept_mass: 1.0 })
}

fn near_one(total: f64) -> bool {
    (total - 1.0).abs() < 1e-2
}

/// The token where the running sum first exceeds `target`; the last with any mass if rounding lets none.
fn walk(tokens: impl Iterator<Item = (usize, f32)>, target: f64) -> Option<usize> {
    let mut sum = 0.0;
    let mut last = None;
    for (token, p) in tokens {
        sum += f64::from(p);
        if p > 0.0 {
            last = Some(token);
            if sum > target {
                break;
            }
        }
    }
    last
}

fn draw_kept(probs: &[f32], params: &SamplingParams, uniform: f64) -> Option<Drawn> {
    let total: f64 = probs.chunks(STRIDE).map(|chunk| f64::from(chunk.iter().sum::<f32>())).sum();
    if !near_one(total) {
        return None;
    }
    let mut kept = support(probs, params);
    kept.sort_unstable();
    let mass: f64 = kept.iter().map(|&i| f64::from(probs[i])).sum();
    let token = walk(kept.iter().map(|&i| (i, probs[i])), uniform * mass)?;
    let logprob = (f64::from(probs[token]) / mass).ln() as f32;
    Some(Drawn { token: token as i64, logprob, kept_mass: (mass as f32).min(1.0) })
}

/// Tokens sorted at first when looking for the likeliest ones with a given mass; eight times as many at each retry.
const FIRST_SORTED: usize = 64;

/// Ids of the tokens that top-k, then top-p (Holtzman et al. 2020), then min-p (Nguyen et al. 2024) keep: at least one.
fn support(probs: &[f32], params: &SamplingParams) -> Vec<usize> {
    let likelier = |a: &usize, b: &usize| probs[*b].total_cmp(&probs[*a]).then(a.cmp(b));
    let mut kept: Vec<usize> = (0..probs.len()).collect();
    if params.top_k > 0 && params.top_k < kept.len() {
        kept.select_nth_unstable_by(params.top_k - 1, likelier);
        kept.truncate(params.top_k);
    }
    if params.top_p < 1.0 {
        let wanted = params.top_p * kept.iter().map(|&i| f64::from(probs[i])).sum::<f64>();
        let mut sorted = FIRST_SORTED;
        loop {
            let head = sorted.min(kept.len());
            if head < kept.len() {
                kept.select_nth_unstable_by(head - 1, likelier);
            }
            kept[..head].sort_unstable_by(likelier);
            let mut mass = 0.0;
            let enough = kept[..head].iter().position(|&i| {
                mass += f64::from(probs[i]);
                mass >= wanted
            });
            if let Some(last) = enough {
                kept.truncate(last + 1);
                break;
            }
            if head == kept.len() {
                break;
            }
            sorted *= 8;
        }
    }
    if params.min_p > 0.0 {
        let most = kept.iter().map(|&i| probs[i]).fold(0.0, f32::max);
        kept.retain(|&i| f64::from(probs[i]) >= params.min_p * f64::from(most));
    }
    kept
}

#[cfg(test)]
mod tests;
