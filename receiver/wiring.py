"""The hallway: builds every part and introduces them to one another."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from receiver import clock as wall
from receiver.channels.alertmanager.adapter import AlertmanagerChannel
from receiver.channels.pagerduty.adapter import PagerDutyChannel
from receiver.channels.pagerduty.storm import PagerDutyStorms
from receiver.channels.slack.adapter import SlackChannel
from receiver.channels.slack.notice_channel import SimulatedNotices, SlackNotices
from receiver.channels.slack.porter import Porter
from receiver.channels.slack.review_channel import SimulatedReviews, SlackReviews
from receiver.channels.slack.simulated import SimulatedSlack
from receiver.channels.slack.storm_channel import SimulatedStorms, SlackStorms
from receiver.config.model import Routing
from receiver.config.settings import Settings
from receiver.domain.calendar import BusinessHours, next_opening
from receiver.domain.judge import Trust
from receiver.domain.notice import NoticeChannel
from receiver.domain.notification import Notification
from receiver.domain.person import Person
from receiver.domain.policy import ALERTMANAGER, PAGERDUTY, SLACK
from receiver.domain.ports import Channel
from receiver.domain.review_ports import ReviewChannel
from receiver.domain.storm_ports import StormChannel
from receiver.engine.brief import Briefing, Places
from receiver.engine.desk import Desk
from receiver.engine.duties import LANE as DUTIES
from receiver.engine.duties import Duties, Repeated
from receiver.engine.hands import Hands
from receiver.engine.health import DUTY as CALLS
from receiver.engine.health import Caller, HealthNotes
from receiver.engine.heartbeats import DUTY as BEATS
from receiver.engine.heartbeats import HeartbeatWatch, Pulse
from receiver.engine.inquiry import Inquiry
from receiver.engine.intake import Intake
from receiver.engine.maintenance import DUTY as MAINTENANCE
from receiver.engine.maintenance import MaintenanceWatch, Switch
from receiver.engine.notices import NoticeBoard
from receiver.engine.paced_reviews import PacedReviews
from receiver.engine.pager_answers import PagerAnswers
from receiver.engine.pager_desk import PagerDesk
from receiver.engine.reconcile import Reconciler
from receiver.engine.review import Reviewer
from receiver.engine.roster import Roster
from receiver.engine.storm_keeper import Pace, StormKeeper
from receiver.engine.storms import PATIENCE_S, Storms
from receiver.engine.turns import Turns
from receiver.engine.watch import Watch
from receiver.engine.witness import Witness
from receiver.engine.worker import Worker
from receiver.lookups.alertmanager import AlertmanagerClient
from receiver.lookups.exchange import parse_address
from receiver.lookups.heartbeat_url import build_call
from receiver.lookups.oncall import OnCall
from receiver.lookups.pagerduty import PagerDutyRest
from receiver.runbooks.load import RunbookShelf
from receiver.sources.slack_socket import SlackSocket
from receiver.store.agenda import RedisAgenda
from receiver.store.beats import RedisBeats
from receiver.store.budgets import RedisBudgets
from receiver.store.condition import RedisCondition
from receiver.store.connection import Client, connect, count_shards
from receiver.store.errands import RedisErrands
from receiver.store.failures import RedisFailures
from receiver.store.health import RedisHealth
from receiver.store.incidents import RedisIncidents
from receiver.store.keys import LANES
from receiver.store.maintenance import RedisMaintenance
from receiver.store.notices import DUTY as NOTICES
from receiver.store.notices import RedisNotices
from receiver.store.reviews import RedisReviews
from receiver.store.simulated import RedisSimulated
from receiver.store.storms import RedisStorms

logger = logging.getLogger(__name__)

# A channel that is slow to answer holds a thread for its time-out; others go on meanwhile.
THREADS = {SLACK: 8, PAGERDUTY: 8, ALERTMANAGER: 4, DUTIES: 4}

# Slack waits 3 s for the answer to a button, and what we do meanwhile must fit.
_WHILE_SLACK_WAITS_S = 2.0

Clock = Callable[[], float]


@dataclass(frozen=True)
class Parts:
    """What the web side works with."""

    settings: Settings
    routing: Routing
    incidents: RedisIncidents
    agenda: RedisAgenda
    simulated: RedisSimulated
    errands: RedisErrands
    reviews: RedisReviews
    budgets: RedisBudgets
    maintenance: RedisMaintenance
    switch: Switch
    beats: RedisBeats
    health: RedisHealth
    condition: RedisCondition
    notices: RedisNotices
    failures: RedisFailures
    shelf_of_storms: RedisStorms
    storms: Storms
    intake: Intake
    hands: Hands
    runbooks: RunbookShelf
    clock: Clock
    run_id: str = ""


def build_parts(
    settings: Settings,
    routing: Routing,
    clock: Clock = wall.now,
    *,
    client: Client | None = None,
    storms_after_s: float = PATIENCE_S,
) -> Parts:
    """Return the parts, connected to the store of *settings* when first used, or through *client*.

    A storm begins where what is new would wait for longer than *storms_after_s*.
    """
    url = settings.redis_url.reveal()
    client, shards = connect(url) if client is None else client, count_shards(url)
    incidents = RedisIncidents(client, history_s=routing.history, shards=shards)
    agenda, maintenance = RedisAgenda(client, shards=shards), RedisMaintenance(client)
    beats = RedisBeats(client)
    notices = RedisNotices(client, is_wanted=bool(routing.notices_channel), shards=shards)
    shelf_of_storms = RedisStorms(client, history_s=routing.history, shards=shards)
    pulse = Pulse(routing.heartbeats, beats, partial(agenda.put, DUTIES, BEATS))
    return Parts(
        settings=settings,
        routing=routing,
        incidents=incidents,
        agenda=agenda,
        shelf_of_storms=shelf_of_storms,
        storms=Storms(shelf_of_storms, incidents, agenda, clock, storms_after_s),
        simulated=RedisSimulated(client),
        errands=RedisErrands(client, shards=shards),
        reviews=RedisReviews(client, shards=shards),
        condition=RedisCondition(client, clock, shards=shards),
        budgets=RedisBudgets(client),
        maintenance=maintenance,
        switch=Switch(maintenance, agenda),
        beats=beats,
        health=RedisHealth(client),
        notices=notices,
        failures=RedisFailures(client, incidents, shards=shards),
        intake=Intake(incidents, routing, pulse),
        hands=Hands(incidents),
        runbooks=build_shelf(settings, routing, clock),
        clock=clock,
        run_id=os.environ.get("RECEIVER_RUN_ID", ""),
    )


def build_shelf(settings: Settings, routing: Routing, clock: Clock = wall.now) -> RunbookShelf:
    """Return the runbooks that *routing* names."""
    return RunbookShelf(
        routing.runbooks,
        public_url=settings.public_url,
        allowed_hosts=routing.runbook_hosts,
        clock=clock,
    )


def build_clients(parts: Parts) -> dict[str, AlertmanagerClient]:
    """Return who may be asked about the alerts of each source."""
    configured = parts.routing.alertmanagers.items()
    return {source: AlertmanagerClient(one.urls, clock=parts.clock) for source, one in configured if one.urls}


def build_channels(parts: Parts) -> dict[str, Channel]:
    """Return the channel of each lane: simulated where there are no credentials."""
    settings, clock = parts.settings, parts.clock
    token = parts.routing.slack_token

    record = _recorder(parts)

    def record_event(notification: Notification, event: Mapping[str, Any]) -> None:
        target = notification.action.target
        record(
            {
                "at": notification.now,
                "incident": notification.incident.id,
                "to": f"{target.kind}:{target.address}",
                "key": notification.action.key,
                "text": event.get("payload", {}).get("summary", event.get("event_action", "")),
                "event": event,
            }
        )

    slack: Channel = (
        SlackChannel(token, settings.slack_api_url, clock=clock)
        if token
        else SimulatedSlack(record, clock=clock)
    )
    pager = PagerDutyChannel(settings.pagerduty_events_url, clock=clock, record=record_event)
    silences = AlertmanagerChannel(build_clients(parts), clock=clock)
    return {SLACK: slack, PAGERDUTY: pager, ALERTMANAGER: silences}


def _recorder(parts: Parts) -> Callable[[Mapping[str, Any]], None]:
    """Return what is handed each message that went nowhere for want of credentials."""

    def record(message: Mapping[str, Any]) -> None:
        fields = {name: message.get(name) for name in ("incident", "to", "key", "text")}
        logger.info("would have sent", extra={"fields": fields})
        parts.simulated.add(message)

    return record


def build_rest(parts: Parts) -> PagerDutyRest | None:
    """Return who may be asked about PagerDuty's incidents and schedules; None without a token."""
    token = parts.routing.pagerduty_api_token
    return PagerDutyRest(parts.settings.pagerduty_api_url, token) if token else None


