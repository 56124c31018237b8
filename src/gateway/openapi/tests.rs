//! The document against the routes that are there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{ROUTES, document, methods_of};
use crate::config::Layers;
use crate::gateway::Shared;
use crate::gateway::tests::{Asked, Reply, Scripted, ask_of};

const METHODS: [&str; 5] = ["get", "head", "post", "put", "delete"];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, into),
            false if path.extension().is_some_and(|end| end == "rs") => into.push(path),
            false => {}
        }
    }
}

/// Routes as the code registers them: a path within `route("…"` or `resource("…"`, and the methods that follow it.
fn registered() -> BTreeSet<(String, String)> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gateway"), &mut files);
    let mut found = BTreeSet::new();
    for file in files.iter().filter(|file| !file.to_string_lossy().contains("tests")) {
        let text = std::fs::read_to_string(file).unwrap().replace("web::resource(", ".route(");
        for piece in text.split(".route(\"").skip(1) {
            let (path, rest) = piece.split_once('"').unwrap();
            // `{file:.*}` is `{file}` in the document.
            let path: Vec<&str> = path.split('}').map(|part| part.split(':').next().unwrap()).collect();
            for method in METHODS.iter().filter(|method| rest.contains(&format!("web::{method}()"))) {
                found.insert((path.join("}"), method.to_uppercase()));
            }
        }
    }
    found
}

#[test]
fn every_route_stands_in_the_document_and_the_other_way_round() {
    let documented: BTreeSet<(String, String)> =
        ROUTES.iter().map(|route| (route.path.to_owned(), route.method.to_owned())).collect();
    assert_eq!(documented.len(), ROUTES.len(), "a route stands twice");
    let registered = registered();
    assert!(registered.len() >= 14, "{registered:?}");
    let missing: Vec<_> = registered.difference(&documented).collect();
    assert!(missing.is_empty(), "add these to src/gateway/openapi/table.rs: {missing:?}");
    let gone: Vec<_> = documented.difference(&registered).collect();
    assert!(gone.is_empty(), "take these out of src/gateway/openapi/table.rs: {gone:?}");
}

async fn ask(requests: Vec<Asked<'_>>) -> Vec<Reply> {
    let config = Layers::built_in().finish().unwrap().config;
    ask_of(Shared::new(Arc::new(Scripted::default()), config.http, config.generation, None), requests).await
}

#[actix_web::test]
async fn every_documented_method_has_a_handler_and_every_other_is_405_with_those_there_are() {
    // Its reply has no end, which a test would wait for.
    let routes = ROUTES.iter().filter(|route| route.path != "/v1/events");
    let paths: BTreeSet<String> = routes.map(|route| route.path.replace(['{', '}'], "")).collect();
    for path in &paths {
        let allowed = methods_of(path);
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"] {
            let asked = (Method::from_bytes(method.as_bytes()).unwrap(), path.as_str(), String::new(), vec![]);
            let reply = &ask(vec![asked]).await[0];
            match allowed.contains(&method) {
                true => assert!(reply.status != 405 && !reply.body.contains("no_such_route"), "{method} {path}"),
                false => {
                    assert_eq!(reply.status, 405, "{method} {path}: {}", reply.body);
                    assert_eq!(reply.headers["allow"], allowed.join(", "));
                    if method != "HEAD" && path.starts_with("/v1/feedback") {
                        assert_eq!(reply.json()["code"], "method_not_allowed");
                    }
                }
            }
        }
    }
}

#[actix_web::test]
async fn the_document_is_served_and_every_reference_in_it_leads_somewhere() {
    let served = ask(vec![(Method::GET, "/openapi.json", String::new(), vec![])]).await[0].json();
    assert_eq!(served, document());
    assert_eq!(served["openapi"], "3.1.0");
    let schemas = &served["components"]["schemas"];
    let mut open = vec![&served];
    let mut references = 0;
    while let Some(value) = open.pop() {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(name)) = map.get("$ref") {
                    let name = name.strip_prefix("#/components/schemas/").unwrap();
                    assert!(schemas.get(name).is_some(), "{name}");
                    references += 1;
                }
                open.extend(map.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    assert!(references > 30, "{references}");
    let ids: BTreeSet<String> = ROUTES.iter().map(super::Route::id).collect();
    assert_eq!(ids.len(), ROUTES.len(), "two operations have one name");
    let refusal = &served["paths"]["/v1/feedback"]["post"]["responses"]["422"]["content"];
    assert_eq!(*refusal, json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}));
    let refusal = &served["paths"]["/v1/models"]["get"]["responses"]["403"]["content"];
    assert_eq!(*refusal, json!({"application/json": {"schema": {"$ref": "#/components/schemas/OpenAiError"}}}));
}

