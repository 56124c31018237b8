//! Distances between samples, and means of them, as sorted curves.
//!
//! Invariant: a sample is its quantile function, a staircase on (0, 1); nothing depends on the order of the numbers.

/// The quantile function of a sample or a mean of such: a staircase, right-open steps over (0, 1).
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Where each step ends, ascending; the last is 1.
    ends: Vec<f64>,
    /// Height of each step.
    values: Vec<f64>,
}

impl Curve {
    /// The quantile function of `sample` (any order; not a number sorts last). An empty sample is the constant 0.
    pub fn of_sample(sample: &[f64]) -> Self {
        let mut values = sample.to_vec();
        if values.is_empty() {
            values.push(0.0);
        }
        values.sort_by(f64::total_cmp);
        // i/n is correctly rounded, so equal fractions of different n are the same number and merge exactly.
        let n = values.len() as f64;
        Self { ends: (1..=values.len()).map(|i| i as f64 / n).collect(), values }
    }

    /// Heights, ascending: of one sample, or of samples of one size, the (mean) sorted numbers.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Where the steps end: as long as [`Curve::values`], the last is 1.
    pub fn ends(&self) -> &[f64] {
        &self.ends
    }

    /// The same curve on a finer grid, which must hold all of its own ends.
    fn on(&self, ends: &[f64]) -> Vec<f64> {
        let mut step = 0;
        let height = |&end: &f64| {
            while self.ends[step] < end {
                step += 1;
            }
            self.values[step]
        };
        ends.iter().map(height).collect()
    }

    /// W1 to another curve: ∫ |Q_a(u) − Q_b(u)| du.
    pub fn distance(&self, other: &Self) -> f64 {
        let (mut i, mut j, mut from, mut sum) = (0, 0, 0.0, 0.0);
        while i < self.ends.len() && j < other.ends.len() {
            let to = self.ends[i].min(other.ends[j]);
            sum += (to - from) * (self.values[i] - other.values[j]).abs();
            from = to;
            i += usize::from(self.ends[i] <= to);
            j += usize::from(other.ends[j] <= to);
        }
        sum
    }
}

/// First Wasserstein distance between two samples of any sizes: the mean |sorted difference| for equal sizes, else
/// ∫ |Q_a(u) − Q_b(u)| du over the quantile functions (Villani 2003, remark 2.19). Not empty, or the result means nothing.
pub fn w1(a: &[f64], b: &[f64]) -> f64 {
    Curve::of_sample(a).distance(&Curve::of_sample(b))
}

/// All the places where one of `curves` steps, ascending.
fn union(curves: &[&Curve]) -> Vec<f64> {
    let mut ends: Vec<f64> = Vec::new();
    for curve in curves.iter().filter(|curve| ends != curve.ends).collect::<Vec<_>>() {
        ends.extend(&curve.ends);
        ends.sort_by(f64::total_cmp);
        ends.dedup();
    }
    ends
}

/// The W1-barycentre (on the line: the mean of the quantile functions; Agueh and Carlier 2011, section 6.1) of curves, or
/// `None` of none. Samples of one size keep that size: the mean of their sorted numbers.
pub fn barycentre<'a>(curves: impl IntoIterator<Item = &'a Curve>) -> Option<Curve> {
    let curves: Vec<&Curve> = curves.into_iter().collect();
    if curves.is_empty() {
        return None;
    }
    let ends = union(&curves);
    let mut values = vec![0.0; ends.len()];
    for curve in &curves {
        values.iter_mut().zip(curve.on(&ends)).for_each(|(sum, value)| *sum += value);
    }
    values.iter_mut().for_each(|value| *value /= curves.len() as f64);
    Some(Curve { ends, values })
}

/// Puts curves on one common grid: one row of heights a curve, and the width of each step.
pub(super) fn on_one_grid(curves: &[Curve]) -> (Vec<Vec<f64>>, Vec<f64>) {
    let ends = union(&curves.iter().collect::<Vec<_>>());
    let widths = ends.iter().scan(0.0, |from, &end| Some(end - std::mem::replace(from, end))).collect();
    (curves.iter().map(|curve| curve.on(&ends)).collect(), widths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_by_hand() {
        assert_eq!(w1(&[0.0, 1.0], &[0.75, 0.25]), 0.25);
        // Quantiles 0 | 1 against 0 | 0.5 | 1: they differ by 1/2 on (1/3, 2/3).
        assert!((w1(&[0.0, 1.0], &[1.0, 0.0, 0.5]) - 1.0 / 6.0).abs() < 1e-15);
        // The step from 0 to 1 stands at 1/2 in one and at 2/3 in the other.
        assert!((w1(&[0.0, 1.0], &[0.0, 0.0, 1.0]) - 1.0 / 6.0).abs() < 1e-15);
        assert_eq!(w1(&[0.2], &[0.2, 0.2, 0.2]), 0.0);
    }

    #[test]
    fn a_barycentre_is_the_mean_of_sorted_curves_whatever_their_sizes() {
        let curves = [Curve::of_sample(&[1.0, 0.0]), Curve::of_sample(&[0.5, 0.5])];
        assert_eq!(barycentre(&curves).expect("two").values(), [0.25, 0.75]);
        let mixed = [Curve::of_sample(&[1.0, 0.0]), Curve::of_sample(&[0.0, 0.5, 1.0])];
        let mean = barycentre(&mixed).expect("two");
        assert_eq!(mean.values(), [0.0, 0.25, 0.75, 1.0]);
        assert_eq!(mean.ends(), [1.0 / 3.0, 0.5, 2.0 / 3.0, 1.0]);
        assert!(barycentre(&[]).is_none());
    }
}
