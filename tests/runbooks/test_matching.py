"""An alert finds its runbook by the name that fires, whatever the form in which the runbook has it."""

from __future__ import annotations

from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.alert import Alert
from receiver.runbooks.document import parse_document
from receiver.runbooks.matching import Index
from receiver.runbooks.names import MAX_NAMES, clean_title, fold_name, list_names
from receiver.runbooks.section_titles import BUILT_IN_TITLES
from tests.support.catalogues import a_catalogue


def find(name: str, **files: str) -> str:
    """Return `file:line` of the runbook of *name* in *files*, without suffix; empty where there is none."""
    documents = [parse_document(text, f"/books/{file}.md", BUILT_IN_TITLES) for file, text in files.items()]
    used = next((match for match in Index(documents).list_matches(name) if not match.problem), None)
    return f"{Path(used.place.file).stem}:{used.place.line}" if used else ""


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("DiskFull", "DiskFull"),
        ("DiskFull", "disk full"),
        ("DiskFull", "`DiskFull`"),
        ("DiskFull", "**Disk** _full_ ##"),
        ("DiskFull", "disk-full"),
        ("DiskFull", "DISK_FULL"),
        ("DiskFull", "disk.full"),
        ("DiskFull", "Disk\\_Full"),
        ("DiskFull", "ＤｉｓｋＦｕｌｌ"),
        ("DiskFull", "DiskFull {#disk-full}"),
        ("DiskFull", "DiskFull {: #full .alert }"),
        ("DiskFull", "DiskFull { data-toc-label='Full' }"),
        ("DiskFull", "DiskFull {/* #full */}"),
        ("DiskFull", '<a name="full"></a>DiskFull'),
        ("DiskFull", "<a id='full' />DiskFull"),
        ("DiskFull", "DiskFull<a href='#x'>¶</a>"),
        ("DiskFull", "[DiskFull](#diskfull)"),
        ("DiskFull", "[DiskFull][d]"),
        ("DiskFull", "[[DiskFull]]"),
        ("DiskFull", "DiskFull[^1]"),
        ("DiskFull", "DiskFull ![status](https://ci.example.org/a.svg)"),
        ("DiskFull", "DiskFull <!-- old -->"),
        ("DiskFull", "<kbd>DiskFull</kbd>"),
        ("DiskFull", "Disk full when it is late {#DiskFull}"),
        ("DiskFull", '<span id="DiskFull"></span>When there is no room'),
        ("DiskFull", "When there is no room {#other data-id=disk-full #DiskFull}"),
        ("DiskFull", "🔥 DiskFull 🔥"),
        ("DiskFull", "1️⃣ DiskFull"),
        ("DiskFull", ":rotating_light: DiskFull :fire:"),
        ("DiskFull", "3. DiskFull"),
        ("DiskFull", "3) DiskFull"),
        ("DiskFull", "(3) DiskFull"),
        ("DiskFull", "2.1 DiskFull"),
        ("DiskFull", "2.1.3. DiskFull"),
        ("DiskFull", "IV. DiskFull"),
        ("DiskFull", "第3章 DiskFull"),
        ("DiskFull", "三、DiskFull"),
        ("DiskFull", "Alert: DiskFull"),
        ("DiskFull", "Alert DiskFull"),
        ("DiskFull", "Alert - DiskFull"),
        ("DiskFull", 'Alert "DiskFull"'),
        ("DiskFull", "Alert “DiskFull”"),
        ("DiskFull", "Alert name: `DiskFull`"),
        ("DiskFull", "AlertName: DiskFull"),
        ("DiskFull", "Alarm: DiskFull"),
        ("DiskFull", "Runbook: DiskFull"),
        ("DiskFull", "Runbook for the alert DiskFull"),
        ("DiskFull", "Incident Runbook: Disk Full"),
        ("DiskFull", "Disk Full Runbook"),
        ("DiskFull", "Disk Full Alert"),
        ("DiskFull", "Disk full alert response playbook"),
        ("DiskFull", "DiskFull (critical)"),
        ("DiskFull", "DiskFull [root volume]"),
        ("DiskFull", "DiskFull (p99 (5m))"),
        ("DiskFull", "DiskFull（重大）"),
        ("DiskFull", "【重大】DiskFull"),
        ("DiskFull", "[CRITICAL] DiskFull"),
        ("DiskFull", "Critical: DiskFull"),
        ("DiskFull", "P1 - DiskFull"),
        ("DiskFull", "DiskFull | SEV2"),
        ("DiskFull", "DiskFull - no room left"),
        ("DiskFull", "DiskFull – no room left"),
        ("DiskFull", "DiskFull—no room left"),
        ("DiskFull", "DiskFull: what to do"),
        ("DiskFull", "DiskFull：怎么办"),
        ("DiskFull", "3. 🔥 Alert: `DiskFull` (critical) - no room left {#full}"),
        ("DiskFull", "DiskFull / DiskSlow"),
        ("DiskSlow", "DiskFull / DiskSlow"),
        ("DiskSlow", "DiskFull/DiskSlow (warning)"),
        ("DiskSlow", "DiskFull, DiskSlow and DiskGone"),
        ("DiskGone", "DiskFull, DiskSlow and DiskGone"),
        ("DiskGone", "`DiskFull`, `DiskSlow` & `DiskGone`"),
        ("DiskSlow", "DiskFull und DiskSlow"),
        ("磁盘慢", "磁盘满、磁盘慢"),
        ("Disk slow", '"Disk full" or "Disk slow"'),
        ("Disk almost full", "Disk full / Disk almost full"),
        ("node_exporter-down", "Node exporter down"),
        ("job:errors:rate5m", "job:errors:rate5m"),
        ("CPU > 90 %", "CPU &gt; 90%"),
        ("CPU ≥ 90 %", "CPU >= 90 %"),
        ("I/O wait high", "I/O wait high"),
        ("Warning, disk full on node", "Warning, disk full on node"),
        ("磁盘空间不足", "告警：磁盘空间不足"),
        ("磁盘空间不足", "磁盘空间不足告警"),
        ("磁盘空间不足", "磁盘空间不足 处理手册"),
        ("ディスク使用率が高い", "アラート：ディスク使用率が高い（警告）"),
        ("디스크 사용량 높음", "알림: 디스크 사용량 높음"),
        ("Größe überschritten", "Alarm: GRÖSSE ÜBERSCHRITTEN"),
        ("Latência alta", "2. Alerta: latência alta"),
        ("Mémoire élevée", "Alerte : mémoire élevée"),
        ("Диск заполнен", "Алерт: «Диск заполнен»"),
        ("الذاكرة ممتلئة", "الذاكرة ممتلئة"),
        ("نیم\u200cفاصله", "نیم فاصله"),
        ("स्मृति पूर्ण", "स्मृति-पूर्ण"),
        ("ｶﾞﾍﾞｰｼﾞ", "ガベージ"),
        ("İstanbul yavaş", "istanbul yavas"),
    ],
)
def test_a_heading_is_found_by_the_name_in_it(name, title):
    assert find(name, runbooks=f"# Runbooks\n\n## {title}\n\nFree it.\n") == "runbooks:3"


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("Down", "NodeDown"),
        ("Down", "Node Down"),
        ("Down", "Node: Down"),
        ("Down", "DownAgain"),
        ("NodeDown", "Down"),
        ("Disk", "Disk and memory are full"),
        ("managerDown", "AlertmanagerDown"),
        ("CPU < 90 %", "CPU > 90 %"),
        ("latency 1.5s", "latency 15s"),
        ("high", "Warning, disk full, high"),
        ("Impact", "Impact"),
        ("Resolution", "Resolution"),
        ("Alert", "Alert: DiskFull"),
        ("Runbook", "DiskFull Runbook"),
        ("कि", "का"),
        ("", "!"),
        ("a" * 5000, "a" * 5000),
    ],
)
def test_a_name_does_not_match_another_one(name, title):
    assert find(name, runbooks=f"# Runbooks\n\n## {title}\n\nFree it.\n") == ""


