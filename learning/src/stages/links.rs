//! Markdown without the addresses of its links, as a model reads it.
//!
//! Invariant: words are never lost, and code is left as it is; what is no whole link stays.

use std::borrow::Cow;

/// Beginnings of what makes a link's target.
const TARGETS: [&str; 3] = ["](http://", "](https://", "](mailto:"];

/// `markdown` with `[words](address)` as `words` and `![description](address)` as `description`, where the address begins
/// with http, https or mailto and is without spaces and brackets, as ours are.
pub fn without_targets(markdown: &str) -> Cow<'_, str> {
    if !TARGETS.iter().any(|target| markdown.contains(target)) {
        return Cow::Borrowed(markdown);
    }
    let mut out = String::with_capacity(markdown.len());
    // Where the brackets that are open were written.
    let mut open: Vec<usize> = Vec::new();
    let (bytes, mut at) = (markdown.as_bytes(), 0);
    while at < bytes.len() {
        let rest = &markdown[at..];
        let length = match bytes[at] {
            b'\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            b'`' => code(rest),
            b'[' => {
                open.push(out.len());
                1
            }
            b']' => {
                let begun = open.pop();
                if let (Some(begun), Some(length)) = (begun, target(rest)) {
                    let image = out[..begun].ends_with('!') && !out[..begun].ends_with("\\!");
                    let mark = begun - usize::from(image);
                    out.replace_range(mark..=begun, "");
                    at += length;
                    continue;
                }
                1
            }
            _ => rest.find(['\\', '`', '[', ']']).unwrap_or(rest.len()),
        };
        out.push_str(&rest[..length]);
        at += length;
    }
    Cow::Owned(out)
}

/// Length of the code that begins here, its quotes included; of the quotes alone where it has no end.
fn code(text: &str) -> usize {
    let quotes = text.len() - text.trim_start_matches('`').len();
    let mut from = quotes;
    // An end is as long as the beginning, not longer. Few tries: a text of quotes alone must not cost its square.
    for _ in 0..64 {
        let Some(end) = text[from..].find(&text[..quotes]).map(|end| end + from) else { break };
        let run = text[end..].len() - text[end..].trim_start_matches('`').len();
        from = end + run;
        if run == quotes || quotes >= 3 {
            return from;
        }
    }
    quotes
}

/// Length of `](address)` at the beginning of `text`.
fn target(text: &str) -> Option<usize> {
    TARGETS.iter().find(|target| text.starts_with(**target))?;
    let end = text.find(|c: char| c == ')' || c.is_whitespace())?;
    text[end..].starts_with(')').then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::without_targets;

    fn check(markdown: &str, wanted: &str) {
        assert_eq!(without_targets(markdown), wanted, "{markdown}");
    }

    #[test]
    fn links_and_images_become_their_words() {
        check("see [the **site**](https://x.org/a_%28b%29), [me](mailto:a@b.c)", "see the **site**, me");
        check("![a \\[cat\\]](https://i.org/a.png)!", "a \\[cat\\]!");
        check("[![a](https://i.org/a.png)](https://x.org)", "a");
        check("wow\\![\\[1\\]](https://x.org)", "wow\\!\\[1\\]");
    }

    #[test]
    fn what_is_no_link_and_what_is_code_stays() {
        for text in [
            "[a](b) c",
            "[a](https://x.org d)",
            "](https://x.org)",
            "é [",
            "`[a](https://x.org)`",
            "\\[a](https://x.org)",
        ] {
            check(text, text);
        }
        let code = "```\n[a](https://x.org)\n```\n";
        check(&format!("{code}[b](https://x.org)"), &format!("{code}b"));
        check("`a [b](https://x.org)", "`a b");
    }
}
