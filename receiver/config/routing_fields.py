"""The sections of routing.yaml: each key with its kind, its default and its meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from receiver.business_hours import BusinessHours
from receiver.config import formats
from receiver.config.fields import ConfigSection, Fault, ListOf, MapOf, NameReference, Reader, Table, key
from receiver.config.yaml_tree import ScalarNode, SequenceNode, describe_node, iter_items, quote_text
from receiver.model.alert import BUILT_IN, Severity, SeverityWords, normalize_word
from receiver.model.routing import Matcher, RateLimit
from receiver.runbooks.section_titles import (
    DIAGNOSIS,
    ESCALATION,
    IMPACT,
    LATER,
    RESOLUTION,
    SYMPTOM,
    SectionTitles,
    build_section_titles,
    normalize_title,
)
from receiver.text import Secret

NEXT_BUSINESS_DAY = "next-business-day"
# Each route is compared with all routes before it, so their number is limited.
MAX_ROUTES = 1_000
_UNSET = Secret()
_ESCALATION = NameReference(str, section="escalations", noun="escalation")
_RESPONDER = NameReference(str, section="responders", noun="responder")


class _Fallback(NameReference):
    """A responder, or a channel."""

    def parse_node(self, node: ScalarNode, reader: Reader) -> str:
        if node.value not in reader.list_names(self.section) and not formats.is_channel(node.value):
            raise Fault("is no fallback", "a Slack channel or a responder's name")
        return node.value


_FALLBACK = _Fallback(str, section="responders")


@dataclass(frozen=True, kw_only=True)
class SeveritySection(ConfigSection):
    """A team's own words for severities."""

    critical: tuple[str, ...] = key(ListOf(formats.WORD))
    error: tuple[str, ...] = key(ListOf(formats.WORD))
    warning: tuple[str, ...] = key(ListOf(formats.WORD))
    info: tuple[str, ...] = key(ListOf(formats.WORD))
    none: tuple[str, ...] = key(ListOf(formats.WORD))

    def report_faults(self, reader: Reader) -> None:
        """Report words with two meanings, and let matchers interpret severities by the others."""
        own: dict[str, tuple[Severity, int]] = {}
        for severity in Severity:
            for node in iter_items(self.node.find_node(severity)):
                word = normalize_word(node.value) if isinstance(node, ScalarNode) else ""
                if word not in getattr(self, severity) or not isinstance(node, ScalarNode):
                    continue
                built_in = BUILT_IN.get(word, severity)
                first, line = own.setdefault(word, (severity, node.line))
                if built_in is not severity:
                    what = f"{describe_node(node)} is built in as {built_in}"
                    reader.diagnostics.error(node.line, what, "another word")
                elif first is not severity:
                    what = f"{describe_node(node)} is {first}, too (line {line})"
                    reader.diagnostics.error(node.line, what, "each word once")
        reader.severities = SeverityWords({word: severity for word, (severity, _) in own.items()})


@dataclass(frozen=True, kw_only=True)
class PagerSection(ConfigSection):
    routing_key: Secret = key(formats.ROUTING_KEY, _UNSET, shown="empty")
    """The integration key (Events API v2) of the PagerDuty service that pages them: 32 letters and digits.
    Empty: these pages are simulated."""
    schedule: str = key(formats.TEXT, "")
    """ID of a PagerDuty schedule, to show who is on call."""

    def report_faults(self, reader: Reader) -> None:
        if not self.routing_key:
            line = self.node.lines.get("routing_key", self.node.line)
            what = f"{self.node.path}.routing_key is empty: these pages are simulated"
            reader.diagnostics.warning(line, what)


@dataclass(frozen=True, kw_only=True)
class ResponderSection(ConfigSection):
    slack: str = key(formats.HANDLE, "")
    """Who is mentioned in the thread: `@name`, or a Slack ID of a user or a user group."""
    pagerduty: PagerSection | None = key(Table(PagerSection), None)

    def report_faults(self, reader: Reader) -> None:
        if not (self.has_value("slack") or self.has_value("pagerduty")):
            what = f"{self.node.path} can't be reached"
            reader.diagnostics.error(self.node.line, what, "slack or pagerduty")


@dataclass(frozen=True, kw_only=True)
class StepSection(ConfigSection):
    notify: str = key(_RESPONDER, required="a responder's name")
    """Name of a responder."""
    after: float = key(formats.duration(), 0.0)
    """Time since the step before was notified. In the first step leave it out."""


