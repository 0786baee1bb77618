"""PagerDuty events and page confirmations that an incident wants; events of one key go in order."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec import Struct

from receiver.model import delivery_keys as keys
from receiver.model import delivery_status
from receiver.model import page_confirmation as confirmation
from receiver.model.actions import AcknowledgePage, Action, ConfirmPage, Page, ResolvePage
from receiver.model.delivery import Delivery
from receiver.model.escalation import IncidentView
from receiver.model.fallbacks import find_fallback_step
from receiver.model.incident import Incident, dedup_key
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
    notified = frozenset().union(*map(keys.list_event_names, incident.deliveries))
    events: list[Action] = []
    checks: list[Action] = []
    names = notified.union([step.responder.name for step in due_steps])
    for responder, target in _list_paged(incident, policy, names):
        wanted = [step for step in due_steps if step.responder.name == responder.name]
        state = delivery_status.page_state(incident, responder)
        pages = _ResponderPages(incident, responder, target, wanted, state)
        events += pages.list_events()
        if responder.name in notified:
            events += pages.list_former_ends()
            if is_checked and (check := pages.find_check(policy)) is not None:
                checks.append(check)
    return events + checks


def _list_due_steps(view: IncidentView) -> list[Step]:
    """Return the steps for which this run pages, the one of the fallback responder last."""
    if view.escalation.paused_until:
        return []
    due_steps = [step_state.step for step_state in view.escalation.run_steps]
    fallback = find_fallback_step(view)
    return due_steps if fallback is None else [*due_steps, fallback.step]


def _list_paged(
    incident: Incident, policy: EscalationPolicy, names: Collection[str]
) -> Iterator[tuple[Responder, Target]]:
    """Yield the responders called *names*, each with the PagerDuty target; also those that left the
    configuration, because their pages must be resolved.
    """
    for name, responder in policy.responders.items():
        if name in names and (target := responder.find_target(PAGERDUTY)) is not None:
            yield responder, target
    for name in delivery_status.list_paged_names(incident):
        if name not in policy.responders:
            gone = delivery_status.build_gone_responder(name)
            yield gone, gone.targets[0]


class _ResponderPages(Struct, frozen=True):
    """The pages to one responder. *due_steps* are those for which this run pages the responder."""

    incident: Incident
    responder: Responder
    target: Target
    due_steps: list[Step]
    state: delivery_status.PageState

    def list_events(self) -> Iterator[Action]:
        """Yield the next event for the page; a resolve under a former key may go beside it."""
        incident, state = self.incident, self.state
        instance, digest = str(state.opened), state.key_digest
        if state.is_closing:
            closing = incident.deliveries[keys.resolve_key(self.responder.name)]
            yield self._end_page(ResolvePage, closing.instance, closing.key_digest)
            if self._is_under_key(closing.key_digest):
                return
        if incident.is_resolved:
            if state.is_active:
                yield self._end_page(ResolvePage, instance, digest)
            return
        page = self._find_next_page()
        # PagerDuty would join the new event to an acknowledged page and notify no one, because an event
        # cannot un-acknowledge an incident.
        must_close_first = state.is_open and state.acknowledged == state.opened < incident.run.number
        if page is not None and must_close_first and self._is_under_key(digest):
            yield self._end_page(ResolvePage, instance, digest)
        elif page is not None:
            yield page
        elif incident.is_acknowledged and state.is_open:
            given = delivery_status.acknowledgement_instance(state.opened, incident.acknowledged_at)
            yield self._end_page(AcknowledgePage, given, digest)

    def list_former_ends(self) -> Iterator[Action]:
        """Yield the acknowledgements and resolves of pages that were sent under the responder's former keys.

        A page of a former run is resolved at once, because a later page under the new key took its place.
        """
        incident, name = self.incident, self.responder.name
        for key, opened in delivery_status.list_former_keys(incident, self.responder, self.state).items():
            is_over = incident.is_resolved or opened < incident.run.number
            if is_over or keys.resolve_key(name, key) in incident.deliveries:
                yield self._end_page(ResolvePage, str(opened), key, is_former=True)
            elif incident.is_acknowledged:
                instance = delivery_status.acknowledgement_instance(opened, incident.acknowledged_at)
                yield self._end_page(AcknowledgePage, instance, key, is_former=True)

    def find_check(self, policy: EscalationPolicy) -> ConfirmPage | None:
        """Return the check, with its time: whether PagerDuty has an incident for the page, or closed it."""
        found = self._find_resolve_to_check() if self.incident.is_resolved else self._find_page_to_check()
        if found is None:
            return None
        event_key, due_at, hint = found
        event = self.incident.deliveries[event_key]
        is_repeated = not hint and not policy.checks_pagerduty and self._is_repeated(event)
        if not (policy.checks_pagerduty or hint or is_repeated):
            return None
        return ConfirmPage(
            responder=self.responder,
            event_key=event_key,
            ready_at=due_at if policy.checks_pagerduty and not hint else confirmation.postponed_until(event),
            hint=hint,
            is_repeated=is_repeated,
        )

    def _find_page_to_check(self) -> tuple[keys.DeliveryKey, float, str] | None:
        """Return the key of the page to check, when, and the webhook that reported its resolve since."""
        incident, state, run = self.incident, self.state, self.incident.run
        if not state.is_active or not (state.opened == run.number or run.cause == "reopened"):
            return None
        event_key = delivery_status.find_latest_page(incident, self.responder, state)
        if event_key is None:
            return None
        page = incident.deliveries[event_key]
        due_at = confirmation.find_check_due_at(page)
        if due_at is None:
            return None
        hint = incident.find_delivery(keys.hint_key(self.responder.name), page.instance)
        reference = hint.receipt.reference if hint.receipt is not None else ""
        is_weighed = page.check is not None and page.check.hint == reference
        return event_key, due_at, "" if is_weighed else reference

    def _find_resolve_to_check(self) -> tuple[keys.DeliveryKey, float, str] | None:
        event_key = keys.resolve_key(self.responder.name)
        resolve = self.incident.find_delivery(event_key)
        due_at = confirmation.find_resolve_check_due_at(resolve)
        if due_at is None or self.incident.is_past or int(resolve.instance) != self.state.opened:
            return None
        return event_key, due_at, ""

    def _is_repeated(self, page: Delivery) -> bool:
        """Return whether the alerts were repeated at least `CHECK_EVERY_S` after the page's last trigger."""
        received_at = self.incident.last_received_at
        is_done = page.check is not None and page.check.hint == confirmation.format_repeat(received_at)
        is_later = page.receipt is not None and received_at >= page.receipt.at + confirmation.CHECK_EVERY_S
        return is_later and not is_done

    def _is_under_key(self, digest: str) -> bool:
        """Return whether an event sent now joins those sent under the key of *digest* (empty: none)."""
        return digest in ("", self.target.secret.digest)

    def _end_page(
        self,
        kind: type[AcknowledgePage | ResolvePage],
        instance: str,
        key_digest: str,
        *,
        is_former: bool = False,
    ) -> AcknowledgePage | ResolvePage:
        """Return the event that acknowledges or resolves a page, under the key the page was sent with."""
        name = self.responder.name
        build_key = keys.resolve_key if kind is ResolvePage else keys.acknowledge_key
        return kind(
            key=build_key(name, key_digest if is_former else ""),
            instance=instance,
            target=Target(PAGERDUTY, name),
            dedup_key=dedup_key(self.incident, name),
            key_digest=key_digest,
        )

    def _find_next_page(self) -> Page | None:
        """Return the missing page, of several the one that is ready first; None where none is to be sent."""
        incident, state = self.incident, self.state
        if incident.is_paused or incident.is_acknowledged:
            return None
        keyed = [(keys.page_key(step.name), step) for step in self.due_steps]
        missing = [(key, step) for key, step in keyed if not incident.find_run_delivery(key).is_settled]
        if not missing:
            return None
        digest, message = self.target.secret.digest, incident.find_delivery(keys.MESSAGE)
        grace = 0.0 if message.is_settled or message.reason else incident.opened_at + LINK_GRACE_S
        times = [max(incident.find_run_delivery(key).retry_at, grace) for key, _ in missing]
        ready_at = min(times)
        key, step = missing[times.index(ready_at)]
        return Page(
            key=key,
            instance=incident.run_instance,
            target=self.target,
            ready_at=ready_at,
            dedup_key=dedup_key(incident, self.responder.name),
            step=step,
            key_digest=digest,
            former_key_digest=state.key_digest if state.is_open and state.key_digest != digest else "",
        )
