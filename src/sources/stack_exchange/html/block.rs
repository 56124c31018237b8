//! Lines, quotes, lists and fenced code.
//!
//! Invariant: what is in front of a line is at most 32 bytes, however deep it lies; deeper levels look like the last.

use super::entity::decode;
use super::{Pre, Writer, attribute};

/// Deepest nesting of quotes and lists that is shown.
const MOST_LEVELS: usize = 8;
/// What a list's mark may take in front of the following lines.
const MOST_WIDTH: usize = 4;

/// A quote or a list that is open.
pub(super) struct Container {
    id: u32,
    kind: Kind,
}

enum Kind {
    Quote,
    List {
        /// Of the last item, if they are numbered.
        number: Option<u32>,
        /// The mark of an item without text so far.
        due: Option<String>,
        /// Of the last item's mark.
        width: usize,
        /// Whether an item is open and has text.
        begun: bool,
    },
}

/// How lines go on.
#[derive(Default)]
pub(super) struct Lines {
    /// The containers of the last line that was written.
    written: Vec<u32>,
    lists: usize,
    quotes: usize,
    next_id: u32,
    /// The mark of an item that is too deep to be shown, or of none.
    deep: Option<String>,
}

impl Writer<'_> {
    /// Ends the line, with what was open in it; so many newlines come before the next text.
    pub(super) fn block(&mut self, newlines: usize) {
        self.close_inline();
        self.newlines = self.newlines.max(newlines);
        self.space = false;
    }

    /// Begins a line: what is in front of it, then the marks that are due.
    pub(super) fn start_line(&mut self) {
        let shown = &self.containers[..self.containers.len().min(MOST_LEVELS)];
        let same = shown.iter().zip(&self.lines.written).take_while(|(now, before)| now.id == **before).count();
        if !self.out.is_empty() {
            // A blank line is quoted only between lines of the same quote.
            let quoted = shown[..same].iter().rposition(|container| matches!(container.kind, Kind::Quote));
            let blank = prefix(&shown[..quoted.map_or(0, |last| last + 1)]);
            for left in (0..self.newlines).rev() {
                self.out.push('\n');
                self.out.push_str(if left == 0 { "" } else { &blank });
            }
        }
        self.newlines = 0;
        self.lines.written.clear();
        for container in self.containers.iter_mut().take(MOST_LEVELS) {
            self.lines.written.push(container.id);
            match &mut container.kind {
                Kind::Quote => self.out.push_str("> "),
                Kind::List { due, width, begun, .. } => {
                    *begun = *begun || due.is_some();
                    match due.take() {
                        Some(mark) => self.out.push_str(&mark),
                        None => self.out.extend(std::iter::repeat_n(' ', *width)),
                    }
                }
            }
        }
        for mark in [self.lines.deep.take(), self.mark.take()].into_iter().flatten() {
            self.out.push_str(&mark);
        }
    }

    pub(super) fn paragraph(&mut self, closing: bool) {
        // The second paragraph of an item keeps its distance; items stay close together.
        let begun = match self.containers.last().map(|container| &container.kind) {
            Some(Kind::List { begun, .. }) => *begun && !closing,
            Some(Kind::Quote) => true,
            None => true,
        };
        self.block(if begun { 2 } else { 1 });
    }

    pub(super) fn quote(&mut self, closing: bool) {
        self.block(2);
        if !closing {
            self.lines.quotes += 1;
            self.push(Kind::Quote);
        } else if self.lines.quotes > 0 {
            while let Some(Container { kind, .. }) = self.containers.pop() {
                if self.popped(&kind) {
                    break;
                }
            }
        }
    }

    /// Counts what was taken off the containers; whether it is a quote.
    fn popped(&mut self, kind: &Kind) -> bool {
        let is_quote = matches!(kind, Kind::Quote);
        *(if is_quote { &mut self.lines.quotes } else { &mut self.lines.lists }) -= 1;
        is_quote
    }

    fn push(&mut self, kind: Kind) {
        self.lines.next_id += 1;
        self.containers.push(Container { id: self.lines.next_id, kind });
    }

    pub(super) fn list(&mut self, numbered: bool, closing: bool) {
        if !closing {
            self.block(if self.lines.lists == 0 { 2 } else { 1 });
            self.lines.lists += 1;
            self.push(Kind::List { number: numbered.then_some(0), due: None, width: 0, begun: false });
        } else if self.lines.lists > 0 {
            while let Some(Container { kind, .. }) = self.containers.pop() {
                if !self.popped(&kind) {
                    break;
                }
            }
            self.block(if self.lines.lists == 0 { 2 } else { 1 });
        } else {
            self.block(1);
        }
    }

    pub(super) fn item(&mut self, closing: bool) {
        self.block(1);
        if self.lines.lists == 0 {
            // An item without a list.
            self.mark = (!closing).then(|| "- ".to_owned());
            return;
        }
        // A quote that was not closed ends with its item.
        while let Some(Container { kind: Kind::Quote, .. }) = self.containers.last() {
            self.lines.quotes -= 1;
            self.containers.pop();
        }
        let is_deep = self.containers.len() > MOST_LEVELS;
        self.lines.deep = None;
        let Some(Container { kind: Kind::List { number, due, width, begun }, .. }) = self.containers.last_mut() else {
            return;
        };
        *begun = false;
        // An item without text has no mark either.
        *due = None;
        if closing {
            return;
        }
        let mark = match number {
            Some(number) => {
                *number += 1;
                format!("{number}. ")
            }
            None => "- ".to_owned(),
        };
        *width = mark.len().min(MOST_WIDTH);
        *(if is_deep { &mut self.lines.deep } else { due }) = Some(mark);
    }

    /// A block of code begins or ends.
    pub(super) fn fenced(&mut self, tag: &str, closing: bool) {
        match self.pre.take() {
            // A nested one, or an end without a beginning.
            Some(pre) if !closing => self.pre = Some(pre),
            None if closing => {}
            None => {
                let begun =
                    !matches!(self.containers.last(), Some(Container { kind: Kind::List { begun: false, .. }, .. }));
                self.block(if begun { 2 } else { 1 });
                let fence = format!("```{}", language(tag).unwrap_or_default());
                self.put(&fence);
                let fence = self.out.len() - fence.len();
                self.code_lines("\n");
                self.pre = Some(Pre { fence, body: self.out.len() });
            }
            Some(Pre { fence, body }) => {
                let end = format!("\n{}", self.line_prefix());
                if !self.out.ends_with(&end) {
                    self.out.push_str(&end);
                }
                // Longer than any in the code.
                let longest = super::inline::longest_run(&self.out[body..]);
                let ticks = "`".repeat((longest + 1).max(3));
                self.out.insert_str(fence, &ticks[3..]);
                self.out.push_str(&ticks);
                self.block(2);
            }
        }
    }

    fn line_prefix(&self) -> String {
        prefix(&self.containers[..self.containers.len().min(MOST_LEVELS)])
    }

    /// Text of code: every line as it is, behind what is in front of all lines here.
    pub(super) fn code_lines(&mut self, text: &str) {
        let prefix = self.line_prefix();
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                self.out.push('\n');
                self.out.push_str(&prefix);
            }
            self.out.push_str(line.trim_end_matches('\r'));
        }
    }
}

fn prefix(containers: &[Container]) -> String {
    let mut prefix = String::new();
    for container in containers {
        match container.kind {
            Kind::Quote => prefix.push_str("> "),
            Kind::List { width, .. } => prefix.extend(std::iter::repeat_n(' ', width)),
        }
    }
    prefix
}

/// The language that Stack Exchange's own class names, as in `lang-rust prettyprint-override`.
fn language(tag: &str) -> Option<String> {
    let classes = decode(attribute(tag, "class")?).into_owned();
    let name = classes.split_whitespace().find_map(|class| class.strip_prefix("lang-"))?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+-#_.".contains(c);
    ((1..=32).contains(&name.len()) && name.chars().all(allowed)).then(|| name.to_owned())
}
