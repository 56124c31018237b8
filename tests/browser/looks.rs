//! How the page looks and whether all can use it: light, dark and 390 px wide.
//!
//! Invariant: pictures go to `target/screenshots` and nowhere else; a page that is wider than its window fails.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{ENTER, Stage};

/// The checker of accessibility; `scripts/axe.sh` fetches it.
const AXE: &str = ".cache/axe/axe.min.js";
const PAGES: [&str; 7] = ["ask", "rate/pair", "rate/ranking", "rate/stars", "watch", "browse", "system"];

/// The checker, or nothing and a sentence.
fn axe() -> Option<String> {
    let found = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(AXE)).ok();
    if found.is_none() {
        assert!(std::env::var_os("UNDERSTUDY_BROWSER").is_none_or(|value| value != "1"), "run scripts/axe.sh first");
        println!("skipped: {AXE} is not here, so accessibility is not checked; run scripts/axe.sh");
    }
    found
}

/// Below the folder that everything is built in.
fn pictures() -> PathBuf {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_understudy"));
    program.ancestors().nth(2).expect("target/profile/program").join("screenshots")
}

#[test]
fn browser_pages_are_readable_by_all_in_light_in_dark_and_on_a_phone() {
    let Some(stage) = Stage::open(&[]) else { return };
    let (browser, axe, folder) = (&stage.browser, axe(), pictures());
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut faults = Vec::new();
    // Something to see: an answer that was rated, and updates.
    stage.visit("ask");
    browser.keys("How do I keep basil alive?");
    browser.keys(ENTER);
    browser.until("document.querySelector('.about')");
    let answer = browser.text(".about").split(' ').nth(1).expect("an id").to_owned();
    for (mode, width, dark) in [("light", 1200, false), ("dark", 1200, true), ("phone", 390, false)] {
        // What was begun in one window is not in the next one's picture.
        browser.run("localStorage.clear()", &[]);
        browser.size(width, 844);
        browser.dark(dark);
        for page in PAGES {
            let address = if page == "ask" { format!("ask/{answer}") } else { page.to_owned() };
            stage.visit(&address);
            browser.until(match page {
                "ask" => "document.querySelector('.grader')",
                "watch" => "document.querySelector('.chart canvas')",
                "browse" => "document.querySelector('.versions')",
                "system" => "document.querySelector('.cards table')",
                _ => "document.querySelector('.actions')",
            });
            let name = format!("{mode}-{}", page.replace('/', "-"));
            faults.extend(look(&stage, axe.as_deref(), &folder, &name));
            if page == "rate/ranking" {
                // Begun: one is tied, one left out, and a reason is being written.
                browser.keys("2=1x");
                browser.keys("wIt leaves out the light");
                browser.until("document.querySelector('#why').value.endsWith('light')");
                faults.extend(look(&stage, axe.as_deref(), &folder, &format!("{name}-begun")));
                browser.run("document.querySelector('.line').scrollIntoView({block: 'center'})", &[]);
                faults.extend(look(&stage, axe.as_deref(), &folder, &format!("{name}-line")));
            }
            if page == "system" {
                browser.click("#who");
                browser.until("document.querySelector('dialog.person[open]')");
                faults.extend(look(&stage, axe.as_deref(), &folder, &format!("{mode}-person")));
            }
        }
    }
    browser.click("dialog.person button[type=button]");
    browser.until("!document.querySelector('dialog.person')");
    browser.keys("?");
    browser.until("document.querySelector('dialog.keys[open]')");
    faults.extend(axe.iter().flat_map(|axe| violations(&stage, axe)).map(|fault| format!("keys: {fault}")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    println!("pictures are in {}", folder.display());
}

/// Takes a picture of what is shown; what is wrong with it.
fn look(stage: &Stage, axe: Option<&str>, folder: &Path, name: &str) -> Vec<String> {
    let browser = &stage.browser;
    std::fs::write(folder.join(format!("{name}.png")), browser.picture()).expect("a picture");
    let mut faults = Vec::new();
    let wide = browser.run("return [document.documentElement.scrollWidth, innerWidth]", &[]);
    if wide[0].as_u64() > wide[1].as_u64() {
        faults.push(format!("it is {} px wide in a window of {}", wide[0], wide[1]));
    }
    faults.extend(axe.iter().flat_map(|axe| violations(stage, axe)));
    faults.extend(browser.log());
    faults.into_iter().map(|fault| format!("{name}: {fault}")).collect()
}

/// Serious and critical violations of what is shown.
fn violations(stage: &Stage, axe: &str) -> Vec<String> {
    // As the script itself: the page's policy lets nothing be evaluated within it.
    stage.browser.run(&format!("{axe}; window.axe = axe"), &[]);
    let script = "const done = arguments[0]; axe.run().then((found) => done(found.violations.map((one) => \
        [one.impact, one.id, one.nodes.map((node) => node.html.slice(0, 160)).slice(0, 3).join(' | ')])))";
    let found = stage.browser.run_async(script);
    let bad = |one: &&Value| ["serious", "critical"].contains(&one[0].as_str().unwrap_or_default());
    found.as_array().into_iter().flatten().filter(bad).map(Value::to_string).collect()
}
