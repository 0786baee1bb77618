"""HTML pages as runbooks, and what is kept of their markup."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.runbooks.excerpt import cut_excerpt
from receiver.runbooks.html import render_page
from receiver.runbooks.html_source import convert_html, convert_inline_html, is_html_page, is_sign_in
from receiver.runbooks.model import render_plain
from receiver.runbooks.parser import parse_runbooks
from tests.builders import an_alert
from tests.support.catalogues import a_catalogue

PAGE = """<!DOCTYPE html>
<html><head><title>Disk | Runbooks</title><style>p { color: red }</style></head><body>
<nav><ul><li><a href="/">Home</a></li></ul></nav>
<main><article>
<h1>DiskFull <a class="headerlink" href="#diskfull">¶</a></h1>
<p>It is <b>full</b> &amp; slow. See <a href="../DiskSlow.html">the other page</a>.<br>Go on.</p>
<h2 id="impact">Impact</h2>
<div class="admonition warning"><p class="admonition-title">Warning</p><p>Do not <code>rm -r</code>.</p></div>
<h2>Resolution</h2>
<ol><li>Look:<pre class="language-sh"><code>df -h | sort
du *</code></pre></li><li>Free it:<ul><li>logs</li><li><p>dumps</p></li></ul></li></ol>
<table><thead><tr><th>path</th><th>size</th></tr></thead><tbody><tr><td>/a|b</td><td>10</td></tr></tbody></table>
</article></main><footer>© us</footer><script>alert("x")</script></body></html>
"""
SHOWN = """It is **full** & slow. See [the other page](../DiskSlow.html).
Go on.

Impact
⚠️ **Warning**: Do not `rm -r`.

Resolution
1. Look:
    df -h | sort
    du *
2. Free it:
  - logs
  - dumps
| path | size |
|------|------|
| /a|b |   10 |"""


def test_a_page_of_html_is_a_runbook() -> None:
    (runbook,) = parse_runbooks(PAGE, "https://wiki.example.org/DiskFull")
    assert render_plain(cut_excerpt(runbook)) == SHOWN
    html = render_page(runbook.source)
    assert "<li>logs</li>" in html.replace("<p>", "").replace("</p>", "").replace("\n", "")
    assert "alert(" not in html


def test_a_file_of_html_is_found_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "disk-full.html").write_text(PAGE.replace("<h1>DiskFull", "<h1>Disk full"))
    found = a_catalogue([tmp_path]).find_excerpt(an_alert("DiskFull", annotations={}))
    assert found is not None
    assert render_plain(found) == SHOWN.replace("[the other page](../DiskSlow.html)", "the other page")


@pytest.mark.parametrize(
    ("text", "is_page"),
    [
        (PAGE, True),
        ("<html><body>x</body></html>", True),
        ("<?xml version='1.0'?>\n<!-- x -->\n<!doctype HTML>\n", True),
        ("# DiskFull\n\n<html>", False),
        ("<details>\n<summary>x</summary>", False),
        ("", False),
    ],
)
def test_a_page_is_told_from_markdown(text: str, is_page: bool) -> None:
    assert is_html_page(text) is is_page


def test_a_page_that_asks_for_a_password_is_no_runbook() -> None:
    assert is_sign_in('<!doctype html><input name=p type="password">')
    assert not is_sign_in(PAGE)


def test_marks_of_markdown_in_html_are_text() -> None:
    assert convert_html("<p>2 * 3 * 4 &lt;node&gt; a_b_c [x](y) `z`</p>") == (
        "2 \\* 3 \\* 4 \\<node> a_b_c \\[x](y) \\`z\\`\n"
    )
    assert convert_html("<p>1. May</p><p># of</p>") == "1\\. May\n\n\\# of\n"


HOSTILE = (
    *(
        "<b" * 50_000,
        "<!--" * 50_000,
        "`" * 50_000,
        "<a href=" * 20_000,
        '<a "' * 20_000,
        "<ul><li>" * 20_000,
    ),
    *("<div>" * 20_000, "<blockquote>" * 20_000 + "x", "<table><tr><td>" * 20_000, "<a href=x>" * 20_000),
    *("<kbd>" * 20_000, "<pre>" * 20_000, "<html><script>" * 20_000, "<p title='" + "x" * 100_000),
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:15])
def test_hostile_html_is_read_in_time(text: str) -> None:
    """Quadratic time would take minutes here, and end in the timeout."""
    convert_html(text)
    convert_inline_html(text)
    parse_runbooks(f"<html><h1>DiskFull</h1><h2>Impact</h2>{text}", "DiskFull.html")


words = st.sampled_from(
    [
        "<p>",
        "</p>",
        "<li>",
        "</li>",
        "<ul>",
        "</ul>",
        "<pre>",
        "</pre>",
        "<table>",
        "</table>",
        "<tr>",
        "<td>",
        "</td>",
        "<code>",
        "</code>",
        "<b>",
        "<br>",
        "<a",
        "href=x>",
        "</a>",
        "<blockquote>",
        "</blockquote>",
        "<h1>",
        "</h1>",
        "<div",
        "class='alert-warning'>",
        "</div>",
        "<x>",
        "&",
        "`",
        "*",
        "[",
        "]",
        "x",
        "<!--",
        "-->",
        "<script>",
        "<main>",
    ]
)


@given(st.lists(words, max_size=40).map(" ".join))
def test_any_html_is_read_without_errors(text: str) -> None:
    convert_html(text)
    convert_inline_html(text)
    for runbook in parse_runbooks(f"<html>{text}", "DiskFull.html"):
        render_plain(cut_excerpt(runbook))
