//! `understudy corpora`: what was ingested, and taking it away again.

use std::path::Path;

use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use super::{Failure, Global, Outcome};
use crate::corpus::{self, Corpus, CorpusError, Forgotten};
use crate::sources::stack_exchange::api;
use crate::sources::{SourceError, feed};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what was brought in, and under which terms
    List,
    /// Take a whole corpus away
    Remove {
        /// Its name
        source: String,
    },
    /// Take away what an author wrote: questions with all that is below them, answers, comments; also out of every later ingest
    /// of this source, and of what the API gives of a site. The name or number is kept beside the data for that, also when the
    /// corpus is removed
    ForgetAuthor {
        /// The corpus, or the site that the API is asked for
        source: String,
        /// The user's number on the site, or the name as it is shown
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        author: String,
    },
}

/// The corpora of a data directory, or those of these names.
pub(crate) fn chosen(data: &Path, names: &[String]) -> Result<Vec<Corpus>, Failure> {
    let folder = data.join(corpus::FOLDER);
    let all = corpus::list(&folder).map_err(failed)?;
    if all.is_empty() {
        let shown = folder.display();
        let remedy = "bring one in with 'understudy ingest' or 'understudy data import', or name another --data-dir";
        return Err(Failure::NotReady(format!("there is no corpus in '{shown}'; {remedy}")));
    }
    if names.is_empty() {
        return Ok(all);
    }
    let there: Vec<String> = all.iter().map(|corpus| corpus.manifest().source.clone()).collect();
    if let Some(name) = names.iter().find(|name| !there.contains(name)) {
        return Err(Failure::Usage(format!("there is no corpus '{name}'; there are {}", there.join(", "))));
    }
    Ok(all.into_iter().filter(|corpus| names.contains(&corpus.manifest().source)).collect())
}

/// Runs `understudy corpora …`.
pub(super) fn run(global: &Global, command: Command) -> Outcome {
    let config = global.load()?.config;
    crate::telemetry::start_logs(&config.log);
    let corpora = config.data.dir.join(corpus::FOLDER);
    match command {
        Command::List => {
            let all = corpus::list(&corpora).map_err(failed)?;
            if global.json {
                println!("{}", json!(all.iter().map(|corpus| corpus.manifest()).collect::<Vec<_>>()));
                return Ok(());
            }
            if all.is_empty() {
                println!("nothing was brought in; see 'understudy ingest --help'");
            }
            for corpus in all {
                let manifest = corpus.manifest();
                let counts = manifest.counts;
                println!(
                    "{}: {} questions, {} answers, {} pairs, {:.1} MB, under '{}'",
                    manifest.source,
                    counts.questions,
                    counts.answers,
                    counts.pairs,
                    manifest.bytes as f64 / 1e6,
                    manifest.terms
                );
            }
        }
        Command::Remove { source } => {
            corpus::remove(&corpora, &source).map_err(failed)?;
            match global.json {
                true => println!("{}", json!({"removed": source})),
                false => println!("{source} is gone; what was learned from it is not"),
            }
        }
        Command::ForgetAuthor { source, author } => {
            let gone = forget(&config.data.dir, &source, &author)?;
            match global.json {
                true => println!("{}", json!({"source": source, "forgotten": gone})),
                false => println!(
                    "{source}: {} questions, {} answers and {} comments of '{author}' are gone; what was learned from them is not",
                    gone.questions, gone.answers, gone.comments
                ),
            }
        }
    }
    Ok(())
}

/// Takes what `author` wrote out of the corpus and of what the API gave under this name, whichever is there, now and later.
fn forget(data: &Path, source: &str, author: &str) -> Result<Forgotten, Failure> {
    let (corpora, fetched) = (data.join(corpus::FOLDER), feed::folder_of(data, source));
    let mut gone = Forgotten::default();
    corpus::check_name(source).map_err(Failure::Usage)?;
    // A name that is neither gets the corpus' error, which says what there is to do.
    if corpora.join(source).exists() || !fetched.exists() {
        (_, gone) = corpus::forget_author(&corpora, source, author).map_err(failed)?;
    } else {
        corpus::remember_to_forget(&corpora, source, author).map_err(failed)?;
    }
    if fetched.exists() {
        let forgotten = corpus::forgotten(&corpora, source).map_err(failed)?;
        let questions = api::forget_authors(&fetched, &forgotten).map_err(|error| match error {
            SourceError::InUse(_) => Failure::NotReady(error.to_string()),
            error => Failure::Failed(error.into()),
        })?;
        gone.questions += questions as u64;
    }
    Ok(gone)
}

fn failed(error: CorpusError) -> Failure {
    match error {
        CorpusError::Refused(sentence) => Failure::Usage(sentence),
        error => Failure::Failed(error.into()),
    }
}
