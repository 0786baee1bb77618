"""The responders, escalations and heartbeats of routing.yaml."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from receiver.config.nodes import Item, List, Table, Text, describe, join
from receiver.config.report import Report, quote, suggest
from receiver.config.values import (
    read_any_table,
    read_duration,
    read_list,
    read_matchers,
    read_secret,
    read_table,
    read_text,
)
from receiver.domain.heartbeat import Heartbeat
from receiver.domain.policy import PAGERDUTY, SLACK, EscalationPolicy, Responder, Step, Target
from receiver.domain.severity import SeverityWords
from receiver.text import Secret

RESPONDER_KEYS = (SLACK, PAGERDUTY)
PAGER_KEYS = ("routing_key", "schedule")
POLICY_KEYS = ("steps", "ack_timeout")
STEP_KEYS = ("notify", "after")
HEARTBEAT_KEYS = ("match", "every", "grace", "notify")
# A name stands in keys like `page:on-call#2`, so it has neither `#` nor `:`.
_NAME = re.compile(r"[^\W_][\w .-]{0,63}")
_HANDLE = re.compile(r"@[^\s@#<>&|]{1,80}|[UWS][A-Z0-9]{2,20}")
# https://developer.pagerduty.com/docs/events-api-v2-overview
_ROUTING_KEY = re.compile(r"[A-Za-z0-9]{32}", re.ASCII)


def read_responders(root: Table, report: Report) -> dict[str, Responder]:
    """Return the responders by name; each has a target at least."""
    table = read_any_table(root.find("responders"), report)
    responders = {}
    for name in table.items if table else ():
        if table and not _NAME.fullmatch(name):
            report.fault(
                table.lines[name], f"{quote(name)} is no name for a responder", "letters, digits, - and ."
            )
        elif table:
            responders[name] = _read_responder(name, table, report)
    return responders


def _read_responder(name: str, responders: Table, report: Report) -> Responder:
    path, line = join(responders.path, name), responders.lines[name]
    item = responders.find(name)
    table = read_table(item, report, RESPONDER_KEYS)
    targets: list[Target] = []
    schedule = ""
    if table is not None:
        pager = read_table(table.find(PAGERDUTY), report, PAGER_KEYS)
        if pager is not None:
            key = read_secret(pager.find("routing_key"), report)
            _warn_of_routing_key(pager, key, report)
            targets.append(Target(PAGERDUTY, name, key))
            schedule = read_text(pager.find("schedule"), report)
        if handle := _read_handle(table.find(SLACK), report):
            targets.append(Target(SLACK, handle))
    if item is None or (table and table.find(PAGERDUTY) is None and _is_empty(table.find(SLACK))):
        report.fault(line, f"{path} can't be reached", "slack or pagerduty")
    return Responder(name, tuple(targets), schedule)


def _is_empty(item: Item | None) -> bool:
    return item is None or (isinstance(item, Text) and not item.value)


def _read_handle(item: Item | None, report: Report) -> str:
    value = read_text(item, report)
    if isinstance(item, Text) and value and not _HANDLE.fullmatch(value):
        expected = "@name or an ID (U…, W…, S… for a user group)"
        report.fault(item.line, f"{describe(item)} is nobody in Slack", expected)
        return ""
    return value


def _warn_of_routing_key(pager: Table, key: Secret, report: Report) -> None:
    line = pager.lines.get("routing_key", pager.line)
    if not key:
        report.warn(line, f"{pager.path}.routing_key is empty: these pages are simulated")
    elif not _ROUTING_KEY.fullmatch(key.reveal()):
        report.warn(
            line,
            f"{pager.path}.routing_key has not the form of a PagerDuty integration key",
            "32 letters and digits",
        )


def read_policies(
    root: Table, report: Report, responders: Mapping[str, Responder]
) -> dict[str, EscalationPolicy]:
    """Return the escalations by name."""
    table = read_any_table(root.find("escalations"), report)
    return {name: _read_policy(name, table, report, responders) for name in table.items} if table else {}


def _read_policy(
    name: str, escalations: Table, report: Report, responders: Mapping[str, Responder]
) -> EscalationPolicy:
    item = escalations.find(name)
    ack_timeout = 0.0
    if isinstance(item, Table):
        table = read_table(item, report, POLICY_KEYS)
        ack_timeout = read_duration(item.find("ack_timeout"), report, 0.0)
        item = table.find("steps") if table else None
    elif item is not None and not isinstance(item, List):
        report.fault(item.line, f"{item.path} is a text", "a list of steps, or {steps: […], ack_timeout: 1h}")
        return EscalationPolicy(name)
    members = read_list(item, report)
    if not members and (item is None or isinstance(item, List)):
        report.fault(escalations.lines[name], f"escalation {quote(name)} has no step", "{notify: NAME}")
    return EscalationPolicy(name, _read_steps(members, report, responders), ack_timeout)


def _read_steps(
    members: tuple[Item, ...], report: Report, responders: Mapping[str, Responder]
) -> tuple[Step, ...]:
    steps: list[Step] = []
    times: Counter[str] = Counter()
    for number, item in enumerate(members):
        table = read_table(item, report, STEP_KEYS)
        if table is None:
            continue
        if number and table.find("after") is None:
            report.warn(table.line, f"{table.path} has no `after`: it is told together with the step before")
        after = read_duration(table.find("after"), report, 0.0)
        responder = read_responder_name(table, report, responders)
        if responder is None:
            continue
        times[responder.name] += 1
        n = times[responder.name]
        steps.append(Step(responder.name if n == 1 else f"{responder.name}#{n}", responder, after))
    return tuple(steps)


def read_responder_name(
    table: Table, report: Report, responders: Mapping[str, Responder]
) -> Responder | None:
    """Return the responder that `notify` names; a missing or unknown one is a fault."""
    item = table.find("notify")
    name = read_text(item, report)
    if item is None:
        report.fault(table.line, f"{table.path} has no notify", "a responder's name")
    elif isinstance(item, Text) and name not in responders:
        what = f"{describe(item)} is no responder"
        report.fault(item.line, what, suggest(item.written, responders))
    return responders.get(name)


def read_heartbeats(
    root: Table, report: Report, responders: Mapping[str, Responder], severities: SeverityWords
) -> tuple[Heartbeat, ...]:
    """Return the alerts that must keep coming."""
    heartbeats = [
        _read_heartbeat(item, report, responders, severities)
        for item in read_list(root.find("heartbeats"), report)
    ]
    return tuple(heartbeat for heartbeat in heartbeats if heartbeat)


def _read_heartbeat(
    item: Item, report: Report, responders: Mapping[str, Responder], severities: SeverityWords
) -> Heartbeat | None:
    table = read_table(item, report, HEARTBEAT_KEYS)
    if table is None:
        return None
    match = table.find("match")
    matchers = read_matchers(match, report, severities)
    if match is None or (isinstance(match, List) and not match.items):
        report.fault(table.line, f"{table.path} has no match", """a matcher like 'alertname="Watchdog"'""")
    if table.find("every") is None:
        report.fault(table.line, f"{table.path} has no every", "how often it comes, like 5m")
    every = read_duration(table.find("every"), report, 300.0, 1.0)
    grace = read_duration(table.find("grace"), report, 120.0)
    responder = read_responder_name(table, report, responders)
    return Heartbeat(matchers, every, grace, responder) if responder else None
