//! The HTTP face against a scripted backend: every shape of request, every refusal.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::Method;
use actix_web::{App, middleware, test, web};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use understudy_actors::past::Past;
use understudy_learning::stages::{AnswerId, Feedback, Finish, Rollout};

use super::backend::{Ack, Backend, ChatEvent, ChatEvents, ChatRequest, Refusal, Waiting};
use super::{Shared, guard, routes};
use crate::config::Layers;

/// Answers every chat with "Hé is <n>." in three tokens, and keeps ratings in memory. Asked for "huge" it says 2 MiB;
/// for "endless" 4 KiB again and again, for "silent" nothing, until nobody listens.
#[derive(Default)]
pub(super) struct Scripted {
    pub(super) asked: Mutex<Vec<ChatRequest>>,
    pub(super) rated: Mutex<BTreeMap<String, Feedback>>,
    pub(super) kept: Mutex<BTreeMap<AnswerId, Arc<Rollout>>>,
    /// Tokens that "endless" answers have sent, and how many such answers were given up by their readers.
    pub(super) endless: Arc<(AtomicU64, AtomicU64)>,
}

impl Backend for Scripted {
    fn chat(&self, request: ChatRequest) -> Result<ChatEvents, Refusal> {
        let content = request.messages.last().map(|message| message.content.clone()).unwrap_or_default();
        if content == "full" {
            return Err(Refusal::Full("too many requests are waiting; try again in a moment".into()));
        }
        let (sender, receiver) = mpsc::channel(64);
        if content == "endless" || content == "silent" {
            let (sent, given_up) = (self.endless.clone(), self.endless.clone());
            actix_rt::spawn(async move {
                let token = || ChatEvent::Token { sample: 0, text: "x".repeat(4096), logprob: -0.5, version: 3 };
                while content == "endless" && sender.send(token()).await.is_ok() {
                    sent.0.fetch_add(1, Ordering::Relaxed);
                }
                sender.closed().await;
                given_up.1.fetch_add(1, Ordering::Relaxed);
            });
            self.asked.lock().unwrap().push(request);
            return Ok(receiver);
        }
        for sample in 0..request.samples {
            let token = |text: &str, version| ChatEvent::Token { sample, text: text.into(), logprob: -0.5, version };
            let third = if content == "swap" { 4 } else { 3 };
            let mut events = vec![token("Hé", 3), token("", 3), token(" is ", third)];
            events.push(match content.as_str() {
                "crash" => ChatEvent::Failed(Refusal::Crashed("the request was lost; send it again".into())),
                "panic" => panic!("scripted"),
                _ => ChatEvent::Finished {
                    sample,
                    answer: 12 + sample as u64,
                    text: match content.as_str() {
                        "huge" => format!("Hé is {}", "x".repeat(2 << 20)),
                        _ => format!("Hé is {sample}."),
                    },
                    finish: if sample == 0 { Finish::EndOfSequence } else { Finish::Length },
                    prompt_tokens: 7,
                    tokens: 3,
                    version: 4,
                },
            });
            events.into_iter().for_each(|event| sender.try_send(event).unwrap());
        }
        self.asked.lock().unwrap().push(request);
        Ok(receiver)
    }

