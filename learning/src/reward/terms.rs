//! From feedback events to statements over the distinct answers of a batch.
//!
//! Invariant: every event weighs as the choices that were made in it: one for a grade, a thumb or a pair, K − 1 for a
//! strict ranking of K, and one for each marked line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::losses::davidson::Choice;
use super::losses::ordinal::level_shares;
use super::losses::weak_order::{WeightedPair, pairs_of_ranks};
use super::said::{Said, Statements};
use crate::error::LearningError;
use crate::stages::{AnswerId, Feedback, FeedbackKind, Rollout, TrunkStates};

/// Stars, and levels that scores on other scales are mapped to.
pub(super) const LEVELS: usize = 5;

/// One event with the answers it speaks of.
#[derive(Debug, Clone, PartialEq)]
pub struct RewardExample {
    /// The feedback's journal sequence number.
    pub seq: u64,
    /// Every answer that the feedback names (others are ignored); for an edit also the edited text, under
    /// [`edited_id`]: an edit without it says nothing.
    pub answers: Vec<Rollout>,
    /// What was said.
    pub feedback: Feedback,
    /// P(the question is closed-ended), as it was when the event was taken up.
    pub closedness: f64,
    /// For [`FeedbackKind::Steps`]: the answer's tokens up to and with the end of each line, rising. Else empty.
    pub lines: Vec<usize>,
}

/// The id under which [`RewardExample::answers`] holds the edited text of the [`FeedbackKind::Edit`] at journal sequence
/// `seq`. Answers are counted from 0, so an id with the highest bit set names no answer.
pub fn edited_id(seq: u64) -> AnswerId {
    (1 << 63) | seq
}

/// The distinct answers of a batch and what is said of them.
pub(super) struct Terms<'a> {
    /// Each answer once, and the beginnings of answers whose lines are marked.
    answers: Vec<Cow<'a, Rollout>>,
    /// By indices into them.
    pub(super) statements: Statements,
    index: BTreeMap<(AnswerId, usize), usize>,
    questions: BTreeMap<&'a str, usize>,
}

/// In the index: the whole answer, not a beginning of it.
const WHOLE: usize = usize::MAX;

impl<'a> Terms<'a> {
    /// Collects; an answer that is named but not given, or marks that do not fit its lines, are an error.
    pub(super) fn collect(batch: &'a [RewardExample]) -> Result<Self, LearningError> {
        let mut terms = Self {
            answers: Vec::new(),
            statements: Statements::default(),
            index: BTreeMap::new(),
            questions: BTreeMap::new(),
        };
        for example in batch {
            let said = terms.take(example)?;
            let by = terms.statements.annotator(&example.feedback.annotator);
            terms.statements.said.push(said);
            terms.statements.by.push(by);
            terms.statements.closedness.push(example.closedness);
        }
        Ok(terms)
    }

    /// The answers to be scored, in the order of the indices.
    pub(super) fn answers(&self) -> Vec<&Rollout> {
        self.answers.iter().map(AsRef::as_ref).collect()
    }

    fn take(&mut self, example: &'a RewardExample) -> Result<Option<Said>, LearningError> {
        let mut index = |id: &AnswerId| self.place(example, *id);
        let grade = |answer, position: f64| Said::Grade { answer, shares: level_shares(position, LEVELS), position };
        Ok(match &example.feedback.kind {
            FeedbackKind::Stars { .. } | FeedbackKind::Score { .. } => {
                let (answer, position) = example.feedback.grade().expect("stars and scores are grades");
                Some(grade(index(&answer)?, position))
            }
            FeedbackKind::Thumb { answer, up } => Some(Said::Thumb { answer: index(answer)?, up: *up }),
            FeedbackKind::Flag { answer, .. } => Some(Said::Thumb { answer: index(answer)?, up: false }),
            FeedbackKind::Pair { better, worse, strength } => {
                Some(Said::Pair { better: index(better)?, worse: index(worse)?, strength: *strength })
            }
            FeedbackKind::Ranking { levels } => {
                let named = levels.iter().enumerate().flat_map(|(rank, ids)| ids.iter().map(move |id| (rank, id)));
                let (mut answers, mut ranks) = (Vec::new(), Vec::new());
                for (rank, id) in named {
                    answers.push(index(id)?);
                    ranks.push(rank as i64);
                }
                order(answers, ranks)
            }
            FeedbackKind::Edit { answer, .. } => {
                let edited = edited_id(example.seq);
                match example.answers.iter().any(|rollout| rollout.id == edited) {
                    true => Some(Said::Pair { better: index(&edited)?, worse: index(answer)?, strength: 1.0 }),
                    false => None,
                }
            }
            FeedbackKind::Steps { answer, marks } => {
                let marks: Vec<(usize, bool)> =
                    marks.iter().enumerate().filter_map(|(line, mark)| Some((line, (*mark)?))).collect();
                let place = |(line, right)| Ok((self.beginning(example, *answer, line)?, right));
                let marks = marks.into_iter().map(place).collect::<Result<Vec<_>, LearningError>>()?;
                (!marks.is_empty()).then_some(Said::Lines { marks })
            }
            FeedbackKind::Retract { .. } => None,
        })
    }

