"""Which alerts replaced another one whose labels changed, found from the alert states of an incident."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from receiver.model.alert import Alert
from receiver.model.incident import AlertState, Incident
from receiver.model.merge import merge
from receiver.model.renaming import find_joined, find_renamings
from receiver.model.routing import RouteSettings
from tests.builders import OPENED_AT, a_group, an_alert
from tests.sampling import count_examples

ROUTE_SETTINGS = RouteSettings("a", "#a", "critical", ("on-call",))


def value(number: int, at: float, ended: float = 0.0, **labels: str) -> Alert:
    return an_alert(labels={"value": str(number), **labels}, starts_at=at, ends_at=ended)


@dataclass
class StoredIncident:
    """An incident with all its alerts, as the store has it."""

    incident: Incident | None = None
    now: float = OPENED_AT

    def receives(self, *alerts: Alert) -> None:
        change = merge(self.incident, a_group(*alerts), ROUTE_SETTINGS, self.now)
        former = self.incident.alerts if self.incident else {}
        assert change.incident is not None
        reported = {
            alert.fingerprint: alert for alert in alerts if alert.fingerprint in change.incident.alert_states
        }
        self.incident = replace(change.incident, alerts={**former, **reported})


@pytest.mark.parametrize("label", ["severity", "alertname"])
def test_an_alert_with_another_name_or_severity_is_another_alert(label: str) -> None:
    stored = StoredIncident()
    first = an_alert(severity="warning", starts_at=OPENED_AT)
    stored.receives(first)
    stored.now += 60
    other = an_alert(
        **({"severity": "critical"} if label == "severity" else {"name": "Other", "severity": "warning"})
    )
    stored.receives(replace(other, starts_at=stored.now), replace(first, ends_at=stored.now))
    assert stored.incident is not None
    assert find_renamings(stored.incident) == []


def test_one_resolved_alert_is_replaced_by_one_alert_only() -> None:
    stored = StoredIncident()
    stored.receives(value(0, OPENED_AT), value(9, OPENED_AT, host="other"))
    stored.now += 60
    stored.receives(value(0, OPENED_AT, stored.now), value(1, stored.now), value(2, stored.now))
    assert stored.incident is not None
    assert len(find_renamings(stored.incident)) == 1
    assert len(find_joined(stored.incident, 0)[0]) == 2


@pytest.mark.parametrize(("gap", "count"), [(0.0, 1), (890.0, 1), (2000.0, 0)])
def test_an_alert_that_ended_long_before_is_not_replaced(gap: float, count: int) -> None:
    stored = StoredIncident()
    stored.receives(value(0, OPENED_AT), value(9, OPENED_AT, host="other"))
    stored.now += 60
    stored.receives(value(0, OPENED_AT, stored.now))
    stored.now += gap
    stored.receives(value(1, stored.now))
    assert stored.incident is not None
    assert len(find_renamings(stored.incident)) == count


payloads = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["a", "b"]), st.booleans()), min_size=1, max_size=5
)


@settings(max_examples=count_examples(150), deadline=None)
@given(st.lists(st.tuples(payloads, st.sampled_from([10.0, 300.0, 2000.0])), min_size=2, max_size=8))
def test_there_are_no_more_renamings_than_ended_alerts_and_a_renamed_alert_is_not_joined(
    past: list[tuple[list[tuple[int, str, bool]], float]],
) -> None:
    stored = StoredIncident()
    stored.receives(value(0, OPENED_AT, host="a"))
    started_at: dict[tuple[int, str], float] = {}
    for reports, wait in past:
        stored.now += wait
        alerts = []
        for number, host, is_firing in reports:
            at = started_at.setdefault((number, host), stored.now)
            alerts.append(value(number, at, 0.0 if is_firing else stored.now, host=host))
            if not is_firing:
                started_at.pop((number, host))
        stored.receives(*alerts)
    incident = stored.incident
    assert incident is not None
    ended = [s for s in incident.alert_states.values() if not s.is_firing]
    renamings = find_renamings(incident)
    assert len(renamings) <= len(ended)
    assert len({renaming.fingerprint for renaming in renamings}) == len(renamings)
    assert {renaming.label for renaming in renamings} <= {"value", "host"}
    assert all(_joined(incident.alert_states[renaming.fingerprint]) for renaming in renamings)
    joined, _ = find_joined(incident, 0)
    firing = {fp for fp, s in incident.alert_states.items() if s.join and s.is_firing}
    assert set(joined) <= firing
    assert firing - set(joined) <= {
        renaming.fingerprint for renaming in renamings
    }  # the alerts that are left out replaced another one


def _joined(alert_state: AlertState) -> bool:
    return alert_state.join > 0
