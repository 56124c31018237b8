//! What `serve`, `demo` and `simulate` share: one actix system around one daemon, from the first check to the last
//! thread.
//!
//! Invariant: the port, the model, the disk and the lock are checked before anything starts; the end is always a drain
//! under one deadline, and its exit code says how it went.

use std::future::Future;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::System;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::signal::unix::{SignalKind, signal};
use understudy_actors::daemon::{Daemon, DaemonConfig, DaemonHandle, DaemonParts};
use understudy_actors::lockstep::Lockstep;
use understudy_actors::runtime::{self, Reason, Signals};

use super::{Failure, Outcome};
use crate::assembly;
use crate::clock;
use crate::config::{Config, Live, Load, Loaded, Reloader};
use crate::gateway::daemon::Served;
use crate::gateway::{self, Shared};
use crate::notes::Notes;
use crate::observer::Observer;
use crate::service::Service;
use crate::sources::stack_exchange::api::Polls;
use crate::speaker;
use crate::telemetry::tensorboard;

/// How to run.
pub(super) struct Plan<W> {
    /// The settings.
    pub(super) config: Config,
    /// Serve HTTP.
    pub(super) http: bool,
    /// What simulated people take for now, in milliseconds since the Unix epoch.
    pub(super) people_now_ms: i64,
    /// Whether the run is to repeat itself bit for bit.
    pub(super) lockstep: Option<Lockstep>,
    /// How the configuration is read again, on SIGHUP and over HTTP; without it SIGHUP drains, as a closed terminal does.
    pub(super) reload: Option<Reload>,
    /// Renders metrics.
    pub(super) metrics: Option<PrometheusHandle>,
    /// Watches the loop; the daemon ends when it returns, and the text says why.
    pub(super) watch: W,
}

/// How the configuration is read again.
pub(super) struct Reload {
    /// With what it was started.
    pub(super) running: Loaded,
    /// Puts it together again.
    pub(super) load: Load,
}

/// What a watcher is told at the start.
pub(super) struct Running {
    /// The way to the daemon.
    pub(super) handle: DaemonHandle,
    /// Where HTTP is served.
    pub(super) address: Option<std::net::SocketAddr>,
    /// Where its data is.
    pub(super) data: PathBuf,
}

/// Runs the daemon until a signal comes, the watcher returns or an actor is given up.
pub(super) fn run<W, F>(plan: Plan<W>) -> Outcome
where
    W: FnOnce(Running) -> F,
    F: Future<Output = String> + 'static,
{
    tch::set_num_threads(plan.config.threads.intra_op);
    let locked = || gateway::locked_for_all(&plan.config.http, &plan.config.data.dir, clock::now_ms());
    if let Some(sentence) = plan.http.then(locked).flatten() {
        return Err(Failure::NotReady(sentence));
    }
    let listener = if plan.http { Some(gateway::listen(&plan.config.http)?) } else { None };
    let loaded = speaker::load_model(&plan.config)?;
    let store = assembly::open_store(&plan.config)?;
    let stem = || plan.config.model.path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = loaded.source.name.clone().or_else(stem).unwrap_or_else(|| "model".to_owned());
    let parts = assembly::parts(&plan.config, &loaded, store, plan.people_now_ms)?;
    drop(loaded);
    System::new().block_on(live(plan, parts, listener, name))
}

/// The same without HTTP and TensorBoard's files, from parts that are ready. May be called again and again.
pub(super) fn run_parts<W, F>(mut plan: Plan<W>, parts: DaemonParts) -> Outcome
where
    W: FnOnce(Running) -> F,
    F: Future<Output = String> + 'static,
{
    tch::set_num_threads(plan.config.threads.intra_op);
    // Steps of one run after another would be points of one curve.
    plan.config.telemetry.tensorboard_dir = PathBuf::new();
    System::new().block_on(live(plan, parts, None, String::new()))
}

/// Reads the configuration again at each SIGHUP from now on.
fn reload_on_hangup(reloader: Arc<Reloader>, service: Service) -> std::io::Result<impl Future<Output = ()> + 'static> {
    let mut hangups = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangups.recv().await.is_some() {
            service.tell("RELOADING=1");
            let reloader = reloader.clone();
            // What came of it stands in the log.
            let _ = actix_web::web::block(move || reloader.reload()).await;
            service.tell("READY=1");
        }
    })
}

