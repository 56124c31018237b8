//! Who may do what: the table of routes and scopes, and the door that keeps to it.
//!
//! Invariant: what is not in the table needs `admin`, so a forgotten route is closed and not open. On loopback the door
//! is open unless `http.tokens_always` says otherwise; elsewhere nothing is written without a token, and a token file
//! that cannot be read lets nobody in. No secret reaches a log or a reply.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use actix_web::http::{Method, StatusCode};
use tokio::time::Instant;

use super::ApiError;
use super::limits::{Limits, Peer, Rate};
use super::tokens::{Scope, Tokens};
use crate::config::{Http, Live};

/// The scope that a request to a route needs. Requests that change nothing are not listed: they need none, but for
/// those that hand out work.
pub(super) const SCOPES: &[(Method, &str, Scope)] = &[
    (Method::POST, "/v1/chat/completions", Scope::Ask),
    (Method::POST, "/v1/completions", Scope::Ask),
    (Method::POST, "/v1/feedback", Scope::Rate),
    (Method::POST, "/v1/feedback/batch", Scope::Rate),
    (Method::POST, "/v1/feedback/{id}/retract", Scope::Rate),
    (Method::GET, "/v1/tasks/next", Scope::Rate),
    (Method::POST, "/v1/tasks/{task}/skip", Scope::Rate),
    (Method::POST, "/v1/reload", Scope::Admin),
    (Method::POST, "/v1/stage/promote", Scope::Admin),
    (Method::POST, "/v1/stage/rollback", Scope::Admin),
    (Method::POST, "/v1/stage/pin", Scope::Admin),
    (Method::POST, "/v1/stage/unpin", Scope::Admin),
    (Method::POST, "/v1/intake/argilla", Scope::Rate),
    (Method::POST, "/v1/intake/label-studio", Scope::Rate),
];

/// Reading that stays open where `http.tokens_for_reads` closes the rest: probes, and the page itself, which has to be
/// there to be given a token.
const ALWAYS_OPEN: [&str; 4] = ["/healthz", "/readyz", "/", "/assets/{file:.*}"];

/// What a request needs: nothing, any token, or one with a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    AnyToken,
    Scope(Scope),
}

/// The door of one server.
#[derive(Debug)]
pub(crate) struct Door {
    /// Whether writing needs a token.
    closed: bool,
    elsewhere: bool,
    /// What may change while it stands.
    http: Live<Http>,
    dir: PathBuf,
    kept: Mutex<Kept>,
    limits: Limits,
}

/// The tokens as last read, and which file that was.
#[derive(Debug, Default)]
struct Kept {
    file: Option<(u64, u64, i64, i64)>,
    tokens: Tokens,
}

/// What a request shows of itself.
pub(super) struct Shown<'a> {
    pub(super) method: &'a Method,
    /// The route's pattern, where there is one.
    pub(super) route: Option<&'a str>,
    /// The header `Authorization`.
    pub(super) authorization: Option<&'a str>,
    pub(super) peer: Option<IpAddr>,
}

impl Door {
    /// The door to what `http` serves, with the tokens of the data directory `dir`.
    pub(crate) fn new(http: &Http, dir: &Path) -> Self {
        Self::of(Live::new(http.clone()), dir)
    }

    /// The same to what `http` serves now and later: whether writing needs a token is settled here, the rest may change.
    pub(crate) fn of(http: Live<Http>, dir: &Path) -> Self {
        let now = http.now();
        let elsewhere = !now.bind.ip().is_loopback();
        let closed = elsewhere || now.tokens_always;
        let limits = Limits::default();
        Self { closed, elsewhere, http, dir: dir.to_owned(), kept: Mutex::default(), limits }
    }

