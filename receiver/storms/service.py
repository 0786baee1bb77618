"""The service of storms: start a storm, bundle incidents into it, and record responses to it.

Bundling is a delivery: the attempt is saved, the incident becomes a member of the storm, and the receipt of
the storm's message or page becomes the incident's receipt. So bundling has the guarantees of every other
delivery, also after a crash.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from receiver import errors, metrics
from receiver.engine.dispatcher import describe_failure, format_target
from receiver.engine.queue import WorkQueue
from receiver.engine.rate_limit import Permit
from receiver.incidents.ingest import MAX_PASSES
from receiver.incidents.store import RedisIncidents
from receiver.model.actions import DeliveryAction, FallbackMention, Page, Post, Reply
from receiver.model.delivery import BUNDLING, Delivery, Receipt
from receiver.model.delivery_keys import FALLBACK, MESSAGE, acknowledge_key, page_key, resolve_key
from receiver.model.delivery_status import find_announcing_storm
from receiver.model.escalation import IncidentView
from receiver.model.incident import Incident, Person, TimelineEvent
from receiver.model.plan import queues_for
from receiver.model.routing import PAGERDUTY, EscalationPolicy
from receiver.storage.client import Command
from receiver.storage.connection import raise_if_error, store_errors
from receiver.storms.model import (
    CHANNEL,
    MAX_MEMBERS,
    RESPONDER,
    BatchPage,
    JoinView,
    Member,
    Storm,
    StormResponse,
    VersionedStorm,
    hint_key,
    member_name,
    new_storm_id,
    page_delayed_step,
)
from receiver.storms.store import RedisStorms

logger = logging.getLogger(__name__)
# A storm starts when an initial message or page enqueued now would wait longer than this for a permit.
MAX_INITIAL_WAIT_S = 30.0
_CHECK_AGAIN_S = 1.0


@dataclass(frozen=True)
class StormService:
    """Starts storms, bundles incidents into them, and records responses. Threads may share it."""

    store: RedisStorms
    incidents: RedisIncidents
    work_queue: WorkQueue
    clock: Callable[[], float]
    max_initial_wait_s: float = MAX_INITIAL_WAIT_S

    # --- starting ---

    def maybe_start(
        self,
        permit: Permit,
        waiting_list: Callable[[], Iterable[str]],
        action: DeliveryAction,
        incident: Incident,
        now: float,
    ) -> bool:
        """Start a storm if the target's rate limit delays an initial message or page by more than 30 s.

        The incidents of *waiting_list* (each as `INCIDENT KEY`), which wait there for an initial message or
        page, are enqueued for *now* so that they are bundled. True when the target has an active storm that
        can bundle *action*.
        """
        target_key = _find_target_key(action)
        if not target_key or permit.initial_wait_s <= self.max_initial_wait_s:
            return False
        if not self.store.find_active(target_key):
            self._start_storm(target_key, now)
            for waiter in waiting_list():
                self.work_queue.enqueue(action.queue, waiter.partition(" ")[0], now)
        return not _may_have_arrived_alone(action, incident)

    def _start_storm(
        self, target_key: str, now: float, replacing: str = "", *, is_of_steps: bool = False
    ) -> str:
        storm = Storm(new_storm_id(target_key, now), target_key, now, is_of_steps)
        storm_id = self.store.start_storm(storm, replacing, now)
        if storm_id == storm.id:
            metrics.STORMS.labels("channel" if storm.is_of_channel else "responder").inc()
            logger.warning("storm started", extra={"fields": {"storm": storm_id, "target_key": target_key}})
        return storm_id

    # --- bundling ---

    @property
    def read_active(self) -> Command:
        """The command that reads the active storms."""
        return self.store.read_active

    def bundle_action(
        self, action: DeliveryAction, view: IncidentView, active: Any, worker: str
    ) -> Delivery | None:
        """Bundle *action* into a storm, if there is one for it, and return the saved delivery; None where
        *action* must be sent by itself.

        *active* is the answer to `read_active`, perhaps an error. Raises StoreError and LeaseLost.
        """
        if not isinstance(action, Page | Post | Reply):
            return None
        incident, now = view.incident, view.now
        before = incident.deliveries.get(action.key, Delivery())
        name = _name_member(action, incident)
        storm_id, join_view = self._find_storm(action, view, active, name)
        if not storm_id:
            return None
        if before.refused_storm == storm_id and before.instance == action.instance:
            self._retry_refused(storm_id, name)
            join_view = None
        attempt = before.with_attempt(action.instance, action.content_version, storm_id, now)
        self.incidents.record_delivery(incident.id, action.key, attempt, worker=worker, queue=action.queue)
        events: tuple[TimelineEvent, ...] = ()
        try:
            after, storm = self._bundle_delivery(storm_id, name, action, attempt, join_view)
        except errors.DeliveryError as error:
            after = attempt.with_failure(
                error, self.clock(), was_maybe_sent=False, salt=f"{incident.id}/{action.key}"
            )
            if after.failed_at:
                after = replace(after, target=format_target(action), refused_storm=storm_id)
                metrics.DELIVERIES.labels(action.queue, "permanent").inc()
                events = (TimelineEvent(after.failed_at, "failed", describe_failure(action, after)),)
        else:
            metrics.DELIVERIES.labels(action.queue, "bundled").inc()
            if isinstance(action, Page):
                metrics.ESCALATIONS.labels(incident.policy, action.step.responder.name).inc()
            events = (TimelineEvent(self.clock(), "bundled", f"Bundled into a storm of {storm.name}"),)
        others = [queue for queue in queues_for(incident) if queue != action.queue]
        self.incidents.record_delivery(
            incident.id,
            action.key,
            after,
            queue=action.queue,
            events=events,
            wake=others if after.is_settled else (),
            due=self.clock(),
        )
        return after

    def _find_storm(
        self, action: Page | Post | Reply, view: IncidentView, active: Any, name: str
    ) -> tuple[str, JoinView | None]:
        """Return the id of the storm for *action*, empty to send it by itself, and the storm if loaded."""
        incident = view.incident
        if isinstance(action, Reply):
            # Without its own message the incident has only the storm's thread.
            return find_announcing_storm(incident) if not action.message else "", None
        before, target_key = incident.deliveries.get(action.key, Delivery()), _find_target_key(action)
        is_single_mention = isinstance(action, FallbackMention) and not _is_refused(action, incident)
        if _may_have_arrived_alone(action, incident) or not target_key or is_single_mention:
            return "", None
        if before.instance == action.instance and before.storm:
            # The storm may already have the incident as a member for this action, even if it has ended since.
            join_view = self.store.load_for_join(before.storm, name)
            member = join_view.member if join_view is not None else None
            if member is not None and member.instance == _instance_of(action):
                return before.storm, join_view
        with store_errors():
            is_storm = target_key.encode() in raise_if_error(active)
        storm_id, join_view = self.store.load_active_for_join(target_key, name) if is_storm else ("", None)
        is_active = join_view is not None and join_view.storm.is_active
        if join_view is not None and is_active and (join_view.member or join_view.member_count < MAX_MEMBERS):
            return storm_id, join_view
        if is_active or _continues_bundling(action, incident, view.policy):
            return self._start_storm(target_key, view.now, storm_id, is_of_steps=not is_active), None
        return "", None

    def _bundle_delivery(
        self, storm_id: str, name: str, action: DeliveryAction, attempt: Delivery, join_view: JoinView | None
    ) -> tuple[Delivery, Storm]:
        """Join the storm; return the delivery with its receipt once the storm's own delivery has one.

        *join_view* is the storm as just loaded, None where it was not. Raises a DeliveryError.
        """
        for _ in range(MAX_PASSES):
            join_view = join_view or self.store.load_for_join(storm_id, name)
            if join_view is None:
                raise errors.TemporaryDeliveryError(BUNDLING)  # at the retry it is sent by itself
            member = join_view.member
            is_same = member is not None and member.instance == _instance_of(action)
            if member is None or not is_same or _may_join_next_batch(join_view, name, member):
                member = self._join_storm(join_view, name, action)
                if member is None:
                    join_view = None  # the storm changed: load it again
                    continue
            notifying = join_view.storm.find_notifying_delivery(name, member)
            if notifying.failed_at:
                raise errors.PermanentDeliveryError(
                    notifying.reason or BUNDLING,
                    f"refused for all of {storm_id}",
                    kind=errors.RefusalKind(notifying.kind or errors.RefusalKind.CONTENT),
                    secret_digest=notifying.refused_under,
                )
            if notifying.receipt is None:
                raise errors.TemporaryDeliveryError(notifying.reason or BUNDLING, retry_after=_CHECK_AGAIN_S)
            at = max(member.joined_at, notifying.receipt.at)  # when it was delivered, not when we read that
            receipt = replace(notifying.receipt, at=at, reference="", note="")
            return attempt.with_receipt(receipt), join_view.storm
        raise errors.TemporaryDeliveryError(BUNDLING)

    def _retry_refused(self, storm_id: str, name: str) -> None:
        """Retry a delivery that was refused for the member *name* and is wanted again: a page as the page of
        the next batch, a message or mention as the same delivery.
        """

        def change(loaded: VersionedStorm) -> Storm:
            storm, member = loaded.storm, loaded.members.get(name)
            notifying = storm.find_notifying_delivery(name, member) if member is not None else Delivery()
            if member is None or not notifying.failed_at:
                return storm
            if not storm.is_of_channel:
                return replace(storm, closed_batch=max(storm.closed_batch, member.batch))
            (key,) = (key for key, delivery in storm.deliveries.items() if delivery is notifying)
            return storm.with_delivery(key, replace(notifying, failed_at=0.0, retry_at=0.0))

        self.update_storm(storm_id, change, due=self.clock())

    def _join_storm(self, join_view: JoinView, name: str, action: DeliveryAction) -> Member | None:
        """Add the member; None where the storm changed since it was loaded. Raises TemporaryDeliveryError
        where the storm accepts no more members.
        """
        storm = join_view.storm
        # A storm that has ended still has a thread for the replies of escalation steps.
        if not storm.is_active and (storm.resolved_at or not isinstance(action, Reply)):
            raise errors.TemporaryDeliveryError(BUNDLING)
        now = self.clock()
        mention = storm.find_mention_number(name, now)
        member = Member(now, storm.current_batch, _instance_of(action), mention)
        # At once for the first member; later joins share one evaluation of all members a second.
        due = now + _CHECK_AGAIN_S if join_view.member_count else now
        is_settled = storm.find_notifying_delivery(name, member).is_settled
        return member if self.store.add_member(join_view, name, member, None if is_settled else due) else None

    # --- responses ---

    def find_batch_page(self, storm_id: str, incident_id: str) -> BatchPage | None:
        """Return the page of an incident's batch; None where it is not a member. Raises StoreError."""
        join_view = self.store.load_for_join(storm_id, member_name(incident_id))
        if join_view is None or join_view.member is None:
            return None
        return BatchPage(join_view.storm, join_view.member.batch)

    def record_response(
        self,
        storm_id: str,
        transition: str,
        by: Person,
        now: float,
        *,
        batch: int = 0,
        done_in_pagerduty: bool = False,
        is_renewing: bool = False,
    ) -> Storm:
        """Acknowledge or resolve all members of a storm in the batches up to *batch*; 0 means all so far.

        When this returns, the response is saved; a worker then applies it to the members. The second time
        changes nothing, unless *is_renewing* renews an acknowledgement. With *done_in_pagerduty* nothing is
        sent to PagerDuty. Raises NotFound and StoreError.
        """

        def change(loaded: VersionedStorm) -> Storm:
            storm, last_joined = loaded.storm, max((one.batch for one in loaded.members.values()), default=1)
            last = min(batch, last_joined) if batch else last_joined
            response = StormResponse(transition, last, by, now)
            before = next((one for one in storm.responses if one.key == response.key), None)
            is_known = before is not None and not (is_renewing and before.may_renew(now))
            if storm.resolved_at or is_known:
                return storm
            if before is not None:
                response = replace(response, previous_by=before.by.name)
            others = (one for one in storm.responses if one is not before)
            closed_batch = max(storm.closed_batch, last)
            storm = replace(storm, responses=(*others, response), closed_batch=closed_batch)
            if not done_in_pagerduty:
                return storm
            build_key = acknowledge_key if transition == "acknowledge" else resolve_key
            instance = response.instance if transition == "acknowledge" else ""
            attempt = Delivery().with_attempt(instance, None, f"{PAGERDUTY}:{storm.name}", now)
            done = attempt.with_receipt(Receipt(now, note="done in PagerDuty"))
            return storm.with_delivery(build_key(str(last)), done)

        return self.update_storm(storm_id, change, due=now).storm

    def record_hint(self, storm_id: str, batch: int, reference: str, now: float) -> None:
        """Record that something other than a person resolved a batch's page in PagerDuty, and check it now.

        *reference* makes a repeated hint count once. Raises NotFound and StoreError.
        """
        delivery = Delivery("", target=storm_id, attempts=1, receipt=Receipt(now, reference))

        def change(loaded: VersionedStorm) -> Storm:
            if resolve_key(str(batch)) in loaded.storm.deliveries:  # caused by our own resolve event
                return loaded.storm
            return loaded.storm.with_delivery(hint_key(batch), delivery)

        self.update_storm(storm_id, change, due=now)

    def update_storm(
        self, storm_id: str, transform: Callable[[VersionedStorm], Storm], *, due: float | None = None
    ) -> VersionedStorm:
        """Change a storm by *transform*, which may be called several times; return the saved storm."""
        for _ in range(MAX_PASSES):
            loaded = self.store.load_storm(storm_id)
            changed = transform(loaded)
            if changed == loaded.storm or self.store.save_if_unchanged(loaded, changed, due=due):
                return dataclasses.replace(loaded, storm=changed)
        raise errors.StoreError("a storm kept being changed by other processes")


