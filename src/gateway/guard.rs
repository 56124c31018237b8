//! What every request passes: is it meant for us, did its handler survive, how long did it take.
//!
//! Invariant: a web page elsewhere can neither read nor write here (its `Origin` or, after a rebound name, its `Host` is
//! not loopback); a panicking handler is a 500 with a body, not a broken connection.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HOST, HeaderName, ORIGIN};
use actix_web::middleware::Next;
use actix_web::web;
use futures_util::{FutureExt, StreamExt};
use metrics::{counter, histogram};
use tokio::time::Instant;

use super::{ApiError, Shared, problem};
use crate::telemetry::metrics::{HTTP_REQUESTS, HTTP_SECONDS};

/// Runs around every request.
pub(super) async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let begun = Instant::now();
    let route = request.match_pattern().unwrap_or_else(|| "other".to_owned());
    let path = request.path().to_owned();
    let result = match foreign(&request) {
        Some(refusal) => Err(refusal.into()),
        None => AssertUnwindSafe(next.call(request)).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(route, "a request's handler panicked");
            let message = "the handler failed; this is a defect, please report it with the log's last lines";
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "panic", None, message).into())
        }),
    };
    let status = match &result {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    counter!(HTTP_REQUESTS, "route" => route.clone(), "status" => status.as_str().to_owned()).increment(1);
    histogram!(HTTP_SECONDS, "route" => route).record(begun.elapsed().as_secs_f64());
    problem::shaped(&path, result)
}

fn foreign(request: &ServiceRequest) -> Option<ApiError> {
    let header = |name: HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap_or("?").to_owned());
    let host = header(HOST).filter(|host| !is_loopback(host));
    let origin = header(ORIGIN).filter(|origin| !is_loopback(origin.split_once("://").map_or("?", |(_, host)| host)));
    let (name, value) = host.map(|host| ("Host", host)).or(origin.map(|origin| ("Origin", origin)))?;
    let message = format!("the header {name} is '{value}', but only this machine (localhost) is served");
    Some(ApiError::new(StatusCode::FORBIDDEN, "not_loopback", None, message))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The whole body, within the configured size and time; its own code, since actix has no time limit for bodies.
pub(super) async fn body(mut payload: web::Payload, shared: &Shared) -> Result<Vec<u8>, ApiError> {
    let limit = shared.http.max_body_bytes;
    let read = async {
        let mut bytes = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| ApiError::invalid(None, format!("the body broke off: {error}")))?;
            if bytes.len() + chunk.len() > limit {
                let message = format!("the body is longer than {limit} bytes (http.max_body_bytes); send less");
                return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", None, message));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    let seconds = shared.http.body_timeout_s;
    tokio::time::timeout(Duration::from_secs_f64(seconds), read).await.unwrap_or_else(|_| {
        let message = format!("the body did not arrive within {seconds} s; send it faster");
        Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "slow_body", None, message))
    })
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for (host, wanted) in [
            ("localhost:8477", true),
            ("127.0.0.1", true),
            ("[::1]:8477", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("192.168.0.2:8477", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(host), wanted, "{host}");
        }
    }
}
