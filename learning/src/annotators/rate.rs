//! What a member says of some answers to a question.
//!
//! Invariant: it sees only the texts. Answers with the same text are never compared with each other.

use rand_distr::{Distribution, Gumbel};

use super::member::{Annotator, Honesty};
use crate::gold::{QuestionType, Taste, gold_reward};
use crate::rng::Stream;
use crate::stages::{AnswerId, Feedback, FeedbackKind, Question};

/// An answer as an annotator sees it.
#[derive(Debug, Clone, Copy)]
pub struct RatedAnswer<'a> {
    /// Names the answer.
    pub id: AnswerId,
    /// What it says.
    pub text: &'a str,
    /// Whether it ended by itself.
    pub finished: bool,
    /// What it is worth by something that all members go by instead of their tastes, in standard deviations of usual answers.
    pub judged: Option<f64>,
}

/// Answers to one question, to be rated by one annotator.
#[derive(Debug, Clone)]
pub struct RatingTask<'a> {
    /// What was asked.
    pub question: &'a Question,
    /// The answers on show.
    pub answers: Vec<RatedAnswer<'a>>,
    /// Counts this annotator's tasks: part of the feedback's id.
    pub number: u64,
}

/// Borders between the stars, in standard deviations: fifths of a normal distribution.
const STAR_CUTS: [f64; 4] = [-0.8416, -0.2533, 0.2533, 0.8416];
/// Nobody ranks more than this in one go.
const MOST_RANKED: usize = 8;

#[derive(Clone, Copy)]
enum Kind {
    Stars,
    Thumb,
    Pair,
    Ranking,
}

