//! Clients that mean harm, or are broken, over a real socket.
//!
//! Invariant: whatever one does, the next honest client is answered; each test ends by being that client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use serde_json::json;

use super::auth_tests::mounted;
use super::tests::{CHAT, FEEDBACK, Scripted, user};
use super::{Shared, serve};
use crate::config::{Layers, Origin};
use crate::observer::Observer;

/// How long a client waits before it takes the daemon for dead. Nothing is measured by it.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A server on a port of its own, for one test.
pub(super) struct Served {
    pub(super) address: SocketAddr,
    pub(super) backend: Arc<Scripted>,
    pub(super) observer: Observer,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    pub(super) fn with(settings: &[(&str, &str)]) -> Self {
        let mut layers = Layers::built_in();
        for (key, value) in settings {
            layers.set(key, value, Origin::BuiltIn).unwrap();
        }
        let config = layers.finish().unwrap().config;
        let backend = Arc::new(Scripted::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared::new(backend.clone(), config.http, config.generation, None);
        let observer = shared.observer.clone();
        let (sender, receiver) = mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async {
                let server = serve(listener, shared).unwrap();
                sender.send(server.handle()).unwrap();
                server.await.unwrap();
            });
        });
        Self { address, backend, observer, handle: receiver.recv().unwrap(), thread: Some(thread) }
    }

    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// All that comes back for `bytes` until the server closes.
    pub(super) fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // A server that has heard enough may close while the rest is still being sent.
        let _ = stream.write_all(bytes);
        until_closed(stream)
    }

    pub(super) fn post(&self, path: &str, body: &[u8]) -> String {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.send(&[head.as_bytes(), body].concat())
    }

    pub(super) fn get(&self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
    }

    /// Nothing reached the daemon, and the next honest client is served.
    fn is_unharmed(&self) {
        assert!(self.backend.asked.lock().unwrap().is_empty() && self.backend.rated.lock().unwrap().is_empty());
        self.is_healthy();
    }

    pub(super) fn is_healthy(&self) {
        check(&self.get("/healthz"), 200);
        check(&self.post(CHAT, json!({"messages": user("x")}).to_string().as_bytes()), 200);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()), "the server panicked");
    }
}

/// Reads until the server closes, whether it does so politely or not; a server that keeps silent is a failure.
pub(super) fn until_closed(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&part[..length]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                panic!("the connection was left open after {:?}", String::from_utf8_lossy(&bytes))
            }
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) fn status(reply: &str) -> u16 {
    reply.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

pub(super) fn check(reply: &str, wanted: u16) {
    assert_eq!(status(reply), wanted, "{reply}");
}

fn refused(reply: &str) {
    assert!((400..500).contains(&status(reply)), "{reply}");
}

#[test]
fn a_head_that_never_ends_is_given_up() {
    let served = Served::with(&[("http.head_timeout_s", "2")]);
    let mut slow: Vec<TcpStream> = (0..20).map(|_| served.connect()).collect();
    for stream in &mut slow {
        stream.write_all(b"POST /v1/feedback HTTP/1.1\r\nHost: loc").unwrap();
    }
    for stream in slow {
        let reply = until_closed(stream);
        assert!(reply.is_empty() || status(&reply) == 408, "{reply}");
    }
    served.is_unharmed();
}

#[test]
fn a_body_that_never_ends_is_given_up_and_said_so() {
    let served = Served::with(&[("http.body_timeout_s", "0.3")]);
    for path in [CHAT, "/v1/completions", FEEDBACK] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{\"kin");
        let reply = served.send(head.as_bytes());
        check(&reply, 408);
        assert!(reply.contains("slow_body"), "{reply}");
    }
    served.is_unharmed();
}

