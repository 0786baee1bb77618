"""One alert under two receivers of Alertmanager (`continue: true`, a renamed one) is one incident."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig import Rig

# The same alert as two routes of Alertmanager send it: with another receiver and another group key.
TEAM: dict[str, Any] = {
    "receiver": "shop/team/receiver",
    "groupKey": '{}/{namespace="shop"}:{alertname="QueueStuck"}',
}
DEFAULT: dict[str, Any] = {
    "receiver": "default",
    "groupKey": '{}/{severity="critical"}:{alertname="QueueStuck"}',
}
PATHS = pytest.mark.parametrize(
    ("first", "second"), [(TEAM, DEFAULT), (DEFAULT, TEAM)], ids=["team", "default"]
)


def queue(rig: Rig, instance: str = "q-1", **how: Any) -> dict[str, Any]:
    return rig.alert("QueueStuck", instance=instance, namespace="shop", **how)


def ended(rig: Rig, instance: str = "q-1") -> dict[str, Any]:
    return queue(rig, instance, ended=True, at=rig.clock() - 1)


def posts(rig: Rig, *alerts: dict[str, Any], path: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = rig.posts(*alerts, **{**path, **fields})
    rig.works()
    return answer


def opens(rig: Rig, path: dict[str, Any], *instances: str) -> str:
    """Fire the alert on *path*; return the incident ten seconds later."""
    alerts = [queue(rig, instance) for instance in instances or ("q-1",)]
    [incident] = posts(rig, *alerts, path=path)["incidents"]
    rig.passes("10s")
    return str(incident)


@PATHS
def test_the_first_receiver_opens_one_incident_with_one_message_and_one_page(
    rig: Rig, first: dict[str, Any], second: dict[str, Any]
) -> None:
    incident = opens(rig, first)
    outside = rig.visible_output()
    answer = posts(rig, queue(rig, at=rig.clock() - 10), path=second)
    assert (answer["new"], answer["duplicates"], answer["incidents"]) == (0, 1, [incident])
    assert rig.visible_output() == outside
    details = rig.shows(incident)
    assert (details["receiver"], details["group_key"]) == (first["receiver"], first["groupKey"])
    assert rig.paged() == ["on-call"]
    assert len(rig.parents()) == 1


@PATHS
def test_the_resolve_of_either_receiver_is_applied_and_that_of_the_other_changes_nothing(
    rig: Rig, first: dict[str, Any], second: dict[str, Any]
) -> None:
    incident = opens(rig, TEAM)
    posts(rig, queue(rig, at=rig.clock() - 10), path=DEFAULT)
    assert posts(rig, ended(rig), path=first)["resolved"] == 1
    assert rig.state(incident) == "resolved"
    assert rig.pagerduty.still_open() == []
    outside = rig.visible_output()
    answer = posts(rig, ended(rig), path=second)
    assert (answer["resolved"], answer["duplicates"]) == (0, 1)
    assert rig.visible_output() == outside


def test_an_alert_that_joins_under_both_receivers_is_counted_once(rig: Rig) -> None:
    incident = opens(rig, TEAM, "q-1")
    posts(rig, queue(rig, "q-1"), queue(rig, "q-2"), path=TEAM)
    answer = posts(rig, queue(rig, "q-1"), queue(rig, "q-2"), path=DEFAULT)
    assert (answer["new"], answer["duplicates"], answer["incidents"]) == (0, 2, [incident])
    assert posts(rig, ended(rig, "q-1"), path=DEFAULT)["resolved"] == 1
    assert rig.state(incident) == "open"
    assert posts(rig, ended(rig, "q-2"), path=TEAM)["resolved"] == 1
    assert rig.state(incident) == "resolved"


def test_groups_of_a_hundred_are_one_incident(rig: Rig) -> None:
    names = [f"q-{n}" for n in range(100)]
    incident = opens(rig, TEAM, *names)
    answer = posts(rig, *(queue(rig, name) for name in names), path=DEFAULT)
    assert (answer["new"], answer["duplicates"], answer["incidents"]) == (0, 100, [incident])
    assert posts(rig, *(ended(rig, name) for name in names), path=DEFAULT)["resolved"] == 100
    assert rig.state(incident) == "resolved"


@pytest.mark.parametrize("has_key", [True, False], ids=["group key", "no group key"])
def test_a_renamed_receiver_does_not_page_an_acknowledged_alert(rig: Rig, has_key: bool) -> None:
    key = {} if has_key else {"groupKey": ""}
    incident = posts(rig, queue(rig), path={**key, "receiver": "old"})["incidents"][0]
    rig.answers(incident, "acknowledge")
    rig.passes("10s")
    outside = rig.visible_output()
    answer = posts(rig, queue(rig), path={**key, "receiver": "new"})
    assert (answer["new"], answer["incidents"]) == (0, [incident])
    rig.passes("1h")
    assert rig.visible_output() == outside
    assert rig.state(incident) == "acknowledged"
    assert rig.shows(incident)["receiver"] == "old"
    assert posts(rig, ended(rig), path={**key, "receiver": "new"})["resolved"] == 1
    assert rig.state(incident) == "resolved"


def test_the_dedup_key_of_a_page_does_not_depend_on_the_receiver(rig: Rig, redis_client: Any) -> None:
    """Also after a loss of all data."""
    keys = []
    for receiver in ("old", "new"):
        redis_client.flushall()
        posts(rig, queue(rig), path={"receiver": receiver})
        keys.append(rig.pagerduty.triggers()[-1].dedup_key)
    assert len(set(keys)) == 1
    assert rig.paged() == ["on-call"]


@PATHS
def test_after_a_manual_resolve_copies_of_both_receivers_are_duplicates(
    rig: Rig, first: dict[str, Any], second: dict[str, Any]
) -> None:
    incident = opens(rig, TEAM)
    rig.answers(incident, "resolve")
    outside = rig.visible_output()
    for path in (first, second, first):
        rig.passes("20m")
        answer = posts(rig, queue(rig, at=rig.clock() - 1210), path=path)
        assert (answer["new"], answer["duplicates"], answer["incidents"]) == (0, 1, [incident])
    assert rig.visible_output() == outside
    posts(rig, ended(rig), path=first)
    rig.passes("1m")
    assert posts(rig, queue(rig), path=second)["new"] == 1
    assert rig.paged() == ["on-call", "on-call"]


@PATHS
def test_within_the_flap_window_the_first_of_both_receivers_reopens_the_incident(
    rig: Rig, first: dict[str, Any], second: dict[str, Any]
) -> None:
    incident = opens(rig, TEAM)
    posts(rig, ended(rig), path=TEAM)
    posts(rig, ended(rig), path=DEFAULT)
    rig.passes("9m")
    answer = posts(rig, queue(rig), path=first)
    assert (answer["new"], answer["incidents"]) == (1, [incident])
    assert posts(rig, queue(rig), path=second)["duplicates"] == 1
    assert rig.state(incident) == "open"
    assert len(rig.parents()) == 1
    posts(rig, ended(rig), path=second)
    assert rig.state(incident) == "resolved"


def test_after_the_flap_window_the_first_of_both_receivers_opens_the_next_incident(rig: Rig) -> None:
    incident = opens(rig, TEAM)
    posts(rig, ended(rig), path=TEAM)
    rig.passes("11m")
    [other] = posts(rig, queue(rig), path=DEFAULT)["incidents"]
    assert other != incident
    assert posts(rig, queue(rig), path=TEAM)["incidents"] == [other]
    assert rig.shows(other)["receiver"] == "default"
    posts(rig, ended(rig), path=TEAM)
    assert rig.state(other) == "resolved"


def test_an_alert_that_flaps_under_both_receivers_is_one_message_without_new_pages(rig: Rig) -> None:
    incident = opens(rig, TEAM)
    rig.answers(incident, "acknowledge")
    paths = [TEAM, DEFAULT]
    for n in range(12):
        rig.passes("30s")
        for path in paths:
            posts(rig, ended(rig), path=path)
        rig.passes("30s")
        paths.reverse()
        for path in paths:
            posts(rig, queue(rig), path=path)
        if n == 3:  # the first acknowledgement ended with the resolve
            rig.answers(incident, "acknowledge")
            pages = rig.triggered()
    assert rig.triggered() == pages
    assert len(rig.parents()) == 1
    assert "flapping" in rig.parents()[0].words


def test_an_alert_that_fires_again_under_the_other_receiver_returns_to_its_incident(rig: Rig) -> None:
    incident = opens(rig, TEAM, "q-1", "q-2")
    posts(rig, ended(rig, "q-1"), path=DEFAULT)
    rig.passes("1m")
    answer = posts(rig, queue(rig, "q-1"), path=DEFAULT)
    assert (answer["new"], answer["incidents"]) == (1, [incident])
    assert rig.shows(incident)["firing"] == 2
    assert rig.paged() == ["on-call"]


def test_duplicates_of_only_the_other_receiver_keep_the_incident_from_being_stale(rig: Rig) -> None:
    """The receiver that opened it was removed meanwhile."""
    incident = opens(rig, TEAM)
    for _ in range(24):
        rig.passes("1h")
        posts(rig, queue(rig, at=rig.clock() - 3600), path=DEFAULT)
    assert "Stale" not in rig.parents()[0].words
    posts(rig, ended(rig), path=DEFAULT)
    assert rig.state(incident) == "resolved"


def test_a_truncated_payload_of_the_other_receiver_resolves_no_incident(rig: Rig) -> None:
    incident = opens(rig, TEAM)
    posts(rig, ended(rig), path=DEFAULT, truncatedAlerts=2)
    assert rig.state(incident) == "open"
    posts(rig, ended(rig), path=TEAM)
    assert rig.state(incident) == "resolved"


def test_an_alert_of_another_source_is_another_incident(rig: Rig) -> None:
    incident = opens(rig, TEAM)
    assert posts(rig, queue(rig), path=TEAM, source="berlin")["incidents"] != [incident]


def test_the_same_alert_on_another_route_is_another_incident(rig: Rig) -> None:
    """A label that only one of two Alertmanager routes adds makes another alert."""
    incident = opens(rig, TEAM)
    warning = rig.alert("QueueStuck", "warning", instance="q-1", namespace="shop")
    assert posts(rig, warning, path=DEFAULT)["incidents"] != [incident]
