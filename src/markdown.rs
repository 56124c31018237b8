//! Markdown as a model or a person wrote it, as HTML that a page may show.
//!
//! Invariant: whatever comes in, only the tags in `TAGS` come out, without event handlers, styles, frames, images or
//! links to anything but http, https and mailto. HTML in the source is shown as text: nothing of it takes effect and
//! nothing of it is lost.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use ammonia::{Builder, UrlRelative};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};

/// Longest source that is rendered, in bytes; the rest is cut off and replaced by an ellipsis.
pub const MOST_BYTES: usize = 128 * 1024;

/// What may come out. No images: a page that shows an answer must not fetch what the answer names.
const TAGS: [&str; 27] = [
    "a",
    "blockquote",
    "br",
    "code",
    "del",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "li",
    "ol",
    "p",
    "pre",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "ul",
];

/// The second line of defence, behind a renderer that already escapes.
static CLEANER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::empty();
    builder
        .tags(HashSet::from(TAGS))
        .tag_attributes(HashMap::from([
            ("a", HashSet::from(["href", "title"])),
            ("code", HashSet::from(["class"])),
            ("ol", HashSet::from(["start"])),
        ]))
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .url_relative(UrlRelative::Deny)
        .link_rel(Some("nofollow noopener noreferrer"))
        .attribute_filter(|element, attribute, value| match (element, attribute) {
            ("code", "class") => is_language(value).then(|| value.into()),
            _ => Some(value.into()),
        });
    builder
});

/// `text` as HTML that cannot do anything: see the module's head. Linear in the length of `text`, of which at most
/// [`MOST_BYTES`] are read.
pub fn to_html(text: &str) -> String {
    let cut = text.len() > MOST_BYTES;
    let text = if cut { &text[..text.floor_char_boundary(MOST_BYTES)] } else { text };
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_MATH;
    let events = Parser::new_ext(text, options).map(|event| match event {
        Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
        Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
        Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
        // Nothing sets formulas here: they are shown as they were written, and nothing in them is a mark.
        Event::InlineMath(formula) => Event::Text(format!("${formula}$").into()),
        Event::DisplayMath(formula) => Event::Text(format!("$${formula}$$").into()),
        // An image becomes a link to it, with its description as the link's text.
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url, title, id })
        }
        Event::End(TagEnd::Image) => Event::End(TagEnd::Link),
        other => other,
    });
    let mut raw = String::with_capacity(text.len() + text.len() / 2);
    html::push_html(&mut raw, events);
    if cut {
        raw.push('…');
    }
    CLEANER.clean(&raw).to_string()
}

