//! Answers that are judged before they are given, against a scripted daemon.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::http::Method;
use serde_json::json;
use tokio::sync::mpsc;
use understudy_actors::past::Past;
use understudy_actors::reward::Judged;
use understudy_learning::stages::{AnswerId, Feedback, Finish};

use super::Shared;
use super::backend::{Ack, Backend, ChatEvent, ChatEvents, ChatRequest, Refusal, Waiting};
use super::tests::{CHAT, Reply, ask_of};
use crate::config::{Generation, Layers};

/// Gives the answers 10, 11, … at once (asked for "slow", the second never comes) and judges each by its score here, with a
/// standard error of 0.5.
#[derive(Default)]
struct Judge {
    scores: Vec<f64>,
    asked: Mutex<Vec<ChatRequest>>,
    slow: Mutex<Vec<mpsc::Sender<ChatEvent>>>,
}

impl Backend for Judge {
    fn chat(&self, request: ChatRequest) -> Result<ChatEvents, Refusal> {
        let (sender, receiver) = mpsc::channel(16);
        let slow = request.messages.iter().any(|message| message.content == "slow");
        let samples = if slow { 1 } else { request.samples };
        // The last one is whole first.
        for sample in (0..samples).rev() {
            let text = format!("text {sample}");
            let token = ChatEvent::Token { sample, text: text.clone(), logprob: -0.5, version: 3 };
            let answer = 10 + sample as u64;
            let finish = Finish::EndOfSequence;
            let end = ChatEvent::Finished { sample, answer, text, finish, prompt_tokens: 7, tokens: 3, version: 3 };
            [token, end].into_iter().for_each(|event| sender.try_send(event).unwrap());
        }
        self.slow.lock().unwrap().push(sender);
        self.asked.lock().unwrap().push(request);
        Ok(receiver)
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

    fn judge(&self, answers: Vec<AnswerId>) -> Waiting<'_, Option<Vec<Judged>>> {
        let one = |id: &AnswerId| {
            let score = self.scores.get((id - 10) as usize)?;
            Some(Judged { answer: *id, score: *score, std: 0.5 })
        };
        let judged: Vec<Judged> = answers.iter().filter_map(one).collect();
        // Who has no opinion takes its time over it.
        let silent = self.scores.is_empty();
        Box::pin(async move {
            if silent {
                tokio::time::sleep(Duration::from_secs(3600)).await;
            }
            Some(judged)
        })
    }
}

async fn asked(scores: &[f64], body: serde_json::Value, set: impl Fn(&mut Generation)) -> (Reply, usize) {
    let config = Layers::built_in().finish().unwrap().config;
    let mut generation = config.generation.clone();
    (generation.best_of, generation.best_of_budget_ms) = (3, 50);
    set(&mut generation);
    let backend = Arc::new(Judge { scores: scores.to_vec(), ..Judge::default() });
    let shared = Shared::new(backend.clone(), config.http, generation, None);
    let reply = ask_of(shared, vec![(Method::POST, CHAT, body.to_string(), vec![])]).await.remove(0);
    let drawn = backend.asked.lock().unwrap()[0].samples;
    (reply, drawn)
}

fn question(text: &str) -> serde_json::Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

#[actix_web::test]
async fn the_best_of_the_draws_is_given_and_what_nobody_is_sure_of_is_kept_back_aloud() {
    let scores = [-0.4, 1.2, 0.3];
    let (reply, drawn) = asked(&scores, question("why"), |_| ()).await;
    let choice = reply.json()["choices"][0].clone();
    assert_eq!((reply.status, drawn, reply.json()["choices"].as_array().unwrap().len()), (200, 3, 1));
    assert_eq!((choice["message"]["content"].as_str(), choice["answer_id"].as_u64()), (Some("text 1"), Some(11)));
    assert_eq!(choice["judged"], json!({"best_of": 3, "score": 1.2, "std": 0.5, "why": null}));
    assert_eq!((&choice["abstained"], &reply.json()["usage"]["completion_tokens"]), (&json!(false), &json!(9)));
    for (below, above, word) in [(Some(1.3), None, "abstain_below"), (None, Some(0.4), "abstain_std_above")] {
        let bounds = |g: &mut Generation| (g.abstain_below, g.abstain_std_above) = (below, above);
        let (reply, _) = asked(&scores, question("why"), bounds).await;
        let choice = reply.json()["choices"][0].clone();
        assert_eq!(choice["abstained"], json!(true), "{choice}");
        assert!(choice["judged"]["why"].as_str().unwrap().contains(word), "{choice}");
        let said = choice["message"]["content"].as_str().unwrap();
        assert!(said.contains("not sure") && choice["answer_id"] == json!(11), "{choice}");
    }
    // What is kept back is not told token by token either.
    for (below, told) in [(None, true), (Some(1.3), false)] {
        let body = json!({"messages": [{"role": "user", "content": "why"}], "logprobs": true});
        let (reply, _) = asked(&scores, body, |g| g.abstain_below = below).await;
        assert_eq!((reply.body.contains("text 1"), !reply.json()["choices"][0]["logprobs"].is_null()), (told, told));
    }
    // Bounds that are kept.
    let bounds = |g: &mut Generation| (g.abstain_below, g.abstain_std_above) = (Some(1.2), Some(0.5));
    assert_eq!(asked(&scores, question("why"), bounds).await.0.json()["choices"][0]["abstained"], json!(false));
}

#[actix_web::test]
async fn when_the_budget_is_over_or_nobody_judges_the_first_whole_answer_is_given() {
    // Two of three never come: the one that is whole is judged and given.
    let (reply, _) = asked(&[0.7], question("slow"), |_| ()).await;
    let choice = reply.json()["choices"][0].clone();
    assert_eq!((&choice["answer_id"], &choice["judged"]["best_of"]), (&json!(10), &json!(1)));
    // The last was whole first.
    let (reply, _) = asked(&[], question("why"), |g| g.abstain_below = Some(9.0)).await;
    let choice = reply.json()["choices"][0].clone();
    assert_eq!(
        (&choice["answer_id"], &choice["judged"], &choice["abstained"]),
        (&json!(12), &json!(null), &json!(false))
    );
}

#[actix_web::test]
async fn streams_several_choices_and_the_default_are_given_as_they_come() {
    let cases = [(json!({"stream": true}), 3, 1), (json!({"n": 2}), 3, 2), (json!({}), 1, 1)];
    for (more, best_of, wanted) in cases {
        let mut body = question("why");
        more.as_object().unwrap().iter().for_each(|(key, value)| body[key] = value.clone());
        let (reply, drawn) = asked(&[1.0, 2.0, 3.0], body, |g| g.best_of = best_of).await;
        assert_eq!((reply.status, drawn), (200, wanted), "{more}");
        assert!(!reply.body.contains("judged") && !reply.body.contains("abstained"), "{}", reply.body);
    }
}
