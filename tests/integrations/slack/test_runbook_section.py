"""A runbook's excerpt: whole parts in Slack's markup, or none of them."""

from __future__ import annotations

from receiver.integrations.slack.blocks import BlockBudget, measure
from receiver.integrations.slack.runbook_section import render_runbook
from receiver.runbooks.model import Excerpt, Part, Section


def shown(*parts: Part, title: str = "", characters: int = 9000, **changes) -> str:
    budget = BlockBudget(characters)
    blocks = render_runbook(Excerpt("DiskFull", (Section(title, parts),), **changes), budget)
    assert measure(blocks) <= characters
    return "\n".join(block["text"]["text"] for block in blocks)


def test_lists_keep_their_depth_and_numbers():
    said = shown(
        Part("item", "First", 1, "1."),
        Part("item", "Under it", 2, "-"),
        Part("paragraph", "Belongs to it", 2),
        Part("item", "Deeper", 3, "-"),
        Part("item", "Second", 1, "2."),
    )
    assert said == (
        "📖 *Runbook: DiskFull*\n1. First\n    ◦ Under it\n        Belongs to it\n        ▪ Deeper\n2. Second"
    )


def test_a_fence_is_shown_whole_even_with_fences_in_it():
    said = shown(Part("code", "echo '<x>' # not a heading\n```\nend", lang="bash"))
    assert said.endswith("```\necho '&lt;x&gt;' # not a heading\n'''\nend\n```")


def test_a_table_keeps_its_columns():
    assert shown(Part("table", "| a | b |\n|---|---|\n| 1 | 2 |")).endswith(
        "```\n| a | b |\n|---|---|\n| 1 | 2 |\n```"
    )


def test_a_title_stands_over_its_first_part():
    assert shown(Part("paragraph", "It is full."), title="Impact") == (
        "📖 *Runbook: DiskFull*\n*Impact*\nIt is full."
    )


def test_what_does_not_fit_is_left_out_whole_and_linked():
    parts = [Part("code", f"step {n}\n" + "x" * 200) for n in range(50)]
    said = shown(*parts, characters=2000, url="https://x.example/runbooks/DiskFull")
    assert said.count("```") % 2 == 0
    assert 0 < said.count("step") < 10
    assert said.endswith("… <https://x.example/runbooks/DiskFull|the rest of the runbook>")


def test_a_part_that_no_section_takes_is_passed_over_and_said():
    said = shown(Part("code", "x" * 5000), Part("paragraph", "After it"))
    assert "too long to show here" in said
    assert "After it" in said
    assert said.endswith("… the runbook goes on")


def test_an_excerpt_that_was_cut_before_says_that_it_goes_on():
    assert shown(Part("paragraph", "All of it"), is_cut=True).endswith("… the runbook goes on")


def test_no_room_means_no_runbook():
    assert shown(Part("paragraph", "words"), characters=100) == ""


def test_an_excerpt_without_words_shows_nothing():
    assert render_runbook(Excerpt("DiskFull", url="https://x.example"), BlockBudget()) == []
