//! Webhooks as the tools send them: what they mean, and what becomes of them when they change, go, or come again.

use std::sync::Arc;

use actix_web::http::Method;
use serde_json::{Value, json};
use understudy_learning::stages::FeedbackKind;

use super::{Said, Tool, What};
use crate::gateway::ApiError;
use crate::gateway::feedback_api_tests::{Kept, ask};
use crate::gateway::recent::Recent;
use crate::gateway::tests::{Asked, Reply, post};

const ARGILLA: &str = "/v1/intake/argilla";
const STUDIO: &str = "/v1/intake/label-studio";

fn studio() -> Value {
    serde_json::from_str(include_str!("samples/label_studio.json")).unwrap()
}

fn argilla() -> Value {
    serde_json::from_str(include_str!("samples/argilla.json")).unwrap()
}

/// What the only annotation of a body says, and what of it was ignored.
fn said(tool: Tool, body: &Value) -> Result<(Said, Vec<String>), ApiError> {
    let (mut annotations, ignored) = tool.read(body.as_object().unwrap(), &Recent::default())?;
    let What::Said(said) = annotations.remove(0).what else { panic!("{body}") };
    Ok((said, ignored.into_iter().map(|ignored| ignored.what).collect()))
}

fn stars(answer: u64, stars: u8) -> FeedbackKind {
    FeedbackKind::Stars { answer, stars }
}

fn score(answer: u64, value: f64, min: f64, max: f64) -> FeedbackKind {
    FeedbackKind::Score { answer, value, min, max }
}

fn thumb(answer: u64, up: bool) -> FeedbackKind {
    FeedbackKind::Thumb { answer, up }
}

fn pair(better: u64, worse: u64) -> FeedbackKind {
    FeedbackKind::Pair { better, worse, strength: 1.0 }
}

fn ranking(levels: &[&[u64]]) -> FeedbackKind {
    FeedbackKind::Ranking { levels: levels.iter().map(|level| level.to_vec()).collect() }
}

#[test]
fn a_label_studio_annotation_says_who_when_what_and_why() {
    let (said, ignored) = said(Tool::LabelStudio, &studio()).unwrap();
    let why = Some("It never says how much water.\nAnd it is long.".to_owned());
    // 2026-03-02T10:00:00.536Z.
    let at = 1_772_445_600_536;
    assert_eq!(said, Said { annotator: "3".into(), at, kinds: vec![stars(12, 2)], why });
    assert_eq!(ignored, ["annotation.result[2]"]);
}