@dataclass(frozen=True, kw_only=True)
class EscalationSection(ConfigSection):
    steps: tuple[StepSection, ...] = key(
        ListOf(Table(StepSection), is_strict=True), required="{notify: NAME}"
    )
    ack_timeout: float = key(formats.duration(), 0.0)
    """An acknowledgement ends after this time, and the escalation goes on; `0`: never. At half of it the
    thread has a reminder with a button; acknowledging again, anywhere, restarts the time."""

    def report_faults(self, reader: Reader) -> None:
        for step in self.steps[1:]:
            if not step.has_value("after"):
                what = f"{step.node.path} has no `after`: it is notified together with the step before"
                reader.diagnostics.warning(step.node.line, what)


@dataclass(frozen=True, kw_only=True)
class RouteSection(ConfigSection):
    match: tuple[Matcher, ...] = key(ListOf(formats.MATCHER), shown="`[]`")
    """List of matchers, or one of them; none matches everything."""
    channel: str = key(formats.CHANNEL, required="#name or a Slack ID")
    """Where the message is posted."""
    escalation: str = key(_ESCALATION, "")
    """Name of an escalation. None: nobody is paged."""
    review: str = key(formats.by_pattern(NEXT_BUSINESS_DAY, "is no review", NEXT_BUSINESS_DAY), "")
    """`next-business-day`: a message lists these alerts when the next business day begins, see
    [review](#review)."""
    fallback: str = key(_FALLBACK, "")
    """A channel or a responder for what is refused permanently, see [fallback](#fallback)."""
    links: Mapping[str, str] = key(MapOf(formats.URL))
    """As at the top level, for this route."""


@dataclass(frozen=True, kw_only=True)
class HeartbeatSection(ConfigSection):
    match: tuple[Matcher, ...] = key(
        ListOf(formats.MATCHER), required="a matcher like 'alertname=\"Watchdog\"'"
    )
    """Its matchers."""
    every: float = key(formats.duration(1.0), required="how often it comes, like 5m")
    """How often it comes. At least `1s`."""
    grace: float = key(formats.duration(), 120.0)
    """How late it may be."""
    notify: str = key(_RESPONDER, required="a responder's name")
    """The responder who is paged when it is missing."""


@dataclass(frozen=True, kw_only=True)
class BusinessHoursSection(ConfigSection):
    timezone: str = key(formats.TIMEZONE, BusinessHours.timezone)
    """A name of the time zone database, like `Europe/Berlin`. Also for a time of day that is typed in Slack
    or on the page."""
    days: tuple[frozenset[int], ...] = key(ListOf(formats.DAYS), shown="`mon-fri`")
    """Spans and lists: `mon-fri`, `mon,wed`, `sun-thu`."""
    start: int = key(formats.TIME, BusinessHours.start, name="from")
    """Time of day."""
    end: int = key(formats.TIME, BusinessHours.end, name="to")
    """Time of day, later than `from`; `"24:00"` is midnight."""
    holidays: str = key(formats.COUNTRY, "")
    """A country's code of two letters, like `US`, or one of its parts, like `DE-BY`, whose public holidays
    are free. The days are those of the Python package `holidays`."""

    def report_faults(self, reader: Reader) -> None:
        if self.start >= self.end:
            what = "business_hours.from is not before business_hours.to"
            reader.diagnostics.error(self.node.line, what, "an earlier time")


@dataclass(frozen=True, kw_only=True)
class AlertmanagerSection(ConfigSection):
    EXCLUSIVE: ClassVar = ("url", "urls")

    url: str = key(formats.BASE_URL, "")
    """Its address. Empty: it isn't polled."""
    urls: tuple[str, ...] = key(ListOf(formats.BASE_URL))
    """In place of `url`: the members of one cluster."""
    look_every: float = key(formats.duration(1.0), 60.0)
    """How often it is polled for open incidents. At least `1s`."""
    looks: int = key(formats.count(1), 3)
    """An alert counts as gone when this many polls in a row lack it."""
    trust_after: float = key(formats.duration(), 300.0)
    """An Alertmanager that started less than this ago does not make an alert count as gone."""


@dataclass(frozen=True, kw_only=True)
class OnlyAlertmanagerSection(AlertmanagerSection):
    url: str = key(formats.BASE_URL, "", variable="ALERTMANAGER_URL")
    """Its address. Empty: it isn't polled."""


