//! One candidate: the answers to one question, what is thought of them and who saw them.
//!
//! Invariant: bounded: at most [`MOST_ANSWERS`] answers and [`MOST_SEEN`] annotators, of whom only a hash is kept. Beyond
//! that an annotator may be asked again.

use std::collections::{BTreeMap, BTreeSet};

use understudy_learning::stages::{AnswerId, Feedback, FeedbackKind};

/// Most answers of a candidate.
pub const MOST_ANSWERS: usize = 64;
/// Most annotators that a candidate remembers.
pub const MOST_SEEN: usize = 4096;
/// z at which two scores count as told apart: the difference in standard deviations of the difference.
const APART: f64 = 1.0;

/// How often an order of two answers was said, and the opposite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Orders {
    as_said: u32,
    opposite: u32,
}

/// Grades of one answer, from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Grades {
    count: u32,
    sum: f64,
    squares: f64,
}

/// A candidate.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    answers: BTreeSet<AnswerId>,
    /// Score and its standard error.
    scores: BTreeMap<AnswerId, (f64, f64)>,
    /// How many ratings each annotator gave that were not taken back.
    raters: BTreeMap<u64, u32>,
    skippers: BTreeSet<u64>,
    ratings: u32,
    /// Of answers in the order of their ids.
    orders: BTreeMap<(AnswerId, AnswerId), Orders>,
    grades: BTreeMap<AnswerId, Grades>,
}

impl Group {
    /// Adds an answer.
    pub(super) fn answer(&mut self, answer: AnswerId) {
        if self.answers.len() < MOST_ANSWERS {
            self.answers.insert(answer);
        }
    }

    /// Takes up a score; one that is not finite is left out.
    pub(super) fn score(&mut self, answer: AnswerId, score: f64, std: f64) {
        if self.answers.contains(&answer) && score.is_finite() && std.is_finite() {
            self.scores.insert(answer, (score, std));
        }
    }

