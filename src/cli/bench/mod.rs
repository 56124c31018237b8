//! `understudy bench`: how fast this machine generates and learns, by phase, per wall second and per core-second.
//!
//! Invariant: what is measured is the code that serves and learns, on the configured model. Only the cost curve of the
//! reward model is measured on a tiny one with simulated people, and instead of the rest.

mod generate;
mod learn;
mod meter;
mod reward_cost;
mod serve;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::evaluate::held_out;
use super::{Failure, Global, Outcome, progress_bar};
use crate::resources;
use crate::speaker::{Speaker, Which, parameter_count};

/// Flags of `bench`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Prints one JSON object: generation at each batch size, one PPO iteration, one reward update and one SFT step by
phase; 'cpu' is processor time over all threads, so that rate_per_core_second compares machines. With --reward-events:
seconds an event (heard and learned from) in each decade, and how the last compares with the first.

Example:
  understudy bench --batch 1 --batch 8 --tokens 64 | jq .generation"
)]
pub struct Flags {
    /// Answers at the same time; may be given often
    #[arg(long, default_values_t = [1, 8, 32])]
    batch: Vec<usize>,
    /// Tokens decoded in each answer
    #[arg(long, default_value_t = 64)]
    tokens: usize,
    /// Tokens of the prompts that are prefilled
    #[arg(long, default_value_t = 128)]
    prompt: usize,
    /// Only generation
    #[arg(long)]
    only_generation: bool,
    /// Instead of all that: what one rating costs the reward model, up to this many, on a tiny model
    #[arg(long, value_name = "N")]
    reward_events: Option<u64>,
    /// What people see instead
    #[command(subcommand)]
    people: Option<People>,
}

/// What is measured with people in the loop.
#[derive(Debug, Subcommand)]
enum People {
    /// A daemon under clients, learning and not, and how long it takes to learn from a rating
    Serve(serve::Flags),
}

/// Runs `understudy bench`.
pub(super) fn run(global: &Global, flags: Flags) -> Outcome {
    if let Some(People::Serve(flags)) = &flags.people {
        return serve::run(global, flags);
    }
    let mut config = global.load()?.config;
    crate::telemetry::start_logs(&config.log);
    if flags.batch.contains(&0) || flags.tokens < 2 || flags.prompt < 2 {
        return Err(Failure::Usage("--batch must be at least 1, --tokens and --prompt at least 2".to_owned()));
    }
    if let Some(events) = flags.reward_events {
        // Matrices this small gain nothing from more.
        tch::set_num_threads(1);
        let progress = progress_bar(events, "ratings", false);
        let curve = reward_cost::curve(&config, events, || progress.inc(1))?;
        progress.finish_and_clear();
        return print(
            global,
            &json!({"machine": resources::machine(), "optimised_build": OPTIMISED, "reward_cost": curve}),
        );
    }
    config.source.held_out = config.source.held_out.max(0.5);
    let questions = held_out(&config, 64)?;
    let speaker = Speaker::load(&config, &Which::Base)?;
    let progress = progress_bar(flags.batch.len() as u64 + 3, "measurements", false);
    let mut generation = Vec::new();
    for batch in &flags.batch {
        progress.set_message(format!("generation, {batch} at a time"));
        generation.push(generate::measure(&speaker, &config, *batch, flags.prompt, flags.tokens)?);
        progress.inc(1);
    }
    let mut report = json!({
        "model": {
            "path": config.model.path,
            "parameters": parameter_count(&speaker.loaded),
            "layers": speaker.loaded.config.num_layers,
            "trainable_layers": config.model.trainable_layers,
            "device": format!("{:?}", speaker.device()),
        },
        "machine": resources::machine(),
        "threads": config.threads.intra_op,
        "optimised_build": OPTIMISED,
        "generation": generation,
    });
    if !flags.only_generation {
        progress.set_message("one PPO iteration");
        let material = learn::Material::generate(&speaker, &config, &questions)?;
        report["ppo_iteration"] = learn::ppo(&speaker, &config, &material)?;
        progress.inc(1);
        progress.set_message("one reward update");
        report["reward_update"] = learn::reward(&speaker, &config, &material)?;
        progress.inc(1);
        progress.set_message("one SFT step");
        report["sft_step"] = learn::sft(&speaker, &config, &material)?;
    }
    report["peak_memory_bytes"] = Value::from(resources::peak_memory_bytes());
    progress.finish_and_clear();
    print(global, &report)
}

/// Whether this program was built for speed.
const OPTIMISED: bool = !cfg!(debug_assertions);

fn print(global: &Global, report: &Value) -> Outcome {
    let text = if global.json { report.to_string() } else { format!("{report:#}") };
    println!("{text}");
    Ok(())
}