@pytest.mark.parametrize(
    "stem",
    [
        "disk-full",
        "disk_full",
        "DiskFull",
        "Disk full",
        "Disk%20full",
        "01-disk-full",
        "alert-disk-full",
        "disk-full-runbook",
        "runbook_disk_full",
        "disk-full.de",
        "disk-full/README",
        "disk-full/index",
        "DiskFull/_index",
    ],
)
def test_a_file_is_found_by_its_name_or_that_of_its_folder(stem):
    assert find("DiskFull", **{f"nodes/{stem}": "# When it is late\n\nFree it.\n"}) == f"{Path(stem).name}:1"


def test_letters_with_accents_are_found_in_a_file_without_them():
    assert find("Mémoire élevée", **{"memoire-elevee": "x"}) == "memoire-elevee:1"
    assert find("Mémoire", memoire="x", other="# Mémoire\n\nx") == "other:1"


def test_composed_and_decomposed_letters_are_the_same():
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert (
            find(normalize(form, "Größe über ガ 각"), a=f"# {normalize('NFD', 'größe-über-ガ-각')}\n\nx")
            == "a:1"
        )


@pytest.mark.parametrize(
    ("front_matter", "line"),
    [
        ("---\ntitle: DiskFull\n---\n", 2),
        ('---\nweight: 3\ntitle: "Disk full"\n---\n', 3),
        ('+++\ntitle = "DiskFull"\n+++\n', 2),
        ("---\nalerts: [DiskSlow, DiskFull]\n---\n", 2),
        ("---\nalerts:\n  - DiskSlow\n  - DiskFull\n---\n", 4),
        ("---\naliases:\n  - /runbooks/disks/diskfull/\n---\n", 3),
    ],
)
def test_front_matter_names_the_file(front_matter, line):
    assert find("DiskFull", page7=f"{front_matter}\n# Room\n\nFree it.\n") == f"page7:{line}"


