"""Texts of alerts are shown as they were written, and never become markup or mentions in Slack."""

from __future__ import annotations

import gc
import json
import re
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.integrations.slack import mrkdwn
from receiver.integrations.slack.mrkdwn import render_inline
from receiver.text import cache_short

# Everything that Slack would interpret is between < and >.
COMMANDS = re.compile(r"[<>]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<!channel>", "&lt;!channel&gt;"),
        ("a & b", "a &amp; b"),
        ("&lt;", "&amp;lt;"),
        ("zero\u200bwidth\x00", "zerowidth"),
        ("al\u061ce\u180ert\U000e0041\U000e007f", "alert"),
        ("lone \ud800 surrogate", "lone ? surrogate"),
    ],
)
def test_text_is_escaped_exactly_once(text, shown):
    assert mrkdwn.escape(text) == shown


@given(st.text(max_size=300), st.integers(1, 80))
def test_no_text_becomes_a_mention_or_exceeds_its_limit(text, limit):
    for shown in (mrkdwn.escape_line(text, limit), mrkdwn.render_passages(text, limit)):
        assert not COMMANDS.search(shown)
        assert len(shown) <= limit
        assert not re.search(r"&(?!amp;|lt;|gt;)", shown)


@given(st.text(max_size=100))
def test_a_text_can_not_end_its_code_span(text):
    span = mrkdwn.code(text, 50)
    assert span[0] == span[-1] == "`"
    assert "`" not in span[1:-1]
    assert "\n" not in span
    assert not COMMANDS.search(span)


def test_an_empty_value_is_shown_as_a_code_span():
    assert mrkdwn.code(" \n", 20) == "`(empty)`"


def test_an_entity_is_never_cut_in_two():
    assert mrkdwn.escape_line("a&b", 3) == "a…"
    assert mrkdwn.escape_line("<<<<", 6) == "&lt;…"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "javascript:alert(1)",
        "https://x|y>/",
        "https://x.example\\@evil.example/",
        "https://x.example/" + "a" * 1500,
    ],
)
def test_a_url_that_could_break_a_link_is_not_linked(url):
    assert mrkdwn.link(url, "Here") == "Here"


def test_what_could_end_a_link_is_encoded():
    assert (
        mrkdwn.link("https://x.example/a|b> \ud800\x07", "Here")
        == "<https://x.example/a%7Cb%3E%20%EF%BF%BD|Here>"
    )


def test_a_link_keeps_its_query():
    assert (
        mrkdwn.link("https://x.example/?a=1&b=2", "a|<b>") == "<https://x.example/?a=1&amp;b=2|a¦&lt;b&gt;>"
    )


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (1_795_435_380.9, "<!date^1795435380^{date_short_pretty} {time}|2026-11-23 12:03 UTC>"),
        (-5.0, "<!date^0^{date_short_pretty} {time}|1970-01-01 00:00 UTC>"),
        (9e15, "<!date^253402300799^{date_short_pretty} {time}|9999-12-31 23:59 UTC>"),
    ],
)
def test_a_timestamp_is_shown_in_the_readers_time_zone(at, shown):
    assert mrkdwn.format_timestamp(at) == shown


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("**bold** and __bold__", "*bold* and *bold*"),
        ("*it* and _it_ ~~gone~~", "_it_ and _it_ ~gone~"),
        ("***both***", "_*both*_"),
        ("**a **b** c**", "*a b c*"),
        ("`a < b` and ``x ` y``", "`a &lt; b` and `x ' y`"),
        ("[docs](https://x.example/?a=1&b=2)", "<https://x.example/?a=1&amp;b=2|docs>"),
        ("[**docs**](https://x.example)", "<https://x.example|docs>"),
        ("<https://x.example>", "<https://x.example|https://x.example>"),
        ("[page](./other.md)", "page"),
        ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
        ("![graph](https://x.example/g.png)", "<https://x.example/g.png|graph>"),
        ("<!channel> &lt;!here&gt; <@U0123>", "&lt;!channel&gt; &lt;!here&gt; &lt;@U0123&gt;"),
        ("kubectl drain <node>", "kubectl drain &lt;node&gt;"),
        ("one<br/>two<!-- said -->", "one\ntwo"),
        ("one\ntwo  \nthree", "one two\nthree"),
        ("", ""),
    ],
)
def test_markdown_is_converted_to_mrkdwn(markdown, shown):
    assert render_inline(markdown) == shown


