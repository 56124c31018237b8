//! A daemon that asks for tokens: the page asks a person for one, and what they wanted goes on.
//!
//! Invariant: the tokens are made by the program's own command, before the daemon starts.

use serde_json::{Value, json};

use super::driver::{ENTER, exchange};
use super::{Browser, Stage};
use crate::program::understudy;

const OPEN: &str = "document.querySelector('dialog.person[open]')";

/// A token of these scopes.
fn token(data: &std::path::Path, scopes: &str) -> String {
    let mut command = understudy();
    command.args(["token", "create", "--scope", scopes, "--json", "--data-dir"]).arg(data);
    let output = command.output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout);
    let at = told.find("ust-").unwrap_or_else(|| panic!("{told}{}", String::from_utf8_lossy(&output.stderr)));
    told[at..].chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect()
}

/// Writes into the open dialog and keeps it.
fn give(browser: &Browser, secret: &str, by_key: bool) {
    browser.until("document.activeElement.id === 'access'");
    browser.run("document.querySelector('#access').value = ''", &[]);
    browser.keys(secret);
    match by_key {
        true => browser.keys(ENTER),
        false => browser.click("dialog.person .main"),
    }
}

#[test]
fn browser_a_token_is_asked_for_and_what_was_wanted_goes_on_with_the_right_one_only() {
    let mut made = [String::new(), String::new()];
    let prepared = |data: &std::path::Path| made = ["ask", "rate,ask"].map(|scopes| token(data, scopes));
    let Some(stage) = Stage::prepared(&["http.tokens_always=true"], prepared) else { return };
    let browser = &stage.browser;
    stage.visit("ask");
    assert!(!browser.holds(OPEN), "reading needs none");
    browser.keys("Who may ask?");
    browser.keys(ENTER);
    browser.until(OPEN);
    assert!(browser.text("dialog.person .problem").contains("needs a token"), "{}", browser.text("dialog.person"));
    give(browser, "ust-0000", true);
    browser.until("document.querySelector('dialog.person[open] .problem')?.textContent.includes('not known here')");
    assert!(!browser.holds("document.querySelector('.about')"), "it did not go through");
    // A token that may ask: the question goes on by itself.
    give(browser, &made[0], false);
    browser.until("document.querySelector('.about')");
    assert!(!browser.holds("document.querySelector('dialog.person')"));
    assert_eq!(browser.text(".asked"), "Who may ask?");

    // It may not rate, and that is said; the rating waits here.
    browser.keys("4");
    browser.until("document.querySelector('.status .kept')");
    assert!(browser.text(".status").contains("scopes do not include 'rate'"), "{}", browser.text(".status"));
    browser.click("#who");
    browser.until(OPEN);
    browser.click("#access");
    give(browser, &made[1], true);
    let ids = stage.saved("saved", &[]);
    assert_eq!(stage.rating(&ids[0])["stars"], 4);
    let (status, _) = exchange(&stage.address, "POST", "/v1/feedback", &json!({})).expect("an answer");
    assert_eq!(status, 401, "without a token nothing is taken");

    // Who says no is left in peace, and asked again when they do something.
    browser.run("localStorage.removeItem('understudy.token')", &[]);
    stage.visit("rate/stars");
    browser.until(OPEN);
    browser.click("dialog.person button[type=button]");
    browser.until("document.querySelector('.task .problem')?.textContent.includes('needs a token')");
    let asked = "const [said, done] = [performance.now(), arguments[0]]; const look = () => {\
        if (document.querySelector('dialog.person')) done('asked again');\
        else if (performance.now() - said > 4000) done('in peace'); else setTimeout(look, 50); }; look()";
    assert_eq!(browser.run_async(asked), Value::from("in peace"), "the page looked for news, and asked nobody");
    browser.click("#who");
    browser.click("#access");
    give(browser, &made[1], true);
    browser.until("document.querySelector('.task .actions')");
    let logged: Vec<String> = browser
        .log()
        .into_iter()
        .filter(|line| !line.contains("(Unauthorized)") && !line.contains("(Forbidden)"))
        .collect();
    assert_eq!(logged, Vec::<String>::new(), "the browser notes refusals by itself, and nothing else");
}
