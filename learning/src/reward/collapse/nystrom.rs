//! The limit law of a utility with a finite slope at 0, by collocation.
//!
//! Invariant: a density is a Chebyshev series on `[0, 1]`; the kernel's kink on the diagonal is never integrated across.
//!
//! The law has an atom a at either end and a density p = a·q between; its potential ∫ U(|x − y|) dμ(y) is constant, so
//! its second derivative is 0: 2U′(0)·q(x) + ∫ U″(|x − y|)·q(y) dy = −U″(x) − U″(1 − x), an equation of the second kind.
//! q is as smooth as U″ right of 0, so a series in T_k collocated at Chebyshev points converges geometrically.

use super::super::losses::utility::Utility;
use crate::error::LearningError;

/// Terms of a series at most: enough for 1e-7 down to a shift of about 0.001.
const MOST_TERMS: usize = 320;

/// Σ c_k T_k(2x − 1).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series(Vec<f64>);

impl Series {
    /// The value at x in `[0, 1]` (Clenshaw 1955).
    pub(super) fn at(&self, x: f64) -> f64 {
        let z = 2.0 * x - 1.0;
        let (mut next, mut after) = (0.0, 0.0);
        for &c in self.0.iter().skip(1).rev() {
            (next, after) = (c + 2.0 * z * next - after, next);
        }
        self.0[0] + z * next - after
    }

    /// The series of ∫_0^x.
    pub(super) fn integral(&self) -> Self {
        let c = |k: usize| self.0.get(k).copied().unwrap_or(0.0);
        // ∫ T_k dz = T_{k+1} / 2(k+1) − T_{k−1} / 2(k−1); dx = dz / 2.
        let of = |k: usize| (if k == 1 { 2.0 * c(0) } else { c(k - 1) } - c(k + 1)) / (4.0 * k as f64);
        let mut coefficients: Vec<f64> = (0..=self.0.len()).map(|k| if k == 0 { 0.0 } else { of(k) }).collect();
        // T_k(−1) = (−1)^k: the constant makes the integral 0 at x = 0.
        coefficients[0] = coefficients.iter().enumerate().map(|(k, c)| if k % 2 == 0 { -c } else { *c }).sum();
        Self(coefficients)
    }

    fn scaled(mut self, factor: f64) -> Self {
        self.0.iter_mut().for_each(|c| *c *= factor);
        self
    }
}

/// What the equation gives.
pub(super) struct Solved {
    /// Mass at 0, and at 1.
    pub(super) atom: f64,
    /// The density between.
    pub(super) density: Series,
    /// Σ of its second and fourth central moments, without the atoms.
    pub(super) moments: [f64; 2],
}

/// Points and weights of Gauss and Legendre's rule on `[0, 1]`, by Newton's method on P_n from the usual cosine start.
fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    let point = |i: usize| {
        let mut z = (std::f64::consts::PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
        let mut slope = 0.0;
        for _ in 0..100 {
            let (mut before, mut value) = (1.0, z);
            for k in 2..=n {
                let k = k as f64;
                (before, value) = (value, ((2.0 * k - 1.0) * z * value - (k - 1.0) * before) / k);
            }
            slope = n as f64 * (z * value - before) / (z * z - 1.0);
            let step = value / slope;
            z -= step;
            if step.abs() < 1e-15 {
                break;
            }
        }
        (0.5 * (1.0 + z), 1.0 / ((1.0 - z * z) * slope * slope))
    };
    (0..n).map(point).collect()
}

/// Terms that bring the series to about 1e-13, from the nearest singularity of U″.
fn terms(utility: &Utility) -> usize {
    // The Bernstein ellipse through it (Trefethen 2013, theorem 8.2); coefficients fall like rho^-k.
    let rho = match *utility {
        Utility::Log { eps: Some(eps) } | Utility::Inv { eps: Some(eps), .. } => {
            let z = 1.0 + 2.0 * eps;
            z + (z * z - 1.0).sqrt()
        }
        Utility::LogSigmoid { c } => {
            let height = std::f64::consts::TAU / c;
            height + (1.0 + height * height).sqrt()
        }
        _ => 1e3,
    };
    let wanted = (30.0 / rho.ln()).ceil();
    // Even, for the symmetric half below.
    if wanted < MOST_TERMS as f64 { (wanted as usize + 9) / 2 * 2 } else { MOST_TERMS }
}

