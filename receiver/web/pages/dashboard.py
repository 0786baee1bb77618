"""The dashboard of open incidents, the page of a storm, and the forms for maintenance.

Incidents are listed most urgent first, a hundred per page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Annotated, Generic, Literal, NamedTuple, TypeVar
from urllib.parse import urlencode

from flask import Blueprint, redirect, request
from msgspec import Meta
from werkzeug.wrappers import Response

from receiver.clock import Clock, parse_time
from receiver.config.model import Routing
from receiver.config.settings import Settings
from receiver.incidents.failures import RedisFailures
from receiver.incidents.open_incidents import OpenIncident, OpenIncidents, urgency_of
from receiver.incidents.store import RedisIncidents
from receiver.maintenance import RedisMaintenance
from receiver.model.alert import describe_unknown_severity
from receiver.model.escalation import EscalationState, evaluate_escalation
from receiver.model.incident import Incident
from receiver.model.plan import resolve_policy
from receiver.text import one_line
from receiver.web.api.requests import EndMaintenanceRequest, StartMaintenanceRequest, read_query
from receiver.web.api.responses import IncidentRow, StepStatus
from receiver.web.api.serializers import delivery_keys, format_timestamp, serialize_row, step_status
from receiver.web.api.status import MaintenanceHandler, StatusHandler, StormHandler
from receiver.web.misaddressed import find_hook_url
from receiver.web.pages.blueprint import (
    PageQuery,
    PageSlice,
    conditional_response,
    current_actor,
    digest_of,
    paginate,
)
from receiver.web.pages.warnings import (
    StatusWarning,
    list_severity_warnings,
    list_simulated_channels,
    load_warnings,
)
from receiver.web.server.connection import yield_to_others
from receiver.web.urls import url_for

# How many dashboards and cards are kept, and how many cards are built before webhooks are answered.
_DASHBOARDS_AT_MOST, _CARDS_AT_MOST, _CARDS_AT_ONCE = 20, 1000, 10


class DashboardQuery(PageQuery, frozen=True):
    """The filter of the dashboard, as query parameters."""

    state: Literal["", "unacknowledged", "acknowledged", "stale"] = ""
    severity: Literal["", "critical", "error", "warning", "info", "none"] = ""
    route: Annotated[str, Meta(max_length=300)] = ""
    text: Annotated[str, Meta(max_length=200)] = ""

    @property
    def is_filtered(self) -> bool:
        return bool(self.state or self.severity or self.route or self.text)

    def matches(self, incident: OpenIncident, now: float) -> bool:
        """Return whether all of the filter but its text matches *incident*."""
        state = "acknowledged" if incident.is_acknowledged else "unacknowledged"
        return (
            (now >= incident.stale_at if self.state == "stale" else self.state in ("", state))
            and self.severity in ("", incident.severity)
            and self.route in ("", incident.route)
        )


@dataclass(frozen=True)
class IncidentCard:
    """One incident on the dashboard. *no_step_reason* says why no step is waited for."""

    row: IncidentRow
    state: str
    badges: tuple[str, ...]
    next: str
    no_step_reason: str


@dataclass(frozen=True)
class OpenCounts:
    """The number of all open incidents: a filter must not hide how many are open."""

    open: int
    unacknowledged: int
    stale: int
    alarms: tuple[StatusWarning, ...] = ()  # about the severities of what is open

    @property
    def title(self) -> str:
        return f"({self.unacknowledged}) {self.words}" if self.unacknowledged else self.words

    @property
    def words(self) -> str:
        if not self.open:
            return "Nothing open"
        text = f"{self.open} open"
        if not self.unacknowledged:
            return text
        if self.unacknowledged < self.open:
            return f"{text}, {self.unacknowledged} of them nobody has"
        return f"{text}, nobody has {'it' if self.open == 1 else 'them'}"


@dataclass(frozen=True)
class Dashboard:
    """The open incidents that match a filter, and the counts of all; *digest* is a digest of both."""

    incidents: PageSlice
    counts: OpenCounts
    digest: str


T = TypeVar("T")


class _Cached(NamedTuple, Generic[T]):
    """A card or a dashboard, and what it was built from: it is valid until the next change by time."""

    content: T
    source: object
    paused_until: float
    built_at: float
    valid_until: float

    def is_valid(self, source: object, paused_until: float, now: float) -> bool:
        is_same = self.source is source and self.paused_until == paused_until
        return is_same and self.built_at <= now < self.valid_until


@dataclass(eq=False, repr=False)
class IncidentListBuilder:
    """Builds lists of incidents, most urgent first. Raises StoreError."""

    incidents: RedisIncidents
    open_incidents: OpenIncidents
    routing: Routing
    maintenance: RedisMaintenance
    clock: Clock

    def __post_init__(self) -> None:
        self._delivery_keys = delivery_keys(self.routing)
        self._dashboards: dict[DashboardQuery, _Cached[Dashboard]] = {}
        self._cards: dict[str, _Cached[IncidentCard]] = {}

    def build_dashboard(self, query: DashboardQuery) -> Dashboard:
        """Return the open incidents that match *query*, one page of them, and the counts.

        It is built again only after an open incident changed, by a webhook, a person or time.
        """
        now, everything = self.clock(), self.open_incidents.list_all()
        paused_until = self.maintenance.paused_until(now)
        cached = self._dashboards.get(query)
        if cached is not None and cached.is_valid(everything, paused_until, now):
            return cached.content
        counts = OpenCounts(
            open=len(everything),
            unacknowledged=sum(not one.is_acknowledged for one in everything),
            stale=sum(now >= one.stale_at for one in everything),
            alarms=list_severity_warnings(self.routing, everything),
        )
        found = self._select_matching(everything, query, now) if query.is_filtered else everything
        page = paginate(found, query.page)
        cards = self._list_cards(page.rows, paused_until, now)
        incidents = replace(page, rows=[card.content for card in cards])
        dashboard = Dashboard(incidents, counts, digest_of(incidents, counts))
        stale_at = min((one.stale_at for one in everything if one.stale_at > now), default=math.inf)
        valid_until = min((stale_at, *(card.valid_until for card in cards)))
        if len(self._dashboards) >= _DASHBOARDS_AT_MOST:
            self._dashboards = {}
        self._dashboards[query] = _Cached(dashboard, everything, paused_until, now, valid_until)
        return dashboard

    def _select_matching(
        self, everything: Sequence[OpenIncident], query: DashboardQuery, now: float
    ) -> list[OpenIncident]:
        found = [one for one in everything if query.matches(one, now)]
        if not query.text:
            return found
        text = query.text.casefold()
        heads = self.incidents.load_heads([one.id for one in found], is_brief=True)
        return [one for one in found if one.id in heads and text in _searchable_text(heads[one.id])]

    def build_list(self, incidents: Iterable[Incident], page_number: int) -> PageSlice:
        """Return one page of *incidents*, most urgent first."""
        now = self.clock()
        page = paginate(sorted(incidents, key=urgency_of), page_number)
        heads = self.incidents.load_heads([one.id for one in page.rows], self._delivery_keys)
        paused_until = self.maintenance.paused_until(now)
        cards = [self._build_card(head, paused_until, now)[0] for head in heads.values()]
        return replace(page, rows=cards)

    def _list_cards(
        self, incidents: Sequence[OpenIncident], paused_until: float, now: float
    ) -> list[_Cached[IncidentCard]]:
        """Return the cards of *incidents*; those that can't have changed are not built again."""
        if len(self._cards) > _CARDS_AT_MOST:
            self._cards = {}
        known, found = self._cards, {}
        for one in incidents:
            cached = known.get(one.id)
            if cached is not None and cached.is_valid(one, paused_until, now):
                found[one.id] = cached
        missing = [one for one in incidents if one.id not in found]
        heads = self.incidents.load_heads([one.id for one in missing], self._delivery_keys)
        for number, one in enumerate(missing):
            if number % _CARDS_AT_ONCE == 0:
                yield_to_others()
            if (head := heads.get(one.id)) is not None:
                card, valid_until = self._build_card(head, paused_until, now)
                known[one.id] = found[one.id] = _Cached(card, one, paused_until, now, valid_until)
        return [found[one.id] for one in incidents if one.id in found]

    def _build_card(self, incident: Incident, paused_until: float, now: float) -> tuple[IncidentCard, float]:
        """Return the card of *incident*, and until when it stays as it is unless the incident changes."""
        policy = resolve_policy(self.routing, incident, paused_until)
        escalation = evaluate_escalation(incident, policy, now)
        due_at = escalation.next_step.due_at if escalation.next_step is not None else None
        times = (escalation.next_check_at, due_at, incident.stale_at, paused_until)
        valid_until = min((at for at in times if at is not None and at > now), default=math.inf)
        return build_card(incident, escalation, now), valid_until


