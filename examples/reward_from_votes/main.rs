//! Trains the reward branch on real votes and compares it with "the longer answer is better" and "the older one is".
//!
//! Run `cargo run --example reward_from_votes` for a few seconds on the built-in sample, or with a dump's folder:
//!
//! ```text
//! cargo run --release --example reward_from_votes -- --dumps path/to/stackexchange --cache target/votes.states
//! ```

mod head;
mod layers;
mod options;
mod states;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tokio::time::Instant;
use understudy::preferences::accuracy::{Accuracy, Tally};
use understudy::preferences::{self, PairRule, VotedAnswer, VotedPair, VotedQuestion};
use understudy::sources::{Shares, Split, sample, split};
use understudy_learning::reward::losses::utility::Utility;
use understudy_learning::reward::openness::spike_slab::{log_likelihood, posterior_mean};
use understudy_learning::reward::{ReliabilityConfig, RewardConfig, RewardLearner, UtilityChoice};
use understudy_learning::stages::{Prompt, Question, Rollout, TrunkStates};
use understudy_model::text::{Message, TextCodec};

use head::Case;
use options::{LossChoice, Options};
use states::{Cache, Kept};

/// A voted question whose answers are tokens.
pub(crate) struct Thread {
    pub(crate) votes: VotedQuestion,
    /// One an answer of `votes`.
    pub(crate) answers: Vec<Rollout>,
    /// One an answer: what an untrained head reads.
    pub(crate) features: Vec<Arc<Vec<f32>>>,
    /// P(closed-ended) by its votes.
    pub(crate) closedness: f64,
}

fn main() -> Result<()> {
    tch::set_num_threads(1);
    let options = Options::parse();
    let mut questions = Vec::new();
    match &options.dumps {
        Some(folder) => {
            for site in &options.sites {
                let file = folder.join(site).join("Posts.xml");
                questions.extend(preferences::of_file(&file, options.answers)?);
            }
        }
        None => {
            println!("no --dumps: the built-in sample and a tiny random model, to see that it works");
            questions = preferences::of_events(sample::events()?, options.answers)?;
        }
    }
    // Not by the hash that splits: a part of the questions then has both parts of the split.
    questions.sort_by_key(|thread| split::hash(&format!("{} drawn", thread.question.id)));
    questions.truncate(options.questions);
    println!("{} questions with answers of different score", questions.len());
    let (text, mut learner) = open(&options)?;
    let mut cache = Cache::open(options.cache.as_deref())?;
    let mut threads = Vec::new();
    let (begun, mut computed, total) = (Instant::now(), 0, questions.len());
    let mut questions = questions.into_iter().peekable();
    while questions.peek().is_some() {
        let mut part = Vec::new();
        for votes in questions.by_ref().take(PART) {
            let first = ((threads.len() + part.len()) * options.answers) as u64;
            let answers = rollouts(&text, &votes, &options, first)?;
            let closedness = closedness(&votes);
            part.push(Thread { votes, answers, features: Vec::new(), closedness });
        }
        computed += compute(&learner, &mut part, &mut cache, &options)?;
        threads.extend(part);
        if computed > 0 {
            let rate = computed as f64 / begun.elapsed().as_secs_f64();
            println!("{} of {total} questions; {computed} tokens computed, {rate:.0} a second", threads.len());
        }
    }
    if options.prepare {
        return Ok(());
    }
    ensure!(!threads.is_empty(), "no question has answers of different score");
    for later_won in if options.table { vec![false, true] } else { vec![options.later_won] } {
        report(learner, &threads, PairRule { later_won }, &options)?;
        (_, learner) = open(&options)?;
    }
    Ok(())
}

