//! The program as it runs: what it says to bad input, and that a daemon killed in the middle goes on.
//!
//! Invariant: each test starts the real binary on a tiny model of its own and leaves nothing behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use understudy_model::testing::tiny_model;
use understudy_model::{ExportParts, GenerationDefaults, ModelCard, export};

/// Longest wait for anything in here; a tiny model needs a second.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The program, or another build of it where one is named.
pub(crate) fn understudy() -> Command {
    let built = std::env::var_os("UNDERSTUDY_BINARY");
    let mut command = Command::new(built.unwrap_or_else(|| env!("CARGO_BIN_EXE_understudy").into()));
    command.env_remove("UNDERSTUDY_CONFIG").env("RUST_BACKTRACE", "0");
    // Tests run beside each other: more threads than cores would wait for one another.
    command.env("UNDERSTUDY__THREADS__ALONE", "1");
    command
}

/// The program with these arguments and settings, its data in `folder`.
pub(crate) fn understudy_in(folder: &Path, arguments: &[&str], settings: &[&str]) -> Command {
    let mut command = understudy();
    command.args(arguments).args(["--data-dir", text(&folder.join("data"))]);
    settings.iter().for_each(|setting| {
        command.args(["--set", setting]);
    });
    command
}

/// Runs the program and compares its exit code and the beginning of its one sentence.
fn check(arguments: &[&str], code: i32, sentence: &str) {
    let output = understudy().args(arguments).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    // Log lines are JSON here; the sentence is the last line and the only one that is not.
    let plain: Vec<&str> = said.lines().filter(|line| !line.starts_with('{')).collect();
    assert!(plain.len() == 1 && plain[0].contains(sentence), "{arguments:?} must say '{sentence}' in one line: {said}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

#[test]
fn bad_input_gives_one_sentence_with_the_thing_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    check(&["config", "check", "--config", text(&path("no.toml"))], 2, "check the path given with --config");
    std::fs::write(path("bad.toml"), "[model]\npaht = 'x'\n").unwrap();
    let wanted = "bad.toml, line 2, column 1: unknown key 'model.paht'; did you mean 'model.path'?";
    check(&["config", "check", "--config", text(&path("bad.toml"))], 2, wanted);
    check(&["ask", "x", "--model", text(&path("absent.gguf"))], 3, "run scripts/setup.sh");
    std::fs::write(path("cut.gguf"), b"GGUF\x03\0\0\0\x01\0\0").unwrap();
    check(&["ask", "x", "--model", text(&path("cut.gguf"))], 1, "cut.gguf");
    std::fs::create_dir(path("foo")).unwrap();
    std::fs::write(path("foo/config.json"), r#"{"architectures":["FooForCausalLM"],"model_type":"foo"}"#).unwrap();
    check(&["ask", "x", "--model", text(&path("foo"))], 1, "the architecture 'FooForCausalLM' is not supported");
    std::fs::write(path("file"), "in the way").unwrap();
    let model = tiny(folder.path());
    let blocked = path("file").join("data");
    let arguments = ["serve", "--model", &model, "--data-dir", text(&blocked), "--bind", "127.0.0.1:0"];
    check(&arguments, 1, "set data.dir to a place that can be written");
    let room = path("full");
    let full = ["--data-dir", text(&room), "--set", "store.min_free_bytes=9000000000000000000"];
    check(&[&["serve", "--model", &model, "--bind", "127.0.0.1:0"], &full[..]].concat(), 1, "free some space");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check(&["serve", "--bind", &address], 1, &format!("cannot listen on {address} (http.bind)"));
    let nobody = path("nobody");
    check(&["serve", "--bind", "0.0.0.0:1", "--data-dir", text(&nobody)], 3, "understudy token create");
    check(&["evaluate", "--set", "source.held_out=0"], 2, "raise source.held_out");
    for command in ["annotators", "openness", "collapse"] {
        check(&[command, "--data-dir", text(&path("none"))], 3, "there is no checkpoint in");
    }
}

/// Writes a tiny model as a Hugging Face folder and tells where.
pub(crate) fn tiny(folder: &Path) -> String {
    let model = tiny_model(7);
    let target = folder.join("tiny");
    let defaults = GenerationDefaults { eos_tokens: model.config.eos_tokens.clone(), ..Default::default() };
    let parts = ExportParts {
        config: &model.config,
        weights: &model.weights,
        text: Some(&model.text),
        defaults: &defaults,
        card: &ModelCard { name: "tiny".into(), ..ModelCard::default() },
        attribution: None,
    };
    export(&target, parts).expect("a folder");
    text(&target).to_owned()
}

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) address: String,
    /// Its log so far, a line each.
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    fn start(folder: &Path, model: &str) -> Self {
        Self::start_with(folder, model, &[])
    }

    /// The same with settings of the test's own.
    pub(crate) fn start_with(folder: &Path, model: &str, more: &[&str]) -> Self {
        Self::spawn(Self::command(folder, model, more))
    }

    /// The command that starts it.
    pub(crate) fn command(folder: &Path, model: &str, more: &[&str]) -> Command {
        let data = folder.join("data");
        let settings = [
            "model.trainable_layers=1",
            "generation.max_tokens=12",
            "generation.max_context=400",
            "ppo.batch_size=4",
            "ppo.minibatch_size=4",
            "source.kind=sample",
            "annotators.attention=2",
            "annotators.speed=1000",
            "annotators.awake_hours=24",
            "checkpoint.every_updates=1",
            "hearing.ratings_before_scores=0",
            "log.format=json",
        ];
        let mut command = understudy();
        command.args(["serve", "--model", model, "--data-dir", text(&data), "--bind", "127.0.0.1:0"]);
        settings.iter().chain(more).for_each(|setting| {
            command.args(["--set", setting]);
        });
        command
    }

    /// Runs a command that serves.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = lines.clone();
        let log = BufReader::new(child.stderr.take().expect("piped"));
        let (told, ready) = mpsc::sync_channel(1);
        // Reads to the end, so that the daemon never waits for a full pipe.
        std::thread::spawn(move || {
            let mut last = String::new();
            for line in log.lines().map_while(Result::ok) {
                let json: Value = serde_json::from_str(&line).unwrap_or_default();
                if let Some(address) = json["address"].as_str().filter(|_| json["message"] == "ready") {
                    let _ = told.try_send(Ok(address.to_owned()));
                }
                kept.lock().expect("nobody panics with it").push(line.clone());
                last = line;
            }
            let _ = told.try_send(Err(last));
        });
        let address = ready.recv_timeout(PATIENCE).expect("ready in time").expect("the daemon starts");
        Self { child, address, log: lines }
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.call_with(method, path, "", body)
    }

    /// The same with more lines in its head, each with its line end.
    pub(crate) fn call_with(&self, method: &str, path: &str, more: &str, body: &Value) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).expect("it reads");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a whole reply");
        let (head, body) = reply.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())))
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.call("GET", path, &Value::Null).1
    }

    pub(crate) fn ask(&self) -> u64 {
        let body = json!({"messages": [{"role": "user", "content": "Why?"}]});
        let (status, reply) = self.call("POST", "/v1/chat/completions", &body);
        assert_eq!(status, 200, "{reply}");
        reply["choices"][0]["answer_id"].as_u64().expect("an answer id")
    }

    pub(crate) fn rate(&self, answer: u64) -> Value {
        let body = json!({"id": "mine", "annotator": "me", "at": 1, "kind": "stars", "answer": answer, "stars": 4});
        let (status, reply) = self.call("POST", "/v1/feedback", &body);
        assert_eq!(status, 200, "{reply}");
        reply
    }

    pub(crate) fn wait_for(&self, metric: &str) {
        let is_there = || self.get("/metrics").as_str().is_some_and(|text| text.lines().any(|l| l.starts_with(metric)));
        self.wait_until(metric, is_there);
    }

    /// Waits for a line of its log that holds `text`, after the first `from` lines; tells the line.
    pub(crate) fn wait_for_line(&self, from: usize, text: &str) -> String {
        let found = || {
            let lines = self.log.lock().expect("nobody panics with it");
            lines.iter().skip(from).find(|line| line.contains(text)).cloned()
        };
        self.wait_until(text, || found().is_some());
        found().expect("lines stay")
    }

    /// Lines of its log so far.
    pub(crate) fn lines(&self) -> usize {
        self.log.lock().expect("nobody panics with it").len()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let told = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(told.success(), "{name}");
    }

    /// Waits until something holds.
    pub(crate) fn wait_until(&self, what: &str, done: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(
                Instant::now() < end,
                "no {what} yet: {:?}",
                self.log.lock().expect("nobody panics with it").last()
            );
            #[expect(
                clippy::disallowed_methods,
                reason = "another process is waited for; there is no clock to simulate"
            )]
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_daemon_that_is_killed_goes_on_with_the_same_ratings_versions_and_ids() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny(folder.path());
    let mut first = Daemon::start(folder.path(), &model);
    let answer = first.ask();
    let acknowledged = first.rate(answer);
    assert_eq!(acknowledged["duplicate"], false);
    first.wait_for("understudy_checkpoints_total");
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let saved =
        checkpoints(folder.path(), "list").last().expect("one was committed")["extra"]["policy_version"].clone();

    let mut second = Daemon::start(folder.path(), &model);
    let resumed = second.get("/readyz")["policy_version"].as_u64().unwrap();
    assert!(Some(resumed) >= saved.as_u64() && resumed > 0, "policy {saved} was saved, {resumed} goes on");
    let again = second.rate(answer);
    assert_eq!((&again["seq"], &again["duplicate"]), (&acknowledged["seq"], &json!(true)));
    assert!(second.ask() > answer, "an answer's id is never given twice");
    second.wait_for("understudy_ppo_updates_total");

    let told = Command::new("kill").arg(second.child.id().to_string()).status().unwrap();
    assert!(told.success());
    assert_eq!(second.child.wait().unwrap().code(), Some(0), "SIGTERM drains and ends cleanly");
    assert!(checkpoints(folder.path(), "verify").iter().all(|row| row["whole"] == true));
    let people = read(folder.path(), &["annotators"])["annotators"].clone();
    let people = people.as_array().expect("a list");
    let mine = people.iter().find(|person| person["annotator"] == "me").expect("everybody who rated is shown");
    assert!(mine["events"] == 1 && mine["standing"] == "new" && people.len() > 1, "{people:?}");
    let questions = read(folder.path(), &["openness"])["questions"].clone();
    let id = questions[0]["question"].as_str().expect("rated questions are known").to_owned();
    assert_eq!(read(folder.path(), &["openness", &id])["explanation"], questions[0]);
    assert!(read(folder.path(), &["collapse"])["history"].is_array(), "the monitor's reports are read");
}

