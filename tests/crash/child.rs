//! The daemon as a child process, and HTTP to it.
//!
//! Invariant: a reply counts only when all of it came; the process is ended through its own handle or by its own id.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use serde_json::Value;
use tokio::time::Instant;

use crate::program::{PATIENCE, understudy};

/// The least that a loop needs which learns and saves in a moment.
pub(crate) const TINY: [&str; 10] = [
    "model.trainable_layers=1",
    "generation.max_tokens=8",
    "generation.max_context=400",
    "generation.samples_per_prompt=2",
    "ppo.batch_size=4",
    "ppo.minibatch_size=4",
    "source.kind=sample",
    "hearing.monitor_probes=2",
    "reward.epistemic_dims=8",
    "checkpoint.every_updates=1",
];
/// With these it is rated all the time.
const SETTINGS: [&str; 9] = [
    "source.rate=5",
    "annotators.attention=0.2",
    "hearing.minibatches_per_event=0.2",
    "annotators.speed=1000",
    "annotators.awake_hours=24",
    "hearing.ratings_before_scores=0",
    "log.format=json",
    // Says the digest of what each learner holds after a start.
    "log.filter=info,understudy_actors::checkpoint=debug",
    "supervision.drain_s=55",
];

/// A daemon that was started.
pub(crate) struct Daemon {
    child: Child,
    address: Option<String>,
    ready: mpsc::Receiver<Result<String, String>>,
    lines: Arc<Mutex<Vec<Value>>>,
    log: Option<JoinHandle<()>>,
    /// When it was started.
    pub(crate) began: Instant,
}

impl Daemon {
    pub(crate) fn start(data: &Path, model: &str) -> Self {
        Self::start_with(data, model, &[])
    }

    /// The same with further settings.
    pub(crate) fn start_with(data: &Path, model: &str, more: &[&str]) -> Self {
        let mut command = understudy();
        command.args(["serve", "--model", model, "--bind", "127.0.0.1:0", "--data-dir"]).arg(data);
        TINY.iter().chain(&SETTINGS).chain(more).for_each(|setting| {
            command.args(["--set", setting]);
        });
        let began = Instant::now();
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
        let log = BufReader::new(child.stderr.take().expect("piped"));
        let (told, ready) = mpsc::sync_channel(1);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        // Reads to the end, so that the daemon never waits for a full pipe.
        let log = std::thread::spawn(move || {
            let mut last = String::new();
            for line in log.lines().map_while(Result::ok) {
                let json: Value = serde_json::from_str(&line).unwrap_or_else(|_| Value::String(line.clone()));
                if let Some(address) = json["address"].as_str().filter(|_| json["message"] == "ready") {
                    let _ = told.try_send(Ok(address.to_owned()));
                }
                kept.lock().expect("nobody panics with it").push(json);
                last = line;
            }
            let _ = told.try_send(Err(last));
        });
        Self { child, address: None, ready, lines, log: Some(log), began }
    }

    /// Its id, for looks at it.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it serves; the error is the last that it said.
    pub(crate) fn ready(&mut self) -> Result<(), String> {
        let told = self.ready.recv_timeout(PATIENCE);
        let told = told.unwrap_or_else(|_| Err(format!("not ready within {} s", PATIENCE.as_secs())));
        self.address = Some(told.map_err(|last| format!("the daemon does not start: {last}"))?);
        Ok(())
    }

    /// The way to it for other threads.
    pub(crate) fn line(&self) -> Line {
        Line(self.address.clone().expect("asked once it is ready"))
    }

    /// The log lines so far with this message.
    pub(crate) fn said(&self, message: &str) -> Vec<Value> {
        let lines = self.lines.lock().expect("nobody panics with it");
        lines.iter().filter(|line| line["message"] == message).cloned().collect()
    }

    /// The log lines that tell of something wrong: errors, and what is not a line of the log (a panic's message).
    pub(crate) fn complaints(&self) -> Vec<String> {
        let lines = self.lines.lock().expect("nobody panics with it");
        lines.iter().filter(|line| line["level"] == "ERROR" || line.is_string()).map(Value::to_string).collect()
    }

    /// SIGKILL, and the log to its end.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.gone();
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let told = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(told.is_ok_and(|status| status.success()), "the child is still ours until it is waited for");
    }

    /// Waits for its end; `None` when that does not come.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.gone();
                return Some(status);
            }
            if Instant::now() >= end {
                return None;
            }
            super::pause(std::time::Duration::from_millis(5));
        }
    }

    fn gone(&mut self) {
        let _ = self.child.wait();
        if let Some(log) = self.log.take() {
            let _ = log.join();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An address to ask at.
#[derive(Clone)]
pub(crate) struct Line(String);

impl Line {
    /// Where it is.
    pub(crate) fn address(&self) -> &str {
        &self.0
    }

    /// Status and body, or nothing when the connection broke before all of it was here.
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let mut stream = TcpStream::connect(&self.0).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all((head + &body).as_bytes()).ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).ok()?;
        let (head, body) = reply.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).ok()?))
    }
}
