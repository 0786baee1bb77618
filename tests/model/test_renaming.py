"""Which alerts took another one's place, told from how an incident's alerts stand."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from receiver.model.alert import Alert
from receiver.model.incident import AlertState, Incident
from receiver.model.merge import merge
from receiver.model.renaming import find_renamings, sort_joined
from receiver.model.routing import RouteSettings
from tests.builders import OPENED_AT, a_group, an_alert

ROUTE_SETTINGS = RouteSettings("a", "#a", "critical", ("on-call",))


def value(number: int, at: float, ended: float = 0.0, **labels: str) -> Alert:
    return an_alert(labels={"value": str(number), **labels}, starts_at=at, ends_at=ended)


@dataclass
class Live:
    """An incident with all its alerts, as the store has it."""

    incident: Incident | None = None
    now: float = OPENED_AT

    def hears(self, *alerts: Alert) -> None:
        change = merge(self.incident, a_group(*alerts), ROUTE_SETTINGS, self.now)
        known = self.incident.alerts if self.incident else {}
        assert change.incident is not None
        told = {
            alert.fingerprint: alert for alert in alerts if alert.fingerprint in change.incident.alert_states
        }
        self.incident = replace(change.incident, alerts={**known, **told})


@pytest.mark.parametrize("label", ["severity", "alertname"])
def test_a_label_that_says_what_it_is_makes_another_alert(label: str) -> None:
    live = Live()
    first = an_alert(severity="warning", starts_at=OPENED_AT)
    live.hears(first)
    live.now += 60
    other = an_alert(
        **({"severity": "critical"} if label == "severity" else {"name": "Other", "severity": "warning"})
    )
    live.hears(replace(other, starts_at=live.now), replace(first, ends_at=live.now))
    assert live.incident is not None
    assert find_renamings(live.incident) == []


def test_one_end_stands_for_one_change() -> None:
    live = Live()
    live.hears(value(0, OPENED_AT), value(9, OPENED_AT, host="other"))
    live.now += 60
    live.hears(value(0, OPENED_AT, live.now), value(1, live.now), value(2, live.now))
    assert live.incident is not None
    assert len(find_renamings(live.incident)) == 1
    assert len(sort_joined(live.incident, 0).fingerprints) == 2


@pytest.mark.parametrize(("gap", "count"), [(0.0, 1), (890.0, 1), (2000.0, 0)])
def test_an_end_long_before_is_another_matter(gap: float, count: int) -> None:
    live = Live()
    live.hears(value(0, OPENED_AT), value(9, OPENED_AT, host="other"))
    live.now += 60
    live.hears(value(0, OPENED_AT, live.now))
    live.now += gap
    live.hears(value(1, live.now))
    assert live.incident is not None
    assert len(find_renamings(live.incident)) == count


payloads = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["a", "b"]), st.booleans()), min_size=1, max_size=5
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(payloads, st.sampled_from([10.0, 300.0, 2000.0])), min_size=2, max_size=8))
def test_there_are_no_more_changes_than_ends_and_nothing_is_both(
    past: list[tuple[list[tuple[int, str, bool]], float]],
) -> None:
    live = Live()
    live.hears(value(0, OPENED_AT, host="a"))
    began: dict[tuple[int, str], float] = {}
    for told, wait in past:
        live.now += wait
        alerts = []
        for number, host, is_firing in told:
            at = began.setdefault((number, host), live.now)
            alerts.append(value(number, at, 0.0 if is_firing else live.now, host=host))
            if not is_firing:
                began.pop((number, host))
        live.hears(*alerts)
    incident = live.incident
    assert incident is not None
    ended = [s for s in incident.alert_states.values() if not s.is_firing]
    found = find_renamings(incident)
    assert len(found) <= len(ended)
    assert len({one.fingerprint for one in found}) == len(found)
    assert {one.label for one in found} <= {"value", "host"}
    assert all(_joined(incident.alert_states[one.fingerprint]) for one in found)
    news = sort_joined(incident, 0).fingerprints
    firing = {fp for fp, s in incident.alert_states.items() if s.join and s.is_firing}
    assert set(news) <= firing
    assert firing - set(news) <= {one.fingerprint for one in found}  # what is left out took another's place


def _joined(alert_state: AlertState) -> bool:
    return alert_state.join > 0
