"""The part of a runbook that a message shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.runbooks.excerpt import cut_excerpt
from receiver.runbooks.model import Part, Runbook, Section, render_markdown, render_plain
from receiver.runbooks.parser import parse_runbooks


def a_runbook(**sections: list[Part] | str) -> Runbook:
    parts = {
        title: (Part("paragraph", said),) if isinstance(said, str) else tuple(said)
        for title, said in sections.items()
    }
    return Runbook("DiskFull", "critical", tuple(Section(title, said) for title, said in parts.items()))


def steps(count: int, length: int) -> list[Part]:
    return [Part("item", f"{n} ".ljust(length, "x"), 1, f"{n}.") for n in range(1, count + 1)]


def shown(excerpt, title: str) -> list[str]:
    return [part.text for section in excerpt.sections if section.title == title for part in section.parts]


def test_the_sections_for_the_person_on_call_are_shown_in_order():
    runbook = a_runbook(
        Prevention="p", Escalation="e", Resolution="r", Diagnosis="d", Impact="i", Symptom="s"
    )
    excerpt = cut_excerpt(runbook, 1000)
    assert [section.title for section in excerpt.sections] == [
        "Symptom",
        "Impact",
        "Diagnosis",
        "Resolution",
        "Escalation",
    ]
    assert not excerpt.is_cut


def test_a_runbook_without_those_sections_is_shown_from_its_start():
    excerpt = cut_excerpt(
        Runbook("X", "", (Section("", (Part("paragraph", "a"),)), Section("Notes", (Part("code", "b"),))))
    )
    assert [section.title for section in excerpt.sections] == ["", "Notes"]


def test_text_before_the_first_section_replaces_a_missing_symptom():
    runbook = a_runbook(**{"": "It is full.", "Impact": "bad"})
    assert [section.title for section in cut_excerpt(runbook).sections] == ["", "Impact"]
    runbook = a_runbook(**{"": "It is full.", "Symptom": "full"})
    assert [section.title for section in cut_excerpt(runbook).sections] == ["Symptom"]


def test_a_long_diagnosis_is_cut_before_the_resolution():
    runbook = a_runbook(
        Symptom="s" * 50, Diagnosis=steps(40, 50), Resolution=steps(10, 50), Escalation="team"
    )
    excerpt = cut_excerpt(runbook, 1500, "https://r/runbooks/DiskFull")
    assert len(shown(excerpt, "Resolution")) == 10
    assert 1 < len(shown(excerpt, "Diagnosis")) < 40
    assert shown(excerpt, "Diagnosis")[0].startswith("1 ")
    assert (excerpt.is_cut, excerpt.url) == (True, "https://r/runbooks/DiskFull")


def test_a_long_resolution_leaves_only_the_start_of_the_diagnosis():
    runbook = a_runbook(Diagnosis=steps(40, 50), Resolution=steps(40, 50))
    excerpt = cut_excerpt(runbook, 1500)
    assert len(shown(excerpt, "Resolution")) > 18
    assert len("".join(shown(excerpt, "Diagnosis"))) <= 1500 / 8


def test_a_long_symptom_does_not_displace_the_other_sections():
    runbook = a_runbook(
        Symptom=steps(50, 50), Impact=steps(50, 50), Diagnosis="d", Resolution="r", Escalation="e"
    )
    assert len(cut_excerpt(runbook, 1000).sections) == 5


def test_a_list_item_is_shown_or_omitted_with_all_its_content():
    first, second = steps(2, 20)
    inside = [Part("paragraph", "more", 1), Part("code", "x" * 300, 1), Part("item", "nested", 2, "-")]
    runbook = a_runbook(Resolution=[first, second, *inside])
    assert shown(cut_excerpt(runbook, 200), "Resolution") == [first.text]
    assert len(shown(cut_excerpt(runbook, 500), "Resolution")) == 5


def test_an_unindented_code_block_belongs_to_the_item_above_it():
    text = (
        "## DiskFull (Critical)\n\n**Resolution**:\n\n1. Free it:\n```sh\n"
        + "x" * 300
        + "\n```\n2. Look again\n"
    )
    (runbook,) = parse_runbooks(text, "a.md")
    assert shown(cut_excerpt(runbook, 250), "Resolution") == ["Look again"]


def test_a_line_that_introduces_code_is_not_shown_without_the_code():
    runbook = a_runbook(
        Diagnosis=[Part("paragraph", "First."), Part("paragraph", "Run this:"), Part("code", "x" * 300)]
    )
    assert shown(cut_excerpt(runbook, 200), "Diagnosis") == ["First."]


def test_a_part_that_never_fits_is_omitted_and_the_rest_is_shown():
    runbook = a_runbook(Diagnosis=[Part("paragraph", "a"), Part("code", "x" * 5000), Part("paragraph", "b")])
    excerpt = cut_excerpt(runbook, 500)
    assert shown(excerpt, "Diagnosis") == ["a", "b"]
    assert excerpt.is_cut


def test_the_excerpt_as_markdown():
    runbook = a_runbook(
        Symptom="> 10 % of calls fail",
        Resolution=[
            Part("item", "Look:\nclosely", 1, "1."),
            Part("item", "deeper", 2, "-"),
            Part("code", "# a\n\nb ``` c", 1, lang="sh"),
            Part("table", "| a |\n| --- |"),
        ],
    )
    assert render_markdown(cut_excerpt(runbook, url="https://r/x")) == (
        "**Symptom**\n\n\\> 10 % of calls fail\n\n"
        "**Resolution**\n\n1. Look:\n   closely\n\n   - deeper\n\n   ````sh\n   # a\n\n   b ``` c\n   ````\n\n"
        "| a |\n| --- |\n\n"
        "The runbook: <https://r/x>"
    )


def test_the_excerpt_as_plain_text_ends_with_the_link():
    excerpt = cut_excerpt(a_runbook(Resolution=steps(9, 50)), 200, "https://r/x")
    assert render_plain(excerpt).startswith("Resolution\n1. 1 xx")
    assert render_plain(excerpt).endswith("https://r/x")


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=80)
any_part = st.one_of(
    st.builds(Part, st.just("paragraph"), texts, st.integers(0, 2)),
    st.builds(Part, st.just("item"), texts, st.integers(1, 3), st.sampled_from(["-", "1.", "10."])),
    st.builds(Part, st.just("code"), texts, st.integers(0, 2)),
    st.builds(Part, st.just("table"), texts),
)
any_section = st.builds(
    Section,
    st.sampled_from(["", "Symptom", "Impact", "Diagnosis", "Resolution", "Escalation", "Prevention"]),
    st.lists(any_part, max_size=12).map(tuple),
)
any_runbook = st.lists(any_section, max_size=7).map(lambda sections: Runbook("X", "", tuple(sections)))


@given(any_runbook, st.integers(0, 1000))
def test_an_excerpt_never_exceeds_its_limit(runbook, limit):
    assert len(render_markdown(cut_excerpt(runbook, limit)).removesuffix("…").rstrip()) <= limit


@given(any_runbook, st.integers(0, 1000))
def test_every_shown_part_is_a_whole_part_of_the_runbook_in_order(runbook, limit):
    for section in cut_excerpt(runbook, limit).sections:
        whole_parts = [
            part for whole in runbook.sections if whole.title == section.title for part in whole.parts
        ]
        rest = iter(whole_parts)
        assert all(part in rest for part in section.parts)


@given(any_runbook, st.integers(0, 1000))
def test_omitted_parts_are_indicated(runbook, limit):
    excerpt = cut_excerpt(runbook, limit)
    whole = cut_excerpt(runbook, 10**9)
    assert excerpt.is_cut == (excerpt.sections != whole.sections)


@given(any_runbook)
def test_a_sufficient_limit_cuts_nothing(runbook):
    assert not cut_excerpt(runbook, 10**9).is_cut


@pytest.mark.parametrize("limit", [0, 1, 10, 100, 500, 1000, 2500])
def test_code_is_unchanged_in_the_markdown(limit):
    code = "".join(
        f"```sh\n# {n}\nrun {n} <<END\n\n## {'x' * n}\nEND\n```\n\n1. a\n   ```\n   b\n   ```\n\n"
        for n in range(40)
    )
    (runbook,) = parse_runbooks(f"## DiskFull (Critical)\n\n**Diagnosis**:\n\n{code}", "a.md")
    before = {part.text for section in runbook.sections for part in section.parts if part.kind == "code"}
    (again,) = parse_runbooks(
        f"## DiskFull (Critical)\n\n{render_markdown(cut_excerpt(runbook, limit))}", "a.md"
    )
    after = {part.text for section in again.sections for part in section.parts if part.kind == "code"}
    assert after <= before
