"""Where alerts are at home: kept in one step with their incident, and never believed when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from receiver.domain.alert import Alert, Group
from receiver.domain.answers import resolve
from receiver.domain.homes import CLAIM_FOR_S, WRITE_WITHIN_S, neighbourhood_of
from receiver.domain.incident import slot_of
from receiver.domain.merge import Terms, merge
from receiver.domain.person import Person
from receiver.domain.ports import Claim, Held, Home, Refusal, Write
from receiver.domain.route import Route
from receiver.domain.severity import BUILT_IN_WORDS
from receiver.engine.intake import Accepted, Intake
from receiver.store.connection import Client
from receiver.store.incidents import RedisIncidents
from receiver.store.keys import Keys
from tests.builders import OPENED_AT, a_group, an_alert

NOW = OPENED_AT
TERMS = Terms("#alerts", "#alerts", "")
PLACE = neighbourhood_of("default", "#alerts")
ONE, TWO, THREE = "{}:{one}", "{}:{two}", "{}:{three}"


class Rules:
    """One route for all."""

    flap_window, flap_count = 600.0, 4
    severities = BUILT_IN_WORDS
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


class Interrupted:
    """The store, and what another process does just before each writing, once."""

    def __init__(self, incidents: RedisIncidents, meanwhile: Callable[[], object]) -> None:
        self._incidents = incidents
        self._meanwhile = [meanwhile]

    def __getattr__(self, name: str) -> object:
        if name == "try_commit" and self._meanwhile:
            self._meanwhile.pop()()
        return getattr(self._incidents, name)


@pytest.fixture(params=[1, 8], ids=["one shard", "eight shards"])
def incidents(request: pytest.FixtureRequest, redis_client: Client) -> RedisIncidents:
    return RedisIncidents(redis_client, history_s=1000, shards=request.param)


@pytest.fixture
def single(redis_client: Client) -> RedisIncidents:
    return RedisIncidents(redis_client, history_s=1000)


@pytest.fixture
def divided(redis_client: Client) -> RedisIncidents:
    return RedisIncidents(redis_client, history_s=1000, shards=8)


def group(key: str, *alerts: Alert) -> Group:
    return a_group(*alerts, group_key=key)


def slot(key: str) -> str:
    return slot_of("default", key, "#alerts")


def hold(incidents: RedisIncidents, key: str) -> Held:
    return incidents.read([slot(key)])[0]


def take(incidents: object, key: str, *alerts: Alert, now: float = NOW) -> Accepted:
    return Intake(incidents, Rules()).accept((group(key, *alerts),), now)  # type: ignore[arg-type]


def a_write(incidents: RedisIncidents, news: Group, now: float = NOW, **left: Held) -> Write:
    held = hold(incidents, news.group_key)
    return Write(held, merge(held.incident, news, TERMS, now), ("slack",), now, left=left)


def homes(incidents: RedisIncidents, *alerts: Alert) -> list[str]:
    found = incidents.find_homes([], [Claim(PLACE, alert.fingerprint) for alert in alerts]).homes
    return [
        found[PLACE, alert.fingerprint].slot if (PLACE, alert.fingerprint) in found else ""
        for alert in alerts
    ]


def claim(incidents: RedisIncidents, alert: Alert, key: str, former: str = "") -> Home:
    """Claim an alert as another process does."""
    reading = incidents.find_homes([], [Claim(PLACE, alert.fingerprint, slot(key), former)])
    return reading.homes[PLACE, alert.fingerprint]


def grow_old(client: Client, alert: Alert, by_s: float = CLAIM_FOR_S) -> None:
    """Let the claim of an alert be older."""
    for key in client.scan_iter("rcv:*:homes:*"):
        if found := client.hget(key, alert.fingerprint):
            name, _, moment = found.decode().partition(" ")
            client.hset(key, alert.fingerprint, f"{name} {int(moment) - int(by_s * 1000)}")


def test_what_begins_to_fire_is_at_home_there(incidents: RedisIncidents) -> None:
    first, second = an_alert(instance="a"), an_alert(instance="b")
    take(incidents, ONE, first, second)
    assert homes(incidents, first, second, an_alert(instance="c")) == [slot(ONE), slot(ONE), ""]


def test_very_many_alerts_are_at_home_like_one(incidents: RedisIncidents) -> None:
    alerts = [an_alert(instance=f"web-{n}") for n in range(401)]
    assert take(incidents, ONE, *alerts).new == 401
    assert set(homes(incidents, *alerts)) == {slot(ONE)}
    assert take(incidents, TWO, *alerts).duplicates == 401
    ended = [an_alert(instance=f"web-{n}", ends_at=NOW) for n in range(401)]
    assert take(incidents, TWO, *ended).resolved == 401


def test_what_fires_in_a_neighbour_is_refused_and_nothing_is_written(single: RedisIncidents) -> None:
    alert, new = an_alert(), an_alert(instance="new")
    assert single.commit([a_write(single, group(ONE, alert))]) == [True]
    [refusal] = single.try_commit([a_write(single, group(TWO, alert, new))])
    assert refusal is not None
    assert refusal.homes == {alert.fingerprint: Home(slot(ONE))}
    assert refusal.held == {slot(ONE): hold(single, ONE)}, "so it need not be read for that"
    assert hold(single, TWO).incident is None
    assert homes(single, new) == [""]


def test_a_group_that_changed_is_refused_without_homes(single: RedisIncidents) -> None:
    first, second = (a_write(single, group(ONE, an_alert(instance=name))) for name in "ab")
    assert single.try_commit([first, second]) == [None, Refusal()]


def test_a_home_that_was_seen_to_be_left_is_taken_over(single: RedisIncidents) -> None:
    alert = an_alert()
    single.commit([a_write(single, group(ONE, alert))])
    assert single.commit([a_write(single, group(TWO, alert), **{alert.fingerprint: hold(single, ONE)})]) == [
        True
    ]
    assert homes(single, alert) == [slot(TWO)]


def test_a_home_that_has_the_alert_again_since_is_not_taken_over(single: RedisIncidents) -> None:
    alert = an_alert()
    single.commit([a_write(single, group(ONE, alert))])
    single.commit([a_write(single, group(ONE, an_alert(ends_at=NOW)))])
    write = a_write(single, group(TWO, alert), **{alert.fingerprint: hold(single, ONE)})
    single.commit([a_write(single, group(ONE, an_alert(starts_at=NOW + 1)))])
    [refusal] = single.try_commit([write])
    assert refusal is not None
    assert refusal.held == {slot(ONE): hold(single, ONE)}


def test_only_its_own_home_ends_with_an_alert(single: RedisIncidents, redis_client: Client) -> None:
    alert = an_alert()
    single.commit([a_write(single, group(ONE, alert))])
    single.commit([a_write(single, group(TWO, alert), **{alert.fingerprint: hold(single, ONE)})])
    single.commit([a_write(single, group(ONE, an_alert(ends_at=NOW)))])
    assert homes(single, alert) == [slot(TWO)]
    assert redis_client.zcard(Keys(0).homes_left(PLACE)) == 0


def test_closed_by_hand_what_fires_on_is_still_at_home(incidents: RedisIncidents) -> None:
    alert = an_alert()
    take(incidents, ONE, alert)
    held = hold(incidents, ONE)
    incidents.commit([Write(held, resolve(held.incident, Person("alice"), NOW), (), NOW)])
    assert take(incidents, TWO, alert).duplicates == 1


def test_whichever_key_it_comes_under_it_fires_and_ends_once(incidents: RedisIncidents) -> None:
    alerts = [an_alert(instance=f"web-{n}") for n in range(20)]
    for n, alert in enumerate(alerts):
        assert take(incidents, f"{{}}:{n}", alert).new == 1
    accepted = take(incidents, ONE, *alerts, an_alert(instance="new"))
    assert (accepted.new, accepted.duplicates, len(accepted.incidents)) == (1, 20, 21)
    ended = [an_alert(instance=f"web-{n}", ends_at=NOW) for n in range(20)]
    assert take(incidents, TWO, *ended).resolved == 20
    assert all(hold(incidents, f"{{}}:{n}").incident.is_resolved for n in range(20))
    assert not hold(incidents, ONE).incident.is_resolved


def test_within_the_flap_window_it_goes_back_to_where_it_was_and_later_it_is_free(
    incidents: RedisIncidents, redis_client: Client
) -> None:
    take(incidents, ONE, an_alert())
    grow_old(redis_client, an_alert()) if incidents.is_divided else None
    take(incidents, ONE, an_alert(ends_at=NOW + 1), now=NOW + 1)
    again = an_alert(starts_at=NOW + 500)
    take(incidents, TWO, again, now=NOW + 600)
    assert hold(incidents, TWO).incident is None
    assert hold(incidents, ONE).incident.generation == 1
    take(incidents, TWO, an_alert(starts_at=NOW + 500, ends_at=NOW + 700), now=NOW + 700)
    grow_old(redis_client, an_alert()) if incidents.is_divided else None
    take(incidents, TWO, an_alert(starts_at=NOW + 1300), now=NOW + 1300)
    assert hold(incidents, TWO).incident is not None


# --- what it costs ---


def trips(incidents: RedisIncidents, *news: Group) -> list[int]:
    counting = Counting(incidents)
    intake = Intake(counting, Rules())  # type: ignore[arg-type]
    counts = []
    for one in news:
        counting.trips.clear()
        intake.accept((one,), NOW)
        counts.append(len(counting.trips))
    return counts


def test_a_copy_costs_one_round_trip_and_a_change_two(incidents: RedisIncidents) -> None:
    fires, ends = group(ONE, an_alert()), group(ONE, an_alert(ends_at=NOW))
    assert trips(incidents, fires, fires, ends, ends) == [2, 1, 2, 1]


def test_a_copy_under_a_further_group_key_costs_two_round_trips(incidents: RedisIncidents) -> None:
    fires = [group(key, an_alert()) for key in (ONE, TWO, TWO, THREE, ONE)]
    assert trips(incidents, *fires) == [2, 2, 2, 2, 1]


def test_so_do_a_hundred_of_them_also_where_their_group_has_others(incidents: RedisIncidents) -> None:
    alerts = [an_alert(instance=f"web-{n}") for n in range(100)]
    take(incidents, TWO, an_alert(instance="other"))
    assert trips(incidents, group(ONE, *alerts))[0] == 2 + incidents.is_divided
    assert trips(incidents, group(TWO, *alerts), group(ONE, *alerts)) == [2, 1]


def test_an_end_under_a_further_group_key_costs_three_round_trips(incidents: RedisIncidents) -> None:
    take(incidents, ONE, an_alert())
    assert trips(incidents, group(TWO, an_alert(ends_at=NOW))) == [3]


# --- on several shards an alert is claimed before it is written ---


def test_a_claim_is_made_once_and_told_with_its_age(divided: RedisIncidents, redis_client: Client) -> None:
    alert = an_alert()
    first = claim(divided, alert, ONE)
    assert first.slot == slot(ONE)
    assert 0 <= first.age_s < 1
    grow_old(redis_client, alert, 5)
    second = claim(divided, alert, TWO)
    assert second.slot == slot(ONE)
    assert 5 <= second.age_s < 6
    assert claim(divided, alert, TWO, second.mark).slot == slot(TWO)
    assert claim(divided, alert, THREE, second.mark).slot == slot(TWO), "another took its place meanwhile"


def test_while_another_process_writes_what_it_claimed_a_copy_waits(divided: RedisIncidents) -> None:
    alert = an_alert()
    claim(divided, alert, ONE)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            assert take(divided, ONE, alert).new == 1

    intake = Intake(divided, Rules(), pause=pause)  # type: ignore[arg-type]
    accepted = intake.accept((group(TWO, alert),), NOW)
    assert (accepted.new, accepted.duplicates) == (0, 1)
    assert len(pauses) == 3
    assert hold(divided, TWO).incident is None


def test_a_claim_without_an_incident_is_free_after_three_seconds(divided: RedisIncidents) -> None:
    """Its process died in between. The webhook that waits for it is answered within its 5 s."""
    alert = an_alert()
    claim(divided, alert, ONE)
    begun = time.monotonic()
    assert take(divided, TWO, alert, an_alert(instance="b")).new == 2
    assert 2.5 < time.monotonic() - begun < 4.5
    assert homes(divided, alert) == [slot(TWO)]


def test_what_was_claimed_too_long_ago_is_claimed_again_before_it_is_written(
    divided: RedisIncidents, redis_client: Client
) -> None:
    alert = an_alert()
    claim(divided, alert, ONE)
    grow_old(redis_client, alert)
    assert take(divided, ONE, alert).new == 1
    reading = divided.find_homes([], [Claim(PLACE, alert.fingerprint)])
    assert reading.homes[PLACE, alert.fingerprint].age_s < 1


def test_a_process_that_stood_still_after_its_claim_writes_nothing(
    divided: RedisIncidents, redis_client: Client
) -> None:
    """Longer than its claim lasts: meanwhile another way has opened the incident."""
    alert = an_alert()

    def meanwhile() -> None:
        grow_old(redis_client, alert)
        assert take(divided, TWO, alert).new == 1
        time.sleep(WRITE_WITHIN_S)

    accepted = take(Interrupted(divided, meanwhile), ONE, alert)
    assert (accepted.new, accepted.duplicates) == (0, 1)
    assert hold(divided, ONE).incident is None


def test_of_one_group_that_two_processes_take_neither_gets_a_part(divided: RedisIncidents) -> None:
    """The first of its alerts is claimed before the others: who has that has them all."""
    alerts = sorted((an_alert(instance=f"web-{n}") for n in range(30)), key=lambda one: one.fingerprint)
    claim(divided, alerts[0], ONE)

    def pause(_: float) -> None:
        assert homes(divided, *alerts[1:]) == [""] * 29
        assert take(divided, ONE, *alerts).new == 30

    intake = Intake(divided, Rules(), pause=pause)  # type: ignore[arg-type]
    assert intake.accept((group(TWO, *alerts),), NOW).duplicates == 30


def test_where_another_has_a_part_the_rest_does_not_wait_for_that(divided: RedisIncidents) -> None:
    alerts = sorted((an_alert(instance=f"web-{n}") for n in range(3)), key=lambda one: one.fingerprint)
    claim(divided, alerts[2], ONE)
    seen = []

    def pause(_: float) -> None:
        if not seen:
            seen.append(hold(divided, TWO).incident.firing)
            take(divided, ONE, alerts[2])

    intake = Intake(divided, Rules(), pause=pause)  # type: ignore[arg-type]
    accepted = intake.accept((group(TWO, *alerts),), NOW)
    assert seen == [2]
    assert (accepted.new, accepted.duplicates) == (2, 1)


def test_homes_of_what_ended_are_forgotten_after_a_while(
    divided: RedisIncidents, redis_client: Client
) -> None:
    alerts = [an_alert(instance=f"web-{n}") for n in range(30)]
    take(divided, ONE, *alerts)
    for alert in alerts:
        grow_old(redis_client, alert)
    take(divided, ONE, *(an_alert(instance=f"web-{n}", ends_at=NOW) for n in range(30)))
    assert set(homes(divided, *alerts)) == {slot(ONE)}
    keys = list(redis_client.scan_iter("rcv:*:homes*"))
    assert len(keys) == 16
    assert all(600 < redis_client.ttl(key) <= 660 for key in keys)


def test_an_end_that_comes_late_does_not_end_the_home_of_the_next_firing(
    divided: RedisIncidents, redis_client: Client
) -> None:
    """A process stands still between writing an end and saying so to the index."""
    take(divided, ONE, an_alert())
    grow_old(redis_client, an_alert())
    write = a_write(divided, group(ONE, an_alert(ends_at=NOW)))
    assert divided.commit([write]) == [True]
    take(divided, ONE, an_alert(starts_at=NOW + 60), now=NOW + 60)
    divided._homes.leave([write])
    assert not [key for key in redis_client.scan_iter("rcv:*:homes-left:*") if redis_client.zcard(key)]


def test_what_fires_for_very_long_keeps_its_home(divided: RedisIncidents, redis_client: Client) -> None:
    take(divided, ONE, an_alert())
    [key] = redis_client.scan_iter("rcv:*:homes:*")
    redis_client.expire(key, 10)
    take(divided, ONE, an_alert())
    assert redis_client.ttl(key) > 990
