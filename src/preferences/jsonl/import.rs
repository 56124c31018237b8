//! JSON lines into a corpus.
//!
//! Invariant: the corpus changes in one step at the end or not at all; a line that is not understood is an error with its
//! number. Memory is bounded by the file, which may have a gigabyte.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::Serialize;

use super::row::{Credit, Message, Metadata, Row, Text};
use crate::corpus::{Builder, CorpusError, Manifest, Post, Thread};
use crate::sources::stack_exchange::clause::{self, Clause};

/// Longest line in bytes.
const MOST_LINE: u64 = 16 << 20;
/// Longest file in bytes.
const MOST_FILE: u64 = 1 << 30;
/// Ids that are given to what has none begin here: above all that sites gave.
const FIRST_ID: u64 = 1 << 40;

/// What the operator says of the file.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Names the source: its folder, its ids.
    pub source: String,
    /// Under which terms the operator has it; rows that carry terms of their own keep them.
    pub terms: String,
    /// Licence of texts that do not state one.
    pub licence: String,
    /// The operator's word that training on it is allowed, which newer posts of Stack Exchange need.
    pub may_train: bool,
}

/// Why nothing was brought in.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read '{file}': {cause}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        cause: std::io::Error,
    },
    /// A line is not right.
    #[error("'{file}' line {line}: {message}")]
    Line {
        /// The file.
        file: String,
        /// From 1.
        line: u64,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// Terms of its posts need a word of the operator.
    #[error(transparent)]
    Clause(#[from] Clause),
    /// The corpus cannot be written.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
}

/// What was brought in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Imported {
    /// Lines with a row.
    pub rows: u64,
    /// What the corpus holds.
    #[serde(flatten)]
    pub manifest: Manifest,
}

/// An answer while rows are put together.
struct Answer {
    text: String,
    credit: Option<Credit>,
    /// Wins less losses, or what the rows say.
    score: i64,
}

/// A question while rows are put together.
struct Asked {
    prompt: String,
    metadata: Metadata,
    answers: Vec<Answer>,
}

/// Brings the rows of `path` into the folder of corpora; rows of one prompt become one thread.
pub fn import(path: &Path, corpora: &Path, origin: &Origin) -> Result<Imported, ImportError> {
    let shown = path.display().to_string();
    let read = |cause| ImportError::Read { file: shown.clone(), cause };
    let file = File::open(path).map_err(read)?;
    let length = file.metadata().map_err(read)?.len();
    if length > MOST_FILE {
        let message = format!("the file has {length} bytes; split it into parts of at most {MOST_FILE}");
        return Err(ImportError::Line { file: shown, line: 1, message });
    }
    let mut input = BufReader::with_capacity(1 << 18, file);
    let (mut all, mut by_key): (Vec<Asked>, HashMap<String, usize>) = (Vec::new(), HashMap::new());
    let (mut line, mut rows, mut bytes) = (0, 0, Vec::new());
    loop {
        line += 1;
        bytes.clear();
        let count = input.by_ref().take(MOST_LINE + 1).read_until(b'\n', &mut bytes).map_err(read)?;
        let wrong = |message: String| ImportError::Line { file: shown.clone(), line, message };
        if count == 0 {
            break;
        }
        if count as u64 > MOST_LINE {
            return Err(wrong(format!("it is longer than {MOST_LINE} bytes")));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            continue;
        }
        let row: Row = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let said = understood(row).map_err(wrong)?;
        rows += 1;
        let key = said.metadata.question.as_ref().map_or_else(|| said.prompt.clone(), |credit| credit.id.clone());
        let place = *by_key.entry(key).or_insert_with(|| {
            let (prompt, metadata) = (said.prompt.clone(), said.metadata.clone());
            all.push(Asked { prompt, metadata, answers: Vec::new() });
            all.len() - 1
        });
        if all[place].prompt != said.prompt {
            let id = said.metadata.question.map_or_else(String::new, |credit| credit.id);
            return Err(wrong(format!("the question '{id}' had another text in an earlier line")));
        }
        said.answers.into_iter().for_each(|answer| all[place].take(answer));
    }
    let posts = all.iter().flat_map(Asked::credits).map(|credit| (credit.url.as_deref(), credit.at));
    clause::allowed_all(posts, origin.may_train, "--may-train")?;
    let mut builder = Builder::begin(corpora, &origin.source, &origin.terms, None)?;
    let taken: BTreeSet<u64> = all.iter().flat_map(Asked::stated_ids).collect();
    let mut fresh = (FIRST_ID..).filter(|id| !taken.contains(id));
    let mut used = BTreeSet::new();
    for asked in all {
        builder.add(&asked.thread(origin, &mut fresh, &mut used))?;
    }
    Ok(Imported { rows, manifest: builder.commit([], &[])? })
}

