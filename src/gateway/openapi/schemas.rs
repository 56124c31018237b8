//! The shapes that routes take and reply.
//!
//! Invariant: what a request's schema allows is checked again by the handler; what a reply's schema requires is always
//! there.

use serde_json::{Map, Value, json};

/// A reference to the schema of this name.
pub(super) fn named(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "required": required, "properties": properties})
}

/// An object with these fields and no others.
fn closed(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn integer() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn number() -> Value {
    json!({"type": "number"})
}

fn truth() -> Value {
    json!({"type": "boolean"})
}

fn or_null(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

/// An id of the client's own.
fn id() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 128})
}

/// All of them by name.
pub(super) fn all() -> Map<String, Value> {
    [errors(), chat(), given(), told(), intake(), operations()]
        .into_iter()
        .flatten()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

type Named = Vec<(&'static str, Value)>;

fn errors() -> Named {
    let problem = object(
        &["type", "title", "status", "detail", "code"],
        json!({
            "type": {"type": "string", "pattern": "^urn:understudy:problem:"},
            "title": text(),
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string", "description": "What is wrong, with which value, and what to do."},
            "code": {"type": "string", "description": "A stable word for programs."},
            "field": {"type": "string", "description": "The field to blame."},
            "retry_after": {"type": "integer", "description": "Seconds."},
        }),
    );
    let error = object(
        &["message", "type", "param", "code"],
        json!({"message": text(), "type": text(), "param": or_null(text()), "code": or_null(text())}),
    );
    vec![("Problem", problem), ("OpenAiError", object(&["error"], json!({"error": error})))]
}

fn chat() -> Named {
    let part = object(&["type"], json!({"type": {"const": "text"}, "text": text()}));
    let message = object(
        &["role", "content"],
        json!({
            "role": {"enum": ["system", "developer", "user", "assistant"]},
            "content": {"anyOf": [text(), list(part)]},
        }),
    );
    let stop = json!({"type": "string", "minLength": 1, "maxLength": 64});
    let stops = json!({"type": "array", "maxItems": 4, "items": stop});
    let request = object(
        &["messages"],
        json!({
            "messages": {"type": "array", "minItems": 1, "maxItems": 256, "items": message},
            "model": text(),
            "stream": truth(),
            "stream_options": object(&[], json!({"include_usage": truth()})),
            "n": {"type": "integer", "minimum": 1},
            "temperature": {"type": "number", "minimum": 0, "maximum": 2},
            "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "top_k": integer(),
            "min_p": {"type": "number", "minimum": 0, "maximum": 1},
            "repetition_penalty": {"type": "number", "minimum": 0.1, "maximum": 10},
            "max_tokens": {"type": "integer", "minimum": 1},
            "max_completion_tokens": {"type": "integer", "minimum": 1},
            "stop": {"anyOf": [stop, stops]},
            "seed": {"type": "integer", "format": "int64"},
            "logprobs": truth(),
        }),
    );
    let mut prompted = request.clone();
    prompted["required"] = json!(["prompt"]);
    if let Some(properties) = prompted["properties"].as_object_mut() {
        properties.remove("messages");
        properties.insert("prompt".to_owned(), json!({"type": "string", "minLength": 1}));
        properties.insert("logprobs".to_owned(), json!({"type": "integer", "minimum": 0, "maximum": 1}));
    }
    let texts = list(object(
        &["index", "text", "finish_reason", "answer_id", "completion_id"],
        json!({"index": integer(), "text": text(), "finish_reason": {"enum": ["stop", "length"]}}),
    ));
    let text_completion = object(
        &["id", "object", "created", "model", "choices", "usage"],
        json!({"id": text(), "object": {"const": "text_completion"}, "choices": texts}),
    );
    let choice = object(
        &["index", "message", "finish_reason", "answer_id", "completion_id"],
        json!({
            "index": integer(),
            "message": object(&["role", "content"], json!({"role": {"const": "assistant"}, "content": text()})),
            "finish_reason": {"enum": ["stop", "length"]},
            "answer_id": integer(),
            "completion_id": text(),
            "abstained": {"type": "boolean", "description": "The answer was kept back; only where answers are judged."},
            "judged": or_null(object(&["best_of", "score", "std", "why"], json!({"score": number(), "std": number()}))),
        }),
    );
    let completion = object(
        &["id", "object", "created", "model", "choices", "usage"],
        json!({
            "id": text(),
            "object": {"const": "chat.completion"},
            "created": integer(),
            "model": text(),
            "system_fingerprint": text(),
            "choices": list(choice),
            "usage": object(&["prompt_tokens", "completion_tokens", "total_tokens"], json!({})),
        }),
    );
    let model = object(&["id", "object"], json!({"id": text(), "object": {"const": "model"}}));
    let models = object(&["object", "data"], json!({"object": {"const": "list"}, "data": list(named("Model"))}));
    vec![
        ("CompletionRequest", prompted),
        ("TextCompletion", text_completion),
        ("ChatRequest", request),
        ("ChatCompletion", completion),
        ("Model", model),
        ("Models", models),
    ]
}

/// What people say, as it is sent.
fn given() -> Named {
    let answer = json!({
        "description": "An answer_id, or a completion_id.",
        "anyOf": [{"type": "integer", "minimum": 0, "format": "int64"}, {"type": "string", "minLength": 1}],
    });
    let said = |kind: &str, required: &[&str], own: Value| {
        let mut properties = json!({
            "id": id(),
            "annotator": id(),
            "at": {"type": "integer", "format": "int64", "description": "Milliseconds since the Unix epoch."},
            "kind": {"const": kind},
            "why": {"type": "string", "maxLength": 2048, "description": "In the annotator's own words, at most 2048 bytes."},
        });
        if let (Value::Object(all), Value::Object(own)) = (&mut properties, own) {
            all.extend(own);
        }
        let required: Vec<&str> = std::iter::once("kind").chain(required.iter().copied()).collect();
        closed(&required, properties)
    };
    let of = |mut own: Value| {
        own["answer"] = answer.clone();
        own["completion_id"] = text();
        own
    };
    let level = json!({"anyOf": [answer, {"type": "array", "minItems": 1, "items": answer}]});
    let kinds = [
        said("stars", &["stars"], of(json!({"stars": {"type": "integer", "minimum": 1, "maximum": 5}}))),
        said("thumb", &["up"], of(json!({"up": truth()}))),
        said("score", &["value", "min", "max"], of(json!({"value": number(), "min": number(), "max": number()}))),
        said(
            "pair",
            &["better", "worse"],
            json!({
                "better": answer,
                "worse": answer,
                "strength": {"type": "number", "exclusiveMinimum": 0, "maximum": 10},
            }),
        ),
        said("ranking", &["levels"], json!({"levels": {"type": "array", "minItems": 1, "items": level}})),
        said("edit", &["text"], of(json!({"text": {"type": "string", "minLength": 1}}))),
        said("flag", &["reason"], of(json!({"reason": text()}))),
        said(
            "steps",
            &["marks"],
            of(json!({"marks": {"type": "array", "minItems": 1, "maxItems": 64, "items": or_null(truth())}})),
        ),
        said("retract", &["feedback"], json!({"feedback": id()})),
    ];
    let items = json!({"type": "array", "minItems": 1, "maxItems": 256, "items": {"type": "object"}});
    vec![
        ("FeedbackGiven", json!({"oneOf": kinds})),
        ("FeedbackBatch", closed(&["items"], json!({"items": items}))),
        ("Retraction", closed(&["annotator"], json!({"annotator": id()}))),
    ]
}

/// What people said, as it is told.
fn told() -> Named {
    let seq = json!({"type": "integer", "minimum": 1});
    let next = or_null(integer());
    let feedback = object(
        &["id", "annotator", "at", "kind"],
        json!({"id": text(), "annotator": text(), "at": {"type": "integer"}, "kind": text(), "why": text()}),
    );
    let by = object(&["id", "seq", "heard"], json!({"id": text(), "seq": seq, "heard": truth()}));
    let event = object(
        &["seq", "heard", "taken_back", "feedback"],
        json!({
            "seq": seq,
            "heard": {"type": "boolean", "description": "Whether the reward model has heard it."},
            "taken_back": or_null(by),
            "feedback": feedback,
        }),
    );
    let events = list(named("FeedbackEvent"));
    let taken = object(&["id", "seq", "duplicate"], json!({"id": text(), "seq": seq, "duplicate": truth()}));
    let refused = object(&["id", "problem"], json!({"problem": named("Problem")}));
    let outcomes = list(json!({"anyOf": [named("Taken"), refused]}));
    let version = json!({"seq": seq, "version": integer()});
    let span = json!({"start": integer(), "version": integer()});
    let lineage = object(
        &[
            "answer",
            "completion_id",
            "seq",
            "group",
            "question",
            "text",
            "tokens",
            "finish",
            "spans",
            "sampling",
            "published",
            "published_next",
            "feedback",
            "feedback_next",
            "reward_heard_up_to",
        ],
        json!({
            "answer": integer(),
            "completion_id": text(),
            "seq": seq,
            "group": integer(),
            "question": {"type": "object"},
            "text": text(),
            "tokens": integer(),
            "finish": {"enum": ["stop", "length"]},
            "spans": list(object(&["start", "version"], span)),
            "sampling": {"type": "object"},
            "published": list(object(&["seq", "version"], version)),
            "published_next": next,
            "feedback": events,
            "feedback_next": next,
            "reward_heard_up_to": integer(),
        }),
    );
    vec![
        ("Taken", taken),
        ("FeedbackOutcomes", object(&["items"], json!({"items": outcomes}))),
        ("FeedbackEvent", event),
        (
            "FeedbackList",
            object(&["items", "next", "complete"], json!({"items": events, "next": next, "complete": truth()})),
        ),
        ("Lineage", lineage),
    ]
}

/// Webhooks of annotation tools, as far as they matter here.
fn intake() -> Named {
    let ids = "Names its answers: `answer` or `completion_id` (one), `answers` or `completion_ids` (a list in the order \
               shown, an object by the names that the tool shows, or text with commas).";
    let item = json!({"type": "object", "description": ids});
    let record =
        object(&[], json!({"metadata": or_null(item.clone()), "fields": or_null(item.clone()), "external_id": {}}));
    let response = json!({"id": {}, "status": {}, "values": {}, "record": record, "user": {}, "updated_at": {}});
    let argilla = object(&["type"], json!({"type": text(), "data": object(&[], response)}));
    let task = object(&[], json!({"data": item}));
    let studio = json!({"action": text(), "annotation": {}, "annotations": {}, "task": {"anyOf": [task, list(task.clone()), {"type": "null"}]}, "project": {}});
    let back = object(&["id", "seq"], json!({"id": text(), "seq": integer()}));
    let ignored = object(&["what", "why"], json!({"what": text(), "why": text()}));
    let taken = object(
        &["given", "taken_back", "ignored"],
        json!({"given": list(named("Taken")), "taken_back": list(back), "ignored": list(ignored)}),
    );
    vec![("ArgillaEvent", argilla), ("LabelStudioEvent", object(&["action"], studio)), ("IntakeTaken", taken)]
}

fn operations() -> Named {
    let question = object(
        &["id", "group", "title", "body", "html", "source", "asked_ms"],
        json!({"group": integer(), "terms": or_null(text())}),
    );
    let answer = object(
        &["answer", "text", "html", "version", "spans", "finish", "tokens", "score", "score_std", "ratings"],
        json!({"answer": integer(), "text": text(), "version": integer(), "tokens": integer(), "ratings": integer()}),
    );
    let shown = object(&["answer", "label", "html", "text"], json!({"answer": integer(), "label": text()}));
    let task = object(
        &["task", "kind", "question", "answers", "blind", "waiting"],
        json!({
            "task": text(),
            "kind": {"enum": ["stars", "thumb", "pair", "ranking"]},
            "question": named("Question"),
            "answers": list(shown),
            "blind": truth(),
            "waiting": integer(),
        }),
    );
    let questions = object(&["items", "next"], json!({"items": list(named("Question")), "next": or_null(integer())}));
    let program = object(&["version", "model", "started_ms", "uptime_s"], json!({"uptime_s": number()}));
    let history = object(
        &["series", "timeline"],
        json!({"series": {"type": "object"}, "timeline": list(object(&["t_ms", "kind", "text"], json!({})))}),
    );
    let version = object(&["version", "policy_version"], json!({"version": text(), "policy_version": integer()}));
    let readiness =
        json!({"ready": truth(), "reasons": list(text()), "notes": list(text()), "policy_version": integer()});
    let one = object(
        &["version", "kl", "entropy", "breach"],
        json!({"version": integer(), "kl": or_null(number()), "entropy": or_null(number()), "breach": or_null(text())}),
    );
    let stage = object(
        &["mode", "lead", "candidate", "pinned", "before", "waiting", "last_change"],
        json!({
            "mode": {"enum": ["direct", "guarded"]},
            "lead": one,
            "candidate": or_null(object(&["version", "share", "answers", "comparisons", "win_rate"], json!({}))),
            "pinned": truth(),
            "before": list(one.clone()),
            "waiting": list(one.clone()),
            "last_change": or_null(text()),
        }),
    );
    let order = json!({"version": or_null(integer())});
    vec![
        ("Stage", stage),
        ("StageOrder", closed(&[], order)),
        ("Question", question),
        ("Questions", questions),
        ("Answer", answer),
        ("Task", task),
        ("Skip", closed(&["annotator"], json!({"annotator": id()}))),
        (
            "Reloaded",
            object(&["changed", "needs_restart"], json!({"changed": list(text()), "needs_restart": list(text())})),
        ),
        ("Skipped", object(&["task", "skipped"], json!({"task": text(), "skipped": truth()}))),
        ("Status", object(&["program"], json!({"program": program}))),
        ("History", history),
        ("Version", version),
        ("Anything", json!({"type": "object"})),
        ("Health", object(&["status"], json!({"status": {"const": "ok"}}))),
        ("Readiness", object(&["ready", "reasons", "notes"], readiness)),
    ]
}
