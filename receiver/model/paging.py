"""PagerDuty events and page confirmations that an incident wants; events of one key go in order."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.model.actions import AcknowledgePage, Action, ConfirmPage, Page, ResolvePage
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import (
    MESSAGE,
    DeliveryKey,
    acknowledge_key,
    hint_key,
    page_key,
    resolve_key,
)
from receiver.model.delivery_status import (
    PageState,
    acknowledgement_instance,
    build_gone_responder,
    find_fallback_responder,
    find_latest_page,
    list_former_keys,
    list_notified_names,
    list_paged_names,
    page_state,
)
from receiver.model.escalation import EscalationState, StepState, current_delivery, ready_at
from receiver.model.fallbacks import find_fallback_step
from receiver.model.incident import Incident, dedup_key
from receiver.model.page_confirmation import (
    CHECK_EVERY_S,
    find_check_due_at,
    find_resolve_check_due_at,
    format_repeat,
    postponed_until,
)
from receiver.model.routing import PAGERDUTY, EscalationPolicy, Responder, Target

# A page waits at most this long for the incident's message, so that it can link to it. Half a second does
# not matter to a responder, and a Slack outage delays a page no longer than that.
LINK_GRACE_S = 0.5


def list_pages(incident: Incident, policy: EscalationPolicy, escalation: EscalationState) -> Iterator[Action]:
    """Yield the next event for each responder's page at PagerDuty."""
    due_steps = [] if escalation.paused_until else [s for s in escalation.due_steps if not s.is_carried_over]
    fallback_step = None if escalation.paused_until else find_fallback_step(incident, policy, escalation)
    notified = list_notified_names(incident)
    for responder, target in _list_paged(incident, policy):
        wanted = [step_state for step_state in due_steps if step_state.step.responder.name == responder.name]
        if fallback_step is not None and fallback_step.step.responder.name == responder.name:
            wanted.append(fallback_step)
        if wanted or responder.name in notified:
            yield from _next_events(incident, responder, target, wanted)
        if responder.name in notified:
            yield from _end_former_keys(incident, responder)


def list_checks(incident: Incident, policy: EscalationPolicy) -> Iterator[Action]:
    """Yield the check of each page, with its time: whether PagerDuty has an incident for it, or closed it.

    No page is checked while our incident is acknowledged and open, and no resolve of a former incident of
    the group: PagerDuty has both incidents under the same key.
    """
    notified = list_notified_names(incident)
    if not notified or (incident.is_acknowledged and not incident.is_resolved):
        return
    for responder, _ in _list_paged(incident, policy):
        if responder.name not in notified:
            continue
        wanted = (
            _check_resolve(incident, responder) if incident.is_resolved else _check_page(incident, responder)
        )
        if wanted is None:
            continue
        event_key, due_at, hint = wanted
        is_repeated = (
            not hint
            and not policy.checks_pagerduty
            and _is_repeated(incident, incident.deliveries[event_key])
        )
        if policy.checks_pagerduty or hint or is_repeated:
            event = incident.deliveries[event_key]
            moment = due_at if policy.checks_pagerduty and not hint else postponed_until(event)
            yield ConfirmPage(
                responder=responder,
                event_key=event_key,
                ready_at=moment,
                hint=hint,
                is_repeated=is_repeated,
            )


def _check_page(incident: Incident, responder: Responder) -> tuple[DeliveryKey, float, str] | None:
    """Return the delivery key of the page to check, when, and the webhook that reported its resolve since."""
    state, run = page_state(incident, responder), incident.run
    if not state.is_open or state.is_closing or not (state.opened == run.number or run.cause == "reopened"):
        return None
    event_key = find_latest_page(incident, responder)
    page = incident.deliveries[event_key] if event_key is not None else Delivery()
    due_at = find_check_due_at(page)
    if event_key is None or due_at is None:
        return None
    hint = incident.deliveries.get(hint_key(responder), Delivery())
    reference = hint.receipt.reference if hint.receipt is not None and hint.instance == page.instance else ""
    is_weighed = page.check is not None and page.check.hint == reference
    return event_key, due_at, "" if is_weighed else reference


def _check_resolve(incident: Incident, responder: Responder) -> tuple[DeliveryKey, float, str] | None:
    event_key = resolve_key(responder.name)
    resolve, state = incident.deliveries.get(event_key, Delivery("0")), page_state(incident, responder)
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


