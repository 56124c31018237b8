//! Chat templates, rendered as transformers' Jinja2 does.
//!
//! Invariant: rendering is a function of the messages; a template that loops, recurses or writes without end is stopped.

use std::io::Write;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value as Jinja};
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

use super::codec::{Message, SpecialTokens};
use super::strftime::strftime;
use crate::error::ModelError;

/// Instructions that one rendering may take: a chat of a thousand turns takes about a tenth.
const FUEL: u64 = 1_000_000;
/// Bytes that one rendering may give.
const MAX_OUTPUT: usize = 16 << 20;
const NAME: &str = "chat";

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
}

impl ChatTemplate {
    /// Compiles `source`; it sees no clock (`strftime_now` is not defined, and templates have a fallback for that).
    pub fn compile(source: &str) -> Result<Self, ModelError> {
        Self::compile_at(source, None)
    }

    /// Compiles `source`; `strftime_now` tells `unix_seconds`, if given.
    pub fn compile_at(source: &str, unix_seconds: Option<i64>) -> Result<Self, ModelError> {
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(template_error)?;
        let mut environment = Environment::new();
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.add_filter("tojson", to_json);
        environment.add_function("raise_exception", |text: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, text))
        });
        if let Some(now) = unix_seconds {
            environment.add_function("strftime_now", move |format: String| strftime(&format, now));
        }
        environment.add_template_owned(NAME, without_generation_tags(source)).map_err(template_error)?;
        Ok(Self { environment })
    }

    /// The prompt text of `messages`.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        special: &SpecialTokens,
    ) -> Result<String, ModelError> {
        let template = self.environment.get_template(NAME).map_err(template_error)?;
        let mut variables = serde_json::Map::new();
        let named = [("bos", &special.bos), ("eos", &special.eos), ("unk", &special.unk), ("pad", &special.pad)];
        for (name, token) in named {
            // Absent ones stay undefined, which prints as nothing.
            if let Some(token) = token {
                variables.insert(format!("{name}_token"), token.as_str().into());
            }
        }
        let special = Jinja::from(Serde(&variables));
        let context = context! {
            messages => Serde(messages), add_generation_prompt, tools => (), documents => (), ..special
        };
        let mut output = Bounded(Vec::new());
        template.render_captured_to(context, &mut output).map_err(template_error)?;
        String::from_utf8(output.0).map_err(|error| ModelError::Template(error.to_string()))
    }
}

/// Without the chain of causes and the dump of variables: the sentence and the line.
fn template_error(error: Error) -> ModelError {
    ModelError::Template(error.to_string())
}

/// A writer that refuses to grow beyond [`MAX_OUTPUT`].
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(std::io::Error::other(format!("the rendered chat exceeds {MAX_OUTPUT} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// transformers' marks of assistant text, `{% generation %}` and `{% endgeneration %}`, are unknown to Jinja: they become
/// a condition that always holds, keeping their whitespace signs.
fn without_generation_tags(source: &str) -> String {
    let mut result = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        // The end is looked for behind the beginning: `{%}` is both in three characters.
        let Some(end) = tag[2..].find("%}").map(|end| end + 4) else { break };
        result.push_str(before);
        let inner = &tag[2..end - 2];
        let word = inner.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']);
        match word.trim() {
            "generation" => result.push_str(&tag[..end].replacen("generation", "if true", 1)),
            "endgeneration" => result.push_str(&tag[..end].replacen("endgeneration", "endif", 1)),
            _ => result.push_str(&tag[..end]),
        }
        rest = &tag[end..];
        if !rest.contains("{%") {
            break;
        }
    }
    result.push_str(rest);
    result
}

/// `tojson` as transformers defines it: Python's `json.dumps` with `ensure_ascii=False`, so nothing is escaped for HTML.
fn to_json(value: Jinja, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let _: Option<bool> = options.get("ensure_ascii")?;
    let _: Option<bool> = options.get("sort_keys")?;
    options.assert_all_used()?;
    let json = serde_json::to_value(&value).map_err(json_error)?;
    match indent {
        Some(width) => dump(&json, PrettyFormatter::with_indent(" ".repeat(width.min(16)).as_bytes())),
        None => dump(&json, PythonFormatter),
    }
}

fn json_error(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::BadSerialization, error.to_string())
}

fn dump(value: &serde_json::Value, formatter: impl Formatter) -> Result<String, Error> {
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter)).map_err(json_error)?;
    String::from_utf8(bytes).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// Python's default separators: a space after each comma and colon.
struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, messages: &[Message]) -> Result<String, ModelError> {
        let special = SpecialTokens { bos: Some("<s>".into()), ..SpecialTokens::default() };
        ChatTemplate::compile(source)?.render(messages, true, &special)
    }

    #[test]
    fn blocks_are_trimmed_and_stripped_as_transformers_does() {
        let source = "{{ bos_token }}\n  {% for m in messages %}\n[{{ m.role }}]\n  {% endfor %}\nend\n";
        assert_eq!(
            render(source, &[Message::user("x"), Message::assistant("y")]).unwrap(),
            "<s>\n[user]\n[assistant]\nend"
        );
    }

    #[test]
    fn python_methods_filters_and_loop_controls_work() {
        let source = "{% for m in messages %}{% if m['role'] == 'system' %}{% continue %}{% endif %}\
                      {{ m.content.strip().split('|')[-1].upper() | trim }};{% endfor %}{{ eos_token }}";
        let chat = [Message::new("system", "no"), Message::user("  a|b  "), Message::user("c")];
        assert_eq!(render(source, &chat).unwrap(), "B;C;");
    }

    #[test]
    fn tojson_is_that_of_python() {
        let source = "{{ messages[0] | tojson }}{{ {'a': [1, 2]} | tojson(indent=2) }}";
        let expected = "{\"role\": \"user\", \"content\": \"<é & 'x'>\"}{\n  \"a\": [\n    1,\n    2\n  ]\n}";
        assert_eq!(render(source, &[Message::user("<é & 'x'>")]).unwrap(), expected);
    }

    #[test]
    fn exceptions_of_the_template_are_told() {
        let text = render("{{ raise_exception('roles must alternate') }}", &[]).unwrap_err().to_string();
        assert!(text.contains("roles must alternate"), "{text}");
        assert!(render("{% for %}", &[]).unwrap_err().to_string().contains("chat template"));
    }

    #[test]
    fn generation_marks_are_transparent() {
        let source =
            "{%- for m in messages %}{%- generation -%}\n {{ m.content }} \n{%- endgeneration -%}{% endfor %}{% x";
        let rewritten = without_generation_tags(source);
        assert!(rewritten.contains("{%- if true -%}") && rewritten.contains("{%- endif -%}"), "{rewritten}");
        assert!(rewritten.ends_with("{% endfor %}{% x"), "{rewritten}");
        assert_eq!(without_generation_tags("a{%}b"), "a{%}b");
        assert_eq!(without_generation_tags("{{ 1 }}{% if %}b{%"), "{{ 1 }}{% if %}b{%");
        let source = "A{% generation %}{{ messages[0].content }}{% endgeneration %}Z";
        assert_eq!(render(source, &[Message::user("u")]).unwrap(), "AuZ");
    }

    #[test]
    fn the_date_is_an_argument_and_absent_by_default() {
        let source = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% else %}none{% endif %}";
        assert_eq!(render(source, &[]).unwrap(), "none");
        let at = ChatTemplate::compile_at(source, Some(1_721_952_000)).unwrap();
        assert_eq!(at.render(&[], false, &SpecialTokens::default()).unwrap(), "26 Jul 2024");
    }

    #[test]
    fn endless_templates_are_stopped() {
        let nested = "{% for a in range(9999) %}{% for b in range(9999) %}{% set x = a * b %}{% endfor %}{% endfor %}";
        assert!(render(nested, &[]).is_err());
        let wide = format!("{{% for a in range(9999) %}}{}{{% endfor %}}", "x".repeat(4096));
        assert!(render(&wide, &[]).is_err());
    }
}
