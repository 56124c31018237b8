//! [`TextStream`]: the text of a token sequence while it grows.
//!
//! Invariant: what was given out is never taken back, and never ends inside a UTF-8 character; a token costs the same
//! wherever in the text it stands.

use super::codec::TextCodec;

/// Turns tokens into text one by one.
#[derive(Debug, Clone)]
pub struct TextStream {
    codec: TextCodec,
    /// Tokens of the last text given out: decoders treat the first token of a sequence specially (they may strip its
    /// space), so the next ones are decoded behind these.
    context: Vec<i64>,
    /// Tokens whose text may still change.
    pending: Vec<i64>,
}

/// What an unfinished or invalid byte sequence decodes to.
const REPLACEMENT: char = '\u{FFFD}';

impl TextStream {
    /// A stream at the beginning of a text.
    pub fn new(codec: TextCodec) -> Self {
        Self { codec, context: Vec::new(), pending: Vec::new() }
    }

    /// Takes the next token; gives the text that became certain, possibly none.
    pub fn push(&mut self, token: i64) -> String {
        self.pending.push(token);
        let text = self.pending_text();
        // The end could be the first bytes of a character whose rest the next token brings. Nothing came of special
        // tokens: they stay pending, so that bytes on both their sides still meet.
        if text.is_empty() || text.ends_with(REPLACEMENT) {
            return String::new();
        }
        self.context = std::mem::take(&mut self.pending);
        text
    }

    /// Ends the text: whatever was held back, with incomplete characters replaced.
    pub fn finish(&mut self) -> String {
        let text = self.pending_text();
        self.context.clear();
        self.pending.clear();
        text
    }

    fn pending_text(&self) -> String {
        let before = self.codec.decode(&self.context);
        let both: Vec<i64> = self.context.iter().chain(&self.pending).copied().collect();
        let text = self.codec.decode(&both);
        // Only invalid bytes in byte-fallback vocabularies change what stood before them: then the new tokens alone.
        text.strip_prefix(before.as_str()).map_or_else(|| self.codec.decode(&self.pending), str::to_owned)
    }
}
