"""Owners of alerts: saved in one step with their incident, and ignored once their incident or alert has
ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from receiver.incidents.ingest import IngestResult
from receiver.incidents.store import RedisIncidents, UpdateRefusal
from receiver.model.alert import BUILT_IN_WORDS, Alert, Group
from receiver.model.incident import IncidentUpdate, Person, VersionedIncident, group_id_of
from receiver.model.merge import merge
from receiver.model.owners import (
    OWNERSHIP_CLAIM_FOR_S,
    WRITE_WITHIN_S,
    AlertOwner,
    OwnershipClaim,
    group_family_of,
)
from receiver.model.routing import Route, RouteSettings
from receiver.model.transitions import resolve
from receiver.storage.connection import Client
from receiver.storage.keys import Keys
from tests.builders import OPENED_AT, a_group, an_alert
from tests.ingesting import build_ingester

NOW = OPENED_AT
ROUTE_SETTINGS = RouteSettings("#alerts", "#alerts", "")
FAMILY = group_family_of("default", "#alerts")
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
    """The store, with a record of the calls it gets."""

    def __init__(self, incidents: RedisIncidents) -> None:
        self._incidents = incidents
        self.trips: list[str] = []

    def __getattr__(self, name: str) -> object:
        if name != "is_divided":
            self.trips.append(name)
        return getattr(self._incidents, name)


class Interrupted:
    """The store, with one call of *meanwhile*, as another process, just before the first write."""

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


def group_id(key: str) -> str:
    return group_id_of("default", key, "#alerts")


def load_group(incidents: RedisIncidents, key: str) -> VersionedIncident:
    return incidents.load_latest([group_id(key)])[0]


def ingest_alerts(incidents: object, key: str, *alerts: Alert, now: float = NOW) -> IngestResult:
    return build_ingester(incidents, Rules()).ingest((group(key, *alerts),), now)


def an_update(
    incidents: RedisIncidents, group_alerts: Group, now: float = NOW, **former_owners: VersionedIncident
) -> IncidentUpdate:
    loaded = load_group(incidents, group_alerts.group_key)
    return IncidentUpdate(
        loaded,
        merge(loaded.incident, group_alerts, ROUTE_SETTINGS, now),
        ("slack",),
        now,
        former_owners=former_owners,
    )


def owners(incidents: RedisIncidents, *alerts: Alert) -> list[str]:
    found = incidents.find_owners([], [OwnershipClaim(FAMILY, alert.fingerprint) for alert in alerts]).owners
    return [
        found[FAMILY, alert.fingerprint].group_id if (FAMILY, alert.fingerprint) in found else ""
        for alert in alerts
    ]


def claim(incidents: RedisIncidents, alert: Alert, key: str, former: str = "") -> AlertOwner:
    """Claim an alert as another process does."""
    reading = incidents.find_owners([], [OwnershipClaim(FAMILY, alert.fingerprint, group_id(key), former)])
    return reading.owners[FAMILY, alert.fingerprint]


def age_claim(client: Client, alert: Alert, by_s: float = OWNERSHIP_CLAIM_FOR_S) -> None:
    """Make the claim of an alert older by *by_s* seconds."""
    for key in client.scan_iter("rcv:*:alert-owners:*"):
        if found := client.hget(key, alert.fingerprint):
            name, _, moment = found.decode().partition(" ")
            client.hset(key, alert.fingerprint, f"{name} {int(moment) - int(by_s * 1000)}")


def test_a_new_firing_alert_is_owned_by_its_group(incidents: RedisIncidents) -> None:
    first, second = an_alert(instance="a"), an_alert(instance="b")
    ingest_alerts(incidents, ONE, first, second)
    assert owners(incidents, first, second, an_alert(instance="c")) == [group_id(ONE), group_id(ONE), ""]


def test_thousands_of_alerts_get_owners(incidents: RedisIncidents) -> None:
    alerts = [an_alert(instance=f"web-{n}") for n in range(401)]
    assert ingest_alerts(incidents, ONE, *alerts).new == 401
    assert set(owners(incidents, *alerts)) == {group_id(ONE)}
    assert ingest_alerts(incidents, TWO, *alerts).duplicates == 401
    ended = [an_alert(instance=f"web-{n}", ends_at=NOW) for n in range(401)]
    assert ingest_alerts(incidents, TWO, *ended).resolved == 401


def test_an_alert_that_fires_in_a_sibling_group_is_refused_and_nothing_is_saved(
    single: RedisIncidents,
) -> None:
    alert, new = an_alert(), an_alert(instance="new")
    assert single.commit_updates([an_update(single, group(ONE, alert))]) == [True]
    [refusal] = single.try_commit([an_update(single, group(TWO, alert, new))])
    assert refusal is not None
    assert refusal.owners == {alert.fingerprint: AlertOwner(group_id(ONE))}
    assert refusal.loaded == {group_id(ONE): load_group(single, ONE)}, "so it need not be read for that"
    assert load_group(single, TWO).incident is None
    assert owners(single, new) == [""]


def test_a_group_that_changed_is_refused_without_owners(single: RedisIncidents) -> None:
    first, second = (an_update(single, group(ONE, an_alert(instance=name))) for name in "ab")
    assert single.try_commit([first, second]) == [None, UpdateRefusal()]


def test_an_owner_in_which_the_alert_ended_is_taken_over(single: RedisIncidents) -> None:
    alert = an_alert()
    single.commit_updates([an_update(single, group(ONE, alert))])
    assert single.commit_updates(
        [an_update(single, group(TWO, alert), **{alert.fingerprint: load_group(single, ONE)})]
    ) == [True]
    assert owners(single, alert) == [group_id(TWO)]


def test_an_owner_in_which_the_alert_fires_again_is_not_taken_over(single: RedisIncidents) -> None:
    alert = an_alert()
    single.commit_updates([an_update(single, group(ONE, alert))])
    single.commit_updates([an_update(single, group(ONE, an_alert(ends_at=NOW)))])
    update = an_update(single, group(TWO, alert), **{alert.fingerprint: load_group(single, ONE)})
    single.commit_updates([an_update(single, group(ONE, an_alert(starts_at=NOW + 1)))])
    [refusal] = single.try_commit([update])
    assert refusal is not None
    assert refusal.loaded == {group_id(ONE): load_group(single, ONE)}


def test_an_end_releases_only_its_own_ownership(single: RedisIncidents, redis_client: Client) -> None:
    alert = an_alert()
    single.commit_updates([an_update(single, group(ONE, alert))])
    single.commit_updates(
        [an_update(single, group(TWO, alert), **{alert.fingerprint: load_group(single, ONE)})]
    )
    single.commit_updates([an_update(single, group(ONE, an_alert(ends_at=NOW)))])
    assert owners(single, alert) == [group_id(TWO)]
    assert redis_client.zcard(Keys(0).ended_alert_owners(FAMILY)) == 0


def test_an_alert_that_still_fires_keeps_the_manually_resolved_incident_as_owner(
    incidents: RedisIncidents,
) -> None:
    alert = an_alert()
    ingest_alerts(incidents, ONE, alert)
    loaded = load_group(incidents, ONE)
    incidents.commit_updates(
        [IncidentUpdate(loaded, resolve(loaded.incident, Person("alice"), NOW), (), NOW)]
    )
    assert ingest_alerts(incidents, TWO, alert).duplicates == 1


def test_an_alert_under_several_group_keys_fires_and_ends_once(incidents: RedisIncidents) -> None:
    alerts = [an_alert(instance=f"web-{n}") for n in range(20)]
    for n, alert in enumerate(alerts):
        assert ingest_alerts(incidents, f"{{}}:{n}", alert).new == 1
    result = ingest_alerts(incidents, ONE, *alerts, an_alert(instance="new"))
    assert (result.new, result.duplicates, len(result.incidents)) == (1, 20, 21)
    ended = [an_alert(instance=f"web-{n}", ends_at=NOW) for n in range(20)]
    assert ingest_alerts(incidents, TWO, *ended).resolved == 20
    assert all(load_group(incidents, f"{{}}:{n}").incident.is_resolved for n in range(20))
    assert not load_group(incidents, ONE).incident.is_resolved


def test_within_the_flap_window_an_alert_returns_to_its_owner_and_later_it_has_none(
    incidents: RedisIncidents, redis_client: Client
) -> None:
    ingest_alerts(incidents, ONE, an_alert())
    age_claim(redis_client, an_alert()) if incidents.is_divided else None
    ingest_alerts(incidents, ONE, an_alert(ends_at=NOW + 1), now=NOW + 1)
    again = an_alert(starts_at=NOW + 500)
    ingest_alerts(incidents, TWO, again, now=NOW + 600)
    assert load_group(incidents, TWO).incident is None
    assert load_group(incidents, ONE).incident.generation == 1
    ingest_alerts(incidents, TWO, an_alert(starts_at=NOW + 500, ends_at=NOW + 700), now=NOW + 700)
    age_claim(redis_client, an_alert()) if incidents.is_divided else None
    ingest_alerts(incidents, TWO, an_alert(starts_at=NOW + 1300), now=NOW + 1300)
    assert load_group(incidents, TWO).incident is not None


# --- round trips ---


def trips(incidents: RedisIncidents, *group_alerts: Group) -> list[int]:
    counting = Counting(incidents)
    ingester = build_ingester(counting, Rules())
    counts = []
    for one in group_alerts:
        counting.trips.clear()
        ingester.ingest((one,), NOW)
        counts.append(len(counting.trips))
    return counts


def test_a_copy_costs_one_round_trip_and_a_change_two(incidents: RedisIncidents) -> None:
    fires, ends = group(ONE, an_alert()), group(ONE, an_alert(ends_at=NOW))
    assert trips(incidents, fires, fires, ends, ends) == [2, 1, 2, 1]


def test_a_copy_under_a_further_group_key_costs_two_round_trips(incidents: RedisIncidents) -> None:
    fires = [group(key, an_alert()) for key in (ONE, TWO, TWO, THREE, ONE)]
    assert trips(incidents, *fires) == [2, 2, 2, 2, 1]


def test_a_hundred_copies_under_a_further_group_key_cost_two_round_trips(incidents: RedisIncidents) -> None:
    alerts = [an_alert(instance=f"web-{n}") for n in range(100)]
    ingest_alerts(incidents, TWO, an_alert(instance="other"))
    assert trips(incidents, group(ONE, *alerts))[0] == 2 + incidents.is_divided
    assert trips(incidents, group(TWO, *alerts), group(ONE, *alerts)) == [2, 1]


def test_a_resolve_under_a_further_group_key_costs_three_round_trips(incidents: RedisIncidents) -> None:
    ingest_alerts(incidents, ONE, an_alert())
    assert trips(incidents, group(TWO, an_alert(ends_at=NOW))) == [3]


# --- on several shards an alert is claimed before its incident is written ---


def test_a_claim_is_made_once_and_returned_with_its_age(
    divided: RedisIncidents, redis_client: Client
) -> None:
    alert = an_alert()
    first = claim(divided, alert, ONE)
    assert first.group_id == group_id(ONE)
    assert 0 <= first.age_s < 1
    age_claim(redis_client, alert, 5)
    second = claim(divided, alert, TWO)
    assert second.group_id == group_id(ONE)
    assert 5 <= second.age_s < 6
    assert claim(divided, alert, TWO, second.claim_id).group_id == group_id(TWO)
    assert claim(divided, alert, THREE, second.claim_id).group_id == group_id(TWO), (
        "another took its place meanwhile"
    )


def test_a_copy_waits_while_another_process_writes_the_claimed_alert(divided: RedisIncidents) -> None:
    alert = an_alert()
    claim(divided, alert, ONE)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            assert ingest_alerts(divided, ONE, alert).new == 1

    ingester = build_ingester(divided, Rules(), pause)
    result = ingester.ingest((group(TWO, alert),), NOW)
    assert (result.new, result.duplicates) == (0, 1)
    assert len(pauses) == 3
    assert load_group(divided, TWO).incident is None


def test_a_claim_without_an_incident_is_free_after_three_seconds(divided: RedisIncidents) -> None:
    """The process ended between claim and write. The webhook that waits for the claim is answered within its
    5 s.
    """
    alert = an_alert()
    claim(divided, alert, ONE)
    started = time.monotonic()
    assert ingest_alerts(divided, TWO, alert, an_alert(instance="b")).new == 2
    assert 2.5 < time.monotonic() - started < 4.5
    assert owners(divided, alert) == [group_id(TWO)]


def test_an_old_claim_is_renewed_before_the_incident_is_written(
    divided: RedisIncidents, redis_client: Client
) -> None:
    alert = an_alert()
    claim(divided, alert, ONE)
    age_claim(redis_client, alert)
    assert ingest_alerts(divided, ONE, alert).new == 1
    reading = divided.find_owners([], [OwnershipClaim(FAMILY, alert.fingerprint)])
    assert reading.owners[FAMILY, alert.fingerprint].age_s < 1


def test_a_process_that_paused_longer_than_its_claim_writes_nothing(
    divided: RedisIncidents, redis_client: Client
) -> None:
    """Meanwhile a webhook of the other group key has opened the incident."""
    alert = an_alert()

    def meanwhile() -> None:
        age_claim(redis_client, alert)
        assert ingest_alerts(divided, TWO, alert).new == 1
        time.sleep(WRITE_WITHIN_S)

    result = ingest_alerts(Interrupted(divided, meanwhile), ONE, alert)
    assert (result.new, result.duplicates) == (0, 1)
    assert load_group(divided, ONE).incident is None


def test_two_processes_that_ingest_one_group_never_share_its_alerts(divided: RedisIncidents) -> None:
    """The first of its alerts is claimed before the others, so the process that claims it gets all of them."""
    alerts = sorted((an_alert(instance=f"web-{n}") for n in range(30)), key=lambda one: one.fingerprint)
    claim(divided, alerts[0], ONE)

    def pause(_: float) -> None:
        assert owners(divided, *alerts[1:]) == [""] * 29
        assert ingest_alerts(divided, ONE, *alerts).new == 30

    ingester = build_ingester(divided, Rules(), pause)
    assert ingester.ingest((group(TWO, *alerts),), NOW).duplicates == 30


def test_unclaimed_alerts_do_not_wait_for_those_claimed_by_another_process(divided: RedisIncidents) -> None:
    alerts = sorted((an_alert(instance=f"web-{n}") for n in range(3)), key=lambda one: one.fingerprint)
    claim(divided, alerts[2], ONE)
    seen = []

    def pause(_: float) -> None:
        if not seen:
            seen.append(load_group(divided, TWO).incident.firing)
            ingest_alerts(divided, ONE, alerts[2])

    ingester = build_ingester(divided, Rules(), pause)
    result = ingester.ingest((group(TWO, *alerts),), NOW)
    assert seen == [2]
    assert (result.new, result.duplicates) == (2, 1)


def test_owners_of_ended_alerts_expire(divided: RedisIncidents, redis_client: Client) -> None:
    alerts = [an_alert(instance=f"web-{n}") for n in range(30)]
    ingest_alerts(divided, ONE, *alerts)
    for alert in alerts:
        age_claim(redis_client, alert)
    ingest_alerts(divided, ONE, *(an_alert(instance=f"web-{n}", ends_at=NOW) for n in range(30)))
    assert set(owners(divided, *alerts)) == {group_id(ONE)}
    keys = list(redis_client.scan_iter("rcv:*:*alert-owners*"))
    assert len(keys) == 16
    assert all(600 < redis_client.ttl(key) <= 660 for key in keys)


def test_a_late_resolve_does_not_release_the_owner_of_the_next_firing(
    divided: RedisIncidents, redis_client: Client
) -> None:
    """A process pauses between saving the end of an alert and releasing its owner."""
    ingest_alerts(divided, ONE, an_alert())
    age_claim(redis_client, an_alert())
    update = an_update(divided, group(ONE, an_alert(ends_at=NOW)))
    assert divided.commit_updates([update]) == [True]
    ingest_alerts(divided, ONE, an_alert(starts_at=NOW + 60), now=NOW + 60)
    divided._owners.release_alerts([update])
    assert not [
        key for key in redis_client.scan_iter("rcv:*:ended-alert-owners:*") if redis_client.zcard(key)
    ]


def test_an_alert_that_fires_for_very_long_keeps_its_owner(
    divided: RedisIncidents, redis_client: Client
) -> None:
    ingest_alerts(divided, ONE, an_alert())
    [key] = redis_client.scan_iter("rcv:*:alert-owners:*")
    redis_client.expire(key, 10)
    ingest_alerts(divided, ONE, an_alert())
    assert redis_client.ttl(key) > 990
