//! What `sft`, `reward` and `ppo` share on the command line.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Failure, Global, Outcome, corpora, progress_bar};
use crate::bell::Bell;
use crate::config::{Config, Pace};
use crate::corpus::Corpus;
use crate::phases::run::{Learned, Orders, run};
use crate::phases::{Phase, Places, Settings};
use crate::signals;
use crate::speaker::{Speaker, Which};

/// Flags of all three phases.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Learn from this corpus only; may be given often [default: all that were brought in]
    #[arg(long, value_name = "NAME")]
    corpus: Vec<String>,
    /// End after so many steps, counted from the beginning
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// End this start after so many minutes; the same command goes on later
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    /// Forget what was learned before and begin again
    #[arg(long)]
    anew: bool,
}

/// What a phase begins with.
pub(super) struct Begun {
    pub(super) config: Config,
    pub(super) corpora: Vec<Corpus>,
    pub(super) speaker: Speaker,
    pub(super) limit: Option<Duration>,
    pub(super) stop: Bell,
}

/// Loads configuration, corpora and model; hears signals from here on.
pub(super) fn begin(global: &Global, common: &Common) -> Result<Begun, Failure> {
    let limit = match common.minutes {
        Some(minutes) if !(minutes.is_finite() && minutes > 0.0) => {
            return Err(Failure::Usage(format!("--minutes is {minutes}; give a number above 0")));
        }
        minutes => minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0)),
    };
    let config = global.load()?.config.alone();
    crate::telemetry::start_logs(&config.log);
    let corpora = corpora::chosen(&config.data.dir, &common.corpus)?;
    let speaker = Speaker::load(&config, &Which::Base)?;
    Ok(Begun { config, corpora, speaker, limit, stop: signals::bell(leave)? })
}

/// Told twice.
fn leave() {
    let sentence = "told twice: left at once; the same command goes on from the last checkpoint";
    eprintln!("understudy: {sentence}");
    Failure::Ended { code: 130, sentence: sentence.to_owned() }.leave_threads_behind();
    std::process::exit(130);
}

/// Runs the phase to its end.
pub(super) fn learn(
    phase: &mut dyn Phase,
    (pace, settings): (&Pace, Settings),
    places: &Places,
    begun: &Begun,
    (global, common): (&Global, &Common),
) -> Result<Learned, Failure> {
    let pace = Pace { steps: common.steps.unwrap_or(pace.steps), ..pace.clone() };
    let bar = progress_bar(pace.steps, "steps", global.json);
    let orders = Orders { work: &places.work, pace: &pace, limit: begun.limit, settings, anew: common.anew };
    run(phase, &orders, &begun.stop, &bar)
}

/// Tells what came of it.
pub(super) fn report(
    global: &Global,
    phase: &str,
    learned: &Learned,
    folder: &Path,
    material: &Map<String, Value>,
    sentence: &str,
) -> Outcome {
    if global.json {
        let report = json!({
            "phase": phase,
            "ending": learned.ending,
            "steps": learned.steps,
            "resumed_from": learned.resumed,
            "seconds": learned.seconds,
            "material": material,
            "before": learned.before,
            "best_step": learned.best_step,
            "after": learned.after,
            "folder": folder,
        });
        println!("{report}");
        return Ok(());
    }
    println!("{sentence}");
    println!(
        "  {} steps in {:.0} s, the best after step {}; in '{}'",
        learned.steps,
        learned.seconds,
        learned.best_step,
        folder.display()
    );
    Ok(())
}

/// A figure of a look.
pub(super) fn figure(figures: &Map<String, Value>, name: &str) -> f64 {
    figures.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// An object of JSON.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
