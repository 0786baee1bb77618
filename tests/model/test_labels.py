"""Which labels are shown, and in which order."""

from __future__ import annotations

import random

import pytest

from receiver.model.alert import Severity
from receiver.model.labels import find_source, select_unstated, sort_labels

KUBE_STATE_METRICS = {
    "alertname": "KubePodNotReady",
    "severity": "info",
    "cluster": "prod-eu",
    "container": "kube-state-metrics",
    "endpoint": "http",
    "instance": "10.244.3.17:8080",
    "job": "kube-state-metrics",
    "namespace": "payments",
    "pod": "payments-api-6f7d8c9b5-xk2lp",
    "prometheus": "monitoring/main",
    "service": "kube-state-metrics",
    "team": "payments",
    "uid": "7b1c",
    "console": "https://console.example/pods",
    "label_app_kubernetes_io_name": "payments-api",
    "label_team": "payments",
    "__alert_rule_uid__": "fdz1k",
    "__private": "x",
}
SHOWN = [
    *("instance", "cluster", "namespace", "pod", "service", "job", "container", "team"),
    *("console", "endpoint", "label_app_kubernetes_io_name", "label_team", "prometheus", "uid"),
]


def test_labels_are_ordered_by_use_and_private_ones_left_out() -> None:
    names = list(KUBE_STATE_METRICS)
    for seed in range(20):
        random.Random(seed).shuffle(names)
        shuffled = {name: KUBE_STATE_METRICS[name] for name in names}
        assert list(select_unstated(shuffled, Severity.INFO)) == SHOWN
        assert list(sort_labels(shuffled)) == [*SHOWN[:7], "alertname", "severity", *SHOWN[7:]]


@pytest.mark.parametrize(
    ("word", "severity", "is_shown"),
    [
        ("critical", Severity.CRITICAL, False),
        ("CRITICAL ", Severity.CRITICAL, False),
        ("page", Severity.CRITICAL, True),
        ("none", Severity.NONE, False),
        ("None", Severity.NONE, False),
        ("", Severity.NONE, False),
        ("wobbly", Severity.NONE, True),
    ],
)
def test_a_severity_is_not_repeated_and_another_word_is_shown(
    word: str, severity: Severity, is_shown: bool
) -> None:
    assert ("severity" in select_unstated({"alertname": "A", "severity": word}, severity)) is is_shown


@pytest.mark.parametrize(
    ("labels", "source"),
    [
        ({"job": "node", "pod": "p-1", "instance": "db-1:9100"}, "db-1:9100"),
        ({"pod": "p-1", "node": "n1", "cluster": "eu"}, "n1"),
        ({"pod": "p-1", "namespace": "shop", "cluster": "eu"}, "eu"),
        ({"container": "c", "deployment": "d", "statefulset": "s"}, "d"),
        ({"instance": " ", "service": "checkout"}, "checkout"),
        ({"team": "payments"}, ""),
    ],
)
def test_the_source_follows_the_same_order(labels: dict[str, str], source: str) -> None:
    assert find_source(labels) == source
