//! [`TextCodec`]: a tokenizer with its chat template.
//!
//! Invariant: cheap to clone (everything large is shared) and immutable; two codecs of one model encode alike.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use super::chat_template::ChatTemplate;
use crate::error::ModelError;

/// One turn of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: "system", "user" or "assistant".
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A turn of `role` saying `content`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }

    /// A turn of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// A turn of the assistant.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }
}

/// The texts of the special tokens; templates see them as `bos_token`, `eos_token`, ….
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begins a text.
    pub bos: Option<String>,
    /// Ends a text or a turn.
    pub eos: Option<String>,
    /// Stands for what the vocabulary lacks.
    pub unk: Option<String>,
    /// Fills up.
    pub pad: Option<String>,
}

/// What a codec is made from; the loaders fill it, export writes it back.
#[derive(Debug, Clone, Default)]
pub struct TextFiles {
    /// The text of tokenizer.json.
    pub tokenizer: String,
    /// tokenizer_config.json, if there was one.
    pub tokenizer_config: Option<Value>,
    /// The chat template's source, from wherever it was found.
    pub chat_template: Option<String>,
    /// The special tokens' texts.
    pub special: SpecialTokens,
}

/// A tokenizer and the chat template that belongs to it.
#[derive(Clone)]
pub struct TextCodec {
    tokenizer: Arc<Tokenizer>,
    /// Left out of decoded text. Kept here because the tokenizer itself, when it skips special tokens, misses those that
    /// its normalizer changes.
    skipped: Arc<BTreeSet<u32>>,
    template: Option<Arc<ChatTemplate>>,
    files: Arc<TextFiles>,
}

impl std::fmt::Debug for TextCodec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let template = self.template.is_some();
        f.debug_struct("TextCodec").field("vocab_size", &self.vocab_size()).field("template", &template).finish()
    }
}

impl TextCodec {
    /// Builds the tokenizer and compiles the template, if there is one.
    pub fn new(files: TextFiles) -> Result<Self, ModelError> {
        let mut tokenizer = Tokenizer::from_bytes(files.tokenizer.as_bytes())
            .map_err(|error| ModelError::malformed("tokenizer.json", error))?;
        // Stored padding and truncation are settings of someone's training run, not of the vocabulary.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| ModelError::Tokenizer(error.to_string()))?;
        let template = files.chat_template.as_deref().map(ChatTemplate::compile).transpose()?.map(Arc::new);
        let added = tokenizer.get_added_tokens_decoder();
        let skipped = added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
        Ok(Self { tokenizer: Arc::new(tokenizer), skipped: Arc::new(skipped), template, files: Arc::new(files) })
    }

    /// The same codec whose templates see `unix_seconds` as the present; without it they see no clock at all.
    pub fn with_now(&self, unix_seconds: i64) -> Result<Self, ModelError> {
        let source = self.files.chat_template.as_deref();
        let compiled = source.map(|source| ChatTemplate::compile_at(source, Some(unix_seconds))).transpose()?;
        Ok(Self { template: compiled.map(Arc::new), ..self.clone() })
    }

    /// Tokens of `text`; with `add_special`, also those that the tokenizer puts around a text (for instance its
    /// beginning). Special tokens written out in the text become themselves.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<i64>, ModelError> {
        let encoding =
            self.tokenizer.encode_fast(text, add_special).map_err(|error| ModelError::Tokenizer(error.to_string()))?;
        Ok(encoding.get_ids().iter().map(|id| i64::from(*id)).collect())
    }

    /// Text of `tokens` without the special ones; numbers outside the vocabulary stand for nothing.
    pub fn decode(&self, tokens: &[i64]) -> String {
        let ids = tokens.iter().filter_map(|token| u32::try_from(*token).ok());
        let ids: Vec<u32> = ids.filter(|id| !self.skipped.contains(id)).collect();
        // Decoding fails only in decoders that demand a certain model: then the bare tokens are the honest answer.
        self.tokenizer.decode(&ids, false).unwrap_or_else(|_| self.bare(&ids))
    }

    fn bare(&self, ids: &[u32]) -> String {
        ids.iter().filter_map(|id| self.tokenizer.id_to_token(*id)).collect()
    }

    /// The prompt text of a chat. Without a template: `Question: …` and `Answer: …` lines.
    pub fn render_chat(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, ModelError> {
        match &self.template {
            Some(template) => template.render(messages, add_generation_prompt, &self.files.special),
            None => Ok(plain_chat(messages, add_generation_prompt)),
        }
    }

    /// The prompt tokens of a chat.
    pub fn encode_chat(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Vec<i64>, ModelError> {
        // A template writes its own beginning of the text; without one, the tokenizer adds it.
        self.encode(&self.render_chat(messages, add_generation_prompt)?, self.template.is_none())
    }

    /// True if the model came with a chat template.
    pub fn has_chat_template(&self) -> bool {
        self.template.is_some()
    }

    /// Number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The number of a token given as it stands in the vocabulary.
    pub fn token_id(&self, token: &str) -> Option<i64> {
        self.tokenizer.token_to_id(token).map(i64::from)
    }

    /// The texts of the special tokens.
    pub fn special(&self) -> &SpecialTokens {
        &self.files.special
    }

    /// What the codec was made from.
    pub fn files(&self) -> &TextFiles {
        &self.files
    }

    /// tokenizer_config.json for export: the one that was read, made complete for transformers 4 and 5.
    pub fn config_json(&self, max_length: usize) -> Value {
        let read = self.files.tokenizer_config.as_ref().and_then(Value::as_object);
        let mut object = read.cloned().unwrap_or_else(|| {
            let mut fresh = Map::new();
            fresh.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
            fresh.insert("clean_up_tokenization_spaces".into(), json!(false));
            fresh.insert("model_max_length".into(), json!(max_length));
            let special = &self.files.special;
            let named = [("bos", &special.bos), ("eos", &special.eos), ("unk", &special.unk), ("pad", &special.pad)];
            for (name, token) in named {
                if let Some(token) = token {
                    fresh.insert(format!("{name}_token"), json!(token));
                }
            }
            fresh
        });
        if let Some(template) = &self.files.chat_template {
            object.insert("chat_template".into(), json!(template));
        }
        Value::Object(object)
    }
}

/// The form for models that never saw a chat.
fn plain_chat(messages: &[Message], add_generation_prompt: bool) -> String {
    let mut text = String::new();
    for Message { role, content } in messages {
        match role.as_str() {
            "user" => text.push_str(&format!("Question: {content}\n")),
            "assistant" => text.push_str(&format!("Answer: {content}\n")),
            "system" => text.push_str(&format!("{content}\n")),
            other => text.push_str(&format!("{other}: {content}\n")),
        }
    }
    if add_generation_prompt {
        text.push_str("Answer:");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_template_a_chat_is_questions_and_answers() {
        let chat = [
            Message::new("system", "Be brief."),
            Message::user("Why?"),
            Message::assistant("Because."),
            Message::user("And?"),
        ];
        assert_eq!(plain_chat(&chat, true), "Be brief.\nQuestion: Why?\nAnswer: Because.\nQuestion: And?\nAnswer:");
        assert_eq!(plain_chat(&chat[1..3], false), "Question: Why?\nAnswer: Because.\n");
    }

    #[test]
    fn a_tokenizer_that_is_no_json_is_an_error() {
        let files = TextFiles { tokenizer: "{\"model\":".into(), ..TextFiles::default() };
        assert!(TextCodec::new(files).unwrap_err().to_string().contains("tokenizer.json"));
    }
}
