//! Every field of a valid file set to every value that readers stumble over: what is still read is the same model, the
//! rest is refused with a sentence.

use tch::Kind;

use super::super::header::Type;
use super::*;

/// A field of the header.
struct Field {
    name: String,
    at: usize,
    width: usize,
    /// How the file is built (counts, lengths, sizes, offsets); else what the model is like.
    structure: bool,
}

/// Walks a valid file and notes its fields.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    fields: Vec<Field>,
}

impl Walk<'_> {
    fn field(&mut self, name: &str, width: usize, structure: bool) -> u64 {
        self.fields.push(Field { name: name.to_owned(), at: self.at, width, structure });
        let mut value = [0; 8];
        value[..width.min(8)].copy_from_slice(&self.bytes[self.at..][..width.min(8)]);
        self.at += width;
        u64::from_le_bytes(value)
    }

    fn text(&mut self, name: &str) -> String {
        let length = self.field(&format!("length of {name}"), 8, true) as usize;
        let text = std::str::from_utf8(&self.bytes[self.at..][..length]).unwrap().to_owned();
        if length > 0 {
            self.field(&format!("letter of {name}"), 1, false);
            self.at += length - 1;
        }
        text
    }

    fn value(&mut self, name: &str, kind: u32) {
        match Type::of(kind).unwrap() {
            Type::Text => drop(self.text(name)),
            Type::Array => {
                let element = self.field(&format!("element type of {name}"), 4, false) as u32;
                let count = self.field(&format!("count of {name}"), 8, true);
                (0..count).for_each(|_| self.value(name, element));
            }
            scalar => _ = self.field(name, scalar.width().unwrap() as usize, name == "general.alignment"),
        }
    }
}

fn fields(bytes: &[u8]) -> Vec<Field> {
    let mut walk = Walk { bytes, at: 0, fields: Vec::new() };
    walk.field("magic", 4, true);
    walk.field("version", 4, true);
    let (tensors, values) = (walk.field("tensor count", 8, true), walk.field("value count", 8, true));
    for _ in 0..values {
        let key = walk.text("a key");
        let kind = walk.field(&format!("type of {key}"), 4, false) as u32;
        walk.value(&key, kind);
    }
    for _ in 0..tensors {
        let name = walk.text("a tensor's name");
        let dimensions = walk.field(&format!("dimensions of {name}"), 4, true);
        (0..dimensions).for_each(|_| _ = walk.field(&format!("size of {name}"), 8, true));
        walk.field(&format!("format of {name}"), 4, true);
        walk.field(&format!("offset of {name}"), 8, true);
    }
    walk.fields
}

fn assert_same_model(a: &LoadedModel, b: &LoadedModel, what: &str) {
    assert_eq!(a.config, b.config, "{what}");
    assert_eq!(a.text.files().tokenizer, b.text.files().tokenizer, "{what}");
    assert_eq!(a.text.files().chat_template, b.text.files().chat_template, "{what}");
    assert!(a.weights.names().eq(b.weights.names()), "{what}");
    for (name, tensor) in a.weights.iter() {
        assert!(tensor.equal(b.weights.get(name).unwrap()), "{what}: {name}");
    }
}

