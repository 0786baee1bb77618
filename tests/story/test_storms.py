"""More new incidents than can be said one by one: one message and one page speak for them."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.wiring import build_machine
from tests.rig import NAMES, Rig
from tests.turns import Turns

MANY = 100


def begin(rig: Rig, **rates: tuple[float, float]) -> None:
    """Have the receiver keep to budgets from now on."""
    rig.machine = build_machine(rig.parts, Turns(**rates))


def breaks_out(rig: Rig, count: int = MANY, severity: str = "critical") -> list[str]:
    """Have *count* groups fire at once, and work that off; return the incidents."""
    ids = [
        rig.posts(rig.alert(f"Alert{n % 3}", severity, host=str(n)), group={"host": str(n)})["incidents"][0]
        for n in range(count)
    ]
    rig.works()
    return ids


def ends(rig: Rig, count: int = MANY, severity: str = "critical", first: int = 0) -> None:
    for n in range(first, count):
        alert = rig.alert(f"Alert{n % 3}", severity, ended=True, at=rig.clock() - 1, host=str(n))
        rig.posts(alert, group={"host": str(n)})
    rig.works()


def storms(rig: Rig) -> list[dict[str, Any]]:
    return list(rig.client.get("/api/v1/storms").json["storms"])


def summaries(rig: Rig) -> list[Any]:
    return [root for root in rig.roots() if "incidents in #" in root.text]


def storm_pages(rig: Rig, responder: str = "on-call") -> list[Any]:
    key = next(key for key, name in NAMES.items() if name == responder)
    return [
        event
        for event in rig.pagerduty.triggers()
        if event.routing_key == key and "receiver-storm-" in event.body["dedup_key"]
    ]


def test_one_message_speaks_for_all_and_is_kept_up_to_date(rig: Rig) -> None:
    begin(rig)
    breaks_out(rig)
    rig.passes("20s")
    (summary,) = summaries(rig)
    assert len(rig.roots()) < 10
    assert summary.edits >= 1
    print(summary.words, summary.edits, len(rig.roots()), rig.paged())


def test_the_first_criticals_are_paged_at_once_and_one_page_counts_the_rest(rig: Rig) -> None:
    begin(rig)
    breaks_out(rig)
    rig.passes("1s")
    singles = len(rig.paged())
    assert 1 <= singles <= 15
    rig.passes("30s")
    (page,) = storm_pages(rig)
    print(page.body)
    assert f"{MANY - singles} incidents in #alerts-critical" in page.body["payload"]["summary"]