def _list_paged(incident: Incident, policy: EscalationPolicy) -> Iterator[tuple[Responder, Target]]:
    """Yield every responder that may have been paged, once, with the PagerDuty target; also those that left
    the configuration, because their pages must be resolved.
    """
    known: dict[str, Responder] = {}
    for responder in (
        *(step.responder for step in policy.steps),
        *policy.others,
        find_fallback_responder(policy),
    ):
        if responder is not None:
            known.setdefault(responder.name, responder)
    for responder in known.values():
        if (target := responder.find_target(PAGERDUTY)) is not None:
            yield responder, target
    for name in list_paged_names(incident):
        if name not in known:
            gone = build_gone_responder(name)
            yield gone, gone.targets[0]


def _next_events(
    incident: Incident, responder: Responder, target: Target, due_steps: list[StepState]
) -> Iterator[Action]:
    """Yield the next event for a responder's page; a resolve under a former key may go beside it."""
    state = page_state(incident, responder)
    if state.is_closing:
        closing = incident.deliveries[resolve_key(responder.name)]
        yield _end_page(incident, ResolvePage, closing.instance, responder, key_digest=closing.key_digest)
        if _is_under_key(closing.key_digest, target):
            return
    instance = str(state.opened)
    if incident.is_resolved:
        if state.is_open and not state.is_closing:
            yield _end_page(incident, ResolvePage, instance, responder, key_digest=state.key_digest)
        return
    page = _next_page(incident, responder, target, due_steps, state)
    if page is not None and _must_close_first(incident, state) and _is_under_key(state.key_digest, target):
        yield _end_page(incident, ResolvePage, instance, responder, key_digest=state.key_digest)
    elif page is not None:
        yield page
    elif incident.is_acknowledged and state.is_open:
        given = acknowledgement_instance(state.opened, incident.acknowledged_at)
        yield _end_page(incident, AcknowledgePage, given, responder, key_digest=state.key_digest)


def _is_under_key(digest: str, target: Target) -> bool:
    """Tell whether an event sent to *target* joins those sent under the key of *digest* (empty: none)."""
    return digest in ("", target.secret.digest)


def _end_former_keys(incident: Incident, responder: Responder) -> Iterator[Action]:
    """Yield the acknowledgements and resolves of pages that were sent under the responder's former keys.

    A page of a former run is resolved at once, because a later page under the new key took its place.
    """
    for key, opened in list_former_keys(incident, responder).items():
        is_over = incident.is_resolved or opened < incident.run.number
        if is_over or resolve_key(responder.name, key) in incident.deliveries:
            yield _end_page(incident, ResolvePage, str(opened), responder, key_digest=key, is_former=True)
        elif incident.is_acknowledged:
            instance = acknowledgement_instance(opened, incident.acknowledged_at)
            yield _end_page(incident, AcknowledgePage, instance, responder, key_digest=key, is_former=True)


def _must_close_first(incident: Incident, state: PageState) -> bool:
    """Tell whether an acknowledged page must be resolved before the new one: PagerDuty would join the new
    event to it and notify no one, because an event cannot un-acknowledge an incident.
    """
    return state.is_open and state.opened < incident.run.number and state.acknowledged == state.opened


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
        ready_at=ready_at(incident, event, instance),
        dedup_key=dedup_key(incident, responder.name),
        key_digest=key_digest,
    )


def _next_page(
    incident: Incident, responder: Responder, target: Target, due_steps: list[StepState], state: PageState
) -> Page | None:
    """Return the missing page, of several the one that is ready first; None where none is to be sent."""
    if incident.is_paused or incident.is_acknowledged or not due_steps:
        return None
    instance, grace, key = str(incident.run.number), _link_grace(incident), target.secret.digest
    former_key = state.key_digest if state.is_open and state.key_digest != key else ""
    missing = [
        Page(
            key=name,
            instance=instance,
            target=target,
            ready_at=max(ready_at(incident, name, instance), grace),
            dedup_key=dedup_key(incident, responder.name),
            step=one.step,
            key_digest=key,
            former_key_digest=former_key,
        )
        for one in due_steps
        if not current_delivery(incident, name := page_key(one.step)).is_settled
    ]
    return min(missing, key=lambda page: page.ready_at, default=None)


def _link_grace(incident: Incident) -> float:
    root = incident.deliveries.get(MESSAGE, Delivery())
    if root.is_settled or root.reason:
        return 0.0
    return incident.opened_at + LINK_GRACE_S
