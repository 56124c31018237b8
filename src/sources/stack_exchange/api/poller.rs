//! Asks the API for what is new, page by page, again and again.
//!
//! Invariant: questions are walked in the order in which they were asked, from a day before the newest one on disk, so that
//! nothing is lost where two fell into one second or one came late; what is on disk already is left out by its id.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use understudy_checkpoints::whole::replace_file;
use understudy_learning::rng::{Purpose, Stream};

use super::answer::{Trouble, Wrapper, trouble};
use super::feed::{Feed, OVERLAP_MS};
use super::manners::{Limits, Manners};
use super::{Clock, Told, Transport};
use crate::sources::{SourceError, shown};

/// Pages that may be asked for without a key; beyond them the walk begins anew at a later time.
const DEEPEST_PAGE: u32 = 25;
/// Questions on a page: the API's most.
const PAGE_SIZE: u32 = 100;
/// The file with the moment when the site was first asked, where none was configured.
const BEGUN: &str = "begun";
/// The file of times that must be kept to.
const MANNERS: &str = "manners.json";

/// What to ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct Polling {
    /// The site, as the API calls it: `beer`, or its host.
    pub site: String,
    /// Names the source in ids.
    pub source: String,
    /// Under which terms the operator has the questions; kept with each.
    pub terms: String,
    /// The API's key, if there is one: more requests a day.
    pub key: Option<String>,
    /// Only questions with one of these tags; all without any.
    pub tags: Vec<String>,
    /// Whose questions are left out: numbers and shown names.
    pub forgotten: BTreeSet<String>,
    /// Where to begin when nothing was fetched yet, in milliseconds since the Unix epoch; `None` is when it is first opened.
    pub from: Option<i64>,
    /// Seconds between two rounds, at least a minute.
    pub every_s: u64,
    /// Requests a second.
    pub rate: f64,
    /// Requests of the day's quota that are left to others.
    pub reserve: u64,
}

/// Asks and keeps.
pub struct Poller<T, C> {
    polling: Polling,
    transport: T,
    clock: C,
    feed: Feed,
    manners: Manners,
    manners_path: PathBuf,
    jitter: Stream,
    told: Told,
    /// Where it begins when nothing was fetched yet, in milliseconds since the Unix epoch.
    from: i64,
}

/// Why rounds without end ended before it was time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The settings are wrong; another try will not help.
    #[error("the API refuses what it is asked: {0}")]
    Refused(String),
    /// What was fetched cannot be kept.
    #[error("{0}")]
    Disk(String),
}

/// How a round ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Round {
    /// Everything that there was is on disk: so many new questions.
    Whole(usize),
    /// It is time to end.
    Ended,
    /// The settings are wrong; another try will not help.
    Refused(String),
}

