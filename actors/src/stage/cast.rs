//! Who answers people, as the policy actor sees it.
//!
//! Invariant: lead and candidate change together, by one publication; weights are snapshots that nobody trains.

use understudy_learning::stages::PolicyVersion;
use understudy_model::Branch;
use understudy_model::hash::mixed;

/// The lead, and the candidate where there is one.
#[derive(Debug)]
pub struct Cast {
    /// Who answers people.
    pub lead: (PolicyVersion, Branch),
    /// Who answers a share of them.
    pub candidate: Option<(PolicyVersion, Branch)>,
}

/// Whether a request of this id goes to the candidate when it answers this share of them: the same id always does or does
/// not, and a larger share takes all that a smaller one takes.
pub fn goes_to_candidate(request: u64, share: f64) -> bool {
    // 53 bits, as many as a double holds.
    ((mixed(request.to_le_bytes()) >> 11) as f64) < share * (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_the_wanted_share_of_requests_goes_to_the_candidate_and_a_larger_share_takes_the_same_ones() {
        for share in [0.05, 0.1, 0.5] {
            let went = (0..10_000).filter(|id| goes_to_candidate(*id, share)).count() as f64 / 10_000.0;
            // Four standard errors of a share of 10,000 draws.
            assert!((went - share).abs() < 4.0 * (share * (1.0 - share) / 10_000.0).sqrt(), "{went} of {share}");
        }
        assert!((0..1000).filter(|id| goes_to_candidate(*id, 0.1)).all(|id| goes_to_candidate(id, 0.2)));
    }
}