def build_card(incident: Incident, escalation: EscalationState, now: float) -> IncidentCard:
    """Return an incident as the dashboard shows it."""
    row = serialize_row(incident, escalation)
    step = escalation.next_step
    waits = step is not None and row.next_step_at is not None
    return IncidentCard(
        row=row,
        state=describe_state(incident),
        badges=tuple(_list_badges(incident, now)),
        next=step.step.responder.title if step is not None and waits else "",
        no_step_reason=_explain_no_step(incident, escalation),
    )


def describe_state(incident: Incident) -> str:
    """Return the state in words, with the name of the person who acknowledged or resolved it."""
    if incident.is_resolved:
        return f"resolved by {incident.resolved_by}" if incident.resolved_by else "resolved"
    if not incident.is_acknowledged:
        return "open, nobody has it"
    done = "snoozed" if incident.snoozed_until else "acknowledged"
    return f"{done} by {incident.acknowledged_by}"


def _list_badges(incident: Incident, now: float) -> Iterator[str]:
    if incident.suppression is not None:
        yield incident.suppression.reason
    if incident.is_flapping:
        yield "flapping"
    if incident.is_stale(now):
        yield "stale: its sender is silent"
    yield from map(describe_unknown_severity, incident.unknown_severities)


def _explain_no_step(incident: Incident, escalation: EscalationState) -> str:
    if incident.is_resolved:
        return "it is over"
    if not incident.policy:
        return "nobody is paged"
    if incident.is_acknowledged:
        return "nobody, it is taken"
    if incident.is_paused:
        return "waits while it is muted" if incident.is_suppressed else "waits while it is quiet"
    for one in escalation.steps:
        if step_status(one) is StepStatus.NOTIFYING:
            return f"{one.step.responder.title}, being notified now"
    return "nobody further"