/// Baselines and what was learned, on held-out questions and (the head alone) on every question by five-fold
/// cross-validation.
fn report(mut learner: RewardLearner, threads: &[Thread], rule: PairRule, options: &Options) -> Result<()> {
    let shares = Shares { held_out: options.held_out, held_back: 0.0 };
    let part = |split: Split| -> Vec<&Thread> {
        threads.iter().filter(|t| split::of(&t.votes.question.id, shares) == split).collect()
    };
    let (known, asked) = (part(Split::Train), part(Split::HeldOut));
    let all: Vec<&Thread> = threads.iter().collect();
    let filter = if rule.later_won { "only pairs that the later answer won" } else { "all pairs" };
    println!("\n{filter}; {} questions to learn from", known.len());
    println!("{:<48} {:<16} {:<16}", "", "held out", "all questions");
    let baseline = |name: &str, of: fn(&VotedQuestion, &[VotedPair]) -> Tally| {
        let accuracy = |threads: &[&Thread]| {
            let tallies: Vec<Tally> = threads.iter().map(|t| of(&t.votes, &t.votes.pairs(rule))).collect();
            Accuracy::of(&tallies)
        };
        let (held_out, all) = (accuracy(&asked), accuracy(&all));
        println!("{name:<48} {:<16} {:<16}", held_out.to_string(), all.to_string());
        (held_out, all)
    };
    let counts = baseline("the longer answer", VotedQuestion::longer_is_right);
    baseline("the older answer", VotedQuestion::older_is_right);
    if options.learning_rate > 0.0 {
        for (epoch, tallies) in layers::learn(&mut learner, &known, &asked, rule, options)?.iter().enumerate() {
            println!("{:<48} {}", format!("layers learn, pass {}", epoch + 1), Accuracy::of(tallies));
        }
    } else {
        heads(&known, &asked, &all, rule, options)?;
    }
    let (held_out, all) = counts;
    println!(
        "held out: {} pairs of {} questions; all: {} pairs of {} questions",
        held_out.pairs, held_out.questions, all.pairs, all.questions
    );
    Ok(())
}

/// Parts of a cross-validation.
const FOLDS: u64 = 5;

/// The head alone, on what each read-out gives.
fn heads(known: &[&Thread], asked: &[&Thread], all: &[&Thread], rule: PairRule, options: &Options) -> Result<()> {
    let width = all[0].features[0].len();
    let joint = 0..width;
    let mut variants = vec![("joint", joint.clone(), options.loss, false)];
    if options.table {
        let third = width / 3;
        let losses = [LossChoice::Pairs, LossChoice::Common, LossChoice::Dial];
        variants = losses.into_iter().map(|loss| ("joint", joint.clone(), loss, false)).collect();
        let one = |name, part: usize| (name, part * third..(part + 1) * third, LossChoice::Pairs, false);
        variants.extend([one("last token", 0), one("mean after the layers", 1), one("mean before the layers", 2)]);
        variants.push(("joint, and told the length", joint, LossChoice::Pairs, true));
    }
    for (name, columns, loss, length) in variants {
        let cases = |threads: &[&Thread]| -> Vec<Case> {
            threads.iter().map(|t| Case::of(t, &columns, rule, length)).collect()
        };
        let (known, asked, all_cases) = (cases(known), cases(asked), cases(all));
        let (tallies, decay) =
            head::tallies(&known.iter().collect::<Vec<_>>(), &asked.iter().collect::<Vec<_>>(), loss)?;
        let mut by_fold = Vec::new();
        for fold in 0..FOLDS {
            let side = |own: bool| -> Vec<&Case> {
                let of = |thread: &Thread| split::hash(&format!("{} fold", thread.votes.question.id)) % FOLDS;
                all.iter().zip(&all_cases).filter(|(t, _)| (of(t) == fold) == own).map(|(_, case)| case).collect()
            };
            by_fold.extend(head::tallies(&side(false), &side(true), loss)?.0);
        }
        let name = format!("head, {name}, {loss:?}, decay {decay}");
        println!("{name:<48} {:<16} {:<16}", Accuracy::of(&tallies).to_string(), Accuracy::of(&by_fold).to_string());
    }
    Ok(())
}

/// P(closed-ended) by how the votes are spread between the answers: log votes on a scale from 0 to 1 as means whose
/// variance is that of a Poisson count.
fn closedness(votes: &VotedQuestion) -> f64 {
    let count = |answer: &VotedAnswer| answer.score.max(0) as f64;
    let most = votes.answers.iter().map(count).fold(1.0, f64::max).ln_1p();
    let means: Vec<f64> = votes.answers.iter().map(|answer| count(answer).ln_1p() / most).collect();
    let variances: Vec<f64> = votes.answers.iter().map(|answer| 1.0 / (1.0 + count(answer)) / (most * most)).collect();
    posterior_mean(&log_likelihood(&means, &variances), 0.5, PRIOR_RATINGS)
}

/// Strength of the prior opinion that a question is as likely open-ended as closed-ended.
const PRIOR_RATINGS: f64 = 4.0;

/// Questions whose answers are sorted by length together, so that little is padded.
const PART: usize = 40;
/// Tokens in one pass.
const PASS: usize = 2048;

