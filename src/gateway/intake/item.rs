//! Which of our answers an annotated item holds, and what the words of an annotation mean for them.
//!
//! Invariant: nothing is guessed. An item names answers as `answer` or `completion_id` (one), or as `answers` or
//! `completion_ids` (a list in the order shown, an object by the names that the tool shows, or text with commas); what
//! does not say which answer it means yields nothing.

use actix_web::http::StatusCode;
use serde_json::{Map, Value};
use understudy_learning::stages::{AnswerId, FeedbackKind};

use crate::gateway::ApiError;
use crate::gateway::feedback::answer_named;
use crate::gateway::recent::Recent;
use crate::sources::stack_exchange::date;

/// Most answers of one item.
const MOST_ANSWERS: usize = 64;
/// Words before a number that is an answer's place: `response-2`. Others may be names with a number in them.
const PLACES: [&str; 10] =
    ["response", "answer", "completion", "candidate", "option", "output", "reply", "text", "txt", "item"];

/// The answers of one item, in the order in which they are shown.
pub(super) struct Named<'a> {
    answers: Vec<(Option<String>, AnswerId)>,
    recent: &'a Recent,
}

/// A refusal that names the field, its value and the remedy.
pub(super) fn wrong(field: &str, value: &str, remedy: &str) -> ApiError {
    let message = format!("{field} is {value}; {remedy}");
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_annotation", Some(field), message)
}

impl<'a> Named<'a> {
    /// The answers that the first of these places names; each is an object with its path in the body. Text that is no id
    /// may stand under `answer`, as an answer's own text does: then another place counts, at last the id `own` of the item.
    /// None named is no error here: what was said may name them itself.
    pub(super) fn read(
        places: &[(&str, Option<&Value>)],
        own: Option<&str>,
        recent: &'a Recent,
    ) -> Result<Self, ApiError> {
        let mut refused = None;
        for (path, place) in places {
            let Some(place) = place.and_then(Value::as_object) else { continue };
            for key in ["completion_ids", "completion_id", "answers", "answer"] {
                let Some(value) = place.get(key).filter(|value| !value.is_null()) else { continue };
                match listed(&format!("{path}.{key}"), value, recent) {
                    Ok(answers) => return Ok(Self { answers, recent }),
                    Err(error) if key.starts_with("completion") => return Err(error),
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
        }
        match (own.and_then(|own| answer_named(own, recent)), refused) {
            (Some(answer), _) => Ok(Self { answers: vec![(None, answer)], recent }),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(Self { answers: Vec::new(), recent }),
        }
    }

    /// Whether the item names none.
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    fn all(&self) -> Vec<AnswerId> {
        self.answers.iter().map(|(_, answer)| *answer).collect()
    }

    /// The answer that the tool calls `name`: by a name of the item's own, by our id, as `left` or `right`, by a letter,
    /// or by its place (`response-2` is the second).
    pub(super) fn called(&self, name: &str) -> Option<AnswerId> {
        self.found(name, |stem| PLACES.contains(&stem))
    }

    fn found(&self, name: &str, may_be_place: impl Fn(&str) -> bool) -> Option<AnswerId> {
        let name = name.trim();
        if let Some((_, answer)) = self.answers.iter().find(|(own, _)| own.as_deref() == Some(name)) {
            return Some(*answer);
        }
        if let Some(id) = answer_named(name, self.recent) {
            return (self.is_empty() || self.all().contains(&id)).then_some(id);
        }
        let lower = name.to_ascii_lowercase();
        let place = match lower.as_bytes() {
            b"left" | b"first" => 0,
            b"right" | b"second" => 1,
            [letter @ b'a'..=b'z'] => usize::from(letter - b'a'),
            _ => {
                let (stem, number) =
                    lower.split_at(lower.trim_end_matches(|letter: char| letter.is_ascii_digit()).len());
                let number =
                    number.parse::<usize>().ok().filter(|_| may_be_place(stem.trim_end_matches(['-', '_', ' '])));
                number?.checked_sub(1)?
            }
        };
        self.answers.get(place).map(|(_, answer)| *answer)
    }

    /// The answer that something said under these names is about: the only one, or the one that a name tells, be it by a
    /// number at its end (`quality-2`).
    pub(super) fn about(&self, names: &[&str]) -> Option<AnswerId> {
        match self.answers.as_slice() {
            [(_, only)] => Some(*only),
            _ => names.iter().find_map(|name| self.found(name, |_| true)),
        }
    }

    /// That this answer is better than all others; `None` where there are none.
    fn best(&self, best: AnswerId) -> Option<FeedbackKind> {
        let others: Vec<AnswerId> = self.all().into_iter().filter(|answer| *answer != best).collect();
        match others.as_slice() {
            [] => None,
            [worse] => Some(FeedbackKind::Pair { better: best, worse: *worse, strength: 1.0 }),
            _ => Some(FeedbackKind::Ranking { levels: vec![vec![best], others] }),
        }
    }

    /// What choosing `word` says; `names` tell which answer it is about. `None` where the word or the answer is not
    /// known.
    pub(super) fn chosen(&self, word: &str, names: &[&str]) -> Option<Vec<FeedbackKind>> {
        let plain = word.trim().to_lowercase().replace([' ', '-'], "_");
        let thumb = |answer, up| FeedbackKind::Thumb { answer, up };
        let all =
            |up| Some(self.all().into_iter().map(|answer| thumb(answer, up)).collect()).filter(|_| !self.is_empty());
        match plain.as_str() {
            "up" | "good" | "yes" | "like" | "thumb_up" | "thumbs_up" | "helpful" | "correct" | "accept"
            | "positive" | "👍" => Some(vec![thumb(self.about(names)?, true)]),
            "down" | "bad" | "no" | "dislike" | "thumb_down" | "thumbs_down" | "unhelpful" | "incorrect" | "reject"
            | "negative" | "👎" => Some(vec![thumb(self.about(names)?, false)]),
            "tie" | "equal" | "same" if self.answers.len() > 1 => {
                Some(vec![FeedbackKind::Ranking { levels: vec![self.all()] }])
            }
            // Neither is a tie: each is said to be good or bad in itself.
            "both_good" | "all_good" => all(true),
            "both_bad" | "all_bad" | "neither" => all(false),
            _ => Some(vec![self.best(self.called(word)?)?]),
        }
    }
}

fn listed(path: &str, value: &Value, recent: &Recent) -> Result<Vec<(Option<String>, AnswerId)>, ApiError> {
    let one = |value: &Value| {
        let id = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => answer_named(text.trim(), recent),
            _ => None,
        };
        id.ok_or_else(|| wrong(path, &shown(value), "give answer_ids or completion_ids from choices of this daemon"))
    };
    let length = match value {
        Value::Array(values) => values.len(),
        Value::Object(values) => values.len(),
        value => value.as_str().map_or(1, |text| text.split(',').count()),
    };
    if !(1..=MOST_ANSWERS).contains(&length) {
        return Err(wrong(path, &format!("{length} answers long"), "name 1 to 64 answers"));
    }
    let answers: Result<Vec<_>, ApiError> = match value {
        Value::Array(values) => values.iter().map(|value| Ok((None, one(value)?))).collect(),
        Value::Object(values) => values.iter().map(|(name, value)| Ok((Some(name.clone()), one(value)?))).collect(),
        Value::String(text) => text.split(',').map(|text| Ok((None, one(&Value::from(text))?))).collect(),
        value => one(value).map(|id| vec![(None, id)]),
    };
    answers
}

/// A grade on a scale of whole numbers; 1 to 5 are stars.
pub(super) fn graded(
    path: &str,
    answer: AnswerId,
    value: &Value,
    min: f64,
    max: f64,
) -> Result<FeedbackKind, ApiError> {
    let remedy = format!("give a number from {min} to {max}");
    let number = value.as_f64().filter(|number| min < max && (min..=max).contains(number));
    let number = number.ok_or_else(|| wrong(path, &shown(value), &remedy))?;
    Ok(match (min, max) {
        (1.0, 5.0) if number.fract() == 0.0 => FeedbackKind::Stars { answer, stars: number as u8 },
        _ => FeedbackKind::Score { answer, value: number, min, max },
    })
}

/// What a field of text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The annotator's reason.
    Why,
    /// What the answer should have been.
    Edit,
    /// What is wrong with it.
    Flag,
}

