//! What a set of comparisons is like, so that nobody mistakes length or age for quality.
//!
//! Invariant: every set is told with what length alone and age alone would get right; what was left out is counted.

use serde::Serialize;

use super::accuracy::{Accuracy, Tally};
use super::comparisons::Rule;
use super::exposure::Exposure;
use super::held_out::threads_of;
use super::openness::VoteFigures;
use super::question::VotedQuestion;
use crate::corpus::{Corpus, CorpusError};
use crate::sources::{Shares, Split};

/// One part of the split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Questions.
    pub questions: usize,
    /// Questions with a comparison.
    pub questions_with_pairs: usize,
    /// Comparisons.
    pub pairs: usize,
    /// Pairs of equal scores, left out.
    pub equal: usize,
    /// Pairs that the earlier answer won, left out under [`Rule::later_won`].
    pub earlier_won: usize,
    /// Pairs over the bound a question, left out.
    pub over_bound: usize,
    /// "The longer answer is better."
    pub longer: Accuracy,
    /// "The older answer is better."
    pub older: Accuracy,
    /// Mean of the soft labels.
    pub mean_p: f64,
    /// Mean normalised entropy of the votes of questions with two answers or more.
    pub entropy: f64,
    /// Mean share of equal pairs of those.
    pub tie_rate: f64,
    /// Mean share of the votes that the accepted answer has, where there is one.
    pub accepted_dominance: f64,
}

/// A [`Summary`] in the making: 32 bytes a question.
#[derive(Debug, Default)]
pub struct Summing {
    questions: usize,
    equal: usize,
    earlier_won: usize,
    over_bound: usize,
    longer: Vec<Tally>,
    older: Vec<Tally>,
    p: f64,
    figures: [(f64, usize); 3],
}

impl Summing {
    /// Takes a question in.
    pub fn add(&mut self, question: &VotedQuestion, rule: &Rule, exposure: &Exposure) {
        let found = question.comparisons(rule, exposure);
        let pairs: Vec<_> = found.kept.iter().map(|kept| kept.pair()).collect();
        self.questions += 1;
        self.equal += found.equal;
        self.earlier_won += found.earlier_won;
        self.over_bound += found.over_bound;
        self.p += found.kept.iter().map(|kept| kept.p).sum::<f64>();
        if !pairs.is_empty() {
            self.longer.push(question.longer_is_right(&pairs));
            self.older.push(question.older_is_right(&pairs));
        }
        if let Some(figures) = VoteFigures::of(question) {
            let all = [Some(figures.entropy), Some(figures.tie_rate), figures.accepted_dominance];
            for ((sum, count), own) in self.figures.iter_mut().zip(all) {
                *sum += own.unwrap_or(0.0);
                *count += usize::from(own.is_some());
            }
        }
    }

    /// What came of it.
    pub fn finish(self) -> Summary {
        let longer = Accuracy::of(&self.longer);
        let mean = |(sum, count): (f64, usize)| if count == 0 { 0.0 } else { sum / count as f64 };
        Summary {
            questions: self.questions,
            questions_with_pairs: longer.questions,
            pairs: longer.pairs,
            equal: self.equal,
            earlier_won: self.earlier_won,
            over_bound: self.over_bound,
            longer,
            older: Accuracy::of(&self.older),
            mean_p: mean((self.p, longer.pairs)),
            entropy: mean(self.figures[0]),
            tie_rate: mean(self.figures[1]),
            accepted_dominance: mean(self.figures[2]),
        }
    }
}

/// The summary of one part of the split of `corpora`.
pub fn summary(
    corpora: &[Corpus],
    shares: Shares,
    part: Split,
    rule: &Rule,
    exposure: &Exposure,
) -> Result<Summary, CorpusError> {
    let mut sum = Summing::default();
    for thread in threads_of(corpora, shares, part) {
        sum.add(&VotedQuestion::of_thread(&thread?), rule, exposure);
    }
    Ok(sum.finish())
}
