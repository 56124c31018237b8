//! Comparisons with soft labels, as many of a question as wanted.
//!
//! Invariant: equal scores make no comparison; the draw goes by the question's id, so it is the same in every run.

use serde::Serialize;
use understudy_learning::reward::logistic::sigmoid;
use understudy_learning::rng::{Purpose, Stream};

use super::exposure::Exposure;
use super::question::{PairRule, VotedPair, VotedQuestion};
use super::score::{Scoring, confidence};
use crate::sources::split;

/// StackLLaMA's bound on the pairs of one question.
pub const MOST_PAIRS: usize = 10;
/// Scores that differ by less are equal: rounding of a difference of logarithms.
const EQUAL: f64 = 1e-9;

/// Which comparisons are made of a question's votes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rule {
    /// What is compared.
    pub scoring: Scoring,
    /// Keep a pair only where the answer that was posted later has the higher score: see [`PairRule::later_won`].
    pub later_won: bool,
    /// Most pairs of one question.
    pub most_pairs: usize,
    /// T of the soft label sigmoid((s_A − s_B)/T), above 0.
    pub temperature: f64,
}

impl Default for Rule {
    fn default() -> Self {
        Self { scoring: Scoring::default(), later_won: false, most_pairs: MOST_PAIRS, temperature: 1.0 }
    }
}

/// "`better` has the higher score", as indices into [`VotedQuestion::answers`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Comparison {
    /// Index of the answer with the higher score.
    pub better: usize,
    /// Index of the other one.
    pub worse: usize,
    /// Difference of their scores, above 0.
    pub margin: f64,
    /// P(better is better) in (1/2, 1): sigmoid(margin/T).
    pub p: f64,
    /// How sure the votes are, in `[0, 1)`: [`confidence`].
    pub confidence: f64,
}

impl Comparison {
    /// Without label and margin.
    pub fn pair(&self) -> VotedPair {
        VotedPair { better: self.better, worse: self.worse }
    }
}

/// The comparisons of one question, and what was left out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Comparisons {
    /// By rising indices.
    pub kept: Vec<Comparison>,
    /// Pairs of equal scores.
    pub equal: usize,
    /// Pairs that the earlier answer won, under [`Rule::later_won`].
    pub earlier_won: usize,
    /// Pairs over the bound.
    pub over_bound: usize,
}

impl VotedQuestion {
    /// The comparisons of this question under `rule`.
    pub fn comparisons(&self, rule: &Rule, exposure: &Exposure) -> Comparisons {
        let scores = rule.scoring.scores(self, exposure);
        let mut found = Comparisons::default();
        for later in 0..scores.len() {
            for earlier in 0..later {
                let margin = scores[later] - scores[earlier];
                if margin.abs() < EQUAL {
                    found.equal += 1;
                    continue;
                }
                let (better, worse) = if margin > 0.0 { (later, earlier) } else { (earlier, later) };
                if rule.later_won && self.answers[better].at <= self.answers[worse].at {
                    found.earlier_won += 1;
                    continue;
                }
                let p = sigmoid(margin.abs() / rule.temperature);
                let confidence = confidence(self.answers[better].votes(), self.answers[worse].votes());
                found.kept.push(Comparison { better, worse, margin: margin.abs(), p, confidence });
            }
        }
        if found.kept.len() > rule.most_pairs {
            found.over_bound = found.kept.len() - rule.most_pairs;
            let mut stream = Stream::new(split::hash(&self.question.id), Purpose::Evaluation, 2);
            let mut drawn = stream.permutation(found.kept.len());
            drawn.truncate(rule.most_pairs);
            drawn.sort_unstable();
            found.kept = drawn.into_iter().map(|place| found.kept[place]).collect();
        }
        found
    }

    /// Only which answer is better.
    pub fn voted_pairs(&self, rule: &Rule, exposure: &Exposure) -> Vec<VotedPair> {
        self.comparisons(rule, exposure).kept.iter().map(Comparison::pair).collect()
    }
}

impl From<PairRule> for Rule {
    /// Votes as they are, without a bound.
    fn from(rule: PairRule) -> Self {
        Self { scoring: Scoring::Votes, later_won: rule.later_won, most_pairs: usize::MAX, temperature: 1.0 }
    }
}
