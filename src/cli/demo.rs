//! `understudy demo`: the daemon on the built-in questions with simulated people, and a live view of the loop.

use std::io::IsTerminal;

use clap::Args;
use toml::Value;

use super::live::{self, Plan, Running};
use super::{Global, Outcome};
use crate::clock;
use crate::telemetry;
use crate::view::View;

/// Flags of `demo`.
#[derive(Debug, Args)]
#[command(
    after_help = "Shows answers, ratings, reward, KL and versions as they come. Ctrl-C drains it; started again it goes on from
where it was, also after a SIGKILL. Its data lies in data/demo; remove that folder to begin anew.

Examples:
  understudy demo
  understudy demo --updates 20
  understudy demo --set annotators.attention=0        rate yourself, over HTTP"
)]
pub struct Flags {
    /// End after so many policy updates; 0 goes on until told to end
    #[arg(long, default_value_t = 0)]
    updates: u64,
    /// Address to serve on (http.bind)
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<String>,
}

/// What the demo sets unless told otherwise.
fn presets() -> [(&'static str, Value); 7] {
    [
        ("data.dir", Value::from("data/demo")),
        ("source.kind", Value::from("sample")),
        // A small model keeps to the point with a short question and a plain wish.
        ("source.bodies", Value::from(false)),
        ("generation.system", Value::from("Answer in one sentence.")),
        ("annotators.attention", Value::from(3.0)),
        // An hour of theirs passes in six minutes: delays and moods show, and nobody sleeps for long.
        ("annotators.speed", Value::from(10.0)),
        ("log.filter", Value::from("warn")),
    ]
}

/// Runs `understudy demo`.
pub(super) fn run(global: &Global, flags: Flags) -> Outcome {
    let config = global.with("http.bind", flags.bind).load_with("demo", &presets())?.config;
    let view = View::new(std::io::stderr().is_terminal() && !global.json, global.json);
    telemetry::start_logs_into(&config.log, view.log_writer());
    let metrics = Some(telemetry::start_metrics()?);
    view.say("loading the model …");
    let updates = flags.updates;
    live::run(Plan {
        config,
        http: true,
        lockstep: None,
        reload: None,
        people_now_ms: clock::now_ms(),
        metrics,
        watch: move |running: Running| view.watch(running.handle, running.address, running.data, updates),
    })
}
