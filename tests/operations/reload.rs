//! The configuration read again, by signal and over HTTP.

use std::path::Path;

use serde_json::{Value, json};

use crate::program::{Daemon, tiny};

/// A daemon with a configuration file of this text.
fn daemon(folder: &Path, text: &str) -> Daemon {
    let file = folder.join("my.toml");
    std::fs::write(&file, text).expect("room for a file");
    let model = tiny(folder);
    let mut command = Daemon::command(folder, &model, &["annotators.attention=0"]);
    command.args(["--config", file.to_str().expect("letters")]);
    Daemon::spawn(command)
}

/// Writes the file anew, sends SIGHUP and tells the line of the log that says what came of it.
fn hang_up(daemon: &Daemon, folder: &Path, text: &str, wanted: &str) -> Value {
    std::fs::write(folder.join("my.toml"), text).expect("room for a file");
    let from = daemon.lines();
    daemon.signal("HUP");
    serde_json::from_str(&daemon.wait_for_line(from, wanted)).expect("a line of JSON")
}

/// What a request with this many bytes in its body is answered; `None` where it takes the size.
fn refused_for_its_size(daemon: &Daemon, bytes: usize) -> bool {
    let body = json!({"messages": [{"role": "user", "content": "x".repeat(bytes)}]});
    let (status, reply) = daemon.call("POST", "/v1/chat/completions", &body);
    assert!(status == 413 || status == 400, "too long for the model, or for the door: {status} {reply}");
    status == 413
}

#[test]
fn sighup_changes_what_can_change_and_names_what_needs_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = daemon(folder.path(), "[log]\nfilter = 'info'\n");
    let long = 5000;
    assert!(!refused_for_its_size(&daemon, long));
    let before = daemon.lines();
    daemon.get("/healthz");

    let text = "[log]\nfilter = 'debug'\n[http]\nmax_body_bytes = 2048\nmax_connections = 9\n[ppo]\ngamma = 0.9\n";
    let told = hang_up(&daemon, folder.path(), text, "needs a restart");
    assert_eq!(told["changed"], json!("[\"http.max_body_bytes\", \"log.filter\"]"));
    assert_eq!(told["needs_restart"], json!("[\"http.max_connections\", \"ppo.gamma\"]"));
    assert!(refused_for_its_size(&daemon, long), "the new limit counts");
    assert!(!daemon.log.lock().unwrap()[before..].iter().any(|line| line.contains("/healthz")), "not shown before");
    daemon.get("/healthz");
    daemon.wait_for_line(before, "/healthz");

    let told = hang_up(&daemon, folder.path(), "[http]\nmax_body_bytes = 1\n", "nothing was changed");
    let error = told["error"].as_str().expect("a sentence");
    assert!(error.contains("my.toml, line 2, column 1: 'http.max_body_bytes' is 1; allow at least 1024"), "{error}");
    assert!(refused_for_its_size(&daemon, long), "the limit is what it was");
    assert_eq!(daemon.get("/healthz")["status"], "ok", "and it serves");
    daemon.signal("TERM");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0), "a hang-up is no signal to end");
}

#[test]
fn a_post_reloads_too_and_a_wrong_file_is_told_with_line_and_column_but_without_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon(folder.path(), "");
    let post = |text: &str| {
        std::fs::write(folder.path().join("my.toml"), text).unwrap();
        daemon.call("POST", "/v1/reload", &Value::Null)
    };
    assert_eq!(post("seed = 5\n"), (200, json!({"changed": [], "needs_restart": ["seed"]})));
    assert_eq!(
        post("[http]\nwrites_per_s = 7\n"),
        (200, json!({"changed": ["http.writes_per_s"], "needs_restart": []}))
    );
    let (status, problem) = post("[http\nwrites_per_s = 7\n");
    assert_eq!((status, &problem["code"]), (422, &json!("wrong_configuration")));
    let detail = problem["detail"].as_str().expect("a sentence");
    assert!(detail.contains("line 1, column 6") && !detail.contains("my.toml"), "{detail}");
    daemon.wait_for("understudy_config_reloads_total{outcome=\"refused\"} 1");
}