@dataclass(frozen=True, kw_only=True)
class LimitSettings(ConfigSection):
    """The rate limits that we keep, so that a vendor does not throttle us.

    Slack accepts one message a second in each channel and fifty updates a minute in all:
    https://docs.slack.dev/apis/web-api/rate-limits. PagerDuty accepts 120 events a minute for
    each routing key: https://developer.pagerduty.com/docs/events-api-v2-overview.
    """

    slack_posts: RateLimit = key(formats.RATE, RateLimit(1, 1.0))
    """New messages in each channel; Slack accepts no more."""
    slack_updates: RateLimit = key(formats.RATE, RateLimit(50, 60.0))
    """Updates of messages, in all channels together."""
    pagerduty: RateLimit = key(formats.RATE, RateLimit(120, 60.0))
    """Events for each routing key."""


@dataclass(frozen=True, kw_only=True)
class SlackSection(ConfigSection):
    token: Secret = key(formats.FILE_BOT_TOKEN, _UNSET, variable="SLACK_BOT_TOKEN")
    """The bot's token. Empty: Slack is simulated."""
    responders: tuple[str, ...] = key(
        ListOf(formats.MEMBER, is_strict=True), shown="every full member of the workspace"
    )
    """Who may respond in Slack: a list of `"@group"`, `"@user"`, `"#channel"` for its members, and users' IDs
    (`U…`). Others may list and show incidents. Guests and people of other workspaces never may."""

    def report_faults(self, reader: Reader) -> None:
        if not self.token:
            reader.diagnostics.warning(self.find_line("token"), "slack.token is empty: Slack is simulated")
        node = self.node.find_node("responders")
        if isinstance(node, SequenceNode) and not node.items:
            what = "slack.responders is empty: no member may respond"
            reader.diagnostics.error(node.line, what, formats.MEMBERS)


@dataclass(frozen=True, kw_only=True)
class PagerDutySection(ConfigSection):
    api_token: Secret = key(formats.SECRET, _UNSET, variable="PAGERDUTY_API_TOKEN")
    """For PagerDuty's REST API: which page a webhook is about, whether a responder has acknowledged it before
    the next step is notified, who is on call. Empty: it isn't called."""


@dataclass(frozen=True, kw_only=True)
class PrometheusSection(ConfigSection):
    url: str = key(formats.BASE_URL, "", variable="PROMETHEUS_URL")
    """Your Prometheus. Empty: it isn't queried."""


@dataclass(frozen=True, kw_only=True)
class NoticesSection(ConfigSection):
    channel: str = key(formats.CHANNEL, "")
    """The Slack channel for problems of the receiver itself: deliveries that failed permanently; once an
    hour at most, that a webhook was refused or came to a wrong address; criticals that page nobody, and
    unknown [severities](#severities). Each is posted once; many at once are counted."""


def _check_responder_name(name: str) -> None:
    # A name is a part of keys like `page:on-call#2`, so it may contain neither `#` nor `:`.
    if not re.fullmatch(r"[^\W_][\w .-]{0,63}", name):
        raise Fault("is no name for a responder", "letters, digits, - and .")


_SECTION_KINDS = {
    "symptom": SYMPTOM,
    "impact": IMPACT,
    "diagnosis": DIAGNOSIS,
    "resolution": RESOLUTION,
    "escalation": ESCALATION,
    "later": LATER,
}


@dataclass(frozen=True, kw_only=True)
class RunbookSectionsSection(ConfigSection):
    """A team's own titles of the sections of its runbooks; case, accents and numbering do not matter."""

    symptom: tuple[str, ...] = key(ListOf(formats.SECTION_TITLE))
    impact: tuple[str, ...] = key(ListOf(formats.SECTION_TITLE))
    diagnosis: tuple[str, ...] = key(ListOf(formats.SECTION_TITLE))
    resolution: tuple[str, ...] = key(ListOf(formats.SECTION_TITLE))
    escalation: tuple[str, ...] = key(ListOf(formats.SECTION_TITLE))
    later: tuple[str, ...] = key(ListOf(formats.SECTION_TITLE))
    """Prevention, background and the like, which a message shows last."""

    def build_titles(self) -> SectionTitles:
        return build_section_titles({kind: getattr(self, name) for name, kind in _SECTION_KINDS.items()})

    def report_faults(self, reader: Reader) -> None:
        """Report a title with two meanings."""
        known: dict[str, str] = {}
        for name in _SECTION_KINDS:
            for title in getattr(self, name):
                other = known.setdefault(normalize_title(title), name)
                if other != name:
                    what = f"{self.node.path}.{name} has {quote_text(title)}, which is {other}, too"
                    reader.diagnostics.error(
                        self.node.lines.get(name, self.node.line), what, "each title once"
                    )


