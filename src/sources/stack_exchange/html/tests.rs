//! Small pieces of HTML and the Markdown that they become; and what a Markdown renderer makes of that.

use super::{to_markdown, to_markdown_of};
use crate::markdown::to_html;

fn check(html: &str, wanted: &str) {
    assert_eq!(to_markdown(html), wanted, "{html}");
}

#[test]
fn paragraphs_lists_and_headings() {
    check("<p>One\ntwo</p>\n\n<p>three <b>four</b> <em>five</em></p>\n", "One two\n\nthree **four** *five*");
    check("<ul>\n<li>a</li>\n<li><p>b</p></li>\n</ul><p>c</p>", "- a\n- b\n\nc");
    check("<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>", "1. a\n   - b\n2. c");
    check("<h2>Yes! We want hats!</h2>\n\n<p>x</p>", "## Yes! We want hats!\n\nx");
    check("a<br>b<br/>c<hr>d", "a\nb\nc\n\n---\n\nd");
}

#[test]
fn code_keeps_its_lines_and_quotes_their_marks() {
    check("<p>Run:</p><pre><code>if a &lt; b {\n    c\n}\n</code></pre>", "Run:\n\n```\nif a < b {\n    c\n}\n```");
    check("<p>Call <code>f(x)</code>.</p>", "Call `f(x)`.");
    check("<p>a</p><blockquote><p>b</p>\n<p>c</p></blockquote><p>d</p>", "a\n\n> b\n> \n> c\n\nd");
}

#[test]
fn links_keep_words_images_their_description_entities_their_character() {
    check(
        "<a href=\"https://x\">the site</a> &amp; &#233;&#x2014;&nbsp;&hellip; &bogus; &",
        "[the site](https://x) & é— … &bogus; &",
    );
    check("<img src=\"x\" alt=\"a &quot;cat&quot;\"><img alt=''>", "[image: a \"cat\"]");
}

#[test]
fn broken_html_loses_no_text_and_never_fails() {
    check("a < b and <c", "a < b and <c");
    check("</p></ul></pre></blockquote>x", "x");
    check("<pre>open", "```\nopen\n```");
    check("<!-- hidden -->seen<!-- open", "seen");
    assert!(to_markdown(&format!("{}deep", "<ul><li><blockquote>".repeat(10_000))).ends_with("deep"));
}

#[test]
fn a_long_row_of_tags_that_never_end_is_text_in_one_pass() {
    let html = "<a".repeat(1 << 19);
    assert_eq!(to_markdown(&html), html);
    assert_eq!(to_markdown(&format!("<b>{html}")), format!("**{html}**"));
}

proptest::proptest! {
    #[test]
    fn any_text_can_be_converted(html in "(<[a-z/]{0,6}>|&[#a-z0-9]{0,5};|[ a-zé\n<>&]){0,60}") {
        let _ = to_markdown(&html);
    }
}

#[test]
fn links_lead_where_they_led_and_only_where_links_may() {
    check("<a href=\"https://x.org/a_(b)\">the <b>site</b></a>!", "[the **site**](https://x.org/a_%28b%29)!");
    check("see <a href='http://x.org/a_b'>http://x.org/a_b</a>.", "see http://x.org/a_b.");
    check("<a href=\"mailto:a@b.c\">a@b.c</a> <a href='mailto:a@b.c'>me</a>", "a@b.c [me](mailto:a@b.c)");
    check("<a href=\"javascript:alert(1)\">x</a><a href=\"#f\">y</a><a>z</a> <a href='/q'>w</a>", "xyz w");
    check("wow!<a href='https://x.org'>[1]</a>", "wow\\![\\[1\\]](https://x.org)");
    check("<a href='https://x.org'>a<p>b</p></a>c", "[a](https://x.org)\n\nb\n\nc");
    check("<a href='https://x.org'></a>a <a href='https://x.org'> </a>b", "a b");
    assert_eq!(to_markdown_of("<a href='/q/1'>q</a>", Some("s.example")), "[q](https://s.example/q/1)");
    assert_eq!(to_markdown_of("<a href='//t.example/'>t</a>", None), "[t](https://t.example/)");
    let image = "<a href='https://i.org/a.png'><img src='https://i.org/a.png' alt='a [cat]'></a>";
    check(image, "![a \\[cat\\]](https://i.org/a.png)");
    check("<img src='https://i.org/a.png'>", "![image](https://i.org/a.png)");
}

