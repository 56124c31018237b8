//! The law that the rewards of one prompt follow as the number of answers grows.
//!
//! Invariant: every law is symmetric about 1/2 and lives on `[0, 1]`; its distribution function is right-continuous.

use super::super::losses::utility::Utility;
use super::beta::incomplete_beta;
use super::nystrom::{Series, solve};
use crate::error::LearningError;

/// The limit law of a utility: the maximiser of E U(|X − X′|) over laws on `[0, 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Law {
    /// Mass at 0, and as much at 1.
    pub atom_each_end: f64,
    /// E (X − 1/2)²; the mean is 1/2.
    pub variance: f64,
    /// E (X − 1/2)⁴.
    pub central_moment4: f64,
    /// variance / (mean·(1 − mean)) = 4·variance: 1 for two points, 1/3 for the uniform law.
    pub rho: f64,
    form: Form,
}

#[derive(Debug, Clone, PartialEq)]
enum Form {
    /// The rest of the mass is uniform between the atoms.
    Flat,
    /// Beta(a, a).
    Beta(f64),
    /// A solved density: ∫_0^x of it, and ∫_0^x of that.
    Solved { mass: Series, area: Series },
}

/// The limit law of `utility`.
///
/// x: two points. x^γ: Beta((1 − γ)/2). log x: Beta(1/2), the arcsine law. −x^−s: Beta((1 + s)/2) for s < 1 and uniform
/// for s ≥ 1 (Martínez-Finkelshtein, Maymeskul, Rakhmanov, Saff 2004). The dial: (δ₀ + δ₁ + λ·uniform)/(2 + λ). Utilities
/// with a shift and log-sigmoid: solved numerically, to about 1e-12 for shifts from 0.03. An error where the parameters
/// are not those of an increasing, concave utility.
pub fn law(utility: &Utility) -> Result<Law, LearningError> {
    let positive = |name: &'static str, value: f64| {
        let sound = value > 0.0 && value.is_finite();
        let problem =
            || LearningError::input(format!("{name} of a utility"), format!("is {value}; it must be above 0"));
        if sound { Ok(value) } else { Err(problem()) }
    };
    match *utility {
        Utility::X => Ok(flat(0.5)),
        Utility::Exp { lambda } => Ok(flat(1.0 / (2.0 + positive("lambda", lambda)?))),
        Utility::Pow { gamma } if gamma > 0.0 && gamma < 1.0 => Ok(beta((1.0 - gamma) / 2.0)),
        Utility::Pow { gamma } => {
            Err(LearningError::input("gamma of a utility", format!("is {gamma}; it must lie between 0 and 1")))
        }
        Utility::Log { eps: None } => Ok(beta(0.5)),
        Utility::Inv { s, eps: None } if positive("s", s)? < 1.0 => Ok(beta((1.0 + s) / 2.0)),
        Utility::Inv { eps: None, .. } => Ok(flat(0.0)),
        Utility::Log { eps: Some(eps) } => positive("eps", eps).and_then(|_| solved(utility)),
        Utility::Inv { s, eps: Some(eps) } => {
            positive("s", s)?;
            positive("eps", eps).and_then(|_| solved(utility))
        }
        Utility::LogSigmoid { c } => positive("c", c).and_then(|_| solved(utility)),
    }
}

fn with_moments(atom: f64, variance: f64, central_moment4: f64, form: Form) -> Law {
    Law { atom_each_end: atom, variance, central_moment4, rho: 4.0 * variance, form }
}

fn flat(atom: f64) -> Law {
    let rest = 1.0 - 2.0 * atom;
    with_moments(atom, atom / 2.0 + rest / 12.0, atom / 8.0 + rest / 80.0, Form::Flat)
}

fn beta(a: f64) -> Law {
    let variance = 1.0 / (4.0 * (2.0 * a + 1.0));
    with_moments(0.0, variance, 3.0 / (16.0 * (2.0 * a + 1.0) * (2.0 * a + 3.0)), Form::Beta(a))
}

fn solved(utility: &Utility) -> Result<Law, LearningError> {
    let found = solve(utility)?;
    let (atom, [second, fourth]) = (found.atom, found.moments);
    let mass = found.density.integral();
    let form = Form::Solved { area: mass.integral(), mass };
    Ok(with_moments(atom, atom / 2.0 + second, atom / 8.0 + fourth, form))
}

impl Law {
    /// P(X ≤ x).
    pub fn cdf(&self, x: f64) -> f64 {
        if x < 0.0 {
            return 0.0;
        }
        if x >= 1.0 {
            return 1.0;
        }
        self.atom_each_end
            + match &self.form {
                Form::Flat => (1.0 - 2.0 * self.atom_each_end) * x,
                Form::Beta(a) => incomplete_beta(*a, *a, x),
                Form::Solved { mass, .. } => mass.at(x),
            }
    }

