//! Percentiles and ratios of what was measured.
//!
//! Invariant: nothing is measured here; a figure of no values is absent, never 0.

use serde_json::{Value, json};

use crate::cli::bench::meter::rounded;

/// The `share` percentile by the nearest rank: the least value that at least that share of the values does not exceed.
pub(super) fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Count, median, 99th percentile and maximum.
pub(super) fn spread(values: &[f64]) -> Value {
    let at = |share| percentile(values, share).map(rounded);
    json!({"count": values.len(), "p50": at(0.5), "p99": at(0.99), "max": at(1.0)})
}

/// `numerator / denominator`, where both are there and the latter is not 0.
pub(super) fn ratio(numerator: &Value, denominator: &Value) -> Option<f64> {
    let (numerator, denominator) = (numerator.as_f64()?, denominator.as_f64()?);
    (denominator != 0.0).then(|| rounded(numerator / denominator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|share| percentile(&values, share)), [Some(50.0), Some(99.0), Some(100.0)]);
        // Of few values the 99th percentile is the largest.
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 0.99), Some(3.0));
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(percentile(&[], 0.5), None);
        assert_eq!(spread(&[])["p50"], Value::Null);
    }

    #[test]
    fn a_ratio_of_nothing_is_absent() {
        assert_eq!(ratio(&json!(3.0), &json!(2)), Some(1.5));
        assert_eq!(ratio(&json!(3.0), &json!(0)), None);
        assert_eq!(ratio(&Value::Null, &json!(2)), None);
    }
}
