//! Feedback and lineage over HTTP, against a store of its own.

use std::sync::Arc;

use actix_web::http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use understudy_actors::past::Past;
use understudy_actors::testkit::{Written, rollout};
use understudy_learning::stages::{AnswerId, Feedback, FeedbackKind, VersionSpan};

use super::Shared;
use super::backend::{Ack, Backend, ChatEvents, ChatRequest, Refusal, Waiting};
use super::tests::{Asked, Reply, ask_of, post};
use crate::config::Layers;

/// Keeps what is said in a real store; knows every answer but 99; has heard everything up to `heard`.
pub(super) struct Kept {
    pub(super) written: Written,
    heard: u64,
    _dir: TempDir,
}

impl Kept {
    pub(super) fn new(heard: u64) -> Self {
        let dir = TempDir::new().unwrap();
        Self { written: Written::new(dir.path()), heard, _dir: dir }
    }
}

impl Backend for Kept {
    fn chat(&self, _: ChatRequest) -> Result<ChatEvents, Refusal> {
        Err(Refusal::Closed("nobody answers here".into()))
    }

    fn feedback(&self, feedback: Feedback) -> Waiting<'_, Result<Ack, Refusal>> {
        Box::pin(async move {
            if feedback.answers().contains(&99) {
                return Err(Refusal::Unknown("answer 99 is unknown here".into()));
            }
            if let FeedbackKind::Retract { feedback: earlier } = &feedback.kind {
                let earlier = self.written.past().feedback_named(earlier).unwrap();
                let earlier = earlier.ok_or_else(|| Refusal::Unknown("no such feedback".into()))?;
                if earlier.feedback.annotator != feedback.annotator {
                    return Err(Refusal::NotYours("only its author can take it back".into()));
                }
            }
            // Others are looked at before this one is on disk.
            tokio::task::yield_now().await;
            let taken = self.written.feedback(&feedback);
            let (seq, duplicate) = taken.ok_or_else(|| Refusal::Conflict("use a new id".into()))?;
            Ok(Ack { seq, duplicate })
        })
    }

    fn past(&self) -> Option<Past> {
        Some(self.written.past())
    }

    fn heard_up_to(&self) -> u64 {
        self.heard
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
}

pub(super) async fn ask(backend: &Arc<Kept>, requests: Vec<Asked<'_>>) -> Vec<Reply> {
    let config = Layers::built_in().finish().unwrap().config;
    ask_of(Shared::new(backend.clone(), config.http, config.generation, None), requests).await
}

fn get(path: &str) -> Asked<'_> {
    (Method::GET, path, String::new(), vec![])
}

fn stars(id: &str, annotator: &str, answer: AnswerId) -> Value {
    json!({"id": id, "annotator": annotator, "kind": "stars", "stars": 4, "answer": answer})
}

fn ids(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["feedback"]["id"].as_str().unwrap()).collect()
}

const FEEDBACK: &str = "/v1/feedback";
const BATCH: &str = "/v1/feedback/batch";

#[actix_web::test]
async fn each_item_of_a_batch_has_its_own_outcome_and_may_take_back_one_before_it() {
    let backend = Arc::new(Kept::new(0));
    let items = json!({"items": [
        stars("a", "ana", 1),
        stars("b", "ana", 99),
        {"id": "c", "kind": "applause"},
        {"id": "d", "annotator": "ana", "kind": "retract", "feedback": "a"},
        stars("e", "ana", 2),
    ]});
    let replies = ask(&backend, vec![post(BATCH, items.clone()), post(BATCH, items)]).await;
    assert_eq!((replies[0].status, replies[1].status), (200, 200), "{}", replies[0].body);
    let outcomes = replies[0].json()["items"].clone();
    assert_eq!(outcomes[0], json!({"id": "a", "seq": 1, "duplicate": false}));
    assert_eq!((&outcomes[1]["id"], &outcomes[1]["problem"]["status"]), (&json!("b"), &json!(404)));
    assert_eq!((&outcomes[2]["id"], &outcomes[2]["problem"]["field"]), (&json!("c"), &json!("kind")));
    assert_eq!((&outcomes[3]["seq"], &outcomes[4]["seq"]), (&json!(2), &json!(3)));
    // Sent again, though without times of their own: nothing new.
    let again = replies[1].json()["items"].clone();
    assert_eq!(again[0], json!({"id": "a", "seq": 1, "duplicate": true}));
    assert_eq!(again[4]["duplicate"], true);
}