/// Solves the equation for a utility whose slope at 0 is finite.
pub(super) fn solve(utility: &Utility) -> Result<Solved, LearningError> {
    let count = terms(utility);
    let size = count / 2;
    let rule = gauss_legendre(count);
    let slope = utility.slope_f64(0.0);
    let bend = |x: f64| if x == 0.0 { utility.curvature_at_zero() } else { utility.curvature_f64(x) };
    // The law is symmetric: even terms only, collocated in the upper half. One row a point, the right side last.
    let mut rows: Vec<Vec<f64>> = (0..size)
        .map(|i| {
            let z = (std::f64::consts::PI * (i as f64 + 0.5) / count as f64).cos();
            let x = 0.5 * (1.0 + z);
            let mut row = vec![0.0; size + 1];
            add_even_terms(&mut row, z, 2.0 * slope);
            for &(u, w) in &rule {
                // The kernel bends sharply at y = x: each side has a rule of its own.
                add_even_terms(&mut row, 2.0 * (x * u) - 1.0, w * x * bend(x - x * u));
                let y = x + (1.0 - x) * u;
                add_even_terms(&mut row, 2.0 * y - 1.0, w * (1.0 - x) * bend(y - x));
            }
            row[size] = -bend(x) - bend(1.0 - x);
            row
        })
        .collect();
    let even = solve_linear(&mut rows);
    let mut coefficients = vec![0.0; count - 1];
    even.iter().enumerate().for_each(|(k, &c)| coefficients[2 * k] = c);
    let shape = Series(coefficients);
    let atom = 1.0 / (2.0 + shape.integral().at(1.0));
    if !(atom > 0.0 && atom <= 0.5 + 1e-9) {
        let problem = "has no limit law that this solver finds; a larger shift eps or a smaller steepness c has";
        return Err(LearningError::input(format!("the utility {utility:?}"), problem));
    }
    let density = shape.scaled(atom);
    let moment = |power: i32| rule.iter().map(|&(u, w)| w * (u - 0.5).powi(power) * density.at(u)).sum();
    Ok(Solved { atom, moments: [moment(2), moment(4)], density })
}

/// Adds `factor`·T_2k(z) to entry k, all but the last entry.
fn add_even_terms(row: &mut [f64], z: f64, factor: f64) {
    // T_2k(z) = T_k(2z² − 1).
    let double = 2.0 * z * z - 1.0;
    let (mut now, mut next) = (factor, factor * double);
    let last = row.len() - 1;
    for entry in &mut row[..last] {
        *entry += now;
        (now, next) = (next, 2.0 * double * next - now);
    }
}

/// Gaussian elimination with row exchange; each row ends with its right side.
fn solve_linear(rows: &mut [Vec<f64>]) -> Vec<f64> {
    let n = rows.len();
    for k in 0..n {
        let pivot = (k..n).max_by(|&a, &b| rows[a][k].abs().total_cmp(&rows[b][k].abs())).unwrap_or(k);
        rows.swap(k, pivot);
        let (above, below) = rows.split_at_mut(k + 1);
        let top = &above[k];
        for row in below {
            let factor = row[k] / top[k];
            row[k..].iter_mut().zip(&top[k..]).for_each(|(entry, pivot)| *entry -= factor * pivot);
        }
    }
    let mut x = vec![0.0; n];
    for k in (0..n).rev() {
        let known: f64 = (k + 1..n).map(|j| rows[k][j] * x[j]).sum();
        x[k] = (rows[k][n] - known) / rows[k][k];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dial_is_solved_to_its_closed_form() {
        // (δ0 + δ1 + λ Leb) / (2 + λ); REWARD section 2.
        let solved = solve(&Utility::Exp { lambda: 6.0 }).expect("solvable");
        assert!((solved.atom - 0.125).abs() < 1e-13);
        for x in [0.0, 0.1, 0.5, 1.0] {
            assert!((solved.density.at(x) - 0.75).abs() < 1e-11, "{x}: {}", solved.density.at(x));
        }
        assert!((solved.moments[0] - 0.75 / 12.0).abs() < 1e-12);
    }

    #[test]
    fn series_integrate_as_polynomials_do() {
        // z + T_2 = z + 2z² − 1 with z = 2x − 1: ∫_0^1 = 0 + 2/3 − 1.
        let series = Series(vec![0.0, 1.0, 1.0]);
        assert!((series.at(0.75) - 0.0).abs() < 1e-15);
        assert!((series.integral().at(1.0) + 1.0 / 3.0).abs() < 1e-15);
        assert!(series.integral().at(0.0).abs() < 1e-15);
    }

    #[test]
    fn gauss_and_legendre_are_exact_for_polynomials() {
        let rule = gauss_legendre(5);
        let ninth: f64 = rule.iter().map(|(u, w)| w * u.powi(9)).sum();
        assert!((ninth - 0.1).abs() < 1e-15);
    }
}
