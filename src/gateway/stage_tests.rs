//! The routes of the stage against a scripted daemon.

use std::sync::{Arc, Mutex};

use actix_web::http::Method;
use serde_json::json;
use understudy_actors::past::Past;
use understudy_actors::stage::{Order, StageRefusal, StageView};
use understudy_learning::stages::Feedback;

use super::Shared;
use super::backend::{Ack, Backend, ChatEvents, ChatRequest, Refusal, Waiting};
use super::tests::{Asked, Reply, ask_of};
use crate::config::Layers;

/// Does what it is told, but for version 9, which it does not keep, and 8, which may not serve.
#[derive(Default)]
struct Directed(Mutex<Vec<Order>>);

impl Backend for Directed {
    fn chat(&self, _: ChatRequest) -> Result<ChatEvents, Refusal> {
        Err(Refusal::Closed("nobody answers here".into()))
    }

    fn feedback(&self, _: Feedback) -> Waiting<'_, Result<Ack, Refusal>> {
        Box::pin(std::future::ready(Err(Refusal::Closed("nobody listens here".into()))))
    }

    fn past(&self) -> Option<Past> {
        None
    }

    fn heard_up_to(&self) -> u64 {
        0
    }

    fn not_ready(&self) -> Vec<String> {
        Vec::new()
    }

    fn version(&self) -> u64 {
        3
    }

    fn model(&self) -> &str {
        "tiny"
    }

    fn direct(&self, order: Order) -> Waiting<'_, Result<StageView, StageRefusal>> {
        self.0.lock().unwrap().push(order);
        Box::pin(std::future::ready(match order {
            Order::Promote(Some(9)) => Err(StageRefusal::NotKept { version: 9, kept: vec![3, 5] }),
            Order::Promote(Some(8)) => Err(StageRefusal::OutOfBounds { version: 8, why: "its KL is 20".into() }),
            Order::Rollback(None) => Err(StageRefusal::NotWritten("/data/stage: no space".into())),
            _ => Ok(StageView::direct(7)),
        }))
    }
}

async fn ask(backend: Arc<Directed>, requests: Vec<Asked<'_>>) -> Vec<Reply> {
    let config = Layers::built_in().finish().unwrap().config;
    ask_of(Shared::new(backend, config.http, config.generation, None), requests).await
}

#[actix_web::test]
async fn orders_reach_the_stage_and_refusals_say_why() {
    let backend = Arc::new(Directed::default());
    let post = |path, body: &str| -> Asked<'_> { (Method::POST, path, body.to_owned(), vec![]) };
    let replies = ask(
        backend.clone(),
        vec![
            (Method::GET, "/v1/stage", String::new(), vec![]),
            post("/v1/stage/promote", ""),
            post("/v1/stage/promote", "{\"version\": 9}"),
            post("/v1/stage/promote", "{\"version\": 8}"),
            post("/v1/stage/rollback", "{}"),
            post("/v1/stage/pin", "{\"version\": 7}"),
            post("/v1/stage/unpin", ""),
            post("/v1/stage/pin", ""),
            post("/v1/stage/unpin", "{\"version\": 7}"),
            post("/v1/stage/promote", "{\"versoin\": 7}"),
            post("/v1/stage/rollback", "{\"version\": 5}"),
        ],
    )
    .await;
    let told: Vec<_> =
        replies.iter().map(|reply| (reply.status, reply.json()["code"].as_str().map(str::to_owned))).collect();
    let refused = |status, code: &str| (status, Some(code.to_owned()));
    let wanted = [
        (200, None),
        (200, None),
        refused(404, "not_kept"),
        refused(409, "out_of_bounds"),
        refused(507, "not_written"),
        (200, None),
        (200, None),
        refused(400, "invalid_request"),
        refused(400, "invalid_request"),
        refused(400, "invalid_request"),
        (200, None),
    ];
    assert_eq!(told, wanted);
    assert_eq!(replies[0].json()["lead"]["version"], json!(3));
    assert_eq!(replies[5].json()["lead"]["version"], json!(7));
    assert!(replies[2].message().contains("version 9 is not kept; 3, 5 are"), "{}", replies[2].message());
    assert!(!replies[4].body.contains("/data"), "{}", replies[4].body);
    let orders = backend.0.lock().unwrap().clone();
    let wanted = [
        Order::Promote(None),
        Order::Promote(Some(9)),
        Order::Promote(Some(8)),
        Order::Rollback(None),
        Order::Pin(7),
        Order::Unpin,
        Order::Rollback(Some(5)),
    ];
    assert_eq!(orders, wanted);
}