def build_inquiry(parts: Parts, rest: PagerDutyRest | None) -> Inquiry | None:
    """Return what asks PagerDuty before a further step; None without a token."""
    if rest is None:
        return None
    answers = PagerAnswers(parts.hands, parts.incidents, parts.clock)
    return Inquiry(rest, answers, parts.hands, parts.clock)


def build_places(parts: Parts) -> Places:
    """Return the addresses that messages link to."""
    routing = parts.routing
    more: dict[str, tuple[tuple[str, str], ...]] = {route.name: route.links for route in routing.routes}
    return Places(
        public_url=parts.settings.public_url,
        # Without a login: these are shown to people.
        alertmanagers={
            source: parse_address(one.urls[0]).url
            for source, one in routing.alertmanagers.items()
            if one.urls
        },
        more={**more, "": routing.links},
    )


def build_briefing(parts: Parts, rest: PagerDutyRest | None = None) -> Briefing:
    """Return what gathers the words of notifications under this configuration."""
    return Briefing(parts.runbooks, build_places(parts), OnCall(rest, parts.clock) if rest else None)


def build_turns(parts: Parts) -> Turns:
    """Return what has everybody keep to the limits of this configuration."""
    simulated = () if parts.routing.slack_token else (SLACK,)
    return Turns(parts.budgets, parts.routing.limits, parts.clock, simulated=simulated)


