//! The access log: a line for each request once its answer is over.
//!
//! Invariant: a line has neither a query, nor a header, nor a body: what is secret stands in those alone. What a client
//! chose of it is bounded. Streams are there too, with what they took and whether they were heard to their end.

use std::net::SocketAddr;

use actix_web::dev::ServiceRequest;
use actix_web::http::{Method, StatusCode};
use tokio::time::Instant;

/// Most characters of a path in a line.
const MOST_PATH: usize = 200;

/// One request's line; written when it is dropped, with the answer's body.
#[derive(Debug)]
pub(super) struct Line {
    begun: Instant,
    method: Method,
    path: String,
    route: String,
    peer: Option<SocketAddr>,
    status: u16,
    token: Option<String>,
    /// Bytes of the answer's body that were sent.
    pub(super) bytes: u64,
    /// Whether that is all of it.
    pub(super) whole: bool,
}

impl Line {
    /// What there is to say of `request`, which came at `begun` for `route`.
    pub(super) fn of(request: &ServiceRequest, route: &str, begun: Instant) -> Self {
        let path = request.path().chars().take(MOST_PATH).collect();
        let (method, peer, route) = (request.method().clone(), request.peer_addr(), route.to_owned());
        Self { begun, method, path, route, peer, status: 0, token: None, bytes: 0, whole: false }
    }

    /// How it was answered, and to which token (by its id).
    pub(super) fn answered(&mut self, status: StatusCode, token: Option<String>) {
        (self.status, self.token) = (status.as_u16(), token);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Self { method, path, route, peer, status, token, bytes, whole, .. } = self;
        let ms = self.begun.elapsed().as_secs_f64() * 1000.0;
        tracing::debug!(target: "understudy::access", %method, path, route, status, ms, bytes, whole, ?peer, token);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use actix_web::http::Method;
    use serde_json::{Value, json};
    use tracing_subscriber::fmt::MakeWriter;

    use super::super::Shared;
    use super::super::tests::{CHAT, Scripted, ask_of, post, user};
    use super::super::tokens::{Scope, Tokens};
    use crate::config::{Layers, Origin};

    /// Log lines as bytes.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[actix_web::test]
    async fn the_access_log_has_every_request_with_its_figures_and_no_log_at_any_level_has_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let make = |tokens: &mut Tokens| tokens.create([7; 32], "ana", &[Scope::Ask], 0, None);
        let (id, secret) = Tokens::change(dir.path(), make).map(|(id, secret)| (id.id.clone(), secret)).unwrap();
        let mut layers = Layers::built_in();
        layers.set("http.bind", "0.0.0.0:1", Origin::BuiltIn).unwrap();
        let config = layers.finish().unwrap().config;
        let backend = Arc::new(Scripted::default());
        let shared = Shared::new(backend, config.http, config.generation, None).with_tokens_of(dir.path());
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(lines.clone());
        let subscriber = subscriber.with_max_level(tracing::Level::TRACE).finish();
        // With one subscriber alone, what another test's thread logs first would be off for all threads.
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let logs = tracing::subscriber::set_default(subscriber);
        let (right, wrong) = (format!("Bearer {secret}"), "Bearer ust-wrong-0123456789");
        let query = format!("/healthz?token={secret}&access_token=hunter2");
        let (method, path, body, _) = post(CHAT, json!({"messages": user("crown jewels")}));
        let long = format!("/{}", "x".repeat(5000));
        let replies = ask_of(
            shared,
            vec![
                (method.clone(), path, body.clone(), vec![("authorization", right.as_str())]),
                (method.clone(), path, body.clone(), vec![("authorization", wrong)]),
                (method, path, body, vec![("authorization", "Basic aHVudGVyMg=="), ("cookie", "k=hunter2")]),
                (Method::GET, query.as_str(), String::new(), vec![("authorization", right.as_str())]),
                (Method::GET, long.as_str(), String::new(), vec![]),
            ],
        )
        .await;
        drop(logs);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        for secret in [secret.as_str(), "ust-", "hunter2", "aHVudGVyMg", "Bearer", "crown jewels", "access_token"] {
            assert!(!text.contains(secret), "'{secret}' is in the log: {text}");
        }
        let told = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let told: Vec<Value> = told.filter(|line| line["target"] == "understudy::access").collect();
        assert_eq!(told.len(), replies.len(), "{text}");
        let paths = [CHAT, CHAT, CHAT, "/healthz", &long[..200]];
        let routes = [CHAT, CHAT, CHAT, "/healthz", "other"];
        for (n, ((line, reply), statuses)) in told.iter().zip(&replies).zip([200, 401, 401, 200, 404]).enumerate() {
            let method = if n < 3 { "POST" } else { "GET" };
            assert_eq!((&line["method"], &line["path"]), (&json!(method), &json!(paths[n])));
            assert_eq!((&line["route"], &line["status"]), (&json!(routes[n]), &json!(statuses)));
            assert_eq!((&line["bytes"], &line["whole"]), (&json!(reply.body.len()), &json!(true)), "{line}");
            assert!(line["ms"].as_f64().is_some_and(|ms| ms >= 0.0) && line.get("peer").is_some(), "{line}");
        }
        // Who asked: by the token's id, where a token was needed and right.
        let tokens: Vec<&Value> = told.iter().map(|line| &line["token"]).collect();
        assert_eq!(tokens, [&json!(id), &Value::Null, &Value::Null, &Value::Null, &Value::Null]);
    }
}
