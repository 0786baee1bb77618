"""Links of runbooks to other pages: resolved against the runbook's address, or to our own pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.runbooks.html import render_page
from receiver.runbooks.model import render_plain
from receiver.runbooks.relative_links import describe_images, list_relative_links, resolve_link
from tests.builders import an_alert
from tests.support.catalogues import a_catalogue

WIKI = "https://wiki.example.org/runbooks/etcd/EtcdNoLeader.md"


@pytest.mark.parametrize(
    ("href", "url"),
    [
        (
            "../storage/DiskFull.md#mitigation",
            "https://wiki.example.org/runbooks/storage/DiskFull.md#mitigation",
        ),
        ("#impact", f"{WIKI}#impact"),
        ("/other", "https://wiki.example.org/other"),
        ("?plain=1", f"{WIKI}?plain=1"),
        ("javascript:alert(1)", ""),
        ("x" * 1000, ""),
        ("//[", ""),
    ],
)
def test_links_are_resolved_against_the_address_of_the_runbook(href: str, url: str) -> None:
    assert resolve_link(href, WIKI, lambda _name: "") == url


@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("../storage/DiskFull.md#Mitigation", "https://r.example/runbooks/DiskFull#rb-mitigation"),
        ("Disk%46ull", "https://r.example/runbooks/DiskFull"),
        ("#Impact", "https://r.example/runbooks/Own#rb-impact"),
        ("#DiskFull", "https://r.example/runbooks/DiskFull"),
        ("#elsewhere", ""),
        ("../unknown.md", ""),
        ("//evil.example/DiskFull", ""),
    ],
)
def test_without_an_address_they_lead_to_our_pages(href: str, url: str) -> None:
    pages = {"DiskFull": "https://r.example/runbooks/DiskFull", "": "https://r.example/runbooks/Own"}
    assert resolve_link(href, "", lambda name: pages.get(name, ""), {"impact"}) == url


def test_the_links_of_a_runbook_are_listed_once() -> None:
    text = "[a](x.md) [b](x.md 'title') [c](https://x.example) [d](#here) [e][f]\n\n[f]: <../y.md>\n"
    assert list_relative_links(text) == ("x.md", "#here", "../y.md")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "etcd").mkdir()
    (tmp_path / "etcd" / "EtcdNoLeader.md").write_text(
        "# EtcdNoLeader\n\n## Impact\n\nSee [the disk](../disk-full.md#fix), [`this`](#impact), [that](gone.md), "
        "[web](https://x.example).\n\n![graph](graph.png)\n"
    )
    (tmp_path / "disk-full.md").write_text("# Disk full\n\n## Impact\n\nx\n")
    return tmp_path


def test_an_excerpt_links_our_pages(folder: Path) -> None:
    excerpt = a_catalogue([folder], "https://r.example").find_excerpt(
        an_alert("EtcdNoLeader", annotations={})
    )
    assert excerpt is not None
    assert render_plain(excerpt) == (
        "Impact\nSee [the disk](https://r.example/runbooks/Disk%20full#rb-fix), "
        "[`this`](https://r.example/runbooks/EtcdNoLeader#rb-impact), that, [web](https://x.example).\n(image: graph)"
    )


def test_a_link_to_a_file_leads_to_no_heading_of_another_file(folder: Path) -> None:
    (folder / "etcd" / "EtcdSlow.md").write_text(
        "# EtcdSlow\n\n[a](logs.md) [b](#network) [c](../network.md) [d](disk-full.md) [e](CpuBusy) [f](#own-notes)\n\n"
        "### Own notes\n\nx\n"
    )
    (folder / "z.md").write_text("# Zeta\n\n## Logs\n\nx\n\n## Network\n\nx\n\n## CpuBusy\n\nx\n")
    catalogue = a_catalogue([folder], "https://r.example")
    excerpt = catalogue.find_excerpt(an_alert("EtcdSlow", annotations={}))
    assert excerpt is not None
    page = "https://r.example/runbooks"
    links = f"a b c [d]({page}/Disk%20full) [e]({page}/CpuBusy) [f]({page}/EtcdSlow#rb-own-notes)"
    assert links in render_plain(excerpt)


def test_an_excerpt_links_beside_the_address_in_the_alert(folder: Path) -> None:
    alert = an_alert("EtcdNoLeader", annotations={"runbook_url": WIKI})
    excerpt = a_catalogue([folder], "https://r.example").find_excerpt(alert)
    assert excerpt is not None
    assert "[that](https://wiki.example.org/runbooks/etcd/gone.md)" in render_plain(excerpt)


def test_a_page_links_only_what_is_known() -> None:
    html = render_page("[a](x.md) [b](y.md)", links=(("x.md", "/runbooks/X"),))
    assert html == '<p><a href="/runbooks/X">a</a> <span>b</span></p>\n'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[![Build](https://ci.example/b.svg)](https://ci.example) ![owner](o.png)", ""),
        ("![graph](g.png)\n![](h.png)", "(image: graph) (image: see the runbook)"),
        ("See ![graph](g.png)", "See ![graph](g.png)"),
    ],
)
def test_badges_are_left_out_and_images_named(text: str, shown: str) -> None:
    assert describe_images(text) == shown
