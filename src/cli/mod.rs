//! The command line: one file a command.
//!
//! Invariant: data goes to stdout, everything else to stderr; a failure is one sentence and an exit code (0 ok, 1 failed,
//! 2 wrong usage or configuration, 3 not ready: something has to be set up or started first).

mod ask;
mod bench;
mod checkpoints;
mod compare;
mod config;
pub(crate) mod corpora;
mod data;
mod demo;
mod doctor;
mod evaluate;
mod export;
mod global;
mod ingest;
mod learned;
mod live;
mod phase;
mod ppo;
mod replay;
mod reward;
mod serve;
mod sft;
mod simulate;
mod stage;
mod token;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::{Failure, Outcome};
use crate::speaker::Which;
pub use global::Global;

/// Online RLHF as one program: answers live, is rated live, learns live.
#[derive(Debug, Parser)]
#[command(name = "understudy", version, max_term_width = 100)]
#[command(after_help = "Examples:
  understudy demo                              watch the loop learn from simulated people
  understudy serve --config my.toml            the daemon; asks and ratings over HTTP on 127.0.0.1:8477
  understudy ask 'Why is the sky blue?'        one answer from the newest checkpoint (or the base model)
  understudy config show --origin              every knob, its value, and where that came from

Exit codes: 0 ok, 1 failed, 2 wrong usage or configuration, 3 not ready.")]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon: it answers, takes ratings and learns; it resumes by itself
    Serve(serve::Flags),
    /// Watch the loop learn from simulated people on the built-in questions
    Demo(demo::Flags),
    /// Run the loop without HTTP as fast as it goes and write its curve
    Simulate(simulate::Flags),
    /// Answer one question without a daemon
    Ask(ask::Flags),
    /// Tell how good answers to held-out questions are, by themselves and beside another model's
    Evaluate(evaluate::Flags),
    /// Bring in a Stack Exchange dump: a folder, an official .7z, or a Posts.xml
    Ingest(ingest::Flags),
    /// List, remove or clean what was brought in
    #[command(subcommand)]
    Corpora(corpora::Command),
    /// Tell a corpus as the stream of events that it once was, as JSON lines
    Replay(replay::Flags),
    /// Preferences as JSON lines: export, import, report
    #[command(subcommand)]
    Data(data::Command),
    /// Learn to say what people wrote: supervised fine-tuning on a corpus
    Sft(sft::Flags),
    /// Learn a reward model from a corpus's votes
    Reward(reward::Flags),
    /// Learn a policy from a reward model, on a corpus's questions
    Ppo(ppo::Flags),
    /// Show how the reward model reads each person's ratings
    Annotators(learned::annotators::Flags),
    /// Show how closed-ended questions are held to be, and why
    Openness(learned::openness::Flags),
    /// Say whether the reward model has forgotten the difference between types of question
    Collapse(learned::collapse::Flags),
    /// Put a policy version on stage: a kept one, else the candidate (stage.mode = "guarded")
    Promote(stage::Optional),
    /// Take the candidate off the stage, else go back to the lead of before, or to a kept version
    Rollback(stage::Optional),
    /// Keep a policy version on stage whatever comes
    Pin(stage::Pin),
    /// Let other versions come on stage again
    Unpin(stage::Unpin),
    /// Write a checkpoint as a Hugging Face folder
    Export(export::Flags),
    /// List, show, verify, prune or copy checkpoints
    #[command(subcommand)]
    Checkpoints(checkpoints::Command),
    /// Make, list or revoke tokens that let others write over the network
    #[command(subcommand)]
    Token(token::Command),
    /// Say what was found: libtorch, devices, threads, model, data, disk
    Doctor(doctor::Flags),
    /// Measure generation and learning on this machine, as JSON
    Bench(bench::Flags),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(config::Command),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("understudy: {failure}");
            failure.leave_threads_behind();
            failure.exit_code()
        }
    }
}

fn run(cli: Cli) -> Outcome {
    let Cli { global, command } = cli;
    match command {
        Command::Serve(flags) => serve::run(&global, flags),
        Command::Demo(flags) => demo::run(&global, flags),
        Command::Simulate(flags) => simulate::run(&global, flags),
        Command::Ask(flags) => ask::run(&global, flags),
        Command::Evaluate(flags) => evaluate::run(&global, flags),
        Command::Ingest(flags) => ingest::run(&global, flags),
        Command::Corpora(command) => corpora::run(&global, command),
        Command::Replay(flags) => replay::run(&global, &flags),
        Command::Data(command) => data::run(&global, command),
        Command::Sft(flags) => sft::run(&global, flags),
        Command::Reward(flags) => reward::run(&global, flags),
        Command::Ppo(flags) => ppo::run(&global, flags),
        Command::Annotators(flags) => learned::annotators::run(&global, &flags),
        Command::Openness(flags) => learned::openness::run(&global, &flags),
        Command::Collapse(flags) => learned::collapse::run(&global, &flags),
        Command::Promote(flags) => stage::promote(&global, flags),
        Command::Rollback(flags) => stage::rollback(&global, flags),
        Command::Pin(flags) => stage::pin(&global, flags),
        Command::Unpin(flags) => stage::unpin(&global, flags),
        Command::Export(flags) => export::run(&global, flags),
        Command::Checkpoints(command) => checkpoints::run(&global, command),
        Command::Token(command) => token::run(&global, command),
        Command::Doctor(flags) => doctor::run(&global, flags),
        Command::Bench(flags) => bench::run(&global, flags),
        Command::Config(command) => config::run(&global, command),
    }
}

/// Whose weights a flag names.
fn which(name: &str) -> Which {
    match name {
        "base" => Which::Base,
        "newest" => Which::Newest,
        path => Which::At(path.into()),
    }
}

/// A progress bar on stderr; hidden where nobody watches or a machine reads.
fn progress_bar(length: u64, unit: &str, hidden: bool) -> ProgressBar {
    bar(length, &format!("{{pos}}/{{len}} {unit}"), hidden)
}

/// The same for bytes, with their rate.
fn byte_bar(length: u64, hidden: bool) -> ProgressBar {
    bar(length, "{bytes}/{total_bytes} {bytes_per_sec}", hidden)
}

fn bar(length: u64, middle: &str, hidden: bool) -> ProgressBar {
    if hidden || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = format!("{{bar:30}} {middle} {{elapsed}} {{wide_msg}}");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(length).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