def build_reviewer(parts: Parts, *, timeout_s: float = 10.0) -> Reviewer:
    """Return what posts the reviews of the routes that ask for them."""
    token, clock = parts.routing.slack_token, parts.clock
    channel: ReviewChannel = (
        PacedReviews(
            SlackReviews(token, parts.settings.slack_api_url, timeout_s, clock),
            build_turns(parts),
            parts.routing.limits,
        )
        if token
        else SimulatedReviews(_recorder(parts), clock=clock)
    )
    hours = parts.routing.business_hours or BusinessHours()
    routing = parts.routing
    return Reviewer(
        parts.reviews,
        parts.incidents,
        channel,
        hours,
        clock,
        places=build_places(parts),
        # A responder is not woken for what nobody was woken for.
        fallbacks={r.name: r.fallback for r in routing.routes if r.fallback not in routing.responders},
        notices=parts.notices,
    )


def build_notice_board(parts: Parts) -> NoticeBoard:
    """Return what posts the receiver's own troubles."""
    name, token = parts.routing.notices_channel, parts.routing.slack_token
    channel: NoticeChannel = (
        SlackNotices(name, token, parts.settings.slack_api_url, clock=parts.clock)
        if token
        else SimulatedNotices(name, _recorder(parts), clock=parts.clock)
    )
    return NoticeBoard(parts.notices, channel, parts.clock)


def build_keeper(parts: Parts, turns: Turns) -> StormKeeper:
    """Return what says what storms have to say; simulated where there are no credentials."""
    routing, settings, clock = parts.routing, parts.settings, parts.clock
    record = _recorder(parts)
    slack: StormChannel = (
        SlackStorms(routing.slack_token, settings.slack_api_url, clock=clock)
        if routing.slack_token
        else SimulatedStorms(record, clock=clock)
    )
    pager = PagerDutyStorms(settings.pagerduty_events_url, clock=clock, record=record)
    limits = routing.limits
    pace = Pace(
        limits.slack_posts.count / limits.slack_posts.per_s, limits.pagerduty.count / limits.pagerduty.per_s
    )
    return StormKeeper(
        parts.shelf_of_storms,
        parts.storms,
        parts.incidents,
        heads=parts.incidents,
        channels={SLACK: slack, PAGERDUTY: pager},
        rules=routing,
        pace=pace,
        clock=clock,
        turns=turns,
        paused_until=parts.maintenance.paused_until,
        public_url=settings.public_url,
    )


def build_porter(parts: Parts) -> Porter:
    """Return what does what people ask in Slack, over HTTP and over a socket alike."""
    routing, rest = parts.routing, build_rest(parts)
    hours = routing.business_hours
    reviewer = build_reviewer(parts, timeout_s=_WHILE_SLACK_WAITS_S)

    def mark_reviewed(review_id: str, by: Person, now: float) -> None:
        record = reviewer.mark_reviewed(review_id, by, now)
        if record.edit_at is not None:  # Slack could not be told just now
            parts.agenda.put(DUTIES, f"review-{record.review.route}", record.edit_at)

    desk = Desk(
        parts.hands,
        parts.incidents,
        routing,
        Roster(routing.responders, OnCall(rest, parts.clock) if rest else None),
        parts.clock,
        next_opening=partial(next_opening, hours) if hours is not None else None,
        can_silence=lambda incident: incident.source in routing.alertmanagers,
        mark_reviewed=mark_reviewed,
        acknowledge_storm=lambda storm_id, by, now: parts.storms.answer(storm_id, "acknowledge", by, now),
    )
    return Porter(desk.take, routing.slack_token, parts.settings.slack_api_url)