@given(st.text(max_size=200))
def test_no_markdown_becomes_a_mention(text):
    shown = render_inline(text)
    assert "<!" not in shown
    assert "<@" not in shown
    json.dumps(shown).encode()


DECEIVING = [
    ("https://bank.example/login", "https://evil.example/", "evil.example"),
    ("HTTPS://Bank.Example", "https://evil.example/", "evil.example"),
    ("see https://bank.example now", "https://evil.example/", "evil.example"),
    ("bank.example", "https://evil.example/", "evil.example"),
    ("www.bank.example/path?q=1", "https://evil.example/bank.example", "evil.example"),
    ("bank.example:443", "https://evil.example:443/", "evil.example"),
    ("ｈｔｔｐｓ://bank.example", "https://evil.example/", "evil.example"),
    ("bank.\u200bexample", "https://evil.example/", "evil.example"),
    ("bank\u00ad.example", "https://evil.example/", "evil.example"),
    ("bank\u3002example", "https://evil.example/", "evil.example"),
    ("bank\uff61example", "https://evil.example/", "evil.example"),
    ("https:/bank.example", "https://evil.example/", "evil.example"),
    ("go to bank.example", "https://evil.example/", "evil.example"),
    ("bank.example \u2713", "https://evil.example/", "evil.example"),
    ("localhost:9090", "https://evil.example/", "evil.example"),
    ("https://bank.example", "https://bank.example.evil.example/", "bank.example.evil.example"),
    ("https://bank.example@evil.example/", "https://bank.example@evil.example/", "evil.example"),
]
HONEST = [
    ("https://bank.example/login", "https://bank.example/other"),
    ("www.bank.example", "https://bank.example/"),
    ("bank.example", "http://www.bank.example:8080/x"),
    ("Dashboard", "https://evil.example/"),
    ("Runs on node 1.2 of bank", "https://evil.example/"),
    ("10:30 today", "https://evil.example/"),
    ("", "https://evil.example/"),
]


@pytest.mark.parametrize(("label", "url", "real"), DECEIVING)
def test_a_link_whose_label_looks_like_another_host_shows_its_real_host(
    label: str, url: str, real: str
) -> None:
    assert mrkdwn.link(url, label).endswith(f"> ({real})")


@pytest.mark.parametrize(("label", "url"), HONEST)
def test_other_links_show_only_their_label(label: str, url: str) -> None:
    assert mrkdwn.link(url, label).endswith(">")


@given(st.text(max_size=100), st.text(max_size=100))
def test_rendering_a_link_never_raises(label: str, url: str) -> None:
    shown = mrkdwn.link(f"https://{url}", label)
    assert "<!" not in shown
    assert "<@" not in shown


@pytest.mark.parametrize(
    "render",
    [
        lambda text: mrkdwn.escape_line(text, 100),
        lambda text: mrkdwn.render_passages(text, 100),
        lambda text: mrkdwn.code(text, 100),
        lambda text: mrkdwn.bold(text, 100),
        mrkdwn.is_link,
        lambda text: mrkdwn.link(text, "label"),
        lambda text: mrkdwn.link("https://runbooks.example/", text),
        mrkdwn.mention,
        mrkdwn.render_inline,
    ],
    ids=["line", "text", "code", "bold", "is_link", "url", "label", "mention", "markdown"],
)
def test_long_texts_are_not_kept_in_memory(render: Callable[[str], object]) -> None:
    tracemalloc.start()
    try:
        render("warm" * 100)
        before, _ = tracemalloc.get_traced_memory()
        for number in range(20):
            render(f"https://example.org/{number}" + "x" * 1024 * 1024)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 1024 * 1024
    finally:
        tracemalloc.stop()


def test_short_texts_are_rendered_once() -> None:
    calls: list[str] = []
    render = cache_short(2, 10)(lambda text, limit: calls.append(text) or f"{text[:limit]}")
    assert [render("short", 3), render("short", 3), render("x" * 11, 3), render("x" * 11, 3)] == [
        "sho",
        "sho",
        "xxx",
        "xxx",
    ]
    assert calls == ["short", "x" * 11, "x" * 11]
