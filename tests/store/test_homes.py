"""Where alerts are at home: kept in one step with their incident, and never believed when it is over."""

from __future__ import annotations

import pytest

from receiver.domain.alert import Alert, Group
from receiver.domain.answers import resolve
from receiver.domain.homes import neighbourhood_of
from receiver.domain.incident import slot_of
from receiver.domain.merge import Terms, merge
from receiver.domain.person import Person
from receiver.domain.ports import Held, Write
from receiver.domain.route import Route
from receiver.engine.intake import Intake
from receiver.store.connection import Client
from receiver.store.incidents import RedisIncidents
from tests.builders import OPENED_AT, a_group, an_alert

NOW = OPENED_AT
TERMS = Terms("#alerts", "#alerts", "")
PLACE = neighbourhood_of("default", "receiver", "#alerts")
ONE, TWO = "{}:{one}", "{}:{two}"


class Rules:
    """One route for all."""

    flap_window, flap_count = 600.0, 4
    routes = (Route("#alerts", "#alerts"),)

    def find_route(self, labels: object) -> Route:
        return self.routes[0]

    def get_policy(self, name: str) -> object:
        return type("Policy", (), {"steps": ()})


class Counting:
    """The store, and how often it was asked."""

    def __init__(self, incidents: RedisIncidents) -> None:
        self._incidents = incidents
        self.trips: list[str] = []

    def __getattr__(self, name: str) -> object:
        if name != "is_divided":
            self.trips.append(name)
        return getattr(self._incidents, name)


@pytest.fixture(params=[1, 8], ids=["one shard", "eight shards"])
def incidents(request: pytest.FixtureRequest, redis_client: Client) -> RedisIncidents:
    return RedisIncidents(redis_client, history_s=1000, shards=request.param)


def group(key: str, *alerts: Alert) -> Group:
    return a_group(*alerts, group_key=key)


def hold(incidents: RedisIncidents, key: str) -> Held:
    return incidents.read([slot_of("default", "receiver", key, "#alerts")])[0]


def write(incidents: RedisIncidents, news: Group, now: float = NOW, **left: tuple[str, ...]) -> bool:
    held = hold(incidents, news.group_key)
    change = merge(held.incident, news, TERMS, now)
    return incidents.commit([Write(held, change, ("slack",), now, left=left)])[0]


def homes(incidents: RedisIncidents, *alerts: Alert) -> list[tuple[str, ...]]:
    found = incidents.find_homes({PLACE: [alert.fingerprint for alert in alerts]})
    return [found.get(f"{PLACE} {alert.fingerprint}", ()) for alert in alerts]


def test_what_begins_to_fire_is_at_home_there_until_it_ends(incidents: RedisIncidents) -> None:
    first, second = an_alert(instance="a"), an_alert(instance="b")
    assert write(incidents, group(ONE, first, second))
    slot = hold(incidents, ONE).slot
    assert homes(incidents, first, second, an_alert(instance="c")) == [(slot,), (slot,), ()]
    assert write(incidents, group(ONE, an_alert(instance="a", ends_at=NOW)))
    assert homes(incidents, first, second) == [(), (slot,)]


def test_very_many_alerts_are_at_home_like_one(incidents: RedisIncidents) -> None:
    alerts = [an_alert(instance=f"web-{n}") for n in range(401)]
    assert write(incidents, group(ONE, *alerts))
    assert set(homes(incidents, *alerts)) == {(hold(incidents, ONE).slot,)}
    assert write(incidents, group(ONE, *(an_alert(instance=f"web-{n}", ends_at=NOW) for n in range(401))))
    assert set(homes(incidents, *alerts)) == {()}


def test_what_fires_in_a_neighbour_is_refused_and_nothing_is_written(redis_client: Client) -> None:
    incidents = RedisIncidents(redis_client, history_s=1000)
    alert = an_alert()
    write(incidents, group(ONE, alert))
    assert not write(incidents, group(TWO, alert, an_alert(instance="new")))
    assert hold(incidents, TWO).incident is None
    assert homes(incidents, an_alert(instance="new")) == [()]


def test_a_home_that_was_seen_to_be_left_is_taken_over(redis_client: Client) -> None:
    incidents = RedisIncidents(redis_client, history_s=1000)
    alert = an_alert()
    write(incidents, group(ONE, alert))
    left = {alert.fingerprint: (hold(incidents, ONE).slot,)}
    assert write(incidents, group(TWO, alert), **left)
    assert homes(incidents, alert) == [(hold(incidents, TWO).slot,)]


def test_only_its_own_home_ends_with_an_alert(redis_client: Client) -> None:
    incidents = RedisIncidents(redis_client, history_s=1000)
    alert = an_alert()
    write(incidents, group(ONE, alert))
    write(incidents, group(TWO, alert), **{alert.fingerprint: (hold(incidents, ONE).slot,)})
    assert write(incidents, group(ONE, an_alert(ends_at=NOW)))
    assert homes(incidents, alert) == [(hold(incidents, TWO).slot,)]


def test_closed_by_hand_what_fires_on_is_still_at_home(incidents: RedisIncidents) -> None:
    alert = an_alert()
    write(incidents, group(ONE, alert))
    held = hold(incidents, ONE)
    incidents.commit([Write(held, resolve(held.incident, Person("alice"), NOW), (), NOW)])
    assert homes(incidents, alert) == [(held.slot,)]


def test_whichever_key_it_comes_under_it_fires_and_ends_once(incidents: RedisIncidents) -> None:
    intake = Intake(incidents, Rules())
    alerts = [an_alert(instance=f"web-{n}") for n in range(20)]
    for n, alert in enumerate(alerts):
        assert intake.accept((group(f"{{}}:{n}", alert),), NOW).new == 1
    accepted = intake.accept((group(ONE, *alerts, an_alert(instance="new")),), NOW)
    assert (accepted.new, accepted.duplicates, len(accepted.incidents)) == (1, 20, 21)
    ended = [an_alert(instance=f"web-{n}", ends_at=NOW) for n in range(20)]
    assert intake.accept((group(TWO, *ended),), NOW).resolved == 20
    assert all(hold(incidents, f"{{}}:{n}").incident.is_resolved for n in range(20))
    assert not hold(incidents, ONE).incident.is_resolved


def test_a_copy_costs_one_round_trip_and_a_change_two(redis_client: Client) -> None:
    counting = Counting(RedisIncidents(redis_client, history_s=1000))
    intake = Intake(counting, Rules())
    trips = []
    for news in (
        group(ONE, an_alert()),
        group(ONE, an_alert()),
        group(ONE, an_alert(ends_at=NOW)),
        group(ONE, an_alert(ends_at=NOW)),
    ):
        counting.trips.clear()
        intake.accept((news,), NOW)
        trips.append(len(counting.trips))
    assert trips == [2, 1, 2, 1]
