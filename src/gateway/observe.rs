//! What can be seen without changing anything: metrics, health, models.

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::{ApiError, Shared};

/// `GET /metrics`: the Prometheus text format.
pub(super) async fn metrics(shared: web::Data<Shared>) -> HttpResponse {
    let text = shared.metrics.as_ref().map(|handle| handle.render()).unwrap_or_default();
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")).body(text)
}

/// `GET /healthz`: the process answers.
pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// `GET /readyz`: it can take requests, or why not.
pub(super) async fn readyz(shared: web::Data<Shared>) -> HttpResponse {
    let reasons = shared.backend.not_ready();
    let mut response = match reasons.is_empty() {
        true => HttpResponse::Ok(),
        false => HttpResponse::ServiceUnavailable(),
    };
    response.json(json!({"ready": reasons.is_empty(), "reasons": reasons, "policy_version": shared.backend.version()}))
}

/// `GET /v1/models`: the one model.
pub(super) async fn models(shared: web::Data<Shared>) -> HttpResponse {
    let model = json!({
        "id": shared.backend.model(),
        "object": "model",
        "created": 0,
        "owned_by": "understudy",
        "policy_version": shared.backend.version(),
        "max_model_len": shared.generation.max_context,
    });
    HttpResponse::Ok().json(json!({"object": "list", "data": [model]}))
}

/// Everything else.
pub(super) async fn not_found(request: actix_web::HttpRequest) -> Result<HttpResponse, ApiError> {
    let message = format!(
        "there is no {} {}; see /v1/chat/completions, /v1/feedback, /v1/models, /metrics, /healthz, /readyz",
        request.method(),
        request.path()
    );
    Err(ApiError::new(StatusCode::NOT_FOUND, "no_such_route", None, message))
}