@dataclass(frozen=True, kw_only=True)
class RoutingFile(ConfigSection):
    """The whole file."""

    EXCLUSIVE: ClassVar = ("alertmanager", "alertmanagers")

    version: str = key(formats.VERSION, required="version: 1")
    """`1`, the form of this file."""
    # First of all: the matchers of the others interpret severities by these words.
    severities: SeveritySection = key(Table(SeveritySection))
    """A team's own words for severities, see [severities](#severities)."""
    routes: tuple[RouteSection, ...] = key(
        ListOf(Table(RouteSection), is_strict=True, limit=MAX_ROUTES),
        required="routes: with a channel at least",
    )
    """List of [routes](#routes); the first that matches takes the alert."""
    responders: Mapping[str, ResponderSection] = key(
        MapOf(Table(ResponderSection), _check_responder_name, "[\\p{L}\\p{N}][\\p{L}\\p{N}_ .\\-]{0,63}")
    )
    """People and roles by name, see [responders](#responders)."""
    escalations: Mapping[str, EscalationSection] = key(
        MapOf(Table(EscalationSection, "a list of steps, or {steps: […], ack_timeout: 1h}", list_as="steps"))
    )
    """Who is notified, and who next, by name, see [escalations](#escalations)."""
    runbooks: tuple[Path | str, ...] = key(ListOf(formats.RUNBOOK))
    """List of files and folders of Markdown or HTML; a relative path starts at the folder of `routing.yaml`.
    An entry like `https://wiki.example.org/` allows runbook links to that host to be read; without it they
    are linked only."""
    runbook_sections: RunbookSectionsSection = key(Table(RunbookSectionsSection))
    """A team's own titles of the sections of its runbooks, see [runbook sections](#runbook-sections)."""
    slack: SlackSection = key(Table(SlackSection))
    pagerduty: PagerDutySection = key(Table(PagerDutySection))
    alertmanager: OnlyAlertmanagerSection = key(
        Table(OnlyAlertmanagerSection), shown="`url: ${ALERTMANAGER_URL}`"
    )
    """See [alertmanager](#alertmanager)."""
    alertmanagers: Mapping[str, AlertmanagerSection] | None = key(MapOf(Table(AlertmanagerSection)), None)
    """In place of `alertmanager`, for several clusters: `{SOURCE: {url: …}, …}`. SOURCE is the value of
    `?source=` in the webhook's address."""
    prometheus: PrometheusSection = key(Table(PrometheusSection))
    links: Mapping[str, str] = key(MapOf(formats.URL))
    """`{Label: address}`, shown under every message. One whose address is empty is left out."""
    notices: NoticesSection = key(Table(NoticesSection))
    business_hours: BusinessHoursSection | None = key(Table(BusinessHoursSection), None)
    """See [business hours](#business-hours)."""
    flap_window: float = key(formats.duration(), 600.0)
    """An incident whose alerts fire again within this time after they resolved is reopened, instead of a new
    one, and pages from its first step; who had acknowledged it is mentioned in the thread."""
    flap_count: int = key(formats.count(2), 4)
    """An alert that changes more often than this within `flap_window` is flapping: its incident stays open as
    one message, nobody is paged again, and it resolves after it was quiet for `flap_window`. At least 2."""
    history: float = key(formats.duration(1.0), 90 * 86400.0)
    """How long closed incidents are kept. Open ones never expire."""
    heartbeats: tuple[HeartbeatSection, ...] = key(ListOf(Table(HeartbeatSection), is_strict=True))
    """List of [heartbeats](#heartbeats)."""
    heartbeat_url: str = key(formats.URL, "")
    """An address that is called every minute while all is well, for a service that notices when the calls
    stop, see [heartbeat_url](#heartbeat_url)."""
    limits: LimitSettings = key(Table(LimitSettings), shown="see below")
    """How fast we call the vendors, see [limits](#limits)."""
