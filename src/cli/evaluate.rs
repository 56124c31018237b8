//! `understudy evaluate`: the gold reward of fresh answers to held-out questions.

use clap::Args;
use serde_json::json;

use super::{Failure, Global, Outcome, progress_bar, which};
use crate::config::{Config, SourceKind};
use crate::evaluation::{self, Evaluation, Plan};
use crate::sources::{self, Split};
use crate::speaker::{Speaker, Which};
use understudy_learning::stages::Question;

/// Flags of `evaluate`.
#[derive(Debug, Args)]
#[command(
    after_help = "The gold reward is what the simulated people are made to like ([annotators.taste]); a mean comes with
its standard error over questions. Held-out questions are never trained on (source.held_out).

Examples:
  understudy evaluate --compare base                      the newest checkpoint against the base model
  understudy evaluate --set source.kind=stack_exchange --set source.path=Posts.xml --questions 64 --json"
)]
pub struct Flags {
    /// Most questions
    #[arg(long, default_value_t = 64)]
    questions: usize,
    /// Answers to each question
    #[arg(long, default_value_t = 1)]
    samples: usize,
    /// Whose answers: 'newest', 'base', or a checkpoint's directory
    #[arg(long, default_value = "newest", value_name = "WHICH")]
    checkpoint: String,
    /// Compare with these weights on the same questions: 'base' or a checkpoint's directory
    #[arg(long, value_name = "WHICH")]
    compare: Option<String>,
    /// Seed of the sampling
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Answers to show
    #[arg(long, default_value_t = 3)]
    examples: usize,
}

/// Runs `understudy evaluate`.
pub(super) fn run(global: &Global, flags: Flags) -> Outcome {
    let config = global.load()?.config;
    crate::telemetry::start_logs(&config.log);
    let questions = held_out(&config, flags.questions)?;
    let plan = Plan {
        generation: &config.generation,
        taste: &config.annotators.population.taste,
        types: config.annotators.population.types(),
        samples: flags.samples.clamp(1, config.generation.max_sequences),
        seed: flags.seed,
        examples: flags.examples,
    };
    let measure = |which: &Which| -> Result<Evaluation, Failure> {
        let speaker = Speaker::load(&config, which)?;
        let progress = progress_bar(questions.len() as u64 * plan.samples as u64, "answers", global.json);
        let evaluation = evaluation::evaluate(&speaker, &questions, plan, &progress)?;
        progress.finish_and_clear();
        Ok(evaluation)
    };
    let evaluation = measure(&which(&flags.checkpoint))?;
    let compared = flags.compare.as_deref().map(|other| measure(&which(other))).transpose()?;
    let difference = compared.as_ref().map(|other| evaluation::difference(other, &evaluation));
    if global.json {
        println!("{}", json!({"evaluation": evaluation, "compared": compared, "difference": difference}));
        return Ok(());
    }
    show(&evaluation);
    if let (Some(compared), Some(difference)) = (&compared, difference) {
        println!();
        show(compared);
        println!("\ndifference {:+.3} ± {:.3}, question by question", difference.mean, difference.standard_error);
    }
    Ok(())
}

/// Held-out questions of the configured source; the built-in sample stands in when there is none.
pub(super) fn held_out(config: &Config, limit: usize) -> Result<Vec<Question>, Failure> {
    let mut source = config.source.clone();
    if source.kind == SourceKind::None {
        source.kind = SourceKind::Sample;
    }
    let questions = sources::collect(&source, Split::HeldOut, limit).map_err(|error| Failure::Failed(error.into()))?;
    if questions.is_empty() {
        let share = source.held_out;
        return Err(Failure::Usage(format!(
            "no question is held out; raise source.held_out (now {share}) or name a larger source"
        )));
    }
    Ok(questions)
}

fn show(evaluation: &Evaluation) {
    let Evaluation { policy_version, questions, samples, gold, words, finished, examples, .. } = evaluation;
    println!("policy {policy_version}: gold reward {:.3} ± {:.3}", gold.mean, gold.standard_error);
    println!(
        "  {questions} held-out questions, {samples} answers each, {:.1} words, {:.0} % ended by themselves",
        words.mean,
        finished * 100.0
    );
    for example in examples {
        println!(
            "\n  Q  {}\n  A  {}\n     gold {:.2}",
            example.question,
            example.answer.trim().replace('\n', "\n     "),
            example.gold
        );
    }
}
