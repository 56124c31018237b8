//! Watching and rating a daemon from outside: events, history, questions and tasks of the program as it runs.
//!
//! Invariant: each test starts the real binary on a tiny model of its own and leaves nothing behind.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::program::{Daemon, PATIENCE, tiny};

/// Server-sent events as they come: tag and data.
struct Events(BufReader<TcpStream>);

impl Events {
    fn of(daemon: &Daemon) -> Self {
        let mut stream = TcpStream::connect(&daemon.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
        Self(BufReader::new(stream))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).expect("an event in time") > 0, "the stream ended");
        line.trim_end().to_owned()
    }

    /// Reads on to an event of this tag whose data satisfy `wanted`.
    fn until(&mut self, tag: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.line();
            let Some(found) = line.strip_prefix("event: ") else { continue };
            let data = self.line();
            let data = data.strip_prefix("data: ").expect("an event has data after its tag");
            let data: Value = serde_json::from_str(data).expect("data are JSON");
            assert_eq!(data["event"], found);
            if found == tag && wanted(&data) {
                return data;
            }
        }
    }
}

/// Asks again and again until the reply satisfies `wanted`.
fn poll(daemon: &Daemon, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = daemon.get(path);
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < end, "{path} stays at {found}");
        #[expect(clippy::disallowed_methods, reason = "another process is waited for; there is no clock to simulate")]
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_rating_is_seen_as_an_event_and_the_history_moves() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny(folder.path());
    let daemon = Daemon::start_with(folder.path(), &model, &[]);
    let mut events = Events::of(&daemon);
    assert_eq!(events.until("answered", |_| true)["event"], "answered", "somebody answers the training questions");
    let answer = daemon.ask();
    let seq = daemon.rate(answer)["seq"].clone();
    let rated = events.until("rated", |data| data["feedback"]["id"] == "mine");
    assert_eq!((&rated["seq"], &rated["feedback"]["answer"]), (&seq, &json!(answer)));
    assert!(rated["t_ms"].as_i64() > Some(0), "{rated}");
    let scored = events.until("scored", |_| true);
    let scores = scored["scores"].as_array().expect("scores of each answer");
    assert!(!scores.is_empty() && scores.iter().all(|score| score[1].is_number() && score[2].is_number()), "{scored}");
    events.until("policy_update", |_| true);
    let moved = |history: &Value, name: &str| {
        history["series"][name].as_array().is_some_and(|points| points.iter().any(|point| point[2] != json!(0.0)))
    };
    let names = ["reward", "reward_loss", "answers_per_min", "ratings_per_min", "tokens_per_s", "entropy"];
    poll(&daemon, "/v1/history", |history| names.iter().all(|name| moved(history, name)));
    let status = daemon.get("/v1/status");
    assert!(status["actors"].is_array() && status["program"]["uptime_s"].is_number(), "{status}");
    let told = daemon.get(&format!("/v1/answers/{answer}"));
    // Simulated people may have said something of it, too.
    assert_eq!(told["question"]["source"], "chat");
    let mine = told["feedback"].as_array().and_then(|said| said.iter().find(|event| event["id"] == "mine"));
    assert_eq!(mine.map(|event| &event["seq"]), Some(&seq), "{told}");
}

#[test]
fn a_restart_loses_no_question_and_asks_nobody_again_what_was_rated_or_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny(folder.path());
    // Nobody but the test asks and rates.
    let alone = ["source.kind=none", "annotators.attention=0"];
    let first = Daemon::start_with(folder.path(), &model, &alone);
    let answers: Vec<u64> = (0..3).map(|_| first.ask()).collect();
    first.rate(answers[2]);
    let before = poll(&first, "/v1/questions", |page| page["items"].as_array().is_some_and(|items| items.len() == 3));
    poll(&first, "/v1/tasks/next?annotator=me", |task| task["waiting"] == 2);
    drop(first);

    let second = Daemon::start_with(folder.path(), &model, &alone);
    let again = poll(&second, &format!("/v1/answers/{}", answers[2]), |answer| answer["ratings"] == 1);
    assert_eq!(again["feedback"][0]["annotator"], "me");
    let after = second.get("/v1/questions");
    for (old, new) in before["items"].as_array().unwrap().iter().zip(after["items"].as_array().unwrap()) {
        assert_eq!((&old["group"], &old["answers"][0]["text"]), (&new["group"], &new["answers"][0]["text"]));
    }
    let mut asked = BTreeSet::new();
    loop {
        let (status, task) = second.call("GET", "/v1/tasks/next?annotator=me", &Value::Null);
        if status == 204 {
            break;
        }
        assert!(asked.insert(task["answers"][0]["answer"].as_u64().unwrap()), "{task} came before");
        let path = format!("/v1/tasks/{}/skip", task["task"].as_str().unwrap());
        assert_eq!(second.call("POST", &path, &json!({"annotator": "me"})).0, 200);
    }
    assert_eq!(asked, BTreeSet::from([answers[0], answers[1]]));
    assert_eq!(second.get("/v1/tasks/next?annotator=you")["waiting"], 3);
    drop(second);

    // The last line of what was skipped is cut, as a crash might: that one comes again, and no other.
    let skips = folder.path().join("data").join("skips.jsonl");
    let bytes = std::fs::read(&skips).expect("skips are on disk");
    std::fs::write(&skips, &bytes[..bytes.len() - 5]).unwrap();
    let third = Daemon::start_with(folder.path(), &model, &alone);
    poll(&third, "/v1/tasks/next?annotator=you", |task| task["waiting"] == 3);
    let again = poll(&third, "/v1/tasks/next?annotator=me", |task| task["waiting"] == 1);
    assert!(asked.contains(&again["answers"][0]["answer"].as_u64().unwrap()), "{again}");
    let taken_back = json!({"annotator": "me"});
    assert_eq!(third.call("POST", "/v1/feedback/mine/retract", &taken_back).0, 200);
    poll(&third, "/v1/tasks/next?annotator=me", |task| task["waiting"] == 2);
}
