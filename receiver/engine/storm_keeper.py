"""Bringing one storm to how it should be: look at its members, plan, do one thing, look again."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from receiver import telemetry
from receiver.domain import answers
from receiver.domain.action import AcknowledgePage, Action, CheckPage, Page, Post, Reply, ResolvePage
from receiver.domain.delivery import Delivery, Receipt
from receiver.domain.failure import is_refused_under_former
from receiver.domain.fallback import find_announcing_storm
from receiver.domain.incident import Incident, IncidentChange, TimelineEvent
from receiver.domain.messages import RELEASED_BY_STORM
from receiver.domain.notice import Notices
from receiver.domain.page_check import (
    Finding,
    evaluate_page,
    find_left_open,
    is_left_open,
    is_resolved_too_often,
    is_unconfirmed,
    postpone_check,
    record_check,
    record_hint,
    record_resolve_check,
)
from receiver.domain.pager_news import PagerDutyStatus
from receiver.domain.person import Person
from receiver.domain.policy import PAGERDUTY, SLACK, find_digest
from receiver.domain.ports import Incidents, RoutingTable
from receiver.domain.storm import (
    HeldStorm,
    Storm,
    StormAnswer,
    Tally,
    count,
    is_unreached,
    list_incident_ids,
    split_members,
    storm_dedup_key,
    take_census,
)
from receiver.domain.storm_plan import (
    Answer,
    CloseWave,
    Decision,
    Finish,
    HandBack,
    Leave,
    Standing,
    plan_storm,
)
from receiver.domain.storm_ports import IncidentHeads, StormChannel, StormNotification, StormShelf
from receiver.engine.hands import IncidentService
from receiver.engine.health import DeliveryHealthRecorder
from receiver.engine.pager_questions import PagerDutyStatusClient
from receiver.engine.perform import describe_kind
from receiver.engine.routing_keys import RoutingKeys
from receiver.engine.storms import Storms
from receiver.engine.turns import RateLimiter
from receiver.errors import DeliveryError, NotFound, PermanentDeliveryError

logger = logging.getLogger(__name__)

_ACTIONS_AT_MOST = 40

# A storm goes before all that it stands for.
_AHEAD_S = 60.0


@dataclass(frozen=True)
class Pace:
    """How many new ones can be said a second: in a channel, and to a responder."""

    channel: float
    responder: float

    def at(self, storm: Storm) -> float:
        return self.channel if storm.is_of_channel else self.responder


class StormKeeper:
    """Does for one storm what is missing."""

    def __init__(
        self,
        shelf: StormShelf,
        storms: Storms,
        incidents: Incidents,
        *,
        heads: IncidentHeads,
        channels: Mapping[str, StormChannel],
        routing: RoutingTable,
        pace: Pace,
        clock: Callable[[], float],
        keys: RoutingKeys,
        rate_limiter: RateLimiter | None = None,
        paused_until: Callable[[float], float] = lambda _now: 0.0,
        public_url: str = "",
        status_client: PagerDutyStatusClient | None = None,
        notices: Notices | None = None,
        health: DeliveryHealthRecorder | None = None,
    ) -> None:
        self._status_client = status_client
        self._keys = keys
        self._notices = notices
        self._health = health
        self._shelf = shelf
        self._storms = storms
        self._incidents = incidents
        self._heads = heads
        self._incident_service = IncidentService(incidents)
        self._channels = channels
        self._routing = routing
        self._pace = pace
        self._clock = clock
        self._rate_limiter = rate_limiter
        self._paused_until = paused_until
        self._public_url = public_url

    def reconcile(self, storm_id: str, queue: str, worker: str) -> dict[str, float | None]:
        """Do what is missing; return when to look again. Raises StoreError."""
        del worker  # whoever changed the storm first has it; the other finds it changed
        for _ in range(_ACTIONS_AT_MOST):
            try:
                held = _revive(self._shelf.load(storm_id), self._routing.digests)
            except NotFound:
                return {}
            standing = self._look(held)
            wanted = plan_storm(standing)
            ready = [action for action in wanted.actions if action.ready_at <= standing.now]
            later = [action.ready_at for action in wanted.actions if action.ready_at > standing.now]
            for action in ready:
                wait_s = self._wait(standing, action)
                if wait_s <= 0:
                    self._do(action, held, standing)
                    break
                later.append(standing.now + wait_s)
            else:
                return {
                    queue: min([at for at in (wanted.next_check_at, *later) if at is not None], default=None)
                }
        return {queue: self._clock()}

    def _look(self, held: HeldStorm) -> Standing:
        counted = take_census(held, self._heads.load_heads(list_incident_ids(held)))
        members, mentioned = split_members(counted)
        return Standing(
            held.storm,
            members,
            mentioned,
            self._pace.at(held.storm),
            dict(self._routing.responders),
            self._clock(),
            checks_pagerduty=self._status_client is not None,
        )

    def _wait(self, standing: Standing, action: Action) -> float:
        """Return how many seconds the action must wait: for its turn, or for the end of maintenance."""
        wakes = isinstance(action, Page) or (isinstance(action, Reply) and action.step is not None)
        if wakes and (until := self._paused_until(standing.now)) > standing.now:
            return until - standing.now
        if isinstance(action, Decision | CheckPage) or self._rate_limiter is None:
            return 0.0
        storm = standing.storm
        priority = storm.began_at - _AHEAD_S
        return self._rate_limiter.acquire_by_priority(
            action, f"{storm.id} {action.key}", priority, standing.now
        ).retry_after_s

    # --- what a storm decides about itself ---

    def _do(self, action: Action, held: HeldStorm, standing: Standing) -> None:
        storm, now = held.storm, standing.now
        match action:
            case CloseWave():
                closed = replace(storm, closed=max(storm.closed, action.wave))
                self._shelf.keep(held, closed, if_nobody_joined=True)
            case Leave():
                self._shelf.keep(held, replace(storm, ended_at=now, left=action.left), if_nobody_joined=True)
            case Finish():
                self._shelf.keep(held, replace(storm, resolved_at=now))
                logger.info("storm closed", extra={"fields": {"storm": storm.id, "place": storm.place}})
            case Answer():
                self._pass_on(action.answer, standing)
                self._settle(storm.id, action, now)
            case HandBack():
                for incident_id in storm.left:
                    self._hand_back(incident_id, storm, now)
                self._settle(storm.id, action, now)
            case CheckPage():
                self._check(action, held, now)
            case _:
                self._perform(action, held, standing)

    def _settle(self, storm_id: str, action: Action, now: float) -> None:
        """Keep that something is done that leaves no receipt elsewhere."""
        done = Delivery(action.instance, attempts=1, receipt=Receipt(now))
        self._storms.change(storm_id, lambda held: _with(held.storm, action.key, done))

    def _pass_on(self, answer: StormAnswer, standing: Standing) -> None:
        """Have the members hear of *answer*; those that joined later or were told anew since don't."""
        for one in standing.everyone:
            if one.incident is None or one.is_resolved or one.member.wave > answer.wave:
                continue
            change = partial(_answer_if_meant, answer=answer, now=standing.now)
            try:
                self._incident_service.update(one.incident.id, change, standing.now)
            except NotFound:
                continue

    def _hand_back(self, incident_id: str, storm: Storm, now: float) -> None:
        """Have an incident say itself: its plan wants a message of its own from now on."""
        try:
            incident = self._incidents.load(incident_id)
        except NotFound:
            return
        if incident.is_resolved or find_announcing_storm(incident) != storm.id:
            return
        left = Delivery(storm.id, target=storm.id, attempts=1, receipt=Receipt(now))
        event = TimelineEvent(
            now, "noted", f"The storm of {storm.name} is over: it gets a message of its own"
        )
        self._incidents.record_delivery(
            incident_id, RELEASED_BY_STORM, left, queue=SLACK, events=(event,), wake=(SLACK,), due=now
        )

    # --- what it says ---

    def _perform(self, action: Action, held: HeldStorm, standing: Standing) -> None:
        """Note the attempt, send, note how it ended. Whoever can't note it leaves it to who could."""
        storm, now = held.storm, standing.now
        before = storm.deliveries.get(action.key, Delivery())
        digest = action.key_digest if isinstance(action, Page | AcknowledgePage | ResolvePage) else ""
        target = f"{action.queue}:{action.target.address}"
        attempt = before.with_attempt(action.instance, action.content_version, target, now, key_digest=digest)
        was_maybe_sent = attempt.attempts > 1 and before.maybe_sent
        if was_maybe_sent and isinstance(action, Post):  # which of the tries will be found is not known
            attempt = replace(attempt, content_version=before.content_version)
        if not self._shelf.keep(held, _with(storm, action.key, attempt)):
            return
        notification = StormNotification(
            action, storm, _tally_of(action, standing), now, self._public_url, _unsaid(standing)
        )
        try:
            if isinstance(action, Page | AcknowledgePage | ResolvePage):
                unlocked = self._keys.add_routing_key(action, attempt, now)
                notification = dataclasses.replace(notification, action=unlocked)
            receipt, is_found = self._send(notification, attempt, was_maybe_sent=was_maybe_sent)
        except DeliveryError as error:
            after = attempt.with_failure(
                error,
                self._clock(),
                was_maybe_sent=was_maybe_sent,
                salt=f"{storm.id}/{action.key}",
                secret_digest=find_digest(self._routing.digests, attempt.target),
            )
            _log(storm, action, after, error.reason)
            if self._rate_limiter is not None:
                self._rate_limiter.apply_retry_after(action, error)
            self._notice_failure(notification, after)
        else:
            is_older = is_found and isinstance(action, Post)
            after = replace(
                attempt.with_receipt(receipt),
                content_version=attempt.content_version if is_older else action.content_version,
            )
            _log(storm, action, after)
        self._storms.change(storm.id, lambda latest: _with(latest.storm, action.key, after))
        is_in_doubt = after.receipt is not None and (is_unconfirmed(after) or is_resolved_too_often(after))
        if self._health is not None and not is_in_doubt:
            self._health.record_delivery(action.queue, action.target.address, after, self._clock())

    def _notice_failure(self, notification: StormNotification, after: Delivery) -> None:
        """Have it said where people look after us that something was given up, before that is kept: once for
        all that the storm counts.
        """
        if self._notices is None or not after.failed_at:
            return
        action, storm = notification.action, notification.storm
        about = f"{describe_kind(action)} to {after.target} given up: {after.reason}"
        self._notices.put(
            f"{storm.id}/{action.key}/{after.instance}",
            f"{about} (a storm of {notification.tally.total} incidents, {storm.id})",
            self._clock(),
            about=about,
        )

    def _check(self, action: CheckPage, held: HeldStorm, now: float) -> None:
        """Ask PagerDuty what it has of a page, once for all that it counts, and keep what was found.

        Where the storm changed meanwhile nothing is kept: it is looked at anew.
        """
        storm, before = held.storm, held.storm.deliveries[action.event_key]
        wave, is_page = int(action.event_key.partition(":")[2]), action.event_key.startswith("page:")
        try:
            finding = self._find(action, storm, before, is_page=is_page)
        except DeliveryError:
            self._shelf.keep(held, _with(storm, action.event_key, postpone_check(before, now)))
            return
        if is_page and finding.is_answer and finding.status is not None:
            what = "acknowledge" if finding.what == "acknowledged" else "resolve"
            by = Person(finding.status.by or "PagerDuty", via=PAGERDUTY)
            self._storms.answer(storm.id, what, by, now, wave=wave, done_at_pager=True)
            return
        after = record_check(before, finding, now) if is_page else record_resolve_check(before, finding, now)
        after = record_hint(after, action.hint)
        if text := _tell_check(before, after, action.responder.title):
            self._notice(f"{storm.id}/{action.event_key}/{text}", f"{text} ({storm.id})", now)
        if self._shelf.keep(held, _with(storm, action.event_key, after)):
            if self._health is not None and is_page:
                self._health.record_delivery(PAGERDUTY, action.target.address, after, now)
            fields = {"storm": storm.id, "key": action.event_key, "outcome": finding.what}
            logger.info("page checked", extra={"fields": fields})

    def _find(self, action: CheckPage, storm: Storm, event: Delivery, *, is_page: bool) -> Finding:
        if self._status_client is None:
            return Finding("resolved", PagerDutyStatus("resolved"))
        key = storm_dedup_key(storm.id, int(action.event_key.partition(":")[2]))
        try:
            statuses = self._status_client.find_statuses([key]).get(key, ())
        except PermanentDeliveryError:
            if action.hint:  # as without an API key
                return Finding("resolved", PagerDutyStatus("resolved"))
            raise
        return evaluate_page(statuses, event.first_attempt_at) if is_page else find_left_open(statuses, event)

    def _notice(self, notice_id: str, text: str, now: float) -> None:
        if self._notices is not None:
            self._notices.put(notice_id, text, now)

    def _send(
        self, notification: StormNotification, attempt: Delivery, *, was_maybe_sent: bool
    ) -> tuple[Receipt, bool]:
        queue = notification.action.queue
        channel = self._channels[queue]
        started = time.monotonic()
        try:
            found = channel.find_storm(notification, attempt.first_attempt_at) if was_maybe_sent else None
            return (found, True) if found else (channel.send_storm(notification), False)
        finally:
            telemetry.DELIVERY_SECONDS.labels(queue).observe(time.monotonic() - started)


