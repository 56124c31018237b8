//! What goes with a rating and what was begun: why, a ranking of some only, all bad, undo, a reload in the middle.
//!
//! Invariant: each "saved" is compared with what the daemon keeps under that id, and each "taken back" too.

use serde_json::{Value, json};

use super::driver::{DOWN, ENTER, UP};
use super::rating::{begin, rate, shown};
use super::{Browser, Stage};

const ESCAPE: &str = "\u{e00c}";

/// Takes the last rating back with its key, looks it up, and waits for the same task.
fn take_back(stage: &Stage, ids: &[String], answers: &[Value]) {
    stage.browser.keys("z");
    assert_eq!(stage.saved("taken back", &[]), ids, "all of them");
    for id in ids {
        assert!(stage.get(&format!("/v1/feedback/{id}"))["taken_back"].is_object(), "the daemon took {id} back");
    }
    stage.browser.until(&format!("document.querySelector('.task [data-answer=\"{}\"]')", answers[0]));
}

/// The text of the field for a reason, where it is shown.
fn reason(browser: &Browser) -> Value {
    browser.run(
        "const box = document.querySelector('.why'); return box.hidden ? null : box.querySelector('input').value",
        &[],
    )
}

/// Skips to a ranking of four: the newest question may not have all its answers yet.
fn four(stage: &Stage) {
    loop {
        stage.browser.until("document.querySelector('.task .actions')");
        let answers = shown(&stage.browser);
        if answers.len() == 4 {
            return;
        }
        stage.browser.keys("s");
        let first = &answers[0];
        stage.browser.until(&format!(
            "document.querySelector('.task [data-answer]') && !document.querySelector('.task [data-answer=\"{first}\"]')"
        ));
    }
}

#[test]
fn browser_a_reason_goes_with_the_rating_by_key_and_by_mouse_and_is_never_in_the_way() {
    let Some(stage) = Stage::open(&[]) else { return };
    let browser = &stage.browser;
    let mut before = Vec::new();
    begin(&stage, "stars");
    assert_eq!(reason(browser), Value::Null, "asked of nobody");
    let (kept, answers) = rate(&stage, &mut before, |browser| {
        browser.keys("w");
        browser.until("document.activeElement.id === 'why'");
        browser.keys("5 stars? <b>No</b>, it rambles");
        browser.keys(ENTER);
        browser.keys("2");
    });
    assert_eq!((&kept[0]["stars"], &kept[0]["why"]), (&json!(2), &json!("5 stars? <b>No</b>, it rambles")));
    assert_eq!(reason(browser), Value::Null, "it is of one rating");
    take_back(&stage, &before, &answers);
    assert_eq!(reason(browser), json!("5 stars? <b>No</b>, it rambles"), "and is there again to be changed");
    let (kept, _) = rate(&stage, &mut before, |browser| {
        browser.click("#why");
        browser.run("document.querySelector('#why').value = ''", &[]);
        browser.keys(ESCAPE);
        browser.until("document.querySelector('.why').hidden");
        browser.keys("3");
    });
    assert!(kept[0]["stars"] == 3 && kept[0].get("why").is_none_or(Value::is_null), "{}", kept[0]);
    begin(&stage, "pair");
    let (kept, answers) = rate(&stage, &mut before, |browser| {
        browser.click(".side button[aria-keyshortcuts=w]");
        browser.keys("neither says when");
        browser.click(".choices button:nth-child(6)");
    });
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|one| one["why"] == "neither says when" && one["up"] == false), "of each: {kept:?}");
    take_back(&stage, &before, &answers);

    // In Ask, too; and a long one is cut where the daemon would refuse it.
    stage.visit("ask");
    browser.keys("Why?");
    browser.keys(ENTER);
    browser.until("document.querySelector('.about')");
    browser.keys("w");
    browser.run("document.execCommand('insertText', false, '\u{20ac}'.repeat(3000))", &[]);
    browser.keys(ENTER);
    browser.keys("u");
    let ids = stage.saved("saved", &before);
    let why = stage.rating(&ids[0])["why"].as_str().expect("a reason").len();
    assert!((2000..=2048).contains(&why), "{why} bytes");
    assert_eq!(browser.log(), Vec::<String>::new());
}

