//! The page in a real browser, against the real daemon on a tiny model.
//!
//! Invariant: what the page says is saved is looked up at the daemon; a machine without the browser skips with a sentence
//! unless `UNDERSTUDY_BROWSER=1`.

mod begun;
mod driver;
mod looks;
mod rating;
mod token;

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::crash::child::Daemon;
use crate::program::tiny;
use driver::{Browser, ENTER, exchange};

/// Groups of four, so that there is something to order; answers long enough to be seen as they come.
const SETTINGS: [&str; 3] =
    ["generation.samples_per_prompt=4", "generation.max_tokens=24", "hearing.ratings_before_scores=0"];

/// A daemon and a browser that looks at it.
pub(crate) struct Stage {
    browser: Browser,
    daemon: Daemon,
    address: String,
    _folder: TempDir,
}

impl Stage {
    /// Sets it up; `None` where there is no browser.
    fn open(more: &[&str]) -> Option<Self> {
        Self::prepared(more, |_| {})
    }

    /// The same with something done to the data directory before the daemon starts.
    fn prepared(more: &[&str], prepare: impl FnOnce(&Path)) -> Option<Self> {
        let browser = Browser::open()?;
        let folder = tempfile::tempdir().expect("a folder");
        let model = tiny(folder.path());
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("a folder");
        prepare(&data);
        let mut daemon = Daemon::start_with(&data, &model, &[&SETTINGS[..], more].concat());
        daemon.ready().expect("it starts");
        let address = daemon.line().address().to_owned();
        Some(Self { browser, daemon, address, _folder: folder })
    }

    /// Goes to one of the pages by its own address.
    fn visit(&self, page: &str) {
        // From elsewhere, so that the page is loaded and not only its hash changed.
        self.browser.go("about:blank");
        self.browser.go(&format!("http://{}/#/{page}", self.address));
        self.browser.until("document.querySelector('main')?.children.length > 0");
    }

    /// What the daemon says under a path.
    fn get(&self, path: &str) -> Value {
        let (status, reply) = exchange(&self.address, "GET", path, &Value::Null).expect("the daemon answers");
        assert_eq!(status, 200, "{path}: {reply}");
        reply
    }

    /// Waits until the page says "saved" of something new, and gives the ids that it names.
    fn saved(&self, word: &str, before: &[String]) -> Vec<String> {
        let known = json!(before.join(" ")).to_string();
        let saved = format!(
            "document.querySelector('.status .saved')?.textContent.startsWith('{word}') && \
             document.querySelector('.status code')?.textContent !== {known}"
        );
        self.browser.until(&saved);
        self.browser.text(".status code").split(' ').map(str::to_owned).collect()
    }

    /// The ratings that the daemon keeps of this annotator, by id.
    fn rating(&self, id: &str) -> Value {
        let kept = self.get("/v1/feedback?annotator=me&limit=100");
        let items = kept["items"].as_array().cloned().unwrap_or_default();
        let found = items.into_iter().find(|item| item["id"] == id || item["feedback"]["id"] == id);
        let found = found.unwrap_or_else(|| panic!("the page said {id} is saved; the daemon keeps {kept}"));
        if found["feedback"].is_object() { found["feedback"].clone() } else { found }
    }
}