def test_setext_headings_count_as_well():
    assert find("Disk full", a="Runbooks\n===\n\nDiskFull\n---\n\nFree it.\n") == "a:4"


@pytest.mark.parametrize(
    "text",
    [
        "# When it is late\n\n**Alert name**: `DiskFull`\n\nFree it.\n",
        "# When it is late\n\n- **Severity**: high\n- **Alert:** DiskFull\n\nFree it.\n",
        "# When it is late\n\n## Alert details\n\n**Alert Name(s)**: `DiskSlow`, `DiskFull`\n\n## Steps\n\nFree it.\n",
        "# When it is late\n\n## Metadata\n\n| Field | Value |\n|-|-|\n| **Alert Name(s)** | `DiskFull` |\n",
        "# 磁盘\n\n**告警名称**：DiskFull\n\n处理\n",
    ],
)
def test_a_label_names_the_alerts_of_a_runbook(text):
    assert find("DiskFull", late=text).startswith("late:")
    assert find("DiskFull", a=text, b="# R\n\n## DiskFull - x\n\nx") == "b:3"


def test_a_label_below_a_heading_is_about_that_heading(tmp_path):
    (tmp_path / "a.md").write_text(
        "# R\n\n## No room\n\nAlert: `DiskFull`\n\nFree it.\n\n## Slow\n\nRelated alerts: `DiskGone`\n\nWait.\n"
    )
    catalogue = a_catalogue([tmp_path])
    runbook = catalogue.find_runbook("DiskFull")
    assert runbook is not None
    assert runbook.line == 3
    assert "Wait" not in runbook.source
    assert catalogue.find_runbook("DiskGone") is None


def test_an_anchor_on_the_line_above_a_heading_names_it():
    for anchor in ('<a id="DiskFull"></a>', "<a name='DiskFull'>\n"):
        assert find("DiskFull", a=f"# R\n\n{anchor}\n## When there is no room\n\nx\n").startswith("a:")


def test_html_headings_count_as_well():
    assert find("DiskFull", a="<h1>Runbooks</h1>\n\n<h2 id='full'>DiskFull</h2>\n\n<p>Free it.</p>\n") != ""


@pytest.mark.parametrize(
    "text",
    [
        "# R\n\n```md\n## DiskFull\n\nx\n```\n",
        "# R\n\n    ## DiskFull\n\nx\n",
        "# R\n\n<!--\n## DiskFull\nx\n-->\n",
        "# R\n\n## Table of contents\n\n### DiskFull\n\n- [more](#x)\n",
        "# R\n\n## 目录\n\n### DiskFull\n\nx\n",
        "# R\n\n## DiskFull\n",
        "# R\n\n## DiskFull\n\n---\n",
        "# R\n\n- [DiskFull](#diskfull)\n",
    ],
)
def test_these_are_no_headings_of_a_runbook(text):
    assert find("DiskFull", a=text) == ""


def test_stacked_headings_are_found_with_the_text_below_them(tmp_path):
    (tmp_path / "a.md").write_text("# R\n\n## A-One\n## A-Two\n\nDo it.\n\n## A-Three\n\nNot this.\n")
    catalogue = a_catalogue([tmp_path])
    for name in ("AOne", "ATwo"):
        runbook = catalogue.find_runbook(name)
        assert runbook is not None
        assert [part.text for section in runbook.sections for part in section.parts] == ["Do it."]


def test_a_collection_is_no_runbook_of_the_alert_with_its_files_name():
    text = "# API\n\n## ApiSlow (critical)\n\nx\n\n## ApiDown (critical)\n\ny\n"
    assert find("api", api=text) == "api:1"  # the heading
    assert find("api", api=text.replace("# API", "# Our services", 1)) == ""


