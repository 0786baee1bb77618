"""Callouts, tabs, shortcodes, HTML, tables and footnotes of several Markdown dialects, as a message shows them."""

from __future__ import annotations

import pytest

from receiver.runbooks.excerpt import cut_excerpt
from receiver.runbooks.html import render_page
from receiver.runbooks.model import Part, render_markdown, render_plain
from receiver.runbooks.parser import parse_runbooks


def read(text: str) -> str:
    (runbook,) = parse_runbooks(f"# PodRestarts\n\n## Resolution\n\n{text}\n", "PodRestarts.md")
    return render_plain(cut_excerpt(runbook)).removeprefix("Resolution\n")


CALLOUTS = {
    "GitHub": "> [!WARNING]\n> Do not.",
    "GitLab": "> [!warning]\n> Do not.",
    "GitLab, several lines": ">>> [!warning]\nDo not.\n>>>",
    "Obsidian": "> [!warning]- Warning\n> Do not.",
    "MkDocs": "!!! warning\n    Do not.",
    "MkDocs, folded": '???+ warning "Warning"\n\n    Do not.',
    "Docusaurus": ":::warning\n\nDo not.\n\n:::",
    "Docusaurus, below a paragraph": ":::warning\nDo not.\n:::",
    "MyST": "```{warning}\nDo not.\n```",
    "Pandoc": "::: {.warning}\nDo not.\n:::",
    "Hugo Book": "{{< hint warning >}}\nDo not.\n{{< /hint >}}",
    "Hugo Learn": "{{% notice warning %}}\nDo not.\n{{% /notice %}}",
    "Docsy": '{{% alert title="Warning" color="warning" %}}\nDo not.\n{{% /alert %}}',
    "Kubernetes": "{{< warning >}}\nDo not.\n{{< /warning >}}",
    "Hugo, one line": "{{% notice warning %}}Do not.{{% /notice %}}",
    "MDX": "<Warning>\n\nDo not.\n\n</Warning>",
    "MDX, one line": "<Warning>Do not.</Warning>",
    "MDX, type": '<Admonition type="warning">\n\nDo not.\n\n</Admonition>',
    "Just the Docs": "{: .warning }\nDo not.",
    "reStructuredText": ".. warning::\n\n    Do not.",
    "reStructuredText, one line": ".. warning:: Do not.",
    "HTML": '<div class="alert alert-warning">\nDo not.\n</div>',
    "bold words": "**Warning:** Do not.",
    "bold words in a quote": "> **Warning**\n> Do not.",
    "capitals": "WARNING: Do not.",
    "capitals and bold words": "WARNING: **Warning:**\nDo not.",
    "an emoji": "⚠️ Do not.",
}


@pytest.mark.parametrize("dialect", CALLOUTS)
def test_a_callout_is_one_line_that_begins_with_its_kind(dialect: str) -> None:
    shown = read(f"{CALLOUTS[dialect]}\n\nGo on.")
    assert shown == "⚠️ **Warning**: Do not.\nGo on."


@pytest.mark.parametrize("dialect", CALLOUTS)
def test_a_callout_is_a_quote_on_the_page(dialect: str) -> None:
    html = render_page(f"{CALLOUTS[dialect]}\n\nGo on.\n")
    assert '<blockquote class="callout warning">\n<p><strong>⚠️ Warning</strong></p>' in html
    assert "<p>Do not.</p>\n</blockquote>\n<p>Go on.</p>" in html


@pytest.mark.parametrize(
    "text",
    [
        '!!! danger "Data loss"\n    Stop.',
        ":::danger Data loss\nStop.\n:::",
        ":::danger[Data loss]\nStop.\n:::",
        "> [!DANGER] Data loss\n> Stop.",
        '{{% notice danger "Data loss" %}}\nStop.\n{{% /notice %}}',
        '<Callout type="danger" title="Data loss">\n\nStop.\n\n</Callout>',
    ],
)
def test_the_title_of_a_callout_is_its_first_sentence(text: str) -> None:
    assert read(text) == "⚠️ **Danger**: Data loss. Stop."


def test_the_contents_of_a_callout_stay_below_it() -> None:
    assert read("!!! note\n    Look:\n\n    - a\n    - b\n\n    ```sh\n    df\n    ```\n\nGo on.") == (
        "ℹ️ **Note**: Look:\n  - a\n  - b\n    df\nGo on."
    )