/// The class that a fenced block's language becomes.
fn is_language(class: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+-#_.".contains(c);
    class.strip_prefix("language-").is_some_and(|name| (1..=32).contains(&name.len()) && name.chars().all(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(markdown: &str, html: &str) {
        assert_eq!(to_html(markdown).trim_end(), html, "{markdown}");
    }

    #[test]
    fn what_people_write_is_rendered() {
        check("a *b* **c** ~~d~~ `e<f`", "<p>a <em>b</em> <strong>c</strong> <del>d</del> <code>e&lt;f</code></p>");
        check("# T\n\n- x\n- y", "<h1>T</h1>\n<ul>\n<li>x</li>\n<li>y</li>\n</ul>");
        check("3. x", "<ol start=\"3\">\n<li>x</li>\n</ol>");
        check("```rust\nlet x = 1 < 2;\n```", "<pre><code class=\"language-rust\">let x = 1 &lt; 2;\n</code></pre>");
        check(
            "[t](https://example.org/a?b=1&c=2)",
            "<p><a href=\"https://example.org/a?b=1&amp;c=2\" rel=\"nofollow noopener noreferrer\">t</a></p>",
        );
        check(
            "![a cat](https://example.org/c.png)",
            "<p><a href=\"https://example.org/c.png\" rel=\"nofollow noopener noreferrer\">a cat</a></p>",
        );
        check(
            "a|b\n-|-\n1|2",
            "<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody>\n<tr><td>1</td><td>2</td></tr>\n\
             </tbody></table>",
        );
        check("", "");
    }

    #[test]
    fn html_in_the_source_is_shown_and_does_nothing() {
        check("a <b>c</b>", "<p>a &lt;b&gt;c&lt;/b&gt;</p>");
        check("<div>\nx\n</div>", "<p>&lt;div&gt;\nx\n&lt;/div&gt;</p>");
        check("if (a < b && c > d)", "<p>if (a &lt; b &amp;&amp; c &gt; d)</p>");
    }

    /// Attacks on renderers and sanitisers, as they are known: each alone, and put where Markdown would hide it.
    const ATTACKS: &[&str] = &[
        "<script>alert(1)</script>",
        "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
        "<img src=x onerror=alert(1)>",
        "<img src=\"javascript:alert(1)\">",
        "<svg onload=alert(1)>",
        "<svg><script>alert(1)</script></svg>",
        "<svg><a xlink:href=\"javascript:alert(1)\"><text>x</text></a></svg>",
        "<math><mi//xlink:href=\"data:x,<script>alert(1)</script>\">",
        "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
        "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
        "<iframe srcdoc=\"<script>alert(1)</script>\"></iframe>",
        "<iframe src=javascript:alert(1)>",
        "<object data=\"javascript:alert(1)\"></object>",
        "<embed src=\"javascript:alert(1)\">",
        "<a href=\"javascript:alert(1)\">x</a>",
        "<a href=\"jAvAsCrIpT&colon;alert(1)\">x</a>",
        "<a href=\"&#106;avascript:alert(1)\">x</a>",
        "<a href=\"java\tscript:alert(1)\">x</a>",
        "<body onload=alert(1)>",
        "<details open ontoggle=alert(1)>",
        "<input autofocus onfocus=alert(1)>",
        "<form action=\"javascript:alert(1)\"><button>x</button></form>",
        "<button formaction=javascript:alert(1)>x</button>",
        "<style>@import 'http://evil.example/x.css';</style>",
        "<p style=\"background:url(javascript:alert(1))\">x</p>",
        "<link rel=stylesheet href=http://evil.example/x.css>",
        "<meta http-equiv=refresh content=\"0;url=javascript:alert(1)\">",
        "<base href=\"javascript:alert(1)//\">",
        "<template><script>alert(1)</script></template>",
        "<!--><script>alert(1)</script-->",
        "<![CDATA[<script>alert(1)</script>]]>",
        "<?xml-stylesheet href=\"javascript:alert(1)\"?>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](java&#x73;cript:alert(1))",
        "[x](\u{1}javascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
        "[x](vbscript:msgbox(1))",
        "[x](/v1/feedback)",
        "[x](//evil.example)",
        "![x](javascript:alert(1))",
        "![x\" onerror=\"alert(1)](https://example.org/x.png)",
        "[x](https://example.org \"a\\\" onmouseover=\\\"alert(1)\")",
        "[x]: javascript:alert(1)\n\n[x]",
        "<javascript:alert(1)>",
        "```x\" onmouseover=\"alert(1)\ncode\n```",
        "`<script>alert(1)</script>`",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&#60;script&#62;alert(1)&#60;/script&#62;",
        "a|<script>alert(1)</script>\n-|-\n1|<img src=x onerror=alert(1)>",
    ];

    /// Every tag of `html`, its attributes included. After the sanitiser, `<` stands nowhere but at a tag's start.
    fn tags(html: &str) -> Vec<String> {
        html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap_or(rest).to_owned()).collect()
    }

    #[test]
    fn no_known_attack_survives() {
        for attack in ATTACKS {
            for source in
                [attack.to_string(), format!("> - {attack}\n>   {attack}"), format!("# {attack}\n\n*{attack}*")]
            {
                for tag in tags(&to_html(&source)) {
                    let name = tag.trim_start_matches('/').split(' ').next().unwrap_or("");
                    assert!(TAGS.contains(&name), "<{tag}> of {source:?}");
                    let attributes = tag[tag.len().min(name.len())..].to_ascii_lowercase();
                    // Inside a quoted value anything may stand; what counts is where an attribute begins.
                    for attribute in attributes.split('"').step_by(2) {
                        let known = ["", " href=", " rel=", " class=", " start=", " title="];
                        assert!(known.contains(&attribute) || tag.starts_with('/'), "<{tag}> of {source:?}");
                    }
                    let href = attributes.split("href=\"").nth(1).unwrap_or("https://");
                    assert!(href.starts_with("http"), "<{tag}> of {source:?}");
                }
            }
        }
    }

    #[test]
    fn deep_and_long_sources_are_rendered_within_their_bounds() {
        for hard in [">", "*a ", "[", "![", "`", "- ", "<a ", "_*", "&", "\u{0}", "**a_", "|-|\n"] {
            let html = to_html(&hard.repeat(3000));
            assert!(html.len() < 3000 * 64, "{hard:?} became {} bytes", html.len());
        }
        let long = to_html(&"é".repeat(MOST_BYTES));
        assert!(long.contains('…') && long.len() < MOST_BYTES + 64, "{}", long.len());
    }
}
