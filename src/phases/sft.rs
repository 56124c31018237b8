//! Imitation: the model learns to say what people wrote and others found good.
//!
//! Invariant: only answers to training questions are learned; a step is one minibatch, and which examples stand in it is a
//! function of the seed and the step.

use serde_json::{Map, Value, json};
use understudy_learning::LearnerState;
use understudy_learning::sft::{SftExample, SftLearner, SftProgress};
use understudy_learning::state::{put_tensors, with_prefix};

use super::credit::Credits;
use super::material::{self, Gathered, answer, asked, prompt, to_imitate};
use super::{Look, Phase, Settings, digests};
use crate::bell::Bell;
use crate::config::{Config, Pace};
use crate::corpus::{Corpus, Thread};
use crate::evaluation::Estimate;
use crate::failure::Failure;
use crate::sources::Split;
use crate::speaker::Speaker;

/// Imitation of the accepted and best answers.
pub struct SftPhase {
    learner: SftLearner,
    examples: Vec<SftExample>,
    lengths: Vec<usize>,
    held_out: Vec<SftExample>,
    minibatch: usize,
    seed: u64,
    /// Settings that it depends on.
    pub settings: Settings,
    /// Whom it owes to.
    pub credits: Credits,
    /// Training questions left out because they are held out elsewhere.
    pub doubles: usize,
}

impl SftPhase {
    /// Of the corpora, beginning with the speaker's weights.
    pub fn new(config: &Config, corpora: &[Corpus], speaker: &Speaker) -> Result<Self, Failure> {
        let gathered =
            material::gather(config, corpora, Split::Train, |thread| !to_imitate(thread, config).is_empty())?;
        let Gathered { train, held_out, doubles } = gathered;
        let mut credits = Credits::of_model(&config.model.path)?;
        let mut examples = Vec::new();
        for thread in &train {
            credits.add(thread, to_imitate(thread, config));
            examples.extend(examples_of(thread, speaker, config)?);
        }
        // One answer each: questions are what a look's error is over, and each look takes its time.
        let best = |thread: &Thread| examples_of(thread, speaker, config).map(|mut one| one.drain(..).next());
        let held_out = held_out.iter().map(best).collect::<Result<Vec<_>, _>>()?;
        let held_out: Vec<SftExample> = held_out.into_iter().flatten().collect();
        let sft = &config.phases.sft;
        let (trunk, branch) = (speaker.trunk.shallow_clone(), speaker.branch.shallow_clone());
        let learner = SftLearner::new(trunk, branch, sft.learner(config.ppo.logit_chunk), config.seed);
        let lengths = examples.iter().map(|one| one.prompt.len() + one.completion.len()).collect();
        let mut settings = shared_settings(config, corpora, speaker, ("sft", &config.phases.sft.pace));
        for (key, value) in [
            ("phases.answers", json!(config.phases.answers)),
            ("phases.min_score", json!(config.phases.min_score)),
            ("phases.links", json!(config.phases.links)),
            ("phases.sft.minibatch_size", json!(sft.minibatch_size)),
            ("phases.sft.micro_batch_size", json!(sft.micro_batch_size)),
            ("phases.sft.learning_rate", json!(sft.learning_rate)),
            ("phases.sft.warmup", json!(sft.warmup)),
            ("phases.sft.weight_decay", json!(sft.weight_decay)),
            ("phases.sft.max_grad_norm", json!(sft.max_grad_norm)),
        ] {
            settings.insert(key.to_owned(), value);
        }
        let (minibatch, seed) = (sft.minibatch_size, config.seed);
        Ok(Self { learner, examples, lengths, held_out, minibatch, seed, settings, credits, doubles })
    }

    /// Examples to learn from, and tokens of theirs that are learned.
    pub fn size(&self) -> (usize, usize) {
        (self.examples.len(), self.examples.iter().map(|one| one.completion.len()).sum())
    }

    /// Questions that are looked at.
    pub fn held_out(&self) -> usize {
        self.held_out.len()
    }

    /// The prompts of all examples that are learned from.
    #[cfg(test)]
    pub(super) fn prompts(&self) -> impl Iterator<Item = &[i64]> {
        self.examples.iter().map(|one| one.prompt.as_slice())
    }

    /// Share of an epoch's positions that hold no token: what is lost by putting examples of unlike length into one pass.
    pub fn padding(&self, micro_batch: usize) -> f64 {
        let (mut padded, mut real) = (0, 0);
        for batch in material::epoch(&self.lengths, self.minibatch, self.seed, 0) {
            let mut lengths: Vec<usize> = batch.iter().map(|place| self.lengths[*place]).collect();
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            for pass in lengths.chunks(micro_batch) {
                padded += pass.len() * pass[0];
                real += pass.iter().sum::<usize>();
            }
        }
        1.0 - real as f64 / padded.max(1) as f64
    }