    /// The least x with P(X ≤ x) ≥ q, for q in `[0, 1]`.
    pub fn quantile(&self, q: f64) -> f64 {
        if q <= self.atom_each_end {
            return 0.0;
        }
        if q > 1.0 - self.atom_each_end || q >= 1.0 {
            return 1.0;
        }
        if let Form::Flat = self.form {
            return (q - self.atom_each_end) / (1.0 - 2.0 * self.atom_each_end);
        }
        if q > 0.5 {
            // Near 1 the numbers are coarser than near 0.
            return 1.0 - self.quantile(1.0 - q);
        }
        let (mut low, mut high) = (0.0, 0.5);
        for _ in 0..90 {
            let middle = 0.5 * (low + high);
            if self.cdf(middle) < q { low = middle } else { high = middle }
        }
        high
    }

    /// ∫_{−∞}^x P(X ≤ t) dt.
    fn area(&self, x: f64) -> f64 {
        if x <= 0.0 {
            return 0.0;
        }
        // The mean is 1/2, so the area up to 1 is 1/2.
        if x >= 1.0 {
            return 0.5 + (x - 1.0);
        }
        self.atom_each_end * x
            + match &self.form {
                Form::Flat => (0.5 - self.atom_each_end) * x * x,
                // By parts: x·F(x) − E[X; X ≤ x], and x times the density of Beta(a, a) is half that of Beta(a + 1, a).
                Form::Beta(a) => x * incomplete_beta(*a, *a, x) - 0.5 * incomplete_beta(a + 1.0, *a, x),
                Form::Solved { area, .. } => area.at(x),
            }
    }
}

/// W1 between the empirical law of `samples` and `law`: ∫ |F_n(x) − F(x)| dx, piece by piece in closed form. Not empty,
/// or the result means nothing.
pub fn w1_to_law(samples: &[f64], law: &Law) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(&first), Some(&last)) = (sorted.first(), sorted.last()) else { return 0.0 };
    let (start, end) = (first.min(0.0), last.max(1.0));
    let n = sorted.len();
    let piece = |i: usize| {
        let level = i as f64 / n as f64;
        let from = if i == 0 { start } else { sorted[i - 1] };
        let to = if i == n { end } else { sorted[i] };
        let crossing = law.quantile(level).clamp(from, to);
        let under = level * (crossing - from) - (law.area(crossing) - law.area(from));
        let over = law.area(to) - law.area(crossing) - level * (to - crossing);
        under + over
    };
    (0..=n).map(piece).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_to_a_law_by_hand() {
        // Two points at 0 and 1 against the uniform law: ∫ |1/2 − x| = 1/4; one at 1/2: 2 ∫_0^{1/2} x = 1/4.
        let uniform = law(&Utility::Inv { s: 1.0, eps: None }).expect("known");
        assert!((w1_to_law(&[1.0, 0.0], &uniform) - 0.25).abs() < 1e-15);
        assert!((w1_to_law(&[0.5], &uniform) - 0.25).abs() < 1e-15);
        assert!((w1_to_law(&[2.0], &uniform) - 1.5).abs() < 1e-15, "outside the unit interval");
    }

    #[test]
    fn many_answers_end_near_the_law_of_every_kind() {
        let kinds = [
            Utility::X,
            Utility::Exp { lambda: 2.0 },
            Utility::Pow { gamma: 0.5 },
            Utility::Log { eps: None },
            Utility::Inv { s: 0.5, eps: None },
            Utility::Log { eps: Some(0.1) },
            Utility::LogSigmoid { c: 4.0 },
        ];
        for kind in kinds {
            let rewards = super::super::optimum(&kind, 64).expect("sound").rewards;
            let distance = w1_to_law(&rewards, &law(&kind).expect("known"));
            // About 1/(4n) = 0.0039, 0 for two points, 0.0071 for the slow -x^-1/2; two laws differ by 0.03 and more.
            assert!(distance < 0.01, "{kind:?}: {distance}");
        }
    }

    #[test]
    fn quantiles_undo_the_distribution_function() {
        for kind in [Utility::Pow { gamma: 0.25 }, Utility::LogSigmoid { c: 4.0 }, Utility::Exp { lambda: 6.0 }] {
            let law = law(&kind).expect("known");
            for x in [0.1, 0.4, 0.5, 0.8] {
                assert!((law.quantile(law.cdf(x)) - x).abs() < 1e-12, "{kind:?} {x}");
            }
            assert_eq!((law.quantile(0.0), law.quantile(1.0), law.cdf(1.0)), (0.0, 1.0, 1.0));
        }
        assert!(law(&Utility::Pow { gamma: 1.5 }).is_err());
        assert!(law(&Utility::Log { eps: Some(0.0) }).is_err());
    }
}
