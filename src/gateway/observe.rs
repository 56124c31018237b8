//! What can be seen without changing anything: metrics, health, models, versions.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER};
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::{ApiError, Shared, openapi};

/// `GET /metrics`: the Prometheus text format.
pub(super) async fn metrics(shared: web::Data<Shared>) -> HttpResponse {
    let text = shared.metrics.as_ref().map(|handle| handle.render()).unwrap_or_default();
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")).body(text)
}

/// `GET /healthz`: the process answers.
pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// `GET /readyz`: it can take requests, or why not. Notes are no reasons: it is ready in spite of them.
pub(super) async fn readyz(shared: web::Data<Shared>) -> HttpResponse {
    let reasons = shared.backend.not_ready();
    let mut response = match reasons.is_empty() {
        true => HttpResponse::Ok(),
        false => HttpResponse::ServiceUnavailable(),
    };
    if !reasons.is_empty() {
        response.insert_header((RETRY_AFTER, "1"));
    }
    let (version, notes) = (shared.backend.version(), shared.notes.all());
    response.json(json!({"ready": reasons.is_empty(), "reasons": reasons, "notes": notes, "policy_version": version}))
}

/// `GET /v1/models`: the one model.
pub(super) async fn models(shared: web::Data<Shared>) -> HttpResponse {
    HttpResponse::Ok().json(json!({"object": "list", "data": [described(&shared)]}))
}

/// `GET /v1/models/{id}`: the same, by its name (which may hold slashes) or as `understudy`.
pub(super) async fn model(shared: web::Data<Shared>, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let model = shared.backend.model();
    if *id != model && *id != "understudy" {
        let message = format!("there is no model '{id}' here; ask for '{model}'");
        return Err(ApiError::new(StatusCode::NOT_FOUND, "model_not_found", Some("model"), message));
    }
    Ok(HttpResponse::Ok().json(described(&shared)))
}

fn described(shared: &Shared) -> serde_json::Value {
    json!({
        "id": shared.backend.model(),
        "object": "model",
        "created": 0,
        "owned_by": "understudy",
        "policy_version": shared.backend.version(),
        "max_model_len": shared.generation.max_context,
    })
}

/// `GET /version`: of the program, and of the policy that serves now.
pub(super) async fn version(shared: web::Data<Shared>) -> HttpResponse {
    let version = env!("CARGO_PKG_VERSION");
    HttpResponse::Ok().json(json!({"version": version, "policy_version": shared.backend.version()}))
}

/// Everything else: a path that there is with another method is 405 and says with which, any other path 404.
pub(super) async fn not_found(request: actix_web::HttpRequest) -> Result<HttpResponse, ApiError> {
    let (method, path) = (request.method(), request.path());
    let allowed = openapi::methods_of(path);
    if allowed.is_empty() {
        let message = format!("there is no {method} {path}; see /openapi.json for what there is");
        return Err(ApiError::new(StatusCode::NOT_FOUND, "no_such_route", None, message));
    }
    let allowed = allowed.join(", ");
    let message = format!("{path} takes no {method}, only {allowed}");
    Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", None, message))
}