/// Computes what the cache lacks of the threads' answers and gives every answer its states; tells how many tokens.
fn compute(learner: &RewardLearner, part: &mut [Thread], cache: &mut Cache, options: &Options) -> Result<usize> {
    let mut lacking: Vec<&Rollout> = part.iter().flat_map(|thread| &thread.answers).collect();
    lacking.retain(|answer| cache.get(key(answer, options)).is_none());
    lacking.sort_by_key(|answer| std::cmp::Reverse(answer.all_tokens().len()));
    let mut computed = 0;
    while !lacking.is_empty() {
        let longest = lacking[0].all_tokens().len();
        let rest = lacking.split_off((PASS / longest).clamp(1, lacking.len()));
        let mut pass: Vec<Rollout> = std::mem::replace(&mut lacking, rest).into_iter().cloned().collect();
        learner.fill_states(&mut pass)?;
        for (answer, features) in pass.iter().zip(learner.features(&pass)?) {
            let TrunkStates::Present { values, .. } = &answer.trunk else { continue };
            computed += answer.all_tokens().len();
            cache.put(key(answer, options), Kept { states: values.clone(), features: Arc::new(features) })?;
        }
    }
    for thread in part {
        for answer in &mut thread.answers {
            let kept = cache.get(key(answer, options)).context("it was just computed")?;
            let width = kept.states.len() / answer.all_tokens().len();
            answer.trunk = TrunkStates::Present { values: kept.states.clone(), width };
            thread.features.push(kept.features.clone());
        }
    }
    Ok(computed)
}

/// The text codec and an untrained reward branch of the model that the options name.
fn open(options: &Options) -> Result<(TextCodec, RewardLearner)> {
    let default = RewardConfig::default();
    let config = RewardConfig {
        learning_rate: options.learning_rate,
        utility_weight: if options.loss == LossChoice::Pairs { 0.0 } else { default.utility_weight },
        utility: match options.loss {
            LossChoice::Common => UtilityChoice::Common { utility: Utility::LogSigmoid { c: 4.0 } },
            _ => UtilityChoice::Dial,
        },
        // One voice: all voters together.
        reliability: ReliabilityConfig { learn: false, ..ReliabilityConfig::default() },
        tokens_per_pass: 8192,
        ..default
    };
    if options.dumps.is_none() {
        let tiny = understudy_model::testing::tiny_model(1);
        return Ok((tiny.text, RewardLearner::new(tiny.trunk, &tiny.branch, config, options.seed)?));
    }
    let loaded = understudy_model::weights::load(Path::new(&options.model))?;
    let (trunk, branch) = understudy_model::build(&loaded.config, &loaded.weights, options.layers, tch::Device::Cpu)?;
    Ok((loaded.text, RewardLearner::new(trunk, &branch, config, options.seed)?))
}

/// The answers as if the model had given them, cut to the options' lengths.
fn rollouts(text: &TextCodec, votes: &VotedQuestion, options: &Options, first: u64) -> Result<Vec<Rollout>> {
    let question = Arc::new(votes.question.clone());
    let tokens = prompt(text, &question, options)?;
    let mut rollouts = Vec::new();
    for (answer, id) in votes.answers.iter().zip(first..) {
        let mut own = text.encode(&answer.text, false)?;
        let whole = own.len() <= options.tokens;
        own.truncate(options.tokens);
        if whole {
            own.extend(text.special().eos.as_deref().and_then(|token| text.token_id(token)));
        }
        let prompt = Prompt { question: question.clone(), tokens: tokens.clone() };
        rollouts.push(Rollout::written(id, first, prompt, own, answer.text.clone(), whole));
    }
    Ok(rollouts)
}

/// Title and the beginning of the body, through the chat template where there is one.
fn prompt(text: &TextCodec, question: &Question, options: &Options) -> Result<Vec<i64>> {
    let mut body = text.encode(&question.body, false)?;
    body.truncate(options.body_tokens);
    let short = Question { body: text.decode(&body), ..question.clone() };
    if !text.has_chat_template() {
        return Ok(text.encode(&short.text(), false)?);
    }
    Ok(text.encode_chat(&[Message::new("system", ""), Message::user(short.text())], true)?)
}

/// Names what the states depend on.
fn key(answer: &Rollout, options: &Options) -> u64 {
    split::hash(&format!("{} {} {:?}", options.model.display(), options.layers, answer.all_tokens()))
}
