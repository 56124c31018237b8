//! `GET /openapi.json`: what can be asked here, as OpenAPI 3.1; and which methods a path has.
//!
//! Invariant: one table (`openapi/table.rs`) says every route and method with its replies. A test holds it against the
//! routes that are really there, both ways, so neither can change without the other.

pub(super) mod schemas;
pub(super) mod table;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use super::problem::{PROBLEM_JSON, is_openai};
use table::{Reply, Route};

/// Refusals that any route may give: without a token, of a foreign web page or without a token's scope, where a body too
/// large is announced, too often, by a defect, while shutting down or without room.
const ANYWHERE: [u16; 6] = [401, 403, 413, 429, 500, 503];

static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(table::routes);
static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// The handler.
pub(super) async fn serve() -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(TEXT.as_str())
}

/// The methods that there are for `path`, in capitals; empty where there is no such path.
pub(super) fn methods_of(path: &str) -> Vec<&'static str> {
    let is_it = |route: &&Route| {
        let rest = route.path.rfind("/{").filter(|_| route.is_rest).map(|at| &route.path[..=at]);
        match rest {
            Some(before) => path.len() > before.len() && path.starts_with(before),
            None => {
                let (mut wanted, mut given) = (route.path.split('/'), path.split('/'));
                let fits =
                    |wanted: &str, given: &str| wanted == given || (wanted.starts_with('{') && !given.is_empty());
                let same = wanted.by_ref().all(|part| given.next().is_some_and(|given| fits(part, given)));
                same && given.next().is_none()
            }
        }
    };
    // A path of its own goes before one with parameters that would fit it too.
    let own: Vec<&str> = ROUTES.iter().filter(|route| route.path == path).map(|route| route.method).collect();
    if !own.is_empty() {
        return own;
    }
    ROUTES.iter().filter(is_it).map(|route| route.method).collect()
}

/// The document.
pub(super) fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES.iter() {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Understudy",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Ask a policy that learns, rate its answers, watch it learn.",
            "description": "OpenAI's routes answer errors in OpenAI's form, all others as RFC 9457 problem details. \
                Where every connection is in use, 503 comes before the path is read: problem details that have OpenAI's \
                `error` too. Feedback is acknowledged only after it is on disk; the same id twice is one event. Sequences are places \
                in the journal: they order everything. Times end in `_ms` and count from the Unix epoch.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": table::TAGS.map(|(name, description)| json!({"name": name, "description": description})),
        // Without a token where the daemon asks for none (on loopback), else with one.
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut replies = Map::new();
    for reply in &route.replies {
        replies.insert(reply.status.to_string(), described(reply));
    }
    let form = if is_openai(route.path) { ("application/json", "OpenAiError") } else { (PROBLEM_JSON, "Problem") };
    for status in route.refusals.iter().chain(&ANYWHERE).copied() {
        // A status may stand for a reply and for a refusal: then in either form.
        let reply = replies.entry(status.to_string()).or_insert_with(|| json!({"description": words(status)}));
        reply["content"][form.0] = json!({"schema": schemas::named(form.1)});
        if matches!(status, 429 | 503) {
            let seconds =
                json!({"schema": {"type": "string"}, "description": "Seconds until it is worth trying again."});
            reply["headers"] = json!({"Retry-After": seconds});
        }
        if status == 401 {
            let scheme = json!({"schema": {"const": "Bearer"}, "description": "How to show a token."});
            reply["headers"] = json!({"WWW-Authenticate": scheme});
        }
    }
    replies.sort_keys();
    let mut operation = json!({
        "operationId": route.id(),
        "tags": [route.tag],
        "summary": route.summary,
        "responses": replies,
    });
    let mut parameters: Vec<Value> = in_path(route.path);
    parameters.extend(route.parameters.iter().cloned());
    if !parameters.is_empty() {
        operation["parameters"] = json!(parameters);
    }
    if let Some(schema) = &route.body {
        operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    operation
}

fn described(reply: &Reply) -> Value {
    let mut content = Map::new();
    for (media, schema) in &reply.content {
        content.insert((*media).to_owned(), json!({"schema": schema}));
    }
    let mut described = json!({"description": reply.what});
    if !content.is_empty() {
        described["content"] = Value::Object(content);
    }
    described
}

/// A path's parameters, all of them text.
fn in_path(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let schema = json!({"type": "string", "minLength": 1});
    names.map(|name| json!({"name": name, "in": "path", "required": true, "schema": schema})).collect()
}

/// What a refusal means.
fn words(status: u16) -> &'static str {
    match status {
        400 => "The request is wrong in itself; the detail says where.",
        401 => "A token is needed.",
        403 => "A web page elsewhere asks, or the token's scope does not allow it.",
        404 => "There is no such thing here.",
        405 => "The path has no such method; Allow names those it has.",
        408 => "The body arrived too slowly.",
        409 => "The same id stands for other content.",
        413 => "The body is too large.",
        422 => "A field's value is wrong.",
        429 => "Too much waits already; come back.",
        500 => "A defect.",
        502 => "A part failed with the request in hand; send it again.",
        503 => "It is shutting down, not ready, or has no room.",
        504 => "The deadline passed.",
        507 => "The disk is nearly full.",
        _ => "Refused.",
    }
}