@pytest.mark.parametrize(
    ("files", "used"),
    [
        ({"a": "# R\n\n## Disk Full\n\nx", "b": "# R\n\n## DiskFull\n\nx"}, "b:3"),  # closer in spelling
        ({"a": "# R\n\n## DiskFull - x\n\nx", "b": "# R\n\n## 1. DiskFull\n\nx"}, "b:3"),  # less left out
        ({"a": "# R\n\n## DiskFull / X\n\nx", "b": "# R\n\n## 1. DiskFull\n\nx"}, "b:3"),
        ({"a": "# R\n\n## DiskFull\n", "b": "# R\n\n## DiskFull (x)\n\nx"}, "b:3"),  # has text
        (
            {"a": "# R\n\n## DiskFull\n\nx", "b": "# R\n\n## DiskFull (critical)\n\nx"},
            "b:3",
        ),  # looks like one
        ({"a": "# R\n\n## DiskFull\n\nx", "DiskFull": "# Room\n\nx"}, "DiskFull:1"),  # a file of its own
        ({"a": "# R\n\n## DiskFull\n\nx\n\n## DiskFull\n\ny"}, "a:3"),  # the first
        (
            {"b": "# R\n\n## DiskFull\n\nx", "a": "# R\n\n## DiskFull\n\ny"},
            "b:3",
        ),  # in the order of the files
    ],
)
def test_of_two_runbooks_the_better_or_first_one_is_used(files, used):
    assert find("DiskFull", **files) == used


@pytest.mark.parametrize(
    "name", ["[prod] DiskFull", "DiskFull (prod)", "🔥 Alert: DiskFull", "[P1] disk full"]
)
def test_decoration_of_the_alerts_name_is_left_out_if_need_be(name):
    assert find(name, a="# R\n\n## DiskFull\n\nx") == "a:3"


def test_a_remark_of_the_alerts_name_is_kept():
    assert find("API - down", a="# R\n\n## API\n\nx") == ""


ADDRESSED = {
    "docs/disks": "# Disks\n\n## Full\n\nx\n\n## Slow {#is-slow}\n\nx\n\n## Impact\n\nx\n\n## Full\n\ny\n",
    "docs/api/README": "# API\n\nx\n",
    "docs/web/README": "# Web\n\ny\n",
    "docs/runbook": "# All\n\n## ADown (critical)\n\nx\n\n## BDown (critical)\n\ny\n",
}


@pytest.mark.parametrize(
    ("address", "used"),
    [
        ("https://wiki.example.org/disks#full", "disks:3"),
        ("https://wiki.example.org/team/docs/disks.md#user-content-full", "disks:3"),
        ("https://wiki.example.org/disks/#full-1", "disks:15"),
        ("https://wiki.example.org/disks.html#is-slow", "disks:7"),
        ("https://wiki.example.org/disks#impact", "disks:11"),
        ("https://wiki.example.org/elsewhere#is-slow", "disks:7"),
        ("https://dev.example.org/wiki?pagePath=/x&anchor=is-slow", "disks:7"),
        ("https://wiki.example.org/elsewhere#impact", ""),
        ("https://wiki.example.org/disks", "disks:1"),
        ("https://wiki.example.org/disks#gone", "disks:1"),
        ("docs/api/README.md", "README:1"),
        ("https://git.example.org/docs/web/README.md", "README:1"),
        ("docs/gone/README.md", ""),
        ("https://git.example.org/docs/runbook.md", ""),
        ("https://git.example.org/docs/runbook.md#bdown-critical", "runbook:7"),
        ("https://git.example.org/x/runbook.md#BDown", "runbook:7"),
        ("https://[::1/disks", ""),
        ("", ""),
    ],
)
def test_an_address_leads_to_its_file_and_anchor(address, used):
    documents = [parse_document(text, f"/{file}.md", BUILT_IN_TITLES) for file, text in ADDRESSED.items()]
    match = next((one for one in Index(documents).list_addressed(address) if not one.problem), None)
    assert (f"{Path(match.place.file).stem}:{match.place.line}" if match else "") == used


def test_the_ways_to_a_runbook_are_tried_in_their_order(tmp_path):
    (tmp_path / "a.md").write_text(
        "# R\n\n## DiskFull\n\nby name\n\n## Other\n\nby annotation\n\n## Third\n\nby anchor\n"
    )
    catalogue = a_catalogue([tmp_path])

    def text(name: str, **annotations: str) -> str:
        excerpt = catalogue.find_excerpt(Alert("f" * 16, {"alertname": name}, annotations, 0.0))
        return excerpt.sections[0].parts[0].text if excerpt and excerpt.sections else ""

    link = "https://wiki.example.org/x#third"
    assert text("DiskFull", runbook="other", runbook_url=link) == "by annotation"
    assert text("DiskFull", runbook="see the wiki", runbook_url=link) == "by name"
    assert text("Gone", runbook_url=link) == "by anchor"
    assert text("Gone", runbook="a.md#third") == "by anchor"
    assert text("Gone") == ""


