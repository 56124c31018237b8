//! The regularised incomplete beta function.
//!
//! Invariant: no table and no state; the formulas are those of the NIST Digital Library of Mathematical Functions.

/// ln Γ(x) for x > 0: Stirling's series (DLMF 5.11.1) after moving x above 10 by Γ(x + 1) = x·Γ(x).
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut product) = (x, 1.0);
    while x < 10.0 {
        product *= x;
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    // B_2k / (2k (2k - 1)) for k = 1..7.
    let terms = [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360_360.0, 1.0 / 156.0];
    let series = terms.iter().rev().fold(0.0, |sum, term| sum * inverse + term) / x;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - product.ln()
}

/// I_x(a, b) for a, b > 0, clamped to x in `[0, 1]`: the continued fraction DLMF 8.17.22, evaluated by Lentz's method
/// (Thompson and Barnett 1986), on the side where it converges fast.
pub(super) fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp() / a;
    // 1 / (1 + d_1 / (1 + d_2 / ...)).
    let (mut fraction, mut c, mut d) = (1.0, f64::INFINITY, 1.0);
    for step in 1..300 {
        let m = f64::from(step / 2);
        let term = if step % 2 == 0 {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        d = 1.0 / away_from_zero(1.0 + term * d);
        c = away_from_zero(1.0 + term / c);
        fraction *= c * d;
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    front * fraction
}

fn away_from_zero(x: f64) -> f64 {
    if x.abs() < 1e-300 { 1e-300 } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_by_hand() {
        // Γ(1/2) = sqrt(pi), Γ(5) = 24.
        assert!((ln_gamma(0.5) - 0.5 * std::f64::consts::PI.ln()).abs() < 1e-14);
        assert!((ln_gamma(5.0) - 24f64.ln()).abs() < 1e-14);
        // The arcsine law: I_x(1/2, 1/2) = 2/pi arcsin sqrt x; I_x(1, 3) = 1 - (1 - x)^3; I_x(2, 1) = x^2.
        for x in [1e-6, 0.01, 0.2, 0.5, 0.77, 0.999] {
            let arcsine = 2.0 / std::f64::consts::PI * f64::sqrt(x).asin();
            assert!((incomplete_beta(0.5, 0.5, x) - arcsine).abs() < 1e-14, "{x}");
            assert!((incomplete_beta(1.0, 3.0, x) - (1.0 - (1.0 - x).powi(3))).abs() < 1e-14, "{x}");
            assert!((incomplete_beta(2.0, 1.0, x) - x * x).abs() < 1e-14, "{x}");
        }
    }
}
