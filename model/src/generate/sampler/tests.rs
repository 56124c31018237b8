//! What a draw keeps, tells and is distributed like.

use super::*;
use crate::rng::Purpose;

fn params(temperature: f64, top_k: usize, top_p: f64, min_p: f64) -> SamplingParams {
    SamplingParams { temperature, top_k, top_p, min_p, ..SamplingParams::default() }
}

/// Random logits of a few peaked tokens among many.
fn logits(width: usize, index: u64) -> Tensor {
    let mut stream = Stream::new(31, Purpose::Init, index);
    let values: Vec<f32> = (0..width).map(|_| (2.5 * stream.normal()) as f32).collect();
    Tensor::from_slice(&values).unsqueeze(0)
}

/// Softmax in f64, token by token.
fn softmax(logits: &Tensor, temperature: f64) -> Vec<f64> {
    let p = (logits.to_kind(Kind::Double) / temperature).softmax(-1, Kind::Double).get(0);
    (0..p.size()[0]).map(|i| p.double_value(&[i])).collect()
}

/// Kept tokens by the definitions, with full sorts.
fn brute_force(p: &[f64], params: &SamplingParams) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*b].total_cmp(&p[*a]));
    if params.top_k > 0 {
        order.truncate(params.top_k);
    }
    let mass: f64 = order.iter().map(|&i| p[i]).sum();
    let mut kept = Vec::new();
    let mut sum = 0.0;
    for &i in &order {
        kept.push(i);
        sum += p[i];
        if params.top_p < 1.0 && sum >= params.top_p * mass {
            break;
        }
    }
    kept.retain(|&i| p[i] >= params.min_p * p[order[0]]);
    kept.sort_unstable();
    kept
}

#[test]
fn kept_mass_and_logprob_equal_a_brute_force_computation() {
    let cases = [
        params(0.7, 0, 0.9, 0.0),
        params(1.0, 0, 0.999, 0.0),
        params(1.3, 20, 1.0, 0.0),
        params(1.0, 50, 0.8, 0.0),
        params(1.0, 0, 1.0, 0.05),
        params(0.9, 100, 0.95, 0.02),
        params(1.0, 1, 1.0, 0.0),
        params(1.0, 0, 1e-9, 0.0),
    ];
    for (index, params) in cases.iter().enumerate() {
        let logits = logits(3000, index as u64);
        let p = softmax(&logits, params.temperature);
        let kept = brute_force(&p, params);
        let mass: f64 = kept.iter().map(|&i| p[i]).sum();
        let mut distributions = Distributions::default();
        distributions.compute(&logits, &[params.temperature]);
        let mut stream = Stream::new(5, Purpose::Sampling, index as u64);
        for _ in 0..50 {
            let drawn = distributions.draw(0, params, &mut stream).unwrap();
            assert!(kept.contains(&(drawn.token as usize)), "{params:?}");
            assert!((f64::from(drawn.kept_mass) - mass).abs() < 1e-5, "{params:?}: {} {mass}", drawn.kept_mass);
            let logprob = (p[drawn.token as usize] / mass).ln();
            assert!((f64::from(drawn.logprob) - logprob).abs() < 2e-5, "{params:?}: {} {logprob}", drawn.logprob);
        }
    }
}

#[test]
fn replayed_top_p_samples_have_mean_ratio_one_only_when_renormalised() {
    let params = params(1.0, 0, 0.9, 0.0);
    let logits = logits(500, 77);
    let p = softmax(&logits, 1.0);
    let mut distributions = Distributions::default();
    distributions.compute(&logits, &[1.0]);
    let mut stream = Stream::new(6, Purpose::Sampling, 0);
    let (n, mut right, mut wrong, mut mass) = (2000, 0.0, 0.0, 0.0);
    for _ in 0..n {
        let drawn = distributions.draw(0, &params, &mut stream).unwrap();
        let full = p[drawn.token as usize];
        let behaved = f64::from(drawn.logprob).exp();
        right += full / f64::from(drawn.kept_mass) / behaved / f64::from(n);
        wrong += full / behaved / f64::from(n);
        mass += f64::from(drawn.kept_mass) / f64::from(n);
    }
    // f32 log-probabilities: each ratio is exact to 1e-6.
    assert!((right - 1.0).abs() < 1e-5, "{right}");
    assert!((wrong - mass).abs() < 1e-5 && mass < 0.95, "{wrong} {mass}");
}

#[test]
fn draws_follow_the_distribution() {
    let logits = logits(700, 3);
    let p = softmax(&logits, 0.8);
    let mut distributions = Distributions::default();
    distributions.compute(&logits, &[0.8]);
    let params = params(0.8, 0, 1.0, 0.0);
    let mut stream = Stream::new(9, Purpose::Sampling, 0);
    let n = 20_000;
    let mut counts = vec![0.0; p.len()];
    for _ in 0..n {
        counts[distributions.draw(0, &params, &mut stream).unwrap().token as usize] += 1.0;
    }
    // Chi-square over cells of at least 10 expected; mean is the degrees of freedom, deviation sqrt(2 dof): five of them.
    let cells: Vec<usize> = (0..p.len()).filter(|&i| p[i] * f64::from(n) >= 10.0).collect();
    let chi: f64 = cells.iter().map(|&i| (counts[i] - p[i] * f64::from(n)).powi(2) / (p[i] * f64::from(n))).sum();
    let dof = cells.len() as f64;
    assert!(dof > 50.0 && (chi - dof).abs() < 5.0 * (2.0 * dof).sqrt(), "{chi} for {dof}");
}

#[test]
fn greedy_takes_the_first_likeliest_without_touching_the_stream() {
    let logits = Tensor::from_slice(&[0f32, 3.0, 3.0, 1.0]).unsqueeze(0);
    let mut distributions = Distributions::default();
    distributions.compute(&logits, &[0.0]);
    let mut stream = Stream::new(1, Purpose::Sampling, 0);
    let drawn = distributions.draw(0, &params(0.0, 0, 1.0, 0.0), &mut stream).unwrap();
    assert_eq!((drawn.token, stream.position()), (1, 0));
    assert!((f64::from(drawn.logprob) - softmax(&logits, 1.0)[1].ln()).abs() < 1e-6);
}

#[test]
fn rows_that_are_not_finite_give_nothing() {
    for bad in [f32::NAN, f32::INFINITY] {
        let logits = Tensor::from_slice(&[0f32, bad, 1.0]).unsqueeze(0);
        for params in [params(0.0, 0, 1.0, 0.0), params(1.0, 0, 1.0, 0.0), params(1.0, 0, 0.5, 0.0)] {
            let mut distributions = Distributions::default();
            distributions.compute(&logits, &[params.temperature]);
            assert_eq!(distributions.draw(0, &params, &mut Stream::new(1, Purpose::Sampling, 0)), None);
        }
    }
}
