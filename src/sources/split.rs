//! Training questions and held-out questions.
//!
//! Invariant: the split is a function of the question's id alone, so it is the same in every run and for every command.

/// Which part a question belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Trained on.
    Train,
    /// Never trained on: for evaluation.
    HeldOut,
}

/// The part of the question with this id when `held_out` (0 to 1) of all are kept back.
pub fn of(id: &str, held_out: f64) -> Split {
    let share = (hash(id) >> 11) as f64 * (-53f64).exp2();
    if share < held_out { Split::HeldOut } else { Split::Train }
}

/// A number that the id alone decides, for draws that go with the split.
pub fn hash(id: &str) -> u64 {
    understudy_model::hash::mixed(id.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_is_held_out_is_the_share_that_was_asked_for() {
        let held = (0..10_000).filter(|i| of(&format!("site/{i}"), 0.15) == Split::HeldOut).count();
        // Standard deviation of a binomial(10000, 0.15): 35.7; five of them.
        assert!(held.abs_diff(1500) < 179, "{held}");
        assert_eq!(of("x", 0.0), Split::Train);
    }

    #[test]
    fn a_questions_part_never_changes() {
        // Written down once: a change of the hash would move training questions into the evaluation.
        let parts: String =
            (0..16).map(|i| if of(&format!("sample/{i}"), 0.5) == Split::Train { 't' } else { 'h' }).collect();
        assert_eq!(parts, "tttthhhththhthtt");
    }
}
