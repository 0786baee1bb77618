"""Labels as a person reads them: without private ones, in the order of their use."""

from __future__ import annotations

from collections.abc import Mapping

from receiver.model.alert import FAULTS, LABEL, Severity, normalize_word

# What is affected: the host, where that is, and the workload on it.
_BY_USE = (
    *("instance", "host", "hostname", "node", "cluster", "region", "namespace"),
    *("pod", "deployment", "statefulset", "daemonset", "service", "job", "container"),
)
_RANKS = {name: rank for rank, name in enumerate(_BY_USE)}
_REST, _LAST = len(_BY_USE), len(_BY_USE) + 1
# Of the machinery that found the problem, or copied by kube-state-metrics from the object's own labels.
_OF_LITTLE_USE = frozenset({"prometheus", "endpoint", "uid", "datasource_uid", "ref_id"})


def is_private(name: str) -> bool:
    """Return whether a label or annotation is for programs only, such as Grafana's `__alert_rule_uid__`."""
    return name.startswith("__")


def sort_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return *labels* in the order of their use to a responder, without private ones."""
    return {
        name: labels[name]
        for name in sorted(labels, key=lambda n: _rank(n, labels[n]))
        if not is_private(name)
    }


def _rank(name: str, value: str) -> tuple[int, str]:
    if name in _OF_LITTLE_USE or name.startswith("label_") or value.startswith(("http://", "https://")):
        return _LAST, name
    return _RANKS.get(name, _REST), name


def select_unstated(labels: Mapping[str, str], severity: Severity) -> dict[str, str]:
    """Return the sorted *labels* of an alert without those that are stated beside it: its name, and its
    severity where the label is the *severity* itself. An alias is kept.
    """
    word = normalize_word(labels.get(LABEL, ""))
    hidden = {"alertname"} if labels.get("alertname") not in FAULTS else {"alertname", "rulename"}
    if word in (severity, ""):
        hidden.add(LABEL)
    return {name: value for name, value in sort_labels(labels).items() if name not in hidden}


def find_source(labels: Mapping[str, str]) -> str:
    """Return what is affected: the value of the first label in the order of use; empty without one."""
    return next((text for name in _BY_USE if (text := labels.get(name, "").strip())), "")