/// A row as it was meant.
struct Said {
    prompt: String,
    metadata: Metadata,
    answers: Vec<Answer>,
}

/// Reads the format off the fields.
fn understood(row: Row) -> Result<Said, String> {
    let Row { prompt, messages, chosen, rejected, completion, label, completions, ranking, scores, metadata, .. } = row;
    let answer = |text: Text, credit: Option<Credit>, score: i64, what: &str| -> Result<Answer, String> {
        let text = last_turn(text, what)?;
        let score = credit.as_ref().and_then(|credit| credit.score).unwrap_or(score);
        Ok(Answer { text, credit, score })
    };
    if let Some(messages) = messages {
        let Text::Messages(mut turns) = messages else { return Err("messages is a string; give a list".to_owned()) };
        let last = turns.pop().ok_or("messages is empty")?;
        if last.role != "assistant" {
            return Err(format!("the last message's role is '{}'; it has to be 'assistant'", last.role));
        }
        let prompt = flat(Text::Messages(turns), "messages")?;
        let answers = vec![answer(Text::Messages(vec![last]), metadata.completion.clone(), 1, "messages")?];
        return Ok(Said { prompt, metadata, answers });
    }
    let Some(prompt) = prompt else {
        return Err("it has no prompt; a row is {prompt}, {prompt, completion}, {prompt, completion, label}, \
                    {prompt, chosen, rejected}, {prompt, completions, ranking} or {messages}"
            .to_owned());
    };
    let prompt = flat(prompt, "prompt")?;
    let answers = match (chosen, rejected, completion, completions) {
        (Some(chosen), Some(rejected), None, None) => vec![
            answer(chosen, metadata.chosen.clone(), 1, "chosen")?,
            answer(rejected, metadata.rejected.clone(), -1, "rejected")?,
        ],
        (Some(_), None, ..) => return Err("it has 'chosen' and no 'rejected'; give both".to_owned()),
        (None, Some(_), ..) => return Err("it has 'rejected' and no 'chosen'; give both".to_owned()),
        (None, None, Some(completion), None) => {
            let score = if label.unwrap_or(true) { 1 } else { -1 };
            vec![answer(completion, metadata.completion.clone(), score, "completion")?]
        }
        (None, None, None, Some(completions)) => {
            let worth = levels(completions.len(), ranking, scores.as_deref())?;
            let credit = |place: usize| metadata.completions.get(place).cloned();
            let of = |(place, text)| answer(text, credit(place), worth[place], "completions");
            completions.into_iter().enumerate().map(of).collect::<Result<_, _>>()?
        }
        (None, None, None, None) => Vec::new(),
        _ => return Err("it mixes chosen/rejected, completion and completions; give one of them".to_owned()),
    };
    Ok(Said { prompt, metadata, answers })
}

/// The number of levels below each completion, by the ranking or else by the scores.
fn levels(count: usize, ranking: Option<Vec<Vec<usize>>>, scores: Option<&[f64]>) -> Result<Vec<i64>, String> {
    if let Some(ranking) = ranking {
        let mut worth = vec![None; count];
        for (level, places) in ranking.iter().enumerate() {
            for place in places {
                let own = worth.get_mut(*place).ok_or(format!("ranking names completion {place} of {count}"))?;
                if own.replace((ranking.len() - 1 - level) as i64).is_some() {
                    return Err(format!("ranking names completion {place} twice"));
                }
            }
        }
        let missing = worth.iter().position(Option::is_none);
        return worth.into_iter().collect::<Option<_>>().ok_or_else(|| {
            format!("ranking does not name completion {}; name each once", missing.unwrap_or_default())
        });
    }
    let scores = scores.ok_or("it has completions and neither ranking nor scores; give one of them")?;
    if scores.len() != count || scores.iter().any(|score| !score.is_finite()) {
        return Err(format!("it has {count} completions and {} finite scores; give one each", scores.len()));
    }
    let below = |own: &f64| {
        let mut lower: Vec<u64> = scores.iter().filter(|score| *score < own).map(|score| score.to_bits()).collect();
        lower.sort_unstable();
        lower.dedup();
        lower.len() as i64
    };
    Ok(scores.iter().map(below).collect())
}

/// The text of a prompt: one user's message as it is, more turns each under its role's name.
fn flat(text: Text, what: &str) -> Result<String, String> {
    let text = match text {
        Text::Plain(text) => text,
        Text::Messages(turns) => match turns.as_slice() {
            [Message { role, content }] if role == "user" => content.clone(),
            turns => {
                let title = |role: &str| match role {
                    "system" => Ok("System"),
                    "user" => Ok("User"),
                    "assistant" => Ok("Assistant"),
                    other => Err(format!("{what} has the role '{other}'; roles are system, user and assistant")),
                };
                let turn = |turn: &Message| Ok(format!("{}: {}", title(&turn.role)?, turn.content));
                turns.iter().map(turn).collect::<Result<Vec<_>, String>>()?.join("\n\n")
            }
        },
    };
    if text.trim().is_empty() {
        return Err(format!("{what} is empty; give it a text"));
    }
    Ok(text)
}

