//! What one more rating costs the reward model as their number grows.
//!
//! Invariant: the learner, its memory and its settings are the daemon's; the model is tiny and random and the people
//! are simulated, so that it is the number of ratings that the figures show and not the size of a model.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use anyhow::Context;
use serde_json::{Value, json};
use understudy_learning::annotators::{Annotator, Population, PopulationConfig, RatedAnswer, RatingTask};
use understudy_learning::reward::replay::ReplayIndex;
use understudy_learning::reward::{RewardExample, RewardLearner};
use understudy_learning::rng::{Purpose, Stream};
use understudy_learning::stages::{Prompt, Question, Rollout};
use understudy_model::testing::tiny_model;

use super::meter::{Meter, Spent, rounded};
use crate::config::Config;
use crate::resources;

/// Words of the simulated answers.
const WORDS: [&str; 6] = ["tea", "cup", "hot", "and", "pot", "sip"];
/// Answers to a question.
const ANSWERS: usize = 4;
/// Share of the memory that holds the newest ratings.
const RECENT_SHARE: f64 = 0.5;

/// Hears and learns from `events` ratings; seconds an event by decade (1 to 100, 100 to 1000 and so on).
pub(super) fn curve(config: &Config, events: u64, tick: impl Fn()) -> anyhow::Result<Value> {
    let mut run = Run::new(config)?;
    let (mut decades, mut from, mut to) = (Vec::new(), 0, 100.min(events));
    while from < events {
        let (mut hear, mut learn) = (Spent::default(), Spent::default());
        for number in from..to {
            let event = run.rating(number)?;
            let meter = Meter::start();
            run.hear(event)?;
            hear.add(meter.spent());
            let meter = Meter::start();
            run.learn(number)?;
            learn.add(meter.spent());
            tick();
        }
        let count = (to - from) as f64;
        // A tiny model's step takes milliseconds: more decimals than for the real one.
        let each = |spent: Spent| (spent.wall / count * 1e6).round() / 1e6;
        decades.push(json!({
            "from": from + 1,
            "to": to,
            "hear_s": each(hear),
            "learn_s": each(learn),
            "seconds_per_event": each(Spent { wall: hear.wall + learn.wall, ..hear }),
            // Unlike wall time, it does not count waiting for a processor that others use.
            "cpu_seconds_per_event": each(Spent { wall: hear.cpu + learn.cpu, ..hear }),
            "memory_bytes": resources::memory_bytes(),
        }));
        (from, to) = (to, (to * 10).min(events));
    }
    let ratio = |name: &str| {
        let cost = |decade: Option<&Value>| decade.and_then(|decade| decade[name].as_f64());
        cost(decades.last()).zip(cost(decades.first())).map(|(last, first)| rounded(last / first))
    };
    Ok(json!({
        "events": events,
        "events_in_memory": run.memory.len(),
        "minibatch": config.reward.batch_size,
        "steps": run.learner.version(),
        "decades": decades,
        "last_over_first": ratio("seconds_per_event"),
        "cpu_last_over_first": ratio("cpu_seconds_per_event"),
    }))
}

struct Run {
    learner: RewardLearner,
    people: Vec<Annotator>,
    memory: ReplayIndex,
    examples: BTreeMap<u64, RewardExample>,
    newest: Vec<u64>,
    batch: usize,
    steps_an_event: f64,
    owed: f64,
    seed: u64,
}

impl Run {
    fn new(config: &Config) -> anyhow::Result<Self> {
        let model = tiny_model(config.seed);
        Ok(Self {
            learner: RewardLearner::new(model.trunk, &model.branch, config.reward.learner.clone(), config.seed)?,
            people: Population::draw(&PopulationConfig { members: 24, ..Default::default() }, config.seed)?,
            memory: ReplayIndex::new(config.hearing.replay, RECENT_SHARE),
            examples: BTreeMap::new(),
            newest: Vec::new(),
            batch: config.reward.batch_size,
            steps_an_event: config.hearing.minibatches_per_event,
            owed: 0.0,
            seed: config.seed,
        })
    }

    /// Someone's rating of short random answers to a question of its own; whoever declines leaves it to the next.
    fn rating(&self, number: u64) -> anyhow::Result<RewardExample> {
        let question = Arc::new(question(number));
        let mut stream = Stream::new(self.seed, Purpose::Evaluation, number);
        let answers: Vec<Rollout> = (0..ANSWERS).map(|at| answer(number, at, &question, &mut stream)).collect();
        let rated: Vec<RatedAnswer<'_>> = answers
            .iter()
            .map(|answer| RatedAnswer { id: answer.id, text: &answer.text, finished: true, judged: None })
            .collect();
        let task = RatingTask { question: &question, answers: rated, number };
        let turn = |shift: usize| &self.people[(number as usize + shift) % self.people.len()];
        let feedback = (0..self.people.len())
            .find_map(|shift| turn(shift).rate(&task, 0, &mut turn(shift).task_stream(number)))
            .context("no simulated annotator rates anything; check the population")?;
        Ok(RewardExample { seq: number, answers, feedback, closedness: 0.5, lines: Vec::new() })
    }

    /// Foretells a rating, records how that went and keeps it.
    fn hear(&mut self, event: RewardExample) -> anyhow::Result<()> {
        if let Some(prediction) = self.learner.predict(&event)? {
            self.learner.record(&prediction);
        }
        let mut hasher = DefaultHasher::new();
        event.answers[0].prompt.question.id.hash(&mut hasher);
        event.feedback.kind_name().hash(&mut hasher);
        let mut stream = Stream::new(self.seed, Purpose::Replay, 2 * event.seq);
        if let Some(evicted) = self.memory.insert(event.seq, hasher.finish(), 0, &mut stream) {
            self.examples.remove(&evicted);
        }
        self.newest.push(event.seq);
        self.examples.insert(event.seq, event);
        Ok(())
    }

    /// The minibatches that are due: first what is new, filled up from the memory.
    fn learn(&mut self, number: u64) -> anyhow::Result<()> {
        self.owed += self.steps_an_event;
        let mut stream = Stream::new(self.seed, Purpose::Replay, 2 * number + 1);
        while self.owed >= 1.0 {
            self.owed -= 1.0;
            let fresh: BTreeSet<u64> = self.newest.drain(..self.newest.len().min(self.batch)).collect();
            let again = self.memory.draw(self.batch - fresh.len(), &fresh, &mut stream);
            let chosen = fresh.iter().chain(&again).filter_map(|seq| self.examples.get(seq));
            self.learner.learn(&chosen.cloned().collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

fn question(number: u64) -> Question {
    Question {
        id: format!("bench/{number}"),
        source: "bench".into(),
        title: "Tea?".into(),
        body: String::new(),
        tags: Vec::new(),
        author: None,
        url: None,
        licence: None,
        asked_at: 0,
        closedness: None,
        terms: None,
    }
}

/// One to three words; the tokens are their bytes.
fn answer(number: u64, at: usize, question: &Arc<Question>, stream: &mut Stream) -> Rollout {
    let text = (0..=stream.below(3)).map(|_| WORDS[stream.below(WORDS.len())]).collect::<Vec<_>>().join(" ");
    let tokens: Vec<i64> = text.bytes().map(i64::from).collect();
    let prompt = Prompt { question: question.clone(), tokens: vec![i64::from(b'?')] };
    Rollout::written(number * ANSWERS as u64 + at as u64, number, prompt, tokens, text, true)
}