#[actix_web::test]
async fn why_is_taken_alone_and_in_batches_and_told_with_the_event_and_its_answer() {
    let backend = Arc::new(Kept::new(0));
    backend.written.answer(&rollout(7, 6));
    let because = |id: &str, why: Value| {
        let mut event = stars(id, "ana", 7);
        event["why"] = why;
        event
    };
    let batch = json!({"items": [because("b", json!("it is short")), because("c", json!("w".repeat(2049)))]});
    let requests = vec![
        post(FEEDBACK, because("a", json!("it is\nright"))),
        post(FEEDBACK, because("a", json!("it is wrong"))),
        post(BATCH, batch),
        post(FEEDBACK, because("d", json!(" "))),
        get("/v1/feedback"),
        get("/v1/feedback/a"),
        get("/v1/lineage/7"),
    ];
    let replies = ask(&backend, requests).await;
    assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [200, 409, 200, 200, 200, 200, 200]);
    let outcomes = replies[2].json()["items"].clone();
    assert_eq!((&outcomes[0]["seq"], &outcomes[1]["problem"]["field"]), (&json!(3), &json!("why")));
    let whys = |events: &Value| -> Vec<Value> {
        events.as_array().unwrap().iter().map(|event| event["feedback"]["why"].clone()).collect()
    };
    let [right, short] = [json!("it is\nright"), json!("it is short")];
    assert_eq!(whys(&replies[4].json()["items"]), [Value::Null, short.clone(), right.clone()]);
    assert_eq!(replies[5].json()["feedback"]["why"], right);
    assert_eq!(whys(&replies[6].json()["feedback"]), [right, short, Value::Null]);
    let left_out = replies[4].json()["items"][0]["feedback"].clone();
    assert!(left_out.get("why").is_none(), "{left_out}");
}

#[actix_web::test]
async fn a_batch_is_bounded_and_an_object_of_items() {
    let many: Vec<Value> = (0..257).map(|i| json!({"id": format!("m{i}"), "kind": "x"})).collect();
    let bodies =
        [json!({"items": []}), json!({"items": many}), json!([]), json!({"items": [3]}), json!({"events": []})];
    let requests = bodies.into_iter().map(|body| post(BATCH, body)).collect();
    for reply in ask(&Arc::new(Kept::new(0)), requests).await {
        assert_eq!((reply.status, &reply.json()["code"]), (400, &json!("invalid_request")), "{}", reply.body);
    }
}

#[actix_web::test]
async fn a_list_is_newest_first_by_annotator_and_says_what_was_taken_back() {
    let backend = Arc::new(Kept::new(2));
    let mut requests: Vec<Asked<'_>> =
        [("a", "ana"), ("b", "ben"), ("c", "ana")].map(|(id, who)| post(FEEDBACK, stars(id, who, 1))).into();
    requests.push(post("/v1/feedback/a/retract", json!({"annotator": "ana"})));
    requests.push(get("/v1/feedback?annotator=ana"));
    requests.push(get("/v1/feedback?limit=2"));
    requests.push(get("/v1/feedback?limit=2&before=3"));
    let replies = ask(&backend, requests).await;
    assert!(replies.iter().all(|reply| reply.status == 200), "{}", replies[4].body);
    let mine = replies[4].json();
    assert_eq!(ids(&mine), ["retract-a", "c", "a"]);
    assert_eq!((&mine["next"], &mine["complete"]), (&Value::Null, &json!(true)));
    let (c, a) = (&mine["items"][1], &mine["items"][2]);
    assert_eq!((&c["heard"], &c["taken_back"]), (&json!(false), &Value::Null));
    assert_eq!((&a["heard"], &a["taken_back"]), (&json!(true), &json!({"id": "retract-a", "seq": 4, "heard": false})));
    assert_eq!((ids(&replies[5].json()), &replies[5].json()["next"]), (vec!["retract-a", "c"], &json!(3)));
    assert_eq!((ids(&replies[6].json()), &replies[6].json()["next"]), (vec!["b", "a"], &Value::Null));
}

