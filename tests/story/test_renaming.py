"""A label whose value changes at each evaluation makes new alerts: they are treated as one renamed alert."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig import Rig

GROUP = {"alertname": "QueueLong"}


def queue(rig: Rig, value: object, *, began: float | None = None, ended: bool = False, **labels: str) -> Any:
    severity = labels.pop("severity", "critical")
    at = rig.clock() if began is None else began
    return rig.alert(
        "QueueLong", severity, at=at, ended=ended, **{"queue": "mail", "value": str(value), **labels}
    )


class Churn:
    """Alerts whose `value` changes, as Alertmanager sends them."""

    def __init__(self, rig: Rig, hosts: tuple[str, ...] = ("",)) -> None:
        self.rig, self.hosts, self.value = rig, hosts, 0
        self.began = rig.clock()
        self.incident = str(rig.posts(*self.alerts(0, self.began), group=GROUP)["incidents"][0])
        rig.works()

    def alerts(self, value: int, began: float, *, ended: bool = False) -> list[Any]:
        more = [{"host": host} if host else {} for host in self.hosts]
        return [queue(self.rig, value, began=began, ended=ended, **labels) for labels in more]

    def changes(self, order: str = "together", every: str = "5m", *extra: Any) -> None:
        """Let the value change; the resolve is sent *together* with the new alert, *before* or *after* it."""
        rig, former, value = self.rig, self.began, self.value
        rig.passes(every)
        self.value, self.began = value + 1, rig.clock()
        ended = self.alerts(value, former, ended=True)
        fired, old = self.alerts(value + 1, self.began), self.alerts(value, former)
        if order == "together":
            rig.posts(*fired, *ended, *extra, group=GROUP)
        elif order == "before":
            rig.posts(*ended, *extra, group=GROUP)
            rig.passes("10s")
            rig.posts(*fired, *extra, group=GROUP)
        else:
            rig.posts(*fired, *old, *extra, group=GROUP)
            rig.passes("5m")
            rig.posts(*fired, *self.alerts(value, former, ended=True), *extra, group=GROUP)
        rig.works()


def joined(rig: Rig) -> list[str]:
    return [reply for reply in rig.replies() if "joined" in reply]


def hints(rig: Rig) -> list[str]:
    return [reply for reply in rig.replies() if "is part of the labels" in reply]


def test_the_second_change_causes_a_hint_and_no_further_replies(rig: Rig) -> None:
    churn = Churn(rig)
    churn.changes()
    assert (len(joined(rig)), hints(rig)) == (1, [])
    for _ in range(10):
        churn.changes()
    assert len(joined(rig)) == 1
    (hint,) = hints(rig)
    assert "`value` is part of the labels" in hint
    assert rig.paged() == ["on-call", "team-lead", "manager"]
    assert f"`value={churn.value}`" in rig.parents()[0].words
    texts = [event["text"] for event in rig.shows(churn.incident)["timeline"]]
    assert len([text for text in texts if "`value` is part of the labels" in text]) == 1
    assert "`value` is part of the labels" in rig.client.get("/history").text.replace("&#39;", "'")


def test_the_resolve_may_be_sent_after_the_new_alert(rig: Rig) -> None:
    """The sender stops sending the old alert, which then ends five minutes later."""
    churn = Churn(rig)
    for _ in range(10):
        churn.changes("after", "1m")
    assert len(joined(rig)) == 2
    assert len(hints(rig)) == 1
    rig.passes("1h")
    assert len(joined(rig)) == 2


def test_the_resolve_may_be_sent_before_the_new_alert(rig: Rig) -> None:
    other = queue(rig, "0", queue="orders")
    rig.posts(other, group=GROUP)
    churn = Churn(rig)
    before = len(joined(rig))
    for _ in range(10):
        churn.changes("before", "5m", other)
    assert len(joined(rig)) - before == 1
    assert len(hints(rig)) == 1


def test_the_order_may_change(rig: Rig) -> None:
    other = queue(rig, "0", queue="orders")
    rig.posts(other, group=GROUP)
    churn = Churn(rig)
    before = len(joined(rig))
    for order in ("together", "after", "before", "together", "after", "before", "before", "after"):
        churn.changes(order, "3m", other)
    rig.passes("1h")
    assert len(joined(rig)) - before <= 2
    assert len(hints(rig)) == 1


def test_a_group_interval_of_an_hour_hides_the_values_between(rig: Rig) -> None:
    churn = Churn(rig)
    for value in range(1, 6):
        rig.passes("40m")
        start = rig.clock()
        rig.passes("20m")
        ended = queue(rig, churn.value, began=churn.began, ended=True)
        ended["endsAt"] = rig.alert("x", at=churn.began + 60)["startsAt"]
        rig.posts(queue(rig, value, began=start), ended, group=GROUP)
        rig.works()
        churn.value, churn.began = value, start
    assert (len(joined(rig)), len(hints(rig))) == (1, 1)


def test_a_hundred_alerts_that_are_renamed_at_once_are_reported_once(rig: Rig) -> None:
    churn = Churn(rig, tuple(f"host-{n}" for n in range(100)))
    for _ in range(4):
        churn.changes()
    assert (len(joined(rig)), len(hints(rig))) == (1, 1)
    assert rig.shows(churn.incident)["firing"] == 100


def test_alerts_that_really_join_are_still_reported(rig: Rig) -> None:
    churn = Churn(rig)
    for _ in range(3):
        churn.changes()
    count = len(joined(rig))
    churn.changes("together", "5m", queue(rig, 7, queue="orders"))
    assert len(joined(rig)) == count + 1
    assert "orders" in joined(rig)[-1]
    assert "1 alert joined" in joined(rig)[-1]


def test_an_alert_that_looks_like_a_renaming_and_is_none_is_reported_later(rig: Rig) -> None:
    churn = Churn(rig)
    for _ in range(3):
        churn.changes()
    count = len(joined(rig))
    rig.posts(queue(rig, "77"), queue(rig, churn.value, began=churn.began), group=GROUP)
    rig.passes("14m")
    assert len(joined(rig)) == count
    rig.passes("2m")
    assert len(joined(rig)) == count + 1
    assert "value=77" in joined(rig)[-1]


def test_an_alert_that_joins_without_a_resolve_is_reported_at_once_until_a_label_changed_twice(
    rig: Rig,
) -> None:
    rig.posts(queue(rig, 1, host="a"), group=GROUP)
    rig.works()
    for number, host in enumerate("bcd", 1):
        rig.passes("1m")
        rig.posts(queue(rig, 1, host=host), group=GROUP)
        rig.works()
        assert len(joined(rig)) == number
    assert hints(rig) == []


def test_two_labels_that_differ_make_another_alert(rig: Rig) -> None:
    rig.posts(queue(rig, 0, host="a"), group=GROUP)
    rig.works()
    for number in range(1, 5):
        rig.passes("1m")
        rig.posts(
            queue(rig, number, host=f"h{number}"),
            queue(
                rig,
                number - 1,
                host=f"h{number - 1}" if number > 1 else "a",
                ended=True,
                began=rig.clock() - 60,
            ),
            group=GROUP,
        )
        rig.works()
        assert len(joined(rig)) == number
    assert hints(rig) == []


def test_an_acknowledged_incident_stays_acknowledged_and_is_not_paged(rig: Rig) -> None:
    churn = Churn(rig)
    rig.answers(churn.incident, "acknowledge")
    for order in ("together", "together", "after", "together"):
        churn.changes(order)
    assert rig.state(churn.incident) == "acknowledged"
    assert rig.paged() == ["on-call"]
    assert len(joined(rig)) == 1


def test_a_worse_severity_still_unacknowledges(rig: Rig) -> None:
    rig.configure(_one_route())
    incident = rig.posts(queue(rig, 0, severity="warning"), group=GROUP)["incidents"][0]
    rig.works()
    rig.answers(incident, "acknowledge")
    for value in range(1, 4):
        rig.passes("5m")
        rig.posts(
            queue(rig, value, severity="warning"),
            queue(rig, value - 1, severity="warning", ended=True, began=rig.clock() - 300),
            group=GROUP,
        )
        rig.works()
    assert rig.state(incident) == "acknowledged"
    count = len(joined(rig))
    rig.passes("5m")
    rig.posts(
        queue(rig, 3, severity="critical"),
        queue(rig, 3, severity="warning", ended=True, began=rig.clock() - 300),
        group=GROUP,
    )
    rig.works()
    assert rig.state(incident) == "open"
    assert len(joined(rig)) == count + 1


def _one_route() -> str:
    from tests.rig import ROUTING

    head, _, _ = ROUTING.partition("routes:")
    return head + 'routes:\n  - {match: [], channel: "#alerts-critical", escalation: critical}\n'


@pytest.mark.parametrize(("every", "edits"), [("15s", 11), ("5m", 31)])
def test_edits_follow_once_a_minute(rig: Rig, every: str, edits: int) -> None:
    churn = Churn(rig)
    for _ in range(3):
        churn.changes()
    before = rig.parents()[0].edits
    for _ in range(30):
        churn.changes("together", every)
    rig.passes("1m")
    assert rig.parents()[0].edits - before <= edits
    assert f"`value={churn.value}`" in rig.parents()[0].words
    rig.answers(churn.incident, "acknowledge")
    assert "Acknowledged" in rig.parents()[0].words  # changes by people are shown at once


def test_the_incident_is_resolved_when_the_last_renamed_alert_is(rig: Rig) -> None:
    churn = Churn(rig)
    for _ in range(5):
        churn.changes()
    rig.posts(*churn.alerts(churn.value, churn.began, ended=True), group=GROUP)
    rig.works()
    assert rig.state(churn.incident) == "resolved"
    assert any("Resolved" in reply for reply in rig.replies())
