//! How evenly votes fall on answers.
//!
//! Invariant: always within `[0, 1]`, whatever was counted.

/// Shannon entropy of the votes' shares, each count raised by `alpha` (> 0) and divided by log K: 1 where all answers are
/// chosen alike, near 0 where one takes all. 1 for fewer than two answers, where there is nothing to choose.
pub fn vote_entropy(votes: &[f64], alpha: f64) -> f64 {
    if votes.len() < 2 {
        return 1.0;
    }
    let total: f64 = votes.iter().map(|count| count + alpha).sum();
    let shares = votes.iter().map(|count| (count + alpha) / total);
    let entropy: f64 = shares.filter(|share| *share > 0.0).map(|share| -share * share.ln()).sum();
    (entropy / (votes.len() as f64).ln()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_votes_have_entropy_one_and_a_landslide_little() {
        assert!((vote_entropy(&[3.0, 3.0, 3.0], 0.5) - 1.0).abs() < 1e-15);
        assert!(vote_entropy(&[1000.0, 0.0], 0.5) < 0.01);
        assert_eq!(vote_entropy(&[], 0.5), 1.0);
        // Shares 1/2, 1/4 and 1/4 of three: 1.5 ln 2 / ln 3.
        assert!((vote_entropy(&[1.0, 0.0, 0.0], 1.0) - 1.5 * 2f64.ln() / 3f64.ln()).abs() < 1e-15);
    }
}
