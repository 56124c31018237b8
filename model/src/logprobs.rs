//! Log-probabilities and entropies of given tokens, chunk by chunk.
//!
//! Invariant: the logits of at most `chunk` positions are alive at a time, forward and backward.

use std::ops::Range;

use tch::{Kind, Tensor};

use crate::branch::Branch;

/// Of each position's given token.
#[derive(Debug)]
pub struct TokenLogprobs {
    /// `[N]` log-probability of the token.
    pub logprobs: Tensor,
    /// `[N]` entropy of the whole distribution, in nats.
    pub entropy: Tensor,
}

/// Scores `targets` `[N]` under the states `hidden` `[N, D]` (after the final norm) at `temperature`, without gradients.
pub fn token_logprobs(
    branch: &Branch,
    hidden: &Tensor,
    targets: &Tensor,
    temperature: f64,
    chunk: usize,
) -> TokenLogprobs {
    let _guard = tch::no_grad_guard();
    let mut logprobs = Vec::new();
    let mut entropy = Vec::new();
    for range in chunks(hidden.size()[0], chunk) {
        let length = range.end - range.start;
        let (l, e) =
            score(branch, &hidden.narrow(0, range.start, length), &targets.narrow(0, range.start, length), temperature);
        logprobs.push(l);
        entropy.push(e);
    }
    if logprobs.is_empty() {
        let empty = || Tensor::zeros([0], (Kind::Float, hidden.device()));
        return TokenLogprobs { logprobs: empty(), entropy: empty() };
    }
    TokenLogprobs { logprobs: Tensor::cat(&logprobs, 0), entropy: Tensor::cat(&entropy, 0) }
}

/// The gradient `[N, D]` of the summed chunk losses by `hidden` `[N, D]`; the caller goes on with `hidden.backward`
/// (see [`backward_from`]).
///
/// `loss` gets a chunk's range with the log-probabilities and entropies of its tokens and gives a scalar; the total loss
/// is the sum over chunks, so `loss` must already divide by whatever the total is normalised with. The head is not
/// trained and gets no gradient.
pub fn backward_through_head(
    branch: &Branch,
    hidden: &Tensor,
    targets: &Tensor,
    temperature: f64,
    chunk: usize,
    loss: &mut dyn FnMut(Range<i64>, &Tensor, &Tensor) -> Tensor,
) -> Tensor {
    let mut gradients = Vec::new();
    for range in chunks(hidden.size()[0], chunk) {
        let length = range.end - range.start;
        let leaf = hidden.narrow(0, range.start, length).detach().set_requires_grad(true);
        let targets = targets.narrow(0, range.start, length);
        let gradient = tch::with_grad(|| {
            let (logprobs, entropy) = score(branch, &leaf, &targets, temperature);
            let loss = loss(range, &logprobs, &entropy);
            if !loss.requires_grad() {
                return leaf.zeros_like();
            }
            let mut gradients = Tensor::run_backward(&[loss], &[&leaf], false, false);
            gradients.pop().expect("one gradient for one input")
        });
        gradients.push(gradient);
    }
    if gradients.is_empty() {
        return hidden.detach().zeros_like();
    }
    Tensor::cat(&gradients, 0)
}

/// Carries `gradient` (of some loss by `states`) on into every parameter that `states` came from.
pub fn backward_from(states: &Tensor, gradient: &Tensor) {
    tch::with_grad(|| (states * gradient.detach()).sum(Kind::Float).backward());
}

/// `log p(a) = l_a - lse(l)` and `H = lse(l) - sum p l`, on logits `l` divided by the temperature.
fn score(branch: &Branch, hidden: &Tensor, targets: &Tensor, temperature: f64) -> (Tensor, Tensor) {
    let logits = branch.logits(hidden);
    let logits = if temperature == 1.0 { logits } else { logits / temperature };
    let all = logits.log_softmax(-1, Kind::Float);
    let taken = all.gather(-1, &targets.unsqueeze(-1), false).squeeze_dim(-1);
    let entropy = -(all.exp() * &all).sum_dim_intlist([-1i64].as_slice(), false, Kind::Float);
    (taken, entropy)
}

fn chunks(total: i64, chunk: usize) -> impl Iterator<Item = Range<i64>> {
    let chunk = chunk.max(1);
    (0..total).step_by(chunk).map(move |start| start..(start + chunk as i64).min(total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::reference::max_difference;
    use crate::testing::tiny_model;
    use crate::trunk::trunk_states;

    #[test]
    fn chunks_do_not_change_the_numbers_and_temperature_divides_the_logits() {
        let tiny = tiny_model(11);
        let hidden = tiny.branch.hidden(&trunk_states(&tiny.trunk, &[(0..9).collect()])).get(0);
        let targets = Tensor::from_slice(&[4i64, 250, 3, 77, 0, 258, 9, 9, 1]);
        let whole = token_logprobs(&tiny.branch, &hidden, &targets, 0.7, 100);
        let pieces = token_logprobs(&tiny.branch, &hidden, &targets, 0.7, 2);
        assert!(max_difference(&whole.logprobs, &pieces.logprobs) < 1e-5);
        assert!(max_difference(&whole.entropy, &pieces.entropy) < 1e-5);
        let logits = (tiny.branch.logits(&hidden) / 0.7).to_kind(Kind::Double);
        let direct = logits.gather(-1, &targets.unsqueeze(-1), false).squeeze_dim(-1)
            - logits.logsumexp([-1i64].as_slice(), false);
        assert!(max_difference(&whole.logprobs.to_kind(Kind::Double), &direct) < 1e-5);
    }

    #[test]
    fn the_chunked_gradient_equals_autograd_through_all_logits() {
        let tiny = tiny_model(12);
        tiny.branch.set_trainable(true);
        let states = trunk_states(&tiny.trunk, &[(20..31).collect()]);
        let targets = Tensor::from_slice(&[4i64, 250, 3, 77, 0, 258, 9, 9, 1, 5, 6]);
        let weights = Tensor::arange(11, (Kind::Float, tch::Device::Cpu)) / 10.0 - 0.4;
        let loss = |from: i64, l: &Tensor, e: &Tensor| {
            (l.exp() * weights.narrow(0, from, l.size()[0])).sum(Kind::Float) + e.sum(Kind::Float) * 0.01
        };
        let gradients = || -> Vec<Tensor> {
            tiny.branch
                .parameters()
                .iter_mut()
                .map(|(_, p)| {
                    let g = p.grad().copy();
                    p.zero_grad();
                    g
                })
                .collect()
        };
        let hidden = tiny.branch.hidden(&states).get(0);
        let (l, e) = score(&tiny.branch, &hidden, &targets, 0.8);
        loss(0, &l, &e).backward();
        let direct = gradients();
        let hidden = tiny.branch.hidden(&states).get(0);
        let gradient = backward_through_head(&tiny.branch, &hidden, &targets, 0.8, 3, &mut |range, l, e| {
            assert!(range.end - range.start <= 3);
            loss(range.start, l, e)
        });
        backward_from(&hidden, &gradient);
        for (a, b) in direct.iter().zip(gradients()) {
            assert!(max_difference(a, &b) < 1e-5, "{}", max_difference(a, &b));
        }
    }
}
