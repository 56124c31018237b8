//! Every route and method, with what it takes and what it replies.
//!
//! Invariant: a route stands here if and only if it is there (a test looks); a status that a handler can give stands with
//! it or is one that any route can give.

use serde_json::{Value, json};

use super::schemas::named;

/// Groups of routes.
pub(super) const TAGS: [(&str, &str); 6] = [
    ("openai", "As OpenAI's clients know it."),
    ("feedback", "What people say of answers."),
    ("tasks", "What is most useful to rate next."),
    ("browse", "Questions, answers and where they came from."),
    ("watch", "How the loop is doing."),
    ("operations", "Health, metrics, and the page."),
];

/// Body refusals that every route with a body shares.
const BODY: [u16; 3] = [400, 408, 413];

/// One method of one path.
#[derive(Debug)]
pub(in crate::gateway) struct Route {
    pub(in crate::gateway) path: &'static str,
    /// In capitals.
    pub(in crate::gateway) method: &'static str,
    /// Whether the last parameter takes the rest of the path, slashes included.
    pub(super) is_rest: bool,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) parameters: Vec<Value>,
    pub(super) body: Option<Value>,
    pub(super) replies: Vec<Reply>,
    pub(super) refusals: Vec<u16>,
}

/// A reply that is no refusal, by media type.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) what: &'static str,
    pub(super) content: Vec<(&'static str, Value)>,
}

impl Route {
    fn new(method: &'static str, path: &'static str, tag: &'static str, summary: &'static str) -> Self {
        let (parameters, replies, refusals) = (Vec::new(), Vec::new(), Vec::new());
        Self { path, method, is_rest: false, tag, summary, parameters, body: None, replies, refusals }
    }

    /// A name for generated clients: the method and the path's words.
    pub(super) fn id(&self) -> String {
        let words = self.path.split(['/', '{', '}', '.', '-']).filter(|word| !word.is_empty() && *word != "v1");
        std::iter::once(self.method.to_lowercase()).chain(words.map(str::to_owned)).collect::<Vec<_>>().join("_")
    }

    fn rest(mut self) -> Self {
        self.is_rest = true;
        self
    }

    fn query(mut self, name: &str, required: bool, schema: Value) -> Self {
        self.parameters.push(json!({"name": name, "in": "query", "required": required, "schema": schema}));
        self
    }

    fn header(mut self, name: &str, schema: Value) -> Self {
        self.parameters.push(json!({"name": name, "in": "header", "required": false, "schema": schema}));
        self
    }

    fn takes(mut self, schema: &str) -> Self {
        self.body = Some(named(schema));
        self.refuses(&BODY)
    }

    fn replies(mut self, status: u16, what: &'static str, content: Vec<(&'static str, Value)>) -> Self {
        self.replies.push(Reply { status, what, content });
        self
    }

    fn json(self, what: &'static str, schema: &str) -> Self {
        self.replies(200, what, vec![("application/json", named(schema))])
    }

    fn refuses(mut self, statuses: &[u16]) -> Self {
        self.refusals.extend(statuses);
        self
    }
}

fn get(path: &'static str, tag: &'static str, summary: &'static str) -> Route {
    Route::new("GET", path, tag, summary)
}

fn post(path: &'static str, tag: &'static str, summary: &'static str) -> Route {
    Route::new("POST", path, tag, summary)
}

fn text() -> Value {
    json!({"type": "string"})
}

fn count(least: u64, most: u64) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": most})
}

fn sequence() -> Value {
    json!({"type": "integer", "minimum": 0})
}

/// All of them.
pub(super) fn routes() -> Vec<Route> {
    [openai(), feedback(), intake(), browse(), watch(), operations()].into_iter().flatten().collect()
}

fn openai() -> Vec<Route> {
    let chat = post("/v1/chat/completions", "openai", "Answers a chat, whole or as server-sent events.")
        .takes("ChatRequest")
        .refuses(&[404, 502, 504, 507]);
    let answer = vec![("application/json", named("ChatCompletion")), ("text/event-stream", text())];
    let completion = post("/v1/completions", "openai", "Answers a prompt, whole or as server-sent events.")
        .takes("CompletionRequest")
        .refuses(&[404, 502, 504, 507]);
    let text = vec![("application/json", named("TextCompletion")), ("text/event-stream", text())];
    let models = get("/v1/models", "openai", "The served model.").json("The one model.", "Models");
    let what = "The answers; each names its answer_id, so that it can be rated.";
    vec![
        chat.replies(200, what, answer),
        completion.replies(200, what, text),
        models,
        get("/v1/models/{id}", "openai", "The served model, by its name.")
            .rest()
            .json("The model.", "Model")
            .refuses(&[404]),
    ]
}

fn feedback() -> Vec<Route> {
    let durable = [404, 409, 422, 502, 504, 507];
    let key = json!({"type": "string", "minLength": 1, "maxLength": 128});
    let theirs = "It takes back what another annotator said (`not_yours`); or the token or the page may not do this.";
    vec![
        post("/v1/feedback", "feedback", "Takes one event; answers once it is on disk.")
            .header("Idempotency-Key", key)
            .takes("FeedbackGiven")
            .json("It is on disk.", "Taken")
            .replies(403, theirs, vec![])
            .refuses(&durable),
        post("/v1/feedback/batch", "feedback", "Takes many events, each with an outcome of its own.")
            .header("Idempotency-Key", text())
            .takes("FeedbackBatch")
            .json("The outcomes, in order.", "FeedbackOutcomes"),
        get("/v1/feedback", "feedback", "Events of feedback, newest first.")
            .query("annotator", false, text())
            .query("limit", false, count(1, 200))
            .query("before", false, sequence())
            .json("A page of them; `next` is the `before` of the next page.", "FeedbackList")
            .refuses(&[400, 502]),
        get("/v1/feedback/{id}", "feedback", "One event and what became of it.")
            .json("The event.", "FeedbackEvent")
            .replies(405, "The id is 'batch', whose path takes events by POST only; Allow says so.", vec![])
            .refuses(&[404, 405, 502]),
        post("/v1/feedback/{id}/retract", "feedback", "Takes back what the same annotator said.")
            .takes("Retraction")
            .json("It is taken back, on disk.", "Taken")
            .replies(403, theirs, vec![])
            .refuses(&durable),
    ]
}

