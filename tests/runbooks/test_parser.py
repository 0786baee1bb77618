"""Which headings are runbooks, and what is parsed from each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.runbooks.model import Part, Runbook
from receiver.runbooks.parser import parse_runbooks


def parse(text: str, file: str = "alerts.md") -> dict[str, Runbook]:
    return {runbook.name: runbook for runbook in parse_runbooks(text, file)}


def titles(runbook: Runbook) -> list[str]:
    return [section.title for section in runbook.sections]


def parts(runbook: Runbook, title: str) -> tuple[Part, ...]:
    return next(section.parts for section in runbook.sections if section.title == title)


LABELLED = """\
# Runbooks

## Table of Contents
1. [Disks](#disks)

## Disks

### DiskFull (Critical)
**Symptom**: no room left

**Impact**: nothing can be written

**Diagnosis**:
```sh
# Not a heading
df -h

## Nor this
```

**Resolution**:
1. Look:
   - `du`
     - deeper
2. Free it:
   ```sh
   # in an item
   rm -r /tmp/old
   ```
3. Done

**Prevention**: quotas

---

### DiskSlow / DiskFlaky (Warning)
**Symptom**: slow

## General Procedures

### Alert Silencing
```sh
amtool silence add
```

### Tools
- Grafana
"""


def test_one_heading_is_one_alert_with_its_severity():
    found = parse(LABELLED)
    assert [(r.name, r.severity, r.line) for r in found.values()] == [
        ("DiskFull", "critical", 8),
        ("DiskSlow", "warning", 36),
        ("DiskFlaky", "warning", 36),
    ]


def test_a_heading_with_two_names_is_two_alerts_with_the_same_text():
    found = parse(LABELLED)
    assert found["DiskSlow"].sections == found["DiskFlaky"].sections != ()


def test_bold_labels_begin_sections():
    assert titles(parse(LABELLED)["DiskFull"]) == [
        "Symptom",
        "Impact",
        "Diagnosis",
        "Resolution",
        "Prevention",
    ]


def test_hashes_in_a_code_block_are_no_headings_and_the_code_is_unchanged():
    assert parts(parse(LABELLED)["DiskFull"], "Diagnosis") == (
        Part("code", "# Not a heading\ndf -h\n\n## Nor this", lang="sh"),
    )


def test_lists_keep_their_depth_and_their_code_blocks():
    assert parts(parse(LABELLED)["DiskFull"], "Resolution") == (
        Part("item", "Look:", 1, "1."),
        Part("item", "`du`", 2, "-"),
        Part("item", "deeper", 3, "-"),
        Part("item", "Free it:", 1, "2."),
        Part("code", "# in an item\nrm -r /tmp/old", 1, lang="sh"),
        Part("item", "Done", 1, "3."),
    )


def test_the_source_is_the_alerts_own_text():
    source = parse(LABELLED)["DiskFull"].source
    assert source.startswith("### DiskFull (Critical)\n")
    assert "quotas" in source
    assert "DiskSlow" not in source


OPERATOR = """\
---
title: Disk Full
weight: 20
---

# DiskFull

## Meaning

It is full.

## Impact

> **Warning**: writes fail.

## Diagnosis

### Step 1: look

| path | size |
|------|-----:|
| `a\\|b` | 1 |

## Mitigation

1. Free it.

   A second paragraph.

## Additional resources

- [Docs][d]

[d]: https://example.org/docs
"""


def test_one_file_is_one_alert_with_sections_by_heading():
    runbook = parse(OPERATOR, "runbooks/DiskFull.md")["DiskFull"]
    assert titles(runbook) == ["Symptom", "Impact", "Diagnosis", "Resolution", "Additional resources"]
    assert runbook.line == 6
    assert "weight" not in runbook.source
    assert parts(runbook, "Symptom") == (Part("paragraph", "It is full."),)


def test_headings_inside_a_section_are_bold_lines_of_it():
    assert parts(parse(OPERATOR)["DiskFull"], "Diagnosis")[0] == Part("paragraph", "**Step 1: look**")


def test_a_table_is_one_part_of_markdown():
    table = parts(parse(OPERATOR)["DiskFull"], "Diagnosis")[1]
    assert table == Part("table", "| path | size |\n| --- | --- |\n| `a\\|b` | 1 |")


def test_the_second_paragraph_of_an_item_belongs_to_it():
    assert parts(parse(OPERATOR)["DiskFull"], "Resolution") == (
        Part("item", "Free it.", 1, "1."),
        Part("paragraph", "A second paragraph.", 1),
    )


def test_reference_links_are_expanded():
    assert (
        parts(parse(OPERATOR)["DiskFull"], "Additional resources")[0].text
        == "[Docs](https://example.org/docs)"
    )


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        ("TestWatcherDown.md", "It is down. Start it.", "TestWatcherDown"),
        ("TestWatcherDown.md", "# Test Watcher Down\n\nStart it.", "TestWatcherDown"),
        ("TestWatcherDown.md", "# It does not run\n\n## Impact\n\nNo tests.", "TestWatcherDown"),
        ("KubeAPIDown.md", "# KubeAPIDown\n\nMoved.", "KubeAPIDown"),
        ("TestWatcherDown.md", "## Meaning\n\nDown.\n\n## Mitigation\n\nStart it.", "TestWatcherDown"),
        ("test_watcher_down.md", "# Test Watcher Down\n\n## Meaning\n\nDown.", "test_watcher_down"),
        ("page7.md", "# etcdNoLeader\n\n## Impact\n\nNo writes.", "etcdNoLeader"),
        ("Watchdog.md", "# Watchdog\n\n## Meaning\n\nAll is well.\n\n## Impact\n\nNone.", "Watchdog"),
        ("node.md", "# Node alerts\n\n## `NodeFull`\n\nFree it.", "NodeFull"),
        ("a.md", "## job:errors:rate5m (Warning)\n\nx", "job:errors:rate5m"),
        ("a.md", "## Alert: DiskFull [warning]\n\nx", "DiskFull"),
        ("a.md", "## 🔴 DiskFull - Critical\n\nx", "DiskFull"),
        ("a.md", "DiskFull (Critical)\n===\n\nx", "DiskFull"),
        ("a.md", "#### **DiskFull** (severity: critical)\n", "DiskFull"),
    ],
)
def test_these_are_alerts(file, text, name):
    assert list(parse(text, file)) == [name]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("README.md", "# Tools\n\nA list.\n\n## Grafana\n\n## Impact\n\nx"),
        ("README.md", "Read me."),
        ("kubernetes.md", "# Kubernetes\n\n## Impact of it all\n\nx"),
        ("alerts.md", "# Alert Runbooks\n\n## General Procedures\n\n### AlertManager\n\nx\n\n### Tools\n\nx"),
        ("alerts.md", "## Database (Postgres)\n\nx"),
        ("alerts.md", "## High load (Critical)\n\nx"),
        ("alerts.md", "# Disks\n\n## Symptom\n\nx"),
        ("alerts.md", "```\n### DiskFull (Critical)\n```"),
        ("alerts.md", "> ### DiskFull (Critical)\n> quoted"),
        ("alerts.md", "- ### DiskFull (Critical)"),
        ("alerts.md", "### Impact (High)\n\nx"),
        ("DiskFull.md", ""),
        ("_index.md", "---\nbookHidden: true\n---\n"),
        ("<script>.md", "# x\n\n## Impact\n\nx"),
    ],
)
def test_these_are_no_alerts(file, text):
    assert parse(text, file) == {}


def test_a_rule_right_below_a_paragraph_does_not_make_it_a_heading():
    found = parse(
        "### DiskFull (Critical)\n**Symptom**: full\n\n**Prevention**: quotas\n---\n### DiskSlow (Info)\n"
    )
    assert titles(found["DiskFull"]) == ["Symptom", "Prevention"]
    assert found["DiskSlow"].severity == "info"


def test_labels_on_lines_below_each_other_are_sections_too():
    found = parse(
        "### DiskFull (Critical)\n**Symptom:** full\n**Impact** - bad\nvery bad\n__Remediation__: free it"
    )
    assert [(s.title, s.parts[0].text) for s in found["DiskFull"].sections] == [
        ("Symptom", "full"),
        ("Impact", "bad\nvery bad"),
        ("Resolution", "free it"),
    ]


def test_other_bold_text_is_unchanged():
    text = "### DiskFull (Critical)\n**Resolution**:\n\n**Note**: careful\n\n**Option A**: free it\n\n**Impact** is bad"
    assert [part.text for part in parts(parse(text)["DiskFull"], "Resolution")] == [
        "**Note**: careful",
        "**Option A**: free it",
        "**Impact** is bad",
    ]


def test_a_severity_label_is_used_if_the_heading_has_none():
    assert parse("# DiskFull\n\n## Impact\n\n**Severity:** Warning\n")["DiskFull"].severity == "warning"


def test_an_alert_nested_in_another_is_a_separate_runbook():
    found = parse("## DiskFull (Critical)\n\nfull\n\n### DiskFuller (Critical)\n\nfuller\n")
    assert [part.text for part in found["DiskFull"].sections[0].parts] == ["full"]
    assert [part.text for part in found["DiskFuller"].sections[0].parts] == ["fuller"]


def test_the_same_title_twice_is_one_section():
    found = parse("## DiskFull (Critical)\n\n**Meaning**: a\n\n**Symptom**: b\n\n**Impact**: c\n")
    assert [part.text for part in parts(found["DiskFull"], "Symptom")] == ["a", "b"]


def test_an_item_may_begin_with_a_code_block_or_a_list():
    text = "## DiskFull (Critical)\n\n**Resolution**:\n1. ```sh\n   df\n   ```\n2. - a\n"
    assert parts(parse(text)["DiskFull"], "Resolution") == (
        Part("item", "", 1, "1."),
        Part("code", "df", 1, lang="sh"),
        Part("item", "", 1, "2."),
        Part("item", "a", 2, "-"),
    )


def test_items_that_are_all_numbered_one_get_increasing_numbers():
    text = "## DiskFull (Critical)\n\n**Resolution**:\n1. a\n1. b\n\n```sh\nx\n```\n\n3. c\n"
    assert [part.marker for part in parts(parse(text)["DiskFull"], "Resolution")] == ["1.", "2.", "", "3."]


def test_html_comments_and_tags_are_removed_and_their_text_is_shown():
    text = "## DiskFull (Critical)\n\n<!-- secret -->\n\n<details><summary>More</summary>\n\nfree it\n\n</details>\n"
    assert [part.text for part in parts(parse(text)["DiskFull"], "")] == ["More", "free it"]


def test_an_unclosed_code_block_contains_the_rest():
    found = parse("## DiskFull (Critical)\n\n```\n## DiskSlow (Critical)\n")
    assert list(found) == ["DiskFull"]


def test_windows_line_ends_a_byte_order_mark_and_control_characters_change_nothing():
    text = "\ufeff## DiskFull (Critical)\r\n\r\n**Symptom**: fu\x00ll\u202e\r\n"
    assert parts(parse(text)["DiskFull"], "Symptom")[0].text == "full"


def test_stacked_headings_share_the_text_below_the_last_of_them():
    found = parse(
        "## DiskFull (Critical)\n## DiskSlow (Critical)\n\n---\n\n## DiskGone (Info)\n\n**Impact**: bad\n"
    )
    assert [(r.name, r.sections, r.line) for r in found.values()] == [
        (name, found["DiskGone"].sections, line)
        for name, line in (("DiskFull", 1), ("DiskSlow", 2), ("DiskGone", 6))
    ]
    assert found["DiskGone"].sections
    assert found["DiskSlow"].source.endswith("**Impact**: bad")


def test_sections_on_the_level_of_their_alert_belong_to_it():
    found = parse(
        "# DiskFull (Critical)\n\nfull\n\n# Impact\n\nbad\n\n# Resolution\n\nfree it\n\n# DiskSlow (Info)\n\nslow\n"
    )
    assert titles(found["DiskFull"]) == ["", "Impact", "Resolution"]
    assert found["DiskFull"].source.endswith("free it")
    assert titles(found["DiskSlow"]) == [""]


MARKS = "# |### |DiskFull| (Critical)|\n|\n\n|```|~~~|- |1. |    |> |**Symptom**:|**Impact**|---\n|<!--|-->|<b>|[a][b]|[b]: x\n"
words = st.sampled_from([*MARKS.split("|"), "|", "|-|-|\n", "\t", "\\", "`", "x"])


@given(st.one_of(st.text(), st.lists(words, max_size=60).map("".join)), st.text(max_size=20))
def test_any_text_is_parsed_without_errors(text, file):
    for runbook in parse_runbooks(text, file):
        assert runbook.name
        assert not set(runbook.name) & set(" /<>\n\"'&")
