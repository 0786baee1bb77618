"""The alerts on the page of an incident."""

from __future__ import annotations

from receiver.model.alert import Severity
from receiver.web.api.responses import AlertRow, AlertStatus
from receiver.web.pages.incident import OPEN_AT_MOST, SHOWN_AT_MOST, list_alerts


def row(instance: str, status: AlertStatus = AlertStatus.FIRING, **labels: str) -> AlertRow:
    everything = {"alertname": "DiskFull", "instance": instance, **labels}
    return AlertRow(instance, status, Severity.CRITICAL, None, None, everything, {"summary": "full"}, "", [])


def test_labels_that_all_alerts_share_are_shown_once() -> None:
    listed = list_alerts([row("a", job="db"), row("b", job="db")])
    assert listed.labels == {"job": "db"}
    assert listed.annotations == {"summary": "full"}
    assert [item.labels for item in listed.first] == [{"instance": "a"}, {"instance": "b"}]
    assert [item.annotations for item in listed.first] == [{}, {}]


def test_a_single_alert_is_shown_with_all_labels_but_those_of_its_title() -> None:
    listed = list_alerts([row("a")])
    assert (listed.labels, listed.annotations) == ({}, {})
    assert listed.first[0].labels == {"instance": "a"}


def test_a_label_that_one_alert_lacks_is_not_shared() -> None:
    assert "job" not in list_alerts([row("a", job="db"), row("b")]).labels


def test_firing_alerts_come_first_and_many_are_collapsed() -> None:
    rows = [row("over", AlertStatus.RESOLVED), *(row(str(n)) for n in range(SHOWN_AT_MOST + 9))]
    listed = list_alerts(rows)
    assert [item.row.fingerprint for item in listed.first] == [str(n) for n in range(OPEN_AT_MOST)]
    assert len(listed.first) + len(listed.collapsed) == SHOWN_AT_MOST
    assert listed.left_out == 10


def test_without_alerts_there_is_no_list() -> None:
    listed = list_alerts([])
    assert (listed.first, listed.collapsed, listed.left_out) == ((), (), 0)