impl Annotator {
    /// The feedback that it gives; `None` when it is asleep or has nothing to say that it would like to say.
    pub fn rate(&self, task: &RatingTask<'_>, now_ms: i64, stream: &mut Stream) -> Option<Feedback> {
        if !self.is_awake(now_ms) || task.answers.is_empty() {
            return None;
        }
        let distinct = distinct_texts(&task.answers);
        let kind = self.choose_kind(distinct.len(), stream)?;
        let taste = self.taste_at(now_ms);
        let two_level = self.types.of(task.question) == QuestionType::Closed;
        let quality = |answer: &RatedAnswer<'_>| {
            let gold = self.worth(&taste, task.question, answer);
            match self.honesty {
                Honesty::Good | Honesty::Noisy => gold,
                Honesty::Hostile => 2.0 * self.gold_mean - gold,
            }
        };
        let lapses = stream.uniform() < self.lapse;
        let one = &task.answers[stream.below(task.answers.len())];
        let said = match kind {
            Kind::Stars if lapses => FeedbackKind::Stars { answer: one.id, stars: 1 + stream.below(5) as u8 },
            Kind::Stars => {
                let grade = self.grade(quality(one), stream);
                let stars = 1 + STAR_CUTS.iter().filter(|cut| grade > **cut).count() as u8;
                FeedbackKind::Stars { answer: one.id, stars }
            }
            Kind::Thumb if lapses => FeedbackKind::Thumb { answer: one.id, up: stream.below(2) == 1 },
            Kind::Thumb => FeedbackKind::Thumb { answer: one.id, up: self.grade(quality(one), stream) > 0.0 },
            Kind::Pair => {
                let shown = some_of(&distinct, 2, stream);
                let levels = match two_level {
                    true => self.sort_out(&shown, &quality, lapses, stream),
                    false => self.order(&shown, &quality, lapses, 0.0, stream),
                };
                match levels.as_slice() {
                    [better, worse] => FeedbackKind::Pair { better: better[0], worse: worse[0], strength: 1.0 },
                    // Both right or both wrong: equals.
                    _ => FeedbackKind::Ranking { levels },
                }
            }
            Kind::Ranking => {
                let shown = some_of(&distinct, MOST_RANKED, stream);
                let levels = match two_level {
                    true => self.sort_out(&shown, &quality, lapses, stream),
                    false => self.order(&shown, &quality, lapses, self.just_noticeable, stream),
                };
                FeedbackKind::Ranking { levels }
            }
        };
        Some(Feedback {
            id: format!("{}-{}", self.id, task.number),
            annotator: self.id.clone(),
            at: now_ms,
            kind: said,
            why: None,
        })
    }

    /// What an answer is worth to it, in units of gold reward. Where questions have types, right and wrong are the same
    /// for everybody, and qualities 0 to 1 are spread to one standard deviation of evenly spread ones, √3 either side:
    /// usual answers to open questions then take up all the stars, those to closed ones the outermost.
    fn worth(&self, taste: &Taste, question: &Question, answer: &RatedAnswer<'_>) -> f64 {
        let by_taste = |taste| gold_reward(taste, question, answer.text, answer.finished);
        let judged = answer.judged.map(|judged| self.gold_mean + self.gold_spread * judged);
        let gold = |taste| judged.unwrap_or_else(|| by_taste(taste));
        if !self.types.are_on() {
            return gold(taste);
        }
        let kind = self.types.of(question);
        let taste = if kind == QuestionType::Closed { &self.common_taste } else { taste };
        let quality = self.types.quality(kind, gold(taste));
        self.gold_mean + self.gold_spread * 3f64.sqrt() * (2.0 * quality - 1.0)
    }

    /// A kind that the number of distinct texts allows, by preference.
    fn choose_kind(&self, distinct: usize, stream: &mut Stream) -> Option<Kind> {
        let comparable = |weight: f64| if distinct >= 2 { weight } else { 0.0 };
        let weights = [
            (Kind::Stars, self.kinds.stars),
            (Kind::Thumb, self.kinds.thumbs),
            (Kind::Pair, comparable(self.kinds.pairs)),
            (Kind::Ranking, comparable(self.kinds.rankings)),
        ];
        let mut left = stream.uniform() * weights.iter().map(|(_, weight)| weight).sum::<f64>();
        let possible = weights.into_iter().filter(|(_, weight)| *weight > 0.0);
        let mut chosen = None;
        for (kind, weight) in possible {
            chosen = Some(kind);
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        chosen
    }

    /// Its opinion of one answer in standard deviations: logistic noise at its temperature, then its own shift.
    fn grade(&self, quality: f64, stream: &mut Stream) -> f64 {
        let noise = self.temperature * (gumbel(stream) - gumbel(stream));
        (quality + noise - self.gold_mean) / self.gold_spread + self.bias
    }

    /// At most two levels, what it takes for right first: each answer's quality against the middle, with logistic noise
    /// at its temperature.
    fn sort_out(
        &self,
        shown: &[RatedAnswer<'_>],
        quality: &dyn Fn(&RatedAnswer<'_>) -> f64,
        lapses: bool,
        stream: &mut Stream,
    ) -> Vec<Vec<AnswerId>> {
        let (mut right, mut wrong) = (Vec::new(), Vec::new());
        for answer in shown {
            let noise = self.temperature * (gumbel(stream) - gumbel(stream));
            let seen = if lapses { noise } else { quality(answer) - self.gold_mean + noise };
            if seen > 0.0 { &mut right } else { &mut wrong }.push(answer.id);
        }
        [right, wrong].into_iter().filter(|level| !level.is_empty()).collect()
    }

    /// Best level first. Sorting quality / T + Gumbel noise draws from the Plackett-Luce model at temperature T
    /// (Yellott 1977); neighbours that then seem closer than `noticeable` are equals.
    fn order(
        &self,
        shown: &[RatedAnswer<'_>],
        quality: &dyn Fn(&RatedAnswer<'_>) -> f64,
        lapses: bool,
        noticeable: f64,
        stream: &mut Stream,
    ) -> Vec<Vec<AnswerId>> {
        let seen = |answer: &RatedAnswer<'_>, stream: &mut Stream| {
            let noise = self.temperature * gumbel(stream);
            (if lapses { noise } else { quality(answer) + noise }, answer.id)
        };
        let mut seen: Vec<(f64, AnswerId)> = shown.iter().map(|answer| seen(answer, stream)).collect();
        seen.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut levels: Vec<Vec<AnswerId>> = Vec::new();
        let mut top = f64::INFINITY;
        for (value, id) in seen {
            match levels.last_mut() {
                Some(level) if top - value < noticeable => level.push(id),
                _ => {
                    top = value;
                    levels.push(vec![id]);
                }
            }
        }
        levels
    }
}

fn gumbel(stream: &mut Stream) -> f64 {
    Gumbel::new(0.0, 1.0).expect("scale 1 is valid").sample(stream)
}

/// The first answer of each text.
fn distinct_texts<'a>(answers: &[RatedAnswer<'a>]) -> Vec<RatedAnswer<'a>> {
    let mut distinct: Vec<RatedAnswer<'a>> = Vec::new();
    for answer in answers {
        if distinct.iter().all(|known| known.text.trim() != answer.text.trim()) {
            distinct.push(*answer);
        }
    }
    distinct
}

/// At most `count` of the answers, in random order.
fn some_of<'a>(answers: &[RatedAnswer<'a>], count: usize, stream: &mut Stream) -> Vec<RatedAnswer<'a>> {
    stream.permutation(answers.len()).into_iter().take(count).map(|index| answers[index]).collect()
}
