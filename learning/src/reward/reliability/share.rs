//! Bounded influence: how much of the recent weight one annotator may have.
//!
//! Invariant: with n >= 1 / share annotators nobody's capped amount exceeds both `free` and share · (sum of all capped
//! amounts).

/// The most that one annotator's recent events may weigh together, given everybody's recent amounts; infinite where
/// fewer than 1 / `share` annotators were heard.
///
/// The largest T with min(r, T) ≤ share · Σ min(r, T) for everyone: with the amounts falling and the k largest capped,
/// T = share · (Σ of the others) / (1 − share·k). Never below `free`.
pub(super) fn most_weight(mut amounts: Vec<f64>, share: f64, free: f64) -> f64 {
    if (amounts.len() as f64) * share < 1.0 {
        return f64::INFINITY;
    }
    amounts.sort_by(|a, b| b.total_cmp(a));
    let mut others: f64 = amounts.iter().sum();
    for (capped, largest) in amounts.iter().enumerate() {
        let left = 1.0 - share * capped as f64;
        if left <= 0.0 {
            return amounts[capped - 1].max(free);
        }
        let most = share * others / left;
        if *largest <= most {
            return most.max(free);
        }
        others -= largest;
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_has_no_more_than_its_share() {
        let amounts = vec![1000.0, 10.0, 20.0, 30.0, 5.0];
        let most = most_weight(amounts.clone(), 0.25, 1.0);
        let capped: Vec<f64> = amounts.iter().map(|amount| amount.min(most)).collect();
        let total: f64 = capped.iter().sum();
        assert!(capped.iter().all(|amount| *amount <= 0.25 * total + 1e-9), "{most} {capped:?}");
        // Three capped at T, the others at 10 and 5: T = (3 T + 15) / 4.
        assert!((most - 15.0).abs() < 1e-9, "and no less than it may: {most}");
    }

    #[test]
    fn equals_and_the_few_are_not_capped() {
        assert!(most_weight(vec![9.0; 14], 0.25, 1.0) >= 9.0);
        assert!(most_weight(vec![9.0; 4], 0.25, 1.0) >= 9.0);
        assert_eq!(most_weight(vec![1000.0, 1.0, 1.0], 0.25, 1.0), f64::INFINITY, "three cannot have a quarter each");
        assert_eq!(most_weight(vec![1000.0, 1.0, 1.0, 1.0], 0.25, 32.0), 32.0, "a handful is free");
    }
}
