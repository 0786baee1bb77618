"""The excerpt of a runbook: whole parts in Slack's markup, or none of them."""

from __future__ import annotations

from receiver.integrations.slack.blocks import BlockBudget, measure
from receiver.integrations.slack.incident_message import render_runbook
from receiver.runbooks.model import Excerpt, Part, Section


def render(*parts: Part, title: str = "", characters: int = 9000, **changes) -> str:
    budget = BlockBudget(characters)
    blocks = render_runbook(Excerpt("DiskFull", (Section(title, parts),), **changes), budget)
    assert measure(blocks) <= characters
    return "\n".join(block["text"]["text"] for block in blocks)


def test_lists_keep_their_depth_and_numbers():
    text = render(
        Part("item", "First", 1, "1."),
        Part("item", "Under it", 2, "-"),
        Part("paragraph", "Belongs to it", 2),
        Part("item", "Deeper", 3, "-"),
        Part("item", "Second", 1, "2."),
    )
    assert text == (
        "📖 *Runbook: DiskFull*\n1. First\n    ◦ Under it\n        Belongs to it\n        ▪ Deeper\n2. Second"
    )


def test_a_code_block_is_shown_completely_even_with_fences_in_it():
    text = render(Part("code", "echo '<x>' # not a heading\n```\nend", lang="bash"))
    assert text.endswith("```\necho '&lt;x&gt;' # not a heading\n'''\nend\n```")


def test_a_table_keeps_its_columns():
    assert render(Part("table", "| a | b |\n|---|---|\n| 1 | 2 |")).endswith(
        "```\n| a | b |\n|---|---|\n| 1 | 2 |\n```"
    )


def test_a_title_is_shown_above_its_first_part():
    assert render(Part("paragraph", "It is full."), title="Impact") == (
        "📖 *Runbook: DiskFull*\n*Impact*\nIt is full."
    )


def test_a_part_that_does_not_fit_is_omitted_completely_and_linked():
    parts = [Part("code", f"step {n}\n" + "x" * 200) for n in range(50)]
    text = render(*parts, characters=2000, url="https://x.example/runbooks/DiskFull")
    assert text.count("```") % 2 == 0
    assert 0 < text.count("step") < 10
    assert text.endswith("… <https://x.example/runbooks/DiskFull|the rest of the runbook>")


def test_a_part_that_fits_in_no_section_is_omitted_and_mentioned():
    text = render(Part("code", "x" * 5000), Part("paragraph", "After it"))
    assert "too long to show here" in text
    assert "After it" in text
    assert text.endswith("… the runbook goes on")


def test_a_cut_excerpt_says_that_the_runbook_goes_on():
    assert render(Part("paragraph", "All of it"), is_cut=True).endswith("… the runbook goes on")


def test_without_space_no_runbook_is_shown():
    assert render(Part("paragraph", "words"), characters=100) == ""


def test_an_empty_excerpt_shows_nothing():
    assert render_runbook(Excerpt("DiskFull", url="https://x.example"), BlockBudget()) == []


def test_where_the_room_is_small_the_diagnosis_is_cut_before_the_resolution():
    steps = tuple(Part("item", f"{number} {'x' * 150}", 1, "-") for number in range(20))
    sections = (
        Section("诊断", steps, "Diagnosis"),
        Section("缓解", (Part("item", "`undo`", 1, "1."),), "Resolution"),
    )
    for characters in (900, 1500, 2500):
        budget = BlockBudget(characters)
        blocks = render_runbook(Excerpt("DiskFull", sections, url="https://x.example"), budget)
        text = "\n".join(block["text"]["text"] for block in blocks)
        assert "• 0 xxx" in text
        assert "1. `undo`" in text
        assert text.endswith("… <https://x.example|the rest of the runbook>")
        assert measure(blocks) <= characters - budget.characters
