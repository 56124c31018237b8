//! A question as a prompt.
//!
//! Invariant: a prompt fits its token limit; what does not fit is cut from the question's end, never from the template.

use std::sync::Arc;

use understudy_learning::stages::{Prompt, Question};
use understudy_model::ModelError;
use understudy_model::text::{Message, TextCodec};

/// Renders `question` through the chat template, cutting its text until the prompt has at most `limit` tokens.
pub fn render(
    text: &TextCodec,
    system: Option<&str>,
    question: &Arc<Question>,
    limit: usize,
) -> Result<Prompt, ModelError> {
    let whole: Vec<char> = question.text().chars().collect();
    let mut length = whole.len();
    loop {
        let content: String = whole[..length].iter().collect();
        let mut messages = Vec::with_capacity(2);
        messages.extend(system.map(|system| Message { role: "system".into(), content: system.into() }));
        messages.push(Message { role: "user".into(), content });
        let tokens = text.encode_chat(&messages, true)?;
        if tokens.len() <= limit || length == 0 {
            return Ok(Prompt { question: question.clone(), tokens });
        }
        // At least a character goes each time; the ratio gets close to the limit in few rounds.
        length = (length * limit / tokens.len()).min(length - 1);
    }
}