#[actix_web::test]
async fn one_event_is_found_under_its_id_and_taken_back_once_by_its_author_only() {
    let retract = |annotator: &str| post("/v1/feedback/x%2Fy%20z/retract", json!({"annotator": annotator}));
    let requests = vec![
        post(FEEDBACK, stars("x/y z", "ana", 1)),
        get("/v1/feedback/x%2Fy%20z"),
        retract("ben"),
        retract("ana"),
        retract("ana"),
        get("/v1/feedback/x%2Fy%20z"),
        get("/v1/feedback/nothing"),
        post("/v1/feedback/nothing/retract", json!({"annotator": "ana"})),
        post("/v1/feedback/nothing/retract", json!({"who": "ana"})),
        get("/v1/feedback?limit=201"),
        get("/v1/feedback?limit=many"),
    ];
    let replies = ask(&Arc::new(Kept::new(0)), requests).await;
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [200, 200, 403, 200, 200, 200, 404, 404, 400, 400, 400]);
    assert_eq!(replies[1].json()["taken_back"], Value::Null);
    let refused = replies[2].json();
    assert_eq!((&refused["code"], &refused["field"]), (&json!("not_yours"), &json!("annotator")));
    assert_eq!(replies[4].json(), json!({"id": "retract-x/y z", "seq": 2, "duplicate": true}));
    assert_eq!(replies[5].json()["taken_back"]["seq"], 2);
    assert!(replies[6..].iter().all(|reply| reply.headers["content-type"] == "application/problem+json"));
}

#[actix_web::test]
async fn lineage_leads_from_the_answer_to_later_versions_and_to_what_was_said() {
    let backend = Arc::new(Kept::new(5));
    let say = |id: &str, answer| Feedback {
        id: id.into(),
        annotator: "ana".into(),
        at: 0,
        kind: FeedbackKind::Stars { answer, stars: 2 },
        why: None,
    };
    let spans = vec![VersionSpan { start: 0, version: 1 }, VersionSpan { start: 1, version: 2 }];
    backend.written.published(2);
    backend.written.answer(&understudy_learning::stages::Rollout { version_spans: spans, ..rollout(7, 6) });
    backend.written.published(3);
    backend.written.feedback(&say("other", 8));
    backend.written.feedback(&say("one", 7));
    backend.written.feedback(&say("two", 7));
    backend.written.published(4);
    let back = FeedbackKind::Retract { feedback: "one".into() };
    backend.written.feedback(&Feedback { kind: back, ..say("back", 0) });
    let paths = ["/v1/lineage/7", "/v1/lineage/chatcmpl-7", "/v1/lineage/7?after=5", "/v1/lineage/8", "/v1/lineage/x"];
    let replies = ask(&backend, paths.map(get).into()).await;
    assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [200, 200, 200, 404, 404]);
    let told = replies[0].json();
    assert_eq!(told, replies[1].json());
    assert_eq!((&told["answer"], &told["seq"], &told["group"]), (&json!(7), &json!(2), &json!(6)));
    assert_eq!(told["question"]["id"], "q6");
    assert_eq!(told["spans"], json!([{"start": 0, "version": 1}, {"start": 1, "version": 2}]));
    assert_eq!(told["sampling"]["temperature"], 1.0);
    assert_eq!(told["published"], json!([{"seq": 3, "version": 3}, {"seq": 7, "version": 4}]));
    let (one, two) = (&told["feedback"][0], &told["feedback"][1]);
    assert_eq!((&one["seq"], &one["heard"]), (&json!(5), &json!(true)));
    assert_eq!(one["taken_back"], json!({"id": "back", "seq": 8, "heard": false}));
    assert_eq!((&two["seq"], &two["heard"], &two["taken_back"]), (&json!(6), &json!(false), &Value::Null));
    assert_eq!((told["feedback"].as_array().map(Vec::len), &told["feedback_next"]), (Some(2), &Value::Null));
    let later = replies[2].json();
    assert_eq!(later["published"], json!([{"seq": 7, "version": 4}]));
    assert_eq!(later["feedback"].as_array().map(Vec::len), Some(1));
}
