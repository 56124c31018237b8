//! Who rates, apart from when and through what.
//!
//! Invariant: a rater sees only what a person at the page would see. Gold values never travel with feedback.

use std::collections::BTreeMap;

use understudy_learning::annotators::{Annotator, RatedAnswer, RatingTask};
use understudy_learning::gold::{Taste, Types, worth_by_type};
use understudy_learning::rng::{Purpose, Stream};
use understudy_learning::stages::{AnswerId, Feedback, Finish, Question, Rollout};

use crate::messages::AnsweredQuestion;

/// A rating that will be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Which of the rater's people.
    pub who: usize,
    /// How long they take, in milliseconds of their own time.
    pub delay_ms: u64,
}

/// People, simulated or otherwise scripted, who rate what is answered.
pub trait Rater: Send {
    /// Who will say something of these answers, and when.
    fn plan(&mut self, answered: &AnsweredQuestion) -> Vec<Plan>;
    /// What `who` says when the time has come; `None` when they do not feel like it.
    fn rate(&mut self, who: usize, answered: &AnsweredQuestion, now_ms: i64) -> Option<Feedback>;
    /// What the answer is really worth, where the rater knows; shown to watchers, never to the learners.
    fn gold(&mut self, question: &Question, answer: &Rollout) -> Option<f64>;
}

/// What people go by who have no taste of their own: the worth of an answer in standard deviations of usual answers.
pub trait Critic: Send {
    /// `None` where it cannot tell.
    fn worth(&mut self, answer: &Rollout) -> Option<f64>;
}

/// A critic's verdicts, each asked for once.
struct Verdicts {
    critic: Box<dyn Critic>,
    known: BTreeMap<AnswerId, Option<f64>>,
}

/// Verdicts in memory; those of the oldest answers are asked for again where anybody still cares.
const MOST_VERDICTS: usize = 16_384;

impl Verdicts {
    fn of(&mut self, answer: &Rollout) -> Option<f64> {
        let critic = &mut self.critic;
        let verdict = *self.known.entry(answer.id).or_insert_with(|| critic.worth(answer));
        if self.known.len() > MOST_VERDICTS {
            self.known.pop_first();
        }
        verdict
    }
}

/// A simulated population.
pub struct Crowd {
    members: Vec<Annotator>,
    /// Mean number of members who look at the answers to one question.
    attention: f64,
    common_taste: Taste,
    types: Types,
    verdicts: Option<Verdicts>,
    seed: u64,
}

/// Streams for who looks at what lie above those of the members' own choices.
const ATTENTION_STREAMS: u64 = 1 << 63;

impl Crowd {
    /// A population of which, for each question, `attention` members on average say something. `common_taste` and
    /// `types` are what the gold value is measured by.
    pub fn new(members: Vec<Annotator>, attention: f64, common_taste: Taste, types: Types, seed: u64) -> Self {
        Self { members, attention, common_taste, types, verdicts: None, seed }
    }

    /// The same people, who go by this critic instead of their tastes; the gold value is its verdict.
    pub fn judged_by(self, critic: Box<dyn Critic>) -> Self {
        Self { verdicts: Some(Verdicts { critic, known: BTreeMap::new() }), ..self }
    }
}

impl Rater for Crowd {
    fn plan(&mut self, answered: &AnsweredQuestion) -> Vec<Plan> {
        let Some(first) = answered.answers.first() else { return Vec::new() };
        let stream = &mut Stream::new(self.seed, Purpose::Annotator, ATTENTION_STREAMS | first.group);
        // The whole part always looks, the fraction with its probability.
        let whole = self.attention.floor();
        let looking = whole as usize + usize::from(stream.uniform() < self.attention - whole);
        let order = stream.permutation(self.members.len());
        let plan = |who: usize, stream: &mut Stream| Plan { who, delay_ms: self.members[who].delay_ms(stream) };
        order.into_iter().take(looking).map(|who| plan(who, stream)).collect()
    }