fn intake() -> Vec<Route> {
    let route = |path, summary, schema| {
        post(path, "feedback", summary)
            .takes(schema)
            .json("All that it says is on disk, or told as ignored with the reason.", "IntakeTaken")
            .refuses(&[404, 409, 422, 502, 504, 507])
    };
    vec![
        route("/v1/intake/argilla", "Takes Argilla's webhooks of responses.", "ArgillaEvent"),
        route("/v1/intake/label-studio", "Takes Label Studio's webhooks of annotations.", "LabelStudioEvent"),
    ]
}

fn browse() -> Vec<Route> {
    vec![
        get("/v1/lineage/{answer}", "browse", "Where an answer came from and what became of it.")
            .query("after", false, sequence())
            .json("The answer, versions published after it, and what was said of it.", "Lineage")
            .refuses(&[400, 404, 502]),
        get("/v1/questions", "browse", "Questions with their answers, newest first.")
            .query("before", false, sequence())
            .query("limit", false, count(1, 100))
            .query("search", false, text())
            .query("source", false, text())
            .json("A page of them; `next` is the `before` of the next page.", "Questions")
            .refuses(&[400, 502]),
        get("/v1/answers/{id}", "browse", "One answer with its question and what was said of it.")
            .json("The answer.", "Answer")
            .refuses(&[400, 404, 502]),
    ]
}

fn watch() -> Vec<Route> {
    let events = vec![("text/event-stream", text())];
    let kinds = json!({"enum": ["any", "stars", "thumb", "pair", "ranking"]});
    vec![
        get("/v1/events", "watch", "What happens in the loop, as server-sent events; an id a line, rising.")
            .header("Last-Event-ID", text())
            .replies(200, "Events from the one after Last-Event-ID on, as far as they are kept.", events),
        get("/v1/status", "watch", "How the daemon and its loop are doing now.").json("The status.", "Status"),
        get("/v1/history", "watch", "The loop's figures over time, and its rare events in words.")
            .json("The figures.", "History"),
        get("/v1/tasks/next", "tasks", "The most useful thing for an annotator to rate next.")
            .query("annotator", true, json!({"type": "string", "minLength": 1, "maxLength": 128}))
            .query("kind", false, kinds)
            .json("The task; the answers stand in random order and without what would give them away.", "Task")
            .replies(204, "Nothing is left for this annotator.", vec![])
            .refuses(&[400, 422, 502]),
        post("/v1/tasks/{task}/skip", "tasks", "Puts a task aside for this annotator.")
            .takes("Skip")
            .json("It is put aside.", "Skipped")
            .refuses(&[404, 422]),
    ]
}

fn operations() -> Vec<Route> {
    let order = |path, summary| {
        let done = "It is done, on disk; the stage as it is now.";
        post(path, "operations", summary).takes("StageOrder").json(done, "Stage").refuses(&[404, 409, 502, 504, 507])
    };
    let file = "The file.";
    let any = |media: &'static str| vec![(media, text())];
    let files = || {
        let media =
            ["text/javascript; charset=utf-8", "text/css; charset=utf-8", "image/svg+xml", "text/plain; charset=utf-8"];
        media.map(|media| (media, text())).into()
    };
    let same = "The browser has the same.";
    vec![
        get("/openapi.json", "operations", "This document.").json("The document.", "Anything"),
        post("/v1/reload", "operations", "Reads the configuration again, as SIGHUP does; admin only.")
            .json("What is in effect now, and what needs a restart.", "Reloaded")
            .refuses(&[409, 422]),
        get("/v1/stage", "operations", "Who serves people, and who may.").json("The stage.", "Stage"),
        order("/v1/stage/promote", "Puts a version on stage: this one, else the candidate; admin only."),
        order("/v1/stage/rollback", "Takes the candidate off, else goes back to the lead of before; admin only."),
        order("/v1/stage/pin", "Keeps a version on stage whatever comes; admin only."),
        order("/v1/stage/unpin", "Lets others come again; admin only."),
        get("/metrics", "operations", "Metrics in Prometheus' text format.").replies(
            200,
            "Metrics.",
            any("text/plain"),
        ),
        get("/healthz", "operations", "Whether the process answers.").json("It does.", "Health"),
        get("/version", "operations", "The program's version and the policy's.").json("Both.", "Version"),
        get("/readyz", "operations", "Whether it can take requests.").json("It can.", "Readiness").replies(
            503,
            "Not now; the reasons say why.",
            vec![("application/json", named("Readiness"))],
        ),
        get("/", "operations", "The page.").replies(200, file, any("text/html")).replies(304, same, vec![]),
        Route::new("HEAD", "/", "operations", "The page's headers.").replies(200, file, vec![]).replies(
            304,
            same,
            vec![],
        ),
        get("/assets/{file}", "operations", "A file of the page.")
            .rest()
            .replies(200, file, files())
            .replies(304, same, vec![])
            .refuses(&[404]),
        Route::new("HEAD", "/assets/{file}", "operations", "A file's headers.")
            .rest()
            .replies(200, file, vec![])
            .replies(304, same, vec![])
            .refuses(&[404]),
    ]
}
