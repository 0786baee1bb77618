"""Read the responders, escalations, heartbeats and business hours of routing.yaml."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from zoneinfo import ZoneInfo

from receiver.business_hours import BusinessHours, find_country
from receiver.config.readers import (
    read_any_table,
    read_duration,
    read_list,
    read_matchers,
    read_secret,
    read_table,
    read_text,
)
from receiver.config.yaml_tree import (
    Diagnostics,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    describe_node,
    iter_items,
    join_path,
    quote_text,
    suggest_choice,
)
from receiver.heartbeats.model import Heartbeat
from receiver.model.alert import SeverityWords
from receiver.model.routing import PAGERDUTY, SLACK, EscalationPolicy, Responder, Step, Target
from receiver.text import Secret

RESPONDER_KEYS = (SLACK, PAGERDUTY)
PAGERDUTY_KEYS = ("routing_key", "schedule")
POLICY_KEYS = ("steps", "ack_timeout")
STEP_KEYS = ("notify", "after")
HEARTBEAT_KEYS = ("match", "every", "grace", "notify")
# A name is a part of keys like `page:on-call#2`, so it may contain neither `#` nor `:`.
_NAME = re.compile(r"[^\W_][\w .-]{0,63}")
_HANDLE = re.compile(r"@[^\s@#<>&|]{1,80}|[UWS][A-Z0-9]{2,20}")
# https://developer.pagerduty.com/docs/events-api-v2-overview
_ROUTING_KEY = re.compile(r"[A-Za-z0-9]{32}", re.ASCII)


def read_responders(root: MappingNode, diagnostics: Diagnostics) -> dict[str, Responder]:
    """Return the responders by name; each has at least one target."""
    table = read_any_table(root.find_node("responders"), diagnostics)
    responders = {}
    for name in table.items if table else ():
        if table and not _NAME.fullmatch(name):
            diagnostics.error(
                table.lines[name],
                f"{quote_text(name)} is no name for a responder",
                "letters, digits, - and .",
            )
        elif table:
            responders[name] = _read_responder(name, table, diagnostics)
    return responders


def _read_responder(name: str, responders: MappingNode, diagnostics: Diagnostics) -> Responder:
    path, line = join_path(responders.path, name), responders.lines[name]
    node = responders.find_node(name)
    table = read_table(node, diagnostics, RESPONDER_KEYS)
    targets: list[Target] = []
    schedule = ""
    if table is not None:
        pager = read_table(table.find_node(PAGERDUTY), diagnostics, PAGERDUTY_KEYS)
        if pager is not None:
            key = read_secret(pager.find_node("routing_key"), diagnostics)
            _warn_of_routing_key(pager, key, diagnostics)
            targets.append(Target(PAGERDUTY, name, key))
            schedule = read_text(pager.find_node("schedule"), diagnostics)
        if handle := _read_handle(table.find_node(SLACK), diagnostics):
            targets.append(Target(SLACK, handle))
    if node is None or (table and table.find_node(PAGERDUTY) is None and _is_empty(table.find_node(SLACK))):
        diagnostics.error(line, f"{path} can't be reached", "slack or pagerduty")
    return Responder(name, tuple(targets), schedule)


def _is_empty(node: Node | None) -> bool:
    return node is None or (isinstance(node, ScalarNode) and not node.value)


def _read_handle(node: Node | None, diagnostics: Diagnostics) -> str:
    value = read_text(node, diagnostics)
    if isinstance(node, ScalarNode) and value and not _HANDLE.fullmatch(value):
        expected = "@name or an ID (U…, W…, S… for a user group)"
        diagnostics.error(node.line, f"{describe_node(node)} is nobody in Slack", expected)
        return ""
    return value


def _warn_of_routing_key(pager: MappingNode, key: Secret, diagnostics: Diagnostics) -> None:
    line = pager.lines.get("routing_key", pager.line)
    if not key:
        diagnostics.warning(line, f"{pager.path}.routing_key is empty: these pages are simulated")
    elif not _ROUTING_KEY.fullmatch(key.reveal()):
        diagnostics.warning(
            line,
            f"{pager.path}.routing_key has not the form of a PagerDuty integration key",
            "32 letters and digits",
        )


def read_policies(
    root: MappingNode, diagnostics: Diagnostics, responders: Mapping[str, Responder]
) -> dict[str, EscalationPolicy]:
    """Return the escalations by name."""
    table = read_any_table(root.find_node("escalations"), diagnostics)
    return {name: _read_policy(name, table, diagnostics, responders) for name in table.items} if table else {}


def _read_policy(
    name: str, escalations: MappingNode, diagnostics: Diagnostics, responders: Mapping[str, Responder]
) -> EscalationPolicy:
    node = escalations.find_node(name)
    ack_timeout = 0.0
    if isinstance(node, MappingNode):
        table = read_table(node, diagnostics, POLICY_KEYS)
        ack_timeout = read_duration(node.find_node("ack_timeout"), diagnostics, 0.0)
        node = table.find_node("steps") if table else None
    elif node is not None and not isinstance(node, SequenceNode):
        diagnostics.error(
            node.line, f"{node.path} is a text", "a list of steps, or {steps: […], ack_timeout: 1h}"
        )
        return EscalationPolicy(name)
    members = read_list(node, diagnostics)
    if not members and (node is None or isinstance(node, SequenceNode)):
        diagnostics.error(
            escalations.lines[name], f"escalation {quote_text(name)} has no step", "{notify: NAME}"
        )
    return EscalationPolicy(name, _read_steps(members, diagnostics, responders), ack_timeout)


def _read_steps(
    members: tuple[Node, ...], diagnostics: Diagnostics, responders: Mapping[str, Responder]
) -> tuple[Step, ...]:
    steps: list[Step] = []
    times: Counter[str] = Counter()
    for number, node in enumerate(members):
        table = read_table(node, diagnostics, STEP_KEYS)
        if table is None:
            continue
        if number and table.find_node("after") is None:
            diagnostics.warning(
                table.line, f"{table.path} has no `after`: it is told together with the step before"
            )
        after = read_duration(table.find_node("after"), diagnostics, 0.0)
        responder = read_responder_name(table, diagnostics, responders)
        if responder is None:
            continue
        times[responder.name] += 1
        n = times[responder.name]
        steps.append(Step(responder.name if n == 1 else f"{responder.name}#{n}", responder, after))
    return tuple(steps)


def read_responder_name(
    table: MappingNode, diagnostics: Diagnostics, responders: Mapping[str, Responder]
) -> Responder | None:
    """Return the responder that `notify` names; a missing or unknown one is a fault."""
    node = table.find_node("notify")
    name = read_text(node, diagnostics)
    if node is None:
        diagnostics.error(table.line, f"{table.path} has no notify", "a responder's name")
    elif isinstance(node, ScalarNode) and name not in responders:
        what = f"{describe_node(node)} is no responder"
        diagnostics.error(node.line, what, suggest_choice(node.raw, responders))
    return responders.get(name)


def read_heartbeats(
    root: MappingNode,
    diagnostics: Diagnostics,
    responders: Mapping[str, Responder],
    severities: SeverityWords,
) -> tuple[Heartbeat, ...]:
    """Return the heartbeats: the alerts that a source must keep sending."""
    heartbeats = [
        _read_heartbeat(node, diagnostics, responders, severities)
        for node in read_list(root.find_node("heartbeats"), diagnostics)
    ]
    return tuple(heartbeat for heartbeat in heartbeats if heartbeat)


def _read_heartbeat(
    node: Node, diagnostics: Diagnostics, responders: Mapping[str, Responder], severities: SeverityWords
) -> Heartbeat | None:
    table = read_table(node, diagnostics, HEARTBEAT_KEYS)
    if table is None:
        return None
    match = table.find_node("match")
    matchers = read_matchers(match, diagnostics, severities)
    if match is None or (isinstance(match, SequenceNode) and not match.items):
        diagnostics.error(
            table.line, f"{table.path} has no match", """a matcher like 'alertname="Watchdog"'"""
        )
    if table.find_node("every") is None:
        diagnostics.error(table.line, f"{table.path} has no every", "how often it comes, like 5m")
    every = read_duration(table.find_node("every"), diagnostics, 300.0, 1.0)
    grace = read_duration(table.find_node("grace"), diagnostics, 120.0)
    responder = read_responder_name(table, diagnostics, responders)
    return Heartbeat(matchers, every, grace, responder) if responder else None


KEYS = ("timezone", "days", "from", "to", "holidays")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])", re.ASCII)


def read_business_hours(root: MappingNode, diagnostics: Diagnostics) -> BusinessHours | None:
    """Return the business hours, None if the file has none; a key that is left out has a default."""
    table = read_table(root.find_node("business_hours"), diagnostics, KEYS)
    if table is None:
        return None
    standard = BusinessHours()
    start = _read_time(table.find_node("from"), diagnostics, standard.start)
    end = _read_time(table.find_node("to"), diagnostics, standard.end)
    if start >= end:
        diagnostics.error(
            table.line, "business_hours.from is not before business_hours.to", "an earlier time"
        )
    return BusinessHours(
        timezone=_read_timezone(table.find_node("timezone"), diagnostics, standard.timezone),
        days=_read_days(table.find_node("days"), diagnostics, standard.days),
        start=start,
        end=end,
        holidays=_read_country(table.find_node("holidays"), diagnostics),
    )


def _read_timezone(node: Node | None, diagnostics: Diagnostics, default: str) -> str:
    name = read_text(node, diagnostics)
    if node is None or not name:
        return default
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        # Some systems have no time zone database; UTC works without one.
        if name != "UTC":
            diagnostics.error(
                node.line, f"{describe_node(node)} is no time zone", "one like UTC or Europe/Berlin"
            )
            return default
    return name


def _read_days(node: Node | None, diagnostics: Diagnostics, default: frozenset[int]) -> frozenset[int]:
    """Parse `mon-fri`, `mon,wed` or a list of these; a range may wrap around the end of the week."""
    days: set[int] = set()
    for member in iter_items(node):
        for span in re.split(r"\s*,\s*", read_text(member, diagnostics)):
            first, _, last = span.lower().partition("-")
            first, last = first.strip()[:3], (last or first).strip()[:3]
            if first not in _DAYS or last not in _DAYS:
                diagnostics.error(member.line, f"{describe_node(member)} are no days", "mon-fri or mon,wed")
                break
            start = _DAYS.index(first)
            days.update((start + n) % 7 for n in range((_DAYS.index(last) - start) % 7 + 1))
    return frozenset(days) or default


def _read_time(node: Node | None, diagnostics: Diagnostics, default: int) -> int:
    """Parse `09:00` into minutes since midnight; `24:00` is the end of the day."""
    text = read_text(node, diagnostics)
    if node is None or not text:
        return default
    found = _TIME.fullmatch(text)
    minutes = int(found[1]) * 60 + int(found[2]) if found else -1
    if 0 <= minutes <= 24 * 60:
        return minutes
    diagnostics.error(node.line, f"{describe_node(node)} is no time of day", 'one like "09:00"')
    return default


def _read_country(node: Node | None, diagnostics: Diagnostics) -> str:
    text = read_text(node, diagnostics)
    if node is None or not text:
        return ""
    country = find_country(text)
    if country is None:
        is_part = find_country(text.partition("-")[0]) is not None
        expected = "one of its parts, like DE-BY" if is_part else "a code of two letters like US"
        diagnostics.error(node.line, f"{describe_node(node)} is no country", expected)
        return ""
    return country