    fn rate(&mut self, who: usize, answered: &AnsweredQuestion, now_ms: i64) -> Option<Feedback> {
        let number = answered.answers.first()?.group;
        let verdicts = &mut self.verdicts;
        let judged = |answer: &Rollout| match verdicts {
            Some(verdicts) => verdicts.of(answer).map(Some),
            None => Some(None),
        };
        // Where the critic cannot tell, nobody says anything.
        let judged: Vec<Option<f64>> = answered.answers.iter().map(judged).collect::<Option<_>>()?;
        let answers = answered.answers.iter().zip(judged).map(|(answer, judged)| shown(answer, judged)).collect();
        let member = &self.members[who];
        let task = RatingTask { question: &answered.question, answers, number };
        member.rate(&task, now_ms, &mut member.task_stream(number))
    }

    fn gold(&mut self, question: &Question, answer: &Rollout) -> Option<f64> {
        if let Some(verdicts) = &mut self.verdicts {
            return verdicts.of(answer);
        }
        Some(worth_by_type(&self.common_taste, &self.types, question, &answer.text, finished(answer)))
    }
}

fn shown(answer: &Rollout, judged: Option<f64>) -> RatedAnswer<'_> {
    RatedAnswer { id: answer.id, text: &answer.text, finished: finished(answer), judged }
}

fn finished(answer: &Rollout) -> bool {
    answer.finish != Finish::Length
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use understudy_learning::annotators::{KindWeights, Population, PopulationConfig};
    use understudy_learning::stages::FeedbackKind;

    use super::*;
    use crate::testkit::{question, rollout};

    /// Likes answers with high ids, and cannot read the tenth.
    struct HighIds(Arc<AtomicUsize>);

    impl Critic for HighIds {
        fn worth(&mut self, answer: &Rollout) -> Option<f64> {
            self.0.fetch_add(1, Ordering::Relaxed);
            (answer.id != 10).then_some(answer.id as f64)
        }
    }

    fn crowd(config: &PopulationConfig, asked: &Arc<AtomicUsize>) -> Crowd {
        let members = Population::draw(config, 1).unwrap();
        Crowd::new(members, 1.0, config.taste.clone(), config.types(), 1).judged_by(Box::new(HighIds(asked.clone())))
    }

    #[test]
    fn people_who_go_by_a_critic_rank_by_its_verdicts_which_are_asked_for_once() {
        let kinds = KindWeights { stars: 0.0, thumbs: 0.0, pairs: 0.0, rankings: 1.0 };
        // Nobody errs.
        let config = PopulationConfig {
            good: 1.0,
            noisy: 0.0,
            hostile: 0.0,
            kinds,
            temperature: 1e-9,
            lapse: 0.0,
            awake_hours: 24.0,
            just_noticeable: 0.0,
            ..PopulationConfig::default()
        };
        let asked = Arc::new(AtomicUsize::new(0));
        let mut crowd = crowd(&config, &asked);
        let answers = |ids: std::ops::Range<u64>| AnsweredQuestion {
            question: Arc::new(question("q")),
            answers: Arc::new(ids.map(|id| Rollout { id, text: format!("answer {id}"), ..rollout(id, 1) }).collect()),
        };
        let answered = answers(1..4);
        for who in 0..config.members {
            let said = crowd.rate(who, &answered, 0).expect("somebody awake says something");
            assert_eq!(said.kind, FeedbackKind::Ranking { levels: vec![vec![3], vec![2], vec![1]] });
        }
        assert_eq!(crowd.gold(&answered.question, &answered.answers[2]), Some(3.0));
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        // What the critic cannot read nobody rates.
        let unread = answers(9..12);
        assert_eq!(crowd.rate(0, &unread, 0), None);
        assert_eq!(crowd.gold(&unread.question, &unread.answers[1]), None);
    }
}
