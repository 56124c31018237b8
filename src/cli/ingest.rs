//! `understudy ingest`: a dump becomes a corpus in the data directory.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Failure, Global, Outcome, byte_bar, progress_bar};
use crate::corpus;
use crate::sources::stack_exchange::ingest::{self, IngestError, Provenance};

/// Flags of `ingest`.
#[derive(Debug, Args)]
#[command(
    after_help = "A folder may hold Posts.xml, Votes.xml, Comments.xml, Users.xml (only display names are read) and PostHistory.xml
(posts without a history are fabricated and dropped). There is no downloader: you bring the data and say what it is.
The same source again replaces what was brought in before, so that posts deleted since are gone.

Examples:
  understudy ingest beer.stackexchange.com.7z --source beer.stackexchange.com --terms cc-by-sa-4.0
  understudy ingest dumps/cooking --source cooking --site cooking.stackexchange.com --terms archive-2024-04 --json"
)]
pub struct Flags {
    /// A dump's folder, its official .7z, or a Posts.xml
    path: PathBuf,
    /// Names the source: its folder, its ids
    #[arg(long, value_name = "NAME")]
    source: String,
    /// Under which terms you have the data; kept with every row
    #[arg(long, value_name = "NAME")]
    terms: String,
    /// The site's host, for links; the source's name where that is one
    #[arg(long, value_name = "HOST")]
    site: Option<String>,
    /// The terms allow training a language model (asked for where posts are of July 2024 or later)
    #[arg(long)]
    may_train: bool,
}

/// Runs `understudy ingest`.
pub(super) fn run(global: &Global, flags: Flags) -> Outcome {
    let config = global.load()?.config;
    crate::telemetry::start_logs(&config.log);
    corpus::check_name(&flags.source).map_err(Failure::Usage)?;
    let Flags { path, source, terms, site, may_train } = flags;
    let is_host =
        |name: &str| name.contains('.') && !name.contains(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-');
    let site = site.or_else(|| is_host(&source).then(|| source.clone()));
    let provenance = Provenance { source, terms, site, may_train };
    let corpora = config.data.dir.join(corpus::FOLDER);
    let reading = byte_bar(ingest::length(&path), global.json);
    let writing = progress_bar(0, "questions", global.json);
    let manifest = ingest::ingest(&path, &corpora, &provenance, &reading, &writing).map_err(|error| match error {
        IngestError::Clause(_) => Failure::Usage(error.to_string()),
        error => Failure::Failed(error.into()),
    })?;
    reading.finish_and_clear();
    writing.finish_and_clear();
    let folder = corpora.join(&manifest.source);
    if global.json {
        let mut report = json!(manifest);
        report["folder"] = json!(folder);
        println!("{report}");
        return Ok(());
    }
    let counts = manifest.counts;
    println!(
        "{}: {} questions ({} with an accepted answer), {} answers, {} pairs of answers with different scores",
        manifest.source, counts.questions, counts.accepted, counts.answers, counts.pairs
    );
    println!("  {} votes, {} comments; in '{}'", counts.votes, counts.comments, folder.display());
    for (rule, count) in &manifest.dropped {
        println!("  left out: {count} {}", rule.replace('_', " "));
    }
    Ok(())
}
