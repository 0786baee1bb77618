"""PagerDuty events and page confirmations that an incident wants; events of one key go in order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from receiver.model.actions import AcknowledgePage, Action, ConfirmPage, Page, ResolvePage
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import (
    MESSAGE,
    DeliveryKey,
    acknowledge_key,
    hint_key,
    list_event_names,
    page_key,
    resolve_key,
)
from receiver.model.delivery_status import (
    PageState,
    acknowledgement_instance,
    build_gone_responder,
    find_latest_page,
    list_former_keys,
    list_paged_names,
    page_state,
)
from receiver.model.escalation import IncidentView
from receiver.model.fallbacks import find_fallback_step
from receiver.model.incident import Incident, dedup_key
from receiver.model.page_confirmation import (
    CHECK_EVERY_S,
    find_check_due_at,
    find_resolve_check_due_at,
    format_repeat,
    postponed_until,
)
from receiver.model.routing import PAGERDUTY, EscalationPolicy, Responder, Step, Target

# A page waits at most this long for the incident's message, so that it can link to it. Half a second does
# not matter to a responder, and a Slack outage delays a page no longer than that.
LINK_GRACE_S = 0.5


def list_pages(view: IncidentView) -> list[Action]:
    """Return the next event for each responder's page at PagerDuty, and then the checks of these pages.

    No page is checked while our incident is acknowledged and open, and no resolve of a former incident of
    the group: PagerDuty has both incidents under the same key.
    """
    incident, policy = view.incident, view.policy
    is_checked = incident.is_resolved or not incident.is_acknowledged
    due_steps = _list_due_steps(view)
    # PagerDuty has nothing of any other responder, so those need no event and no check.
    notified = frozenset().union(*map(list_event_names, incident.deliveries))
    events: list[Action] = []
    checks: list[Action] = []
    names = notified.union([step.responder.name for step in due_steps])
    for responder, target in _list_paged(incident, policy, names):
        wanted = [step for step in due_steps if step.responder.name == responder.name]
        state = page_state(incident, responder)
        events += _next_events(incident, responder, target, wanted, state)
        if responder.name in notified:
            events += _end_former_keys(incident, responder, state)
            if is_checked and (check := _find_check(incident, policy, responder, state)) is not None:
                checks.append(check)
    return events + checks


def _list_due_steps(view: IncidentView) -> list[Step]:
    """Return the steps for which this run pages, the one of the fallback responder last."""
    if view.escalation.paused_until:
        return []
    due_steps = [step_state.step for step_state in view.escalation.run_steps]
    fallback = find_fallback_step(view)
    return due_steps if fallback is None else [*due_steps, fallback.step]


def _find_check(
    incident: Incident, policy: EscalationPolicy, responder: Responder, state: PageState
) -> ConfirmPage | None:
    """Return the check of a page, with its time: whether PagerDuty has an incident for it, or closed it."""
    find = _find_resolve_to_check if incident.is_resolved else _find_page_to_check
    found = find(incident, responder, state)
    if found is None:
        return None
    event_key, due_at, hint = found
    event = incident.deliveries[event_key]
    is_repeated = not hint and not policy.checks_pagerduty and _is_repeated(incident, event)
    if not (policy.checks_pagerduty or hint or is_repeated):
        return None
    return ConfirmPage(
        responder=responder,
        event_key=event_key,
        ready_at=due_at if policy.checks_pagerduty and not hint else postponed_until(event),
        hint=hint,
        is_repeated=is_repeated,
    )


def _find_page_to_check(
    incident: Incident, responder: Responder, state: PageState
) -> tuple[DeliveryKey, float, str] | None:
    """Return the delivery key of the page to check, when, and the webhook that reported its resolve since."""
    run = incident.run
    if not state.is_active or not (state.opened == run.number or run.cause == "reopened"):
        return None
    event_key = find_latest_page(incident, responder, state)
    if event_key is None:
        return None
    page = incident.deliveries[event_key]
    due_at = find_check_due_at(page)
    if due_at is None:
        return None
    hint = incident.find_delivery(hint_key(responder.name), page.instance)
    reference = hint.receipt.reference if hint.receipt is not None else ""
    is_weighed = page.check is not None and page.check.hint == reference
    return event_key, due_at, "" if is_weighed else reference


def _find_resolve_to_check(
    incident: Incident, responder: Responder, state: PageState
) -> tuple[DeliveryKey, float, str] | None:
    event_key = resolve_key(responder.name)
    resolve = incident.find_delivery(event_key)
    due_at = find_resolve_check_due_at(resolve)
    if due_at is None or incident.is_past or int(resolve.instance) != state.opened:
        return None
    return event_key, due_at, ""


def _is_repeated(incident: Incident, page: Delivery) -> bool:
    """Tell whether the alerts were repeated at least `CHECK_EVERY_S` after the page's last trigger."""
    is_done = page.check is not None and page.check.hint == format_repeat(incident.last_received_at)
    return (
        not is_done
        and page.receipt is not None
        and incident.last_received_at >= page.receipt.at + CHECK_EVERY_S
    )


