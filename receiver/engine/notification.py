"""Where a reader of a notification can go on: addresses built from what the incident knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from receiver.model.actions import Action
from receiver.model.alert import Alert
from receiver.model.escalation import EscalationState
from receiver.model.incident import Incident, OnCallPerson, find_firing
from receiver.model.routing import Matcher
from receiver.runbooks.model import Excerpt
from receiver.text import is_web_link

# Slack's buttons take no longer address, browsers and proxies hardly.
MAX_SILENCE_LINK = 2_000
# Other names have to be quoted, which Alertmanager understands from 0.27 on:
# https://prometheus.io/docs/alerting/latest/configuration/#label-matchers
_PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


def build_silence_link(external_url: str, labels: Mapping[str, str]) -> str:
    """Return the address of Alertmanager's form for a silence of *labels*, filled in.

    Empty when *external_url* is no http(s) link. The form is left blank where the labels are too
    long for an address: leaving some out would silence more than is meant.
    """
    if not is_web_link(external_url):
        return ""
    form = external_url.split("#", maxsplit=1)[0].rstrip("/") + "/#/silences/new"
    matchers = ",".join(_render_matcher(name, labels[name]) for name in sorted(labels))
    link = f"{form}?filter={quote(f'{{{matchers}}}', safe='', errors='replace')}"
    return link if labels and len(link) <= MAX_SILENCE_LINK else form


def find_links(
    incident: Incident,
    *,
    public_url: str = "",
    alertmanager_url: str = "",
    prometheus_url: str = "",
    more: Iterable[tuple[str, str]] = (),
    message: str = "",
) -> Links:
    """Return every link known for *incident*; what is no http(s) link is left out.

    *public_url* is the receiver's own address, *message* the incident's message in Slack, *more*
    labelled links. *alertmanager_url* goes before the address the incident's Alertmanager gave,
    *prometheus_url* stands in where no firing alert tells its origin.
    """
    firing = find_firing(incident)
    alertmanager = alertmanager_url if is_web_link(alertmanager_url) else incident.external_url
    origins = (alert.generator_url for alert in firing)
    return Links(
        incident=f"{public_url.rstrip('/')}/incidents/{incident.id}" if is_web_link(public_url) else "",
        silence=build_silence_link(alertmanager, incident.group_labels or _find_shared_labels(firing)),
        prometheus=next(filter(is_web_link, (*origins, prometheus_url)), ""),
        message=message if is_web_link(message) else "",
        more=tuple((label, url) for label, url in more if is_web_link(url)),
    )


def _render_matcher(name: str, value: str) -> str:
    if _PLAIN_NAME.fullmatch(name):
        return str(Matcher(name, "=", value))
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return str(Matcher(f'"{escaped}"', "=", value))


def _find_shared_labels(alerts: list[Alert]) -> dict[str, str]:
    """Return the labels that all *alerts* have alike."""
    if not alerts:
        return {}
    return {
        name: value
        for name, value in alerts[0].labels.items()
        if all(alert.labels.get(name) == value for alert in alerts[1:])
    }


@dataclass(frozen=True)
class Links:
    """Where a reader can go on; empty strings are places that are not known.

    *more* are the labelled links of the configuration.
    """

    incident: str = ""
    silence: str = ""
    prometheus: str = ""
    message: str = ""
    more: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Notification:
    """What a channel is handed: the action, and how things stand at *now*."""

    action: Action
    incident: Incident
    escalation: EscalationState
    now: float
    excerpt: Excerpt | None = None
    links: Links = Links()
    on_call: tuple[OnCallPerson, ...] = ()  # who stands for the step's responder, where that is known
