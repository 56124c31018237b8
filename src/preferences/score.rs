//! From votes to a number for each answer of a question.
//!
//! Invariant: pure functions of the votes; numbers are comparable within one question, not between questions.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::exposure::Exposure;
use super::question::{Ballot, VotedQuestion};

/// 97.5 % point of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Which number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scoring {
    /// Up minus down votes as they are.
    Votes,
    /// StackLLaMA's: log votes, and one for being accepted.
    #[default]
    StackLlama,
    /// Votes beside those that the answer's age, place and question let expect.
    Corrected,
}

impl Scoring {
    /// `[K]` numbers for the answers of `question`, greater is better.
    pub fn scores(self, question: &VotedQuestion, exposure: &Exposure) -> Vec<f64> {
        match self {
            Self::Votes => question.answers.iter().map(|answer| answer.score as f64).collect(),
            Self::StackLlama => {
                question.answers.iter().map(|answer| stack_llama(answer.score, answer.accepted) as f64).collect()
            }
            Self::Corrected => {
                let expected = exposure.expected(question);
                let own = question.answers.iter().zip(expected);
                own.map(|(answer, expected)| corrected(answer.votes(), answer.accepted, expected)).collect()
            }
        }
    }
}

/// `round(log2(1 + score))`, and 1 more for an accepted answer; −1 where the score is negative, even if accepted.
///
/// StackLLaMA (Beeching et al. 2023) after Askell et al. 2021 (arXiv:2112.00861, appendix). 2^k·√2 is no whole number, so
/// how halves are rounded never matters.
pub fn stack_llama(score: i64, accepted: bool) -> i64 {
    if score < 0 {
        return -1;
    }
    (1.0 + score as f64).log2().round() as i64 + i64::from(accepted)
}

/// `ln((1 + u)/(1 + e)) + ln(2·w)`: how many times as often the answer was voted up as it would be by its age, place and
/// question alone, and how far those who voted agree.
///
/// `u` counts votes for it, and being accepted as one more; `e` is [`Exposure::expected`]; the ones are a Gamma(1, 1) prior
/// on the ratio, whose posterior mean this is. `w` is the centre of Wilson's interval of the share of votes that are up:
/// 1/2 without votes.
pub fn corrected(votes: Ballot, accepted: bool, expected: f64) -> f64 {
    let up = f64::from(votes.up) + f64::from(u8::from(accepted));
    ((1.0 + up) / (1.0 + expected.max(0.0))).ln() + (2.0 * wilson(votes).0).ln()
}

/// Centre and half the width of Wilson's 95 % interval of the share of votes that are up (Wilson 1927); (1/2, 1/2) without
/// votes.
pub fn wilson(votes: Ballot) -> (f64, f64) {
    let n = f64::from(votes.up) + f64::from(votes.down);
    if n == 0.0 {
        return (0.5, 0.5);
    }
    let p = f64::from(votes.up) / n;
    let scale = 1.0 / (1.0 + Z * Z / n);
    let half = Z * scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    (scale * (p + Z * Z / (2.0 * n)), half)
}

/// How sure the votes of two answers are, in `[0, 1)`: the geometric mean of what their Wilson intervals leave out.
pub fn confidence(a: Ballot, b: Ballot) -> f64 {
    let sure = |votes| 1.0 - 2.0 * wilson(votes).1;
    (sure(a) * sure(b)).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stack_llamas_scores_by_hand() {
        let scores = [0, 1, 2, 3, 4, 5, 6, 1023].map(|score| stack_llama(score, false));
        // log2 of 1, 2, 3, 4, 5, 6, 7, 1024: 0, 1, 1.58, 2, 2.32, 2.58, 2.81, 10.
        assert_eq!(scores, [0, 1, 2, 2, 2, 3, 3, 10]);
        assert_eq!((stack_llama(0, true), stack_llama(3, true)), (1, 3));
        assert_eq!((stack_llama(-1, false), stack_llama(-40, true)), (-1, -1), "accepted or not");
    }

    #[test]
    fn wilsons_interval_by_hand() {
        assert_eq!(wilson(Ballot::default()), (0.5, 0.5));
        // 8 of 10: the published interval is 0.4902 to 0.9433.
        let (centre, half) = wilson(Ballot { up: 8, down: 2 });
        assert!((centre - half - 0.4902).abs() < 1e-4 && (centre + half - 0.9433).abs() < 1e-4, "{centre} {half}");
        let one = confidence(Ballot { up: 1, down: 0 }, Ballot { up: 1, down: 0 });
        let many = confidence(Ballot { up: 90, down: 10 }, Ballot { up: 90, down: 10 });
        assert!(one < many && many < 1.0 && confidence(Ballot::default(), Ballot { up: 9, down: 0 }) == 0.0);
    }

    #[test]
    fn the_same_votes_are_worth_more_where_fewer_were_to_be_expected() {
        let votes = Ballot { up: 3, down: 0 };
        let (young, old) = (corrected(votes, false, 1.0), corrected(votes, false, 7.0));
        assert!((young - old - 4f64.ln()).abs() < 1e-12, "(1 + 7)/(1 + 1) = 4");
        assert!(corrected(votes, true, 1.0) > young && corrected(Ballot { down: 3, ..votes }, false, 1.0) < young);
        assert_eq!(corrected(Ballot::default(), false, 0.0), 0.0, "nothing seen and nothing to see");
    }
}
