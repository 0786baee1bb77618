"""The warnings above the pages: failing components, failed deliveries, storms, stale incidents and others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from receiver.config.model import Routing
from receiver.config_state import ConfigState
from receiver.incidents.failures import RedisFailures
from receiver.incidents.open_incidents import OpenIncident
from receiver.incidents.routing_preview import REMEDY, is_unpaged_critical
from receiver.model.alert import describe_unknown_severity
from receiver.model.incident import Incident
from receiver.storms.model import Storm
from receiver.web.api.responses import ChannelState, HeartbeatState, Status
from receiver.web.api.serializers import format_timestamp
from receiver.web.api.status import StatusHandler, describe_refusals
from receiver.web.urls import url_for

# By the kind of the delivery's key; one that ends in a colon is followed by a name.
_LABELS = {
    "message": "the message",
    "message_replacement": "the message in place of the first",
    "update": "the message's latest form",
    "fallback": "the message in the fallback channel",
    "reminder": "a reminder in the thread",
    "ack_reminder": "a reminder in the thread",
    "renamed": "a note on a label that changes",
    "renamed_hint": "a hint in the thread on a label that changes",
    "page:": "page to {}",
    "step:": "reply to {} in the thread",
    "page_delayed:": "reply that {} can't be paged",
    "timed_out:": "note that {} could not be notified",
    "acknowledge:": "acknowledgement of the page to {}",
    "resolve:": "end of the page to {}",
    "silence:": "silence {}",
    "prolong:": "silence {}, prolonged",
    "silence_ends:": "word that silence {} ends",
    "unconfirmed:": "word that PagerDuty has no incident for {}",
    "resolved_there:": "word that something in PagerDuty resolves the page to {}",
    "left_open:": "word that a PagerDuty incident is left to be closed by hand",
}


def delivery_label(key: str) -> str:
    """Return the description of a delivery for its key: `page:on-call` is "page to on-call"."""
    kind, colon, rest = key.partition(":")
    label, name = _LABELS.get(kind + colon), rest.partition("~")[0]
    return label.format(name) if label and bool(name) is bool(colon) else key.replace("_", " ")


@dataclass(frozen=True)
class Link:
    """A link to details or to an action."""

    url: str
    words: str


@dataclass(frozen=True)
class StatusWarning:
    """One warning: *level* is `alarm`, `warn` or `note`; *since* is in RFC 3339."""

    level: str
    title: str
    words: str = ""
    since: str = ""
    links: tuple[Link, ...] = ()


_LEVELS = ("alarm", "warn", "note")
# How many incidents, routes, words or deliveries a warning names.
_NAMED_AT_MOST = 5


def list_severity_warnings(
    routing: Routing, incidents: Iterable[Incident | OpenIncident]
) -> tuple[StatusWarning, ...]:
    """Return warnings about critical open *incidents* that page no responder, and about unknown severities.

    They are shown until those incidents are resolved or `severities` contains the word.
    """
    unpaged: list[Incident | OpenIncident] = []
    words: dict[str, Incident | OpenIncident] = {}
    for incident in incidents:
        if is_unpaged_critical(routing, incident):
            unpaged.append(incident)
        for word in incident.unknown_severities:
            if routing.severities.find_severity(word) is None:
                words.setdefault(word, incident)
    return (*_warn_of_unpaged(unpaged), *_warn_of_unknown(words))


def _warn_of_unpaged(incidents: list[Incident | OpenIncident]) -> Iterator[StatusWarning]:
    if not incidents:
        return
    title = "A critical pages nobody." if len(incidents) == 1 else f"{len(incidents)} criticals page nobody."
    routes = list(dict.fromkeys(incident.route for incident in incidents))
    more = f" and {len(routes) - _NAMED_AT_MOST} more" if len(routes) > _NAMED_AT_MOST else ""
    named = f"{'route' if len(routes) == 1 else 'routes'} {', '.join(routes[:_NAMED_AT_MOST])}{more}"
    links = tuple(map(_link_incident, incidents[:_NAMED_AT_MOST]))
    yield StatusWarning("alarm", title, f"No escalation on {named}:", links=links)


def _warn_of_unknown(words: dict[str, Incident | OpenIncident]) -> Iterator[StatusWarning]:
    for word, incident in list(words.items())[:_NAMED_AT_MOST]:
        title, remedy = f"An alert has the {describe_unknown_severity(word)}.", REMEDY[0].upper() + REMEDY[1:]
        yield StatusWarning("alarm", title, f"{remedy}:", links=(_link_incident(incident),))
    if len(words) > _NAMED_AT_MOST:
        yield StatusWarning("alarm", f"{len(words) - _NAMED_AT_MOST} more severities are unknown.")


def _link_incident(incident: Incident | OpenIncident) -> Link:
    return Link(url_for("pages.incident", incident_id=incident.id), incident.alertname or incident.id)


def load_warnings(
    status_handler: StatusHandler,
    failures: RedisFailures,
    stale: int = 0,
    alarms: Sequence[StatusWarning] = (),
) -> tuple[Status, list[StatusWarning]]:
    """Return the status and the warnings, the most severe first. Raises StoreError.

    *stale* is the number of stale open incidents and *alarms* are their severity warnings.
    """
    storms = status_handler.storm_store.list_unresolved()
    refused = status_handler.config.list_refused()
    status = status_handler.load_status(storms, refused)
    found = [
        *alarms,
        *_find_failing_components(status),
        *_find_refused_config(refused),
        *_find_failed(failures),
        *_find_storms(storms),
        *_find_stale(stale),
    ]
    return status, sorted(found, key=lambda warning: _LEVELS.index(warning.level))


def _find_refused_config(refused: Mapping[str, ConfigState]) -> Iterator[StatusWarning]:
    if refused:
        since = min(state.refused_at for state in refused.values())
        words = f"The old one stays in force: {describe_refusals(refused)}."
        yield StatusWarning("alarm", "A new configuration was refused.", words, format_timestamp(since))


def _find_failed(failures: RedisFailures) -> Iterator[StatusWarning]:
    count = failures.count_failures()
    if not count:
        return
    links = tuple(
        Link(
            url_for("pages.incident", incident_id=failure.incident.id, _anchor="deliveries"),
            f"{failure.incident.alertname or failure.incident.id}: {delivery_label(failure.key)}",
        )
        for failure in failures.list_failures(_NAMED_AT_MOST).failures
    )
    title = f"{count} {'delivery' if count == 1 else 'deliveries'} failed permanently."
    words = f"The newest {len(links)}:" if count > len(links) else ""
    yield StatusWarning("alarm", title, words, links=links)


def _find_storms(storms: Iterable[Storm]) -> Iterator[StatusWarning]:
    for storm in storms:
        if storm.is_active:
            link = Link(url_for("pages.storm", storm_id=storm.id), "what it counts")
            yield StatusWarning("warn", f"A storm is on in {storm.name}.", links=(link,))


_NAMES = {"slack": "Slack", "pagerduty": "PagerDuty", "alertmanager": "Alertmanager"}


def _find_failing_components(status: Status) -> Iterator[StatusWarning]:
    if not status.workers:
        words = "Alerts are stored, but nothing is posted and no page is sent."
        yield StatusWarning("alarm", "No worker is alive.", words)
    for kind, channel in status.channels.items():
        if channel.state is ChannelState.FAILING:
            title = f"{_NAMES[kind]} is failing."
            yield StatusWarning("alarm", title, channel.reason or "", channel.since or "")
    if status.clocks:
        said = "; ".join(f"{one.process}: {one.ahead_s:+g} s" for one in status.clocks)
        yield StatusWarning("warn", "Clocks differ.", f"Against Redis' own, {said}. Set them by NTP.")
    for heartbeat in status.heartbeats:
        if heartbeat.state is HeartbeatState.MISSING:
            source = f" from {heartbeat.source}" if heartbeat.source else ""
            title = f"No heartbeat {heartbeat.heartbeat}{source}."
            yield StatusWarning("alarm", title, since=heartbeat.last_at or "")


def _find_stale(stale: int) -> Iterator[StatusWarning]:
    if stale:
        title = "1 incident is stale." if stale == 1 else f"{stale} incidents are stale."
        words = "Who sent it has been silent for long: it may be over."
        links = (Link(url_for("pages.show_dashboard", state="stale"), "show"),)
        yield StatusWarning("warn", title, words, links=links)


def list_simulated_channels(routing: Routing) -> Iterator[StatusWarning]:
    """Return a note about the channels that send nothing; only the dashboard shows it."""
    names = [] if routing.slack_token else ["Slack"]
    titles = [routing.responders[name].title for name in routing.list_unpaged_responders()]
    names += [f"PagerDuty for {', '.join(titles)}"] if titles else []
    if names:
        words = "Nothing is sent there; what would have been sent stands with each incident."
        yield StatusWarning("note", f"Simulated: {'; '.join(names)}.", words)
