//! `GET /v1/history`: the figures of this life of the daemon over time, and the rare events in words.
//!
//! Invariant: as bounded as the observer's board is.

use actix_web::{HttpResponse, web};

use super::Shared;

/// The handler.
pub(super) async fn history(shared: web::Data<Shared>) -> HttpResponse {
    HttpResponse::Ok().json(shared.observer.history())
}
