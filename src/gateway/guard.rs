//! What every request passes: is it meant for us, may it do that, did its handler survive, how long did it take.
//!
//! Invariant: a web page elsewhere can neither read nor write here: its `Origin` is not the host that it asks, or, after
//! a rebound name, its `Host` is none of ours. There are no CORS headers, so no browser lets another origin read a
//! reply. A panicking handler is a 500 with a body, not a broken connection.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use actix_web::http::{ConnectionType, StatusCode, Version};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, web};
use futures_util::{FutureExt, StreamExt};
use metrics::{counter, histogram};
use tokio::time::Instant;

use super::access::Line;
use super::auth::{Door, Shown};
use super::held::Held;
use super::{ApiError, Shared, problem};
use crate::clock;
use crate::telemetry::metrics::{HTTP_REQUESTS, HTTP_SECONDS};

/// Headers of every reply that does not bring its own: nothing in a reply is to be run, framed, guessed at or told on.
const HEADERS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    ("x-frame-options", "DENY"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Runs around every request.
pub(super) async fn guard(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let begun = Instant::now();
    let route = request.match_pattern();
    let path = request.path().to_owned();
    let old = request.version() < Version::HTTP_11;
    let admitted = admitted(&request, route.as_deref(), begun);
    let held = Held::of(&mut request);
    let token = admitted.as_ref().ok().cloned().flatten();
    let route = route.unwrap_or_else(|| "other".to_owned());
    let mut line = Line::of(&request, &route, begun);
    let result = match admitted {
        Err(refusal) => Err(refusal.into()),
        Ok(_) => AssertUnwindSafe(next.call(request)).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(route, "a request's handler panicked");
            let message = "the handler failed; this is a defect, please report it with the log's last lines";
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "panic", None, message).into())
        }),
    };
    let status = match &result {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    line.answered(status, token);
    counter!(HTTP_REQUESTS, "route" => route.clone(), "status" => status.as_str().to_owned()).increment(1);
    histogram!(HTTP_SECONDS, "route" => route).record(begun.elapsed().as_secs_f64());
    dressed(problem::shaped(&path, result), old, held, line)
}

/// The id of the token that let the request in, if it needed one.
fn admitted(request: &ServiceRequest, route: Option<&str>, now: Instant) -> Result<Option<String>, ApiError> {
    let shared = request.app_data::<web::Data<Shared>>().expect("every application is made with what it shares");
    let header = |name: HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    foreign(&shared.door, header(HOST), header(ORIGIN))?;
    let shown = Shown {
        method: request.method(),
        route,
        authorization: header(AUTHORIZATION),
        peer: request.peer_addr().map(|peer| peer.ip()),
    };
    let token = shared.door.admit(&shown, clock::now_ms(), now)?;
    let announced = header(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok()).unwrap_or(0);
    match announced > shared.http.now().max_body_bytes as u64 {
        true => Err(too_large(shared.http.now().max_body_bytes)),
        false => Ok(token),
    }
}

fn too_large(limit: usize) -> ApiError {
    let message = format!("the body is longer than {limit} bytes (http.max_body_bytes); send less");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", None, message)
}

/// Refuses what another web page asks, or somebody under another name.
fn foreign(door: &Door, host: Option<&str>, origin: Option<&str>) -> Result<(), ApiError> {
    let refuse = |name: &str, value: &str| {
        let message =
            format!("the header {name} is '{value}', which is not served here (http.hosts); use this host's name");
        Err(ApiError::new(StatusCode::FORBIDDEN, "foreign", None, message))
    };
    if let Some(host) = host.filter(|host| !door.serves_host(host)) {
        return refuse("Host", host);
    }
    match origin {
        Some(origin) if host.is_none() || origin.split_once("://").map(|(_, from)| from) != host => {
            refuse("Origin", origin)
        }
        _ => Ok(()),
    }
}

/// The reply with the headers that every reply has; `old` clients know no chunks and get one up to the connection's end.
fn dressed<B: MessageBody + 'static>(
    result: Result<ServiceResponse<B>, actix_web::Error>,
    old: bool,
    held: Held,
    line: Line,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    match result {
        Ok(response) => {
            let mut response = response.map_body(|_, body| held.kept_by(body.boxed(), line));
            dress(response.response_mut(), old);
            Ok(response)
        }
        Err(error) => {
            let sentence = error.to_string();
            let mut response = error.error_response().map_body(|_, body| held.kept_by(body, line));
            dress(&mut response, old);
            Err(InternalError::from_response(sentence, response).into())
        }
    }
}

fn dress(response: &mut HttpResponse<BoxBody>, old: bool) {
    if old {
        response.head_mut().no_chunking(true);
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    let unauthorized = response.status() == StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        if !headers.contains_key(name) {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
    }
    if unauthorized {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
}

/// The whole body, within the configured size and time; its own code, since actix has no time limit for bodies.
pub(super) async fn body(mut payload: web::Payload, shared: &Shared) -> Result<Vec<u8>, ApiError> {
    let limit = shared.http.now().max_body_bytes;
    let read = async {
        let mut bytes = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| ApiError::invalid(None, format!("the body broke off: {error}")))?;
            if bytes.len() + chunk.len() > limit {
                return Err(too_large(limit));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    let seconds = shared.http.now().body_timeout_s;
    tokio::time::timeout(Duration::from_secs_f64(seconds), read).await.unwrap_or_else(|_| {
        let message = format!("the body did not arrive within {seconds} s; send it faster");
        Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "slow_body", None, message))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Layers;

    fn door(settings: &[(&str, &str)]) -> Door {
        let mut layers = Layers::built_in();
        for (key, value) in settings {
            layers.set(key, value, crate::config::Origin::BuiltIn).unwrap();
        }
        Door::new(&layers.finish().unwrap().config.http, Path::new("."))
    }

    #[test]
    fn only_names_of_this_machine_are_served_on_loopback() {
        let door = door(&[]);
        for (host, wanted) in [
            ("localhost:8477", true),
            ("127.0.0.1", true),
            ("[::1]:8477", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("192.168.0.2:8477", false),
            ("", false),
        ] {
            assert_eq!(door.serves_host(host), wanted, "{host}");
        }
    }

    #[test]
    fn elsewhere_addresses_and_listed_names_are_served_too() {
        let door = door(&[("http.bind", "0.0.0.0:8477"), ("http.hosts", "[\"Rate.example.org\"]")]);
        for (host, wanted) in [
            ("192.168.0.2:8477", true),
            ("[2001:db8::1]:8477", true),
            ("RATE.example.ORG", true),
            ("localhost", true),
            ("evil.example", false),
        ] {
            assert_eq!(door.serves_host(host), wanted, "{host}");
        }
    }

    #[test]
    fn a_page_may_ask_only_the_host_that_it_came_from() {
        let door = door(&[]);
        let here = Some("127.0.0.1:8477");
        for (host, origin, wanted) in [
            (here, None, true),
            (None, None, true),
            (here, Some("http://127.0.0.1:8477"), true),
            (here, Some("http://127.0.0.1:3000"), false),
            (here, Some("http://localhost:8477"), false),
            (here, Some("https://evil.example"), false),
            (here, Some("null"), false),
            (None, Some("http://127.0.0.1:8477"), false),
            (Some("evil.example"), Some("http://evil.example"), false),
        ] {
            assert_eq!(foreign(&door, host, origin).is_ok(), wanted, "{host:?} {origin:?}");
        }
    }
}
