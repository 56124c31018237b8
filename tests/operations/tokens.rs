//! `understudy token` against a daemon that asks for tokens.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::program::{Daemon, tiny, understudy};

/// Runs `understudy token …` on the data of `folder`; exit code, standard output, standard error.
fn token(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let data = folder.join("data");
    let output = understudy().arg("token").args(arguments).arg("--data-dir").arg(&data).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    (output.status.code().expect("an exit code"), text(&output.stdout), text(&output.stderr))
}

fn create(folder: &Path, scope: &str, more: &[&str]) -> (String, String) {
    let (code, out, err) = token(folder, &[&["create", "--json", "--scope", scope], more].concat());
    assert_eq!((code, err.as_str()), (0, ""));
    let made: Value = serde_json::from_str(&out).expect("JSON");
    let text = |field: &str| made[field].as_str().expect(field).to_owned();
    (text("id"), text("secret"))
}

#[test]
fn a_secret_is_shown_once_and_what_is_listed_and_stored_does_not_hold_it() {
    let folder = tempfile::tempdir().unwrap();
    let (code, secret, said) = token(folder.path(), &["create", "--scope", "rate,ask", "--name", "ana"]);
    assert_eq!(code, 0);
    assert!(secret.starts_with("ust-") && secret.len() == 68, "only the secret goes to standard output: {secret}");
    assert!(said.contains("for ask,rate") && said.contains("not shown again") && !said.contains(&secret), "{said}");
    let (id, other) = create(folder.path(), "admin", &["--expires", "1s", "--name", "bob"]);
    assert_ne!(secret, other);

    let file = folder.path().join("data/tokens.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let stored = std::fs::read_to_string(&file).unwrap();
    let listed = token(folder.path(), &["list"]).1;
    let json = token(folder.path(), &["list", "--json"]).1;
    for text in [&stored, &listed, &json] {
        assert!(!text.contains(&secret[4..]) && !text.contains(&other[4..]), "{text}");
    }
    let rows: Value = serde_json::from_str(&json).expect("JSON");
    let shown: Vec<(&Value, &Value)> =
        rows.as_array().expect("a list").iter().map(|row| (&row["name"], &row["scopes"])).collect();
    assert_eq!(shown, [(&json!("ana"), &json!(["ask", "rate"])), (&json!("bob"), &json!(["admin"]))]);
    let times = |row: &Value| (row["created_ms"].as_i64().expect("a time"), row["expires_ms"].as_i64());
    let (made, end) = times(&rows[1]);
    assert_eq!((times(&rows[0]).1, end), (None, Some(made + 1000)));
    assert!(listed.lines().count() == 2 && listed.contains("never expires"), "{listed}");

    assert_eq!(token(folder.path(), &["revoke", &id]), (0, format!("{id} is void"), String::new()));
    let (code, _, said) = token(folder.path(), &["revoke", &id]);
    assert!(code == 2 && said.contains("there is no token") && said.contains("understudy token list"), "{said}");
    assert_eq!(token(folder.path(), &["list"]).1.lines().count(), 1);
    for wrong in [&["create"][..], &["create", "--scope", "root"], &["create", "--scope", "ask", "--expires", "soon"]] {
        assert_eq!(token(folder.path(), wrong).0, 2, "{wrong:?}");
    }
}

#[test]
fn a_running_daemon_asks_for_tokens_and_sees_new_revoked_and_expired_ones_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny(folder.path());
    let (_, ask) = create(folder.path(), "ask", &[]);
    let daemon = Daemon::start_with(folder.path(), &model, &["http.tokens_always=true", "annotators.attention=0"]);
    let call = |path: &str, secret: Option<&str>, body: &Value| {
        let header = secret.map(|secret| format!("Authorization: Bearer {secret}\r\n")).unwrap_or_default();
        let (status, reply) = daemon.call_with("POST", path, &header, body);
        (status, reply["code"].as_str().or(reply["error"]["code"].as_str()).unwrap_or_default().to_owned())
    };
    let chat = json!({"messages": [{"role": "user", "content": "Why?"}]});
    let question = |secret| call("/v1/chat/completions", secret, &chat);
    let reload = |secret| call("/v1/reload", secret, &Value::Null);
    let is = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(question(None), is(401, "no_token"));
    assert_eq!(question(Some("ust-wrong")), is(401, "wrong_token"));
    assert_eq!(question(Some(&ask)), is(200, ""));
    assert_eq!(reload(Some(&ask)), is(403, "scope"));
    let (id, admin) = create(folder.path(), "admin", &[]);
    assert_eq!(reload(Some(&admin)), is(200, ""), "a token made beside the daemon counts at once");
    assert_eq!(token(folder.path(), &["revoke", &id]).0, 0);
    assert_eq!(reload(Some(&admin)), is(401, "wrong_token"), "and void from the next request on");
    let (_, late) = create(folder.path(), "admin", &["--expires", "0s"]);
    assert_eq!(reload(Some(&late)), is(401, "expired_token"));
    let log = daemon.log.lock().unwrap().join("\n");
    assert!(!log.contains("ust-"), "no secret reaches the log");
}