def _list_paged(
    incident: Incident, policy: EscalationPolicy, names: Collection[str]
) -> Iterator[tuple[Responder, Target]]:
    """Yield the responders called *names*, each with the PagerDuty target; also those that left the
    configuration, because their pages must be resolved.
    """
    for name, responder in policy.responders.items():
        if name in names and (target := responder.find_target(PAGERDUTY)) is not None:
            yield responder, target
    for name in list_paged_names(incident):
        if name not in policy.responders:
            gone = build_gone_responder(name)
            yield gone, gone.targets[0]


def _next_events(
    incident: Incident, responder: Responder, target: Target, due_steps: Sequence[Step], state: PageState
) -> Iterator[Action]:
    """Yield the next event for a responder's page; a resolve under a former key may go beside it."""
    instance, digest = str(state.opened), state.key_digest
    if state.is_closing:
        closing = incident.deliveries[resolve_key(responder.name)]
        yield _end_page(incident, ResolvePage, closing.instance, responder, key_digest=closing.key_digest)
        if _is_under_key(closing.key_digest, target):
            return
    if incident.is_resolved:
        if state.is_active:
            yield _end_page(incident, ResolvePage, instance, responder, key_digest=digest)
        return
    page = _next_page(incident, responder, target, due_steps, state)
    # PagerDuty would join the new event to an acknowledged page and notify no one, because an event cannot
    # un-acknowledge an incident.
    must_close_first = state.is_open and state.acknowledged == state.opened < incident.run.number
    if page is not None and must_close_first and _is_under_key(digest, target):
        yield _end_page(incident, ResolvePage, instance, responder, key_digest=digest)
    elif page is not None:
        yield page
    elif incident.is_acknowledged and state.is_open:
        given = acknowledgement_instance(state.opened, incident.acknowledged_at)
        yield _end_page(incident, AcknowledgePage, given, responder, key_digest=digest)


def _is_under_key(digest: str, target: Target) -> bool:
    """Tell whether an event sent to *target* joins those sent under the key of *digest* (empty: none)."""
    return digest in ("", target.secret.digest)


def _end_former_keys(incident: Incident, responder: Responder, state: PageState) -> Iterator[Action]:
    """Yield the acknowledgements and resolves of pages that were sent under the responder's former keys.

    A page of a former run is resolved at once, because a later page under the new key took its place.
    """
    for key, opened in list_former_keys(incident, responder, state).items():
        is_over = incident.is_resolved or opened < incident.run.number
        if is_over or resolve_key(responder.name, key) in incident.deliveries:
            yield _end_page(incident, ResolvePage, str(opened), responder, key_digest=key, is_former=True)
        elif incident.is_acknowledged:
            instance = acknowledgement_instance(opened, incident.acknowledged_at)
            yield _end_page(incident, AcknowledgePage, instance, responder, key_digest=key, is_former=True)


def _end_page(
    incident: Incident,
    kind: type[AcknowledgePage | ResolvePage],
    instance: str,
    responder: Responder,
    *,
    key_digest: str,
    is_former: bool = False,
) -> AcknowledgePage | ResolvePage:
    """Return the event that acknowledges or resolves a page, under the key that the page was sent with."""
    build_key = resolve_key if kind is ResolvePage else acknowledge_key
    event = build_key(responder.name, key_digest if is_former else "")
    return kind(
        key=event,
        instance=instance,
        target=Target(PAGERDUTY, responder.name),
        ready_at=incident.ready_at(event, instance),
        dedup_key=dedup_key(incident, responder.name),
        key_digest=key_digest,
    )


def _next_page(
    incident: Incident, responder: Responder, target: Target, due_steps: Sequence[Step], state: PageState
) -> Page | None:
    """Return the missing page, of several the one that is ready first; None where none is to be sent."""
    if incident.is_paused or incident.is_acknowledged:
        return None
    keyed = [(page_key(step.name), step) for step in due_steps]
    missing = [(key, step) for key, step in keyed if not incident.find_run_delivery(key).is_settled]
    if not missing:
        return None
    instance, digest, message = incident.run_instance, target.secret.digest, incident.find_delivery(MESSAGE)
    grace = 0.0 if message.is_settled or message.reason else incident.opened_at + LINK_GRACE_S
    ready_at, n = min((max(incident.ready_at(key, instance), grace), n) for n, (key, _) in enumerate(missing))
    key, step = missing[n]
    return Page(
        key=key,
        instance=instance,
        target=target,
        ready_at=ready_at,
        dedup_key=dedup_key(incident, responder.name),
        step=step,
        key_digest=digest,
        former_key_digest=state.key_digest if state.is_open and state.key_digest != digest else "",
    )
