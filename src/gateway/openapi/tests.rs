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
