//! `POST /v1/reload`: the configuration read again, as on SIGHUP.
//!
//! Invariant: the reply names keys and never a value: what was configured is nobody's business over the network.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use super::problem::without_paths;
use super::{ApiError, Shared};

/// The handler.
pub(super) async fn reload(shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    let refuse = |status, code, message: &str| Err(ApiError::new(status, code, None, message));
    let Some(reloader) = shared.reloader.clone() else {
        let message = "this command does not read its configuration again; start it anew";
        return refuse(StatusCode::CONFLICT, "not_reloadable", message);
    };
    match web::block(move || reloader.reload()).await {
        Ok(Ok(reloaded)) => Ok(HttpResponse::Ok().json(reloaded)),
        Ok(Err(wrong)) => {
            let message = format!("nothing was changed: {}", without_paths(&wrong));
            refuse(StatusCode::UNPROCESSABLE_ENTITY, "wrong_configuration", &message)
        }
        Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", "it is shutting down; nothing was changed"),
    }
}
