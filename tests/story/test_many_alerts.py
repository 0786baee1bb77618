"""More alerts in an incident than are stored completely: the state of each is stored all the same."""

from __future__ import annotations

from receiver.incidents.codec import decode_alerts
from receiver.model.incident import MAX_FULL_ALERTS
from receiver.storage.connection import Client
from tests.rig import Rig

MANY = MAX_FULL_ALERTS + 500


def count_whole(redis_client: Client) -> int:
    """Return how many alerts are stored with their labels, each counted once."""
    names = set()
    for key in redis_client.scan_iter("rcv:*:incident:*"):
        for field, packed in redis_client.hgetall(key).items():
            if field.startswith(b"a:"):
                names.add(field[2:].decode())
            elif field.startswith(b"b:"):
                names.update(alert.fingerprint for alert in decode_alerts(packed))
    return len(names)


def a_storm(rig: Rig, severity: str = "warning", **how: object) -> list[dict[str, object]]:
    return [rig.alert("Storm", severity, host=str(n), **how) for n in range(MANY)]  # type: ignore[arg-type]


def test_all_alerts_are_counted_and_the_first_are_stored_completely(rig: Rig, redis_client: Client) -> None:
    incident = rig.posts(*a_storm(rig))["incidents"][0]
    rig.works()
    assert count_whole(redis_client) == MAX_FULL_ALERTS
    details = rig.shows(incident)
    assert (details["firing"], details["total"], len(details["alerts"])) == (MANY, MANY, MANY)
    assert sum(bool(alert["labels"]) for alert in details["alerts"]) == MAX_FULL_ALERTS
    page = rig.client.get(f"/incidents/{incident}")
    assert page.status_code == 200
    assert "severity" in page.text
    assert f"{MANY} firing" in rig.parents()[0].text


def test_the_incident_is_resolved_when_all_of_them_are(rig: Rig) -> None:
    incident = rig.posts(*a_storm(rig))["incidents"][0]
    rig.works()
    ended = a_storm(rig, at=rig.clock() - 1, ended=True)
    rig.posts(*ended[:-1])
    assert rig.state(incident) == "open"
    rig.posts(ended[-1])
    assert rig.state(incident) == "resolved"


def test_a_worse_alert_that_joins_is_stored_completely_and_shown_in_the_headline(
    rig: Rig, redis_client: Client
) -> None:
    incident = rig.posts(*a_storm(rig, "none"))["incidents"][0]
    rig.works()
    rig.posts(rig.alert("Fire", "info", host="last"), group={"alertname": "Storm"})
    rig.works()
    details = rig.shows(incident)
    assert (details["alertname"], details["severity"], details["firing"]) == ("Fire", "info", MANY + 1)
    assert count_whole(redis_client) == MAX_FULL_ALERTS + 1


def test_a_duplicate_changes_nothing(rig: Rig, redis_client: Client) -> None:
    rig.posts(*a_storm(rig))
    assert rig.posts(*a_storm(rig, at=rig.clock()))["duplicates"] == MANY
    assert count_whole(redis_client) == MAX_FULL_ALERTS
