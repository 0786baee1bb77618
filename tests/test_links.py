"""Which text is a link, and what it is called."""

from __future__ import annotations

import re
from string import printable, whitespace
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.links import find_real_host, is_web_link, name_link, parse_link, split_links

# The characters of https://www.rfc-editor.org/rfc/rfc3986#appendix-A, without brackets and the quote.
PLAIN = re.compile(r"https?://[A-Za-z0-9._~%!$&()*+,;=:@/?#\[\]-]+")

AS_PEOPLE_WRITE_THEM = [
    ("https://wiki.example.org/disk", "https://wiki.example.org/disk"),
    ("  https://wiki.example.org/disk\n", "https://wiki.example.org/disk"),
    ("HTTPS://wiki.example.org/disk", "https://wiki.example.org/disk"),
    ("[Runbook](https://wiki.example.org/disk)", "https://wiki.example.org/disk"),
    ('[Runbook](https://wiki.example.org/disk "the words")', "https://wiki.example.org/disk"),
    ("[Runbook](<https://wiki.example.org/disk>)", "https://wiki.example.org/disk"),
    ("[Foo](https://en.wikipedia.org/wiki/Foo_(bar))", "https://en.wikipedia.org/wiki/Foo_(bar)"),
    ("<https://wiki.example.org/disk|Runbook>", "https://wiki.example.org/disk"),
    ("<https://wiki.example.org/disk>", "https://wiki.example.org/disk"),
    ("[wiki|https://wiki.example.org/disk]", "https://wiki.example.org/disk"),
    ('<a href="https://wiki.example.org/?a=1&amp;b=2">wiki</a>', "https://wiki.example.org/?a=1&b=2"),
    ('"https://wiki.example.org/disk"', "https://wiki.example.org/disk"),
    ("`https://wiki.example.org/disk`", "https://wiki.example.org/disk"),
    ("“https://wiki.example.org/disk”", "https://wiki.example.org/disk"),
    ("(https://wiki.example.org/disk).", "https://wiki.example.org/disk"),
    ("https://wiki.example.org/disk).", "https://wiki.example.org/disk"),
    ("{https://wiki.example.org/disk}", "https://wiki.example.org/disk"),
    ("**https://wiki.example.org/disk**", "https://wiki.example.org/disk"),
    ("_https://wiki.example.org/a_b_", "https://wiki.example.org/a_b"),
    ("https://https://wiki.example.org/disk", "https://wiki.example.org/disk"),
    ("https://http://prometheus:9090/graph", "http://prometheus:9090/graph"),
    ("wiki.example.org/disk", "https://wiki.example.org/disk"),
    ("www.example.org", "https://www.example.org"),
    ("//wiki.example.org/disk", "https://wiki.example.org/disk"),
    ("10.0.0.1:3000/d/abc", "https://10.0.0.1:3000/d/abc"),
    ("\ufeffhttps://wiki.example.org/\u200bdisk", "https://wiki.example.org/disk"),
    ("https://wiki.example.org/\u202edisk", "https://wiki.example.org/disk"),
    ("https://x.example/{app}/{{ $labels.a }}".replace(" ", ""), "https://x.example/%7Bapp%7D/%7B%7B$labels.a%7D%7D"),
    ('https://x.example/?left={"expr":"sum(x%5B5m%5D)"}', "https://x.example/?left=%7B%22expr%22:%22sum(x%5B5m%5D)%22%7D"),
    ("https://x.example/a|b\\c^d`e'f[1]", "https://x.example/a%7Cb%5Cc%5Ed%60e%27f%5B1%5D"),
    ("https://x.example/100%/%zz/%41", "https://x.example/100%25/%25zz/%41"),
    ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
    ("https://日本語.jp/パス", "https://xn--wgv71a119e.jp/%E3%83%91%E3%82%B9"),
    ("https://x。example/a", "https://x.example/a"),
    ("https://x.example/\ud800", "https://x.example/%EF%BF%BD"),
    ("https://[::1]:9090/graph", "https://[::1]:9090/graph"),
    ("http://user:word@grafana:3000/d", "http://user:word@grafana:3000/d"),
    ("http://prometheus_k8s-0:9090/graph?g0.expr=up", "http://prometheus_k8s-0:9090/graph?g0.expr=up"),
    ("https://wiki.example.org/#/disk", "https://wiki.example.org/#/disk"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "link"), AS_PEOPLE_WRITE_THEM)
def test_an_address_is_a_link_however_people_write_it(written: str, link: str) -> None:
    assert parse_link(written) == link
    assert parse_link(written, is_address=True) == link


NO_ADDRESSES = [
    "",
    "see the wiki",
    "DiskFull",
    "DiskFull.md",
    "runbooks/DiskFull.md",
    "./disk",
    "/runbooks/disk",
    "javascript:alert(1)",
    "[x](javascript:alert(1))",
    "<javascript:alert(1)|https://wiki.example.org>",
    "data:text/html,<script>",
    "file:///etc/passwd",
    "ftp://wiki.example.org/",
    "mailto:ops@example.org",
    "tel:123",
    "vbscript:x",
    "https://",
    "http:///disk",
    "http:/wiki.example.org",
    "https://exa mple/",
    "https://a..b/",
    "https://-/",
    "https://exa%6dple/",
    "https://x.example:99999/",
    "https://x.example:port/",
    "https://[::1%eth0]/",
    "https://[nonsense]/",
    "https://good.example\\@evil.example/",
    "https://good.example\\evil",
    "https://" + "a" * 64 + ".example/",
    "https://" + "a." * 200 + "example/",
]


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_no_web_address_is_no_link(text: str) -> None:
    assert parse_link(text) == ""
    assert parse_link(text, is_address=True) == ""


