//! One remembered event, reduced to what it says of a question's answers.
//!
//! Invariant: what says nothing of quality (an edit, a retraction, marks on steps) is no event here.

use serde::{Deserialize, Serialize};

use super::bits;
use crate::stages::{AnswerId, Feedback, FeedbackKind};

/// What was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// A grade on a scale, mapped to `[0, 1]`.
    Grade {
        answer: AnswerId,
        #[serde(with = "bits::number")]
        value: f64,
    },
    /// Up or down: a draw from the answer's quality, not a grade of 0 or 1.
    Thumb { answer: AnswerId, up: bool },
    /// Best level first; each pair of levels weighs `weight`.
    Order {
        levels: Vec<Vec<AnswerId>>,
        #[serde(with = "bits::number")]
        weight: f64,
    },
}

impl Said {
    pub(super) fn of(feedback: &Feedback) -> Option<Self> {
        match &feedback.kind {
            FeedbackKind::Stars { .. } | FeedbackKind::Score { .. } => {
                let (answer, value) = feedback.grade().filter(|(_, value)| value.is_finite())?;
                Some(Self::Grade { answer, value: value.clamp(0.0, 1.0) })
            }
            FeedbackKind::Thumb { answer, up } => Some(Self::Thumb { answer: *answer, up: *up }),
            FeedbackKind::Flag { answer, .. } => Some(Self::Thumb { answer: *answer, up: false }),
            FeedbackKind::Pair { better, worse, strength } if strength.is_finite() && better != worse => {
                let weight = strength.clamp(0.0, 10.0);
                Some(Self::Order { levels: vec![vec![*better], vec![*worse]], weight })
            }
            FeedbackKind::Ranking { levels } => {
                let ranked = levels.iter().map(Vec::len).sum::<usize>();
                // K(K - 1)/2 pairs of weight 2/K each weigh K - 1, as Plackett-Luce's choices do.
                (ranked >= 2).then(|| Self::Order { levels: levels.clone(), weight: 2.0 / ranked as f64 })
            }
            _ => None,
        }
    }

    /// How many answers it names.
    pub(super) fn mentions(&self) -> usize {
        match self {
            Self::Grade { .. } | Self::Thumb { .. } => 1,
            Self::Order { levels, .. } => levels.iter().map(Vec::len).sum(),
        }
    }
}

/// One event as it is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Heard {
    pub(super) seq: u64,
    /// The feedback's id.
    pub(super) id: String,
    pub(super) annotator: String,
    pub(super) said: Said,
    /// What was on record of the question before: `forget` puts it back.
    pub(super) before: Record,
}

/// The p on record of a question: what samples were frozen with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(with = "bits::number")]
    pub(super) p: f64,
    /// 0 where nothing was on record yet.
    pub(super) version: u64,
}

impl Record {
    /// A smaller move of p makes no new version.
    const MOVE: f64 = 0.01;

    pub(super) const NONE: Self = Self { p: 0.5, version: 0 };

    /// What is on record once p was found to be `p`.
    pub(super) fn moved(self, p: f64) -> Self {
        match self.version > 0 && (p - self.p).abs() <= Self::MOVE {
            true => self,
            false => Self { p, version: self.version + 1 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: FeedbackKind) -> Option<Said> {
        Said::of(&Feedback { id: "f".into(), annotator: "ana".into(), at: 0, kind, why: None })
    }

    #[test]
    fn each_kind_says_what_it_says_on_a_scale_from_0_to_1() {
        assert_eq!(of(FeedbackKind::Stars { answer: 4, stars: 2 }), Some(Said::Grade { answer: 4, value: 0.25 }));
        let score = FeedbackKind::Score { answer: 4, value: 7.0, min: 5.0, max: 9.0 };
        assert_eq!(of(score), Some(Said::Grade { answer: 4, value: 0.5 }));
        assert_eq!(of(FeedbackKind::Thumb { answer: 4, up: true }), Some(Said::Thumb { answer: 4, up: true }));
        let flag = FeedbackKind::Flag { answer: 4, reason: "rude".into() };
        assert_eq!(of(flag), Some(Said::Thumb { answer: 4, up: false }));
        let pair = |strength| of(FeedbackKind::Pair { better: 4, worse: 2, strength });
        let order = |weight| Some(Said::Order { levels: vec![vec![4], vec![2]], weight });
        assert_eq!((pair(0.5), pair(50.0), pair(f64::NAN)), (order(0.5), order(10.0), None));
        let levels = vec![vec![1], vec![2, 3], vec![4]];
        let ranking = of(FeedbackKind::Ranking { levels: levels.clone() });
        assert_eq!(ranking, Some(Said::Order { levels, weight: 0.5 }), "six pairs of a half each: three choices");
        assert_eq!(of(FeedbackKind::Edit { answer: 4, text: "x".into() }), None);
    }

    #[test]
    fn a_move_of_p_by_a_hundredth_or_less_makes_no_version() {
        let first = Record::NONE.moved(0.5);
        assert_eq!(first, Record { p: 0.5, version: 1 }, "the first opinion is one, even where it is the default's");
        assert_eq!(first.moved(0.509), first);
        assert_eq!(first.moved(0.511), Record { p: 0.511, version: 2 });
    }
}
