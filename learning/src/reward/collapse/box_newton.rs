//! Concave maximisation over the unit box: projected Newton steps.
//!
//! Invariant: the objective never falls by more than rounding, and no reward leaves `[0, 1]`.
//!
//! Bertsekas 1982 (SIAM J. Control Optim. 20:221): coordinates at a bound whose slope points outwards are held, Newton's
//! step is taken in the others, the result is clipped to the box and the step halved until it gains enough.

use super::super::losses::utility::Utility;
use super::super::losses::weak_order::WeightedPair;

/// Steps at most; a dozen are usual.
const STEPS: usize = 500;
/// Done when no reward moves by more than this.
const STILL: f64 = 1e-15;
/// Share of the gain foreseen by the slope that a step must bring (Armijo).
const ENOUGH: f64 = 1e-4;

/// The objective's slope and its negated curvature matrix (row by row) at `r`.
fn derivatives(utility: &Utility, pairs: &[WeightedPair], r: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let n = r.len();
    let (mut slope, mut matrix) = (vec![0.0; n], vec![0.0; n * n]);
    for &WeightedPair { better, worse, weight } in pairs {
        let x = r[better] - r[worse];
        let rise = weight * utility.slope_f64(x);
        slope[better] += rise;
        slope[worse] -= rise;
        // At 0 the curvature jumps; its value to the right is the one that lets equals come to rest.
        let bend = -weight * if x == 0.0 { utility.curvature_at_zero() } else { utility.curvature_f64(x) };
        matrix[better * n + better] += bend;
        matrix[worse * n + worse] += bend;
        matrix[better * n + worse] -= bend;
        matrix[worse * n + better] -= bend;
    }
    (slope, matrix)
}

/// Σ w·U; −∞ where an ideal utility has no slope.
fn objective(utility: &Utility, pairs: &[WeightedPair], r: &[f64], ideal: bool) -> f64 {
    let of = |pair: &WeightedPair| {
        let x = r[pair.better] - r[pair.worse];
        if ideal && x <= 0.0 { f64::NEG_INFINITY } else { pair.weight * utility.value_f64(x) }
    };
    pairs.iter().map(of).sum()
}

/// The maximiser of Σ w·U(r_better − r_worse) over the unit box from `start`, at which the objective must be finite.
pub(super) fn maximise(utility: &Utility, pairs: &[WeightedPair], start: Vec<f64>) -> Vec<f64> {
    let ideal = utility.slope_f64(0.0).is_infinite();
    let mut r = start;
    let mut value = objective(utility, pairs, &r, ideal);
    for _ in 0..STEPS {
        let (slope, matrix) = derivatives(utility, pairs, &r);
        let held = |i: usize| (r[i] >= 1.0 && slope[i] >= 0.0) || (r[i] <= 0.0 && slope[i] <= 0.0);
        let free: Vec<usize> = (0..r.len()).filter(|&i| !held(i)).collect();
        let direction = newton_direction(&slope, &matrix, &free, r.len());
        let Some((next, next_value)) =
            search(&r, value, &slope, &free, &direction, |r| objective(utility, pairs, r, ideal))
        else {
            break;
        };
        let moved = r.iter().zip(&next).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        (r, value) = (next, next_value);
        if moved <= STILL {
            break;
        }
    }
    r
}

/// Halves the step until it gains enough; `None` when none does.
fn search(
    r: &[f64],
    value: f64,
    slope: &[f64],
    free: &[usize],
    direction: &[f64],
    objective: impl Fn(&[f64]) -> f64,
) -> Option<(Vec<f64>, f64)> {
    let rounding = 4.0 * f64::EPSILON * value.abs();
    let mut length = 1.0;
    for _ in 0..60 {
        let mut next = r.to_vec();
        free.iter().zip(direction).for_each(|(&i, step)| next[i] = (r[i] + length * step).clamp(0.0, 1.0));
        let foreseen: f64 = free.iter().map(|&i| slope[i] * (next[i] - r[i])).sum();
        let next_value = objective(&next);
        if next_value >= value + ENOUGH * foreseen - rounding {
            return Some((next, next_value));
        }
        length *= 0.5;
    }
    None
}

/// Newton's direction for the free coordinates, the matrix made safely definite.
fn newton_direction(slope: &[f64], matrix: &[f64], free: &[usize], n: usize) -> Vec<f64> {
    let size = free.len();
    let steepest = free.iter().map(|&i| slope[i].abs()).fold(0.0, f64::max);
    let most = free.iter().map(|&i| matrix[i * n + i]).fold(0.0, f64::max);
    let ridge = 1e-12 * most + 1e-12 * steepest + f64::MIN_POSITIVE;
    let entry = |a: usize, b: usize| matrix[free[a] * n + free[b]] + if a == b { ridge } else { 0.0 };
    // Cholesky, row by row.
    let mut lower = vec![0.0; size * size];
    for a in 0..size {
        for b in 0..=a {
            let dot: f64 = (0..b).map(|k| lower[a * size + k] * lower[b * size + k]).sum();
            let rest = entry(a, b) - dot;
            lower[a * size + b] = if a == b { rest.max(ridge).sqrt() } else { rest / lower[b * size + b] };
        }
    }
    let mut x: Vec<f64> = free.iter().map(|&i| slope[i]).collect();
    for a in 0..size {
        let dot: f64 = (0..a).map(|k| lower[a * size + k] * x[k]).sum();
        x[a] = (x[a] - dot) / lower[a * size + a];
    }
    for a in (0..size).rev() {
        let dot: f64 = (a + 1..size).map(|k| lower[k * size + a] * x[k]).sum();
        x[a] = (x[a] - dot) / lower[a * size + a];
    }
    x
}