#[test]
fn every_kind_of_label_studio_result_has_its_meaning() {
    let two = json!({"answers": [12, "chatcmpl-13"]});
    let sides = json!({"answers": {"txt-b": 13, "txt-a": 12}});
    let three = json!({"completion_ids": ["chatcmpl-12", "chatcmpl-13", "chatcmpl-14"]});
    let one = json!({"answer": 12});
    let result = |kind: &str, name: &str, to: &str, value: Value| json!([{"type": kind, "from_name": name, "to_name": to, "value": value}]);
    let ranker = |value: Value| result("ranker", "rank", "items", json!({"ranker": value}));
    let choice = |word: &str| result("choices", "verdict", "text", json!({"choices": [word]}));
    let cases = [
        (&one, result("rating", "depth", "text", json!({"rating": 7})), vec![score(12, 7.0, 1.0, 10.0)]),
        (&two, result("rating", "quality", "text-2", json!({"rating": 5})), vec![stars(13, 5)]),
        (&sides, result("rating", "quality", "txt-a", json!({"rating": 1})), vec![stars(12, 1)]),
        (&one, choice("Thumbs up"), vec![thumb(12, true)]),
        (&one, choice("bad"), vec![thumb(12, false)]),
        (&two, choice("right"), vec![pair(13, 12)]),
        (&two, choice("tie"), vec![ranking(&[&[12, 13]])]),
        (&two, choice("both bad"), vec![thumb(12, false), thumb(13, false)]),
        (&three, choice("response-2"), vec![ranking(&[&[13], &[12, 14]])]),
        (&two, result("pairwise", "pw", "text1,text2", json!({"selected": "left"})), vec![pair(12, 13)]),
        (&sides, result("pairwise", "pw", "txt-b,txt-a", json!({"selected": "left"})), vec![pair(13, 12)]),
        (&three, ranker(json!({"rank": ["chatcmpl-14", "12", 13]})), vec![ranking(&[&[14], &[12], &[13]])]),
        (&three, ranker(json!([["chatcmpl-14"], ["12", 13]])), vec![ranking(&[&[14], &[12, 13]])]),
        // A database may hand out the buckets in any order; the project says which is best.
        (&three, ranker(json!({"bad": ["13"], "_": ["12"], "useful": ["14"]})), vec![ranking(&[&[14], &[13]])]),
        (
            &one,
            result("textarea", "edit", "text", json!({"text": ["Better."]})),
            vec![FeedbackKind::Edit { answer: 12, text: "Better.".into() }],
        ),
        (
            &one,
            result("choices", "flag", "text", json!({"choices": ["rude", "wrong"]})),
            vec![FeedbackKind::Flag { answer: 12, reason: "rude, wrong".into() }],
        ),
        // Nothing is guessed.
        (&two, choice("gpt-2"), vec![]),
        (&two, choice("good"), vec![]),
        (&one, result("textarea", "notes", "text", json!({"text": ["Hm."]})), vec![]),
        (&two, result("pairwise", "pw", "text1,text2", json!({"selected": "none"})), vec![]),
    ];
    for (data, result, wanted) in cases {
        let mut body = studio();
        body["task"]["data"] = data.clone();
        body["annotation"]["result"] = result.clone();
        let (said, ignored) = said(Tool::LabelStudio, &body).unwrap_or_else(|error| panic!("{result}: {error}"));
        assert_eq!(said.kinds, wanted, "{data} {result}");
        assert_eq!(ignored.is_empty(), !wanted.is_empty(), "{result}");
    }
}

#[test]
fn every_kind_of_argilla_question_has_its_meaning() {
    let (first, ignored) = said(Tool::Argilla, &argilla()).unwrap();
    let why = Some("The second names the cause.".to_owned());
    let kinds = vec![ranking(&[&[13], &[12, 14]])];
    assert_eq!(first, Said { annotator: "ana".into(), at: 1_772_445_600_128, kinds, why });
    assert_eq!(ignored, [""; 0]);
    let cases = [
        ("quality-2", json!(7), vec![score(13, 7.0, 0.0, 10.0)]),
        ("stars-1", json!(4), vec![stars(12, 4)]),
        ("verdict", json!("both_bad"), vec![thumb(12, false), thumb(13, false), thumb(14, false)]),
        ("flag-3", json!(["rude", "wrong"]), vec![FeedbackKind::Flag { answer: 14, reason: "rude, wrong".into() }]),
        ("edit_1", json!("Better."), vec![FeedbackKind::Edit { answer: 12, text: "Better.".into() }]),
        ("spans", json!([]), vec![]),
        ("unheard", json!(1), vec![]),
    ];
    for (question, value, wanted) in cases {
        let mut body = argilla();
        body["data"]["values"] = json!({question: {"value": value}});
        let (said, ignored) = said(Tool::Argilla, &body).unwrap();
        assert_eq!((said.kinds, ignored.is_empty()), (wanted.clone(), !wanted.is_empty()), "{question}");
    }
    let mut body = argilla();
    body["data"]["record"]["metadata"] = json!({});
    body["data"]["record"]["external_id"] = json!("chatcmpl-21");
    body["data"]["values"] = json!({"stars-1": {"value": 5}});
    assert_eq!(said(Tool::Argilla, &body).unwrap().0.kinds, [stars(21, 5)]);
    // An answer's own text is no id.
    body["data"]["record"]["fields"]["answer"] = json!("It is.");
    assert_eq!(said(Tool::Argilla, &body).unwrap().0.kinds, [stars(21, 5)]);
}

/// How many events there are, and the ids of those that count.
async fn kept(backend: &Arc<Kept>) -> (usize, Vec<String>) {
    let list = ask(backend, vec![(Method::GET, "/v1/feedback", String::new(), vec![])]).await[0].json();
    let items = list["items"].as_array().unwrap();
    let counts = |item: &&Value| item["taken_back"].is_null() && item["feedback"]["kind"] != "retract";
    let id = |item: &Value| item["feedback"]["id"].as_str().unwrap().to_owned();
    (items.len(), items.iter().filter(counts).map(id).collect())
}