#[test]
fn a_path_has_its_methods_and_nothing_else_has_any() {
    assert_eq!(methods_of("/v1/feedback"), ["POST", "GET"]);
    assert_eq!(methods_of("/v1/feedback/a%2Fb/retract"), ["POST"]);
    assert_eq!(methods_of("/v1/feedback/batch"), ["POST"]);
    assert_eq!(methods_of("/assets/vendor/uplot/x.js"), ["GET", "HEAD"]);
    for path in ["/v1/feedback/", "/v1/feedback/a/b", "/assets/", "/nothing", "", "/v1"] {
        assert!(methods_of(path).is_empty(), "{path}");
    }
}

/// Each documented method once, with what it needs to reach the door; `headers` as given.
async fn at_the_door(settings: &[(&str, &str)], headers: &[(&str, &str)]) -> Vec<(Value, Reply)> {
    let mut layers = Layers::built_in();
    settings.iter().for_each(|(key, value)| layers.set(key, value, crate::config::Origin::BuiltIn).unwrap());
    let config = layers.finish().unwrap().config;
    let document = document();
    let routes: Vec<_> = ROUTES.iter().map(|route| (route, route.path.replace(['{', '}'], ""))).collect();
    let asked = |(route, path): &(&super::Route, String)| -> (Method, String) {
        (Method::from_bytes(route.method.as_bytes()).unwrap(), path.clone())
    };
    let asked: Vec<_> = routes.iter().map(asked).collect();
    let requests = asked
        .iter()
        .map(|(method, path)| -> Asked<'_> { (method.clone(), path.as_str(), String::new(), headers.to_vec()) });
    let shared = Shared::new(Arc::new(Scripted::default()), config.http, config.generation, None);
    // The stream of events ends at once, so that it can be read to its end.
    shared.observer.end();
    let replies = ask_of(shared, requests.collect()).await;
    let operation = |route: &super::Route| document["paths"][route.path][route.method.to_lowercase()].clone();
    routes.iter().map(|(route, _)| operation(route)).zip(replies).collect()
}

/// The reply is one of those that the document names, with a body of the documented type and form.
fn documented(operation: &Value, reply: &Reply) {
    let what = format!("{}: {} {}", operation["operationId"], reply.status, reply.body);
    let named = &operation["responses"][reply.status.to_string()];
    assert!(named.is_object(), "not documented: {what}");
    let kind = reply.headers.get("content-type").map(String::as_str).unwrap_or_default();
    let schema = named["content"][kind]["schema"]["$ref"].as_str().unwrap_or_default();
    if reply.status >= 400 {
        let members: &[&str] = match schema {
            "#/components/schemas/Problem" => &["type", "title", "status", "detail", "code"],
            "#/components/schemas/OpenAiError" => &["error"],
            "#/components/schemas/Readiness" => &["ready", "reasons"],
            _ => panic!("{kind} is not documented: {what}"),
        };
        assert!(members.iter().all(|member| !reply.json()[member].is_null()), "{what}");
    }
    let headers = named["headers"].as_object().cloned().unwrap_or_default();
    assert!(headers.keys().all(|name| reply.headers.contains_key(&name.to_lowercase())), "{what}");
}

#[actix_web::test]
async fn every_refusal_at_the_door_is_documented_where_it_can_be_met_in_the_form_it_has() {
    const CLOSED: [(&str, &str); 3] =
        [("http.bind", "0.0.0.0:1"), ("http.tokens_for_reads", "true"), ("http.writes_per_s", "0")];
    const LIMITED: [(&str, &str); 3] =
        [("http.bind", "0.0.0.0:1"), ("http.tokens_for_reads", "true"), ("http.write_burst", "1")];
    type Pairs = &'static [(&'static str, &'static str)];
    let cases: [(Pairs, Pairs, u16, usize); 4] = [
        (&CLOSED, &[], 401, 20),
        (&[], &[("host", "evil.example")], 403, ROUTES.len()),
        (&[], &[("content-length", "1000000000")], 413, ROUTES.len()),
        (&LIMITED, &[], 429, 15),
    ];
    for (settings, headers, status, least) in cases {
        let replies = at_the_door(settings, headers).await;
        replies.iter().for_each(|(operation, reply)| documented(operation, reply));
        let met = replies.iter().filter(|(_, reply)| reply.status == status).count();
        assert!(met >= least, "{status} was met {met} times only");
    }
    // The loop has ended.
    let events =
        at_the_door(&[], &[]).await.into_iter().find(|(operation, _)| operation["operationId"] == "get_events");
    let (operation, reply) = events.unwrap();
    assert_eq!(reply.status, 503);
    documented(&operation, &reply);
    for (path, methods) in document()["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            for status in ["401", "403", "413", "429", "503"] {
                assert!(operation["responses"][status]["content"].is_object(), "{method} {path} has no {status}");
            }
        }
    }
}
