"""The client with a pair of real Alertmanagers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from receiver.errors import PermanentDeliveryError
from receiver.integrations.alertmanager.client import AlertmanagerClient
from receiver.integrations.alertmanager.status import RemoteAlert
from receiver.model.alert import fingerprint
from tests.e2e.deployment import ALERTMANAGER
from tests.integrations.alertmanager.alertmanager_pair import AlertmanagerPair
from tests.support.ports import free_port

pytestmark = [
    pytest.mark.needs_alertmanager,
    pytest.mark.skipif(ALERTMANAGER is None, reason="no prometheus-alertmanager on the path"),
]

MARK = "[receiver abc-1#1]"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AlertmanagerPair]:
    pair = AlertmanagerPair(tmp_path_factory.mktemp("pair"))
    yield pair
    pair.stop()


@pytest.fixture
def client(pair: AlertmanagerPair) -> AlertmanagerClient:
    return AlertmanagerClient(pair.urls, clock=pair.now)


def wait_for_gossip(is_so: Callable[[], object], within_s: float = 10.0) -> None:
    """Wait until gossip has made *is_so* true."""
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, "not so in time"
        time.sleep(0.05)


def get_alerts(client: AlertmanagerClient, **labels: str) -> list[RemoteAlert | None]:
    """Return the alert as each replica returns it."""
    poll = client.poll_alerts()
    assert poll.is_complete, poll.unreachable
    return [replica.alerts.get(fingerprint(labels)) for replica in poll.replicas]


def silence(
    pair: AlertmanagerPair,
    client: AlertmanagerClient,
    name: str,
    *,
    for_s: float = 600,
    silence_id: str = "",
    marker: str = MARK,
) -> str:
    now = pair.now()
    return client.make_silence(
        {"alertname": name},
        now - 600,
        now + for_s,
        by="alice",
        comment=f"known {marker}",
        silence_id=silence_id,
    )


def test_both_replicas_return_firing_alerts_and_their_start_time(
    pair: AlertmanagerPair, client: AlertmanagerClient
) -> None:
    pair.fires(alertname="Fires", where='a "b" \\ c\nd')
    found_silence = get_alerts(client, alertname="Fires", where='a "b" \\ c\nd')
    assert [alert is not None and (alert.is_firing, alert.is_muted) for alert in found_silence] == [
        (True, False)
    ] * 2
    poll = client.poll_alerts()
    assert all(0 < poll.at - replica.up_since < 120 for replica in poll.replicas)


def test_resolved_alerts_are_not_returned(pair: AlertmanagerPair, client: AlertmanagerClient) -> None:
    pair.fires(alertname="Resolves")
    assert None not in get_alerts(client, alertname="Resolves")
    pair.resolves(alertname="Resolves")
    wait_for_gossip(lambda: get_alerts(client, alertname="Resolves") == [None, None])


def test_an_inhibited_alert_names_the_inhibiting_alert(
    pair: AlertmanagerPair, client: AlertmanagerClient
) -> None:
    down = {"alertname": "ClusterDown", "severity": "critical", "cluster": "one"}
    pair.fires(**down)
    pair.fires(alertname="Slow", severity="warning", cluster="one")
    for alert in get_alerts(client, alertname="Slow", severity="warning", cluster="one"):
        assert alert is not None
        assert alert.is_firing
        assert alert.inhibited_by == (fingerprint(down),)


def test_a_silence_and_its_end_reach_both_replicas(
    pair: AlertmanagerPair, client: AlertmanagerClient
) -> None:
    pair.fires(alertname="Noisy")
    silence_id = silence(pair, client, "Noisy")
    wait_for_gossip(
        lambda: all(
            alert and alert.silenced_by == (silence_id,) for alert in get_alerts(client, alertname="Noisy")
        )
    )
    assert all(alert and alert.is_firing for alert in get_alerts(client, alertname="Noisy"))

    client.expire_silence(silence_id)
    wait_for_gossip(
        lambda: all(alert and not alert.is_muted for alert in get_alerts(client, alertname="Noisy"))
    )
    client.expire_silence(silence_id)
    found_silence = client.get_silence(silence_id)
    assert found_silence is not None
    assert found_silence.is_expired
    with pytest.raises(PermanentDeliveryError, match="silence_expired"):
        silence(pair, client, "Noisy", silence_id=silence_id)


def test_extending_a_silence_does_not_change_its_id(
    pair: AlertmanagerPair, client: AlertmanagerClient
) -> None:
    silence_id = silence(pair, client, "Long", for_s=60)
    before = client.get_silence(silence_id)
    assert silence(pair, client, "Long", for_s=6000, silence_id=silence_id) == silence_id
    after = client.get_silence(silence_id)
    assert before is not None
    assert after is not None
    assert (after.is_expired, after.starts_at, after.by) == (False, before.starts_at, "alice")
    assert after.ends_at == pytest.approx(before.ends_at + 5940, abs=5)


def test_a_silence_is_found_by_its_marker_on_every_replica(
    pair: AlertmanagerPair, client: AlertmanagerClient
) -> None:
    marker = "[receiver found-1#1]"
    silence_id = silence(pair, AlertmanagerClient(pair.urls[1:]), "Found", marker=marker)
    assert [found_silence.id for found_silence in client.list_silences(marker)] == [silence_id]
    first = AlertmanagerClient(pair.urls[:1])
    wait_for_gossip(
        lambda: [found_silence.id for found_silence in first.list_silences(marker)] == [silence_id]
    )
    client.expire_silence(silence_id)
    wait_for_gossip(lambda: client.list_silences(marker) == ())


def test_with_one_replica_down_the_other_is_polled_and_gets_the_silence(pair: AlertmanagerPair) -> None:
    pair.fires(alertname="Half")
    key = fingerprint({"alertname": "Half"})
    down = f"http://127.0.0.1:{free_port()}"
    half = AlertmanagerClient([down, pair.urls[0]])
    poll = half.poll_alerts()
    assert poll.unreachable == {down: "connection refused"}
    assert [key in replica.alerts for replica in poll.replicas] == [True]

    silence_id = silence(pair, half, "Half")
    [replica] = half.poll_alerts().replicas
    assert replica.alerts[key].silenced_by == (silence_id,)
    half.expire_silence(silence_id)


def test_an_unknown_silence_is_not_found_and_counts_as_ended(client: AlertmanagerClient) -> None:
    unknown = "5b9f6ac0-3d2f-4ab9-9a5b-1f1f1f1f1f1f"
    assert client.get_silence(unknown) is None
    client.expire_silence(unknown)
    client.expire_silence("no id at all")


def test_an_error_response_is_quoted(pair: AlertmanagerPair, client: AlertmanagerClient) -> None:
    with pytest.raises(PermanentDeliveryError, match="end time can't be in the past"):
        silence(pair, client, "Past", for_s=-60)
