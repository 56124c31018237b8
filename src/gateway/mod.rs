//! The HTTP face: chat completions as OpenAI's clients know them, feedback, metrics, health.
//!
//! Invariant: whatever arrives is bounded in size and time before it is looked at; a rating is answered with 200 only
//! after it is durable; every refusal says what is wrong, with which value, and what to do.

mod access;
mod auth;
#[cfg(test)]
mod auth_tests;
pub mod backend;
mod best;
#[cfg(test)]
mod best_tests;
mod browse;
#[cfg(test)]
mod browse_tests;
mod chat;
mod choice;
mod completions;
mod connection;
#[cfg(test)]
mod crowd_tests;
pub mod daemon;
mod error;
mod events;
pub(crate) mod feedback;
mod feedback_api;
#[cfg(test)]
mod feedback_api_tests;
mod guard;
mod held;
mod history;
#[cfg(test)]
mod hostile_tests;
mod intake;
mod limits;
mod lineage;
mod observe;
mod openapi;
mod page;
mod problem;
pub(crate) mod recent;
mod reload;
mod seats;
mod server;
mod stage;
#[cfg(test)]
mod stage_tests;
mod status;
mod stream;
mod tasks;
pub mod tokens;
pub mod wire;

#[cfg(test)]
mod openai_tests;
#[cfg(test)]
mod problem_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod watch_tests;

use std::path::Path;
use std::sync::Arc;

use actix_web::web;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::clock;
use crate::config::{Generation, Http, Live, Reloader};
use crate::notes::Notes;
use crate::observer::Observer;
use crate::tasks::desk::Rules;
use backend::Backend;
pub use error::ApiError;
pub use server::{listen, serve};

/// What the handlers share.
#[derive(Clone)]
pub struct Shared {
    /// The daemon, or what stands for it in a test.
    pub backend: Arc<dyn Backend>,
    /// Limits; they may change while it serves.
    pub http: Live<Http>,
    /// Reads the configuration again, where there is one to read.
    pub reloader: Option<Arc<Reloader>>,
    /// Defaults of a request.
    pub generation: Arc<Generation>,
    /// Renders metrics, where they are recorded.
    pub metrics: Option<PrometheusHandle>,
    /// Streams of late, so that their ids can be rated.
    pub(crate) recent: Arc<recent::Recent>,
    /// What happened so far, and who reads what happens.
    pub observer: Observer,
    /// What the operator should know though it is ready.
    pub notes: Notes,
    /// Who may do what.
    pub(crate) door: Arc<auth::Door>,
    /// Whose turn it is among deliveries of one annotation.
    pub(crate) intake: Arc<intake::Turns>,
}

impl Shared {
    /// Puts together what the handlers share.
    pub fn new(
        backend: Arc<dyn Backend>,
        http: impl Into<Live<Http>>,
        generation: Generation,
        metrics: Option<PrometheusHandle>,
    ) -> Self {
        // Tokens lie in the data directory; without one there are none, and what needs one is refused.
        let http = http.into();
        let door = Arc::new(auth::Door::of(http.clone(), Path::new("")));
        Self {
            backend,
            door,
            http,
            reloader: None,
            generation: Arc::new(generation),
            metrics,
            recent: Arc::new(recent::Recent::default()),
            intake: Arc::default(),
            notes: Notes::default(),
            observer: Observer::new(clock::now_ms(), Rules::default()),
        }
    }
}

impl Shared {
    /// The same with the tokens of the data directory `dir`.
    pub fn with_tokens_of(self, dir: &Path) -> Self {
        let door = Arc::new(auth::Door::of(self.http.clone(), dir));
        Self { door, ..self }
    }
}

/// Why nobody could write to what `http` serves, if that is so; a daemon that nobody can use is not started.
pub fn locked_for_all(http: &Http, dir: &Path, now_ms: i64) -> Option<String> {
    auth::Door::new(http, dir).locked_for_all(http, now_ms)
}

/// The routes; tests mount them without a socket.
pub(crate) fn routes(app: &mut web::ServiceConfig) {
    app.route("/v1/chat/completions", web::post().to(chat::complete))
        .route("/v1/completions", web::post().to(completions::complete))
        .route("/v1/feedback", web::post().to(feedback::give))
        .route("/v1/feedback", web::get().to(feedback_api::list))
        // A resource of its own, or any other method would be taken for an event with the id `batch`.
        .service(web::resource("/v1/feedback/batch").route(web::post().to(feedback_api::batch)))
        .route("/v1/feedback/{id}", web::get().to(feedback_api::one))
        .route("/v1/feedback/{id}/retract", web::post().to(feedback_api::retract))
        .route("/v1/intake/argilla", web::post().to(intake::from_argilla))
        .route("/v1/intake/label-studio", web::post().to(intake::from_label_studio))
        .route("/v1/lineage/{answer}", web::get().to(lineage::lineage))
        .route("/v1/models", web::get().to(observe::models))
        .route("/v1/answers/{id}", web::get().to(browse::answer))
        .route("/v1/questions", web::get().to(browse::questions))
        .route("/v1/events", web::get().to(events::events))
        .route("/v1/history", web::get().to(history::history))
        .route("/v1/tasks/next", web::get().to(tasks::next))
        .route("/v1/tasks/{task}/skip", web::post().to(tasks::skip))
        .route("/v1/status", web::get().to(status::status))
        .route("/v1/reload", web::post().to(reload::reload))
        .route("/v1/stage", web::get().to(stage::show))
        .route("/v1/stage/promote", web::post().to(stage::promote))
        .route("/v1/stage/rollback", web::post().to(stage::rollback))
        .route("/v1/stage/pin", web::post().to(stage::pin))
        .route("/v1/stage/unpin", web::post().to(stage::unpin))
        .route("/v1/models/{id:.*}", web::get().to(observe::model))
        .route("/version", web::get().to(observe::version))
        .route("/openapi.json", web::get().to(openapi::serve))
        .route("/metrics", web::get().to(observe::metrics))
        .route("/healthz", web::get().to(observe::healthz))
        .route("/readyz", web::get().to(observe::readyz))
        .configure(page::routes);
}