#[test]
fn a_hundred_megabytes_are_refused_whether_announced_or_in_chunks_and_whoever_should_have_read_them() {
    let served = Served::with(&[]);
    let chunk = vec![b'x'; 1 << 20];
    for (head, before, after) in [
        (format!("POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857600\r\n\r\n"), "", ""),
        (
            format!("POST {FEEDBACK} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"),
            "100000\r\n",
            "\r\n",
        ),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857600\r\n\r\n".to_owned(), "", ""),
    ] {
        let stream = served.connect();
        let mut sender = stream.try_clone().unwrap();
        let part = [before.as_bytes(), &chunk, after.as_bytes()].concat();
        let sending = std::thread::spawn(move || {
            let _ = sender.write_all(head.as_bytes());
            (0..100).try_for_each(|_| sender.write_all(&part))
        });
        // The refusal may be lost where the connection is closed under what is still being sent.
        let reply = until_closed(stream);
        assert!(reply.is_empty() || status(&reply) == 413, "{reply}");
        let _ = sending.join().unwrap();
    }
    // Who sends only a little too much hears why.
    check(&served.post(CHAT, &vec![b'x'; 262_145]), 413);
    served.is_unharmed();
}

#[test]
fn who_drips_a_body_that_nobody_wants_any_more_is_cut_off() {
    // The rest of a body is not cut off by the time for heads.
    let served = Served::with(&[("http.head_timeout_s", "3600")]);
    for head in [
        "POST /nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhello",
        "POST /v1/feedback HTTP/1.1\r\nHost: evil.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        // Comes back only when the connection has been closed.
        let reply = served.send(head.as_bytes());
        assert!([200, 403, 404].contains(&status(&reply)), "{reply}");
    }
    let long = format!("40001\r\n{}\r\n", "x".repeat(0x40001));
    let head = format!("POST {FEEDBACK} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{long}");
    check(&served.send(head.as_bytes()), 413);
    served.is_unharmed();
}

#[test]
fn a_head_of_200_kb_and_one_of_a_thousand_lines_are_refused() {
    let served = Served::with(&[]);
    let long = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(200_000));
    let many = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X-Many: x\r\n".repeat(1000));
    let path = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(200_000));
    for head in [long, many, path] {
        let reply = served.send(head.as_bytes());
        assert!(reply.is_empty() || (400..500).contains(&status(&reply)), "{reply}");
    }
    served.is_unharmed();
}

#[test]
fn json_of_a_hundred_thousand_levels_is_refused() {
    let served = Served::with(&[]);
    let deep = |open: &str, close: &str| [open.repeat(100_000), close.repeat(100_000)].concat();
    for path in [CHAT, "/v1/completions", FEEDBACK, "/v1/feedback/batch"] {
        for body in [
            deep("[", "]"),
            "{\"a\":".repeat(50_000),
            format!("{{\"messages\":{}}}", deep("[", "]")),
            format!("{{\"prompt\":{}}}", deep("[", "]")),
            format!("{{\"items\":{}}}", deep("[", "]")),
            format!("{{\"kind\":\"ranking\",\"levels\":{}}}", deep("[", "]")),
        ] {
            refused(&served.post(path, body.as_bytes()));
        }
    }
    served.is_unharmed();
}

