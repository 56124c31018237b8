//! `understudy serve`: the daemon.

use clap::Args;

use super::live::{self, Plan, Reload};
use super::{Global, Outcome};
use crate::clock;
use crate::telemetry;

/// Flags of `serve`.
#[derive(Debug, Args)]
#[command(
    after_help = "Answers, takes ratings and learns from them until SIGTERM or Ctrl-C, which drain it; a second signal ends it at
once. SIGHUP (or POST /v1/reload) reads the configuration again. Started again on the same data directory, it goes on from where it was.

Examples:
  understudy serve
  understudy serve --config my.toml --bind 127.0.0.1:9000
  curl -s http://127.0.0.1:8477/v1/chat/completions -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Why is the sky blue?\"}]}'
  curl -s http://127.0.0.1:8477/v1/feedback -d '{\"completion_id\":\"chatcmpl-1\",\"kind\":\"stars\",\"stars\":4}'"
)]
pub struct Flags {
    /// Address to serve on (http.bind)
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<String>,
}

/// Runs `understudy serve`.
pub(super) fn run(global: &Global, flags: Flags) -> Outcome {
    let global = global.with("http.bind", flags.bind);
    let running = global.load()?;
    let config = running.config.clone();
    telemetry::start_logs(&config.log);
    let metrics = Some(telemetry::start_metrics()?);
    live::run(Plan {
        config,
        http: true,
        people_now_ms: clock::now_ms(),
        lockstep: None,
        reload: Some(Reload { running, load: Box::new(move || global.load().map_err(|wrong| wrong.to_string())) }),
        metrics,
        watch: |_| std::future::pending(),
    })
}