/// One delivery, to a daemon that has just been started again: it knows what its journal knows.
async fn deliver(backend: &Arc<Kept>, path: &str, body: &Value) -> Value {
    let reply: Vec<Reply> = ask(backend, vec![post(path, body.clone())]).await;
    assert_eq!(reply[0].status, 200, "{}", reply[0].body);
    reply[0].json()
}

/// The life of an annotation: said, said again, changed, the old one late, changed without a change, gone, late again.
async fn lives(path: &str, created: Value, changed: Value, resaved: Value, gone: Value, name: &str) {
    let backend = Arc::new(Kept::new(0));
    let [first, second] = [format!("{name}-0"), format!("{name}-1")];
    let taken = deliver(&backend, path, &created).await;
    assert_eq!(taken["given"], json!([{"id": first, "seq": 1, "duplicate": false}]));
    let again = deliver(&backend, path, &created).await;
    assert_eq!(again["given"], json!([{"id": first, "seq": 1, "duplicate": true}]));
    assert_eq!(kept(&backend).await, (1, vec![first.clone()]));
    let taken = deliver(&backend, path, &changed).await;
    assert_eq!(taken["taken_back"], json!([{"id": first, "seq": 2}]));
    assert_eq!(taken["given"], json!([{"id": second, "seq": 3, "duplicate": false}]));
    let late = deliver(&backend, path, &created).await;
    assert_eq!(
        (&late["given"], &late["ignored"][0]["why"]),
        (&json!([]), &json!("a newer change of it was taken before"))
    );
    let resaved = deliver(&backend, path, &resaved).await;
    assert_eq!((&resaved["given"][0]["duplicate"], &resaved["taken_back"]), (&json!(true), &json!([])));
    assert_eq!(kept(&backend).await, (3, vec![second.clone()]));
    let taken = deliver(&backend, path, &gone).await;
    assert_eq!(taken["taken_back"], json!([{"id": second, "seq": 4}]));
    assert_eq!(deliver(&backend, path, &gone).await["taken_back"], json!([]));
    let late = deliver(&backend, path, &changed).await;
    assert_eq!((&late["given"], &late["ignored"][0]["why"]), (&json!([]), &json!("it was deleted")));
    assert_eq!(kept(&backend).await, (4, vec![]));
}

