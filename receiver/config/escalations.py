"""The responders, escalations and heartbeats of routing.yaml."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from receiver.config.nodes import MappingNode, Node, ScalarNode, SequenceNode, describe_node, join_path
from receiver.config.report import Diagnostics, quote_text, suggest_choice
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
from receiver.model.alert import SeverityWords
from receiver.model.routing import PAGERDUTY, SLACK, EscalationPolicy, Responder, Step, Target
from receiver.text import Secret

RESPONDER_KEYS = (SLACK, PAGERDUTY)
PAGERDUTY_KEYS = ("routing_key", "schedule")
POLICY_KEYS = ("steps", "ack_timeout")
STEP_KEYS = ("notify", "after")
HEARTBEAT_KEYS = ("match", "every", "grace", "notify")
# A name stands in keys like `page:on-call#2`, so it has neither `#` nor `:`.
_NAME = re.compile(r"[^\W_][\w .-]{0,63}")
_HANDLE = re.compile(r"@[^\s@#<>&|]{1,80}|[UWS][A-Z0-9]{2,20}")
# https://developer.pagerduty.com/docs/events-api-v2-overview
_ROUTING_KEY = re.compile(r"[A-Za-z0-9]{32}", re.ASCII)


def read_responders(root: MappingNode, diagnostics: Diagnostics) -> dict[str, Responder]:
    """Return the responders by name; each has a target at least."""
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
    """Return the alerts that must keep coming."""
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
