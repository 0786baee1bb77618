"""What is wrong with the receiver itself or its channels: said at the top of every page that shows state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flask import url_for

from receiver.domain.policy import PAGERDUTY
from receiver.web.status import show_status
from receiver.web.status_bodies import ChannelState, HeartbeatState
from receiver.wiring import Parts

_NAMES = {"slack": "Slack", "pagerduty": "PagerDuty", "alertmanager": "Alertmanager"}


@dataclass(frozen=True)
class Trouble:
    """One thing to be said: *level* is `alarm`, `warn` or `note`."""

    level: str
    title: str
    words: str = ""
    link: str = ""
    link_words: str = ""


def find_troubles(parts: Parts) -> list[Trouble]:
    """Return what readers must know before they trust what they see, worst first. Raises StoreError."""
    order = {"alarm": 0, "warn": 1, "note": 2}
    return sorted(_find(parts), key=lambda trouble: order[trouble.level])


def _find(parts: Parts) -> Iterator[Trouble]:
    status = show_status(parts)
    if not status.workers:
        yield Trouble(
            "alarm", "No worker is alive.", "Alerts are taken, but nothing is posted and nobody is paged."
        )
    for kind, channel in status.channels.items():
        if channel.state is ChannelState.FAILING:
            yield Trouble("alarm", f"{_NAMES[kind]} is failing:", channel.reason or "")
    for beat in status.heartbeats:
        if beat.state is HeartbeatState.MISSING:
            source = beat.source or "default"
            yield Trouble("alarm", f"No heartbeat {beat.heartbeat} from {source}.", f"Last: {beat.last_at}")
    failed = parts.incidents.count_failed()
    if failed:
        what = "1 delivery" if failed == 1 else f"{failed} deliveries"
        yield Trouble(
            "alarm", f"{what} gave up.", "`receiver failed` lists them, `receiver retry --all` sends again."
        )
    for storm in parts.shelf_of_storms.find_unresolved():
        if storm.is_on:
            where = url_for("storm_pages.storm", storm_id=storm.id)
            yield Trouble("warn", f"A storm is on in {storm.name}.", link=where, link_words="What it counts")
    if simulated := _find_simulated(parts):
        yield Trouble(
            "note",
            f"Simulated: {', '.join(simulated)}.",
            "Without credentials nothing is sent there; what would have been sent stands with each incident.",
        )


def _find_simulated(parts: Parts) -> list[str]:
    found = [] if parts.routing.slack_token else ["Slack"]
    for responder in parts.routing.responders.values():
        target = responder.find_target(PAGERDUTY)
        if target is not None and not target.secret:
            found.append(f"PagerDuty for {responder.title}")
    return found
