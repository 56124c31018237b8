//! Real tokenizers: the default model's, and those of the data folder where it is at hand.

use serde_json::Value;

use super::*;
use crate::rng::{Purpose, Stream};
use crate::testing::{default_model, fixtures, shared_data};
use crate::weights::load_text;

fn expected() -> Value {
    let path = fixtures().join("models/smollm2_expected.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn ids(json: &Value) -> Vec<i64> {
    json.as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
}

#[test]
fn fixture_texts_become_exactly_the_expected_tokens_and_back() {
    let codec = load_text(&default_model()).unwrap();
    for case in expected()["tokenize"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        assert_eq!(codec.encode(text, true).unwrap(), ids(&case["ids"]), "{text}");
        assert_eq!(codec.decode(&ids(&case["ids"])), text);
    }
}

#[test]
fn fixture_chats_are_rendered_and_encoded_exactly() {
    let codec = load_text(&default_model()).unwrap();
    for case in expected()["chat"].as_array().unwrap() {
        let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
        assert_eq!(codec.render_chat(&messages, true).unwrap(), case["rendered"].as_str().unwrap());
        assert_eq!(codec.encode_chat(&messages, true).unwrap(), ids(&case["ids"]));
        // The fixture's text shows special tokens; ours leaves them out.
        let greedy = case["greedy_text"].as_str().unwrap().replace("<|im_end|>", "");
        assert_eq!(codec.decode(&ids(&case["greedy_24"])), greedy);
    }
}

#[test]
fn the_default_codec_knows_its_special_tokens_and_skips_them_in_text() {
    let codec = load_text(&default_model()).unwrap();
    assert_eq!(codec.vocab_size(), 49152);
    assert_eq!(codec.token_id("<|im_end|>"), Some(2));
    assert_eq!(codec.special().eos.as_deref(), Some("<|im_end|>"));
    let tokens = codec.encode("<|im_start|>hi<|im_end|>", false).unwrap();
    assert_eq!((tokens[0], *tokens.last().unwrap()), (1, 2));
    assert_eq!(codec.decode(&tokens), "hi");
    assert_eq!(codec.decode(&[1 << 40, -1, 1 << 20]), ""); // numbers outside the vocabulary are nothing
}

/// Streamed text equals decoded text, and every piece is whole characters (Rust's `String` cannot hold less, so what can
/// go wrong is a premature replacement character, which the equality would show).
fn streams_like_it_decodes(codec: &TextCodec, tokens: &[i64]) {
    let mut stream = TextStream::new(codec.clone());
    let mut text: String = tokens.iter().map(|token| stream.push(*token)).collect();
    text.push_str(&stream.finish());
    assert_eq!(text, codec.decode(tokens), "{tokens:?}");
}

#[test]
fn streaming_gives_the_text_of_the_whole_in_certain_pieces() {
    let codec = load_text(&default_model()).unwrap();
    let text = "Prove √2 – naïvely: 数学 👩‍🚀 done.";
    let tokens = codec.encode(text, false).unwrap();
    let mut stream = TextStream::new(codec.clone());
    let pieces: Vec<String> = tokens.iter().map(|token| stream.push(*token)).collect();
    assert_eq!(pieces.concat() + &stream.finish(), text);
    assert!(pieces.iter().any(String::is_empty), "some character spans several tokens");
    assert!(!pieces.concat().contains('\u{FFFD}'));
    streams_like_it_decodes(&codec, &tokens[..tokens.len() - 4]); // cut inside a character
    let mut random = Stream::new(1, Purpose::Evaluation, 0);
    for _ in 0..200 {
        let tokens: Vec<i64> = (0..12).map(|_| random.below(400) as i64).collect(); // specials and lone bytes abound
        streams_like_it_decodes(&codec, &tokens);
    }
}

#[test]
fn a_sentencepiece_like_tokenizer_of_a_folder_works_and_streams_its_spaces() {
    let Some(folder) = shared_data("models/tinystories-656k") else { return };
    let codec = load_text(&folder).unwrap();
    assert_eq!(codec.token_id("<|end_story|>"), Some(2));
    assert!(!codec.has_chat_template());
    let text = "Once upon a time there was a little girl.";
    let tokens = codec.encode(text, true).unwrap();
    assert_eq!(tokens[0], 1, "the post-processor begins the story");
    assert_eq!(codec.decode(&tokens), text);
    streams_like_it_decodes(&codec, &tokens);
    let chat = codec.encode_chat(&[Message::user("Why?")], true).unwrap();
    assert_eq!(chat[0], 1);
    assert_eq!(codec.decode(&chat), "Question: Why?\nAnswer:");
}
