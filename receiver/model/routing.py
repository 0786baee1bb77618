"""Matchers, routes, responders, escalation policies, and the settings that the model takes from the routing.

Matchers are Alertmanager's: label =, !=, =~ or !~ a value. Those of our routes know severity words, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from receiver.model.alert import BUILT_IN_WORDS, LABEL, Severity, SeverityWords
from receiver.model.delivery_keys import FALLBACK
from receiver.regexes import MatchFunction, compile_full_match
from receiver.text import Secret

_QUOTED = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_BARE_NAME = re.compile(r'[^\s"{}=!~,\\]++')
_OPERATOR = re.compile(r"\s*+(=~|!~|!=|=)")
# Without quotes these would become part of the value, so that no alert ever matches: `severity == critical`,
# `severity='critical'`, and two matchers in one text, `severity=critical,team=db`.
_NO_VALUE = tuple("=~!<>'‘’“”")
_NEXT_MATCHER = re.compile(r",\s*+[^\s{}=!~,]++\s*+(?:=~|!~|!=|=)")
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


@dataclass(frozen=True)
class Matcher:
    """A condition on one label; a missing label counts as empty, as in Alertmanager.

    With *_severities*, the label `severity` is tested as it was sent and as the severity it names: `=` and
    `=~` match when one of the two does, `!=` and `!~` only when both do. By `=` and `=~`, a matcher of
    `warning` matches `error`, too.
    """

    name: str
    operator: str
    value: str
    _is_match: MatchFunction | None = field(default=None, compare=False, repr=False)
    _severities: SeverityWords | None = field(default=None, compare=False, repr=False)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether *labels* match; a regular expression must match the whole value."""
        actual = labels.get(self.name, "")
        read = self._severities.find_severity(actual) if self._severities is not None else None
        if read is None:
            return self._fits(actual)
        if self.operator in ("!=", "!~"):
            return self._fits(actual) and self._fits(read)
        return (
            self._fits(actual)
            or self._fits(read)
            or (read is Severity.ERROR and self._fits(Severity.WARNING))
        )

    def _fits(self, actual: str) -> bool:
        if self._is_match is not None:
            return self._is_match(actual) == (self.operator == "=~")
        return (actual == self.value) == (self.operator == "=")

    def __str__(self) -> str:
        value = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.operator}"{value}"'


def parse_matcher(text: str, severities: SeverityWords | None = None) -> Matcher:
    """Return the matcher written in *text*, e.g. `severity=~"critical|page"`.

    With *severities* it is one of our routes' and knows severity words; without, it tests labels as
    Alertmanager does. Raises ValueError with a sentence that says what is wrong.
    """
    name, operator, value = _split_matcher(text)
    is_match = None
    if operator in ("=~", "!~"):
        try:
            is_match = compile_full_match(value)
        except ValueError as error:
            raise ValueError(f"{text!r} has a regular expression that can't be read: {error}") from error
    return Matcher(name, operator, value, is_match, severities if name == LABEL else None)


def _split_matcher(text: str) -> tuple[str, str, str]:
    """Return name, operator and value; raises ValueError for no matcher. Runs in linear time."""
    trimmed = text.strip()
    name = (_QUOTED if trimmed.startswith('"') else _BARE_NAME).match(trimmed)
    if name is not None and (operator := _OPERATOR.match(trimmed, name.end())) is not None:
        value = trimmed[operator.end() :].strip()
        is_bare = '"' not in value and not value.startswith(_NO_VALUE) and not _NEXT_MATCHER.search(value)
        if _QUOTED.fullmatch(value) if value.startswith('"') else is_bare:
            return _unquote_value(name[0]), operator[1], _unquote_value(value)
    raise ValueError(f'{text!r} is no matcher like severity="critical"')


def _unquote_value(text: str) -> str:
    if not text.startswith('"'):
        return text
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), text[1:-1], flags=re.DOTALL)


