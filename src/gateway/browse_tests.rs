//! Questions, answers and tasks over HTTP, against answers that the test keeps.

use std::sync::Arc;

use actix_web::http::Method;
use serde_json::{Value, json};
use understudy_actors::messages::LoopEvent;
use understudy_learning::stages::{
    AnswerId, Author, Feedback, FeedbackKind, Finish, Prompt, Question, Rollout, Sampling, VersionSpan,
};

use super::Shared;
use super::tests::{Asked, Reply, Scripted, ask_of, post};
use crate::config::Layers;
use crate::observer::Observer;
use crate::tasks::desk::Rules;

fn rollout(group: AnswerId, id: AnswerId) -> Rollout {
    let question = Question {
        id: format!("s/{group}"),
        source: if group.is_multiple_of(20) { "chat".into() } else { "beer".into() },
        title: format!("Why {group}?"),
        body: "Look: <script>alert(1)</script> *x*".into(),
        tags: vec!["t".into()],
        author: Some(Author { name: "Ana".into(), url: Some("javascript:alert(1)".into()) }),
        url: Some("https://beer.example/q/1".into()),
        licence: Some("CC BY-SA 4.0".into()),
        asked_at: 5,
        closedness: None,
        terms: Some("own-site".into()),
    };
    let sampling = Sampling {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        max_tokens: 8,
        seed: 0,
    };
    let span = |start, version| VersionSpan { start, version };
    Rollout {
        id,
        group,
        prompt: Prompt { question: Arc::new(question), tokens: vec![1] },
        tokens: vec![2, 3, 4],
        text: format!("Because **{id}**."),
        old_logprobs: vec![-1.0; 3],
        kept_mass: vec![1.0; 3],
        version_spans: vec![span(0, 4), span(2, 5)],
        sampling,
        finish: Finish::EndOfSequence,
        trunk: Default::default(),
    }
}

/// Groups 10, 20, … of two answers each, kept and seen by the observer.
fn shared(groups: u64) -> (Shared, Arc<Scripted>) {
    let config = Layers::built_in().finish().unwrap().config;
    let backend = Arc::new(Scripted::default());
    let mut shared = Shared::new(backend.clone(), config.http, config.generation, None);
    shared.observer = Observer::new(1, Rules { groups: 100, ..Rules::default() });
    for group in (1..=groups).map(|group| 10 * group) {
        for id in [group, group + 1] {
            shared.observer.recall_answer(group, id);
            backend.kept.lock().unwrap().insert(id, Arc::new(rollout(group, id)));
        }
    }
    (shared, backend)
}

fn get(path: &str) -> Asked<'_> {
    (Method::GET, path, String::new(), vec![])
}

fn groups(page: &Value) -> Vec<u64> {
    page["items"].as_array().unwrap().iter().map(|question| question["group"].as_u64().unwrap()).collect()
}

async fn one(shared: &Shared, request: Asked<'_>) -> Reply {
    ask_of(shared.clone(), vec![request]).await.remove(0)
}

#[actix_web::test]
async fn questions_come_newest_first_in_pages_that_neither_overlap_nor_leave_out() {
    let (shared, backend) = shared(7);
    backend.kept.lock().unwrap().remove(&41); // evicted
    let (mut path, mut seen, mut answers) = ("/v1/questions?limit=3".to_owned(), Vec::new(), 0);
    loop {
        let page = one(&shared, get(&path)).await.json();
        seen.extend(groups(&page));
        answers +=
            page["items"].as_array().unwrap().iter().map(|q| q["answers"].as_array().unwrap().len()).sum::<usize>();
        let Some(next) = page["next"].as_u64() else { break };
        path = format!("/v1/questions?limit=3&before={next}");
    }
    assert_eq!((seen, answers), (vec![70, 60, 50, 40, 30, 20, 10], 13));
}

#[actix_web::test]
async fn a_question_carries_its_attribution_and_nothing_that_a_page_would_run() {
    let (shared, _) = shared(1);
    let scores = vec![(11, 0.5, 0.25)];
    shared.observer.take(1, &LoopEvent::Scored { group: 10, mean_score: 0.5, scores, version: 2 });
    let kind = FeedbackKind::Thumb { answer: 11, up: true };
    let feedback = Feedback { id: "f".into(), annotator: "ana".into(), at: 0, kind, why: None };
    shared.observer.take(2, &LoopEvent::Rated { seq: 9, feedback: feedback.clone() });
    shared_rated(&shared, &feedback).await;
    let question = &one(&shared, get("/v1/questions")).await.json()["items"][0];
    assert_eq!(question["html"], "<p>Look: &lt;script&gt;alert(1)&lt;/script&gt; <em>x</em></p>\n");
    assert_eq!(question["author"], json!({"name": "Ana", "url": null}), "a link that is none is left out");
    assert_eq!((&question["licence"], &question["asked_ms"]), (&json!("CC BY-SA 4.0"), &json!(5)));
    assert_eq!(question["terms"], "own-site");
    let wanted = json!({
        "answer": 11, "text": "Because **11**.", "html": "<p>Because <strong>11</strong>.</p>\n", "version": 5,
        "spans": [{"start": 0, "version": 4}, {"start": 2, "version": 5}], "finish": "stop", "tokens": 3,
        "score": 0.5, "score_std": 0.25, "ratings": 1,
    });
    assert_eq!(question["answers"][1], wanted);
    let answer = one(&shared, get("/v1/answers/chatcmpl-11")).await.json();
    assert_eq!((&answer["html"], &answer["question"]["title"]), (&wanted["html"], &json!("Why 10?")));
    assert!(answer["question"].get("answers").is_none());
    assert_eq!(
        answer["feedback"],
        json!([{"id": "f", "annotator": "ana", "at": 0, "kind": "thumb", "answer": 11,
        "up": true, "seq": 9}])
    );
}

