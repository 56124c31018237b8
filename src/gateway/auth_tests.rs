//! The door: every route that changes something, with every kind of wrong token.
//!
//! Invariant: a refused request changes nothing; the table of scopes names every such route that is mounted.

use std::path::Path;
use std::sync::Arc;

use actix_web::http::Method;
use serde_json::json;

use super::auth::SCOPES;
use super::tests::{Asked, CHAT, FEEDBACK, Reply, Scripted, ask_of, post, user};
use super::tokens::{Scope, Tokens};
use super::{Shared, locked_for_all};
use crate::clock;
use crate::config::{Config, Layers, Origin};

fn config(settings: &[(&str, &str)]) -> Config {
    let mut layers = Layers::built_in();
    for (key, value) in settings {
        layers.set(key, value, Origin::BuiltIn).unwrap();
    }
    layers.finish().unwrap().config
}

fn shared(backend: Arc<Scripted>, dir: &Path, settings: &[(&str, &str)]) -> Shared {
    let config = config(settings);
    Shared::new(backend, config.http, config.generation, None).with_tokens_of(dir)
}

/// A token's secret as a header's value.
fn token(dir: &Path, byte: u8, scopes: &[Scope], expires_ms: Option<i64>) -> String {
    let make = |tokens: &mut Tokens| tokens.create([byte; 32], "test", scopes, 0, expires_ms);
    format!("Bearer {}", Tokens::change(dir, make).unwrap().1)
}

/// Method, path, body, headers.
type Writing<'a> = (Method, String, String, Vec<(&'a str, &'a str)>);

/// A request that would change something if it were let in.
fn writing<'a>(method: &Method, route: &str, header: Option<&'a str>) -> Writing<'a> {
    let path = route.replace("{id}", "f1").replace("{task}", "1");
    let body = match route {
        CHAT => json!({"messages": user("x")}),
        "/v1/completions" => json!({"prompt": "x"}),
        _ => json!({"id": "f1", "annotator": "ana", "at": 3, "kind": "thumb", "up": true, "answer": 1}),
    };
    (method.clone(), path, body.to_string(), header.map(|header| ("authorization", header)).into_iter().collect())
}

const ELSEWHERE: [(&str, &str); 2] = [("http.bind", "0.0.0.0:8477"), ("http.writes_per_s", "0")];

fn asked<'a>((method, path, body, headers): &'a Writing<'a>) -> Asked<'a> {
    (method.clone(), path.as_str(), body.clone(), headers.clone())
}

