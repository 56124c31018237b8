//! `GET /v1/stage` and `POST /v1/stage/{promote,rollback,pin,unpin}`: who serves people.
//!
//! Invariant: an order is answered with 200 after the change is on disk and in effect; a refusal has changed nothing.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use understudy_actors::link::AskError;
use understudy_actors::stage::{Order, StageRefusal};
use understudy_learning::stages::PolicyVersion;

use super::{ApiError, Shared, guard};

/// What an order says beside its name.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    version: Option<PolicyVersion>,
}

/// `GET /v1/stage`.
pub(super) async fn show(shared: web::Data<Shared>) -> HttpResponse {
    HttpResponse::Ok().json(shared.backend.stage())
}

/// `POST /v1/stage/promote`.
pub(super) async fn promote(shared: web::Data<Shared>, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    let Body { version } = read(payload, &shared).await?;
    direct(&shared, Order::Promote(version)).await
}

/// `POST /v1/stage/rollback`.
pub(super) async fn rollback(shared: web::Data<Shared>, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    let Body { version } = read(payload, &shared).await?;
    direct(&shared, Order::Rollback(version)).await
}

/// `POST /v1/stage/pin`.
pub(super) async fn pin(shared: web::Data<Shared>, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    let Body { version } = read(payload, &shared).await?;
    let missing =
        || ApiError::invalid(Some("version"), "name the version to pin: {\"version\": 7}; GET /v1/stage lists them");
    direct(&shared, Order::Pin(version.ok_or_else(missing)?)).await
}

/// `POST /v1/stage/unpin`.
pub(super) async fn unpin(shared: web::Data<Shared>, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    match read(payload, &shared).await? {
        Body { version: None } => direct(&shared, Order::Unpin).await,
        Body { version: Some(_) } => {
            Err(ApiError::invalid(Some("version"), "only one version is ever pinned: leave version out"))
        }
    }
}

/// The body; an empty one says nothing.
async fn read(payload: web::Payload, shared: &Shared) -> Result<Body, ApiError> {
    let bytes = guard::body(payload, shared).await?;
    if bytes.is_empty() {
        return Ok(Body::default());
    }
    let wrong = |error| ApiError::invalid(None, format!("the body must be {{\"version\": NUMBER}} or empty: {error}"));
    serde_json::from_slice(&bytes).map_err(wrong)
}

async fn direct(shared: &Shared, order: Order) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(shared.backend.direct(order).await.map_err(refused)?))
}

fn refused(refusal: StageRefusal) -> ApiError {
    let conflict = StatusCode::CONFLICT;
    let (status, code, field) = match &refusal {
        StageRefusal::Direct => (conflict, "not_guarded", None),
        StageRefusal::NotKept { .. } => (StatusCode::NOT_FOUND, "not_kept", Some("version")),
        StageRefusal::Pinned(_) => (conflict, "pinned", None),
        StageRefusal::NotPinned => (conflict, "not_pinned", None),
        StageRefusal::Unmeasured(_) => (conflict, "unmeasured", Some("version")),
        StageRefusal::OutOfBounds { .. } => (conflict, "out_of_bounds", Some("version")),
        StageRefusal::OnStage(_) => (conflict, "on_stage", Some("version")),
        StageRefusal::NoCandidate(_) => (conflict, "no_candidate", None),
        StageRefusal::NothingBefore(_) => (conflict, "nothing_before", None),
        StageRefusal::NotWritten(_) => (StatusCode::INSUFFICIENT_STORAGE, "not_written", None),
        StageRefusal::NotAsked(AskError::Full) => (StatusCode::TOO_MANY_REQUESTS, "full", None),
        StageRefusal::NotAsked(AskError::Closed) => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down", None),
        StageRefusal::NotAsked(AskError::Expired) => (StatusCode::GATEWAY_TIMEOUT, "deadline_passed", None),
        StageRefusal::NotAsked(AskError::Crashed) => (StatusCode::BAD_GATEWAY, "failed", None),
    };
    ApiError::new(status, code, field, refusal.to_string())
}