@dataclass(frozen=True)
class Machine:
    """What a worker works with under one configuration."""

    reconciler: Reconciler
    duties: Duties


def build_machine(parts: Parts, channels: Mapping[str, Channel] | None = None) -> Machine:
    """Return what a worker does with incidents and duties under this configuration.

    *channels* are used in place of those it names.
    """
    turns = build_turns(parts)
    routing, clock, rest = parts.routing, parts.clock, build_rest(parts)
    trusts = {source: Trust(one.looks, one.trust_after) for source, one in routing.alertmanagers.items()}
    clients = build_clients(parts)
    witness = Witness(clients, trusts, parts.hands, clock)
    watch = Watch(witness, parts.incidents, parts.hands, trusts, clock)
    repeated = {
        f"watch-{source}": Repeated(_watching(watch, source, routing.alertmanagers[source].look_every))
        for source in clients
    }
    reviewer = build_reviewer(parts)
    repeated |= {
        f"review-{route.name}": Repeated(partial(reviewer.work, route))
        for route in routing.routes
        if route.review
    }
    upkeep = MaintenanceWatch(parts.maintenance, parts.incidents, parts.agenda, _saying(parts))
    repeated[MAINTENANCE] = Repeated(upkeep.work)
    beats = HeartbeatWatch(routing, routing.heartbeats, parts.beats, parts.intake, parts.incidents)
    repeated[BEATS] = Repeated(beats.work)
    if routing.heartbeat_url:
        call = build_call(routing.heartbeat_url)
        caller = Caller(call, parts.health, parts.agenda, LANES, (SLACK, PAGERDUTY))
        repeated[CALLS] = Repeated(caller.work)
    if routing.notices_channel:
        repeated[NOTICES] = Repeated(build_notice_board(parts).work)
    desk = PagerDesk(parts.hands, parts.incidents, rest, routing, clock, storms=parts.storms)
    briefing = build_briefing(parts, rest)
    return Machine(
        Reconciler(
            parts.incidents,
            channels or build_channels(parts),
            routing,
            briefing,
            witness,
            clock=clock,
            turns=turns,
            paused_until=parts.maintenance.paused_until,
            health=HealthNotes(parts.health),
            inquiry=build_inquiry(parts, rest),
            notices=parts.notices,
            storms=parts.storms,
            keeper=build_keeper(parts, turns),
        ),
        Duties(repeated, parts.errands, {"pagerduty": desk.take}, clock),
    )


def _saying(parts: Parts) -> Callable[[str, str, float], None]:
    """Return what says a trouble in the log, and in the channel of notices where there is one."""

    def say(notice_id: str, text: str, now: float) -> None:
        logger.warning(text)
        parts.notices.put(notice_id, text, now)

    return say


def _watching(watch: Watch, source: str, every_s: float) -> Callable[[float], float]:
    def work(now: float) -> float:
        watch.work(source)
        return now + every_s

    return work


class ReceiverWorker:
    """A worker that can be given another configuration."""

    def __init__(self, settings: Settings, routing: Routing) -> None:
        self._settings = settings
        parts = build_parts(settings, routing)
        machine = build_machine(parts)
        name = f"{parts.run_id or 'alone'}.{socket.gethostname()}.{os.getpid()}"
        self._worker = Worker(
            name, parts.agenda, machine.reconciler, machine.duties, parts.clock, threads=THREADS
        )
        self._socket = (
            SlackSocket(settings.slack_app_token, settings.slack_api_url, build_porter(parts))
            if settings.slack_app_token
            else None
        )

    def run(self) -> None:
        """Work until `stop`."""
        if self._socket is not None:
            self._socket.start()
        self._worker.run()
        if self._socket is not None:
            self._socket.stop()

    def stop(self) -> None:
        """Ask `run` to end."""
        self._worker.stop()

    def reload(self, routing: Routing) -> None:
        """Go on with another configuration."""
        parts = build_parts(self._settings, routing)
        machine = build_machine(parts)
        self._worker.use(machine.reconciler, machine.duties)
        if self._socket is not None:
            self._socket.use(build_porter(parts))


def build_worker(settings: Settings, routing: Routing) -> ReceiverWorker:
    """Return a worker on the store of *settings*."""
    return ReceiverWorker(settings, routing)
