"""Storms: when one begins, what folds into it, and who answers it.

To fold is to deliver: an attempt is noted, the incident becomes a member of the storm, and once the
storm's own message or page has arrived that is the receipt. So what holds for every delivery holds here,
after a crash too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from msgspec.structs import replace

from receiver import telemetry
from receiver.domain.action import Action, FallbackMention, Page, Post, Reply
from receiver.domain.delivery import FOLDING, Delivery, Receipt
from receiver.domain.escalation import current_delivery, page_key
from receiver.domain.fallback import FALLBACK, find_announcing_storm
from receiver.domain.incident import Incident, TimelineEvent
from receiver.domain.person import Person
from receiver.domain.policy import EscalationPolicy
from receiver.domain.ports import Incidents, LeaseQueue, Permit
from receiver.domain.storm import (
    MAX_MEMBERS,
    Door,
    HeldStorm,
    Member,
    Storm,
    StormAnswer,
    field_of,
    hint_key,
    may_renew,
    new_storm_id,
    place_of_channel,
    place_of_responder,
    unreached_step,
)
from receiver.domain.storm_page import StormPage
from receiver.domain.storm_ports import StormShelf
from receiver.engine.intake import MAX_PASSES, queues_for
from receiver.errors import (
    DeliveryError,
    PermanentDeliveryError,
    Refusal,
    StoreError,
    TemporaryDeliveryError,
)

logger = logging.getLogger(__name__)

# A storm begins when a first message or page that came now would wait longer than this.
PATIENCE_S = 30.0
_LOOK_AGAIN_S = 1.0


class Queue(Protocol):
    """Who waits at a budget: `INCIDENT KEY` each."""

    def __call__(self) -> Iterable[str]: ...


class Storms:
    """Begins storms, folds into them, and takes answers to them. Threads may share it."""

    def __init__(
        self,
        shelf: StormShelf,
        incidents: Incidents,
        work_queue: LeaseQueue,
        clock: Callable[[], float],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._patience_s = patience_s
        self._shelf = shelf
        self._incidents = incidents
        self._work_queue = work_queue
        self._clock = clock

    # --- how one begins ---

    def consider(
        self, permit: Permit, waiting: Queue, action: Action, incident: Incident, now: float
    ) -> bool:
        """Begin a storm at the action's place if its budget can't say all that is new in 30 s.

        *waiting* gives those who wait there for a first one: they are looked at at once, so that they
        fold. True when a storm is on there now and says *action*, so that it need not wait.
        """
        place = _find_place(action)
        if not place or permit.initial_wait_s <= self._patience_s:
            return False
        if not self._shelf.find_on(place):
            self._begin(place, now)
            for who in waiting():
                self._work_queue.enqueue(action.queue, who.partition(" ")[0], now)
        return not _may_stand_there(action, incident)

    def _begin(self, place: str, now: float, instead_of: str = "", *, is_of_steps: bool = False) -> str:
        storm = Storm(new_storm_id(place, now), place, now, is_of_steps)
        storm_id = self._shelf.begin(storm, instead_of, now)
        if storm_id == storm.id:
            telemetry.STORMS.labels("channel" if storm.is_of_channel else "responder").inc()
            logger.warning("storm begins", extra={"fields": {"storm": storm_id, "place": place}})
        return storm_id

    # --- folding ---

    def fold(
        self, action: Action, incident: Incident, policy: EscalationPolicy, now: float, worker: str
    ) -> Delivery | None:
        """Fold *action* into a storm, if there is one that says it, and return its delivery as it is kept
        now; None where it is to be done itself.

        Raises StoreError and ClaimLost.
        """
        if not isinstance(action, Page | Post | Reply):
            return None
        before = incident.deliveries.get(action.key, Delivery())
        name = _name_member(action, incident)
        storm_id, door = self._find_storm(action, incident, policy, name, now)
        if not storm_id:
            return None
        if before.refused_storm == storm_id and before.instance == action.instance:
            self._ask_again(storm_id, name)
            door = None
        attempt = before.with_attempt(action.instance, action.content_version, storm_id, now)
        self._incidents.record_delivery(incident.id, action.key, attempt, worker=worker, queue=action.queue)
        try:
            after, storm = self._join(storm_id, name, action, attempt, door)
        except DeliveryError as error:
            after = attempt.with_failure(
                error, self._clock(), was_maybe_sent=False, salt=f"{incident.id}/{action.key}"
            )
            events: tuple[TimelineEvent, ...] = ()
            if after.failed_at:
                after = after.refused_with(storm_id, _name_target(action))
                telemetry.DELIVERIES.labels(action.queue, "permanent").inc()
                events = (TimelineEvent(after.failed_at, "failed", _tell_refused(action, after)),)
            self._keep(action, incident, after, events)
        else:
            _count_told(action, incident)
            text = f"Folded into a storm of {storm.name}"
            self._keep(action, incident, after, (TimelineEvent(self._clock(), "folded", text),))
        return after

    def _find_storm(
        self,
        action: Page | Post | Reply,
        incident: Incident,
        policy: EscalationPolicy,
        name: str,
        now: float,
    ) -> tuple[str, Door | None]:
        """Return the storm that says *action*, empty where it is said by itself, and as what it was found."""
        if isinstance(action, Reply):
            # Without a message of its own the incident has no thread but the storm's.
            return find_announcing_storm(incident) if not action.message else "", None
        before, place = incident.deliveries.get(action.key, Delivery()), _find_place(action)
        is_lone_call = isinstance(action, FallbackMention) and not _is_refused(action, incident)
        if _may_stand_there(action, incident) or not place or is_lone_call:
            return "", None
        if before.instance == action.instance and before.storm:
            # It may count the incident for this very action, whatever became of the storm since.
            door = self._shelf.knock(before.storm, name)
            if door is not None and door.member is not None and door.member.about == _about(action):
                return before.storm, door
        storm_id, door = self._shelf.knock_on(place, name)
        is_on = door is not None and door.storm.is_on
        if door is not None and is_on and (door.count < MAX_MEMBERS or door.member is not None):
            return storm_id, door
        if is_on or _folds_on(action, incident, policy):
            return self._begin(place, now, storm_id, is_of_steps=not is_on), None
        return "", None

    def _join(
        self, storm_id: str, name: str, action: Action, attempt: Delivery, door: Door | None
    ) -> tuple[Delivery, Storm]:
        """Return the delivery with its receipt once the storm has said it; raises a DeliveryError.

        *door* is the storm as it was just found, None where it wasn't looked at.
        """
        for _ in range(MAX_PASSES):
            door = door or self._shelf.knock(storm_id, name)
            if door is None:
                raise TemporaryDeliveryError(FOLDING)  # looked at again, it is said by itself
            member = door.member
            if member is None or member.about != _about(action) or _may_go_on(door, name, member):
                member = self._enter(door, name, action)
                if member is None:
                    door = None  # it changed meanwhile
                    continue
            telling = door.storm.find_telling(name, member)
            if telling.failed_at:
                raise PermanentDeliveryError(
                    telling.reason or FOLDING,
                    f"refused for all of {storm_id}",
                    kind=Refusal(telling.kind or Refusal.CONTENT),
                    secret_digest=telling.refused_under,
                )
            if telling.receipt is None:
                raise TemporaryDeliveryError(telling.reason or FOLDING, retry_after=_LOOK_AGAIN_S)
            said = telling.receipt
            at = max(member.joined_at, said.at)  # when it was said, not when we found out
            receipt = Receipt(at, is_simulated=said.is_simulated, link=said.link)
            return attempt.with_receipt(receipt), door.storm
        raise TemporaryDeliveryError(FOLDING)

    def _ask_again(self, storm_id: str, name: str) -> None:
        """Have tried once more what was refused for the member *name* and is asked for again: a page in the
        next wave, with a page of its own; a message or a mention as it is.
        """

        def change(held: HeldStorm) -> Storm:
            storm, member = held.storm, held.members.get(name)
            telling = storm.find_telling(name, member) if member is not None else Delivery()
            if member is None or not telling.failed_at:
                return storm
            if not storm.is_of_channel:
                return replace(storm, closed=max(storm.closed, member.wave))
            again = replace(telling, failed_at=0.0, retry_at=0.0)
            deliveries = {k: again if d is telling else d for k, d in storm.deliveries.items()}
            return replace(storm, deliveries=deliveries)

        self.change(storm_id, change, due=self._clock())

    def _enter(self, door: Door, name: str, action: Action) -> Member | None:
        """Become a member; None where the storm changed meanwhile. Raises TemporaryDeliveryError where
        nobody is let in any more.
        """
        storm = door.storm
        # A storm that is over still has a thread, in which steps are told.
        if not storm.is_on and (storm.resolved_at or not isinstance(action, Reply)):
            raise TemporaryDeliveryError(FOLDING)
        now = self._clock()
        member = Member(now, storm.wave, _about(action))
        due = None
        if not storm.find_telling(name, member).is_settled:
            # The first is news; a look for each of a thousand that follow would be a thousand looks at all.
            due = now + _LOOK_AGAIN_S if door.count else now
        return member if self._shelf.join(door, name, member, due) else None

    def _keep(
        self, action: Action, incident: Incident, after: Delivery, events: tuple[TimelineEvent, ...]
    ) -> None:
        others = (
            [queue for queue in queues_for(incident) if queue != action.queue] if after.is_settled else []
        )
        self._incidents.record_delivery(
            incident.id,
            action.key,
            after,
            queue=action.queue,
            events=events,
            wake=others,
            due=self._clock(),
        )

    # --- answers ---

    def find_page(self, storm_id: str, incident_id: str) -> StormPage | None:
        """Return the page that counts an incident; None where it is no member. Raises StoreError."""
        door = self._shelf.knock(storm_id, field_of(incident_id))
        if door is None or door.member is None:
            return None
        return StormPage(door.storm, door.member.wave)

    def answer(
        self,
        storm_id: str,
        what: str,
        by: Person,
        now: float,
        *,
        wave: int = 0,
        done_at_pager: bool = False,
        is_renewing: bool = False,
    ) -> Storm:
        """Have all that a storm counts acknowledged or resolved: those up to *wave*, 0 for all so far.

        When this returns it is in the store, and a worker goes through the members. The second time
        changes nothing, unless it *is_renewing* an acknowledgement. *done_at_pager* says that PagerDuty knows
        already. Raises NotFound and StoreError.
        """

        def change(held: HeldStorm) -> Storm:
            storm, counted = held.storm, max((one.wave for one in held.members.values()), default=1)
            last = min(wave, counted) if wave else counted
            answer = StormAnswer(what, last, by, now)
            before = next((one for one in storm.answers if one.key == answer.key), None)
            is_known = before is not None and not (is_renewing and may_renew(before, now))
            if storm.resolved_at or is_known:
                return storm
            if before is not None:
                answer = replace(answer, former=before.by.name)
            deliveries = dict(storm.deliveries)
            if done_at_pager:
                about = answer.about if what == "acknowledge" else ""
                told = Delivery().with_attempt(about, "", f"pagerduty:{storm.name}", now)
                deliveries[f"{what}:{last}"] = told.with_receipt(Receipt(now, note="done in PagerDuty"))
            return replace(
                storm,
                answers=(*(one for one in storm.answers if one is not before), answer),
                closed=max(storm.closed, last),
                deliveries=deliveries,
            )

        return self.change(storm_id, change, due=now).storm

    def hint(self, storm_id: str, wave: int, reference: str, now: float) -> None:
        """Keep that something other than a person resolved a wave's page in PagerDuty: it is checked at once.

        By *reference* it is weighed once. Raises NotFound and StoreError.
        """
        told = Delivery("", target=storm_id, attempts=1, receipt=Receipt(now, reference))

        def change(held: HeldStorm) -> Storm:
            if f"resolve:{wave}" in held.storm.deliveries:  # it is the echo of our own resolve
                return held.storm
            return replace(held.storm, deliveries={**held.storm.deliveries, hint_key(wave): told})

        self.change(storm_id, change, due=now)

    def change(
        self, storm_id: str, how: Callable[[HeldStorm], Storm], *, due: float | None = None
    ) -> HeldStorm:
        """Change a storm by *how*; what it gives may be computed several times. Return it as kept."""
        for _ in range(MAX_PASSES):
            held = self._shelf.load(storm_id)
            changed = how(held)
            if changed == held.storm or self._shelf.keep(held, changed, due=due):
                return HeldStorm(changed, held.version, held.joins, held.members)
        raise StoreError("a storm kept changing under our hands")


def _find_place(action: Action) -> str:
    """Return the place that a first message, a call or a page is for; empty for anything else."""
    if isinstance(action, Page):
        return place_of_responder(action.step.responder.name)
    if isinstance(action, FallbackMention) or (isinstance(action, Post) and action.key in ("root", FALLBACK)):
        return place_of_channel(action.target.address)
    return ""


def _name_member(action: Page | Post | Reply, incident: Incident) -> str:
    """Return the name under which the incident is a member: its own, or with a step that is mentioned."""
    if not isinstance(action, Reply | FallbackMention) or action.step is None:
        return field_of(incident.id)
    is_unreached = isinstance(action, FallbackMention) or action.reply_kind == "page_delayed"
    return field_of(incident.id, unreached_step(action.step.name) if is_unreached else action.step.name)


def _name_target(action: Action) -> str:
    return f"{action.target.kind}:{action.target.address}"


def _tell_refused(action: Action, after: Delivery) -> str:
    noun = "Page" if isinstance(action, Page) else "Reply" if isinstance(action, Reply) else "Message"
    return f"{noun} to {after.target} given up: {after.reason}"


def _is_refused(action: FallbackMention, incident: Incident) -> bool:
    """Tell whether what *action* calls for was refused with a storm's page: then many call at once."""
    step = action.step
    return step is not None and bool(current_delivery(incident, page_key(step)).refused_storm)