    fn feedback(&self, feedback: Feedback) -> Waiting<'_, Result<Ack, Refusal>> {
        Box::pin(async move {
            if feedback.answers().contains(&99) {
                return Err(Refusal::Unknown("answer 99 is unknown here; rate an answer that is still kept".into()));
            }
            if feedback.answers().contains(&98) {
                return Err(Refusal::NoSpace("the rating was not taken: /data has 10 bytes free".into()));
            }
            let mut rated = self.rated.lock().unwrap();
            match rated.get(&feedback.id) {
                Some(earlier) if *earlier != feedback => Err(Refusal::Conflict("use a new id".into())),
                earlier => {
                    let duplicate = earlier.is_some();
                    rated.insert(feedback.id.clone(), feedback);
                    Ok(Ack { seq: 5, duplicate })
                }
            }
        })
    }

    fn past(&self) -> Option<Past> {
        None
    }

    fn heard_up_to(&self) -> u64 {
        0
    }

    fn not_ready(&self) -> Vec<String> {
        vec!["the model is being loaded".into()]
    }

    fn version(&self) -> u64 {
        3
    }

    fn model(&self) -> &str {
        "tiny"
    }

    fn answer(&self, id: AnswerId) -> Result<Option<Arc<Rollout>>, Refusal> {
        Ok(self.kept.lock().unwrap().get(&id).cloned())
    }

    fn answer_ids(&self) -> Result<Option<(AnswerId, AnswerId)>, Refusal> {
        let kept = self.kept.lock().unwrap();
        Ok(kept.keys().next().copied().zip(kept.keys().next_back().copied()))
    }

    fn said(&self, seqs: &[u64]) -> Result<Vec<(u64, Feedback)>, Refusal> {
        let rated = self.rated.lock().unwrap();
        Ok(rated.values().zip(seqs).map(|(feedback, seq)| (*seq, feedback.clone())).collect())
    }
}

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Reply {
    /// The error's sentence, in OpenAI's form or as problem details.
    pub(super) fn message(&self) -> String {
        let json = self.json();
        json["error"]["message"].as_str().or(json["detail"].as_str()).unwrap_or_default().to_owned()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Method, path, body, headers.
pub(super) type Asked<'a> = (Method, &'a str, String, Vec<(&'a str, &'a str)>);

pub(super) async fn ask(backend: Arc<Scripted>, requests: Vec<Asked<'_>>) -> Vec<Reply> {
    let config = Layers::built_in().finish().unwrap().config;
    ask_of(Shared::new(backend, config.http, config.generation, None), requests).await
}

/// The same of what the test has put together itself.
pub(super) async fn ask_of(shared: Shared, requests: Vec<Asked<'_>>) -> Vec<Reply> {
    let app = App::new()
        .app_data(web::Data::new(shared))
        .wrap(middleware::from_fn(guard::guard))
        .configure(routes)
        .default_service(web::to(super::observe::not_found));
    let app = test::init_service(app).await;
    let mut replies = Vec::new();
    for (method, path, body, headers) in requests {
        let mut request = test::TestRequest::with_uri(path).method(method).set_payload(body);
        for (name, value) in headers {
            request = request.insert_header((name, value));
        }
        replies.push(match app.call(request.to_request()).await {
            Ok(response) => reply(response).await,
            Err(error) => {
                let response = error.error_response();
                let (status, headers) = (response.status().as_u16(), headers_of(response.headers()));
                let bytes = actix_web::body::to_bytes(response.into_body()).await.ok().unwrap();
                Reply { status, headers, body: String::from_utf8(bytes.to_vec()).unwrap() }
            }
        });
    }
    replies
}

fn headers_of(headers: &actix_web::http::header::HeaderMap) -> BTreeMap<String, String> {
    headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("").to_owned())).collect()
}

async fn reply(response: ServiceResponse<impl actix_web::body::MessageBody>) -> Reply {
    let status = response.status().as_u16();
    let headers = headers_of(response.headers());
    let body = String::from_utf8(test::read_body(response).await.to_vec()).unwrap();
    Reply { status, headers, body }
}

pub(super) fn post(path: &str, body: Value) -> Asked<'_> {
    (Method::POST, path, body.to_string(), vec![])
}

pub(super) const CHAT: &str = "/v1/chat/completions";
pub(super) const FEEDBACK: &str = "/v1/feedback";