def _tell_check(before: Delivery, after: Delivery, who: str) -> str:
    """Return what people are to hear of a storm's event that was checked; empty where that is no news."""
    if is_unconfirmed(after) and not is_unconfirmed(before):
        return (
            f"PagerDuty accepted the storm's page to {who} and has no incident for it, probably due to a "
            "maintenance window, a disabled service or an event rule; it is sent again"
        )
    if is_resolved_too_often(after) and not is_resolved_too_often(before):
        return f"PagerDuty resolves the storm's page to {who} again and again, and no person does"
    if is_left_open(after):
        return f"PagerDuty's incident of the storm's page to {who} is still open after our resolves"
    return ""


def _revive(held: HeldStorm, digests: Mapping[str, str]) -> HeldStorm:
    """Return the storm with what was refused for credentials that are others now as still to be made."""
    storm = held.storm
    mended = {
        key: delivery.revived()
        for key, delivery in storm.deliveries.items()
        if is_refused_under_former(delivery, digests)
    }
    if not mended:
        return held
    return dataclasses.replace(held, storm=replace(storm, deliveries={**storm.deliveries, **mended}))


def _with(storm: Storm, key: str, delivery: Delivery) -> Storm:
    return replace(storm, deliveries={**storm.deliveries, key: delivery})