#[test]
fn bytes_that_are_no_text_are_refused_wherever_they_stand() {
    let served = Served::with(&[]);
    refused(&served.post(CHAT, b"{\"messages\": [{\"role\": \"user\", \"content\": \"\xff\xfe\"}]}"));
    refused(&served.post("/v1/completions", b"{\"prompt\": \"\xc3(\"}"));
    refused(&served.post(FEEDBACK, b"{\"kind\": \"thumb\", \"up\": true, \"answer\": 1, \"id\": \"\xff\"}"));
    // Half of a surrogate pair is no character either.
    refused(&served.post(CHAT, br#"{"messages": [{"role": "user", "content": "\ud800"}]}"#));
    for head in
        [&b"GET /healthz HTTP/1.1\r\nHost: local\xffhost\r\nConnection: close\r\n\r\n"[..], b"\xff\xfe\x00\r\n\r\n"]
    {
        refused(&served.send(head));
    }
    for path in ["/v1/models/%ff", "/v1/models/%00", "/v1/lineage/%ff%fe", "/assets/%ff"] {
        refused(&served.get(path));
    }
    served.is_unharmed();
}

#[test]
fn no_path_leads_out_of_what_is_served() {
    let served = Served::with(&[]);
    let mut patterns: Vec<String> = mounted().into_iter().map(|(_, path)| path).collect();
    patterns.retain(|path| path.contains('{'));
    patterns.push("/assets/{file}".to_owned());
    for pattern in patterns {
        let (before, rest) = pattern.split_once('{').unwrap();
        let after = rest.split_once('}').map_or("", |(_, after)| after);
        for up in [
            "../../../../etc/passwd",
            "..%2f..%2f..%2f..%2fetc%2fpasswd",
            "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
            "..%5c..%5cCargo.toml",
            "%252e%252e%252fCargo.toml",
            "/etc/passwd",
            "..%2f..%2fCargo.toml%00.js",
            "%00",
        ] {
            let reply = served.get(&format!("{before}{up}{after}"));
            // 503: the scripted backend keeps no answers to read.
            assert!([400, 403, 404, 405, 503].contains(&status(&reply)), "{reply}");
            assert!(!reply.contains("root:") && !reply.contains("[workspace]"), "{reply}");
        }
    }
    served.is_unharmed();
}

#[test]
fn a_script_in_a_question_is_text_and_nothing_that_comes_back_can_be_taken_for_a_page() {
    let served = Served::with(&[]);
    let script = "</script><script>alert(1)</script><img src=x onerror=alert(1)>";
    let reply = served.post(CHAT, json!({"messages": user(script)}).to_string().as_bytes());
    check(&reply, 200);
    let asked = served.backend.asked.lock().unwrap();
    assert_eq!(asked[0].messages.last().map(|message| message.content.as_str()), Some(script));
    drop(asked);
    let replies = [
        reply,
        served.post(CHAT, json!({"messages": [{"role": script, "content": "x"}]}).to_string().as_bytes()),
        served.post(FEEDBACK, json!({"kind": script}).to_string().as_bytes()),
        served.get("/v1/models/%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
        served.get("/%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
    ];
    for reply in replies {
        let head = reply.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
        let json = ["application/json", "application/problem+json"];
        assert!(json.iter().any(|kind| head.contains(&format!("content-type: {kind}"))), "{reply}");
        assert!(head.contains("x-content-type-options: nosniff") && head.contains("default-src 'none'"), "{reply}");
    }
    served.is_healthy();
}

#[test]
fn old_and_odd_http_is_answered_or_refused_and_never_taken_for_two_requests() {
    let served = Served::with(&[]);
    check(&served.send(b"GET /healthz HTTP/1.0\r\n\r\n"), 200);
    check(&served.send(b"POST /v1/feedback HTTP/1.0\r\n\r\n"), 400);
    let both =
        "POST /v1/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";
    let twice = "POST /v1/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 44\r\n\r\n";
    let below = "POST /v1/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n";
    let old =
        "POST /v1/feedback HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    for head in [both, twice, below, old] {
        let smuggled =
            format!("{head}0\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let reply = served.send(smuggled.as_bytes());
        assert!(status(&reply) == 0 || (400..500).contains(&status(&reply)), "{reply}");
        assert!(!reply.contains("max_model_len"), "the second request was answered: {reply}");
    }
    for line in
        ["GET /healthz", "GET /healthz HTTP/9.9", "\r\n\r\n\r\n", "PRI * HTTP/2.0", "GET http://evil.example/ HTTP/1.1"]
    {
        let reply = served.send(format!("{line}\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(status(&reply) == 0 || (400..510).contains(&status(&reply)), "{line}: {reply}");
    }
    served.is_unharmed();
    // A stream to a client that does not know chunks is plain text up to the end of the connection.
    let body = json!({"messages": user("x"), "stream": true}).to_string();
    let head = format!("POST {CHAT} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
    let reply = served.send(format!("{head}{body}").as_bytes());
    check(&reply, 200);
    assert!(!reply.to_lowercase().contains("transfer-encoding") && reply.ends_with("data: [DONE]\n\n"), "{reply}");
}
