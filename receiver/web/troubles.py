"""What is wrong with the receiver itself or its channels: said at the top of every page that shows state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from receiver.model.routing import PAGERDUTY
from receiver.web.delivery_words import delivery_label
from receiver.web.relative import url_for
from receiver.web.rows import format_moment
from receiver.web.status import describe_refusals, show_status
from receiver.web.status_bodies import ChannelState, HeartbeatState, Status
from receiver.wiring.parts import Services

_NAMES = {"slack": "Slack", "pagerduty": "PagerDuty", "alertmanager": "Alertmanager"}
_LEVELS = ("alarm", "warn", "note")
_FAILED_SHOWN = 5


@dataclass(frozen=True)
class Link:
    """Where to read more, or to do something about it."""

    url: str
    words: str


@dataclass(frozen=True)
class StatusWarning:
    """One thing to be said: *level* is `alarm`, `warn` or `note`; *since* is in RFC 3339."""

    level: str
    title: str
    words: str = ""
    since: str = ""
    links: tuple[Link, ...] = ()


def list_status_warnings(
    services: Services, stale: int = 0, alarms: Sequence[StatusWarning] = ()
) -> list[StatusWarning]:
    """Return what readers must know before they trust what they see, worst first. Raises StoreError.

    *stale* is how many open incidents are, and *alarms* what their severities make known, as whoever lists
    them knows.
    """
    status = show_status(services)
    found = [
        *alarms,
        *_find_failing_components(status),
        *_find_refused_config(services),
        *_find_failed(services),
        *_find_storms(services),
        *_find_stale(stale),
        *_find_simulated(services),
    ]
    return sorted(found, key=lambda warning: _LEVELS.index(warning.level))


def list_serious_warnings(services: Services, alarms: Sequence[StatusWarning] = ()) -> list[StatusWarning]:
    """Return those without what is only of note: that is said on the first page, and above what is on fire
    it would be in the way.
    """
    return [warning for warning in list_status_warnings(services, alarms=alarms) if warning.level != "note"]


def _find_failing_components(status: Status) -> Iterator[StatusWarning]:
    if not status.workers:
        words = "Alerts are taken, but nothing is posted and nobody is paged."
        yield StatusWarning("alarm", "No worker is alive.", words)
    for kind, channel in status.channels.items():
        if channel.state is ChannelState.FAILING:
            yield StatusWarning(
                "alarm", f"{_NAMES[kind]} is failing.", channel.reason or "", channel.since or ""
            )
    if status.clocks:
        said = "; ".join(f"{one.process}: {one.ahead_s:+g} s" for one in status.clocks)
        yield StatusWarning("warn", "Clocks differ.", f"Against Redis' own, {said}. Set them by NTP.")
    for heartbeat in status.heartbeats:
        if heartbeat.state is HeartbeatState.MISSING:
            source = f" from {heartbeat.source}" if heartbeat.source else ""
            yield StatusWarning(
                "alarm", f"No heartbeat {heartbeat.heartbeat}{source}.", since=heartbeat.last_at or ""
            )


def _find_refused_config(services: Services) -> Iterator[StatusWarning]:
    refused = services.config.list_refused()
    if refused:
        since = min(state.refused_at for state in refused.values())
        words = f"The old one stays in force: {describe_refusals(refused)}."
        yield StatusWarning("alarm", "A new configuration was refused.", words, format_moment(since))


def _find_failed(services: Services) -> Iterator[StatusWarning]:
    count = services.incidents.count_failed()
    if not count:
        return
    links = tuple(
        Link(
            url_for("pages.incident", incident_id=failure.incident.id, _anchor="deliveries"),
            f"{failure.incident.alertname or failure.incident.id}: {delivery_label(failure.key)}",
        )
        for failure in services.failures.list_failures(_FAILED_SHOWN).failures
    )
    title = "1 delivery was given up." if count == 1 else f"{count} deliveries were given up."
    words = f"The newest {len(links)}:" if count > len(links) else ""
    yield StatusWarning("alarm", title, words, links=links)


def _find_storms(services: Services) -> Iterator[StatusWarning]:
    for storm in services.storm_store.list_unresolved():
        if storm.is_active:
            link = Link(url_for("pages.storm", storm_id=storm.id), "what it counts")
            yield StatusWarning("warn", f"A storm is on in {storm.name}.", links=(link,))


def _find_stale(stale: int) -> Iterator[StatusWarning]:
    if stale:
        title = "1 incident is stale." if stale == 1 else f"{stale} incidents are stale."
        link = Link(url_for("pages.show_dashboard", state="stale"), "show")
        yield StatusWarning(
            "warn", title, "Who sent it has been silent for long: it may be over.", links=(link,)
        )


def _find_simulated(services: Services) -> Iterator[StatusWarning]:
    names = [] if services.routing.slack_token else ["Slack"]
    titles = [
        responder.title
        for responder in services.routing.responders.values()
        if (target := responder.find_target(PAGERDUTY)) is not None and not target.secret
    ]
    names += [f"PagerDuty for {', '.join(titles)}"] if titles else []
    if names:
        words = "Nothing is sent there; what would have been sent stands with each incident."
        yield StatusWarning("note", f"Simulated: {'; '.join(names)}.", words)
