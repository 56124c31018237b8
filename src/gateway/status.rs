//! `GET /v1/status`: how the daemon and its loop are doing, now.
//!
//! Invariant: only what is in memory is told; asking changes nothing and waits for nobody.

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::Shared;
use crate::clock;

/// The handler.
pub(super) async fn status(shared: web::Data<Shared>) -> HttpResponse {
    let mut status = shared.backend.status();
    let started_ms = shared.observer.started_ms();
    status["program"] = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "model": shared.backend.model(),
        "started_ms": started_ms,
        "uptime_s": (clock::now_ms() - started_ms).max(0) as f64 / 1000.0,
    });
    HttpResponse::Ok().json(status)
}
