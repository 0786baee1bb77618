"""An incident that is open for long keeps what is needed, and no more."""

from __future__ import annotations

from tests.rig import Rig

GROUP = {"alertname": "PodDown"}


def deploy(rig: Rig, number: int, pods: int) -> None:
    """Let the alerts of a deployment fire, and resolve ten minutes later."""
    names = [f"{number}-{pod}" for pod in range(pods)]
    start = rig.clock()
    rig.posts(*(rig.alert("PodDown", pod=name) for name in names), group=GROUP)
    rig.passes("10m")
    rig.posts(*(rig.alert("PodDown", pod=name, ended=True, at=start) for name in names), group=GROUP)
    rig.works()


def test_alerts_that_ended_long_ago_are_compacted_and_still_counted(rig: Rig) -> None:
    incident = rig.fires("PodDown", pod="lasting")
    group_id = incident.partition("-")[0]
    key = rig.services.incidents.keys_of(group_id).incident(group_id)
    client = rig.services.incidents._redis  # only Redis tells how much is stored
    sizes = []
    for number in range(12):
        deploy(rig, number, 100)
        rig.passes("1h")
        rig.posts(rig.alert("PodDown", pod=f"single-{number}"), group=GROUP)
        rig.passes("1m")
        rig.posts(rig.alert("PodDown", pod=f"single-{number}", ended=True), group=GROUP)
        rig.works()
        sizes.append(client.memory_usage(key, samples=0))
    assert max(sizes[6:]) <= max(sizes[:6]) * 1.1
    details = rig.shows(incident)
    assert details["total"] == 1 + 12 * 101
    assert details["firing"] == 1
    rig.posts(rig.alert("PodDown", pod="lasting", ended=True), group=GROUP)
    assert rig.state(incident) == "resolved"


def test_a_few_ended_alerts_are_not_compacted(rig: Rig) -> None:
    incident = rig.fires("PodDown", pod="lasting")
    deploy(rig, 1, 20)
    rig.passes("1d")
    assert len(rig.shows(incident)["alerts"]) == 21
