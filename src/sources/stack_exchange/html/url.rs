//! Where links lead.
//!
//! Invariant: what comes out begins with http, https or mailto and can stand between the brackets of a Markdown link.

use super::entity::decode;

/// Longest address that is kept.
const MOST_BYTES: usize = 2048;

/// The address that `href` means on the site `host`; `None` where it leads nowhere, or elsewhere than a link may.
pub(super) fn resolved(href: &str, host: Option<&str>) -> Option<String> {
    let href = decode(href);
    let href = href.trim();
    let begins = |scheme: &str| href.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
    let whole = if ["http://", "https://", "mailto:"].into_iter().any(begins) {
        href.to_owned()
    } else if href.starts_with("//") {
        format!("https:{href}")
    } else if href.starts_with('/') {
        format!("https://{}{href}", host?)
    } else {
        return None;
    };
    if whole.len() > MOST_BYTES || whole.contains(char::is_control) {
        return None;
    }
    let mut safe = String::with_capacity(whole.len());
    for c in whole.chars() {
        match c {
            ' ' => safe.push_str("%20"),
            '(' => safe.push_str("%28"),
            ')' => safe.push_str("%29"),
            '<' => safe.push_str("%3C"),
            '>' => safe.push_str("%3E"),
            '\\' => safe.push_str("%5C"),
            '|' => safe.push_str("%7C"),
            c if c.is_whitespace() => safe.push_str("%20"),
            c => safe.push(c),
        }
    }
    Some(safe)
}

/// Whether a link's words are its address already.
pub(super) fn is_same(words: &str, target: &str) -> bool {
    let plain = |text: &str| text.replace("%28", "(").replace("%29", ")");
    let target = plain(target);
    let target = target.strip_prefix("mailto:").unwrap_or(&target);
    let words = plain(words);
    words == target || words.strip_suffix('/') == Some(target) || target.strip_suffix('/') == Some(&words)
}