    fn given(example: &'a RewardExample, id: AnswerId) -> Result<&'a Rollout, LearningError> {
        example.answers.iter().find(|rollout| rollout.id == id).ok_or_else(|| {
            let problem = format!("names answer {id} which was not given with it; give every answer that it names");
            LearningError::input(format!("feedback {:?}", example.feedback.id), problem)
        })
    }

    fn place(&mut self, example: &'a RewardExample, id: AnswerId) -> Result<usize, LearningError> {
        if let Some(place) = self.index.get(&(id, WHOLE)) {
            return Ok(*place);
        }
        let rollout = Self::given(example, id)?;
        let next = self.questions.len();
        let question = *self.questions.entry(&rollout.prompt.question.id).or_insert(next);
        Ok(self.push((id, WHOLE), Cow::Borrowed(rollout), Some(question)))
    }

    /// The place of an answer that is cut off after a line.
    fn beginning(&mut self, example: &'a RewardExample, id: AnswerId, line: usize) -> Result<usize, LearningError> {
        let rollout = Self::given(example, id)?;
        let tokens = example.lines.get(line).copied().filter(|tokens| (1..=rollout.tokens.len()).contains(tokens));
        let tokens = tokens.ok_or_else(|| {
            let problem = format!(
                "marks line {} of answer {id}, whose {} lines end at tokens {:?} of {}; mark lines that it has",
                line + 1,
                example.lines.len(),
                example.lines,
                rollout.tokens.len()
            );
            LearningError::input(format!("feedback {:?}", example.feedback.id), problem)
        })?;
        if let Some(place) = self.index.get(&(id, tokens)) {
            return Ok(*place);
        }
        Ok(self.push((id, tokens), Cow::Owned(cut(rollout, tokens)), None))
    }

    fn push(&mut self, key: (AnswerId, usize), answer: Cow<'a, Rollout>, question: Option<usize>) -> usize {
        self.index.insert(key, self.answers.len());
        self.answers.push(answer);
        self.statements.question.push(question);
        self.answers.len() - 1
    }
}

/// The statement of a ranking; `None` where it says nothing.
fn order(answers: Vec<usize>, ranks: Vec<i64>) -> Option<Said> {
    if let ([first, second], [better, worse]) = (answers.as_slice(), ranks.as_slice()) {
        let outcome = if better == worse { Choice::Tie } else { Choice::Win };
        return Some(Said::Two { first: *first, second: *second, outcome });
    }
    // K(K − 1)/2 pairs of weight 2/K each weigh K − 1.
    let weight = 2.0 / ranks.len() as f64;
    let of = |pair: WeightedPair| WeightedPair { better: answers[pair.better], worse: answers[pair.worse], weight };
    let pairs: Vec<WeightedPair> = pairs_of_ranks(&ranks).into_iter().map(of).collect();
    (!pairs.is_empty()).then_some(Said::Order { answers, ranks, pairs })
}

/// The answer's first `tokens` tokens, with their share of the trunk's states.
fn cut(rollout: &Rollout, tokens: usize) -> Rollout {
    let trunk = match &rollout.trunk {
        TrunkStates::Absent => TrunkStates::Absent,
        TrunkStates::Present { values, width } => {
            let kept = ((rollout.prompt.tokens.len() + tokens) * width).min(values.len());
            TrunkStates::Present { values: Arc::new(values[..kept].to_vec()), width: *width }
        }
    };
    Rollout {
        id: rollout.id,
        group: rollout.group,
        prompt: rollout.prompt.clone(),
        tokens: rollout.tokens[..tokens].to_vec(),
        // Nothing else of a beginning is looked at.
        text: String::new(),
        old_logprobs: Vec::new(),
        kept_mass: Vec::new(),
        version_spans: Vec::new(),
        sampling: rollout.sampling.clone(),
        finish: rollout.finish,
        trunk,
    }
}
