//! Label Studio's webhooks of annotations, read as what was said of answers.
//!
//! Invariant: a pure function of the body. `task.data` names the answers (see `item`); a control's `toName` or name tells
//! which of several it is about. Ratings take their scale and rankers the order of their buckets from the project's
//! labelling configuration, which the body carries.

use quick_xml::events::Event;
use quick_xml::reader::Reader;
use serde_json::{Map, Value};
use understudy_learning::stages::{AnswerId, FeedbackKind};

use super::item::{self, Named, Purpose, field, graded, purpose, shown, wrong};
use super::{Annotation, Ignored, Said, What};
use crate::gateway::ApiError;
use crate::gateway::recent::Recent;

/// Most annotations of one body.
const MOST_ANNOTATIONS: usize = 64;

/// Most buckets of one ranker.
const MOST_BUCKETS: usize = 64;

/// The annotations of a body, and what of it says nothing here.
pub(super) fn read(body: &Map<String, Value>, recent: &Recent) -> Result<(Vec<Annotation>, Vec<Ignored>), ApiError> {
    let action = body.get("action").and_then(Value::as_str);
    let action = action.ok_or_else(|| wrong("action", "missing", "send Label Studio's webhook as it is"))?;
    let mut ignored = Vec::new();
    let annotations = match action {
        "ANNOTATION_CREATED" | "ANNOTATION_UPDATED" | "ANNOTATIONS_CREATED" => {
            let config = Config::read(body.get("project").and_then(|project| project["label_config"].as_str()));
            let tasks = each(body.get("task"));
            let annotations = each(body.get("annotation"));
            if annotations.is_empty() || annotations.len() > MOST_ANNOTATIONS {
                let given = format!("{} annotations long", annotations.len());
                return Err(wrong("annotation", &given, "send 1 to 64, and let the webhook send its payload"));
            }
            let one = |(place, annotation): (usize, &&Value)| {
                // A nested task comes beside the annotation, or within it where many are sent.
                let task = tasks.get(place).or(tasks.first()).copied();
                let task = task.or(field(annotation, "task").filter(|task| task.is_object()));
                said(annotation, task, &config, recent, &mut ignored)
            };
            annotations.iter().enumerate().map(one).collect::<Result<_, _>>()?
        }
        "ANNOTATION_DELETED" | "ANNOTATIONS_DELETED" => {
            let gone = ["annotations", "annotation"].into_iter().flat_map(|key| each(body.get(key)));
            let ids: Vec<&Value> = gone.filter_map(|gone| field(gone, "id")).chain(body.get("id")).collect();
            if ids.is_empty() {
                return Err(wrong("annotations", "missing", "let the webhook send its payload"));
            }
            let gone = |id| named(id).map(|id| Annotation { id, what: What::Deleted });
            ids.into_iter().map(gone).collect::<Result<_, _>>()?
        }
        _ => {
            ignored.push(Ignored::new(action, "it is no event of an annotation"));
            Vec::new()
        }
    };
    Ok((annotations, ignored))
}

fn each(value: Option<&Value>) -> Vec<&Value> {
    match value {
        Some(Value::Array(values)) => values.iter().collect(),
        Some(value) if !value.is_null() => vec![value],
        _ => Vec::new(),
    }
}

/// An annotation's id: a whole number.
fn named(id: &Value) -> Result<String, ApiError> {
    let text = id.as_u64().map(|id| id.to_string()).or(id.as_str().map(str::to_owned)).unwrap_or_default();
    match !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(text),
        false => Err(wrong("annotation.id", &shown(id), "give the annotation's number")),
    }
}