async fn live<W, F>(plan: Plan<W>, parts: DaemonParts, listener: Option<TcpListener>, name: String) -> Outcome
where
    W: FnOnce(Running) -> F,
    F: Future<Output = String> + 'static,
{
    let Plan { config, lockstep, metrics, watch, reload, .. } = plan;
    let signals = Signals::listen(reload.is_none())?;
    let service = Service::of_environment();
    let http = Live::new(config.http.clone());
    let reloader = reload.map(|Reload { running, load }| Arc::new(Reloader::new(&running, http.clone(), load)));
    let begun = clock::now_ms();
    let settings = DaemonConfig { lockstep, ..assembly::daemon_config(&config) };
    let daemon = Daemon::start(settings, parts).await.map_err(anyhow::Error::from)?;
    let handle = daemon.handle();
    let notes = Notes::default();
    let polls = Polls::start(&config.source, notes.clone()).map_err(anyhow::Error::from)?;
    let recorded = actix_rt::spawn(tensorboard::record(&config.telemetry, handle.events()));
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let server = match listener {
        Some(listener) => {
            let backend = Arc::new(Served::new(handle.clone(), name, http.clone()));
            let shared = Shared::new(backend, http, config.generation.clone(), metrics);
            let mut shared = shared.with_tokens_of(&config.data.dir);
            shared.reloader.clone_from(&reloader);
            shared.notes = notes;
            shared.observer = Observer::new(begun, assembly::task_rules(&config));
            shared.observer.keep(&config.data.dir);
            actix_rt::spawn(shared.observer.clone().watch(handle.clone()));
            Some(gateway::serve(listener, shared)?)
        }
        None => None,
    };
    let stopper = server.as_ref().map(actix_web::dev::Server::handle);
    let served = server.map(actix_rt::spawn);
    let address_text = address.map(|address| address.to_string());
    tracing::info!(address = address_text, ready_after_ms = clock::now_ms() - begun, "ready");
    if let Some(reloader) = reloader {
        actix_rt::spawn(reload_on_hangup(reloader, service.clone())?);
    }
    service.tell(&format!("READY=1\nSTATUS=Serves on {}", address_text.as_deref().unwrap_or("nothing: no HTTP")));
    actix_rt::spawn(service.clone().stay_alive());
    let watching = watch(Running { handle, address, data: config.data.dir.clone() });
    let (first, again) = (signals.clone(), signals);
    let until = async move {
        tokio::select! {
            name = first.nth(1) => name.to_owned(),
            done = watching => done,
        }
    };
    let again = async move {
        // The first signal asked for the end; the second does not wait for it.
        again.nth(2).await;
    };
    let actors = daemon.actors();
    let patience = Duration::from_secs_f64(config.supervision.drain_s);
    let drain = |by| {
        service.tell("STOPPING=1\nSTATUS=Drains");
        polls.iter().for_each(Polls::stop);
        // New connections are refused at once; answers under way end with the policy actor's drain.
        if let Some(stopper) = stopper {
            actix_rt::spawn(stopper.stop(true));
        }
        daemon.drain(by)
    };
    let ending = runtime::run(until, &actors, again, drain, patience).await;
    if let Some(polls) = polls {
        polls.end(Duration::from_secs(1));
    }
    // Values that wait for a disk that hangs are not worth waiting for.
    let _ = tokio::time::timeout(Duration::from_secs(1), recorded).await;
    if let Some(served) = served {
        let _ = tokio::time::timeout(Duration::from_secs(1), served).await;
    }
    tracing::info!(?ending, "ended");
    match (ending.exit_code(), &ending.fault, &ending.reason) {
        (0, _, _) => Ok(()),
        (code, Some(fault), _) => Err(Failure::Ended { code, sentence: format!("the end was not clean: {fault}") }),
        (code, None, Reason::GaveUp { actor, verdict }) => Err(Failure::Ended {
            code,
            sentence: format!(
                "the {actor} actor could not be kept alive ({verdict}); what was acknowledged is on disk, start again"
            ),
        }),
        (code, None, Reason::Asked(reason)) => Err(Failure::Ended { code, sentence: reason.clone() }),
    }
}