#[test]
fn browser_only_some_are_ranked_by_key_and_by_drag_and_the_rest_is_worse_only_when_said() {
    let Some(stage) = Stage::open(&[]) else { return };
    let mut before = Vec::new();
    begin(&stage, "ranking");
    let levels = |answers: &[Value], places: &[&[usize]]| -> Value {
        // Of the answers in the order in which they were shown.
        places.iter().map(|level| level.iter().map(|place| answers[*place].clone()).collect::<Vec<_>>()).collect()
    };
    four(&stage);
    // The third is put first and all below the second place is left out.
    let (kept, answers) = rate(&stage, &mut before, |browser| {
        browser.keys(&format!("3{UP}{UP}1."));
        browser.keys(ENTER);
    });
    assert_eq!(kept[0]["levels"], levels(&answers, &[&[2], &[0]]), "nothing is said of the rest");
    take_back(&stage, &before, &answers);
    // The order is there again; and now the rest is worse.
    let (kept, answers) = rate(&stage, &mut before, |browser| {
        browser.keys("b");
        browser.keys(ENTER);
    });
    assert_eq!(kept[0]["levels"], levels(&answers, &[&[0], &[1], &[2, 3]]), "the rest is worse, and equal");
    four(&stage);
    // One is left out and comes back as the last; a tie of the others.
    let (kept, answers) = rate(&stage, &mut before, |browser| {
        browser.keys("1x2x1x3=");
        browser.keys(ENTER);
    });
    assert_eq!(kept[0]["levels"], levels(&answers, &[&[2], &[3], &[0]]), "the first has nothing above it to tie with");
    four(&stage);
    // By mouse: dragged below the line; one alone is no ranking, but the best of all is.
    let (kept, answers) = rate(&stage, &mut before, |browser| {
        let below = "const box = document.querySelector('.ranking > li.line').getBoundingClientRect();\
            return Math.round(box.bottom + 4)";
        browser.run("document.querySelector('.ranking').scrollIntoView()", &[]);
        browser.click(".ranking > li:nth-child(4) button[aria-label^='Leave']");
        browser.click(".ranking > li:nth-child(3) button[aria-label^='Leave']");
        let y = browser.run(below, &[]).as_i64().expect("a place");
        browser.drag(".ranking > li:nth-child(2) .handle", (60, y));
        browser.until("document.querySelectorAll('.ranking > li.out').length === 3");
        browser.click(".choices .main");
        browser.until("document.querySelector('.status .problem')?.textContent.startsWith('rank two')");
        browser.click(".line button");
        browser.click(".choices .main");
    });
    assert_eq!(kept[0]["levels"][0], json!([answers[0]]));
    let mut worse = kept[0]["levels"][1].as_array().cloned().unwrap_or_default();
    worse.sort_by_key(Value::as_u64);
    let mut others = answers[1..].to_vec();
    others.sort_by_key(Value::as_u64);
    assert_eq!(worse, others, "the best of all: {}", kept[0]["levels"]);
}

#[test]
fn browser_all_bad_is_a_negative_of_each_and_no_tie_and_both_can_be_undone() {
    let Some(stage) = Stage::open(&[]) else { return };
    let mut before = Vec::new();
    begin(&stage, "ranking");
    for by_key in [true, false] {
        four(&stage);
        let (kept, answers) = rate(&stage, &mut before, |browser| match by_key {
            true => browser.keys("0"),
            false => browser.click(".choices .down"),
        });
        let bad: Vec<Value> = kept.iter().map(|one| json!([one["kind"], one["up"], one["answer"]])).collect();
        let wanted: Vec<Value> = answers.iter().map(|answer| json!(["thumb", false, answer])).collect();
        assert_eq!(bad, wanted, "each is bad, and none is better");
        take_back(&stage, &before, &answers);
    }
    let (kept, answers) = rate(&stage, &mut before, |browser| {
        browser.keys("2=3=4=");
        browser.keys(ENTER);
    });
    assert_eq!(kept[0]["levels"], json!([answers]), "all are as good");
    take_back(&stage, &before, &answers);
}

#[test]
fn browser_a_reload_keeps_the_order_the_reason_and_the_texts_that_were_begun() {
    let Some(stage) = Stage::open(&[]) else { return };
    let browser = &stage.browser;
    let mut before = Vec::new();
    begin(&stage, "ranking");
    four(&stage);
    browser.keys(&format!("1{DOWN}=4x"));
    browser.keys("w");
    browser.keys("half a reason");
    let was = shown(browser);
    browser.reload();
    browser.until("document.querySelector('.task .actions')");
    assert_eq!((shown(browser), reason(browser)), (was.clone(), json!("half a reason")));
    let (kept, answers) = rate(&stage, &mut before, |browser| browser.keys(ENTER));
    // The first was put second and tied with it, the fourth left out.
    assert_eq!(kept[0]["levels"], json!([[answers[0], answers[1]], [answers[2]]]));
    assert_eq!((&answers, &kept[0]["why"]), (&was, &json!("half a reason")));
    browser.reload();
    browser.until("document.querySelector('.task .actions')");
    take_back(&stage, &before, &answers);
    assert_eq!((shown(browser), reason(browser)), (was, json!("half a reason")), "undo goes back beyond the reload");

    begin(&stage, "stars");
    browser.keys("e");
    browser.until("document.activeElement.id === 'edit'");
    browser.keys(" and more");
    browser.reload();
    browser.until("document.querySelector('#edit')?.value.endsWith(' and more')");
    let (kept, _) = rate(&stage, &mut before, |browser| browser.click(".more .main"));
    assert!(kept[0]["kind"] == "edit" && kept[0]["text"].as_str().is_some_and(|text| text.ends_with(" and more")));

    stage.visit("ask");
    browser.until("document.activeElement.id === 'question'");
    browser.keys("What about");
    browser.reload();
    browser.until("document.querySelector('#question')?.value === 'What about'");
    browser.until("document.activeElement.id === 'question'");
    browser.keys(" it?");
    browser.keys(ENTER);
    browser.until("document.querySelector('.about')");
    browser.keys("w");
    browser.keys("begun");
    browser.reload();
    browser.until("document.querySelector('.about')");
    assert_eq!(reason(browser), json!("begun"));
    browser.keys("1");
    let ids = stage.saved("saved", &before);
    assert_eq!(stage.rating(&ids[0])["why"], "begun");
    assert_eq!(browser.log(), Vec::<String>::new());
}