def _searchable_text(incident: Incident) -> str:
    words = (incident.id, incident.alertname, incident.summary, incident.channel, incident.acknowledged_by)
    return " ".join((*words, *(f"{k}={v}" for k, v in incident.group_labels.items()))).casefold()


_MAX_FIELD = 300


def add_maintenance_forms(pages: Blueprint, maintenance: MaintenanceHandler, zone: tzinfo) -> None:
    """Add the routes that the forms post to; both redirect to the dashboard."""

    @pages.post("/maintenance")
    def post_maintenance() -> Response:
        """Start maintenance; an invalid time is refused with a message."""
        for_, until = _read_end(_field("for") or "")
        body = StartMaintenanceRequest(
            by=_field("by"), via="page", for_=for_, until=until, comment=_field("comment")
        )
        maintenance.start_maintenance(body)
        return redirect(url_for("pages.show_dashboard"), 303)

    @pages.post("/maintenance/end")
    def post_maintenance_end() -> Response:
        """End maintenance."""
        maintenance.end_maintenance(EndMaintenanceRequest(by=_field("by") or "", via="page"))
        return redirect(url_for("pages.show_dashboard"), 303)

    def _read_end(text: str) -> tuple[str | None, str | None]:
        """Return a duration like `2h`, or the next time (RFC 3339) of a time of day in the team's zone."""
        text = text.lower().removeprefix("until").strip()
        if ":" not in text:
            return text or None, None
        try:
            return None, format_timestamp(parse_time(text, maintenance.clock(), zone))
        except (ValueError, OverflowError):
            return None, text  # it is refused with a message


def _field(name: str) -> str | None:
    return one_line(request.form.get(name, ""), _MAX_FIELD) or None


def add_dashboard(
    pages: Blueprint,
    settings: Settings,
    failures: RedisFailures,
    lists: IncidentListBuilder,
    status: StatusHandler,
) -> None:
    """Add the dashboard to the blueprint."""
    routing = lists.routing

    @pages.get("/")
    def show_dashboard() -> Response:
        """Show the open incidents, most urgent first."""
        query = read_query(DashboardQuery, request.args)
        dashboard = lists.build_dashboard(query)
        counts = dashboard.counts
        current, warnings = load_warnings(status, failures, counts.stale, counts.alarms)
        webhooks = current.last_webhook_at
        response = conditional_response(
            "dashboard.html",
            # The time of the last webhook always changes, so it is sent in a header and not part of the ETag.
            {
                "digest": dashboard.digest,
                "status_warnings": [*warnings, *list_simulated_channels(routing)],
                "heartbeats": current.heartbeats,
                "maintenance": current.maintenance,
                "webhook_sources": list(webhooks),
            },
            query=query,
            incidents=dashboard.incidents,
            counts=counts,
            routes=[route.name for route in routing.routes],
            zone=routing.zone,
            webhooks=webhooks,
            hook_url=find_hook_url(settings.public_url),
            has_hook_token=bool(settings.webhook_tokens),
            back=f"now?{urlencode(query.list_fields())}",
            page_url=lambda page: url_for("pages.show_dashboard", **query.list_fields(page)),
        )
        response.headers["X-Receiver-Webhooks"] = ",".join(webhooks.values())
        return response


def add_storm(
    pages: Blueprint,
    storms: StormHandler,
    failures: RedisFailures,
    lists: IncidentListBuilder,
    status: StatusHandler,
) -> None:
    """Add the page of a storm and its acknowledgement to the blueprint."""

    @pages.get("/storms/<storm_id>", endpoint="storm")
    def show_storm(storm_id: str) -> Response:
        """Show a storm: its counts and its incidents, most urgent first."""
        query = read_query(PageQuery, request.args)
        shown, storm, members = storms.load_storm(storm_id)
        current, warnings = load_warnings(status, failures)
        return conditional_response(
            "storm.html",
            {
                "storm": shown,
                "incidents": lists.build_list(members, query.page),
                "status_warnings": warnings,
                "maintenance": current.maintenance,
            },
            name=storm.name,
            page_url=lambda page: url_for("pages.storm", storm_id=storm_id, **query.list_fields(page)),
        )

    @pages.post("/storms/<storm_id>/acknowledge")
    def acknowledge_all(storm_id: str) -> Response:
        """Acknowledge all incidents that the storm counts, and redirect to its page."""
        storms.acknowledge_storm(storm_id, current_actor())
        return redirect(url_for("pages.storm", storm_id=storm_id), 303)
