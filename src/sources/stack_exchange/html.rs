//! HTML of a post → Markdown-like plain text.
//!
//! Invariant: text is never lost, only marks are; unknown or unclosed tags cannot make it fail, and no recursion means no
//! depth that could. Links keep their words, images their description; nothing is fetched.

mod entity;

use entity::decode;

/// Deepest list and quote nesting that is shown; deeper levels look like the last.
const MOST_LEVELS: usize = 8;

/// The text of `html`: paragraphs apart by a blank line, lists with `-` or numbers, code fenced, quotes with `>`.
pub fn to_markdown(html: &str) -> String {
    let mut writer = Writer::default();
    let mut rest = html;
    // Behind the last `>` nothing is a tag: it is looked for once, not from every `<` anew.
    let last = html.rfind('>').map_or(0, |last| html.len() - last);
    while let Some(start) = rest.find('<') {
        writer.text(&rest[..start]);
        rest = &rest[start..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let is_tag = rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
        let end = if is_tag && rest.len() >= last && last > 0 { rest.find('>') } else { None };
        match end {
            Some(end) => {
                writer.tag(&rest[1..end]);
                rest = &rest[end + 1..];
            }
            // A lone `<`, as in "a < b".
            None => {
                writer.text("<");
                rest = &rest[1..];
            }
        }
    }
    writer.text(rest);
    writer.finish()
}

/// Text that only its characters were escaped in: titles and names of the API.
pub(super) fn plain(text: &str) -> String {
    decode(text).into_owned()
}

#[derive(Default)]
struct Writer {
    out: String,
    /// One entry a list: `None` has bullets, `Some(n)` is at number n.
    lists: Vec<Option<u32>>,
    quotes: usize,
    /// The quote level of the last line that was written.
    written_quotes: usize,
    in_pre: bool,
    /// Newlines that are due before the next text.
    newlines: usize,
    /// A space that is due before the next text.
    space: bool,
    /// A list mark that is due before the next text.
    mark: Option<String>,
}

impl Writer {
    fn text(&mut self, raw: &str) {
        if raw.is_empty() {
            return;
        }
        let text = decode(raw);
        if self.in_pre {
            self.code(&text);
            return;
        }
        for piece in text.split_inclusive(char::is_whitespace) {
            let word = piece.trim_end_matches(char::is_whitespace);
            if !word.is_empty() {
                self.put(word);
            }
            self.space |= word.len() < piece.len();
        }
    }

    fn code(&mut self, text: &str) {
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                self.out.push('\n');
                self.out.push_str(&self.prefix());
            }
            self.out.push_str(line.trim_end_matches('\r'));
        }
    }

    /// Writes inline text after what is due.
    fn put(&mut self, text: &str) {
        let starts_line = self.newlines > 0 || self.out.is_empty();
        self.line_breaks();
        if let Some(mark) = self.mark.take() {
            self.out.push_str(&mark);
        } else if self.space && !starts_line {
            self.out.push(' ');
        }
        self.space = false;
        self.out.push_str(text);
    }

    fn line_breaks(&mut self) {
        if self.out.is_empty() {
            self.newlines = 0;
            self.out.push_str(&self.prefix());
        }
        // A blank line between quoted and unquoted text is not quoted.
        let between = "> ".repeat(self.quotes.min(self.written_quotes).min(MOST_LEVELS));
        for left in (0..self.newlines).rev() {
            self.out.push('\n');
            self.out.push_str(&if left == 0 { self.prefix() } else { between.clone() });
        }
        self.newlines = 0;
        self.written_quotes = self.quotes;
    }

    fn prefix(&self) -> String {
        let indent = self.lists.len().saturating_sub(1).min(MOST_LEVELS);
        format!("{}{}", "> ".repeat(self.quotes.min(MOST_LEVELS)), "  ".repeat(indent))
    }

    fn block(&mut self, newlines: usize) {
        self.newlines = self.newlines.max(newlines);
        self.space = false;
    }

    fn tag(&mut self, tag: &str) {
        let closing = tag.starts_with('/');
        let tag = tag.trim_start_matches('/');
        let name_length = tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tag.len());
        let name = tag[..name_length].to_ascii_lowercase();
        let between_blocks = if self.lists.is_empty() { 2 } else { 1 };
        match name.as_str() {
            "pre" if closing != self.in_pre => {}
            "pre" if closing => {
                self.in_pre = false;
                let fresh = self.out.trim_end_matches([' ', '>']).ends_with('\n');
                self.newlines = usize::from(!fresh);
                self.line_breaks();
                self.out.push_str("```");
                self.block(2);
            }
            "pre" => {
                self.block(between_blocks);
                self.put("```");
                self.newlines = 1;
                self.line_breaks();
                self.in_pre = true;
            }
            _ if self.in_pre => {}
            "p" | "div" | "table" | "dl" => self.block(between_blocks),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.block(2);
                if !closing {
                    let level = name[1..].parse().unwrap_or(1);
                    self.mark = Some(format!("{} ", "#".repeat(level)));
                }
            }
            "br" | "tr" | "dt" | "dd" => self.block(1),
            "hr" => {
                self.block(2);
                self.put("---");
                self.block(2);
            }
            "blockquote" => {
                self.block(2);
                self.quotes = if closing { self.quotes.saturating_sub(1) } else { self.quotes + 1 };
            }
            "ul" | "ol" if closing => {
                self.lists.pop();
                self.block(if self.lists.is_empty() { 2 } else { 1 });
            }
            "ul" | "ol" => {
                self.block(between_blocks);
                self.lists.push((name == "ol").then_some(0));
            }
            "li" if !closing => {
                self.block(1);
                let mark = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!("{number}. ")
                    }
                    _ => "- ".to_owned(),
                };
                self.mark = Some(mark);
            }
            "code" | "kbd" => self.inline_mark("`", closing),
            "strong" | "b" => self.inline_mark("**", closing),
            "em" | "i" => self.inline_mark("*", closing),
            "td" | "th" if closing => self.space = true,
            "img" => {
                if let Some(alt) = attribute(tag, "alt").filter(|alt| !alt.trim().is_empty()) {
                    self.put(&format!("[image: {}]", decode(alt).trim()));
                }
            }
            _ => {}
        }
    }

    fn inline_mark(&mut self, mark: &str, closing: bool) {
        if closing {
            // Directly behind the word, even when a space stood before the closing tag.
            if !self.out.is_empty() {
                self.out.push_str(mark);
            }
        } else {
            self.put(mark);
        }
    }

    fn finish(mut self) -> String {
        if self.in_pre {
            self.tag("/pre");
        }
        let end = self.out.trim_end_matches([' ', '\n', '>']).len();
        self.out.truncate(end);
        self.out
    }
}

