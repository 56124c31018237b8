//! Plackett-Luce: the likelihood of a ranking as a row of choices, best first, with ties in five ways.
//!
//! Invariant: only differences of scores enter. All of it is in logarithms, so no score is too large, in f32 or f64.

use tch::{Kind, Tensor};

use super::tie_level::level_nll;

/// What equal ranks mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ties {
    /// Nothing: equals are taken in the order in which they are given.
    Strict,
    /// Each of d equals is chosen from all that were left before them (Breslow 1974): d·log S_R − Σ z.
    Breslow,
    /// The l-th of d equals is chosen when l/d of them are gone (Efron 1977): Σ_l log(S_R − (l/d)·S_D) − Σ z.
    Efron,
    /// The order among equals is unknown: the sum over all strict orders that agree. Levels above
    /// [`MOST_EXACT`] answers fall back to Efron's approximation of that sum.
    Exact,
    /// A tie is a choice of its own (Turner, van Etten, Firth, Kosmidis 2020, section 2.1): the set S is chosen in
    /// proportion to delta_|S|·(Π alpha)^{1/|S|}. Sums to 1 over all weak orders.
    DavidsonLuce,
}

/// Largest tie level that [`Ties::Exact`] sums exactly: 2^12 subsets.
pub const MOST_EXACT: usize = 12;

/// −log P(ranking) as a scalar of z's kind; differentiable once by `z` (and, for [`Ties::DavidsonLuce`], `log_delta`).
///
/// Luce 1959; Plackett 1975: P = Π_i e^{z_i} / Σ_{j not better than i} e^{z_j}. `z`: `[K]` scores; `ranks`: K whole
/// numbers, smaller is better, equal is tied. The last level of an exact ranking costs nothing.
/// `log_delta`: `[D − 1]` log prevalences of ties of 2 to D for [`Ties::DavidsonLuce`] (all 0 without it); larger ties
/// have probability 0. The other kinds of ties do not look at it. K = 0 costs 0.
pub fn plackett_luce_nll(z: &Tensor, ranks: &[i64], ties: Ties, log_delta: Option<&Tensor>) -> Tensor {
    assert_eq!(z.size(), [ranks.len() as i64], "one score and one rank an answer");
    if ranks.is_empty() {
        return z.sum(z.kind());
    }
    let levels = levels(ranks);
    match ties {
        Ties::Strict => stages(z, &levels, |stage, at, _| if at < stage { f64::NEG_INFINITY } else { 0.0 }),
        Ties::Breslow => stages(z, &levels, |_, _, _| 0.0),
        Ties::Efron => stages(z, &levels, |stage, _, size| (1.0 - stage as f64 / size as f64).ln()),
        Ties::Exact => exact(z, &levels),
        Ties::DavidsonLuce => davidson_luce(z, &levels, log_delta),
    }
}

/// The answers of each rank, best rank first, in the order given.
fn levels(ranks: &[i64]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..ranks.len()).collect();
    order.sort_by_key(|&answer| ranks[answer]);
    order.chunk_by(|&a, &b| ranks[a] == ranks[b]).map(<[usize]>::to_vec).collect()
}

/// Σ over stages of log Σ_j weight·e^{z_j} − Σ z. At each stage of a level the worse levels have weight 1, the level's
/// own answers `log_weight(stage, place in the level, size of the level)`.
fn stages(z: &Tensor, levels: &[Vec<usize>], log_weight: impl Fn(usize, usize, usize) -> f64) -> Tensor {
    let count = z.size()[0] as usize;
    let mut weights = vec![f64::NEG_INFINITY; count * count];
    let mut row = weights.chunks_mut(count);
    for (place, level) in levels.iter().enumerate() {
        for stage in 0..level.len() {
            let row = row.next().expect("as many stages as answers");
            levels[place + 1..].iter().flatten().for_each(|&worse| row[worse] = 0.0);
            for (at, &own) in level.iter().enumerate() {
                row[own] = log_weight(stage, at, level.len());
            }
        }
    }
    let weights = Tensor::from_slice(&weights).view([count as i64, count as i64]);
    let weights = weights.to_kind(z.kind()).to_device(z.device());
    (z.unsqueeze(0) + weights).logsumexp([1i64].as_slice(), false).sum(z.kind()) - z.sum(z.kind())
}

/// The value and the gradient are computed as plain numbers; the tensor carries both.
fn exact(z: &Tensor, levels: &[Vec<usize>]) -> Tensor {
    let scores = z.detach().to_device(tch::Device::Cpu).to_kind(Kind::Double).contiguous();
    let scores = Vec::<f64>::try_from(scores).expect("a one-dimensional f64 tensor on the CPU");
    let (mut value, mut gradient) = (0.0, vec![0.0; scores.len()]);
    for (place, level) in levels.iter().enumerate() {
        let worse: Vec<usize> = levels[place + 1..].concat();
        if !worse.is_empty() {
            value += level_nll(&scores, level, &worse, MOST_EXACT, &mut gradient);
        }
    }
    let gradient = Tensor::from_slice(&gradient).to_kind(z.kind()).to_device(z.device());
    ((z - z.detach()) * gradient).sum(z.kind()) + value
}

/// The denominators are elementary symmetric polynomials of alpha^{1/j}, grown answer by answer from the worst level.
fn davidson_luce(z: &Tensor, levels: &[Vec<usize>], log_delta: Option<&Tensor>) -> Tensor {
    let most = log_delta.map_or(z.size()[0] as usize, |delta| delta.size()[0] as usize + 1);
    let prevalence = |size: usize| log_delta.filter(|_| size > 1).map(|delta| delta.get(size as i64 - 2));
    let with_prevalence = |log_f: Tensor, size: usize| match prevalence(size) {
        Some(log_delta) => log_f + log_delta.to_kind(z.kind()),
        None => log_f,
    };
    // polynomials[j − 1][k]: log of the k-th polynomial of alpha^{1/j} over the answers so far, k from 0.
    let mut polynomials: Vec<Vec<Tensor>> = (0..most).map(|_| vec![z.get(0).zeros_like()]).collect();
    let mut nll = z.sum(z.kind()) * 0.0;
    for level in levels.iter().rev() {
        for &answer in level {
            for (of, terms) in polynomials.iter_mut().enumerate() {
                let share = z.get(answer as i64) / (of + 1) as f64;
                let top = (terms.len() <= of + 1).then(|| &terms[terms.len() - 1] + &share);
                for k in (1..terms.len()).rev() {
                    terms[k] = terms[k].logaddexp(&(&terms[k - 1] + &share));
                }
                terms.extend(top);
            }
        }
        let size = level.len();
        if size > most {
            return nll + f64::INFINITY;
        }
        let sizes = polynomials.iter().enumerate().filter(|(of, terms)| terms.len() == of + 2);
        let choices: Vec<Tensor> =
            sizes.map(|(of, terms)| with_prevalence(terms[of + 1].shallow_clone(), of + 1)).collect();
        let places = Tensor::from_slice(&level.iter().map(|&answer| answer as i64).collect::<Vec<_>>());
        let chosen = z.index_select(0, &places.to_device(z.device())).mean(z.kind());
        nll = nll + Tensor::stack(&choices, 0).logsumexp([0i64].as_slice(), false) - with_prevalence(chosen, size);
    }
    nll
}

#[cfg(test)]
#[path = "plackett_luce_tests.rs"]
mod tests;
