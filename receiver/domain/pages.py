"""What each responder's pager still needs to be told; events of one key go in order."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.domain.action import AcknowledgePage, Action, Page, ResolvePage
from receiver.domain.delivery import Delivery
from receiver.domain.escalation import (
    Progress,
    StepStanding,
    current,
    is_owed_anew,
    page_key,
    ready_at,
)
from receiver.domain.fallback import find_responder
from receiver.domain.incident import Incident, dedup_key
from receiver.domain.page_line import PageLine, page_line
from receiver.domain.policy import PAGERDUTY, EscalationPolicy, Responder, Target
from receiver.domain.stand_ins import find_stand_in

# A page waits this long for the incident's message, so that it can link to it: nobody is
# later at the pager for half a second, and a silent Slack costs no more than that.
LINK_GRACE_S = 0.5


def list_pages(incident: Incident, policy: EscalationPolicy, progress: Progress) -> Iterator[Action]:
    """Yield what each responder's pager is to be told next; events of one key go in order."""
    seen: set[str] = set()
    reached = [] if progress.paused_until else [s for s in progress.reached if not s.is_standing]
    stand_in = None if progress.paused_until else find_stand_in(incident, policy, progress)
    fallback = find_responder(policy)
    for responder in (*(step.responder for step in policy.steps), *policy.others, fallback):
        if responder is None:
            continue
        target = responder.find_target(PAGERDUTY)
        if target is None or responder.name in seen:
            continue
        seen.add(responder.name)
        wanted = [standing for standing in reached if standing.step.responder.name == responder.name]
        if stand_in is not None and stand_in.step.responder.name == responder.name:
            wanted.append(stand_in)
        action = _next_event(incident, responder, target, wanted)
        if action is not None:
            yield action


def _next_event(
    incident: Incident, responder: Responder, target: Target, reached: list[StepStanding]
) -> Action | None:
    line = page_line(incident, responder)
    key = dedup_key(incident, responder.name)
    if line.is_closing:
        return _resolve_page(
            incident, incident.deliveries[f"resolve:{responder.name}"].about, responder, target
        )
    if incident.is_resolved:
        return _resolve_page(incident, str(line.opened), responder, target) if line.is_open else None
    page = _next_page(incident, target, key, reached)
    if page is not None and _must_close_first(incident, line):
        return _resolve_page(incident, str(line.opened), responder, target)
    if page is None and incident.is_acknowledged and line.is_open:
        name, about = f"acknowledge:{responder.name}", str(line.opened)
        return AcknowledgePage(name, about, PAGERDUTY, target, ready_at(incident, name, about), "", key)
    return page


def _must_close_first(incident: Incident, line: PageLine) -> bool:
    """Tell whether an acknowledged page must be closed, since PagerDuty would join the new one
    to it and wake nobody: it has no way back from acknowledged.
    """
    return line.is_open and line.opened < incident.run.number and line.acknowledged == line.opened


def _resolve_page(incident: Incident, about: str, responder: Responder, target: Target) -> ResolvePage:
    name = f"resolve:{responder.name}"
    key = dedup_key(incident, responder.name)
    return ResolvePage(name, about, PAGERDUTY, target, ready_at(incident, name, about), "", key)


def _next_page(incident: Incident, target: Target, key: str, reached: list[StepStanding]) -> Page | None:
    about = str(incident.run.number)
    for standing in reached:
        name = page_key(standing.step)
        if current(incident, name).is_settled:
            continue
        if incident.is_waiting or (incident.is_acknowledged and not is_owed_anew(incident)):
            return None
        moment = max(ready_at(incident, name, about), _link_grace(incident))
        return Page(name, about, PAGERDUTY, target, moment, "", key, standing.step)
    return None


def _link_grace(incident: Incident) -> float:
    root = incident.deliveries.get("root", Delivery())
    if root.is_settled or root.reason:
        return 0.0
    return incident.opened_at + LINK_GRACE_S