fn said(
    annotation: &Value,
    task: Option<&Value>,
    config: &Config,
    recent: &Recent,
    ignored: &mut Vec<Ignored>,
) -> Result<Annotation, ApiError> {
    let id = named(&annotation["id"])?;
    let at = field(annotation, "updated_at").or(field(annotation, "created_at"));
    let mut said = Said {
        annotator: user(field(annotation, "completed_by")),
        ..Said::at(item::time("annotation.updated_at", at)?)
    };
    if annotation["was_cancelled"] == true {
        ignored.push(Ignored::new(
            &format!("annotation {id}"),
            "the task was skipped: what was said before is taken back",
        ));
        return Ok(Annotation { id, what: What::Said(said) });
    }
    let data = task.and_then(|task| field(task, "data"));
    let named =
        Named::read(&[("task.data", data), ("task.meta", task.and_then(|task| field(task, "meta")))], None, recent)?;
    let results = annotation["result"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (number, result) in results.iter().enumerate() {
        let path = format!("annotation.result[{number}]");
        let reading = Reading { path: &path, result, named: &named, config, data };
        match reading.take(&mut said)? {
            None => {}
            Some(why) => ignored.push(Ignored::new(&path, why)),
        }
    }
    said.refuse_nameless(named.is_empty(), ignored.len(), "task.data.answer")?;
    Ok(Annotation { id, what: What::Said(said) })
}

/// Who annotated; Label Studio tells a number, or an object that holds one.
fn user(by: Option<&Value>) -> String {
    let plain = |value: &Value| value.as_u64().map(|id| id.to_string()).or(value.as_str().map(str::to_owned));
    let known = by.and_then(|by| plain(by).or_else(|| plain(field(by, "id")?)));
    known.unwrap_or_else(|| "unknown".to_owned())
}

/// One entry of `annotation.result`.
struct Reading<'a> {
    path: &'a str,
    result: &'a Value,
    named: &'a Named<'a>,
    config: &'a Config,
    data: Option<&'a Value>,
}

impl Reading<'_> {
    /// Adds what it says; why it says nothing, otherwise.
    fn take(&self, said: &mut Said) -> Result<Option<&'static str>, ApiError> {
        let value = &self.result["value"];
        let name = self.result["from_name"].as_str().unwrap_or_default();
        let about = || self.named.about(&[self.result["to_name"].as_str().unwrap_or_default(), name]);
        const WHICH: Option<&str> = Some("it does not say which answer it means");
        match self.result["type"].as_str().unwrap_or_default() {
            "rating" => {
                let Some(answer) = about() else { return Ok(WHICH) };
                let path = format!("{}.value.rating", self.path);
                let max = self.config.ratings.iter().find(|(rating, _)| rating == name).map_or(5.0, |(_, max)| *max);
                said.kinds.push(graded(&path, answer, &value["rating"], 1.0, max)?);
            }
            "choices" => {
                let words = texts(&value["choices"]);
                if purpose(name) == Some(Purpose::Flag) {
                    let Some(answer) = about() else { return Ok(WHICH) };
                    said.flag(answer, words.join(", "));
                } else {
                    let names = [self.result["to_name"].as_str().unwrap_or_default(), name];
                    let [word] = words.as_slice() else { return Ok(Some("it is not one choice")) };
                    let Some(kinds) = self.named.chosen(word, &names) else {
                        return Ok(Some("its word is not known here, or it does not say which answer it means"));
                    };
                    said.kinds.extend(kinds);
                }
            }
            "textarea" => {
                let text = texts(&value["text"]).join("\n");
                match purpose(name) {
                    Some(Purpose::Why) => said.because(text),
                    Some(Purpose::Edit) => {
                        let Some(answer) = about() else { return Ok(WHICH) };
                        said.edit(answer, text);
                    }
                    Some(Purpose::Flag) => {
                        let Some(answer) = about() else { return Ok(WHICH) };
                        said.flag(answer, text);
                    }
                    None => return Ok(Some("its name does not say what the text is for: why, edit or flag")),
                }
            }
            "pairwise" => return self.pair(said),
            "ranker" => return self.ranking(said),
            _ => return Ok(Some("results of this type say nothing of answers")),
        }
        Ok(None)
    }

    fn pair(&self, said: &mut Said) -> Result<Option<&'static str>, ApiError> {
        let path = format!("{}.value.selected", self.path);
        let side = field(&self.result["value"], "selected").or(field(&self.result["value"], "pairwise"));
        let names: Vec<&str> = self.result["to_name"].as_str().unwrap_or_default().split(',').collect();
        // The order of `toName` is that of the sides.
        let at = |place: usize, word: &str| {
            let own = names.get(place).filter(|_| names.len() == 2).and_then(|name| self.named.called(name));
            own.or_else(|| self.named.called(word))
        };
        let (Some(left), Some(right)) = (at(0, "left"), at(1, "right")) else {
            return Err(wrong("task.data.answers", "not naming two answers", "name the left one and the right one"));
        };
        let (better, worse) = match side.and_then(Value::as_str) {
            Some("left") => (left, right),
            Some("right") => (right, left),
            Some("none") | None => return Ok(Some("neither side was selected")),
            Some(other) => return Err(wrong(&path, &format!("'{other}'"), "give left or right")),
        };
        said.kinds.push(FeedbackKind::Pair { better, worse, strength: 1.0 });
        Ok(None)
    }

    fn ranking(&self, said: &mut Said) -> Result<Option<&'static str>, ApiError> {
        let path = format!("{}.value.ranker", self.path);
        let answer = |item: &Value| {
            let text = item.as_str().map(str::to_owned).or(item.as_u64().map(|id| id.to_string()));
            let id = text.and_then(|text| self.named.called(&text));
            id.ok_or_else(|| wrong(&path, &shown(item), "name the items of the list by answer_id or completion_id"))
        };
        let together = |items: &Value| each(Some(items)).into_iter().map(answer).collect::<Result<Vec<_>, _>>();
        let apart = |items: &Value| each(Some(items)).into_iter().map(together).collect::<Result<Vec<_>, _>>();
        let ranker = &self.result["value"]["ranker"];
        let levels: Vec<Vec<AnswerId>> = match ranker {
            Value::Array(_) => apart(ranker)?,
            Value::Object(buckets) => {
                // What was not moved to a bucket is kept under an underscore.
                let names: Vec<&String> = buckets.keys().filter(|name| *name != "_").collect();
                match names.as_slice() {
                    [only] if self.result["from_name"] == **only => apart(&buckets[*only])?,
                    _ => {
                        let order = self.order(&names)?;
                        order.iter().map(|name| together(&buckets[*name])).collect::<Result<_, _>>()?
                    }
                }
            }
            other => return Err(wrong(&path, &shown(other), "give a list of items or buckets of them")),
        };
        let levels: Vec<Vec<AnswerId>> = levels.into_iter().filter(|level| !level.is_empty()).collect();
        if levels.iter().map(Vec::len).sum::<usize>() < 2 {
            return Ok(Some("fewer than two items are ranked"));
        }
        said.kinds.push(FeedbackKind::Ranking { levels });
        Ok(None)
    }

    /// The buckets' names from best to worst: as `task.data.buckets` lists them, else as the configuration does. Their
    /// order in the body is that of a database.
    fn order<'n>(&self, names: &[&'n String]) -> Result<Vec<&'n String>, ApiError> {
        if names.len() > MOST_BUCKETS {
            return Err(wrong("task.data.buckets", &format!("{} names long", names.len()), "use at most 64 buckets"));
        }
        let own = self.data.and_then(|data| field(data, "buckets")).map(texts);
        let known = own.as_ref().unwrap_or(&self.config.buckets);
        let order: Vec<&String> =
            known.iter().filter_map(|bucket| names.iter().copied().find(|name| *name == bucket)).collect();
        match order.len() == names.len() {
            true => Ok(order),
            false => Err(wrong("task.data.buckets", "not naming all buckets", "list them from best to worst")),
        }
    }
}

