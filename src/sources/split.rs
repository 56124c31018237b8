//! Training questions, held-out questions, and those held back for a judge.
//!
//! Invariant: the split is a function of the question's id alone, so it is the same in every run and for every command.

/// Which part a question belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Trained on.
    Train,
    /// Never trained on: for evaluation.
    HeldOut,
    /// Only a judge learns from these: what it knows nobody else was told.
    HeldBack,
}

impl Split {
    /// Its name for people and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::HeldOut => "held-out",
            Self::HeldBack => "held-back",
        }
    }
}

/// Which shares of all questions are not trained on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Shares {
    /// `source.held_out`, 0 to 1.
    pub held_out: f64,
    /// `source.held_back`, 0 to 1 - `held_out`.
    pub held_back: f64,
}

/// The part of the question with this id. A change of one share moves no question between the other part and training.
pub fn of(id: &str, shares: Shares) -> Split {
    let place = (hash(id) >> 11) as f64 * (-53f64).exp2();
    match shares {
        Shares { held_out, .. } if place < held_out => Split::HeldOut,
        Shares { held_back, .. } if place >= 1.0 - held_back => Split::HeldBack,
        _ => Split::Train,
    }
}

/// The place of a question where some of many are drawn: not by the hash that splits, by which held-out ids are the least.
pub fn drawn(id: &str) -> u64 {
    hash(&format!("{id} drawn"))
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
        let shares = Shares { held_out: 0.15, held_back: 0.3 };
        let count = |part| (0..10_000).filter(|i| of(&format!("site/{i}"), shares) == part).count();
        let (held_out, held_back) = (count(Split::HeldOut), count(Split::HeldBack));
        // Standard deviations of binomials (10000, 0.15) and (10000, 0.3): 35.7 and 45.8; five of them.
        assert!(held_out.abs_diff(1500) < 179 && held_back.abs_diff(3000) < 229, "{held_out} {held_back}");
        assert_eq!(of("x", Shares::default()), Split::Train);
        let fewer = Shares { held_back: 0.1, ..shares };
        let moved = |i: &usize| of(&format!("site/{i}"), shares) != of(&format!("site/{i}"), fewer);
        assert!((0..10_000).filter(moved).all(|i| of(&format!("site/{i}"), fewer) == Split::Train));
    }

    #[test]
    fn a_questions_part_never_changes() {
        // Written down once: a change of the hash would move training questions into the evaluation.
        let half = Shares { held_out: 0.5, held_back: 0.0 };
        let parts: String =
            (0..16).map(|i| if of(&format!("sample/{i}"), half) == Split::Train { 't' } else { 'h' }).collect();
        assert_eq!(parts, "tttthhhththhthtt");
    }
}