    /// Why nobody could ever write through it, if that is so: the sentence says what to do.
    pub(crate) fn locked_for_all(&self, http: &Http, now_ms: i64) -> Option<String> {
        let usable = match Tokens::read(&self.dir) {
            Ok(tokens) => tokens.tokens.iter().any(|token| !token.expired(now_ms)),
            Err(error) => return self.closed.then(|| error.to_string()),
        };
        (self.closed && !usable).then(|| {
            format!(
                "http.bind is {} and there is no token that would let anybody in; run 'understudy token create --scope \
                 ask,rate' with the same data directory, or bind to 127.0.0.1",
                http.bind
            )
        })
    }

    /// Whether a request may go on; the id of the token it showed.
    pub(super) fn admit(&self, shown: &Shown<'_>, now_ms: i64, now: Instant) -> Result<Option<String>, ApiError> {
        let need = self.need(shown);
        if need == Need::Nothing {
            return Ok(None);
        }
        let found = self.look(shown.authorization, need, now_ms);
        let peer = match &found {
            Ok(id) => Peer::Token(id.clone()),
            Err(_) => Peer::at(shown.peer),
        };
        let http = self.http.now();
        if !self.limits.take(peer, Rate { per_s: http.writes_per_s, burst: http.write_burst }, now) {
            let message = "too many requests from you at once (http.writes_per_s); come back in a second";
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", None, message));
        }
        found.map(Some)
    }

    fn need(&self, shown: &Shown<'_>) -> Need {
        let route = shown.route.unwrap_or_default();
        let listed = SCOPES.iter().find(|(method, path, _)| method == shown.method && *path == route);
        let reading = matches!(*shown.method, Method::GET | Method::HEAD | Method::OPTIONS);
        match (self.closed, listed, reading) {
            (false, ..) => Need::Nothing,
            (true, Some((_, _, scope)), _) => Need::Scope(*scope),
            (true, None, false) => Need::Scope(Scope::Admin),
            (true, None, true) if self.http.now().tokens_for_reads && !ALWAYS_OPEN.contains(&route) => Need::AnyToken,
            (true, None, true) => Need::Nothing,
        }
    }

    fn look(&self, authorization: Option<&str>, need: Need, now_ms: i64) -> Result<String, ApiError> {
        let refuse = |status, code, message: &str| Err(ApiError::new(status, code, None, message));
        let unauthorized = StatusCode::UNAUTHORIZED;
        let Some(header) = authorization else {
            let message = "this needs a token; send 'Authorization: Bearer …' (made with 'understudy token create')";
            return refuse(unauthorized, "no_token", message);
        };
        let secret = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, secret)) = secret else {
            return refuse(unauthorized, "no_token", "the header Authorization is not of the form 'Bearer …'");
        };
        let kept = self.fresh();
        let Some(token) = kept.find(secret.trim()) else {
            return refuse(unauthorized, "wrong_token", "this token is not known here; it may have been revoked");
        };
        if token.expired(now_ms) {
            return refuse(unauthorized, "expired_token", "this token has expired; ask for a new one");
        }
        match need {
            Need::Scope(scope) if !token.may(scope) => {
                let message = format!("this token's scopes do not include '{}', which this needs", scope.name());
                refuse(StatusCode::FORBIDDEN, "scope", &message)
            }
            _ => Ok(token.id.clone()),
        }
    }

    /// The tokens as they are on disk now, so that a revocation counts from the next request on.
    fn fresh(&self) -> Tokens {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let file = fs::metadata(Tokens::file(&self.dir));
        let file = file.ok().map(|file| (file.ino(), file.len(), file.mtime(), file.mtime_nsec()));
        if kept.file != file || file.is_none() {
            let tokens = Tokens::read(&self.dir).unwrap_or_else(|error| {
                tracing::error!(%error, "the tokens cannot be read: nobody is let in");
                Tokens::default()
            });
            *kept = Kept { file, tokens };
        }
        kept.tokens.clone()
    }

    /// Whether a request may name this host: this machine, or how it is reached from elsewhere. An address cannot be
    /// rebound by whoever owns a name, so addresses are as good as names that were listed.
    pub(super) fn serves_host(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let address = name.parse::<IpAddr>().ok();
        let here = name.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback());
        here || (self.elsewhere && address.is_some())
            || self.http.now().hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }
}