/// A text, or the texts of a list.
fn texts(value: &Value) -> Vec<String> {
    each(Some(value)).into_iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What of a project's labelling configuration matters here.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Config {
    /// Best values of the ratings, by name.
    ratings: Vec<(String, f64)>,
    /// Names of buckets in order, best first.
    buckets: Vec<String>,
}

impl Config {
    /// Reads the configuration as far as it is well-formed.
    pub(super) fn read(xml: Option<&str>) -> Self {
        let mut config = Self::default();
        let mut reader = Reader::from_str(xml.unwrap_or_default());
        while let Ok(event) = reader.read_event() {
            let (Event::Start(tag) | Event::Empty(tag)) = event else {
                if matches!(event, Event::Eof) {
                    break;
                }
                continue;
            };
            let attribute = |wanted: &str| {
                let found = tag.attributes().take(64).flatten().find(|attribute| attribute.key.as_ref() == wanted);
                found.map(|attribute| attribute.value.to_string())
            };
            match (tag.name().as_ref(), attribute("name")) {
                ("Rating", Some(name)) => {
                    let max = attribute("maxRating").and_then(|max| max.parse().ok()).unwrap_or(5.0);
                    config.ratings.push((name, max));
                }
                ("Bucket", Some(name)) => config.buckets.push(name),
                _ => {}
            }
        }
        config
    }
}
