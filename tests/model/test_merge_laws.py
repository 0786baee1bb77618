"""Properties of every merge, whatever happened to the incident before and whatever the payload contains."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from receiver.model.alert import Alert, Group, Severity
from receiver.model.incident import AlertState, EscalationRun, Incident, IncidentChange, Person
from receiver.model.merge import merge
from receiver.model.routing import RouteSettings
from receiver.model.transitions import acknowledge, resolve, unacknowledge
from tests.sampling import count_examples

ROUTE_SETTINGS = RouteSettings(
    route="#alerts", channel="#alerts", policy="critical", steps=("on-call", "lead")
)
START = 1_795_435_200.0
NAMES = "abcd"


@dataclass(frozen=True)
class AlertReport:
    """One alert of a payload; *age* is how long ago it started firing."""

    name: str
    is_firing: bool
    severity: str = "warning"
    age: float = 0.0

    def at(self, now: float) -> Alert:
        starts_at = now - self.age
        return Alert(
            self.name,
            {"alertname": self.name, "severity": self.severity},
            {},
            starts_at,
            0.0 if self.is_firing else now,
        )


@dataclass(frozen=True)
class Payload:
    reports: tuple[AlertReport, ...]
    is_truncated: bool = False
    after: float = 1.0  # seconds since the previous step

    def at(self, now: float) -> Group:
        alerts = tuple(word.at(now) for word in self.reports)
        return Group("", "on-call", "{}:{}", {"alertname": "a"}, alerts, int(self.is_truncated))


@dataclass(frozen=True)
class Response:
    """The response of a person: acknowledge, unacknowledge or resolve."""

    response: str
    after: float = 1.0


reports = st.builds(
    AlertReport,
    name=st.sampled_from(NAMES),
    is_firing=st.booleans(),
    severity=st.sampled_from(["critical", "warning", "info", "odd"]),
    age=st.sampled_from([0.0, 0.5, 30.0, 5000.0]),
)
# Alertmanager lists an alert once in a payload.
unique_reports = st.lists(reports, max_size=4, unique_by=lambda word: word.name).map(tuple)
waits = st.sampled_from([0.25, 1.0, 60.0, 599.0, 600.0, 4000.0])
payloads = st.builds(Payload, unique_reports, is_truncated=st.booleans(), after=waits)
responses = st.builds(Response, st.sampled_from(["acknowledge", "unacknowledge", "resolve"]), after=waits)
pasts = st.lists(payloads | responses, max_size=8)


def apply_step(incident: Incident | None, what: Payload | Response, now: float) -> IncidentChange:
    if isinstance(what, Payload):
        return merge(incident, what.at(now), ROUTE_SETTINGS, now)
    if incident is None:
        return IncidentChange(None)
    return {"acknowledge": acknowledge, "unacknowledge": unacknowledge, "resolve": resolve}[what.response](
        incident, Person("ana"), now
    )


def replay(past: list[Payload | Response]) -> tuple[Incident | None, float]:
    """Return the incident after *past*, and the time."""
    incident, now = None, START
    for what in past:
        now += what.after
        incident = apply_step(incident, what, now).incident
    return incident, now


@given(pasts, payloads)
@settings(max_examples=count_examples(200), deadline=None)
@example(
    # The next incident opens with a copy of a firing that was dismissed before, with an earlier start than
    # the known one.
    [Payload((AlertReport("a", is_firing=True),)), Response("resolve")],
    Payload((AlertReport("a", is_firing=True, age=30.0), AlertReport("b", is_firing=True))),
)
@example(
    # The same with a firing that has ended: its late copy is still a duplicate in the next incident.
    [
        Payload((AlertReport("a", is_firing=True),)),
        Payload((AlertReport("a", is_firing=False),), is_truncated=True),
        Response("resolve"),
    ],
    Payload((AlertReport("a", is_firing=True, age=30.0), AlertReport("b", is_firing=True))),
)
def test_merging_a_payload_twice_is_merging_it_once(past: list[Payload | Response], payload: Payload) -> None:
    incident, now = replay(past)
    group = payload.at(now + payload.after)
    once = merge(incident, group, ROUTE_SETTINGS, now + payload.after)
    twice = merge(once.incident, group, ROUTE_SETTINGS, now + payload.after + 1)
    assert not twice.is_changed
    assert twice.incident == once.incident
    assert twice.new == twice.resolved == 0
    assert twice.duplicates == len(group.alerts)
    assert not twice.events


@given(pasts, payloads)
@settings(max_examples=count_examples(200), deadline=None)
def test_the_counts_of_a_payload_add_up(past: list[Payload | Response], payload: Payload) -> None:
    incident, now = replay(past)
    change = merge(incident, payload.at(now + payload.after), ROUTE_SETTINGS, now + payload.after)
    assert change.new + change.duplicates + change.resolved == len(payload.reports)


@given(pasts, payloads)
@settings(max_examples=count_examples(200), deadline=None)
def test_an_unmatched_resolve_changes_nothing(past: list[Payload | Response], payload: Payload) -> None:
    incident, now = replay(past)
    unknown = tuple(AlertReport(f"unknown-{word.name}", is_firing=False) for word in payload.reports)
    # An untruncated payload may resolve an incident that waits for such a payload.
    is_open = incident is not None and not incident.is_resolved
    group = Payload(unknown, is_truncated=is_open).at(now + 1)
    change = merge(incident, group, ROUTE_SETTINGS, now + 1)
    assert change.incident == incident
    assert not change.is_changed
    assert not change.events


@given(pasts, st.booleans())
@settings(max_examples=count_examples(200), deadline=None)
def test_copies_of_firing_alerts_change_nothing_visible(past: list[Payload | Response], older: bool) -> None:
    incident, now = replay(past)
    firing = (
        [name for name, alert_state in incident.alert_states.items() if alert_state.is_firing]
        if incident
        else []
    )
    copies = tuple(AlertReport(name, is_firing=True, age=90_000.0 if older else 0.0) for name in firing)
    change = merge(incident, Payload(copies, is_truncated=True).at(now + 1), ROUTE_SETTINGS, now + 1)
    assert not change.events
    assert change.new == 0
    if incident is not None:
        assert change.incident is not None
        assert change.incident.revision == incident.revision
        assert change.incident.state == incident.state
        assert change.incident.run == incident.run
        for name in firing:
            assert change.incident.alert_states[name].starts_at <= incident.alert_states[name].starts_at


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=6))
def test_the_earliest_start_of_all_copies_of_a_firing_is_stored(ages: list[float]) -> None:
    now, incident = START, None
    for age in ages:
        incident = merge(
            incident, Payload((AlertReport("a", is_firing=True, age=age),)).at(now), ROUTE_SETTINGS, now
        ).incident
    assert incident is not None
    assert incident.alert_states["a"].starts_at == now - max(ages)
    assert incident.revision == 0


@given(pasts, payloads)
@settings(max_examples=count_examples(200), deadline=None)
def test_an_alert_that_a_payload_leaves_out_keeps_its_state(
    past: list[Payload | Response], payload: Payload
) -> None:
    incident, now = replay(past)
    change = merge(incident, payload.at(now + payload.after), ROUTE_SETTINGS, now + payload.after)
    if incident is None or change.incident is None or change.is_new:
        return
    reported_names = {word.name for word in payload.reports}
    for name, alert_state in incident.alert_states.items():
        if name not in reported_names:
            assert change.incident.alert_states[name] == alert_state


@given(pasts, payloads)
@settings(max_examples=count_examples(200), deadline=None)
def test_an_incident_is_resolved_only_when_every_alert_of_it_is(
    past: list[Payload | Response], payload: Payload
) -> None:
    incident, now = replay(past)
    change = merge(incident, payload.at(now + payload.after), ROUTE_SETTINGS, now + payload.after)
    after = change.incident
    if after is None or not change.is_changed or not after.is_resolved or after.is_closed_by_hand:
        return
    assert all(not s.is_firing or s.is_dismissed for s in after.alert_states.values())
    assert not payload.is_truncated or (incident is not None and incident.is_resolved)


@given(pasts, payloads)
@settings(max_examples=count_examples(200), deadline=None)
def test_an_untruncated_payload_without_a_firing_alert_resolves_the_incident(
    past: list[Payload | Response], payload: Payload
) -> None:
    incident, now = replay(past)
    after = merge(incident, payload.at(now + payload.after), ROUTE_SETTINGS, now + payload.after).incident
    if after is None or after.is_resolved or payload.is_truncated or not payload.reports:
        return
    assert any(s.is_firing and not s.is_dismissed for s in after.alert_states.values())


@given(pasts, payloads)
@settings(max_examples=count_examples(200), deadline=None)
def test_the_severity_is_never_lower_while_it_is_open(
    past: list[Payload | Response], payload: Payload
) -> None:
    incident, now = replay(past)
    change = merge(incident, payload.at(now + payload.after), ROUTE_SETTINGS, now + payload.after)
    after = change.incident
    if after is None:
        return
    if incident is not None and not incident.is_resolved:
        assert not change.is_new
        assert after.severity.rank >= incident.severity.rank
    if not after.is_resolved:
        fires = [s.severity.rank for s in after.alert_states.values() if s.is_firing and not s.is_dismissed]
        assert after.severity.rank >= max(fires, default=0)


@given(pasts, payloads)
@settings(max_examples=count_examples(200), deadline=None)
def test_an_acknowledgement_ends_only_with_an_unacknowledged_event(
    past: list[Payload | Response], payload: Payload
) -> None:
    incident, now = replay(past)
    change = merge(incident, payload.at(now + payload.after), ROUTE_SETTINGS, now + payload.after)
    after = change.incident
    if incident is None or after is None or change.is_new or not incident.is_acknowledged:
        return
    is_unacknowledged = any(event.what == "unacknowledged" for event in change.events)
    assert after.is_acknowledged != is_unacknowledged


@given(pasts, payloads)
@settings(max_examples=count_examples(200), deadline=None)
def test_alerts_that_join_an_open_incident_move_no_timer(
    past: list[Payload | Response], payload: Payload
) -> None:
    incident, now = replay(past)
    after = merge(incident, payload.at(now + payload.after), ROUTE_SETTINGS, now + payload.after).incident
    if incident is None or after is None or incident.is_resolved or incident.is_acknowledged:
        return
    assert after.run == incident.run


@given(pasts, payloads)
@settings(max_examples=count_examples(200), deadline=None)
def test_an_incident_id_never_changes_and_is_never_reused(
    past: list[Payload | Response], payload: Payload
) -> None:
    incident, now = replay(past)
    change = merge(incident, payload.at(now + payload.after), ROUTE_SETTINGS, now + payload.after)
    if incident is None or change.incident is None:
        return
    assert change.incident.group_id == incident.group_id
    assert (change.incident.id != incident.id) == change.is_new
    assert not change.is_new or change.incident.previous == incident.id


@given(pasts, st.sampled_from(NAMES))
@settings(max_examples=count_examples(200), deadline=None)
@example(
    # The alert fires on in a manually resolved incident, is carried over to the next one, and ends after that
    # is resolved.
    [
        Payload((AlertReport("a", is_firing=True),)),
        Response("resolve"),
        Payload((AlertReport("b", is_firing=True),)),
        Payload((AlertReport("b", is_firing=False),)),
        Payload((AlertReport("a", is_firing=False),)),
    ],
    "a",
)
@example(
    # The same, and its end arrives with the payload that opens the following incident.
    [
        Payload((AlertReport("a", is_firing=True),)),
        Response("resolve"),
        Payload((AlertReport("b", is_firing=True),)),
        Payload((AlertReport("b", is_firing=False),)),
        Payload((AlertReport("a", is_firing=False), AlertReport("b", is_firing=True)), after=4000.0),
    ],
    "a",
)
def test_an_alert_that_fires_after_its_resolve_is_never_a_duplicate(
    past: list[Payload | Response], name: str
) -> None:
    incident, now = replay(past)
    ended = merge(
        incident,
        Payload((AlertReport(name, is_firing=False),), is_truncated=True).at(now + 1),
        ROUTE_SETTINGS,
        now + 1,
    )
    fires = merge(
        ended.incident, Payload((AlertReport(name, is_firing=True),)).at(now + 2), ROUTE_SETTINGS, now + 2
    )
    assert fires.new == 1
    assert fires.incident is not None
    assert not fires.incident.is_resolved
    assert fires.incident.alert_states[name].is_firing
    assert not fires.incident.alert_states[name].is_dismissed


@given(pasts, st.lists(reports, max_size=4).map(tuple))
@settings(max_examples=count_examples(200), deadline=None)
@example([], (AlertReport("a", is_firing=True), AlertReport("a", is_firing=False)))
def test_merging_twice_is_merging_once_even_if_a_payload_contradicts_itself(
    past: list[Payload | Response], contents: tuple[AlertReport, ...]
) -> None:
    incident, now = replay(past)
    group = Payload(contents).at(now + 1)
    once = merge(incident, group, ROUTE_SETTINGS, now + 1)
    twice = merge(once.incident, group, ROUTE_SETTINGS, now + 2)
    assert twice.incident == once.incident
    assert once.new + once.duplicates + once.resolved == len(contents)


@given(pasts)
@settings(max_examples=count_examples(200), deadline=None)
@example(
    # A late copy of b, whose firing has ended, arrives together with c, which is new.
    [
        Payload((AlertReport("a", is_firing=True), AlertReport("b", is_firing=True))),
        Payload((AlertReport("b", is_firing=False),)),
        Response("resolve"),
        Payload((AlertReport("b", is_firing=True, age=5000.0), AlertReport("c", is_firing=True))),
    ]
)
def test_alerts_that_start_firing_are_counted_as_new(past: list[Payload | Response]) -> None:
    incident, now = replay(past[:-1])
    if not past or not isinstance(past[-1], Payload):
        return
    now += past[-1].after
    change = merge(incident, past[-1].at(now), ROUTE_SETTINGS, now)
    begun = [alert.fingerprint for alert in change.changed_alerts if alert.is_firing]
    assert len(begun) == change.new


alert_states = st.builds(
    AlertState,
    st.floats(0, 2e9),
    st.floats(0, 2e9),
    st.sampled_from(["critical", "none"]).map(Severity),
    st.integers(0, 2**40),
    st.booleans(),
)


@given(pasts, st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), alert_states, max_size=5))
@settings(max_examples=count_examples(200), deadline=None)
def test_an_incident_is_serialized_and_parsed_unchanged(
    past: list[Payload | Response], more: dict[str, AlertState]
) -> None:
    incident, _ = replay(past)
    if incident is None:
        return
    incident = msgspec.structs.replace(
        incident,
        alert_states={**incident.alert_states, **more},
        run=EscalationRun(3, START, "unacknowledged", 2, is_quiet=True),
        alerts={"a": AlertReport("a", is_firing=False).at(START)},
    )
    packed = msgspec.msgpack.encode(incident)
    assert msgspec.msgpack.decode(packed, type=Incident) == incident


def test_late_copies_of_a_firing_that_ended_do_not_end_the_next_one() -> None:
    """The slower of two Alertmanagers reports the first firing and its end while the alert already fires
    again.
    """

    def reported(starts_at: float, ends_at: float = 0.0) -> Group:
        return Group("", "on-call", "{}:{}", {}, (Alert("a", {"alertname": "a"}, {}, starts_at, ends_at),))

    first, first_end = reported(START), reported(START, START + 9)
    incident = None
    for after, group in enumerate([first, first_end, reported(START + 19), first, first_end]):
        incident = merge(incident, group, ROUTE_SETTINGS, START + 20 + after).incident
    assert incident is not None
    assert not incident.is_resolved
    assert incident.alert_states["a"].is_firing
    assert incident.alert_states["a"].starts_at == START + 19