def _find_target_key(action: DeliveryAction) -> str:
    """Return the target key of an initial message, a fallback mention or a page; empty for other actions."""
    if isinstance(action, Page):
        return f"{RESPONDER}:{action.step.responder.name}"
    if isinstance(action, FallbackMention) or (
        isinstance(action, Post) and action.key in (MESSAGE, FALLBACK)
    ):
        return f"{CHANNEL}:{action.target.address}"
    return ""


def _name_member(action: Page | Post | Reply, incident: Incident) -> str:
    """Return the incident's member name, with the step where the action is a mention for a step."""
    if not isinstance(action, Reply | FallbackMention) or action.step is None:
        return member_name(incident.id)
    is_page_delayed = isinstance(action, FallbackMention) or action.reply_kind == "page_delayed"
    step = action.step.name
    return member_name(incident.id, page_delayed_step(step) if is_page_delayed else step)


def _is_refused(action: FallbackMention, incident: Incident) -> bool:
    """Return whether the step's page was refused with a storm's page: then many mentions come at once."""
    step = action.step
    return step is not None and bool(incident.find_run_delivery(page_key(step.name)).refused_storm)


def _may_have_arrived_alone(action: DeliveryAction, incident: Incident) -> bool:
    """Return whether *action* was sent by itself and may have arrived: a storm would send it twice."""
    before = incident.deliveries.get(action.key, Delivery())
    return before.instance == action.instance and before.maybe_sent and not before.storm


def _may_join_next_batch(join_view: JoinView, name: str, member: Member) -> bool:
    """Return whether the member may move to a newer batch because the page of its own batch was refused."""
    return (
        join_view.storm.current_batch > member.batch
        and join_view.storm.find_notifying_delivery(name, member).failed_at > 0
    )


def _instance_of(action: DeliveryAction) -> str:
    return f"{action.key}/{action.instance}"


def _continues_bundling(action: DeliveryAction, incident: Incident, policy: EscalationPolicy) -> bool:
    """Return whether *action* starts a storm for its target: the incident was bundled or refused in a storm
    before, so the same action is due for the other members too.
    """
    message = incident.deliveries.get(MESSAGE, Delivery())
    if isinstance(action, FallbackMention):
        return _is_refused(action, incident)
    if isinstance(action, Post):
        return action.key == FALLBACK and bool(message.refused_storm)
    if not isinstance(action, Page) or not policy.steps or action.step.name == policy.steps[0].name:
        return False
    if incident.run.number == 1 and (message.is_bundled or message.refused_storm):
        return True
    pages = [incident.find_run_delivery(page_key(step.name)) for step in policy.steps]
    return any(page.is_bundled or page.refused_storm for page in pages)