#[test]
fn browser_an_answer_streams_is_rated_at_once_and_survives_a_reload() {
    let Some(stage) = Stage::open(&[]) else { return };
    let browser = &stage.browser;
    stage.visit("ask");
    // Notes how long the text was at each change, to tell a stream from one lump.
    let watcher = "window.lengths = []; window.hacked = false; new MutationObserver(() => {\
        const text = document.querySelector('.streaming')?.textContent;\
        if (text) lengths.push(text.length); }).observe(document.body, {childList: true, subtree: true})";
    browser.run(watcher, &[]);
    browser.until("document.activeElement.id === 'question'");
    browser.keys("What is <img src=x onerror=hacked=true> good for? ");
    browser.keys(ENTER);
    browser.until("document.querySelector('.about')");
    let lengths = browser.run("return lengths", &[]);
    let lengths: Vec<u64> = lengths.as_array().expect("a list").iter().filter_map(Value::as_u64).collect();
    let rose = lengths.windows(2).filter(|two| two[0] < two[1]).count();
    assert!(rose >= 3 && lengths.windows(2).all(|two| two[0] <= two[1]), "it grows word by word: {lengths:?}");
    assert_eq!(browser.text(".asked"), "What is <img src=x onerror=hacked=true> good for?", "as it was written");
    assert!(!browser.holds("hacked || document.querySelector('main img')"), "markup in a question is text");
    let about = browser.text(".about");
    let answer: u64 = about.split(' ').nth(1).and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("{about}"));
    assert!(about.contains("policy"), "{about}");

    // By key: stars; by mouse: a thumb; with text: a better answer and a flag.
    browser.keys("4");
    let stars = stage.saved("saved", &[]);
    assert!(browser.text(".status").contains(&format!("answer {answer} by policy")), "{}", browser.text(".status"));
    browser.click(".up");
    let thumb = stage.saved("saved", &stars);
    browser.keys("e");
    browser.until("document.activeElement.id === 'edit'");
    browser.keys(" better");
    browser.click(".more .main");
    let edit = stage.saved("saved", &thumb);
    browser.keys("f");
    browser.until("document.activeElement.id === 'flag'");
    browser.keys("it rambles");
    browser.keys(ENTER);
    let flag = stage.saved("saved", &edit);
    for (ids, kind, field, value) in [
        (&stars, "stars", "stars", json!(4)),
        (&thumb, "thumb", "up", json!(true)),
        (&flag, "flag", "reason", json!("it rambles")),
    ] {
        let rating = stage.rating(&ids[0]);
        assert_eq!((&rating["kind"], &rating["answer"], &rating[field]), (&json!(kind), &json!(answer), &value));
    }
    assert!(stage.rating(&edit[0])["text"].as_str().is_some_and(|text| text.ends_with(" better")));

    browser.reload();
    browser.until("document.querySelector('.about')");
    assert!(browser.text(".about").starts_with(&format!("answer {answer} ")), "{}", browser.text(".about"));
    // Simulated people may have rated it as well.
    browser.until("Number(document.querySelector('.about').textContent.match(/(\\d+) ratings so far/)?.[1]) >= 4");
    stage.visit("browse/onerror");
    browser.until(&format!("document.querySelector('.versions a[href=\"#/ask/{answer}\"]')"));
    assert_eq!(browser.log(), Vec::<String>::new(), "nothing was refused by the content policy");
}

#[test]
fn browser_stop_ends_an_answer_in_the_middle() {
    let Some(stage) = Stage::open(&["generation.max_tokens=300", "generation.max_prompt=100"]) else { return };
    let browser = &stage.browser;
    stage.visit("ask");
    // Escape as soon as there is a word: from outside it might come too late.
    let watcher = "new MutationObserver((_, self) => { if (document.querySelector('.streaming')?.textContent) {\
        self.disconnect(); document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}));\
        } }).observe(document.body, {childList: true, subtree: true})";
    browser.run(watcher, &[]);
    browser.keys("Say a lot.");
    browser.keys(ENTER);
    browser.until("document.querySelector('.status')?.textContent.startsWith('stopped')");
    assert!(browser.holds("document.querySelector('.streaming').textContent.length > 0"), "what came stays");
    assert!(browser.holds("!document.querySelector('.grader')"), "and cannot be rated: it has no id");
}

#[test]
fn browser_charts_move_with_the_learning_and_a_reload_loses_nothing() {
    let Some(stage) = Stage::open(&[]) else { return };
    let browser = &stage.browser;
    stage.visit("watch");
    browser.until("document.querySelector('.state')?.textContent === 'live'");
    let points = "Number(document.querySelector('section[aria-label=\"KL to where it began\"] .plot').ariaLabel\
        .match(/in (\\d+) points/)?.[1] ?? 0)";
    let count = |browser: &Browser| browser.run(&format!("return {points}"), &[]).as_u64().unwrap_or_default();
    browser.until(&format!("{points} > 0"));
    let before = count(browser);
    assert!(browser.holds("document.querySelector('section[aria-label=\"KL to where it began\"] canvas')"));
    browser.until(&format!("{points} > {before}"));
    browser.until("[...document.querySelectorAll('.events li')].some((li) => li.textContent.includes('published'))");
    browser.until("document.querySelectorAll('.rail .dot').length >= 2");
    let before = count(browser);
    browser.reload();
    browser.until(&format!("{points} >= {before}"));
    // What has no figures says so in words, and so does all of it without a daemon.
    assert!(browser.holds(
        "[...document.querySelectorAll('.chart')].every((card) => \
         card.querySelector('.nothing-yet').hidden !== card.querySelector('.plot').hidden)"
    ));
    assert_eq!(stage.daemon.complaints(), Vec::<String>::new());
    assert_eq!(browser.log(), Vec::<String>::new());
}
