//! The daemon fed by a site's API: the real program, the real client, and a site on loopback.
//!
//! Invariant: the site answers what the API's documentation says it would; how it misbehaves is the business of the
//! poller's own tests.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::program::{Daemon, tiny};

/// Titles of the site's questions so far, and what was asked of it.
#[derive(Default)]
struct Site {
    titles: Vec<&'static str>,
    requests: Vec<String>,
}

/// Asked on the first of January 2024, one a second.
const BEGINNING: u64 = 1_704_067_200;

impl Site {
    fn page(&self) -> Value {
        let item = |(place, title): (usize, &&str)| {
            json!({
                "question_id": place + 1, "creation_date": BEGINNING + place as u64, "title": title,
                "body": "<p>I &amp; my <code>pot</code>.</p>", "tags": ["tea"],
                "link": format!("https://tea.example/questions/{}", place + 1), "content_license": "CC BY-SA 4.0",
                "owner": {"display_name": "Ana", "link": "https://tea.example/users/1"},
            })
        };
        let items: Vec<Value> = self.titles.iter().enumerate().map(item).collect();
        json!({"items": items, "has_more": false, "quota_max": 300, "quota_remaining": 299})
    }
}

/// Serves the site until the test ends.
fn serve(site: Arc<Mutex<Site>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}/2.3", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a client");
            let mut lines = BufReader::new(connection.try_clone().expect("a socket")).lines().map_while(Result::ok);
            let Some(first) = lines.next() else { continue };
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let mut site = site.lock().expect("nobody panics with it");
            site.requests.push(first);
            let body = site.page().to_string();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
            let _ = connection.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes());
        }
    });
    address
}

/// Titles of what was answered, oldest first, once this many groups of answers are kept.
fn asked(daemon: &Daemon, least: usize) -> Vec<String> {
    let titles = || -> Vec<String> {
        let page = daemon.get("/v1/questions?limit=50");
        let items = page["items"].as_array().expect("questions");
        items.iter().rev().map(|item| item["title"].as_str().expect("a title").to_owned()).collect()
    };
    daemon.wait_until("answers", || titles().len() >= least);
    titles()
}

#[test]
fn a_daemon_asks_what_a_site_is_asked_once_each_and_goes_on_after_a_kill() {
    let folder = tempfile::tempdir().expect("a place for the data");
    let (folder, model) = (folder.path(), tiny(folder.path()));
    let site = Arc::new(Mutex::new(Site { titles: vec!["Which tea?", "How long?", "Milk first?"], requests: vec![] }));
    let api = format!("source.api={}", serve(site.clone()));
    let settings = [
        "source.kind=api",
        "source.site=tea.example",
        "source.terms=ours",
        "source.may_train=true",
        &api,
        "source.from=2023-12-31",
        "source.held_out=0",
        "annotators.attention=0",
    ];
    let mut first = Daemon::start_with(folder, &model, &settings);
    assert_eq!(asked(&first, 3), ["Which tea?", "How long?", "Milk first?"]);
    let shown = &first.get("/v1/questions?limit=1")["items"][0];
    assert_eq!(
        (shown["author"]["name"].as_str(), shown["licence"].as_str()),
        (Some("Ana"), Some("CC BY-SA 4.0")),
        "{shown}"
    );
    assert_eq!(
        (shown["terms"].as_str(), shown["url"].as_str()),
        (Some("ours"), Some("https://tea.example/questions/3"))
    );
    first.child.kill().expect("it runs");
    first.child.wait().expect("it ends");
    site.lock().expect("nobody panics with it").titles.push("Iced?");
    let second = Daemon::start_with(folder, &model, &settings);
    assert_eq!(asked(&second, 4), ["Which tea?", "How long?", "Milk first?", "Iced?"]);
    let requests = &site.lock().expect("nobody panics with it").requests;
    assert!(requests.len() <= 4, "a look each and no hurry: {requests:?}");
    let polite = |request: &String| request.starts_with("GET /2.3/questions?") && request.contains("site=tea.example");
    assert!(requests.iter().all(polite), "{requests:?}");
}
