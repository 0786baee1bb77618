from __future__ import annotations

from receiver.runbooks.model import Excerpt, Part, Section, render_plain
from tests.builders import an_excerpt


def test_sections_lists_and_code_are_rendered_below_each_other() -> None:
    excerpt = an_excerpt(
        Section("", (Part("paragraph", "First of all."),)),
        Section(
            "Diagnosis",
            (
                Part("item", "Look\nclosely", 1, "1."),
                Part("code", "top\nps", 1, lang="bash"),
                Part("item", "then", 2, "-"),
                Part("paragraph", "and so on", 2),
                Part("item", "Stop", 1, "2."),
                Part("code", "reboot"),
            ),
        ),
    )
    assert render_plain(excerpt) == (
        "First of all.\n\n"
        "Diagnosis\n"
        "1. Look\n   closely\n    top\n    ps\n  - then\n    and so on\n2. Stop\n  reboot"
    )


def test_a_cut_excerpt_links_the_rest() -> None:
    assert render_plain(an_excerpt(is_cut=True)).endswith(
        "\n\n… more: https://receiver.example/runbooks/HighCPUUsage"
    )
    assert render_plain(an_excerpt(is_cut=True, url="")).endswith("\n\n…")


def test_an_excerpt_of_only_a_link_has_no_text() -> None:
    assert render_plain(Excerpt("X", url="https://runbooks.example/x", is_cut=True)) == ""
