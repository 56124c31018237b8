//! Rating in the page: each kind with the keyboard and with the mouse, taking back, skipping, and without a network.
//!
//! Invariant: each "saved" is compared with what the daemon keeps under that id.

use serde_json::{Value, json};

use super::driver::{DOWN, ENTER, UP};
use super::{Browser, Stage};

/// The answers in the order in which they are shown.
pub(super) fn shown(browser: &Browser) -> Vec<Value> {
    let script = "return [...document.querySelectorAll('.task [data-answer]')].map((e) => Number(e.dataset.answer))";
    browser.run(script, &[]).as_array().cloned().unwrap_or_default()
}

/// Opens the queue of one kind and waits for its first task.
pub(super) fn begin(stage: &Stage, kind: &str) {
    stage.visit(&format!("rate/{kind}"));
    stage.browser.until("document.querySelector('.task .actions')");
}

/// Does something and gives what the daemon keeps of it, with the answers that were shown.
pub(super) fn rate(stage: &Stage, before: &mut Vec<String>, act: impl Fn(&Browser)) -> (Vec<Value>, Vec<Value>) {
    stage.browser.until("document.querySelector('.task .actions')");
    let answers = shown(&stage.browser);
    act(&stage.browser);
    let ids = stage.saved("saved", before);
    let kept = ids.iter().map(|id| stage.rating(id)).collect();
    // The next task is there, or that there is none.
    let first = answers.first().cloned().unwrap_or_default();
    stage.browser.until(&format!(
        "document.querySelector('.task .nothing') || \
         document.querySelector('.task [data-answer]')?.dataset.answer !== '{first}'"
    ));
    *before = ids;
    (kept, answers)
}

#[test]
fn browser_stars_and_thumbs_are_given_by_key_and_by_mouse() {
    let Some(stage) = Stage::open(&[]) else { return };
    let mut before = Vec::new();
    begin(&stage, "stars");
    assert!(!stage.browser.holds("/policy|score/.test(document.querySelector('.task').textContent)"), "blind");
    let (kept, answers) = rate(&stage, &mut before, |browser| browser.keys("2"));
    assert_eq!((&kept[0]["kind"], &kept[0]["stars"], &kept[0]["answer"]), (&json!("stars"), &json!(2), &answers[0]));
    let (kept, answers) = rate(&stage, &mut before, |browser| browser.click(".stars button:nth-child(5)"));
    assert_eq!((&kept[0]["stars"], &kept[0]["answer"]), (&json!(5), &answers[0]));
    begin(&stage, "thumb");
    let (kept, answers) = rate(&stage, &mut before, |browser| browser.keys("d"));
    assert_eq!((&kept[0]["kind"], &kept[0]["up"], &kept[0]["answer"]), (&json!("thumb"), &json!(false), &answers[0]));
    let (kept, answers) = rate(&stage, &mut before, |browser| browser.click(".up"));
    assert_eq!((&kept[0]["up"], &kept[0]["answer"]), (&json!(true), &answers[0]));
}

#[test]
fn browser_pairs_are_judged_by_key_and_by_mouse_and_both_bad_is_no_pair() {
    let Some(stage) = Stage::open(&[]) else { return };
    let mut before = Vec::new();
    begin(&stage, "pair");
    for (key, better, worse, strength) in [("1", 0, 1, 2.0), ("2", 0, 1, 1.0), ("4", 1, 0, 1.0), ("5", 1, 0, 2.0)] {
        let (kept, answers) = rate(&stage, &mut before, |browser| browser.keys(key));
        let wanted = json!(["pair", answers[better], answers[worse]]);
        assert_eq!(json!([kept[0]["kind"], kept[0]["better"], kept[0]["worse"]]), wanted, "{key}");
        assert_eq!(kept[0]["strength"].as_f64(), Some(strength), "{key}");
    }
    let (kept, answers) = rate(&stage, &mut before, |browser| browser.click(".choices button:nth-child(2)"));
    assert_eq!((&kept[0]["kind"], &kept[0]["better"]), (&json!("pair"), &answers[0]), "by mouse");
    let (kept, answers) = rate(&stage, &mut before, |browser| browser.keys("3"));
    assert_eq!((&kept[0]["kind"], &kept[0]["levels"]), (&json!("ranking"), &json!([answers])), "a tie");
    let (kept, answers) = rate(&stage, &mut before, |browser| browser.keys("0"));
    let bad: Vec<Value> = kept.iter().map(|one| json!([one["kind"], one["up"], one["answer"]])).collect();
    assert_eq!(bad, [json!(["thumb", false, answers[0]]), json!(["thumb", false, answers[1]])], "both bad");
}

