//! What would be Markdown by accident, and what is MathJax on purpose.
//!
//! Invariant: text between `$` or `$$` is left as it is; of other text only what could be taken for a mark gets a backslash.

use std::borrow::Cow;

use super::entity::decode;

/// Where a word of a piece of text stands.
pub(super) struct Place<'a> {
    rest: &'a str,
    in_link: bool,
    in_cell: bool,
    /// Bytes from the last `>` to the end.
    last_angle: usize,
    tildes: bool,
}

impl<'a> Place<'a> {
    /// At the beginning of `text`.
    pub(super) fn of(text: &'a str, in_link: bool, in_cell: bool) -> Self {
        let last_angle = text.rfind('>').map_or(0, |last| text.len() - last);
        let tildes = text.bytes().filter(|byte| *byte == b'~').nth(1).is_some();
        Self { rest: text, in_link, in_cell, last_angle, tildes }
    }

    /// `piece` is behind us.
    pub(super) fn pass(&mut self, piece: &str) {
        self.rest = &self.rest[piece.len()..];
    }

    /// `word`, at which we are. `begins`: it is the first of a line. `alone`: white space is on both sides.
    pub(super) fn escaped<'w>(&self, word: &'w str, begins: bool, alone: bool) -> Cow<'w, str> {
        let plain = |byte: u8| !matches!(byte, b'\\' | b'`' | b'*' | b'_' | b'[' | b']' | b'<' | b'&' | b'~' | b'|');
        if (!begins && word.bytes().all(plain)) || word.starts_with("http://") || word.starts_with("https://") {
            return Cow::Borrowed(word);
        }
        let mut out = String::with_capacity(word.len() + 8);
        let mark_at = if begins { block_mark(word) } else { None };
        let mut before = None;
        let mut chars = word.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let next = chars.peek().map(|(_, next)| *next);
            let touches = |test: fn(char) -> bool| before.is_some_and(test) && next.is_some_and(test);
            let marks = match c {
                // `\$` is MathJax's own: a dollar, which it is in Markdown too.
                '\\' => next.is_none_or(|next| next.is_ascii_punctuation() && next != '$'),
                '`' => true,
                '*' => !(alone && !begins && word == "*"),
                '_' => !(touches(char::is_alphanumeric) || (alone && word == "_")),
                '[' => self.in_link,
                ']' => self.in_link || next.map_or(word.len() == self.rest.len(), |next| "([:".contains(next)),
                // A tag, if it has an end.
                '<' => {
                    let is_tag = next.is_some_and(|next| next.is_ascii_alphabetic() || "/!?".contains(next));
                    is_tag && self.rest.len() - at >= self.last_angle && self.last_angle > 0
                }
                '&' => is_reference(&word[at..]),
                '~' => self.tildes,
                '|' => self.in_cell,
                _ => false,
            };
            if marks || mark_at == Some(at) {
                out.push('\\');
            }
            out.push(c);
            before = Some(c);
        }
        Cow::Owned(out)
    }
}

/// Where a word at the beginning of a line needs a backslash so as not to be a heading, a quote, a list or a line.
fn block_mark(word: &str) -> Option<usize> {
    let only = |mark: char| word.chars().all(|c| c == mark);
    match word.chars().next()? {
        '#' => (only('#') && word.len() <= 6).then_some(0),
        '>' => Some(0),
        mark @ ('-' | '+' | '=') => only(mark).then_some(0),
        '0'..='9' => {
            let digits = word.trim_end_matches(['.', ')']);
            let is_number = digits.len() + 1 == word.len() && digits.bytes().all(|byte| byte.is_ascii_digit());
            (is_number && digits.len() <= 9).then_some(digits.len())
        }
        _ => None,
    }
}

/// Whether `&…;` would be read as a character.
fn is_reference(text: &str) -> bool {
    let end = text.bytes().take(16).position(|byte| byte == b';');
    end.is_some_and(|end| matches!(decode(&text[..=end]), Cow::Owned(read) if read != text[..=end]))
}

/// `text` in parts, and whether each is MathJax: `$$…$$`, or `$…$` without a space inside its ends and no digit behind it.
pub(super) fn math(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let (mut rest, mut held, mut no_display) = (text, None, false);
    std::iter::from_fn(move || {
        if let Some(formula) = held.take() {
            return Some((formula, true));
        }
        if rest.is_empty() {
            return None;
        }
        let mut from = 0;
        while let Some(at) = rest[from..].find('$').map(|at| at + from) {
            let body = &rest[at + 1..];
            let length = match body.strip_prefix('$') {
                Some(_) if no_display => None,
                Some(inner) => {
                    let end = inner.find("$$").filter(|end| *end > 0);
                    no_display = end.is_none();
                    end.map(|end| end + 4)
                }
                None => inline_formula(body).map(|end| end + 2),
            };
            match length {
                Some(length) => {
                    let (before, formula) = (&rest[..at], &rest[at..at + length]);
                    rest = &rest[at + length..];
                    if before.is_empty() {
                        return Some((formula, true));
                    }
                    held = Some(formula);
                    return Some((before, false));
                }
                None => from = at + 1 + usize::from(body.starts_with('$')),
            }
        }
        let all = std::mem::take(&mut rest);
        Some((all, false))
    })
}

/// Where the formula ends that begins behind a `$`.
fn inline_formula(body: &str) -> Option<usize> {
    let end = body.find('$').filter(|end| *end > 0)?;
    let spaced = body.starts_with(char::is_whitespace) || body[..end].ends_with(char::is_whitespace);
    let escaped = body[..end].ends_with('\\');
    let price = body[end + 1..].starts_with(|c: char| c.is_ascii_digit());
    (!spaced && !escaped && !price).then_some(end)
}