    fn minibatch(&self, step: u64) -> Vec<SftExample> {
        let batches = self.examples.len().div_ceil(self.minibatch) as u64;
        let epoch = material::epoch(&self.lengths, self.minibatch, self.seed, step / batches);
        // Windows do not cross the end of an epoch, so that its batches are as many each time.
        epoch[(step % batches) as usize].iter().map(|place| self.examples[*place].clone()).collect()
    }
}

fn examples_of(thread: &Thread, speaker: &Speaker, config: &Config) -> anyhow::Result<Vec<SftExample>> {
    let prompt = prompt(speaker, &asked(thread, config), config)?;
    let longest = speaker.trunk.max_position();
    let mut examples = Vec::new();
    for post in to_imitate(thread, config) {
        let (completion, _) = answer(speaker, &post.text, config)?;
        if !completion.is_empty() && prompt.len() + completion.len() <= longest {
            examples.push(SftExample { prompt: prompt.clone(), completion });
        }
    }
    Ok(examples)
}

/// What `phase` depends on as every phase does.
pub(super) fn shared_settings(
    config: &Config,
    corpora: &[Corpus],
    speaker: &Speaker,
    (phase, pace): (&str, &Pace),
) -> Settings {
    let [trunk, branch] = digests(speaker);
    let mut settings = Settings::from([
        ("seed".to_owned(), json!(config.seed)),
        ("model.path (its frozen layers)".to_owned(), json!(trunk)),
        ("model.path (its learning layers)".to_owned(), json!(branch)),
        ("model.trainable_layers".to_owned(), json!(config.model.trainable_layers)),
        ("source.held_out".to_owned(), json!(config.source.held_out)),
        ("source.held_back".to_owned(), json!(config.source.held_back)),
        ("source.bodies".to_owned(), json!(config.source.bodies)),
        ("generation.system".to_owned(), json!(config.generation.system)),
        ("generation.max_prompt".to_owned(), json!(config.generation.max_prompt)),
        ("phases.questions".to_owned(), json!(config.phases.questions)),
        ("phases.held_out".to_owned(), json!(config.phases.held_out)),
        ("phases.max_tokens".to_owned(), json!(config.phases.max_tokens)),
        (format!("phases.{phase}.evaluate_every"), json!(pace.evaluate_every)),
        (format!("phases.{phase}.patience"), json!(pace.patience)),
        (format!("phases.{phase}.min_delta"), json!(pace.min_delta)),
    ]);
    for corpus in corpora {
        let manifest = corpus.manifest();
        settings.insert(format!("the corpus {}", manifest.source), json!(manifest.sha256));
    }
    settings
}

impl Phase for SftPhase {
    fn step(&mut self, step: u64, _: &Bell) -> anyhow::Result<Option<Map<String, Value>>> {
        let mut update = self.learner.begin_update(self.minibatch(step))?;
        loop {
            // A minibatch takes seconds: a signal waits for it.
            if let SftProgress::Done(report) = self.learner.next_unit(&mut update)? {
                let Value::Object(figures) = serde_json::to_value(report)? else { return Ok(Some(Map::new())) };
                return Ok(Some(figures));
            }
        }
    }

    fn look(&mut self, stop: &Bell) -> anyhow::Result<Option<Look>> {
        let (mut sum, mut tokens) = (0.0, 0);
        let mut by_question = Vec::new();
        for question in &self.held_out {
            if stop.is_rung() {
                return Ok(None);
            }
            let loss = self.learner.evaluate(std::slice::from_ref(question))?;
            sum += loss * question.completion.len() as f64;
            tokens += question.completion.len();
            by_question.push(loss);
        }
        let loss = sum / tokens.max(1) as f64;
        let error = Estimate::of(&by_question).standard_error;
        let figures = json!({
            "loss": loss,
            "perplexity": loss.exp(),
            "standard_error": error,
            "questions": by_question.len(),
            "tokens": tokens,
        });
        let Value::Object(figures) = figures else { return Ok(None) };
        Ok(Some(Look { loss, figures }))
    }

    fn state(&self) -> LearnerState {
        self.learner.state()
    }

    fn restore(&mut self, state: LearnerState) -> anyhow::Result<()> {
        Ok(self.learner.restore(state)?)
    }

    fn product(&self) -> LearnerState {
        policy_only(&self.learner.policy_snapshot().parameters())
    }
}

/// A policy's weights as a state of their own.
pub(super) fn policy_only(policy: &[(String, tch::Tensor)]) -> LearnerState {
    let mut tensors = Vec::new();
    put_tensors(&mut tensors, POLICY, policy);
    LearnerState { tensors, scalars: Value::Null }
}

/// The weights that `policy_only` keeps, by their names in the model.
pub fn policy_of(product: &LearnerState) -> Vec<(String, tch::Tensor)> {
    with_prefix(&product.tensors, POLICY).into_iter().collect()
}

const POLICY: &str = "policy/";
