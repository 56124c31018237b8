//! HTML of a post → Markdown: code, lists, links, images, tables and MathJax stay what they are.
//!
//! Invariant: text is never lost, only marks are; unknown or unclosed tags cannot make it fail, and no recursion means no
//! depth that could. What would be Markdown by accident is escaped. Nothing is fetched.

mod block;
mod entity;
mod escape;
mod inline;
mod table;
#[cfg(test)]
mod tests;
mod url;

use block::{Container, Lines};
use entity::decode;
use escape::{Place, math};
use inline::Open;
use table::Table;

/// The text of `html` as Markdown; links that lead nowhere without their site are left out, their words are not.
pub fn to_markdown(html: &str) -> String {
    to_markdown_of(html, None)
}

/// The same; relative links lead to `host`, where it is known.
pub fn to_markdown_of(html: &str, host: Option<&str>) -> String {
    let mut writer = Writer { host, ..Writer::default() };
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
pub fn plain(text: &str) -> String {
    decode(text).into_owned()
}

/// A fenced block that is being written.
struct Pre {
    /// Where its fence begins, and its first line.
    fence: usize,
    body: usize,
}

#[derive(Default)]
struct Writer<'a> {
    host: Option<&'a str>,
    out: String,
    /// Quotes and lists, outermost first.
    containers: Vec<Container>,
    lines: Lines,
    /// Newlines that are due before the next text.
    newlines: usize,
    /// A space that is due before the next text.
    space: bool,
    /// A heading's mark that is due before the next text.
    mark: Option<String>,
    in_heading: bool,
    /// Emphasis and a link that are open, outermost first; each at most once.
    opened: Vec<Open>,
    /// Inline code that is being collected.
    code: Option<String>,
    pre: Option<Pre>,
    table: Option<Table>,
}

impl Writer<'_> {
    fn text(&mut self, raw: &str) {
        if raw.is_empty() {
            return;
        }
        let text = decode(raw);
        if self.pre.is_some() {
            self.code_lines(&text);
        } else if let Some(code) = &mut self.code {
            code.push_str(&text);
        } else {
            self.prose(&text);
        }
    }

    fn prose(&mut self, text: &str) {
        let mut place = Place::of(text, self.is_in_link(), self.is_in_cell());
        for (part, is_math) in math(text) {
            for piece in part.split_inclusive(char::is_whitespace) {
                let word = piece.trim_end_matches(char::is_whitespace);
                let spaced = word.len() < piece.len();
                if !word.is_empty() {
                    let begins = self.is_at_line_start();
                    let alone = spaced && (self.space || begins);
                    match is_math {
                        true => self.put(word),
                        false => self.put(&place.escaped(word, begins, alone)),
                    }
                }
                place.pass(piece);
                self.space |= spaced;
            }
        }
    }

    /// Writes inline text after what is due.
    fn put(&mut self, text: &str) {
        if self.newlines > 0 || self.out.is_empty() {
            self.start_line();
        } else if self.space {
            self.out.push(' ');
        }
        self.space = false;
        self.write_openings();
        self.out.push_str(text);
    }

    /// Whether the next text begins a line, behind the marks of lists and quotes.
    fn is_at_line_start(&self) -> bool {
        (self.newlines > 0 || self.out.is_empty()) && self.mark.is_none() && !self.has_openings_due()
    }

    fn tag(&mut self, tag: &str) {
        let closing = tag.starts_with('/');
        let tag = tag.trim_start_matches('/');
        let name_length = tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tag.len());
        let name = tag[..name_length].to_ascii_lowercase();
        match name.as_str() {
            "pre" if self.is_in_cell() => self.inline_code(closing),
            "pre" => self.fenced(tag, closing),
            _ if self.pre.is_some() => {}
            "code" => self.inline_code(closing),
            _ if self.code.is_some() && !self.ends_code(&name) => {}
            "table" | "tr" | "td" | "th" => self.table_tag(&name, closing),
            "strong" | "b" => self.emphasis("**", closing),
            "em" | "i" => self.emphasis("*", closing),
            "a" => self.link(tag, closing),
            "img" => self.image(tag),
            "br" if self.is_in_cell() || self.in_heading => self.space = true,
            "br" => self.newlines = self.newlines.max(1),
            _ if self.is_in_cell() => self.space |= is_block(&name),
            "p" | "div" | "dl" => self.paragraph(closing),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.block(2);
                self.in_heading = !closing;
                self.mark = (!closing).then(|| format!("{} ", "#".repeat(name[1..].parse().unwrap_or(1))));
            }
            "dt" | "dd" => self.block(1),
            "hr" => {
                self.block(2);
                self.put("---");
                self.block(2);
            }
            "blockquote" => self.quote(closing),
            "ul" | "ol" => self.list(name == "ol", closing),
            "li" => self.item(closing),
            _ => {}
        }
    }

    fn finish(mut self) -> String {
        if self.pre.is_some() {
            self.fenced("pre", true);
        }
        self.close_inline();
        self.end_table();
        let end = self.out.trim_end().len();
        self.out.truncate(end);
        self.out
    }
}

fn is_block(name: &str) -> bool {
    let blocks = ["p", "div", "dl", "dt", "dd", "hr", "blockquote", "ul", "ol", "li"];
    blocks.contains(&name) || (name.len() == 2 && name.starts_with('h'))
}

/// The value of a quoted attribute.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let wanted = format!("{name}=");
    let is_own = |at: &usize| tag[..*at].ends_with(char::is_whitespace);
    let at = tag.match_indices(&wanted).map(|(at, _)| at).find(is_own)?;
    let after = &tag[at + wanted.len()..];
    let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    after[1..].split(quote).next()
}
