//! How likely a question's ratings are, for each share p of "two levels" against "evenly spread".
//!
//! Invariant: always finite; what fits nothing is floored, so that one odd rating cannot rule a p out for ever.

/// Values of p, of the levels a < b and of both ends: 0, 0.05 … 1.
pub const POINTS: usize = 21;
const STEP: f64 = 0.05;
/// b − a is at least this many steps (0.25).
const LEAST_GAP: usize = 5;
/// Shares of the better level: 0.1 … 0.9.
const SHARES: usize = 9;
/// Prior and likelihood are kept away from p = 0 and 1 by this.
const PRIOR_CLIP: f64 = 0.01;
/// Tenths.
const SHARE_UNIT: f64 = 10.0;
/// Pairs (a, b) times shares.
const COMBINATIONS: usize = 136 * SHARES;
/// Least density of one answer as a share of its greatest: below it nothing is told apart.
const FLOOR: f64 = 1e-60;
/// Answers between two rescalings: FLOOR to this power must stay above the least number.
const RESCALE: usize = 4;
/// Least standard deviation of a mean rating: grades are never exact.
const LEAST_DEVIATION: f64 = 1e-3;

/// log p(ratings | p) at each p of the grid.
pub type LogLikelihood = [f64; POINTS];

/// p at a place of the grid.
pub fn grid(place: usize) -> f64 {
    place as f64 * STEP
}

/// Mass of Normal(0, 1) between `low` and `high`, exact in both tails.
fn mass(low: f64, high: f64) -> f64 {
    let upper = |z: f64| 0.5 * libm::erfc(z / std::f64::consts::SQRT_2);
    if low > 0.0 { upper(low) - upper(high) } else { upper(-high) - upper(-low) }
}

/// log p(means | p) on the grid of p, for answers with mean ratings `means` of variance `variances` (both `[K]`).
///
/// Qualities are drawn from p·[(1 − pi)·δ_a + pi·δ_b] + (1 − p)·Uniform[a, b], the family of laws that the exp dial makes
/// rewards collapse to; a, b and pi are averaged over with even weights (docs/REWARD.md; spike-and-slab after Mitchell
/// and Beauchamp 1988). Costs 25 704·K multiplications and 205 kB for the time of the call.
pub fn log_likelihood(means: &[f64], variances: &[f64]) -> LogLikelihood {
    let mut products = vec![[1.0; POINTS]; COMBINATIONS];
    let mut logs = [0.0; POINTS];
    for (k, (mean, variance)) in means.iter().zip(variances).enumerate() {
        let deviation = variance.max(0.0).sqrt().max(LEAST_DEVIATION);
        // Densities are in units of the greatest, 1 / (deviation·√(2π)), so that products stay in range.
        let unit = deviation * std::f64::consts::TAU.sqrt();
        multiply(&mut products, *mean, deviation, unit);
        logs.iter_mut().for_each(|log| *log -= unit.ln());
        if k % RESCALE == RESCALE - 1 {
            rescale(&mut products, &mut logs);
        }
    }
    let mut sums = [0.0; POINTS];
    for column in &products {
        sums.iter_mut().zip(column).for_each(|(sum, product)| *sum += product);
    }
    std::array::from_fn(|place| logs[place] + (sums[place] / COMBINATIONS as f64).max(f64::MIN_POSITIVE).ln())
}

/// Multiplies the density of one answer's mean rating, in units of 1/`unit`, into each combination of (a, b, pi).
fn multiply(products: &mut [[f64; POINTS]], mean: f64, deviation: f64, unit: f64) {
    let places: [f64; POINTS] = std::array::from_fn(|place| (grid(place) - mean) / deviation);
    let density = places.map(|z| (-0.5 * z * z).exp());
    let mut columns = products.iter_mut();
    for a in 0..POINTS {
        for b in a + LEAST_GAP..POINTS {
            let slab = mass(places[a], places[b]) / (grid(b) - grid(a)) * unit;
            for (share, column) in (1..=SHARES).zip(&mut columns) {
                let pi = share as f64 / SHARE_UNIT;
                let spike = (1.0 - pi) * density[a] + pi * density[b];
                for (place, product) in column.iter_mut().enumerate() {
                    *product *= (slab + grid(place) * (spike - slab)).max(FLOOR);
                }
            }
        }
    }
}

/// Divides the products of each p by the greatest of them.
fn rescale(products: &mut [[f64; POINTS]], logs: &mut LogLikelihood) {
    for place in 0..POINTS {
        let most = products.iter().map(|column| column[place]).fold(f64::MIN_POSITIVE, f64::max);
        logs[place] += most.ln();
        products.iter_mut().for_each(|column| column[place] /= most);
    }
}

/// log of the Bayes factor of "two levels" (p = 1) against "evenly spread" (p = 0).
pub fn log_bayes_factor(likelihood: &LogLikelihood) -> f64 {
    likelihood[POINTS - 1] - likelihood[0]
}

/// Posterior mean of p under the prior Beta(nu·g, nu·(1 − g)) on the grid, g the gate's opinion and nu its strength in
/// ratings; the prior's p is kept within `[0.01, 0.99]` (it would be infinite at the ends).
pub fn posterior_mean(likelihood: &LogLikelihood, gate: f64, strength: f64) -> f64 {
    let log_weight = |place: usize| {
        let p = grid(place).clamp(PRIOR_CLIP, 1.0 - PRIOR_CLIP);
        likelihood[place] + (strength * gate - 1.0) * p.ln() + (strength * (1.0 - gate) - 1.0) * (1.0 - p).ln()
    };
    let most = (0..POINTS).map(log_weight).fold(f64::NEG_INFINITY, f64::max);
    let (sum, total) = (0..POINTS).fold((0.0, 0.0), |(sum, total), place| {
        let weight = (log_weight(place) - most).exp();
        (sum + weight * grid(place), total + weight)
    });
    sum / total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_levels_and_even_spread_are_told_apart_and_nothing_says_nothing() {
        let p = |means: &[f64]| posterior_mean(&log_likelihood(means, &vec![0.003; means.len()]), 0.5, 1.0);
        let closed = p(&[0.1, 0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.9]);
        let open = p(&[0.05, 0.18, 0.3, 0.43, 0.55, 0.68, 0.8, 0.93]);
        assert!(closed > 0.85 && open < 0.3, "{closed} and {open}");
        let nothing = log_likelihood(&[], &[]);
        assert!(nothing.iter().all(|value| value.abs() < 1e-12), "no answers: every p is as likely");
        assert!((posterior_mean(&nothing, 0.5, 2.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn impossible_ratings_stay_finite() {
        let odd = log_likelihood(&[40.0, -3.0, 0.5], &[0.0, 1e-12, 1e9]);
        assert!(odd.iter().all(|value| value.is_finite()), "{odd:?}");
        assert!((0.0..=1.0).contains(&posterior_mean(&odd, 0.999, 50.0)));
    }

    #[test]
    fn one_mean_rating_has_a_density_whatever_p() {
        // Sums over means from -1 to 2 in steps of a fifth of the deviation; nearly all mass is there.
        let (variance, step) = (0.0025f64, 0.01);
        let each = (0..=300).map(|i| log_likelihood(&[f64::from(i) * step - 1.0], &[variance]));
        let total = each.fold([0.0; POINTS], |mut total, logs| {
            total.iter_mut().zip(logs).for_each(|(total, log)| *total += log.exp() * step);
            total
        });
        assert!(total.iter().all(|total| (total - 1.0).abs() < 1e-6), "{total:?}");
    }
}
