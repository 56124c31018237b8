//! The thread that asks the API while the daemon lives.
//!
//! Invariant: it never takes the daemon down: what it cannot do it says in the log and in a note. It ends within moments when
//! it is told to, unless a request is under way (at most 30 s); what is on disk is whole at any moment.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use super::metric::{ERRORS, FETCHED, QUOTA_REMAINING, REQUESTS};
use super::{Clock, Halt, Poller, Polling, Told, Web};
use crate::bell::Bell;
use crate::clock;
use crate::config::{Source, SourceKind};
use crate::corpus;
use crate::notes::Notes;
use crate::sources::stack_exchange::date;
use crate::sources::{SourceError, feed, shown};

/// Where the API's key may stand, beside `source.key_file`.
const KEY_VARIABLE: &str = "UNDERSTUDY_SE_KEY";
/// How long to leave a disk alone that failed.
const AFTER_DISK: Duration = Duration::from_secs(60);

/// The thread.
pub struct Polls {
    end: Bell,
    thread: JoinHandle<()>,
    site: String,
}

impl Clock for Bell {
    fn now_ms(&self) -> i64 {
        clock::now_ms()
    }

    fn wait(&self, ms: u64) -> bool {
        Bell::wait(self, Duration::from_millis(ms))
    }
}

impl Polls {
    /// Starts the thread where the configured source is the API; what an operator should know goes to `notes`.
    pub fn start(source: &Source, notes: Notes) -> Result<Option<Self>, SourceError> {
        if source.kind != SourceKind::Api {
            return Ok(None);
        }
        let polling = Polling {
            site: source.site.clone(),
            source: source.site.clone(),
            terms: source.terms.clone(),
            key: key(source)?,
            tags: source.tags.clone(),
            forgotten: corpus::forgotten(&source.data.join(corpus::FOLDER), &source.site)?,
            from: date::parse(&source.from),
            every_s: source.every_s,
            rate: source.requests_per_s,
            reserve: source.reserve,
        };
        let (folder, api, site) = (feed::folder(source), source.api.clone(), source.site.clone());
        // A feed that cannot be read is told at the start.
        let end = Bell::default();
        Poller::open(&folder, polling.clone(), Web::new(&api), end.clone())?;
        let thread = std::thread::Builder::new().name("stack-exchange".to_owned());
        let thread = thread.spawn({
            let end = end.clone();
            move || poll(&folder, &polling, &api, &end, &notes)
        });
        let thread = thread.map_err(|cause| SourceError::Read { file: "a thread for the API".to_owned(), cause })?;
        Ok(Some(Self { end, thread, site }))
    }

    /// Tells it to end.
    pub fn stop(&self) {
        self.end.ring();
    }

    /// Tells it to end and waits so long for it; whether it did. A request that is under way then is left behind.
    pub fn end(self, patience: Duration) -> bool {
        self.stop();
        let step = Duration::from_millis(5);
        for _ in 0..patience.as_millis() / step.as_millis() {
            if self.thread.is_finished() {
                break;
            }
            std::thread::park_timeout(step);
        }
        let ended = self.thread.is_finished();
        match ended {
            true => drop(self.thread.join()),
            false => tracing::info!(site = self.site, "a request to the API is left behind; nothing is lost by it"),
        }
        ended
    }
}

/// The key, from its file or the environment.
fn key(source: &Source) -> Result<Option<String>, SourceError> {
    let text = match source.key_file.as_os_str().is_empty() {
        true => std::env::var(KEY_VARIABLE).ok(),
        false => {
            let read = std::fs::read_to_string(&source.key_file);
            Some(read.map_err(|cause| SourceError::Key { file: shown(&source.key_file), cause })?)
        }
    };
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// Until it is told to end, or the API refuses for good.
fn poll(folder: &Path, polling: &Polling, api: &str, end: &Bell, notes: &Notes) {
    let site = &polling.site;
    loop {
        // After trouble with the disk it begins from what the disk has.
        let poller = Poller::open(folder, polling.clone(), Web::new(api), end.clone());
        let mut before = Told::default();
        let ended = match poller {
            Ok(mut poller) => poller.run(|told| {
                record(site, &before, &told);
                if told.errors == before.errors {
                    notes.clear(site);
                }
                before = told;
            }),
            Err(error) => Err(Halt::Disk(error.to_string())),
        };
        match ended {
            Ok(()) => return,
            Err(why @ Halt::Refused(_)) => {
                let remedy =
                    "correct source.site, source.tags or the key and start again; what was fetched is still asked";
                tracing::error!(site, %why, "no more questions come from the API: {remedy}");
                notes.set(site, format!("no more questions come from {site}: {why}; {remedy}"));
                return;
            }
            Err(why @ Halt::Disk(_)) => {
                tracing::error!(site, %why, "questions from the API cannot be kept; tried again in a minute");
                notes.set(site, format!("questions from {site} cannot be kept: {why}"));
                if !end.wait(AFTER_DISK) {
                    return;
                }
            }
        }
    }
}

fn record(site: &str, before: &Told, now: &Told) {
    let count = |name, from: u64, to: u64| metrics::counter!(name, "site" => site.to_owned()).increment(to - from);
    count(REQUESTS, before.requests, now.requests);
    count(ERRORS, before.errors, now.errors);
    count(FETCHED, before.fetched, now.fetched);
    if let Some(left) = now.quota_remaining {
        metrics::gauge!(QUOTA_REMAINING, "site" => site.to_owned()).set(left as f64);
    }
}
