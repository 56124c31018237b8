//! Both forms of an error, over HTTP.

use std::sync::Arc;

use actix_web::http::Method;
use serde_json::{Value, json};

use super::Shared;
use super::tests::{Asked, Reply, Scripted, ask_of, post};
use crate::config::Layers;

async fn ask(requests: Vec<Asked<'_>>) -> Vec<Reply> {
    let config = Layers::built_in().finish().unwrap().config;
    ask_of(Shared::new(Arc::new(Scripted::default()), config.http, config.generation, None), requests).await
}

#[actix_web::test]
async fn an_error_is_openais_on_its_routes_and_problem_details_elsewhere() {
    let foreign = |path| (Method::GET, path, String::new(), vec![("host", "evil.example")]);
    let long = json!({"reason": "x".repeat(300_000)});
    let replies = ask(vec![
        foreign("/v1/models"),
        post("/v1/chat/completions", json!([])),
        foreign("/healthz"),
        post("/v1/feedback", json!({"kind": "stars", "stars": 6, "answer": 1})),
        post("/v1/feedback", long),
        (Method::GET, "/nothing", String::new(), vec![]),
    ])
    .await;
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [403, 400, 403, 422, 413, 404]);
    for reply in &replies[..2] {
        assert!(reply.json()["error"]["message"].is_string() && reply.json().get("type").is_none(), "{}", reply.body);
    }
    let codes = ["foreign", "invalid_feedback", "too_large", "no_such_route"];
    for (reply, code) in replies[2..].iter().zip(codes) {
        let problem = reply.json();
        assert_eq!(problem["code"], code);
        assert_eq!(problem["type"], format!("urn:understudy:problem:{code}"));
        assert_eq!(problem["status"], reply.status);
        assert!(problem["detail"].is_string() && problem.get("error").is_none(), "{problem}");
    }
    assert_eq!(replies[3].json()["field"], "stars");
    assert_eq!(replies[3].headers["content-type"], "application/problem+json");
}

#[actix_web::test]
async fn what_went_wrong_inside_is_told_without_paths() {
    let reply = &ask(vec![post("/v1/feedback", json!({"kind": "thumb", "up": true, "answer": 98}))]).await[0];
    assert_eq!((reply.status, &reply.json()["code"]), (507, &Value::from("no_space")));
    assert!(reply.body.contains("10 bytes free") && !reply.body.contains("/data"), "{}", reply.body);
}
