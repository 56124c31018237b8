//! Logs to stderr and metrics for Prometheus.
//!
//! Invariant: data goes to stdout, logs go to stderr; a metric that is not in [`metrics::CATALOGUE`] is not emitted.

pub mod metrics;
pub mod tensorboard;

use std::io::IsTerminal;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{Log, LogFormat};

/// Replaces a filter.
type SetFilter = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// The way to the filter of the process's one log.
static FILTER: OnceLock<SetFilter> = OnceLock::new();

/// Upper bounds of the buckets of every `_seconds` histogram: half a millisecond to a minute.
const SECONDS: [f64; 17] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0];

/// Those of what takes a policy update: a second to an hour.
const MINUTES: [f64; 12] = [1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// Sends log lines to stderr in the configured form. Does nothing when logs were started before.
pub fn start_logs(log: &Log) {
    start_logs_into(log, std::io::stderr);
}

/// Sends log lines to `writer`: the live view passes one that prints above its own lines.
pub fn start_logs_into<W>(log: &Log, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = filter_of(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let pretty = match log.format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let set: Option<SetFilter> = match pretty {
        true => {
            let builder = builder.with_ansi(colour).with_target(false).compact().with_filter_reloading();
            let handle = builder.reload_handle();
            let set: SetFilter = Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()));
            builder.try_init().is_ok().then_some(set)
        }
        false => {
            let builder = builder.json().flatten_event(true).with_current_span(false).with_filter_reloading();
            let handle = builder.reload_handle();
            let set: SetFilter = Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()));
            builder.try_init().is_ok().then_some(set)
        }
    };
    if let Some(set) = set {
        let _ = FILTER.set(set); // logs start once, so nothing was there
    }
}

/// Replaces what the process's log shows; a filter that cannot be read changes nothing. Where no log was started there is
/// nothing to do.
pub fn set_log_filter(filter: &str) -> Result<(), String> {
    let filter = filter_of(filter)?;
    FILTER.get().map_or(Ok(()), |set| set(filter))
}

fn filter_of(text: &str) -> Result<EnvFilter, String> {
    let filter = EnvFilter::try_new(text);
    let filter = filter.map_err(|error| format!("'log.filter' is \"{text}\", which is no filter ({error})"))?;
    // What it calls errors are clients' broken requests: anybody could fill the log with them.
    let quiet = || "actix_http::h1=off".parse().expect("a target and a level");
    Ok(if text.contains("actix_http") { filter } else { filter.add_directive(quiet()) })
}

/// Installs the process-wide recorder and describes every metric; the handle renders them.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full(metrics::RATING_TO_ANSWER.into()), &MINUTES)?;
    let handle = builder.install_recorder()?;
    metrics::describe_all();
    Ok(handle)
}