async fn ask_all(shared: Shared, requests: &[Writing<'_>]) -> Vec<Reply> {
    ask_of(shared, requests.iter().map(asked).collect()).await
}

#[actix_web::test]
async fn without_the_right_token_no_route_that_changes_something_lets_anybody_in() {
    let dir = tempfile::tempdir().unwrap();
    let (ask, rate) = (token(dir.path(), 1, &[Scope::Ask], None), token(dir.path(), 2, &[Scope::Rate], None));
    let expired = token(dir.path(), 3, &[Scope::Admin], Some(1));
    let revoked = token(dir.path(), 4, &[Scope::Admin], None);
    let id = Tokens::read(dir.path()).unwrap().tokens[3].id.clone();
    Tokens::change(dir.path(), |tokens| Ok(tokens.revoke(&id))).unwrap();
    let bare = rate.trim_start_matches("Bearer ").to_owned();
    let mut requests = Vec::new();
    let mut wanted = Vec::new();
    // A route that nobody has listed, and one that does not exist, need the greatest scope.
    let unlisted = [(Method::DELETE, FEEDBACK, Scope::Admin), (Method::PUT, "/nothing", Scope::Admin)];
    for (method, route, scope) in scopes().iter().chain(&unlisted) {
        let wrong = if *scope == Scope::Rate { &ask } else { &rate };
        let basic = "Basic YTpi";
        for (header, status, code) in [
            (None, 401, "no_token"),
            (Some(basic), 401, "no_token"),
            (Some(bare.as_str()), 401, "no_token"),
            (Some("Bearer "), 401, "wrong_token"),
            (Some("Bearer ust-00"), 401, "wrong_token"),
            (Some(revoked.as_str()), 401, "wrong_token"),
            (Some(expired.as_str()), 401, "expired_token"),
            (Some(wrong.as_str()), 403, "scope"),
        ] {
            requests.push(writing(method, route, header));
            wanted.push((status, code));
        }
    }
    let backend = Arc::new(Scripted::default());
    let replies = ask_all(shared(backend.clone(), dir.path(), &ELSEWHERE), &requests).await;
    for ((reply, request), (status, code)) in replies.iter().zip(&requests).zip(wanted) {
        let what = format!("{} {} {:?}: {}", request.0, request.1, request.3, reply.body);
        assert!(reply.status == status && reply.body.contains(&format!("\"code\":\"{code}\"")), "{what}");
        assert_eq!(reply.headers.contains_key("www-authenticate"), status == 401, "{what}");
        assert!(!reply.body.contains("ust-"), "a secret is repeated: {what}");
    }
    assert!(backend.asked.lock().unwrap().is_empty() && backend.rated.lock().unwrap().is_empty());
}

#[actix_web::test]
async fn the_right_token_opens_its_routes_and_admin_opens_all() {
    let dir = tempfile::tempdir().unwrap();
    let (ask, rate) = (token(dir.path(), 1, &[Scope::Ask], None), token(dir.path(), 2, &[Scope::Rate], None));
    let admin = token(dir.path(), 3, &[Scope::Admin], Some(i64::MAX));
    let of = |scope| match scope {
        Scope::Ask => ask.as_str(),
        Scope::Rate => rate.as_str(),
        Scope::Admin => admin.as_str(),
    };
    let scopes = scopes();
    let own = scopes.iter().map(|(method, route, scope)| writing(method, route, Some(of(*scope))));
    let all = scopes.iter().map(|(method, route, _)| writing(method, route, Some(admin.as_str())));
    let requests: Vec<_> = own.chain(all).collect();
    let backend = Arc::new(Scripted::default());
    for (reply, request) in
        ask_all(shared(backend.clone(), dir.path(), &ELSEWHERE), &requests).await.iter().zip(&requests)
    {
        assert!(![401, 403].contains(&reply.status), "{} {}: {}", request.0, request.1, reply.body);
    }
    assert!(!backend.asked.lock().unwrap().is_empty() && !backend.rated.lock().unwrap().is_empty());
}

/// Method and pattern of every route that is mounted as `.route("/path", web::post().to(handler))`.
pub(super) fn mounted() -> Vec<(Method, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gateway")).unwrap() {
        let path = entry.unwrap().path();
        let file = if path.is_dir() { path.join("mod.rs") } else { path };
        let source = std::fs::read_to_string(&file).unwrap_or_default();
        if file.to_string_lossy().ends_with("tests.rs") {
            continue;
        }
        for route in source.split(".route(").skip(1) {
            let Some((path, rest)) = route.split_once('"').and_then(|(_, rest)| rest.split_once('"')) else { continue };
            let method = rest.split_once("web::").and_then(|(_, method)| method.split('(').next());
            if let Some(method) = method.filter(|_| path.starts_with('/')) {
                found.push((method.to_uppercase().parse().unwrap(), path.to_owned()));
            }
        }
    }
    assert!(found.len() >= 10, "only {found:?} were found: are routes mounted in another way now?");
    found
}

/// What the table says of the routes that are mounted.
fn scopes() -> Vec<(Method, &'static str, Scope)> {
    let mounted = mounted();
    let here = |entry: &&(Method, &str, Scope)| mounted.iter().any(|(m, path)| *m == entry.0 && path == entry.1);
    let scopes: Vec<_> = SCOPES.iter().filter(here).cloned().collect();
    assert!(scopes.len() >= 5, "{scopes:?}");
    scopes
}