impl<T: Transport, C: Clock> Poller<T, C> {
    /// A poller that keeps its questions in `folder`.
    pub fn open(folder: &Path, polling: Polling, transport: T, clock: C) -> Result<Self, SourceError> {
        let feed = Feed::open(folder, polling.forgotten.clone())?;
        let manners_path = folder.join(MANNERS);
        // A file that is not there or not whole costs nothing but a pause.
        let manners = fs::read(&manners_path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut manners: Manners = manners.unwrap_or_default();
        // A clock that was set back must not keep it waiting for ever.
        manners.not_later_than(clock.now_ms());
        let jitter = Stream::new(0, Purpose::Backoff, feed.len());
        let mut poller =
            Self { polling, transport, clock, feed, manners, manners_path, jitter, told: Told::default(), from: 0 };
        poller.from = poller.beginning(folder)?;
        Ok(poller)
    }

    /// Where it stands.
    pub fn told(&self) -> Told {
        Told { questions: self.feed.len(), quota_remaining: self.manners.quota_remaining(), ..self.told }
    }

    /// The configured moment, or the one when this site was first asked: that outlives a restart, or what was asked in
    /// between would be lost as long as nothing was fetched.
    fn beginning(&self, folder: &Path) -> Result<i64, SourceError> {
        if let Some(from) = self.polling.from {
            return Ok(from);
        }
        let path = folder.join(BEGUN);
        let kept = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        let begun = kept.unwrap_or_else(|| self.clock.now_ms());
        if kept.is_none() {
            fs::write(&path, format!("{begun}\n")).map_err(|cause| SourceError::Read { file: shown(&path), cause })?;
        }
        Ok(begun)
    }

    /// Rounds without end; returns when it is time, or why there is no sense in going on.
    pub fn run(&mut self, mut heard: impl FnMut(Told)) -> Result<(), Halt> {
        loop {
            match self.round(&mut heard).map_err(|error| Halt::Disk(error.to_string()))? {
                Round::Whole(0) => {}
                Round::Whole(new) => {
                    let Told { questions, quota_remaining, .. } = self.told();
                    tracing::info!(site = self.polling.site, new, questions, quota_remaining, "questions from the API");
                }
                Round::Ended => return Ok(()),
                Round::Refused(why) => return Err(Halt::Refused(why)),
            }
            if !self.clock.wait(self.polling.every_s.max(60) * 1000) {
                return Ok(());
            }
        }
    }

    /// One walk from a day before the newest question to the end of what there is.
    pub fn round(&mut self, heard: &mut impl FnMut(Told)) -> Result<Round, SourceError> {
        let overlap = |newest: i64| (newest - OVERLAP_MS) / 1000;
        let mut from = self.feed.newest().map_or(self.from / 1000, |newest| overlap(newest).max(self.from / 1000));
        let (mut page, mut new) = (1, 0);
        loop {
            let answer = match self.ask(from, page, heard) {
                Ok(answer) => answer,
                Err(end) => return Ok(end),
            };
            let last = answer.items.iter().map(|item| item.creation_date).max();
            let questions =
                answer.items.into_iter().map(|item| item.question(&self.polling.source, &self.polling.terms));
            let added = self.feed.append(questions.collect())?;
            new += added;
            self.told.fetched += added as u64;
            heard(self.told());
            match (answer.has_more, last) {
                (false, _) | (true, None) => return Ok(Round::Whole(new)),
                (true, Some(last)) if page == DEEPEST_PAGE => {
                    // 2500 questions in one second do not happen; going on from the same second would never end.
                    (from, page) = (last.max(from + 1), 1);
                }
                (true, Some(_)) => page += 1,
            }
        }
    }

    /// One page, however long it takes to get it.
    fn ask(&mut self, from: i64, page: u32, heard: &mut impl FnMut(Told)) -> Result<Wrapper, Round> {
        let limits = Limits { rate: self.polling.rate, reserve: self.polling.reserve };
        let path = self.path(from, page);
        loop {
            let wait = self.manners.next(limits) - self.clock.now_ms();
            if wait > 0 && !self.clock.wait(wait as u64) {
                return Err(Round::Ended);
            }
            self.manners.sent(self.clock.now_ms());
            let answer = self.transport.get(&path).and_then(|body| {
                serde_json::from_slice::<Wrapper>(&body)
                    .map_err(|error| format!("an answer is not understood ({error})"))
            });
            let now = self.clock.now_ms();
            self.told.requests += 1;
            let ended = match answer {
                Ok(answer) => match trouble(&answer) {
                    None => {
                        self.manners.answered(now, answer.backoff, answer.quota_remaining, limits);
                        Some(Ok(answer))
                    }
                    Some(Trouble::Throttled(seconds)) => {
                        tracing::warn!(site = self.polling.site, seconds, "the API wants to be left alone");
                        self.manners.throttled(now, seconds);
                        None
                    }
                    Some(Trouble::Passing(why)) => {
                        self.failed(now, &why);
                        self.manners.heed_quota(now, answer.quota_remaining, limits);
                        None
                    }
                    Some(Trouble::Lasting(why)) => Some(Err(Round::Refused(why))),
                },
                Err(why) => {
                    self.failed(now, &why);
                    None
                }
            };
            self.keep_manners();
            match ended {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(refused)) => {
                    self.told.errors += 1;
                    heard(self.told());
                    return Err(refused);
                }
                None => {
                    self.told.errors += 1;
                    heard(self.told());
                }
            }
        }
    }

    fn failed(&mut self, now: i64, why: &str) {
        self.manners.failed(now, self.jitter.uniform());
        tracing::warn!(site = self.polling.site, errors = self.manners.errors(), why, "the API is asked again later");
    }

    fn path(&self, from: i64, page: u32) -> String {
        let Polling { site, key, tags, .. } = &self.polling;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("site", site).append_pair("order", "asc").append_pair("sort", "creation");
        query.append_pair("filter", "withbody").append_pair("pagesize", &PAGE_SIZE.to_string());
        query.append_pair("page", &page.to_string()).append_pair("fromdate", &from.max(0).to_string());
        if !tags.is_empty() {
            query.append_pair("tagged", &tags.join(";"));
        }
        if let Some(key) = key {
            query.append_pair("key", key);
        }
        // There one of the tags is enough; '/questions' wants all of them.
        let what = if tags.is_empty() { "questions" } else { "search/advanced" };
        format!("/{what}?{}", query.finish())
    }

    /// Kept so that a restart does not make the poller rude; losing it costs nothing else.
    fn keep_manners(&self) {
        let text = serde_json::to_vec(&self.manners).expect("plain values");
        if let Err(error) = replace_file(&self.manners_path, &text) {
            tracing::warn!(file = shown(&self.manners_path), %error, "when the API may be asked again was not kept");
        }
    }
}
