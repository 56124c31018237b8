//! A site with an API that behaves like the real one: pages, filters by date, `has_more`, `backoff`, quota, throttling,
//! errors that are all HTTP 400, and a memory of who was rude.
//!
//! Invariant: it has a clock of its own, so that days pass in milliseconds.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Clock, Transport};

/// What goes wrong with a request, by its number.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Served, and then so many seconds of rest are wanted.
    Backoff(u64),
    /// Refused, with so many seconds named.
    Throttle(u64),
    /// An error of the API.
    Error(u32, &'static str),
    /// The connection breaks.
    Drop,
    /// Half an answer.
    Cut,
}

/// The site.
#[derive(Default)]
pub(crate) struct Site {
    pub(crate) now: AtomicI64,
    /// Ends the waiting at this time.
    pub(crate) until: AtomicI64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// (asked in seconds, id).
    questions: Vec<(i64, u64)>,
    faults: BTreeMap<u64, Fault>,
    quota: Option<u64>,
    requests: u64,
    not_before: i64,
    /// When each request came, and what for.
    log: Vec<(i64, String)>,
    rude: Vec<String>,
}

impl Site {
    pub(crate) fn new(now: i64) -> Arc<Self> {
        let site = Self::default();
        site.now.store(now, Ordering::Relaxed);
        site.until.store(i64::MAX, Ordering::Relaxed);
        Arc::new(site)
    }

    pub(crate) fn ask(&self, at_s: i64, ids: impl IntoIterator<Item = u64>) {
        self.state.lock().unwrap().questions.extend(ids.into_iter().map(|id| (at_s, id)));
    }

    pub(crate) fn fault(&self, request: u64, fault: Fault) {
        self.state.lock().unwrap().faults.insert(request, fault);
    }

    pub(crate) fn give_quota(&self, quota: u64) {
        self.state.lock().unwrap().quota = Some(quota);
    }

    pub(crate) fn log(&self) -> Vec<(i64, String)> {
        self.state.lock().unwrap().log.clone()
    }

    /// Requests that came before they were allowed.
    pub(crate) fn rude(&self) -> Vec<String> {
        self.state.lock().unwrap().rude.clone()
    }

    /// The status and the body of the answer; `None` where the connection breaks.
    pub(crate) fn answer(&self, path: &str) -> Option<(u16, Vec<u8>)> {
        let now = self.now.load(Ordering::Relaxed);
        let mut state = self.state.lock().unwrap();
        let number = state.requests;
        state.requests += 1;
        if now < state.not_before {
            let early = format!("request {number} came {} ms too early", state.not_before - now);
            state.rude.push(early);
        }
        state.log.push((now, path.to_owned()));
        let fault = state.faults.get(&number).cloned();
        match fault {
            Some(Fault::Drop) => return None,
            Some(Fault::Throttle(seconds)) => {
                state.not_before = now + seconds as i64 * 1000;
                let message = format!("too many requests from this IP, more requests available in {seconds} seconds");
                let body = json!({"error_id": 502, "error_message": message, "error_name": "throttle_violation"});
                return Some((400, body.to_string().into_bytes()));
            }
            Some(Fault::Error(id, name)) => {
                let body = json!({"error_id": id, "error_message": "simulated", "error_name": name});
                return Some((400, body.to_string().into_bytes()));
            }
            _ => {}
        }
        let query: BTreeMap<String, String> =
            form_urlencoded::parse(path.split_once('?').expect("a query").1.as_bytes()).into_owned().collect();
        let number_of = |name: &str| query[name].parse::<i64>().unwrap();
        let (page, size, from) = (number_of("page"), number_of("pagesize"), number_of("fromdate"));
        if page > 25 && !query.contains_key("key") {
            let message = "page above 25 requires access token or app key";
            let body = json!({"error_id": 403, "error_message": message, "error_name": "access_denied"});
            return Some((400, body.to_string().into_bytes()));
        }
        let mut found: Vec<_> =
            state.questions.iter().copied().filter(|(at, _)| *at >= from && *at * 1000 <= now).collect();
        if let Some(tagged) = query.get("tagged") {
            let wanted: Vec<&str> = tagged.split(';').collect();
            let has = |id: u64| move |wanted: &&str| *wanted == "tag" || *wanted == tag(id);
            // As the real one: '/search/advanced' wants one of them, '/questions' all.
            found.retain(|(_, id)| match path.starts_with("/search/advanced?") {
                true => wanted.iter().any(has(*id)),
                false => wanted.iter().all(has(*id)),
            });
        }
        found.sort_unstable();
        let (start, size) = (((page - 1) * size) as usize, size as usize);
        let items: Vec<Value> = found.iter().skip(start).take(size).map(item).collect();
        let has_more = found.len() > start + size;
        let mut body = json!({"items": items, "has_more": has_more, "quota_max": 300});
        if let Some(quota) = &mut state.quota {
            *quota = quota.saturating_sub(1);
            body["quota_remaining"] = json!(*quota);
        }
        let mut text = body.to_string().into_bytes();
        if let Some(Fault::Backoff(seconds)) = fault {
            state.not_before = now + seconds as i64 * 1000;
            body["backoff"] = json!(seconds);
            text = body.to_string().into_bytes();
        }
        if let Some(Fault::Cut) = fault {
            text.truncate(text.len() / 2);
        }
        Some((200, text))
    }
}

fn item((at, id): &(i64, u64)) -> Value {
    json!({
        "question_id": id,
        "creation_date": at,
        "title": format!("title {id}"),
        "body": format!("<p>body {id}, schön</p>"),
        "tags": ["tag", tag(*id)],
        "link": format!("https://site.example/questions/{id}"),
        "content_license": "CC BY-SA 4.0",
        "owner": owner(*id),
    })
}

/// Each third question has this tag.
fn tag(id: u64) -> String {
    format!("t{}", id % 3)
}

/// Who asks: Ben every fourth question, Ana the others.
fn owner(id: u64) -> Value {
    let (name, number) = if id % 4 == 3 { ("Ben", 2) } else { ("Ana", 1) };
    json!({"display_name": name, "link": format!("https://site.example/users/{number}")})
}

impl Transport for Arc<Site> {
    fn get(&self, path: &str) -> Result<Vec<u8>, String> {
        self.answer(path).map(|(_, body)| body).ok_or_else(|| "the connection broke".to_owned())
    }
}

impl Clock for Arc<Site> {
    fn now_ms(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    fn wait(&self, ms: u64) -> bool {
        let now = self.now.fetch_add(ms as i64, Ordering::Relaxed) + ms as i64;
        now < self.until.load(Ordering::Relaxed)
    }
}

/// Serves `site` on loopback, one connection a request, compressed as the real API is.
pub(crate) fn serve(site: Arc<Site>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/2.3", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut lines = BufReader::new(connection.try_clone().unwrap()).lines().map_while(Result::ok);
            let Some(first) = lines.next() else { continue };
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let path = first.split(' ').nth(1).unwrap().strip_prefix("/2.3").unwrap().to_owned();
            let Some((status, body)) = site.answer(&path) else { continue };
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(&body).unwrap();
            let body = packed.finish().unwrap();
            let head = format!(
                "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(&body));
        }
    });
    address
}
