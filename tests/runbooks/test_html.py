"""A runbook as HTML: readable, and safe whatever it contains."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.runbooks.html import MAX_PAGE_CHARS, render_page

ALLOWED = {
    *(
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "p",
        "a",
        "span",
        "em",
        "strong",
        "code",
        "pre",
        "blockquote",
        "hr",
        "br",
    ),
    *("ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td"),
}


class _Inspector(HTMLParser):
    """Fails on any tag, attribute or link that our pages do not use."""

    def handle_starttag(self, tag, attrs):
        assert tag in ALLOWED, tag
        for name, value in attrs:
            assert name in {"href", "rel", "id", "class", "start", "title", "style"}, name
            if name == "href":
                assert re.match(r"(?i)https?://|mailto:|#rb-", value), value
            if name == "style":
                assert re.fullmatch(r"text-align:(left|right|center)", value), value


def inspect(html: str) -> str:
    inspector = _Inspector()
    inspector.feed(html)
    inspector.close()
    return html


def test_markdown_becomes_html():
    html = inspect(render_page("# Disk\n\n- *a*\n\n```sh\n# b\n```\n\n| c |\n|:-:|\n| d |\n"))
    for piece in ("Disk</h1>", "<em>a</em>", '<code class="language-sh"># b', "<table>", "<td"):
        assert piece in html


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "a <b onmouseover=alert(1)>b</b>",
        "<!-- --><svg/onload=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](java\tscript:alert(1))",
        "[x](<java\nscript:alert(1)>)",
        "[x](\x01javascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](vbscript:x)",
        "[x](//evil.example/)",
        "[x](/api/v1/incidents)",
        "[x](file:///etc/passwd)",
        "<javascript:alert(1)>",
        "![x](https://evil.example/pixel.png)",
        "![x](data:image/svg+xml;base64,AAAA)",
        '![" onerror="alert(1)](x)',
        '[a](https://x.example/"onmouseover="alert(1))',
        '[a](https://x.example "title\\" onclick=\\"x")',
        "[a]: javascript:alert(1)\n\n[a]",
        '```"><script>alert(1)</script>\nx\n```',
        '# x" onclick="alert(1)',
        "| <script> |\n|---|\n| <img src=x onerror=y> |",
        '{{< ref "x" >}}',
        "a&lt;script&gt;b",
    ],
)
def test_hostile_markup_is_removed(hostile):
    inspect(render_page(hostile))


def test_a_link_with_an_unknown_scheme_becomes_its_text():
    assert (
        inspect(render_page("see [the other page](helpers/x.md)"))
        == "<p>see <span>the other page</span></p>\n"
    )


def test_images_become_their_text():
    assert "[a graph]" in inspect(render_page("![a graph](https://evil.example/x.png)"))


def test_a_table_of_contents_links_its_headings():
    html = inspect(render_page("[go](#api-alerts)\n\n## API Alerts\n\n## API Alerts\n"))
    assert 'href="#rb-api-alerts"' in html
    assert '<h2 id="rb-api-alerts">' in html
    assert '<h2 id="rb-api-alerts-1">' in html


def test_the_front_matter_is_not_shown():
    assert "weight" not in render_page("---\nweight: 20\n---\n\nwords\n")


def test_a_very_long_text_is_cut():
    html = render_page("word\n\n" * MAX_PAGE_CHARS)
    assert len(html) < 5 * MAX_PAGE_CHARS
    assert html.endswith("<p>…</p>\n")


@given(st.text(st.sampled_from("<>[]()!#`'\"&;:/\\*_|\n -=abjscript\t")))
def test_any_text_is_rendered_without_errors_or_hostile_markup(text):
    inspect(render_page(text))


def test_headings_are_lowered_below_those_of_the_page() -> None:
    html = render_page("### A\n\n##### B\n\n### C\n\n#### D\n\n# E\n", top=2)
    assert re.findall(r"<(h\d)", html) == ["h2", "h3", "h2", "h3", "h2"]


@pytest.mark.parametrize(
    ("markdown", "real"),
    [
        ("[https://bank.example](https://evil.example/x)", "evil.example"),
        ("[**bank**.example/login](https://evil.example/x)", "evil.example"),
        (
            "[`bank.example`](https://evil.example/x) and [bank.example](https://bank.example/)",
            "evil.example",
        ),
        ("[ops@bank.example](mailto:ops@evil.example)", "evil.example"),
        ("[bank.example.](https://evil.example/x)", "evil.example"),
        ("[10.0.0.1](https://evil.example/x)", "evil.example"),
    ],
)
def test_a_link_whose_label_looks_like_another_host_shows_its_real_host(markdown: str, real: str) -> None:
    html = render_page(markdown)
    assert html.count(f"</a> ({real})") == 1
    assert html.count(" (") == 1


@pytest.mark.parametrize(
    "markdown",
    [
        "[https://bank.example](https://bank.example/login)",
        "<https://bank.example/>",
        "[the bank](https://evil.example/)",
        "[bank.example](#heading)",
        "[ops@bank.example](mailto:ops@bank.example)",
    ],
)
def test_other_links_show_only_their_label(markdown: str) -> None:
    assert " (" not in render_page(markdown)


def test_a_text_is_rendered_once() -> None:
    render_page.cache_clear()
    for _ in range(3):
        render_page("# Once\n", top=2)
    assert render_page.cache_info().misses == 1
    assert "Twice" in render_page("# Twice\n", top=2)


def test_the_real_host_is_shown_only_after_its_link():
    html = render_page(
        "[one](https://a.example) [https://bank.example](https://evil.example) [b](https://b.example)"
    )
    assert re.findall(r">([^<>]+)</a>( \([^)]*\))?", html) == [
        ("one", ""),
        ("https://bank.example", " (evil.example)"),
        ("b", ""),
    ]


@pytest.mark.timeout(60)
def test_a_very_long_link_label_is_rendered_in_time():
    """Before, the time grew with the square of the number of words: this many took minutes."""
    text = "a" * 250_000
    assert text in render_page(f"[{text}](https://evil.example)")
