//! Text to tokens and back, and chats to text.
//!
//! Invariant: nothing here reads a file or a clock; a template is untrusted input and runs on bounded fuel.

mod bytes;
mod chat_template;
mod codec;
mod stream;
mod strftime;
#[cfg(test)]
mod tests;

pub use chat_template::ChatTemplate;
pub use codec::{Message, SpecialTokens, TextCodec, TextFiles};
pub use stream::TextStream;
