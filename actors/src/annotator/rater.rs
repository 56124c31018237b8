//! Who rates, apart from when and through what.
//!
//! Invariant: a rater sees only what a person at the page would see. Gold values never travel with feedback.

use understudy_learning::annotators::{Annotator, RatedAnswer, RatingTask};
use understudy_learning::gold::{Taste, Types, worth_by_type};
use understudy_learning::rng::{Purpose, Stream};
use understudy_learning::stages::{Feedback, Finish, Question, Rollout};

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
    fn gold(&self, question: &Question, answer: &Rollout) -> Option<f64>;
}

/// A simulated population.
pub struct Crowd {
    members: Vec<Annotator>,
    /// Mean number of members who look at the answers to one question.
    attention: f64,
    common_taste: Taste,
    types: Types,
    seed: u64,
}

/// Streams for who looks at what lie above those of the members' own choices.
const ATTENTION_STREAMS: u64 = 1 << 63;

impl Crowd {
    /// A population of which, for each question, `attention` members on average say something. `common_taste` and
    /// `types` are what the gold value is measured by.
    pub fn new(members: Vec<Annotator>, attention: f64, common_taste: Taste, types: Types, seed: u64) -> Self {
        Self { members, attention, common_taste, types, seed }
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
        let answers = answered.answers.iter().map(shown).collect();
        let member = &self.members[who];
        let task = RatingTask { question: &answered.question, answers, number };
        member.rate(&task, now_ms, &mut member.task_stream(number))
    }

    fn gold(&self, question: &Question, answer: &Rollout) -> Option<f64> {
        Some(worth_by_type(&self.common_taste, &self.types, question, &answer.text, finished(answer)))
    }
}

fn shown(answer: &Rollout) -> RatedAnswer<'_> {
    RatedAnswer { id: answer.id, text: &answer.text, finished: finished(answer) }
}

fn finished(answer: &Rollout) -> bool {
    answer.finish != Finish::Length
}