#[test]
fn the_table_names_every_mounted_route_that_changes_something() {
    for (method, path) in mounted().iter().filter(|(method, _)| !matches!(*method, Method::GET | Method::HEAD)) {
        let listed = SCOPES.iter().any(|(listed, route, _)| listed == method && route == path);
        assert!(listed, "{method} {path} has no scope of its own; add it to SCOPES in auth.rs");
    }
}

#[actix_web::test]
async fn loopback_is_open_also_to_a_token_that_is_wrong_and_can_be_closed() {
    let dir = tempfile::tempdir().unwrap();
    let requests = [writing(&Method::POST, FEEDBACK, None), writing(&Method::POST, FEEDBACK, Some("Bearer none"))];
    let statuses = async |settings: &[(&str, &str)]| {
        let replies = ask_all(shared(Arc::default(), dir.path(), settings), &requests).await;
        replies.iter().map(|reply| reply.status).collect::<Vec<_>>()
    };
    assert_eq!(statuses(&[]).await, [200, 200]);
    assert_eq!(statuses(&[("http.tokens_always", "true")]).await, [401, 401]);
}

#[actix_web::test]
async fn reading_is_open_unless_closed_and_probes_always_are() {
    let dir = tempfile::tempdir().unwrap();
    let rate = token(dir.path(), 1, &[Scope::Rate], None);
    let read = |path: &str, header| (Method::GET, path.to_owned(), String::new(), header);
    let shown = vec![("authorization", rate.as_str())];
    let requests = [read("/v1/models", vec![]), read("/v1/models", shown), read("/healthz", vec![]), read("/", vec![])];
    let statuses = async |settings: &[(&str, &str)]| {
        let replies = ask_all(shared(Arc::default(), dir.path(), settings), &requests).await;
        replies.iter().map(|reply| reply.status).collect::<Vec<_>>()
    };
    assert_eq!(statuses(&ELSEWHERE).await, [200, 200, 200, 200]);
    assert_eq!(statuses(&[ELSEWHERE[0], ("http.tokens_for_reads", "true")]).await, [401, 200, 200, 200]);
}

#[actix_web::test]
async fn a_token_beyond_its_rate_waits_and_another_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (ana, bob) = (token(dir.path(), 1, &[Scope::Rate], None), token(dir.path(), 2, &[Scope::Rate], None));
    let settings = [ELSEWHERE[0], ("http.writes_per_s", "1"), ("http.write_burst", "3")];
    let headers = [ana.as_str(); 10].into_iter().chain([bob.as_str()]);
    let requests: Vec<_> = headers.map(|header| writing(&Method::POST, FEEDBACK, Some(header))).collect();
    let replies = ask_all(shared(Arc::default(), dir.path(), &settings), &requests).await;
    assert_eq!(replies[..3].iter().map(|reply| reply.status).collect::<Vec<_>>(), [200, 200, 200]);
    let late = replies[3..10].iter().find(|reply| reply.status == 429).expect("ten at once are more than three");
    assert!(late.headers.contains_key("retry-after") && late.body.contains("rate_limited"), "{}", late.body);
    assert_eq!(replies[10].status, 200);
}

#[actix_web::test]
async fn every_reply_has_the_headers_that_keep_a_browser_from_running_it() {
    let dir = tempfile::tempdir().unwrap();
    let refused = vec![("host", "evil.example")];
    let requests: Vec<Asked<'_>> = vec![
        (Method::GET, "/healthz", String::new(), vec![]),
        (Method::GET, "/nothing", String::new(), vec![]),
        (Method::GET, "/healthz", String::new(), refused),
        post(CHAT, json!({"messages": user("x"), "stream": true})),
        post(CHAT, json!({"messages": user("panic")})),
        post(FEEDBACK, json!(3)),
    ];
    for reply in ask_of(shared(Arc::default(), dir.path(), &[]), requests).await {
        assert_eq!(reply.headers["x-content-type-options"], "nosniff", "{}", reply.body);
        assert_eq!(reply.headers["referrer-policy"], "no-referrer");
        assert!(reply.headers["content-security-policy"].starts_with("default-src 'none'"), "{}", reply.body);
        assert!(!reply.headers.keys().any(|name| name.starts_with("access-control-")), "no other origin may read");
    }
}