def _may_stand_there(action: Action, incident: Incident) -> bool:
    """Tell whether *action* was tried by itself and may have arrived: a storm would say it a second time."""
    before = incident.deliveries.get(action.key, Delivery())
    return before.instance == action.instance and before.maybe_sent and not before.storm


def _may_go_on(door: Door, name: str, member: Member) -> bool:
    """Tell whether a wave came after the member's, whose page was refused: what isn't settled joins it."""
    return door.storm.wave > member.wave and door.storm.find_telling(name, member).failed_at > 0


def _about(action: Action) -> str:
    return f"{action.key}/{action.instance}"


def _folds_on(action: Action, incident: Incident, policy: EscalationPolicy) -> bool:
    """Tell whether a step's page begins a storm of its responder: the incident is in one already, and so
    are others, whose step is due as well.
    """
    root = incident.deliveries.get("root", Delivery())
    if isinstance(action, FallbackMention):
        return _is_refused(action, incident)
    if isinstance(action, Post):
        return action.key == FALLBACK and bool(root.refused_storm)
    if not isinstance(action, Page) or not policy.steps or action.step.name == policy.steps[0].name:
        return False
    if incident.run.number == 1 and (root.is_folded or root.refused_storm):
        return True
    pages = [current_delivery(incident, page_key(step)) for step in policy.steps]
    return any(page.is_folded or page.refused_storm for page in pages)


def _count_told(action: Action, incident: Incident) -> None:
    telemetry.DELIVERIES.labels(action.queue, "bundled").inc()
    if isinstance(action, Page):
        telemetry.ESCALATIONS.labels(incident.policy, action.step.responder.name).inc()