@pytest.mark.parametrize(
    ("address", "used"),
    [
        ("https://git.example.org/r/blob/main/search/HighErrorRate.md", "search/HighErrorRate.md"),
        ("https://git.example.org/r/blob/main/payments/HighErrorRate.md#impact", "payments/HighErrorRate.md"),
        ("https://git.example.org/r/blob/main/web.md#high-error-rate-old", "web.md"),
        ("https://git.example.org/r/web", "web.md"),
        ("https://git.example.org/r/db/", "db/README.md"),
        ("https://git.example.org/r/cache/runbook.md", "cache/runbook.md"),
        (
            "https://git.example.org/r/runbook.md",
            "payments/HighErrorRate.md",
        ),  # a name that any file may have
        ("https://git.example.org/r/empty.md", "payments/HighErrorRate.md"),
        ("https://git.example.org/r/other.md", "payments/HighErrorRate.md"),
        ("", "payments/HighErrorRate.md"),
    ],
)
def test_of_two_runbooks_the_one_in_the_file_of_the_address_is_used(tmp_path, address, used):
    texts = {
        "payments/HighErrorRate.md": "# HighErrorRate\n\nx\n",
        "search/HighErrorRate.md": "# HighErrorRate\n\nx\n",
        "web.md": "# Web\n\n## Down\n\nx\n\n## High error rate (old)\n\nx\n",
        "db/README.md": "# Database\n\n## Down\n\nx\n\n## HighErrorRate\n\nx\n",
        "cache/runbook.md": "# Cache\n\n## Down\n\nx\n\n## HighErrorRate\n\nx\n",
        "empty.md": "# Empty\n\n## Down\n\nx\n\n## HighErrorRate\n",
        "other.md": "# Other\n\nx\n",
    }
    for file, text in texts.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    labels, annotations = {"alertname": "HighErrorRate"}, {"runbook_url": address}
    runbook = a_catalogue([tmp_path]).find_quoted_runbook(Alert("f" * 16, labels, annotations, 0.0))
    assert runbook is not None
    assert Path(runbook.file).relative_to(tmp_path).as_posix() == used


@pytest.mark.parametrize("name", ["DatasourceNoData", "DatasourceError"])
def test_grafanas_own_alerts_find_the_runbook_of_their_rule(tmp_path, name):
    (tmp_path / "a.md").write_text("# R\n\n## Checkout error rate\n\nLook at it.\n")
    labels = {"alertname": name, "rulename": "Checkout error rate"}
    excerpt = a_catalogue([tmp_path]).find_excerpt(Alert("f" * 16, labels, {}, 0.0))
    assert excerpt is not None
    assert excerpt.sections


def test_a_runbook_is_found_again_by_its_own_name(tmp_path):
    (tmp_path / "a.md").write_text("# R\n\n## 1. I/O wait - slow (critical) {#io}\n\nx\n\n## A / B\n\ny\n")
    catalogue = a_catalogue([tmp_path], "https://alerts.example.org")
    for name in ("I/O wait", "io", "A", "B", "A / B"):
        runbook = catalogue.find_runbook(name)
        assert runbook is not None
        assert catalogue.find_runbook(runbook.name) is runbook
    excerpt = catalogue.find_excerpt(Alert("f" * 16, {"alertname": "A / B"}, {}, 0.0))
    assert excerpt is not None
    assert excerpt.url == "https://alerts.example.org/runbooks/A%20%2F%20B"


titles = (
    st.text(alphabet=st.sampled_from("aB1.,:-–—()[]{}<>#*_`'\"/|& \\é文ガ🔥\u200d"), max_size=60) | st.text()
)


@given(titles, titles)
def test_any_title_has_few_names_and_any_name_can_be_asked_for(title, asked):
    names = list_names(clean_title(title))
    assert len(names) <= MAX_NAMES
    assert len({name.key for name in names}) == len(names)
    assert fold_name(fold_name(asked)) == fold_name(asked)
    index = Index([parse_document(f"# R\n\n## {title}\n\nx\n", "/a.md", BUILT_IN_TITLES)])
    for question in (title, asked):
        index.list_matches(question)
        index.list_addressed(question)
        index.list_near(question, 3)