/// The purpose that a question's or control's name tells; a number at its end tells an answer.
pub(super) fn purpose(name: &str) -> Option<Purpose> {
    match stem(&name.to_lowercase()) {
        "why" | "reason" | "comment" | "comments" | "explanation" | "rationale" => Some(Purpose::Why),
        "edit" | "edited" | "correction" | "corrected" | "rewrite" | "improved" => Some(Purpose::Edit),
        "flag" | "flags" | "problem" | "report" => Some(Purpose::Flag),
        _ => None,
    }
}

/// A name without the number at its end.
fn stem(name: &str) -> &str {
    name.trim_end_matches(|letter: char| letter.is_ascii_digit()).trim_end_matches(['-', '_', ' '])
}

/// A value in a refusal, shortened.
pub(super) fn shown(value: &Value) -> String {
    value.to_string().chars().take(64).collect()
}

/// The field `name` of an object.
pub(super) fn field<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// The object at `name`.
pub(super) fn object<'v>(object: &'v Map<String, Value>, name: &str, remedy: &str) -> Result<&'v Value, ApiError> {
    match object.get(name) {
        Some(value) if value.is_object() => Ok(value),
        Some(value) => Err(wrong(name, &shown(value), remedy)),
        None => Err(wrong(name, "missing", remedy)),
    }
}

/// A time of ISO 8601 in milliseconds since the Unix epoch; without a zone it is UTC.
pub(super) fn time(path: &str, value: Option<&Value>) -> Result<i64, ApiError> {
    let text = value.and_then(Value::as_str).unwrap_or_default();
    let read = || {
        let (plain, zone) = match text.get(19..).unwrap_or_default().find(['Z', '+', '-']) {
            Some(at) => text.split_at(19 + at),
            None => (text, ""),
        };
        let minutes = match zone.as_bytes() {
            [] | b"Z" => 0,
            [sign, ..] => {
                let (hours, minutes) = (zone.get(1..3)?, zone.get(3..)?.trim_start_matches(':'));
                let minutes = if minutes.is_empty() { 0 } else { minutes.parse::<u8>().ok()? };
                (hours.parse::<i64>().ok()? * 60 + i64::from(minutes)) * if *sign == b'-' { -1 } else { 1 }
            }
        };
        plain.get(10..11).filter(|t| *t == "T")?;
        Some(date::parse(plain)? - minutes * 60_000)
    };
    read().ok_or_else(|| {
        let given = value.map_or_else(|| "missing".to_owned(), shown);
        wrong(path, &given, "give the time of the change, such as \"2026-01-02T03:04:05.678Z\"")
    })
}