#[actix_web::test]
async fn a_token_counts_from_its_making_to_its_revocation_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(Arc::default(), dir.path(), &ELSEWHERE);
    let rate =
        async |header: &str| ask_all(shared.clone(), &[writing(&Method::POST, FEEDBACK, Some(header))]).await[0].status;
    let first = token(dir.path(), 1, &[Scope::Rate], None);
    assert_eq!(rate(&first).await, 200);
    let second = token(dir.path(), 2, &[Scope::Rate], None);
    assert_eq!(rate(&second).await, 200);
    let id = Tokens::read(dir.path()).unwrap().tokens[0].id.clone();
    Tokens::change(dir.path(), |tokens| Ok(tokens.revoke(&id))).unwrap();
    assert_eq!((rate(&first).await, rate(&second).await), (401, 200));
    std::fs::remove_file(Tokens::file(dir.path())).unwrap();
    assert_eq!(rate(&second).await, 401, "without the file nobody is let in");
}

#[test]
fn a_daemon_that_nobody_could_use_is_not_started() {
    let dir = tempfile::tempdir().unwrap();
    let (here, elsewhere) = (config(&[]).http, config(&ELSEWHERE).http);
    let now = clock::now_ms();
    assert_eq!(locked_for_all(&here, dir.path(), now), None);
    token(dir.path(), 1, &[Scope::Admin], Some(1));
    let sentence = locked_for_all(&elsewhere, dir.path(), now).expect("the only token has expired");
    assert!(sentence.contains("understudy token create"), "{sentence}");
    token(dir.path(), 2, &[Scope::Rate], None);
    assert_eq!(locked_for_all(&elsewhere, dir.path(), now), None);
    std::fs::write(Tokens::file(dir.path()), "{").unwrap();
    assert!(locked_for_all(&elsewhere, dir.path(), now).is_some());
}

#[actix_web::test]
async fn the_stream_of_events_needs_a_token_where_reads_do_and_the_page_can_send_it() {
    let dir = tempfile::tempdir().unwrap();
    let rate = token(dir.path(), 1, &[Scope::Rate], None);
    let shared = shared(Arc::default(), dir.path(), &[ELSEWHERE[0], ("http.tokens_for_reads", "true")]);
    let observer = shared.observer.clone();
    actix_rt::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        observer.end();
    });
    let events = |header| (Method::GET, "/v1/events".to_owned(), String::new(), header);
    let query = format!("/v1/events?token={}", rate.trim_start_matches("Bearer "));
    let in_query = (Method::GET, query, String::new(), vec![]);
    let requests = [events(vec![]), in_query, events(vec![("authorization", rate.as_str())])];
    let replies = ask_all(shared, &requests).await;
    assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [401, 401, 200]);
    assert!(replies[2].body.starts_with(": hello"), "{}", replies[2].body);
    // An EventSource can send no header: the page reads the stream with a request like any other.
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gateway/page/assets");
    let read = |name: &str| std::fs::read_to_string(assets.join(name)).unwrap();
    for entry in std::fs::read_dir(&assets).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.ends_with(".js") || !read(&name).contains("EventSource"), "{name} opens an EventSource");
    }
    let (api, watch) = (read("api.js"), read("watch.js"));
    let follow = api.split("function* follow").nth(1).or(api.split("function follow").nth(1)).unwrap();
    assert!(follow.split("\n}").next().unwrap().contains("await request('GET', path"), "{follow}");
    assert!(api.contains("headers.authorization = `Bearer ${") && watch.contains("follow('/v1/events'"));
}