#[test]
fn a_file_with_any_field_changed_is_refused_with_a_sentence_or_is_the_same_model() {
    let mut maker = tiny().0;
    maker.number("general.alignment", 32);
    let bytes = maker.bytes(3);
    let original = parse(&bytes, "mutant.gguf").unwrap();
    let (mut read, mut refused) = (0, 0);
    for Field { name, at, width, structure } in fields(&bytes) {
        let mut old = [0; 8];
        old[..width].copy_from_slice(&bytes[at..][..width]);
        let old = u64::from_le_bytes(old);
        let near = [old.wrapping_sub(1), old.wrapping_add(1), old.wrapping_mul(2), old / 2, old ^ 1 << (8 * width - 1)];
        let limits = [0, 1, 2, 30, 64, 0xff, 0xffff, 0x1_0001, 0x10_0001, 1 << 31, u64::from(u32::MAX), 1 << 40];
        let ends = [1 << 62, u64::MAX / 2, 1 << 63, u64::MAX - 31, u64::MAX];
        let floats = [f32::NAN.to_bits(), f32::INFINITY.to_bits(), 1, (-0.0f32).to_bits()].map(u64::from);
        for new in near.into_iter().chain(limits).chain(ends).chain(floats) {
            let mut mutant = bytes.clone();
            mutant[at..][..width].copy_from_slice(&new.to_le_bytes()[..width]);
            if mutant == bytes {
                continue;
            }
            match parse(&mutant, "mutant.gguf") {
                Ok(model) if structure => {
                    assert_same_model(&model, &original, &format!("{name}: {old} became {new}"));
                    read += 1;
                }
                Ok(model) => {
                    assert_eq!(model.weights.len(), original.weights.len(), "{name}: {old} became {new}");
                    assert!(
                        model.config.norm_eps.is_finite() && model.config.rope.is_some_and(|r| r.theta.is_finite())
                    );
                }
                Err(error) => {
                    assert!(error.to_string().len() > 20, "{name}: {old} became {new}: {error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 10 * read && read > 0, "{refused} refused, {read} read");
}

#[test]
fn a_number_that_is_not_finite_is_refused_under_its_tensors_name() {
    let whole = tiny().0;
    for (number, tensor) in whole.tensors.iter().enumerate() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut maker = whole.clone();
            let last = tensor.3.len() - 4;
            maker.tensors[number].3[last..].copy_from_slice(&bad.to_le_bytes());
            let target = names::target(crate::config::Family::Llama, &tensor.0).unwrap().name;
            assert!(refusal(&maker.bytes(3)).contains(&target), "{target}");
        }
    }
    let (maker, _) = tiny();
    assert!(parse(&maker.bytes(3), "x").unwrap().weights.iter().all(|(_, tensor)| tensor.kind() == Kind::Float));
}

#[test]
fn a_setting_that_is_not_finite_is_refused_and_not_taken_for_absent() {
    for (key, bad) in [("attention.layer_norm_rms_epsilon", f32::NAN), ("rope.freq_base", f32::INFINITY)] {
        let (mut maker, _) = tiny();
        maker.values.retain(|row| row.0 != format!("llama.{key}"));
        maker.value(&format!("llama.{key}"), typed(6, bad.to_le_bytes().to_vec()));
        let text = refusal(&maker.bytes(3));
        assert!(text.contains(key) && text.contains("finite"), "{text}");
    }
    for bad in [f32::NAN, f32::INFINITY] {
        let error = network::llama3_scaling(&[1.0, bad], 10_000.0).unwrap_err().to_string();
        assert!(error.contains("rope_freqs"), "{error}");
    }
}

#[test]
fn a_key_that_reaches_into_its_value_is_refused() {
    // A key with the first bytes of its type in it would be another key, of another type.
    let (mut maker, _) = tiny();
    maker.word("llama.x\u{4}\0\0", "y");
    assert!(refusal(&maker.bytes(3)).contains("its length is wrong"));
}

#[test]
fn bytes_that_belong_to_no_tensor_are_refused() {
    let (mut maker, _) = tiny();
    let mut longer = maker.bytes(3);
    longer.resize(longer.len() + 64, 0);
    assert!(refusal(&longer).contains("follow the last tensor"));
    // Read as half as wide numbers, it would be other weights under the same name.
    maker.tensors[1].2 = 1;
    maker.tensors[1].3.extend([0; 32]);
    assert!(refusal(&maker.bytes(3)).contains("belong to no tensor"));
}

#[test]
fn a_vocabulary_made_to_cost_much_is_refused() {
    let pieces = |tokens: Vec<String>| {
        let (mut maker, _) = tiny();
        maker.values.retain(|(key, _)| !key.starts_with("tokenizer."));
        maker.word("tokenizer.ggml.model", "llama");
        let zeros = vec![0f32.to_le_bytes().to_vec(); tokens.len()];
        maker.value("tokenizer.ggml.tokens", list(8, tokens.iter().map(|token| text(token)).collect()));
        maker.value("tokenizer.ggml.scores", list(6, zeros));
        let rows = tokens.len() as u64;
        maker.tensors[0] = ("token_embd.weight".into(), vec![8, rows], 0, vec![0; 32 * rows as usize]);
        refusal(&maker.bytes(3))
    };
    let longest = pieces(vec!["a".into(), "b".repeat(257)]);
    assert!(longest.contains("token 1 has 257 bytes; 256 is the most"), "{longest}");
    let nested = pieces((1..=100).map(|length| "a".repeat(length)).collect());
    assert!(nested.contains("in too many ways"), "{nested}");
}