/// The value of a quoted attribute.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let after = tag.split_once(&format!("{name}="))?.1;
    let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    after[1..].split(quote).next()
}

#[cfg(test)]
mod tests {
    use super::to_markdown;

    fn check(html: &str, wanted: &str) {
        assert_eq!(to_markdown(html), wanted, "{html}");
    }

    #[test]
    fn paragraphs_lists_and_headings() {
        check("<p>One\ntwo</p>\n\n<p>three <b>four</b> <em>five</em></p>\n", "One two\n\nthree **four** *five*");
        check("<ul>\n<li>a</li>\n<li><p>b</p></li>\n</ul><p>c</p>", "- a\n- b\n\nc");
        check("<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>", "1. a\n  - b\n2. c");
        check("<h2>Yes! We want hats!</h2>\n\n<p>x</p>", "## Yes! We want hats!\n\nx");
        check("a<br>b<br/>c<hr>d", "a\nb\nc\n\n---\n\nd");
    }

    #[test]
    fn code_keeps_its_lines_and_quotes_their_marks() {
        check("<p>Run:</p><pre><code>if a &lt; b {\n    c\n}\n</code></pre>", "Run:\n\n```\nif a < b {\n    c\n}\n```");
        check("<p>Call <code>f(x)</code>.</p>", "Call `f(x)`.");
        check("<p>a</p><blockquote><p>b</p>\n<p>c</p></blockquote><p>d</p>", "a\n\n> b\n> \n> c\n\nd");
    }

    #[test]
    fn links_keep_words_images_their_description_entities_their_character() {
        check(
            "<a href=\"https://x\">the site</a> &amp; &#233;&#x2014;&nbsp;&hellip; &bogus; &",
            "the site & é— … &bogus; &",
        );
        check("<img src=\"x\" alt=\"a &quot;cat&quot;\"><img alt=''>", "[image: a \"cat\"]");
    }

    #[test]
    fn broken_html_loses_no_text_and_never_fails() {
        check("a < b and <c", "a < b and <c");
        check("</p></ul></pre></blockquote>x", "x");
        check("<pre>open", "```\nopen\n```");
        check("<!-- hidden -->seen<!-- open", "seen");
        assert!(to_markdown(&format!("{}deep", "<ul><li><blockquote>".repeat(10_000))).ends_with("deep"));
    }

    #[test]
    fn a_long_row_of_tags_that_never_end_is_text_in_one_pass() {
        let html = "<a".repeat(1 << 19);
        assert_eq!(to_markdown(&html), html);
        assert_eq!(to_markdown(&format!("<b>{html}")), format!("**{html}"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_converted(html in "(<[a-z/]{0,6}>|&[#a-z0-9]{0,5};|[ a-zé\n<>&]){0,60}") {
            let _ = to_markdown(&html);
        }
    }
}