pub(super) fn user(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

#[actix_web::test]
async fn a_completion_has_every_choice_with_the_id_that_feedback_names() {
    let backend = Arc::new(Scripted::default());
    let body = json!({"messages": user("x"), "n": 2, "logprobs": true, "seed": 9, "max_tokens": 5, "temperature": 0.5, "stop": "\n", "user": "me"});
    let reply = &ask(backend.clone(), vec![post(CHAT, body)]).await[0];
    assert_eq!(reply.status, 200, "{}", reply.body);
    let json = reply.json();
    assert_eq!((json["id"].as_str(), json["object"].as_str()), (Some("chatcmpl-12"), Some("chat.completion")));
    let message = json!({"role": "assistant", "content": "Hé is 0.", "refusal": null});
    assert_eq!(json["choices"][0]["message"], message);
    assert_eq!(json["choices"][1]["answer_id"], 13);
    assert_eq!(json["choices"][1]["finish_reason"], "length");
    assert_eq!(json["choices"][0]["logprobs"]["content"].as_array().map(Vec::len), Some(3));
    assert_eq!(json["usage"], json!({"prompt_tokens": 7, "completion_tokens": 6, "total_tokens": 13}));
    assert_eq!(reply.headers["x-policy-version"], "4");
    assert_eq!(reply.headers["x-completion-id"], "chatcmpl-12");
    let asked = backend.asked.lock().unwrap();
    assert_eq!((asked[0].sampling.seed, asked[0].sampling.max_tokens, asked[0].stop.len()), (9, 5, 1));
}

#[actix_web::test]
async fn a_stream_puts_the_role_first_the_end_last_and_all_text_between() {
    let body = json!({"messages": user("x"), "n": 2, "stream": true, "stream_options": {"include_usage": true}});
    let rate = |reply: &Reply| json!({"kind": "thumb", "up": true, "completion_id": reply.headers["x-completion-id"]});
    let backend = Arc::new(Scripted::default());
    let reply = &ask(backend.clone(), vec![post(CHAT, body)]).await[0];
    assert!(reply.headers["content-type"].starts_with("text/event-stream"));
    let events: Vec<&str> = reply.body.split("\n\n").filter(|event| !event.is_empty()).collect();
    assert_eq!(events.last(), Some(&"data: [DONE]"));
    let chunks: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|event| serde_json::from_str(&event["data: ".len()..]).unwrap())
        .collect();
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"] && chunk["object"] == "chat.completion.chunk"));
    for index in 0..2u64 {
        let of = |chunk: &&Value| chunk["choices"][0]["index"] == index;
        let text: String =
            chunks.iter().filter(of).filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(text, format!("Hé is {index}."));
        let last = chunks.iter().rfind(of).unwrap();
        assert_eq!(last["choices"][0]["answer_id"], 12 + index);
        assert!(last["choices"][0]["finish_reason"].is_string());
    }
    assert_eq!(chunks.last().unwrap()["usage"]["total_tokens"], 13);
    // Two answers: the stream's id does not say which one is meant.
    assert_eq!(ask(backend, vec![post(FEEDBACK, rate(reply))]).await[0].status, 422);
}

#[actix_web::test]
async fn a_stream_that_fails_says_so_and_ends() {
    let body = json!({"messages": user("crash"), "stream": true});
    let reply = &ask(Arc::default(), vec![post(CHAT, body)]).await[0];
    assert!(reply.body.ends_with("data: [DONE]\n\n") && reply.body.contains("\"code\":\"crashed\""), "{}", reply.body);
}

#[actix_web::test]
async fn every_wrong_request_is_refused_by_name() {
    let chat = |extra: Value| {
        let mut body = json!({"messages": user("x")});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        post(CHAT, body)
    };
    let cases = [
        (chat(json!({"n": 0})), 400, "n is 0; give 1 to 16"),
        (chat(json!({"temperature": 3})), 400, "temperature is 3; give a number from 0 to 2"),
        (chat(json!({"max_tokens": 100_000})), 400, "max_tokens is 100000; give 1 to 511"),
        (chat(json!({"tools": [1]})), 400, "tools is not supported here; leave it out"),
        (chat(json!({"top_logprobs": 5})), 400, "top_logprobs is not supported here; leave it out"),
        (chat(json!({"model": "gpt"})), 404, "there is no model 'gpt' here; ask for 'tiny' or leave model out"),
        (chat(json!({"messages": []})), 400, "messages holds 0 messages; give 1 to 256"),
        (chat(json!({"messages": user(" ")})), 400, "the last message must be a user's and not empty"),
        (chat(json!({"messages": user("full")})), 429, "too many requests are waiting; try again in a moment"),
        (chat(json!({"messages": user("crash")})), 502, "the request was lost; send it again"),
        (chat(json!({"messages": user("panic")})), 500, "the handler failed"),
        (post(CHAT, json!([])), 400, "the body is no chat request"),
        (post(CHAT, json!({"messages": user(&"x".repeat(300_000))})), 413, "the body is longer than 262144 bytes"),
        ((Method::GET, "/nothing", String::new(), vec![]), 404, "there is no GET /nothing"),
        (
            (Method::GET, "/healthz", String::new(), vec![("host", "evil.example")]),
            403,
            "the header Host is 'evil.example'",
        ),
        (
            (Method::GET, "/healthz", String::new(), vec![("origin", "https://evil.example")]),
            403,
            "the header Origin is",
        ),
    ];
    let (requests, wanted): (Vec<_>, Vec<_>) =
        cases.into_iter().map(|(request, status, text)| (request, (status, text))).unzip();
    for (reply, (status, text)) in ask(Arc::default(), requests).await.iter().zip(wanted) {
        let message = reply.message();
        assert!(message.starts_with(text), "{message}");
        assert_eq!(reply.status, status, "{message}");
    }
}

