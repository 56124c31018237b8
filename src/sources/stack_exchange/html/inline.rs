//! Emphasis, links, images and inline code.
//!
//! Invariant: a mark is written with the first text that it holds and closed in its own block, so that none is left over.

use super::entity::decode;
use super::escape::Place;
use super::url::{is_same, resolved};
use super::{Writer, attribute};

/// Something that is open.
pub(super) struct Open {
    mark: &'static str,
    /// Where a link leads, if anywhere.
    target: Option<String>,
    /// Behind its mark, once that was written.
    at: Option<usize>,
    /// The same within itself is nothing, but has an end too.
    within: u32,
}

const LINK: &str = "[";

impl Writer<'_> {
    pub(super) fn is_in_link(&self) -> bool {
        self.opened.iter().any(|open| open.mark == LINK)
    }

    pub(super) fn has_openings_due(&self) -> bool {
        self.opened.iter().any(|open| open.at.is_none())
    }

    pub(super) fn write_openings(&mut self) {
        for open in self.opened.iter_mut().filter(|open| open.at.is_none()) {
            // Else it would be an image.
            if open.mark == LINK && self.out.ends_with('!') {
                self.out.insert(self.out.len() - 1, '\\');
            }
            self.out.push_str(open.mark);
            open.at = Some(self.out.len());
        }
    }

    pub(super) fn emphasis(&mut self, mark: &'static str, closing: bool) {
        match (self.opened.iter().position(|open| open.mark == mark), closing) {
            (Some(at), false) => self.opened[at].within += 1,
            (Some(at), true) if self.opened[at].within > 0 => self.opened[at].within -= 1,
            (Some(at), true) => self.close_from(at),
            (None, false) => self.opened.push(Open { mark, target: None, at: None, within: 0 }),
            (None, true) => {}
        }
    }

    pub(super) fn link(&mut self, tag: &str, closing: bool) {
        // Links do not nest: another one ends the one before.
        if let Some(at) = self.opened.iter().position(|open| open.mark == LINK) {
            self.close_from(at);
        }
        if !closing && let Some(target) = attribute(tag, "href").and_then(|href| resolved(href, self.host)) {
            self.opened.push(Open { mark: LINK, target: Some(target), at: None, within: 0 });
        }
    }

    /// Closes what is open, innermost first; a link that its block ends in is closed too.
    pub(super) fn close_inline(&mut self) {
        self.end_code();
        self.close_from(0);
    }

    fn close_from(&mut self, first: usize) {
        for open in self.opened.split_off(first).into_iter().rev() {
            let Open { mark, target, at: Some(at), .. } = open else { continue };
            match target {
                None => self.out.push_str(mark),
                Some(target) => {
                    let words = &self.out[at..];
                    let is_own_image = words.starts_with("![") && words.ends_with(&format!("]({target})"));
                    if is_own_image || is_same(words, &target) {
                        self.out.remove(at - 1);
                    } else {
                        self.out.push_str(&format!("]({target})"));
                    }
                }
            }
        }
    }

    pub(super) fn image(&mut self, tag: &str) {
        let alt = attribute(tag, "alt").map(|alt| decode(alt).split_whitespace().collect::<Vec<_>>().join(" "));
        let alt = alt.filter(|alt| !alt.is_empty());
        let source = attribute(tag, "src").and_then(|source| resolved(source, self.host));
        match (alt, source) {
            (alt, Some(source)) => {
                let alt = alt.as_deref().unwrap_or("image");
                let description = Place::of(alt, true, self.is_in_cell()).escaped(alt, false, false).into_owned();
                self.put(&format!("![{description}]({source})"));
            }
            (Some(alt), None) => self.put(&format!("[image: {alt}]")),
            (None, None) => {}
        }
    }

    pub(super) fn inline_code(&mut self, closing: bool) {
        match closing {
            true => self.end_code(),
            false => _ = self.code.get_or_insert_default(),
        }
    }

    /// Whether a tag of this name ends inline code that was not closed.
    pub(super) fn ends_code(&mut self, name: &str) -> bool {
        let ends = super::is_block(name) || matches!(name, "table" | "tr" | "td" | "th");
        if ends {
            self.end_code();
        }
        ends
    }

    fn end_code(&mut self) {
        let Some(code) = self.code.take() else { return };
        let mut text = code.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() {
            self.space |= !code.is_empty();
            return;
        }
        if self.is_in_cell() {
            text = text.replace('|', "\\|");
        }
        let ticks = "`".repeat(longest_run(&text) + 1);
        let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
        self.space |= code.starts_with(char::is_whitespace);
        self.put(&format!("{ticks}{pad}{text}{pad}{ticks}"));
        self.space |= code.ends_with(char::is_whitespace);
    }
}

/// Of backticks.
pub(super) fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}