#[actix_web::test]
async fn a_label_studio_annotation_counts_once_and_as_it_stands_last() {
    let mut created = studio();
    created["annotation"]["result"].as_array_mut().unwrap().truncate(2);
    let mut changed = created.clone();
    changed["action"] = json!("ANNOTATION_UPDATED");
    changed["annotation"]["updated_at"] = json!("2026-03-02T10:05:00.000001Z");
    changed["annotation"]["result"][0]["value"]["rating"] = json!(4);
    let mut resaved = changed.clone();
    resaved["annotation"]["updated_at"] = json!("2026-03-02T12:07:00+02:00");
    let gone = json!({"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 17}], "project": {"id": 2}});
    lives(STUDIO, created, changed, resaved, gone, "label-studio-17").await;
}

#[actix_web::test]
async fn an_argilla_response_counts_once_and_as_it_stands_last() {
    let created = argilla();
    let mut changed = created.clone();
    changed["type"] = json!("response.updated");
    changed["data"]["updated_at"] = json!("2026-03-02T10:05:00.000001");
    changed["data"]["values"]["preference"]["value"][0]["rank"] = json!(2);
    let mut resaved = changed.clone();
    resaved["data"]["updated_at"] = json!("2026-03-02T10:07:00");
    let id = created["data"]["id"].clone();
    let gone =
        json!({"type": "response.deleted", "version": 1, "timestamp": "2026-03-02T10:09:00Z", "data": {"id": id}});
    lives(ARGILLA, created, changed, resaved, gone, "argilla-7164a58e-3611-4b0a-98cc-9184bc92dc5a").await;
}

#[actix_web::test]
async fn what_is_discarded_or_skipped_is_taken_back_and_a_hand_that_took_it_back_is_heeded() {
    let backend = Arc::new(Kept::new(0));
    let mut discarded = argilla();
    discarded["data"]["status"] = json!("discarded");
    discarded["data"]["updated_at"] = json!("2026-03-02T10:05:00");
    deliver(&backend, ARGILLA, &argilla()).await;
    assert_eq!(deliver(&backend, ARGILLA, &discarded).await["taken_back"].as_array().map(Vec::len), Some(1));
    let mut skipped = studio();
    skipped["annotation"]["was_cancelled"] = json!(true);
    skipped["annotation"]["updated_at"] = json!("2026-03-02T10:05:00Z");
    deliver(&backend, STUDIO, &studio()).await;
    let by_hand = post("/v1/feedback/label-studio-17-0/retract", json!({"annotator": "label-studio/3"}));
    assert_eq!(ask(&backend, vec![by_hand]).await[0].status, 200);
    // The same delivery does not say it again, and there is nothing left to take back.
    assert_eq!(deliver(&backend, STUDIO, &studio()).await["given"][0]["duplicate"], true);
    assert_eq!(deliver(&backend, STUDIO, &skipped).await["taken_back"], json!([]));
    assert_eq!(kept(&backend).await, (4, vec![]));
}

#[actix_web::test]
async fn a_deletion_that_comes_first_keeps_what_it_deleted_out() {
    let gone = json!({"action": "ANNOTATION_DELETED", "annotation": {"id": "17"}});
    let backend = Arc::new(Kept::new(0));
    let replies = ask(&backend, vec![post(STUDIO, gone), post(STUDIO, studio())]).await;
    assert_eq!((replies[0].status, replies[1].status), (200, 200));
    assert_eq!(replies[1].json()["ignored"].as_array().unwrap().last().unwrap()["why"], "it was deleted");
    assert_eq!(kept(&backend).await.0, 0);
}

#[actix_web::test]
async fn many_annotations_come_at_once_and_one_that_is_refused_keeps_none_of_the_others_out() {
    let many = |answers: [u64; 3]| {
        let one = |(id, answer): (u64, u64)| {
            let mut body = studio();
            body["annotation"]["id"] = json!(id);
            body["task"]["data"] = json!({"answer": answer});
            (body["annotation"].take(), body["task"].take())
        };
        let (annotations, tasks): (Vec<Value>, Vec<Value>) = (1..).zip(answers).map(one).unzip();
        json!({"action": "ANNOTATIONS_CREATED", "annotation": annotations, "task": tasks})
    };
    let backend = Arc::new(Kept::new(0));
    let replies = ask(&backend, vec![post(STUDIO, many([12, 99, 14])), post(STUDIO, many([12, 13, 14]))]).await;
    assert_eq!((replies[0].status, replies[0].json()["code"].as_str()), (404, Some("not_found")));
    let duplicates: Vec<Value> =
        replies[1].json()["given"].as_array().unwrap().iter().map(|given| given["duplicate"].clone()).collect();
    assert_eq!(duplicates, [json!(true), json!(false), json!(true)]);
    assert_eq!(kept(&backend).await.1, ["label-studio-2-0", "label-studio-3-0", "label-studio-1-0"]);
}

#[actix_web::test]
async fn deliveries_at_once_of_one_annotation_leave_the_newest() {
    let change = |minute: u32| {
        let mut body = studio();
        body["annotation"]["updated_at"] = json!(format!("2026-03-02T10:{minute:02}:00Z"));
        body["annotation"]["result"][0]["value"]["rating"] = json!(1 + minute % 5);
        body
    };
    let backend = Arc::new(Kept::new(0));
    let config = crate::config::Layers::built_in().finish().unwrap().config;
    let shared = crate::gateway::Shared::new(backend.clone(), config.http, config.generation, None);
    let bodies: Vec<Vec<u8>> = [3, 9, 1, 7, 9].map(|minute| change(minute).to_string().into_bytes()).into();
    let all = bodies.iter().map(|body| super::taken(&shared, body, Tool::LabelStudio));
    assert!(futures_util::future::join_all(all).await.iter().all(Result::is_ok));
    let (_, counting) = kept(&backend).await;
    assert_eq!(counting.len(), 1);
    let path = format!("/v1/feedback/{}", counting[0]);
    let newest = ask(&backend, vec![(Method::GET, &path, String::new(), vec![])]).await[0].json();
    assert_eq!(newest["feedback"]["stars"], 5);
    assert_eq!(newest["feedback"]["annotator"], "label-studio/3");
}

#[actix_web::test]
async fn events_of_other_things_are_ignored_and_wrong_content_is_named() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = studio();
        change(&mut body);
        post(STUDIO, body)
    };
    let of_argilla = |change: &dyn Fn(&mut Value)| {
        let mut body = argilla();
        change(&mut body);
        post(ARGILLA, body)
    };
    let ignored: Vec<Asked<'_>> = vec![
        post(STUDIO, json!({"action": "PROJECT_UPDATED", "project": {"id": 2}})),
        post(ARGILLA, json!({"type": "record.completed", "version": 1, "data": {"id": "x"}})),
        post(ARGILLA, json!({"type": "ping"})),
    ];
    for reply in ask(&Arc::new(Kept::new(0)), ignored).await {
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.json()["ignored"].as_array().map(Vec::len), Some(1), "{}", reply.body);
    }
    let wrong = [
        (with(&|body| body["action"] = Value::Null), "action"),
        (with(&|body| body["annotation"] = Value::Null), "annotation"),
        (with(&|body| body["annotation"]["id"] = json!("17-0")), "annotation.id"),
        (with(&|body| body["annotation"]["updated_at"] = json!("yesterday")), "annotation.updated_at"),
        (
            with(&|body| body["annotation"]["result"][0]["value"]["rating"] = json!(6)),
            "annotation.result[0].value.rating",
        ),
        (with(&|body| body["annotation"]["completed_by"] = json!("x".repeat(200))), "annotator"),
        (with(&|body| body["task"]["data"] = json!({"text": "Keep"})), "task.data.answer"),
        (with(&|body| body["task"]["data"] = json!({"answers": ["12", "hello"]})), "task.data.answers"),
        (
            with(&|body| {
                body["task"]["data"]["answers"] = json!([12, 13]);
                body["annotation"]["result"] =
                    json!([{"type": "ranker", "from_name": "rank", "value": {"ranker": {"x": ["12"], "y": ["13"]}}}]);
            }),
            "task.data.buckets",
        ),
        (of_argilla(&|body| body["data"]["id"] = json!(7)), "data.id"),
        (of_argilla(&|body| body["data"] = Value::Null), "data"),
        (
            of_argilla(&|body| body["data"]["record"]["metadata"] = json!({"answers": [12]})),
            "data.values.preference.value",
        ),
        (
            of_argilla(&|body| body["data"]["values"] = json!({"stars-1": {"value": "four"}})),
            "data.values.stars-1.value",
        ),
    ];
    let (requests, fields): (Vec<_>, Vec<_>) = wrong.into_iter().unzip();
    let backend = Arc::new(Kept::new(0));
    for (reply, field) in ask(&backend, requests).await.iter().zip(fields) {
        assert_eq!(
            (reply.status, reply.headers["content-type"].as_str()),
            (422, "application/problem+json"),
            "{field}"
        );
        assert_eq!(reply.json()["field"], field, "{}", reply.body);
    }
    assert_eq!(ask(&backend, vec![(Method::POST, STUDIO, "[]".into(), vec![])]).await[0].status, 400);
    assert_eq!(kept(&backend).await.0, 0);
}

#[actix_web::test]
async fn a_reason_that_is_too_long_is_cut_and_said_to_be() {
    let mut body = studio();
    body["annotation"]["result"][1]["value"]["text"] = json!(["é".repeat(1500)]);
    let backend = Arc::new(Kept::new(0));
    let taken = deliver(&backend, STUDIO, &body).await;
    assert_eq!(taken["ignored"].as_array().unwrap().last().unwrap()["what"], "why");
    let event =
        ask(&backend, vec![(Method::GET, "/v1/feedback/label-studio-17-0", String::new(), vec![])]).await[0].json();
    assert_eq!(event["feedback"]["why"], json!("é".repeat(1024)));
}