/// The scripted backend has the rating, too.
async fn shared_rated(shared: &Shared, feedback: &Feedback) {
    shared.backend.feedback(feedback.clone()).await.unwrap();
}

#[actix_web::test]
async fn a_search_looks_at_a_bounded_number_of_answers_and_goes_on_where_it_stopped() {
    let (shared, backend) = shared(2);
    backend.kept.lock().unwrap().insert(9000, Arc::new(rollout(9000, 9000)));
    let first = one(&shared, get("/v1/questions?search=WHY%2010")).await.json();
    assert!(groups(&first).is_empty() && first["looked_at"].as_u64() < Some(2000 + 70), "{first}");
    let mut next = first["next"].as_u64();
    let mut found = Vec::new();
    while let Some(before) = next {
        let page = one(&shared, get(&format!("/v1/questions?search=WHY%2010&before={before}"))).await.json();
        found.extend(groups(&page));
        next = page["next"].as_u64();
    }
    assert_eq!(found, [10]);
    let of = one(&shared, get("/v1/questions?source=beer&search=because&before=25")).await.json();
    assert_eq!(groups(&of), [10]);
}

#[actix_web::test]
async fn what_cannot_be_read_is_refused_by_name() {
    let (shared, _) = shared(1);
    let long = format!("/v1/questions?search={}", "x".repeat(201));
    let cases = [
        (get("/v1/questions?limit=101"), 400, "limit is 101; give 1 to 100"),
        (get("/v1/questions?limit=x"), 400, "the query is wrong"),
        (get("/v1/questions?before=-1"), 400, "the query is wrong"),
        (get(&long), 400, "search is longer than 200 characters"),
        (get("/v1/answers/99"), 404, "answer '99' is unknown here"),
        (get("/v1/answers/..%2F..%2Fetc"), 404, "answer '"),
        (get("/v1/tasks/next"), 400, "the query is wrong: missing field `annotator`"),
        (get("/v1/tasks/next?annotator="), 422, "annotator is "),
        (get("/v1/tasks/next?annotator=a&kind=vote"), 400, "kind is 'vote'; use any, stars, thumb, pair or ranking"),
        (post("/v1/tasks/pair-1-2/skip", json!({"annotator": "a"})), 404, "task 'pair-1-2' is unknown here"),
        (post("/v1/tasks/pair-10-11/skip", json!({"who": "a"})), 400, "the body must be"),
    ];
    for (request, status, text) in cases {
        let path = request.1.to_owned();
        let reply = one(&shared, request).await;
        assert!(reply.status == status && reply.body.contains(text), "{path}: {} {}", reply.status, reply.body);
    }
}

#[actix_web::test]
async fn a_task_is_blind_comes_once_and_at_the_end_is_204() {
    let (shared, backend) = shared(3);
    backend.kept.lock().unwrap().remove(&31);
    let next = "/v1/tasks/next?annotator=ana&kind=pair";
    let mut seen = Vec::new();
    loop {
        let reply = one(&shared, get(next)).await;
        if reply.status == 204 {
            break;
        }
        let task = reply.json();
        assert_eq!(task, one(&shared, get(next)).await.json(), "a reload shows the same");
        for answer in task["answers"].as_array().unwrap() {
            let mut keys: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
            keys.sort_unstable();
            assert_eq!(keys, ["answer", "html", "label", "text"]);
        }
        let labels: Vec<&str> =
            task["answers"].as_array().unwrap().iter().filter_map(|a| a["label"].as_str()).collect();
        assert_eq!((labels, &task["blind"]), (vec!["A", "B"], &json!(true)));
        assert!(task["question"].get("answers").is_none() && task["question"]["title"].is_string());
        let mut keys: Vec<&str> = task.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["answers", "blind", "kind", "question", "task", "waiting"], "gold is never told");
        seen.push(task["question"]["group"].as_u64().unwrap());
        let path = format!("/v1/tasks/{}/skip", task["task"].as_str().unwrap());
        assert_eq!(one(&shared, post(&path, json!({"annotator": "ana"}))).await.status, 200);
    }
    assert_eq!(seen, [20, 10], "30 has one answer left, which is no pair");
    assert_eq!(one(&shared, get("/v1/tasks/next?annotator=ana")).await.json()["question"]["group"], 30);
}