/// An answer's text: a string, or one message of the assistant.
fn last_turn(text: Text, what: &str) -> Result<String, String> {
    let text = match text {
        Text::Plain(text) => text,
        Text::Messages(turns) => match <[Message; 1]>::try_from(turns) {
            Ok([Message { role, content }]) if role == "assistant" => content,
            Ok([Message { role, .. }]) => {
                return Err(format!("{what} is of the role '{role}'; it has to be 'assistant'"));
            }
            Err(turns) => return Err(format!("{what} has {} messages; give one of the assistant", turns.len())),
        },
    };
    if text.trim().is_empty() {
        return Err(format!("{what} is empty; give it a text"));
    }
    Ok(text)
}

impl Asked {
    /// An answer again, or a new one. Where rows state no score, wins and losses add up.
    fn take(&mut self, answer: Answer) {
        let same = |known: &&mut Answer| match (&known.credit, &answer.credit) {
            (Some(known), Some(new)) => known.id == new.id,
            _ => known.text == answer.text,
        };
        match self.answers.iter_mut().find(same) {
            None => self.answers.push(answer),
            Some(known) if known.credit.as_ref().is_some_and(|credit| credit.score.is_some()) => {}
            Some(known) => {
                known.score += answer.score;
                // Who wrote it may stand in a later row only.
                known.credit = known.credit.take().or(answer.credit);
            }
        }
    }

    fn credits(&self) -> impl Iterator<Item = &Credit> {
        self.metadata.question.iter().chain(self.answers.iter().filter_map(|answer| answer.credit.as_ref()))
    }

    fn stated_ids(&self) -> impl Iterator<Item = u64> {
        self.credits().filter_map(number)
    }

    fn thread(self, origin: &Origin, fresh: &mut impl Iterator<Item = u64>, used: &mut BTreeSet<u64>) -> Thread {
        let mut id = |credit: Option<&Credit>| {
            let stated = credit.and_then(number).filter(|id| !used.contains(id));
            let id = stated.unwrap_or_else(|| fresh.next().expect("there are 2^63 ids"));
            used.insert(id);
            id
        };
        let mut post = |text: String, credit: Option<Credit>, score: i64| Post {
            id: id(credit.as_ref()),
            at: credit.as_ref().map_or(0, |credit| credit.at),
            text,
            score,
            author: credit.as_ref().and_then(|credit| credit.author.clone()),
            url: credit.as_ref().and_then(|credit| credit.url.clone()),
            licence: credit.and_then(|credit| credit.licence).unwrap_or_else(|| origin.licence.clone()),
            edited_at: None,
            wiki: false,
            votes: Vec::new(),
            comments: Vec::new(),
        };
        let Metadata { terms, title, tags, question, .. } = self.metadata;
        let (title, body) = divided(&self.prompt, title);
        let score = question.as_ref().and_then(|credit| credit.score).unwrap_or(0);
        let question = post(body, question, score);
        let mut accepted = None;
        let mut answers = Vec::new();
        for Answer { text, credit, score } in self.answers {
            let chosen = credit.as_ref().is_some_and(|credit| credit.accepted);
            let answer = post(text, credit, score);
            if chosen {
                accepted = Some(answer.id);
            }
            answers.push(answer);
        }
        answers.sort_by_key(|answer| (answer.at, answer.id));
        Thread {
            id: format!("{}/{}", origin.source, question.id),
            source: origin.source.clone(),
            terms: terms.unwrap_or_else(|| origin.terms.clone()),
            title,
            tags,
            closed: false,
            accepted,
            closedness: None,
            question,
            answers,
        }
    }
}

/// The number at the end of an id like `site/123`.
fn number(credit: &Credit) -> Option<u64> {
    credit.id.rsplit('/').next()?.parse().ok().filter(|id| *id < FIRST_ID)
}

/// Title and body of a prompt: by the title that the row states, else all of it is the body.
fn divided(prompt: &str, title: Option<String>) -> (String, String) {
    let title = title.filter(|title| !title.trim().is_empty());
    match title.as_deref().and_then(|title| prompt.strip_prefix(title.trim())) {
        Some("") => (prompt.to_owned(), String::new()),
        Some(rest) if rest.starts_with("\n\n") => (title.unwrap_or_default(), rest.trim_start_matches('\n').to_owned()),
        _ => (String::new(), prompt.to_owned()),
    }
}