def test_a_list_in_a_callout_stays_flat_in_markdown() -> None:
    text = "# A\n\n## Resolution\n\n!!! note\n    Look:\n\n    1. a\n        - deeper\n    2. b\n\n- c\n- d\n"
    (runbook,) = parse_runbooks(text, "A.md")
    assert render_markdown(cut_excerpt(runbook)) == (
        "**Resolution**\n\nℹ️ **Note**: Look:\n\n1. a\n\n   - deeper\n\n2. b\n\n- c\n\n- d"
    )


def test_callouts_nest() -> None:
    assert read("::::note\nA.\n\n:::warning\nB.\n:::\n\nC.\n::::") == (
        "ℹ️ **Note**: A.\n  ⚠️ **Warning**: B.\n  C."
    )


def test_what_is_never_closed_loses_nothing() -> None:
    shown = read("{{< hint warning >}}\nA.\n\nB.\n\n{{< tab X >}}\n\nC.\n\n{{< /nothing >}}\n\n:::\n\nD.")
    assert all(f"{name}." in shown for name in "ABCD")


def test_callouts_are_kept_before_the_prose_around_them() -> None:
    words = "\n\n".join(f"{number} {'x' * 90}" for number in range(60))
    text = f"# A\n\n> [!CAUTION]\n> One.\n\n{words}\n\n## Meaning\n\n{words}\n\n!!! danger\n    Two.\n\n## Fix\n\n{words}\n\n:::tip\nThree.\n:::"
    (runbook,) = parse_runbooks(text.replace("# A", "# PodRestarts", 1), "PodRestarts.md")
    shown = render_plain(cut_excerpt(runbook, 1500))
    assert shown.startswith("⚠️ **Caution**: One.")
    assert "⚠️ **Danger**: Two." in shown
    assert "💡 **Tip**: Three." in shown


@pytest.mark.parametrize(
    "text",
    [
        '=== "AWS"\n\n    ```sh\n    aws x\n    ```\n\n=== "GCP"\n\n    1. gcloud\n',
        '<Tabs>\n<TabItem value="aws" label="AWS">\n\n```sh\naws x\n```\n\n</TabItem>\n<TabItem value="GCP">\n\n1. gcloud\n\n</TabItem>\n</Tabs>',
        '<Tabs>\n  <TabItem value="aws" label="AWS">\n\n    ```sh\n    aws x\n    ```\n\n  </TabItem>\n  <TabItem value="GCP">\n\n    1. gcloud\n\n  </TabItem>\n</Tabs>',
        '{{< tabs "id" >}}\n{{< tab "AWS" >}}\n```sh\naws x\n```\n{{< /tab >}}\n{{< tab "GCP" >}}\n1. gcloud\n{{< /tab >}}\n{{< /tabs >}}',
        '{{< tabpane text=true >}}\n{{% tab header="AWS" %}}\n```sh\naws x\n```\n{{% /tab %}}\n{{% tab header="GCP" %}}\n1. gcloud\n{{% /tab %}}\n{{< /tabpane >}}',
    ],
)
def test_tabs_are_bold_lines_with_their_contents(text: str) -> None:
    assert read(text) == "**AWS**\n  aws x\n**GCP**\n1. gcloud"
    html = render_page(text)
    assert "<p><strong>AWS</strong></p>\n<pre>" in html
    assert "<li>gcloud</li>" in html


@pytest.mark.parametrize("lang", ["mermaid", "plantuml", "dot", "{mermaid}", "d2"])
def test_a_diagram_is_named_in_messages_and_shown_on_the_page(lang: str) -> None:
    assert read(f"```{lang}\na --> b\n```") == "(diagram: see the runbook)"
    assert "a --&gt; b" in render_page(f"```{lang}\na --> b\n```\n")


def test_a_shortcode_with_code_is_a_code_block() -> None:
    assert read("{{< highlight sh >}}\ndf *x*\n{{< /highlight >}}\n\nGo on.") == "  df *x*\nGo on."


def test_a_table_of_prose_is_a_list() -> None:
    assert read(
        "| Symptom | Cause | Do |\n|---|---|---|\n| no leader | Network partition between all of the zones | `look` |\n| slow | disk | |"
    ) == ("- no leader\n  - Cause: Network partition between all of the zones\n  - Do: `look`\n- slow: disk")


def test_a_table_of_figures_is_aligned() -> None:
    (runbook,) = parse_runbooks(
        "# PodRestarts\n\n## Fix\n\n| `path` | 大小 |\n|---|---|\n| a | 1 |\n| bbb | 100 |", "PodRestarts.md"
    )
    excerpt = cut_excerpt(runbook)
    assert render_plain(excerpt).endswith(
        "| path | 大小 |\n|------|------|\n| a    |    1 |\n| bbb  |  100 |"
    )
    assert "| a      |    1 |" in render_markdown(excerpt)


