"""One alert under two receivers (`continue: true`, merged configurations, a renamed one) is one incident."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig import Rig

# The same alert as two of Alertmanager's routes send it: another receiver, another group key.
TEAM: dict[str, Any] = {
    "receiver": "shop/team/receiver",
    "groupKey": '{}/{namespace="shop"}:{alertname="QueueStuck"}',
}
DEFAULT: dict[str, Any] = {
    "receiver": "default",
    "groupKey": '{}/{severity="critical"}:{alertname="QueueStuck"}',
}
WAYS = pytest.mark.parametrize(
    ("first", "second"), [(TEAM, DEFAULT), (DEFAULT, TEAM)], ids=["team", "default"]
)


def queue(rig: Rig, instance: str = "q-1", **how: Any) -> dict[str, Any]:
    return rig.alert("QueueStuck", instance=instance, namespace="shop", **how)


def ended(rig: Rig, instance: str = "q-1") -> dict[str, Any]:
    return queue(rig, instance, ended=True, at=rig.clock() - 1)


def posts(rig: Rig, *alerts: dict[str, Any], way: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = rig.posts(*alerts, **{**way, **fields})
    rig.works()
    return answer


def opens(rig: Rig, way: dict[str, Any], *instances: str) -> str:
    """Fire by *way*; return the incident, ten seconds later."""
    alerts = [queue(rig, instance) for instance in instances or ("q-1",)]
    [incident] = posts(rig, *alerts, way=way)["incidents"]
    rig.passes("10s")
    return str(incident)


@WAYS
def test_it_is_one_incident_one_message_and_one_page_of_the_way_that_came_first(
    rig: Rig, first: dict[str, Any], second: dict[str, Any]
) -> None:
    incident = opens(rig, first)
    outside = rig.outside()
    answer = posts(rig, queue(rig, at=rig.clock() - 10), way=second)
    assert (answer["new"], answer["duplicates"], answer["incidents"]) == (0, 1, [incident])
    assert rig.outside() == outside
    shown = rig.shows(incident)
    assert (shown["receiver"], shown["group_key"]) == (first["receiver"], first["groupKey"])
    assert rig.paged() == ["on-call"]
    assert len(rig.roots()) == 1


@WAYS
def test_its_end_by_either_way_is_its_end_and_by_the_other_it_is_no_news(
    rig: Rig, first: dict[str, Any], second: dict[str, Any]
) -> None:
    incident = opens(rig, TEAM)
    posts(rig, queue(rig, at=rig.clock() - 10), way=DEFAULT)
    assert posts(rig, ended(rig), way=first)["resolved"] == 1
    assert rig.state(incident) == "resolved"
    assert rig.pagerduty.still_open() == []
    outside = rig.outside()
    answer = posts(rig, ended(rig), way=second)
    assert (answer["resolved"], answer["duplicates"]) == (0, 1)
    assert rig.outside() == outside


def test_alerts_that_join_by_one_way_and_by_the_other_are_one_each(rig: Rig) -> None:
    incident = opens(rig, TEAM, "q-1")
    posts(rig, queue(rig, "q-1"), queue(rig, "q-2"), way=TEAM)
    answer = posts(rig, queue(rig, "q-1"), queue(rig, "q-2"), way=DEFAULT)
    assert (answer["new"], answer["duplicates"], answer["incidents"]) == (0, 2, [incident])
    assert posts(rig, ended(rig, "q-1"), way=DEFAULT)["resolved"] == 1
    assert rig.state(incident) == "open"
    assert posts(rig, ended(rig, "q-2"), way=TEAM)["resolved"] == 1
    assert rig.state(incident) == "resolved"


def test_groups_of_a_hundred_are_one_incident(rig: Rig) -> None:
    names = [f"q-{n}" for n in range(100)]
    incident = opens(rig, TEAM, *names)
    answer = posts(rig, *(queue(rig, name) for name in names), way=DEFAULT)
    assert (answer["new"], answer["duplicates"], answer["incidents"]) == (0, 100, [incident])
    assert posts(rig, *(ended(rig, name) for name in names), way=DEFAULT)["resolved"] == 100
    assert rig.state(incident) == "resolved"


@pytest.mark.parametrize("has_key", [True, False], ids=["group key", "no group key"])
def test_a_renamed_receiver_pages_an_acknowledged_alert_no_more(rig: Rig, has_key: bool) -> None:
    key = {} if has_key else {"groupKey": ""}
    incident = posts(rig, queue(rig), way={**key, "receiver": "old"})["incidents"][0]
    rig.answers(incident, "acknowledge")
    rig.passes("10s")
    outside = rig.outside()
    answer = posts(rig, queue(rig), way={**key, "receiver": "new"})
    assert (answer["new"], answer["incidents"]) == (0, [incident])
    rig.passes("1h")
    assert rig.outside() == outside
    assert rig.state(incident) == "acknowledged"
    assert rig.shows(incident)["receiver"] == "old"
    assert posts(rig, ended(rig), way={**key, "receiver": "new"})["resolved"] == 1
    assert rig.state(incident) == "resolved"


def test_a_page_goes_to_the_same_incident_in_pagerduty_whatever_the_receiver_is_called(
    rig: Rig, redis_client: Any
) -> None:
    """Also after all data were lost."""
    keys = []
    for receiver in ("old", "new"):
        redis_client.flushall()
        posts(rig, queue(rig), way={"receiver": receiver})
        keys.append(rig.pagerduty.triggers()[-1].dedup_key)
    assert len(set(keys)) == 1
    assert rig.paged() == ["on-call"]


@WAYS
def test_resolved_by_hand_its_copies_stay_duplicates_by_both_ways(
    rig: Rig, first: dict[str, Any], second: dict[str, Any]
) -> None:
    incident = opens(rig, TEAM)
    rig.answers(incident, "resolve")
    outside = rig.outside()
    for way in (first, second, first):
        rig.passes("20m")
        answer = posts(rig, queue(rig, at=rig.clock() - 1210), way=way)
        assert (answer["new"], answer["duplicates"], answer["incidents"]) == (0, 1, [incident])
    assert rig.outside() == outside
    posts(rig, ended(rig), way=first)
    rig.passes("1m")
    assert posts(rig, queue(rig), way=second)["new"] == 1
    assert rig.paged() == ["on-call", "on-call"]


@WAYS
def test_firing_again_within_the_flap_window_it_reopens_by_whichever_way_comes_first(
    rig: Rig, first: dict[str, Any], second: dict[str, Any]
) -> None:
    incident = opens(rig, TEAM)
    posts(rig, ended(rig), way=TEAM)
    posts(rig, ended(rig), way=DEFAULT)
    rig.passes("9m")
    answer = posts(rig, queue(rig), way=first)
    assert (answer["new"], answer["incidents"]) == (1, [incident])
    assert posts(rig, queue(rig), way=second)["duplicates"] == 1
    assert rig.state(incident) == "open"
    assert len(rig.roots()) == 1
    posts(rig, ended(rig), way=second)
    assert rig.state(incident) == "resolved"


def test_after_the_flap_window_the_way_that_comes_first_opens_the_next_one(rig: Rig) -> None:
    incident = opens(rig, TEAM)
    posts(rig, ended(rig), way=TEAM)
    rig.passes("11m")
    [other] = posts(rig, queue(rig), way=DEFAULT)["incidents"]
    assert other != incident
    assert posts(rig, queue(rig), way=TEAM)["incidents"] == [other]
    assert rig.shows(other)["receiver"] == "default"
    posts(rig, ended(rig), way=TEAM)
    assert rig.state(other) == "resolved"


def test_flapping_by_turns_it_is_one_open_message_and_pages_nobody_anew(rig: Rig) -> None:
    incident = opens(rig, TEAM)
    rig.answers(incident, "acknowledge")
    ways = [TEAM, DEFAULT]
    for n in range(12):
        rig.passes("30s")
        for way in ways:
            posts(rig, ended(rig), way=way)
        rig.passes("30s")
        ways.reverse()
        for way in ways:
            posts(rig, queue(rig), way=way)
        if n == 3:  # the first answer ended with the resolve
            rig.answers(incident, "acknowledge")
            pages = rig.triggered()
    assert rig.triggered() == pages
    assert len(rig.roots()) == 1
    assert "flapping" in rig.roots()[0].words


def test_an_alert_that_rejoins_by_the_other_way_goes_back_to_where_it_was(rig: Rig) -> None:
    incident = opens(rig, TEAM, "q-1", "q-2")
    posts(rig, ended(rig, "q-1"), way=DEFAULT)
    rig.passes("1m")
    answer = posts(rig, queue(rig, "q-1"), way=DEFAULT)
    assert (answer["new"], answer["incidents"]) == (1, [incident])
    assert rig.shows(incident)["firing"] == 2
    assert rig.paged() == ["on-call"]


def test_repeats_by_the_other_way_alone_are_signs_of_life(rig: Rig) -> None:
    """The receiver that opened it was removed meanwhile."""
    incident = opens(rig, TEAM)
    for _ in range(24):
        rig.passes("1h")
        posts(rig, queue(rig, at=rig.clock() - 3600), way=DEFAULT)
    assert "Stale" not in rig.roots()[0].words
    posts(rig, ended(rig), way=DEFAULT)
    assert rig.state(incident) == "resolved"


def test_a_cut_payload_by_the_other_way_resolves_nothing_by_itself(rig: Rig) -> None:
    incident = opens(rig, TEAM)
    posts(rig, ended(rig), way=DEFAULT, truncatedAlerts=2)
    assert rig.state(incident) == "open"
    posts(rig, ended(rig), way=TEAM)
    assert rig.state(incident) == "resolved"


def test_another_source_is_another_matter(rig: Rig) -> None:
    incident = opens(rig, TEAM)
    assert posts(rig, queue(rig), way=TEAM, source="berlin")["incidents"] != [incident]


def test_on_another_route_it_is_another_incident(rig: Rig) -> None:
    """A label that only one of two Alertmanager routes adds makes another alert, and it may go elsewhere."""
    incident = opens(rig, TEAM)
    warning = rig.alert("QueueStuck", "warning", instance="q-1", namespace="shop")
    assert posts(rig, warning, way=DEFAULT)["incidents"] != [incident]