#[actix_web::test]
async fn feedback_is_taken_in_both_forms_and_once() {
    let full = json!({"id": "f1", "annotator": "ana", "at": 3, "kind": "pair", "better": 1, "worse": 2});
    let backend = Arc::new(Scripted::default());
    let requests = vec![
        post(FEEDBACK, full.clone()),
        post(FEEDBACK, full),
        post(FEEDBACK, json!({"id": "f1", "annotator": "ana", "at": 3, "kind": "pair", "better": 2, "worse": 1})),
        post(FEEDBACK, json!({"completion_id": "chatcmpl-12", "kind": "stars", "stars": 4})),
        post(FEEDBACK, json!({"kind": "ranking", "levels": [["chatcmpl-3", 4], "chatcmpl-5"], "id": "r"})),
        post(FEEDBACK, json!({"kind": "thumb", "up": true, "answer": 99})),
    ];
    let replies = ask(backend.clone(), requests).await;
    assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [200, 200, 409, 200, 200, 404]);
    assert_eq!(replies[0].json(), json!({"id": "f1", "seq": 5, "duplicate": false}));
    assert_eq!(replies[1].json()["duplicate"], true);
    let rated = backend.rated.lock().unwrap();
    assert_eq!(rated["r"].answers(), [3, 4, 5]);
    let casual = rated.values().find(|feedback| feedback.kind_name() == "stars").unwrap();
    assert_eq!((casual.annotator.as_str(), casual.answers()), ("anonymous", vec![12]));
}

#[actix_web::test]
async fn wrong_feedback_names_field_value_and_remedy() {
    let cases = [
        (json!({"kind": "stars", "stars": 6, "answer": 1}), 422, "stars is 6; give a whole number from 1 to 5"),
        (
            json!({"kind": "stars", "star": 6, "answer": 1}),
            400,
            "'star' is no field of a stars; its fields are answer, stars",
        ),
        (json!({"kind": "stars", "stars": 4}), 400, "the stars is wrong: missing field `answer`"),
        (json!({"kind": "applause"}), 422, "kind is 'applause'; use stars, thumb, score,"),
        (json!({"stars": 4}), 422, "kind is missing; say which kind"),
        (
            json!({"kind": "thumb", "up": true, "answer": "chatcmpl-x"}),
            422,
            "answer is 'chatcmpl-x'; give an answer_id",
        ),
        (json!({"kind": "thumb", "up": true, "answer": 1, "id": "a\u{0}"}), 422, "id is "),
        (json!(3), 400, "the body must be a JSON object"),
    ];
    let (requests, wanted): (Vec<_>, Vec<_>) =
        cases.into_iter().map(|(body, status, text)| (post(FEEDBACK, body), (status, text))).unzip();
    for (reply, (status, text)) in ask(Arc::default(), requests).await.iter().zip(wanted) {
        let message = reply.message();
        assert!(message.starts_with(text) && reply.status == status, "{} {message}", reply.status);
    }
}

#[actix_web::test]
async fn a_full_disk_is_507_and_says_so_and_the_next_rating_is_judged_anew() {
    let thumb = |answer: u64| post(FEEDBACK, json!({"kind": "thumb", "up": true, "answer": answer}));
    let replies = ask(Arc::default(), vec![thumb(98), thumb(12)]).await;
    assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [507, 200]);
    let problem = &replies[0].json();
    assert_eq!(problem["type"], "urn:understudy:problem:no_space");
    assert!(problem["detail"].as_str().unwrap().contains("10 bytes free"), "{problem}");
}

#[actix_web::test]
async fn health_is_not_readiness_and_the_model_has_a_name() {
    let get = |path: &'static str| (Method::GET, path, String::new(), vec![]);
    let replies = ask(Arc::default(), vec![get("/healthz"), get("/readyz"), get("/v1/models"), get("/metrics")]).await;
    assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [200, 503, 200, 200]);
    assert_eq!(replies[1].json()["reasons"][0], "the model is being loaded");
    assert_eq!(replies[2].json()["data"][0]["id"], "tiny");
}
