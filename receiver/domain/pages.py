"""What each responder's pager still needs to be told; events of one key go in order."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.domain.action import AcknowledgePage, Action, CheckPage, Page, ResolvePage
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
from receiver.domain.page_check import CHECK_EVERY_S, check_due_at, resolve_check_due_at
from receiver.domain.page_line import PageLine, find_latest_page, hint_key, page_line
from receiver.domain.policy import PAGERDUTY, EscalationPolicy, Responder, Target
from receiver.domain.stand_ins import find_stand_in

# A page waits this long for the incident's message, so that it can link to it: nobody is
# later at the pager for half a second, and a silent Slack costs no more than that.
LINK_GRACE_S = 0.5


def list_pages(incident: Incident, policy: EscalationPolicy, progress: Progress) -> Iterator[Action]:
    """Yield what each responder's pager is to be told next; events of one key go in order."""
    reached = [] if progress.paused_until else [s for s in progress.reached if not s.is_standing]
    stand_in = None if progress.paused_until else find_stand_in(incident, policy, progress)
    for responder, target in _list_paged(policy):
        wanted = [standing for standing in reached if standing.step.responder.name == responder.name]
        if stand_in is not None and stand_in.step.responder.name == responder.name:
            wanted.append(stand_in)
        action = _next_event(incident, responder, target, wanted)
        if action is not None:
            yield action


def list_checks(incident: Incident, policy: EscalationPolicy) -> Iterator[Action]:
    """Yield what PagerDuty is to be asked of each page, with the moment: whether it has it, or closed it.

    Nothing is asked of a page that somebody has, and nothing of a former incident of the group: PagerDuty
    knows both by the same key.
    """
    for responder, target in _list_paged(policy):
        if not target.secret:  # without its key a page is simulated
            continue
        wanted = (
            _check_resolve(incident, responder) if incident.is_resolved else _check_page(incident, responder)
        )
        if wanted is None or incident.is_acknowledged:
            continue
        of, due_at, hint = wanted
        is_repeated = not hint and not policy.has_pager and _is_repeated(incident, incident.deliveries[of])
        if policy.has_pager or hint or is_repeated:
            moment = due_at if policy.has_pager and not hint else 0.0
            yield CheckPage(
                f"check:{responder.name}", "", PAGERDUTY, target, moment, "", responder, of, hint, is_repeated
            )


def _check_page(incident: Incident, responder: Responder) -> tuple[str, float, str] | None:
    """Return the page to ask about, when, and the webhook that told of its end since it was last asked about."""
    line, run = page_line(incident, responder), incident.run
    if not line.is_open or line.is_closing or not (line.opened == run.number or run.cause == "reopened"):
        return None
    of = find_latest_page(incident, responder)
    page = incident.deliveries.get(of, Delivery())
    due_at = check_due_at(page)
    if due_at is None:
        return None
    told = incident.deliveries.get(hint_key(responder), Delivery())
    reference = told.receipt.reference if told.receipt is not None and told.about == page.about else ""
    is_weighed = page.check is not None and page.check.hint == reference
    return of, due_at, "" if is_weighed else reference


def _check_resolve(incident: Incident, responder: Responder) -> tuple[str, float, str] | None:
    of = f"resolve:{responder.name}"
    resolve, line = incident.deliveries.get(of, Delivery("0")), page_line(incident, responder)
    due_at = resolve_check_due_at(resolve)
    if due_at is None or incident.is_past or int(resolve.about) != line.opened:
        return None
    return of, due_at, ""


def _is_repeated(incident: Incident, page: Delivery) -> bool:
    """Tell whether the alerts were repeated a quarter of an hour after the page's last trigger."""
    return page.receipt is not None and incident.heard_at >= page.receipt.at + CHECK_EVERY_S


def _list_paged(policy: EscalationPolicy) -> Iterator[tuple[Responder, Target]]:
    """Yield every responder that may have been paged, once, with the target."""
    known: dict[str, Responder] = {}
    for responder in (*(step.responder for step in policy.steps), *policy.others, find_responder(policy)):
        if responder is not None:
            known.setdefault(responder.name, responder)
    for responder in known.values():
        if (target := responder.find_target(PAGERDUTY)) is not None:
            yield responder, target


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
    """Return the page that is missing; of several, the one whose wait ends first, as one may wait for long."""
    if incident.is_waiting or (incident.is_acknowledged and not is_owed_anew(incident)):
        return None
    about, grace = str(incident.run.number), _link_grace(incident)
    missing = [
        Page(name, about, PAGERDUTY, target, max(ready_at(incident, name, about), grace), "", key, one.step)
        for one in reached
        if not current(incident, name := page_key(one.step)).is_settled
    ]
    return min(missing, key=lambda page: page.ready_at, default=None)


def _link_grace(incident: Incident) -> float:
    root = incident.deliveries.get("root", Delivery())
    if root.is_settled or root.reason:
        return 0.0
    return incident.opened_at + LINK_GRACE_S
