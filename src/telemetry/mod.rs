//! Logs to stderr and metrics for Prometheus.
//!
//! Invariant: data goes to stdout, logs go to stderr; a metric that is not in [`metrics::CATALOGUE`] is not emitted.

pub mod metrics;

use std::io::IsTerminal;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{Log, LogFormat};

/// Upper bounds of the buckets of every `_seconds` histogram: half a millisecond to a minute.
const SECONDS: [f64; 17] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0];

/// Sends log lines to stderr in the configured form. Does nothing when logs were started before.
pub fn start_logs(log: &Log) {
    start_logs_into(log, std::io::stderr);
}

/// Sends log lines to `writer`: the live view passes one that prints above its own lines.
pub fn start_logs_into<W>(log: &Log, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let pretty = match log.format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let _ = match pretty {
        true => builder.with_ansi(colour).with_target(false).compact().try_init(),
        false => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
}

/// Installs the process-wide recorder and describes every metric; the handle renders them.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?;
    let handle = builder.install_recorder()?;
    metrics::describe_all();
    Ok(handle)
}
