//! Watching over HTTP: events as they come and as they were missed, figures, state.

use std::sync::Arc;

use actix_web::http::Method;
use serde_json::json;
use understudy_actors::messages::LoopEvent;
use understudy_learning::stages::{Feedback, FeedbackKind};

use super::Shared;
use super::tests::{Asked, Scripted, ask_of};
use crate::config::{Http, Layers};
use crate::observer::{Observer, READER_ROOM};
use crate::tasks::desk::Rules;

/// The id of an observer's first event.
const FIRST: i64 = 1000;

fn shared() -> Shared {
    let config = Layers::built_in().finish().unwrap().config;
    let mut shared = Shared::new(Arc::new(Scripted::default()), config.http, config.generation, None);
    shared.observer = Observer::new(FIRST, Rules { groups: 8, ..Rules::default() });
    shared
}

fn get(path: &str) -> Asked<'_> {
    (Method::GET, path, String::new(), vec![])
}

fn rated(seq: u64) -> LoopEvent {
    let kind = FeedbackKind::Thumb { answer: 12, up: true };
    LoopEvent::Rated {
        seq,
        feedback: Feedback { id: format!("f{seq}"), annotator: "ana".into(), at: 0, kind, why: None },
    }
}

#[actix_web::test]
async fn a_reader_who_comes_back_gets_what_it_missed_and_the_stream_ends_with_the_loop() {
    let shared = shared();
    (1..=4).for_each(|seq| shared.observer.take(seq as i64, &rated(seq)));
    let observer = shared.observer.clone();
    actix_rt::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        observer.take(9, &rated(5));
        observer.end();
    });
    let back = (Method::GET, "/v1/events", String::new(), vec![("last-event-id", "1001")]);
    let reply = &ask_of(shared.clone(), vec![back]).await[0];
    assert!(reply.headers["content-type"].starts_with("text/event-stream"));
    let frames: Vec<&str> = reply.body.split("\n\n").filter(|frame| !frame.is_empty()).collect();
    assert_eq!(frames[0], ": hello\nretry: 2000");
    let ids: Vec<&str> = frames[1..].iter().filter_map(|frame| frame.lines().next()).collect();
    assert_eq!(ids, ["id: 1002", "id: 1003", "id: 1004"]);
    let wanted = json!({"event": "rated", "seq": 5, "feedback": {"id": "f5", "annotator": "ana", "at": 0,
        "kind": "thumb", "answer": 12, "up": true}, "t_ms": 9});
    let data = frames[3].lines().nth(2).and_then(|line| line.strip_prefix("data: ")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(data).unwrap(), wanted);
    assert_eq!(frames[3].lines().nth(1), Some("event: rated"));
    let after = &ask_of(shared, vec![get("/v1/events")]).await[0];
    assert_eq!(after.status, 503, "the loop has ended: {}", after.body);
}

#[actix_web::test]
async fn readers_of_events_are_bounded_and_the_slow_are_told() {
    let shared = shared();
    shared.http.set(Http { max_event_streams: 1, ..(*shared.http.now()).clone() });
    let place = shared.observer.read(None, 1).unwrap();
    let refused = &ask_of(shared.clone(), vec![get("/v1/events")]).await[0];
    assert_eq!((refused.status, refused.headers.contains_key("retry-after")), (429, true), "{}", refused.body);
    assert!(refused.body.contains("http.max_event_streams"), "{}", refused.body);
    drop(place);
    let observer = shared.observer.clone();
    actix_rt::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        (0..READER_ROOM as u64 + 3).for_each(|seq| observer.take(1, &rated(seq)));
    });
    let slow = &ask_of(shared, vec![get("/v1/events")]).await[0];
    assert!(slow.body.ends_with(": too slow, 3 events were missed; come back with Last-Event-ID\n\n"), "{}", slow.body);
}

#[actix_web::test]
async fn a_silent_stream_is_kept_alive_by_comments() {
    let shared = shared();
    shared.http.set(Http { keep_alive_s: 0.005, ..(*shared.http.now()).clone() });
    let observer = shared.observer.clone();
    actix_rt::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        observer.end();
    });
    let reply = &ask_of(shared, vec![get("/v1/events")]).await[0];
    assert!(reply.body.starts_with(": hello\nretry: 2000\n\n: still here\n\n"), "{}", reply.body);
}

#[actix_web::test]
async fn status_has_the_program_and_history_every_series() {
    let shared = shared();
    shared.observer.take(7, &LoopEvent::Gold { answer: 1, version: 2, gold: 0.5 });
    let replies = ask_of(shared, vec![get("/v1/status"), get("/v1/history")]).await;
    let (status, history) = (replies[0].json(), replies[1].json());
    assert_eq!((&status["program"]["model"], &status["policy_version"]), (&json!("tiny"), &json!(3)));
    assert_eq!(status["program"]["started_ms"], FIRST);
    assert!(status["program"]["uptime_s"].as_f64().unwrap() > 1.0);
    assert_eq!(history["series"]["gold"], json!([[7, 2, 0.5]]));
    assert_eq!((&history["series"]["kl"], &history["timeline"]), (&json!([]), &json!([])));
}
