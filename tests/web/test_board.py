"""The page of what is open: order, filters, parts, answers, and what must be known before it is trusted."""

from __future__ import annotations

import re

import pytest

from tests.rig import Rig


def shown(rig: Rig, query: str = "") -> list[str]:
    """Return the names on the board, from the top."""
    return re.findall(r"<h2><a [^>]*>([^<]+)</a>", rig.client.get(f"/{query}").text)


def test_what_nobody_has_comes_first_then_the_worse_then_the_older(rig: Rig) -> None:
    rig.fires("Info", "info")
    rig.fires("OldWarning", "warning")
    taken = rig.fires("Taken", "critical")
    rig.passes("1m")
    rig.fires("NewWarning", "warning")
    rig.fires("Critical", "critical")
    rig.answers(taken, "acknowledge", "alice")
    assert shown(rig) == ["Critical", "OldWarning", "NewWarning", "Info", "Taken"]
    assert "acknowledged by alice" in rig.client.get("/").text


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("?state=acknowledged", ["Taken"]),
        ("?state=unacknowledged", ["Critical", "Warning"]),
        ("?severity=warning", ["Warning"]),
        ("?route=%23alerts-critical", ["Critical", "Taken"]),
        ("?text=TAKE", ["Taken"]),
        ("?text=nothing+like+it", []),
    ],
)
def test_the_board_is_narrowed_by_what_stands_in_the_address(rig: Rig, query: str, names: list[str]) -> None:
    rig.fires("Critical")
    rig.fires("Warning", "warning")
    rig.answers(rig.fires("Taken"), "acknowledge", "bob")
    assert shown(rig, query) == names


def test_a_senseless_filter_is_a_400_with_a_sentence(rig: Rig) -> None:
    answer = rig.client.get("/?state=odd")
    assert answer.status_code == 400
    assert "state" in answer.text


def test_a_part_holds_a_hundred_and_leads_to_the_next(rig: Rig) -> None:
    for number in range(103):
        rig.posts(rig.alert(f"A{number:03}", "info"))
        rig.clock.moment += 0.01
    first = rig.client.get("/?severity=info")
    assert len(shown(rig)) == 100
    assert "Part 1 of 2" in first.text
    assert "severity=info&amp;page=2" in first.text
    assert shown(rig, "?page=2") == ["A100", "A101", "A102"]
    assert shown(rig, "?page=99") == ["A100", "A101", "A102"]


def test_it_counts_down_to_the_next_step(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.passes("1m")
    page = rig.client.get("/").text
    assert re.search(r"Team Lead <time class=\"countdown\"[^>]* data-due=\"2026-11-23T12:05:0", page)


def test_acknowledging_on_the_page_is_acknowledging(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    answer = rig.submits(f"/incidents/{incident}/acknowledge", back="now", auth=("carol", "x"))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert rig.state(incident) == "acknowledged"
    assert rig.shows(incident)["acknowledged_by"] == "carol"
    assert rig.events() == ["trigger", "acknowledge"]
    assert "in " not in re.findall(r"countdown", rig.client.get("/").text)


@pytest.mark.parametrize("what", ["unacknowledge", "resolve"])
def test_other_answers_on_the_page(rig: Rig, what: str) -> None:
    incident = rig.fires("DiskFull")
    rig.answers(incident, "acknowledge")
    answer = rig.submits(f"/incidents/{incident}/{what}")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/incidents/{incident}")
    assert rig.state(incident) == ("open" if what == "unacknowledge" else "resolved")


def test_no_worker_is_said_at_the_top(rig: Rig) -> None:
    assert "No worker is alive" in rig.client.get("/").text
    rig.parts.agenda.beat("w", rig.clock())
    assert "No worker is alive" not in rig.client.get("/").text


def test_the_title_counts_what_nobody_has(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.answers(rig.fires("Taken"), "acknowledge")
    assert "<title>(1) 2 open, 1 of them nobody has · receiver</title>" in rig.client.get("/").text