@dataclass(frozen=True)
class Route:
    """One route of `routing.yaml`. *name* is its channel, made unique; it is part of an incident's identity,
    so it changes only when the channel does.
    """

    name: str
    channel: str
    matchers: tuple[Matcher, ...] = ()
    escalation: str = ""  # a policy's name; empty: no escalation
    review: str = ""
    fallback: str = ""
    links: tuple[tuple[str, str], ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(matcher.matches(labels) for matcher in self.matchers)


def find_route(routes: Iterable[Route], labels: Mapping[str, str]) -> Route | None:
    """Return the first route that matches, or None."""
    return next((route for route in routes if route.matches(labels)), None)


SLACK = "slack"
PAGERDUTY = "pagerduty"
ALERTMANAGER = "alertmanager"
_NO_SECRET = Secret()


@dataclass(frozen=True)
class Target:
    """Where a message goes: a channel kind and an address."""

    kind: str
    address: str  # a Slack channel or handle, for example
    secret: Secret = _NO_SECRET  # a PagerDuty routing key


def find_digest(digests: Mapping[str, str], target: str) -> str:
    """Return the digest of the secret that is sent to *target* (`kind:address`); empty where there is none.

    *digests* are by target, or by `kind:` for all others of a kind.
    """
    kind = target.partition(":")[0]
    return digests.get(target) or digests.get(f"{kind}:", "")


@dataclass(frozen=True)
class Responder:
    """Whom a step notifies: a name with targets. *schedule* is a PagerDuty schedule, for look-ups only."""

    name: str
    targets: tuple[Target, ...]
    schedule: str = ""

    @cached_property
    def _targets_by_kind(self) -> dict[str, Target]:
        return {target.kind: target for target in reversed(self.targets)}

    def find_target(self, kind: str) -> Target | None:
        return self._targets_by_kind.get(kind)

    @cached_property
    def fallback_step(self) -> Step:
        """The step that notifies it as a route's fallback. No step of a policy can have its name."""
        return Step(f"{self.name}#{FALLBACK}", self)

    @property
    def title(self) -> str:
        """The name for display: `team-lead` becomes `Team Lead`, `on-call` becomes `On-call`."""
        if self.name.lower() == "on-call":
            return "On-call"
        return " ".join(
            word[:1].upper() + word[1:] for word in self.name.replace("_", "-").split("-") if word
        )


@dataclass(frozen=True)
class Step:
    """One notification of a responder, *after* seconds after the step before was notified or timed out.

    *name* stays the same when other steps are added or removed: the responder's name, with `#2`, `#3` from
    the responder's second step on.
    """

    name: str
    responder: Responder
    after: float = 0.0


@dataclass(frozen=True)
class EscalationPolicy:
    """The escalation steps of a route's incidents, and the settings that go with them.

    *others* are responders who may have been paged under an earlier version of the policy: their pages are
    acknowledged and resolved, and no step pages them.
    """

    name: str
    steps: tuple[Step, ...] = ()  # in order
    ack_timeout: float = 0.0  # an acknowledgement ends after so many seconds; 0: never
    others: tuple[Responder, ...] = ()
    checks_alertmanager: bool = False  # Alertmanager can be asked before a step after the first
    paused_until: float = 0.0  # the end of a maintenance that stops paging; 0 without one
    checks_pagerduty: bool = False  # PagerDuty can be asked before a step after the first
    fallback: Target | Responder | None = None  # the route's, for notifications that are refused for good

    @cached_property
    def responders(self) -> dict[str, Responder]:
        """Every responder that may have been paged, by name."""
        known = [*(step.responder for step in self.steps), *self.others]
        if self.fallback_responder is not None:
            known.append(self.fallback_responder)
        return {responder.name: responder for responder in known}

    @property
    def fallback_responder(self) -> Responder | None:
        return self.fallback if isinstance(self.fallback, Responder) else None


NO_POLICY = EscalationPolicy("")


@dataclass(frozen=True)
class RateLimit:
    """At most *count* requests to a vendor in any *per_s* seconds."""

    count: int
    per_s: float


class RoutingTable(Protocol):
    """The part of the configuration that the model reads."""

    @property
    def flap_window(self) -> float: ...
    @property
    def flap_count(self) -> int: ...
    @property
    def routes(self) -> tuple[Route, ...]: ...
    @property
    def responders(self) -> Mapping[str, Responder]: ...
    @property
    def alertmanagers(self) -> Mapping[str, object]: ...
    @property
    def severities(self) -> SeverityWords: ...
    @property
    def can_check_pagerduty(self) -> bool: ...
    @property
    def secret_digests(self) -> Mapping[str, str]: ...
    def find_route(self, labels: Mapping[str, str]) -> Route: ...
    def get_policy(self, name: str) -> EscalationPolicy: ...


@dataclass(frozen=True)
class RouteSettings:
    """The settings for merging a group: its route and policy, the flap settings, and the severity words."""

    route: str
    channel: str
    policy: str
    steps: tuple[str, ...] = ()
    flap_window: float = 600.0  # in seconds
    flap_count: int = 4  # more changes of an alert within the flap window are flapping
    severities: SeverityWords = BUILT_IN_WORDS
