"""Alerts as an incident's page lists them."""

from __future__ import annotations

from receiver.domain.alert import Severity
from receiver.web.alert_list import OPEN_AT_MOST, SHOWN_AT_MOST, list_alerts
from receiver.web.bodies import AlertRow, AlertState


def row(instance: str, status: AlertState = AlertState.FIRING, **labels: str) -> AlertRow:
    everything = {"alertname": "DiskFull", "instance": instance, **labels}
    return AlertRow(instance, status, Severity.CRITICAL, None, None, everything, {"summary": "full"}, "")


def test_what_all_have_in_common_is_said_once() -> None:
    found = list_alerts([row("a", job="db"), row("b", job="db")])
    assert found.labels == {"alertname": "DiskFull", "job": "db"}
    assert found.annotations == {"summary": "full"}
    assert [item.labels for item in found.first] == [{"instance": "a"}, {"instance": "b"}]
    assert [item.annotations for item in found.first] == [{}, {}]


def test_a_single_alert_keeps_all_it_has() -> None:
    found = list_alerts([row("a")])
    assert (found.labels, found.annotations) == ({}, {})
    assert found.first[0].labels == {"alertname": "DiskFull", "instance": "a"}


def test_a_label_that_one_lacks_is_not_common() -> None:
    assert "job" not in list_alerts([row("a", job="db"), row("b")]).labels


def test_what_fires_comes_first_and_many_are_folded_away() -> None:
    rows = [row("over", AlertState.RESOLVED), *(row(str(n)) for n in range(SHOWN_AT_MOST + 9))]
    found = list_alerts(rows)
    assert [item.row.fingerprint for item in found.first] == [str(n) for n in range(OPEN_AT_MOST)]
    assert len(found.first) + len(found.folded) == SHOWN_AT_MOST
    assert found.left_out == 10


def test_no_alerts_are_no_list() -> None:
    found = list_alerts([])
    assert (found.first, found.folded, found.left_out) == ((), (), 0)
