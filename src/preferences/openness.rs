//! What votes say of how open a question is, in the words that the estimate of openness hears.
//!
//! Invariant: votes are told as an order with ties, never as totals (totals are exposure); the asker's choice is told apart
//! from the voters' order.

use serde::Serialize;
use understudy_learning::reward::openness::vote_entropy;
use understudy_learning::stages::{AnswerId, Feedback, FeedbackKind};

use super::question::VotedQuestion;

/// Added to each answer's votes before their entropy is taken, as in the reward model.
const ALPHA: f64 = 0.5;

/// Figures of one question's votes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct VoteFigures {
    /// Normalised entropy of the votes for the answers, in `[0, 1]`.
    pub entropy: f64,
    /// Share of the pairs of answers with equal scores, in `[0, 1]`.
    pub tie_rate: f64,
    /// The accepted answer's share of the votes for answers; `None` without an accepted answer.
    pub accepted_dominance: Option<f64>,
}

impl VoteFigures {
    /// `None` for fewer than two answers.
    pub fn of(question: &VotedQuestion) -> Option<Self> {
        let n = question.answers.len();
        if n < 2 {
            return None;
        }
        let up: Vec<f64> = question.answers.iter().map(|answer| f64::from(answer.votes().up)).collect();
        let equal = (0..n).flat_map(|a| (0..a).map(move |b| (a, b)));
        let ties = equal.filter(|&(a, b)| question.answers[a].score == question.answers[b].score).count();
        let accepted = question.answers.iter().position(|answer| answer.accepted);
        Some(Self {
            entropy: vote_entropy(&up, ALPHA),
            tie_rate: ties as f64 / (n * (n - 1) / 2) as f64,
            accepted_dominance: accepted.map(|place| (up[place] + ALPHA) / up.iter().map(|up| up + ALPHA).sum::<f64>()),
        })
    }
}

/// The votes of a question as feedback that the reward model's estimate of openness hears
/// ([`understudy_learning::reward::openness::Openness::observe`]): the voters' ranking, in which answers within one
/// Poisson deviation (√votes) of their level's best are equals, and the asker's choice before all others.
///
/// `ids` names the answers, `[K]`. Nothing for fewer than two answers.
pub fn evidence(question: &VotedQuestion, ids: &[AnswerId]) -> Vec<Feedback> {
    let mut heard = Vec::new();
    let say = |who: &str, levels: Vec<Vec<AnswerId>>| Feedback {
        id: format!("{who}/{}", question.question.id),
        annotator: who.to_owned(),
        at: question.question.asked_at,
        kind: FeedbackKind::Ranking { levels },
        why: None,
    };
    if question.answers.len() < 2 || ids.len() != question.answers.len() {
        return heard;
    }
    let named = |level: &Vec<usize>| level.iter().map(|place| ids[*place]).collect::<Vec<_>>();
    heard.push(say("voters", told_apart(question).iter().map(named).collect()));
    if let Some(chosen) = question.answers.iter().position(|answer| answer.accepted) {
        let rest: Vec<AnswerId> = (0..ids.len()).filter(|place| *place != chosen).map(|place| ids[place]).collect();
        heard.push(say("asker", vec![vec![ids[chosen]], rest]));
    }
    heard
}

/// Best first; a new level begins where the score is beyond one Poisson deviation of the level's best.
fn told_apart(question: &VotedQuestion) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..question.answers.len()).collect();
    order.sort_by_key(|place| (-question.answers[*place].score, *place));
    let mut levels: Vec<Vec<usize>> = Vec::new();
    for place in order {
        let answer = &question.answers[place];
        let best = levels.last().and_then(|level| level.first()).map(|best| &question.answers[*best]);
        let same = best.is_some_and(|best| {
            let votes = best.votes();
            let deviation = f64::from(votes.up + votes.down).sqrt();
            (best.score - answer.score) as f64 <= deviation && best.score.signum() == answer.score.signum()
        });
        match levels.last_mut() {
            Some(level) if same => level.push(place),
            _ => levels.push(vec![place]),
        }
    }
    levels
}
