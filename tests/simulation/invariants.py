"""What must be true at the end of each schedule, whatever happened in it.

Each check belongs to a guarantee. It compares what was posted to the receiver, what the receiver sent, and
what is stored, and does not depend on how the receiver works.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise, product

from receiver.errors import NotFound
from receiver.model.actions import Page
from receiver.model.incident import Incident, dedup_key
from receiver.model.page_confirmation import is_left_open
from receiver.model.plan import resolve_policy
from receiver.model.routing import EscalationPolicy, Responder
from receiver.storage.keys import Keys
from tests.mocks.pagerduty_account import PagedIncident
from tests.rig import QUEUES
from tests.simulation.fakes import Sent
from tests.simulation.sender import TrueAlert, TrueGroup
from tests.simulation.world import RecordedState, Scenario
from tests.valkey import find_keys_without_expiry

# An actor's read and the effect that follows from it are at most this many of its effects apart: the state it
# read may be that old.
READ_AGO = 9
# Workers are restarted 8 s after a kill, leases expire after 2.4 s, and retries come every 36 s at most: an
# action that was due for this long, without a response of a person, must have been attempted.
DEADLINE_S = 120.0
GIVEN_UP_AFTER_S = 120.0


def find_violations(scenario: Scenario) -> list[str]:
    """Return a description of every broken guarantee."""
    incidents = {one: load_incident(scenario, one) for one in scenario.history}
    whole = [incident for incident in incidents.values() if incident is not None]
    faults = [f"incident {one} is gone" for one, incident in incidents.items() if incident is None]
    faults += _find_lost_alerts(scenario, whole)
    faults += _find_early_ends(scenario)
    for group in scenario.groups:
        faults += _check_group(scenario, group, whole)
    for incident in whole:
        faults += [f"{incident.id}: {fault}" for fault in _check_message(scenario, incident)]
        if incident.policy:
            faults += [f"{incident.id}: {fault}" for fault in _check_pages(scenario, incident)]
            faults += [f"{incident.id}: {fault}" for fault in _check_pager(scenario, incident, whole)]
    return [*faults, *_check_rest(scenario)]


def load_incident(scenario: Scenario, incident_id: str) -> Incident | None:
    try:
        return scenario.truth.load_incident(incident_id)
    except NotFound:
        return None


def count_doubled(scenario: Scenario) -> tuple[int, int]:
    """Return the number of messages in Slack, and the number of those posted more than once."""
    counts = scenario.slack.replies_and_roots()
    return len(counts), sum(count > 1 for count in counts.values())


# --- ingested alerts ---


def _find_lost_alerts(scenario: Scenario, incidents: list[Incident]) -> Iterator[str]:
    """Every alert that was answered with 200 is in an incident, with its labels."""
    kept = {name for incident in incidents for name in incident.alerts}
    for name in sorted(scenario.accepted - kept):
        yield f"alert {name} was answered 200 and is in no incident"


def _find_early_ends(scenario: Scenario) -> Iterator[str]:
    """No alert ended by itself that had been renewed before, nor before the end that its sender named."""
    for incident_id, recorded in scenario.history.items():
        for before, after in pairwise(recorded):
            for name, ended in after.incident.alert_states.items():
                known = before.incident.alert_states.get(name)
                if (
                    known is None
                    or not known.is_firing
                    or ended.is_firing
                    or ended.ends_at != ended.expires_at
                ):
                    continue
                if known.expires_at != ended.expires_at:
                    yield f"{incident_id}: {name} ended though it was renewed"
                if after.at + scenario.fault_rates.apart_s + scenario.stepped_back < ended.ends_at:
                    yield f"{incident_id}: {name} ended too early"


def _check_group(scenario: Scenario, group: TrueGroup, incidents: list[Incident]) -> Iterator[str]:
    """Firing alerts are in the latest incident of their group and route, open unless a person resolved it.

    A group key has one such incident; an alert that arrives under several group keys is in one incident of
    these.
    """
    keys = group.keys
    for route, alerts in _by_route(scenario, group).items():
        latest = [i for i in incidents if i.group_key in keys and i.route == route and not i.is_past]
        firing = {alert.fingerprint for alert in alerts if alert.is_firing}
        for key, count in Counter(incident.group_key for incident in latest).items():
            if count > 1:
                yield f"{group.name}: {count} latest incidents of {key} on {route}"
        stored: Counter[str] = Counter()
        for incident in latest:
            fires = {name for name, alert_state in incident.alert_states.items() if alert_state.is_firing}
            stored.update(fires)
            live = {name for name in firing & fires if not incident.alert_states[name].is_dismissed}
            if live and incident.is_resolved and not incident.is_closed_by_hand:
                yield f"{incident.id}: resolved while it fires"
            if not live and not incident.is_resolved:
                yield f"{incident.id}: open while nothing fires"
        if set(stored) != firing:
            yield f"{group.name} on {route}: {sorted(firing)} fire, stored is {sorted(stored)}"
        for name, count in stored.items():
            if count > 1:
                yield f"{group.name} on {route}: {name} fires in {count} incidents"


def _by_route(scenario: Scenario, group: TrueGroup) -> dict[str, list[TrueAlert]]:
    found: dict[str, list[TrueAlert]] = {}
    for alert in group.alerts:
        found.setdefault(scenario.routing.find_route(alert.labels).name, []).append(alert)
    return found


# --- Slack ---


def _check_message(scenario: Scenario, incident: Incident) -> Iterator[str]:
    """The message of the incident exists and shows its state."""
    parent = incident.deliveries.get("message")
    if parent is None or parent.receipt is None:
        if not (parent is not None and parent.failed_at):
            yield "has no message"
        return
    message = next(m for m in scenario.slack.messages if m.reference == parent.receipt.reference)
    if incident.deliveries["message"].failed_at or _has_failed_permanently(scenario.slack.sent, incident.id):
        return
    look = message.versions[-1]
    # Alerts of a manually resolved incident may end later; the message does not show that any more.
    is_same = look.firing == incident.firing or incident.is_closed_by_hand
    if not is_same or (look.state, look.severity) != (incident.state, incident.severity):
        yield f"the message shows {look.state}, {look.firing} firing; it is {incident.state}, {incident.firing}"


def _has_failed_permanently(sent: list[Sent], incident_id: str) -> bool:
    return any(one.fate == "permanent" and one.notification.incident.id == incident_id for one in sent)


# --- pages ---


def _check_pages(scenario: Scenario, incident: Incident) -> Iterator[str]:
    """No page is too early, none is sent after an acknowledgement or the end was stored, none is missing."""
    history = scenario.history[incident.id]
    sent = scenario.pager.pages(incident.id)
    for one in sent:
        yield from _check_moment(scenario, one, sent)
        yield from _check_wanted(one, history)
    yield from _find_doubled_pages(scenario, incident, sent)
    if not _has_failed_permanently(scenario.pager.sent, incident.id):
        yield from _find_missed(scenario, incident, history, sent)


def _check_moment(scenario: Scenario, one: Sent, sent: list[Sent]) -> Iterator[str]:
    """A step is not attempted before its wait is over, counted from the first attempt of the previous step."""
    action, incident = one.notification.action, one.notification.incident
    assert isinstance(action, Page)
    policy = resolve_policy(scenario.routing, incident)
    index = [step.name for step in policy.steps].index(action.step.name)
    if not index:
        return
    before = [s.at for s in _attempts(sent, policy.steps[index - 1].name, action.instance)]
    before += [
        message_sent.at
        for message_sent in scenario.slack.sent
        if message_sent.notification.incident.id == incident.id
        # A page that did not arrive is reported in the thread, which notifies the step too.
        and message_sent.notification.action.key
        in (f"step:{policy.steps[index - 1].name}", f"page_delayed:{policy.steps[index - 1].name}")
        and message_sent.notification.action.instance == action.instance
    ]
    if before:
        earliest = min(before) + policy.steps[index].after
    elif incident.run.cause == "unacknowledged":
        earliest = incident.run.started_at
    else:
        earliest = incident.run.started_at + policy.steps[index].after
    if (
        incident.run.cause == "reopened"
    ):  # a previous step whose page is still open from the former escalation run needs no notification
        earliest = min(earliest, incident.run.started_at + policy.steps[index].after)
    if one.at < earliest - scenario.stepped_back - scenario.fault_rates.apart_s - 0.002:
        yield f"{action.key} of run {action.instance} came {earliest - one.at:.3f} s too early"


def _check_wanted(one: Sent, history: list[RecordedState]) -> Iterator[str]:
    """Each page was planned from a recent state in which the incident was not acknowledged."""
    incident = one.notification.incident
    if incident.is_resolved or incident.is_acknowledged:
        yield f"{one.notification.action.key} was sent although it was {incident.state} when read"
    if len(one.seen) < READ_AGO:
        return
    read_at = one.seen[-READ_AGO]
    before = [seen.incident for seen in history if seen.number < read_at][-1:]
    since = [seen.incident for seen in history if read_at <= seen.number <= one.number]
    if not any(then.state == "open" and then.run == incident.run for then in before + since):
        yield f"{one.notification.action.key} was sent although it was not open for a while"


def _find_doubled_pages(scenario: Scenario, incident: Incident, sent: list[Sent]) -> Iterator[str]:
    """In one escalation run a responder is paged once under one dedup key, and once more for each time
    PagerDuty resolved that page itself.
    """
    group_id = f"receiver-{incident.group_id}-"
    ended = sum(key.startswith(group_id) for key in scenario.auto_resolved)
    woken = Counter(
        (one.notification.action.key, one.notification.action.instance, one.opened.routing_key)
        for one in sent
        if one.opened is not None
    )
    for (key, instance, _), times in woken.items():
        if times > 1 + ended:
            yield f"{key} of run {instance} woke {times} times"


def _find_missed(
    scenario: Scenario, incident: Incident, history: list[RecordedState], sent: list[Sent]
) -> Iterator[str]:
    """Each step that was due for long while the incident was unacknowledged was attempted."""
    policy = resolve_policy(scenario.routing, incident)
    for first, last in _unacknowledged_periods(history, scenario.scheduler.moment):
        run = first.incident.run
        instance = str(run.number)
        tried = [index for index, step in enumerate(policy.steps) if _attempts(sent, step.name, instance)]
        is_untried_reopening = run.cause == "reopened" and not tried
        if is_untried_reopening and run.is_quiet:
            continue
        begin = tried[0] if tried else 0
        due = run.started_at if not is_untried_reopening else None
        for index, step in enumerate(policy.steps[begin:], begin):
            tries = _attempts(sent, step.name, instance)
            if due is not None and due + DEADLINE_S + scenario.fault_rates.apart_s < last and not tries:
                yield f"page:{step.name} of run {instance} was due for {last - due:.0f} s and not tried"
                break
            if not tries or index + 1 == len(policy.steps):
                break
            due = min(one.at for one in tries) + GIVEN_UP_AFTER_S + policy.steps[index + 1].after


def _unacknowledged_periods(
    history: list[RecordedState], end: float
) -> Iterator[tuple[RecordedState, float]]:
    """Yield the periods of one escalation run without an acknowledgement, each with its end."""
    begun: RecordedState | None = None
    for seen in history:
        now = seen.incident
        is_open = not now.is_resolved and not now.is_acknowledged and not now.is_paused
        if begun is not None and (not is_open or now.run != begun.incident.run):
            yield begun, seen.at
            begun = None
        if is_open and begun is None:
            begun = seen
    if begun is not None:
        yield begun, end


def _attempts(sent: list[Sent], step: str, instance: str) -> list[Sent]:
    return [
        one
        for one in sent
        if one.notification.action.key == f"page:{step}" and one.notification.action.instance == instance
    ]


# --- PagerDuty ---


def _check_pager(scenario: Scenario, incident: Incident, incidents: list[Incident]) -> Iterator[str]:
    """PagerDuty shows for each responder the state of our incident.

    All incidents of a group have the same dedup key, so a permanently failed resolve of the previous one
    matters here, too.
    """
    refused = {one.notification.incident.group_id for one in scenario.pager.sent if one.fate == "permanent"}
    if incident.group_id in refused or incident.is_past:
        return
    policy = resolve_policy(scenario.routing, incident)
    reached = _responders(policy)
    for responder in reached:
        yield from _check_responder(scenario, incident, policy, responder)


def _responders(policy: EscalationPolicy) -> list[Responder]:
    return list({step.responder.name: step.responder for step in policy.steps}.values())


def _check_responder(
    scenario: Scenario, incident: Incident, policy: EscalationPolicy, responder: Responder
) -> Iterator[str]:
    name, dedup = responder.name, dedup_key(incident, responder.name)
    account = scenario.pager.account
    lines = [account.incidents.get((key, dedup), []) for key in scenario.list_keys(name)]
    for pages in lines:
        yield from _find_overlaps(pages)
    shown = sorted({pages[-1].state for pages in lines if pages and pages[-1].state != "resolved"})
    # An event that PagerDuty dropped in a maintenance window may be missing; a dropped resolve must be
    # reported.
    dropped = {event.action for event in account.dropped if event.dedup_key == dedup}
    is_said = any(is_left_open(d) for key, d in incident.deliveries.items() if key.startswith("resolve:"))
    if incident.is_resolved:
        if shown and not is_said:
            yield f"is resolved, and {name} has it {shown} in PagerDuty"
    elif incident.is_acknowledged and "triggered" in shown and "acknowledge" not in dropped:
        yield f"is acknowledged, and {name} has it triggered in PagerDuty"
    elif incident.state == "open" and not incident.run.is_quiet and "triggered" not in shown:
        # The steps notified before an acknowledgement was withdrawn are not paged again: only the last one
        # is.
        was_told_now = any(
            one.notification.action.target.address == name
            and one.notification.action.instance == str(incident.run.number)
            for one in scenario.pager.pages(incident.id)
        )
        # A window that dropped the resolve of the former page and the new page leaves an acknowledged one.
        if dropped >= {"resolve", "trigger"}:
            return
        # Nor if PagerDuty itself resolved the earlier page.
        if was_told_now or not (shown or dedup in scenario.auto_resolved):
            yield f"is open, and {name} has it {shown or 'not open'} in PagerDuty"


def _find_overlaps(pages: list[PagedIncident]) -> Iterator[str]:
    for former, later in pairwise(pages):
        if former.state != "resolved":
            yield f"{former.id} and {later.id} of one key are open at once"


# --- remaining data ---


def _check_rest(scenario: Scenario) -> Iterator[str]:
    """Nothing is due, nothing is leased, and no key without an expiry belongs to a closed object."""
    now = scenario.scheduler.moment
    for keys, queue in product(map(Keys, range(scenario.shards)), QUEUES):
        due = scenario.observer.zrangebyscore(keys.queue(queue), "-inf", now)
        if due:
            yield f"{queue}: due and not done: {due}"
        leased = scenario.observer.zrange(keys.leases(queue), 0, -1)
        lease_owners = scenario.observer.hkeys(keys.lease_owners(queue))
        if leased or lease_owners:
            yield f"{queue}: still leased: {leased or lease_owners}"
    leaked = find_keys_without_expiry(scenario.observer)
    if leaked:
        yield f"keys that would stay for ever: {leaked}"