#[test]
fn browser_rankings_are_ordered_by_key_and_by_drag() {
    let Some(stage) = Stage::open(&[]) else { return };
    let mut before = Vec::new();
    begin(&stage, "ranking");
    let order = |answers: &[Value], places: &[usize]| -> Vec<Value> {
        places.iter().map(|place| json!([answers[*place]])).collect()
    };
    // The last goes up by two, the first down by one.
    let count = shown(&stage.browser).len();
    assert!(count >= 3, "enough to order: {count}");
    let (kept, answers) = rate(&stage, &mut before, |browser| {
        browser.keys(&format!("3{UP}{UP}"));
        browser.keys(ENTER);
    });
    let mut wanted = vec![2, 0, 1];
    wanted.extend(3..answers.len());
    assert_eq!((&kept[0]["kind"], &kept[0]["levels"]), (&json!("ranking"), &json!(order(&answers, &wanted))));
    let (kept, answers) = rate(&stage, &mut before, |browser| {
        browser.keys(&format!("1{DOWN}="));
        browser.keys(ENTER);
    });
    let mut levels = vec![json!([answers[1], answers[0]])];
    levels.extend(answers[2..].iter().map(|answer| json!([answer])));
    assert_eq!(kept[0]["levels"], json!(levels), "the first was put second, and tied");
    let (kept, answers) = rate(&stage, &mut before, |browser| {
        let below = "const box = document.querySelector('.ranking > li:nth-child(2)').getBoundingClientRect();\
            return Math.round(box.bottom - 4)";
        let y = browser.run(below, &[]).as_i64().expect("a place");
        browser.drag(".ranking > li:first-child .handle", (60, y));
        browser.click(".choices .main");
    });
    let mut wanted = vec![1, 0];
    wanted.extend(2..answers.len());
    assert_eq!(kept[0]["levels"], json!(order(&answers, &wanted)), "by drag");
}

#[test]
fn browser_a_rating_is_taken_back_and_a_task_skipped() {
    let Some(stage) = Stage::open(&[]) else { return };
    let mut before = Vec::new();
    begin(&stage, "stars");
    let (_, answers) = rate(&stage, &mut before, |browser| browser.keys("1"));
    stage.browser.keys("z");
    let back = stage.saved("taken back", &[]);
    assert_eq!(back, before, "the same rating");
    assert!(stage.get(&format!("/v1/feedback/{}", back[0]))["taken_back"].is_object(), "the daemon took it back");
    stage.browser.until(&format!("document.querySelector('.task [data-answer]')?.dataset.answer === '{}'", answers[0]));
    // It can be rated again, under another id.
    let (kept, again) = rate(&stage, &mut before, |browser| browser.keys("5"));
    assert!(again == answers && kept[0]["stars"] == 5 && back != before);
    stage.browser.until("document.querySelector('.task .actions')");
    let skipped = shown(&stage.browser)[0].clone();
    stage.browser.keys("s");
    stage.browser.until(&format!(
        "document.querySelector('.status').textContent === 'skipped' && \
         document.querySelector('.task [data-answer]')?.dataset.answer !== '{skipped}'"
    ));
}

#[test]
fn browser_without_a_network_ratings_wait_and_are_sent_once() {
    let Some(stage) = Stage::open(&[]) else { return };
    let browser = &stage.browser;
    begin(&stage, "stars");
    browser.offline(true);
    browser.keys("3");
    browser.until("document.querySelector('.status .kept')");
    assert_eq!(browser.text("#waiting"), "1 rating to send");
    let waiting = browser.run("return JSON.parse(localStorage.getItem('understudy.waiting'))[0].id", &[]);
    let id = waiting.as_str().expect("an id").to_owned();
    browser.offline(false);
    browser.until("!document.querySelector('#waiting')");
    assert_eq!(stage.saved("saved", &[]).join(" "), id, "and now it says so");
    assert_eq!(stage.rating(&id)["stars"], 3);
    let kept = stage.get("/v1/feedback?annotator=me&limit=100");
    assert_eq!(kept["items"].as_array().map(Vec::len), Some(1), "once: {kept}");
}
