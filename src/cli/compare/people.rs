//! The same people and questions for every arm.
//!
//! Invariant: people always know a question's type; the learners are told it only in the arm that declares it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use understudy_actors::annotator::{Plan, Rater};
use understudy_actors::daemon::DaemonParts;
use understudy_actors::messages::AnsweredQuestion;
use understudy_actors::source::{Draw, QuestionSource, SourceError};
use understudy_checkpoints::checkpoint::sha256_hex;
use understudy_learning::annotators::Population;
use understudy_learning::gold::{QuestionType, Types, gold_reward};
use understudy_learning::reward::openness::{CLOSED_TAG, OPEN_TAG};
use understudy_learning::stages::{Feedback, Question, Rollout};

use super::super::Failure;
use super::measure::Answers;
use crate::config::{Config, Loaded, Origin};
use crate::sources::drawn::Drawn;

/// P(closed-ended) by which a type is told.
const TOLD: [f64; 2] = [0.1, 0.9];
/// Tags that would tell it, taken off in every arm.
const TELLING: [&str; 2] = [CLOSED_TAG, OPEN_TAG];
/// Questions whose ids are part of the fingerprint.
const FIRST_QUESTIONS: u64 = 256;
/// Smallest spread of usual answers that people are scaled to: where all answers are alike, nobody can tell them apart.
const LEAST_SPREAD: f64 = 1e-3;

/// What usual answers are worth, by which the people's scale is set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Usual {
    /// Mean gold reward.
    pub(super) gold_mean: f64,
    /// Its standard deviation.
    pub(super) gold_spread: f64,
    /// Factor of what people measure in units of gold reward: their temperature and what they can just tell apart.
    pub(super) scale: f64,
    /// Whether it was measured on the base model's answers.
    pub(super) measured: bool,
}

/// Whether somebody has set the people's scale.
pub(super) fn is_scaled(loaded: &Loaded) -> bool {
    let set = |key: &str| !matches!(loaded.origins.get(key), None | Some(Origin::BuiltIn));
    set("annotators.gold_mean") || set("annotators.gold_spread")
}

impl Usual {
    /// As the configuration has it.
    pub(super) fn configured(config: &Config) -> Self {
        let population = &config.annotators.population;
        let (gold_mean, gold_spread) = (population.gold_mean, population.gold_spread);
        Self { gold_mean, gold_spread, scale: 1.0, measured: false }
    }

    /// Of these answers.
    pub(super) fn of(answers: &[Answers], config: &Config) -> Self {
        let population = &config.annotators.population;
        let gold: Vec<f64> = answers
            .iter()
            .flat_map(|asked| {
                let taste = &population.taste;
                asked.said().map(|(text, finished)| gold_reward(taste, &asked.question, text, finished))
            })
            .collect();
        let n = gold.len().max(1) as f64;
        let gold_mean = gold.iter().sum::<f64>() / n;
        let variance = gold.iter().map(|gold| (gold - gold_mean).powi(2)).sum::<f64>() / n;
        let gold_spread = variance.sqrt().max(LEAST_SPREAD);
        Self { gold_mean, gold_spread, scale: gold_spread / population.gold_spread, measured: true }
    }

    /// Makes it the people's scale.
    pub(super) fn put_into(self, config: &mut Config) {
        let population = &mut config.annotators.population;
        (population.gold_mean, population.gold_spread) = (self.gold_mean, self.gold_spread);
        population.temperature *= self.scale;
        population.just_noticeable *= self.scale;
    }
}

/// Who rates and what is asked with one seed, so that two reports can be seen to be of the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    pub(super) seed: u64,
    /// SHA-256 of the people.
    pub(super) people: String,
    /// SHA-256 of the first training questions' ids and types.
    pub(super) questions: String,
}

/// The people and questions that this configuration leads to.
pub(super) fn fingerprint(config: &Config) -> Result<Fingerprint, Failure> {
    let failed = |error: anyhow::Error| Failure::Failed(error);
    let population = &config.annotators.population;
    let members = Population::draw(population, config.seed).map_err(|error| failed(error.into()))?;
    let people = serde_json::to_string(&members).map_err(|error| failed(error.into()))?;
    let types = population.types();
    let mut questions = String::new();
    if let Some(mut source) = Drawn::open(&config.source).map_err(|error| failed(error.into()))? {
        for position in 0..FIRST_QUESTIONS {
            let question = source.draw(position).map_err(|error| failed(error.into()))?;
            let Draw::Question(question) = question else { break };
            questions.push_str(&format!("{} {:?}\n", question.id, types.of(&question)));
        }
    }
    Ok(Fingerprint { seed: config.seed, people: sha256(&people), questions: sha256(&questions) })
}

