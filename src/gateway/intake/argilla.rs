//! Argilla's webhooks of responses, read as what was said of answers.
//!
//! Invariant: a pure function of the body. The record's metadata, else its fields, name the answers (see `item`), else its
//! `external_id` does; a question's name tells which of several it is about. Scales come from the dataset's questions,
//! which the body carries.

use serde_json::{Map, Value};
use understudy_learning::stages::{AnswerId, FeedbackKind};

use super::item::{self, Named, Purpose, field, graded, purpose, shown, wrong};
use super::{Annotation, Ignored, Said, What};
use crate::gateway::ApiError;
use crate::gateway::recent::Recent;

/// The response of a body, and what of it says nothing here.
pub(super) fn read(body: &Map<String, Value>, recent: &Recent) -> Result<(Vec<Annotation>, Vec<Ignored>), ApiError> {
    let event = body.get("type").and_then(Value::as_str);
    let event = event.ok_or_else(|| wrong("type", "missing", "send Argilla's webhook as it is"))?;
    let mut ignored = Vec::new();
    let what = match event {
        "response.created" | "response.updated" => {
            let data = item::object(body, "data", "send Argilla's webhook as it is")?;
            What::Said(said(data, recent, &mut ignored)?)
        }
        "response.deleted" => What::Deleted,
        _ => return Ok((Vec::new(), vec![Ignored::new(event, "it is no event of a response")])),
    };
    let id = body.get("data").and_then(|data| field(data, "id"));
    let id = id.and_then(Value::as_str).filter(|id| {
        (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    let id = id.ok_or_else(|| wrong("data.id", "missing or no UUID", "send Argilla's webhook as it is"))?;
    Ok((vec![Annotation { id: id.to_owned(), what }], ignored))
}

fn said(data: &Value, recent: &Recent, ignored: &mut Vec<Ignored>) -> Result<Said, ApiError> {
    let at = field(data, "updated_at").or(field(data, "inserted_at"));
    let user = &data["user"];
    let user = field(user, "username").or(field(user, "id")).and_then(Value::as_str).unwrap_or("unknown").to_owned();
    let mut said = Said { annotator: user, ..Said::at(item::time("data.updated_at", at)?) };
    if data["status"] != "submitted" {
        let status = data["status"].as_str().unwrap_or("unknown");
        ignored.push(Ignored::new(status, "only a submitted response counts: what was said before is taken back"));
        return Ok(said);
    }
    let record = &data["record"];
    let places = [
        ("data.record.metadata", field(record, "metadata").or(field(record, "metadata_"))),
        ("data.record.fields", field(record, "fields")),
    ];
    let named = Named::read(&places, field(record, "external_id").and_then(Value::as_str), recent)?;
    let questions = record["dataset"]["questions"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (name, value) in data["values"].as_object().into_iter().flatten() {
        let path = format!("data.values.{name}.value");
        let settings = questions.iter().find(|question| question["name"] == **name).map(|found| &found["settings"]);
        let Some(settings) = settings else {
            ignored.push(Ignored::new(name, "the dataset has no question of this name"));
            continue;
        };
        if let Some(why) = take(&path, name, &value["value"], settings, &named, &mut said)? {
            ignored.push(Ignored::new(name, why));
        }
    }
    said.refuse_nameless(named.is_empty(), ignored.len(), "data.record.metadata.answer")?;
    Ok(said)
}

/// Adds what the value of one question says; why it says nothing, otherwise.
fn take(
    path: &str,
    name: &str,
    value: &Value,
    settings: &Value,
    named: &Named<'_>,
    said: &mut Said,
) -> Result<Option<&'static str>, ApiError> {
    const WHICH: Option<&str> = Some("it does not say which answer it means");
    let words = || match value {
        Value::Array(words) => words.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>(),
        word => word.as_str().map(str::to_owned).into_iter().collect(),
    };
    match settings["type"].as_str().unwrap_or_default() {
        "rating" => {
            let Some(answer) = named.about(&[name]) else { return Ok(WHICH) };
            let options = settings["options"].as_array().map(Vec::as_slice).unwrap_or_default();
            let scale: Vec<f64> = options.iter().filter_map(|option| option["value"].as_f64()).collect();
            let ends = scale.iter().copied().reduce(f64::min).zip(scale.iter().copied().reduce(f64::max));
            let Some((min, max)) = ends else { return Ok(Some("the question has no scale")) };
            said.kinds.push(graded(path, answer, value, min, max)?);
        }
        "label_selection" | "multi_label_selection" => {
            let words = words();
            if purpose(name) == Some(Purpose::Flag) {
                let Some(answer) = named.about(&[name]) else { return Ok(WHICH) };
                said.flag(answer, words.join(", "));
                return Ok(None);
            }
            let [word] = words.as_slice() else { return Ok(Some("it is not one label")) };
            let Some(kinds) = named.chosen(word, &[name]) else {
                return Ok(Some("its label is not known here, or it does not say which answer it means"));
            };
            said.kinds.extend(kinds);
        }
        "ranking" => {
            let mut ranked = Vec::new();
            for option in value.as_array().map(Vec::as_slice).unwrap_or_default() {
                // An option that was left out of the ranking has no rank.
                let Some(rank) = option["rank"].as_u64() else { continue };
                let answer = option["value"].as_str().and_then(|option| named.called(option));
                let remedy = "name the record's answers in the order of the options, or by them";
                ranked.push((rank, answer.ok_or_else(|| wrong(path, &shown(option), remedy))?));
            }
            if ranked.len() < 2 {
                return Ok(Some("fewer than two options are ranked"));
            }
            ranked.sort_by_key(|(rank, _)| *rank);
            let levels = ranked.chunk_by(|a, b| a.0 == b.0);
            let levels = levels.map(|level| level.iter().map(|(_, answer)| *answer).collect::<Vec<AnswerId>>());
            said.kinds.push(FeedbackKind::Ranking { levels: levels.collect() });
        }
        "text" => {
            let text = value.as_str().unwrap_or_default().to_owned();
            match purpose(name) {
                Some(Purpose::Why) => said.because(text),
                Some(Purpose::Edit) => {
                    let Some(answer) = named.about(&[name]) else { return Ok(WHICH) };
                    said.edit(answer, text);
                }
                Some(Purpose::Flag) => {
                    let Some(answer) = named.about(&[name]) else { return Ok(WHICH) };
                    said.flag(answer, text);
                }
                None => return Ok(Some("its name does not say what the text is for: why, edit or flag")),
            }
        }
        _ => return Ok(Some("questions of this type say nothing of answers")),
    }
    Ok(None)
}