    /// Its answers in the order of their ids.
    pub fn answers(&self) -> impl ExactSizeIterator<Item = AnswerId> + '_ {
        self.answers.iter().copied()
    }

    /// Whether it is one of its answers.
    pub(super) fn has(&self, answer: AnswerId) -> bool {
        self.answers.contains(&answer)
    }

    /// Forgets an answer that is no longer kept.
    pub(super) fn lose(&mut self, answer: AnswerId) {
        self.answers.remove(&answer);
        self.scores.remove(&answer);
    }

    /// Remembers that an annotator, by hash, does not want it; `false` where that is known, or not remembered.
    pub(super) fn skip(&mut self, annotator: u64) -> bool {
        self.has_room() && self.skippers.insert(annotator)
    }

    /// Whether that annotator rated or skipped it.
    pub(super) fn was_seen(&self, annotator: u64) -> bool {
        self.raters.contains_key(&annotator) || self.skippers.contains(&annotator)
    }

    fn has_room(&self) -> bool {
        self.raters.len() + self.skippers.len() < MOST_SEEN
    }

    /// Whether somebody rated it.
    pub fn is_rated(&self) -> bool {
        self.ratings > 0
    }

    /// Takes up a rating of an annotator, by hash; the share of those who said something on the same two answers, or
    /// graded the same answer, and agree with it: `None` where nobody did.
    pub(super) fn hear(&mut self, annotator: u64, feedback: &Feedback) -> Option<f64> {
        self.ratings = self.ratings.saturating_add(1);
        if self.has_room() || self.raters.contains_key(&annotator) {
            *self.raters.entry(annotator).or_default() += 1;
        }
        let (mut agree, mut all) = (0.0, 0.0);
        let known = orders(feedback).into_iter().filter(|(a, b)| self.answers.contains(a) && self.answers.contains(b));
        for (better, worse) in known.collect::<Vec<_>>() {
            let orders = self.orders.entry((better.min(worse), better.max(worse))).or_default();
            let (same, other) = match better < worse {
                true => (&mut orders.as_said, &mut orders.opposite),
                false => (&mut orders.opposite, &mut orders.as_said),
            };
            (agree, all) = (agree + f64::from(*same), all + f64::from(*same) + f64::from(*other));
            *same = same.saturating_add(1);
        }
        if let Some((answer, grade)) = grade(feedback).filter(|(answer, _)| self.answers.contains(answer)) {
            let grades = self.grades.entry(answer).or_default();
            if grades.count > 0 {
                let apart = (grade - grades.sum / f64::from(grades.count)).abs();
                (agree, all) = (agree + 1.0 - apart.min(1.0), all + 1.0);
            }
            grades.count = grades.count.saturating_add(1);
            (grades.sum, grades.squares) = (grades.sum + grade, grades.squares + grade * grade);
        }
        (all > 0.0).then(|| agree / all)
    }

    /// Counts a rating that [`Self::hear`] took up out again; its annotator may be asked once more when it was their
    /// last.
    pub(super) fn take_back(&mut self, annotator: u64, feedback: &Feedback) {
        self.ratings = self.ratings.saturating_sub(1);
        if let Some(count) = self.raters.get_mut(&annotator) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.raters.remove(&annotator);
            }
        }
        for (better, worse) in orders(feedback) {
            if let Some(orders) = self.orders.get_mut(&(better.min(worse), better.max(worse))) {
                let count = if better < worse { &mut orders.as_said } else { &mut orders.opposite };
                *count = count.saturating_sub(1);
            }
        }
        let Some((answer, grade)) = grade(feedback) else { return };
        if let Some(grades) = self.grades.get_mut(&answer) {
            *grades = match grades.count {
                // Nothing is left of rounding.
                0 | 1 => Grades::default(),
                count => Grades { count: count - 1, sum: grades.sum - grade, squares: grades.squares - grade * grade },
            };
        }
    }

    /// How unsure the reward model is of the order of two answers, in `[0, 1]`: 1 where they cannot be told apart,
    /// 1/2 where nothing is known.
    pub(super) fn closeness(&self, a: AnswerId, b: AnswerId) -> f64 {
        let (Some(a), Some(b)) = (self.scores.get(&a), self.scores.get(&b)) else { return 0.5 };
        let variance = a.1 * a.1 + b.1 * b.1;
        if variance <= 0.0 {
            // No standard errors: the difference alone, in standard deviations of usual scores.
            return (-(a.0 - b.0).abs()).exp();
        }
        let z = (a.0 - b.0) / variance.sqrt() / APART;
        (-z * z / 2.0).exp()
    }

    /// The two answers that the reward model is least sure of; of equals the first.
    pub(super) fn closest_pair(&self) -> Option<(AnswerId, AnswerId)> {
        let pairs = self.answers().enumerate().flat_map(|(i, a)| self.answers().skip(i + 1).map(move |b| (a, b)));
        let scored = pairs.map(|(a, b)| (self.closeness(a, b), (a, b)));
        scored.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, pair)| pair)
    }

    /// The answer whose score is least sure; of equals the first.
    pub(super) fn least_sure(&self) -> Option<AnswerId> {
        let std = |answer: AnswerId| self.scores.get(&answer).map_or(f64::INFINITY, |score| score.1);
        self.answers().reduce(|best, next| if std(next) > std(best) { next } else { best })
    }

    /// How useful a rating would be: the reward model's uncertainty (greatest standard error, and how close the closest
    /// pair is) plus the annotators' disagreement, each in `[0, 1]`.
    pub fn worth(&self) -> f64 {
        let std = self.scores.values().map(|score| score.1).fold(0.0, f64::max);
        let close = self.closest_pair().map_or(0.0, |(a, b)| self.closeness(a, b));
        std / (1.0 + std) + close + self.disagreement()
    }

    /// How much those who rated it disagree, in `[0, 1]`: of the most disputed order or grade.
    fn disagreement(&self) -> f64 {
        let disputed = |orders: &Orders| {
            let (same, other) = (f64::from(orders.as_said), f64::from(orders.opposite));
            if same + other > 0.0 { 2.0 * same.min(other) / (same + other) } else { 0.0 }
        };
        // The deviation of grades is at most 1/2.
        let spread = |grades: &Grades| {
            let (count, sum) = (f64::from(grades.count.max(1)), grades.sum);
            2.0 * (grades.squares / count - (sum / count).powi(2)).max(0.0).sqrt()
        };
        self.orders.values().map(disputed).chain(self.grades.values().map(spread)).fold(0.0, f64::max)
    }
}

/// What an event says of orders: better and worse.
fn orders(feedback: &Feedback) -> Vec<(AnswerId, AnswerId)> {
    match &feedback.kind {
        FeedbackKind::Pair { better, worse, .. } => vec![(*better, *worse)],
        FeedbackKind::Ranking { levels } => {
            let below = |i: usize| levels[i + 1..].iter().flatten().copied();
            let of = |(i, level): (usize, &Vec<AnswerId>)| -> Vec<(AnswerId, AnswerId)> {
                level.iter().flat_map(|better| below(i).map(move |worse| (*better, worse))).collect()
            };
            levels.iter().enumerate().flat_map(of).collect()
        }
        _ => Vec::new(),
    }
}

/// What an event says of one answer alone, from 0 to 1.
fn grade(feedback: &Feedback) -> Option<(AnswerId, f64)> {
    match feedback.kind {
        FeedbackKind::Thumb { answer, up } => Some((answer, f64::from(u8::from(up)))),
        _ => feedback.grade(),
    }
}
