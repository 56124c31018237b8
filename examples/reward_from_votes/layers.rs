//! The whole reward branch, learning as it does in the daemon.
//!
//! Invariant: nothing but events reaches the learner: a weak order for each training question, or its filtered pairs.

use anyhow::Result;
use understudy::preferences::PairRule;
use understudy::preferences::accuracy::Tally;
use understudy_learning::reward::{RewardExample, RewardLearner};
use understudy_learning::rng::{Purpose, Stream};
use understudy_learning::stages::{Feedback, FeedbackKind};

use super::Thread;
use super::head::right;
use super::options::Options;

/// Questions in a step.
const BATCH: usize = 8;

/// Learns from `known` and tells after each pass how many pairs of each of `asked` are right.
pub(crate) fn learn(
    learner: &mut RewardLearner,
    known: &[&Thread],
    asked: &[&Thread],
    rule: PairRule,
    options: &Options,
) -> Result<Vec<Vec<Tally>>> {
    let mut found = Vec::new();
    for epoch in 0..options.epochs {
        let order = Stream::new(options.seed, Purpose::Shuffle, epoch as u64).permutation(known.len());
        for batch in order.chunks(BATCH) {
            let events: Vec<RewardExample> = batch.iter().flat_map(|&place| events(known[place], rule)).collect();
            learner.learn(&events)?;
        }
        let tally = |thread: &&Thread| {
            let scores: Vec<f64> = learner.score(&thread.answers)?.iter().map(|score| score.score).collect();
            Ok(right(&thread.votes.pairs(rule), &scores))
        };
        found.push(asked.iter().map(tally).collect::<Result<_>>()?);
    }
    Ok(found)
}

/// What the voters of one question said.
fn events(thread: &Thread, rule: PairRule) -> Vec<RewardExample> {
    let name = |place: usize| thread.answers[place].id;
    let kinds = match rule.later_won {
        false => {
            let levels = thread.votes.levels().into_iter().map(|level| level.into_iter().map(name).collect());
            vec![FeedbackKind::Ranking { levels: levels.collect() }]
        }
        true => {
            let pair = |better, worse| FeedbackKind::Pair { better, worse, strength: 1.0 };
            thread.votes.pairs(rule).iter().map(|p| pair(name(p.better), name(p.worse))).collect()
        }
    };
    let example = |(number, kind)| {
        let seq = name(0) * 100 + number as u64;
        let feedback = Feedback { id: format!("votes-{seq}"), annotator: "voters".to_owned(), at: 0, kind, why: None };
        let answers = thread.answers.clone();
        RewardExample { seq, answers, feedback, closedness: thread.closedness, lines: Vec::new() }
    };
    kinds.into_iter().enumerate().map(example).collect()
}