def _answer_if_meant(incident: Incident, *, answer: StormAnswer, now: float) -> IncidentChange:
    """Answer for *incident*, unless its run began after the answer was given.

    Acknowledged again, a storm renews what was acknowledged with it before, and leaves others theirs.
    """
    if incident.run.started_at > answer.at:
        return IncidentChange(incident)
    if answer.what == "resolve":
        return answers.resolve(incident, answer.by, now)
    is_theirs = incident.acknowledged_by in (answer.by.name, answer.former)
    is_renewing = is_theirs and incident.acknowledged_at < answer.at
    return answers.acknowledge(incident, answer.by, now, is_renewing=is_renewing)


def _tally_of(action: Action, standing: Standing) -> Tally:
    """Return the numbers of those that *action* is about."""
    kind, _, name = action.key.partition(":")
    if kind == "page":
        return count(one for one in standing.of_wave(int(name)) if one.is_open)
    if kind == "step":
        told = standing.of_step(name) if is_unreached(name) else standing.everyone
        return count(one for one in told if one.is_open)
    return count(standing.everyone)


def _unsaid(standing: Standing) -> tuple[tuple[str, int], ...]:
    """Return by name what still fires and has no message of its own."""
    said = set(standing.storm.left)
    return count(one for one in standing.members if not one.is_resolved and one.id not in said).names


def _log(storm: Storm, action: Action, after: Delivery, reason: str = "") -> None:
    if after.receipt is not None:
        outcome = "simulated" if after.receipt.is_simulated else "delivered"
    else:
        outcome = "permanent" if after.failed_at else "temporary"
    telemetry.DELIVERIES.labels(action.queue, outcome).inc()
    fields = {"storm": storm.id, "key": action.key, "target": after.target}
    if reason:
        fields |= {"reason": reason, "detail": after.detail}
        state = None if after.failed_at else f"{action.queue} {reason}"
        logger.warning("not delivered", extra={"fields": fields, "state": state})
    else:
        logger.info(outcome, extra={"fields": fields})
