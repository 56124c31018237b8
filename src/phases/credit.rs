//! Who wrote what was learned from.
//!
//! Invariant: each post once; what a base model's folder says it learned from is carried on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use understudy_learning::stages::Question;

use crate::corpus::{Post, Thread};

/// The file with a line a post.
pub const LINES: &str = "attribution.jsonl";

/// One post.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Credit {
    /// The name of the source.
    pub source: String,
    /// Its id there; 0 where that is no number.
    pub post: u64,
    /// "question" or "answer".
    pub what: String,
    /// The question's title.
    pub title: String,
    /// Its author's name; `None` where the source no longer says.
    pub author: Option<String>,
    /// The author's page.
    pub author_url: Option<String>,
    /// Link to the original.
    pub url: Option<String>,
    /// For instance `CC BY-SA 4.0`.
    pub licence: String,
    /// The terms under which the operator has it.
    pub terms: String,
}

/// All posts that were learned from.
#[derive(Debug, Clone, Default)]
pub struct Credits(BTreeSet<Credit>);

impl Credits {
    /// Those that the folder of the model tells that learning began with; none where it tells nothing.
    pub fn of_model(model: &Path) -> anyhow::Result<Self> {
        let path = model.join(LINES);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Ok(Self::default());
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read '{}'", path.display())),
        };
        let line = |(place, line): (usize, &str)| {
            serde_json::from_str(line).with_context(|| format!("'{}', line {}", path.display(), place + 1))
        };
        Ok(Self(text.lines().enumerate().map(line).collect::<anyhow::Result<_>>()?))
    }

    /// The question was put before the model, and these of its answers were learned from.
    pub fn add<'a>(&mut self, thread: &Thread, answers: impl IntoIterator<Item = &'a Post>) {
        let mut credit = |post: &Post, what: &str| {
            let author = post.author.as_ref();
            self.0.insert(Credit {
                source: thread.source.clone(),
                post: post.id,
                what: what.to_owned(),
                title: thread.title.clone(),
                author: author.map(|author| author.name.clone()),
                author_url: author.and_then(|author| author.url.clone()),
                url: post.url.clone(),
                licence: post.licence.clone(),
                terms: thread.terms.clone(),
            });
        };
        credit(&thread.question, "question");
        answers.into_iter().for_each(|answer| credit(answer, "answer"));
    }

    /// A question that was put before the model.
    pub fn ask(&mut self, question: &Question) {
        let not_stated = || "not stated".to_owned();
        let author = question.author.as_ref();
        self.0.insert(Credit {
            source: question.source.clone(),
            post: question.id.rsplit('/').next().and_then(|id| id.parse().ok()).unwrap_or(0),
            what: "question".to_owned(),
            title: question.title.clone(),
            author: author.map(|author| author.name.clone()),
            author_url: author.and_then(|author| author.url.clone()),
            url: question.url.clone(),
            licence: question.licence.clone().unwrap_or_else(not_stated),
            terms: question.terms.clone().unwrap_or_else(not_stated),
        });
    }

    /// Takes up another model's.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many posts.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sources' names.
    pub fn sources(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.0.iter().map(|credit| &credit.source).collect();
        names.into_iter().cloned().collect()
    }

    /// A line of JSON a post.
    pub fn lines(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, credit| {
            let _ = writeln!(text, "{}", serde_json::to_string(credit).expect("strings and numbers"));
            text
        })
    }

    /// A section a source, in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "This model learned from posts that their authors wrote and licensed. [{LINES}]({LINES}) names each of the {} \
             posts with its author, link, licence, source and terms. They were changed: HTML was made Markdown, and what \
             was too long was cut.\n",
            self.len()
        );
        for source in self.sources() {
            let own = || self.0.iter().filter(|credit| credit.source == source);
            let count = |what: &str| own().filter(|credit| credit.what == what).count();
            let authors: BTreeSet<_> = own().filter_map(|credit| credit.author.as_ref()).collect();
            let listed = |values: BTreeMap<&String, usize>| {
                values.iter().map(|(value, count)| format!("{value} ({count})")).collect::<Vec<_>>().join(", ")
            };
            let (mut licences, mut terms) = (BTreeMap::new(), BTreeMap::new());
            own().for_each(|credit| {
                *licences.entry(&credit.licence).or_default() += 1;
                *terms.entry(&credit.terms).or_default() += 1;
            });
            let _ = write!(
                text,
                "\n## {source}\n\n- {} questions and {} answers by {} authors\n- Licences: {}\n- Terms: {}\n",
                count("question"),
                count("answer"),
                authors.len(),
                listed(licences),
                listed(terms)
            );
        }
        text
    }
}
