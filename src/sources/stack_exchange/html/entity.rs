//! Character references of HTML.
//!
//! Invariant: what is not understood stays as it stood.

use std::borrow::Cow;

/// The named references that Stack Exchange's Markdown renderer and its users write.
const NAMED: [(&str, &str); 40] = [
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", " "),
    ("hellip", "…"),
    ("mdash", "—"),
    ("ndash", "–"),
    ("lsquo", "‘"),
    ("rsquo", "’"),
    ("ldquo", "“"),
    ("rdquo", "”"),
    ("bull", "•"),
    ("middot", "·"),
    ("times", "×"),
    ("divide", "÷"),
    ("plusmn", "±"),
    ("deg", "°"),
    ("micro", "µ"),
    ("frac12", "½"),
    ("frac14", "¼"),
    ("euro", "€"),
    ("pound", "£"),
    ("copy", "©"),
    ("reg", "®"),
    ("trade", "™"),
    ("rarr", "→"),
    ("larr", "←"),
    ("le", "≤"),
    ("ge", "≥"),
    ("ne", "≠"),
    ("infin", "∞"),
    ("pi", "π"),
    ("alpha", "α"),
    ("beta", "β"),
    ("eacute", "é"),
    ("ouml", "ö"),
    ("uuml", "ü"),
    ("zwnj", ""),
];
/// Longest reference that is looked for, in bytes.
const MOST_BYTES: usize = 12;

/// `text` with its references replaced.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        let end = rest.bytes().take(MOST_BYTES).position(|byte| byte == b';');
        match end.and_then(|end| Some((character(&rest[..end])?, end))) {
            Some((replacement, end)) => {
                out.push_str(&replacement);
                rest = &rest[end + 1..];
            }
            None => out.push('&'),
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn character(name: &str) -> Option<Cow<'static, str>> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).filter(|c| *c != '\0').map(|c| Cow::Owned(c.to_string()));
    }
    NAMED.iter().find(|(known, _)| *known == name).map(|(_, text)| Cow::Borrowed(*text))
}
