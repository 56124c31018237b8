//! `understudy ask`: one question, answered without a daemon.

use std::io::Write;

use clap::Args;
use serde_json::json;
use understudy_model::{Event, Request};

use super::{Failure, Global, Outcome, which};
use crate::speaker::{Speaker, chat_prompt, engine_config, sampling};

/// Flags of `ask`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  understudy ask 'How do I keep basil alive?'
  understudy ask --checkpoint base --samples 3 'How do I keep basil alive?'
  understudy ask --json 'Why is the sky blue?' | jq -r .answers[0].text")]
pub struct Flags {
    /// The question
    question: String,
    /// Answers to give
    #[arg(long, short = 'n', default_value_t = 1)]
    samples: usize,
    /// Whose weights: 'newest', 'base', or a checkpoint's directory
    #[arg(long, default_value = "newest", value_name = "WHICH")]
    checkpoint: String,
    /// Seed of the sampling
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Runs `understudy ask`.
pub(super) fn run(global: &Global, flags: Flags) -> Outcome {
    let config = global.load()?.config.alone();
    crate::telemetry::start_logs(&config.log);
    let generation = &config.generation;
    if flags.samples == 0 || flags.samples > generation.max_sequences {
        let most = generation.max_sequences;
        return Err(Failure::Usage(format!(
            "--samples is {}; give 1 to {most} (generation.max_sequences)",
            flags.samples
        )));
    }
    let speaker = Speaker::load(&config, &which(&flags.checkpoint))?;
    let prompt = chat_prompt(speaker.text(), &generation.system, &flags.question)?;
    let mut engine = speaker.engine(engine_config(generation));
    let params = sampling(generation, flags.seed);
    let request = Request { id: 0, prompt, samples: flags.samples, params, capture_trunk: false };
    engine.submit(request).map_err(|error| Failure::Failed(error.into()))?;
    let streaming = flags.samples == 1 && !global.json;
    let mut answers = vec![None; flags.samples];
    let mut shown = String::new();
    while !engine.is_idle() {
        for event in engine.step().map_err(|error| Failure::Failed(error.into()))? {
            match event {
                Event::Token { text, .. } if streaming => {
                    print!("{text}");
                    std::io::stdout().flush()?;
                    shown.push_str(&text);
                }
                Event::Finished { sample, output, .. } => answers[sample] = Some(output),
                Event::Token { .. } => {}
            }
        }
    }
    let answers: Vec<_> = answers.into_iter().flatten().collect();
    if global.json {
        let answers: Vec<_> = answers
            .iter()
            .map(|output| {
                let logprob: f64 = output.logprobs.iter().map(|logprob| f64::from(*logprob)).sum();
                json!({"text": output.text, "tokens": output.tokens.len(), "finish": output.finish, "logprob": logprob})
            })
            .collect();
        println!("{}", json!({"policy_version": speaker.version, "question": flags.question, "answers": answers}));
    } else if streaming {
        println!("{}", answers.first().and_then(|output| output.text.strip_prefix(&shown)).unwrap_or_default());
    } else {
        for (number, output) in answers.iter().enumerate() {
            println!("[{}] {}\n", number + 1, output.text.trim());
        }
    }
    Ok(())
}