#[test]
fn emphasis_is_written_with_its_words_or_not_at_all() {
    check("a<b> b </b>c<em></em> <i> </i>d", "a **b** c d");
    check("<b><b>x</b></b> </b><em>y<p>z</p>", "**x** *y*\n\nz");
    check("<b>a <i>b</b> c</i>", "**a *b*** c");
    check("H<sub>2</sub>O x<sup>2</sup> <kbd>Ctrl</kbd> <s>no</s>", "H2O x2 Ctrl no");
}

#[test]
fn code_has_as_many_quotes_as_it_needs_and_its_language() {
    check("<code>a`b</code> <code>``</code> <code> x  y </code>z", "``a`b`` ``` `` ``` `x y` z");
    check("<pre class=\"lang-rust s-code\"><code>x\n```\ny</code></pre>", "````rust\nx\n```\ny\n````");
    check("<ul><li><p>a</p><pre><code>b\nc\n</code></pre></li><li>d</li></ul>", "- a\n\n  ```\n  b\n  c\n  ```\n\n- d");
    check("<code>a_b*c<p>next</p>", "`a_b*c`\n\nnext");
}

#[test]
fn lists_and_quotes_hold_each_other() {
    check("<ol><li>a<blockquote><p>q</p></blockquote></li><li>b</li></ol>", "1. a\n\n   > q\n\n2. b");
    check("<blockquote><ul><li>a</li><li>b</li></ul></blockquote>", "> - a\n> - b");
    check("<ul><li><ul><li>a</li></ul></li><li></li><li>b<p>c</p><p>d</p></li></ul>", "- - a\n- b\n\n  c\n\n  d");
}

#[test]
fn tables_are_rows_and_nothing_in_them_breaks_a_row() {
    let html = "<p>t</p><table><thead><tr><th>a</th><th>b|c</th></tr></thead><tbody><tr><td><p>1</p><p>2</p></td>\
                <td><code>x|y</code></td><td>3</td></tr></tbody></table>d";
    check(html, "t\n\n| a | b\\|c |\n| --- | --- |\n| 1 2 | `x\\|y` 3 |\n\nd");
}

#[test]
fn text_that_looks_like_markdown_stays_text() {
    for text in [
        "* a",
        "a * b",
        "*a* _b_ snake_case_name __init__",
        "# a",
        "#hash",
        "> a",
        "- a",
        "--- b",
        "+ a",
        "1. a",
        "2) b",
        "1.5 a",
        "a `b` c",
        "[a](b) [c]: d [e][f] [g]",
        "a <b> c",
        "a < b > c",
        "&amp; &lt; &nope;",
        "\\* \\a c:\\d",
        "~~a~~ ~5",
        "a | b",
        "!a",
        "=== x",
    ] {
        let html = text.replace('&', "&amp;").replace('<', "&lt;");
        let shown = to_html(&to_markdown(&format!("<p>{html}</p>")));
        let wanted = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        assert_eq!(shown.trim(), format!("<p>{wanted}</p>"), "{}", to_markdown(&html));
    }
    check("a * b, snake_case, c:\\dir, 1.5, #hash", "a * b, snake_case, c:\\dir, 1.5, #hash");
}

#[test]
fn mathjax_is_left_as_it_is() {
    check(
        "If $a_1 * b_2$ and $$\\sum_{i}^{n} x_i*y_i \\\\ [z]$$ then",
        "If $a_1 * b_2$ and $$\\sum_{i}^{n} x_i*y_i \\\\ [z]$$ then",
    );
    check("<b>$x_1$</b>, ($y*z$)", "**$x_1$**, ($y*z$)");
    check("from $5 to *10* $, 3$ *4*", "from $5 to \\*10\\* $, 3$ \\*4\\*");
    check("\\$14 and \\$5", "\\$14 and \\$5");
    let shown = to_html(&to_markdown("<p>$a_1*b*c_2$</p>"));
    assert_eq!(shown.trim(), "<p>$a_1*b*c_2$</p>");
}

#[test]
fn hostile_html_costs_little() {
    for html in
        ["<a href='https://x.org'>", "<b>", "<table><td>", "<li><ul>", "<code>`", "$", "$$ ", "<pre>```</pre>", "~[*_"]
    {
        let html = html.repeat(20_000);
        let text = to_markdown(&html);
        assert!(text.len() <= 40 * html.len() + 64, "{} from {}", text.len(), html.len());
    }
}
