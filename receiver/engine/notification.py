"""The notification that a channel renders, and the links in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import quote

from receiver.errors import RefusalKind
from receiver.links import parse_link
from receiver.model.actions import DeliveryAction, Page, Update
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import REPLACEMENT
from receiver.model.escalation import EscalationState
from receiver.model.heading import find_heading
from receiver.model.incident import Incident, OnCallPerson
from receiver.model.routing import Matcher
from receiver.model.transitions import choose_matchers
from receiver.runbooks.model import Excerpt
from receiver.text import one_line

# A longer form is left blank. Where a channel takes no URL of this length, our incident page links it.
MAX_SILENCE_LINK = 8_000
# Other label names must be quoted, which Alertmanager supports from 0.27 on:
# https://prometheus.io/docs/alerting/latest/configuration/#label-matchers
_PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


def build_silence_link(external_url: str, matchers: Sequence[tuple[str, str]]) -> str:
    """Return the URL of Alertmanager's silence form, filled in with the labels *matchers*.

    Empty if *external_url* is no web address. If the labels make the URL too long, the form is left blank:
    with only some of them it would silence too much.
    """
    base = parse_link(external_url)
    if not base:
        return ""
    form = base.split("#", maxsplit=1)[0].rstrip("/") + "/#/silences/new"
    rendered = ",".join(_render_matcher(name, value) for name, value in matchers)
    link = f"{form}?filter={quote(f'{{{rendered}}}', safe='', errors='replace')}"
    return link if matchers and len(link) <= MAX_SILENCE_LINK else form


def find_links(
    incident: Incident,
    *,
    public_url: str = "",
    alertmanager_url: str = "",
    more: Iterable[tuple[str, str]] = (),
    message: str = "",
    can_silence: bool = False,
) -> Links:
    """Return every link known for *incident*, without those that are no web addresses.

    *public_url* is the receiver's own URL, *message* the link to the incident's Slack message, *more*
    are labelled links. *alertmanager_url* overrides the external URL that Alertmanager sent.
    """
    base = parse_link(public_url)
    origins = (parse_link(alert.generator_url, is_address=True) for alert in incident.firing_alerts)
    return Links(
        incident=f"{base.rstrip('/')}/incidents/{incident.id}" if base else "",
        silence=_find_silence_form(incident, alertmanager_url),
        source=next(filter(None, origins), ""),
        message=parse_link(message),
        more=tuple((label, link) for label, url in more if (link := parse_link(url))),
        can_silence=can_silence,
    )


def _find_silence_form(incident: Incident, alertmanager_url: str) -> str:
    """Return the form of the Alertmanager that sent *incident*, with the matchers of our own silence."""
    if not incident.has_silence_form:
        return ""
    matchers = choose_matchers(incident)
    return build_silence_link(
        parse_link(alertmanager_url) or incident.external_url, matchers[0] if len(matchers) == 1 else ()
    )


def _render_matcher(name: str, value: str) -> str:
    if _PLAIN_NAME.fullmatch(name):
        return str(Matcher(name, "=", value))
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return str(Matcher(f'"{escaped}"', "=", value))


@dataclass(frozen=True)
class Links:
    """URLs for the reader of a notification; an empty string is an unknown URL.

    *source* is the generatorURL of the worst alert, *more* are the labelled links of the configuration.
    """

    incident: str = ""
    silence: str = ""
    source: str = ""
    message: str = ""
    more: tuple[tuple[str, str], ...] = ()
    can_silence: bool = False  # an Alertmanager is configured for the incident's source


@dataclass(frozen=True)
class SubjectId:
    """Names what a notification is about: *kind* (`incident`, `storm`, `review`, `notice`) and *id*."""

    kind: str
    id: str


@dataclass(frozen=True)
class Notification:
    """The input of a channel: the action, and in each subclass the state to render.

    *first_attempt_at* is when the first attempt of the delivery was saved, *searched_since* since when the
    channel is asked whether an attempt arrived (0: it is not); the dispatcher sets both.
    """

    action: DeliveryAction
    first_attempt_at: float = field(default=0.0, kw_only=True)
    searched_since: float = field(default=0.0, kw_only=True)

    noun: ClassVar[str] = "Message"  # what a `Post` of it is called in notices

    @property
    def subject(self) -> SubjectId:
        """What it is about; names it in log lines and in the metadata of its message."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """The text of a link to the message that a reply belongs to; untrusted."""
        return "this message"

    @property
    def due_at(self) -> float | None:
        """Since when its page is due, to measure how late it is; None for other actions."""
        return None

    def find_notice_title(self, after: Delivery) -> str:
        """Return how a notice names the subject where the delivery *after* failed permanently; empty for no
        notice.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class IncidentNotification(Notification):
    """The state of an incident and its escalation at *now*."""

    incident: Incident
    escalation: EscalationState
    now: float
    excerpt: Excerpt | None = None
    links: Links = Links()
    on_call: tuple[OnCallPerson, ...] = ()  # who is on call for the step's responder, if known

    @property
    def subject(self) -> SubjectId:
        return SubjectId("incident", self.incident.id)

    @property
    def title(self) -> str:
        return self.incident.alertname or self.incident.summary

    @property
    def due_at(self) -> float | None:
        """The due time of the escalation step."""
        if not isinstance(self.action, Page):
            return None
        step = self.action.step
        return next((one.due_at for one in self.escalation.steps if one.step == step), None)

    def find_notice_title(self, after: Delivery) -> str:
        """Return severity, name and ID. There is no notice for the edit of a deleted message, since the
        message is posted again, once.
        """
        incident = self.incident
        is_reposted = after.kind == RefusalKind.MESSAGE_GONE and REPLACEMENT not in incident.deliveries
        if isinstance(self.action, Update) and is_reposted:
            return ""
        heading = find_heading(incident)
        name = one_line(heading.counted_name or heading.summary, 80)
        return f"{incident.severity.upper()} {name}, {incident.id}"
