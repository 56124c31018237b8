//! The command line: one file a command.
//!
//! Invariant: data goes to stdout, everything else to stderr; a failure is one sentence and an exit code (0 ok, 1 failed,
//! 2 wrong usage or configuration, 3 not ready: something has to be set up or started first).

mod config;
mod failure;
mod global;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use failure::{Failure, Outcome};
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
    /// Check or show the configuration.
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
            failure.exit_code()
        }
    }
}

fn run(cli: Cli) -> Outcome {
    let Cli { global, command } = cli;
    match command {
        Command::Config(command) => config::run(&global, command),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
