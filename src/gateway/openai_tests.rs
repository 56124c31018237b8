//! The parts of OpenAI's face beside chat: completions, one model by its name, versions, and what answers carry.

use std::sync::Arc;

use actix_web::http::Method;
use serde_json::{Value, json};

use super::tests::{Asked, CHAT, Reply, Scripted, ask, post, user};

const COMPLETIONS: &str = "/v1/completions";

fn get(path: &str) -> Asked<'_> {
    (Method::GET, path, String::new(), vec![])
}

fn chunks(reply: &Reply) -> Vec<Value> {
    let events = reply.body.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    events.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[actix_web::test]
async fn a_completion_is_a_chat_with_one_message_and_its_answer_is_plain_text() {
    let backend = Arc::new(Scripted::default());
    let body = json!({"prompt": "Why?", "n": 2, "max_tokens": 5, "seed": 9, "stop": ["\n"], "logprobs": 1});
    let reply = &ask(backend.clone(), vec![post(COMPLETIONS, body)]).await[0];
    assert_eq!(reply.status, 200, "{}", reply.body);
    let json = reply.json();
    assert_eq!((json["object"].as_str(), json["id"].as_str()), (Some("text_completion"), Some("chatcmpl-12")));
    let choice = &json["choices"][1];
    assert_eq!((choice["text"].as_str(), choice["answer_id"].as_u64()), (Some("Hé is 1."), Some(13)));
    assert_eq!((&choice["finish_reason"], &choice["message"]), (&json!("length"), &Value::Null));
    let logprobs = &choice["logprobs"];
    assert_eq!(logprobs["tokens"], json!(["Hé", "", " is "]));
    assert_eq!(
        (&logprobs["text_offset"], &logprobs["token_logprobs"]),
        (&json!([0, 2, 2]), &json!([-0.5, -0.5, -0.5]))
    );
    let asked = backend.asked.lock().unwrap();
    assert_eq!((asked[0].samples, asked[0].sampling.max_tokens, asked[0].sampling.seed), (2, 5, 9));
    assert_eq!(asked[0].messages.last().map(|m| (m.role.as_str(), m.content.as_str())), Some(("user", "Why?")));
}

#[actix_web::test]
async fn a_streamed_completion_put_together_is_its_text() {
    let body = json!({"prompt": ["x"], "stream": true, "logprobs": 0, "stream_options": {"include_usage": true}});
    let reply = &ask(Arc::default(), vec![post(COMPLETIONS, body)]).await[0];
    let chunks = chunks(reply);
    assert!(chunks.iter().all(|chunk| chunk["object"] == "text_completion"), "{}", reply.body);
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    assert_eq!(text, "Hé is 0.");
    let offsets: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]["logprobs"]["text_offset"][0]).collect();
    assert_eq!(offsets[..3], [&json!(0), &json!(2), &json!(2)]);
    assert_eq!(chunks.last().map(|chunk| &chunk["usage"]["completion_tokens"]), Some(&json!(3)));
    assert!(reply.body.ends_with("data: [DONE]\n\n"));
}

#[actix_web::test]
async fn every_answer_says_which_versions_wrote_which_part_of_it() {
    // The scripted policy is version 3 for the first two tokens and 4 from the third.
    let wanted = json!({"answer": 12, "spans": [{"start": 0, "version": 3}, {"start": 2, "version": 4}]});
    let chat = |stream: bool| post(CHAT, json!({"messages": user("swap"), "stream": stream}));
    let replies = ask(Arc::default(), vec![chat(false), chat(true)]).await;
    assert_eq!(replies[0].json()["choices"][0]["understudy"], wanted);
    assert_eq!(chunks(&replies[1]).last().map(|chunk| &chunk["choices"][0]["understudy"]), Some(&wanted));
}

#[actix_web::test]
async fn a_completion_that_cannot_be_given_is_refused_by_name() {
    let cases = [
        (json!({}), "prompt", "prompt is missing; give one string"),
        (json!({"prompt": " "}), "prompt", "prompt is empty"),
        (json!({"prompt": ["a", "b"]}), "prompt", "prompt is a list of 2 items"),
        (json!({"prompt": [1, 2, 3]}), "prompt", "prompt is a list of 3 items"),
        (json!({"prompt": "x", "suffix": "y"}), "suffix", "suffix is not supported here"),
        (json!({"prompt": "x", "echo": true}), "echo", "echo is not supported here"),
        (json!({"prompt": "x", "best_of": 3}), "best_of", "best_of is not supported here"),
        (json!({"prompt": "x", "logprobs": 5}), "logprobs", "logprobs is 5; give 0 or 1"),
        (json!({"prompt": "x", "n": 0}), "n", "n is 0; give 1 to 16"),
    ];
    let requests = cases.iter().map(|(body, ..)| post(COMPLETIONS, body.clone())).collect();
    for (reply, (_, field, text)) in ask(Arc::default(), requests).await.iter().zip(&cases) {
        let error = &reply.json()["error"];
        let message = error["message"].as_str().unwrap_or_default();
        assert!(reply.status == 400 && message.starts_with(text) && error["param"] == *field, "{}", reply.body);
    }
    let twice = (Method::POST, COMPLETIONS, r#"{"prompt": "x", "prompt": "y"}"#.to_owned(), vec![]);
    assert!(ask(Arc::default(), vec![twice]).await[0].body.contains("'prompt' stands twice"));
}

#[actix_web::test]
async fn a_model_is_found_by_its_name_only_and_the_program_has_a_version() {
    let requests = vec![get("/v1/models/tiny"), get("/v1/models/understudy"), get("/v1/models/a/b"), get("/version")];
    let replies = ask(Arc::default(), requests).await;
    assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [200, 200, 404, 200]);
    assert_eq!(replies[0].json()["id"], "tiny");
    assert_eq!(replies[2].json()["error"]["code"], "model_not_found");
    assert_eq!(replies[3].json()["version"], env!("CARGO_PKG_VERSION"));
}