/// In hexadecimal.
pub(super) fn sha256(text: &str) -> String {
    sha256_hex(text.as_bytes())
}

/// Hides questions' types from the learners, or tells them, and lets the raters know them either way.
pub(super) fn hide_types(parts: DaemonParts, types: Types, tell: bool) -> DaemonParts {
    let known = Known::default();
    let hide = |inner| Box::new(Asked { inner, types, tell, known: known.clone() }) as Box<dyn QuestionSource>;
    let sources = parts.sources.into_iter().map(hide).collect();
    let inform = |inner| Box::new(Informed { inner, known: known.clone() }) as Box<dyn Rater>;
    let rater = parts.rater.map(|(rater, clock)| (inform(rater), clock));
    DaemonParts { sources, rater, ..parts }
}

/// What asked questions declare to the raters, by id. As large as the number of distinct questions asked in a run.
#[derive(Clone, Default)]
struct Known(Arc<Mutex<BTreeMap<String, f64>>>);

impl Known {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, f64>> {
        // A map of numbers is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn restored(&self, question: &Question) -> Question {
        let closedness = self.lock().get(&question.id).copied();
        Question { closedness, ..question.clone() }
    }
}

struct Asked {
    inner: Box<dyn QuestionSource>,
    types: Types,
    tell: bool,
    known: Known,
}

impl QuestionSource for Asked {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn draw(&mut self, position: u64) -> Result<Draw, SourceError> {
        let question = match self.inner.draw(position)? {
            Draw::Question(question) => question,
            none => return Ok(none),
        };
        let told = TOLD[usize::from(self.types.of(&question) == QuestionType::Closed)];
        self.known.lock().insert(question.id.clone(), told);
        let closedness = self.tell.then_some(told);
        let tags = question.tags.iter().filter(|tag| !TELLING.iter().any(|word| tag.eq_ignore_ascii_case(word)));
        let tags = tags.cloned().collect();
        Ok(Draw::Question(Arc::new(Question { closedness, tags, ..Question::clone(&question) })))
    }
}

struct Informed {
    inner: Box<dyn Rater>,
    known: Known,
}

impl Informed {
    fn restored(&self, answered: &AnsweredQuestion) -> AnsweredQuestion {
        AnsweredQuestion { question: Arc::new(self.known.restored(&answered.question)), ..answered.clone() }
    }
}

impl Rater for Informed {
    fn plan(&mut self, answered: &AnsweredQuestion) -> Vec<Plan> {
        self.inner.plan(answered)
    }

    fn rate(&mut self, who: usize, answered: &AnsweredQuestion, now_ms: i64) -> Option<Feedback> {
        let answered = self.restored(answered);
        self.inner.rate(who, &answered, now_ms)
    }

    fn gold(&mut self, question: &Question, answer: &Rollout) -> Option<f64> {
        self.inner.gold(&self.known.restored(question), answer)
    }
}

#[cfg(test)]
mod tests {
    use understudy_learning::reward::openness::declared;

    use super::*;

    struct One(Question);

    impl QuestionSource for One {
        fn name(&self) -> &str {
            "one"
        }

        fn draw(&mut self, _: u64) -> Result<Draw, SourceError> {
            Ok(Draw::Question(Arc::new(self.0.clone())))
        }
    }

    #[test]
    fn learners_are_told_a_type_in_one_arm_only_and_raters_always() {
        let text = r#"{"id":"s/1","source":"s","title":"Which tea?","body":"","tags":["tea","Closed-Ended"],"author":null,
            "url":null,"licence":null,"asked_at":0,"closedness":0.8}"#;
        let question: Question = serde_json::from_str(text).unwrap();
        let types = Types { closed_share: 0.5, right_share: 0.5, gold_mean: 0.0, gold_spread: 1.0 };
        for tell in [false, true] {
            let known = Known::default();
            let inner = Box::new(One(question.clone()));
            let mut asked = Asked { inner, types, tell, known: known.clone() };
            let Draw::Question(shown) = asked.draw(0).unwrap() else { panic!("there is one") };
            assert_eq!(declared(&shown), tell.then_some(0.9));
            assert_eq!((shown.tags.as_slice(), shown.text()), (["tea".to_owned()].as_slice(), question.text()));
            assert_eq!(types.of(&known.restored(&shown)), QuestionType::Closed);
        }
    }
}