def test_a_key_for_addresses_allows_blanks_a_bare_host_and_several_addresses() -> None:
    cases = {
        "https://wiki.example.org/Disk full": "https://wiki.example.org/Disk%20full",
        "wiki.example.org": "https://wiki.example.org",
        "grafana:3000": "https://grafana:3000",
        "https://wiki.example.org/a, https://wiki.example.org/b": "https://wiki.example.org/a",
        "https://wiki.example.org/a\nhttps://wiki.example.org/b": "https://wiki.example.org/a",
    }
    for written, link in cases.items():
        assert parse_link(written, is_address=True) == link
        assert parse_link(written) == ""


def test_hosts_images_and_networks_are_no_addresses_by_themselves() -> None:
    for text in ("web-1.example.org", "web-1:9100", "registry.example/team/app:1.2", "10.0.0.0/8", "3/4"):
        assert parse_link(text) == ""


@given(st.text(max_size=40), st.booleans())
@example("https://é%:1/", False)
@example("[](http://a)", True)
def test_every_link_is_plain_and_stays_as_it_is(text: str, is_address: bool) -> None:
    for written in (
        text,
        f"https://{text}",
        f"https://x.example/{text}",
        f"[{text}](https://x.example/{text})",
    ):
        link = parse_link(written, is_address=is_address)
        if link:
            assert PLAIN.fullmatch(link)
            assert urlsplit(link).hostname
            assert parse_link(link, is_address=is_address) == link or link[-1] in ".,;:!?*_~)"


@given(st.text(st.sampled_from(sorted(set(printable) - set("%" + whitespace)) + list(" éж日")), max_size=30))
def test_a_path_leads_to_where_it_led(path: str) -> None:
    link = parse_link(f"https://x.example/a{path}z", is_address=True)
    assert unquote(link) == f"https://x.example/a{path}z"


def test_texts_that_are_made_to_be_slow_are_read() -> None:
    for text in (
        "[](" * 5000,
        "(" * 16000,
        ")" * 16000,
        "[x](https://" * 1300,
        "<a href=" * 2000,
        "[a](" + " " * 16000,
    ):
        assert parse_link(text, is_address=True) == ""
        assert "".join(shown for shown, _ in split_links(text)) == text


def test_a_link_is_named_by_its_key() -> None:
    names = {
        "dashboard_url": "Dashboard",
        "dashboardURL": "Dashboard",
        "panelURL": "Panel",
        "logs": "Logs",
        "playbook": "Playbook",
        "grafana-dashboard-link": "Grafana dashboard",
        "SLO_url": "SLO",
        "url": "Link",
        "curl": "Curl",
        "": "Link",
        "https://bank.example": "Https bank example",
    }
    assert {key: name_link(key) for key in names} == names
    assert len(name_link("x" * 5000)) <= 40


def test_only_addresses_in_a_text_are_links_and_the_words_stay_beside_them() -> None:
    text = "See https://a.example/b#c, <https://a.example/d|the dashboard> and [this](https://a.example/(e))."
    assert list(split_links(text)) == [
        ("See ", ""),
        ("https://a.example/b#c", "https://a.example/b#c"),
        (", the dashboard (", ""),
        ("https://a.example/d", "https://a.example/d"),
        (")", ""),
        (" and this (", ""),
        ("https://a.example/(e)", "https://a.example/(e)"),
        (")", ""),
        (".", ""),
    ]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("看https://a.example/b。谢谢", "https://a.example/b"),
        ("(https://a.example/b)", "https://a.example/b"),
        ("**https://a.example/b**", "https://a.example/b"),
        ("“https://a.example/b”", "https://a.example/b"),
        ("<https://a.example/b>", "https://a.example/b"),
        ("https://a.example/b?", "https://a.example/b"),
        ("https://a.example/{b}", "https://a.example/{b}"),
    ],
)
def test_an_address_ends_where_its_sentence_goes_on(text: str, address: str) -> None:
    assert [shown for shown, url in split_links(text) if url] == [address]


@given(st.text(max_size=60))
def test_no_word_of_a_text_is_lost_beside_its_links(text: str) -> None:
    around = f"{text} https://a.example/b {text}"
    shown = "".join(piece for piece, _ in split_links(around))
    assert re.sub(r"[\W_]", "", shown) == re.sub(r"[\W_]", "", around)


def test_an_address_of_another_host_in_the_words_of_a_link_is_found() -> None:
    assert (
        find_real_host("https://bank.example@evil.example/", "https://bank.example@evil.example/")
        == "evil.example"
    )
    assert find_real_host("bank\u200d.example", "https://evil.example/") == "evil.example"
    assert find_real_host("https://a.example/b", "https://a.example/b") == ""


def test_only_an_address_without_anything_to_repair_is_one_for_the_configuration() -> None:
    assert is_web_link("https://a.example/b")
    assert is_web_link("HTTP://a.example")
    assert not any(
        map(is_web_link, ("", "a.example/b", "https://a.example/b c", "https://a.example/{b}", "ftp://a"))
    )