def test_task_lists_and_footnotes_are_read() -> None:
    text = "- [ ] Tell[^1] them\n- [x] Stop[^a]\n- [link](x)\n\n[^1]: In `#incidents`.\n\n[^a]: Or not."
    assert read(text) == "- ☐ Tell (In `#incidents`) them\n- ☑ Stop (Or not)\n- [link](x)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Press <kbd>Ctrl</kbd>, <b>now</b>.<br/>Wait <node>.", "Press `Ctrl`, **now**.\nWait <node>."),
        ("`<b>` and <code>a<b>c</code>", "`<b>` and `ac`"),
        ("<pre>\na  <b>b</b>\n</pre>", "  a  b"),
        ("<pod-name>\n\nGo on.", "<pod-name>\nGo on."),
        ("<details>\n<summary>More</summary>\n\n1. `undo`\n\n</details>", "More\n1. `undo`"),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ('<a href="https://x.example">x</a>', "[x](https://x.example)"),
        ("<table><tr><th>a</th></tr><tr><td>1</td></tr></table>", "| a |\n|---|\n| 1 |"),
        ('See {{< ref "DiskFull.md" >}}.', "See DiskFull.md."),
        ("a <!-- hidden --> b", "a  b"),
        ("[[_TOC_]]\n\nGo on.", "Go on."),
        ("import Tabs from '@theme/Tabs';\n\nGo on.", "Go on."),
    ],
)
def test_known_tags_are_read_and_others_shown(text: str, shown: str) -> None:
    assert read(text) == shown


def test_a_heading_in_a_tab_or_in_details_begins_a_section() -> None:
    (runbook,) = parse_runbooks(
        "# PodRestarts\n\n## Impact\n\nx\n\n<details>\n<summary>More</summary>\n\n## Mitigation\n\n`undo`\n\n</details>",
        "PodRestarts.md",
    )
    assert [section.title for section in runbook.sections] == ["Impact", "Resolution"]


def test_front_matter_of_hugo_in_toml_is_no_text() -> None:
    (runbook,) = parse_runbooks("+++\ntitle = 'x'\n+++\n\n# PodRestarts\n\n## Impact\n\nx", "PodRestarts.md")
    assert runbook.sections[0].parts == (Part("paragraph", "x"),)


HOSTILE = {
    "quotes": "> " * 10_000 + "x",
    "quotes on lines": "> [!WARNING]\n" * 20_000,
    "headings": "# PodRestarts\n" * 30_000,
    "markers": '{{< hint warning >}}\n=== "x"\n' * 20_000,
    "closings": "{{< /hint >}}\n:::\n>>>\n" * 20_000,
    "containers": ":::warning\n" * 20_000,
    "admonitions": "!!! note\n" * 20_000,
    "indented admonitions": "".join("    " * depth + "!!! note\n" for depth in range(300)),
    "indented tabs": "".join("    " * depth + '=== "x"\n' for depth in range(300)),
    "shortcodes of code": "{{< highlight sh >}}\n" * 20_000,
    "shortcodes on a line": "{{< hint warning >}}" * 20_000,
    "unclosed shortcode": "{{< hint " + '"' * 100_000,
    "components": "<Tabs>\n\n" * 20_000,
    "attributes": "<Tab " + 'a="' * 30_000,
    "footnotes": "[^a]: x\n" * 20_000 + "[^a] " * 20_000,
    "footnotes in one": "[^a]:" * 20_000,
    "backticks": "<b>" + "".join("`" * number + " " for number in range(500)),
    "comments": "<!--" * 50_000,
    "tags": "<div>\n\n" * 20_000,
    "table": "| a |\n|---|\n" + "| b |\n" * 20_000,
    "wide table": "|" + " a |" * 5_000 + "\n|" + "---|" * 5_000 + "\n" + "| b |\n" * 100,
    "tasks": "- [ ] x\n" * 20_000,
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_is_read_in_time(kind: str) -> None:
    """Quadratic time would take minutes here, and end in the timeout."""
    for runbook in parse_runbooks(f"# PodRestarts\n\n## Impact\n\n{HOSTILE[kind]}", "PodRestarts.md"):
        render_plain(cut_excerpt(runbook))
    render_page(HOSTILE[kind])