fn checkpoints(folder: &Path, command: &str) -> Vec<Value> {
    let list = read(folder, &["checkpoints", command]);
    list.as_array().expect("a list").clone()
}

/// What a command says of the daemon's data.
fn read(folder: &Path, command: &[&str]) -> Value {
    let data = folder.join("data");
    let output = understudy().args(command).args(["--json", "--data-dir", text(&data)]).output().expect("it runs");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// A whole comparison on a tiny model: its report.
fn compare(folder: &Path, model: &str, out: &str, more: &[&str]) -> Value {
    let settings = [
        "model.trainable_layers=1",
        "generation.max_tokens=12",
        "generation.max_context=400",
        "generation.samples_per_prompt=4",
        "ppo.batch_size=4",
        "ppo.minibatch_size=4",
        "annotators.speed=1000",
        "annotators.awake_hours=24",
    ];
    let path = folder.join(out);
    let mut command = understudy();
    command.args(["simulate", "--compare-utilities", "--updates", "2", "--answers", "4"]).args(more);
    command.args(["--model", model, "--data-dir", text(&folder.join("data")), "--out", text(&path)]);
    command.args(["--svg", text(&folder.join("picture.svg"))]);
    settings.iter().for_each(|setting| {
        command.args(["--set", setting]);
    });
    let output = command.output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("best-of-n regret"), "{said}");
    let data = folder.join("data");
    assert!(folder.join("picture.svg").exists(), "the picture is drawn");
    let left = std::fs::read_dir(&data).map_or(0, |entries| entries.count());
    assert_eq!(left, 0, "a comparison leaves no data behind");
    serde_json::from_str(&std::fs::read_to_string(path).expect("the report")).expect("JSON")
}

#[test]
fn utilities_are_compared_on_the_same_people_and_questions() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny(folder.path());
    let report = compare(folder.path(), &model, "first.json", &["--seeds", "2"]);
    let runs = report["runs"].as_array().expect("runs");
    let done: Vec<(u64, &str)> =
        runs.iter().map(|run| (run["seed"].as_u64().expect("a seed"), run["arm"].as_str().expect("an arm"))).collect();
    let arms = ["common", "prompt_aware", "declared"];
    assert_eq!(done, (0..2).flat_map(|seed| arms.map(|arm| (seed, arm))).collect::<Vec<_>>());
    for run in runs {
        assert!(run["updates"].as_u64() >= Some(2) && run["ratings"].as_u64() > Some(0), "{run}");
        for group in ["open", "closed", "all"] {
            for figure in ["base", "policy", "gain", "regret", "regret_of_chance"] {
                let value = run["figures"][group][figure].as_f64();
                assert!(value.is_some_and(f64::is_finite), "{group} {figure}: {run}");
            }
        }
        let first = runs.iter().find(|other| other["seed"] == run["seed"]).expect("itself at least");
        assert_eq!(run["figures"]["all"]["base"], first["figures"]["all"]["base"], "one base for all arms of a seed");
    }
    let gain = |row: &&Value| row["measure"] == "gain" && row["group"] == "closed" && row["arm"] == "declared";
    let rows = report["summary"].as_array().expect("a summary");
    let gain = rows.iter().find(gain).expect("every arm is summarised");
    assert!(gain["less_common"]["mean"].as_f64().is_some_and(f64::is_finite), "{gain}");

    let again = compare(folder.path(), &model, "second.json", &["--seeds", "2"]);
    for same in ["plan", "usual", "met"] {
        assert_eq!(report[same], again[same], "{same}");
    }
    let base = |report: &Value| -> Vec<Value> {
        report["runs"].as_array().expect("runs").iter().map(|run| run["figures"]["all"]["base"].clone()).collect()
    };
    assert_eq!(base(&report), base(&again), "the same questions, answers and qualities before learning");
    assert_ne!(report["met"][0]["people"], report["met"][1]["people"], "each seed has people of its own");
}

#[test]
fn a_policy_that_does_not_learn_gains_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny(folder.path());
    let still = ["--seeds", "1", "--arms", "common", "--set", "ppo.learning_rate=0"];
    let report = compare(folder.path(), &model, "still.json", &still);
    // The same weights and the same random streams: the same answers, token by token.
    for group in ["open", "closed", "all"] {
        assert_eq!(report["runs"][0]["figures"][group]["gain"], 0.0, "{report}");
    }
}
